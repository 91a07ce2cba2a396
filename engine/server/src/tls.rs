//! TLS: certificates from files, a configuration of one's own, and their renewal while the server runs.
//!
//! ```text
//! Tls::from_pem_files --on(3000)--> addresses for `listen`          Tls::replace: what the next connections get
//! ```
//! Handshakes run on the shards: an elliptic key costs a shard well under a millisecond of each, RSA several times that. TLS in the kernel
//! (kTLS) is not offered.

use crate::address::{Address, IntoAddresses};
use crate::error::{Error, Result};
use ringio_runtime::tls::TlsSettings;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// The certificate of a server, and how it speaks TLS. Clones are the same one.
///
/// ```no_run
/// use ringio::{Server, Tls};
///
/// let io = Server::new();
/// let tls = Tls::from_pem_files("chain.pem", "key.pem")?;
/// io.listen((3000, tls.on(3443))) // plain on one port, TLS on the other; or `tls.on(443)` alone
/// # ; Ok::<(), ringio::Error>(())
/// ```
///
/// TLS 1.2 and 1.3, HTTP/1.1 as the only protocol (ALPN), sessions resumed by tickets on any shard. Whatever else is wanted is
/// a [`rustls::ServerConfig`], here one that asks clients for certificates and refuses those without (Node's `requestCert`, `rejectUnauthorized`,
/// `ca`):
///
/// ```no_run
/// use ringio::Tls;
/// use ringio::rustls::crypto::ring;
/// use ringio::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
/// use ringio::rustls::server::WebPkiClientVerifier;
/// use ringio::rustls::{RootCertStore, ServerConfig};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = Arc::new(ring::default_provider());
/// let mut roots = RootCertStore::empty();
/// roots.add(CertificateDer::from_pem_file("ca.pem")?)?;
/// let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
/// let chain = CertificateDer::pem_file_iter("chain.pem")?.collect::<Result<Vec<_>, _>>()?;
/// let config = ServerConfig::builder_with_provider(provider)
///     .with_safe_default_protocol_versions()?
///     .with_client_cert_verifier(clients) // `.allow_unauthenticated()` before `build` where a certificate is welcome but not demanded
///     .with_single_cert(chain, PrivateKeyDer::from_pem_file("key.pem")?)?;
/// let tls = Tls::from_config(config)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tls {
    settings: TlsSettings,
}

impl Tls {
    /// Reads the certificate chain (the server's own first) and its private key from PEM files, as Let's Encrypt and openssl write them.
    ///
    /// A `.pfx` or `.p12` file becomes these two by `openssl pkcs12 -in server.pfx -nokeys -out chain.pem` and `openssl pkcs12 -in server.pfx
    /// -nocerts -nodes -out key.pem`.
    ///
    /// # Errors
    /// [`Error::Tls`]: a file cannot be read, holds nothing of the kind, or the key is another certificate's.
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| Error::Tls { what: path.display().to_string(), problem: error.to_string() })
        };
        Self::from_named(
            (&chain.as_ref().display().to_string(), &read(chain.as_ref())?),
            (&key.as_ref().display().to_string(), &read(key.as_ref())?),
        )
    }

    /// The same from memory.
    ///
    /// # Errors
    /// As [`Tls::from_pem_files`].
    ///
    /// ```no_run
    /// # use ringio::Tls;
    /// let (chain, key) = (std::fs::read("chain.pem")?, std::fs::read("key.pem")?);
    /// let tls = Tls::from_pem(&chain, &key)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self> {
        Self::from_named(("the certificate chain", chain), ("the private key", key))
    }

    fn from_named((chain_name, chain): (&str, &[u8]), (key_name, key): (&str, &[u8])) -> Result<Self> {
        let wrong = |what: &str, problem: String| Error::Tls { what: what.to_owned(), problem };
        let certificates = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(chain_name, error.to_string()))?;
        if certificates.is_empty() {
            let problem = "there is no certificate in it (-----BEGIN CERTIFICATE-----)";
            return Err(wrong(chain_name, problem.to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => wrong(
                key_name,
                "there is no private key in it that can be read: one with a passphrase is made readable by `openssl pkey -in key.pem`"
                    .to_owned(),
            ),
            error => wrong(key_name, error.to_string()),
        })?;
        let refused = |error: rustls::Error| wrong(&format!("{chain_name} with {key_name}"), error.to_string());
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(refused)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(refused)?;
        Self::from_config(config)
    }

    /// A configuration of one's own: client certificates, several certificates by name, versions, ALPN. Make it with the
    /// [`rustls`](crate::rustls) of this crate.
    ///
    /// With `alpn_protocols`, `http/1.1` must be among them. Early data, which an attacker may repeat, is taken if `max_early_data_size`
    /// allows it.
    ///
    /// # Errors
    /// [`Error::Tls`]: rustls makes no connections of it.
    pub fn from_config(config: impl Into<Arc<ServerConfig>>) -> Result<Self> {
        let settings = TlsSettings::new(config.into())
            .map_err(|error| Error::Tls { what: "the configuration".to_owned(), problem: error.to_string() })?;
        Ok(Self { settings })
    }

    /// These addresses, over TLS.
    pub fn on<A: IntoAddresses>(&self, addresses: A) -> OverTls<A> {
        OverTls { tls: self.clone(), addresses }
    }

    /// From now on connections get what `other` has: a renewed certificate. Those that are there keep theirs, and nobody is
    /// disconnected. What later happens to `other` does not matter.
    ///
    /// ```no_run
    /// # let tls = ringio::Tls::from_pem_files("chain.pem", "key.pem")?;
    /// tls.replace(&ringio::Tls::from_pem_files("chain.pem", "key.pem")?);
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn replace(&self, other: &Self) {
        self.settings.replace(&other.settings);
    }
}

/// What [`Tls::on`] makes: addresses over TLS.
///
/// ```no_run
/// # use ringio::{Server, Tls};
/// # let tls = Tls::from_pem_files("chain.pem", "key.pem")?;
/// Server::new().listen((3000, tls.on(3443)))
/// # ; Ok::<(), ringio::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OverTls<A> {
    tls: Tls,
    addresses: A,
}

impl<A: IntoAddresses> IntoAddresses for OverTls<A> {
    fn into_addresses(self) -> Result<Vec<Address>> {
        let mut addresses = self.addresses.into_addresses()?;
        for address in &mut addresses {
            address.0.tls = Some(self.tls.settings.clone());
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let error = Tls::from_pem_files("/nowhere/chain.pem", "/nowhere/key.pem").unwrap_err().to_string();
        assert!(error.contains("/nowhere/chain.pem"), "{error}");
        let error = Tls::from_pem(b"", b"").unwrap_err().to_string();
        assert!(error.contains("chain") && error.contains("BEGIN CERTIFICATE"), "{error}");
        let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = Tls::from_pem(certificate, certificate).unwrap_err().to_string();
        assert!(error.contains("private key") && error.contains("passphrase"), "{error}");
    }
}
