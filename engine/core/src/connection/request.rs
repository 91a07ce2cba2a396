//! What a request asks for: a file, or which service of Engine.IO, or which refusal.
//!
//! The order of the checks is Node's `verify` (the first that fails decides). What depends on the session (is it
//! known, how does it talk now) is decided where sessions are, in `shard::requests`.
//!
//! Source: engine.io 6.6, `server.ts`.

use crate::base::seed::Sid;
use crate::door::Transport;
use crate::options::{Asset, Options};
use ringio_codec::http::EngineError;
use ringio_codec::http::query::EngineQuery;
use ringio_codec::http::request::{BodyLength, Method, Request};

/// Where a request leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Nothing of ours.
    NotFound,
    /// A file served from memory, by index; `is_head` wants no body.
    Asset {
        /// Index into the assets.
        index: usize,
        /// HEAD instead of GET.
        is_head: bool,
        /// The client has this version already.
        is_known: bool,
    },
    /// Engine.IO.
    Engine(Ask),
}

/// What an Engine.IO request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whether the client speaks Engine.IO 4; everything else counts as 3.
    pub is_protocol_4: bool,
    /// Its session: none, one that could exist, or nonsense.
    pub sid: AskedSid,
    /// The request's method.
    pub method: AskMethod,
    /// How it wants to talk.
    pub transport: Transport,
}

impl Ask {
    /// What a handshake says where WebSocket is spoken without Engine.IO.
    const PLAIN: Self =
        Self { is_protocol_4: true, sid: AskedSid::None, method: AskMethod::Upgrade, transport: Transport::WebSocket };
}

/// The `sid` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedSid {
    /// Absent: a new session.
    None,
    /// One of the right shape.
    Some(Sid),
    /// Not a sid at all, hence unknown.
    Malformed,
}

/// How a request reaches Engine.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskMethod {
    /// A GET.
    Get,
    /// A POST.
    Post,
    /// Any other method.
    Other,
    /// A WebSocket handshake.
    Upgrade,
}

/// Finds out what `request` asks for.
///
/// # Errors
/// What Engine.IO refuses before it looks at sessions.
pub fn route(request: &Request<'_>, options: &Options, assets: &[Asset]) -> Result<Route, EngineError> {
    if matches!(request.method, Method::Get | Method::Head)
        && let Some(index) = assets.iter().position(|asset| asset.path == request.path())
    {
        let is_known =
            request.headers.get("if-none-match").is_some_and(|tags| holds_tag(tags, assets[index].etag.as_bytes()));
        return Ok(Route::Asset { index, is_head: request.method == Method::Head, is_known });
    }
    if !request.target.starts_with(options.path.as_str()) {
        return Ok(Route::NotFound);
    }
    if options.plain_websocket {
        return if request.is_websocket_upgrade() {
            Ok(Route::Engine(Ask::PLAIN))
        } else {
            Err(EngineError::BadRequest)
        };
    }
    let query = EngineQuery::decode(request.query());
    let transport = match &*query.transport {
        "polling" if options.allow_polling => Transport::Polling,
        "websocket" if options.allow_websocket => Transport::WebSocket,
        _ => return Err(EngineError::UnknownTransport),
    };
    if !request.headers.get("origin").is_none_or(ringio_codec::http::is_valid_header_value) {
        return Err(EngineError::BadRequest);
    }
    let method = match request.method {
        Method::Get if request.is_websocket_upgrade() => AskMethod::Upgrade,
        Method::Get => AskMethod::Get,
        Method::Post => AskMethod::Post,
        _ => AskMethod::Other,
    };
    let sid = match &query.sid {
        None => AskedSid::None,
        Some(sid) => Sid::parse(sid).map_or(AskedSid::Malformed, AskedSid::Some),
    };
    if sid == AskedSid::None {
        if !matches!(method, AskMethod::Get | AskMethod::Upgrade) {
            return Err(EngineError::BadHandshakeMethod);
        }
        if (method == AskMethod::Upgrade) != (transport == Transport::WebSocket) {
            return Err(EngineError::BadRequest);
        }
    }
    Ok(Route::Engine(Ask { is_protocol_4: query.protocol == 4, sid, method, transport }))
}

/// Whether the list of entity tags in `If-None-Match` holds this one.
fn holds_tag(tags: &[u8], etag: &[u8]) -> bool {
    tags.split(|byte| *byte == b',').any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag
    })
}

/// Whether a body follows the request's head.
#[must_use]
pub fn has_body(request: &Request<'_>) -> bool {
    !matches!(request.body, BodyLength::None | BodyLength::Fixed(0))
}
