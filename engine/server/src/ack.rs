//! Acknowledgements, both ways.
//!
//! A client may ask for one: the handler takes an [`Ack`] and sends it, once. The server may ask for one with
//! `emit_with_ack`: an [`AckReply`] (on the socket's shard) or a [`RemoteAckReply`] (anywhere) is the future answer.

use crate::application::App;
use crate::decode::Arguments;
use crate::emitted::Emitted;
use crate::encode::{self, EmitArgs};
use crate::error::{AckError, EmitError};
use crate::extract::{EventContext, FromEvent};
use crate::{ArgumentError, Socket};
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Answers one event of a client.
///
/// Sending consumes it: a client is answered once. Dropping it answers nothing, and the client waits until its own
/// timeout. If the client asked for no acknowledgement, sending does nothing.
///
/// ```no_run
/// # use ringio::{Ack, Data, Server};
/// # let io = Server::new();
/// io.sockets_on("save", |Data(text): Data<String>, ack: Ack| {
///     if ack.is_wanted() {
///         println!("the client waits for the answer");
///     }
///     ack.send(&("saved", text.len())) // callback("saved", 5) at the client
/// });
/// ```
#[derive(Debug)]
#[must_use = "a client that asked for an acknowledgement waits for it"]
pub struct Ack {
    socket: Socket,
    id: Option<u64>,
    /// Shared among the handlers of one event, if there are several: the first one answers, as in Node.
    is_answered: Option<Rc<Cell<bool>>>,
}

impl Ack {
    /// Sends the acknowledgement: a tuple is several arguments, `()` none, everything else one.
    ///
    /// Succeeds without sending if the client wants none or another handler has answered.
    pub fn send<A: EmitArgs + ?Sized>(self, arguments: &A) -> Emitted {
        let Some(id) = self.id else { return Emitted::new(Ok(())) };
        if self.is_answered.as_ref().is_some_and(|is_answered| is_answered.replace(true)) {
            return Emitted::new(Ok(()));
        }
        let app = self.socket.app();
        let sent =
            encode::answer(arguments, |parts| app.with_core(|core| core.acknowledge(self.socket.key(), id, parts)));
        Emitted::new(sent.and_then(|sent| sent.map_err(EmitError::from)))
    }

    /// Whether the client asked for an acknowledgement.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.id.is_some()
    }
}

impl FromEvent for Ack {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        let (id, is_answered) = context.ack();
        Ok(Self { socket: context.socket().clone(), id, is_answered })
    }
}

/// What an acknowledgement may become: everything that serde reads (as [`Data`](crate::Data) reads an event's
/// arguments), or [`RawArgs`](crate::RawArgs) as it came.
///
/// ```no_run
/// # async fn ask(socket: ringio::Socket) -> Result<(), ringio::AckError> {
/// let age: u8 = socket.emit_with_ack("age?", &()).await?; // anything that serde reads
/// let (name, age): (String, u8) = socket.emit_with_ack("who?", &()).await?; // several arguments
/// let untouched: ringio::RawArgs = socket.emit_with_ack("what?", &()).await?; // as it came
/// # Ok(())
/// # }
/// ```
pub trait FromReply: Sized {
    /// Reads it, on the socket's shard.
    ///
    /// ```
    /// # use ringio::{ArgumentError, FromReply, RawArgs, Reply};
    /// struct Count(usize);
    ///
    /// impl FromReply for Count {
    ///     fn from_reply(reply: &Reply<'_>) -> Result<Self, ArgumentError> {
    ///         Ok(Self(RawArgs::from_reply(reply)?.len()))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// The arguments do not fit.
    fn from_reply(reply: &Reply<'_>) -> Result<Self, ArgumentError>;
}

impl<T: DeserializeOwned> FromReply for T {
    fn from_reply(reply: &Reply<'_>) -> Result<Self, ArgumentError> {
        reply.0.data()
    }
}

/// The arguments of an acknowledgement.
///
/// ```
/// use ringio::{ArgumentError, FromReply, RawArgs, Reply};
///
/// /// How many arguments a client answered with.
/// struct Count(usize);
///
/// // As long as `Count` is not `Deserialize` itself.
/// fn count(reply: &Reply<'_>) -> Result<Count, ArgumentError> {
///     Ok(Count(RawArgs::from_reply(reply)?.len()))
/// }
/// ```
#[derive(Debug)]
pub struct Reply<'a>(Arguments<'a>);

impl<'a> Reply<'a> {
    pub(crate) const fn new(arguments: Arguments<'a>) -> Self {
        Self(arguments)
    }

    pub(crate) const fn arguments(&self) -> &Arguments<'a> {
        &self.0
    }
}

type Answer<R> = Result<R, AckError>;

/// Both ends of an acknowledgement that a client is to send. The sender decodes on the socket's shard.
pub(crate) struct AckSender<R>(oneshot::Sender<Answer<R>>);

impl<R: FromReply> AckSender<R> {
    pub(crate) fn send(self, answer: Result<Arguments<'_>, AckError>) {
        let decoded = answer.and_then(|arguments| R::from_reply(&Reply(arguments)).map_err(AckError::Decode));
        // Nobody waits any more: the future was dropped.
        let _ = self.0.send(decoded);
    }
}

/// The acknowledgement a client will send: a future, for handlers on the socket's shard.
///
/// With `socket.timeout(..)` it ends with [`AckError::Timeout`] after that time. Without, it ends with
/// [`AckError::Disconnected`] when the client leaves, while Node's never ends then. The event has been sent already;
/// dropping this only forgets the answer.
///
/// ```no_run
/// # use ringio::Socket;
/// # async fn ask(socket: Socket) {
/// let answer = socket.emit_with_ack::<String>("name?", &()).await; // in async code
/// # }
/// # fn from_a_sync_handler(socket: &Socket) {
/// socket.emit_with_ack::<String>("name?", &()).on_reply(|answer| println!("{answer:?}"));
/// # }
/// ```
#[derive(Debug)]
pub struct AckReply<R> {
    answer: RemoteAckReply<R>,
    app: Rc<App>,
}

impl<R: 'static> AckReply<R> {
    /// Calls `handle` with the answer, for handlers that are not async.
    pub fn on_reply(self, handle: impl FnOnce(Result<R, AckError>) + 'static) {
        let app = Rc::clone(&self.app);
        app.background.spawn(async move { handle(self.await) });
    }
}

impl<R> AckReply<R> {
    pub(crate) fn new(app: Rc<App>) -> (AckSender<R>, Self) {
        let (sender, answer) = RemoteAckReply::new();
        (sender, Self { answer, app })
    }

    pub(crate) fn failed(app: Rc<App>, error: EmitError) -> Self {
        Self { answer: RemoteAckReply::failed(error), app }
    }
}

impl<R> Future for AckReply<R> {
    type Output = Answer<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer<R>> {
        Pin::new(&mut self.answer).poll(context)
    }
}

/// The acknowledgement a client will send: a future for everywhere.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn ask(socket: ringio::RemoteSocket) {
/// match socket.timeout(Duration::from_secs(5)).emit_with_ack::<bool>("ready?", &()).await {
///     Ok(is_ready) => println!("{is_ready}"),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct RemoteAckReply<R>(State<R>);

#[derive(Debug)]
enum State<R> {
    Failed(EmitError),
    Waiting(oneshot::Receiver<Answer<R>>),
}

impl<R> RemoteAckReply<R> {
    pub(crate) fn new() -> (AckSender<R>, Self) {
        let (sender, receiver) = oneshot::channel();
        (AckSender(sender), Self(State::Waiting(receiver)))
    }

    pub(crate) const fn failed(error: EmitError) -> Self {
        Self(State::Failed(error))
    }
}

impl<R> Future for RemoteAckReply<R> {
    type Output = Answer<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer<R>> {
        match &mut self.0 {
            State::Failed(error) => Poll::Ready(Err(AckError::Emit(error.clone()))),
            // A sender that is dropped had no socket to ask, or its shard has stopped.
            State::Waiting(receiver) => {
                Pin::new(receiver).poll(context).map(|answer| answer.unwrap_or(Err(AckError::Disconnected)))
            }
        }
    }
}
