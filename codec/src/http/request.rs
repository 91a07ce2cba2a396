//! Bytes to the head of a request.
//!
//! httparse does the grammar; here are the bounds, and the rules that keep two readers from disagreeing about where a
//! request ends (RFC 9112 sections 6.1 to 6.3): a length *and* a transfer coding, two different lengths, a length that is
//! not a plain number, a coding other than `chunked`, a line ended by a bare LF. Each of these is refused, not repaired.

use super::header::{Headers, has_token};
use core::fmt;
use core::mem::MaybeUninit;

/// The most header fields of a head.
pub const HEADER_COUNT_MAX: usize = 64;

/// How much of an unfinished head is checked each time more of it arrives. Errors further on are seen when the head is
/// complete: a head that comes byte by byte must not cost the square of its length.
const EAGER_CHECK_BYTES_MAX: usize = 1024;

/// The bounds of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Request line, header fields and the empty line. Bytes, default 16_384 (Node's).
    pub head_bytes_max: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16_384 }
    }
}

/// What is to be done. Only what the engine tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Opens a session, or polls.
    Get,
    /// Sends packets.
    Post,
    /// Refused by the engine.
    Put,
    /// Refused by the engine.
    Delete,
    /// Refused by the engine.
    Head,
    /// CORS preflight.
    Options,
    /// Refused by the engine.
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    fn from_token(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }
}

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body: the next request begins after the head.
    None,
    /// `Content-Length`: this many bytes, perhaps 0.
    Fixed(u64),
    /// `Transfer-Encoding: chunked`: see [`ChunkedDecoder`](super::ChunkedDecoder).
    Chunked,
}

/// A request's head, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// All of it, as it came, without the empty lines that may stand before it.
    pub head: &'a [u8],
    /// What is to be done.
    pub method: Method,
    /// Path and query as sent, nothing decoded.
    pub target: &'a str,
    /// 0 or 1, for HTTP/1.0 or HTTP/1.1.
    pub version_minor: u8,
    /// The header fields.
    pub headers: Headers<'a>,
    /// How the end of the body is found.
    pub body: BodyLength,
    /// Whether the connection may be used for another request: the default of the version unless `Connection` says
    /// otherwise.
    pub keep_alive: bool,
}

impl<'a> Request<'a> {
    /// The target before its first `?`, as sent.
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// The target after its first `?`, as sent; empty if there is none.
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Whether the request asks to go on as a WebSocket: `Upgrade` lists `websocket`, `Connection` lists `upgrade`.
    pub fn is_websocket_upgrade(&self) -> bool {
        self.headers.has_token("upgrade", "websocket") && self.headers.has_token("connection", "upgrade")
    }
}

/// Why bytes are not a request that can be answered. The connection has to be closed after any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Not the grammar of a request head.
    Malformed,
    /// A line ends in a bare LF.
    BareLineFeed,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    UnsupportedVersion,
    /// The head is longer than the limit.
    HeadTooLarge,
    /// More than [`HEADER_COUNT_MAX`] header fields.
    TooManyHeaders,
    /// `Content-Length` is not a plain decimal number below 2^64.
    InvalidContentLength,
    /// Two `Content-Length` that differ.
    ConflictingContentLength,
    /// `Content-Length` and `Transfer-Encoding` together.
    AmbiguousBodyLength,
    /// A transfer coding other than `chunked` alone, or one in HTTP/1.0.
    UnsupportedTransferEncoding,
}

impl RequestError {
    /// The status to answer with.
    pub const fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::UnsupportedVersion => 505,
            Self::UnsupportedTransferEncoding => 501,
            _ => 400,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed request head",
            Self::BareLineFeed => "line ended by a bare LF",
            Self::UnsupportedVersion => "unsupported HTTP version",
            Self::HeadTooLarge => "request head too large",
            Self::TooManyHeaders => "too many header fields",
            Self::InvalidContentLength => "invalid Content-Length",
            Self::ConflictingContentLength => "conflicting Content-Length",
            Self::AmbiguousBodyLength => "Content-Length and Transfer-Encoding together",
            Self::UnsupportedTransferEncoding => "unsupported Transfer-Encoding",
        })
    }
}

impl core::error::Error for RequestError {}

/// Decodes a request's head and says how many bytes it took; the body, or the next request, begins there.
///
/// `Ok(None)` while the head is incomplete and may still keep its limit. Empty lines before the head are passed over.
/// Cost: one pass over a complete head; of an incomplete one only the first 1,024 bytes are checked.
pub fn decode<'a>(bytes: &'a [u8], limits: &RequestLimits) -> Result<Option<(Request<'a>, usize)>, RequestError> {
    let within_limit = &bytes[..bytes.len().min(limits.head_bytes_max)];
    let is_full = bytes.len() >= limits.head_bytes_max;
    let Some(end) = head_end(within_limit) else {
        if has_bare_line_feed(within_limit) {
            return Err(RequestError::BareLineFeed);
        }
        let eager = &within_limit[..within_limit.len().min(EAGER_CHECK_BYTES_MAX)];
        parse(eager)?;
        return if is_full { Err(RequestError::HeadTooLarge) } else { Ok(None) };
    };
    let head = &within_limit[..end];
    if has_bare_line_feed(head) {
        return Err(RequestError::BareLineFeed);
    }
    // A complete grammar always ends where the empty line is, which `head_end` found.
    let request = parse(head)?.ok_or(RequestError::Malformed)?;
    Ok(Some((request, end)))
}

/// Runs the grammar; `None` if the head is incomplete.
fn parse(head: &[u8]) -> Result<Option<Request<'_>>, RequestError> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADER_COUNT_MAX];
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(head, &mut fields).map_err(|error| match error {
        httparse::Error::Version => RequestError::UnsupportedVersion,
        httparse::Error::TooManyHeaders => RequestError::TooManyHeaders,
        _ => RequestError::Malformed,
    })?;
    let (Some(method), Some(target), Some(version_minor)) = (request.method, request.path, request.version) else {
        return Ok(None);
    };
    if status.is_partial() {
        return Ok(None);
    }
    let (body, keep_alive) = connection_rules(request.headers, version_minor)?;
    Ok(Some(Request {
        head: trim_empty_lines(head),
        method: Method::from_token(method),
        target,
        version_minor,
        headers: Headers::new(field_lines(head)),
        body,
        keep_alive,
    }))
}

/// The lines between the request line and the empty line of a complete head.
fn field_lines(head: &[u8]) -> &[u8] {
    let lines = trim_empty_lines(head);
    let start = memchr::memchr(b'\n', lines).map_or(0, |at| at + 1);
    &lines[start..lines.len() - 2]
}

/// Where the head ends: behind the first empty line after the request line.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let start = bytes.len() - trim_empty_lines(bytes).len();
    memchr::memmem::find(&bytes[start..], b"\r\n\r\n").map(|at| start + at + 4)
}

/// Without the empty lines that may stand before a request line.
fn trim_empty_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    bytes
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r')
}

/// How the body ends and whether the connection outlives it: one pass over the fields that say so.
fn connection_rules(fields: &[httparse::Header<'_>], version_minor: u8) -> Result<(BodyLength, bool), RequestError> {
    let mut length = None;
    let mut coding_count = 0;
    let mut is_chunked = false;
    let (mut has_close, mut has_keep_alive) = (false, false);
    for field in fields {
        if field.name.eq_ignore_ascii_case("connection") {
            has_close |= has_token(field.value, "close");
            has_keep_alive |= has_token(field.value, "keep-alive");
        } else if field.name.eq_ignore_ascii_case("content-length") {
            let value = decimal(field.value).ok_or(RequestError::InvalidContentLength)?;
            if length.is_some_and(|length| length != value) {
                return Err(RequestError::ConflictingContentLength);
            }
            length = Some(value);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            coding_count += 1;
            is_chunked = field.value.eq_ignore_ascii_case(b"chunked");
        }
    }
    let body = match (coding_count, length) {
        (0, None) => BodyLength::None,
        (0, Some(length)) => BodyLength::Fixed(length),
        (_, Some(_)) => return Err(RequestError::AmbiguousBodyLength),
        (1, None) if is_chunked && version_minor > 0 => BodyLength::Chunked,
        (_, None) => return Err(RequestError::UnsupportedTransferEncoding),
    };
    let keep_alive = !has_close && (version_minor > 0 || has_keep_alive);
    Ok((body, keep_alive))
}

/// The number, if these are digits only and it is below 2^64.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests;
