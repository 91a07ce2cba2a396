//! What may be given to `on`: sync and async closures and functions, any order of extractors.
//!
//! ```text
//! |socket: Socket, Data(x): Data<u64>, ack: Ack| { .. }          runs at once, inline on the shard
//! async |Data(x): Data<u64>, ack: Ack| { .. }                    its first part too; the rest on the shard's executor
//! async fn profile(socket: Socket, id: Data<u64>) -> Result<(), Error>
//! ```
//! The type parameter `M` of [`Handler`] only tells the compiler which of the implementations is meant; it is never
//! written down. A handler may return nothing, an [`Emitted`], or a `Result`, whose error is logged and counted.

use crate::emitted::Emitted;
use crate::error::HandlerError;
use crate::extract::{EventContext, FromEvent};
use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

/// A closure or function that handles events: up to eight extractors, sync or async.
///
/// ```
/// # use ringio::{Ack, Data, Emitted, Server, Socket};
/// async fn profile(socket: Socket, Data(id): Data<u64>) -> Result<(), std::io::Error> {
///     let profile = std::fs::read_to_string(format!("profiles/{id}"))?; // or what a database says, awaited
///     socket.emit("profile", &profile);
///     Ok(())
/// }
///
/// let io = Server::new();
/// io.sockets_on("ping", |socket: Socket| socket.emit("pong", &()));
/// io.sockets_on("sum", |ack: Ack, Data((a, b)): Data<(i64, i64)>| -> Emitted { ack.send(&(a + b)) });
/// io.sockets_on("profile", profile);
/// ```
#[diagnostic::on_unimplemented(
    message = "this is no event handler",
    label = "not a handler",
    note = "a handler takes up to eight extractors with their types written out, such as `|socket: Socket, Data(text): Data<String>|`",
    note = "it returns (), Emitted or a Result of them whose error has Display",
    note = "namespace-wide handlers must be Send + Sync"
)]
pub trait Handler<M>: Sized + 'static {
    /// For one shard.
    #[doc(hidden)]
    fn into_local(self) -> LocalHandler;
    /// For all shards.
    #[doc(hidden)]
    fn into_shared(self) -> SharedHandler
    where
        Self: Send + Sync;
}

/// What a handler may return.
///
/// ```
/// use ringio::{HandlerError, HandlerOutput};
///
/// assert!(().into_result().is_ok());
/// assert_eq!(Err::<(), _>("no such file").into_result(), Err(HandlerError::Failed("no such file".to_owned())));
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot return {Self}",
    note = "handlers return (), Emitted or a Result of them whose error has Display; end the closure with a semicolon"
)]
pub trait HandlerOutput {
    /// Whether the handler succeeded.
    ///
    /// # Errors
    /// [`HandlerError::Failed`] with the text of the handler's own error.
    fn into_result(self) -> Result<(), HandlerError>;
}

impl HandlerOutput for () {
    fn into_result(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// Only a mistake of the program counts as failure: that a client has gone is nothing to log.
impl HandlerOutput for Emitted {
    fn into_result(self) -> Result<(), HandlerError> {
        match self.error() {
            Some(error) if error.is_mistake() => Err(HandlerError::Failed(error.to_string())),
            _ => Ok(()),
        }
    }
}

impl<T: HandlerOutput, E: Display> HandlerOutput for Result<T, E> {
    fn into_result(self) -> Result<(), HandlerError> {
        match self {
            Ok(output) => output.into_result(),
            Err(error) => Err(HandlerError::Failed(error.to_string())),
        }
    }
}

/// The rest of an async handler.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), HandlerError>>>>;

/// What a call of a handler gives.
#[doc(hidden)]
pub enum Outcome {
    /// It ran to its end.
    Done,
    /// It is async: to be polled.
    Pending(HandlerFuture),
}

/// A handler without its types.
#[doc(hidden)]
pub trait ErasedHandler {
    /// Extracts the arguments and runs a sync handler, or makes the future of an async one.
    fn call(&self, context: &EventContext<'_>) -> Result<Outcome, HandlerError>;
}

/// A handler of one shard.
pub(crate) type LocalHandler = Rc<dyn ErasedHandler>;

/// A handler of all shards.
pub(crate) type SharedHandler = Arc<dyn ErasedHandler + Send + Sync>;

/// Marks sync handlers.
#[doc(hidden)]
#[derive(Debug)]
pub struct SyncMarker<A>(PhantomData<A>);

/// Marks async handlers.
#[doc(hidden)]
#[derive(Debug)]
pub struct AsyncMarker<A>(PhantomData<A>);

/// A closure that runs at once, with the types of its extractors.
pub(crate) struct SyncHandler<F, A> {
    pub(crate) function: F,
    arguments: PhantomData<fn(A)>,
}

impl<F, A> SyncHandler<F, A> {
    pub(crate) const fn new(function: F) -> Self {
        Self { function, arguments: PhantomData }
    }
}

/// One that is polled.
pub(crate) struct AsyncHandler<F, A> {
    /// Counted, because each running future owns it; atomically, because the same code serves shared handlers.
    pub(crate) function: Arc<F>,
    arguments: PhantomData<fn(A)>,
}

impl<F, A> AsyncHandler<F, A> {
    pub(crate) fn new(function: F) -> Self {
        Self { function: Arc::new(function), arguments: PhantomData }
    }
}

/// `$implement!([..] A, B, ..)` for none to eight extractors.
macro_rules! for_every_number_of_extractors {
    ($implement:ident $with:tt) => {
        $implement!($with);
        $implement!($with A);
        $implement!($with A, B);
        $implement!($with A, B, C);
        $implement!($with A, B, C, D);
        $implement!($with A, B, C, D, E);
        $implement!($with A, B, C, D, E, G);
        $implement!($with A, B, C, D, E, G, H);
        $implement!($with A, B, C, D, E, G, H, I);
    };
}

/// How a handler is called: `[trait of handlers, what it is called with, trait of extractors, their function]`.
macro_rules! implement_calls {
    ([$erased:ident $context:ident $extract:ident $take:ident] $($extractor:ident),*) => {
        #[allow(non_snake_case, unused_variables, reason = "a macro for every number of extractors, none included")]
        impl<F, R, $($extractor,)*> $erased for SyncHandler<F, ($($extractor,)*)>
        where
            F: Fn($($extractor),*) -> R + 'static,
            R: HandlerOutput,
            $($extractor: $extract,)*
        {
            fn call(&self, context: &$context<'_>) -> Result<Outcome, HandlerError> {
                $(let $extractor = $extractor::$take(context)?;)*
                (self.function)($($extractor),*).into_result().map(|()| Outcome::Done)
            }
        }

        #[allow(non_snake_case, unused_variables, reason = "a macro for every number of extractors, none included")]
        impl<F, R, $($extractor,)*> $erased for AsyncHandler<F, ($($extractor,)*)>
        where
            F: AsyncFn($($extractor),*) -> R + 'static,
            R: HandlerOutput,
            $($extractor: $extract + 'static,)*
        {
            fn call(&self, context: &$context<'_>) -> Result<Outcome, HandlerError> {
                $(let $extractor = $extractor::$take(context)?;)*
                let function = Arc::clone(&self.function);
                Ok(Outcome::Pending(Box::pin(async move { function($($extractor),*).await.into_result() })))
            }
        }
    };
}

macro_rules! implement_handler {
    ([] $($extractor:ident),*) => {
        impl<F, R, $($extractor,)*> Handler<SyncMarker<($($extractor,)*)>> for F
        where
            F: Fn($($extractor),*) -> R + 'static,
            R: HandlerOutput,
            $($extractor: FromEvent + 'static,)*
        {
            fn into_local(self) -> LocalHandler {
                Rc::new(SyncHandler::<_, ($($extractor,)*)>::new(self))
            }

            fn into_shared(self) -> SharedHandler
            where
                Self: Send + Sync,
            {
                Arc::new(SyncHandler::<_, ($($extractor,)*)>::new(self))
            }
        }

        impl<F, R, $($extractor,)*> Handler<AsyncMarker<($($extractor,)*)>> for F
        where
            F: AsyncFn($($extractor),*) -> R + 'static,
            R: HandlerOutput,
            $($extractor: FromEvent + 'static,)*
        {
            fn into_local(self) -> LocalHandler {
                Rc::new(AsyncHandler::<_, ($($extractor,)*)>::new(self))
            }

            fn into_shared(self) -> SharedHandler
            where
                Self: Send + Sync,
            {
                Arc::new(AsyncHandler::<_, ($($extractor,)*)>::new(self))
            }
        }
    };
}

for_every_number_of_extractors!(implement_handler []);
for_every_number_of_extractors!(implement_calls [ErasedHandler EventContext FromEvent from_event]);

// For the handlers of events of other servers.
pub(crate) use {for_every_number_of_extractors, implement_calls};
