//! Task work: what is ready becomes completions, in an order of chance.

use super::operations::frame_of;
use super::{Late, SimulatedKernel};
use crate::network::Read;
use crate::trace::note;
use ringio_runtime::uring::{Buffers, Completion};

/// Pieces that one receive takes before the others have their turn.
const PIECES_MAX: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Source {
    Receive(u64),
    Send(u64),
    Accept,
    Bell,
    Rest,
    Late,
}

impl SimulatedKernel {
    pub(super) fn do_ready_work(&mut self, ring: usize, buffers: &mut Buffers) {
        self.poll_bell(ring);
        let state = &mut self.rings[ring];
        // What found the queue full goes first.
        while state.completions.len() < self.sizes.completions {
            let Some(completion) = state.overflow.pop_front() else { break };
            state.completions.push_back(completion);
        }
        let mut sources = vec![Source::Accept, Source::Bell, Source::Rest];
        sources.extend(state.receives.iter().map(|receiving| Source::Receive(receiving.tag)));
        sources.extend(state.sends.iter().map(|sending| Source::Send(sending.tag)));
        sources.extend(state.late.iter().map(|_| Source::Late));
        for last in (1..sources.len()).rev() {
            let other = self.chance.below(last + 1);
            sources.swap(last, other);
        }
        let lateness = if state.is_abandoned { 0 } else { self.faults.lateness };
        for source in sources {
            if self.chance.one_in(lateness) {
                continue;
            }
            match source {
                Source::Receive(tag) => self.do_receive(ring, tag, buffers),
                Source::Send(tag) => self.do_send(ring, tag),
                Source::Accept => self.do_accept(ring),
                Source::Bell => self.do_bell(ring),
                Source::Rest => self.do_rest(ring),
                Source::Late => self.do_late(ring),
            }
        }
    }

    fn is_full(&self, ring: usize) -> bool {
        let state = &self.rings[ring];
        state.completions.len() >= self.sizes.completions || !state.overflow.is_empty()
    }

    fn do_receive(&mut self, ring: usize, tag: u64, buffers: &mut Buffers) {
        let now = self.now();
        for _ in 0..PIECES_MAX {
            let Some(at) = self.rings[ring].receives.iter().position(|receiving| receiving.tag == tag) else { return };
            let (wire, pool) = (self.rings[ring].receives[at].wire, self.rings[ring].receives[at].pool);
            // Not too often: a shard with many connections would do nothing else.
            if self.chance.one_in(self.faults.multishot_ends.saturating_mul(20)) {
                let errno = *self.chance.pick(&[libc::EINTR, libc::EAGAIN]);
                return self.end_receive(ring, at, Completion { tag, result: -errno, buffer: None, has_more: false });
            }
            if !self.network.server_has_news(now, wire) {
                return;
            }
            let offered = buffers.pool(pool).offered(self.rings[ring].buffers_taken[pool as usize]);
            let offered = offered.filter(|_| !self.chance.one_in(self.faults.no_buffers));
            let mut bytes_max = buffers.pool(pool).buffer_bytes();
            if self.chance.one_in(self.faults.short_receive) {
                bytes_max = 1 + self.chance.below(bytes_max);
            }
            // Without a buffer the kernel does not even look.
            let read = match offered {
                Some(_) => self.network.server_read(now, wire, bytes_max),
                None => {
                    let completion = Completion { tag, result: -libc::ENOBUFS, buffer: None, has_more: false };
                    return self.end_receive(ring, at, completion);
                }
            };
            match (read, offered) {
                (Read::Bytes(bytes), Some(id)) => {
                    let taken = &mut self.rings[ring].buffers_taken[pool as usize];
                    *taken = taken.wrapping_add(1);
                    buffers.pool_mut(pool).fill(id, &bytes);
                    note!("ring {ring}: connection {wire} brings {}", bytes.len());
                    // A multishot that finds the queue full says goodbye behind it.
                    let has_more = !self.is_full(ring) && !self.chance.one_in(self.faults.multishot_ends);
                    let completion = Completion { tag, result: bytes.len() as i32, buffer: Some(id), has_more };
                    if !has_more {
                        return self.end_receive(ring, at, completion);
                    }
                    self.post(ring, completion);
                }
                (Read::Finished, _) => {
                    return self.end_receive(ring, at, Completion { tag, result: 0, buffer: None, has_more: false });
                }
                (Read::Reset, _) => {
                    let result = -*self.chance.pick(&[libc::ECONNRESET, libc::ETIMEDOUT]);
                    return self.end_receive(ring, at, Completion { tag, result, buffer: None, has_more: false });
                }
                (Read::Nothing | Read::Bytes(_), _) => return,
            }
        }
    }

    fn end_receive(&mut self, ring: usize, at: usize, completion: Completion) {
        let receiving = self.rings[ring].receives.remove(at);
        note!("ring {ring}: the receive of connection {} ends with {}", receiving.wire, completion.result);
        self.network.release(self.now(), receiving.wire);
        self.post(ring, completion);
    }

    fn do_send(&mut self, ring: usize, tag: u64) {
        let now = self.now();
        let Some(at) = self.rings[ring].sends.iter().position(|sending| sending.tag == tag) else { return };
        let sending = &mut self.rings[ring].sends[at];
        let wire = sending.wire;
        let frame = frame_of(&sending.watch);
        let Some(room) = self.network.server_room(now, wire) else {
            let result = if sending.taken > 0 { sending.taken as i32 } else { -libc::ECONNRESET };
            return self.end_send(ring, at, result);
        };
        if room == 0 {
            return;
        }
        let rest = &frame.bytes()[sending.range.clone()][sending.taken..];
        let mut count = room.min(rest.len());
        if self.chance.one_in(self.faults.short_send) {
            count = 1 + self.chance.below(count);
        }
        self.network.server_write(now, wire, &rest[..count]);
        let is_whole = count == rest.len();
        let sending = &mut self.rings[ring].sends[at];
        sending.taken += count;
        let taken = sending.taken as i32;
        note!("ring {ring}: connection {wire} takes {count} more");
        if is_whole || self.chance.one_in(self.faults.short_send) {
            self.end_send(ring, at, taken);
        }
    }

    fn end_send(&mut self, ring: usize, at: usize, result: i32) {
        let sending = self.rings[ring].sends.remove(at);
        self.network.release(self.now(), sending.wire);
        self.complete(ring, sending.tag, result);
    }

    fn do_accept(&mut self, ring: usize) {
        let now = self.now();
        let Some(tag) = self.rings[ring].accept else { return };
        while self.network.has_backlog(now, ring) {
            if self.chance.one_in(self.faults.failed_accept) {
                self.rings[ring].accept = None;
                // Nobody is lost: the peer waits on. (ECONNABORTED means a peer that is gone, which costs nobody else.)
                let result = -*self.chance.pick(&[libc::ECONNABORTED, libc::EMFILE, libc::EINTR]);
                note!("ring {ring}: accepting fails with {result}");
                return self.complete(ring, tag, result);
            }
            let Some(wire) = self.network.accept(now, ring) else { return };
            let Some(slot) = self.free_slot(ring) else {
                // Taken before a slot was looked for: lost, as in the kernel.
                self.network.server_reset(now, wire);
                self.rings[ring].accept = None;
                return self.complete(ring, tag, -libc::ENFILE);
            };
            self.rings[ring].slots[slot] = Some(wire);
            self.network.hold(wire);
            note!("ring {ring}: connection {wire} gets slot {slot}");
            let has_more = !self.is_full(ring) && !self.chance.one_in(self.faults.multishot_ends);
            self.post(ring, Completion { tag, result: slot as i32, buffer: None, has_more });
            if !has_more {
                self.rings[ring].accept = None;
                return;
            }
        }
    }

    fn do_bell(&mut self, ring: usize) {
        let state = &mut self.rings[ring];
        let Some((tag, _)) = state.bell.as_ref().filter(|_| state.is_rung) else { return };
        let tag = *tag;
        state.is_rung = false;
        let has_more = !self.is_full(ring) && !self.chance.one_in(self.faults.multishot_ends);
        if !has_more {
            self.rings[ring].bell = None;
        }
        self.post(ring, Completion { tag, result: 1, buffer: None, has_more });
    }

    fn do_rest(&mut self, ring: usize) {
        let now = self.now();
        if let Some((_, tag)) = self.rings[ring].rest.take_if(|(at, _)| *at <= now) {
            self.complete(ring, tag, -libc::ETIME);
        }
    }

    /// One piece of late work that is due, whichever.
    fn do_late(&mut self, ring: usize) {
        let now = self.now();
        let due: Vec<usize> =
            (0..self.rings[ring].late.len()).filter(|at| self.rings[ring].late[*at].at <= now).collect();
        if due.is_empty() {
            return;
        }
        let at = *self.chance.pick(&due);
        match self.rings[ring].late.remove(at).work {
            Late::End { tag, result, wire, watch, .. } => {
                watch.as_ref().map(frame_of);
                if let Some(wire) = wire {
                    self.network.release(now, wire);
                }
                self.complete(ring, tag, result);
            }
            Late::Shutdown { tag, slot } => {
                let wire = self.rings[ring].slots.get(slot as usize).copied().flatten();
                match wire {
                    Some(wire) => {
                        self.network.server_finish(now, wire);
                        self.complete(ring, tag, 0);
                    }
                    None => self.complete(ring, tag, -libc::EBADF),
                }
            }
            Late::Transfer { tag, wire, ring: target } => {
                let result = self.hand_over(wire, target);
                note!("ring {ring}: connection {wire} goes to ring {target}: {result}");
                self.network.release(now, wire);
                self.complete(ring, tag, result);
            }
        }
    }

    fn hand_over(&mut self, wire: usize, target: usize) -> i32 {
        if !self.rings.get(target).is_some_and(|state| state.is_alive) {
            return -libc::EOWNERDEAD;
        }
        if self.chance.one_in(self.faults.refused_transfer) {
            return -libc::ENFILE;
        }
        let Some(slot) = self.free_slot(target) else { return -libc::ENFILE };
        self.rings[target].slots[slot] = Some(wire);
        self.network.hold(wire);
        slot as i32
    }
}
