//! What an operator may set, with Node's names and defaults.
//!
//! Fixed bounds live in `limits`. Source of names and defaults: the documentation of socket.io 4 and engine.io 6.

use crate::base::frame::WhenSlow;
use crate::parser::Parser;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use ringio_codec::http::cookie::Cookie;
use ringio_codec::http::cors::CorsOptions;
use ringio_codec::http::{ContentEncoding, accept_encoding};
use ringio_codec::websocket::DeflateOptions;
use smallvec::SmallVec;

/// Settings of a server, the same on every shard.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Socket.IO is reached. Default `/socket.io/`. The end is matched exactly: with a trailing slash
    /// `/socket.io?x` is not ours, as in Node.
    pub path: String,
    /// Silence after which a ping is sent. Milliseconds, default 25_000, 1..=86_400_000.
    pub ping_interval_ms: u64,
    /// How long a pong may take. Milliseconds, default 20_000, 1..=86_400_000.
    pub ping_timeout_ms: u64,
    /// How long an upgrade to WebSocket may take from its probe. Milliseconds, default 10_000.
    pub upgrade_timeout_ms: u64,
    /// How long a client may stay without joining a namespace. Milliseconds, default 45_000.
    pub connect_timeout_ms: u64,
    /// Largest message or polling body taken from a client. Bytes, default 1_000_000; told to clients as `maxPayload`.
    pub max_http_buffer_size: u64,
    /// Whether clients may poll. Default true.
    pub allow_polling: bool,
    /// Whether clients may use WebSocket. Default true.
    pub allow_websocket: bool,
    /// Whether a polling session may become a WebSocket. Default true.
    pub allow_upgrades: bool,
    /// Whether the connection of a WebSocket handshake for another path ends. Default true.
    pub destroy_upgrade: bool,
    /// How long it stays before that, unanswered. Milliseconds, default 0: it is answered with 404 and ends at once. Node's is 1_000,
    /// for others who may listen on its HTTP server.
    pub destroy_upgrade_timeout_ms: u64,
    /// Whether clients of Engine.IO 3 (Socket.IO 1 and 2) are let in. Default false: they hear code 5.
    pub allow_eio3: bool,
    /// Most attachments of one event. Default 10, as socket.io-parser since its CVE-2026-33151.
    pub attachments_max: u32,
    /// Bytes that may wait for one client, each packet counted with 64 more. Default 4_194_304. One message alone may be larger.
    pub outbox_bytes_max: usize,
    /// What happens to a packet when its receiver's outbox is full, unless the emit says otherwise. Default: its receiver is closed.
    pub when_slow: WhenSlow,
    /// The same in these namespaces, by name. Default none.
    pub when_slow_in: Vec<(String, WhenSlow)>,
    /// Bytes in an outbox above which a client counts as slow, and down to which it must come to count as such no longer: low,
    /// high. Default: an eighth and a half of `outbox_bytes_max`.
    pub outbox_marks: Option<(usize, usize)>,
    /// Let clients that were cut off come back to their socket. Default off.
    pub recovery: Option<RecoveryOptions>,
    /// Compress WebSocket messages for clients that offer it. Default off, as in Node.
    pub per_message_deflate: Option<PerMessageDeflate>,
    /// Compress answers to polls for clients that accept it. Default on.
    pub http_compression: Option<HttpCompression>,
    /// Which pages of other origins may use the server. Default: no field of CORS is written, no preflight answered.
    pub cors: Option<CorsOptions>,
    /// A cookie that names the session, in the answer to the request that opens it by polling. Default none. Must have
    /// passed [`Cookie::check`].
    pub cookie: Option<Cookie>,
    /// A message that every session gets right behind its OPEN, in the same answer when it polls. Default none.
    pub initial_packet: Option<InitialPacket>,
    /// Which requests the application decides about. Default none.
    pub hooks: Hooks,
    /// How packets are encoded. Default none: the default encoding, JSON and attachments.
    pub parser: Option<Arc<dyn Parser>>,
    /// Speak Engine.IO only: every message goes to the application as it came, nothing of Socket.IO. Default false.
    pub engine_only: bool,
    /// With `engine_only`: speak WebSocket only. Every message is one of the application's, pings are WebSocket's own. Default
    /// false.
    pub plain_websocket: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path: String::from("/socket.io/"),
            ping_interval_ms: 25_000,
            ping_timeout_ms: 20_000,
            upgrade_timeout_ms: 10_000,
            connect_timeout_ms: 45_000,
            max_http_buffer_size: 1_000_000,
            allow_polling: true,
            allow_websocket: true,
            allow_upgrades: true,
            destroy_upgrade: true,
            destroy_upgrade_timeout_ms: 0,
            allow_eio3: false,
            attachments_max: 10,
            outbox_bytes_max: 4 << 20,
            when_slow: WhenSlow::Close,
            when_slow_in: Vec::new(),
            outbox_marks: None,
            recovery: None,
            per_message_deflate: None,
            http_compression: Some(HttpCompression::default()),
            cors: None,
            cookie: None,
            initial_packet: None,
            hooks: Hooks::default(),
            parser: None,
            engine_only: false,
            plain_websocket: false,
        }
    }
}

impl Options {
    /// What happens to packets of a namespace for which there is no room.
    #[must_use]
    pub fn when_slow_in(&self, namespace: &str) -> WhenSlow {
        let found = self.when_slow_in.iter().find(|(name, _)| name == namespace);
        found.map_or(self.when_slow, |(_, when_slow)| *when_slow)
    }

    /// The low and the high mark of an outbox. Bytes.
    #[inline]
    #[must_use]
    pub fn outbox_marks(&self) -> (usize, usize) {
        self.outbox_marks.unwrap_or((self.outbox_bytes_max / 8, self.outbox_bytes_max / 2))
    }
}

/// permessage-deflate (RFC 7692) for WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMessageDeflate {
    /// What is answered to a client's offer. Default: neither side keeps its context, all windows.
    pub negotiation: DeflateOptions,
    /// Shortest message that is compressed by itself, if it gets shorter; in a kept context, and with 0, every message is.
    /// Bytes, default 1024.
    pub threshold_bytes: usize,
    /// 1 (fastest) to 9 (smallest). Default 6, zlib's.
    pub level: u8,
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        let negotiation = DeflateOptions {
            server_no_context_takeover: Some(true),
            client_no_context_takeover: true,
            ..DeflateOptions::default()
        };
        Self { negotiation, threshold_bytes: 1024, level: 6 }
    }
}

/// Compression of the answers to polls, by gzip or deflate as the client prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpCompression {
    /// Shortest body that is compressed. Bytes, default 1024.
    pub threshold_bytes: usize,
    /// 1 (fastest) to 9 (smallest). Default 6, zlib's.
    pub level: u8,
}

impl Default for HttpCompression {
    fn default() -> Self {
        Self { threshold_bytes: 1024, level: 6 }
    }
}

/// The first message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialPacket {
    /// Text as UTF-8, or bytes.
    pub data: Arc<[u8]>,
    /// Whether it is binary.
    pub is_binary: bool,
}

/// Which requests of Engine.IO are put before the application, which then answers with `Shard::decide`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Every request, before anything is checked.
    pub requests: bool,
    /// Each that would open a session, when everything else about it is right.
    pub handshakes: bool,
    /// Each that was refused, for information.
    pub refusals: bool,
    /// Each session that opens, for information.
    pub sessions: bool,
}

/// Connection state recovery. Each shard keeps a log of what it delivered, and what it needs of sockets that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryOptions {
    /// Longest absence. Milliseconds, default 120_000.
    pub max_disconnection_ms: u64,
    /// Whether middlewares are skipped for a socket that has come back. Default true.
    pub skip_middlewares: bool,
    /// Packets that the log of a shard holds at most. Default 100_000. Node's log has no bound but age.
    pub packets_max: usize,
    /// Bytes that they may have together. Default 67_108_864.
    pub bytes_max: usize,
    /// Sockets that may be absent at a time, per shard; beyond it the oldest cannot come back. Default 100_000.
    pub absent_max: usize,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        Self {
            max_disconnection_ms: 120_000,
            skip_middlewares: true,
            packets_max: 100_000,
            bytes_max: 64 << 20,
            absent_max: 100_000,
        }
    }
}

/// A file served from memory, such as a page or the client bundle.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Exact path, for example `/` or `/socket.io/socket.io.js`.
    pub path: String,
    /// For example `text/html; charset=utf-8`.
    pub content_type: String,
    /// Quoted entity tag, for example `"4.8.3"`; answers `If-None-Match` with 304.
    pub etag: String,
    /// The content.
    pub body: Arc<[u8]>,
    /// The content compressed, the preferred encoding first.
    pub encoded: Vec<(ContentEncoding, Arc<[u8]>)>,
}

impl Asset {
    /// The content as the client would have it, given the values of its `Accept-Encoding`.
    pub fn choose<'a>(&self, accepted: impl Iterator<Item = &'a [u8]>) -> (Option<ContentEncoding>, &[u8]) {
        let available: SmallVec<[ContentEncoding; 3]> = self.encoded.iter().map(|(encoding, _)| *encoding).collect();
        let chosen = accept_encoding::choose(accepted, &available);
        let encoded = self.encoded.iter().find(|(encoding, _)| Some(*encoding) == chosen);
        (chosen, encoded.map_or(&self.body, |(_, body)| body))
    }
}

/// What a shard is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The operator's settings.
    pub options: Arc<Options>,
    /// Files served from memory; looked up by path.
    pub assets: Arc<Vec<Asset>>,
    /// Which shard this is.
    pub shard: super::base::id::ShardIndex,
    /// How many shards the server has.
    pub shard_count: u16,
    /// Where all chance comes from: 32 bytes nobody knows, other ones for each shard.
    pub seed: [u8; 32],
    /// Unix time of the shard's time zero. Milliseconds.
    pub unix_time_ms: u64,
}
