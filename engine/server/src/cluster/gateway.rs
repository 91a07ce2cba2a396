//! A server's side of its adapter: its name among the others, its link, what is counted.

use super::{Adapter, Inbox, Link, NodeId, Outgoing, PublishError};
use crate::shared::Shared;
use ringio_core::shard::cluster::ClusterOptions;
use ringio_runtime::entropy;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What went to other servers and came from them.
///
/// ```
/// let io = ringio::Server::new();
/// assert_eq!(io.cluster_counters().published, 0); // alone
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterCounters {
    /// Messages published.
    pub published: u64,
    /// Messages that were not published; their local part happened.
    pub publish_failed: u64,
    /// Messages of other servers handled.
    pub received: u64,
    /// Messages of other servers that the full inbox did not take, each attempt counted.
    pub refused: u64,
    /// Messages for namespaces that this server has not.
    pub foreign: u64,
}

#[derive(Default)]
struct AtomicCounters {
    published: AtomicU64,
    publish_failed: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
    foreign: AtomicU64,
}

/// How a server speaks to others.
pub(crate) struct Gateway {
    node: NodeId,
    secret: u64,
    adapter: Box<dyn Adapter>,
    link: OnceLock<Box<dyn Link>>,
    /// The last attempt to publish failed: the next one that does is not news.
    is_failing: AtomicBool,
    running_shards: AtomicU16,
    counters: AtomicCounters,
}

impl Gateway {
    pub(crate) fn new(adapter: Box<dyn Adapter>, shard_count: u16) -> io::Result<Self> {
        let seed = entropy::seed()?;
        let number = |at: usize| seed[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self {
            node: NodeId::of_number(number(0)),
            secret: number(8),
            adapter,
            link: OnceLock::new(),
            is_failing: AtomicBool::new(false),
            running_shards: AtomicU16::new(shard_count),
            counters: AtomicCounters::default(),
        })
    }

    /// Connects, unless it is connected already by an attempt to start that failed later.
    pub(crate) fn connect(&self, shared: &Arc<Shared>) -> io::Result<()> {
        if self.link.get().is_none() {
            let link = self.adapter.connect(Inbox::new(Arc::downgrade(shared), self.node.clone()))?;
            // Only the caller that claimed the start gets here.
            let _ = self.link.set(link);
        }
        Ok(())
    }

    pub(crate) fn link(&self) -> Option<&dyn Link> {
        self.link.get().map(|link| &**link)
    }

    pub(crate) const fn node(&self) -> &NodeId {
        &self.node
    }

    /// For the core of each shard.
    pub(crate) fn options(&self) -> ClusterOptions {
        ClusterOptions { secret: self.secret, heartbeat: self.link().and_then(Link::heartbeat) }
    }

    pub(crate) fn publish(&self, outgoing: Outgoing) {
        let Some(link) = self.link() else { return };
        let published = catch_unwind(AssertUnwindSafe(|| link.publish(outgoing)))
            .unwrap_or_else(|_| Err(PublishError::Disconnected("the adapter panicked".to_owned())));
        self.report(published.as_ref().copied());
    }

    pub(crate) fn report(&self, published: Result<(), &PublishError>) {
        match published {
            Ok(()) => {
                self.counters.published.fetch_add(1, Ordering::Relaxed);
                self.is_failing.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                self.counters.publish_failed.fetch_add(1, Ordering::Relaxed);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "other servers do not hear this one; further failures are only counted");
                }
            }
        }
    }

    pub(crate) fn count_received(&self, is_ours: bool) {
        let counter = if is_ours { &self.counters.received } else { &self.counters.foreign };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counters(&self) -> ClusterCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClusterCounters {
            published: read(&self.counters.published),
            publish_failed: read(&self.counters.publish_failed),
            received: read(&self.counters.received),
            refused: read(&self.counters.refused),
            foreign: read(&self.counters.foreign),
        }
    }

    /// A shard has ended; the last one ends the link.
    pub(crate) fn shard_ended(&self) {
        if self.running_shards.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(link) = self.link()
            && catch_unwind(AssertUnwindSafe(|| link.shutdown())).is_err()
        {
            tracing::error!("the adapter panicked when it was shut down");
        }
    }
}
