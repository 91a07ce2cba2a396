//! Who decides when the next message goes out: nobody, the answers, or the clock.
//!
//! A paced run does not wait for answers: a slow server falls behind visibly (no coordinated omission).
use std::time::{Duration, Instant};

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Nothing is sent.
    Silent,
    /// So many messages per group; one that has reached everyone lets the next go.
    InFlight(usize),
    /// One message each `interval`, to the groups in turn; the next is due at `due` and goes to `group`.
    Clock { interval: Duration, due: Instant, group: usize },
}

impl Pace {
    /// The next message due at `at`: when it was due and for which of `group_count` groups.
    pub(crate) fn take_due(&mut self, at: Instant, group_count: usize) -> Option<(Instant, usize)> {
        let Self::Clock { interval, due, group } = *self else {
            return None;
        };
        if due > at {
            return None;
        }
        *self = Self::Clock { interval, due: due + interval, group: (group + 1) % group_count };
        Some((due, group))
    }

    /// How long a turn may sleep: whole milliseconds, since epoll rounds up; the last one is spun.
    pub(crate) fn wait_limit(&self, at: Instant) -> Duration {
        const LONGEST_MS: u64 = 100;
        match self {
            Self::Clock { due, .. } => {
                let millis = due.saturating_duration_since(at).as_millis() as u64;
                Duration::from_millis(millis.saturating_sub(1).min(LONGEST_MS))
            }
            _ => Duration::from_millis(LONGEST_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_messages_keep_their_due_times() {
        let start = crate::clock::now();
        let interval = Duration::from_millis(20);
        let mut pace = Pace::Clock { interval, due: start, group: 0 };
        // 45 ms late: three are due, at the times they should have had.
        let at = start + Duration::from_millis(45);
        for (number, group) in [(0, 0), (1, 1), (2, 0)] {
            assert_eq!(pace.take_due(at, 2), Some((start + interval * number, group)));
        }
        assert_eq!(pace.take_due(at, 2), None);
        assert_eq!(pace.wait_limit(at), Duration::from_millis(14));
        assert_eq!(pace.wait_limit(start + Duration::from_millis(59)), Duration::ZERO);
    }
}
