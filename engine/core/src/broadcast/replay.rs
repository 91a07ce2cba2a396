//! What was sent again to sockets that came back from another shard.
//!
//! ```text
//!   Replay    [from] [packet] [packet] [packet]      the client's last offset is one of these, or of what came behind
//!   Replays   private id -> Replay, oldest first
//! ```
//! The packets lie in the order of the log of the shard that the socket left. In this shard's log they have another one, and
//! what was sent to the socket alone is not there at all; so if it is cut off again before it has seen them, only this list
//! says which of them it has seen. A socket that comes back to the shard that it left needs none: it goes on in the same
//! log. A server of one shard never has any.
//!
//! Bounds: a replay is forgotten with what stood in this shard's log behind it, after the longest absence, with its socket,
//! and when there are too many. An offset within it says nothing then, and its client gets a new socket.

use super::recovery::{Logged, Offset};
use crate::base::seed::Sid;
use crate::base::time::Time;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Packets of all replays of a shard, in logs of the largest number.
const LOGS_MAX: usize = 8;

/// What was sent again to one socket.
#[derive(Debug)]
pub struct Replay {
    /// With which its client came back.
    pub from: Offset,
    /// What it missed, in the order in which it was sent again.
    pub packets: Vec<Arc<Logged>>,
}

impl Replay {
    /// What stands behind the packet with `offset`; `None` if that one is not here.
    #[must_use]
    pub fn after(&self, offset: Offset) -> Option<&[Arc<Logged>]> {
        if self.from == offset {
            return Some(&self.packets);
        }
        let at = self.packets.iter().position(|logged| logged.offset == offset)?;
        self.packets.get(at + 1..)
    }

    fn weight(&self) -> Weight {
        let direct = self.packets.iter().filter(|logged| logged.is_direct);
        Weight { packet_count: 1 + self.packets.len(), bytes: direct.map(|logged| logged.packet.bytes.len()).sum() }
    }
}

/// What replays hold. The bytes are those of packets for one socket: all others are in the logs of all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weight {
    packet_count: usize,
    bytes: usize,
}

/// When a replay was made, and the place of this shard's log that follows.
type Moment = (Time, u64);

/// The replays of a shard's sockets.
#[derive(Debug)]
pub struct Replays {
    by_pid: HashMap<Sid, (Moment, Replay), FixedState>,
    /// Oldest first; some have gone already.
    order: VecDeque<(Moment, Sid)>,
    weight: Weight,
    max: Weight,
}

impl Replays {
    /// None so far; the log of this shard has at most so many packets and bytes.
    #[must_use]
    pub fn new(packets_max: usize, bytes_max: usize, hash: FixedState) -> Self {
        let max = Weight { packet_count: packets_max.saturating_mul(LOGS_MAX), bytes: bytes_max };
        Self { by_pid: HashMap::with_hasher(hash), order: VecDeque::new(), weight: Weight::default(), max }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    /// What was sent again to this socket.
    #[must_use]
    pub fn find(&self, pid: Sid) -> Option<&Replay> {
        self.by_pid.get(&pid).map(|(_, replay)| replay)
    }

    /// Notes what is sent again to a socket, in front of what this shard's log gets at `place` and later.
    pub fn insert(&mut self, now: Time, pid: Sid, place: u64, replay: Replay) {
        self.remove(pid);
        let weight = replay.weight();
        self.weight.packet_count += weight.packet_count;
        self.weight.bytes += weight.bytes;
        self.by_pid.insert(pid, ((now, place), replay));
        self.order.push_back(((now, place), pid));
        while self.weight.packet_count > self.max.packet_count
            || self.weight.bytes > self.max.bytes
            || self.order.len() > self.max.packet_count
        {
            self.forget_oldest();
        }
    }

    /// The socket is gone, or goes on elsewhere.
    pub fn remove(&mut self, pid: Sid) {
        let Some((_, replay)) = self.by_pid.remove(&pid) else { return };
        let weight = replay.weight();
        self.weight.packet_count -= weight.packet_count;
        self.weight.bytes -= weight.bytes;
        if self.by_pid.is_empty() {
            self.order = VecDeque::new();
        }
    }

    /// Forgets what is older than `age_max_ms`, and what this shard's log, which begins at `first_place`, does not go on.
    pub fn forget_old(&mut self, now: Time, age_max_ms: u64, first_place: u64) {
        while self.order.front().is_some_and(|((at, place), _)| *place < first_place || now.since(*at) > age_max_ms) {
            self.forget_oldest();
        }
    }

    /// Gives back memory that no replay needs.
    pub fn shrink(&mut self) {
        self.by_pid.shrink_to_fit();
        self.order.shrink_to_fit();
    }

    fn forget_oldest(&mut self) {
        let Some((moment, pid)) = self.order.pop_front() else { return };
        // Its socket may have come once more since.
        if self.by_pid.get(&pid).is_some_and(|(at, _)| *at == moment) {
            self.remove(pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::frame::Encoded;
    use crate::base::id::{NamespaceId, ShardIndex};
    use crate::base::seed::Seed;
    use crate::room::select::Target;

    fn offset(number: u64) -> Offset {
        Offset { origin: ShardIndex(0), number }
    }

    fn replay(numbers: &[u64], is_direct: bool) -> Replay {
        let logged = |number: &u64| {
            let packet = Arc::new(Encoded { bytes: alloc::vec![0; 10], ..Encoded::default() });
            let (namespace, target) = (NamespaceId(0), Target::everyone());
            Arc::new(Logged { offset: offset(*number), namespace, target, packet, is_direct })
        };
        Replay { from: offset(1), packets: numbers.iter().map(logged).collect() }
    }

    fn replays(packets_max: usize, bytes_max: usize) -> (Replays, [Sid; 3]) {
        let mut seed = Seed::new([1; 32], ShardIndex(0));
        (Replays::new(packets_max, bytes_max, FixedState::default()), core::array::from_fn(|_| seed.next_sid()))
    }

    #[test]
    fn what_stands_behind_an_offset_is_found_whatever_the_order_of_numbers() {
        let replay = replay(&[7, 3, 9], false);
        let after =
            |number| replay.after(offset(number)).map(|rest| rest.iter().map(|one| one.offset.number).collect());
        assert_eq!(after(1), Some(alloc::vec![7, 3, 9]), "it saw none of them");
        assert_eq!(after(7), Some(alloc::vec![3, 9]));
        assert_eq!(after(9), Some(alloc::vec![]));
        assert_eq!(after(2), None);
    }

    #[test]
    fn replays_are_bounded_in_packets_bytes_age_and_by_the_log() {
        let (mut by_count, [a, b, c]) = replays(1, 1_000);
        for pid in [a, b, c] {
            by_count.insert(Time::ZERO, pid, 0, replay(&[2, 3], false));
        }
        assert!(by_count.find(a).is_none() && by_count.find(b).is_some(), "nine are more than eight logs of one");
        by_count.insert(Time::ZERO, a, 0, replay(&[2], false));
        assert!(by_count.find(b).is_some(), "eight are not");
        for millis in 1..=20 {
            for pid in [a, b] {
                by_count.insert(Time::from_millis(millis), pid, 0, replay(&[2], false));
            }
        }
        assert!(by_count.find(a).is_some() && by_count.find(b).is_some());
        assert_eq!(by_count.order.len(), 8, "who comes back often is noted so often at most");
        let (mut by_bytes, _) = replays(1_000, 20);
        by_bytes.insert(Time::ZERO, a, 0, replay(&[2, 3], true));
        by_bytes.insert(Time::ZERO, b, 0, replay(&[2, 3], false));
        assert!(by_bytes.find(a).is_some(), "20 bytes; those of broadcasts are in the log anyway");
        by_bytes.insert(Time::ZERO, c, 0, replay(&[2], true));
        assert!(by_bytes.find(a).is_none() && by_bytes.find(c).is_some());
        let (mut by_age, _) = replays(1_000, 1_000);
        by_age.insert(Time::ZERO, a, 5, replay(&[2], false));
        by_age.insert(Time::from_millis(1), b, 5, replay(&[2], false));
        by_age.insert(Time::from_millis(50), a, 5, replay(&[2], false));
        by_age.forget_old(Time::from_millis(100), 100, 5);
        assert_eq!(by_age.order.len(), 3, "of that age it may be");
        by_age.forget_old(Time::from_millis(102), 100, 5);
        assert!(by_age.find(b).is_none() && by_age.order.len() == 1);
        assert!(by_age.find(a).is_some(), "it came once more");
        by_age.forget_old(Time::from_millis(101), 100, 6);
        assert!(by_age.is_empty(), "the log does not go on where it ends");
        assert_eq!((by_age.weight, by_age.order.len()), (Weight::default(), 0));
    }
}
