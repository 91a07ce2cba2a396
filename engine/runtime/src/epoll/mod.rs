//! The epoll driver: the same operations by readiness, for systems that deny io_uring.
//!
//! ```text
//!   Kernel::send, start, ...  ->  batch, unsettled    tried and told to the system at the next submit or turn, in order
//!   Sink::sent, send_waits    <-  news                what came of it, delivered by the next turn
//!   Sink::received, accepted  <-  epoll_wait          level-triggered: one receive per event into one scratch buffer
//! ```
//! Level-triggered, because then nothing needs to be read to the end: a connection that floods gets one buffer's worth per turn. When all
//! together have brought a turn's worth, the events that were not looked at are the next turn's, before the system is asked again.
//! Events carry the generation of their file, so what is reported for a closed descriptor does not reach the next tenant of its
//! number in the same batch. Interest is changed once per turn and file, only if it differs from what the system knows. Sources:
//! epoll(7), accept4(2), recv(2), send(2). The calls themselves are in `system`.

mod accept;
mod files;
pub(crate) mod system;

use crate::kernel::{Counters, End, Kernel, SendOutcome, Sink, Token};
use crate::limits::{EVENTS_PER_TURN, RECEIVED_BYTES_PER_TURN};
use accept::Listener;
use files::{Files, Key, SendState, State};
use ringio_core::base::frame::Frame;
use ringio_core::base::id::{FileId, ShardIndex};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use system::errno;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const EDGE: u32 = libc::EPOLLET as u32;

/// The array for the events of a turn. Bytes.
pub(crate) const EVENTS_BYTES: u64 = (EVENTS_PER_TURN * size_of::<libc::epoll_event>()) as u64;
/// Bytes thrown away at most before a close, lest unread ones turn it into a reset that overtakes what was sent last.
const DISCARD_BYTES_MAX: usize = 1 << 20;

/// Generations of events that belong to no file.
const LISTENER: u32 = u32::MAX;
const BELL: u32 = u32::MAX - 1;
const TIMER: u32 = u32::MAX - 2;
const _: () = assert!(files::GENERATION_MAX < TIMER);

/// Connections on their way between shards, which own them meanwhile. Holding them here makes [`Kernel::adopt`] safe: it can take only what
/// was handed over.
static IN_TRANSIT: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Sizes of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpollOptions {
    /// Bytes received at once. Default 65,536, at least 64.
    pub scratch_bytes: usize,
    /// Connections of the shard, at most; beyond that peers wait in the backlog. Default: no bound but the process' limit of open files.
    pub files_max: u32,
}

impl Default for EpollOptions {
    fn default() -> Self {
        Self { scratch_bytes: 65_536, files_max: u32::MAX }
    }
}

/// Another shard of this process. Descriptors are the whole process', so all there is to know is whether it lives.
#[derive(Clone, Debug)]
pub struct EpollAddress {
    is_alive: Arc<AtomicBool>,
}

enum News {
    Sent(Key, SendOutcome),
    Waits(Key),
    Moved(Key),
}

/// An interest list and what belongs to it.
pub struct Epoll {
    epoll: OwnedFd,
    files: Files,
    files_max: u32,
    listeners: Vec<Listener>,
    /// Files with a send to try, in order.
    batch: Vec<Key>,
    /// Files whose interest may differ from what the system knows.
    unsettled: Vec<Key>,
    news: VecDeque<News>,
    /// The next turn must not wait: there is news that nothing else would announce.
    is_hurried: bool,
    /// Nothing stands behind the sends asked for.
    is_sent_deferred: bool,
    /// The timer after which accepting is tried again is running.
    is_resting: bool,
    timer: OwnedFd,
    /// Kept open while it is watched.
    _bell: OwnedFd,
    events: Vec<libc::epoll_event>,
    /// How many of the events the system has filled in, and how many of those were looked at.
    reported: usize,
    looked_at: usize,
    scratch: Vec<u8>,
    peers: Vec<EpollAddress>,
    is_alive: Arc<AtomicBool>,
    counters: Counters,
}

impl Epoll {
    /// Makes a driver woken by `bell` (an eventfd, watched by edges and never read).
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new(options: &EpollOptions, bell: &impl AsFd) -> io::Result<Self> {
        let epoll = system::epoll()?;
        let bell = bell.as_fd().try_clone_to_owned()?;
        let timer = system::timer()?;
        let key = Key { fd: 0, generation: BELL };
        system::epoll_ctl(epoll.as_fd(), libc::EPOLL_CTL_ADD, bell.as_raw_fd(), IN | EDGE, key.to_bits())?;
        let key = Key { fd: 0, generation: TIMER };
        system::epoll_ctl(epoll.as_fd(), libc::EPOLL_CTL_ADD, timer.as_raw_fd(), IN | EDGE, key.to_bits())?;
        let scratch = vec![0; options.scratch_bytes.max(64)];
        Ok(Self {
            epoll,
            files: Files::default(),
            files_max: options.files_max,
            listeners: Vec::new(),
            batch: Vec::new(),
            unsettled: Vec::new(),
            news: VecDeque::new(),
            is_hurried: false,
            is_sent_deferred: false,
            is_resting: false,
            timer,
            _bell: bell,
            events: vec![system::NO_EVENT; EVENTS_PER_TURN],
            reported: 0,
            looked_at: 0,
            counters: Counters { receive_pool_bytes: scratch.len() as u64, ..Counters::default() },
            scratch,
            peers: Vec::new(),
            is_alive: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Connections of this driver, in whatever state.
    #[must_use]
    pub fn file_count(&self) -> u32 {
        self.files.count()
    }

    // ---- interest

    fn unsettle(&mut self, key: Key) {
        if let Some(file) = self.find(key)
            && !file.is_unsettled
        {
            file.is_unsettled = true;
            self.unsettled.push(key);
        }
    }

    /// Tells the system what is wanted of each file by now.
    fn settle(&mut self) {
        while let Some(key) = self.unsettled.pop() {
            let epoll = self.epoll.as_fd();
            let Some(file) = self.files.find(key) else { continue };
            file.is_unsettled = false;
            let receiving = if matches!(file.state, State::Open { is_receiving: true }) { IN } else { 0 };
            let sending = if matches!(file.send, SendState::Waiting(..)) { OUT } else { 0 };
            let wanted = receiving | sending;
            let operation = match (file.registered, wanted) {
                (known, wanted) if known == wanted => continue,
                (0, _) => libc::EPOLL_CTL_ADD,
                (_, 0) => libc::EPOLL_CTL_DEL, // Not "no events": hang-ups would still be reported, every turn.
                _ => libc::EPOLL_CTL_MOD,
            };
            self.counters.system_calls += 1;
            if system::epoll_ctl(epoll, operation, file.fd.as_raw_fd(), wanted, key.to_bits()).is_ok() {
                file.registered = wanted;
            } else {
                // Out of memory or of watches (fs.epoll.max_user_watches): tried again next turn.
                file.is_unsettled = true;
                self.unsettled.push(key);
                self.is_hurried = true;
                break;
            }
        }
    }

    // ---- sending

    fn flush(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        for key in batch.drain(..) {
            self.try_send(key);
        }
        if self.batch.is_empty() {
            self.batch = batch;
        }
        self.settle();
    }

    /// Tries a queued or waiting send; its end, or that it has to wait, becomes news.
    fn try_send(&mut self, key: Key) {
        let counters = &mut self.counters;
        let Some(file) = self.files.find(key) else { return };
        let (frame, mut offset, has_waited) = match std::mem::replace(&mut file.send, SendState::Idle) {
            SendState::Queued(frame, offset) => (frame, offset, false),
            SendState::Waiting(frame, offset) => (frame, offset, true),
            other => {
                file.send = other;
                return;
            }
        };
        let outcome = loop {
            if offset == frame.len() {
                break Some(SendOutcome::Complete);
            }
            counters.system_calls += 1;
            match system::send(file.fd.as_raw_fd(), &frame.bytes()[offset..]) {
                Ok(count) => {
                    offset += count;
                    if offset < frame.len() {
                        break None; // It took less than there is: there is no more room.
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(SendOutcome::Broken(errno(&error))),
            }
        };
        match outcome {
            Some(outcome) => {
                file.send = SendState::Ended;
                if std::mem::take(&mut file.is_shutdown_due) {
                    counters.system_calls += 1;
                    // Refused only when the connection is broken, which its receive says.
                    let _ = system::shutdown_write(file.fd.as_raw_fd());
                }
                if !self.is_sent_deferred || has_waited || outcome != SendOutcome::Complete {
                    self.is_hurried = true;
                }
                self.news.push_back(News::Sent(key, outcome));
                if has_waited {
                    self.unsettle(key);
                }
            }
            None => {
                file.send = SendState::Waiting(frame, offset);
                if !has_waited {
                    counters.send_waits += 1;
                    self.is_hurried = true;
                    self.news.push_back(News::Waits(key));
                    self.unsettle(key);
                }
            }
        }
    }

    // ---- delivering

    fn deliver_news(&mut self, sink: &mut impl Sink<Self>) {
        for _ in 0..self.news.len() {
            let Some(news) = self.news.pop_front() else { break };
            match news {
                News::Sent(key, outcome) => self.deliver_sent(key, outcome, sink),
                News::Waits(key) => {
                    if let Some(file) = self.find(key) {
                        let token = file.token;
                        sink.send_waits(self, token);
                    }
                }
                News::Moved(key) => self.deliver_moved(key, sink),
            }
        }
    }

    fn deliver_sent(&mut self, key: Key, outcome: SendOutcome, sink: &mut impl Sink<Self>) {
        let Some(file) = self.find(key) else { return };
        file.send = SendState::Idle;
        let token = file.token;
        sink.sent(self, token, outcome);
        self.advance(key);
    }

    fn deliver_moved(&mut self, key: Key, sink: &mut impl Sink<Self>) {
        let Some(file) = self.find(key) else { return };
        let State::Moving(outcome) = file.state else { return };
        let token = file.token;
        if let Err(errno) = outcome {
            file.state = State::Silent;
            sink.transferred(self, token, Err(errno));
        } else if let Some(file) = self.remove(key.fd) {
            IN_TRANSIT.lock().unwrap_or_else(PoisonError::into_inner).push(file.fd);
            self.wake_listeners();
            sink.transferred(self, token, Ok(FileId(key.fd)));
        }
    }

    /// Hands a file over when nothing is in flight on it.
    fn advance(&mut self, key: Key) {
        let Some(file) = self.find(key) else { return };
        let State::Leaving(target) = file.state else { return };
        if !matches!(file.send, SendState::Idle) {
            return;
        }
        // Forgotten at once: the other shard will watch it with its own list.
        let (fd, is_registered) = (file.fd.as_raw_fd(), file.registered != 0);
        file.registered = 0;
        if is_registered {
            self.counters.system_calls += 1;
            let _ = system::epoll_ctl(self.epoll.as_fd(), libc::EPOLL_CTL_DEL, fd, 0, 0); // It is there.
        }
        let is_alive = self.peers.get(usize::from(target.0)).is_some_and(|peer| peer.is_alive.load(Ordering::Acquire));
        let is_own =
            self.peers.get(usize::from(target.0)).is_some_and(|peer| Arc::ptr_eq(&peer.is_alive, &self.is_alive));
        let outcome = match (is_alive, is_own) {
            (true, false) => Ok(()),
            (_, true) => Err(libc::EINVAL),
            (false, false) => Err(libc::EOWNERDEAD),
        };
        if let Some(file) = self.find(key) {
            file.state = State::Moving(outcome);
        }
        self.news.push_back(News::Moved(key));
        self.is_hurried = true;
    }

    /// Does what an event says; the number of bytes that were received.
    fn deliver_event(&mut self, event: libc::epoll_event, sink: &mut impl Sink<Self>) -> usize {
        let key = Key::from_bits(event.u64);
        match key.generation {
            BELL => {}
            TIMER => {
                self.is_resting = false;
                self.wake_listeners();
            }
            LISTENER => self.accept(key.fd as usize, sink),
            _ => {
                if event.events & !IN != 0 {
                    self.try_send(key); // Room, or an error that the send will name.
                }
                if event.events & !OUT != 0 {
                    return self.receive(key, sink);
                }
            }
        }
        0
    }

    fn receive(&mut self, key: Key, sink: &mut impl Sink<Self>) -> usize {
        let mut received = 0;
        let mut scratch = std::mem::take(&mut self.scratch);
        if let Some(file) = self.find(key)
            && file.state == (State::Open { is_receiving: true })
        {
            let token = file.token;
            let outcome = system::receive(file.fd.as_raw_fd(), &mut scratch);
            let end = match &outcome {
                Ok(0) => Some(End::Finished),
                Ok(_) => None,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
                Err(error) => Some(End::Broken(errno(error))),
            };
            if end.is_some() {
                file.state = State::Open { is_receiving: false };
                self.unsettle(key);
            }
            self.counters.system_calls += 1;
            match (outcome, end) {
                (_, Some(end)) => sink.ended(self, token, end),
                (Ok(count), None) => {
                    received = count;
                    sink.received(self, token, &mut scratch[..count]);
                }
                (Err(_), None) => {}
            }
        }
        self.scratch = scratch;
        received
    }
}

impl Kernel for Epoll {
    type Address = EpollAddress;

    fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        system::set_nonblocking(listener.as_fd(), true)?;
        let key = Key { fd: self.listeners.len() as u32, generation: LISTENER };
        system::epoll_ctl(self.epoll.as_fd(), libc::EPOLL_CTL_ADD, listener.as_raw_fd(), IN, key.to_bits())?;
        self.listeners.push(Listener { fd: listener, is_resting: false });
        Ok(())
    }

    fn stop_listening(&mut self) {
        self.listeners.clear();
    }

    fn address(&self) -> EpollAddress {
        EpollAddress { is_alive: Arc::clone(&self.is_alive) }
    }

    fn set_peers(&mut self, peers: Vec<EpollAddress>) {
        self.peers = peers;
    }

    fn start(&mut self, file: FileId, token: Token) {
        let open = self.open_file(file);
        assert_eq!(open.state, State::Silent, "{file:?} is started once");
        open.state = State::Open { is_receiving: true };
        open.token = token;
        let key = self.key(file);
        self.unsettle(key);
    }

    fn send(&mut self, file: FileId, frame: Frame, offset: usize) {
        assert!(offset <= frame.len(), "offset {offset} of {} bytes", frame.len());
        let open = self.open_file(file);
        assert!(!matches!(open.state, State::Moving(_)), "{file:?} is {:?}", open.state);
        assert!(matches!(open.send, SendState::Idle), "one send per file is in flight");
        open.send = SendState::Queued(frame, offset);
        self.counters.sends += 1;
        self.is_sent_deferred = false;
        let key = self.key(file);
        self.batch.push(key);
    }

    fn shutdown_write(&mut self, file: FileId) {
        let open = self.open_file(file);
        if matches!(open.send, SendState::Idle | SendState::Ended) {
            let fd = open.fd.as_raw_fd();
            self.counters.system_calls += 1;
            let _ = system::shutdown_write(fd); // Refused only when the connection is broken, which its receive says.
        } else {
            open.is_shutdown_due = true;
        }
    }

    fn close(&mut self, file: FileId) {
        let key = self.key(file);
        if matches!(self.open_file(file).send, SendState::Queued(..)) {
            self.try_send(key); // It was asked for before the close, and goes if there is room.
        }
        let Some(open) = self.remove(file.0) else { return };
        if matches!(open.state, State::Open { is_receiving: true }) {
            self.counters.system_calls += 1;
            system::discard(open.fd.as_raw_fd(), DISCARD_BYTES_MAX);
        }
        self.counters.system_calls += 1;
        drop(open);
        self.wake_listeners();
    }

    fn transfer(&mut self, file: FileId, target: ShardIndex) {
        let key = self.key(file);
        let open = self.open_file(file);
        assert!(matches!(open.state, State::Silent | State::Open { .. }), "{file:?} is {:?}", open.state);
        open.state = State::Leaving(target);
        if !matches!(open.send, SendState::Idle) {
            self.is_hurried = true;
        }
        self.unsettle(key);
        self.advance(key);
    }

    fn adopt(&mut self, file: FileId) {
        let fd = {
            let mut in_transit = IN_TRANSIT.lock().unwrap_or_else(PoisonError::into_inner);
            let found = in_transit.iter().position(|fd| fd.as_raw_fd() == file.0 as RawFd);
            found.map(|index| in_transit.swap_remove(index))
        };
        match fd {
            Some(fd) => drop(self.insert(fd)),
            None => panic!("{file:?} was not handed over to this shard"),
        }
    }

    fn turn(&mut self, wait: Option<Duration>, sink: &mut impl Sink<Self>) {
        self.flush();
        let is_hurried = std::mem::take(&mut self.is_hurried);
        let mut events = std::mem::take(&mut self.events);
        if self.looked_at == self.reported {
            let timeout_ms = match wait {
                _ if is_hurried => 0,
                // Rounded up: a deadline that is not quite reached would be waited for in a loop.
                Some(wait) => i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
                None => -1,
            };
            self.counters.system_calls += 1;
            // The only error that a valid list can give is an interrupted wait.
            self.reported = system::epoll_wait(self.epoll.as_fd(), &mut events, timeout_ms).unwrap_or(0);
            self.looked_at = 0;
        }
        self.deliver_news(sink);
        let mut bytes = 0;
        while self.looked_at < self.reported && bytes < RECEIVED_BYTES_PER_TURN {
            let event = events[self.looked_at];
            self.looked_at += 1;
            bytes += self.deliver_event(event, sink);
        }
        self.events = events;
    }

    fn submit(&mut self) {
        self.flush();
    }

    fn defer_sent(&mut self) {
        self.is_sent_deferred = true;
    }

    fn sending(&self, file: FileId) -> Option<&Frame> {
        match &self.files.get(file.0)?.send {
            SendState::Queued(frame, _) | SendState::Waiting(frame, _) => Some(frame),
            SendState::Idle | SendState::Ended => None,
        }
    }

    fn shrink(&mut self) {
        self.files.shrink();
        self.batch.shrink_to_fit();
        self.unsettled.shrink_to_fit();
        self.news.shrink_to_fit();
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        self.is_alive.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Epoll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoll")
            .field("files", &self.files.count())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernel::Arrival;
    use crate::mesh::doorbell::Sleeper;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    /// Notes who received.
    #[derive(Default)]
    struct Tokens(Vec<Token>);

    impl Sink<Epoll> for Tokens {
        fn accepted(&mut self, _: &mut Epoll, _: FileId, _: Arrival) {}
        fn received(&mut self, _: &mut Epoll, token: Token, _: &mut [u8]) {
            self.0.push(token);
        }
        fn ended(&mut self, _: &mut Epoll, token: Token, _: End) {
            self.0.push(token);
        }
        fn sent(&mut self, _: &mut Epoll, _: Token, _: SendOutcome) {}
        fn send_waits(&mut self, _: &mut Epoll, _: Token) {}
        fn transferred(&mut self, _: &mut Epoll, _: Token, _: Result<FileId, i32>) {}
    }

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        client.write_all(b"hello").unwrap();
        accepted.peek(&mut [0]).unwrap(); // They are there.
        (client, accepted.into())
    }

    #[test]
    fn an_event_of_a_former_tenant_does_not_reach_the_next() {
        let mut epoll = Epoll::new(&EpollOptions::default(), &Sleeper::new().unwrap()).unwrap();
        let mut sink = Tokens::default();
        let (_client, accepted) = pair();
        let file = epoll.insert(accepted);
        epoll.start(file, 1);
        let stale = libc::epoll_event { events: IN, u64: epoll.key(file).to_bits() };
        // Out and in again: the very same number, with bytes to receive.
        let accepted = epoll.remove(file.0).unwrap().fd;
        let next = epoll.insert(accepted);
        assert_eq!(next, file);
        epoll.start(next, 2);
        epoll.deliver_event(stale, &mut sink);
        assert!(sink.0.is_empty(), "{:?} heard of somebody else's bytes", sink.0);
        let current = libc::epoll_event { events: IN, u64: epoll.key(next).to_bits() };
        epoll.deliver_event(current, &mut sink);
        assert_eq!(sink.0, [2]);
    }

    #[test]
    #[should_panic(expected = "was not handed over")]
    fn only_what_was_handed_over_is_adopted() {
        let mut epoll = Epoll::new(&EpollOptions::default(), &Sleeper::new().unwrap()).unwrap();
        epoll.adopt(FileId(0)); // Standard input, which nobody meant to give away.
    }
}
