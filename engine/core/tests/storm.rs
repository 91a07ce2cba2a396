//! Storms of clients: everybody comes back at once, and everybody is sent away over a time.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::door::DisconnectReason;
use ringio_core::gate::Gate;
use ringio_core::limits::{DRAIN_STEP_MS, RETRY_AFTER_S_MAX};
use ringio_core::options::Options;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use world::storm::{self, CONNECTIONS_MAX, PER_TURN, SESSIONS_MAX, Storm};
use world::{Heard, World, polling_url, upgrade_request};

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

#[test]
fn a_storm_of_100_000_reconnects_stays_within_its_bounds() {
    let gate = Counted::new(CONNECTIONS_MAX, SESSIONS_MAX);
    let storm = storm::of_reconnects(gate.clone(), 1, PER_TURN);
    assert_eq!(gate.counts(), (0, 0));
    assert!(storm.shard.is_vacant());
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
    assert_eq!(counts, [100, 90, 80, 70, 60, 50, 40, 30, 20, 10]);
    assert_eq!(world.get(0, "/socket.io/?EIO=4&transport=polling").0, 503, "nobody comes in");
    world.advance(100);
    assert_eq!(left(&world), 0);
    let told = |heard: &&Heard| matches!(heard, Heard::Disconnected(_, DisconnectReason::ServerShuttingDown, _));
    assert_eq!(world.heard.iter().filter(told).count(), 100);
    world.advance(30_000);
    assert!(world.shards[0].is_vacant(), "no timer is left");
}

/// So many leave a world of two shards over this time: in which millisecond of it each shard's went, and how many.
fn drained(seed: u8, clients: usize, spread_ms: u64) -> [Vec<(u64, usize)>; 2] {
    let mut world = World::seeded(seed, 2, Options::default(), Vec::new());
    for _ in 0..clients {
        world.joined(0);
        world.joined(1);
    }
    let now = world.now;
    world.shards.iter_mut().for_each(|shard| shard.begin_drain(now, spread_ms));
    world.run();
    let mut went = [Vec::new(), Vec::new()];
    let mut before = [clients; 2];
    for millis in 0..=spread_ms {
        for shard in 0..2 {
            let left = world.shards[shard].session_count();
            if left < before[shard] {
                went[shard].push((millis, before[shard] - left));
            }
            before[shard] = left;
        }
        world.advance(1);
    }
    assert_eq!(before, [0, 0], "{went:?}");
    went
}

#[test]
fn the_moment_of_each_share_is_drawn_within_its_step() {
    let mut within: BTreeSet<u64> = BTreeSet::new();
    for seed in 1..=4 {
        let went = drained(seed, 100, 1_000);
        for shares in &went {
            assert_eq!(shares.len(), 10, "{shares:?}");
            for (step, (millis, count)) in shares.iter().enumerate() {
                assert_eq!((millis / DRAIN_STEP_MS, *count), (step as u64, 10), "{shares:?}");
                within.insert(millis % DRAIN_STEP_MS);
            }
        }
        assert_ne!(went[0], went[1], "two shards do not keep step");
        assert_eq!(went, drained(seed, 100, 1_000), "a seed decides it");
    }
    assert!(within.len() > 40, "80 draws of 100: {within:?}");
    assert!(*within.first().unwrap() < 20 && *within.last().unwrap() >= 80, "{within:?}");
    // What does not divide: a share more or less, and few clients leave over the whole time and not in its first steps.
    for shares in drained(5, 105, 1_000) {
        assert!(shares.iter().all(|(_, count)| (10..=11).contains(count)), "{shares:?}");
    }
    let last =
        [drained(6, 5, 10_000), drained(7, 5, 10_000)].iter().flatten().map(|shares| shares.last().unwrap().0).max();
    assert!(last.unwrap() > 2_000, "{last:?}");
    // A time that is no multiple of a step, one shorter than a step, and none.
    for spread_ms in [250, 7, 0] {
        for shares in drained(8, 30, spread_ms) {
            let steps = spread_ms.div_ceil(DRAIN_STEP_MS).max(1);
            assert_eq!((shares.len() as u64, shares[0].1), (steps, 30 / steps as usize), "{shares:?}");
        }
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
