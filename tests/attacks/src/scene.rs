//! Where an attack is played: a server, its neighbours, what was sent and heard, and what was found.

use crate::line::Reply;
use crate::neighbours::Neighbours;
use crate::server::{Running, Target};
use ringio_tests::wire::{PATIENCE, Stream};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Answers that each neighbour must get while an attack is held.
const ANSWERS_WHILE_HELD: u64 = 10;

/// Most CPU time that the server may use while a neighbour waits for one answer: beyond it the attack delays others.
pub const WAIT_MAX: Duration = Duration::from_millis(250);

/// What memory an attack may make a server hold: `bytes`, and `per_byte` for each byte that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Whatever was sent: noise of the allocator, one message of the largest size and its copies.
    pub bytes: u64,
    /// For each byte sent.
    pub per_byte: u64,
}

impl Default for Bound {
    fn default() -> Self {
        Self { bytes: 8 << 20, per_byte: 4 }
    }
}

/// What was not as it must be.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Another reply than the attack states: maybe a different opinion, no harm by itself.
    Difference(String),
    /// Somebody else paid for the attack, or would.
    Harm(String),
    /// The attack was not played, or not to its end: what it looks for may be there all the same.
    Unplayed(String),
}

/// One attack on one server.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Whose server it is.
    pub target: Target,
    /// Where it listens.
    pub address: SocketAddr,
    /// How long an attacker waits for a deadline that the server promises.
    pub patience: Duration,
    /// Whether the short form is wanted.
    pub is_quick: bool,
    server: &'a Running,
    neighbours: &'a Neighbours,
    sent_bytes: Arc<AtomicU64>,
    resident_before: u64,
    held: u64,
    /// The most that was held beyond a bound, and what had been sent then.
    excess: (u64, u64),
    replies: BTreeMap<Reply, u64>,
    notes: Vec<String>,
    findings: Vec<Finding>,
}

/// What a scene has seen at its end.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Bytes sent.
    pub sent: u64,
    /// Most memory held beyond what the server had before. Bytes.
    pub held: u64,
    /// What came back, and how often.
    pub outcome: String,
    /// What was not as it must be.
    pub findings: Vec<Finding>,
}

impl<'a> Scene<'a> {
    /// A server at rest.
    pub fn new(target: Target, server: &'a Running, neighbours: &'a Neighbours, is_quick: bool) -> Self {
        let patience = if target == Target::Weak { Duration::from_secs(2) } else { Duration::from_secs(100) };
        Self {
            target,
            address: server.address,
            patience,
            is_quick,
            server,
            neighbours,
            sent_bytes: Arc::default(),
            resident_before: server.resident_bytes(),
            held: 0,
            excess: (0, 0),
            replies: BTreeMap::new(),
            notes: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// `whole` of something, or a tenth of it in the short form.
    #[must_use]
    pub fn many(&self, whole: usize) -> usize {
        if self.is_quick { whole.div_ceil(10) } else { whole }
    }

    /// A connection whose bytes count.
    pub fn connect(&self) -> io::Result<Stream> {
        self.with_patience(Stream::connect(self.address, Arc::clone(&self.sent_bytes))?)
    }

    /// The same from another address of this machine, 127.0.0.`last`: neighbours have the first.
    pub fn connect_from(&self, last: u8) -> io::Result<Stream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0)).into())?;
        socket.connect_timeout(&self.address.into(), PATIENCE)?;
        self.with_patience(Stream::over(socket.into(), Arc::clone(&self.sent_bytes))?)
    }

    fn with_patience(&self, stream: Stream) -> io::Result<Stream> {
        // A server that says nothing for so long leaves the attacker alone; neighbours have more patience.
        let patience = Duration::from_millis(match self.target {
            Target::Uring | Target::Epoll => 20_000,
            Target::Node | Target::Socketioxide => 6_000,
            Target::Weak => 400,
        });
        stream.socket().set_read_timeout(Some(patience))?;
        stream.socket().set_write_timeout(Some(patience))?;
        Ok(stream)
    }

    /// Notes bytes that were sent by other means.
    pub fn count_sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// CPU time of the server so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.server.cpu()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// States what must come back.
    pub fn expect(&mut self, what: &str, reply: Reply, allowed: &[Reply]) {
        if !allowed.contains(&reply) {
            let allowed: Vec<String> = allowed.iter().map(Reply::to_string).collect();
            self.differs(format!("{what}: {reply} instead of {}", allowed.join(" or ")));
        }
        *self.replies.entry(reply).or_insert(0) += 1;
    }

    /// Notes what came back; nothing is stated about it.
    pub fn hear(&mut self, reply: Reply) {
        *self.replies.entry(reply).or_insert(0) += 1;
    }

    /// A connection that must end, by itself, before patience does: the server promises a deadline.
    pub fn expect_deadline(&mut self, what: &str, reply: &Reply, since: Instant) {
        if *reply == Reply::Silence {
            let patience = self.patience.as_secs();
            self.harm(format!("{what}: no deadline within {patience} s"));
        } else {
            self.note(format!("{what}: {reply} after {} s", since.elapsed().as_secs()));
        }
    }

    /// Sends `piece` again and again until the server ends the connection, which it must: at most 16 KiB a millisecond, and no
    /// longer than patience lasts. What it reads meanwhile to let the attacker hear its refusal, it must not keep.
    pub fn send_without_end(&mut self, what: &str, stream: &mut Stream, piece: &[u8]) {
        let (since, before) = (Instant::now(), self.sent());
        let is_ended = loop {
            if stream.send(piece).is_err() {
                break true;
            }
            if since.elapsed() > self.patience || self.sent() - before > 512 << 20 {
                break false;
            }
            std::thread::sleep(Duration::from_micros((1_000 * piece.len() as u64) >> 14));
        };
        let sent = (self.sent() - before) >> 10;
        self.must(is_ended, format!("{what}: taken without end, {sent} KiB"));
        self.note(format!("{what}: ended after {sent} KiB"));
    }

    /// Sends as fast as the server takes it until it ends the connection or takes no more; more than `bytes_max` it must not take.
    pub fn flood(&mut self, what: &str, stream: &mut Stream, bytes_max: u64) {
        let before = self.sent();
        let piece = [b'a'; 64 << 10];
        while self.sent() - before <= bytes_max && stream.send(&piece).is_ok() {}
        let sent = (self.sent() - before) >> 10;
        self.must(sent <= bytes_max >> 10, format!("{what}: {sent} KiB are taken for nothing"));
        self.note(format!("{what}: {sent} KiB"));
    }

    /// Something for the table that is no reply.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// States what must be.
    pub fn must(&mut self, is_so: bool, what: impl Into<String>) {
        if !is_so {
            self.harm(what);
        }
    }

    /// Another reply than stated.
    pub fn differs(&mut self, what: impl Into<String>) {
        self.findings.push(Finding::Difference(what.into()));
    }

    /// The attack could not go on, or not as it should; the same reason is told once.
    pub fn stops(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.findings.iter().any(|finding| matches!(finding, Finding::Unplayed(told) if *told == why)) {
            self.findings.push(Finding::Unplayed(why));
        }
    }

    /// Somebody pays for the attack.
    pub fn harm(&mut self, what: impl Into<String>) {
        self.findings.push(Finding::Harm(what.into()));
    }

    /// The attack is at its height: neighbours must get answers, and memory is within the bound. Returns what is held.
    pub fn hold(&mut self, bound: Bound) -> u64 {
        self.neighbours_go_on();
        let resident = self.server.resident_bytes();
        let held = resident.saturating_sub(self.resident_before);
        self.held = self.held.max(held);
        let allowed = bound.bytes.saturating_add(bound.per_byte * self.sent());
        if held > allowed && held > self.excess.0 {
            self.excess = (held, self.sent());
        }
        held
    }

    /// Neighbours are answered while the attack goes on.
    pub fn neighbours_go_on(&mut self) {
        // What they noticed is told once, at the end.
        let _ = self.neighbours.advance(ANSWERS_WHILE_HELD);
    }

    /// Memory does not grow from wave to wave: what comes on top of the wave before the last is within `slack` bytes.
    pub fn must_not_grow(&mut self, what: &str, waves: &[u64], slack: u64) {
        if let [.., before, last] = *waves {
            let grown = last.saturating_sub(before);
            self.must(grown <= slack, format!("{what}: {} KiB more with every wave", grown >> 10));
        }
        let waves: Vec<String> = waves.iter().map(|bytes| (bytes >> 10).to_string()).collect();
        self.note(format!("KiB after each wave: {}", waves.join(", ")));
    }

    /// CPU time per round of `attack`, for an input of `size` and one eight times as large: it must not cost the square.
    pub fn must_be_linear(
        &mut self,
        what: &str,
        size: usize,
        rounds: usize,
        mut attack: impl FnMut(&mut Self, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut costs = [Duration::ZERO; 2];
        for (cost, size) in costs.iter_mut().zip([size, size * 8]) {
            attack(self, size)?; // warms up
            let before = self.cpu();
            for _ in 0..rounds {
                attack(self, size)?;
            }
            *cost = self.cpu().saturating_sub(before);
        }
        let factor = costs[1].as_secs_f64() / costs[0].as_secs_f64().max(1e-6);
        self.must(factor < 24.0, format!("{what}: 8 times the length cost {factor:.0} times the CPU"));
        self.note(format!("8x length = {factor:.1}x CPU"));
        Ok(())
    }

    /// What was seen.
    #[must_use]
    pub fn finish(mut self) -> Seen {
        let (held, sent) = self.excess;
        self.must(held == 0, format!("holds {} KiB after {} KiB were sent", held >> 10, sent >> 10));
        let mut outcome: Vec<String> = Vec::new();
        for (reply, count) in &self.replies {
            outcome.push(if *count == 1 { reply.to_string() } else { format!("{reply} x{count}") });
        }
        outcome.extend(self.notes);
        Seen {
            sent: self.sent_bytes.load(Ordering::Relaxed),
            held: self.held,
            outcome: outcome.join(", "),
            findings: self.findings,
        }
    }
}
