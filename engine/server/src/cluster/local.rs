//! The adapter for servers in one process.
//!
//! Publishing hands the message to each other server's inbox at once; there is no thread and no queue in between. A server
//! whose inbox is full misses the message, the others get it, and the publisher hears of it.

use super::{
    Adapter, HeartbeatOptions, Inbox, InboxError, Incoming, Link, Members, MembersReply, Outgoing, PublishError,
};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Servers in one process that act as one: give a clone of it to each.
///
/// ```
/// use ringio::{Server, cluster::LocalCluster};
///
/// # fn main() -> ringio::Result<()> {
/// let cluster = LocalCluster::new();
/// let first = Server::builder().adapter(cluster.clone()).build()?;
/// let second = Server::builder().adapter(cluster).build()?;
/// // Once both are started, this reaches the clients of both.
/// first.emit("news", "for everybody");
/// # Ok(())
/// # }
/// ```
///
/// With heartbeats, as a cluster works in which nobody knows who is there:
///
/// ```
/// use ringio::cluster::{HeartbeatOptions, LocalCluster};
///
/// let cluster = LocalCluster::with_heartbeat(HeartbeatOptions::default());
/// let io = ringio::Server::builder().adapter(cluster).build()?;
/// # Ok::<(), ringio::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct LocalCluster {
    places: Arc<Places>,
    heartbeat: Option<HeartbeatOptions>,
}

/// The inboxes of the servers that have a namespace, by its name.
type Places = RwLock<HashMap<Arc<str>, Vec<Inbox>>>;

impl LocalCluster {
    /// No server yet. It is always known which servers there are.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with servers that know each other by heartbeats alone, as with a broker that cannot say who is there.
    #[must_use]
    pub fn with_heartbeat(heartbeat: HeartbeatOptions) -> Self {
        Self { places: Arc::default(), heartbeat: Some(heartbeat) }
    }
}

impl Adapter for LocalCluster {
    fn connect(&self, inbox: Inbox) -> io::Result<Box<dyn Link>> {
        Ok(Box::new(LocalLink { places: Arc::clone(&self.places), heartbeat: self.heartbeat, inbox }))
    }
}

struct LocalLink {
    places: Arc<Places>,
    heartbeat: Option<HeartbeatOptions>,
    inbox: Inbox,
}

impl LocalLink {
    fn is_own(&self, inbox: &Inbox) -> bool {
        inbox.node() == self.inbox.node()
    }

    fn leave(&self, inboxes: &mut Vec<Inbox>) -> bool {
        inboxes.retain(|inbox| !self.is_own(inbox));
        !inboxes.is_empty()
    }
}

impl Link for LocalLink {
    fn open(&self, namespace: &Arc<str>) {
        let mut places = self.places.write();
        let inboxes = places.entry(Arc::clone(namespace)).or_default();
        if !inboxes.iter().any(|inbox| self.is_own(inbox)) {
            inboxes.push(self.inbox.clone());
        }
    }

    fn close(&self, namespace: &str) {
        let mut places = self.places.write();
        if places.get_mut(namespace).is_some_and(|inboxes| !self.leave(inboxes)) {
            places.remove(namespace);
        }
    }

    fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        let places = self.places.read();
        let mut result = Ok(());
        for inbox in places.get(&outgoing.namespace).into_iter().flatten() {
            if self.is_own(inbox) || outgoing.to.as_ref().is_some_and(|to| to != inbox.node()) {
                continue;
            }
            let incoming = Incoming {
                from: self.inbox.node().clone(),
                namespace: Arc::clone(&outgoing.namespace),
                message: Arc::clone(&outgoing.message),
            };
            match inbox.deliver(incoming) {
                // A server that has ended needs nothing any more.
                Ok(()) | Err(InboxError::Closed) => {}
                Err(InboxError::Full(_)) => result = Err(PublishError::Full),
            }
        }
        result
    }

    fn members(&self, namespace: &Arc<str>, reply: MembersReply) {
        let nodes = self.places.read().get(namespace).map_or(Vec::new(), |inboxes| {
            inboxes.iter().filter(|inbox| !self.is_own(inbox)).map(|inbox| inbox.node().clone()).collect()
        });
        reply.send(Members::Nodes(nodes));
    }

    fn heartbeat(&self) -> Option<HeartbeatOptions> {
        self.heartbeat
    }

    fn shutdown(&self) {
        self.places.write().retain(|_, inboxes| self.leave(inboxes));
    }
}
