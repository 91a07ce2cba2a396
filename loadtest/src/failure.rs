//! What can go wrong with one connection, by class: counted per class, and the first of each class told in words.
//!
//! A broken server breaks thousands of connections at once; one sentence of each kind says what to do.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A class of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nothing listens there.
    Refused,
    /// No answer within the time for connecting.
    ConnectTimeout,
    /// No route, no such host, or another error of the network before the connection stood.
    Unreachable,
    /// No descriptor or no local port was left on this machine.
    Exhausted,
    /// The TLS handshake failed.
    Tls,
    /// The answer to the opening request is not Socket.IO's.
    Handshake,
    /// The namespace refused the client: CONNECT_ERROR.
    Namespace,
    /// The server broke a rule of WebSocket, Engine.IO or Socket.IO.
    Protocol,
    /// The server ended a connection that was in use.
    Closed,
    /// The connection was reset while it was in use.
    Reset,
    /// No ping came within the time that the server promised.
    Heartbeat,
    /// Messages were due while no client was connected that could send them.
    NoSender,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::ConnectTimeout => "connect timeout",
            Self::Unreachable => "unreachable",
            Self::Exhausted => "out of descriptors or ports",
            Self::Tls => "TLS handshake failed",
            Self::Handshake => "wrong handshake",
            Self::Namespace => "namespace refused",
            Self::Protocol => "protocol error",
            Self::Closed => "closed by the server",
            Self::Reset => "connection reset",
            Self::Heartbeat => "no ping from the server",
            Self::NoSender => "no client ready to send",
        })
    }
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its class.
    pub class: Class,
    /// What was seen, in words.
    pub text: String,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }

    /// The failure of an error of the operating system; `standing` tells whether the connection already stood.
    pub fn of_io(error: &std::io::Error, standing: bool) -> Self {
        use std::io::ErrorKind as Kind;
        let class = match error.kind() {
            Kind::ConnectionRefused => Class::Refused,
            Kind::AddrInUse | Kind::AddrNotAvailable => Class::Exhausted,
            // EMFILE and ENFILE have no kind of their own.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Class::Exhausted,
            Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted => Class::Reset,
            Kind::TimedOut if !standing => Class::ConnectTimeout,
            _ if standing => Class::Closed,
            _ => Class::Unreachable,
        };
        Self::new(class, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.text)
    }
}

impl std::error::Error for Failure {}

/// How often each class occurred, and the first of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures(pub BTreeMap<Class, Counted>);

/// The failures of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// The first one, in words.
    pub first: String,
}

impl Failures {
    /// Counts one.
    pub fn record(&mut self, failure: &Failure) {
        self.record_many(failure.class, 1, &failure.text);
    }

    /// Counts `count` failures of one class.
    pub fn record_many(&mut self, class: Class, count: u64, text: &str) {
        let counted = self.0.entry(class).or_default();
        if counted.count == 0 {
            counted.first = text.to_owned();
        }
        counted.count += count;
    }

    /// Adds those of another part of the run.
    pub fn add(&mut self, other: &Self) {
        for (class, counted) in &other.0 {
            self.record_many(*class, counted.count, &counted.first);
        }
    }

    /// How many there are of all classes.
    pub fn total(&self) -> u64 {
        self.0.values().map(|counted| counted.count).sum()
    }

    /// How many there are of one class.
    pub fn count(&self, class: Class) -> u64 {
        self.0.get(&class).map_or(0, |counted| counted.count)
    }
}
