//! The opening handshake: which request asks for a WebSocket, and the answer that grants it.
//!
//! `accept = base64(SHA-1(key + a fixed id))`. SHA-1 proves here only that the server speaks WebSocket.
//! Source: RFC 6455 sections 4.1 and 4.2.

use crate::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use sha1::{Digest, Sha1};

const PROTOCOL_ID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 24;
const ACCEPT_BYTES: usize = 28;

/// A client's key: the base64 text of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeKey([u8; KEY_BYTES]);

impl HandshakeKey {
    /// A key as sent. `None` unless it is 22 characters of base64 and `==`.
    pub fn new(key: &[u8]) -> Option<Self> {
        let key: [u8; KEY_BYTES] = key.try_into().ok()?;
        let (text, padding) = key.split_at(KEY_BYTES - 2);
        let is_base64 = text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
        (is_base64 && padding == b"==").then_some(Self(key))
    }

    /// The value that proves to the client that its key was read.
    pub fn accept(&self) -> [u8; ACCEPT_BYTES] {
        accept_key(&self.0)
    }
}

/// Why a request does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// Not a GET.
    MethodNotGet,
    /// HTTP/1.0.
    HttpVersion,
    /// `Upgrade: websocket` or `Connection: upgrade` is missing.
    NotUpgrade,
    /// `Sec-WebSocket-Version` is not 13.
    UnsupportedVersion,
    /// `Sec-WebSocket-Key` is missing or not 16 bytes in base64.
    InvalidKey,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl HandshakeError {
    /// What the client is told; `ws`, which the official server uses, says the same where it refuses.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::MethodNotGet => "Invalid HTTP method",
            Self::HttpVersion => "A WebSocket needs HTTP/1.1",
            Self::NotUpgrade => "Invalid Upgrade header",
            Self::UnsupportedVersion => "Missing or invalid Sec-WebSocket-Version header",
            Self::InvalidKey => "Missing or invalid Sec-WebSocket-Key header",
        }
    }
}

impl core::error::Error for HandshakeError {}

/// Checks that a request opens a WebSocket and takes its key.
pub fn validate(request: &Request<'_>) -> Result<HandshakeKey, HandshakeError> {
    if request.method != Method::Get {
        return Err(HandshakeError::MethodNotGet);
    }
    if request.version_minor < 1 {
        return Err(HandshakeError::HttpVersion);
    }
    if !request.is_websocket_upgrade() {
        return Err(HandshakeError::NotUpgrade);
    }
    let key = request.headers.get("sec-websocket-key").and_then(HandshakeKey::new).ok_or(HandshakeError::InvalidKey)?;
    if request.headers.get("sec-websocket-version") != Some(b"13") {
        return Err(HandshakeError::UnsupportedVersion);
    }
    Ok(key)
}

/// The value of `Sec-WebSocket-Accept` for a value of `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let digest = Sha1::new().chain_update(key).chain_update(PROTOCOL_ID).finalize();
    let mut accept = [0; ACCEPT_BYTES];
    // Cannot fail: 20 bytes are 28 characters.
    let written = STANDARD.encode_slice(digest, &mut accept);
    assert_eq!(written, Ok(ACCEPT_BYTES), "20 bytes are 28 characters of base64");
    accept
}

/// Appends the answer that opens the WebSocket, with `headers` of the caller at its end.
pub fn write_switching_protocols(out: &mut Vec<u8>, accept: &[u8; ACCEPT_BYTES], headers: &[(&str, &str)]) {
    let mut fields = Vec::new();
    crate::http::response::write_headers(&mut fields, headers);
    write_switching_protocols_with(out, accept, &fields);
}

/// The same with header lines that [`write_headers`](crate::http::response::write_headers) has written before.
pub fn write_switching_protocols_with(out: &mut Vec<u8>, accept: &[u8; ACCEPT_BYTES], fields: &[u8]) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(fields);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::{RequestLimits, request};

    fn validate_text(head: &str) -> Result<HandshakeKey, HandshakeError> {
        let (request, _) = request::decode(head.as_bytes(), &RequestLimits::default()).unwrap().unwrap();
        validate(&request)
    }

    const HEAD: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                        Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[test]
    fn key_of_the_specification() {
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(&validate_text(HEAD).unwrap().accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn each_missing_part_is_named() {
        let cases = [
            ("GET /", "POST /", HandshakeError::MethodNotGet),
            ("HTTP/1.1", "HTTP/1.0", HandshakeError::HttpVersion),
            ("WebSocket\r\n", "h2c\r\n", HandshakeError::NotUpgrade),
            (", Upgrade\r\n", "\r\n", HandshakeError::NotUpgrade),
            ("Version: 13", "Version: 12", HandshakeError::UnsupportedVersion),
            ("Sec-WebSocket-Version: 13\r\n", "", HandshakeError::UnsupportedVersion),
            ("Sec-WebSocket-Key:", "X:", HandshakeError::InvalidKey),
            // The key comes first, as in `ws`.
            ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key:", "X:", HandshakeError::InvalidKey),
            ("Q==\r\n", "Q\r\n", HandshakeError::InvalidKey),
            ("dGhl", "dGh!", HandshakeError::InvalidKey),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQAA", HandshakeError::InvalidKey),
        ];
        for (from, to, error) in cases {
            let head = HEAD.replacen(from, to, 1);
            assert_ne!(head, HEAD);
            assert_eq!(validate_text(&head), Err(error), "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn answer_is_that_of_the_official_server() {
        let mut out = Vec::new();
        write_switching_protocols(&mut out, &accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), &[("Vary", "Origin")]);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nVary: Origin\r\n\r\n"
        );
    }
}
