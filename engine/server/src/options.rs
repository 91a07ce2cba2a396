//! Building a server: Node's options in snake case, with Node's defaults.
//!
//! Values are checked when the server is built; an error names the option and what would be right.

use crate::background::Seats;
use crate::budgets;
use crate::busy_poll;
use crate::client_files;
use crate::cluster::{Adapter, Gateway};
use crate::compression::{self, HttpCompression, PerMessageDeflate};
use crate::engine::EngineServer;
use crate::error::{Error, Result, millis_of};
use crate::hooks::Hooks;
use crate::parser::Parser;
use crate::recovery_options;
use crate::shared::{Settings, Shared, States};
use crate::tokio_context::TokioContext;
use crate::{Driver, Server, Transport};
use ringio_codec::http::Cookie;
use ringio_core::base::seed::SHARD_COUNT_MAX;
use ringio_core::options::{Asset, Options, RecoveryOptions};
use ringio_runtime::budgets::Limits;
use std::any::TypeId;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest interval or timeout. Milliseconds: a day.
const MILLIS_MAX: u64 = 86_400_000;

/// What is to become a server. Made by [`Server::builder`].
///
/// ```
/// use ringio::{Driver, Server};
/// use std::time::Duration;
///
/// # fn main() -> ringio::Result<()> {
/// let io = Server::builder()
///     .ping_interval(Duration::from_secs(10))
///     .max_http_buffer_size(5_000_000)
///     .shards(2)
///     .driver(Driver::Epoll)
///     .page("/", "text/html; charset=utf-8", "<h1>hello</h1>")
///     .build()?;
/// # Ok(())
/// # }
/// ```
///
/// Everything that Node has an option for:
///
/// ```
/// # use ringio::{Cookie, HttpCompression, PerMessageDeflate, Server, Transport};
/// # use std::time::Duration;
/// # fn main() -> ringio::Result<()> {
/// let io = Server::builder()
///     .path("/chat")
///     .add_trailing_slash(false)
///     .transports(&[Transport::Polling, Transport::WebSocket])
///     .allow_upgrades(true)
///     .allow_eio3(true) // clients of version 2
///     .connect_timeout(Duration::from_secs(45))
///     .ping_timeout(Duration::from_secs(20))
///     .upgrade_timeout(Duration::from_secs(10))
///     .per_message_deflate(PerMessageDeflate::default())
///     .http_compression(HttpCompression::default())
///     .connection_state_recovery(Duration::from_secs(120), true)
///     .cookie(Cookie::default())
///     .on_initial_headers(|_request, headers| headers.append("X-First", "1"))
///     .on_headers(|_request, headers| headers.append("X-Each", "1"))
///     .on_connection_error(|refusal| println!("{}", refusal.message()))
///     .build()?;
/// # Ok(())
/// # }
/// ```
/// And what it has not:
///
/// ```
/// # use ringio::Server;
/// # use ringio::parser::MsgpackParser;
/// # use std::time::Duration;
/// # fn main() -> ringio::Result<()> {
/// let io = Server::builder()
///     .parser(MsgpackParser::new())
///     .attachments_max(10)
///     .outbox_bytes_max(1 << 20)
///     .dynamic_namespaces_max(100)
///     .requests_timeout(Duration::from_secs(5))
///     .pin_threads(false)
///     .drain(Duration::from_secs(5))
///     .state("for handlers that ask for State<&str>")
///     .build()?;
/// # let _ = |handle| Server::builder().tokio(handle).serve_client("node_modules/socket.io-client/dist");
/// # let _ = Server::builder().build_websocket()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "call build"]
pub struct Builder {
    pub(crate) options: Options,
    has_trailing_slash: bool,
    shard_count: Option<usize>,
    driver: Driver,
    pin_threads: bool,
    pub(crate) busy_poll: Duration,
    drain: Duration,
    dynamic_namespaces_max: usize,
    adapter: Option<Box<dyn Adapter>>,
    requests_timeout: Duration,
    cleanup_empty_child_namespaces: bool,
    client_directory: Option<PathBuf>,
    pages: Vec<Asset>,
    states: States,
    tokio: Option<tokio::runtime::Handle>,
    pub(crate) hooks: Hooks,
    per_message_deflate: Option<PerMessageDeflate>,
    seats: Seats,
    pub(crate) budgets: Limits,
    /// What recovery is to be, whether it is on or not.
    pub(crate) recovery: RecoveryOptions,
}

impl Builder {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            has_trailing_slash: true,
            shard_count: None,
            driver: Driver::Auto,
            pin_threads: true,
            busy_poll: Duration::ZERO,
            drain: Duration::from_secs(1),
            dynamic_namespaces_max: 1_000,
            adapter: None,
            requests_timeout: Duration::from_secs(5),
            cleanup_empty_child_namespaces: false,
            client_directory: None,
            pages: Vec::new(),
            states: States::new(),
            tokio: None,
            hooks: Hooks::default(),
            per_message_deflate: None,
            seats: Seats::default(),
            budgets: Limits::default(),
            recovery: RecoveryOptions::default(),
        }
    }

    /// Makes the server one of several that act as one. Default none: the server is alone.
    ///
    /// ```
    /// use ringio::{Server, cluster::LocalCluster};
    ///
    /// # fn main() -> ringio::Result<()> {
    /// let io = Server::builder().adapter(LocalCluster::new()).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn adapter(mut self, adapter: impl Adapter) -> Self {
        self.adapter = Some(Box::new(adapter));
        self
    }

    /// How long other servers may take to answer `fetch_sockets` and `server_side_emit_with_ack`. Default 5 s.
    pub fn requests_timeout(mut self, timeout: Duration) -> Self {
        self.requests_timeout = timeout;
        self
    }

    // Node's options ------------------------------------------------------------------------------------------------

    /// Where Socket.IO is reached. Default `/socket.io`; slashes at the end do not matter.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.options.path = path.into();
        self
    }

    /// Whether the path is followed by a slash in requests. Default true, as clients do.
    pub fn add_trailing_slash(mut self, has_trailing_slash: bool) -> Self {
        self.has_trailing_slash = has_trailing_slash;
        self
    }

    /// Silence after which a ping is sent. Default 25 s, 1 ms to a day. Up to a thousandth more, so that the pings of many silent clients share a turn.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.options.ping_interval_ms = millis_of(interval);
        self
    }

    /// How long a pong may take. Default 20 s, 1 ms to a day.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.options.ping_timeout_ms = millis_of(timeout);
        self
    }

    /// How long an upgrade to WebSocket may take. Default 10 s, 1 ms to a day.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.options.upgrade_timeout_ms = millis_of(timeout);
        self
    }

    /// How long a client may stay without joining a namespace. Default 45 s, 1 ms to a day.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout_ms = millis_of(timeout);
        self
    }

    /// Largest message or polling body taken from a client. Bytes, default 1,000,000, 1 to 2^31.
    pub fn max_http_buffer_size(mut self, bytes: u64) -> Self {
        self.options.max_http_buffer_size = bytes;
        self
    }

    /// The transports that clients may use. Default both; at least one.
    pub fn transports(mut self, transports: &[Transport]) -> Self {
        self.options.allow_polling = transports.contains(&Transport::Polling);
        self.options.allow_websocket = transports.contains(&Transport::WebSocket);
        self
    }

    /// Whether a polling session may become a WebSocket. Default true.
    pub fn allow_upgrades(mut self, is_allowed: bool) -> Self {
        self.options.allow_upgrades = is_allowed;
        self
    }

    /// Whether the connection of a WebSocket handshake outside of the [`path`](Self::path) ends. Default true, as in Node. With false such
    /// a request is answered like any other (404, if there is no [`page`](Self::page)), and its connection may bring more of them.
    ///
    /// ```
    /// # use ringio::Server;
    /// let io = Server::builder().destroy_upgrade(false).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn destroy_upgrade(mut self, is_destroyed: bool) -> Self {
        self.options.destroy_upgrade = is_destroyed;
        self
    }

    /// How long a connection that [`destroy_upgrade`](Self::destroy_upgrade) ends stays before that, without an answer. Default 0: it is
    /// answered with 404 and ends at once, because nobody else can take the upgrade. Node waits 1 s for others on its HTTP server, and
    /// answers nothing. At most a day.
    ///
    /// ```
    /// # use ringio::Server;
    /// # use std::time::Duration;
    /// let as_node = Server::builder().destroy_upgrade_timeout(Duration::from_secs(1)).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn destroy_upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.options.destroy_upgrade_timeout_ms = millis_of(timeout);
        self
    }

    /// Whether clients of Socket.IO 1 and 2, which speak Engine.IO 3, are let in. Default false: they are refused with
    /// `{"code":5,"message":"Unsupported protocol version"}`.
    ///
    /// They are in `/` without asking, so their auth there is empty; in other namespaces it is the query of their `CONNECT`.
    /// In `/` their socket has the id that they know. In other namespaces it has one of the server's own; what they call it there,
    /// `/chat#<id in />`, is its room as well: `to` and `except` take both. They never recover.
    /// All limits hold for them, except `connect_timeout`, which has nothing to wait for. Costs others nothing.
    pub fn allow_eio3(mut self, is_allowed: bool) -> Self {
        self.options.allow_eio3 = is_allowed;
        self
    }

    /// Compresses WebSocket messages for clients that offer it. Default: off, as in Node; `None` turns it off again.
    ///
    /// Messages of clients are inflated up to [`max_http_buffer_size`](Self::max_http_buffer_size); one that would become
    /// longer closes its connection with 1009. An offer that cannot be met is refused with status 400, as `ws` does. It
    /// makes sense for messages of some KiB over slow networks; compressing costs 10 to 20 microseconds per KiB.
    pub fn per_message_deflate(mut self, deflate: impl Into<Option<PerMessageDeflate>>) -> Self {
        self.per_message_deflate = deflate.into();
        self
    }

    /// Compresses the answers to polls for clients that accept gzip or deflate, whichever they prefer. Default: on, from
    /// 1024 bytes; `None` turns it off.
    ///
    /// As in Node, one packet in the answer that may be compressed is enough, see
    /// [`Socket::compress`](crate::Socket::compress). An answer that does not get shorter is sent as it is.
    pub fn http_compression(mut self, compression: impl Into<Option<HttpCompression>>) -> Self {
        self.options.http_compression = compression.into();
        self
    }

    /// Serves the official client's bundles from a directory: `node_modules/socket.io-client/dist` of an installed npm
    /// package. Default: none are served. Node has them built in.
    ///
    /// `socket.io.js`, `.min.js`, `.esm.min.js`, `.msgpack.min.js` and their maps, as far as they are there, are read
    /// once and served below the path: `/socket.io/socket.io.js`, by br, gzip or deflate to clients that accept them.
    pub fn serve_client(mut self, directory: impl Into<PathBuf>) -> Self {
        self.client_directory = Some(directory.into());
        self
    }

    /// How packets are encoded: [`MsgpackParser`](crate::parser::MsgpackParser), or one's own. Clients must use the same one.
    /// Default: the default encoding, which every client speaks.
    pub fn parser(mut self, parser: impl Parser) -> Self {
        self.options.parser = Some(parser.into_core());
        self
    }

    // Ringio's own --------------------------------------------------------------------------------------------------

    /// Most attachments of one event from a client. Default 10, as in Node's parser.
    pub fn attachments_max(mut self, count: u32) -> Self {
        self.options.attachments_max = count;
        self
    }

    /// Number of shards: threads that share nothing, one per core. Default: as many as cores, 1 to 4096.
    pub fn shards(mut self, count: usize) -> Self {
        self.shard_count = Some(count);
        self
    }

    /// How bytes are moved. Default [`Driver::Auto`]: io_uring, or epoll where the system denies it.
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// Whether each shard's thread keeps to a core of its own: the first shard to the first core that the process may use, and so on.
    /// Default true. The guide [`latency`](crate::guides::latency) says how to give it cores that nothing else uses.
    pub fn pin_threads(mut self, is_pinned: bool) -> Self {
        self.pin_threads = is_pinned;
        self
    }

    /// When the server stops, how long sends that have begun may take. Default 1 s. A connection that closes has 2 s at most, however long
    /// this is; a client that polls has it all to come for its last packets.
    pub fn drain(mut self, timeout: Duration) -> Self {
        self.drain = timeout;
        self
    }

    /// Whether namespaces that were made for clients ([`Server::of_matching`], [`Server::of_regex`]) go with their last socket, also
    /// when that one was refused by a middleware. Default false: they stay, as in Node. Namespaces of [`Server::of`] stay in any case,
    /// unless they are children of a regular expression.
    ///
    /// A client that comes later gets a new one: with what its parent has then, without what was added to the former child. A
    /// [`Namespace`](crate::Namespace) handle of one that is gone reaches nobody.
    ///
    /// ```
    /// let io = ringio::Server::builder().cleanup_empty_child_namespaces(true).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn cleanup_empty_child_namespaces(mut self, is_wanted: bool) -> Self {
        self.cleanup_empty_child_namespaces = is_wanted;
        self
    }

    /// How many namespaces that were made for clients may be there at a time. Default 1,000. Node has no bound. Making or removing one
    /// costs time in proportion to this number, a few microseconds per hundred.
    pub fn dynamic_namespaces_max(mut self, count: usize) -> Self {
        self.dynamic_namespaces_max = count;
        self
    }

    /// How many async handlers may wait for something at a time: for the events of one client, and in all on one shard. Default 1,000 and
    /// 1,000,000; at least 1. Node has no bound.
    ///
    /// Handlers that are not async, and those that end without waiting, are not counted. Beyond the bound an event does not reach its async
    /// handlers: [`HandlerError::Overloaded`](crate::HandlerError::Overloaded), counted, and no client but this one notices. The second
    /// bound is for all that waits on a shard: at it handlers of `connection`, `disconnecting` and `disconnect` that wait are cut off, too, clients whose
    /// middlewares wait are refused, and requests whose hooks wait are answered with status 503. A handler that never finishes keeps
    /// its place (some hundred bytes and what it owns) until its shard ends: give what it waits for a timeout.
    ///
    /// ```
    /// # use ringio::Server;
    /// let io = Server::builder().waiting_handlers_max(100, 50_000).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn waiting_handlers_max(mut self, per_socket: usize, per_shard: usize) -> Self {
        self.seats = Seats { per_socket, per_shard };
        self
    }

    /// Serves a page from memory at exactly `path`, compressed for clients that accept it. A second one at the same path replaces the first.
    pub fn page(mut self, path: impl Into<String>, content_type: impl Into<String>, body: impl AsRef<[u8]>) -> Self {
        let page = client_files::asset(path.into(), content_type.into(), body.as_ref(), None);
        self.pages.retain(|other| other.path != page.path);
        self.pages.push(page);
        self
    }

    /// A value for handlers, by its type: the [`State`](crate::State) extractor. A second one of the type replaces the
    /// first.
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        self.states.insert(TypeId::of::<S>(), Arc::new(state));
        self
    }

    /// The Tokio runtime that async handlers use. Default: one worker thread, made when the first async handler runs.
    ///
    /// It must have its time and I/O drivers enabled, and must not be a current-thread runtime that waits in `listen`.
    pub fn tokio(mut self, handle: tokio::runtime::Handle) -> Self {
        self.tokio = Some(handle);
        self
    }

    /// The server.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::ClientFiles`].
    pub fn build(mut self) -> Result<Server> {
        let adapter = self.adapter.take();
        let (settings, states, tokio) = self.settings()?;
        let cluster = adapter.map(|adapter| Gateway::new(adapter, settings.shard_count)).transpose();
        let cluster = cluster.map_err(Error::Adapter)?;
        Ok(Server::of_shared(Arc::new(Shared::new(settings, states, tokio, cluster))))
    }

    /// A server that speaks Engine.IO alone: every message goes to the application as it came.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn build_engine(mut self) -> Result<EngineServer> {
        self.options.engine_only = true;
        let (settings, ..) = self.settings()?;
        Ok(EngineServer::new(settings))
    }

    /// A server of WebSocket alone, without Engine.IO: every message goes to the application as it came, text as text; there
    /// is no polling. A client that does not answer WebSocket's own pings in time is closed.
    ///
    /// It is what the conformance suite for WebSocket runs against: below it everything is the same.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn build_websocket(mut self) -> Result<EngineServer> {
        self.options.plain_websocket = true;
        self.build_engine()
    }

    fn settings(mut self) -> Result<(Settings, States, TokioContext)> {
        self.options.path = path_of(&self.options.path, self.has_trailing_slash)?;
        self.options.per_message_deflate = match self.per_message_deflate.map(PerMessageDeflate::to_core) {
            None => None,
            Some(Ok(deflate)) => Some(deflate),
            Some(Err(problem)) => return Err(refused("per_message_deflate", problem)),
        };
        check(&self.options)?;
        recovery_options::check(&self.recovery)?;
        self.options.hooks = self.hooks.wanted();
        if self.seats.per_socket == 0 || self.seats.per_shard == 0 {
            return Err(refused("waiting_handlers_max", "0 would let no async handler wait for anything"));
        }
        let shard_count = shard_count(self.shard_count)?;
        budgets::check_memory(self.budgets.memory_max, shard_count)?;
        let mut assets = match &self.client_directory {
            Some(directory) => client_files::read(directory, &self.options.path)?,
            None => Vec::new(),
        };
        assets.append(&mut self.pages);
        let settings = Settings {
            options: Arc::new(self.options),
            assets: Arc::new(assets),
            hooks: Arc::new(self.hooks),
            shard_count,
            driver: self.driver,
            pin_threads: self.pin_threads,
            busy_poll: busy_poll::checked(self.busy_poll)?,
            drain_ms: millis_of(self.drain),
            dynamic_namespaces_max: self.dynamic_namespaces_max,
            requests_timeout_ms: millis_of(self.requests_timeout),
            cleanup_empty_child_namespaces: self.cleanup_empty_child_namespaces,
            seats: self.seats,
            budgets: self.budgets,
        };
        Ok((settings, self.states, TokioContext::new(self.tokio)))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish_non_exhaustive()
    }
}

pub(crate) fn refused(option: &'static str, problem: impl Into<String>) -> Error {
    Error::Option { option, problem: problem.into() }
}

/// The path as requests have it.
fn path_of(path: &str, has_trailing_slash: bool) -> Result<String> {
    let trimmed = path.trim_end_matches('/');
    if !path.starts_with('/') || path.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#')) {
        let problem =
            format!("{path:?} must begin with a slash and hold neither spaces nor ? nor #, such as /socket.io");
        return Err(refused("path", problem));
    }
    Ok(if has_trailing_slash { format!("{trimmed}/") } else { trimmed.to_owned() })
}

fn check(options: &Options) -> Result<()> {
    let durations = [
        ("ping_interval", options.ping_interval_ms),
        ("ping_timeout", options.ping_timeout_ms),
        ("upgrade_timeout", options.upgrade_timeout_ms),
        ("connect_timeout", options.connect_timeout_ms),
    ];
    let absence = options.recovery.map(|recovery| ("connection_state_recovery", recovery.max_disconnection_ms));
    for (option, millis) in durations.into_iter().chain(absence) {
        if !(1..=MILLIS_MAX).contains(&millis) {
            return Err(refused(option, format!("{millis} ms is not between 1 ms and {MILLIS_MAX} ms (a day)")));
        }
    }
    if options.destroy_upgrade_timeout_ms > MILLIS_MAX {
        return Err(refused("destroy_upgrade_timeout", format!("more than {MILLIS_MAX} ms (a day)")));
    }
    let size = options.max_http_buffer_size;
    if !(1..=1 << 31).contains(&size) {
        return Err(refused("max_http_buffer_size", format!("{size} bytes is not between 1 and {}", 1_u64 << 31)));
    }
    if let Some(Err(problem)) = options.http_compression.map(|compression| compression::check_level(compression.level))
    {
        return Err(refused("http_compression", problem));
    }
    if let Some(Err(error)) = options.cookie.as_ref().map(Cookie::check) {
        return Err(refused("cookie", error.to_string()));
    }
    if !options.allow_polling && !options.allow_websocket {
        return Err(refused("transports", "at least one of Transport::Polling and Transport::WebSocket is needed"));
    }
    if options.outbox_bytes_max < 1024 {
        return Err(refused("outbox_bytes_max", format!("{} bytes is less than 1024", options.outbox_bytes_max)));
    }
    let (low, high) = options.outbox_marks();
    if low >= high || high > options.outbox_bytes_max {
        let problem = format!("{low} and {high} bytes: low must be below high, high at most outbox_bytes_max");
        return Err(refused("outbox_marks", problem));
    }
    Ok(())
}

fn shard_count(wanted: Option<usize>) -> Result<u16> {
    let count = wanted.unwrap_or_else(|| {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        cores.min(usize::from(SHARD_COUNT_MAX))
    });
    match u16::try_from(count) {
        Ok(count @ 1..=SHARD_COUNT_MAX) => Ok(count),
        _ => Err(refused("shards", format!("{count} is not between 1 and {SHARD_COUNT_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn problem_of(builder: Builder) -> &'static str {
        match builder.build().unwrap_err() {
            Error::Option { option, problem } => {
                assert!(!problem.is_empty());
                option
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let builder = Server::builder;
        assert_eq!(problem_of(builder().ping_interval(Duration::ZERO)), "ping_interval");
        assert_eq!(problem_of(builder().ping_timeout(Duration::from_millis(MILLIS_MAX + 1))), "ping_timeout");
        assert_eq!(problem_of(builder().upgrade_timeout(Duration::ZERO)), "upgrade_timeout");
        assert_eq!(problem_of(builder().connect_timeout(Duration::MAX)), "connect_timeout");
        assert_eq!(problem_of(builder().destroy_upgrade_timeout(Duration::MAX)), "destroy_upgrade_timeout");
        assert_eq!(problem_of(builder().max_http_buffer_size(0)), "max_http_buffer_size");
        assert_eq!(problem_of(builder().transports(&[])), "transports");
        assert_eq!(problem_of(builder().outbox_bytes_max(10)), "outbox_bytes_max");
        assert_eq!(problem_of(builder().outbox_marks(5, 5)), "outbox_marks");
        assert_eq!(problem_of(builder().outbox_marks(5, 5 << 20)), "outbox_marks");
        let cookie = Cookie { name: "a b".to_owned(), ..Cookie::default() };
        assert_eq!(problem_of(builder().cookie(cookie)), "cookie");
        assert_eq!(problem_of(builder().waiting_handlers_max(0, 1)), "waiting_handlers_max");
        assert_eq!(problem_of(builder().waiting_handlers_max(1, 0)), "waiting_handlers_max");
        assert_eq!(problem_of(builder().shards(4).memory_max((64 << 20) - 1)), "memory_max");
        assert!(builder().shards(4).memory_max(64 << 20).build().is_ok());
        assert_eq!(problem_of(builder().recovery_packets_max(0)), "recovery_packets_max");
        assert_eq!(problem_of(builder().recovery_packets_max(1_000_000_001)), "recovery_packets_max");
        assert_eq!(problem_of(builder().recovery_bytes_max(1_023)), "recovery_bytes_max");
        assert_eq!(problem_of(builder().recovery_bytes_max((1 << 40) + 1)), "recovery_bytes_max");
        assert_eq!(problem_of(builder().shards(0)), "shards");
        assert_eq!(problem_of(builder().shards(5000)), "shards");
        for path in ["", "socket.io", "/a b", "/a?b", "/ä"] {
            assert_eq!(problem_of(builder().path(path)), "path");
        }
    }

    #[test]
    fn the_path_ends_as_requests_do() {
        let path = |builder: Builder| builder.settings().unwrap().0.options.path.clone();
        assert_eq!(path(Server::builder()), "/socket.io/");
        assert_eq!(path(Server::builder().path("/chat")), "/chat/");
        assert_eq!(path(Server::builder().path("/chat/")), "/chat/");
        assert_eq!(path(Server::builder().path("/chat/").add_trailing_slash(false)), "/chat");
    }

    #[test]
    fn a_page_replaces_the_one_before() {
        let builder = Server::builder().page("/", "text/plain", "one").page("/", "text/html", "two");
        let (settings, ..) = builder.settings().unwrap();
        assert_eq!(settings.assets.len(), 1);
        assert_eq!(&*settings.assets[0].body, b"two");
    }
}
