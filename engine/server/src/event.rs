//! Events declared once: name, arguments and answer in one constant that both directions use.
//!
//! ```text
//! const CHAT: Event<(String, u32), bool>      CHAT.on(&socket, ..)        a listener of other types does not compile
//!        ^ arguments        ^ answer          CHAT.emit(&io.to("a"), ..)  other arguments do not compile
//! ```
//! A layer over `on` and `emit`: the bytes on the wire are the same, and untyped use of the same name stays possible.

use crate::ack::{AckReply, FromReply, RemoteAckReply};
use crate::encode::EmitArgs;
use crate::{
    Ack, BroadcastAcks, BroadcastOperator, Data, Emitted, ListenerId, Namespace, RemoteSocket, RemoteSocketOperator,
    Socket, SocketOperator,
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

/// An [`Ack`] that takes one type only.
#[derive(Debug)]
#[must_use = "a client that asked for an acknowledgement waits for it"]
pub struct TypedAck<R> {
    ack: Ack,
    answer: PhantomData<fn(R)>,
}

impl<R> TypedAck<R> {
    const fn new(ack: Ack) -> Self {
        Self { ack, answer: PhantomData }
    }

    /// As [`Ack::send`].
    pub fn send(self, answer: &R) -> Emitted
    where
        R: EmitArgs,
    {
        self.ack.send(answer)
    }

    /// Whether the client asked for an acknowledgement.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.ack.is_wanted()
    }
}

/// What an [`Event`] can be emitted to.
pub trait EmitTarget {
    /// Its own `emit`.
    #[doc(hidden)]
    fn emit_to<A: EmitArgs>(&self, event: &str, args: &A) -> Emitted;
}

/// What an [`Event`] can be emitted to with an acknowledgement of type `R`.
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

emit_target!(Socket SocketOperator RemoteSocket RemoteSocketOperator Namespace crate::Server BroadcastOperator);

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
