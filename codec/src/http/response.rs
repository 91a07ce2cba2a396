//! Answers: a status, a few headers, a body whose length is known.
//!
//! ```text
//! HTTP/1.1 200 OK | caller's headers | Content-Length: n | Connection: keep-alive | empty line | body
//! ```
//!
//! And the engine's refusals, byte for byte those of the official server: JSON for polling, plain text for a request
//! that wanted a WebSocket. Source: RFC 9112 section 4; engine.io 6.6.

use crate::json_string::{write_decimal, write_json_string};

/// Appends an answer. `headers` come first, as they are; `Content-Length` and `Connection` are added.
pub fn write(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)], body: &[u8], keep_alive: bool) {
    write_with(out, status, headers, b"", body, keep_alive);
}

/// Appends an answer with header lines that [`write_headers`] has written before, behind `headers`.
pub fn write_with(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    fields: &[u8],
    body: &[u8],
    keep_alive: bool,
) {
    write_head_with(out, status, headers, fields, body.len() as u64, keep_alive);
    out.extend_from_slice(body);
}

/// Appends an answer's head, for a body of `content_length` bytes that follows.
pub fn write_head(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)], content_length: u64, keep_alive: bool) {
    write_head_with(out, status, headers, b"", content_length, keep_alive);
}

/// Appends an answer's head with header lines that [`write_headers`] has written before, behind `headers`.
pub fn write_head_with(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    fields: &[u8],
    content_length: u64,
    keep_alive: bool,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    write_headers(out, headers);
    out.extend_from_slice(fields);
    out.extend_from_slice(b"Content-Length: ");
    write_decimal(out, content_length);
    out.extend_from_slice(if keep_alive {
        b"\r\nConnection: keep-alive\r\n\r\n".as_slice()
    } else {
        b"\r\nConnection: close\r\n\r\n".as_slice()
    });
}

/// Appends header fields, each with its line end.
///
/// CR, LF and NUL in a name or value are left out, so that no value, wherever it came from, can end a field and begin
/// another.
pub fn write_headers(out: &mut Vec<u8>, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        write_field_text(out, name);
        out.extend_from_slice(b": ");
        write_field_text(out, value);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_field_text(out: &mut Vec<u8>, text: &str) {
    for part in text.as_bytes().split(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        out.extend_from_slice(part);
    }
}

/// The phrase behind a status, as Node writes it; empty for a status that we never send.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Why the engine refuses a request. The number is the wire's `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EngineError {
    /// `transport` is missing, unknown, or switched off.
    UnknownTransport = 0,
    /// There is no session of this id.
    UnknownSid = 1,
    /// A session can be opened by GET only.
    BadHandshakeMethod = 2,
    /// Anything else about the request.
    BadRequest = 3,
    /// The application refused it.
    Forbidden = 4,
    /// `EIO` names a protocol that is not spoken here.
    UnsupportedProtocolVersion = 5,
}

impl EngineError {
    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The text on the wire.
    pub const fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocolVersion => "Unsupported protocol version",
        }
    }

    /// The status of the answer to a polling request. A WebSocket request gets 400 for every one of them.
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }
}

/// The body that refuses a polling request; its type is `application/json`.
pub const fn engine_error_json(error: EngineError) -> &'static str {
    match error {
        EngineError::UnknownTransport => r#"{"code":0,"message":"Transport unknown"}"#,
        EngineError::UnknownSid => r#"{"code":1,"message":"Session ID unknown"}"#,
        EngineError::BadHandshakeMethod => r#"{"code":2,"message":"Bad handshake method"}"#,
        EngineError::BadRequest => r#"{"code":3,"message":"Bad request"}"#,
        EngineError::Forbidden => r#"{"code":4,"message":"Forbidden"}"#,
        EngineError::UnsupportedProtocolVersion => r#"{"code":5,"message":"Unsupported protocol version"}"#,
    }
}

/// Appends the body that refuses a polling request in the application's own words.
pub fn write_engine_error_json(out: &mut Vec<u8>, error: EngineError, message: &str) {
    out.extend_from_slice(b"{\"code\":");
    write_decimal(out, u64::from(error.code()));
    out.extend_from_slice(b",\"message\":");
    write_json_string(out, message);
    out.push(b'}');
}

/// Appends the whole answer that refuses a request for a WebSocket; the connection is closed after it.
///
/// `message` is [`EngineError::message`] or the application's own words. For
/// [`EngineError::UnsupportedProtocolVersion`] the official server writes it *behind* the 101, into the open WebSocket.
/// `headers` stand at the end of its head.
pub fn write_upgrade_refusal(out: &mut Vec<u8>, message: &str, headers: &[(&str, &str)]) {
    out.extend_from_slice(
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: ",
    );
    write_decimal(out, message.len() as u64);
    out.extend_from_slice(b"\r\n");
    write_headers(out, headers);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(message.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALL: [EngineError; 6] = [
        EngineError::UnknownTransport,
        EngineError::UnknownSid,
        EngineError::BadHandshakeMethod,
        EngineError::BadRequest,
        EngineError::Forbidden,
        EngineError::UnsupportedProtocolVersion,
    ];

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_has_its_headers_length_and_body() {
        let headers = [("Content-Type", "text/plain; charset=UTF-8"), ("cache-control", "no-store")];
        assert_eq!(
            text(|out| write(out, 200, &headers, b"2probe", true)),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\ncache-control: no-store\r\n\
             Content-Length: 6\r\nConnection: keep-alive\r\n\r\n2probe"
        );
        assert_eq!(
            text(|out| write(out, 413, &[], b"", false)),
            "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn no_value_can_begin_another_field() {
        let written = text(|out| write_headers(out, &[("X\r\nA", "b\r\nSet-Cookie: c\0\n")]));
        assert_eq!(written, "XA: bSet-Cookie: c\r\n");
    }

    #[test]
    fn the_two_ways_to_write_a_refusal_agree() {
        for (code, error) in ALL.into_iter().enumerate() {
            assert_eq!(usize::from(error.code()), code);
            let written = text(|out| write_engine_error_json(out, error, error.message()));
            assert_eq!(written, engine_error_json(error));
        }
        assert_eq!(
            text(|out| write_engine_error_json(out, EngineError::Forbidden, "denied \"by\" app")),
            r#"{"code":4,"message":"denied \"by\" app"}"#
        );
        assert_eq!(EngineError::Forbidden.status(), 403);
        assert_eq!(EngineError::BadRequest.status(), 400);
    }

    #[test]
    fn refused_upgrade_is_that_of_the_official_server() {
        assert_eq!(
            text(|out| write_upgrade_refusal(out, EngineError::UnknownTransport.message(), &[])),
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: 17\r\n\r\n\
             Transport unknown"
        );
        assert_eq!(
            text(|out| write_upgrade_refusal(out, "no", &[("Sec-WebSocket-Version", "13")])),
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: 2\r\n\
             Sec-WebSocket-Version: 13\r\n\r\nno"
        );
    }

    #[test]
    fn every_status_that_errors_map_to_has_a_phrase() {
        for status in [101, 200, 204, 400, 403, 404, 413, 431, 500, 501, 505] {
            assert_ne!(reason_phrase(status), "", "{status}");
        }
    }
}
