//! Listening sockets: one per shard on the same address, and a clear error when somebody else has it; Unix sockets, inherited ones.
//!
//! SO_REUSEPORT lets the kernel spread connections over the shards' sockets. Alone it would also let a second server of the same
//! user bind the same port and silently take half of the connections; so the first socket is bound without it, which fails if anybody
//! else is there, and is given it only afterwards, for its siblings. A port that was just left may still be held for a moment,
//! because a ring is torn down asynchronously after its process has gone: hence the short retry.
//!
//! A Unix socket, and one that somebody else has bound (a supervisor that keeps it over restarts), cannot be had once per shard: all shards
//! accept from the same one. The file of a Unix socket goes with the server.
//!
//! TCP_NODELAY is set here because accepted sockets inherit it (tcp(7)): no system call per connection.

use crate::epoll::system;
use crate::tls::TlsSettings;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

/// Connections that may wait to be accepted, per shard; the kernel bounds it by `net.core.somaxconn` (4096 on most systems).
pub const BACKLOG: i32 = 4096;

/// How long a port in use is tried again before that becomes an error.
pub const IN_USE_RETRY: Duration = Duration::from_secs(2);
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// Where a server is to be reached.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The place.
    pub place: Place,
    /// What its connections are encrypted with, if they are.
    pub tls: Option<TlsSettings>,
}

/// A place to listen on.
#[derive(Clone, Debug)]
pub enum Place {
    /// An IP address, with a socket per shard.
    Ip(SocketAddr),
    /// A Unix socket of this path, which all shards accept from.
    Path(PathBuf),
    /// A socket that somebody else has bound, of either kind; all shards accept from it.
    Bound(Arc<OwnedFd>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Bound(_) => f.write_str("an inherited listener"),
        }
    }
}

/// What came of a [`Place`].
#[derive(Debug)]
pub struct Listening {
    /// One socket for each shard.
    pub listeners: Vec<OwnedFd>,
    /// The address, if it is of an IP family.
    pub address: Option<SocketAddr>,
    /// The file of a Unix socket, which goes with this value.
    pub file: Option<SocketFile>,
}

impl Place {
    /// Listens there.
    ///
    /// # Errors
    /// As [`bind`]; a path is in use while somebody listens there, what is left of a server that has died is taken over.
    pub fn listen(&self, shards: usize) -> io::Result<Listening> {
        let share =
            |listener: &OwnedFd| (0..shards).map(|_| listener.try_clone()).collect::<io::Result<Vec<OwnedFd>>>();
        let (listeners, file) = match self {
            Self::Ip(address) if address.ip().is_unspecified() && address.is_ipv6() => {
                (bind_port(address.port(), shards, BACKLOG)?, None)
            }
            Self::Ip(address) => (bind(*address, shards, BACKLOG)?, None),
            Self::Path(path) => {
                let listener = bind_path(path)?;
                let file = SocketFile::at(path)?;
                system::listen(listener.as_fd(), BACKLOG)?;
                (share(&listener)?, Some(file))
            }
            Self::Bound(listener) => {
                if system::is_ipv6(listener.as_fd())?.is_some() {
                    system::set_option(listener.as_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
                }
                // It may be bound and not listen yet.
                system::listen(listener.as_fd(), BACKLOG)?;
                (share(listener)?, None)
            }
        };
        let address = listeners.first().map(|listener| system::own_address(listener.as_fd())).transpose()?.flatten();
        Ok(Listening { listeners, address, file })
    }
}

fn bind_path(path: &Path) -> io::Result<OwnedFd> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path).map(OwnedFd::from)
        }
        outcome => outcome.map(OwnedFd::from),
    }
}

/// Whether it is the socket of somebody who listens no more.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file of a Unix socket; removed with this value, unless another one has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        // The program may change its folder meanwhile.
        let path = std::path::absolute(path)?;
        Ok(Self { device_and_inode: Self::identity(&path)?, path })
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::identity(&self.path).is_ok_and(|identity| identity == self.device_and_inode) {
            let _ = fs::remove_file(&self.path); // Nobody is left who could be told.
        }
    }
}

/// Makes one listening socket per shard. Port 0 becomes one free port for all; see [`local_addr`]. `[::]` takes IPv4 too.
///
/// # Errors
/// `AddrInUse` when another program listens there, after [`IN_USE_RETRY`]; otherwise what the system says.
pub fn bind(address: SocketAddr, shards: usize, backlog: i32) -> io::Result<Vec<OwnedFd>> {
    let mut tries_left = IN_USE_RETRY.as_millis() / IN_USE_PAUSE.as_millis();
    loop {
        match bind_once(address, shards, backlog) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries_left > 0 => {
                tries_left -= 1;
                std::thread::sleep(IN_USE_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// [`bind`] on all addresses, IPv6 and IPv4, or IPv4 alone where the system has no IPv6.
///
/// # Errors
/// As [`bind`].
pub fn bind_port(port: u16, shards: usize, backlog: i32) -> io::Result<Vec<OwnedFd>> {
    match bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), shards, backlog) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), shards, backlog)
        }
        outcome => outcome,
    }
}

/// The address a listener is bound to, with the port that 0 became.
///
/// # Errors
/// What the system says; `Unsupported` for a socket that is not of the IP families.
pub fn local_addr(listener: &impl AsFd) -> io::Result<SocketAddr> {
    system::own_address(listener.as_fd())?.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn bind_once(mut address: SocketAddr, shards: usize, backlog: i32) -> io::Result<Vec<OwnedFd>> {
    let mut listeners = Vec::with_capacity(shards);
    for index in 0..shards {
        let listener = system::tcp_socket(&address, true)?;
        let fd = listener.as_fd();
        system::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        system::set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        if address.is_ipv6() {
            system::set_option(
                fd,
                libc::IPPROTO_IPV6,
                libc::IPV6_V6ONLY,
                libc::c_int::from(!address.ip().is_unspecified()),
            )?;
        }
        if index == 0 {
            system::bind(fd, &address)?;
            address = local_addr(&listener)?;
            system::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        } else {
            system::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
            system::bind(fd, &address)?;
        }
        system::listen(fd, backlog)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn localhost(port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }

    #[test]
    fn port_0_becomes_one_port_for_all_shards_and_all_get_connections() {
        let listeners = bind(localhost(0), 3, BACKLOG).unwrap();
        let addresses: Vec<_> = listeners.iter().map(|listener| local_addr(listener).unwrap()).collect();
        assert_ne!(addresses[0].port(), 0);
        assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
        let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(addresses[0]).unwrap()).collect();
        let listeners: Vec<_> = listeners.into_iter().map(TcpListener::from).collect();
        let mut counts = [0; 3];
        // The last step of a handshake may be on its way when the client has connected.
        for _ in 0..10_000 {
            for (count, listener) in counts.iter_mut().zip(&listeners) {
                *count += std::iter::from_fn(|| listener.accept().ok()).count();
            }
            if counts.iter().sum::<usize>() == clients.len() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(counts.iter().sum::<usize>(), clients.len());
        assert!(counts.iter().all(|count| *count > 0), "200 connections over 3 listeners: {counts:?}");
    }

    #[test]
    fn accepted_connections_inherit_nodelay() {
        let listener = TcpListener::from(bind(localhost(0), 1, BACKLOG).unwrap().remove(0));
        listener.set_nonblocking(false).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        assert!(!client.nodelay().unwrap(), "the assertion above would hold of any socket");
    }

    #[test]
    fn a_port_of_another_server_is_in_use_even_with_reuseport() {
        let first = bind(localhost(0), 2, BACKLOG).unwrap();
        let address = local_addr(&first[0]).unwrap();
        let error = bind_once(address, 2, BACKLOG).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(address, 2, BACKLOG).unwrap();
    }

    #[test]
    fn a_port_that_is_left_within_the_retry_is_taken() {
        let is_taken = || {
            let first = bind(localhost(0), 1, BACKLOG).unwrap();
            let address = local_addr(&first[0]).unwrap();
            let leaver = std::thread::spawn(move || {
                std::thread::sleep(IN_USE_PAUSE * 3);
                drop(first);
            });
            let outcome = bind(address, 1, BACKLOG);
            leaver.join().unwrap();
            outcome.is_ok()
        };
        // On a machine that stalls the port may be left too late, but not every time.
        assert!((0..10).any(|_| is_taken()));
    }

    #[test]
    fn all_addresses_means_both_families() {
        let listeners = bind_port(0, 2, BACKLOG).unwrap();
        let address = local_addr(&listeners[0]).unwrap();
        TcpStream::connect(localhost(address.port())).unwrap();
        if address.is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
        } else {
            eprintln!("no IPv6 here: only IPv4 was tried");
        }
    }
}
