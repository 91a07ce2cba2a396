//! What a listener's connections are encrypted with, replaceable while the server runs.
//!
//! A connection keeps the configuration that it began with, so a renewed certificate is shown to those who come from then on and
//! nobody is disconnected.

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use std::sync::Arc;

/// A configuration of rustls that many listeners may share; clones are the same one.
#[derive(Clone, Debug)]
pub struct TlsSettings(Arc<RwLock<Arc<ServerConfig>>>);

impl TlsSettings {
    /// Begins with `config`.
    ///
    /// # Errors
    /// What rustls has against it (a fragment size out of range).
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        check(&config)?;
        Ok(Self(Arc::new(RwLock::new(config))))
    }

    /// What the next connection gets.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read())
    }

    /// From now on connections get what `other` has at this moment.
    pub fn replace(&self, other: &Self) {
        let config = other.current(); // Before the lock: they may be the same one.
        *self.0.write() = config;
    }
}

/// Whether connections can be made of it: asked here, where somebody can be told.
fn check(config: &Arc<ServerConfig>) -> Result<(), rustls::Error> {
    UnbufferedServerConnection::new(Arc::clone(config)).map(drop)
}
