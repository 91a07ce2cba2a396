//! What an adapter has to do.

use super::{ClusterMessage, HeartbeatOptions, Inbox, Members, NodeId};
use crate::application::{ShardApplication, current};
use crate::shared::Shared;
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};

/// Connects a server to the others; given to [`Builder::adapter`](crate::Builder::adapter).
pub trait Adapter: Send + Sync + 'static {
    /// Called once when the server starts, before it listens. From then on `inbox` takes what others have published.
    ///
    /// # Errors
    /// Why there is no connection: the server then does not start.
    fn connect(&self, inbox: Inbox) -> io::Result<Box<dyn Link>>;
}

/// A server's connection to the others.
///
/// Its methods are called on the shards and must not wait: a link to a broker has a thread of its own and a bounded queue to
/// it. Messages that one thread publishes must arrive in that order. A panic counts as a failed publish.
pub trait Link: Send + Sync + 'static {
    /// This server has the namespace: its messages are wanted, and others count it. May be called again.
    fn open(&self, namespace: &Arc<str>);

    /// This server has the namespace no longer.
    fn close(&self, namespace: &str);

    /// Tells the other servers, or one of them. The local part of the operation happens in any case.
    ///
    /// # Errors
    /// It will not be told; counted and logged. Failures noticed later are reported with [`Inbox::report`].
    fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError>;

    /// Finds out which other servers have the namespace, at once or later. Messages published after this call must reach at
    /// least those that are counted. Not called with [`Link::heartbeat`].
    fn members(&self, namespace: &Arc<str>, reply: MembersReply);

    /// If nobody knows which servers there are: they notice each other by heartbeats, which the engine sends. Default `None`.
    fn heartbeat(&self) -> Option<HeartbeatOptions> {
        None
    }

    /// The server has ended: nothing will be published any more, nor taken by the inbox.
    fn shutdown(&self) {}
}

/// What one server tells others about one namespace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outgoing {
    /// The namespace, with its slash.
    pub namespace: Arc<str>,
    /// Only to this server (the answer to its question); all others if `None`.
    pub to: Option<NodeId>,
    /// What.
    pub message: Arc<ClusterMessage>,
}

impl Outgoing {
    pub(crate) const fn new(namespace: Arc<str>, to: Option<NodeId>, message: Arc<ClusterMessage>) -> Self {
        Self { namespace, to, message }
    }
}

/// What another server has told.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Who.
    pub from: NodeId,
    /// The namespace, with its slash.
    pub namespace: Arc<str>,
    /// What.
    pub message: Arc<ClusterMessage>,
}

/// Why other servers were not told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// So many other servers, or the link itself, have no room for more.
    Full,
    /// There is no connection at this moment.
    Disconnected(String),
    /// The link cannot write this message.
    Encode(String),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => {
                f.write_str("a queue to other servers is full: publish slower, or find out which one lags behind")
            }
            Self::Disconnected(detail) => write!(f, "no connection to other servers: {detail}"),
            Self::Encode(detail) => write!(f, "the message cannot be written: {detail}"),
        }
    }
}

impl std::error::Error for PublishError {}

/// Takes the answer of [`Link::members`], from any thread. Dropped unanswered, the question ends with its time.
#[derive(Debug)]
#[must_use = "whoever asked waits for the answer"]
pub struct MembersReply {
    shared: Weak<Shared>,
    shard: u16,
    question: u64,
}

impl MembersReply {
    pub(crate) const fn new(shared: Weak<Shared>, shard: u16, question: u64) -> Self {
        Self { shared, shard, question }
    }

    /// The other servers, this one not included.
    pub fn send(self, members: Members) {
        let Some(shared) = self.shared.upgrade() else { return };
        let question = self.question;
        if let Some(app) = current(&shared).filter(|app| app.index.0 == self.shard) {
            return app.with_core(|core| core.handle_members(question, members));
        }
        // If the shard has ended or has too much to do, the question ends with its time.
        let _ = shared.inject(self.shard, move |ShardApplication(app)| {
            app.with_core(|core| core.handle_members(question, members));
        });
    }
}
