//! Middlewares of a socket: they see every event of its client before the handlers of its name, and may refuse it.
//!
//! ```text
//! event --> on_any --> middleware 1 --Ok--> middleware 2 --Ok--> handlers of the name
//!                           +----- Err ----------+--> handlers of `error` with the error's text; no acknowledgement
//! ```
//! As in Node an async middleware does not hold back later events: each goes its own way, over the list as it was when it
//! came. A socket without middlewares takes none of this path.

use crate::application::{App, arguments, event_name};
use crate::decode::Arguments;
use crate::error::HandlerError;
use crate::extract::EventContext;
use crate::handler::{LocalHandler, Outcome};
use crate::socket::Socket;
use ringio_core::door::Message;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// An event among the middlewares of its socket.
pub(crate) struct Passage {
    pub(crate) socket: Socket,
    pub(crate) middlewares: Vec<LocalHandler>,
    /// Shared by all that may acknowledge it.
    pub(crate) is_answered: Rc<Cell<bool>>,
}

impl App {
    /// Leads an event through the middlewares from `index` on, and then to its handlers.
    pub(crate) fn pass(self: &Rc<Self>, passage: Passage, index: usize, message: &Message, received: &[u8]) {
        let data = message.data.bytes(received);
        let name = event_name(message, data);
        for (at, middleware) in passage.middlewares.iter().enumerate().skip(index) {
            let mut context = EventContext::new(&passage.socket, &name, arguments(message, data));
            context.share_ack(message.id, &passage.is_answered);
            let called = catch_unwind(AssertUnwindSafe(|| middleware.call(&context)));
            match self.settle(called) {
                Ok(Outcome::Done) => {}
                Ok(Outcome::Pending(future)) => {
                    let mut message = message.clone();
                    message.data.own(received);
                    return self.start(Some(passage.socket.key()), future, move |app, result| {
                        match result.and_then(|result| result) {
                            Ok(()) => app.pass(passage, at + 1, &message, &[]),
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
        if !socket.is_connected() {
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
