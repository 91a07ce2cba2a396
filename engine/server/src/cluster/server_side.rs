//! Events from server to server: sent, answered, counted.
//!
//! ```text
//!   io.server_side_emit("reload", &7)      --> io.on_server_side("reload", |Data(n): Data<u64>| ..)    on every other server
//!   io.server_side_emit_with_ack("load", &()) --> .., |ack: ServerSideAck| ack.send(&0.7)   --> Ok([0.7, 0.2])
//! ```

use crate::ack::{FromReply, Reply};
use crate::application::App;
use crate::decode::Arguments;
use crate::emitted::Emitted;
use crate::encode::{self, EmitArgs, OwnedEvent};
use crate::error::EmitError;
use crate::listener::{ListenerId, ListenerKey};
use crate::waiter::Waiter;
use crate::{Namespace, ServerSideHandler};
use ringio_core::cluster::ClusterPacket;
use ringio_core::cluster::roll::Tally;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Not all other servers have answered.
///
/// ```no_run
/// # use ringio::cluster::ServerSideError;
/// # async fn ask(io: ringio::Server) {
/// match io.server_side_emit_with_ack::<f64>("load", &()).await {
///     Ok(loads) => println!("{loads:?}"),
///     Err(ServerSideError::Timeout { responses, expected }) => println!("{} of {expected:?}", responses.len()),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerSideError<R> {
    /// The time is over. A server without a listener never answers; an answer that does not read as `R` counts as none.
    Timeout {
        /// The answers that came, in the order of arrival.
        responses: Vec<R>,
        /// How many were expected; `None` if it could not be found out how many servers there are.
        expected: Option<u32>,
    },
    /// The event was not sent.
    Emit(EmitError),
}

impl<R> fmt::Display for ServerSideError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { responses, expected } => write_timeout(f, responses.len(), *expected),
            Self::Emit(error) => error.fmt(f),
        }
    }
}

impl<R: fmt::Debug> std::error::Error for ServerSideError<R> {}

/// In Node's words.
pub(crate) fn write_timeout(f: &mut fmt::Formatter<'_>, answered: usize, expected: Option<u32>) -> fmt::Result {
    match expected {
        Some(expected) => write!(f, "timeout reached: only {answered} responses received out of {expected}"),
        None => write!(f, "timeout reached: {answered} responses received, and the number of servers is not known"),
    }
}

type Answered<R> = Result<Vec<R>, ServerSideError<R>>;

/// The answers of the other servers: a future for everywhere. The event has been sent already; dropping this only forgets
/// the answers.
///
/// ```no_run
/// # async fn ask(io: ringio::Server) {
/// let answers = io.server_side_emit_with_ack::<f64>("load", &()); // sent already
/// println!("{:?}", answers.await);
/// # }
/// ```
#[derive(Debug)]
pub struct ServerSideReplies<R>(State<R>);

#[derive(Debug)]
enum State<R> {
    Failed(EmitError),
    Waiting(oneshot::Receiver<Answered<R>>),
}

impl<R> Future for ServerSideReplies<R> {
    type Output = Answered<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered<R>> {
        match &mut self.0 {
            State::Failed(error) => Poll::Ready(Err(ServerSideError::Emit(error.clone()))),
            // A sender is dropped by a shard that stops.
            State::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|answered| answered.unwrap_or(Err(ServerSideError::Emit(EmitError::NotRunning)))),
        }
    }
}

/// How many servers have a namespace: a future for everywhere.
///
/// ```no_run
/// # async fn count(io: ringio::Server) {
/// println!("{:?} servers", io.server_count().await);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the number is the future's output"]
pub struct ServerCount(Result<oneshot::Receiver<Result<Option<u32>, EmitError>>, EmitError>);

impl Future for ServerCount {
    type Output = Result<u32, ServerSideError<()>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Err(error) => Poll::Ready(Err(ServerSideError::Emit(error.clone()))),
            Ok(receiver) => Pin::new(receiver).poll(context).map(|count| match count {
                Ok(Ok(Some(count))) => Ok(count),
                Ok(Err(error)) => Err(ServerSideError::Emit(error)),
                Ok(Ok(None)) => Err(ServerSideError::Timeout { responses: Vec::new(), expected: None }),
                Err(_) => Err(ServerSideError::Emit(EmitError::NotRunning)),
            }),
        }
    }
}

impl Namespace {
    /// Sends an event to the other servers of the cluster, not to their clients: a tuple is several arguments, `()` none,
    /// everything else one. This server does not hear it itself; without an adapter nobody does.
    ///
    /// `connect`, `connection` and `new_namespace` are reserved names.
    ///
    /// ```no_run
    /// # let io = ringio::Server::new();
    /// io.server_side_emit("reload", &("rates", 7));
    /// ```
    pub fn server_side_emit<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Emitted {
        let id = self.id();
        Emitted::new(encode::server_side_event(event, args, OwnedEvent::new).and_then(|event| {
            self.run(move |app| app.with_core(|core| core.server_side_emit(id, event.parts(), None)))
        }))
    }

    /// Sends an event to the other servers and gathers their answers: the first argument of each, in the order of arrival.
    /// At once `Ok` and empty if there is no other server.
    ///
    /// Waits at most as long as [`Builder::requests_timeout`](crate::Builder::requests_timeout) says, 5 s without it.
    ///
    /// ```no_run
    /// # async fn ask(io: ringio::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let loads: Vec<f64> = io.server_side_emit_with_ack("load", &()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn server_side_emit_with_ack<R>(&self, event: &str, args: &(impl EmitArgs + ?Sized)) -> ServerSideReplies<R>
    where
        R: FromReply + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let (id, timeout_ms) = (self.id(), self.shared().settings.requests_timeout_ms);
        let sent = encode::server_side_event(event, args, OwnedEvent::new).and_then(|event| {
            self.run(move |app| {
                if !app.with_core(|core| core.may_ask()) {
                    // Nobody waits any more: the future was dropped.
                    let _ = sender.send(Err(ServerSideError::Emit(EmitError::Overloaded)));
                    return;
                }
                let waiter = app.waiters.add(gather(sender));
                app.with_core(|core| core.server_side_emit(id, event.parts(), Some((timeout_ms, waiter))));
            })
        });
        ServerSideReplies(match sent {
            Ok(()) => State::Waiting(receiver),
            Err(error) => State::Failed(error),
        })
    }

    /// Calls `handler` when another server of the cluster sends this event with [`Namespace::server_side_emit`]: what `io.on`
    /// is in Node for events that are not its own.
    ///
    /// A closure, sync or async, with up to eight of [`Data`](crate::Data), [`TryData`](crate::TryData), [`Args`](crate::Args),
    /// [`RawArgs`](crate::RawArgs), [`Attachments`](crate::Attachments), [`State`](crate::State), [`EventName`](crate::EventName),
    /// [`Namespace`], [`Server`](crate::Server) and [`ServerSideAck`](crate::cluster::ServerSideAck); there is no socket. It runs once
    /// per server, on the first shard, and must not block it.
    ///
    /// ```no_run
    /// # use ringio::{Data, Namespace, cluster::ServerSideAck};
    /// # let io = ringio::Server::new();
    /// io.on_server_side("reload", |Data((what, version)): Data<(String, u64)>| println!("{what} {version}"));
    /// io.on_server_side("load", |ack: ServerSideAck| ack.send(&0.7));
    /// io.on_server_side("sockets", async |namespace: Namespace, ack: ServerSideAck| {
    ///     let count = namespace.local().fetch_sockets().await.map_or(0, |sockets| sockets.len());
    ///     ack.send(&count)
    /// });
    /// ```
    pub fn on_server_side<M>(&self, event: &str, handler: impl ServerSideHandler<M>) -> ListenerId {
        let id = self.shared().registry.next_listener();
        self.shared().server_side.add(self.id(), id, event, handler.into_erased());
        id
    }

    /// Removes one handler of server-side events by its [`ListenerId`], or all of an event by its name.
    pub fn off_server_side(&self, listener: impl ListenerKey) {
        self.shared().server_side.remove(self.id(), listener.which());
    }

    /// How many servers of the cluster have this namespace, this one included; 1 without an adapter.
    ///
    /// ```no_run
    /// # async fn count(io: ringio::Server) {
    /// if let Ok(count) = io.of("/chat").server_count().await {
    ///     println!("{count} servers have it");
    /// }
    /// # }
    /// ```
    pub fn server_count(&self) -> ServerCount {
        let (sender, receiver) = oneshot::channel();
        let (id, timeout_ms) = (self.id(), self.shared().settings.requests_timeout_ms);
        let asked = self.run(move |app| {
            if !app.with_core(|core| core.may_ask()) {
                // Nobody waits any more: the future was dropped.
                let _ = sender.send(Err(EmitError::Overloaded));
                return;
            }
            let waiter = app.waiters.add(Waiter::Servers(Box::new(|count| {
                // Nobody waits any more: the future was dropped.
                let _ = sender.send(Ok(count));
            })));
            app.with_core(|core| core.count_servers(id, timeout_ms, waiter));
        });
        ServerCount(asked.map(|()| receiver))
    }
}

/// What is done with the answers when they are together.
fn gather<R: FromReply + 'static>(sender: oneshot::Sender<Answered<R>>) -> Waiter {
    Waiter::ServerSide(Box::new(move |answers, tally: Tally| {
        let count = answers.len();
        let read = |answer: &Option<ClusterPacket>| {
            let (json, attachments) =
                answer.as_ref().map_or((&b""[..], &[][..]), |answer| (&answer.json[..], &answer.attachments[..]));
            R::from_reply(&Reply::new(Arguments { json, count: answer.is_some().into(), attachments })).ok()
        };
        let responses: Vec<R> = answers.iter().filter_map(read).collect();
        let is_whole = responses.len() == count && tally.expected == Some(tally.answered);
        // Nobody waits any more: the future was dropped.
        let _ = sender.send(if is_whole {
            Ok(responses)
        } else {
            Err(ServerSideError::Timeout { responses, expected: tally.expected })
        });
    }))
}

impl App {
    /// The answers of other servers are together, or the time is over.
    pub(crate) fn resolve_server_side(self: &Rc<Self>, waiter: u64, answers: Vec<Option<ClusterPacket>>, tally: Tally) {
        if let Some(Waiter::ServerSide(resolve)) = self.waiters.take(waiter) {
            // Decoding runs code of the user's types.
            self.guard("an answer of another server could not be decoded", || resolve(answers, tally));
        }
    }

    pub(crate) fn resolve_count(&self, waiter: u64, count: Option<u32>) {
        if let Some(Waiter::Servers(resolve)) = self.waiters.take(waiter) {
            resolve(count);
        }
    }
}
