//! What the driver asks the kernel to do, one function per operation, and when it accepts.

use super::Uring;
use super::complete::{Completion, Operation, Tag};
use super::files::{Receive, Send, State};
use super::listener::State as Accept;
use super::ring::Ring;
use ringio_core::base::id::ShardIndex;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

impl<R: Ring> Uring<R> {
    pub(super) fn receive(&mut self, slot: u32) {
        self.make_room();
        let tag = self.files.tag(slot, Operation::Receive);
        let Some(entry) = self.files.tenant(slot) else { return };
        debug_assert_eq!(entry.receive, Receive::Idle);
        entry.receive = Receive::Armed;
        entry.pool = entry.habit.wants;
        let pool = entry.pool;
        self.in_flight.receive_count += 1;
        self.ring.receive(slot, pool, tag);
    }

    /// Ends the receive; its last completion arms it with the other pool.
    pub(super) fn change_pool(&mut self, slot: u32) {
        self.make_room();
        self.counters.receive_pool_changes += 1;
        let target = self.files.tag(slot, Operation::Receive);
        self.ring.cancel(target, self.files.tag(slot, Operation::ChangePool));
    }

    pub(super) fn cancel_receive(&mut self, slot: u32) {
        self.make_room();
        let target = self.files.tag(slot, Operation::Receive);
        self.ring.cancel(target, self.files.tag(slot, Operation::CancelReceive));
    }

    pub(super) fn cancel_send(&mut self, slot: u32) {
        self.make_room();
        let target = self.files.tag(slot, Operation::Send);
        self.ring.cancel(target, self.files.tag(slot, Operation::CancelSend));
    }

    /// Submits what is left of a frame, to be sent as the peer makes room.
    pub(super) fn send_rest(&mut self, slot: u32) {
        self.make_room();
        let tag = self.files.tag(slot, Operation::Send);
        let Some(entry) = self.files.tenant(slot) else { return };
        entry.send = Send::Waiting;
        if let Some((bytes, _)) = self.in_flight.send_bytes(slot) {
            self.ring.send_waiting(slot, &bytes, tag);
        }
    }

    pub(super) fn say_fin(&mut self, slot: u32) {
        self.make_room();
        self.ring.shutdown_write(slot, self.files.tag(slot, Operation::Shutdown));
    }

    pub(super) fn ask_name(&mut self, slot: u32, is_ipv6: bool) {
        self.make_room();
        let place = self.in_flight.hold_name(slot, is_ipv6);
        self.ring.peer_name(slot, &place, self.files.tag(slot, Operation::Name));
    }

    /// Empties the slot, in the kernel's table and in ours. Ours first is sound: the kernel gives the slot to somebody else only after it has
    /// taken this submission.
    pub(super) fn empty(&mut self, slot: u32) {
        self.make_room();
        self.ring.close(slot, self.files.tag(slot, Operation::Close));
        self.files.free(slot);
        self.resume_accepting();
    }

    /// The next step of a slot that is to be closed or handed over, once nothing is outstanding.
    pub(super) fn advance(&mut self, slot: u32) {
        let Some(entry) = self.files.tenant(slot).filter(|entry| entry.is_quiet()) else { return };
        match entry.state {
            State::Closing => self.empty(slot),
            State::Leaving(target) => {
                entry.state = State::Moving(target);
                let tag = self.files.tag(slot, Operation::Transfer);
                match self.peers.get(usize::from(target.0)) {
                    Some(peer) if peer.is_alive.load(Ordering::Acquire) => {
                        let ring = peer.fd;
                        self.make_room();
                        self.ring.transfer(slot, ring, tag);
                    }
                    // Nobody there: answered as the kernel answers for a ring whose thread has ended.
                    _ => self.completions.push_back(Completion {
                        tag: tag.to_bits(),
                        result: -libc::EOWNERDEAD,
                        buffer: None,
                        has_more: false,
                    }),
                }
            }
            State::Naming | State::Silent | State::Open | State::Moving(_) | State::Abandoned(_) => {}
        }
    }

    /// Tells another ring that a slot it was given is nobody's.
    pub(super) fn disown(&mut self, target: ShardIndex, remote: i32) {
        let Some(peer) = self.peers.get(usize::from(target.0)) else { return };
        let ring = peer.fd;
        self.make_room();
        self.ring.tell(ring, remote, Tag::new(Operation::Orphan, 0, 0), Tag::new(Operation::Tell, 0, 0));
    }

    pub(super) fn watch_doorbell(&mut self) {
        self.make_room();
        self.ring.watch(self.bell.as_fd(), Tag::new(Operation::Doorbell, 0, 0));
    }

    // ---- accepting

    /// Asks every resting listener to accept again, if there is room for connections.
    pub(super) fn resume_accepting(&mut self) {
        if self.files.open_count() >= self.accept_limit {
            return;
        }
        for index in 0..self.listeners.len() {
            if self.listeners[index].state == Accept::Resting && !self.is_rest_armed {
                self.make_room();
                let listener = &mut self.listeners[index];
                if let Some(fd) = listener.fd() {
                    self.ring.accept(fd, Tag::new(Operation::Accept, 0, index as u32));
                    listener.state = Accept::Accepting;
                }
            }
        }
    }

    /// Stops accepting for a while if the table is nearly full.
    pub(super) fn pause_accepting(&mut self) {
        if self.files.open_count() < self.accept_limit {
            return;
        }
        for index in 0..self.listeners.len() {
            if self.listeners[index].state == Accept::Accepting {
                self.listeners[index].state = Accept::Pausing;
                self.counters.accept_pauses += 1;
                self.cancel_accept(index);
            }
        }
    }

    pub(super) fn cancel_accept(&mut self, index: usize) {
        self.make_room();
        let target = Tag::new(Operation::Accept, 0, index as u32);
        self.ring.cancel(target, Tag::new(Operation::CancelAccept, 0, index as u32));
    }

    /// Accepts nothing until the timer ends.
    pub(super) fn rest(&mut self) {
        if !self.is_rest_armed {
            self.is_rest_armed = true;
            self.make_room();
            self.ring.rest(Tag::new(Operation::Rest, 0, 0));
        }
    }
}
