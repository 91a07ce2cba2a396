//! Whom a broadcast is meant for, and what is to happen to them.
//!
//! `union(to) - union(except)`, each socket once; no room means everyone. An operator is immutable: each step gives
//! another one, so that one may be kept and used again. It works on shards and everywhere else, and reaches the
//! sockets of all shards.

use crate::application::{App, current};
use crate::broadcast_ack::TIMEOUT_DEFAULT;
use crate::emitted::Emitted;
use crate::encode::{self, EmitArgs};
use crate::error::{EmitError, FetchError};
use crate::rooms::IntoRooms;
use crate::waiter::{FetchedSockets, Waiter};
use crate::{Namespace, RemoteSocket};
use ringio_core::door::{EmitFlags, Operation};
use ringio_core::room::select::Target;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// Some sockets of a namespace.
///
/// ```no_run
/// # let io = ringio::Server::new();
/// io.to("news").to("sports").except("muted").emit("headline", "Rust wins");
/// let others = io.of("/admin").within("lobby");
/// others.sockets_join("archive");
/// others.disconnect_sockets(false);
/// ```
///
/// ```no_run
/// # async fn more(io: ringio::Server) -> Result<(), Box<dyn std::error::Error>> {
/// io.to("map").volatile().compress(false).emit("position", &(1.5, 2.5)); // may be dropped, is not compressed
/// io.to("lobby").local().send("for the clients of this server alone");
/// for socket in io.within("lobby").fetch_sockets().await? {
///     println!("{}", socket.id());
/// }
/// io.within("lobby").sockets_leave("lobby");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens before emit or another operation"]
pub struct BroadcastOperator {
    namespace: Namespace,
    target: Target,
    flags: EmitFlags,
    timeout: Option<Duration>,
}

impl BroadcastOperator {
    /// Everyone in the namespace.
    pub(crate) fn new(namespace: &Namespace) -> Self {
        // A shard counts references to a handle of its own, so that the count does not bounce between cores.
        let namespace_of_shard = match current(namespace.shared()) {
            Some(app) => app.namespace(namespace.id()),
            None => None,
        };
        let namespace = namespace_of_shard.map_or_else(|| namespace.clone(), |own| (*own).clone());
        Self { namespace, target: Target::default(), flags: EmitFlags::default(), timeout: None }
    }

    pub(crate) fn with_target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    pub(crate) fn with_flags(mut self, flags: EmitFlags) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn change_flags(mut self, change: impl FnOnce(&mut EmitFlags)) -> Self {
        change(&mut self.flags);
        self
    }

    /// And the sockets in any of these rooms. A socket in several of them is reached once.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        rooms.for_each_room(&mut |room| self.target.rooms.push(Arc::from(room)));
        self
    }

    /// The same as [`BroadcastOperator::to`]; Node calls it `in`.
    pub fn within(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// But not the sockets in any of these rooms (or with these ids).
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        rooms.for_each_room(&mut |room| self.target.except.push(Arc::from(room)));
        self
    }

    /// Only sockets of this server.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Dropped for every client that cannot take it at this instant, as in Node: its connection has not taken all that was sent before; the
    /// same handler, or one of another message that came together with its own, has just sent it something; or it polls and no request of
    /// its waits. What other clients' handlers send it does not count, up to the 64 KiB that leave together.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether the event may be compressed, where the transport can. Default true.
    ///
    /// In Node `false` has an effect on polling alone; here on WebSocket with
    /// [`per_message_deflate`](crate::Builder::per_message_deflate) too.
    pub fn compress(mut self, is_compressed: bool) -> Self {
        self.flags.compress = is_compressed;
        self
    }

    /// How long acknowledgements, and other servers in `fetch_sockets`, are waited for. Default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) fn parts(&self) -> (&Namespace, Target, EmitFlags, Duration) {
        (&self.namespace, self.target.clone(), self.flags, self.timeout.unwrap_or(TIMEOUT_DEFAULT))
    }

    /// Sends an event to them: a tuple is several arguments, `()` none, everything else one.
    ///
    /// Cost: encoded once, however many receive it.
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        broadcast(&self.namespace, &self.target, self.flags, event, args)
    }

    /// Sends the event `message`, as [`emit`](Self::emit) does.
    pub fn send<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.emit("message", args)
    }

    /// Who they are, on all shards and all servers of the cluster.
    ///
    /// Waits for other servers as long as [`Builder::requests_timeout`](crate::Builder::requests_timeout) says, or
    /// [`BroadcastOperator::timeout`]. The future may be awaited anywhere, or dropped.
    pub fn fetch_sockets(&self) -> FetchSockets {
        let (sender, receiver) = oneshot::channel();
        let (namespace, target, flags) = (self.namespace.clone(), self.target.clone(), self.flags);
        let timeout_ms =
            self.timeout.map_or_else(|| namespace.shared().settings.requests_timeout_ms, crate::error::millis_of);
        let asked = self.namespace.run(move |app| ask(app, namespace, &target, flags, timeout_ms, sender));
        FetchSockets(match asked {
            Ok(()) => Fetch::Waiting(receiver),
            Err(EmitError::Overloaded) => Fetch::Failed(FetchError::Overloaded),
            Err(_) => Fetch::Failed(FetchError::NotRunning),
        })
    }

    /// Makes them join rooms.
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Emitted {
        self.operate(Operation::Join(names(rooms)))
    }

    /// Makes them leave rooms.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Emitted {
        self.operate(Operation::Leave(names(rooms)))
    }

    /// Makes them leave the namespace; with `close` all their namespaces, and ends their connections.
    pub fn disconnect_sockets(&self, close: bool) -> Emitted {
        self.operate(Operation::Disconnect { close })
    }

    fn operate(&self, operation: Operation) -> Emitted {
        let (id, target, flags) = (self.namespace.id(), self.target.clone(), self.flags);
        Emitted::new(self.namespace.run(move |app| app.with_core(|core| core.operate(id, &target, &operation, flags))))
    }
}

fn names(rooms: impl IntoRooms) -> Arc<[Arc<str>]> {
    let mut names = Vec::new();
    rooms.for_each_room(&mut |room| names.push(Arc::from(room)));
    names.into()
}

/// An event for the sockets of `namespace` that `target` selects.
pub(crate) fn broadcast<A: EmitArgs + ?Sized>(
    namespace: &Namespace,
    target: &Target,
    flags: EmitFlags,
    event: &str,
    args: &A,
) -> Emitted {
    let id = namespace.id();
    Emitted::new(match current(namespace.shared()) {
        Some(app) => encode::event(event, args, |parts| {
            app.send(|core| core.broadcast(id, namespace.name(), target, parts, flags))
        })
        .and_then(|sent| sent.map(|_| ()).map_err(EmitError::from)),
        None => namespace.encode_for_shard(event, args).and_then(|event| {
            let (name, target) = (namespace.clone(), target.clone());
            namespace.run(move |app| {
                // Whoever emitted it is on another thread and has gone on; that it can be encoded is known.
                let _ = app.send(|core| core.broadcast(id, name.name(), &target, event.parts(), flags));
            })
        }),
    })
}

type Fetched = Result<Vec<RemoteSocket>, FetchError>;

fn ask(
    app: &Rc<App>,
    namespace: Namespace,
    target: &Target,
    flags: EmitFlags,
    timeout_ms: u64,
    sender: oneshot::Sender<Fetched>,
) {
    if !app.with_core(|core| core.may_ask()) {
        // Nobody waits any more: the future was dropped.
        let _ = sender.send(Err(FetchError::Overloaded));
        return;
    }
    let id = namespace.id();
    let waiter = app.waiters.add(Waiter::Fetch(Box::new(move |fetched| {
        let FetchedSockets { sockets, others, missing, tally } = fetched;
        let sockets = sockets.into_iter().map(|socket| RemoteSocket::new(namespace.clone(), socket));
        let others = others.into_iter().map(|socket| RemoteSocket::elsewhere(namespace.clone(), socket));
        let sockets: Vec<RemoteSocket> = sockets.chain(others).collect();
        let (answered, expected) = (tally.answered, tally.expected);
        let is_whole = missing == 0 && expected == Some(answered);
        let error = |sockets| FetchError::Timeout { sockets, missing, answered, expected };
        // Nobody waits any more: the future was dropped.
        let _ = sender.send(if is_whole { Ok(sockets) } else { Err(error(sockets)) });
    })));
    app.with_core(|core| core.fetch_sockets(id, target, flags, timeout_ms, waiter));
}

/// The sockets asked for with `fetch_sockets`: a future for everywhere.
///
/// ```no_run
/// # use ringio::FetchError;
/// # async fn count(io: ringio::Server) {
/// match io.fetch_sockets().await {
///     Ok(sockets) => println!("{} sockets on all servers", sockets.len()),
///     Err(FetchError::Timeout { sockets, .. }) => println!("at least {}", sockets.len()),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the sockets are the future's output"]
pub struct FetchSockets(Fetch);

#[derive(Debug)]
enum Fetch {
    Failed(FetchError),
    Waiting(oneshot::Receiver<Fetched>),
}

impl Future for FetchSockets {
    type Output = Fetched;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Fetched> {
        match &mut self.0 {
            Fetch::Failed(error) => Poll::Ready(Err(error.clone())),
            // A sender is dropped by a shard that stops.
            Fetch::Waiting(receiver) => {
                Pin::new(receiver).poll(context).map(|fetched| fetched.unwrap_or(Err(FetchError::NotRunning)))
            }
        }
    }
}
