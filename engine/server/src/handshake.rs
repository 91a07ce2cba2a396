//! The first request of a client's session, and the auth payload of its socket.
//!
//! Kept as it came and read on demand: most applications look at one header or none. Headers, query and address are
//! those of the session's first request even after an upgrade, as in Node; auth belongs to the namespace.

use crate::error::ArgumentError;
use crate::request::Request;
use ringio_core::door::HandshakeRequest;
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::sync::Arc;

/// How a client came here: its first request, to which this dereferences, and its auth payload. Cloning is cheap.
///
/// What hooks have found out about the request is in its [`extensions`](Request::extensions).
///
/// ```no_run
/// # use ringio::{ConnectError, Server, Socket};
/// #[derive(serde::Deserialize)]
/// struct Auth {
///     token: String,
/// }
///
/// # let io = Server::new();
/// io.with_middleware(|socket: Socket| {
///     let handshake = socket.handshake(); // reads like a Request, too
///     println!("{:?} asks for {} with {}", handshake.address(), handshake.url(), handshake.raw_auth());
///     match handshake.auth::<Auth>() {
///         Ok(auth) if auth.token == "secret" => Ok(()),
///         _ => Err(ConnectError::new("not authorized")),
///     }
/// });
/// ```
#[derive(Clone)]
pub struct Handshake {
    request: Request,
    auth: Arc<[u8]>,
}

impl Handshake {
    pub(crate) fn new(request: Arc<HandshakeRequest>, auth: &[u8]) -> Self {
        Self { request: Request(request), auth: Arc::from(auth) }
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
}

impl Deref for Handshake {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither headers nor auth: they hold cookies and tokens, and what is printed gets logged.
        f.debug_struct("Handshake").field("address", &self.request.address()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ringio_core::base::kept::Kept;
    use std::time::UNIX_EPOCH;

    fn handshake(address: &str, auth: &str) -> Handshake {
        let head = "GET /socket.io/?EIO=4&transport=polling&name=J%C3%BCrgen+K&name=2 HTTP/1.1\r\nHost: a\r\n\
                    X-Token: abc\r\norigin: http://b\r\nX-Raw: \u{e4}\r\n\r\n";
        let request = HandshakeRequest {
            head: head.as_bytes().into(),
            address: Some(address.parse().unwrap()),
            issued_ms: 1_700_000_000_123,
            secure: false,
            kept: Kept::default(),
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
