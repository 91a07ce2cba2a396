//! Where a link hands in what other servers have published: bounded, for any thread.
//!
//! Bound by number and by bytes, whatever the shard does with its time; who delivers more is told so and decides
//! whether to wait (a link to a broker) or to give up (a server in the same process, which must not wait for another).

use super::{Incoming, NodeId, PublishError};
use crate::application::ShardApplication;
use crate::error::EmitError;
use crate::shared::Shared;
use ringio_core::shard::cluster::CLUSTER_SHARD;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Messages of other servers that may wait for the first shard.
pub(crate) const INBOX_MESSAGES_MAX: usize = 16_384;

/// Bytes of them; a single larger message is taken when nothing else waits.
pub(crate) const INBOX_BYTES_MAX: usize = 64 << 20;

/// Takes what other servers have published. Cloning is cheap.
///
/// ```
/// use ringio::cluster::{Inbox, Incoming, PublishError};
///
/// fn heard(inbox: &Inbox, incoming: Incoming) {
///     if incoming.from != *inbox.node() && inbox.deliver(incoming).is_err() {
///         // The server is busy: wait, and try again with what the error gives back.
///     }
/// }
///
/// fn lost(inbox: &Inbox) {
///     inbox.report(&PublishError::Disconnected("the broker is gone".to_owned()));
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Inbox {
    shared: Weak<Shared>,
    node: NodeId,
    load: Arc<Load>,
}

#[derive(Debug, Default)]
struct Load {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// A message that was not taken.
///
/// ```
/// # use ringio::cluster::{Incoming, InboxError};
/// fn to_be_delivered_later(error: InboxError) -> Option<Incoming> {
///     match error {
///         InboxError::Full(incoming) => Some(incoming),
///         InboxError::Closed => None,
///     }
/// }
/// ```
#[derive(Debug)]
pub enum InboxError {
    /// Too many wait: here it is again, to be delivered later.
    Full(Incoming),
    /// The server does not run, or no longer.
    Closed,
}

/// A place in the inbox; free again when dropped.
struct Ticket {
    load: Arc<Load>,
    bytes: usize,
}

impl Load {
    fn take(self: &Arc<Self>, bytes: usize) -> Option<Ticket> {
        let messages = self.messages.fetch_add(1, Ordering::AcqRel);
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let ticket = Ticket { load: Arc::clone(self), bytes };
        let has_room =
            messages == 0 || (messages < INBOX_MESSAGES_MAX && before.saturating_add(bytes) <= INBOX_BYTES_MAX);
        has_room.then_some(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.load.messages.fetch_sub(1, Ordering::AcqRel);
        self.load.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Inbox {
    pub(crate) fn new(shared: Weak<Shared>, node: NodeId) -> Self {
        Self { shared, node, load: Arc::default() }
    }

    /// How this server is called among the others. What it has published itself is not taken.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// Hands in a message. Never waits; those of one thread are handled in their order.
    ///
    /// # Errors
    /// [`InboxError::Full`], with the message; [`InboxError::Closed`].
    pub fn deliver(&self, incoming: Incoming) -> Result<(), InboxError> {
        if incoming.from == self.node {
            return Ok(());
        }
        let Some(shared) = self.shared.upgrade() else { return Err(InboxError::Closed) };
        let Some(ticket) = self.load.take(incoming.message.size()) else {
            shared.count_refused();
            return Err(InboxError::Full(incoming));
        };
        let taken = incoming.clone();
        let injected = shared.inject(CLUSTER_SHARD.0, move |ShardApplication(app)| {
            app.handle_incoming(&taken);
            drop(ticket);
        });
        injected.map_err(|error| match error {
            EmitError::Overloaded => InboxError::Full(incoming),
            _ => InboxError::Closed,
        })
    }

    /// Something that [`Link::publish`](super::Link::publish) had taken was not published after all: counted and logged.
    pub fn report(&self, error: &PublishError) {
        if let Some(shared) = self.shared.upgrade() {
            shared.report_publish(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_number_and_bytes_and_come_free_again() {
        let load = Arc::new(Load::default());
        let large = load.take(INBOX_BYTES_MAX * 2);
        assert!(large.is_some(), "taken when nothing else waits");
        assert!(load.take(1).is_none());
        drop(large);
        let few: Vec<_> = (0..4).map(|_| load.take(INBOX_BYTES_MAX / 4)).collect();
        assert!(few.iter().all(Option::is_some) && load.take(1).is_none());
        drop(few);
        let many: Vec<_> = (0..INBOX_MESSAGES_MAX).map(|_| load.take(0)).collect();
        assert!(many.iter().all(Option::is_some) && load.take(0).is_none());
        drop(many);
        assert_eq!((load.messages.load(Ordering::Relaxed), load.bytes.load(Ordering::Relaxed)), (0, 0));
    }
}
