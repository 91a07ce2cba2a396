//! One client in one namespace, as its handlers see it.
//!
//! A [`Socket`] lives on its shard: it is not `Send`, what it does takes effect at once and what it reads is
//! current. [`RemoteSocket`](crate::RemoteSocket) is the handle for everywhere else. When the client has left, its
//! handles stay harmless: writing does nothing or says `Disconnected`, reading finds nothing.

use crate::ack::{AckReply, FromReply};
use crate::application::App;
use crate::broadcast_operator::BroadcastOperator;
use crate::connection::Connection;
use crate::data::{Extensions, SocketData};
use crate::emitted::Emitted;
use crate::encode::{self, EmitArgs};
use crate::error::{AckError, EmitError, millis_of};
use crate::handler::Handler;
use crate::rooms::IntoRooms;
use crate::waiter::{AckWaiter, Waiter};
use crate::{Handshake, Namespace, RemoteSocket, Server};
use ringio_core::base::id::{NamespaceId, SocketKey};
use ringio_core::base::seed::Sid;
use ringio_core::door::{EmitFlags, EventParts};
use std::rc::Rc;
use std::time::Duration;

/// One client in one namespace, on the client's own shard. Cloning is cheap.
///
/// ```no_run
/// # use ringio::{EventName, Server, Socket};
/// # use std::time::Duration;
/// # let io = Server::new();
/// io.on_connection(|socket: Socket| {
///     println!("{} in {} of {}", socket.id(), socket.namespace().name(), socket.server().path());
///     println!("{:?} by {}", socket.handshake().address(), socket.conn().transport().as_str());
///     if !socket.is_recovered() {
///         socket.data().insert("username", "alice")?;
///     }
///     socket.join(["lobby", "news"]);
///     socket.leave("news");
///
///     socket.emit("welcome", &("to", 7));
///     socket.send("the event `message`"); // `write` is the same
///     socket.volatile().emit("position", &1.5);
///     socket.compress(false).emit("random", &4);
///     socket.timeout(Duration::from_secs(5)).emit_with_ack::<bool>("ready?", &()).on_reply(|answer| println!("{answer:?}"));
///
///     socket.broadcast().emit("joined", socket.id());
///     socket.to("lobby").except("muted").emit("joined", socket.id());
///     socket.within("lobby").local().emit("joined", "for those of this server");
///     socket.except("lobby").emit("joined", "elsewhere");
///     socket.local().emit("joined", "on this server");
///
///     let first = socket.on_any(|name: EventName| println!("{}", name.0));
///     socket.prepend_any(|| println!("before that one"));
///     socket.prepend("chat", || println!("before those of chat"));
///     assert_eq!(socket.listeners_any().len(), 2);
///     socket.off_any(first);
///     socket.prepend_any_outgoing(|name: EventName| println!("sent: {}", name.0));
///     assert_eq!(socket.listeners_any_outgoing().len(), 1);
///     socket.on_disconnecting(|socket: Socket| println!("still in {:?}", socket.rooms()));
///     socket.on_disconnect(|socket: Socket| assert!(socket.is_disconnected() && !socket.is_connected()));
///     socket.remove_all_listeners();
///
///     let remote = socket.to_remote(); // for other threads
///     std::thread::spawn(move || remote.map(|remote| remote.emit("hello", "from elsewhere")));
///     socket.extensions().insert(7_u64);
///     socket.disconnect(false);
/// #   socket.write(&());
///     Ok::<_, serde_json::Error>(())
/// });
/// ```
#[derive(Clone)]
pub struct Socket {
    app: Rc<App>,
    key: SocketKey,
    namespace: Rc<Namespace>,
    id: Sid,
}

impl Socket {
    pub(crate) const fn new(app: Rc<App>, key: SocketKey, namespace: Rc<Namespace>, id: Sid) -> Self {
        Self { app, key, namespace, id }
    }

    pub(crate) const fn app(&self) -> &Rc<App> {
        &self.app
    }

    pub(crate) const fn key(&self) -> SocketKey {
        self.key
    }

    pub(crate) fn namespace_id(&self) -> NamespaceId {
        self.namespace.id()
    }

    /// The socket's id: 20 characters, unguessable. It is also the name of a room in which the socket always is.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The namespace it belongs to.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        (*self.namespace).clone()
    }

    /// The server it belongs to.
    #[must_use]
    pub fn server(&self) -> Server {
        self.namespace().server()
    }

    /// Whether the client is still here. True during `disconnecting`, false during `disconnect`.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.app.with_core(|core| core.is_connected(self.key))
    }

    /// Whether events that it sent before it went are still handled.
    pub(crate) fn is_heard(&self) -> bool {
        self.app.with_core(|core| core.is_heard(self.key))
    }

    /// The opposite of [`Socket::is_connected`].
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        !self.is_connected()
    }

    /// Whether the client was cut off and has its former state again: id, rooms, data and the events that it missed.
    ///
    /// Only with [`Builder::connection_state_recovery`](crate::Builder::connection_state_recovery).
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.app.with_core(|core| core.is_recovered(self.key))
    }

    /// The first request of the client's session and the auth payload.
    ///
    /// # Panics
    /// When called after the socket was released, which is after its `disconnect` handlers: keep the handshake, not the
    /// socket, for later.
    #[must_use]
    pub fn handshake(&self) -> Handshake {
        self.try_handshake()
            .expect("the socket has been released: take the handshake before its disconnect handlers end")
    }

    fn try_handshake(&self) -> Option<Handshake> {
        self.app.with_core(|core| {
            let request = core.handshake(self.key)?;
            Some(Handshake::new(request, core.auth(self.key).unwrap_or_default()))
        })
    }

    /// The session below, which other namespaces of the same client share.
    #[must_use]
    pub fn conn(&self) -> Connection {
        Connection::new(Rc::clone(&self.app), self.app.with_core(|core| core.session_of(self.key)))
    }

    /// A handle for other threads, with a snapshot of rooms and data.
    ///
    /// None when the client has left.
    #[must_use]
    pub fn to_remote(&self) -> Option<RemoteSocket> {
        let mut description = self.app.with_core(|core| core.describe(self.key))?;
        description.data = crate::data::to_json(&self.app, self.key);
        Some(RemoteSocket::new(self.namespace(), description))
    }

    // Rooms ---------------------------------------------------------------------------------------------------------

    /// All rooms it is in, its own id first. Empty during `disconnect` and after.
    #[must_use]
    pub fn rooms(&self) -> Vec<String> {
        let mut rooms = Vec::new();
        self.app.with_core(|core| core.for_each_room(self.key, &mut |room| rooms.push(room.to_owned())));
        rooms
    }

    /// Joins rooms; visible at once. Nothing happens after disconnection.
    pub fn join(&self, rooms: impl IntoRooms) {
        rooms.for_each_room(&mut |room| {
            self.app.with_core(|core| core.join(self.key, room));
        });
    }

    /// Leaves rooms; visible at once.
    pub fn leave(&self, rooms: impl IntoRooms) {
        rooms.for_each_room(&mut |room| {
            self.app.with_core(|core| core.leave(self.key, room));
        });
    }

    /// Leaves all rooms, the one of its own id among them; visible at once. Broadcasts to everyone still reach it.
    ///
    /// ```no_run
    /// # fn alone(socket: &ringio::Socket) {
    /// socket.leave_all();
    /// assert!(socket.rooms().is_empty());
    /// # }
    /// ```
    pub fn leave_all(&self) {
        self.leave(self.rooms());
    }

    // Emitting ------------------------------------------------------------------------------------------------------

    /// Sends an event to this client: a tuple is several arguments, `()` none, everything else one.
    ///
    /// Cost: encoded once into a buffer of the thread, framed once; sent at the end of the turn together with what else
    /// waits for the client.
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        self.emit_flagged(event, args, EmitFlags::default())
    }

    /// Sends the event `message`, as [`Socket::emit`] does.
    pub fn send<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.emit("message", args)
    }

    /// The same as [`Socket::send`].
    pub fn write<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.send(args)
    }

    pub(crate) fn emit_flagged<A: EmitArgs + ?Sized>(&self, event: &str, args: &A, flags: EmitFlags) -> Emitted {
        let sent = encode::event(event, args, |parts| self.app.send(|core| core.emit(self.key, parts, flags)));
        Emitted::new(sent.and_then(|sent| sent.map_err(EmitError::from)))
    }

    /// Sends an event and asks for an acknowledgement: a future, or [`AckReply::on_reply`].
    ///
    /// It ends with `Disconnected` when the client leaves; for a time limit use [`Socket::timeout`] before it.
    ///
    /// ```no_run
    /// # use ringio::Socket;
    /// async fn ask(socket: Socket) {
    ///     match socket.emit_with_ack::<bool>("ready?", &()).await {
    ///         Ok(is_ready) => println!("{is_ready}"),
    ///         Err(error) => println!("no answer: {error}"),
    ///     }
    /// }
    /// ```
    pub fn emit_with_ack<R: FromReply + 'static>(&self, event: &str, args: &(impl EmitArgs + ?Sized)) -> AckReply<R> {
        self.emit_with_ack_flagged(event, args, EmitFlags::default(), None)
    }

    fn emit_with_ack_flagged<R: FromReply + 'static>(
        &self,
        event: &str,
        args: &(impl EmitArgs + ?Sized),
        flags: EmitFlags,
        timeout: Option<Duration>,
    ) -> AckReply<R> {
        let (sender, reply) = AckReply::new(Rc::clone(&self.app));
        let sent = encode::event(event, args, |parts| {
            ask(&self.app, self.key, parts, flags, timeout, Box::new(|answer| sender.send(answer)));
        });
        match sent {
            Ok(()) => reply,
            Err(error) => AckReply::failed(Rc::clone(&self.app), error),
        }
    }

    /// The next event may be dropped if the client cannot take it at this instant.
    pub fn volatile(&self) -> SocketOperator {
        self.operator().volatile()
    }

    /// Whether the next event may be compressed: as [`BroadcastOperator::compress`](crate::BroadcastOperator::compress).
    pub fn compress(&self, is_compressed: bool) -> SocketOperator {
        self.operator().compress(is_compressed)
    }

    /// How long the next `emit_with_ack` waits.
    pub fn timeout(&self, timeout: Duration) -> SocketOperator {
        self.operator().timeout(timeout)
    }

    pub(crate) fn operator(&self) -> SocketOperator {
        SocketOperator { socket: self.clone(), flags: EmitFlags::default(), timeout: None }
    }

    // Broadcasting --------------------------------------------------------------------------------------------------

    /// Everyone in the namespace but this socket.
    pub fn broadcast(&self) -> BroadcastOperator {
        self.namespace().except(self.id())
    }

    /// The sockets in any of these rooms but this one.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// The same as [`Socket::to`]; Node calls it `in`.
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everyone in the namespace but this socket and those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everyone else of the namespace on this server, whatever other servers there are.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    // Handlers ------------------------------------------------------------------------------------------------------

    /// Lets `middleware` see every event of this client before the handlers of its name, after those of
    /// [`on_any`](Socket::on_any): Node's `socket.use`. A handler like any other, sync or async; if it returns an error the event goes
    /// no further, and the handlers of `error` get the error's text. With [`PassedEvent`](crate::PassedEvent) it changes the event for those
    /// behind it.
    ///
    /// They run in the order in which they were added. An async one does not hold back later events, as in Node.
    /// A panic refuses the event with `internal server error`, as do arguments that do not fit its extractors.
    ///
    /// ```no_run
    /// # use ringio::{Data, EventName, Server, Socket};
    /// # let io = Server::new();
    /// io.on_connection(|socket: Socket| {
    ///     socket.with_packet_middleware(|name: EventName| match &*name.0 {
    ///         "admin" => Err("not allowed"),
    ///         _ => Ok(()),
    ///     });
    ///     socket.on("error", |socket: Socket, Data(text): Data<String>| socket.emit("refused", &text));
    /// });
    /// ```
    pub fn with_packet_middleware<M>(&self, middleware: impl Handler<M>) {
        let middleware = middleware.into_local();
        self.app.sockets.change(self.key, |local| local.middlewares.push(middleware));
    }

    // The rest ------------------------------------------------------------------------------------------------------

    /// JSON by name that `fetch_sockets` shows to everyone.
    #[must_use]
    pub const fn data(&self) -> SocketData<'_> {
        SocketData { socket: self }
    }

    /// Rust values by type for the handlers of this socket.
    #[must_use]
    pub const fn extensions(&self) -> Extensions<'_> {
        Extensions { socket: self }
    }

    /// Makes the client leave this namespace; with `close` all its namespaces, and ends its connection.
    pub fn disconnect(&self, close: bool) {
        self.app.with_core(|core| core.disconnect(self.key, close));
    }
}

/// Sends an event whose acknowledgement `resolve` hears, or at once why it was not sent.
pub(crate) fn ask(
    app: &Rc<App>,
    key: SocketKey,
    parts: EventParts<'_>,
    flags: EmitFlags,
    timeout: Option<Duration>,
    resolve: AckWaiter,
) {
    let waiter = app.waiters.add(Waiter::Ack(resolve));
    let sent = app.send(|core| core.emit_with_ack(key, parts, flags, timeout.map(millis_of), waiter));
    if let Err(error) = sent
        && let Some(Waiter::Ack(resolve)) = app.waiters.take(waiter)
    {
        resolve(Err(AckError::Emit(error.into())));
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("id", &self.id).field("shard", &self.app.index.0).finish_non_exhaustive()
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Socket {}

/// A socket and how to emit to it: `socket.volatile().emit(..)`, `socket.timeout(..).emit_with_ack(..)`.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(socket: ringio::Socket) {
/// let careless = socket.volatile().compress(false); // may be kept and used again
/// careless.emit("position", &1);
/// careless.send(&2); // `write` is the same
/// careless.broadcast().emit("position", &3);
/// careless.to("map").emit("position", &4);
/// careless.within("map").except("blind").emit("position", &5);
/// careless.except("blind").emit("position", &6);
/// careless.local().emit("position", &7);
/// let answer = careless.timeout(Duration::from_secs(5)).volatile().emit_with_ack::<bool>("seen?", &()).await;
/// # socket.timeout(Duration::ZERO).compress(true).write(&());
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before emit"]
pub struct SocketOperator {
    pub(crate) socket: Socket,
    pub(crate) flags: EmitFlags,
    timeout: Option<Duration>,
}

impl SocketOperator {
    /// Whether the event may be compressed, where the transport can. Default true.
    pub fn compress(mut self, is_compressed: bool) -> Self {
        self.flags.compress = is_compressed;
        self
    }

    /// The event may be dropped if the client cannot take it at this instant.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// How long `emit_with_ack` waits.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends an event to this client.
    pub fn emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        self.socket.emit_flagged(event, args, self.flags)
    }

    /// Sends an event and asks for an acknowledgement.
    pub fn emit_with_ack<R: FromReply + 'static>(&self, event: &str, args: &(impl EmitArgs + ?Sized)) -> AckReply<R> {
        self.socket.emit_with_ack_flagged(event, args, self.flags, self.timeout)
    }

    /// Everyone in the namespace but this socket, with these flags.
    pub fn broadcast(&self) -> BroadcastOperator {
        let operator = self.socket.broadcast().with_flags(self.flags);
        match self.timeout {
            Some(timeout) => operator.timeout(timeout),
            None => operator,
        }
    }

    /// The sockets in any of these rooms but this one, with these flags.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// The same as [`SocketOperator::to`]; Node calls it `in`.
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everyone in the namespace but this socket and those in these rooms, with these flags.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everyone else of the namespace on this server, with these flags.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    /// Sends the event `message`.
    pub fn send<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.emit("message", args)
    }

    /// The same as [`SocketOperator::send`].
    pub fn write<A: EmitArgs + ?Sized>(&self, args: &A) -> Emitted {
        self.send(args)
    }
}
