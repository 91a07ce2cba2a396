//! The io_uring driver: the first of the two places with `unsafe` code. One ring per shard, made and used on the shard's own thread.
//!
//! ```text
//!   Kernel::send, close, ...  ->  submit   the queue of operations        one enter per turn: submits, then waits
//!   Sink::received, sent, ... <-  complete the queue of completions
//!   operations: what is asked . in_flight: what the kernel may still touch . buffers: the receive pools . files: the slots' states . listener . probe
//! ```
//! Needs Linux 6.1 (each flag's version is in `submit`); peers' addresses need 6.7 and are unknown before. [`probe`](probe::probe) says
//! whether this system allows it.
//!
//! Connections are direct descriptors: slots of a table of the ring, which cost no descriptor of the process. A connection goes
//! from accept to close without a system call of its own.

mod buffers;
mod complete;
mod files;
mod in_flight;
mod listener;
mod operations;
pub mod probe;
pub mod ring;
mod shares;
mod submit;

use crate::epoll::system;
use crate::kernel::{Counters, Kernel, Sink, Token};
use crate::limits::CONNECTION_BYTES_PER_TURN;
pub use buffers::{Buffers, Group, Pool};
pub use complete::{Completion, Tag};
pub use in_flight::{NamePlace, SendBytes};
pub use submit::SystemRing;

use complete::Operation;
use files::{Files, Send, Shutdown, State};
use in_flight::InFlight;
use listener::{Listener, State as Accept};
use probe::Refused;
use ring::{Ring, Wait};
use ringio_core::base::frame::Frame;
use ringio_core::base::id::{FileId, ShardIndex};
#[cfg(ringio_planted)]
use ringio_core::base::planted::{self, Bug};
use shares::Shares;
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UringOptions {
    /// Operations that fit between two system calls. A power of two, default 1024 (64 KiB); a larger fan-out makes several calls.
    pub submissions: u32,
    /// Completions that fit. A power of two, default 8192 (128 KiB); more wait in the kernel.
    pub completions: u32,
    /// Receive buffers of the shard. A power of two up to 32768, default 1024.
    pub receive_buffers: u16,
    /// Bytes of each. 64 to 16 MiB, default 4096.
    pub receive_buffer_bytes: u32,
    /// Receive buffers for connections that bring long messages. A power of two up to 32768, default 32.
    pub large_receive_buffers: u16,
    /// Bytes of each of those. 64 to 16 MiB, default 65,536: what TCP hands over at once on a fast network.
    pub large_receive_buffer_bytes: u32,
    /// Received bytes of one connection in a turn before the others have had theirs; what is put off gets twice as much, and all together sixteen
    /// times. Default [`CONNECTION_BYTES_PER_TURN`].
    pub connection_bytes_per_turn: usize,
    /// Connections of the shard, at most. Default: the process' limit of open files, at most 65,536 (the kernel admits no larger table than
    /// that limit, but the table itself costs no descriptors).
    pub files_max: u32,
}

impl Default for UringOptions {
    fn default() -> Self {
        let limit = u32::try_from(system::descriptor_limit()).unwrap_or(u32::MAX);
        Self {
            submissions: 1024,
            completions: 8192,
            receive_buffers: 1024,
            receive_buffer_bytes: 4096,
            large_receive_buffers: 32,
            large_receive_buffer_bytes: 65_536,
            connection_bytes_per_turn: CONNECTION_BYTES_PER_TURN,
            files_max: limit.clamp(16, 65_536),
        }
    }
}

impl UringOptions {
    /// What a ring of these sizes takes: the pools with their entries, the queues. Bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        // Each buffer has an entry of 16 bytes and a note whether it is lent, each submission an index of 4.
        let pool = |count: u16, size: u32| u64::from(count) * (u64::from(size) + 17);
        pool(self.receive_buffers, self.receive_buffer_bytes)
            + pool(self.large_receive_buffers, self.large_receive_buffer_bytes)
            + u64::from(self.submissions) * (size_of::<io_uring::squeue::Entry>() as u64 + 4)
            + u64::from(self.completions) * size_of::<io_uring::cqueue::Entry>() as u64
    }
}

/// Where another shard's ring is. Only its number: a duplicate of the descriptor would keep the ring, and its sockets, alive.
#[derive(Clone, Debug)]
pub struct RingAddress {
    fd: RawFd,
    is_alive: Arc<AtomicBool>,
}

/// A ring and what belongs to it.
///
/// `Frame`s are not `Send`, so neither is this: it lives and dies on the thread that made it, as SINGLE_ISSUER demands.
pub struct Uring<R: Ring = SystemRing> {
    files: Files,
    listeners: Vec<Listener>,
    /// Taken from the kernel, not yet delivered.
    completions: VecDeque<Completion>,
    /// What was put off of them, for others to be heard.
    shares: Shares,
    /// Sends that are complete, not yet delivered.
    finished: VecDeque<Tag>,
    /// Sends in the submission queue.
    batch: Vec<Tag>,
    /// The next enter must not wait: what comes after a send depends on its end, which no completion will announce.
    is_hurried: bool,
    /// Nothing stands behind the sends in the batch.
    is_sent_deferred: bool,
    is_rest_armed: bool,
    /// Whether the kernel tells peers' names.
    has_names: bool,
    peers: Vec<RingAddress>,
    is_alive: Arc<AtomicBool>,
    bell: OwnedFd,
    counters: Counters,
    /// Connections at which accepting pauses.
    accept_limit: u32,
    /// Bytes of a small receive buffer.
    small_size: usize,
    /// Completions that made no sense.
    unexpected: u64,
    // The order of the rest is the order of `drop`: the ring closes before the memory goes that it may write to. The other order shows as heap
    // corruption at shutdown, far away from here.
    ring: ManuallyDrop<R>,
    in_flight: ManuallyDrop<InFlight>,
    buffers: ManuallyDrop<Buffers>,
}

impl Uring {
    /// Makes a ring on the calling thread, woken by `bell` (an eventfd, watched by edges and never read).
    ///
    /// # Errors
    /// The reason with its remedy; the epoll driver can take over.
    pub fn new(options: &UringOptions, bell: &impl AsFd) -> Result<Self, Refused> {
        Self::build(options, bell).map_err(|error| probe::refused(&error))
    }

    fn build(options: &UringOptions, bell: &impl AsFd) -> io::Result<Self> {
        Self::over(SystemRing::new(options.submissions, options.completions)?, options, bell)
    }
}

impl<R: Ring> Uring<R> {
    /// The driver over this ring, woken by `bell`. The sizes of the queues are the ring's own.
    ///
    /// # Errors
    /// What [`Ring::prepare`] says, or the sizes of the pool are out of range.
    pub fn over(mut ring: R, options: &UringOptions, bell: &impl AsFd) -> io::Result<Self> {
        let small = Group::new(options.receive_buffers, options.receive_buffer_bytes)?;
        let large = Group::new(options.large_receive_buffers, options.large_receive_buffer_bytes)?;
        let buffers = Buffers::new(small, large);
        ring.prepare(options.files_max, &buffers)?;
        let counters = Counters { receive_pool_bytes: buffers.size(), ..Counters::default() };
        let mut uring = Self {
            files: Files::new(options.files_max),
            listeners: Vec::new(),
            completions: VecDeque::new(),
            shares: Shares::new(options.connection_bytes_per_turn),
            finished: VecDeque::new(),
            batch: Vec::new(),
            is_hurried: false,
            is_sent_deferred: false,
            is_rest_armed: false,
            has_names: true,
            peers: Vec::new(),
            is_alive: Arc::new(AtomicBool::new(true)),
            bell: bell.as_fd().try_clone_to_owned()?,
            counters,
            accept_limit: listener::accept_limit(options.files_max),
            small_size: options.receive_buffer_bytes as usize,
            unexpected: 0,
            ring: ManuallyDrop::new(ring),
            in_flight: ManuallyDrop::new(InFlight::default()),
            buffers: ManuallyDrop::new(buffers),
        };
        uring.watch_doorbell();
        Ok(uring)
    }

    /// Connections of this ring, in whatever state: 0 when all were closed and the kernel has been told.
    #[must_use]
    pub fn file_count(&self) -> u32 {
        self.files.open_count()
    }

    /// Completions that made no sense and were ignored. Anything but 0 is a mistake, here or in the kernel.
    #[must_use]
    pub fn unexpected(&self) -> u64 {
        self.unexpected
    }

    // ---- entering

    /// Submits everything, waits as asked, takes all completions and concludes which sends are complete.
    fn enter(&mut self, mut wait: Wait) {
        let mut tries_left = 1_000;
        loop {
            let outcome = self.ring.enter(wait, &mut self.buffers);
            let first = self.completions.len();
            self.ring.reap(&mut self.completions);
            self.notice(first);
            match outcome {
                Ok(()) | Err(libc::ETIME | libc::EINTR) => {}
                Err(libc::EAGAIN | libc::EBUSY) => {
                    // The kernel is short of memory for requests or completions; what it has made was just taken.
                    std::thread::yield_now();
                }
                Err(errno) => panic!("io_uring_enter: {}", io::Error::from_raw_os_error(errno)),
            }
            #[cfg(ringio_planted)]
            if planted::is(Bug::OverflowUnnoticed) && !self.ring.has_submissions() {
                break;
            }
            if !self.ring.has_overflown() && !self.ring.has_submissions() {
                break;
            }
            // An overflow may hide the failure of a send, and what was not submitted has not been tried: neither may be concluded from.
            tries_left -= 1;
            assert!(tries_left > 0, "the kernel takes no submissions: {outcome:?}");
            wait = Wait::Poll;
        }
        self.conclude();
    }

    /// Makes room for one more operation.
    fn make_room(&mut self) {
        if !self.ring.has_room() {
            self.enter(Wait::Submit);
        }
    }

    fn open_file(&mut self, file: FileId) -> &mut files::Slot {
        match self.files.tenant(file.0) {
            Some(slot) if slot.state != State::Naming => slot,
            _ => panic!("{file:?} is not open"),
        }
    }
}

impl<R: Ring> Kernel for Uring<R> {
    type Address = RingAddress;

    fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        self.listeners.push(Listener::new(listener)?);
        self.resume_accepting();
        Ok(())
    }

    fn stop_listening(&mut self) {
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            match listener.state {
                Accept::Accepting => {
                    listener.state = Accept::Stopping;
                    self.cancel_accept(index);
                }
                // Its cancel is on the way. Another one would find nothing, again and again until the end of the accept has come.
                Accept::Pausing => listener.state = Accept::Stopping,
                Accept::Resting => listener.close(),
                Accept::Stopping | Accept::Closed => {}
            }
        }
    }

    fn address(&self) -> RingAddress {
        RingAddress { fd: self.ring.address(), is_alive: Arc::clone(&self.is_alive) }
    }

    fn set_peers(&mut self, peers: Vec<RingAddress>) {
        self.peers = peers;
    }

    fn start(&mut self, file: FileId, token: Token) {
        let slot = self.open_file(file);
        assert_eq!(slot.state, State::Silent, "{file:?} is started once");
        slot.state = State::Open;
        slot.token = token;
        self.receive(file.0);
    }

    fn send(&mut self, file: FileId, frame: Frame, offset: usize) {
        self.make_room();
        let tag = self.files.tag(file.0, Operation::Send);
        let slot = self.open_file(file);
        assert!(matches!(slot.state, State::Silent | State::Open | State::Leaving(_)), "{file:?} is {:?}", slot.state);
        assert_eq!(slot.send, Send::Idle, "one send per file is in flight");
        self.counters.sends += 1;
        let is_empty = offset == frame.len();
        self.in_flight.hold_send(file.0, frame, offset);
        let Some((bytes, is_whole)) = self.in_flight.send_bytes(file.0) else { return };
        // Not by `open_file`, which was asked above: `bytes` borrows a part of `self`.
        let Some(slot) = self.files.tenant(file.0) else { return };
        if is_empty {
            slot.send = Send::Taken;
            self.finished.push_back(tag);
        } else if is_whole {
            slot.send = Send::Trying;
            self.is_sent_deferred = false;
            self.batch.push(tag);
            self.ring.send_now(file.0, &bytes, tag);
        } else {
            slot.send = Send::Waiting;
            self.ring.send_waiting(file.0, &bytes, tag);
        }
    }

    fn shutdown_write(&mut self, file: FileId) {
        let slot = self.open_file(file);
        if slot.shutdown != Shutdown::No {
            return;
        }
        if slot.send == Send::Idle {
            slot.shutdown = Shutdown::Saying;
            self.say_fin(file.0);
        } else {
            slot.shutdown = Shutdown::AfterSend;
            self.is_hurried = true;
        }
    }

    fn close(&mut self, file: FileId) {
        let slot = self.open_file(file);
        match slot.state {
            State::Moving(target) => {
                slot.state = State::Abandoned(target);
                return;
            }
            State::Closing | State::Abandoned(_) => return,
            State::Naming | State::Silent | State::Open | State::Leaving(_) => {
                slot.state = State::Closing;
            }
        }
        let (is_receiving, send) = (slot.receive.finish(), slot.send);
        if is_receiving {
            self.cancel_receive(file.0);
        }
        match send {
            Send::Idle => {}
            Send::Waiting => {
                self.cancel_send(file.0);
                #[cfg(ringio_planted)]
                if planted::is(Bug::EarlyRelease) {
                    self.in_flight.release_send(file.0);
                }
            }
            // Known after the next enter, or already: the slot must not wait for a stranger's completion to be looked at again.
            Send::Trying | Send::Answered | Send::Taken => self.is_hurried = true,
        }
        self.advance(file.0);
    }

    fn transfer(&mut self, file: FileId, target: ShardIndex) {
        let slot = self.open_file(file);
        assert!(matches!(slot.state, State::Silent | State::Open), "{file:?} is {:?}", slot.state);
        slot.state = State::Leaving(target);
        let (is_receiving, send) = (slot.receive.finish(), slot.send);
        if is_receiving {
            self.cancel_receive(file.0);
        }
        if send != Send::Idle {
            self.is_hurried = true;
        }
        self.advance(file.0);
    }

    fn adopt(&mut self, file: FileId) {
        assert!(self.files.open(file.0, State::Silent), "{file:?} was not handed over to this shard");
        self.pause_accepting();
    }

    fn turn(&mut self, wait: Option<Duration>, sink: &mut impl Sink<Self>) {
        let is_sent_awaited = !self.batch.is_empty() && !self.is_sent_deferred;
        let is_hurried = std::mem::take(&mut self.is_hurried);
        let is_left_over = !self.completions.is_empty() || !self.finished.is_empty() || !self.shares.is_empty();
        let has_news = is_hurried || is_sent_awaited || is_left_over;
        let wait = match wait {
            _ if has_news => Wait::Poll,
            Some(Duration::ZERO) => Wait::Poll,
            Some(limit) => Wait::AtMost(limit),
            None => Wait::Forever,
        };
        let is_idle = wait == Wait::Poll
            && !self.ring.has_submissions()
            && !self.ring.has_deferred_work()
            && !self.ring.has_overflown();
        if !is_idle {
            self.enter(wait);
        }
        self.deliver(sink);
    }

    fn submit(&mut self) {
        if self.ring.has_submissions() {
            self.enter(Wait::Submit);
        }
    }

    fn defer_sent(&mut self) {
        self.is_sent_deferred = true;
    }

    fn sending(&self, file: FileId) -> Option<&Frame> {
        self.in_flight.sending(file.0)
    }

    fn shrink(&mut self) {
        self.files.shrink();
        self.in_flight.shrink();
        self.completions.shrink_to_fit();
        self.shares.shrink();
        self.finished.shrink_to_fit();
        self.batch.shrink_to_fit();
    }

    fn counters(&self) -> Counters {
        Counters { system_calls: self.ring.system_calls(), ..self.counters }
    }
}

/// How often, and how long each time, the end waits for the kernel to let go of our memory.
const DROP_ROUNDS: u32 = 50;
const DROP_PAUSE: Duration = Duration::from_millis(20);

impl<R: Ring> Uring<R> {
    /// Ends every operation and waits for the ends, a second at most. Whether the kernel has let go of all memory.
    fn quiesce(&mut self) -> bool {
        for _ in 0..DROP_ROUNDS {
            // Again each round: a cancel may miss an operation that is between two steps.
            self.make_room();
            self.ring.cancel_all();
            self.enter(Wait::Poll);
            self.forget_completions();
            let is_accepting = self.listeners.iter().any(Listener::is_armed);
            if self.in_flight.is_empty() && !is_accepting {
                return true;
            }
            self.enter(Wait::AtMost(DROP_PAUSE));
            self.forget_completions();
        }
        false
    }

    /// Takes note of what has ended, and delivers nothing.
    fn forget_completions(&mut self) {
        while let Some(tag) = self.finished.pop_front() {
            self.in_flight.release_send(tag.slot());
        }
        while let Some(completion) = self.shares.take().or_else(|| self.completions.pop_front()) {
            let tag = Tag::from_bits(completion.tag);
            match tag.operation() {
                Some(Operation::Receive) if !completion.has_more => {
                    self.in_flight.receive_count = self.in_flight.receive_count.saturating_sub(1);
                }
                Some(Operation::Send) => self.in_flight.release_send(tag.slot()),
                Some(Operation::Name) => drop(self.in_flight.release_name(tag.slot(), false)),
                Some(Operation::Accept) if !completion.has_more => {
                    if let Some(listener) = self.listeners.get_mut(tag.slot() as usize) {
                        listener.close();
                    }
                }
                _ => {}
            }
        }
    }
}

impl<R: Ring> Drop for Uring<R> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        self.is_alive.store(false, Ordering::Release);
        // The listeners first, so that their port is free as soon as this returns: tearing down the ring alone would free it some time later.
        self.stop_listening();
        // A panic (a kernel that refuses to be entered) must not skip the order below; then nothing is known, and everything is leaked.
        let is_quiet = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.quiesce())).unwrap_or(false);
        self.ring.release();
        // SAFETY: dropped once, here, and not used after: `self` is going.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        if is_quiet {
            // SAFETY: as above. Every operation that named this memory has completed, and the ring is closed.
            unsafe { ManuallyDrop::drop(&mut self.in_flight) };
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        } else {
            tracing::warn!("the kernel still holds receive buffers or frames at the end of a ring; they are leaked");
        }
    }
}

impl<R: Ring> std::fmt::Debug for Uring<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring")
            .field("files", &self.files.open_count())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
