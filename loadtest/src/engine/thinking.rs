//! When each client writes, if clients think by themselves instead of sharing a rate.
//!
//! A client's pause counts from when its last message was due, not from the answer: a slow server does not make its users slower, so
//! that nothing is left out of its latency. A client begins somewhere within its first pause, so that those who think for a fixed time
//! do not write all at once. One that is not connected when its message is due says nothing and goes on thinking.

use crate::plan::{Phase, Think};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The messages of one phase: whose is due when.
#[derive(Clone, Debug)]
pub(super) struct Thinking {
    think: Think,
    start_ns: u64,
    end_ns: u64,
    /// As in `Pace`.
    tick_ns: u64,
    /// When whom comes next, before ticks.
    due: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Thinking {
    /// The schedule of a phase that begins at `start_ns`, for these clients.
    pub(super) fn new(think: Think, phase: &Phase, start_ns: u64, tick_us: u64, clients: &[u32]) -> Self {
        let end_ns = start_ns + phase.duration_ms * 1_000_000;
        let first = |client| Reverse((start_ns + (pause_ns(think) as f64 * fastrand::f64()) as u64, client));
        let due = clients.iter().map(|client| first(*client)).collect();
        Self { think, start_ns, end_ns, tick_ns: tick_us * 1_000, due }
    }

    /// When the next message is due; `None` when the phase has no more.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let Reverse((due_ns, _)) = self.due.peek()?;
        let since_tick = (due_ns - self.start_ns).checked_rem(self.tick_ns).unwrap_or(0);
        (*due_ns < self.end_ns).then_some(due_ns - since_tick)
    }

    /// Takes the next message if it is due at `now_ns`: its time, and whose it is.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<(u64, u32)> {
        let on_tick_ns = self.next_due_ns().filter(|due| *due <= now_ns)?;
        let mut next = self.due.peek_mut()?;
        let client = next.0.1;
        next.0.0 += pause_ns(self.think);
        Some((on_tick_ns, client))
    }
}

/// One pause, at random as the distribution says; at least a microsecond, so that time goes on.
fn pause_ns(think: Think) -> u64 {
    let ms = match think {
        Think::Fixed(ms) => ms as f64,
        Think::Uniform(from, to) => from as f64 + (to - from) as f64 * fastrand::f64(),
        Think::Exponential(mean) => -(mean as f64) * (1.0 - fastrand::f64()).ln(),
    };
    ((ms * 1e6) as u64).max(1_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashMap;

    const START_NS: u64 = 77;

    /// Of each client the times at which it writes, in a phase of a hundred seconds.
    fn times(think: Think, tick_us: u64) -> HashMap<u32, Vec<u64>> {
        let clients: Vec<u32> = (0..20).collect();
        let phase = Phase::new("", 100_000, 0.0, 20);
        let mut thinking = Thinking::new(think, &phase, START_NS, tick_us, &clients);
        let mut times: HashMap<u32, Vec<u64>> = HashMap::new();
        let mut last_ns = 0;
        while let Some((due_ns, client)) = thinking.take_due(u64::MAX) {
            assert!((last_ns.max(START_NS)..START_NS + 100_000_000_000).contains(&due_ns));
            last_ns = due_ns;
            times.entry(client).or_default().push(due_ns);
        }
        assert_eq!(times.len(), 20);
        times
    }

    fn pauses(times: &HashMap<u32, Vec<u64>>) -> Vec<u64> {
        times.values().flat_map(|times| times.windows(2).map(|pair| pair[1] - pair[0])).collect()
    }

    #[test]
    fn a_fixed_pause_is_each_clients_own_and_clients_do_not_begin_together() {
        let times = times(Think::Fixed(5_000), 0);
        assert!(pauses(&times).iter().all(|pause| *pause == 5_000_000_000));
        let mut firsts: Vec<u64> = times.values().map(|times| times[0]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 20);
        assert!(times.values().all(|times| times.len() == 20 && times[0] < START_NS + 5_000_000_000));
    }

    #[test]
    fn a_uniform_pause_stays_in_its_bounds_and_uses_them() {
        let pauses = pauses(&times(Think::Uniform(100, 300), 0));
        assert!(pauses.iter().all(|pause| (100_000_000..=300_000_000).contains(pause)));
        let mean = pauses.iter().sum::<u64>() / pauses.len() as u64;
        assert!((190_000_000..210_000_000).contains(&mean), "{mean}");
        assert!(pauses.iter().any(|pause| *pause < 110_000_000) && pauses.iter().any(|pause| *pause > 290_000_000));
    }

    /// Mean and deviation of an exponential distribution are the same.
    #[test]
    fn an_exponential_pause_keeps_its_mean_and_spread() {
        let pauses = pauses(&times(Think::Exponential(100), 0));
        let mean = pauses.iter().sum::<u64>() as f64 / pauses.len() as f64;
        let variance = pauses.iter().map(|pause| (*pause as f64 - mean).powi(2)).sum::<f64>() / pauses.len() as f64;
        assert!((0.95e8..1.05e8).contains(&mean), "{mean}");
        assert!((0.9..1.1).contains(&(variance.sqrt() / mean)), "{}", variance.sqrt() / mean);
    }

    #[test]
    fn messages_of_one_tick_are_due_together() {
        let times = times(Think::Uniform(100, 300), 50_000);
        assert!(times.values().flatten().all(|due| (due - START_NS).is_multiple_of(50_000_000)));
    }
}
