//! Namespaces that come into being when a client asks for them: Node's dynamic namespaces.
//!
//! ```text
//! CONNECT /room-7 --no such namespace--> patterns in their order: predicate(name, handshake)?
//!                                          +-- the first true: child made, parent's middlewares and handlers copied
//!                                          +-- none: CONNECT_ERROR "Invalid namespace"
//! ```
//! A child is a namespace like any other from then on. Clients can make at most `dynamic_namespaces_max` of them at a time;
//! with `cleanup_empty_child_namespaces` one goes with its last socket.

use crate::broadcast_operator::BroadcastOperator;
use crate::emitted::Emitted;
use crate::encode::EmitArgs;
use crate::handler::Handler;
use crate::listener::{ListenerId, ListenerKey};
use crate::middleware::Middleware;
use crate::registry::Occasion;
use crate::rooms::IntoRooms;
use crate::shared::Shared;
use crate::{Handshake, Namespace};
use regex::Regex;
use ringio_core::door::EmitFlags;
use ringio_core::room::select::Target;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Whether a client may have a namespace.
pub(crate) enum Answer {
    /// It is known.
    Known(bool),
    /// It will be.
    Pending(Pin<Box<dyn Future<Output = bool>>>),
}

type Ask = Arc<dyn Fn(&str, &Handshake) -> Answer + Send + Sync>;

/// Which names a parent accepts.
#[derive(Clone)]
pub(crate) struct Pattern {
    /// Node's parents of a regular expression also adopt namespaces made by hand.
    pub(crate) regex: Option<Regex>,
    pub(crate) ask: Ask,
}

/// The pattern of namespaces that are made on demand. Made by [`Server::of_matching`](crate::Server::of_matching),
/// [`Server::of_matching_async`](crate::Server::of_matching_async) and [`Server::of_regex`](crate::Server::of_regex).
///
/// What is added here holds for namespaces made later, as in Node; what is sent goes to all that are there. It has no
/// `fetch_sockets` (Node's throws): ask its [`children`](Self::children).
///
/// ```no_run
/// # use ringio::{Server, Socket};
/// # let io = Server::new();
/// let rooms = io.of_matching(|name, _| name.starts_with("/room-"));
/// rooms.with_middleware(|_: Socket| Ok::<_, &str>(()));
/// rooms.on_connection(|socket: Socket| println!("{} in {}", socket.id(), socket.namespace().name()));
/// let chat = rooms.sockets_on("chat", |socket: Socket| socket.broadcast().emit("chat", &()));
/// rooms.on_disconnecting(|socket: Socket| println!("{:?}", socket.rooms()));
/// rooms.on_disconnect(|| println!("gone"));
/// rooms.sockets_off(chat);
///
/// rooms.send("to everybody in every room"); // `write` is the same
/// rooms.within("lobby").emit("news", &1);
/// rooms.except("lobby").emit("news", &2);
/// rooms.local().volatile().emit("position", &3);
/// rooms.volatile().compress(false).emit("position", &4);
/// rooms.compress(false).local().emit("random", &5);
/// println!("{} rooms", rooms.children().len());
/// # rooms.write(&());
/// ```
#[derive(Clone)]
pub struct ParentNamespace {
    shared: Arc<Shared>,
    index: usize,
}

impl ParentNamespace {
    pub(crate) const fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self { shared, index }
    }

    /// As [`Namespace::on_connection`], for every namespace that is made by this pattern from now on.
    pub fn on_connection<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared.registry.add_to_parent(self.index, &Occasion::Connection, handler.into_shared())
    }

    /// As [`Namespace::sockets_on`], for every namespace that is made by this pattern from now on.
    pub fn sockets_on<M>(&self, event: &str, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared.registry.add_to_parent(self.index, &Occasion::of(event), handler.into_shared())
    }

    /// As [`Namespace::on_disconnecting`], for every namespace that is made by this pattern from now on.
    pub fn on_disconnecting<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared.registry.add_to_parent(self.index, &Occasion::Disconnecting, handler.into_shared())
    }

    /// As [`Namespace::on_disconnect`], for every namespace that is made by this pattern from now on.
    pub fn on_disconnect<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared.registry.add_to_parent(self.index, &Occasion::Disconnect, handler.into_shared())
    }

    /// As [`Namespace::sockets_off`], for namespaces that are made later; those that are there keep theirs, as in Node.
    pub fn sockets_off(&self, listener: impl ListenerKey) {
        self.shared.registry.remove_from_parent(self.index, listener.which());
    }

    /// As [`Namespace::with_middleware`], for every namespace that is made by this pattern from now on.
    pub fn with_middleware<M>(&self, middleware: impl Middleware<M>) {
        self.shared.registry.add_middleware_to_parent(self.index, middleware.into_step());
    }

    /// The namespaces that were made by this pattern and are still there, oldest first.
    #[must_use]
    pub fn children(&self) -> Vec<Namespace> {
        let (_, view) = self.shared.registry.view();
        let children = view.children(self.index).iter();
        children
            .filter_map(|id| Some(Namespace::new(Arc::clone(&self.shared), *id, Arc::clone(&view.table(*id)?.name))))
            .collect()
    }

    /// Sends an event to everybody in all [`children`](Self::children). Returns the first failure, if there is one.
    ///
    /// ```no_run
    /// # let io = ringio::Server::new();
    /// let rooms = io.of_matching(|name, _| name.starts_with("/room-"));
    /// rooms.emit("news", "for everybody in every room");
    /// rooms.to("lobby").except("muted").emit("news", "for some of them");
    /// ```
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        self.operator().emit(event, args)
    }

    /// Sends the event `message`, as [`emit`](Self::emit) does.
    pub fn send<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.emit("message", args)
    }

    /// The same as [`ParentNamespace::send`].
    pub fn write<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.send(args)
    }

    /// The sockets in any of these rooms, in all children.
    pub fn to(&self, rooms: impl IntoRooms) -> ParentBroadcastOperator {
        self.operator().to(rooms)
    }

    /// The same as [`ParentNamespace::to`]; Node calls it `in`.
    pub fn within(&self, rooms: impl IntoRooms) -> ParentBroadcastOperator {
        self.to(rooms)
    }

    /// Everyone but the sockets in any of these rooms, in all children.
    pub fn except(&self, rooms: impl IntoRooms) -> ParentBroadcastOperator {
        self.operator().except(rooms)
    }

    /// Everyone in all children on this server, whatever other servers there are.
    pub fn local(&self) -> ParentBroadcastOperator {
        self.operator().local()
    }

    /// Everyone in all children, with or without compression: [`BroadcastOperator::compress`].
    pub fn compress(&self, is_compressed: bool) -> ParentBroadcastOperator {
        self.operator().compress(is_compressed)
    }

    /// Everyone in all children, but the event is dropped for those who cannot take it at this instant.
    pub fn volatile(&self) -> ParentBroadcastOperator {
        self.operator().volatile()
    }

    fn operator(&self) -> ParentBroadcastOperator {
        ParentBroadcastOperator { parent: self.clone(), target: Target::default(), flags: EmitFlags::default() }
    }
}

impl std::fmt::Debug for ParentNamespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParentNamespace").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Some sockets of all namespaces that a pattern has made: as [`BroadcastOperator`], for each of them.
///
/// ```no_run
/// # let io = ringio::Server::new();
/// # let rooms = io.of_matching(|name, _| name.starts_with("/room-"));
/// let staff = rooms.to("staff").within("guests").except("muted").local().volatile().compress(false);
/// staff.emit("news", "for some in every room");
/// staff.clone().to("lobby").send("the event `message`");
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens before emit"]
pub struct ParentBroadcastOperator {
    parent: ParentNamespace,
    target: Target,
    flags: EmitFlags,
}

impl ParentBroadcastOperator {
    /// And the sockets in any of these rooms.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        rooms.for_each_room(&mut |room| self.target.rooms.push(Arc::from(room)));
        self
    }

    /// The same as [`ParentBroadcastOperator::to`]; Node calls it `in`.
    pub fn within(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// But not the sockets in any of these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        rooms.for_each_room(&mut |room| self.target.except.push(Arc::from(room)));
        self
    }

    /// Only sockets of this server.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Whether the event may be compressed, where the transport can. Default true.
    pub fn compress(mut self, is_compressed: bool) -> Self {
        self.flags.compress = is_compressed;
        self
    }

    /// Dropped for every client that cannot take it at this instant.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Sends an event to them. Returns the first failure, if there is one.
    ///
    /// Cost: encoded once per child.
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        let mut first = Emitted::new(Ok(()));
        for child in self.parent.children() {
            let operator = BroadcastOperator::new(&child).with_flags(self.flags).with_target(self.target.clone());
            let emitted = operator.emit(event, args);
            if first.error().is_none() {
                first = emitted;
            }
        }
        first
    }

    /// Sends the event `message`, as [`emit`](Self::emit) does.
    pub fn send<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.emit("message", args)
    }
}
