//! What may be given where the server is to listen.

use crate::error::{Error, Result};
use listenfd::ListenFd;
use ringio_runtime::listener::{Endpoint, Place};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

/// One place to listen on.
///
/// ```no_run
/// use ringio::{Address, Server};
/// use std::net::TcpListener;
///
/// let bound = TcpListener::bind("127.0.0.1:0")?;
/// println!("on port {}", bound.local_addr()?.port());
/// Server::new().listen((Address::unix("/run/chat.sock"), Address::listener(bound)))
/// # ; Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Address(pub(crate) Endpoint);

impl Address {
    fn at(place: Place) -> Self {
        Self(Endpoint { place, tls: None })
    }

    /// A Unix socket; `"unix:/run/chat.sock"` is the same as a text. Its clients have no address. The file is removed when the server ends;
    /// one that a dead server has left is taken over. Who may connect is decided by the folder's permissions and the process' umask.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::Path(path.into()))
    }

    /// A socket that is bound already, a `std::net::TcpListener` or `std::os::unix::net::UnixListener`.
    pub fn listener(listener: impl Into<OwnedFd>) -> Self {
        Self::at(Place::Bound(Arc::new(listener.into())))
    }

    /// The sockets that a supervisor has bound for this process (`LISTEN_FDS`, as systemd's socket units and `systemfd` pass them), in their
    /// order. Takes them: a second call finds none.
    ///
    /// ```no_run
    /// use ringio::{Address, Server};
    ///
    /// Server::new().listen(Address::inherited()?)
    /// # ; Ok::<(), ringio::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Address`]: there is none.
    pub fn inherited() -> Result<Vec<Self>> {
        let mut passed = ListenFd::from_env();
        let mut addresses = Vec::new();
        for index in 0..passed.len() {
            let listener = match passed.take_tcp_listener(index) {
                Ok(listener) => listener.map(OwnedFd::from),
                Err(_) => passed.take_unix_listener(index).map_err(no_socket)?.map(OwnedFd::from),
            };
            addresses.extend(listener.map(Self::listener));
        }
        if addresses.is_empty() {
            return Err(no_socket(std::io::Error::other("no socket was passed to this process")));
        }
        Ok(addresses)
    }
}

fn no_socket(source: std::io::Error) -> Error {
    Error::Address { address: "LISTEN_FDS".to_owned(), source }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::at(Place::Ip(address))
    }
}

/// Where to listen: a port (`3000` or `"3000"`, on all addresses; `0` takes a free one), a `SocketAddr`, `"host:port"`, `"unix:/path"`, a
/// listener that is bound already, any of these over TLS
/// ([`Tls::on`](crate::Tls::on)), or several: a list of the same kind, a tuple of up to four of different kinds.
///
/// ```
/// # use ringio::IntoAddresses;
/// assert_eq!(3000_u16.into_addresses()?.len(), 1); // on all addresses
/// assert_eq!((80_u16, "127.0.0.1:3000").into_addresses()?.len(), 2);
/// # Ok::<(), ringio::Error>(())
/// ```
pub trait IntoAddresses {
    /// The addresses, resolved.
    ///
    /// # Errors
    /// [`Error::Address`] if a name cannot be resolved.
    fn into_addresses(self) -> Result<Vec<Address>>;
}

impl IntoAddresses for u16 {
    fn into_addresses(self) -> Result<Vec<Address>> {
        SocketAddr::new(unspecified(), self).into_addresses()
    }
}

/// All addresses of both families, as in Node; those of IPv4 alone where the system has no IPv6.
fn unspecified() -> IpAddr {
    // Binding tells it: a kernel without IPv6 refuses the socket itself. Nothing is sent or received on it.
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

impl IntoAddresses for Address {
    fn into_addresses(self) -> Result<Vec<Address>> {
        Ok(vec![self])
    }
}

impl IntoAddresses for SocketAddr {
    fn into_addresses(self) -> Result<Vec<Address>> {
        Ok(vec![self.into()])
    }
}

impl IntoAddresses for TcpListener {
    fn into_addresses(self) -> Result<Vec<Address>> {
        Ok(vec![Address::listener(self)])
    }
}

impl IntoAddresses for UnixListener {
    fn into_addresses(self) -> Result<Vec<Address>> {
        Ok(vec![Address::listener(self)])
    }
}

impl IntoAddresses for (IpAddr, u16) {
    fn into_addresses(self) -> Result<Vec<Address>> {
        SocketAddr::from(self).into_addresses()
    }
}

impl IntoAddresses for &str {
    fn into_addresses(self) -> Result<Vec<Address>> {
        if let Some(path) = self.strip_prefix("unix:") {
            return Ok(vec![Address::unix(path)]);
        }
        if let Ok(port) = self.parse::<u16>() {
            return port.into_addresses();
        }
        match self.to_socket_addrs() {
            Ok(addresses) => Ok(addresses.map(Address::from).collect()),
            Err(source) => Err(Error::Address { address: self.to_owned(), source }),
        }
    }
}

impl IntoAddresses for String {
    fn into_addresses(self) -> Result<Vec<Address>> {
        self.as_str().into_addresses()
    }
}

impl<A: IntoAddresses + Clone> IntoAddresses for &[A] {
    fn into_addresses(self) -> Result<Vec<Address>> {
        let mut addresses = Vec::new();
        for address in self {
            addresses.extend(address.clone().into_addresses()?);
        }
        Ok(addresses)
    }
}

impl<A: IntoAddresses + Clone> IntoAddresses for Vec<A> {
    fn into_addresses(self) -> Result<Vec<Address>> {
        self.as_slice().into_addresses()
    }
}

impl<A: IntoAddresses + Clone, const N: usize> IntoAddresses for [A; N] {
    fn into_addresses(self) -> Result<Vec<Address>> {
        self.as_slice().into_addresses()
    }
}

impl<A: IntoAddresses + Clone, const N: usize> IntoAddresses for &[A; N] {
    fn into_addresses(self) -> Result<Vec<Address>> {
        self.as_slice().into_addresses()
    }
}

macro_rules! tuple {
    ($($kind:ident)+) => {
        impl<$($kind: IntoAddresses),+> IntoAddresses for ($($kind,)+) {
            #[allow(non_snake_case, reason = "each name is a type and its value")]
            fn into_addresses(self) -> Result<Vec<Address>> {
                let ($($kind,)+) = self;
                let mut addresses = Vec::new();
                $(addresses.extend($kind.into_addresses()?);)+
                Ok(addresses)
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);
tuple!(A B C D);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(address: &Address) -> SocketAddr {
        match &address.0.place {
            Place::Ip(address) => *address,
            other => panic!("{other} is no IP address"),
        }
    }

    fn ports(addresses: impl IntoAddresses) -> Vec<u16> {
        addresses.into_addresses().unwrap().iter().map(|address| ip(address).port()).collect()
    }

    #[test]
    fn a_port_is_on_all_addresses() {
        let addresses = 3000.into_addresses().unwrap();
        assert_eq!(addresses.len(), 1);
        assert!(ip(&addresses[0]).ip().is_unspecified());
    }

    #[test]
    fn a_port_may_be_a_text() {
        let addresses = ("3000", "0".to_owned()).into_addresses().unwrap();
        assert_eq!(addresses.iter().map(|address| ip(address).port()).collect::<Vec<_>>(), [3000, 0]);
        assert!(addresses.iter().all(|address| ip(address).ip().is_unspecified()));
        assert!("70000".into_addresses().is_err());
    }

    #[test]
    fn one_or_several() {
        assert_eq!(ports("127.0.0.1:1"), [1]);
        assert_eq!(ports(["127.0.0.1:1", "[::1]:2"]), [1, 2]);
        assert_eq!(ports([3000, 3001]), [3000, 3001]);
        assert_eq!(ports((3000, "127.0.0.1:1", [5, 6])), [3000, 1, 5, 6]);
        assert_eq!(ports((IpAddr::V4(Ipv4Addr::LOCALHOST), 7)), [7]);
        assert_eq!(ports(SocketAddr::from(([127, 0, 0, 1], 5))), [5]);
    }

    #[test]
    fn a_path_is_a_unix_socket() {
        let addresses = "unix:/run/chat.sock".into_addresses().unwrap();
        assert_eq!(addresses[0].0.place.to_string(), "unix:/run/chat.sock");
    }

    #[test]
    fn without_a_supervisor_nothing_is_inherited() {
        assert!(Address::inherited().unwrap_err().to_string().contains("LISTEN_FDS"));
    }

    #[test]
    fn what_is_no_address_is_named() {
        let error = "127.0.0.1:http".into_addresses().unwrap_err();
        assert!(error.to_string().contains("127.0.0.1:http"), "{error}");
    }
}
