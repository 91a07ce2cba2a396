//! Clients that read slower than they are sent to: what is known of them, what is dropped, and how to wait.
//!
//! ```text
//! queued_bytes   0 ........ low ............ high .............. outbox_bytes_max
//!                   <- drain      no room ->        what does not fit: SlowReceiver
//! ```
//! A client's outbox is what was emitted and not yet given to its transport. Nobody else's is touched by one that is full.

use crate::application::App;
use crate::decode::Arguments;
use crate::encode::EmitArgs;
use crate::error::EmitError;
use crate::extract::EventContext;
use crate::handler::Handler;
use crate::listener::ListenerId;
use crate::options::Builder;
use crate::socket::{Socket, SocketOperator};
use crate::{BroadcastOperator, Namespace};
use ringio_core::base::frame::WhenSlow;
use ringio_core::base::id::SessionKey;
use ringio_core::door::EmitFlags;
use ringio_core::shard::slow::Room;
use std::rc::Rc;
use tokio::sync::oneshot;

/// What happens to an event for a client whose outbox is full. An event goes with all its attachments or not at all; what the
/// protocol itself says (pings, acknowledgements, joining and leaving) and events that ask for an acknowledgement are never dropped.
///
/// For all: [`Builder::when_slow`](crate::Builder::when_slow); for a namespace: [`Builder::when_slow_in`](crate::Builder::when_slow_in); for
/// one emit: `when_slow` of [`SocketOperator`], [`Namespace`] and [`BroadcastOperator`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowReceiver {
    /// A broadcast disconnects it with `outbox full`; an emit to it alone fails with [`EmitError::OutboxFull`]. The default.
    #[default]
    Close,
    /// The event is dropped, and counted. An emit to it alone fails with [`EmitError::OutboxFull`].
    DropNew,
    /// The oldest waiting events that were emitted like this are dropped and counted, an eighth of the bound at a time.
    DropOld,
}

impl Builder {
    /// Bytes that may wait for one client, each packet counted with 64 more. Default 4 MiB, at least 1 KiB; one event alone may be larger.
    /// Node queues without bound.
    ///
    /// At the bound an emit to this client alone fails with [`EmitError::OutboxFull`](crate::EmitError::OutboxFull), and the emitter decides. A
    /// broadcast or an acknowledgement that finds no room disconnects the client with `outbox full`: it would otherwise go on without having
    /// heard, and nobody would know.
    pub fn outbox_bytes_max(mut self, bytes: usize) -> Self {
        self.options.outbox_bytes_max = bytes;
        self
    }

    /// What happens to an event for a client whose outbox is full. Default [`SlowReceiver::Close`].
    ///
    /// ```
    /// # use ringio::{Server, SlowReceiver};
    /// let io = Server::builder()
    ///     .outbox_bytes_max(1 << 20)
    ///     .when_slow(SlowReceiver::DropNew)
    ///     .when_slow_in("/ticker", SlowReceiver::DropOld)
    ///     .build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn when_slow(mut self, policy: SlowReceiver) -> Self {
        self.options.when_slow = policy.to_core();
        self
    }

    /// The same in one namespace. Default none.
    pub fn when_slow_in(mut self, namespace: impl Into<String>, policy: SlowReceiver) -> Self {
        self.options.when_slow_in.push((namespace.into(), policy.to_core()));
        self
    }

    /// The marks of an outbox: above `high` bytes there is no room ([`Socket::emit_when_room`](crate::Socket::emit_when_room)), until it has
    /// come down to `low` ([`Socket::on_drain`](crate::Socket::on_drain)). Default an eighth and a half of
    /// [`outbox_bytes_max`](Self::outbox_bytes_max); `low` below `high`, `high` at most that.
    ///
    /// ```
    /// # use ringio::Server;
    /// let io = Server::builder().outbox_bytes_max(1 << 20).outbox_marks(64 << 10, 512 << 10).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn outbox_marks(mut self, low: usize, high: usize) -> Self {
        self.options.outbox_marks = Some((low, high));
        self
    }
}

impl SlowReceiver {
    pub(crate) const fn to_core(self) -> WhenSlow {
        match self {
            Self::Close => WhenSlow::Close,
            Self::DropNew => WhenSlow::DropNew,
            Self::DropOld => WhenSlow::DropOld,
        }
    }
}

/// The key as the core compares it: FNV-1a, 64 bits, the same on every server. That two keys of one client fall together takes four
/// billion keys to become likely.
fn conflated(key: &str) -> WhenSlow {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    WhenSlow::Conflate(key.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}

impl Socket {
    /// Bytes that wait for this client, as a WebSocket would get them: emitted, not yet given to its transport. All sockets of a
    /// client share one outbox. 0 for one that has left.
    #[must_use]
    ///
    /// ```
    /// # use ringio::Socket;
    /// fn is_slow(socket: &Socket) -> bool {
    ///     socket.queued_bytes() > 100_000
    /// }
    /// ```
    pub fn queued_bytes(&self) -> usize {
        self.app().with_core(|core| core.outbox_bytes(self.key())).unwrap_or(0)
    }

    /// What happens to the next event if there is no room for it.
    ///
    /// ```
    /// # use ringio::{SlowReceiver, Socket};
    /// fn position(socket: &Socket, place: (f32, f32)) {
    ///     socket.when_slow(SlowReceiver::DropOld).emit("position", &place);
    /// }
    /// ```
    pub fn when_slow(&self, policy: SlowReceiver) -> SocketOperator {
        self.operator().when_slow(policy)
    }

    /// The next event takes the place of a waiting one of the same key, so that a slow client gets the latest value only.
    ///
    /// ```
    /// # use ringio::Socket;
    /// fn price(socket: &Socket, symbol: &str, price: f64) {
    ///     socket.conflate(symbol).emit("price", &(symbol, price));
    /// }
    /// ```
    pub fn conflate(&self, key: &str) -> SocketOperator {
        self.operator().conflate(key)
    }

    /// Sends an event as soon as there is room: at once if less than the high mark waits for this client, otherwise when that
    /// has come down to the low mark ([`Builder::outbox_marks`](crate::Builder::outbox_marks)). One task that awaits each of its
    /// events sends as fast as the client reads, and its events come in order.
    ///
    /// ```no_run
    /// # use ringio::{EmitError, Socket};
    /// async fn export(socket: Socket) -> Result<(), EmitError> {
    ///     for row in 0..1_000_000 {
    ///         socket.emit_when_room("row", &row).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`Socket::emit`] but [`EmitError::OutboxFull`]: the client has left, the arguments cannot be encoded.
    pub async fn emit_when_room<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        self.operator().emit_when_room(event, args).await
    }

    /// Calls `listener` when the outbox of this client, once above the high mark, has come down to the low one. Between the marks
    /// nothing is told, so a client at the edge is not reported at every event.
    ///
    /// ```no_run
    /// # let io = ringio::Server::new();
    /// io.on_connection(|socket: ringio::Socket| {
    ///     socket.on_drain(|socket: ringio::Socket| println!("{} reads again", socket.id()));
    /// });
    /// ```
    pub fn on_drain<M>(&self, listener: impl Handler<M>) -> ListenerId {
        let id = self.app().next_listener();
        let listener = listener.into_local();
        if self.app().sockets.change(self.key(), move |local| local.drain.push((id, listener))).is_some() {
            self.app().with_core(|core| core.hear_room(self.key(), true));
        }
        id
    }

    /// Removes one listener of [`Socket::on_drain`], or all of them with `None`.
    ///
    /// ```
    /// # use ringio::Socket;
    /// fn watch_once(socket: &Socket) {
    ///     let id = socket.on_drain(|socket: Socket| println!("{} reads again", socket.id()));
    ///     socket.off_drain(id);
    /// }
    /// ```
    pub fn off_drain(&self, listener: impl Into<Option<ListenerId>>) {
        let listener = listener.into();
        drop(self.app().sockets.look(self.key(), |local| crate::socket_table::remove(&mut local.drain, listener)));
    }
}

impl SocketOperator {
    /// What happens to the event if there is no room for it.
    ///
    /// ```
    /// # use ringio::{SlowReceiver, Socket};
    /// fn position(socket: &Socket, place: (f32, f32)) {
    ///     socket.compress(false).when_slow(SlowReceiver::DropNew).emit("position", &place);
    /// }
    /// ```
    pub fn when_slow(mut self, policy: SlowReceiver) -> Self {
        self.flags.when_slow = Some(policy.to_core());
        self
    }

    /// As [`Socket::conflate`].
    ///
    /// ```
    /// # use ringio::Socket;
    /// fn price(socket: &Socket, symbol: &str, price: f64) {
    ///     socket.compress(false).conflate(symbol).emit("price", &(symbol, price));
    /// }
    /// ```
    pub fn conflate(mut self, key: &str) -> Self {
        self.flags.when_slow = Some(conflated(key));
        self
    }

    /// As [`Socket::emit_when_room`], with these flags; its policy is to wait.
    ///
    /// # Errors
    /// As [`Socket::emit_when_room`].
    ///
    /// ```
    /// # use ringio::{EmitError, Socket};
    /// async fn chunk(socket: Socket, chunk: &[u8]) -> Result<(), EmitError> {
    ///     socket.compress(false).emit_when_room("chunk", chunk).await
    /// }
    /// ```
    pub async fn emit_when_room<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        let flags = EmitFlags { when_slow: Some(WhenSlow::Close), ..self.flags };
        let (app, key) = (Rc::clone(self.socket.app()), self.socket.key());
        let mut is_refused = false;
        loop {
            match app.with_core(|core| core.await_room(key, is_refused)) {
                Room::Gone => return Err(EmitError::Disconnected),
                Room::Awaited => {
                    let (sender, receiver) = oneshot::channel();
                    app.sockets.change(key, |local| local.room.push(sender)).ok_or(EmitError::Disconnected)?;
                    // Dropped with the socket: the next look finds it gone.
                    let _ = receiver.await;
                    is_refused = false;
                }
                Room::Free => match self.socket.emit_flagged(event, args, flags).into_result() {
                    Err(EmitError::OutboxFull) => is_refused = true,
                    result => return result,
                },
            }
        }
    }
}

impl Namespace {
    /// What happens to the next event for clients that have no room for it.
    ///
    /// ```
    /// # use ringio::{Server, SlowReceiver};
    /// # let io = Server::new();
    /// io.of("/ticker").when_slow(SlowReceiver::DropOld).emit("tick", &1);
    /// ```
    pub fn when_slow(&self, policy: SlowReceiver) -> BroadcastOperator {
        BroadcastOperator::new(self).when_slow(policy)
    }

    /// The next event takes, at each client, the place of a waiting one of the same key: slow clients get the latest value only.
    ///
    /// ```no_run
    /// # let io = ringio::Server::new();
    /// io.conflate("EURUSD").emit("price", &("EURUSD", 1.09));
    /// ```
    pub fn conflate(&self, key: &str) -> BroadcastOperator {
        BroadcastOperator::new(self).conflate(key)
    }
}

impl BroadcastOperator {
    /// What happens to the event for clients that have no room for it. Other servers do as they are configured.
    ///
    /// ```
    /// # use ringio::{Server, SlowReceiver};
    /// # let io = Server::new();
    /// io.to("viewers").when_slow(SlowReceiver::DropNew).emit("frame", &"...");
    /// ```
    pub fn when_slow(self, policy: SlowReceiver) -> Self {
        self.change_flags(|flags| flags.when_slow = Some(policy.to_core()))
    }

    /// As [`Namespace::conflate`].
    ///
    /// ```
    /// # let io = ringio::Server::new();
    /// io.to("traders").conflate("EURUSD").emit("price", &("EURUSD", 1.09));
    /// ```
    pub fn conflate(self, key: &str) -> Self {
        self.change_flags(|flags| flags.when_slow = Some(conflated(key)))
    }
}

impl App {
    /// There is room in the outbox of a session: whoever waits goes on, listeners are called.
    pub(crate) fn handle_relieved(self: &Rc<Self>, session: SessionKey) {
        for key in self.with_core(|core| core.sockets_of(session)) {
            let found = self.sockets.look(key, |local| (std::mem::take(&mut local.room), local.drain.clone()));
            let Some((waiting, listeners)) = found else { continue };
            for sender in waiting {
                let _ = sender.send(());
            }
            let Some(socket) = self.socket(key).filter(|_| !listeners.is_empty()) else { continue };
            let context = EventContext::new(&socket, "drain", Arguments::NONE);
            for (_, listener) in &listeners {
                self.run(&**listener, &context);
            }
        }
    }
}
