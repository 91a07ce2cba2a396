//! Time as the core sees it: milliseconds since the shard began, always an argument.
//!
//! Nothing below the runtime reads a clock, so a simulated hour costs nothing and the same inputs give the
//! same outputs. One millisecond is the finest deadline that Socket.IO knows.

/// An instant: whole milliseconds since the shard began. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The beginning of the shard.
    pub const ZERO: Self = Self(0);

    /// The instant `millis` milliseconds after the beginning.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This instant and `millis` more; stays at the end of time instead of overflowing.
    #[must_use]
    pub const fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this instant, 0 if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
