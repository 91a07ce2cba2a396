//! What an operator may set, with Node's names and defaults.
//!
//! Fixed bounds live in `limits`. Source of names and defaults: the documentation of socket.io 4 and engine.io 6.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

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
    /// Most attachments of one event. Default 10, as socket.io-parser since its CVE-2026-33151.
    pub attachments_max: u32,
    /// Bytes that may wait for one client. Default 4_194_304. One message alone may be larger.
    pub outbox_bytes_max: usize,
    /// Speak Engine.IO only: every message goes to the application as it came, nothing of Socket.IO. Default false.
    pub engine_only: bool,
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
            attachments_max: 10,
            outbox_bytes_max: 4 << 20,
            engine_only: false,
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
