//! Engine.IO alone: sessions and messages, without namespaces, events and acknowledgements.
//!
//! For programs that speak a protocol of their own over polling and WebSocket, and for the protocol's test suite.
//!
//! ```no_run
//! use ringio::engine::EngineServer;
//!
//! fn main() -> ringio::Result<()> {
//!     let engine = EngineServer::builder().build_engine()?;
//!     engine.on_message(|session, message| {
//!         session.send(message);
//!     });
//!     engine.listen(3000)
//! }
//! ```

use crate::DisconnectReason;
use crate::address::IntoAddresses;
use crate::background::Background;
use crate::decision::{self, Decision, Host};
use crate::emitted::Emitted;
use crate::error::{EmitError, Error, Result};
use crate::hooks::Hooks;
use crate::options::Builder;
use crate::request_extensions;
use crate::server::on_signals;
use crate::shared::Settings;
use crate::tokio_context::TokioContext;
use parking_lot::RwLock;
use ringio_core::base::id::{ConnectionKey, SessionKey, ShardIndex};
use ringio_core::door::{Event, Verdict};
use ringio_core::options::Options;
use ringio_core::shard::Shard;
use ringio_runtime::shard_thread::{self, Application, Running, ShardContext};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A message of Engine.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Binary.
    Binary(&'a [u8]),
}

/// One client, on its own shard, for the length of one call.
///
/// ```no_run
/// # use ringio::engine::{EngineServer, Message};
/// # let engine = EngineServer::builder().build_engine()?;
/// engine.on_message(|session, message| match message {
///     Message::Text("bye") => session.close(),
///     message => {
///         println!("{} says {message:?}", session.key());
///         session.send(message);
///     }
/// });
/// # Ok::<(), ringio::Error>(())
/// ```
pub struct Session<'a> {
    application: &'a EngineApplication,
    key: SessionKey,
}

impl Session<'_> {
    /// A number that no other session of this shard has at this time.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key.to_bits()
    }

    /// Sends a message.
    pub fn send(&self, message: Message<'_>) -> Emitted {
        let (data, is_binary) = match message {
            Message::Text(text) => (text.as_bytes(), false),
            Message::Binary(bytes) => (bytes, true),
        };
        let sent = self.application.with_core(|core| core.engine_send(self.key, data, is_binary));
        Emitted::new(sent.map_err(EmitError::from))
    }

    /// Closes the session.
    pub fn close(&self) {
        self.application.with_core(|core| core.engine_close(self.key));
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("key", &self.key).finish()
    }
}

type OnConnection = dyn Fn(&Session<'_>) + Send + Sync;
type OnMessage = dyn Fn(&Session<'_>, Message<'_>) + Send + Sync;
type OnClose = dyn Fn(&Session<'_>, DisconnectReason) + Send + Sync;

/// Given before the server starts; the shards copy them then.
#[derive(Clone, Default)]
struct Handlers {
    connection: Option<Arc<OnConnection>>,
    message: Option<Arc<OnMessage>>,
    close: Option<Arc<OnClose>>,
}

/// A server that speaks Engine.IO alone. A handle: `Send + Sync`, cheap to clone.
///
/// ```no_run
/// use ringio::engine::EngineServer;
///
/// # fn main() -> ringio::Result<()> {
/// let engine = EngineServer::builder().path("/engine.io").build_engine()?;
/// engine.on_connection(|session| println!("{session:?} is here"));
/// engine.on_message(|session, message| drop(session.send(message)));
/// engine.on_close(|session, reason| println!("{session:?} has gone: {reason}"));
/// engine.stop_on_signals()?;
/// println!("{:?}", engine.start("127.0.0.1:3000")?); // `listen` does both
/// engine.join(); // until engine.close()
/// # engine.close(); engine.listen(3000)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EngineServer(Arc<Inner>);

struct Inner {
    settings: Settings,
    handlers: RwLock<Handlers>,
    tokio: TokioContext,
    is_started: AtomicBool,
    is_closing: AtomicBool,
    running: OnceLock<Running<EngineApplication>>,
}

impl EngineServer {
    /// Options; the path is `/engine.io` by default. End with [`Builder::build_engine`].
    pub fn builder() -> Builder {
        Builder::new(Options { path: "/engine.io/".to_owned(), ..Options::default() })
    }

    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner {
            settings,
            handlers: RwLock::default(),
            tokio: TokioContext::new(None),
            is_started: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            running: OnceLock::new(),
        }))
    }

    /// Calls `handler` for every session that opens. Before the server starts.
    pub fn on_connection(&self, handler: impl Fn(&Session<'_>) + Send + Sync + 'static) {
        self.0.handlers.write().connection = Some(Arc::new(handler));
    }

    /// Calls `handler` for every message. Before the server starts.
    pub fn on_message(&self, handler: impl Fn(&Session<'_>, Message<'_>) + Send + Sync + 'static) {
        self.0.handlers.write().message = Some(Arc::new(handler));
    }

    /// Calls `handler` for every session that has ended. Before the server starts.
    pub fn on_close(&self, handler: impl Fn(&Session<'_>, DisconnectReason) + Send + Sync + 'static) {
        self.0.handlers.write().close = Some(Arc::new(handler));
    }

    /// Listens and serves until [`EngineServer::close`]; blocks meanwhile.
    ///
    /// # Errors
    /// As [`Server::start`](crate::Server::start).
    pub fn listen(&self, addresses: impl IntoAddresses) -> Result<()> {
        self.start(addresses)?;
        self.join();
        Ok(())
    }

    /// Listens and serves; returns the addresses as soon as clients can connect.
    ///
    /// # Errors
    /// As [`Server::start`](crate::Server::start).
    pub fn start(&self, addresses: impl IntoAddresses) -> Result<Vec<SocketAddr>> {
        let addresses = addresses.into_addresses()?;
        let inner = &self.0;
        if inner.is_started.swap(true, Ordering::AcqRel) {
            return Err(Error::AlreadyStarted);
        }
        let handlers = inner.handlers.read().clone();
        let server = self.clone();
        let make = move |context: ShardContext| {
            request_extensions::drop_on(Some(context.executor.clone()));
            EngineApplication {
                index: context.index,
                host: Rc::new(EngineHost { core: Rc::clone(&context.core), server: server.clone() }),
                core: Rc::clone(&context.core),
                background: Background::new(context.executor, context.core, server.0.settings.seats),
                is_in_core: Cell::new(false),
                handlers: handlers.clone(),
            }
        };
        let running = shard_thread::start(&inner.settings.for_runtime(addresses), make).map_err(|error| {
            inner.is_started.store(false, Ordering::Release);
            Error::Start(error)
        })?;
        let addresses = running.local_addresses().to_vec();
        assert!(inner.running.set(running).is_ok(), "only the caller that claimed the start gets here");
        if inner.is_closing.load(Ordering::SeqCst) {
            self.close();
        }
        Ok(addresses)
    }

    /// Waits until the server has ended. Not from a handler.
    pub fn join(&self) {
        if let Some(running) = self.0.running.get() {
            running.join();
        }
    }

    /// Stops the server, from anywhere; returns at once.
    pub fn close(&self) {
        self.0.is_closing.store(true, Ordering::SeqCst);
        if let Some(running) = self.0.running.get() {
            running.stop();
        }
    }

    /// As [`stop_on_signals`](crate::stop_on_signals).
    ///
    /// # Errors
    /// [`Error::Signals`] if they cannot be waited for.
    pub fn stop_on_signals(&self) -> Result<()> {
        let server = self.clone();
        on_signals(self.0.tokio.handle(), move || server.close())
    }
}

impl std::fmt::Debug for EngineServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineServer").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// What the runtime runs, one per shard.
struct EngineApplication {
    index: ShardIndex,
    core: Rc<RefCell<Shard>>,
    host: Rc<EngineHost>,
    background: Background,
    is_in_core: Cell<bool>,
    handlers: Handlers,
}

/// What the hooks for requests work on.
struct EngineHost {
    core: Rc<RefCell<Shard>>,
    server: EngineServer,
}

impl Host for EngineHost {
    fn tokio(&self) -> &TokioContext {
        &self.server.0.tokio
    }

    fn decide(&self, connection: ConnectionKey, verdict: Verdict) {
        self.core.borrow_mut().decide(connection, verdict);
    }
}

impl EngineApplication {
    fn hooks(&self) -> &Arc<Hooks> {
        &self.host.server.0.settings.hooks
    }

    fn with_core<R>(&self, call: impl FnOnce(&mut Shard) -> R) -> R {
        self.is_in_core.set(true);
        let result = call(&mut self.core.borrow_mut());
        self.is_in_core.set(false);
        result
    }

    fn run(&self, key: SessionKey, handler: impl FnOnce(&Session<'_>)) {
        let session = Session { application: self, key };
        if catch_unwind(AssertUnwindSafe(|| handler(&session))).is_err() {
            if self.is_in_core.get() {
                tracing::error!("the engine's own state is broken: stopping the process");
                std::process::abort();
            }
            tracing::error!("a handler panicked");
        }
    }
}

impl Application for EngineApplication {
    fn handle_event(&self, event: Event, received: &mut [u8]) {
        match event {
            Event::EngineOpened { session } => {
                if let Some(handler) = &self.handlers.connection {
                    self.run(session, |session| handler(session));
                }
            }
            Event::EngineMessage { session, data, is_binary } => {
                let bytes = data.bytes(received);
                let message = if is_binary {
                    Message::Binary(bytes)
                } else {
                    Message::Text(std::str::from_utf8(bytes).expect("the core hands on text only as text"))
                };
                if let Some(handler) = &self.handlers.message {
                    self.run(session, |session| handler(session, message));
                }
            }
            Event::EngineClosed { session, reason } => {
                if let Some(handler) = &self.handlers.close {
                    self.run(session, |session| handler(session, reason));
                }
            }
            Event::RequestArrived { connection, request, stage } => {
                let host = Rc::clone(&self.host);
                let decision = Decision::new(host, self.hooks(), self.index, connection, request, stage);
                if self.background.start(None, decision).is_some() {
                    self.host.decide(connection, decision::overloaded());
                }
            }
            Event::RequestRefused { request, error, context, message } => {
                decision::tell(self.hooks(), request, error, context, message);
            }
            _ => {}
        }
    }

    fn handle_stop(&self) {
        request_extensions::drop_on(None);
        self.background.stop();
    }
}
