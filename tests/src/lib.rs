//! What the programs of the tests are made of: suites of `conformance` that need more than a screen, and bytes by hand.

pub mod client;
pub mod cluster;
pub mod compression;
pub mod connections;
pub mod dynamic;
pub mod emits;
pub mod gates;
pub mod listeners;
pub mod oracle;
pub mod packets;
pub mod requests;
pub mod tls;
pub mod wire;
