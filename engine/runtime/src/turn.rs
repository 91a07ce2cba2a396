//! One turn of a shard: the only loop.
//!
//! ```text
//! kernel.turn: submit, wait, take completions --> core.handle_* --> dispatch events, the bytes still lent
//!   peers (mesh) --> core.handle_peer --> dispatch        injected jobs --> application
//!   long POSTs, a piece each --> dispatch        deadlines --> dispatch        async handlers --> dispatch
//!   memory, if it has a bound
//!   flush every dirty outbox once --> kernel.send ..      peer messages --> mesh, one bell per peer
//! ```
//! Events are dispatched completion by completion, not after all of them, because they point into the received
//! buffer: that is what makes an event reach its handler without a copy. The core is never borrowed while a
//! handler runs, so handlers may call anything. One system call per turn: the submission of the last turn's sends
//! and the wait for the next completions are the same call.
//!
//! A turn has a budget: no source of work gets more of it than [`limits`](crate::limits) says, and a turn that has left something
//! undone is followed by another without a wait. A client that always has more to say therefore delays the others by its share of a turn.
//!
//! With busy polling a shard that had something to do looks on for a while before it waits: turns that do not wait, and that make no system
//! call on io_uring as long as nothing has come. The bell stays where [`Port::woke`] put it, so whoever rings meanwhile pays for no system
//! call either; before the real wait it is asked as ever.

use crate::clock::{Clock, TimeSource};
use crate::executor::Executor;
use crate::injector::{Injector, Job};
use crate::kernel::{Arrival, End, Kernel, SendOutcome, Sink, Token};
use crate::limits::{JOBS_PER_TURN, PEER_MESSAGES_PER_TURN, POSTS_PER_TURN, SETTLE_LOOK, SETTLE_MAX};
use crate::memory::{self, Watch};
use crate::mesh::Port;
use crate::settle::Rounds;
use crate::shard_thread::Application;
use crate::tls::{self, Ended, Received, Stage, TlsSettings};
use crate::trim::TrimMemory;
use ringio_core::base::id::{ConnectionKey, FileId};
use ringio_core::base::time::Time;
use ringio_core::door::{Output, PeerMessage};
use ringio_core::shard::Shard;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// Everything that takes part in a turn.
pub struct Turn<K, A, C = Clock> {
    /// The system's side.
    pub kernel: K,
    core: Rc<RefCell<Shard>>,
    application: A,
    port: Port<PeerMessage>,
    injector: Injector<A>,
    executor: Executor,
    clock: C,
    /// Taken from the injector, not yet run.
    jobs: VecDeque<Job<A>>,
    /// What the shards say to each other before they stop.
    rounds: Rounds,
    tls: Stage,
    /// If memory has a bound.
    watch: Option<Watch>,
    /// None where the process is not this shard's.
    trim_memory: Option<TrimMemory>,
    /// How long to look on without waiting after something happened; zero for not at all.
    busy_poll: Duration,
    /// Until when to look on. Time since the clock's beginning.
    looks_until: Duration,
}

/// Takes completions to the core and its events to the application.
struct Hub<'a, A, C> {
    core: &'a RefCell<Shard>,
    application: &'a A,
    clock: &'a C,
    tls: &'a mut Stage,
    /// Read once per turn, at the first completion.
    now: Option<Time>,
}

impl<A: Application, C: TimeSource> Hub<'_, A, C> {
    fn now(&mut self) -> Time {
        *self.now.get_or_insert_with(|| self.clock.now())
    }

    fn dispatch(&self, received: &mut [u8]) {
        dispatch(self.core, self.application, received);
    }

    /// What arrived on an encrypted connection: its plaintext is lent like any received bytes.
    fn received_records<K: Kernel>(&mut self, kernel: &mut K, file: FileId, bytes: &mut [u8]) {
        let now = self.now();
        let Some(Received { key, end }) = self.tls.receive(kernel, file, bytes) else { return };
        if !self.tls.plaintext.is_empty() {
            self.core.borrow_mut().handle_received(now, key, &mut self.tls.plaintext);
            dispatch(self.core, self.application, &mut self.tls.plaintext);
            self.tls.trim();
        }
        match end {
            None => return,
            Some(Ended::Finished) => self.core.borrow_mut().handle_ended(now, key),
            Some(Ended::Unreadable(description)) => self.core.borrow_mut().handle_unreadable(now, key, description),
        }
        self.dispatch(&mut []);
    }
}

/// Hands the application every event the core has; `received` are the bytes that the events may point into.
fn dispatch<A: Application>(core: &RefCell<Shard>, application: &A, received: &mut [u8]) {
    loop {
        let event = core.borrow_mut().poll_event();
        match event {
            Some(event) => application.handle_event(event, received),
            None => return,
        }
    }
}

fn key_of(token: Token) -> ConnectionKey {
    ConnectionKey::from_bits(token)
}

impl<K: Kernel, A: Application, C: TimeSource> Sink<K> for Hub<'_, A, C> {
    fn accepted(&mut self, kernel: &mut K, file: FileId, from: Arrival) {
        let now = self.now();
        if !self.core.borrow_mut().admits(from.peer) {
            return kernel.close(file);
        }
        let is_secure = self.tls.is_for(from.listener);
        let key = self.core.borrow_mut().handle_accepted(now, file, from.peer, is_secure);
        let token = if is_secure { self.tls.accept(file, key, from.listener) } else { key.to_bits() };
        kernel.start(file, token);
    }

    fn received(&mut self, kernel: &mut K, token: Token, bytes: &mut [u8]) {
        if let Some(file) = tls::file_of(token) {
            return self.received_records(kernel, file, bytes);
        }
        let now = self.now();
        self.core.borrow_mut().handle_received(now, key_of(token), bytes);
        self.dispatch(bytes);
    }

    fn ended(&mut self, _: &mut K, token: Token, _: End) {
        let now = self.now();
        let key = match tls::file_of(token) {
            None => key_of(token),
            Some(file) => match self.tls.end(file) {
                Some(key) => key,
                None => return,
            },
        };
        self.core.borrow_mut().handle_ended(now, key);
        self.dispatch(&mut []);
    }

    fn sent(&mut self, kernel: &mut K, token: Token, outcome: SendOutcome) {
        let now = self.now();
        let (key, is_broken) = match tls::file_of(token) {
            None => (key_of(token), matches!(outcome, SendOutcome::Broken(_))),
            Some(file) => match self.tls.sent(kernel, file, outcome) {
                Some(told) => told,
                None => return,
            },
        };
        self.core.borrow_mut().handle_sent(now, key, is_broken);
        if is_broken {
            self.dispatch(&mut []);
        }
    }

    fn send_waits(&mut self, _: &mut K, _: Token) {
        // The send stays in flight: the outbox fills, volatile packets are dropped, and the heartbeat watches.
    }

    fn transferred(&mut self, _: &mut K, token: Token, remote: Result<FileId, i32>) {
        let now = self.now();
        let remote = remote.ok();
        let key = match tls::file_of(token) {
            None => key_of(token),
            Some(file) => match self.tls.transferred(file, remote) {
                Some(key) => key,
                None => return,
            },
        };
        self.core.borrow_mut().handle_transferred(now, key, remote);
    }
}

impl<K: Kernel, A: Application, C: TimeSource> Turn<K, A, C> {
    /// A loop over these parts.
    #[must_use]
    pub fn new(
        kernel: K,
        core: Rc<RefCell<Shard>>,
        application: A,
        port: Port<PeerMessage>,
        injector: Injector<A>,
        executor: Executor,
        clock: C,
    ) -> Self {
        let (jobs, tls) = (VecDeque::new(), Stage::default());
        let (busy_poll, looks_until) = (Duration::ZERO, Duration::ZERO);
        let (watch, trim_memory) = (None, None);
        let rounds = Rounds::new(port.index(), port.shard_count() as u16);
        Self {
            kernel,
            core,
            application,
            port,
            injector,
            executor,
            clock,
            jobs,
            rounds,
            tls,
            watch,
            trim_memory,
            busy_poll,
            looks_until,
        }
    }

    /// Who gives the process' free memory back to the system when a crowd has gone. Without it what is freed stays the allocator's.
    #[must_use]
    pub fn with_trim_memory(mut self, trim_memory: TrimMemory) -> Self {
        self.trim_memory = Some(trim_memory);
        self
    }

    /// After something happened, looks on for so long before it waits. Default zero: waits at once.
    #[must_use]
    pub fn with_busy_poll(mut self, span: Duration) -> Self {
        self.busy_poll = span;
        self
    }

    /// What the kernel's listeners speak, in the order in which it was given them: TLS, or nothing of the kind. Before the first turn.
    #[must_use]
    pub fn with_tls(mut self, listeners: Vec<Option<TlsSettings>>) -> Self {
        self.tls = Stage::new(listeners);
        self
    }

    /// The bound of the process' memory is watched. Before the first turn.
    #[must_use]
    pub fn with_watch(self, watch: Option<Watch>) -> Self {
        Self { watch, ..self }
    }

    /// One turn; waits at most `wait_max` for something to do.
    pub fn run(&mut self, wait_max: Option<Duration>) {
        let wait = self.prepare_wait(wait_max);
        self.run_after(wait);
    }

    /// One turn that waits as [`Self::prepare_wait`] said. A scheduler that runs many shards on one thread lets the wait pass
    /// between the two.
    pub fn run_after(&mut self, wait: Option<Duration>) {
        let mut hub =
            Hub { core: &self.core, application: &self.application, clock: &self.clock, tls: &mut self.tls, now: None };
        self.kernel.turn(wait, &mut hub);
        let mut has_happened = hub.now.is_some();
        self.port.woke();
        let now = self.clock.now();
        // Also when no peer says anything: a job's deadlines would else count from the turn before, which may be long ago.
        #[cfg(ringio_planted)]
        let is_forgotten = ringio_core::base::planted::is(ringio_core::base::planted::Bug::StaleTime);
        #[cfg(not(ringio_planted))]
        let is_forgotten = false;
        if !is_forgotten {
            self.core.borrow_mut().advance(now);
        }
        for _ in 0..PEER_MESSAGES_PER_TURN {
            let Some((from, mut message)) = self.port.receive() else { break };
            has_happened = true;
            if let PeerMessage::Settled { round } = message {
                self.rounds.hear(round);
                continue;
            }
            self.tls.unpack(&mut message);
            self.core.borrow_mut().handle_peer(now, from, message);
            dispatch(&self.core, &self.application, &mut []);
        }
        if self.jobs.is_empty() {
            self.injector.take(&mut self.jobs);
        }
        has_happened |= !self.jobs.is_empty() || self.executor.is_ready();
        for job in self.jobs.drain(..self.jobs.len().min(JOBS_PER_TURN)) {
            self.core.borrow_mut().begin_tick();
            job(&self.application);
        }
        let posts = self.core.borrow().posted_count().min(POSTS_PER_TURN);
        for _ in 0..posts {
            self.core.borrow_mut().handle_post(now);
            dispatch(&self.core, &self.application, &mut []);
        }
        has_happened |= posts > 0;
        self.core.borrow_mut().handle_deadlines(now);
        dispatch(&self.core, &self.application, &mut []);
        self.executor.run_ready();
        dispatch(&self.core, &self.application, &mut []);
        if let Some(watch) = &mut self.watch
            && watch.has_news(now)
        {
            watch.heed(now, &mut self.core.borrow_mut(), &self.kernel, &mut self.tls);
            dispatch(&self.core, &self.application, &mut []);
        }
        self.flush();
        if has_happened && !self.busy_poll.is_zero() {
            self.looks_until = self.clock.elapsed() + self.busy_poll;
        }
    }

    /// Whether something happened so lately that it is not yet time to wait.
    fn looks_on(&self) -> bool {
        let looks_on = !self.busy_poll.is_zero() && self.clock.elapsed() < self.looks_until;
        if looks_on {
            std::hint::spin_loop(); // The core's other half, if it has one, gets on the better.
        }
        looks_on
    }

    /// How long the kernel may wait: not at all while work is left or the shard looks on, until the next deadline otherwise (`None`: until
    /// something happens). Whoever has work for this shard from now on rings its bell.
    pub fn prepare_wait(&mut self, wait_max: Option<Duration>) -> Option<Duration> {
        let deadline = {
            let core = self.core.borrow();
            if core.has_work() {
                return Some(Duration::ZERO);
            }
            core.next_deadline()
        };
        let until = deadline.map(|at| self.clock.until(at));
        let wait = match (until, wait_max) {
            (Some(until), Some(most)) => Some(until.min(most)),
            (one, other) => one.or(other),
        };
        let wait = match self.watch {
            None => wait,
            Some(_) => Some(wait.unwrap_or(memory::WAIT_MAX).min(memory::WAIT_MAX)),
        };
        if wait == Some(Duration::ZERO)
            || !self.jobs.is_empty()
            || self.looks_on()
            || !self.port.about_to_sleep()
            || self.executor.is_ready()
            || self.injector.has_jobs()
        {
            return Some(Duration::ZERO);
        }
        wait
    }

    /// Everything the core wants done goes to the kernel and to the peers.
    fn flush(&mut self) {
        {
            let mut core = self.core.borrow_mut();
            while let Some(output) = core.poll_output() {
                match output {
                    Output::Send { file, frame, offset } if !self.tls.has(file) => {
                        self.kernel.send(file, frame, offset);
                    }
                    Output::Send { file, frame, offset } => {
                        if let Err(key) = self.tls.send(&mut self.kernel, file, frame, offset) {
                            core.handle_sent(self.clock.now(), key, true);
                        }
                    }
                    Output::ShutdownWrite { file } if self.tls.has(file) => {
                        self.tls.shutdown_write(&mut self.kernel, file);
                    }
                    Output::ShutdownWrite { file } => self.kernel.shutdown_write(file),
                    Output::Close { file } => {
                        self.tls.close(&mut self.kernel, file);
                        self.kernel.close(file);
                    }
                    Output::Transfer { file, target } => {
                        self.tls.leave(file, target);
                        self.kernel.transfer(file, target);
                    }
                    Output::Adopt { file, connection } => {
                        self.kernel.adopt(file);
                        let token = self.tls.adopt(file, connection);
                        self.kernel.start(file, token);
                        self.tls.resume(&mut self.kernel, file);
                    }
                }
            }
            let awaits_sent = core.take_awaits_sent() | self.tls.take_awaits_sent();
            if !awaits_sent {
                self.kernel.defer_sent();
            }
            while let Some((target, mut message)) = core.poll_peer_message() {
                self.tls.pack(target, &mut message);
                self.port.send(target, message);
            }
        }
        self.port.flush();
        let has_given_back = self.core.borrow_mut().poll_given_back();
        if has_given_back {
            self.give_back();
        }
    }

    /// A crowd has gone, and the core has given its memory back.
    #[cold]
    fn give_back(&mut self) {
        self.kernel.shrink();
        self.port.shrink();
        self.tls.shrink();
        self.jobs.shrink_to_fit();
        self.application.shrink();
        if let Some(trim_memory) = &self.trim_memory {
            trim_memory.ask();
        }
    }

    /// Accepts no more and sends all clients away, in equal shares over `spread_ms`. Turns follow until [`Self::is_drained`].
    pub fn begin_drain(&mut self, spread_ms: u64) -> Time {
        self.kernel.stop_listening();
        let now = self.clock.now();
        self.core.borrow_mut().begin_drain(now, spread_ms);
        dispatch(&self.core, &self.application, &mut []);
        self.flush();
        now.after(spread_ms)
    }

    /// Whether no session is left, or it is `end`.
    #[must_use]
    pub fn is_drained(&self, end: Time) -> bool {
        self.core.borrow().session_count() == 0 || self.clock.now() >= end
    }

    /// What was said to any shard before it is asked to stop, by whatever thread, is done on this one when this returns, and on its way to
    /// the clients: the calls that wait here, and what the other shards say because of those that waited there. For all shards at the same
    /// time; one that does not come back from a handler is waited for no longer than [`SETTLE_MAX`]. It happens up to twice: before
    /// [`Self::begin_drain`], and in [`Self::stop`].
    pub fn settle(&mut self) {
        self.injector.take_all(&mut self.jobs);
        while !self.jobs.is_empty() {
            self.run(Some(Duration::ZERO));
        }
        let mut patience = SETTLE_MAX;
        for round in self.rounds.begin() {
            self.say_round();
            while !self.rounds.is_heard(round) && !patience.is_zero() {
                let begun = self.clock.elapsed();
                self.run(Some(patience.min(SETTLE_LOOK)));
                // If this shard does not get on, nor do the others, and that is nobody's fault.
                patience = patience.saturating_sub((self.clock.elapsed() - begun).min(SETTLE_LOOK));
            }
        }
    }

    fn say_round(&mut self) {
        for (shard, word) in self.rounds.say() {
            self.port.send(shard, word);
        }
        self.port.flush();
    }

    /// Ends: does what was said before ([`Self::settle`]), accepts no more, tells all clients, lets what is on its way to them be sent for at
    /// most `drain_ms`, closes. What still waits behind a send to a slow client is discarded.
    pub fn stop(&mut self, drain_ms: u64) {
        self.settle();
        // Who settles later, or once more, need not wait for this shard.
        while self.rounds.has_more() {
            self.say_round();
        }
        let end = self.begin_stop(drain_ms);
        while !self.is_stopped(end) {
            self.run(Some(Duration::from_millis(end.since(self.clock.now()).min(50))));
        }
        self.end_stop();
    }

    /// The first part of [`Self::stop`]: accepts no more and tells all clients. Turns follow until [`Self::is_stopped`], at the latest at
    /// the instant returned.
    pub fn begin_stop(&mut self, drain_ms: u64) -> Time {
        self.kernel.stop_listening();
        let end = self.clock.now().after(drain_ms);
        self.core.borrow_mut().close_all();
        dispatch(&self.core, &self.application, &mut []);
        self.flush();
        end
    }

    /// Whether nothing is left to send, or it is `end`.
    #[must_use]
    pub fn is_stopped(&self, end: Time) -> bool {
        self.core.borrow().is_drained() || self.clock.now() >= end
    }

    /// The last part of [`Self::stop`]: closes what is still open.
    pub fn end_stop(&mut self) {
        self.injector.stop();
        self.jobs.clear();
        self.core.borrow_mut().abandon_connections();
        self.flush();
        let mut hub =
            Hub { core: &self.core, application: &self.application, clock: &self.clock, tls: &mut self.tls, now: None };
        self.kernel.turn(Some(Duration::ZERO), &mut hub);
        self.application.handle_stop();
    }
}

impl<K, A, C> std::fmt::Debug for Turn<K, A, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("executor", &self.executor).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::Hand;
    use crate::epoll::{Epoll, EpollOptions};
    use crate::first_shard::first_shard;
    use crate::mesh::mesh;
    use ringio_core::door::Event;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Silent(Rc<RefCell<Shard>>);

    impl Application for Silent {
        fn handle_event(&self, _: Event, _: &mut [u8]) {}
        fn handle_stop(&self) {}
    }

    fn turn(hand: &Hand) -> (Turn<Epoll, Silent, Hand>, Injector<Silent>) {
        let port = mesh(1, 4).unwrap().pop().unwrap();
        let core = first_shard(1);
        let (injector, executor) = (Injector::new(port.doorbell()), Executor::new(port.doorbell()));
        let kernel = Epoll::new(&EpollOptions::default(), &port).unwrap();
        let application = Silent(Rc::clone(&core));
        (Turn::new(kernel, core, application, port, injector.clone(), executor, hand.clone()), injector)
    }

    /// Found by the simulator: on an idle shard a job's acknowledgements timed out as soon as they were asked for.
    #[test]
    fn a_job_for_an_idle_shard_counts_its_deadlines_from_the_present() {
        let hand = Hand::default();
        let (mut turn, injector) = turn(&hand);
        turn.run(Some(Duration::ZERO));
        hand.0.set(60_000);
        let seen = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&seen);
        let look = move |application: &Silent| {
            told.store(application.0.borrow().unix_time_ms(), Ordering::Relaxed);
        };
        injector.inject(Box::new(look)).unwrap();
        turn.run(Some(Duration::ZERO));
        assert_eq!(seen.load(Ordering::Relaxed), 60_000);
    }

    #[test]
    fn a_flood_of_jobs_is_done_in_order_and_over_several_turns() {
        const JOBS: u64 = 2 * JOBS_PER_TURN as u64 + 10;
        let (mut turn, injector) = turn(&Hand::default());
        let done = Arc::new(AtomicU64::new(0));
        let inject = |from: u64, to: u64| {
            for number in from..to {
                let done = Arc::clone(&done);
                let job = move |_: &Silent| assert_eq!(done.fetch_add(1, Ordering::Relaxed), number);
                injector.inject(Box::new(job)).unwrap();
            }
        };
        inject(0, JOBS);
        let mut after_each_turn = Vec::new();
        while done.load(Ordering::Relaxed) < JOBS + 1 {
            assert_eq!(turn.prepare_wait(None), Some(Duration::ZERO), "it does not wait with jobs left");
            turn.run_after(Some(Duration::ZERO));
            after_each_turn.push(done.load(Ordering::Relaxed));
            if after_each_turn.len() == 1 {
                assert_eq!(
                    turn.prepare_wait(None),
                    Some(Duration::ZERO),
                    "nor with jobs that it has taken and not done"
                );
                inject(JOBS, JOBS + 1); // Behind those.
            }
        }
        let share = JOBS_PER_TURN as u64;
        assert_eq!(after_each_turn, [share, 2 * share, JOBS, JOBS + 1]);
        assert_eq!(turn.prepare_wait(None), None);
    }

    #[test]
    fn jobs_that_are_left_at_the_end_are_dropped_with_the_rest() {
        let (mut turn, injector) = turn(&Hand::default());
        let token = Arc::new(());
        for _ in 0..=JOBS_PER_TURN {
            let held = Arc::clone(&token);
            injector.inject(Box::new(move |_: &Silent| drop(held))).unwrap();
        }
        turn.run(Some(Duration::ZERO));
        assert_eq!(Arc::strong_count(&token), 2);
        turn.end_stop();
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
