//! Was it the server, or was it us? A load generator that is itself the bottleneck measures itself.
//!
//! Three signs: a worker's thread that is busy all the time, messages that were sent late, and less sent than
//! offered. Each becomes a sentence in the outcome; figures under such a note are not the server's.

use crate::report::outcome::{Outcome, PhaseOutcome};

/// CPU of a worker above which it cannot be trusted to be on time. Percent of a core.
const BUSY_PERCENT: f64 = 90.0;
/// Lateness of sending (99th percentile) that is never worth a word. Milliseconds.
const LAG_MS_MIN: f64 = 2.0;
/// Lateness that matters: this share of the latency it is part of.
const LAG_SHARE: f64 = 0.25;

/// What has to be said about a run.
pub fn notes(outcome: &Outcome) -> Vec<String> {
    outcome.phases.iter().filter(|phase| phase.measured).filter_map(|phase| note(phase, outcome.workers)).collect()
}

/// Whether the load generator limited this phase, in a sentence.
pub fn note(phase: &PhaseOutcome, workers: u32) -> Option<String> {
    let name = &phase.name;
    if phase.generator_cpu > BUSY_PERCENT {
        return Some(format!(
            "{name}: the load generator was the bottleneck: a worker used {:.0} % of a core. Use more --workers (now \
             {workers}), or a machine of its own.",
            phase.generator_cpu
        ));
    }
    if phase.lag.p99 > LAG_MS_MIN && phase.lag.p99 > LAG_SHARE * phase.latency.p99 {
        return Some(format!(
            "{name}: the load generator was held up: 1 % of the messages left {:.1} ms late or more, which is part of the \
             latency. Its machine is too busy (does the server run on the same cores?).",
            phase.lag.p99
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::outcome::Percentiles;

    fn phase(generator_cpu: f64, lag: f64, latency: f64) -> PhaseOutcome {
        let p99 = |p99| Percentiles { p99, ..Percentiles::default() };
        PhaseOutcome { generator_cpu, lag: p99(lag), latency: p99(latency), ..PhaseOutcome::default() }
    }

    #[test]
    fn a_busy_or_late_generator_says_so() {
        assert_eq!(note(&phase(50.0, 0.1, 5.0), 1), None);
        assert!(note(&phase(97.0, 0.1, 5.0), 1).is_some_and(|text| text.contains("bottleneck")));
        assert!(note(&phase(50.0, 4.0, 5.0), 1).is_some_and(|text| text.contains("late")));
        // 4 ms of 500 are not what the figure is made of.
        assert_eq!(note(&phase(50.0, 4.0, 500.0), 1), None);
    }
}
