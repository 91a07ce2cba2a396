//! What a handler may ask for: its parameters, in any order.
//!
//! | extractor | gives |
//! |---|---|
//! | [`Socket`], [`Namespace`], [`Server`] | who it happened to, and where |
//! | [`Data<T>`](Data) | the first argument; all of them if `T` is a tuple |
//! | [`TryData<T>`](TryData) | the same, or why it does not fit |
//! | [`Args<T>`](Args) | all arguments, as a tuple or a list |
//! | [`RawArgs`](crate::RawArgs) | all arguments as they came, to be sent on |
//! | [`Attachments`] | the binary parts alone |
//! | [`Ack`](crate::Ack) | the means to acknowledge |
//! | [`State<S>`](State), [`Extension<T>`](Extension), [`HttpExtension<T>`](HttpExtension) | what the application attached to the server, the socket, the request |
//! | [`EventName`], [`Handshake`], [`Transport`], [`DisconnectReason`], [`DisconnectDescription`] | the circumstances |
//!
//! Arguments that do not fit never reach the handler. Implement [`FromEvent`] for extractors of your own.

use crate::decode::Arguments;
use crate::error::ArgumentError;
use crate::packet_middleware::Successor;
use crate::{DisconnectReason, Handshake, Namespace, Server, Socket, Transport};
use bytes::Bytes;
use ringio_core::door::Cause;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

/// Taken from an event before its handler runs.
///
/// ```
/// use ringio::{ArgumentError, EventContext, FromEvent};
///
/// /// The tenant a client belongs to, from its query.
/// struct Tenant(String);
///
/// impl FromEvent for Tenant {
///     fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
///         let handshake = context.socket().handshake();
///         let tenant = handshake.query("tenant").map(|tenant| Tenant(tenant.into_owned()));
///         tenant.ok_or(ArgumentError::Refused("no tenant".to_owned()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "{Self} cannot be taken from an event",
    note = "to take arguments write Data<..>, for example |Data(text): Data<String>|"
)]
pub trait FromEvent: Sized {
    /// Takes it.
    ///
    /// # Errors
    /// Why the handler cannot run for this event: counted, and told to `Server::on_handler_error`.
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError>;
}

/// One event on its way to its handlers.
///
/// ```
/// use ringio::{ArgumentError, EventContext, FromEvent};
///
/// /// Events of this application are `name(version, value, file?)`.
/// struct Versioned {
///     version: u32,
///     text: String,
/// }
///
/// impl FromEvent for Versioned {
///     fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
///         if context.argument_count() < 2 || context.attachments().len() > 1 {
///             return Err(ArgumentError::Refused(format!("{} of {}", context.name(), context.socket().id())));
///         }
///         Ok(Self { version: context.argument(0)?, text: context.argument(1)? })
///     }
/// }
/// ```
#[derive(Debug)]
pub struct EventContext<'a> {
    socket: &'a Socket,
    name: &'a str,
    arguments: Arguments<'a>,
    ack_id: Option<u64>,
    is_answered: Option<Rc<Cell<bool>>>,
    cause: Option<Cause>,
    successor: Option<Successor>,
}

impl<'a> EventContext<'a> {
    pub(crate) const fn new(socket: &'a Socket, name: &'a str, arguments: Arguments<'a>) -> Self {
        Self { socket, name, arguments, ack_id: None, is_answered: None, cause: None, successor: None }
    }

    /// The client wants an acknowledgement; `is_shared` if several handlers may give it.
    pub(crate) fn set_ack(&mut self, id: Option<u64>, is_shared: bool) {
        self.ack_id = id;
        self.is_answered = (id.is_some() && is_shared).then(Rc::default);
    }

    /// The same with a mark that handlers called elsewhere know too.
    pub(crate) fn share_ack(&mut self, id: Option<u64>, is_answered: &Rc<Cell<bool>>) {
        self.ack_id = id;
        self.is_answered = Some(Rc::clone(is_answered));
    }

    /// Whoever is called may put another event in the place of this one.
    pub(crate) fn let_pass(&mut self, successor: &Successor) {
        self.successor = Some(Rc::clone(successor));
    }

    pub(crate) fn successor(&self) -> Option<Successor> {
        self.successor.clone()
    }

    pub(crate) fn set_cause(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    pub(crate) fn ack(&self) -> (Option<u64>, Option<Rc<Cell<bool>>>) {
        (self.ack_id, self.is_answered.clone())
    }

    pub(crate) const fn arguments(&self) -> &Arguments<'a> {
        &self.arguments
    }

    /// The socket it happened to.
    #[must_use]
    pub const fn socket(&self) -> &Socket {
        self.socket
    }

    /// The event's name; `connection`, `disconnecting` and `disconnect` for those.
    #[must_use]
    pub const fn name(&self) -> &str {
        self.name
    }

    /// Number of arguments.
    #[must_use]
    pub const fn argument_count(&self) -> usize {
        self.arguments.count as usize
    }

    /// The argument at `index`, counted from 0, as a `T`; `null` if there is none.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn argument<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgumentError> {
        crate::decode::value(self.arguments.nth(index), self.arguments.attachments)
    }

    /// The binary parts, in the order of their placeholders.
    #[must_use]
    pub const fn attachments(&self) -> &[Bytes] {
        self.arguments.attachments
    }
}

/// The first argument, or all of them if `T` is a tuple. Missing arguments count as `null`, surplus ones are ignored.
///
/// Cost: deserialized from the received bytes; nothing is kept of them.
///
/// ```
/// # use ringio::Data;
/// # let io = ringio::Server::new();
/// io.sockets_on("hello", |Data(name): Data<String>| println!("{name}"));
/// io.sockets_on("sum", |Data((a, b)): Data<(i64, i64)>| println!("{}", a + b)); // two arguments
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> FromEvent for Data<T> {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        context.arguments.data().map(Self)
    }
}

/// Like [`Data`], but the handler runs in any case and gets the error.
///
/// ```
/// # use ringio::{Socket, TryData};
/// # let io = ringio::Server::new();
/// io.sockets_on("age", |socket: Socket, TryData(age): TryData<u8>| match age {
///     Ok(age) => socket.emit("thanks", &age),
///     Err(error) => socket.emit("oops", &error.to_string()),
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TryData<T>(pub Result<T, ArgumentError>);

impl<T: DeserializeOwned> FromEvent for TryData<T> {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(Self(context.arguments.data()))
    }
}

/// All arguments: `Args<(String, u64)>`, or `Args<Vec<T>>` if there may be any number.
///
/// ```
/// # use ringio::Args;
/// # let io = ringio::Server::new();
/// io.sockets_on("numbers", |Args(numbers): Args<Vec<f64>>| println!("{}", numbers.iter().sum::<f64>()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args<T>(pub T);

impl<T: DeserializeOwned> FromEvent for Args<T> {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        context.arguments.all().map(Self)
    }
}

/// The binary parts of an event, in the order of their placeholders. They share the received memory.
///
/// ```
/// # use ringio::{Ack, Attachments};
/// # let io = ringio::Server::new();
/// io.sockets_on("files", |Attachments(files): Attachments, ack: Ack| {
///     ack.send(&files.iter().map(|file| file.len()).sum::<usize>())
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachments(pub Vec<Bytes>);

impl FromEvent for Attachments {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(Self(context.arguments.attachments.to_vec()))
    }
}

/// What was given to `Builder::state`, the same for the whole server.
///
/// ```
/// # use ringio::{Server, Socket, State};
/// struct Config {
///     greeting: String,
/// }
///
/// let io = Server::builder().state(Config { greeting: "hello".to_owned() }).build()?;
/// io.on_connection(|socket: Socket, config: State<Config>| socket.emit("greeting", &config.greeting));
/// # Ok::<(), ringio::Error>(())
/// ```
#[derive(Debug)]
pub struct State<S>(pub Arc<S>);

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Send + Sync + 'static> FromEvent for State<S> {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        let state = context.socket.app().shared.state();
        state.map(Self).ok_or(ArgumentError::MissingState(std::any::type_name::<S>()))
    }
}

/// A clone of what `socket.extensions().insert` was given. Without it the handler does not run.
///
/// ```
/// # use ringio::{Extension, Socket};
/// #[derive(Clone)]
/// struct User(u64);
///
/// # let io = ringio::Server::new();
/// io.on_connection(|socket: Socket| drop(socket.extensions().insert(User(7))));
/// io.sockets_on("who am I", |socket: Socket, Extension(User(id)): Extension<User>| socket.emit("you are", &id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<T>(pub T);

impl<T: Clone + 'static> FromEvent for Extension<T> {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        let extension = context.socket.extensions().get();
        extension.map(Self).ok_or(ArgumentError::MissingExtension(std::any::type_name::<T>()))
    }
}

/// A clone of what a hook has left with the request that opened the client's session: what
/// [`request.extensions().insert`](crate::RequestExtensions::insert) was given. Without it the handler does not run.
///
/// ```
/// # use ringio::{HttpExtension, Request, Server, Socket};
/// #[derive(Clone)]
/// struct User(u64);
///
/// let io = Server::builder()
///     .allow_request(|request: Request| {
///         request.extensions().insert(User(7));
///         Ok::<_, &str>(())
///     })
///     .build()?;
/// io.sockets_on("who am I", |socket: Socket, HttpExtension(user): HttpExtension<User>| socket.emit("you are", &user.0));
/// # Ok::<(), ringio::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpExtension<T>(pub T);

impl<T: Clone + Send + Sync + 'static> FromEvent for HttpExtension<T> {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        let extension = context.socket.handshake().extensions().get();
        extension.map(Self).ok_or(ArgumentError::MissingExtension(std::any::type_name::<T>()))
    }
}

/// The event's name, for a handler of several events.
///
/// ```
/// # use ringio::{EventName, RawArgs, Socket};
/// # fn watch(socket: &Socket) {
/// socket.on_any(|EventName(name): EventName, args: RawArgs| println!("{name} {}", args.json()));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName(pub String);

impl FromEvent for EventName {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(Self(context.name.to_owned()))
    }
}

impl FromEvent for Socket {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(context.socket.clone())
    }
}

impl FromEvent for Namespace {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(context.socket.namespace())
    }
}

impl FromEvent for Server {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(context.socket.server())
    }
}

impl FromEvent for Handshake {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(context.socket.handshake())
    }
}

/// In handlers of `disconnecting` and `disconnect` only.
impl FromEvent for DisconnectReason {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        context.cause.map(|cause| cause.reason).ok_or(ArgumentError::NotDisconnecting)
    }
}

/// What exactly ended the socket, in handlers of `disconnecting` and `disconnect` only: Node's `description`. None where the reason
/// says it all.
///
/// ```no_run
/// # use ringio::{DisconnectDescription, DisconnectReason, Server};
/// # let io = Server::new();
/// io.on_disconnect(|reason: DisconnectReason, DisconnectDescription(description): DisconnectDescription| {
///     println!("{reason}: {}", description.unwrap_or("no more is known")); // transport error: Max payload size exceeded
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisconnectDescription(pub Option<&'static str>);

impl FromEvent for DisconnectDescription {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        context.cause.map(|cause| Self(cause.description)).ok_or(ArgumentError::NotDisconnecting)
    }
}

/// How the session talks at this moment.
impl FromEvent for Transport {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ArgumentError> {
        Ok(context.socket.conn().transport())
    }
}
