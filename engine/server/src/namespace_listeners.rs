//! The listeners that all sockets of a namespace share: added, listed, removed.
//!
//! Shards take a new snapshot of them when they have changed, so they may be added and removed at any time; an event that
//! is being handled goes on with those it began with.

use crate::Namespace;
use crate::error::HandlerError;
use crate::extract::EventContext;
use crate::handler::{ErasedHandler, Handler, Outcome, SharedHandler};
use crate::listener::{ListenerId, ListenerKey, Which};
use crate::registry::Occasion;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl Namespace {
    /// Calls `handler` for every client that joins this namespace.
    ///
    /// The client has been told before, so that what the handler emits comes after its CONNECT.
    ///
    /// ```no_run
    /// # use ringio::{Server, Socket};
    /// # let io = Server::new();
    /// io.of("/admin").on_connection(|socket: Socket| socket.emit("welcome", socket.id()));
    /// ```
    pub fn on_connection<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.add(&Occasion::Connection, handler)
    }

    /// Calls `handler` for the next client that joins this namespace, on whatever shard, and for no other.
    ///
    /// ```no_run
    /// # use ringio::{Server, Socket};
    /// # let io = Server::new();
    /// io.once_connection(|socket: Socket| println!("the first is {}", socket.id()));
    /// ```
    pub fn once_connection<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        let id = self.shared().registry.next_listener();
        let handler = Once { id, handler: handler.into_shared(), is_over: AtomicBool::new(false) };
        self.shared().registry.add_named(self.id(), &Occasion::Connection, id, Arc::new(handler));
        id
    }

    /// Calls `handler` for every event of this name from any socket of this namespace, after the socket's own handlers.
    ///
    /// Shared by all shards: no memory per socket. It may be added at any time.
    ///
    /// ```no_run
    /// # use ringio::{Ack, Data, Server};
    /// # let io = Server::new();
    /// io.sockets_on("sum", |Data((a, b)): Data<(i64, i64)>, ack: Ack| ack.send(&(a + b)));
    /// ```
    pub fn sockets_on<M>(&self, event: &str, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.add(&Occasion::of(event), handler)
    }

    /// Removes one handler by its [`ListenerId`], or all handlers of an event by its name; `disconnecting` and `disconnect`
    /// are names too. Handlers that a socket has of its own stay.
    ///
    /// ```no_run
    /// # let io = ringio::Server::new();
    /// let first = io.on_connection(|| println!("somebody came"));
    /// io.sockets_off(first);
    /// io.sockets_off("chat");
    /// ```
    pub fn sockets_off(&self, listener: impl ListenerKey) {
        self.shared().registry.remove(self.id(), listener.which());
    }

    /// Removes all handlers of this namespace. Middlewares stay, as do handlers that sockets have of their own.
    pub fn remove_all_listeners(&self) {
        self.shared().registry.remove_all(self.id());
    }

    /// The handlers of this event in the order in which they are called; `disconnecting` and `disconnect` are names too.
    #[must_use]
    pub fn listeners(&self, event: &str) -> Vec<ListenerId> {
        let (_, view) = self.shared().registry.view();
        let listeners = view.table(self.id()).map_or(&[][..], |table| table.handlers(&Occasion::of(event)));
        listeners.iter().map(|listener| listener.id).collect()
    }

    /// The events of clients that this namespace has handlers for, sorted.
    ///
    /// ```
    /// let io = ringio::Server::new();
    /// let listener = io.sockets_on("chat", || {});
    /// assert_eq!(io.event_names(), ["chat"]);
    /// assert_eq!(io.listeners("chat"), [listener]);
    /// ```
    #[must_use]
    pub fn event_names(&self) -> Vec<String> {
        let (_, view) = self.shared().registry.view();
        view.table(self.id()).map(crate::registry::Table::event_names).unwrap_or_default()
    }

    /// Calls `handler` when a socket is leaving: its rooms are still there.
    pub fn on_disconnecting<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.add(&Occasion::Disconnecting, handler)
    }

    /// Calls `handler` when a socket has left.
    pub fn on_disconnect<M>(&self, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.add(&Occasion::Disconnect, handler)
    }

    fn add<M>(&self, occasion: &Occasion<'_>, handler: impl Handler<M> + Send + Sync) -> ListenerId {
        self.shared().registry.add(self.id(), occasion, handler.into_shared())
    }
}

/// A handler for one call: of all shards only the first that gets here runs it.
struct Once {
    id: ListenerId,
    handler: SharedHandler,
    is_over: AtomicBool,
}

impl ErasedHandler for Once {
    fn call(&self, context: &EventContext<'_>) -> Result<Outcome, HandlerError> {
        if self.is_over.swap(true, Ordering::AcqRel) {
            return Ok(Outcome::Done);
        }
        let socket = context.socket();
        socket.app().shared.registry.remove(socket.namespace_id(), Which::One(self.id));
        self.handler.call(context)
    }
}
