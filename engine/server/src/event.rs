//! Events declared once: name, arguments and answer in one constant that both directions use.
//!
//! ```text
//! const CHAT: Event<(String, u32), bool>      CHAT.on(&socket, ..)        a listener of other types does not compile
//!        ^ arguments        ^ answer          CHAT.emit(&io.to("a"), ..)  other arguments do not compile
//! ```
//! A layer over `on` and `emit`: the bytes on the wire are the same, and untyped use of the same name stays possible.

use crate::ack::{AckReply, FromReply, RemoteAckReply};
use crate::cluster::ServerSideReplies;
use crate::encode::EmitArgs;
use crate::{
    Ack, BroadcastAcks, BroadcastOperator, Data, Emitted, ListenerId, Namespace, ParentBroadcastOperator,
    ParentNamespace, RemoteSocket, RemoteSocketOperator, ServerSideAck, Socket, SocketOperator,
};
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

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
/// Nor does an acknowledgement of another type:
/// ```compile_fail,E0308
/// # use ringio::{Event, Socket};
/// const CHAT: Event<String, bool> = Event::new("chat");
/// fn listen(socket: &Socket) {
///     CHAT.on(socket, |_, _, ack| { ack.send(&7_u32); });
/// }
/// ```
///
/// One listener for the sockets of a namespace, and a question:
///
/// ```no_run
/// # use ringio::{Event, Server, Socket};
/// const SUM: Event<(i64, i64), i64> = Event::new("sum");
///
/// # async fn ask(io: Server, socket: Socket) -> Result<(), ringio::AckError> {
/// SUM.sockets_on(&io, |_socket, (a, b), ack| drop(ack.send(&(a + b))));
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
    pub fn on(&self, socket: &Socket, listener: impl Fn(Socket, A, TypedAck<R>) + 'static) -> ListenerId
    where
        A: DeserializeOwned + 'static,
        R: 'static,
    {
        socket.on(self.name, move |socket: Socket, Data(args): Data<A>, ack: Ack| {
            listener(socket, args, TypedAck::new(ack));
        })
    }

    /// Calls `listener` for every such event of any socket of the namespace; no memory per socket.
    pub fn sockets_on(
        &self,
        namespace: &Namespace,
        listener: impl Fn(Socket, A, TypedAck<R>) + Send + Sync + 'static,
    ) -> ListenerId
    where
        A: DeserializeOwned + 'static,
        R: 'static,
    {
        namespace.sockets_on(self.name, move |socket: Socket, Data(args): Data<A>, ack: Ack| {
            listener(socket, args, TypedAck::new(ack));
        })
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
    /// LOAD.on_server_side(&io, |_namespace, minutes, ack| {
    ///     ack.send(&(f64::from(minutes) * 0.1));
    /// });
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
    pub fn on_server_side(
        &self,
        namespace: &Namespace,
        listener: impl Fn(Namespace, A, TypedAck<R, ServerSideAck>) + Send + Sync + 'static,
    ) -> ListenerId
    where
        A: DeserializeOwned + 'static,
        R: 'static,
    {
        namespace.on_server_side(self.name, move |namespace: Namespace, Data(args): Data<A>, ack: ServerSideAck| {
            listener(namespace, args, TypedAck::new(ack));
        })
    }
}

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
