//! What an adapter has to do.

use super::{ClusterMessage, HeartbeatOptions, Inbox, Members, NodeId};
use crate::application::{ShardApplication, current};
use crate::shared::Shared;
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};

/// Connects a server to the others; given to [`Builder::adapter`](crate::Builder::adapter).
///
/// A link to a broker hands what it is told to its own thread, and what it hears to the [`Inbox`]:
///
/// ```
/// use ringio::cluster::{Adapter, Inbox, InboxError, Link, Members, MembersReply, Outgoing, PublishError};
/// use std::sync::{Arc, mpsc::SyncSender};
///
/// /// Sends to a thread that speaks to the broker.
/// struct ToBroker(SyncSender<Outgoing>);
///
/// impl Adapter for ToBroker {
///     fn connect(&self, inbox: Inbox) -> std::io::Result<Box<dyn Link>> {
///         println!("{} joins; inbox.deliver(..) takes what others say", inbox.node());
///         Ok(Box::new(ToBroker(self.0.clone())))
///     }
/// }
///
/// impl Link for ToBroker {
///     fn open(&self, namespace: &Arc<str>) {
///         println!("subscribe to {namespace}");
///     }
///
///     fn close(&self, namespace: &str) {
///         println!("unsubscribe from {namespace}");
///     }
///
///     fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
///         self.0.try_send(outgoing).map_err(|_| PublishError::Full)
///     }
///
///     fn members(&self, _namespace: &Arc<str>, reply: MembersReply) {
///         reply.send(Members::Count(0)) // or later, when the broker has said how many subscribe
///     }
///
///     fn shutdown(&self) {}
/// }
/// ```
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
///
/// See [`Adapter`] for one. A link that cannot count servers says how they notice each other:
///
/// ```
/// # use ringio::cluster::HeartbeatOptions;
/// fn heartbeat() -> Option<HeartbeatOptions> {
///     Some(HeartbeatOptions::default()) // what Link::heartbeat returns
/// }
/// # fn open() {} fn close() {} fn publish() {} fn members() {} fn shutdown() {}
/// # (open(), close(), publish(), members(), shutdown(), heartbeat());
/// ```
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
///
/// ```
/// # use ringio::cluster::Outgoing;
/// fn channel(outgoing: &Outgoing) -> String {
///     match &outgoing.to {
///         Some(node) => format!("answers#{node}"),
///         None => format!("all#{}", outgoing.namespace),
///     }
/// }
/// ```
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
///
/// ```
/// # use ringio::cluster::{Inbox, Incoming};
/// fn hand_in(inbox: &Inbox, incoming: Incoming) {
///     if let Err(error) = inbox.deliver(incoming) {
///         println!("not taken: {error:?}");
///     }
/// }
/// ```
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
///
/// ```
/// # use ringio::cluster::PublishError;
/// let error = PublishError::Disconnected("connection refused".to_owned());
/// assert_eq!(error.to_string(), "no connection to other servers: connection refused");
/// ```
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
///
/// ```
/// # use ringio::cluster::{Members, MembersReply};
/// fn answer(reply: MembersReply) {
///     reply.send(Members::Count(2)) // this server and two others
/// }
/// ```
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
