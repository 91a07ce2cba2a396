//! The client's side of the protocol, without I/O: bytes in, [`Incoming`] out, bytes to send in outboxes.
//!
//! ```text
//! bytes --> http (answers) ------> session ------> Incoming
//!           websocket (frames)     Engine.IO and Socket.IO, as a client
//! ```
//!
//! Bytes become values in `ringio-codec`; what is said when, and what must come next, is this module's own, so that a
//! server's mistake is not mirrored here.

pub mod http;
pub mod session;
pub mod websocket;

pub use session::{Config, Incoming, Role, Session};
