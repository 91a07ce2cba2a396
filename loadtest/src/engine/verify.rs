//! Did every message arrive, once, in order, unchanged, and only where it should?
//!
//! One [`Stream`] per receiver, sender and action: the next sequence expected, and the gaps before it. Without a gap it is three
//! numbers. What is missing behind the last arrival is known at the end, when every sender has said how many it sent.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a message stands to the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or a later one.
    Ahead,
    /// A missing one, after later ones.
    Late,
    /// Seen before.
    Duplicate,
}

/// Sequences that were passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which.
    pub sequences: Range<u32>,
    /// When the one behind them arrived. Nanoseconds since the run began.
    pub since_ns: u64,
}

/// What one receiver has seen of one sender and action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Everything below belongs to earlier connections.
    floor: u32,
    /// Where it began to listen; [`Stream::UNKNOWN`] until the first arrival if it came while messages were flowing.
    base: u32,
    next: u32,
    /// In order, and apart from each other.
    #[allow(
        clippy::box_collection,
        reason = "most streams have none: one pointer instead of three words, a hundred thousand times"
    )]
    gaps: Option<Box<Vec<Gap>>>,
}

const _: () = assert!(size_of::<Stream>() == 24);

impl Stream {
    const UNKNOWN: u32 = u32::MAX;

    /// A receiver that is owed everything from this sequence on.
    pub const fn from(base: u32) -> Self {
        Self { floor: base, base, next: base, gaps: None }
    }

    /// A receiver that joined while messages were flowing: what it is owed begins with the first that arrives.
    pub const fn joined_late() -> Self {
        Self { floor: 0, base: Self::UNKNOWN, next: 0, gaps: None }
    }

    /// Another connection, to which nothing below `base` is owed; with `None` it begins with the first that arrives. Gaps that
    /// the connection before left open too late to say that they would not have been filled, after `certain_until_ns`, are forgotten.
    pub fn begin_anew(&mut self, base: Option<u32>, certain_until_ns: u64) {
        if let Some(gaps) = &mut self.gaps {
            gaps.retain(|gap| gap.since_ns <= certain_until_ns);
        }
        self.next = base.unwrap_or(self.next).max(self.next);
        self.floor = self.next;
        self.base = base.map_or(Self::UNKNOWN, |_| self.next);
    }

    /// Records the arrival of `sequence` at `now_ns`.
    pub fn record(&mut self, sequence: u32, now_ns: u64) -> Arrival {
        if sequence >= self.next {
            if self.base == Self::UNKNOWN {
                self.base = sequence;
            } else if sequence > self.next {
                let gap = Gap { sequences: self.next..sequence, since_ns: now_ns };
                self.gaps.get_or_insert_default().push(gap);
            }
            self.next = sequence + 1;
            return Arrival::Ahead;
        }
        let gaps = self.gaps.get_or_insert_default();
        let index = gaps.partition_point(|gap| gap.sequences.end <= sequence);
        if (self.floor..self.base).contains(&sequence) && self.base != Self::UNKNOWN {
            // The first arrival had overtaken this one: it was owed, and so are those between.
            if sequence + 1 < self.base {
                gaps.insert(index, Gap { sequences: sequence + 1..self.base, since_ns: now_ns });
            }
            self.base = sequence;
            return Arrival::Late;
        }
        let Some(gap) = gaps.get_mut(index).filter(|gap| gap.sequences.contains(&sequence)) else {
            return Arrival::Duplicate;
        };
        let behind = Gap { sequences: sequence + 1..gap.sequences.end, since_ns: gap.since_ns };
        gap.sequences.end = sequence;
        let is_filled = gap.sequences.is_empty();
        if !behind.sequences.is_empty() {
            gaps.insert(index + 1, behind);
        }
        if is_filled {
            gaps.remove(index);
        }
        Arrival::Late
    }

    /// The sequence behind the last that arrived.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Whether it joined late and has heard nothing since.
    pub fn is_unheard(&self) -> bool {
        self.base == Self::UNKNOWN
    }

    /// What was passed over, over all connections.
    pub fn gaps(&self) -> &[Gap] {
        self.gaps.as_deref().map_or(&[], Vec::as_slice)
    }

    /// How many were passed over on the present connection, up to this time.
    pub fn passed_over(&self, until_ns: u64) -> u32 {
        let gaps = self.gaps().iter().filter(|gap| gap.sequences.start >= self.floor && gap.since_ns <= until_ns);
        gaps.map(|gap| gap.sequences.end - gap.sequences.start).sum()
    }

    /// What has not arrived behind the last arrival, if so many were sent.
    pub fn tail(&self, end: u32) -> Range<u32> {
        if self.is_unheard() { end..end } else { self.next..end.max(self.next) }
    }
}

/// The parts of `missing` that were lost for certain, given which messages of their sender may not have reached the server, since its
/// connection ended (`uncertain`, in order). `is_followed`: the receiver has heard the one behind them.
///
/// A connection keeps its order: what was sent over it before something that was heard had reached the server.
pub fn certain(missing: Range<u32>, is_followed: bool, uncertain: &[Range<u32>]) -> Vec<Range<u32>> {
    let mut rest = missing.start;
    let mut certain = Vec::new();
    for excused in uncertain {
        if excused.end <= rest || excused.start >= missing.end || (is_followed && missing.end < excused.end) {
            continue;
        }
        certain.push(rest..excused.start.max(rest));
        rest = excused.end.min(missing.end);
    }
    certain.push(rest..missing.end);
    certain.retain(|part| !part.is_empty());
    certain
}

/// Everything that went wrong with messages. All zero, or the run shows a broken server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Never arrived although the connections stood, the receiver's and the sender's.
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
        sequences.iter().map(|sequence| stream.record(*sequence, 7)).collect()
    }

    fn missing(stream: &Stream, end: u32) -> u32 {
        let count = |range: &Range<u32>| range.end - range.start;
        stream.gaps().iter().map(|gap| count(&gap.sequences)).sum::<u32>() + count(&stream.tail(end))
    }

    #[test]
    fn order_and_repetition_are_told_apart() {
        use Arrival::{Ahead, Duplicate, Late};
        let mut stream = Stream::from(0);
        assert_eq!(run(&mut stream, &[0, 1, 3, 2, 2, 3, 4]), [Ahead, Ahead, Ahead, Late, Duplicate, Duplicate, Ahead]);
        assert_eq!((missing(&stream, 5), missing(&stream, 7)), (0, 2));
    }

    #[test]
    fn gaps_of_any_width_are_missing_until_they_are_filled() {
        let mut stream = Stream::from(0);
        run(&mut stream, &[0, 100, 200]);
        assert_eq!(missing(&stream, 201), 198);
        assert_eq!(run(&mut stream, &[100, 50, 50]), [Arrival::Duplicate, Arrival::Late, Arrival::Duplicate]);
        assert_eq!(missing(&stream, 201), 197);
    }

    #[test]
    fn nothing_before_a_late_joiner_is_missing() {
        let mut stream = Stream::joined_late();
        assert!(stream.is_unheard() && missing(&stream, 1000) == 0);
        run(&mut stream, &[500, 501, 503]);
        assert_eq!(missing(&stream, 504), 1);
        // Overtaken by its first.
        assert_eq!(run(&mut stream, &[498, 498]), [Arrival::Late, Arrival::Duplicate]);
        assert_eq!(missing(&stream, 504), 2);
    }

    /// What was passed over long before a connection ended stays lost; what might still have come, and what went out meanwhile, does not.
    #[test]
    fn a_connection_that_ends_keeps_what_it_had_lost() {
        let mut stream = Stream::from(0);
        run(&mut stream, &[0, 2]);
        stream.record(5, 100);
        assert_eq!((stream.passed_over(99), stream.passed_over(100)), (1, 3));
        stream.begin_anew(None, 99);
        assert!(stream.is_unheard() && stream.passed_over(u64::MAX) == 0);
        assert_eq!(run(&mut stream, &[20, 22, 1]), [Arrival::Ahead, Arrival::Ahead, Arrival::Late]);
        assert_eq!((missing(&stream, 23), stream.passed_over(u64::MAX)), (1, 1));
        stream.begin_anew(Some(30), 99);
        run(&mut stream, &[31]);
        assert_eq!(missing(&stream, 32), 2);
    }

    /// What lies behind the last that is known to have been read may not have been sent; everything else had reached the server.
    #[test]
    fn what_may_not_have_reached_the_server_is_excused() {
        let certain = |missing, is_followed| {
            let parts = certain(missing, is_followed, &[10..20, 30..40]);
            parts.into_iter().map(|part| (part.start, part.end)).collect::<Vec<_>>()
        };
        assert_eq!(certain(0..50, false), [(0, 10), (20, 30), (40, 50)]);
        assert_eq!(certain(12..35, false), [(20, 30)]);
        // 20 was heard, which came over the next connection.
        assert_eq!(certain(12..20, true), []);
        // 18 was heard, and so had come what was sent before it.
        assert_eq!(certain(12..18, true), [(12, 18)]);
        assert_eq!(certain(5..35, true), [(5, 10), (20, 35)]);
        assert_eq!(certain(5..8, true), [(5, 8)]);
    }

    /// Against the naive version: a set of what was seen.
    #[test]
    fn agrees_with_a_set() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut stream = Stream::from(0);
            let mut seen = std::collections::BTreeSet::new();
            let mut top = 0;
            for _ in 0..100 {
                let sequence = random.u32(0..top + 3);
                let is_repeated = !seen.insert(sequence);
                assert_eq!(stream.record(sequence, 0) == Arrival::Duplicate, is_repeated);
                top = top.max(sequence + 1);
            }
            assert_eq!(missing(&stream, top), top - seen.len() as u32);
        }
    }
}
