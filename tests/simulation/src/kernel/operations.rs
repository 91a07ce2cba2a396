//! An enter: operations are taken in order, the completions that are ready are made.

use super::{Late, Receiving, Sending, SimulatedKernel};
use crate::clock::Micros;
use crate::trace::note;
use ringio_core::base::frame::{Frame, FrameWatch};
use ringio_runtime::uring::{Completion, Pool};
use std::fs::File;
use std::ops::Range;

/// An operation that waits for the next enter.
#[derive(Debug)]
pub(super) enum Submission {
    Accept { tag: u64 },
    Receive { slot: u32, pool: Pool, tag: u64 },
    SendNow { slot: u32, watch: FrameWatch, range: Range<usize>, tag: u64 },
    SendWaiting { slot: u32, watch: FrameWatch, range: Range<usize>, tag: u64 },
    Name { slot: u32, tag: u64 },
    Shutdown { slot: u32, tag: u64 },
    Cancel { target: u64, tag: u64 },
    CancelAll,
    Close { slot: u32, tag: u64 },
    Transfer { slot: u32, ring: usize, tag: u64 },
    Tell { ring: usize, result: i32, there: u64, tag: u64 },
    Watch { bell: File, tag: u64 },
    Rest { delay: Micros, tag: u64 },
}

/// The frame that an operation names; a kernel would read whatever is in its place by now.
pub(super) fn frame_of(watch: &FrameWatch) -> Frame {
    watch.frame().expect("kernel: a frame was freed before the send that names it had ended")
}

impl SimulatedKernel {
    /// Takes the operations of a ring, in order.
    pub(super) fn submit(&mut self, ring: usize) -> Result<(), i32> {
        let enter_fails = if self.rings[ring].is_abandoned { 0 } else { self.faults.enter_fails };
        if self.chance.one_in(enter_fails) {
            let errno = *self.chance.pick(&[libc::EAGAIN, libc::EBUSY, libc::EINTR]);
            note!("ring {ring}: enter fails with {errno}");
            return Err(errno);
        }
        let mut count = self.rings[ring].submissions.len();
        if count > 1 && self.chance.one_in(enter_fails) {
            count = self.chance.below(count);
        }
        for _ in 0..count {
            let Some(submission) = self.rings[ring].submissions.pop_front() else { break };
            self.perform(ring, submission);
        }
        Ok(())
    }

    fn perform(&mut self, ring: usize, submission: Submission) {
        let now = self.now();
        match submission {
            Submission::Accept { tag } => {
                assert!(self.rings[ring].accept.is_none(), "kernel: one accept per listener");
                self.rings[ring].accept = Some(tag);
            }
            Submission::Receive { slot, pool, tag } => match self.wire_in(ring, slot) {
                None => self.complete(ring, tag, -libc::EBADF),
                Some(wire) => {
                    assert!(
                        self.rings[ring].receives.iter().all(|receiving| receiving.slot != slot),
                        "kernel: two receives on slot {slot}"
                    );
                    self.network.hold(wire);
                    self.rings[ring].receives.push(Receiving { tag, slot, pool, wire });
                }
            },
            Submission::SendNow { slot, watch, range, tag } => self.send_now(ring, slot, &watch, range, tag),
            Submission::SendWaiting { slot, watch, range, tag } => match self.wire_in(ring, slot) {
                None => self.complete(ring, tag, -libc::EBADF),
                Some(wire) => {
                    assert!(
                        self.rings[ring].sends.iter().all(|sending| sending.slot != slot),
                        "kernel: two sends on slot {slot}"
                    );
                    self.network.hold(wire);
                    self.rings[ring].sends.push(Sending { tag, slot, wire, watch, range, taken: 0 });
                }
            },
            Submission::Name { slot, tag } => {
                let late = Late::End { tag, slot, result: -libc::ENOTCONN, wire: None, watch: None };
                self.defer(ring, late);
            }
            Submission::Shutdown { slot, tag } => self.defer(ring, Late::Shutdown { tag, slot }),
            Submission::Cancel { target, tag } => self.cancel(ring, target, tag),
            Submission::CancelAll => {
                let state = &self.rings[ring];
                let receives = state.receives.iter().map(|receiving| receiving.tag);
                let sends = state.sends.iter().map(|sending| sending.tag);
                let targets: Vec<u64> = receives.chain(sends).chain(state.accept).collect();
                for target in targets {
                    self.end_operation(ring, target);
                }
            }
            Submission::Close { slot, tag } => self.close(ring, slot, tag),
            Submission::Transfer { slot, ring: target, tag } => match self.wire_in(ring, slot) {
                None => self.complete(ring, tag, -libc::EBADF),
                Some(wire) => {
                    self.network.hold(wire);
                    self.defer(ring, Late::Transfer { tag, wire, ring: target });
                }
            },
            Submission::Tell { ring: target, result, there, tag } => {
                if self.rings.get(target).is_some_and(|state| state.is_alive) {
                    self.post(target, Completion { tag: there, result, buffer: None, has_more: false });
                } else {
                    self.complete(ring, tag, -libc::EBADFD);
                }
            }
            Submission::Watch { bell, tag } => self.rings[ring].bell = Some((tag, bell)),
            Submission::Rest { delay, tag } => {
                assert!(self.rings[ring].rest.is_none(), "kernel: one rest at a time");
                self.rings[ring].rest = Some((now + delay, tag));
            }
        }
    }

    fn wire_in(&self, ring: usize, slot: u32) -> Option<usize> {
        self.rings[ring].slots.get(slot as usize).copied().flatten()
    }

    /// Completes only if something is left or wrong.
    fn send_now(&mut self, ring: usize, slot: u32, watch: &FrameWatch, range: Range<usize>, tag: u64) {
        let now = self.now();
        let frame = frame_of(watch);
        let bytes = &frame.bytes()[range];
        let Some(wire) = self.wire_in(ring, slot) else { return self.complete(ring, tag, -libc::EBADF) };
        let Some(room) = self.network.server_room(now, wire) else {
            let errno = *self.chance.pick(&[libc::EPIPE, libc::ECONNRESET]);
            return self.complete(ring, tag, -errno);
        };
        let mut count = room.min(bytes.len());
        if self.chance.one_in(self.faults.short_send) {
            count = self.chance.below(count + 1);
        }
        if count == 0 || self.chance.one_in(self.faults.again) {
            return self.complete(ring, tag, -libc::EAGAIN);
        }
        self.network.server_write(now, wire, &bytes[..count]);
        note!("ring {ring}: connection {wire} takes {count} of {}", bytes.len());
        if count < bytes.len() {
            self.complete(ring, tag, count as i32);
        }
    }

    fn cancel(&mut self, ring: usize, target: u64, tag: u64) {
        let state = &self.rings[ring];
        let is_there = state.accept == Some(target)
            || state.receives.iter().any(|receiving| receiving.tag == target)
            || state.sends.iter().any(|sending| sending.tag == target);
        if !is_there {
            return self.complete(ring, tag, -libc::ENOENT);
        }
        if self.chance.one_in(self.faults.missed_cancel) {
            note!("ring {ring}: a cancel misses");
            return self.complete(ring, tag, -libc::EALREADY);
        }
        self.end_operation(ring, target);
    }

    /// A cancelled operation ends, at some moment from now on; until then it holds what it names.
    fn end_operation(&mut self, ring: usize, target: u64) {
        let state = &mut self.rings[ring];
        if state.accept == Some(target) {
            state.accept = None;
            let late = Late::End { tag: target, slot: u32::MAX, result: -libc::ECANCELED, wire: None, watch: None };
            return self.defer(ring, late);
        }
        if let Some(at) = state.receives.iter().position(|receiving| receiving.tag == target) {
            let Receiving { tag, slot, wire, .. } = state.receives.remove(at);
            let late = Late::End { tag, slot, result: -libc::ECANCELED, wire: Some(wire), watch: None };
            return self.defer(ring, late);
        }
        if let Some(at) = state.sends.iter().position(|sending| sending.tag == target) {
            let Sending { tag, slot, wire, watch, taken, .. } = state.sends.remove(at);
            let result = if taken > 0 { taken as i32 } else { -libc::ECANCELED };
            self.defer(ring, Late::End { tag, slot, result, wire: Some(wire), watch: Some(watch) });
        }
    }

    fn close(&mut self, ring: usize, slot: u32, tag: u64) {
        let now = self.now();
        let state = &mut self.rings[ring];
        let is_used = state.receives.iter().any(|receiving| receiving.slot == slot)
            || state.sends.iter().any(|sending| sending.slot == slot)
            || state.late.iter().any(|late| match late.work {
                Late::End { slot: of, .. } | Late::Shutdown { slot: of, .. } => of == slot,
                Late::Transfer { .. } => false,
            });
        assert!(!is_used, "kernel: slot {slot} is emptied while an operation on it is outstanding");
        match state.slots.get_mut(slot as usize).and_then(Option::take) {
            Some(wire) => {
                note!("ring {ring}: closes connection {wire}");
                self.network.release(now, wire);
            }
            None => self.complete(ring, tag, -libc::EBADF),
        }
    }

    /// The ring is gone: everything that it held is let go of.
    pub(super) fn end_ring(&mut self, ring: usize) {
        let now = self.now();
        let state = std::mem::take(&mut self.rings[ring]);
        let held = state.receives.iter().map(|receiving| receiving.wire);
        let held = held.chain(state.sends.iter().map(|sending| sending.wire));
        let held = held.chain(state.slots.iter().flatten().copied());
        let held = held.chain(state.late.iter().filter_map(|late| match late.work {
            Late::End { wire, .. } => wire,
            Late::Transfer { wire, .. } => Some(wire),
            Late::Shutdown { .. } => None,
        }));
        let held: Vec<usize> = held.collect();
        for wire in held {
            self.network.release(now, wire);
        }
    }
}
