//! What all sessions of a plan share: how they connect, the requests that they send, and what a refusal means.

use crate::failure::{Class, Failure};
use crate::plan::{Parser, Plan, Transport};

/// The key of every handshake (that of RFC 6455, section 1.3): nothing here depends on its being fresh.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A plan's way to connect.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) transport: Transport,
    pub(super) parser: Parser,
    pub(super) namespace: String,
    deflate: bool,
    path: String,
    /// `Host` and the plan's own headers, each with its line end.
    headers: String,
}

impl Config {
    /// The plan's way to connect.
    pub fn new(plan: &Plan) -> Self {
        let mut headers = format!("Host: {}\r\n", plan.target.authority);
        for (name, value) in &plan.headers {
            headers.push_str(&format!("{name}: {value}\r\n"));
        }
        Self {
            transport: plan.transport,
            parser: plan.parser,
            namespace: plan.namespace.clone(),
            deflate: plan.deflate,
            path: plan.target.path.clone(),
            headers,
        }
    }

    /// The handshake of a WebSocket; with a `sid` it is an upgrade.
    pub(super) fn websocket_request(&self, sid: Option<&str>) -> String {
        let sid = sid.map_or(String::new(), |sid| format!("&sid={sid}"));
        let offer = if self.deflate {
            "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
        } else {
            ""
        };
        format!(
            "GET {}?EIO=4&transport=websocket{sid} HTTP/1.1\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{offer}\r\n",
            self.path, self.headers
        )
    }

    /// The GET that waits for packets; with an empty `sid` it opens a session.
    pub(super) fn poll_request(&self, sid: &str) -> String {
        let sid = if sid.is_empty() { String::new() } else { format!("&sid={sid}") };
        format!("GET {}?EIO=4&transport=polling{sid} HTTP/1.1\r\n{}\r\n", self.path, self.headers)
    }

    /// The head of the POST that carries packets.
    pub(super) fn post_request(&self, sid: &str, body_bytes: usize) -> String {
        format!(
            "POST {}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\n{}Content-Type: text/plain;charset=UTF-8\r\n\
             Content-Length: {body_bytes}\r\n\r\n",
            self.path, self.headers
        )
    }

    /// Why the server did not do what was asked, and what to do about it.
    pub(super) fn refusal(&self, status: u16, body: &[u8], is_opening: bool) -> Failure {
        let body = String::from_utf8_lossy(&body[..body.len().min(120)]).trim().to_owned();
        let path = &self.path;
        let advice = match status {
            404 => ": no Socket.IO there. Is it mounted at another path (--path)?",
            301..=308 => ": a redirect. Give the address that it leads to.",
            401 | 403 => ": not allowed. Does it want a header (--header) or a cookie?",
            400 if body.contains("Transport unknown") => ": the server does not allow this transport (--transport)",
            502..=504 => ": a proxy answered that the server behind it does not",
            _ => "",
        };
        let class = if is_opening { Class::Handshake } else { Class::Closed };
        Failure::new(class, format!("the server answered HTTP {status} at {path}{advice} {body}"))
    }
}
