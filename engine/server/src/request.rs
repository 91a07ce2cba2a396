//! A request as hooks see it, and what they may answer.
//!
//! ```text
//! Request --hook--> Ok(Headers): the request goes on, its answer carries them
//!               +-> Err(Response): the request ends with it
//! ```
//! Kept as it came and read on demand: most applications look at one header or none.

use ringio_codec::http::query;
use ringio_codec::http::request::{self, RequestLimits};
use ringio_codec::http::response;
use ringio_core::door::HandshakeRequest;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A request's head. Cloning is cheap.
///
/// What it says:
///
/// ```
/// # use ringio::Request;
/// fn describe(request: &Request) -> String {
///     let from = request.address().zip(request.port());
///     let count = (request.headers().count(), request.queries().count());
///     let age = request.time().elapsed().unwrap_or_default();
///     let flags = (request.is_secure(), request.is_cross_domain());
///     format!(
///         "{} {} of {from:?} at {} ({age:?} ago), {:?} {:?} {count:?} {flags:?}",
///         request.method(),
///         request.url(),
///         request.issued_ms(),
///         request.header("user-agent"),
///         request.query("transport"),
///     )
/// }
/// ```
#[derive(Clone)]
pub struct Request(pub(crate) Arc<HandshakeRequest>);

impl Request {
    /// The method as it came: `GET`.
    #[must_use]
    pub fn method(&self) -> &str {
        let head = self.0.head.trim_ascii_start();
        let end = head.iter().position(|byte| *byte == b' ').unwrap_or_default();
        std::str::from_utf8(&head[..end]).unwrap_or_default()
    }

    /// The client's address, IPv4 as such (not as `::ffff:..`). None if the transport has none (a Unix socket).
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.address.map(|address| address.ip().to_canonical())
    }

    /// The port the client connected from.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0.address.map(|address| address.port())
    }

    /// The first value of a header, whatever the case of its name; None if there is none or it is no UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.head().headers.get(name)?).ok()
    }

    /// All headers in their order; values are bytes, most of them ASCII.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head().headers.iter()
    }

    /// The last value of a query parameter, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        query::value(self.head().query(), name)
    }

    /// All query parameters in their order, decoded; those of Engine.IO (`EIO`, `transport`, `t`) among them.
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        query::pairs(self.head().query())
    }

    /// The request's target as it came: `/socket.io/?EIO=4&transport=polling`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.head().target
    }

    /// When the request came.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.issued_ms)
    }

    /// When the request came. Milliseconds of Unix time.
    #[must_use]
    pub fn issued_ms(&self) -> u64 {
        self.0.issued_ms
    }

    /// Whether it came over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// Whether the request names an origin, as browsers do for a page of another host.
    #[must_use]
    pub fn is_cross_domain(&self) -> bool {
        self.head().headers.get("origin").is_some_and(|origin| !origin.is_empty())
    }

    pub(crate) fn head(&self) -> request::Request<'_> {
        let limits = RequestLimits { head_bytes_max: usize::MAX };
        match request::decode(&self.0.head, &limits) {
            Ok(Some((head, _))) => head,
            other => panic!("a complete request was kept, not {other:?}"),
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No headers: they hold cookies and tokens, and what is printed gets logged.
        f.debug_struct("Request").field("address", &self.0.address).finish_non_exhaustive()
    }
}

/// Header fields for an answer, in their order.
///
/// ```
/// use ringio::Headers;
///
/// let mut headers = Headers::new();
/// headers.append("X-Served-By", "ringio");
/// assert_eq!(headers.iter().next(), Some(("X-Served-By", "ringio")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field behind the others. CR, LF and NUL are left out of what is written, so that no value can begin
    /// another field.
    pub fn append(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As lines of an answer's head.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for field in self.iter() {
            response::write_headers(out, &[field]);
        }
    }
}

impl From<()> for Headers {
    fn from((): ()) -> Self {
        Self::new()
    }
}

/// The answer with which a request middleware ends a request.
///
/// ```
/// use ringio::Response;
///
/// let response = Response::new(401).header("WWW-Authenticate", "Basic").body("who are you?");
/// assert_eq!(response.status(), 401);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An answer without body. `status` 200 to 599; anything else becomes 500.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = if (200..600).contains(&status) { status } else { 500 };
        Self { status, headers: Headers::new(), body: Vec::new() }
    }

    /// Adds a header field; `Content-Length` and `Connection` are written by the engine.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The body. Bytes, sent as they are.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }
}
