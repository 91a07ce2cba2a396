//! Middlewares of a socket: they see every event of its client before the handlers of its name, and may refuse it.
//!
//! ```text
//! event --> on_any --> middleware 1 --Ok--> middleware 2 --Ok--> handlers of the name
//!                           +----- Err ----------+--> handlers of `error` with the error's text; no acknowledgement
//! ```
//! What lets an event pass may put another in its place ([`PassedEvent`]), for the middlewares and handlers behind it.
//! As in Node an async middleware does not hold back later events: each goes its own way, over the list as it was when it
//! came. A socket without middlewares takes none of this path.

use crate::application::{App, arguments, event_name};
use crate::decode::Arguments;
use crate::encode::{self, EmitArgs};
use crate::error::{ArgumentError, EmitError, HandlerError};
use crate::extract::{EventContext, FromEvent};
use crate::handler::{LocalHandler, Outcome};
use crate::socket::Socket;
use ringio_codec::socketio::json::skim_event;
use ringio_core::door::{Data, EventParts, Message};
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// An event among the middlewares of its socket.
pub(crate) struct Passage {
    pub(crate) socket: Socket,
    pub(crate) middlewares: Vec<LocalHandler>,
    /// Shared by all that may acknowledge it.
    pub(crate) is_answered: Rc<Cell<bool>>,
    /// What a middleware put in its place.
    pub(crate) successor: Successor,
}

/// The event that takes another's place, until the middleware that gave it has let it pass.
pub(crate) type Successor = Rc<RefCell<Option<Message>>>;

/// The event that a [packet middleware](Socket::with_packet_middleware) looks at, to put another in its place: the middlewares and handlers
/// behind it see that one, as in Node where a middleware changes the array. The acknowledgement that the client asked for stays.
///
/// ```
/// # use ringio::{EventName, PassedEvent, RawArgs, Server, Socket};
/// # let io = Server::new();
/// io.on_connection(|socket: Socket| {
///     // "news:sports" with its arguments becomes "news" with "sports" before them.
///     socket.with_packet_middleware(|name: EventName, args: RawArgs, event: PassedEvent| {
///         if let Some((name, topic)) = name.0.split_once(':') {
///             let mut args = args.clone();
///             args.push_front(topic).map_err(|error| error.to_string())?;
///             event.replace(name, &args).map_err(|error| error.to_string())?;
///         }
///         Ok::<(), String>(())
///     });
/// });
/// ```
///
/// In a handler of any other kind the extractor fails: [`ArgumentError::NotPassing`].
#[derive(Debug)]
pub struct PassedEvent(Successor);

impl PassedEvent {
    /// Puts this event in its place, when the middleware lets it pass. Of several calls the last counts.
    ///
    /// # Errors
    /// [`EmitError::ReservedName`] for a name that no client may emit, [`EmitError::Encode`].
    pub fn replace<A: EmitArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        let message = encode::event(event, args, message_of)?;
        *self.0.borrow_mut() = message;
        Ok(())
    }
}

impl FromEvent for PassedEvent {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        context.successor().map(Self).ok_or(ArgumentError::NotPassing)
    }
}

/// An encoded event as if it had come from a client.
fn message_of(event: EventParts<'_>) -> Option<Message> {
    let skim = skim_event(std::str::from_utf8(event.json).ok()?).ok()?;
    let range = |range: Range<usize>| Some(u32::try_from(range.start).ok()?..u32::try_from(range.end).ok()?);
    Some(Message {
        data: Data::Owned { bytes: event.json.to_vec(), start: 0 },
        name: range(skim.name.range)?,
        name_has_escapes: skim.name.has_escapes,
        arguments: range(skim.arguments)?,
        argument_count: skim.argument_count,
        id: None,
        attachments: event.attachments.to_vec(),
    })
}

impl Passage {
    /// What is to take the place of `message`, with the acknowledgement that was asked for.
    fn take_successor(&self, message: &Message) -> Option<Message> {
        let successor = self.successor.borrow_mut().take()?;
        Some(Message { id: message.id, ..successor })
    }
}

impl App {
    /// Leads an event through the middlewares from `index` on, and then to its handlers.
    pub(crate) fn pass(self: &Rc<Self>, passage: Passage, index: usize, message: &Message, received: &[u8]) {
        for (at, middleware) in passage.middlewares.iter().enumerate().skip(index) {
            let data = message.data.bytes(received);
            let name = event_name(message, data);
            let mut context = EventContext::new(&passage.socket, &name, arguments(message, data));
            context.share_ack(message.id, &passage.is_answered);
            context.let_pass(&passage.successor);
            let called = catch_unwind(AssertUnwindSafe(|| middleware.call(&context)));
            match self.settle(called) {
                Ok(Outcome::Done) => {
                    if let Some(successor) = passage.take_successor(message) {
                        return self.pass(passage, at + 1, &successor, &[]);
                    }
                }
                Ok(Outcome::Pending(future)) => {
                    let mut message = message.clone();
                    message.data.own(received);
                    return self.start(Some(passage.socket.key()), future, move |app, result| {
                        match result.and_then(|result| result) {
                            Ok(()) => {
                                let message = passage.take_successor(&message).unwrap_or(message);
                                app.pass(passage, at + 1, &message, &[]);
                            }
                            Err(error) => app.raise(&passage.socket, &refusal(error)),
                        }
                    });
                }
                Err(error) => return self.raise(&passage.socket, &refusal(error)),
            }
        }
        self.deliver(&passage, message, received);
    }

    /// The handlers of an event's name, unless the client has left meanwhile.
    fn deliver(self: &Rc<Self>, passage: &Passage, message: &Message, received: &[u8]) {
        let socket = &passage.socket;
        if !socket.is_heard() {
            return;
        }
        let data = message.data.bytes(received);
        let name = event_name(message, data);
        let mut context = EventContext::new(socket, &name, arguments(message, data));
        context.share_ack(message.id, &passage.is_answered);
        self.dispatch(socket, &name, &context);
    }

    /// Tells the handlers of `error` what went wrong with a socket.
    pub(crate) fn raise(self: &Rc<Self>, socket: &Socket, text: &str) {
        let json = serde_json::Value::from(text).to_string();
        let arguments = Arguments { json: json.as_bytes(), count: 1, attachments: &[] };
        self.dispatch(socket, "error", &EventContext::new(socket, "error", arguments));
    }
}

/// The words of whoever refused.
fn refusal(error: HandlerError) -> String {
    match error {
        HandlerError::Failed(text) => text,
        HandlerError::Overloaded => error.to_string(),
        HandlerError::Argument(_) | HandlerError::Panicked(_) => {
            tracing::error!(%error, "a packet middleware failed");
            "internal server error".to_owned()
        }
    }
}
