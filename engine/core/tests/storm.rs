//! Storms of clients: everybody comes back at once, and everybody is sent away over a time.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::{ConnectionKey, FileId, NamespaceId};
use ringio_core::base::time::Time;
use ringio_core::door::{DisconnectReason, Event, Output};
use ringio_core::gate::Gate;
use ringio_core::limits::{CLOSING_DEADLINE_MS, EVENTS_KEPT_MAX, RETRY_AFTER_S_MAX};
use ringio_core::options::Options;
use ringio_core::shard::Shard;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use world::{Heard, World, polling_url, shard_with, text, upgrade_request};

/// Lets so many in, and counts.
#[derive(Debug)]
struct Counted {
    connections: AtomicU64,
    connections_max: u64,
    sessions: AtomicU64,
    sessions_max: u64,
}

impl Counted {
    fn new(connections_max: u64, sessions_max: u64) -> Arc<Self> {
        let (connections, sessions) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { connections, connections_max, sessions, sessions_max })
    }

    fn counts(&self) -> (u64, u64) {
        (self.connections.load(Ordering::Relaxed), self.sessions.load(Ordering::Relaxed))
    }
}

fn count(counter: &AtomicU64, most: u64) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
}

impl Gate for Counted {
    fn connect(&self, _: Option<IpAddr>) -> bool {
        count(&self.connections, self.connections_max)
    }

    fn disconnect(&self, _: Option<IpAddr>) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn open(&self, _: u64, _: Option<IpAddr>) -> bool {
        count(&self.sessions, self.sessions_max)
    }

    fn close(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_session_too_many_hears_when_to_come_back() {
    let gate = Counted::new(100, 1);
    let mut world = World::new(1, Options::default());
    world.shards[0].set_gate(gate.clone());
    let first = world.polling(0);
    let wire = world.connect(0);
    world.send(wire, &upgrade_request("/socket.io/?EIO=4&transport=websocket"));
    let answer = world.take_text(wire);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let after: u64 = answer.split_once("Retry-After: ").unwrap().1.split_once("\r\n").unwrap().0.parse().unwrap();
    assert!((1..=RETRY_AFTER_S_MAX).contains(&after) && world.is_over(wire));
    assert_eq!(world.get(0, "/socket.io/?EIO=4&transport=polling").0, 503);
    assert_eq!(world.get(0, "/nothing").0, 404, "other requests are answered");
    assert_eq!(world.get(0, "/socket.io/?EIO=3&transport=polling").0, 400, "who is refused anyway takes no place");
    assert_eq!(world.post(0, &polling_url(&first), "1").0, 200);
    world.advance(2_000);
    assert_eq!(gate.counts().1, 0);
    world.polling(0);
    assert_eq!(world.shards[0].counters().sessions_refused, 2);
    world.advance(90_000);
    assert_eq!(gate.counts(), (0, 0), "connections that end give their places back");
}

/// A shard and what its clients' side knows.
struct Storm {
    shard: Shard,
    now: Time,
    keys: BTreeMap<FileId, ConnectionKey>,
    next_file: u32,
    outputs_in_turn: usize,
    events_in_turn: usize,
}

impl Storm {
    /// A client comes; whether it was let in at all.
    fn connect(&mut self) -> bool {
        let address: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        if !self.shard.admits(Some(address)) {
            return false;
        }
        let file = FileId(self.next_file);
        self.next_file += 1;
        let key = self.shard.handle_accepted(self.now, file, Some(address), false);
        self.keys.insert(file, key);
        let mut bytes = upgrade_request("/socket.io/?EIO=4&transport=websocket");
        bytes.extend(text("40"));
        self.shard.handle_received(self.now, key, &mut bytes);
        self.dispatch();
        true
    }

    fn dispatch(&mut self) {
        while let Some(event) = self.shard.poll_event() {
            self.events_in_turn += 1;
            if let Event::ConnectRequested { socket } = event {
                self.shard.accept_socket(socket, NamespaceId(0), &Arc::from("/"));
            }
        }
    }

    /// The end of a turn: what was refused hears its answer, and goes.
    fn turn(&mut self, millis: u64) -> (usize, usize) {
        self.now = self.now.after(millis);
        self.shard.handle_deadlines(self.now);
        self.dispatch();
        while let Some(output) = self.shard.poll_output() {
            self.outputs_in_turn += 1;
            match output {
                Output::Send { file, .. } => {
                    let key = self.keys[&file];
                    self.shard.handle_sent(self.now, key, false);
                }
                Output::ShutdownWrite { file } => {
                    let key = self.keys[&file];
                    self.shard.handle_ended(self.now, key);
                }
                Output::Close { file } => {
                    self.keys.remove(&file).unwrap();
                }
                other => panic!("{other:?}"),
            }
            self.dispatch();
        }
        (std::mem::take(&mut self.outputs_in_turn), std::mem::take(&mut self.events_in_turn))
    }
}

/// 10,000 clients are cut off at once, and 100,000 attempts to come back arrive in two seconds.
#[test]
fn a_storm_of_100_000_reconnects_stays_within_its_bounds() {
    const CONNECTIONS_MAX: u64 = 12_000;
    const SESSIONS_MAX: u64 = 10_000;
    const PER_TURN: usize = 500;
    let gate = Counted::new(CONNECTIONS_MAX, SESSIONS_MAX);
    let mut shard = shard_with(Options::default());
    shard.set_gate(gate.clone());
    let mut storm = Storm { shard, ..Storm::new() };
    for _ in 0..SESSIONS_MAX {
        assert!(storm.connect());
    }
    storm.turn(1);
    assert_eq!(gate.counts(), (SESSIONS_MAX, SESSIONS_MAX));
    let keys: Vec<ConnectionKey> = storm.keys.values().copied().collect();
    for key in keys {
        storm.shard.handle_ended(storm.now, key);
    }
    storm.turn(1);
    assert_eq!((gate.counts(), storm.shard.session_count()), ((0, 0), 0));
    let (mut turned_away, mut attempts) = (0, 0);
    while attempts < 100_000 {
        for _ in 0..PER_TURN {
            attempts += 1;
            turned_away += usize::from(!storm.connect());
        }
        let (outputs, events) = storm.turn(10);
        // Per attempt at most: one send (101 and OPEN together, or 503), a FIN, a close; and one question to the application.
        assert!(outputs <= 3 * PER_TURN, "{outputs} outputs in a turn");
        assert!(events <= PER_TURN, "{events} events in a turn");
        assert!(storm.shard.connection_count() as u64 <= CONNECTIONS_MAX);
        assert!(storm.shard.session_count() as u64 <= SESSIONS_MAX);
        assert!(storm.shard.event_capacity() <= EVENTS_KEPT_MAX, "{}", storm.shard.event_capacity());
    }
    let counters = storm.shard.counters();
    assert_eq!(storm.shard.session_count() as u64, SESSIONS_MAX, "as many as there is room for are back");
    assert_eq!(counters.sessions_refused + counters.connections_refused, 100_000 - SESSIONS_MAX);
    assert_eq!(counters.connections_refused as usize, turned_away);
    assert_eq!(counters.receive_bytes_held, 0);
    // Those who are in are served: the storm has not cost them their session.
    let keys: Vec<ConnectionKey> = storm.keys.values().copied().collect();
    let before = storm.shard.counters().events_received;
    for key in &keys {
        storm.shard.handle_received(storm.now, *key, &mut text("42[\"hello\"]"));
        storm.dispatch();
    }
    assert_eq!(storm.shard.counters().events_received - before, SESSIONS_MAX);
    for key in keys {
        storm.shard.handle_ended(storm.now, key);
    }
    storm.turn(CLOSING_DEADLINE_MS);
    assert!(storm.shard.is_vacant());
    assert_eq!(gate.counts(), (0, 0));
}

#[test]
fn sessions_are_sent_away_in_equal_shares() {
    let mut world = World::new(1, Options::default());
    for _ in 0..100 {
        world.joined(0);
    }
    let left = |world: &World| world.shards[0].session_count();
    world.shards[0].begin_drain(world.now, 1_000);
    world.run();
    let mut counts = vec![left(&world)];
    for _ in 0..9 {
        world.advance(100);
        counts.push(left(&world));
    }
    assert!(counts.windows(2).all(|pair| (8..=11).contains(&(pair[0] - pair[1]))), "{counts:?}");
    assert_eq!(world.get(0, "/socket.io/?EIO=4&transport=polling").0, 503, "nobody comes in");
    world.advance(101);
    assert_eq!(left(&world), 0);
    let told = |heard: &&Heard| matches!(heard, Heard::Disconnected(_, DisconnectReason::ServerShuttingDown, _));
    assert_eq!(world.heard.iter().filter(told).count(), 100);
    world.advance(30_000);
    assert!(world.shards[0].is_vacant(), "no timer is left");
}

impl Storm {
    fn new() -> Self {
        let shard = shard_with(Options::default());
        Self { shard, now: Time::ZERO, keys: BTreeMap::new(), next_file: 0, outputs_in_turn: 0, events_in_turn: 0 }
    }

    /// So many come; their keys.
    fn crowd(&mut self, count: usize) -> Vec<ConnectionKey> {
        let first = FileId(self.next_file);
        assert!((0..count).all(|_| self.connect()));
        self.turn(1);
        self.keys.range(first..).map(|(_, key)| *key).collect()
    }

    /// They go, 200 in a turn of a tenth of a second. How often memory was given back meanwhile.
    fn leave(&mut self, keys: &[ConnectionKey]) -> usize {
        let mut times = 0;
        for some in keys.chunks(200) {
            for key in some {
                self.shard.handle_ended(self.now, *key);
            }
            self.turn(100);
            times += usize::from(self.shard.poll_given_back());
        }
        times
    }
}

/// After a crowd its tables are as small as before, though some who came last stay.
#[test]
fn memory_is_given_back_when_a_crowd_has_gone() {
    let mut storm = Storm::new();
    storm.crowd(100);
    assert!(!storm.shard.poll_given_back(), "nobody has gone");
    let before = storm.shard.reserved_bytes();
    for wave in 0..3 {
        let crowd = storm.crowd(10_000);
        storm.crowd(10);
        assert!(!storm.shard.poll_given_back());
        let peak = storm.shard.reserved_bytes();
        assert!(peak > 20 * before, "{peak} against {before}");
        let mut times = storm.leave(&crowd);
        for _ in 0..6 {
            storm.turn(1_000);
            times += usize::from(storm.shard.poll_given_back());
        }
        assert!((1..=2).contains(&times), "{times} times in wave {wave}: not at every turn");
        let after = storm.shard.reserved_bytes();
        assert!(after < 3 * before, "wave {wave}: {after} against {before}");
    }
}

/// A fifth is away for half a second of every one and a half.
#[test]
fn clients_that_come_and_go_keep_their_memory() {
    let mut storm = Storm::new();
    storm.crowd(4_000);
    let mut crowd = storm.crowd(1_000);
    assert!(!storm.shard.poll_given_back());
    let full = storm.shard.reserved_bytes();
    for _ in 0..8 {
        assert_eq!(storm.leave(&crowd), 0);
        crowd = storm.crowd(1_000);
        for _ in 0..10 {
            storm.turn(100);
            assert!(!storm.shard.poll_given_back());
        }
    }
    assert!(storm.shard.reserved_bytes() >= full);
}
