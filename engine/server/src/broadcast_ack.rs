//! Acknowledgements of a broadcast: gathered from the clients of all shards.
//!
//! The answer is complete when every selected socket has acknowledged. A client that leaves without doing so ends the wait
//! for it at once, where Node waits for the timeout: the outcome is then known to be incomplete. So does one that could
//! not be asked: it did not take a volatile event, was too slow for another, or owes too many answers already.

use crate::BroadcastOperator;
use crate::ack::{FromReply, RemoteAckReply, Reply};
use crate::application::{App, arguments};
use crate::encode::{self, EmitArgs, OwnedEvent};
use crate::error::{AckError, EmitError, millis_of};
use crate::waiter::Waiter;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long acknowledgements of a broadcast are waited for, unless the operator says otherwise. (Node's default
/// is a millisecond by accident: an undefined timeout.)
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// How long the acknowledgement of a socket of another server is waited for without a timeout: nobody says that its client
/// has left. Milliseconds, an hour; Node waits 1 ms by accident.
const ONE_ACK_MS_MAX: u64 = 3_600_000;

/// Not all sockets that a broadcast selected have acknowledged.
///
/// ```no_run
/// # use ringio::BroadcastAckError;
/// # async fn poll(io: ringio::Server) {
/// match io.to("jury").emit_with_ack::<bool>("vote", &()).await {
///     Ok(votes) => println!("all {} have voted", votes.len()),
///     Err(BroadcastAckError::Incomplete { responses }) => println!("only {}", responses.len()),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum BroadcastAckError<R> {
    /// The time is over, or a client has left or could not be asked; these acknowledgements came, in the order of arrival.
    Incomplete {
        /// What came and could be read.
        responses: Vec<R>,
    },
    /// The event was not sent.
    Emit(EmitError),
}

impl<R> fmt::Display for BroadcastAckError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { responses } => {
                write!(f, "operation has timed out or clients have left: {} have acknowledged", responses.len())
            }
            Self::Emit(error) => error.fmt(f),
        }
    }
}

impl<R: fmt::Debug> std::error::Error for BroadcastAckError<R> {}

type Gathered<R> = Result<Vec<R>, BroadcastAckError<R>>;

/// The acknowledgements of a broadcast: a future for everywhere. The event has been sent already; dropping this only
/// forgets the answers.
///
/// ```no_run
/// # async fn poll(io: ringio::Server) {
/// let question = io.to("jury").emit_with_ack::<bool>("vote", &()); // sent already
/// println!("{:?}", question.await);
/// # }
/// ```
#[derive(Debug)]
pub struct BroadcastAcks<R>(State<R>);

#[derive(Debug)]
enum State<R> {
    Failed(EmitError),
    Waiting(oneshot::Receiver<Gathered<R>>),
}

impl<R> Future for BroadcastAcks<R> {
    type Output = Gathered<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Gathered<R>> {
        match &mut self.0 {
            State::Failed(error) => Poll::Ready(Err(BroadcastAckError::Emit(error.clone()))),
            // A sender is dropped by a shard that stops.
            State::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|gathered| gathered.unwrap_or(Err(BroadcastAckError::Emit(EmitError::NotRunning)))),
        }
    }
}

impl BroadcastOperator {
    /// Sends an event to them and gathers their acknowledgements: the first argument of each (a tuple `R` takes all),
    /// in the order of arrival. An acknowledgement that does not read as `R` counts as missing.
    ///
    /// Waits at most as long as [`BroadcastOperator::timeout`] says, 5 s without it.
    ///
    /// ```no_run
    /// # async fn poll(io: ringio::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// let votes: Vec<bool> = io.to("jury").timeout(Duration::from_secs(10)).emit_with_ack("vote", "guilty?").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl EmitArgs + ?Sized)) -> BroadcastAcks<R>
    where
        R: FromReply + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let (namespace, target, flags, timeout) = self.parts();
        let timeout_ms = millis_of(timeout);
        let sent = encode::event(event, args, OwnedEvent::new).and_then(|event| {
            let name = namespace.clone();
            namespace.run(move |app| {
                if !app.with_core(|core| core.may_ask()) {
                    // Nobody waits any more: the future was dropped.
                    let _ = sender.send(Err(BroadcastAckError::Emit(EmitError::Overloaded)));
                    return;
                }
                let sender = Rc::new(Cell::new(Some(sender)));
                let waiter = app.waiters.add(gather(Rc::clone(&sender)));
                let sent = app.send(|core| {
                    core.broadcast_with_ack(
                        name.id(),
                        &name.shared_name(),
                        &target,
                        event.parts(),
                        flags,
                        timeout_ms,
                        waiter,
                    )
                });
                if let Err(error) = sent
                    && let Some(sender) = sender.take()
                {
                    drop(app.waiters.take(waiter));
                    let _ = sender.send(Err(BroadcastAckError::Emit(error.into())));
                }
            })
        });
        BroadcastAcks(match sent {
            Ok(()) => State::Waiting(receiver),
            Err(error) => State::Failed(error),
        })
    }
}

impl BroadcastOperator {
    /// The same for what is known to be one socket, wherever it is: its one acknowledgement.
    pub(crate) fn ask_one<R>(
        &self,
        event: &str,
        args: &(impl EmitArgs + ?Sized),
        timeout: Option<Duration>,
    ) -> RemoteAckReply<R>
    where
        R: FromReply + Send + 'static,
    {
        let (sender, reply) = RemoteAckReply::new();
        let (namespace, target, flags, _) = self.parts();
        let timeout_ms = timeout.map_or(ONE_ACK_MS_MAX, millis_of);
        let sent = namespace.encode_for_shard(event, args).and_then(|event| {
            let name = namespace.clone();
            namespace.run(move |app| {
                if !app.with_core(|core| core.may_ask()) {
                    return sender.send(Err(AckError::Emit(EmitError::Overloaded)));
                }
                let waiter = app.waiters.add(Waiter::Broadcast(Box::new(move |answers, is_complete| {
                    sender.send(match answers.first() {
                        Some(message) => Ok(arguments(message, message.data.bytes(&[]))),
                        None if is_complete => Err(AckError::Disconnected),
                        None => Err(AckError::Timeout),
                    });
                })));
                let (id, name) = (name.id(), name.shared_name());
                let sent = app
                    .send(|core| core.broadcast_with_ack(id, &name, &target, event.parts(), flags, timeout_ms, waiter));
                if sent.is_err() {
                    // With its sender, so that the reply ends.
                    drop(app.waiters.take(waiter));
                }
            })
        });
        match sent {
            Ok(()) => reply,
            Err(error) => RemoteAckReply::failed(error),
        }
    }
}

/// What is done with the acknowledgements when they are together.
fn gather<R: FromReply + 'static>(sender: Rc<Cell<Option<oneshot::Sender<Gathered<R>>>>>) -> Waiter {
    Waiter::Broadcast(Box::new(move |answers, is_complete| {
        let count = answers.len();
        let read = |message: &ringio_core::door::Message| {
            R::from_reply(&Reply::new(arguments(message, message.data.bytes(&[])))).ok()
        };
        let responses: Vec<R> = answers.iter().filter_map(read).collect();
        let is_whole = is_complete && responses.len() == count;
        let Some(sender) = sender.take() else { return };
        // Nobody waits any more: the future was dropped.
        let _ = sender.send(if is_whole { Ok(responses) } else { Err(BroadcastAckError::Incomplete { responses }) });
    }))
}

impl App {
    /// The acknowledgements of a broadcast are together, or the time is over.
    pub(crate) fn resolve_broadcast(
        self: &Rc<Self>,
        waiter: u64,
        answers: Vec<ringio_core::door::Message>,
        is_complete: bool,
    ) {
        if let Some(Waiter::Broadcast(resolve)) = self.waiters.take(waiter) {
            resolve(answers, is_complete);
        }
    }
}
