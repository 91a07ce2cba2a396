//! Who waits for an answer that comes as an event of the core.
//!
//! A waiter's number is its key with a generation: an answer that comes twice, or after the waiter was given up,
//! finds nobody.

use crate::decode::Arguments;
use crate::error::AckError;
use ringio_core::base::id::Key;
use ringio_core::base::slab::Slab;
use ringio_core::cluster::ClusterPacket;
use ringio_core::cluster::roll::Tally;
use ringio_core::door::{Message, SocketDescription};
use std::cell::RefCell;

/// Hears the acknowledgement of a client.
pub(crate) type AckWaiter = Box<dyn FnOnce(Result<Arguments<'_>, AckError>)>;

/// Hears the acknowledgements of a broadcast.
pub(crate) type BroadcastWaiter = Box<dyn FnOnce(Vec<Message>, bool)>;

/// What came of `fetch_sockets`.
pub(crate) struct FetchedSockets {
    /// Of this server.
    pub(crate) sockets: Vec<SocketDescription>,
    /// Of other servers.
    pub(crate) others: Vec<SocketDescription>,
    /// Shards of this server that did not answer.
    pub(crate) missing: u16,
    /// How many other servers did.
    pub(crate) tally: Tally,
}

/// What to do with an answer.
pub(crate) enum Waiter {
    /// Of a client, to `emit_with_ack`.
    Ack(AckWaiter),
    /// Of the clients that a broadcast reached; with whether all have answered.
    Broadcast(BroadcastWaiter),
    /// Of all shards and servers, to `fetch_sockets`.
    Fetch(Box<dyn FnOnce(FetchedSockets)>),
    /// Of other servers, to `server_side_emit_with_ack`.
    ServerSide(Box<dyn FnOnce(Vec<Option<ClusterPacket>>, Tally)>),
    /// How many servers there are.
    Servers(Box<dyn FnOnce(Option<u32>)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct WaiterKey {
    index: u32,
    generation: u32,
}

impl Key for WaiterKey {
    fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    fn index(self) -> u32 {
        self.index
    }

    fn generation(self) -> u32 {
        self.generation
    }
}

/// All who wait on one shard.
#[derive(Default)]
pub(crate) struct Waiters(RefCell<Slab<WaiterKey, Waiter>>);

impl Waiters {
    /// Keeps `waiter` and returns its number.
    pub(crate) fn add(&self, waiter: Waiter) -> u64 {
        let key = self.0.borrow_mut().insert(waiter);
        u64::from(key.generation) << 32 | u64::from(key.index)
    }

    /// Who waits under this number; waits no more after this.
    pub(crate) fn take(&self, number: u64) -> Option<Waiter> {
        let key = WaiterKey { index: number as u32, generation: (number >> 32) as u32 };
        self.0.borrow_mut().remove(key)
    }

    /// Gives back memory that nobody needs who waits.
    pub(crate) fn shrink(&self) {
        self.0.borrow_mut().shrink();
    }

    pub(crate) fn take_all(&self) -> impl Sized {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn an_answer_that_comes_twice_finds_nobody() {
        let waiters = Waiters::default();
        let answers = Rc::new(Cell::new(0));
        let counted = Rc::clone(&answers);
        let first = waiters.add(Waiter::Ack(Box::new(move |_| counted.set(counted.get() + 1))));
        let Some(Waiter::Ack(resolve)) = waiters.take(first) else { panic!("it waits") };
        resolve(Err(AckError::Timeout));
        let second = waiters.add(Waiter::Fetch(Box::new(|_| {})));
        assert_ne!(first, second, "the position is used again under another number");
        assert!(waiters.take(first).is_none());
        assert!(matches!(waiters.take(second), Some(Waiter::Fetch(_))));
        assert_eq!(answers.get(), 1);
    }
}
