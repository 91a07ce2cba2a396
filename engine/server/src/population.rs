//! How many sockets of all shards are in a namespace that was made for clients.
//!
//! ```text
//! client asks --enter--> count + 1          closed: somebody has removed it; the client gets another one
//! released    --leave--> count - 1 --0?--> close, and only who closed it removes it
//! ```
//! One atomic number decides, so a client that enters and the last one that leaves cannot both succeed, on whatever shards
//! they are.

use std::sync::atomic::{AtomicU32, Ordering};

/// The sockets of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Population(AtomicU32);

/// The namespace has been removed: nobody enters any more.
const CLOSED: u32 = u32::MAX;

impl Population {
    /// One more; false if the namespace has been removed.
    pub(crate) fn enter(&self) -> bool {
        let more = |count: u32| (count != CLOSED).then(|| count + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// One less; true if it was the last one.
    pub(crate) fn leave(&self) -> bool {
        let before = self.0.fetch_sub(1, Ordering::AcqRel);
        assert!(before != 0 && before != CLOSED, "who leaves has entered");
        before == 1
    }

    /// Lets nobody in any more; false if somebody is inside.
    pub(crate) fn close(&self) -> bool {
        self.0.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_closes_and_nobody_enters_after_that() {
        let population = Population::default();
        assert!(population.enter() && population.enter());
        assert!(!population.leave() && !population.close());
        assert!(population.leave());
        assert!(population.enter(), "it was not closed yet");
        assert!(!population.close(), "who came meanwhile keeps it");
        assert!(population.leave() && population.close());
        assert!(!population.enter() && !population.close());
    }
}
