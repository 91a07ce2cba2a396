//! What came of it: completions to the sink. The number that comes with a completion is checked, never trusted.
//!
//! ```text
//!   63      56 55            32 31             0
//!   [operation][  generation   ][     slot     ]      the tag that went in with the operation
//! ```
//! A tag that names no operation, no slot, or a former tenant is counted and ignored.
//!
//! A send that succeeds at once makes no completion (CQE_SKIP_SUCCESS): its success is seen by what is absent. That is sound because a send
//! with MSG_DONTWAIT finishes within the enter that submits it, and its failure (EAGAIN, a short count, a broken connection) is in the
//! queue when that enter returns; so after *all* completions of an enter were taken, its sends without one are complete. `Uring::enter`
//! does this in two steps: [`Uring::notice`] marks answered sends as completions are taken, [`Uring::conclude`] declares the others done.

use super::Uring;
use super::files::{Receive, Send, Shutdown, State};
use super::listener::State as Accept;
use super::ring::Ring;
use crate::kernel::{Arrival, End, SendOutcome, Sink};
use ringio_core::base::id::FileId;
#[cfg(ringio_planted)]
use ringio_core::base::planted::{self, Bug};

/// What an operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    Name,
    Receive,
    Send,
    Shutdown,
    CancelReceive,
    /// A cancel of the receive, to have it armed anew with the other pool.
    ChangePool,
    CancelSend,
    CancelAccept,
    CancelAll,
    Close,
    Transfer,
    Tell,
    /// Comes from another ring: the slot named by the result was filled by it and belongs to nobody.
    Orphan,
    Doorbell,
    Rest,
}

impl Operation {
    const ALL: [Self; 16] = [
        Self::Accept,
        Self::Name,
        Self::Receive,
        Self::Send,
        Self::Shutdown,
        Self::CancelReceive,
        Self::ChangePool,
        Self::CancelSend,
        Self::CancelAccept,
        Self::CancelAll,
        Self::Close,
        Self::Transfer,
        Self::Tell,
        Self::Orphan,
        Self::Doorbell,
        Self::Rest,
    ];
}

/// Operation, generation and slot as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u64);

impl Tag {
    pub(super) const GENERATION_MAX: u32 = (1 << 24) - 1;

    pub(super) fn new(operation: Operation, generation: u32, slot: u32) -> Self {
        debug_assert!(generation <= Self::GENERATION_MAX);
        Self((operation as u64) << 56 | u64::from(generation) << 32 | u64::from(slot))
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What completions of the operation carry.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) fn slot(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & Self::GENERATION_MAX
    }

    /// None when the number names no operation.
    pub(super) fn operation(self) -> Option<Operation> {
        Operation::ALL.get(((self.0 >> 56) as usize).wrapping_sub(1)).copied()
    }
}

/// A completion as the kernel gave it.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The bits of the operation's [`Tag`].
    pub tag: u64,
    /// What the operation returned; a negative errno if it failed.
    pub result: i32,
    /// The receive buffer that was filled.
    pub buffer: Option<u16>,
    /// Further completions of the same operation follow.
    pub has_more: bool,
}

impl Completion {
    /// Bytes that a receive brought; 0 for its end.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.result).unwrap_or(0)
    }
}

impl<R: Ring> Uring<R> {
    /// Marks sends that the enter just made has answered, among the completions from `first` on.
    pub(super) fn notice(&mut self, first: usize) {
        for completion in self.completions.range(first..) {
            let tag = Tag::from_bits(completion.tag);
            if tag.operation() == Some(Operation::Send)
                && let Some(slot) = self.files.tagged(tag)
                && slot.send == Send::Trying
            {
                slot.send = Send::Answered;
            }
        }
    }

    /// Every send of the batch that was submitted and not answered is complete.
    pub(super) fn conclude(&mut self) {
        for tag in self.batch.drain(..) {
            if let Some(slot) = self.files.tagged(tag)
                && slot.send == Send::Trying
            {
                slot.send = Send::Taken;
                self.finished.push_back(tag);
            }
        }
    }

    /// Delivers what is there, and not what comes of delivering it; of each connection its share, of all a turn's worth.
    pub(super) fn deliver(&mut self, sink: &mut impl Sink<Self>) {
        // Sends first: the rest of the turn then sees which transports are writable.
        for _ in 0..self.finished.len() {
            let Some(tag) = self.finished.pop_front() else { break };
            if let Some(slot) = self.files.tagged(tag)
                && slot.send == Send::Taken
            {
                self.finish_send(tag, SendOutcome::Complete, sink);
            }
        }
        let put_off_before = self.shares.begin_turn();
        let mut bytes = 0;
        for _ in 0..self.completions.len() {
            // The rest is first in the next turn.
            if bytes >= self.shares.turn_bytes() {
                break;
            }
            let Some(completion) = self.completions.pop_front() else { break };
            match self.shares.admit(completion) {
                Some(completion) => {
                    if completion.buffer.is_some() {
                        bytes += completion.bytes();
                    }
                    self.dispatch(completion, sink);
                }
                None => self.counters.receives_put_off += 1,
            }
        }
        let mut bytes = 0;
        for _ in 0..put_off_before {
            if bytes >= self.shares.surplus_bytes() {
                break;
            }
            let Some(completion) = self.shares.take() else { break };
            bytes += completion.bytes();
            self.dispatch(completion, sink);
        }
    }

    fn dispatch(&mut self, completion: Completion, sink: &mut impl Sink<Self>) {
        let tag = Tag::from_bits(completion.tag);
        match tag.operation() {
            Some(Operation::Receive) => self.on_receive(tag, completion, sink),
            Some(Operation::Send) => self.on_send(tag, completion.result, sink),
            Some(Operation::Accept) => self.on_accept(tag, completion, sink),
            Some(Operation::Name) => self.on_name(tag, completion.result, sink),
            Some(Operation::Transfer) => self.on_transfer(tag, completion.result, sink),
            Some(Operation::Orphan) => self.on_orphan(completion.result),
            Some(Operation::Shutdown) => {
                if let Some(slot) = self.files.tagged(tag) {
                    slot.shutdown = Shutdown::Said;
                    self.advance(tag.slot());
                }
            }
            Some(Operation::CancelReceive) => self.on_cancel_receive(tag),
            Some(Operation::ChangePool) => self.on_change_pool(tag),
            Some(Operation::CancelSend) => self.on_cancel_send(tag),
            Some(Operation::CancelAccept) => self.on_cancel_accept(tag),
            Some(Operation::Doorbell) if !completion.has_more => self.watch_doorbell(),
            Some(Operation::Rest) => {
                self.is_rest_armed = false;
                self.resume_accepting();
            }
            // The bell only had to end the wait. A refused close or cancel has nothing left to do here: the file is gone, or broken,
            // which its receive says.
            Some(Operation::Doorbell | Operation::CancelAll | Operation::Close | Operation::Tell) => {}
            None => self.unexpected += 1,
        }
    }

    // ---- receiving

    fn on_receive(&mut self, tag: Tag, completion: Completion, sink: &mut impl Sink<Self>) {
        let Some(slot) = self.files.tagged(tag) else {
            self.unexpected += 1;
            return;
        };
        if slot.receive == Receive::Idle {
            self.unexpected += 1;
            return;
        }
        let (token, pool) = (slot.token, slot.pool);
        let is_wanted = matches!(slot.state, State::Open | State::Leaving(_));
        if !completion.has_more {
            slot.receive = Receive::Idle;
            self.in_flight.receive_count -= 1;
        }
        if let Some(id) = completion.buffer {
            let size = usize::try_from(completion.result).unwrap_or(0);
            if slot.habit.note(pool, size, self.small_size) && slot.receive == Receive::Armed {
                slot.receive = Receive::Changing { is_last: false };
                self.change_pool(tag.slot());
            }
            match self.buffers.pool_mut(pool).lend(id, size) {
                Some(mut lent) => {
                    if is_wanted && size > 0 {
                        sink.received(self, token, lent.bytes());
                    }
                    self.buffers.pool_mut(pool).give_back(lent);
                }
                None => self.unexpected += 1,
            }
        }
        if !completion.has_more {
            self.after_last_receive(tag, completion.result, sink);
        }
    }

    /// The multishot receive has ended with `result`: by the peer, for want of buffers, because it was cancelled, or just so.
    fn after_last_receive(&mut self, tag: Tag, result: i32, sink: &mut impl Sink<Self>) {
        // Asked anew: the sink may have closed the file, and even have got another at the same place.
        let Some(slot) = self.files.tagged(tag) else { return };
        if slot.state != State::Open {
            self.advance(tag.slot());
            return;
        }
        let token = slot.token;
        match result {
            0 => sink.ended(self, token, End::Finished),
            1.. => self.receive(tag.slot()),
            _ => match -result {
                libc::ENOBUFS => {
                    self.counters.receive_pool_empty += 1;
                    #[cfg(ringio_planted)]
                    if planted::is(Bug::NoBuffersUnnoticed) {
                        return;
                    }
                    self.receive(tag.slot());
                }
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.receive(tag.slot()),
                errno => sink.ended(self, token, End::Broken(errno)),
            },
        }
    }

    /// A cancel came to nothing: the receive was just then ending, or between two steps. If it is still there it is cancelled again.
    fn on_cancel_receive(&mut self, tag: Tag) {
        if let Some(slot) = self.files.tagged(tag)
            && slot.receive == Receive::Cancelling
        {
            self.cancel_receive(tag.slot());
        }
    }

    /// The receive could not be ended to change its pool: what it brings next asks for that again, unless it is over.
    fn on_change_pool(&mut self, tag: Tag) {
        let Some(slot) = self.files.tagged(tag) else { return };
        if let Receive::Changing { is_last } = slot.receive {
            slot.receive = Receive::Armed;
            if is_last && slot.receive.finish() {
                self.cancel_receive(tag.slot());
            }
        }
    }

    // ---- sending

    fn on_send(&mut self, tag: Tag, result: i32, sink: &mut impl Sink<Self>) {
        let Some(slot) = self.files.tagged(tag) else {
            self.unexpected += 1;
            return;
        };
        let is_first_wait = match slot.send {
            Send::Answered => true,
            Send::Waiting => false,
            Send::Idle | Send::Trying | Send::Taken => {
                self.unexpected += 1;
                return;
            }
        };
        let token = slot.token;
        let is_closing = slot.state == State::Closing;
        let taken = match result {
            0.. => result as usize,
            _ => match -result {
                libc::EAGAIN | libc::EINTR | libc::ECANCELED if !is_closing => 0,
                errno => return self.finish_send(tag, SendOutcome::Broken(errno), sink),
            },
        };
        let progress = self.in_flight.advance_send(tag.slot(), taken);
        #[cfg(ringio_planted)]
        let progress = if planted::is(Bug::ShortWriteLoss) { progress.map(|_| true) } else { progress };
        match progress {
            Some(false) if !is_closing => {
                self.send_rest(tag.slot());
                if is_first_wait {
                    self.counters.send_waits += 1;
                    sink.send_waits(self, token);
                }
            }
            Some(_) => self.finish_send(tag, SendOutcome::Complete, sink),
            None => {
                self.unexpected += 1;
                self.finish_send(tag, SendOutcome::Broken(libc::EIO), sink);
            }
        }
    }

    /// The send has ended: frees the frame, says FIN if that was asked for, and tells the sink unless the file is being closed.
    fn finish_send(&mut self, tag: Tag, outcome: SendOutcome, sink: &mut impl Sink<Self>) {
        self.in_flight.release_send(tag.slot());
        let Some(slot) = self.files.tagged(tag) else { return };
        slot.send = Send::Idle;
        let token = slot.token;
        if slot.state == State::Closing {
            self.advance(tag.slot());
            return;
        }
        if slot.shutdown == Shutdown::AfterSend {
            slot.shutdown = Shutdown::Saying;
            self.say_fin(tag.slot());
        }
        sink.sent(self, token, outcome);
        if self.files.tagged(tag).is_some_and(|slot| matches!(slot.state, State::Leaving(_))) {
            self.advance(tag.slot());
        }
    }

    /// As for a receive.
    fn on_cancel_send(&mut self, tag: Tag) {
        if let Some(slot) = self.files.tagged(tag)
            && slot.state == State::Closing
            && slot.send == Send::Waiting
        {
            self.cancel_send(tag.slot());
        }
    }

    // ---- accepting

    fn on_accept(&mut self, tag: Tag, completion: Completion, sink: &mut impl Sink<Self>) {
        let index = tag.slot() as usize;
        let Some(listener) = self.listeners.get_mut(index).filter(|listener| listener.is_armed()) else {
            self.unexpected += 1;
            return;
        };
        let is_ipv6 = listener.is_ipv6;
        if !completion.has_more {
            match listener.state {
                Accept::Stopping => listener.close(),
                Accept::Accepting | Accept::Pausing | Accept::Resting | Accept::Closed => {
                    listener.state = Accept::Resting;
                }
            }
        }
        match u32::try_from(completion.result) {
            Ok(slot) if self.files.open(slot, State::Naming) => {
                self.counters.accepts += 1;
                if let Some(entry) = self.files.tenant(slot) {
                    entry.listener = index as u16;
                }
                match is_ipv6 {
                    Some(is_ipv6) if self.has_names => self.ask_name(slot, is_ipv6),
                    _ => self.introduce(slot, None, sink),
                }
                self.pause_accepting();
            }
            Ok(_) => self.unexpected += 1,
            Err(_) if completion.result == -libc::ECANCELED => {}
            Err(_) => {
                let errno = -completion.result;
                let is_the_peers =
                    matches!(errno, libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::EPERM | libc::EPROTO);
                if !is_the_peers {
                    // Out of descriptors or memory, most likely.
                    self.counters.accept_pauses += 1;
                    self.rest();
                    return;
                }
            }
        }
        if !completion.has_more {
            self.resume_accepting();
        }
    }

    /// As for a receive.
    fn on_cancel_accept(&mut self, tag: Tag) {
        let index = tag.slot() as usize;
        if self
            .listeners
            .get(index)
            .is_some_and(|listener| matches!(listener.state, Accept::Pausing | Accept::Stopping))
        {
            self.cancel_accept(index);
        }
    }

    fn on_name(&mut self, tag: Tag, result: i32, sink: &mut impl Sink<Self>) {
        let Some(slot) = self.files.tagged(tag).filter(|slot| slot.state == State::Naming) else {
            self.unexpected += 1;
            return;
        };
        debug_assert!(slot.is_quiet());
        if matches!(-result, libc::EOPNOTSUPP | libc::EINVAL) {
            self.has_names = false; // A kernel before 6.7: addresses stay unknown.
        }
        // ENOTCONN: the peer has gone meanwhile, which its receive will say.
        let peer = self.in_flight.release_name(tag.slot(), result > 0);
        self.introduce(tag.slot(), peer, sink);
    }

    fn introduce(&mut self, slot: u32, peer: Option<std::net::SocketAddr>, sink: &mut impl Sink<Self>) {
        if let Some(entry) = self.files.tenant(slot) {
            entry.state = State::Silent;
            let from = Arrival { listener: entry.listener, peer };
            sink.accepted(self, FileId(slot), from);
        }
    }

    // ---- moving

    fn on_transfer(&mut self, tag: Tag, result: i32, sink: &mut impl Sink<Self>) {
        let Some(slot) = self.files.tagged(tag) else {
            self.unexpected += 1;
            return;
        };
        let token = slot.token;
        match (slot.state, u32::try_from(result)) {
            (State::Moving(_), Ok(remote)) => {
                self.empty(tag.slot());
                sink.transferred(self, token, Ok(FileId(remote)));
            }
            (State::Moving(_), Err(_)) => {
                slot.state = State::Silent;
                sink.transferred(self, token, Err(-result));
            }
            (State::Abandoned(target), Ok(_)) => {
                self.disown(target, result);
                self.empty(tag.slot());
            }
            (State::Abandoned(_), Err(_)) => self.empty(tag.slot()),
            _ => self.unexpected += 1,
        }
    }

    /// Another ring handed something over and then closed it.
    fn on_orphan(&mut self, result: i32) {
        match u32::try_from(result) {
            Ok(slot) if self.files.open(slot, State::Closing) => self.advance(slot),
            _ => self.unexpected += 1,
        }
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn tags_keep_their_parts() {
        for operation in Operation::ALL {
            let tag = Tag::new(operation, Tag::GENERATION_MAX, u32::MAX - 1);
            let tag = Tag::from_bits(tag.to_bits());
            assert_eq!(
                (tag.operation(), tag.generation(), tag.slot()),
                (Some(operation), Tag::GENERATION_MAX, u32::MAX - 1)
            );
        }
        assert_eq!(Tag::from_bits(0).operation(), None);
        assert_eq!(Tag::from_bits(u64::MAX).operation(), None);
    }
}
