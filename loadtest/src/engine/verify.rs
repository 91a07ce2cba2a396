//! Did every message arrive, once, in order, unchanged, and only where it should?
//!
//! One [`Stream`] per receiver, sender and action: the next sequence expected and a window of those before it, as in the
//! anti-replay windows of IPsec (RFC 4303, section 3.4.3). What is missing is known at the end, when every sender has
//! said how many it sent.

use serde::{Deserialize, Serialize};

/// How a message stands to the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or a later one.
    Ahead,
    /// A missing one, after later ones.
    Late,
    /// Seen before, or more than 64 behind the latest.
    Duplicate,
}

/// What one receiver has seen of one sender and action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Where it began to listen; [`Stream::UNKNOWN`] until the first arrival if it came while messages were flowing.
    base: u32,
    next: u32,
    /// Bit `n`: sequence `next - 1 - n` was seen.
    seen: u64,
    received: u32,
}

impl Stream {
    const UNKNOWN: u32 = u32::MAX;

    /// A receiver that owes itself everything from this sequence on.
    pub const fn from(base: u32) -> Self {
        Self { base, next: base, seen: 0, received: 0 }
    }

    /// A receiver that joined while messages were flowing: what it is owed begins with the first that arrives.
    pub const fn joined_late() -> Self {
        Self { base: Self::UNKNOWN, next: 0, seen: 0, received: 0 }
    }

    /// Records the arrival of `sequence`.
    pub fn record(&mut self, sequence: u32) -> Arrival {
        if self.base == Self::UNKNOWN {
            *self = Self::from(sequence);
        }
        if sequence >= self.next {
            let skipped = sequence - self.next;
            self.seen = if skipped < 63 { self.seen << (skipped + 1) | 1 } else { 1 };
            self.next = sequence + 1;
            self.received += 1;
            return Arrival::Ahead;
        }
        let behind = self.next - 1 - sequence;
        if behind >= 64 || self.seen & 1 << behind != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= 1 << behind;
        self.received += 1;
        Arrival::Late
    }

    /// How many have not arrived of all below `end`.
    pub fn missing(&self, end: u32) -> u64 {
        if self.base == Self::UNKNOWN {
            return 0;
        }
        u64::from(end.saturating_sub(self.base).saturating_sub(self.received))
    }
}

/// Everything that went wrong with messages. All zero, or the run shows a broken server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Never arrived although the connection stood.
    pub lost: u64,
    /// Arrived more than once.
    pub duplicated: u64,
    /// Arrived after a later one of the same sender and action.
    pub reordered: u64,
    /// Not what was sent: checksum, JSON, or not a packet at all.
    pub corrupt: u64,
    /// Arrived where nobody asked for it: another's message, another event, an acknowledgement of nothing.
    pub unexpected: u64,
}

impl Faults {
    /// Adds those of another part of the run.
    pub fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.unexpected += other.unexpected;
    }

    /// What came since there were only those.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            lost: self.lost - earlier.lost,
            duplicated: self.duplicated - earlier.duplicated,
            reordered: self.reordered - earlier.reordered,
            corrupt: self.corrupt - earlier.corrupt,
            unexpected: self.unexpected - earlier.unexpected,
        }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.lost + self.duplicated + self.reordered + self.corrupt + self.unexpected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stream: &mut Stream, sequences: &[u32]) -> Vec<Arrival> {
        sequences.iter().map(|sequence| stream.record(*sequence)).collect()
    }

    #[test]
    fn order_and_repetition_are_told_apart() {
        use Arrival::{Ahead, Duplicate, Late};
        let mut stream = Stream::from(0);
        assert_eq!(run(&mut stream, &[0, 1, 3, 2, 2, 3, 4]), [Ahead, Ahead, Ahead, Late, Duplicate, Duplicate, Ahead]);
        assert_eq!((stream.missing(5), stream.missing(7)), (0, 2));
    }

    #[test]
    fn gaps_wider_than_the_window_are_still_missing() {
        let mut stream = Stream::from(0);
        run(&mut stream, &[0, 100, 200]);
        assert_eq!(stream.missing(201), 198);
        assert_eq!(stream.record(100), Arrival::Duplicate);
    }

    #[test]
    fn nothing_before_a_late_joiner_is_missing() {
        let mut stream = Stream::joined_late();
        assert_eq!(stream.missing(1000), 0);
        run(&mut stream, &[500, 501, 503]);
        assert_eq!(stream.missing(504), 1);
    }

    /// Against the naive version: a set of what was seen.
    #[test]
    fn agrees_with_a_set_within_its_window() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut stream = Stream::from(0);
            let mut seen = std::collections::BTreeSet::new();
            let mut top = 0;
            for _ in 0..100 {
                let sequence = random.u32(top.max(40) - 40..top + 3);
                let is_repeated = !seen.insert(sequence);
                assert_eq!(stream.record(sequence) == Arrival::Duplicate, is_repeated);
                top = top.max(sequence + 1);
            }
            assert_eq!(stream.missing(top), u64::from(top) - seen.len() as u64);
        }
    }
}
