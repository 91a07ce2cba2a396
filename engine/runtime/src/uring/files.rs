//! The states of the table's slots: what is open, what is asked of it, when a slot may have its next tenant.
//!
//! ```text
//!           accepted          named            start
//!   Free ------------> Naming -----> Silent ----------> Open ---------+------------------------+
//!    ^ \_______________adopt_________/                   | transfer    | close                  |
//!    |                                                  v             v                        |
//!    |          close  <--- refused --- Moving <--- Leaving        Closing: the receive and the send in flight end
//!    |                                    | taken   (receive and send end)  |
//!    +------------- slot emptied ---------+-------------------------------+
//! ```
//! Invariant: a slot is emptied only when no operation on it is outstanding that completes. Its next tenant has another generation, so
//! what nevertheless comes for the former one (a failed cancel, say) finds nobody. The kernel picks the slots (direct descriptors with
//! automatic allocation, 5.19), here it is only followed. One table per ring; a driver with several rings will have several of these, with
//! the ring's number in the upper bits of the `FileId`.

use super::buffers::{Habit, Pool};
use super::complete::{Operation, Tag};
use crate::kernel::Token;
use ringio_core::base::id::ShardIndex;
use ringio_core::base::table::Table;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Accepted; the peer's address is being asked for.
    Naming,
    /// Open; nobody listens yet, or a transfer was refused.
    Silent,
    /// In use.
    Open,
    /// To be handed over when the receive and the send in flight have ended.
    Leaving(ShardIndex),
    /// Handed over, the other ring's answer is awaited.
    Moving(ShardIndex),
    /// Closed while it was handed over: whoever got it is told to close it.
    Abandoned(ShardIndex),
    /// To be emptied when the receive and the send in flight have ended.
    Closing,
}

/// The multishot receive of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// None outstanding.
    Idle,
    /// Outstanding.
    Armed,
    /// Outstanding, asked to end so that it is armed anew with the other pool; or, meanwhile, as the `last` of its slot.
    Changing { is_last: bool },
    /// Outstanding, asked to end.
    Cancelling,
}

/// The send of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Send {
    /// None.
    Idle,
    /// Submitted or about to be, completes within the enter.
    Trying,
    /// The enter has shown a completion, which has not been looked at: bytes are left, or the connection is broken.
    Answered,
    /// The enter has shown none: every byte is the kernel's, which has not been delivered.
    Taken,
    /// Outstanding until the peer makes room.
    Waiting,
}

/// Whether FIN is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// Not asked for.
    No,
    /// When the send in flight has completed.
    AfterSend,
    /// Submitted. The kernel hands it to a worker thread, which looks the slot up only then.
    Saying,
    /// Done.
    Said,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) token: Token,
    generation: u32,
    pub(super) state: State,
    pub(super) receive: Receive,
    /// The pool of the outstanding receive.
    pub(super) pool: Pool,
    pub(super) habit: Habit,
    pub(super) send: Send,
    pub(super) shutdown: Shutdown,
    /// Where it was accepted.
    pub(super) listener: u16,
}

const _: () = assert!(size_of::<Option<Slot>>() <= 24);

impl Slot {
    /// Whether nothing is outstanding that will complete.
    ///
    /// An unfinished shutdown counts: a slot emptied before would get the FIN of its former tenant sent to the next one, whose peer then
    /// sees its connection closed for no reason (on a busy machine, some in a thousand connections).
    pub(super) fn is_quiet(&self) -> bool {
        #[cfg(ringio_planted)]
        if ringio_core::base::planted::is(ringio_core::base::planted::Bug::ShutdownForgotten) {
            return self.receive == Receive::Idle && self.send == Send::Idle;
        }
        self.receive == Receive::Idle && self.send == Send::Idle && self.shutdown != Shutdown::Saying
    }
}

impl Receive {
    /// To be the last of its slot. Whether it has to be cancelled for that; else it has ended, or a cancel is outstanding.
    pub(super) fn finish(&mut self) -> bool {
        match self {
            Self::Armed => {
                *self = Self::Cancelling;
                return true;
            }
            Self::Changing { is_last } => *is_last = true,
            Self::Idle | Self::Cancelling => {}
        }
        false
    }
}

/// All slots that have a tenant.
pub(super) struct Files {
    slots: Table<Slot>,
    limit: u32,
    /// Of the next tenant, whatever its slot.
    next_generation: u32,
}

impl Files {
    /// Of a table with `limit` slots; the records are made as slots are used.
    pub(super) fn new(limit: u32) -> Self {
        Self { slots: Table::default(), limit, next_generation: 0 }
    }

    /// Connections there are, in whatever state.
    pub(super) fn open_count(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Takes note of a new tenant. False when the kernel cannot have meant this slot.
    pub(super) fn open(&mut self, slot: u32, state: State) -> bool {
        if slot >= self.limit || self.slots.get(slot).is_some() {
            return false;
        }
        let generation = self.next_generation;
        self.next_generation = (generation + 1) & Tag::GENERATION_MAX;
        let entry = Slot {
            token: 0,
            generation,
            state,
            receive: Receive::Idle,
            pool: Pool::Small,
            habit: Habit::NEW,
            send: Send::Idle,
            shutdown: Shutdown::No,
            listener: 0,
        };
        self.slots.put(slot, entry);
        true
    }

    /// Takes note that the slot is empty. What comes for its tenant from now on is nobody's.
    pub(super) fn free(&mut self, slot: u32) {
        let entry = self.slots.take(slot);
        assert!(entry.is_some_and(|entry| entry.is_quiet()), "slot {slot} freed as {entry:?}");
    }

    /// Gives back memory that no tenant needs.
    pub(super) fn shrink(&mut self) {
        self.slots.shrink();
    }

    /// The tenant of `slot`.
    pub(super) fn tenant(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot)
    }

    /// The tenant that an operation was tagged for, if it is still there.
    pub(super) fn tagged(&mut self, tag: Tag) -> Option<&mut Slot> {
        self.tenant(tag.slot()).filter(|entry| entry.generation == tag.generation())
    }

    /// The tag of an operation for the tenant of `slot`.
    pub(super) fn tag(&self, slot: u32, operation: Operation) -> Tag {
        let generation = self.slots.get(slot).map_or(0, |entry| entry.generation);
        Tag::new(operation, generation, slot)
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_former_tenants_tag_finds_nobody() {
        let mut files = Files::new(8);
        assert!(files.open(3, State::Silent));
        let former = files.tag(3, Operation::Receive);
        assert!(files.tagged(former).is_some());
        files.free(3);
        assert!(files.tagged(former).is_none());
        assert!(files.open(3, State::Silent));
        assert!(files.tagged(former).is_none());
        assert!(files.tagged(files.tag(3, Operation::Receive)).is_some());
        assert_eq!(files.open_count(), 1);
    }

    #[test]
    fn what_the_kernel_cannot_have_meant_is_refused() {
        let mut files = Files::new(8);
        assert!(!files.open(8, State::Naming), "beyond the table");
        assert!(files.open(7, State::Naming));
        assert!(!files.open(7, State::Naming), "has a tenant");
        assert!(files.tenant(1_000_000).is_none());
    }

    #[test]
    #[should_panic(expected = "freed as")]
    fn a_slot_with_an_outstanding_receive_is_not_freed() {
        let mut files = Files::new(8);
        files.open(0, State::Open);
        files.tenant(0).unwrap().receive = Receive::Cancelling;
        files.free(0);
    }
}
