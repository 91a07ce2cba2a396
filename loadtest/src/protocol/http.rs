//! HTTP requests of a client, and the answers to them: heads, bodies with a length, chunked bodies.
//!
//! Just what long-polling and the WebSocket handshake need. Answers without a length end with their connection, which no
//! Socket.IO server does; they are refused. Source: RFC 9112.

use crate::failure::{Class, Failure};
use ringio_codec::http::ChunkedDecoder;

/// The longest head that is read. Bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest body that is read. Bytes.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
const HEADER_COUNT_MAX: usize = 64;

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// How many bytes the head took.
    pub len: usize,
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: Option<Vec<u8>>,
    /// Whether permessage-deflate was granted.
    pub deflate: bool,
    body: Body,
}

#[derive(Debug, PartialEq, Eq)]
enum Body {
    Sized(usize),
    Chunked,
}

/// Collects the bytes of one answer.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Whether part of an answer has arrived.
    pub fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes bytes in; returns the answer when it is whole. A client that never pipelines gets one at a time.
    ///
    /// # Errors
    /// [`Class::Handshake`] when the bytes are not HTTP.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<Answer>, Failure> {
        self.bytes.extend_from_slice(input);
        let Some(head) = decode_head(&self.bytes)? else {
            return Ok(None);
        };
        let body = match head.body {
            Body::Sized(len) if len > BODY_BYTES_MAX => return Err(not_http("a body beyond 256 MiB")),
            Body::Sized(len) => match self.bytes.get(head.len..head.len + len) {
                Some(body) => body.to_vec(),
                None => return Ok(None),
            },
            Body::Chunked => match decode_chunked(&self.bytes[head.len..])? {
                Some(body) => body,
                None => return Ok(None),
            },
        };
        self.bytes.clear();
        Ok(Some(Answer { status: head.status, body }))
    }
}

/// Decodes a head; `Ok(None)` if bytes are missing.
///
/// # Errors
/// [`Class::Handshake`] when the bytes are not HTTP.
pub fn decode_head(bytes: &[u8]) -> Result<Option<Head>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(not_http("a head beyond 64 KiB")),
        // An alert, or another record of TLS 1.0 to 1.3.
        Err(_) if matches!(bytes, [0x14..=0x17, 3, ..]) => {
            return Err(Failure::new(
                Class::Handshake,
                "the server speaks TLS on this port: the address begins with https://",
            ));
        }
        Err(error) => {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            return Err(not_http(&format!("{error}: {start:?}")));
        }
    };
    let value = |name: &str| {
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let text = |name| value(name).and_then(|value| std::str::from_utf8(value).ok());
    let body = if text("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
        Body::Chunked
    } else {
        Body::Sized(text("content-length").and_then(|value| value.trim().parse().ok()).unwrap_or(0))
    };
    Ok(Some(Head {
        status: response.code.unwrap_or(0),
        len,
        accept: value("sec-websocket-accept").map(<[u8]>::to_vec),
        deflate: text("sec-websocket-extensions").is_some_and(|value| value.contains("permessage-deflate")),
        body,
    }))
}

fn decode_chunked(mut input: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let mut decoder = ChunkedDecoder::new();
    let mut body = Vec::new();
    while !decoder.is_finished() {
        let step = decoder.decode(input).map_err(|error| not_http(&error.to_string()))?;
        body.extend_from_slice(&input[step.data.clone()]);
        if step.consumed == 0 || body.len() > BODY_BYTES_MAX {
            return Ok(None);
        }
        input = &input[step.consumed..];
    }
    Ok(Some(body))
}

fn not_http(what: &str) -> Failure {
    Failure::new(Class::Handshake, format!("the server does not answer with HTTP ({what})"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_are_read_whole_and_byte_by_byte() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".as_slice();
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n".as_slice();
        for bytes in [sized, chunked] {
            let expected = Answer { status: 200, body: b"ok".to_vec() };
            assert_eq!(Reader::default().read(bytes).unwrap(), Some(Answer { status: 200, body: b"ok".to_vec() }));
            let mut reader = Reader::default();
            let (last, before) = bytes.split_last().unwrap();
            for byte in before {
                assert_eq!(reader.read(&[*byte]).unwrap(), None);
            }
            assert_eq!(reader.read(&[*last]).unwrap(), Some(expected));
            assert!(!reader.has_begun());
        }
    }

    #[test]
    fn other_protocols_are_refused() {
        let failure = Reader::default().read(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap_err();
        assert_eq!(failure.class, Class::Handshake);
        assert!(failure.text.contains("SSH-2.0"), "{failure}");
    }
}
