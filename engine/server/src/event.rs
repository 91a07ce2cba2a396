//! Events declared once: name, arguments and answer in one constant that both directions use.
//!
//! ```text
//! const CHAT: Event<(String, u32), bool>      CHAT.on(&socket, ..)        a listener of other types does not compile
//!        ^ arguments        ^ answer          CHAT.emit(&io.to("a"), ..)  other arguments do not compile
//! ```
//! A layer over `on` and `emit`: the bytes on the wire are the same, and untyped use of the same name stays possible.

use crate::ack::{AckReply, FromReply, RemoteAckReply};
use crate::cluster::{
    ErasedServerSideHandler, FromServerSideEvent, ServerSideContext, ServerSideReplies, SharedServerSideHandler,
};
use crate::encode::EmitArgs;
use crate::error::HandlerError;
use crate::handler::{AsyncMarker, ErasedHandler, Handler, LocalHandler, Outcome, SharedHandler, SyncMarker};
use crate::{
    Ack, BroadcastAcks, BroadcastOperator, Data, Emitted, EventContext, FromEvent, HandlerOutput, ListenerId,
    Namespace, ParentBroadcastOperator, ParentNamespace, RemoteSocket, RemoteSocketOperator, ServerSideAck,
    ServerSideHandler, Socket, SocketOperator,
};
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

/// An event with its name, the type of its arguments (a tuple is several) and that of its acknowledgement.
///
/// ```no_run
/// use ringio::{Event, Server, Socket};
///
/// const CHAT: Event<(String, u32), bool> = Event::new("chat");
///
/// let io = Server::new();
/// let everyone = io.clone();
/// io.on_connection(move |socket: Socket| {
///     let everyone = everyone.clone();
///     CHAT.on(&socket, move |_socket, (text, number), ack| {
///         CHAT.emit(&everyone.to("room"), &(text, number + 1));
///         ack.send(&true);
///     });
/// });
/// ```
///
/// Arguments of another type do not compile:
/// ```compile_fail,E0308
/// # use ringio::{Event, Server};
/// const CHAT: Event<(String, u32), bool> = Event::new("chat");
/// CHAT.emit(&Server::new().to("room"), &(1_u32, 2_u32));
/// ```
/// Nor does a listener for other arguments:
/// ```compile_fail,E0631
/// # use ringio::{Event, Socket};
/// const CHAT: Event<(String, u32), bool> = Event::new("chat");
/// fn listen(socket: &Socket) {
///     CHAT.on(socket, |_, text: String, _| println!("{text}"));
/// }
/// ```
/// Nor does an acknowledgement of another type:
/// ```compile_fail,E0308
/// # use ringio::{Event, Socket};
/// const CHAT: Event<String, bool> = Event::new("chat");
/// fn listen(socket: &Socket) {
///     CHAT.on(socket, |_, _, ack| { ack.send(&7_u32); });
/// }
/// ```
///
/// Nor does an answer that is read as another type:
/// ```compile_fail,E0308
/// # use ringio::{Event, Socket};
/// const CHAT: Event<String, bool> = Event::new("chat");
/// async fn ask(socket: Socket) -> Result<String, ringio::AckError> {
///     CHAT.emit_with_ack(&socket, &"well?".to_owned()).await
/// }
/// ```
///
/// Listeners are sync or async and return what other [handlers](crate::Handler) may: nothing, an [`Emitted`], or a `Result`, whose error is logged
/// and counted. An async one that uses what its closure has captured clones it for each call:
///
/// ```no_run
/// # use ringio::{Event, Server, Socket, TypedAck};
/// const SAVE: Event<(String, u32), u64> = Event::new("save");
///
/// # async fn insert(text: &str) -> Result<u64, std::io::Error> { Ok(1) }
/// async fn save(_: Socket, (text, _): (String, u32), ack: TypedAck<u64>) -> Result<(), std::io::Error> {
///     ack.send(&insert(&text).await?);
///     Ok(())
/// }
///
/// # let io = Server::new();
/// SAVE.sockets_on(&io, save);
/// let everyone = io.clone();
/// SAVE.sockets_on(&io.of_matching(|name, _| name.starts_with("/room-")), move |_, (text, _), ack| {
///     let everyone = everyone.clone();
///     async move {
///         ack.send(&insert(&text).await?);
///         everyone.emit("saved", &text);
///         Ok::<_, std::io::Error>(())
///     }
/// });
/// ```
///
/// One listener for the sockets of a namespace, and a question:
///
/// ```no_run
/// # use ringio::{Event, Server, Socket};
/// const SUM: Event<(i64, i64), i64> = Event::new("sum");
///
/// # async fn ask(io: Server, socket: Socket) -> Result<(), ringio::AckError> {
/// SUM.sockets_on(&io, |_socket, (a, b), ack| ack.send(&(a + b)));
/// let sum: i64 = SUM.emit_with_ack(&socket, &(1, 2)).await?;
/// assert_eq!((SUM.name(), sum), ("sum", 3));
/// # Ok(())
/// # }
/// ```
pub struct Event<A, R = ()> {
    name: &'static str,
    types: PhantomData<fn(A) -> R>,
}

impl<A, R> Event<A, R> {
    /// The event of this name. A reserved name (`connect`, `disconnect`, ..) is refused when it is emitted.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    /// The event's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Sends the event. Cost and result are those of the target's own `emit`.
    pub fn emit(&self, target: &impl EmitTarget, args: &A) -> Emitted
    where
        A: EmitArgs,
    {
        target.emit_to(self.name, args)
    }

    /// Sends the event and asks for the acknowledgement; the future is that of the target's own `emit_with_ack`.
    pub fn emit_with_ack<T: AskTarget<R>>(&self, target: &T, args: &A) -> T::Reply
    where
        A: EmitArgs,
    {
        target.ask(self.name, args)
    }

    /// Calls `listener` for every such event of this client.
    pub fn on<O, M>(&self, socket: &Socket, listener: impl Fn(Socket, A, TypedAck<R>) -> O + 'static) -> ListenerId
    where
        A: DeserializeOwned + 'static,
        R: 'static,
        O: ListenerOutput<M> + 'static,
        M: 'static,
    {
        socket.on(self.name, Listener::new(listener))
    }

    /// Calls `listener` for the next such event of this client only.
    ///
    /// ```no_run
    /// # use ringio::{Event, Socket};
    /// const READY: Event<u32> = Event::new("ready");
    /// # fn listen(socket: &Socket) {
    /// READY.once(socket, |socket, version, _| socket.emit("welcome", &version));
    /// # }
    /// ```
    pub fn once<O, M>(&self, socket: &Socket, listener: impl Fn(Socket, A, TypedAck<R>) -> O + 'static) -> ListenerId
    where
        A: DeserializeOwned + 'static,
        R: 'static,
        O: ListenerOutput<M> + 'static,
        M: 'static,
    {
        socket.once(self.name, Listener::new(listener))
    }

    /// Calls `listener` for every such event of any socket of the namespace, or of the namespaces that a pattern makes; no memory per
    /// socket.
    pub fn sockets_on<O, M>(
        &self,
        namespace: &impl ListenTarget,
        listener: impl Fn(Socket, A, TypedAck<R>) -> O + Send + Sync + 'static,
    ) -> ListenerId
    where
        A: DeserializeOwned + 'static,
        R: 'static,
        O: ListenerOutput<M> + 'static,
        M: 'static,
    {
        namespace.listen(self.name, Listener::new(listener))
    }
}

/// From server to server, with an [adapter](crate::Builder::adapter).
impl<A, R> Event<A, R> {
    /// Sends the event to the other servers of the cluster: [`Namespace::server_side_emit`].
    ///
    /// ```no_run
    /// use ringio::{Event, Server};
    ///
    /// const LOAD: Event<u32, f64> = Event::new("load");
    ///
    /// # async fn ask(io: Server) -> Result<(), Box<dyn std::error::Error>> {
    /// LOAD.on_server_side(&io, |_namespace, minutes, ack| ack.send(&(f64::from(minutes) * 0.1)));
    /// LOAD.server_side_emit(&io, &5);
    /// let loads: Vec<f64> = LOAD.server_side_emit_with_ack(&io, &5).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn server_side_emit(&self, namespace: &Namespace, args: &A) -> Emitted
    where
        A: EmitArgs,
    {
        namespace.server_side_emit(self.name, args)
    }

    /// Sends the event to the other servers and gathers their answers: [`Namespace::server_side_emit_with_ack`].
    pub fn server_side_emit_with_ack(&self, namespace: &Namespace, args: &A) -> ServerSideReplies<R>
    where
        A: EmitArgs,
        R: FromReply + Send + 'static,
    {
        namespace.server_side_emit_with_ack(self.name, args)
    }

    /// Calls `listener` when another server sends the event: [`Namespace::on_server_side`]. Of an answer that is a tuple the other server
    /// gets the first element.
    ///
    /// Other types do not compile:
    /// ```compile_fail,E0308
    /// # use ringio::{Event, Server};
    /// const LOAD: Event<u32, f64> = Event::new("load");
    /// LOAD.server_side_emit(&Server::new(), &"five minutes");
    /// ```
    /// ```compile_fail,E0631
    /// # use ringio::{Event, Server};
    /// const LOAD: Event<u32, f64> = Event::new("load");
    /// LOAD.on_server_side(&Server::new(), |_, minutes: String, _| println!("{minutes}"));
    /// ```
    /// ```compile_fail,E0308
    /// # use ringio::{Event, Server};
    /// const LOAD: Event<u32, f64> = Event::new("load");
    /// LOAD.on_server_side(&Server::new(), |_, _, ack| ack.send(&"much"));
    /// ```
    pub fn on_server_side<O, M>(
        &self,
        namespace: &Namespace,
        listener: impl Fn(Namespace, A, TypedAck<R, ServerSideAck>) -> O + Send + Sync + 'static,
    ) -> ListenerId
    where
        A: DeserializeOwned + 'static,
        R: 'static,
        O: ListenerOutput<M> + 'static,
        M: 'static,
    {
        namespace.on_server_side(self.name, Listener::new(listener))
    }
}

/// What a listener of an [`Event`] may return: what other handlers may, at once or as a future.
///
/// ```
/// use ringio::{Event, ListenerOutput, Server};
///
/// const CHAT: Event<String> = Event::new("chat");
///
/// /// A listener that needs the text alone.
/// fn on_text<O: ListenerOutput<M> + 'static, M: 'static>(io: &Server, listen: impl Fn(String) -> O + Send + Sync + 'static) {
///     CHAT.sockets_on(io, move |_, text, _| listen(text));
/// }
///
/// let io = Server::new();
/// on_text(&io, |text| println!("{text}"));
/// on_text(&io, async |text| tokio::fs::write("last", text).await);
/// ```
#[diagnostic::on_unimplemented(
    message = "a listener cannot return {Self}",
    note = "listeners return (), Emitted, a Result of them whose error has Display, or a future of these; end the closure with a semicolon"
)]
pub trait ListenerOutput<M> {
    /// What the call gives.
    #[doc(hidden)]
    fn into_outcome(self) -> Result<Outcome, HandlerError>;
}

impl<O: HandlerOutput> ListenerOutput<SyncMarker<()>> for O {
    fn into_outcome(self) -> Result<Outcome, HandlerError> {
        self.into_result().map(|()| Outcome::Done)
    }
}

impl<F, O> ListenerOutput<AsyncMarker<O>> for F
where
    F: Future<Output = O> + 'static,
    O: HandlerOutput,
{
    fn into_outcome(self) -> Result<Outcome, HandlerError> {
        Ok(Outcome::Pending(Box::pin(async move { self.await.into_result() })))
    }
}

/// A listener as handlers are called: `O` is what it returns, `M` tells how.
struct Listener<F, A, R, O, M> {
    function: F,
    types: PhantomData<fn(A, R, O, M)>,
}

impl<F, A, R, O, M> Listener<F, A, R, O, M> {
    const fn new(function: F) -> Self {
        Self { function, types: PhantomData }
    }
}

/// Marks the listeners of events.
#[derive(Debug)]
struct ListenerMarker;

impl<F, A, R, O, M> ErasedHandler for Listener<F, A, R, O, M>
where
    F: Fn(Socket, A, TypedAck<R>) -> O,
    A: DeserializeOwned,
    O: ListenerOutput<M>,
{
    fn call(&self, context: &EventContext<'_>) -> Result<Outcome, HandlerError> {
        let Data(args) = Data::from_event(context)?;
        let ack = TypedAck::new(Ack::from_event(context)?);
        (self.function)(context.socket().clone(), args, ack).into_outcome()
    }
}

impl<F, A, R, O, M> Handler<ListenerMarker> for Listener<F, A, R, O, M>
where
    F: Fn(Socket, A, TypedAck<R>) -> O + 'static,
    A: DeserializeOwned + 'static,
    R: 'static,
    O: ListenerOutput<M> + 'static,
    M: 'static,
{
    fn into_local(self) -> LocalHandler {
        Rc::new(self)
    }

    fn into_shared(self) -> SharedHandler
    where
        Self: Send + Sync,
    {
        Arc::new(self)
    }
}

impl<F, A, R, O, M> ErasedServerSideHandler for Listener<F, A, R, O, M>
where
    F: Fn(Namespace, A, TypedAck<R, ServerSideAck>) -> O,
    A: DeserializeOwned,
    O: ListenerOutput<M>,
{
    fn call(&self, context: &ServerSideContext<'_>) -> Result<Outcome, HandlerError> {
        let Data(args) = Data::from_server_side_event(context)?;
        let ack = TypedAck::new(ServerSideAck::from_server_side_event(context)?);
        (self.function)(context.namespace().clone(), args, ack).into_outcome()
    }
}

impl<F, A, R, O, M> ServerSideHandler<ListenerMarker> for Listener<F, A, R, O, M>
where
    F: Fn(Namespace, A, TypedAck<R, ServerSideAck>) -> O + Send + Sync + 'static,
    A: DeserializeOwned + 'static,
    R: 'static,
    O: ListenerOutput<M> + 'static,
    M: 'static,
{
    fn into_erased(self) -> SharedServerSideHandler {
        Arc::new(self)
    }
}

/// Where an [`Event`] can be listened to for all sockets: a namespace, a server, the pattern of namespaces.
///
/// ```
/// use ringio::{Event, ListenTarget, Server};
///
/// const PING: Event<u32, u32> = Event::new("ping");
///
/// fn answer_pings(target: &impl ListenTarget) {
///     PING.sockets_on(target, |_, number, ack| ack.send(&number));
/// }
///
/// let io = Server::new();
/// answer_pings(&io);
/// answer_pings(&io.of("/admin"));
/// answer_pings(&io.of_matching(|name, _| name.starts_with("/room-")));
/// ```
pub trait ListenTarget {
    /// Its own `sockets_on`.
    #[doc(hidden)]
    fn listen<M>(&self, event: &str, handler: impl Handler<M> + Send + Sync) -> ListenerId;
}

macro_rules! listen_target {
    ($($target:ty)*) => {$(
        impl ListenTarget for $target {
            fn listen<M>(&self, event: &str, handler: impl Handler<M> + Send + Sync) -> ListenerId {
                self.sockets_on(event, handler)
            }
        }
    )*};
}

listen_target!(Namespace crate::Server ParentNamespace);

impl<A, R> Clone for Event<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, R> Copy for Event<A, R> {}

impl<A, R> fmt::Debug for Event<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Event").field(&self.name).finish()
    }
}

/// An [`Ack`] (or a [`ServerSideAck`]) that takes one type only.
///
/// ```no_run
/// # use ringio::{Event, Socket};
/// const SUM: Event<(i64, i64), i64> = Event::new("sum");
/// # fn listen(socket: &Socket) {
/// SUM.on(socket, |_socket, (a, b), ack| {
///     if ack.is_wanted() {
///         ack.send(&(a + b));
///     }
/// });
/// # }
/// ```
#[derive(Debug)]
#[must_use = "whoever asked for an acknowledgement waits for it"]
pub struct TypedAck<R, K = Ack> {
    ack: K,
    answer: PhantomData<fn(R)>,
}

impl<R, K: AnyAck> TypedAck<R, K> {
    const fn new(ack: K) -> Self {
        Self { ack, answer: PhantomData }
    }

    /// As [`Ack::send`], or [`ServerSideAck::send`].
    pub fn send(self, answer: &R) -> Emitted
    where
        R: EmitArgs,
    {
        self.ack.answer(answer)
    }

    /// Whether an acknowledgement was asked for.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.ack.is_asked_for()
    }
}

/// What a [`TypedAck`] is made of: the answer to a client, or to another server.
#[doc(hidden)]
pub trait AnyAck {
    /// Its own `send`.
    fn answer<A: EmitArgs>(self, answer: &A) -> Emitted;
    /// Its own `is_wanted`.
    fn is_asked_for(&self) -> bool;
}

macro_rules! any_ack {
    ($($ack:ty)*) => {$(
        impl AnyAck for $ack {
            fn answer<A: EmitArgs>(self, answer: &A) -> Emitted {
                self.send(answer)
            }

            fn is_asked_for(&self) -> bool {
                self.is_wanted()
            }
        }
    )*};
}

any_ack!(Ack ServerSideAck);

/// What an [`Event`] can be emitted to.
///
/// ```no_run
/// use ringio::{EmitTarget, Event};
///
/// const NEWS: Event<String> = Event::new("news");
///
/// /// To a socket, a room, everybody: whatever it is given.
/// fn announce(target: &impl EmitTarget, text: &str) {
///     NEWS.emit(target, &text.to_owned());
/// }
/// ```
pub trait EmitTarget {
    /// Its own `emit`.
    #[doc(hidden)]
    fn emit_to<A: EmitArgs>(&self, event: &str, args: &A) -> Emitted;
}

/// What an [`Event`] can be emitted to with an acknowledgement of type `R`.
///
/// ```no_run
/// use ringio::{AskTarget, Event};
///
/// const AGE: Event<(), u8> = Event::new("age?");
///
/// /// A future of one answer, or of all answers of a room.
/// fn ask<T: AskTarget<u8>>(target: &T) -> T::Reply {
///     AGE.emit_with_ack(target, &())
/// }
/// ```
pub trait AskTarget<R> {
    /// The future acknowledgement.
    type Reply;
    /// Its own `emit_with_ack`.
    #[doc(hidden)]
    fn ask<A: EmitArgs>(&self, event: &str, args: &A) -> Self::Reply;
}

macro_rules! emit_target {
    ($($target:ty)*) => {$(
        impl EmitTarget for $target {
            fn emit_to<A: EmitArgs>(&self, event: &str, args: &A) -> Emitted {
                self.emit(event, args)
            }
        }
    )*};
}

emit_target! {
    Socket SocketOperator RemoteSocket RemoteSocketOperator
    Namespace crate::Server BroadcastOperator ParentNamespace ParentBroadcastOperator
}

macro_rules! ask_target {
    ($($target:ty => $reply:ident)*) => {$(
        impl<R: FromReply + Send + 'static> AskTarget<R> for $target {
            type Reply = $reply<R>;

            fn ask<A: EmitArgs>(&self, event: &str, args: &A) -> $reply<R> {
                self.emit_with_ack(event, args)
            }
        }
    )*};
}

ask_target! {
    Socket => AckReply
    SocketOperator => AckReply
    RemoteSocket => RemoteAckReply
    RemoteSocketOperator => RemoteAckReply
    BroadcastOperator => BroadcastAcks
}
