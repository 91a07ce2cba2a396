//! What may be given where the server is to listen.

use crate::error::{Error, Result};
use ringio_runtime::listener::Endpoint;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// One place to listen on.
#[derive(Clone, Debug)]
pub struct Address(pub(crate) Endpoint);

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(Endpoint { address, tls: None })
    }
}

/// Where to listen: a port (`3000`, on all addresses; `0` takes a free one), a `SocketAddr`, `"host:port"`, any of these over TLS
/// ([`Tls::on`](crate::Tls::on)), or several: a list of the same kind, a tuple of up to four of different kinds.
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

impl IntoAddresses for (IpAddr, u16) {
    fn into_addresses(self) -> Result<Vec<Address>> {
        SocketAddr::from(self).into_addresses()
    }
}

impl IntoAddresses for &str {
    fn into_addresses(self) -> Result<Vec<Address>> {
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

    fn ports(addresses: impl IntoAddresses) -> Vec<u16> {
        addresses.into_addresses().unwrap().iter().map(|address| address.0.address.port()).collect()
    }

    #[test]
    fn a_port_is_on_all_addresses() {
        let addresses = 3000.into_addresses().unwrap();
        assert_eq!(addresses.len(), 1);
        assert!(addresses[0].0.address.ip().is_unspecified());
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
    fn what_is_no_address_is_named() {
        let error = "127.0.0.1:http".into_addresses().unwrap_err();
        assert!(error.to_string().contains("127.0.0.1:http"), "{error}");
    }
}
