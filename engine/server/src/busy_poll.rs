//! Looking on for a while instead of sleeping at once: an operator's choice.

use crate::error::{Error, Result};
use crate::options::Builder;
use ringio_runtime::limits::BUSY_POLL_US_MAX;
use std::time::Duration;

impl Builder {
    /// How long a shard goes on looking for work after it had some, before it sleeps. Default zero: it sleeps at once. At most a second.
    ///
    /// A thread that sleeps is woken by the kernel when something comes, and that takes its time: some microseconds, more on a core that has gone
    /// to a deep idle state or that other threads use meanwhile. A shard that looks on answers without it, and those who have work for it need
    /// no system call to wake it. The price is its core: a shard whose clients say something more often than this never rests, and one
    /// that shares its core with others keeps them waiting. Twenty to two hundred microseconds bridge the gaps within a burst; to be
    /// awake at every message it takes more than the longest pause. With more shards than cores it makes everything slower.
    ///
    /// The guide [`latency`](crate::guides::latency) has the rest: cores of their own, what the kernel can do besides, and how to measure it.
    ///
    /// ```
    /// # use ringio::Server;
    /// # use std::time::Duration;
    /// let io = Server::builder().busy_poll(Duration::from_micros(100)).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn busy_poll(mut self, span: Duration) -> Self {
        self.busy_poll = span;
        self
    }
}

/// The span, if it is one that makes sense.
pub(crate) fn checked(span: Duration) -> Result<Duration> {
    if span <= Duration::from_micros(BUSY_POLL_US_MAX) {
        return Ok(span);
    }
    let problem = format!("{span:?} is longer than a second: the shard's core would never rest; 100 us is a beginning");
    Err(Error::Option { option: "busy_poll", problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_second_at_most() {
        assert!(checked(Duration::ZERO).is_ok());
        assert!(checked(Duration::from_secs(1)).is_ok());
        let refused = checked(Duration::from_micros(1_000_001));
        assert!(matches!(refused, Err(Error::Option { option: "busy_poll", .. })), "{refused:?}");
    }
}
