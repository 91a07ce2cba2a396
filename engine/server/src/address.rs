//! What may be given where the server is to listen.

use crate::error::{Error, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// Where to listen: a port (`3000`, on all addresses; `0` takes a free one), a `SocketAddr`, `"host:port"`, or several.
pub trait IntoAddresses {
    /// The addresses, resolved.
    ///
    /// # Errors
    /// [`Error::Address`] if a name cannot be resolved.
    fn into_addresses(self) -> Result<Vec<SocketAddr>>;
}

impl IntoAddresses for u16 {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::new(unspecified(), self)])
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

impl IntoAddresses for SocketAddr {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        Ok(vec![self])
    }
}

impl IntoAddresses for (IpAddr, u16) {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(self)])
    }
}

impl IntoAddresses for &str {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        match self.to_socket_addrs() {
            Ok(addresses) => Ok(addresses.collect()),
            Err(source) => Err(Error::Address { address: self.to_owned(), source }),
        }
    }
}

impl IntoAddresses for String {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        self.as_str().into_addresses()
    }
}

impl<A: IntoAddresses + Clone> IntoAddresses for &[A] {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        for address in self {
            addresses.extend(address.clone().into_addresses()?);
        }
        Ok(addresses)
    }
}

impl<A: IntoAddresses + Clone> IntoAddresses for Vec<A> {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        self.as_slice().into_addresses()
    }
}

impl<A: IntoAddresses + Clone, const N: usize> IntoAddresses for [A; N] {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        self.as_slice().into_addresses()
    }
}

impl<A: IntoAddresses + Clone, const N: usize> IntoAddresses for &[A; N] {
    fn into_addresses(self) -> Result<Vec<SocketAddr>> {
        self.as_slice().into_addresses()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ports(addresses: impl IntoAddresses) -> Vec<u16> {
        addresses.into_addresses().unwrap().iter().map(SocketAddr::port).collect()
    }

    #[test]
    fn a_port_is_on_all_addresses() {
        let addresses = 3000.into_addresses().unwrap();
        assert_eq!(addresses.len(), 1);
        assert!(addresses[0].ip().is_unspecified());
    }

    #[test]
    fn one_or_several() {
        assert_eq!(ports("127.0.0.1:1"), [1]);
        assert_eq!(ports(["127.0.0.1:1", "[::1]:2"]), [1, 2]);
        assert_eq!(ports([3000, 3001]), [3000, 3001]);
        assert_eq!(ports(SocketAddr::from(([127, 0, 0, 1], 5))), [5]);
    }

    #[test]
    fn what_is_no_address_is_named() {
        let error = "127.0.0.1:http".into_addresses().unwrap_err();
        assert!(error.to_string().contains("127.0.0.1:http"), "{error}");
    }
}
