//! The server: what a program holds of it, how it starts and ends.
//!
//! ```text
//! Server::builder() --build--> Server --listen--> shards run --close--> sockets hear "server shutting down", shards end
//! ```
//! A [`Server`] is a handle (`Send + Sync`, cheap to clone); everything of its main namespace can be called on it, as
//! in Node.

use crate::address::IntoAddresses;
use crate::application::{ShardApplication, current};
use crate::cluster::{ClusterCounters, Gateway, NodeId};
use crate::error::{Error, HandlerError, Result};
use crate::options::Builder;
use crate::registry::MAIN;
use crate::shared::{HandlerCounters, Shared};
use crate::{Closing, Driver, Namespace, Socket};
use ringio_core::door::Counters;
use ringio_core::options::Options;
use ringio_runtime::shard_thread;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// A Socket.IO server. Dereferences to its main namespace `/`.
///
/// ```no_run
/// use ringio::{Data, Server, Socket};
///
/// fn main() -> ringio::Result<()> {
///     let io = Server::new();
///     io.on_connection(|socket: Socket| {
///         socket.on("chat message", |socket: Socket, Data(text): Data<String>| {
///             socket.broadcast().emit("chat message", &text)
///         });
///     });
///     io.listen(3000)
/// }
/// ```
///
/// Beside the handlers, what an operator wants to know:
///
/// ```no_run
/// # use ringio::Server;
/// # async fn report(io: Server) -> ringio::Result<()> {
/// io.on_handler_error(|socket, event, error| println!("{} of {}: {error}", event, socket.id()));
/// let running = io.start("127.0.0.1:3000")?;
/// println!("{} on {} shards", running.local_addr(), io.shards());
/// println!("{:?} {:?}", io.handler_counters(), io.shard_counters().await);
/// println!("{:?} {:?}", io.node(), io.cluster_counters());
/// println!("{} clients below {}", io.engine().clients_count().await, io.sockets().name());
/// println!("{:?} {:?} {:?}", io.connect_timeout(), io.upgrade_timeout(), io.serve_client());
/// println!("pings after {:?}, pongs within {:?}", io.ping_interval(), io.ping_timeout());
/// io.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Server {
    main: Namespace,
}

impl Server {
    /// A server with Node's defaults and one shard per core.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults are within their ranges")
    }

    /// A server with options.
    pub fn builder() -> Builder {
        Builder::new(Options::default())
    }

    pub(crate) fn of_shared(shared: Arc<Shared>) -> Self {
        let main = match current(&shared) {
            Some(app) => (*app.namespace(MAIN).expect("the main namespace stays")).clone(),
            None => Namespace::new(shared, MAIN, Arc::from("/")),
        };
        Self { main }
    }

    /// Calls `hook` when an event was not handled to its end; with the socket, the event's name and the reason.
    ///
    /// It runs on the socket's shard. One hook; another one replaces it.
    pub fn on_handler_error(&self, hook: impl Fn(&Socket, &str, &HandlerError) + Send + Sync + 'static) {
        self.shared().set_error_hook(Arc::new(hook));
    }

    /// How often handlers did not do their work.
    #[must_use]
    pub fn handler_counters(&self) -> HandlerCounters {
        self.shared().handler_counters()
    }

    /// What the core of each shard has counted: packets encoded, frames queued, sends, and so on. Indexed by shard;
    /// shards that have stopped are left out.
    pub async fn shard_counters(&self) -> Vec<Counters> {
        let mut answers = Vec::new();
        for shard in 0..self.shared().settings.shard_count {
            let (sender, receiver) = oneshot::channel();
            let asked = self.shared().inject(shard, move |ShardApplication(app)| {
                let _ = sender.send(app.with_core(|core| core.counters()));
            });
            if asked.is_ok() {
                answers.push(receiver);
            }
        }
        let mut counters = Vec::with_capacity(answers.len());
        for answer in answers {
            counters.extend(answer.await.ok());
        }
        counters
    }

    /// How this server is called among the servers of its cluster; `None` without an adapter.
    #[must_use]
    pub fn node(&self) -> Option<&NodeId> {
        self.shared().cluster.as_ref().map(Gateway::node)
    }

    /// What went to other servers and came from them; zeros without an adapter.
    #[must_use]
    pub fn cluster_counters(&self) -> ClusterCounters {
        self.shared().cluster.as_ref().map(Gateway::counters).unwrap_or_default()
    }

    /// Listens and serves until [`Server::close`]; blocks meanwhile.
    ///
    /// A port alone listens on all addresses. In an async program use [`Server::start`] instead.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn listen(&self, addresses: impl IntoAddresses) -> Result<()> {
        self.start(addresses)?.join();
        Ok(())
    }

    /// Listens and serves; returns as soon as clients can connect.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Start`], [`Error::AlreadyStarted`], [`Error::Adapter`].
    pub fn start(&self, addresses: impl IntoAddresses) -> Result<ServerHandle> {
        let addresses = addresses.into_addresses()?;
        let shared = self.shared();
        if !shared.claim_start() {
            return Err(Error::AlreadyStarted);
        }
        if let Some(gateway) = &shared.cluster
            && let Err(error) = gateway.connect(shared)
        {
            shared.release_start();
            return Err(Error::Adapter(error));
        }
        let for_shards = Arc::clone(shared);
        let make = move |context| ShardApplication::new(Arc::clone(&for_shards), context);
        match shard_thread::start(&shared.settings.for_runtime(addresses), make) {
            Ok(running) => shared.set_running(running),
            Err(error) => {
                shared.release_start();
                return Err(Error::Start(error));
            }
        }
        Ok(ServerHandle { server: self.clone() })
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Server {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.main
    }
}

/// A server that runs. Dropping it changes nothing: the server runs until it is closed.
///
/// ```no_run
/// # fn main() -> ringio::Result<()> {
/// let io = ringio::Server::new();
/// let running = io.start("127.0.0.1:0")?;
/// println!("{} of {:?}, by {:?}", running.local_addr(), running.local_addrs(), running.driver());
/// running.close();
/// running.join();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ServerHandle {
    server: Server,
}

impl ServerHandle {
    /// The first IP address it listens on; with the port that `0` became.
    ///
    /// # Panics
    /// If it listens on none: only on Unix sockets, or nowhere.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs()[0]
    }

    /// All IP addresses it listens on, in the order given.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.running().local_addresses()
    }

    /// The driver that runs: never [`Driver::Auto`].
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.running().driver()
    }

    /// As [`Server::close`].
    pub fn close(&self) -> Closing {
        self.server.close()
    }

    /// Waits until the server has ended. Not from a handler.
    pub fn join(&self) {
        self.running().join();
    }

    fn running(&self) -> &shard_thread::Running<ShardApplication> {
        self.server.shared().running().expect("a handle exists only of a server that was started")
    }
}

/// Closes the server on SIGINT (Ctrl-C) or SIGTERM; a second signal ends the process at once with code 130.
///
/// ```no_run
/// let io = ringio::Server::new();
/// ringio::stop_on_signals(&io)?;
/// io.listen(3000)
/// # ; Ok::<(), ringio::Error>(())
/// ```
///
/// # Errors
/// [`Error::Signals`] if they cannot be waited for.
pub fn stop_on_signals(server: &Server) -> Result<()> {
    let shared = Arc::clone(server.shared());
    let handle = shared.tokio.handle().cloned();
    let close = move || shared.close();
    on_signals(handle.as_ref(), close)
}

pub(crate) fn on_signals(tokio: Option<&tokio::runtime::Handle>, close: impl FnOnce() + Send + 'static) -> Result<()> {
    let tokio =
        tokio.ok_or_else(|| Error::Signals(std::io::Error::other("there is no Tokio runtime to wait for them")))?;
    let _entered = tokio.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    tokio.spawn(async move {
        let mut any = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        any().await;
        close();
        any().await;
        std::process::exit(130);
    });
    Ok(())
}
