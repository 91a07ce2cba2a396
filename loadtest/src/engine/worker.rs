//! The loop of a worker: commands, timers, connections due, messages due, then what the sockets have.
//!
//! One `recvmsg` per readable event and at most one `send` per client and turn, one clock reading per event. It sleeps until
//! the next thing is due by a timer descriptor: epoll's own timeout counts whole milliseconds, which would be added
//! to every latency. While all clients are there and only listen and say what is due, it looks at the sockets once in a tick
//! ([`Worker::rest`]): what wakes up for each answer pays more for that than for the answer, and the kernel has kept its time.

mod bookkeeping;
mod connections;
mod messages;
mod settling;

use super::client::{Client, Status};
use super::link::Dialer;
use super::mailbox::WAKE_TOKEN;
use super::receiving::Ledger;
use super::scratch::Scratch;
use super::sending::{Pace, Prepared, Repertoire, Schedule, Spacing, quoted};
use super::stats::Counts;
use super::thinking::Thinking;
use super::verify::Faults;
use super::{Command, Report, Share, Totals};
use crate::clock::{SECOND_NS, now_ns};
use crate::failure::{Class, Failure, Failures};
use crate::plan::{Phase, Plan, Transport};
use crate::protocol::{Config, websocket::Deflater};
use crate::template::Template;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use settling::{SentToGroups, by_sender};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

const EVENT_COUNT: usize = 1024;
/// Of the timer and the mailbox.
const OTHER_EVENTS_MAX: usize = 2;
const TIMER_TOKEN: Token = Token(usize::MAX - 1);
/// The longest sleep while something is watched that no event announces: the end of growing, of draining, of stopping.
const WATCH_NS: u64 = 10_000_000;
/// Messages sent before the sockets are looked at again, however many are due. A worker that is behind sends each client
/// several at once, in one `send`, which is how it catches up.
const BATCH_MAX: usize = 2048;
/// Bytes that may wait for one client before it is passed over: the server is not reading.
const OUTBOX_BYTES_MAX: usize = 8 << 20;
/// How much longer than asked for a nap may be that the timer does not end.
const NAP_GRACE: Duration = Duration::from_millis(1);
/// How often slow checks (who is still connecting, who is silent) are made.
const CHECK_INTERVAL_NS: u64 = 50_000_000;
/// Grace beyond the silence that the server promised.
const HEARTBEAT_GRACE_NS: u64 = SECOND_NS;
/// When nothing has come for so long it is looked whether all messages to groups have.
const QUIET_NS: u64 = 100_000_000;
/// How long after a client has come back messages to its group may pass it by: its server may take a moment to let it in.
const JOIN_NS: u64 = SECOND_NS;
/// How long a goodbye may take.
const LEAVE_NS: u64 = 2 * SECOND_NS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Reconnect,
    LifetimeOver,
    ReadAgain,
    CloseHard,
}

/// One worker.
pub(super) struct Worker<'a> {
    plan: &'a Plan,
    share: Share,
    epoch_ns: u64,
    config: Config,
    dialer: Dialer,
    repertoire: Repertoire,
    setup: Vec<Prepared>,
    auth: Option<Template>,
    poll: Poll,
    timer: TimerFd,
    /// Knows the timer alone: a sleep that no socket disturbs.
    naps: Poll,
    nap_events: Events,
    /// Looks at the sockets find something tick after tick, and all that there is.
    is_busy: bool,
    /// When one last did.
    found_ns: u64,
    /// When the timer will ring. Nanoseconds since the run began.
    armed_ns: u64,
    clients: Vec<Client>,
    /// How many of this worker's clients are to be connected.
    target: u32,
    /// Clients to connect, in turn.
    queue: VecDeque<u32>,
    connect_due_ns: f64,
    schedules: VecDeque<Schedule>,
    senders: Vec<u32>,
    next_sender: usize,
    is_sending: bool,
    timers: BinaryHeap<Reverse<(u64, u32, u32, Timer)>>,
    ledger: Ledger,
    deflater: Deflater,
    scratch: Scratch,
    block: Vec<u8>,
    packet: Vec<u8>,
    dirty: Vec<u32>,
    failures: Failures,
    second_failures: Failures,
    second_index: u64,
    second_cpu_ns: u64,
    reported_faults: Faults,
    ready: u32,
    /// How many were ready when the command to stop came.
    ready_at_end: u32,
    checked_ns: u64,
    is_growing: bool,
    /// Nothing more is sent, and nobody reads slowly.
    is_draining: bool,
    /// Since when it waits for answers, and for what others sent to groups.
    awaited: Option<(u64, SentToGroups)>,
    /// Of each phase with messages the number with which each client began, for each action: those of the first client, then the next.
    firsts: Vec<Vec<u32>>,
    stopping_since: Option<u64>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(plan: &'a Plan, share: Share, epoch_ns: u64, poll: Poll) -> Result<Self, Failure> {
        let broken = |error: String| Failure::new(Class::Exhausted, error);
        let setup = plan.setup.iter().map(|setup| {
            let arguments = Template::parse(&setup.arguments)?;
            Ok(Prepared::of_setup(arguments, quoted(&setup.event)))
        });
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
            .map_err(|error| broken(error.to_string()))?;
        poll.registry()
            .register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER_TOKEN, Interest::READABLE)
            .map_err(|error| broken(error.to_string()))?;
        let naps = Poll::new().map_err(|error| broken(error.to_string()))?;
        naps.registry()
            .register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER_TOKEN, Interest::READABLE)
            .map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            config: Config::new(plan),
            dialer: Dialer::new(plan, share)?,
            repertoire: Repertoire::new(plan).map_err(broken)?,
            setup: setup.collect::<Result<_, String>>().map_err(broken)?,
            auth: plan.auth.as_deref().map(Template::parse).transpose().map_err(broken)?,
            poll,
            timer,
            naps,
            nap_events: Events::with_capacity(1),
            is_busy: false,
            found_ns: 0,
            armed_ns: 0,
            clients: Vec::new(),
            target: 0,
            queue: VecDeque::new(),
            connect_due_ns: 0.0,
            schedules: VecDeque::new(),
            senders: Vec::new(),
            next_sender: 0,
            is_sending: false,
            timers: BinaryHeap::new(),
            ledger: Ledger::new(plan),
            deflater: Deflater::default(),
            scratch: Scratch::new(),
            block: Vec::new(),
            packet: Vec::new(),
            dirty: Vec::new(),
            failures: Failures::default(),
            second_failures: Failures::default(),
            second_index: 0,
            second_cpu_ns: 0,
            reported_faults: Faults::default(),
            ready: 0,
            ready_at_end: 0,
            checked_ns: 0,
            is_growing: false,
            is_draining: false,
            awaited: None,
            firsts: Vec::new(),
            stopping_since: None,
            plan,
            share,
            epoch_ns,
        })
    }

    fn now(&self) -> u64 {
        now_ns().saturating_sub(self.epoch_ns)
    }

    pub(super) fn run(&mut self, commands: &Receiver<Command>, reports: &Sender<Report>) -> Result<(), Failure> {
        let mut events = Events::with_capacity(EVENT_COUNT);
        loop {
            let has_rested = self.rest();
            for command in commands.try_iter() {
                if let Some(report) = self.obey(command)
                    && reports.send(report).is_err()
                {
                    return Ok(());
                }
            }
            let now = self.now();
            self.run_timers(now);
            self.connect_due(now);
            self.send_due(now);
            self.flush_dirty();
            if let Some(report) = self.check(self.now())
                && reports.send(report).is_err()
            {
                return Ok(());
            }
            if self.stopping_since.is_some_and(|since| self.is_gone(since)) {
                break;
            }
            self.wait(&mut events, has_rested)?;
            self.scratch.look_at_the_clock();
            let mut found = 0;
            let received = self.ledger.second.counts.received;
            for event in &events {
                let Token(token) = event.token();
                if event.token() != TIMER_TOKEN && event.token() != WAKE_TOKEN {
                    found += 1;
                    let is_ended = event.is_read_closed() || event.is_error();
                    self.handle_event(token, event.is_readable() || is_ended, event.is_writable(), is_ended);
                }
            }
            self.look_found(found);
            if self.ledger.second.counts.received > received {
                self.ledger.read_ns = self.now();
            }
            self.flush_dirty();
            // Several, if it was held up: who gathers them waits for those of all workers.
            while let Some(second) = self.take_second(false) {
                if reports.send(Report::Second(second)).is_err() {
                    return Ok(());
                }
            }
        }
        if let Some(second) = self.take_second(true) {
            let _ = reports.send(Report::Second(second));
        }
        let totals = Totals {
            phases: self.ledger.take_phases(),
            faults: self.ledger.faults,
            first_fault: self.ledger.first_fault.take(),
            failures: std::mem::take(&mut self.failures),
            ready: self.ready_at_end,
        };
        let _ = reports.send(Report::Done(Box::new(totals)));
        Ok(())
    }

    /// When something is to be done next that no event announces; for ever: `u64::MAX`.
    fn next_due_ns(&self) -> u64 {
        let connect_due = (!self.queue.is_empty() || self.is_churning()).then_some(self.connect_due_ns as u64);
        let timer_due = self.timers.peek().map(|Reverse(timer)| timer.0);
        let send_due = self.schedules.front().and_then(Schedule::next_due_ns);
        [connect_due, timer_due, send_due].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// Waits for events; after a rest only looks.
    fn wait(&mut self, events: &mut Events, has_rested: bool) -> Result<(), Failure> {
        let (now, due) = (self.now(), self.next_due_ns());
        let sleep_ns = if has_rested { 0 } else { due.saturating_sub(now) };
        let longest_ns = if self.is_watching() { WATCH_NS } else { SECOND_NS - now % SECOND_NS };
        let timeout = match sleep_ns {
            0 => Duration::ZERO,
            _ if sleep_ns >= longest_ns => Duration::from_nanos(longest_ns),
            // What woke the worker before the timer rang leaves it set for the same time.
            _ if due == self.armed_ns => Duration::from_nanos(longest_ns),
            _ => {
                self.arm(now, due);
                Duration::from_nanos(longest_ns)
            }
        };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Failure::of_io(&error, true)),
            Ok(()) => Ok(()),
        }
    }

    /// Sets the timer. Without it a sleep is only longer than it should be, which the lag will show.
    fn arm(&mut self, now: u64, due: u64) {
        self.armed_ns = due;
        let expiration = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(due - now)));
        let _ = self.timer.set(expiration, TimerSetTimeFlags::empty());
    }

    /// Whether something is watched that no event announces.
    fn is_watching(&self) -> bool {
        self.is_growing || self.awaited.is_some() || self.stopping_since.is_some()
    }

    /// Whether what the sockets have may wait for the next tick: nobody connects, and nobody has a request to make when it is answered.
    fn may_nap(&self) -> bool {
        self.plan.tick_us > 0
            && self.plan.transport == Transport::Websocket
            && self.ready == self.target
            && !self.is_churning()
            && !self.is_watching()
    }

    /// What arrives now and then is met when it comes; a nap would only be one more thing to wake up from.
    fn look_found(&mut self, count: usize) {
        let now = self.now();
        let is_in_a_row = now - self.found_ns <= 2 * self.plan.tick_us * 1_000;
        self.is_busy = match count {
            0 => self.is_busy && is_in_a_row,
            _ => is_in_a_row && count < EVENT_COUNT - OTHER_EVENTS_MAX,
        };
        if count > 0 {
            self.found_ns = now;
        }
    }

    /// Sleeps until the next tick whatever arrives, if there is no need to be awake before. What is due then goes out before anything is read.
    fn rest(&mut self) -> bool {
        let (now, due) = (self.now(), self.next_due_ns());
        let is_resting = self.is_busy && self.may_nap() && due > now;
        if is_resting {
            let until = due.min(now + self.plan.tick_us * 1_000);
            self.arm(now, until);
            // Interrupted, it is a shorter one.
            let _ = self.naps.poll(&mut self.nap_events, Some(Duration::from_nanos(until - now) + NAP_GRACE));
        }
        is_resting
    }

    fn obey(&mut self, command: Command) -> Option<Report> {
        match command {
            Command::Look => return self.ledger.phases.last().cloned().map(|stats| Report::Looked(Box::new(stats))),
            Command::Grow(count) => {
                self.grow(count);
                self.is_growing = true;
            }
            Command::Phase(phase, start_ns) => self.begin_phase(&phase, start_ns),
            Command::Drain => {
                // What was due is sent, however late: a worker that was held up at the end must not leave it out.
                let now = self.now();
                while self.send_due(now) {}
                self.schedules.clear();
                self.is_draining = true;
                for index in 0..self.clients.len() as u32 {
                    self.read_again(index);
                }
                return Some(Report::Drained(self.sent()));
            }
            Command::Await(sent) => self.awaited = Some((self.now(), by_sender(sent))),
            Command::Settle(sent) => self.settle(&by_sender(sent)),
            Command::Stop => {
                self.stopping_since = Some(self.now());
                self.ready_at_end = self.ready;
                self.queue.clear();
                self.schedules.clear();
                for index in 0..self.clients.len() as u32 {
                    self.leave(index);
                }
            }
        }
        None
    }

    /// Has as many clients as this worker's share of `count`; those that failed are tried again.
    fn grow(&mut self, count: u32) {
        let sender_count = if self.plan.has_group_actions() { self.plan.senders_per_group as usize } else { 0 };
        self.target = self.share.count_below(count);
        self.connect_due_ns = self.connect_due_ns.max(self.now() as f64);
        while self.clients.len() < self.target as usize {
            let global = self.share.global(self.clients.len() as u32);
            let ticket = f64::from(global.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
            let is_slow = ticket < self.plan.slow_share && !(self.plan.is_sender(global) && self.plan.group_size > 1);
            self.clients.push(Client::new(self.plan.actions.len(), sender_count, is_slow));
        }
        // Those that failed get another chance, or a repeated step of a search would miss them, and each step after it.
        for client in &mut self.clients[..self.target as usize] {
            if client.status == Status::Failed {
                client.rest();
            }
        }
        self.queue = (0..self.target).filter(|local| self.clients[*local as usize].status == Status::Idle).collect();
        for local in self.target..self.clients.len() as u32 {
            self.leave(local);
        }
        let (share, plan) = (self.share, self.plan);
        self.senders = (0..self.target).filter(|local| plan.is_sender(share.global(*local))).collect();
    }

    fn begin_phase(&mut self, phase: &Phase, start_ns: u64) {
        self.ledger.begin_phase(start_ns, start_ns + phase.duration_ms * 1_000_000);
        if self.share.count_below(phase.clients) != self.target {
            self.grow(phase.clients);
        }
        let share = self.senders.len() as f64 / f64::from(self.plan.senders(phase.clients).max(1));
        let offset = f64::from(self.share.worker) / f64::from(self.share.workers);
        if !self.plan.actions.is_empty() {
            let spacing = Spacing { poisson: self.plan.poisson, tick_us: self.plan.tick_us };
            self.schedules.push_back(match phase.think {
                None => Schedule::Pace(Pace::new(phase, start_ns, share, offset, spacing)),
                Some(think) => {
                    Schedule::Thinking(Thinking::new(think, phase, start_ns, spacing.tick_us, &self.senders))
                }
            });
            if self.schedules.len() == 1 {
                self.begin_sending();
            }
            self.is_sending |= phase.rate.max(phase.rate_end) > 0.0;
        }
        if phase.storm_share > 0.0 {
            for index in 0..self.clients.len() as u32 {
                if self.clients[index as usize].status == Status::Ready && fastrand::f64() < phase.storm_share {
                    self.lose(index);
                    self.wait_to_reconnect(index, self.plan.reconnection.unwrap_or_default());
                }
            }
        }
    }

    fn is_churning(&self) -> bool {
        self.plan.lifetime_ms.is_some() && self.target > 0 && self.stopping_since.is_none()
    }

    fn count(&mut self, apply: impl Fn(&mut Counts)) {
        apply(&mut self.ledger.second.counts);
        let now = self.now();
        apply(&mut self.ledger.phase_at(now).counts);
    }
}
