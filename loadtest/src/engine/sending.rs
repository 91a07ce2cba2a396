//! When the next message is due, who sends it, and what it is.
//!
//! The schedule is open: it waits for no answer, and a message that is sent late keeps the time at which it was due. A
//! worker that was held up sends all that is due at once and records by how much it was late.

use super::thinking::Thinking;
use crate::clock::SECOND_NS;
use crate::plan::{Action, Phase, Plan};
use crate::template::Template;

/// Rates below this are none. Messages per second.
const RATE_MIN: f64 = 1e-6;

/// How messages are spread over time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spacing {
    pub(super) poisson: bool,
    pub(super) tick_us: u64,
}

/// The messages of one phase: when each is due.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    start_ns: u64,
    end_ns: u64,
    rate: f64,
    rate_end: f64,
    /// The share of the rate that is this worker's. 0.0 to 1.0.
    share: f64,
    poisson: bool,
    /// Messages are due at multiples of this, since the phase began. 0: whenever the rate says.
    tick_ns: u64,
    due_ns: f64,
}

impl Pace {
    /// The schedule of a phase that begins at `start_ns`. `offset` (0.0 to 1.0) staggers workers within one interval.
    pub(super) fn new(phase: &Phase, start_ns: u64, share: f64, offset: f64, spacing: Spacing) -> Self {
        let mut pace = Self {
            start_ns,
            end_ns: start_ns + phase.duration_ms * 1_000_000,
            rate: phase.rate,
            rate_end: phase.rate_end,
            share,
            poisson: spacing.poisson,
            tick_ns: spacing.tick_us * 1_000,
            due_ns: start_ns as f64,
        };
        pace.due_ns += pace.interval_ns() * offset;
        pace
    }

    /// Nanoseconds until the next message after the one that is due, at the rate of that moment.
    fn interval_ns(&self) -> f64 {
        let length = (self.end_ns - self.start_ns).max(1) as f64;
        let progress = ((self.due_ns - self.start_ns as f64) / length).clamp(0.0, 1.0);
        let rate = (self.rate + (self.rate_end - self.rate) * progress) * self.share;
        if rate < RATE_MIN {
            // Looks again a little later: the rate may be rising.
            return (length / 100.0).max(1e6);
        }
        let mean = SECOND_NS as f64 / rate;
        if self.poisson { -mean * (1.0 - fastrand::f64()).ln() } else { mean }
    }

    /// When the next message is due; `None` when the phase has no more.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let has_rate = self.rate.max(self.rate_end) * self.share >= RATE_MIN;
        (has_rate && self.due_ns < self.end_ns as f64).then_some(self.on_tick(self.due_ns as u64))
    }

    /// The tick at which a message is due that the rate puts at `ns`: the last one, so that none leaves its phase.
    fn on_tick(&self, ns: u64) -> u64 {
        ns - (ns - self.start_ns).checked_rem(self.tick_ns).unwrap_or(0)
    }

    /// Takes the next message if it is due at `now_ns`: its time, and whether there is one (not while the rate is 0).
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<(u64, bool)> {
        let due_ns = self.next_due_ns().filter(|due| *due <= now_ns)?;
        let progress = (self.due_ns - self.start_ns as f64) / (self.end_ns - self.start_ns).max(1) as f64;
        let is_message = (self.rate + (self.rate_end - self.rate) * progress) * self.share >= RATE_MIN;
        self.due_ns += self.interval_ns();
        Some((due_ns, is_message))
    }
}

/// Who is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Nobody: the rate is 0 at this time.
    Nobodys,
    /// Whoever's turn it is.
    Anybodys,
    /// This client's.
    Of(u32),
}

/// The messages of one phase, by a common rate or by each client's own pauses.
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    Pace(Pace),
    Thinking(Thinking),
}

impl Schedule {
    /// When the next message is due; `None` when the phase has no more.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        match self {
            Self::Pace(pace) => pace.next_due_ns(),
            Self::Thinking(thinking) => thinking.next_due_ns(),
        }
    }

    /// Takes the next message if it is due at `now_ns`: its time, and whose it is.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<(u64, Whose)> {
        match self {
            Self::Pace(pace) => pace
                .take_due(now_ns)
                .map(|(due_ns, is_message)| (due_ns, if is_message { Whose::Anybodys } else { Whose::Nobodys })),
            Self::Thinking(thinking) => thinking.take_due(now_ns).map(|(due_ns, client)| (due_ns, Whose::Of(client))),
        }
    }
}

/// An action, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) arguments: Template,
    /// The event's name as JSON, with its quotes.
    pub(super) event: String,
    /// Weights of this action and all before it.
    weight_sum: u32,
}

impl Prepared {
    /// An event that is not chosen from.
    pub(super) fn of_setup(arguments: Template, event: String) -> Self {
        Self { arguments, event, weight_sum: 0 }
    }
}

/// All actions of a plan, to be chosen from by weight.
#[derive(Clone, Debug)]
pub(super) struct Repertoire(pub(super) Vec<Prepared>);

impl Repertoire {
    pub(super) fn new(plan: &Plan) -> Result<Self, String> {
        let mut weight_sum = 0;
        let prepare = |action: &Action| {
            weight_sum += action.weight;
            Ok(Prepared { arguments: Template::parse(&action.arguments)?, event: quoted(&action.event), weight_sum })
        };
        plan.actions.iter().map(prepare).collect::<Result<_, String>>().map(Self)
    }

    /// One of the actions, at random by weight; `None` if there are none.
    pub(super) fn choose(&self) -> Option<usize> {
        let total = self.0.last()?.weight_sum;
        if self.0.len() == 1 || total == 0 {
            return Some(0);
        }
        let ticket = fastrand::u32(..total);
        Some(self.0.partition_point(|action| action.weight_sum <= ticket))
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const EVEN: Spacing = Spacing { poisson: false, tick_us: 0 };

    fn dues(pace: &mut Pace, now_ns: u64) -> Vec<u64> {
        std::iter::from_fn(|| pace.take_due(now_ns)).filter(|due| due.1).map(|due| due.0).collect()
    }

    #[test]
    fn late_messages_keep_the_times_at_which_they_were_due() {
        let mut pace = Pace::new(&Phase::new("", 1_000, 50.0, 1), 1_000_000_000, 1.0, 0.0, EVEN);
        assert_eq!(dues(&mut pace, 1_045_000_000), [1_000_000_000, 1_020_000_000, 1_040_000_000]);
        assert_eq!(pace.next_due_ns(), Some(1_060_000_000));
        assert_eq!(dues(&mut pace, u64::MAX).len(), 47);
        assert_eq!(pace.next_due_ns(), None);
    }

    #[test]
    fn workers_share_the_rate_and_do_not_send_together() {
        let phase = Phase::new("", 1_000, 100.0, 2);
        let mut all = dues(&mut Pace::new(&phase, 0, 0.5, 0.0, EVEN), u64::MAX);
        all.extend(dues(&mut Pace::new(&phase, 0, 0.5, 0.5, EVEN), u64::MAX));
        all.sort_unstable();
        assert_eq!(all.len(), 100);
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] == 10_000_000));
    }

    #[test]
    fn a_ramp_sends_the_mean_of_its_rates_and_more_towards_its_end() {
        let phase = Phase { rate: 0.0, rate_end: 2_000.0, ..Phase::new("", 1_000, 0.0, 1) };
        let times = dues(&mut Pace::new(&phase, 0, 1.0, 0.0, EVEN), u64::MAX);
        assert!((950..=1_050).contains(&times.len()), "{}", times.len());
        let first_half = times.iter().filter(|due| **due < 500_000_000).count();
        assert!((200..=300).contains(&first_half), "{first_half}");
    }

    /// A tick moves messages together, and neither adds nor drops any.
    #[test]
    fn messages_of_one_tick_are_due_together() {
        let phase = Phase::new("", 1_000, 2_500.0, 1);
        let spacing = Spacing { poisson: false, tick_us: 2_000 };
        let times = dues(&mut Pace::new(&phase, 77, 1.0, 0.0, spacing), u64::MAX);
        assert_eq!(times.len(), 2_500);
        assert!(times.iter().all(|due| due % 2_000_000 == 77));
        assert_eq!(times.iter().filter(|due| **due == 10_000_077).count(), 5);
        assert_eq!(times.last(), Some(&998_000_077), "the phase ends at 1,000,000,077");
    }

    #[test]
    fn poisson_keeps_the_mean() {
        let times = dues(
            &mut Pace::new(&Phase::new("", 10_000, 1_000.0, 1), 0, 1.0, 0.0, Spacing { poisson: true, tick_us: 0 }),
            u64::MAX,
        );
        assert!((9_000..11_000).contains(&times.len()), "{}", times.len());
    }
}
