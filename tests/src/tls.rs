//! TLS from a folder of PEM files, as an expert configures it, and the renewal of its certificate.

use clap::ValueEnum;
use ringio::rustls::crypto::ring;
use ringio::rustls::pki_types::pem::PemObject;
use ringio::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ringio::rustls::server::WebPkiClientVerifier;
use ringio::rustls::{RootCertStore, ServerConfig};
use ringio::{Ack, Error, Handshake, Result, Server, Tls};
use std::path::Path;
use std::sync::Arc;

/// Whether clients are asked for certificates.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ClientCertificates {
    /// They are not.
    None,
    /// One is welcome, and looked at if it is there.
    Welcome,
    /// Without one there is no connection.
    Demanded,
}

/// `chain.pem` and `key.pem` of the folder; with client certificates, those that `ca.pem` has signed.
///
/// # Errors
/// What is wrong with the files.
pub fn from_folder(folder: &Path, clients: ClientCertificates) -> Result<Tls> {
    if let ClientCertificates::None = clients {
        return Tls::from_pem_files(folder.join("chain.pem"), folder.join("key.pem"));
    }
    let config = asking_clients(folder, clients)
        .map_err(|error| Error::Tls { what: folder.display().to_string(), problem: error.to_string() })?;
    Tls::from_config(config)
}

fn asking_clients(
    folder: &Path,
    clients: ClientCertificates,
) -> std::result::Result<ServerConfig, Box<dyn std::error::Error>> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = match clients {
        ClientCertificates::Welcome => verifier.allow_unauthenticated(),
        _ => verifier,
    };
    let chain = CertificateDer::pem_file_iter(folder.join("chain.pem"))?.collect::<std::result::Result<Vec<_>, _>>()?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(folder.join("key.pem"))?)?;
    Ok(config)
}

/// `secure`(ack) and `renew`(ack), see `tests/conformance/README.md`.
pub fn handlers(io: &Server, tls: &Tls, folder: &Path, clients: ClientCertificates) {
    io.sockets_on("secure", |handshake: Handshake, ack: Ack| ack.send(&handshake.is_secure()));
    let (tls, folder) = (tls.clone(), folder.to_owned());
    io.sockets_on("renew", move |ack: Ack| {
        tls.replace(&from_folder(&folder, clients)?);
        ack.send(&());
        Ok::<_, Error>(())
    });
}
