//! The languages that Ringio speaks, as pure functions between bytes and values.
//!
//! ```text
//! bytes --> http ------> websocket ------> engineio ------> socketio --> values
//!           heads,       frames,           packets,         packets, event names,
//!           queries,     messages,         polling          arguments as raw JSON,
//!           bodies       handshake         payloads         attachments
//! ```
//!
//! No clock, no I/O, no randomness, no state but what a caller holds. Decoders borrow from their input; encoders
//! append to the caller's `Vec<u8>`. Protocols do not import each other, except that the WebSocket handshake reads an
//! HTTP request, because it is one.
//!
//! Everywhere in this crate:
//! - *incomplete* is `Ok(None)`: nothing is wrong and nothing was consumed; call again with the same bytes and more.
//! - *invalid* is `Err`: the peer broke the rules and more bytes cannot repair it. Each decoder has one small `Copy`
//!   enum for that, which its caller turns into a status, a close code or a close reason.
//! - Every growth is bounded by a limit that the caller passes in or by a constant named here, and limits are checked
//!   on what a peer *declares*, before memory is taken.
//! - Nothing here panics on a peer's bytes.
//!
//! | language | source |
//! |---|---|
//! | [`http`] | RFC 9110, RFC 9112, RFC 6265 (cookies), URL Standard (query strings), Fetch Standard (CORS) |
//! | [`websocket`] | RFC 6455, RFC 7692 (permessage-deflate) |
//! | [`engineio`] | Engine.IO protocol, revisions 4 and 3 |
//! | [`socketio`] | Socket.IO protocol, revision 5; RFC 8259 (JSON); MessagePack |
//!
//! Where those leave room, what the official JavaScript server and its packages do is what is done here; each file
//! names the version it was compared with, and where it is stricter.

#![forbid(unsafe_code)]

mod calendar;
pub mod engineio;
pub mod http;
mod json_string;
pub mod socketio;
pub mod websocket;

/// The example of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
