//! The listeners of one socket: added, listed, removed.
//!
//! ```text
//! event --> on_any, in their order --> packet middlewares --> on, once of its name --> sockets_on of the namespace
//! ```
//! They are called in the order in which they were added, over the list as it was when the event came.

use crate::handler::Handler;
use crate::listener::{ListenerId, ListenerKey};
use crate::socket::Socket;
use crate::socket_table;
use std::borrow::Cow;

impl Socket {
    /// Calls `handler` for every event of this name from this client.
    ///
    /// Its closure need not be `Send`. Cost: one small allocation and 56 bytes per socket; handlers given to
    /// [`Namespace::sockets_on`](crate::Namespace::sockets_on) cost nothing per socket. On a socket that has been released
    /// nothing happens.
    ///
    /// ```no_run
    /// # use ringio::{Ack, Data, Server, Socket};
    /// # let io = Server::new();
    /// io.on_connection(|socket: Socket| {
    ///     socket.on("sum", |Data((a, b)): Data<(i64, i64)>, ack: Ack| ack.send(&(a + b)));
    /// });
    /// ```
    pub fn on<M>(&self, event: impl Into<Cow<'static, str>>, handler: impl Handler<M>) -> ListenerId {
        self.listen(event.into(), handler, false)
    }

    /// Calls `handler` for the next event of this name only.
    ///
    /// ```no_run
    /// # fn greet(socket: &ringio::Socket) {
    /// socket.once("hello", |socket: ringio::Socket| socket.emit("hello", "only once"));
    /// # }
    /// ```
    pub fn once<M>(&self, event: impl Into<Cow<'static, str>>, handler: impl Handler<M>) -> ListenerId {
        self.listen(event.into(), handler, true)
    }

    /// As [`Socket::on`], before the handlers of this name that were added earlier: Node's `prependListener`.
    pub fn prepend<M>(&self, event: impl Into<Cow<'static, str>>, handler: impl Handler<M>) -> ListenerId {
        let (id, event, handler) = (self.app().next_listener(), event.into(), handler.into_local());
        self.app().sockets.change(self.key(), move |local| local.listen_first(event, handler, id));
        id
    }

    /// Removes one handler by its [`ListenerId`], or all handlers of an event by its name. Those of the namespace stay.
    ///
    /// ```no_run
    /// # fn quiet(socket: &ringio::Socket) {
    /// let listener = socket.on("chat", || {});
    /// socket.off(listener);
    /// socket.off("chat");
    /// # }
    /// ```
    pub fn off(&self, listener: impl ListenerKey) {
        let forgotten = self.app().sockets.look(self.key(), |local| local.forget(listener.which()));
        drop(forgotten);
    }

    /// Removes the handlers of all events, `disconnect` and `disconnecting` among them. Those of [`Socket::on_any`] stay, as do
    /// those of the namespace.
    pub fn remove_all_listeners(&self) {
        let forgotten = self.app().sockets.look(self.key(), socket_table::Local::forget_all);
        drop(forgotten);
    }

    /// The handlers of this event in the order in which they are called.
    #[must_use]
    pub fn listeners(&self, event: &str) -> Vec<ListenerId> {
        self.app().sockets.look(self.key(), |local| local.listeners(event)).unwrap_or_default()
    }

    /// The events that this socket has handlers for, each once.
    ///
    /// ```no_run
    /// # fn check(socket: &ringio::Socket) {
    /// socket.on("chat", || {});
    /// assert_eq!(socket.event_names(), ["chat"]);
    /// assert_eq!(socket.listeners("chat").len(), 1);
    /// # }
    /// ```
    #[must_use]
    pub fn event_names(&self) -> Vec<String> {
        self.app().sockets.look(self.key(), |local| local.event_names()).unwrap_or_default()
    }

    /// Calls `handler` for every event from this client, before the handlers of its name and before its packet middlewares.
    ///
    /// [`EventName`](crate::EventName) and [`Args`](crate::Args) say what came, an [`Ack`](crate::Ack) may answer it.
    ///
    /// ```no_run
    /// # use ringio::{EventName, RawArgs, Socket};
    /// # fn watch(socket: &Socket) {
    /// socket.on_any(|name: EventName, args: RawArgs| println!("{} {}", name.0, args.json()));
    /// # }
    /// ```
    pub fn on_any<M>(&self, handler: impl Handler<M>) -> ListenerId {
        self.listen_to_all(handler, usize::MAX)
    }

    /// As [`Socket::on_any`], before those that were added earlier.
    pub fn prepend_any<M>(&self, handler: impl Handler<M>) -> ListenerId {
        self.listen_to_all(handler, 0)
    }

    /// Removes one handler of [`Socket::on_any`], or all of them with `None`.
    pub fn off_any(&self, listener: impl Into<Option<ListenerId>>) {
        let listener = listener.into();
        let forgotten = self.app().sockets.look(self.key(), |local| socket_table::remove(&mut local.any, listener));
        drop(forgotten);
    }

    /// The handlers of [`Socket::on_any`] in the order in which they are called.
    #[must_use]
    pub fn listeners_any(&self) -> Vec<ListenerId> {
        let ids = self.app().sockets.look(self.key(), |local| local.any.iter().map(|(id, _)| *id).collect());
        ids.unwrap_or_default()
    }

    /// Calls `handler` when the client is leaving: its rooms are still there.
    pub fn on_disconnecting<M>(&self, handler: impl Handler<M>) -> ListenerId {
        self.on("disconnecting", handler)
    }

    /// Calls `handler` when the client has left.
    pub fn on_disconnect<M>(&self, handler: impl Handler<M>) -> ListenerId {
        self.on("disconnect", handler)
    }

    fn listen_to_all<M>(&self, handler: impl Handler<M>, position: usize) -> ListenerId {
        let id = self.app().next_listener();
        let handler = handler.into_local();
        self.app().sockets.change(self.key(), move |local| {
            let position = position.min(local.any.len());
            local.any.insert(position, (id, handler));
        });
        id
    }

    fn listen<M>(&self, event: Cow<'static, str>, handler: impl Handler<M>, is_once: bool) -> ListenerId {
        let id = self.app().next_listener();
        let handler = handler.into_local();
        self.app().sockets.change(self.key(), move |local| local.listen(event, handler, id, is_once));
        id
    }
}
