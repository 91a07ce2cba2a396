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

/// What has to be said about a run: one sentence of each kind, with the phases that it is about and the worst of them.
pub fn notes(outcome: &Outcome) -> Vec<String> {
    let measured = || outcome.phases.iter().filter(|phase| phase.measured);
    let busy: Vec<&PhaseOutcome> = measured().filter(|phase| is_busy(phase)).collect();
    let late: Vec<&PhaseOutcome> = measured().filter(|phase| !is_busy(phase) && is_late(phase)).collect();
    let worst = |phases: &[&PhaseOutcome], figure: fn(&PhaseOutcome) -> f64| {
        phases.iter().map(|phase| figure(phase)).fold(0.0, f64::max)
    };
    let mut notes = Vec::new();
    if !busy.is_empty() {
        notes.push(format!(
            "{}: the load generator was the bottleneck: a worker used {:.0} % of a core. Use more --workers (now {}), or a \
             machine of its own.",
            names(&busy),
            worst(&busy, |phase| phase.generator_cpu),
            outcome.workers
        ));
    }
    if !late.is_empty() {
        notes.push(format!(
            "{}: the load generator was held up: 1 % of the messages left {:.1} ms late or more, which is part of the \
             latency. Its machine is too busy (does the server run on the same cores?).",
            names(&late),
            worst(&late, |phase| phase.lag.p99)
        ));
    }
    notes
}

/// Each name once, since a phase may have been repeated, and not more than a few.
fn names(phases: &[&PhaseOutcome]) -> String {
    const SHOWN: usize = 3;
    let mut names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
    names.dedup();
    match names.len().saturating_sub(SHOWN) {
        0 | 1 => names.join(", "),
        more => format!("{} and {more} more phases", names[..SHOWN].join(", ")),
    }
}

fn is_busy(phase: &PhaseOutcome) -> bool {
    phase.generator_cpu > BUSY_PERCENT
}

fn is_late(phase: &PhaseOutcome) -> bool {
    is_lag_of_weight(phase.lag.p99, phase.latency.p99)
}

/// Whether lateness of sending is a part of the latency that matters; 99th percentiles of both, in milliseconds.
pub fn is_lag_of_weight(lag_ms: f64, latency_ms: f64) -> bool {
    lag_ms > LAG_MS_MIN && lag_ms > LAG_SHARE * latency_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::outcome::Percentiles;
    use crate::report::threshold::tests::outcome_with;

    fn phase(name: &str, generator_cpu: f64, lag: f64, latency: f64) -> PhaseOutcome {
        let p99 = |p99| Percentiles { p99, ..Percentiles::default() };
        let (lag, latency) = (p99(lag), p99(latency));
        PhaseOutcome { name: name.to_owned(), measured: true, generator_cpu, lag, latency, ..PhaseOutcome::default() }
    }

    fn notes_of(phases: Vec<PhaseOutcome>) -> Vec<String> {
        notes(&Outcome { phases, ..outcome_with(1.0, 0) })
    }

    #[test]
    fn a_busy_or_late_generator_says_so() {
        // 4 ms of 500 are not what the figure is made of.
        assert_eq!(notes_of(vec![phase("a", 50.0, 0.1, 5.0), phase("b", 50.0, 4.0, 500.0)]), [""; 0]);
        let notes = notes_of(vec![
            phase("a", 97.0, 0.1, 5.0),
            phase("b", 50.0, 4.0, 5.0),
            phase("c", 50.0, 7.0, 5.0),
            phase("c", 50.0, 6.0, 5.0),
        ]);
        assert!(notes[0].starts_with("a: ") && notes[0].contains("bottleneck") && notes[0].contains("97 %"));
        assert!(notes[1].starts_with("b, c: ") && notes[1].contains("7.0 ms late"), "{}", notes[1]);
        assert_eq!(notes.len(), 2);
        let many = ["a", "b", "c", "d", "e"].map(|name| phase(name, 50.0, 4.0, 5.0));
        assert!(notes_of(many.into())[0].starts_with("a, b, c and 2 more phases: "));
    }
}
