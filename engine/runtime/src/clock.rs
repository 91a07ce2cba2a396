//! The only reader of the clock, and the seam at which a simulated one takes its place.

use ringio_core::base::time::Time;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a shard's time comes from.
pub trait TimeSource: Clone {
    /// Time since the beginning. It never goes back.
    fn now(&self) -> Time;
    /// The same to the clock's own precision, for spans shorter than a millisecond.
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now().as_millis())
    }
    /// How long it is until `at`; zero if it has passed.
    fn until(&self, at: Time) -> Duration;
}

/// Time of one shard: monotonic, from its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl TimeSource for Clock {
    fn now(&self) -> Time {
        Time::from_millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// To the clock's own precision: a wait rounded to milliseconds would be late by up to one, and clients measure the
    /// heartbeat.
    fn until(&self, at: Time) -> Duration {
        Duration::from_millis(at.as_millis()).saturating_sub(self.start.elapsed())
    }
}

/// Milliseconds of Unix time; 0 for a clock before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
pub fn unix_time_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A clock that a test moves: milliseconds. Clones are the same one.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Hand(pub(crate) std::rc::Rc<std::cell::Cell<u64>>);

#[cfg(test)]
impl TimeSource for Hand {
    fn now(&self) -> Time {
        Time::from_millis(self.0.get())
    }

    fn until(&self, at: Time) -> Duration {
        Duration::from_millis(at.since(self.now()))
    }
}
