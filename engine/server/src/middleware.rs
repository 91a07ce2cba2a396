//! Middlewares of a namespace: they see a socket before it is connected, and may refuse it.
//!
//! ```text
//! CONNECT --> middleware 1 --Ok--> middleware 2 --Ok--> CONNECT answered --> handlers of `connection`
//!                  +----- Err -----------+----------> CONNECT_ERROR {"message":..,"data":..}; rooms left, no handler runs
//! ```
//! They run in the order in which they were added, one after the other, over the list as it was when the client asked.

use crate::Socket;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::handler::{AsyncMarker, SyncMarker};

/// Why a middleware refuses a client: what its `connect_error` event shows.
///
/// ```
/// use ringio::ConnectError;
///
/// let error = ConnectError::new("not authorized").with_data(&[("retry after", 60)])?;
/// assert_eq!(error.message(), "not authorized"); // err.message at the client
/// assert_eq!(error.data().map(ToString::to_string).as_deref(), Some(r#"[["retry after",60]]"#)); // err.data
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectError {
    message: String,
    data: Option<Value>,
}

impl ConnectError {
    /// An error with this message: `err.message` at the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// Adds details: `err.data` at the client.
    ///
    /// # Errors
    /// What serde says when `data` cannot be written as JSON.
    pub fn with_data(mut self, data: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        self.data = Some(serde_json::to_value(data)?);
        Ok(self)
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details.
    #[must_use]
    pub const fn data(&self) -> Option<&Value> {
        self.data.as_ref()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// The verdict of a middleware.
pub(crate) type Verdict = Result<(), ConnectError>;

/// What a call of a middleware gives.
#[doc(hidden)]
pub enum Step {
    /// It has decided.
    Done(Verdict),
    /// It is async: to be awaited.
    Pending(Pin<Box<dyn Future<Output = Verdict>>>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(verdict) => f.debug_tuple("Done").field(verdict).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// A middleware without its types.
pub(crate) type SharedMiddleware = Arc<dyn Fn(Socket) -> Step + Send + Sync>;

/// A closure or function that decides whether a client may join: sync or async, from [`Socket`] to
/// `Result<(), E>`, where `E` becomes a [`ConnectError`] (as `&str` and `String` do).
///
/// `M` only tells the compiler which of the implementations is meant.
///
/// ```
/// # use ringio::{ConnectError, Server, Socket};
/// async fn is_known(socket: Socket) -> Result<(), ConnectError> {
///     println!("{} asks", socket.id());
///     Ok(())
/// }
///
/// let io = Server::new();
/// io.with_middleware(is_known);
/// io.with_middleware(|socket: Socket| if socket.id().is_empty() { Err("impossible") } else { Ok(()) });
/// ```
#[diagnostic::on_unimplemented(
    message = "this is no middleware",
    note = "a middleware is `|socket: Socket| -> Result<(), E>` or async, with an `E` that becomes a ConnectError",
    note = "it must be Send + Sync"
)]
pub trait Middleware<M>: Sized + Send + Sync + 'static {
    /// For all shards.
    #[doc(hidden)]
    fn into_step(self) -> Arc<dyn Fn(Socket) -> Step + Send + Sync>;
}

impl<F, E> Middleware<SyncMarker<E>> for F
where
    F: Fn(Socket) -> Result<(), E> + Send + Sync + 'static,
    E: Into<ConnectError>,
{
    fn into_step(self) -> SharedMiddleware {
        Arc::new(move |socket| Step::Done(self(socket).map_err(Into::into)))
    }
}

impl<F, E> Middleware<AsyncMarker<E>> for F
where
    F: AsyncFn(Socket) -> Result<(), E> + Send + Sync + 'static,
    E: Into<ConnectError> + 'static,
{
    fn into_step(self) -> SharedMiddleware {
        let middleware = Arc::new(self);
        Arc::new(move |socket| {
            let middleware = Arc::clone(&middleware);
            Step::Pending(Box::pin(async move { middleware(socket).await.map_err(Into::into) }))
        })
    }
}
