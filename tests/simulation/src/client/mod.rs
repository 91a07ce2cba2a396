//! Clients: polite ones that nothing may happen to, slow, flaky, rude and silent ones.
//!
//! ```text
//!   Away --think--> open by polling or WebSocket --> sockets --> events, acks, upgrade --> lost, or left --> Away ...
//! ```
//! | temper | what it does |
//! |---|---|
//! | polite | everything as the official clients do; whatever goes wrong is the server's fault |
//! | slow | reads a few bytes at a time |
//! | flaky | its connections are reset at any moment; comes back, and recovers if it may |
//! | rude | breaks every rule, answers twice, overlaps requests, never fetches what it asked for |
//! | greedy | asks for more than it may have: a head without end, a namespace more than a session may have, more questions than it may owe answers to |
//! | silent | says nothing any more, does not read, never closes: only deadlines get rid of it |

mod greed;
mod packets;
mod rudeness;
mod transport;
pub mod wire;

use crate::application::Common;
use crate::chance::Chance;
use crate::clock::Micros;
use crate::kernel::SharedKernel;
use crate::trace::note;
use packets::Packets;
use std::rc::Rc;
use transport::Transport;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// As it should.
    Polite,
    /// Reads slowly.
    Slow,
    /// Is cut off now and then.
    Flaky,
    /// Breaks rules.
    Rude,
    /// Falls silent.
    Silent,
    /// Wants more than it may have; in greedy stories only.
    Greedy,
}

/// What clients of a story have in common.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Percent that begin with polling.
    pub polling_percent: u32,
    /// Percent of those that upgrade.
    pub upgrade_percent: u32,
    /// Bytes of the server's send buffer, at least and at most.
    pub down_room: (u64, u64),
    /// Longest way of a segment. Microseconds.
    pub delay_max: Micros,
    /// Whether nobody but the application may end a polite client.
    pub is_trusted: bool,
    /// Whether to come back to the former socket.
    pub recovers: bool,
    /// Whether flaky clients that come back are cut off again within these microseconds, half of the time.
    pub relapse: Option<Micros>,
    /// Servers to choose from for each session; it stays with the one.
    pub server_count: usize,
}

/// One client.
pub struct Client {
    number: usize,
    /// Counts its sessions.
    session: usize,
    /// Where its session is.
    server: usize,
    temper: Temper,
    habits: Habits,
    kernel: SharedKernel,
    common: Rc<Common>,
    chance: Chance,
    transport: Option<Transport>,
    packets: Packets,
    wakes_at: Option<Micros>,
    reads_at: Micros,
    is_silent: bool,
    /// Is cut off at its next thought.
    is_doomed: bool,
    /// Begins nothing any more.
    is_settling: bool,
}

impl Client {
    /// A client that begins at some moment soon.
    pub fn new(
        number: usize,
        temper: Temper,
        habits: Habits,
        kernel: SharedKernel,
        common: Rc<Common>,
        mut chance: Chance,
    ) -> Self {
        let wakes_at = Some(chance.between(0, 300_000));
        Self {
            number,
            session: 0,
            server: 0,
            temper,
            habits,
            kernel,
            common,
            chance,
            transport: None,
            packets: Packets::default(),
            wakes_at,
            reads_at: 0,
            is_silent: false,
            is_doomed: false,
            is_settling: false,
        }
    }

    /// What it calls its session in the request head.
    fn session_number(&self) -> usize {
        self.number * 10_000 + self.session
    }

    fn now(&self) -> Micros {
        self.common.clock.micros()
    }

    /// Whether there is something for it to do.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let now = self.now();
        if self.wakes_at.is_some_and(|at| at <= now) {
            return true;
        }
        !self.is_silent
            && self.reads_at <= now
            && self.transport.as_ref().is_some_and(|transport| transport.has_news(&self.kernel.borrow().network, now))
    }

    /// When it does something of its own accord.
    #[must_use]
    pub fn next_at(&self) -> Option<Micros> {
        let now = self.now();
        let reads_at = Some(self.reads_at).filter(|at| *at > now && self.transport.is_some() && !self.is_silent);
        self.wakes_at.filter(|at| *at > now).into_iter().chain(reads_at).min()
    }

    /// Reads, thinks, sends.
    pub fn run(&mut self) {
        let now = self.now();
        if !self.is_silent && self.reads_at <= now {
            self.read();
        }
        if self.wakes_at.is_some_and(|at| at <= now) {
            self.wakes_at = Some(now + self.chance.between(1_000, 120_000));
            self.think();
        }
        if !self.is_silent {
            self.flush();
        }
    }

    fn think(&mut self) {
        if self.transport.is_none() {
            if !self.is_settling {
                self.open();
            } else {
                self.wakes_at = None;
            }
            return;
        }
        if self.is_silent {
            return;
        }
        if std::mem::take(&mut self.is_doomed) {
            return self.cut_off();
        }
        for (delayed, text) in std::mem::take(&mut self.packets.delayed) {
            note!("client {}: answers late", self.number);
            self.packets.outgoing.push(packets::Outgoing::Text(text));
            debug_assert!(delayed <= self.now());
        }
        if self.is_settling {
            return;
        }
        if self.temper == Temper::Greedy && self.chance.one_in(5) {
            return self.be_greedy();
        }
        match self.chance.below(100) {
            0..60 => self.say(),
            60..66 => self.join_or_leave_namespace(),
            66..78 => self.begin_upgrade(),
            78..80 => self.part(),
            80..88 => match self.temper {
                Temper::Flaky => self.cut_off(),
                Temper::Rude => self.be_rude(),
                Temper::Silent => self.fall_silent(),
                Temper::Polite | Temper::Slow | Temper::Greedy => self.say(),
            },
            _ => {}
        }
    }

    fn open(&mut self) {
        if self.habits.server_count > 1 {
            self.server = self.chance.below(self.habits.server_count);
        }
        if self.temper == Temper::Rude && self.chance.one_in(4) {
            return self.knock_rudely();
        }
        let is_polling = self.chance.percent(self.habits.polling_percent);
        note!("client {}: opens by {}", self.number, if is_polling { "polling" } else { "WebSocket" });
        self.packets.begin();
        self.session += 1;
        self.transport = Some(Transport::new());
        if self.temper == Temper::Polite && self.habits.is_trusted {
            self.common.oracle.borrow_mut().trust(self.session_number());
        }
        if self.temper == Temper::Rude {
            self.common.oracle.borrow_mut().beware(self.session_number());
        }
        if is_polling {
            self.get();
        } else {
            self.open_websocket("");
        }
    }

    /// Leaves as the protocol wants it: says so, and closes.
    fn part(&mut self) {
        note!("client {}: parts", self.number);
        self.distrust();
        self.say_goodbye();
        self.lose();
    }

    /// It comes back, and perhaps not for long.
    fn relapse(&mut self) {
        let Some(within) = self.habits.relapse.filter(|_| self.temper == Temper::Flaky) else { return };
        if !self.is_settling && self.chance.one_in(2) {
            self.is_doomed = true;
            self.wakes_at = Some(self.now() + self.chance.between(0, within));
        }
    }

    /// Its connections break.
    fn cut_off(&mut self) {
        note!("client {}: is cut off", self.number);
        let now = self.now();
        if let Some(transport) = &self.transport {
            for wire in transport.wires() {
                self.kernel.borrow_mut().network.client_reset(now, wire);
            }
        }
        self.lose();
    }

    fn fall_silent(&mut self) {
        note!("client {}: falls silent", self.number);
        self.distrust();
        self.is_silent = true;
        self.wakes_at = None;
    }

    fn distrust(&mut self) {
        self.common.oracle.borrow_mut().distrust(self.session_number());
    }

    /// The session is over, whoever ended it.
    fn lose(&mut self) {
        let now = self.now();
        if let Some(transport) = self.transport.take() {
            for wire in transport.wires() {
                self.kernel.borrow_mut().network.client_close(now, wire);
            }
        }
        self.distrust();
        self.packets.end(self.habits.recovers);
        self.is_doomed = false;
        self.wakes_at = Some(now + self.chance.between(1_000, 200_000));
    }

    /// The server, or the network, has ended the session: `why` in words.
    fn lose_because(&mut self, why: &str) {
        note!("client {}: lost its session: {why}", self.number);
        let session = self.session_number();
        let is_there = self.common.oracle.borrow().joined().any(|(_, member)| member.client == session);
        let is_wronged = self.temper == Temper::Polite && self.habits.is_trusted && is_there;
        assert!(!is_wronged, "violation: client {} is polite and lost its session: {why}", self.number);
        self.lose();
    }

    // ---- the end of a story

    /// Begins nothing new; reads and answers on.
    pub fn settle(&mut self) {
        self.is_settling = true;
    }

    /// The ids of its sockets, if nothing stands against everything owed to them being here by now.
    #[must_use]
    pub fn settled_sids(&self) -> Vec<String> {
        let is_sound = self.temper == Temper::Polite && self.habits.is_trusted && self.transport.is_some();
        if !is_sound {
            return Vec::new();
        }
        self.packets.check_answered(self.number);
        self.packets.connected_sids()
    }

    /// Goes, in one way or another; some stay as dead weight.
    pub fn leave(&mut self) {
        self.is_settling = true;
        if self.transport.is_none() {
            self.wakes_at = None;
            return;
        }
        match self.chance.below(4) {
            0 => self.fall_silent(),
            1 => self.cut_off(),
            _ if !self.is_silent => self.part(),
            _ => {}
        }
        self.wakes_at = None;
    }

    /// The world ends: what is still open is closed.
    pub fn die(&mut self) {
        self.distrust();
        self.is_silent = true;
        self.wakes_at = None;
        if let Some(transport) = self.transport.take() {
            let now = self.now();
            for wire in transport.wires() {
                self.kernel.borrow_mut().network.client_reset(now, wire);
            }
        }
    }
}
