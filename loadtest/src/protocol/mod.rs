//! The client's side of the protocol, without I/O: bytes in, [`Incoming`] out, bytes to send in outboxes.
//!
//! ```text
//! bytes --> http (answers) ------> session ------> Incoming
//!           websocket (frames)     Engine.IO and Socket.IO, as a client
//!           msgpack (packets)
//! ```
//!
//! Bytes become values in `ringio-codec`; what is said when, and what must come next, is this module's own, so that a
//! server's mistake is not mirrored here.

pub mod config;
pub mod http;
pub mod msgpack;
pub mod session;
pub mod websocket;

pub use config::Config;
pub use session::{Incoming, Role, Session};
