//! What can be known of an emit at once.
//!
//! An emit never waits: it is queued, dropped because the caller asked for that, or refused. [`Emitted`] carries that
//! answer and may be ignored, looked at, or awaited, so that the same call reads well in sync and async code.

use crate::error::EmitError;
use std::future::{IntoFuture, Ready, ready};

/// The result of an emit. It may be ignored.
///
/// `emit(..).await?` works too, for code that is async anyway; it never waits.
///
/// ```
/// use ringio::{EmitError, Server};
///
/// let emitted = Server::new().emit("news", &1);
/// assert!(!emitted.is_ok());
/// assert_eq!(emitted.error(), Some(&EmitError::NotRunning));
/// assert_eq!(emitted.into_result(), Err(EmitError::NotRunning));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted(Result<(), EmitError>);

impl Emitted {
    pub(crate) const fn new(result: Result<(), EmitError>) -> Self {
        Self(result)
    }

    /// As a result, for `?`.
    ///
    /// # Errors
    /// Why the event reached nobody.
    pub fn into_result(self) -> Result<(), EmitError> {
        self.0
    }

    /// Whether the event was queued for its receivers (a broadcast: whether it was accepted).
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.0.is_ok()
    }

    /// Why not.
    #[must_use]
    pub fn error(&self) -> Option<&EmitError> {
        self.0.as_ref().err()
    }
}

impl IntoFuture for Emitted {
    type Output = Result<(), EmitError>;
    type IntoFuture = Ready<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        ready(self.0)
    }
}
