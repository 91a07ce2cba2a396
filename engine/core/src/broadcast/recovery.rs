//! Connection state recovery: a log of recent packets, and what is kept of sockets that may come back.
//!
//! ```text
//!   origin shard   numbers its packets 1, 2, 3 ..              offset = number * shards + origin, in decimal
//!   every shard    logs what it delivers, in the order it delivers; a place is a position in this log, counted from 0
//!   home shard     keeps a socket that has left: sid, rooms, application data, its standing
//!
//!   what a socket was sent, in order:   [replay: from another shard's log][this shard's log from `standing.since` on]
//! ```
//! A client comes back with its private id and the last offset it saw, to any shard. Its home answers with the packets
//! it missed and with how far the home has heard each shard ([`Horizon`]). The shard where it is now adds what its own
//! log holds beyond that horizon, and from then on withholds from this socket what lies within: each packet arrives
//! exactly once, whatever the messages between the shards overtook.
//!
//! The logs of two shards have different orders, so an offset is no place in the log of a shard that the socket came to
//! later. That shard remembers what was sent again, in its order ([`Replay`]): the offset is looked
//! for there first.
//!
//! Bounds: packets and bytes of the log, age of both. What was pushed out of the log cannot be recovered: the client
//! gets a new socket then, as after a too long absence.
//! Source: socket.io-adapter 2.5, `SessionAwareAdapter`; the wire format is its own.

use super::replay::Replay;
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
#[derive(Debug)]
pub struct Logged {
    /// Its number.
    pub offset: Offset,
    /// Where.
    pub namespace: NamespaceId,
    /// To whom.
    pub target: Target,
    /// Its bytes.
    pub packet: Arc<Encoded>,
    /// Sent to one socket of the shard that logs it: no other shard hears of it.
    pub is_direct: bool,
}

impl Logged {
    /// Whether a socket in `rooms` would get it.
    #[must_use]
    pub fn is_for(&self, namespace: NamespaceId, rooms: &[Box<str>]) -> bool {
        let is_in = |names: &[Arc<str>]| names.iter().any(|name| rooms.iter().any(|room| **room == **name));
        self.namespace == namespace
            && (self.target.rooms.is_empty() || is_in(&self.target.rooms))
            && !is_in(&self.target.except)
    }
}

/// Since when a socket has been fed from this shard's log.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The place of the first packet that may have been delivered to it here.
    pub since: u64,
    /// What lies within it was delivered by its former home. `None` if this shard had heard as much by then.
    pub horizon: Option<Horizon>,
}

impl Standing {
    /// Whether a packet has been delivered to the socket by its former home.
    #[must_use]
    pub fn has_seen(&self, offset: Offset) -> bool {
        self.horizon.as_ref().is_some_and(|horizon| offset.number <= horizon[usize::from(offset.origin.0)])
    }
}

/// What one shard has delivered lately.
#[derive(Debug)]
pub struct Log {
    options: RecoveryOptions,
    entries: VecDeque<(Time, Arc<Logged>)>,
    /// The place of the first entry.
    first_place: u64,
    bytes: usize,
    heard: Vec<u64>,
    /// The highest number of each shard that was pushed out.
    forgotten: Vec<u64>,
}

impl Log {
    /// An empty log of a shard that hears `shard_count` shards, itself included.
    #[must_use]
    pub fn new(options: RecoveryOptions, shard_count: u16) -> Self {
        let none = alloc::vec![0; usize::from(shard_count)];
        Self { options, entries: VecDeque::new(), first_place: 0, bytes: 0, heard: none.clone(), forgotten: none }
    }

    /// Notes a delivered packet and forgets what is too old or too much.
    pub fn push(&mut self, now: Time, logged: Logged) {
        self.note_heard(logged.offset);
        self.bytes += logged.packet.bytes.len();
        self.entries.push_back((now, Arc::new(logged)));
        while self.entries.len() > self.options.packets_max || self.bytes > self.options.bytes_max {
            self.pop();
        }
        self.forget_old(now);
    }

    /// Forgets what is older than the longest absence.
    pub fn forget_old(&mut self, now: Time) {
        while self.entries.front().is_some_and(|(at, _)| now.since(*at) > self.options.max_disconnection_ms) {
            self.pop();
        }
    }

    /// Forgets everything: how many packets, and their bytes.
    pub fn clear(&mut self) -> (usize, usize) {
        let had = (self.entries.len(), self.bytes);
        while !self.entries.is_empty() {
            self.pop();
        }
        self.entries = VecDeque::new();
        had
    }

    /// Gives back memory that no packet needs.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    fn pop(&mut self) {
        let Some((_, logged)) = self.entries.pop_front() else { return };
        self.first_place += 1;
        self.bytes -= logged.packet.bytes.len();
        if !logged.is_direct {
            self.forgotten[usize::from(logged.offset.origin.0)] = logged.offset.number;
        }
    }

    /// Packets from one origin arrive in its order.
    fn note_heard(&mut self, offset: Offset) {
        let heard = &mut self.heard[usize::from(offset.origin.0)];
        debug_assert!(offset.number > *heard, "a shard's packets keep their order");
        *heard = offset.number;
    }

    /// How far each shard has been heard, here or as `horizon` says.
    #[must_use]
    pub fn horizon_with(&self, horizon: Option<&Horizon>) -> Horizon {
        let of_origin = |origin| horizon.map_or(0, |horizon| horizon[origin]);
        self.heard.iter().enumerate().map(|(origin, heard)| *heard.max(&of_origin(origin))).collect()
    }

    /// Whether as much has been heard as `horizon` says.
    #[must_use]
    pub fn has_reached(&self, horizon: &Horizon) -> bool {
        self.heard.iter().zip(horizon).all(|(heard, wanted)| heard >= wanted)
    }

    /// The place of the oldest packet.
    #[must_use]
    pub const fn first_place(&self) -> u64 {
        self.first_place
    }

    /// The place of the next packet.
    #[must_use]
    pub fn next_place(&self) -> u64 {
        self.first_place + self.entries.len() as u64
    }

    /// The packets for a socket in `rooms` that it has not seen if the last one was that with `offset`, in the order in which
    /// it was sent them. `None` if that cannot be said any more.
    #[must_use]
    pub fn missed(
        &self,
        offset: Offset,
        standing: &Standing,
        replay: Option<&Replay>,
        namespace: NamespaceId,
        rooms: &[Box<str>],
    ) -> Option<Vec<Arc<Logged>>> {
        let (again, from) = match replay.and_then(|replay| replay.after(offset)) {
            Some(again) => (again, standing.since),
            // What it saw before it came here was sent to a former socket of its client.
            None => (&[][..], self.place_of(offset)?.saturating_add(1).max(standing.since)),
        };
        let skipped = usize::try_from(from.checked_sub(self.first_place)?).ok()?;
        let here = self.entries.iter().skip(skipped).map(|(_, logged)| logged);
        let here = here.filter(|logged| !standing.has_seen(logged.offset));
        Some(again.iter().chain(here).filter(|logged| logged.is_for(namespace, rooms)).cloned().collect())
    }

    /// The packets for a socket in `rooms` that lie beyond `horizon`; `None` if some of them were pushed out. What was sent
    /// to the socket alone is not among them: it was here when it was sent, and has left since.
    #[must_use]
    pub fn beyond(&self, horizon: &Horizon, namespace: NamespaceId, rooms: &[Box<str>]) -> Option<Vec<Arc<Logged>>> {
        if self.forgotten.iter().zip(horizon).any(|(forgotten, heard)| forgotten > heard) {
            return None;
        }
        let is_beyond = |logged: &&Arc<Logged>| {
            !logged.is_direct && logged.offset.number > horizon[usize::from(logged.offset.origin.0)]
        };
        let beyond = self.entries.iter().map(|(_, logged)| logged).filter(is_beyond);
        Some(beyond.filter(|logged| logged.is_for(namespace, rooms)).cloned().collect())
    }

    /// Most absences are short, so it is looked for from the end.
    fn place_of(&self, offset: Offset) -> Option<u64> {
        let at = self.entries.iter().rposition(|(_, logged)| logged.offset == offset)?;
        Some(self.first_place + at as u64)
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
    pub data: Option<Arc<dyn Any + Send + Sync>>,
    /// When it left.
    pub left_at: Time,
    /// Since when it had been fed from the log of the shard that keeps it.
    pub standing: Standing,
}

impl core::fmt::Debug for Absent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Absent").field("sid", &self.sid).field("rooms", &self.rooms).finish_non_exhaustive()
    }
}

/// What a shard tells of a socket that comes back.
#[derive(Debug)]
pub struct Return {
    /// The socket as it left.
    pub absent: Absent,
    /// The last packet that it saw.
    pub offset: Offset,
    /// What it missed, in the order of delivery.
    pub missed: Vec<Arc<Logged>>,
    /// How far its home had heard each shard; `None` if it comes back to where it is kept.
    pub horizon: Option<Horizon>,
}

/// The recovery state of a socket.
#[derive(Debug)]
pub struct Recoverable {
    /// The private id with which its client may come back.
    pub pid: Sid,
    /// Its state was restored.
    pub is_recovered: bool,
    /// Since when it has been fed from this shard's log.
    pub standing: Standing,
    /// As what it will be absent again if it is not let in. None once it is.
    pub former: Option<Box<Absent>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: NamespaceId = NamespaceId(0);

    fn offset(origin: u16, number: u64) -> Offset {
        Offset { origin: ShardIndex(origin), number }
    }

    fn logged(offset: Offset, target: Target, text: &str) -> Logged {
        let packet = Arc::new(Encoded { bytes: text.as_bytes().to_vec(), ..Encoded::default() });
        Logged { offset, namespace: NAMESPACE, target, packet, is_direct: false }
    }

    fn standing(since: u64) -> Standing {
        Standing { since, horizon: None }
    }

    fn texts(packets: &[Arc<Logged>]) -> Vec<&[u8]> {
        packets.iter().map(|logged| &logged.packet.bytes[..]).collect()
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
        let mut log = Log::new(options(), 1);
        let missed = |log: &Log, number| {
            log.missed(offset(0, number), &standing(0), None, NAMESPACE, &[]).map(|missed| missed.len())
        };
        for number in 1..=5 {
            log.push(Time::ZERO, logged(offset(0, number), Target::everyone(), "ab"));
        }
        assert_eq!(missed(&log, 2), None, "pushed out by number");
        assert_eq!(missed(&log, 3), Some(2));
        log.push(Time::ZERO, logged(offset(0, 6), Target::everyone(), "12345678"));
        assert_eq!(missed(&log, 4), None, "pushed out by bytes");
        log.forget_old(Time::from_millis(101));
        assert_eq!(missed(&log, 6), None, "too old");
        assert_eq!((log.bytes, log.first_place(), log.next_place()), (0, 6, 6));
    }

    /// It was delivered when the socket was here; the shard that the socket came from has never heard of its number.
    #[test]
    fn what_was_sent_to_the_socket_alone_is_not_beyond_the_horizon() {
        let mut log = Log::new(RecoveryOptions::default(), 2);
        let own = Target { rooms: [Arc::from("me")].into_iter().collect(), ..Target::default() };
        log.push(Time::ZERO, Logged { is_direct: true, ..logged(offset(1, 1), own, "direct") });
        log.push(Time::ZERO, logged(offset(1, 2), Target::everyone(), "all"));
        let nothing_heard: Horizon = [0, 0].into();
        let rooms = [Box::from("me")];
        assert_eq!(texts(&log.beyond(&nothing_heard, NAMESPACE, &rooms).unwrap()), [b"all"]);
        let missed = log.missed(offset(1, 1), &standing(0), None, NAMESPACE, &rooms);
        assert_eq!(texts(&missed.unwrap()), [b"all"]);
    }

    #[test]
    fn what_lies_beyond_the_horizon_and_was_pushed_out_cannot_be_made_up_for() {
        let mut log = Log::new(options(), 1);
        for number in 1..=4 {
            log.push(Time::ZERO, logged(offset(0, number), Target::everyone(), "ab"));
        }
        assert!(log.beyond(&[0].into(), NAMESPACE, &[]).is_none(), "the first one is gone");
        assert_eq!(log.beyond(&[1].into(), NAMESPACE, &[]).map(|beyond| beyond.len()), Some(3));
    }

    #[test]
    fn only_what_a_socket_would_have_got_is_missed() {
        let target = |rooms: &[&str], except: &[&str]| Target {
            rooms: rooms.iter().map(|room| Arc::from(*room)).collect(),
            except: except.iter().map(|room| Arc::from(*room)).collect(),
        };
        let mut log = Log::new(RecoveryOptions::default(), 1);
        for (number, target) in
            [target(&[], &[]), target(&["a"], &[]), target(&["b"], &[]), target(&["a", "b"], &[]), target(&[], &["a"])]
                .into_iter()
                .enumerate()
        {
            let number = number as u64 + 1;
            log.push(Time::ZERO, logged(offset(0, number), target, &alloc::format!("{number}")));
        }
        let rooms = [Box::from("a")];
        let missed = |namespace, standing| log.missed(offset(0, 1), &standing, None, namespace, &rooms).unwrap();
        assert_eq!(texts(&missed(NAMESPACE, standing(0))), [b"2", b"4"]);
        assert_eq!(texts(&missed(NAMESPACE, standing(2))), [b"4"], "the second was sent before the socket was there");
        let seen = Standing { since: 0, horizon: Some([3].into()) };
        assert_eq!(texts(&missed(NAMESPACE, seen)), [b"4"], "its former home had sent three of them");
        assert!(missed(NamespaceId(1), standing(0)).is_empty());
    }
}
