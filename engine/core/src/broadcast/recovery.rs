//! Connection state recovery: a log of recent packets, and what is kept of sockets that may come back.
//!
//! ```text
//!   origin shard   numbers its packets 1, 2, 3 ..              offset = number * shards + origin, in decimal
//!   every shard    logs what it delivers, in the order it delivers
//!   home shard     keeps a socket that has left: sid, rooms, application data
//! ```
//! A client comes back with its private id and the last offset it saw, to any shard. Its home answers with the packets
//! it missed and with how far the home has heard each shard ([`Horizon`]). The shard where it is now adds what its own
//! log holds beyond that horizon, and until it has itself heard as much, holds back from this socket what lies within:
//! each packet arrives exactly once, whatever the messages between the shards overtook.
//!
//! Bounds: packets and bytes of the log, age of both. What was pushed out of the log cannot be recovered: the client
//! gets a new socket then, as after a too long absence.
//! Source: socket.io-adapter 2.5, `SessionAwareAdapter`; the wire format is its own.

use crate::base::frame::Encoded;
use crate::base::id::{NamespaceId, ShardIndex};
use crate::base::seed::Sid;
use crate::base::time::Time;
use crate::options::RecoveryOptions;
use crate::room::select::Target;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// The place of a packet in its origin's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The shard that made it.
    pub origin: ShardIndex,
    /// Counts from 1.
    pub number: u64,
}

impl Offset {
    /// What the client is told, and tells again.
    #[must_use]
    pub const fn to_wire(self, shard_count: u16) -> u64 {
        self.number * shard_count as u64 + self.origin.0 as u64
    }

    /// Reads what a client tells.
    #[must_use]
    pub fn from_wire(text: &str, shard_count: u16) -> Option<Self> {
        let is_plain = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        let wire: u64 = is_plain.then(|| text.parse().ok())??;
        let origin = u16::try_from(wire % u64::from(shard_count)).ok()?;
        Some(Self { origin: ShardIndex(origin), number: wire / u64::from(shard_count) })
    }
}

/// The highest number heard from each shard.
pub type Horizon = Box<[u64]>;

/// A delivered packet.
#[derive(Clone, Debug)]
struct Entry {
    offset: Offset,
    at: Time,
    namespace: NamespaceId,
    target: Target,
    packet: Arc<Encoded>,
    /// Sent to one socket of this shard: no other shard hears of it.
    is_direct: bool,
}

/// What one shard has delivered lately.
#[derive(Debug)]
pub struct Log {
    options: RecoveryOptions,
    entries: VecDeque<Entry>,
    bytes: usize,
    heard: Vec<u64>,
}

impl Log {
    /// An empty log of a shard that hears `shard_count` shards, itself included.
    #[must_use]
    pub fn new(options: RecoveryOptions, shard_count: u16) -> Self {
        let heard = alloc::vec![0; usize::from(shard_count)];
        Self { options, entries: VecDeque::new(), bytes: 0, heard }
    }

    /// Notes a delivered packet and forgets what is too old or too much.
    pub fn push(&mut self, now: Time, offset: Offset, namespace: NamespaceId, target: Target, packet: Arc<Encoded>) {
        self.note_heard(offset);
        self.bytes += packet.bytes.len();
        self.entries.push_back(Entry { offset, at: now, namespace, target, packet, is_direct: false });
        while self.entries.len() > self.options.packets_max || self.bytes > self.options.bytes_max {
            self.pop();
        }
        self.forget_old(now);
    }

    /// Notes a packet that went to one socket of this shard alone.
    pub fn push_direct(
        &mut self,
        now: Time,
        offset: Offset,
        namespace: NamespaceId,
        target: Target,
        packet: Arc<Encoded>,
    ) {
        self.push(now, offset, namespace, target, packet);
        if let Some(entry) = self.entries.back_mut().filter(|entry| entry.offset == offset) {
            entry.is_direct = true;
        }
    }

    /// Forgets what is older than the longest absence.
    pub fn forget_old(&mut self, now: Time) {
        while self.entries.front().is_some_and(|entry| now.since(entry.at) > self.options.max_disconnection_ms) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.packet.bytes.len();
        }
    }

    /// Packets from one origin arrive in its order.
    fn note_heard(&mut self, offset: Offset) {
        let heard = &mut self.heard[usize::from(offset.origin.0)];
        debug_assert!(offset.number > *heard, "a shard's packets keep their order");
        *heard = offset.number;
    }

    /// How far each shard has been heard.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        self.heard.clone().into_boxed_slice()
    }

    /// Whether as much has been heard as `horizon` says.
    #[must_use]
    pub fn has_reached(&self, horizon: &Horizon) -> bool {
        self.heard.iter().zip(horizon).all(|(heard, wanted)| heard >= wanted)
    }

    /// The packets for a socket in `rooms` after the one with `offset`, or `None` if that one is not in the log any more.
    #[must_use]
    pub fn missed(&self, offset: Offset, namespace: NamespaceId, rooms: &[Box<str>]) -> Option<Vec<Arc<Encoded>>> {
        let at = self.entries.iter().position(|entry| entry.offset == offset)?;
        Some(self.matching(at + 1, namespace, rooms).map(|entry| Arc::clone(&entry.packet)).collect())
    }

    /// The packets for a socket in `rooms` that lie beyond `horizon`. What was sent to the socket alone is not among
    /// them: it was here when it was sent, and has left since.
    #[must_use]
    pub fn beyond(&self, horizon: &Horizon, namespace: NamespaceId, rooms: &[Box<str>]) -> Vec<Arc<Encoded>> {
        let is_beyond =
            |entry: &&Entry| !entry.is_direct && entry.offset.number > horizon[usize::from(entry.offset.origin.0)];
        self.matching(0, namespace, rooms).filter(is_beyond).map(|entry| Arc::clone(&entry.packet)).collect()
    }

    fn matching<'a>(
        &'a self,
        from: usize,
        namespace: NamespaceId,
        rooms: &'a [Box<str>],
    ) -> impl Iterator<Item = &'a Entry> {
        let is_in = |names: &[Arc<str>]| names.iter().any(|name| rooms.iter().any(|room| **room == **name));
        self.entries.range(from..).filter(move |entry| {
            entry.namespace == namespace
                && (entry.target.rooms.is_empty() || is_in(&entry.target.rooms))
                && !is_in(&entry.target.except)
        })
    }
}

/// A socket that has left and may come back.
pub struct Absent {
    /// Its client's private id.
    pub pid: Sid,
    /// Its id, which it will have again.
    pub sid: Sid,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its rooms, its own id among them.
    pub rooms: Vec<Box<str>>,
    /// What the application keeps of it.
    pub data: Option<Box<dyn Any + Send>>,
    /// When it left.
    pub since: Time,
}

/// What a shard tells of a socket that comes back.
pub struct Return {
    /// The socket as it left.
    pub absent: Absent,
    /// What it missed, in the order of delivery.
    pub missed: Vec<Arc<Encoded>>,
    /// How far its home had heard each shard.
    pub horizon: Horizon,
}

/// The recovery state of a socket.
#[derive(Debug)]
pub struct Recoverable {
    /// The private id with which its client may come back.
    pub pid: Sid,
    /// Its state was restored.
    pub is_recovered: bool,
    /// What lies within it has been delivered; forgotten when this shard has heard as much.
    pub horizon: Option<Horizon>,
}

impl Recoverable {
    /// Whether a packet has been delivered to the socket by its former home.
    #[must_use]
    pub fn has_seen(&self, offset: Offset) -> bool {
        self.horizon.as_ref().is_some_and(|horizon| offset.number <= horizon[usize::from(offset.origin.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(text: &str) -> Arc<Encoded> {
        Arc::new(Encoded { bytes: text.as_bytes().to_vec(), ..Encoded::default() })
    }

    fn offset(origin: u16, number: u64) -> Offset {
        Offset { origin: ShardIndex(origin), number }
    }

    fn options() -> RecoveryOptions {
        RecoveryOptions { packets_max: 3, bytes_max: 10, max_disconnection_ms: 100, ..RecoveryOptions::default() }
    }

    #[test]
    fn offsets_survive_the_wire_and_nonsense_does_not() {
        for shard_count in [1, 3, 4096] {
            let there = offset(shard_count - 1, 12_345);
            assert_eq!(Offset::from_wire(&alloc::format!("{}", there.to_wire(shard_count)), shard_count), Some(there));
        }
        for nonsense in ["", "-1", "1.5", "abc", "99999999999999999999999", "18446744073709551616"] {
            assert_eq!(Offset::from_wire(nonsense, 3), None, "{nonsense}");
        }
    }

    #[test]
    fn the_log_is_bounded_in_packets_bytes_and_age() {
        let namespace = NamespaceId(0);
        let mut log = Log::new(options(), 1);
        for number in 1..=5 {
            log.push(Time::ZERO, offset(0, number), namespace, Target::everyone(), packet("ab"));
        }
        assert!(log.missed(offset(0, 2), namespace, &[]).is_none(), "pushed out by number");
        assert_eq!(log.missed(offset(0, 3), namespace, &[]).map(|missed| missed.len()), Some(2));
        log.push(Time::ZERO, offset(0, 6), namespace, Target::everyone(), packet("12345678"));
        assert!(log.missed(offset(0, 4), namespace, &[]).is_none(), "pushed out by bytes");
        log.forget_old(Time::from_millis(101));
        assert!(log.missed(offset(0, 6), namespace, &[]).is_none(), "too old");
        assert_eq!(log.bytes, 0);
    }

    /// It was delivered when the socket was here; the shard that the socket came from has never heard of its number.
    #[test]
    fn what_was_sent_to_the_socket_alone_is_not_beyond_the_horizon() {
        let mut log = Log::new(RecoveryOptions::default(), 2);
        let namespace = NamespaceId(0);
        let own = Target { rooms: [Arc::from("me")].into_iter().collect(), ..Target::default() };
        log.push_direct(Time::ZERO, offset(1, 1), namespace, own, packet("direct"));
        log.push(Time::ZERO, offset(1, 2), namespace, Target::everyone(), packet("all"));
        let nothing_heard: Horizon = [0, 0].into();
        let beyond = log.beyond(&nothing_heard, namespace, &[Box::from("me")]);
        assert_eq!(beyond.iter().map(|packet| &packet.bytes[..]).collect::<Vec<_>>(), [b"all"]);
        assert_eq!(log.missed(offset(1, 1), namespace, &[Box::from("me")]).map(|missed| missed.len()), Some(1));
    }

    #[test]
    fn only_what_a_socket_would_have_got_is_missed() {
        let target = |rooms: &[&str], except: &[&str]| Target {
            rooms: rooms.iter().map(|room| Arc::from(*room)).collect(),
            except: except.iter().map(|room| Arc::from(*room)).collect(),
        };
        let mut log = Log::new(RecoveryOptions::default(), 1);
        let namespace = NamespaceId(0);
        for (number, target) in
            [target(&[], &[]), target(&["a"], &[]), target(&["b"], &[]), target(&["a", "b"], &[]), target(&[], &["a"])]
                .into_iter()
                .enumerate()
        {
            let number = number as u64 + 1;
            log.push(Time::ZERO, offset(0, number), namespace, target, packet(&alloc::format!("{number}")));
        }
        let missed = log.missed(offset(0, 1), namespace, &[Box::from("a")]).unwrap();
        assert_eq!(missed.iter().map(|packet| &packet.bytes[..]).collect::<Vec<_>>(), [b"2", b"4"]);
        assert!(log.missed(offset(0, 1), NamespaceId(1), &[Box::from("a")]).unwrap().is_empty());
    }
}
