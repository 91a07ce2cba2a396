//! Listening sockets: one per shard on the same address, and a clear error when somebody else has it.
//!
//! SO_REUSEPORT lets the kernel spread connections over the shards' sockets. Alone it would also let a second server of the same
//! user bind the same port and silently take half of the connections; so the first socket is bound without it, which fails if anybody
//! else is there, and is given it only afterwards, for its siblings. A port that was just left may still be held for a moment,
//! because a ring is torn down asynchronously after its process has gone: hence the short retry.
//!
//! TCP_NODELAY is set here because accepted sockets inherit it (tcp(7)): no system call per connection.

use crate::epoll::system;
use crate::tls::TlsSettings;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Connections that may wait to be accepted, per shard; the kernel bounds it by `net.core.somaxconn` (4096 on most systems).
pub const BACKLOG: i32 = 4096;

/// How long a port in use is tried again before that becomes an error.
pub const IN_USE_RETRY: Duration = Duration::from_secs(2);
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// Where a server is to be reached.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// What its connections are encrypted with, if they are.
    pub tls: Option<TlsSettings>,
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
        let mut total = 0;
        for listener in listeners {
            let listener = TcpListener::from(listener);
            let mut count = 0;
            while listener.accept().is_ok() {
                count += 1;
            }
            assert!(count > 0, "200 connections over 3 listeners, none here");
            total += count;
        }
        assert_eq!(total, clients.len());
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
        let first = bind(localhost(0), 1, BACKLOG).unwrap();
        let address = local_addr(&first[0]).unwrap();
        let leaver = std::thread::spawn(move || {
            std::thread::sleep(IN_USE_PAUSE * 3);
            drop(first);
        });
        bind(address, 1, BACKLOG).unwrap();
        leaver.join().unwrap();
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
