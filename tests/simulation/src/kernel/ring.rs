//! A ring as the driver sees it: queues operations, and lets the kernel do its work when it is entered.
//!
//! A shard runs as a coroutine. An enter that has to wait suspends it, and the scheduler resumes it when something is there for it or the
//! wait is over: so the production loop waits where it waits in production, and everybody else goes on meanwhile.

use super::SharedKernel;
use super::operations::Submission;
use crate::clock::Micros;
use corosensei::Yielder;
use ringio_runtime::uring::ring::{ACCEPT_REST_MS, Ring, Wait};
use ringio_runtime::uring::{Buffers, Completion, NamePlace, Pool, SendBytes, Tag};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

/// What a shard says when it is suspended: until when it waits at most.
pub type Pause = Option<Micros>;

/// A shard that enters its ring so often without time going on never waits.
const ENTERS_AT_ONCE_MAX: u64 = 100_000;

/// The ring of one shard.
pub struct SimulatedRing<'a> {
    kernel: SharedKernel,
    yielder: &'a Yielder<(), Pause>,
    index: usize,
    enters: u64,
    /// The instant of the last enter, and how many there were at it.
    at_once: (Micros, u64),
}

impl<'a> SimulatedRing<'a> {
    /// The ring number `index` of a kernel, whose waits suspend by `yielder`.
    #[must_use]
    pub fn new(kernel: SharedKernel, yielder: &'a Yielder<(), Pause>, index: usize) -> Self {
        Self { kernel, yielder, index, enters: 0, at_once: (0, 0) }
    }

    fn push(&mut self, submission: Submission) {
        let mut kernel = self.kernel.borrow_mut();
        let submissions_max = kernel.sizes.submissions;
        let queue = &mut kernel.rings[self.index].submissions;
        assert!(queue.len() < submissions_max, "the driver makes room first");
        queue.push_back(submission);
    }

    fn count_enter(&mut self) {
        self.enters += 1;
        let now = self.kernel.borrow().now();
        let (last, count) = self.at_once;
        self.at_once = (now, if now == last { count + 1 } else { 0 });
        assert!(count < ENTERS_AT_ONCE_MAX || std::thread::panicking(), "violation: a shard never waits");
    }

    fn state<R>(&self, look: impl FnOnce(&super::RingState) -> R) -> R {
        look(&self.kernel.borrow().rings[self.index])
    }
}

impl Ring for SimulatedRing<'_> {
    fn prepare(&mut self, files_max: u32, _: &Buffers) -> io::Result<()> {
        let mut kernel = self.kernel.borrow_mut();
        let state = &mut kernel.rings[self.index];
        state.slots = vec![None; files_max as usize];
        state.is_alive = true;
        state.is_abandoned = false;
        Ok(())
    }

    fn release(&mut self) {
        self.kernel.borrow_mut().end_ring(self.index);
    }

    fn address(&self) -> RawFd {
        self.index as RawFd
    }

    fn has_room(&mut self) -> bool {
        let most = self.kernel.borrow().sizes.submissions;
        self.state(|state| state.submissions.len() < most)
    }

    fn has_submissions(&mut self) -> bool {
        self.state(|state| !state.submissions.is_empty())
    }

    fn has_overflown(&mut self) -> bool {
        self.state(|state| !state.overflow.is_empty())
    }

    fn has_deferred_work(&mut self) -> bool {
        self.kernel.borrow_mut().is_ready(self.index)
    }

    fn enter(&mut self, wait: Wait, buffers: &mut Buffers) -> Result<(), i32> {
        self.count_enter();
        self.kernel.borrow_mut().submit(self.index)?;
        let until = match wait {
            Wait::Submit => return Ok(()),
            Wait::Poll => {
                self.kernel.borrow_mut().do_ready_work(self.index, buffers);
                return Ok(());
            }
            Wait::AtMost(limit) => {
                let limit = u64::try_from(limit.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
                Some(self.kernel.borrow().now().saturating_add(limit))
            }
            Wait::Forever => None,
        };
        if self.has_submissions() {
            return Ok(()); // Not all of them were taken: the kernel does not wait then.
        }
        loop {
            {
                let mut kernel = self.kernel.borrow_mut();
                kernel.do_ready_work(self.index, buffers);
                if !kernel.rings[self.index].completions.is_empty() {
                    return Ok(());
                }
                if until.is_some_and(|until| until <= kernel.now()) || std::thread::panicking() {
                    return Err(libc::ETIME);
                }
            }
            self.yielder.suspend(until);
        }
    }

    fn reap(&mut self, target: &mut VecDeque<Completion>) {
        target.append(&mut self.kernel.borrow_mut().rings[self.index].completions);
    }

    fn system_calls(&self) -> u64 {
        self.enters
    }

    fn accept(&mut self, _: BorrowedFd<'_>, tag: Tag) {
        self.push(Submission::Accept { tag: tag.to_bits() });
    }

    fn receive(&mut self, slot: u32, pool: Pool, tag: Tag) {
        self.push(Submission::Receive { slot, pool, tag: tag.to_bits() });
    }

    fn send_now(&mut self, slot: u32, bytes: &SendBytes<'_>, tag: Tag) {
        let (watch, range) = (bytes.frame().watch(), bytes.range());
        self.push(Submission::SendNow { slot, watch, range, tag: tag.to_bits() });
    }

    fn send_waiting(&mut self, slot: u32, bytes: &SendBytes<'_>, tag: Tag) {
        let (watch, range) = (bytes.frame().watch(), bytes.range());
        self.push(Submission::SendWaiting { slot, watch, range, tag: tag.to_bits() });
    }

    fn peer_name(&mut self, slot: u32, _: &NamePlace, tag: Tag) {
        self.push(Submission::Name { slot, tag: tag.to_bits() });
    }

    fn shutdown_write(&mut self, slot: u32, tag: Tag) {
        self.push(Submission::Shutdown { slot, tag: tag.to_bits() });
    }

    fn cancel(&mut self, target: Tag, tag: Tag) {
        self.push(Submission::Cancel { target: target.to_bits(), tag: tag.to_bits() });
    }

    fn cancel_all(&mut self) {
        self.push(Submission::CancelAll);
    }

    fn close(&mut self, slot: u32, tag: Tag) {
        self.push(Submission::Close { slot, tag: tag.to_bits() });
    }

    fn transfer(&mut self, slot: u32, ring: RawFd, tag: Tag) {
        self.push(Submission::Transfer { slot, ring: ring as usize, tag: tag.to_bits() });
    }

    fn tell(&mut self, ring: RawFd, result: i32, there: Tag, tag: Tag) {
        self.push(Submission::Tell { ring: ring as usize, result, there: there.to_bits(), tag: tag.to_bits() });
    }

    fn watch(&mut self, event: BorrowedFd<'_>, tag: Tag) {
        let bell = event.try_clone_to_owned().expect("a story has few descriptors");
        self.push(Submission::Watch { bell: File::from(bell), tag: tag.to_bits() });
    }

    fn rest(&mut self, tag: Tag) {
        let delay = u64::from(ACCEPT_REST_MS) * 1_000;
        self.push(Submission::Rest { delay, tag: tag.to_bits() });
    }
}
