//! The first request of a client's session, and the auth payload of its socket.
//!
//! Kept as it came and read on demand: most applications look at one header or none. Headers, query and address are
//! those of the session's first request even after an upgrade, as in Node; auth belongs to the namespace.

use crate::error::ArgumentError;
use ringio_codec::http::query;
use ringio_codec::http::request::{self, Request, RequestLimits};
use ringio_core::door::HandshakeRequest;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a client came here. Cloning is cheap.
#[derive(Clone)]
pub struct Handshake {
    request: Arc<HandshakeRequest>,
    auth: Arc<[u8]>,
}

impl Handshake {
    pub(crate) fn new(request: Arc<HandshakeRequest>, auth: &[u8]) -> Self {
        Self { request, auth: Arc::from(auth) }
    }

    /// The client's address, IPv4 as such (not as `::ffff:..`). None if the transport has none (a Unix socket).
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.request.address.map(|address| address.ip().to_canonical())
    }

    /// The port the client connected from.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.request.address.map(|address| address.port())
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
        UNIX_EPOCH + Duration::from_millis(self.request.issued_ms)
    }

    /// When the request came. Milliseconds of Unix time.
    #[must_use]
    pub fn issued_ms(&self) -> u64 {
        self.request.issued_ms
    }

    /// Whether it came over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.request.secure
    }

    /// Whether the request names an origin, as browsers do for a page of another host.
    #[must_use]
    pub fn is_cross_domain(&self) -> bool {
        self.head().headers.get("origin").is_some_and(|origin| !origin.is_empty())
    }

    /// The auth payload of this socket as a `T`; an empty object if the client sent none.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        serde_json::from_slice(self.auth_bytes()).map_err(|error| ArgumentError::mismatch::<T>(&error))
    }

    /// The auth payload as JSON text; `{}` if the client sent none.
    #[must_use]
    pub fn raw_auth(&self) -> &str {
        std::str::from_utf8(self.auth_bytes()).unwrap_or("{}")
    }

    fn auth_bytes(&self) -> &[u8] {
        if self.auth.is_empty() { b"{}" } else { &self.auth }
    }

    fn head(&self) -> Request<'_> {
        let limits = RequestLimits { head_bytes_max: usize::MAX };
        match request::decode(&self.request.head, &limits) {
            Ok(Some((head, _))) => head,
            other => panic!("the session was opened by a complete request, not {other:?}"),
        }
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither headers nor auth: they hold cookies and tokens, and what is printed gets logged.
        f.debug_struct("Handshake").field("address", &self.request.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn handshake(address: &str, auth: &str) -> Handshake {
        let head = "GET /socket.io/?EIO=4&transport=polling&name=J%C3%BCrgen+K&name=2 HTTP/1.1\r\nHost: a\r\n\
                    X-Token: abc\r\norigin: http://b\r\nX-Raw: \u{e4}\r\n\r\n";
        let request = HandshakeRequest {
            head: head.as_bytes().into(),
            address: Some(address.parse().unwrap()),
            issued_ms: 1_700_000_000_123,
            secure: false,
        };
        Handshake::new(Arc::new(request), auth.as_bytes())
    }

    #[test]
    fn the_request_is_read_on_demand() {
        let handshake = handshake("[::ffff:10.1.2.3]:4711", "");
        assert_eq!(handshake.address(), Some("10.1.2.3".parse().unwrap()));
        assert_eq!(handshake.port(), Some(4711));
        assert_eq!(handshake.header("x-token"), Some("abc"));
        assert_eq!(handshake.header("x-none"), None);
        assert_eq!(handshake.headers().count(), 4);
        assert_eq!(handshake.query("transport").as_deref(), Some("polling"));
        assert_eq!(handshake.query("name").as_deref(), Some("2"));
        assert_eq!(handshake.queries().nth(2).unwrap().1, "Jürgen K");
        assert!(handshake.url().starts_with("/socket.io/?EIO=4"));
        assert!(handshake.is_cross_domain());
        assert_eq!(handshake.time().duration_since(UNIX_EPOCH).unwrap().as_millis(), 1_700_000_000_123);
    }

    #[test]
    fn auth_is_an_empty_object_if_there_is_none() {
        let absent = handshake("127.0.0.1:1", "");
        assert_eq!(absent.raw_auth(), "{}");
        assert_eq!(absent.auth::<serde_json::Value>().unwrap(), serde_json::json!({}));
        let given = handshake("127.0.0.1:1", r#"{"token":"x"}"#);
        #[derive(serde::Deserialize)]
        struct Auth {
            token: String,
        }
        assert_eq!(given.auth::<Auth>().unwrap().token, "x");
        assert!(given.auth::<u8>().is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?}", handshake("127.0.0.1:1", r#"{"token":"secret"}"#));
        assert!(!text.contains("secret") && !text.contains("abc"), "{text}");
    }
}
