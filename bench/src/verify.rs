//! Did every message arrive, once, in order, unchanged?
//!
//! One [`Stream`] per receiver and sender: the next sequence expected and a window of those before it, as in
//! the anti-replay windows of IPsec (RFC 4303, section 3.4.3). What never arrived is counted by the sender's
//! side, which knows how many receivers a message still owes; see `drive::group`.
use serde::{Deserialize, Serialize};

/// How a message stands to the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one.
    InOrder,
    /// One or more before it are missing so far.
    Ahead,
    /// A missing one, after later ones.
    Late,
    /// Seen before, or too old to tell (more than 64 behind).
    Duplicate,
}

/// What one receiver has seen of one sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    next: u32,
    /// Bit `n`: sequence `next - 1 - n` was seen.
    seen: u64,
}

impl Stream {
    /// Records the arrival of `sequence`.
    pub fn record(&mut self, sequence: u32) -> Arrival {
        if sequence >= self.next {
            let skipped = sequence - self.next;
            self.seen = match skipped {
                0..=62 => (self.seen << (skipped + 1)) | 1,
                _ => 1,
            };
            self.next = sequence + 1;
            return if skipped == 0 { Arrival::InOrder } else { Arrival::Ahead };
        }
        let behind = self.next - 1 - sequence;
        if behind >= 64 || self.seen & (1 << behind) != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= 1 << behind;
        Arrival::Late
    }
}

/// Everything that went wrong. All zero, or the run does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Deliveries that a message still owed when the run ended.
    pub lost: u64,
    /// Deliveries beyond the first.
    pub duplicate: u64,
    /// Deliveries after a later one of the same sender.
    pub reordered: u64,
    /// Frames that are not what they must be.
    pub corrupt: u64,
    /// Connections that ended, or never stood, while they were needed.
    pub disconnected: u64,
}

impl Faults {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_told_from_late_and_duplicate() {
        let mut stream = Stream::default();
        assert_eq!(stream.record(0), Arrival::InOrder);
        assert_eq!(stream.record(0), Arrival::Duplicate);
        assert_eq!(stream.record(2), Arrival::Ahead);
        assert_eq!(stream.record(1), Arrival::Late);
        assert_eq!(stream.record(1), Arrival::Duplicate);
        assert_eq!(stream.record(3), Arrival::InOrder);
    }

    #[test]
    fn agrees_with_a_plain_set() {
        // Against the naive version: a set of all sequences seen. Steps stay within the window, where both
        // must agree.
        let mut stream = Stream::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut state = 1_u32;
        let mut base = 0_u32;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let sequence = base + (state >> 16) % 40;
            let highest = seen.last().copied();
            let expected = match (seen.contains(&sequence), highest) {
                (true, _) => Arrival::Duplicate,
                (false, Some(highest)) if sequence < highest => Arrival::Late,
                (false, Some(highest)) if sequence == highest + 1 => Arrival::InOrder,
                (false, None) if sequence == 0 => Arrival::InOrder,
                (false, _) => Arrival::Ahead,
            };
            assert_eq!(stream.record(sequence), expected);
            seen.insert(sequence);
            base = seen.last().copied().unwrap_or(0).saturating_sub(30);
        }
    }

    #[test]
    fn a_long_gap_forgets_the_window() {
        let mut stream = Stream::default();
        assert_eq!(stream.record(0), Arrival::InOrder);
        assert_eq!(stream.record(64), Arrival::Ahead);
        assert_eq!(stream.record(0), Arrival::Duplicate);
        assert_eq!(stream.record(1), Arrival::Late);
    }
}
