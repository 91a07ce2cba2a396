//! WebSocket: from an HTTP request to messages and back.
//!
//! ```text
//! handshake (request -> 101)     frame (header <-> bytes) -> mask -> message (fragments, control frames)     close
//! ```
//!
//! Receiving is [`Receiver`]: it unmasks in the buffer where the bytes arrived, and copies only what a buffer's end cut
//! off. Sending is a header in front of the payload ([`encode_header`]); servers never mask.
//! With permessage-deflate ([`negotiate`](extensions::negotiate)) messages pass an [`Inflater`] after, and a [`Deflater`]
//! before that. Source: RFC 6455, RFC 7692.

pub mod close;
mod deflate;
pub mod extensions;
mod frame;
mod handshake;
mod mask;
mod message;

pub use deflate::{Deflater, InflateError, Inflater};
pub use extensions::{DeflateOptions, DeflateParameters, ExtensionError, WindowBits};
pub use frame::{
    CONTROL_PAYLOAD_BYTES_MAX, FrameError, FrameHeader, HEADER_BYTES_MAX, Opcode, decode_header, encode_header,
    encode_header_deflated, encode_header_masked, header_len,
};
pub use handshake::{
    HandshakeError, HandshakeKey, accept_key, validate, write_switching_protocols, write_switching_protocols_with,
};
pub use mask::apply as apply_mask;
pub use message::{Deflated, Incoming, MessageError, MessageLimits, Payload, Received, Receiver, Role};
