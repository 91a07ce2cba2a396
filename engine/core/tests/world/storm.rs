//! One shard and very many clients, whose side of it is as small as may be: for storms of reconnects, and for crowds that come and go.

use super::{shard_with, text, upgrade_request};
use ringio_core::base::id::{ConnectionKey, FileId, NamespaceId};
use ringio_core::base::time::Time;
use ringio_core::door::{Event, Output};
use ringio_core::gate::Gate;
use ringio_core::limits::{CLOSING_DEADLINE_MS, EVENTS_KEPT_MAX};
use ringio_core::options::Options;
use ringio_core::shard::Shard;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Budgets of a storm of reconnects.
pub const CONNECTIONS_MAX: u64 = 12_000;
pub const SESSIONS_MAX: u64 = 10_000;
/// Attempts in a turn of ten milliseconds.
pub const PER_TURN: usize = 500;

/// A shard and what its clients' side knows.
pub struct Storm {
    pub shard: Shard,
    pub now: Time,
    pub keys: BTreeMap<FileId, ConnectionKey>,
    /// Clients have so many addresses, and come from one after the other.
    pub addresses: u32,
    next_file: u32,
    outputs_in_turn: usize,
    events_in_turn: usize,
}

impl Storm {
    pub fn new() -> Self {
        Self {
            shard: shard_with(Options::default()),
            now: Time::ZERO,
            keys: BTreeMap::new(),
            addresses: 1,
            next_file: 0,
            outputs_in_turn: 0,
            events_in_turn: 0,
        }
    }

    /// A client comes; whether it was let in at all.
    pub fn connect(&mut self) -> bool {
        let address = Ipv4Addr::from_bits(0x0a00_0001 + self.next_file % self.addresses);
        let address = SocketAddr::from((address, 4_000));
        self.next_file += 1;
        if !self.shard.admits(Some(address)) {
            return false;
        }
        let file = FileId(self.next_file);
        let key = self.shard.handle_accepted(self.now, file, Some(address), false);
        self.keys.insert(file, key);
        let mut bytes = upgrade_request("/socket.io/?EIO=4&transport=websocket");
        bytes.extend(text("40"));
        self.shard.handle_received(self.now, key, &mut bytes);
        self.dispatch();
        true
    }

    pub fn dispatch(&mut self) {
        while let Some(event) = self.shard.poll_event() {
            self.events_in_turn += 1;
            if let Event::ConnectRequested { socket } = event {
                self.shard.accept_socket(socket, NamespaceId(0), &Arc::from("/"));
            }
        }
    }

    /// The end of a turn: what was refused hears its answer, and goes. Outputs and events of the turn.
    pub fn turn(&mut self, millis: u64) -> (usize, usize) {
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

    /// Those who are there; each is cut off.
    pub fn cut_off_all(&mut self) {
        let keys: Vec<ConnectionKey> = self.keys.values().copied().collect();
        for key in keys {
            self.shard.handle_ended(self.now, key);
        }
    }

    /// So many come; their keys.
    pub fn crowd(&mut self, count: usize) -> Vec<ConnectionKey> {
        let first = FileId(self.next_file + 1);
        assert!((0..count).all(|_| self.connect()));
        self.turn(1);
        self.keys.range(first..).map(|(_, key)| *key).collect()
    }

    /// They go, 200 in a turn of a tenth of a second. How often memory was given back meanwhile.
    pub fn leave(&mut self, keys: &[ConnectionKey]) -> usize {
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

/// `SESSIONS_MAX` clients of so many addresses are cut off at once, and 100,000 attempts to come back arrive in two seconds. The gate lets
/// `CONNECTIONS_MAX` and `SESSIONS_MAX` in, `open_per_turn` of them in a turn. At the end everybody has gone.
pub fn of_reconnects(gate: Arc<dyn Gate>, addresses: u32, open_per_turn: usize) -> Storm {
    let mut storm = Storm { addresses, ..Storm::new() };
    storm.shard.set_gate(gate);
    for _ in 0..SESSIONS_MAX {
        assert!(storm.connect());
    }
    storm.turn(1);
    assert_eq!((storm.shard.session_count() as u64, storm.keys.len() as u64), (SESSIONS_MAX, SESSIONS_MAX));
    storm.cut_off_all();
    storm.turn(1);
    assert_eq!((storm.shard.session_count(), storm.keys.len()), (0, 0));
    let (mut turned_away, mut attempts) = (0, 0);
    while attempts < 100_000 {
        let before = storm.shard.session_count();
        for _ in 0..PER_TURN {
            attempts += 1;
            turned_away += usize::from(!storm.connect());
        }
        let opened = storm.shard.session_count() - before;
        assert!(opened <= open_per_turn, "{opened} sessions opened in a turn");
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
    for key in keys {
        storm.shard.handle_received(storm.now, key, &mut text("42[\"hello\"]"));
        storm.dispatch();
    }
    assert_eq!(storm.shard.counters().events_received - before, SESSIONS_MAX);
    storm.cut_off_all();
    storm.turn(CLOSING_DEADLINE_MS);
    storm
}
