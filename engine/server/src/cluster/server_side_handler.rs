//! What may be given to `on_server_side`: closures like those of `on`, without a socket.

use crate::decode::Arguments;
use crate::emitted::Emitted;
use crate::encode::{self, EmitArgs};
use crate::error::{ArgumentError, HandlerError};
use crate::extract::{Args, Attachments, Data, EventName, State, TryData};
use crate::handler::{
    AsyncHandler, AsyncMarker, HandlerOutput, Outcome, SyncHandler, SyncMarker, for_every_number_of_extractors,
    implement_calls,
};
use crate::{Namespace, RawArgs, Server};
use bytes::Bytes;
use ringio_codec::socketio::json::argument_bounds;
use ringio_core::cluster::{ClusterPacket, NodeId, RequestId};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One event of another server on its way to its handlers.
///
/// ```
/// use ringio::ArgumentError;
/// use ringio::cluster::{FromServerSideEvent, ServerSideContext};
///
/// /// `reload of /admin with 2 arguments, the first is 7`
/// struct Summary(String);
///
/// impl FromServerSideEvent for Summary {
///     fn from_server_side_event(context: &ServerSideContext<'_>) -> Result<Self, ArgumentError> {
///         let (name, namespace) = (context.name(), context.namespace().name());
///         let (count, first) = (context.argument_count(), context.argument::<u64>(0)?);
///         Ok(Self(format!("{name} of {namespace} with {count} arguments, the first is {first}")))
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ServerSideContext<'a> {
    namespace: &'a Namespace,
    name: &'a str,
    arguments: Arguments<'a>,
    seat: Option<Arc<Seat>>,
}

/// The answer that another server waits for.
#[derive(Debug)]
struct Seat {
    namespace: Namespace,
    to: NodeId,
    request: RequestId,
    is_answered: AtomicBool,
}

impl<'a> ServerSideContext<'a> {
    pub(crate) fn new(
        namespace: &'a Namespace,
        name: &'a str,
        arguments: Arguments<'a>,
        asker: Option<(NodeId, RequestId)>,
    ) -> Self {
        let seat = asker.map(|(to, request)| {
            Arc::new(Seat { namespace: namespace.clone(), to, request, is_answered: AtomicBool::new(false) })
        });
        Self { namespace, name, arguments, seat }
    }

    /// The namespace in which it was sent.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        self.namespace
    }

    /// The event's name.
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
}

/// Taken from an event of another server before its handler runs. Implement it for extractors of your own.
///
/// ```
/// use ringio::ArgumentError;
/// use ringio::cluster::{FromServerSideEvent, ServerSideContext};
///
/// /// Events of other servers carry a version first.
/// struct Version(u32);
///
/// impl FromServerSideEvent for Version {
///     fn from_server_side_event(context: &ServerSideContext<'_>) -> Result<Self, ArgumentError> {
///         context.argument(0).map(Self)
///     }
/// }
///
/// let io = ringio::Server::new();
/// io.on_server_side("reload", |Version(version): Version| println!("{version}"));
/// ```
#[diagnostic::on_unimplemented(
    message = "{Self} cannot be taken from an event of another server",
    note = "there is no socket; to take arguments write Data<..>, for example |Data(text): Data<String>|"
)]
pub trait FromServerSideEvent: Sized {
    /// Takes it.
    ///
    /// # Errors
    /// Why the handler cannot run for this event; logged.
    fn from_server_side_event(context: &ServerSideContext<'_>) -> Result<Self, ArgumentError>;
}

macro_rules! extract {
    ($($(#[$bound:meta])? [$($generics:tt)*] $type:ty: $context:ident => $taken:expr;)*) => {
        $(impl<$($generics)*> FromServerSideEvent for $type {
            fn from_server_side_event($context: &ServerSideContext<'_>) -> Result<Self, ArgumentError> {
                $taken
            }
        })*
    };
}

extract! {
    [T: DeserializeOwned] Data<T>: context => context.arguments.data().map(Data);
    [T: DeserializeOwned] TryData<T>: context => Ok(TryData(context.arguments.data()));
    [T: DeserializeOwned] Args<T>: context => context.arguments.all().map(Args);
    [] RawArgs: context => Ok(RawArgs::new(&context.arguments));
    [] Attachments: context => Ok(Attachments(context.arguments.attachments.to_vec()));
    [] EventName: context => Ok(EventName(context.name.to_owned()));
    [] Namespace: context => Ok(context.namespace.clone());
    [] Server: context => Ok(context.namespace.server());
    [] ServerSideAck: context => Ok(ServerSideAck { seat: context.seat.clone() });
    [S: Send + Sync + 'static] State<S>: context => {
        let state = context.namespace.shared().state();
        state.map(State).ok_or(ArgumentError::MissingState(std::any::type_name::<S>()))
    };
}

/// Answers an event of another server, from any thread and at any time.
///
/// A server is answered once: the first of several handlers counts, as in Node. One that is not answered waits for its
/// timeout.
///
/// ```
/// # use ringio::ServerSideAck;
/// # let io = ringio::Server::new();
/// io.on_server_side("load", |ack: ServerSideAck| {
///     println!("another server waits: {}", ack.is_wanted());
///     ack.send(&0.7)
/// });
/// ```
#[derive(Debug)]
#[must_use = "a server that asked for an answer waits for it"]
pub struct ServerSideAck {
    seat: Option<Arc<Seat>>,
}

impl ServerSideAck {
    /// Sends the answer: one value; of a tuple the first element, and `()` is `undefined`.
    ///
    /// Succeeds without sending if the other server wants no answer or has got one.
    pub fn send<A: EmitArgs + ?Sized>(self, answer: &A) -> Emitted {
        let Some(seat) = self.seat else { return Emitted::new(Ok(())) };
        let encoded = encode::answer(answer, |parts| {
            let arguments = &parts.json[1..parts.json.len() - 1];
            let text = std::str::from_utf8(arguments).ok()?;
            let first = argument_bounds(text).next()?;
            let json = Bytes::copy_from_slice(&arguments[first]);
            Some(ClusterPacket { json, attachments: parts.attachments.to_vec() })
        });
        Emitted::new(encoded.and_then(|answer| {
            if seat.is_answered.swap(true, Ordering::AcqRel) {
                return Ok(());
            }
            let (id, to, request) = (seat.namespace.id(), seat.to.clone(), seat.request.clone());
            seat.namespace.run(move |app| app.with_core(|core| core.answer_server_side(id, to, request, answer)))
        }))
    }

    /// Whether the other server asked for an answer.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.seat.is_some()
    }
}

/// A handler without its types.
#[doc(hidden)]
pub trait ErasedServerSideHandler {
    /// Extracts the arguments and runs a sync handler, or makes the future of an async one.
    fn call(&self, context: &ServerSideContext<'_>) -> Result<Outcome, HandlerError>;
}

/// A handler of all shards.
pub(crate) type SharedServerSideHandler = Arc<dyn ErasedServerSideHandler + Send + Sync>;

/// A closure or function that handles events of other servers: up to eight extractors, sync or async.
///
/// ```
/// # use ringio::{Data, Namespace, Server, ServerSideAck};
/// async fn count(namespace: Namespace, ack: ServerSideAck) {
///     ack.send(&namespace.local().fetch_sockets().await.map_or(0, |sockets| sockets.len()));
/// }
///
/// let io = Server::new();
/// io.on_server_side("reload", |Data(what): Data<String>| println!("{what}"));
/// io.on_server_side("count", count);
/// ```
#[diagnostic::on_unimplemented(
    message = "this is no handler of events of other servers",
    note = "it takes up to eight extractors with their types written out and no socket, such as `|Data(text): Data<String>, ack: ServerSideAck|`",
    note = "it must be Send + Sync and returns (), Emitted or a Result of them whose error has Display"
)]
pub trait ServerSideHandler<M>: Sized + Send + Sync + 'static {
    /// For the first shard.
    #[doc(hidden)]
    fn into_erased(self) -> SharedServerSideHandler;
}

macro_rules! implement_handler {
    ([] $($extractor:ident),*) => {
        impl<F, R, $($extractor,)*> ServerSideHandler<SyncMarker<($($extractor,)*)>> for F
        where
            F: Fn($($extractor),*) -> R + Send + Sync + 'static,
            R: HandlerOutput,
            $($extractor: FromServerSideEvent + 'static,)*
        {
            fn into_erased(self) -> SharedServerSideHandler {
                Arc::new(SyncHandler::<_, ($($extractor,)*)>::new(self))
            }
        }

        impl<F, R, $($extractor,)*> ServerSideHandler<AsyncMarker<($($extractor,)*)>> for F
        where
            F: AsyncFn($($extractor),*) -> R + Send + Sync + 'static,
            R: HandlerOutput,
            $($extractor: FromServerSideEvent + 'static,)*
        {
            fn into_erased(self) -> SharedServerSideHandler {
                Arc::new(AsyncHandler::<_, ($($extractor,)*)>::new(self))
            }
        }
    };
}

for_every_number_of_extractors!(implement_handler []);
for_every_number_of_extractors!(implement_calls [ErasedServerSideHandler ServerSideContext FromServerSideEvent from_server_side_event]);
