//! What a server was built with, and the engine below it: Node's `io.path()`, `io.connectTimeout()`, `io.engine`.
//!
//! Options are fixed when the server is built, so these only read.

use crate::application::ShardApplication;
use crate::{Server, Transport};
use ringio_core::limits::WorstCase;
use ringio_core::options::Options;
use ringio_runtime::memory::worst_case;
use std::time::Duration;
use tokio::sync::oneshot;

impl Server {
    fn options(&self) -> &Options {
        &self.shared().settings.options
    }

    /// The path below which Socket.IO is reached: `/socket.io/`.
    ///
    /// ```
    /// let io = ringio::Server::builder().path("/chat").build()?;
    /// assert_eq!(io.path(), "/chat/");
    /// # Ok::<(), ringio::Error>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> &str {
        &self.options().path
    }

    /// How long a client may stay without joining a namespace.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.options().connect_timeout_ms)
    }

    /// Silence after which a ping is sent.
    #[must_use]
    pub fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.options().ping_interval_ms)
    }

    /// How long a pong may take.
    #[must_use]
    pub fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.options().ping_timeout_ms)
    }

    /// How long an upgrade to WebSocket may take.
    #[must_use]
    pub fn upgrade_timeout(&self) -> Duration {
        Duration::from_millis(self.options().upgrade_timeout_ms)
    }

    /// Largest message or polling body taken from a client. Bytes.
    #[must_use]
    pub fn max_http_buffer_size(&self) -> u64 {
        self.options().max_http_buffer_size
    }

    /// What clients can make this server hold at worst: per connection, connection over TLS, session and shard, computed from the options
    /// and pages, with what the driver receives into. The memory of the application is not in it, nor the kernel's socket buffers. It is
    /// logged at start. [`memory_max`](crate::Builder::memory_max) bounds what is really used.
    ///
    /// ```
    /// let io = ringio::Server::builder().shards(2).max_http_buffer_size(10_000).outbox_bytes_max(20_000).build()?;
    /// let worst = io.worst_case();
    /// assert!(worst.connection_bytes + worst.session_bytes < 2_000_000);
    /// println!("1,000 clients: {} bytes, {} over TLS", worst.total(1_000, 2), worst.over_tls().total(1_000, 2));
    /// # Ok::<(), ringio::Error>(())
    /// ```
    #[must_use]
    pub fn worst_case(&self) -> WorstCase {
        worst_case(self.options(), &self.shared().settings.assets)
    }

    /// The transports that clients may use.
    ///
    /// ```
    /// use ringio::{Server, Transport};
    ///
    /// assert_eq!(Server::new().transports(), [Transport::Polling, Transport::WebSocket]);
    /// ```
    #[must_use]
    pub fn transports(&self) -> Vec<Transport> {
        let options = self.options();
        let all = [(options.allow_polling, Transport::Polling), (options.allow_websocket, Transport::WebSocket)];
        all.into_iter().filter_map(|(is_allowed, transport)| is_allowed.then_some(transport)).collect()
    }

    /// Whether the client's bundles are served: whether [`Builder::serve_client`](crate::Builder::serve_client) was given a directory.
    #[must_use]
    pub fn serve_client(&self) -> bool {
        self.shared().settings.assets.iter().any(|asset| asset.path.starts_with(&self.options().path))
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        usize::from(self.shared().settings.shard_count)
    }

    /// The engine below: Node's `io.engine`. Its hooks (`allow_request`, `generate_id`, `on_initial_headers`, `on_headers`,
    /// `on_connection_error`, `on_engine_connection`, `request_middleware`) are given to the [`Builder`](crate::Builder).
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine { server: self.clone() }
    }
}

/// The Engine.IO server below a Socket.IO server. Made by [`Server::engine`].
///
/// ```
/// assert_eq!(ringio::Server::new().engine().path(), "/socket.io/");
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    server: Server,
}

impl Engine {
    /// Sessions on all shards at this moment, those that have joined no namespace among them: Node's `clientsCount`. Shards that
    /// have stopped have none.
    ///
    /// ```no_run
    /// # async fn report(io: ringio::Server) {
    /// println!("{} clients", io.engine().clients_count().await);
    /// # }
    /// ```
    pub async fn clients_count(&self) -> usize {
        let shared = self.server.shared();
        let mut answers = Vec::new();
        for shard in 0..shared.settings.shard_count {
            let (sender, receiver) = oneshot::channel();
            let asked = shared.inject(shard, move |ShardApplication(app)| {
                let _ = sender.send(app.with_core(|core| core.session_count()));
            });
            if asked.is_ok() {
                answers.push(receiver);
            }
        }
        let mut count = 0;
        for answer in answers {
            count += answer.await.unwrap_or_default();
        }
        count
    }

    /// The path below which Engine.IO is reached, as [`Server::path`].
    #[must_use]
    pub fn path(&self) -> &str {
        self.server.path()
    }
}
