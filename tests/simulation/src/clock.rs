//! Time: moved by the scheduler when nobody has anything to do at the present instant.

use ringio_core::base::time::Time;
use ringio_runtime::clock::TimeSource;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Microseconds since the story began.
pub type Micros = u64;

/// One clock for shards, kernel, network and clients.
#[derive(Clone, Debug, Default)]
pub struct SimulatedClock(Rc<Cell<Micros>>);

impl SimulatedClock {
    /// The present instant.
    #[must_use]
    pub fn micros(&self) -> Micros {
        self.0.get()
    }

    /// Moves on to `at`.
    pub fn advance_to(&self, at: Micros) {
        assert!(at >= self.0.get(), "time never goes back");
        self.0.set(at);
    }
}

impl TimeSource for SimulatedClock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.get() / 1_000)
    }

    fn until(&self, at: Time) -> Duration {
        Duration::from_micros((at.as_millis() * 1_000).saturating_sub(self.0.get()))
    }
}
