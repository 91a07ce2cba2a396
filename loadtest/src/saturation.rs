//! Was it the server, or was it us? A load generator that is itself the bottleneck measures itself.
//!
//! Three signs: a worker's thread that is busy all the time, messages or connections that were begun late, and less sent
//! than offered although every client was there to send it. Each becomes a sentence in the outcome; figures under such a note are
//! not the server's. So does churn in which all clients were in use: fewer came than the rate says.
//!
//! Of phases that are not measured only connecting counts: its figures are in every report, and nothing else of theirs is.

use crate::report::outcome::{Outcome, PhaseOutcome};
use crate::report::text::grouped;

/// CPU of a worker above which it cannot be trusted to be on time. Percent of a core.
const BUSY_PERCENT: f64 = 90.0;
/// Lateness (99th percentile) that is never worth a word. Milliseconds.
const LAG_MS_MIN: f64 = 2.0;
/// Lateness that matters: this share of the latency it is part of.
const LAG_SHARE: f64 = 0.25;
/// Messages that may be missing of those offered: this share, and so many standard deviations of a Poisson process.
const SHORT_SHARE: f64 = 0.02;
const SHORT_DEVIATIONS: f64 = 5.0;
/// Connections that may find no free client.
const STARVED_SHARE: f64 = 0.01;

/// What has to be said about a run: one sentence of each kind, with the phases that it is about and the worst of them.
pub fn notes(outcome: &Outcome) -> Vec<String> {
    let told = |is_told: fn(&PhaseOutcome) -> bool| {
        let phases = outcome.phases.iter().filter(|phase| is_told(phase));
        phases.collect::<Vec<_>>()
    };
    let worst = |phases: &[&PhaseOutcome], figure: fn(&PhaseOutcome) -> f64| {
        phases.iter().map(|phase| figure(phase)).fold(0.0, f64::max)
    };
    let mut notes = Vec::new();
    let busy = told(is_busy);
    if !busy.is_empty() {
        notes.push(format!(
            "{}: the load generator was the bottleneck: a worker used {:.0} % of a core. Use more --workers (now {}), or a \
             machine of its own.",
            names(&busy),
            worst(&busy, |phase| phase.generator_cpu),
            outcome.workers
        ));
    }
    let late = told(|phase| !is_busy(phase) && is_late(phase));
    if !late.is_empty() {
        notes.push(format!(
            "{}: the load generator was held up: 1 % of the messages left {:.1} ms late or more, which is part of the \
             latency. Its machine is too busy (does the server run on the same cores?).",
            names(&late),
            worst(&late, |phase| phase.lag.p99)
        ));
    }
    let late = told(|phase| !is_busy(phase) && is_late_to_connect(phase));
    if !late.is_empty() {
        notes.push(format!(
            "{}: the load generator was held up: 1 % of the connections were begun {:.1} ms late or more, which is part of \
             the time that connecting took. Use a lower --connect-rate, or a machine that is less busy.",
            names(&late),
            worst(&late, |phase| phase.connect_lag.p99)
        ));
    }
    let short = told(is_short);
    if !short.is_empty() {
        notes.push(format!(
            "{}: the load generator sent less than was offered, up to {:.0} % less, although all clients were connected. Use \
             more --workers, or a lower rate.",
            names(&short),
            worst(&short, |phase| 100.0 * (1.0 - phase.rate_sent / phase.rate_offered))
        ));
    }
    let starved = told(is_starved);
    if !starved.is_empty() {
        notes.push(format!(
            "{}: {} connections were due while all clients were in use, and were not made: fewer came than the rate says. \
             Use more --clients, or a lower --rate.",
            names(&starved),
            grouped(starved.iter().map(|phase| phase.starved).sum())
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
    phase.generator_cpu > BUSY_PERCENT && (phase.measured || phase.connect_lag.count > 0)
}

fn is_late(phase: &PhaseOutcome) -> bool {
    phase.measured && is_lag_of_weight(phase.lag.p99, phase.latency.p99)
}

fn is_late_to_connect(phase: &PhaseOutcome) -> bool {
    is_lag_of_weight(phase.connect_lag.p99, phase.connect.p99.max(phase.reconnect.p99))
}

/// Messages at random times are more or fewer by a few times the root of their number.
fn is_short(phase: &PhaseOutcome) -> bool {
    let offered = phase.rate_offered * phase.seconds;
    let is_whole = phase.failed + phase.reconnected + phase.unsent == 0;
    let missing = offered - phase.sent as f64;
    phase.measured && is_whole && missing > SHORT_SHARE * offered && missing > SHORT_DEVIATIONS * offered.sqrt()
}

fn is_starved(phase: &PhaseOutcome) -> bool {
    phase.measured && phase.starved as f64 > STARVED_SHARE * (phase.starved + phase.connected) as f64
}

/// Whether lateness is a part of the latency that matters; 99th percentiles of both, in milliseconds.
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

    /// Connecting is in every report, whether its phase is measured or not; what else such a phase did is in none.
    #[test]
    fn connecting_late_or_busy_is_told_of_every_phase() {
        let connecting = |generator_cpu, lag, connect, count| {
            let connect_lag = Percentiles { p99: lag, count, ..Percentiles::default() };
            let connect = Percentiles { p99: connect, count, ..Percentiles::default() };
            PhaseOutcome { measured: false, connect_lag, connect, ..phase("connect", generator_cpu, 50.0, 5.0) }
        };
        assert_eq!(notes_of(vec![connecting(50.0, 1.0, 5.0, 10), connecting(99.0, 0.0, 0.0, 0)]), [""; 0]);
        // 4 ms of 500 are not what the figure is made of.
        assert_eq!(notes_of(vec![connecting(50.0, 4.0, 500.0, 10)]), [""; 0]);
        let notes = notes_of(vec![connecting(97.0, 9.0, 10.0, 10), connecting(50.0, 8.0, 10.0, 10)]);
        assert!(notes[0].starts_with("connect: ") && notes[0].contains("97 %"), "{notes:?}");
        assert!(notes[1].contains("connections were begun 8.0 ms late"), "{notes:?}");
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn less_sent_than_offered_is_told_unless_clients_were_missing() {
        let sent = |sent, failed, measured| {
            let rate_sent = sent as f64 / 10.0;
            let phase = phase("a", 50.0, 0.0, 5.0);
            PhaseOutcome { rate_offered: 1_000.0, seconds: 10.0, sent, rate_sent, failed, measured, ..phase }
        };
        // Random times: a few hundred of ten thousand more or fewer are chance.
        for fine in [sent(10_000, 0, true), sent(9_600, 0, true), sent(5_000, 1, true), sent(5_000, 0, false)] {
            assert_eq!(notes_of(vec![fine]), [""; 0]);
        }
        let notes = notes_of(vec![sent(9_000, 0, true), sent(7_000, 0, true)]);
        assert!(notes[0].starts_with("a: ") && notes[0].contains("up to 30 % less"), "{notes:?}");
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn churn_without_a_free_client_is_told() {
        let churn = |starved| PhaseOutcome { starved, connected: 1_000, ..phase("a", 50.0, 0.0, 5.0) };
        assert_eq!(notes_of(vec![churn(0), churn(10)]), [""; 0]);
        let notes = notes_of(vec![churn(10), churn(1_500)]);
        assert!(notes[0].starts_with("a: 1,500 connections"), "{notes:?}");
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
