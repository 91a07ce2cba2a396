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
use crate::handler::{HandlerFuture, LocalHandler, Outcome};
use crate::socket::Socket;
use ringio_core::door::Message;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

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
                    return self.start(PassageTask {
                        app: Rc::clone(self),
                        passage: Some(passage),
                        index: at + 1,
                        message,
                        future,
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
        HandlerError::Argument(_) | HandlerError::Panicked(_) => {
            tracing::error!(%error, "a packet middleware failed");
            "internal server error".to_owned()
        }
    }
}

/// An async middleware at work.
struct PassageTask {
    app: Rc<App>,
    /// None once it has gone on.
    passage: Option<Passage>,
    index: usize,
    message: Message,
    future: HandlerFuture,
}

impl Future for PassageTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let app = Rc::clone(&self.app);
        let polled = {
            let _entered = app.shared.tokio.handle().map(|handle| handle.enter());
            catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(context)))
        };
        let finished = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panic) => Err(panic),
        };
        let settled = app.settle(finished);
        let Some(passage) = self.passage.take() else { return Poll::Ready(()) };
        match settled {
            Ok(()) => app.pass(passage, self.index, &self.message, &[]),
            Err(error) => app.raise(&passage.socket, &refusal(error)),
        }
        Poll::Ready(())
    }
}
