//! Acknowledgements that clients owe us.
//!
//! Ids count up per namespace, as in Node. With several shards each takes every n-th number, so that an id names one
//! question in the whole server: a broadcast that wants acknowledgements can carry the same bytes to all shards.

use crate::base::id::{ShardIndex, TimerKey};
use crate::limits::ACKS_PER_SOCKET_MAX;
use alloc::vec::Vec;

/// Numbers for questions: `first`, `first + step`, ...
#[derive(Clone, Copy, Debug)]
pub struct AckIds {
    next: u64,
    step: u64,
}

impl AckIds {
    /// The numbers of shard `index` of `count`.
    #[must_use]
    pub fn new(index: u16, count: u16) -> Self {
        Self { next: index.into(), step: count.max(1).into() }
    }

    /// The next number.
    pub fn next_id(&mut self) -> u64 {
        let id = self.next;
        self.next += self.step;
        id
    }
}

/// One question that a socket has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The packet's id.
    pub id: u64,
    /// Who waits.
    pub waiter: Waiter,
    /// When it gives up.
    pub timer: Option<TimerKey>,
}

/// Who waits for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// The application of this shard, in its own words.
    Application(u64),
    /// A broadcast that this shard sent out, and its number there.
    Broadcast(ShardIndex, u64),
}

/// What one socket owes, by id. No memory while it owes nothing.
#[derive(Debug, Default)]
pub struct Acks(Vec<Owed>);

impl Acks {
    /// Remembers a question; false if the socket owes too many already.
    #[must_use]
    pub fn insert(&mut self, owed: Owed) -> bool {
        let is_full = self.0.len() >= ACKS_PER_SOCKET_MAX;
        #[cfg(ringio_planted)]
        let is_full = is_full && !crate::base::planted::is(crate::base::planted::Bug::AcksUnbounded);
        if is_full {
            return false;
        }
        // Ids of this shard count up; those of other shards' broadcasts lie between them.
        let at = self.0.partition_point(|other| other.id < owed.id);
        self.0.insert(at, owed);
        true
    }

    /// The question with this id is answered or given up.
    pub fn take(&mut self, id: u64) -> Option<Owed> {
        let at = self.0.binary_search_by_key(&id, |owed| owed.id).ok()?;
        #[cfg(ringio_planted)]
        if crate::base::planted::is(crate::base::planted::Bug::AckTwice) {
            return self.0.get(at).copied();
        }
        let owed = self.0.remove(at);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(owed)
    }

    /// How many are owed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that will never be answered.
    pub fn take_all(&mut self) -> Vec<Owed> {
        core::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_question_once() {
        let mut ids = AckIds::new(1, 3);
        let mut acks = Acks::default();
        for waiter in 0..3 {
            assert!(acks.insert(Owed { id: ids.next_id(), waiter: Waiter::Application(waiter), timer: None }));
        }
        assert!(acks.insert(Owed { id: 3, waiter: Waiter::Broadcast(ShardIndex(0), 9), timer: None }));
        assert_eq!(acks.take(4).map(|owed| owed.waiter), Some(Waiter::Application(1)));
        assert_eq!(acks.take(3).map(|owed| owed.waiter), Some(Waiter::Broadcast(ShardIndex(0), 9)));
        assert_eq!(acks.take(4), None);
        assert_eq!(acks.take(0), None, "an id of another shard");
        assert_eq!(acks.take_all().len(), 2);
    }
}
