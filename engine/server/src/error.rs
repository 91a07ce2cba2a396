//! What can go wrong, one enum per operation, with the remedy in the text.
//!
//! [`Error`] is for the operator: the server cannot be built or started. [`EmitError`], [`AckError`] and
//! [`FetchError`] are for whoever called an operation. [`ArgumentError`] and [`HandlerError`] say what became of an
//! event; its sender never learns of them.

use crate::RemoteSocket;
use crate::cluster::write_timeout;
use ringio_core::door;
use std::fmt;
use std::time::Duration;

/// The result of building, starting and running a server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server cannot be built or started.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An option has a value outside of its range.
    Option {
        /// The option's name, as its builder method.
        option: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The directory given to `serve_client` holds none of the client's files, or one of them cannot be read.
    ClientFiles {
        /// The directory.
        directory: std::path::PathBuf,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The address is not one.
    Address {
        /// As it was given.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A certificate, a key or a configuration of TLS is not what it should be.
    Tls {
        /// Which: the file, or what it stands for.
        what: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The shards could not be started: an address is in use, the driver asked for is refused. The text says the remedy.
    Start(std::io::Error),
    /// `listen` or `start` was called a second time. A server runs once; build another one.
    AlreadyStarted,
    /// The signals cannot be waited for.
    Signals(std::io::Error),
    /// The adapter has no connection to the other servers; what it says.
    Adapter(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { option, problem } => write!(f, "option {option}: {problem}"),
            Self::ClientFiles { directory, problem } => write!(f, "client files in {}: {problem}", directory.display()),
            Self::Address { address, source } => write!(f, "address {address:?} cannot be resolved: {source}"),
            Self::Tls { what, problem } => write!(f, "TLS: {what}: {problem}"),
            Self::Start(source) => write!(f, "the server cannot start: {source}"),
            Self::AlreadyStarted => {
                f.write_str("this server has been started before: build another one to listen again")
            }
            Self::Signals(source) => write!(f, "signals cannot be waited for: {source}"),
            Self::Adapter(source) => write!(f, "the adapter cannot connect to other servers: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Address { source, .. } | Self::Start(source) | Self::Signals(source) | Self::Adapter(source) => {
                Some(source)
            }
            _ => None,
        }
    }
}

/// Why an emit reached nobody.
///
/// ```
/// use ringio::EmitError;
///
/// assert!(EmitError::ReservedName("disconnect".to_owned()).is_mistake()); // of the program
/// assert!(!EmitError::Disconnected.is_mistake()); // life
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The event's name belongs to Socket.IO itself; the name.
    ReservedName(String),
    /// The arguments cannot be written as JSON, or the parser cannot encode the packet; what it says.
    Encode(String),
    /// The socket's client is gone.
    Disconnected,
    /// More bytes wait for this client than `outbox_bytes_max` allows.
    OutboxFull,
    /// The emit was volatile and the client could not take it at this instant.
    NotWritable,
    /// The server does not run: it was not started, or it has stopped.
    NotRunning,
    /// Too many operations from outside of the shards wait already: slow down, or emit from handlers. Or too many questions to other
    /// servers, or to many clients at once, are open on this shard (65,536).
    Overloaded,
}

impl EmitError {
    /// Whether the caller made a mistake, rather than the client having gone or lagging behind.
    #[must_use]
    pub fn is_mistake(&self) -> bool {
        matches!(self, Self::ReservedName(_) | Self::Encode(_))
    }
}

impl From<door::EmitError> for EmitError {
    fn from(error: door::EmitError) -> Self {
        match error {
            door::EmitError::Disconnected => Self::Disconnected,
            door::EmitError::OutboxFull => Self::OutboxFull,
            door::EmitError::NotWritable => Self::NotWritable,
            door::EmitError::Encode(problem) => Self::Encode(problem.to_owned()),
        }
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedName(name) => write!(f, "{name:?} is a reserved event name: choose another one"),
            Self::Encode(detail) => write!(f, "the arguments cannot be encoded: {detail}"),
            Self::Disconnected => f.write_str("the socket is disconnected"),
            Self::OutboxFull => f.write_str("the client is too slow: its outbox is full (outbox_bytes_max)"),
            Self::NotWritable => f.write_str("the client could not take a volatile event at this instant"),
            Self::NotRunning => f.write_str("the server does not run"),
            Self::Overloaded => f.write_str("too many operations wait for the shards: emit slower or from handlers"),
        }
    }
}

impl std::error::Error for EmitError {}

/// Why an acknowledgement did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckError {
    /// The client did not answer within the time given by `timeout`.
    Timeout,
    /// The client left before it answered, or the server stopped.
    Disconnected,
    /// The answer does not fit the type asked for.
    Decode(ArgumentError),
    /// The event could not be sent.
    Emit(EmitError),
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the client did not acknowledge in time"),
            Self::Disconnected => f.write_str("the client left before it acknowledged"),
            Self::Decode(error) => write!(f, "the acknowledgement does not fit: {error}"),
            Self::Emit(error) => write!(f, "the event was not sent: {error}"),
        }
    }
}

impl std::error::Error for AckError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            Self::Emit(error) => Some(error),
            Self::Timeout | Self::Disconnected => None,
        }
    }
}

impl From<EmitError> for AckError {
    fn from(error: EmitError) -> Self {
        Self::Emit(error)
    }
}

/// Why `fetch_sockets` does not know all sockets.
///
/// ```no_run
/// # use ringio::FetchError;
/// # async fn count(io: ringio::Server) -> usize {
/// match io.fetch_sockets().await {
///     Ok(sockets) => sockets.len(),
///     Err(FetchError::Timeout { sockets, .. }) => sockets.len(), // of those who answered
///     Err(_) => 0,
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// Some servers, or shards of this one, did not answer in time.
    Timeout {
        /// The sockets of those that did.
        sockets: Vec<RemoteSocket>,
        /// How many shards of this server did not.
        missing: u16,
        /// How many other servers did.
        answered: u32,
        /// How many other servers there are; `None` if that could not be found out in time.
        expected: Option<u32>,
    },
    /// The server does not run: it was not started, or it has stopped.
    NotRunning,
    /// Too many operations from outside of the shards wait already, or too many questions are open on this shard (65,536).
    Overloaded,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { missing: 0, answered, expected, .. } => write_timeout(f, *answered as usize, *expected),
            Self::Timeout { sockets, missing, .. } => {
                write!(f, "{missing} shards did not answer in time; {} sockets of the others are known", sockets.len())
            }
            Self::NotRunning => f.write_str("the server does not run"),
            Self::Overloaded => f.write_str("too many operations wait for the shards: ask less often"),
        }
    }
}

impl std::error::Error for FetchError {}

/// Why an extractor could not give a handler what it asks for.
///
/// ```
/// # use ringio::{Ack, TryData};
/// # let io = ringio::Server::new();
/// io.sockets_on("age", |TryData(age): TryData<u8>, ack: Ack| match age {
///     Ok(_) => ack.send(&"thank you"),
///     Err(error) => ack.send(&error.to_string()), // the arguments are no u8: ..
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArgumentError {
    /// The arguments do not fit the type: the client's fault.
    Mismatch {
        /// The type asked for.
        expected: &'static str,
        /// What the deserializer says, cut off at 200 characters.
        detail: String,
    },
    /// `State<S>` of a type that `Builder::state` was never given: a mistake of the program.
    MissingState(&'static str),
    /// `Extension<T>` or `HttpExtension<T>` of a type that this socket, or its request, does not carry.
    MissingExtension(&'static str),
    /// `DisconnectReason` outside of a `disconnecting` or `disconnect` handler: a mistake of the program.
    NotDisconnecting,
    /// `PassedEvent` outside of a packet middleware: a mistake of the program.
    NotPassing,
    /// An extractor of the application refused.
    Refused(String),
}

impl ArgumentError {
    pub(crate) fn mismatch<T>(error: &impl fmt::Display) -> Self {
        let mut detail = error.to_string();
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
            detail.truncate(end);
        }
        Self::Mismatch { expected: std::any::type_name::<T>(), detail }
    }
}

/// Deserializers quote what they did not like; a client must not fill our log with it.
const DETAIL_CHARS_MAX: usize = 200;

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch { expected, detail } => write!(f, "the arguments are no {expected}: {detail}"),
            Self::MissingState(name) => write!(f, "no state of type {name}: give it to Server::builder().state(..)"),
            Self::MissingExtension(name) => write!(f, "the socket has no extension of type {name}"),
            Self::NotDisconnecting => {
                f.write_str("a DisconnectReason exists only in disconnecting and disconnect handlers")
            }
            Self::NotPassing => f.write_str("a PassedEvent exists only in packet middlewares"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ArgumentError {}

/// Why an event was not handled to its end.
///
/// ```
/// # use ringio::HandlerError;
/// # let io = ringio::Server::new();
/// io.on_handler_error(|socket, event, error| match error {
///     HandlerError::Argument(error) => println!("{} sent a bad {event}: {error}", socket.id()),
///     error => println!("{event}: {error}"),
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerError {
    /// An extractor could not give the handler what it asks for; the handler did not run.
    Argument(ArgumentError),
    /// The handler returned an error; its text.
    Failed(String),
    /// The handler panicked; the panic's text.
    Panicked(String),
    /// As many async handlers of this client, or of its shard, wait as
    /// [`Builder::waiting_handlers_max`](crate::Builder::waiting_handlers_max) allows; the handler did not run.
    Overloaded,
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::Failed(text) => write!(f, "the handler failed: {text}"),
            Self::Panicked(text) => write!(f, "the handler panicked: {text}"),
            Self::Overloaded => f.write_str("too many async handlers wait (waiting_handlers_max)"),
        }
    }
}

impl std::error::Error for HandlerError {}

impl From<ArgumentError> for HandlerError {
    fn from(error: ArgumentError) -> Self {
        Self::Argument(error)
    }
}

/// A duration as the core takes it: whole milliseconds, rounded up so that nothing ends early.
pub(crate) fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_fill_the_log() {
        let error = ArgumentError::mismatch::<u64>(&"ä".repeat(10_000));
        assert_eq!(error, ArgumentError::Mismatch { expected: "u64", detail: "ä".repeat(DETAIL_CHARS_MAX) });
    }

    #[test]
    fn a_timeout_is_never_shortened() {
        assert_eq!(millis_of(Duration::from_micros(1)), 1);
        assert_eq!(millis_of(Duration::from_millis(5)), 5);
        assert_eq!(millis_of(Duration::MAX), u64::MAX);
    }
}
