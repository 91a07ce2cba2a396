//! Two results side by side: the second in relation to the first, and whether the difference is more than their spread.
//!
//! The spread of a figure is the standard deviation of its per-second values within the measured phases. A ratio is
//! called a difference when the means lie further apart than twice the standard error of both together; otherwise the
//! two runs do not tell them apart. One run each is a hint, not proof: repeat it.

use super::outcome::{HELD, Outcome, SecondOutcome};
use super::text::{grouped, millis, rate};
use std::fmt::Write;

/// One figure of both.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is.
    pub name: &'static str,
    /// In the first.
    pub before: f64,
    /// In the second.
    pub after: f64,
    /// Per-second standard deviation, relative to the mean, of the first and the second. NaN: not known per second.
    pub spread: (f64, f64),
    /// Whether the difference is more than the spread explains; `None` if that is not known.
    pub is_distinct: Option<bool>,
}

impl Row {
    /// The second in relation to the first.
    pub fn ratio(&self) -> f64 {
        self.after / self.before
    }
}

/// All figures that both have.
pub fn rows(before: &Outcome, after: &Outcome) -> Vec<Row> {
    type Figure = (&'static str, fn(&Outcome) -> Option<f64>, Option<fn(&SecondOutcome) -> Option<f64>>);
    let figures: [Figure; 10] = [
        ("clients held", held, None),
        ("delivered per second", |run| Some(run.total.rate_received), Some(|second| Some(second.received as f64))),
        ("latency p50", |run| positive(run.total.latency.p50), Some(|second| second.p50)),
        ("latency p99", |run| positive(run.total.latency.p99), Some(|second| second.p99)),
        ("latency p99.9", |run| positive(run.total.latency.p999), None),
        ("latency max", |run| positive(run.total.latency.max), Some(|second| second.max)),
        ("connect p50", |run| positive(run.total.connect.p50), None),
        ("connect p99", |run| positive(run.total.connect.p99), None),
        ("server CPU, %", |run| run.total.server_cpu, Some(|second| second.server_cpu)),
        ("server memory, MB", |run| run.total.server_rss.map(|bytes| bytes as f64 / 1e6), None),
    ];
    let row = |(name, total, second): Figure| {
        let (first, last) = (total(before)?, total(after)?);
        let (mut spread, mut is_distinct) = ((f64::NAN, f64::NAN), None);
        if let Some(second) = second {
            let (left, right) = (Sample::of(before, second), Sample::of(after, second));
            spread = (left.deviation / left.mean, right.deviation / right.mean);
            let error = (left.error().powi(2) + right.error().powi(2)).sqrt();
            is_distinct = (left.count > 1 && right.count > 1).then(|| (left.mean - right.mean).abs() > 2.0 * error);
        }
        (first > 0.0).then_some(Row { name, before: first, after: last, spread, is_distinct })
    };
    figures.into_iter().filter_map(row).collect()
}

/// What a search found.
fn held(run: &Outcome) -> Option<f64> {
    let held = run.phases.iter().filter(|phase| phase.verdict.as_deref() == Some(HELD));
    held.map(|phase| f64::from(phase.clients)).reduce(f64::max)
}

fn positive(value: f64) -> Option<f64> {
    (value > 0.0).then_some(value)
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    count: usize,
    mean: f64,
    deviation: f64,
}

impl Sample {
    fn of(outcome: &Outcome, figure: fn(&SecondOutcome) -> Option<f64>) -> Self {
        // The figures of a search are those of one of its steps.
        let counts = |second: &&SecondOutcome| {
            second.measured && (outcome.verdict.is_empty() || second.phase == outcome.total.name)
        };
        let values: Vec<f64> = outcome.series.iter().filter(counts).filter_map(figure).collect();
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count.max(1) as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { count, mean, deviation: (squares / count.saturating_sub(1).max(1) as f64).sqrt() }
    }

    fn error(self) -> f64 {
        self.deviation / (self.count.max(1) as f64).sqrt()
    }
}

/// The comparison as a table.
pub fn table(before: &Outcome, after: &Outcome) -> String {
    let mut out = String::new();
    let did = |run: &Outcome| {
        let asked = (run.total.clients, (run.total.rate_offered * 100.0).round() as u64);
        // What a search finds is its result, not what it was asked to do.
        (run.scenario.clone(), run.transport.clone(), run.tick_us, run.verdict.is_empty().then_some(asked))
    };
    if did(before) != did(after) {
        out.push_str("These runs did not do the same:\n");
    }
    // Writing to memory cannot fail.
    for (name, run) in [("before", before), ("after", after)] {
        let _ = writeln!(
            out,
            "{name:<7} {} against {}, {} clients, {}/s offered, {} faults, {} failures",
            run.scenario,
            run.url,
            run.total.clients,
            rate(run.total.rate_offered),
            grouped(run.faults.total()),
            grouped(run.failures.total())
        );
    }
    let _ = writeln!(out, "\n{:<22}{:>12}{:>12}{:>9}   spread", "", "before", "after", "ratio");
    for row in rows(before, after) {
        let write = |value| {
            if row.name.starts_with("latency") || row.name.starts_with("connect") { millis(value) } else { rate(value) }
        };
        let spread = match row.is_distinct {
            None => "-".to_owned(),
            Some(is_distinct) => format!(
                "{:.0} % / {:.0} %  {}",
                100.0 * row.spread.0,
                100.0 * row.spread.1,
                if is_distinct { "distinct" } else { "within the spread" }
            ),
        };
        let _ = writeln!(
            out,
            "{:<22}{:>12}{:>12}{:>8.2}x   {spread}",
            row.name,
            write(row.before),
            write(row.after),
            row.ratio()
        );
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::outcome::PhaseOutcome;
    use crate::report::threshold::tests::outcome_with;

    fn with_series(p99: f64, wobble: f64) -> Outcome {
        let mut outcome = outcome_with(p99, 0);
        outcome.series = (0..10)
            .map(|second| SecondOutcome {
                second,
                measured: second > 0,
                received: 100,
                p99: Some(p99 + if second % 2 == 0 { wobble } else { -wobble }),
                ..SecondOutcome::default()
            })
            .collect();
        outcome
    }

    fn p99(before: &Outcome, after: &Outcome) -> Row {
        rows(before, after).into_iter().find(|row| row.name == "latency p99").unwrap()
    }

    #[test]
    fn ratios_are_the_second_over_the_first() {
        let row = p99(&with_series(10.0, 1.0), &with_series(25.0, 1.0));
        assert_eq!((row.ratio(), row.is_distinct), (2.5, Some(true)));
    }

    #[test]
    fn noise_is_not_called_a_difference() {
        let row = p99(&with_series(10.0, 8.0), &with_series(11.0, 8.0));
        assert_eq!(row.is_distinct, Some(false));
        assert!(table(&with_series(10.0, 8.0), &with_series(11.0, 8.0)).contains("within the spread"));
    }

    /// What searches found is compared, and their steps beside the best one do not blur its spread.
    #[test]
    fn searches_are_compared_by_what_they_found() {
        let search = |clients: u32| {
            let mut outcome = with_series(10.0, 1.0);
            outcome.verdict = "found".to_owned();
            let step = |clients, verdict: &str| PhaseOutcome {
                clients,
                name: format!("{clients} clients"),
                verdict: Some(verdict.to_owned()),
                ..outcome.total.clone()
            };
            outcome.phases = vec![step(10, HELD), step(clients, HELD), step(2 * clients, "not held: p99 was 3 s")];
            outcome.total = outcome.phases[1].clone();
            for second in &mut outcome.series {
                let is_best = second.second < 8;
                second.phase = if is_best { outcome.total.name.clone() } else { "other".to_owned() };
                second.p99 = second.p99.map(|p99| if is_best { p99 } else { 1000.0 * p99 });
            }
            outcome
        };
        let (before, after) = (search(100), search(150));
        assert_eq!(rows(&before, &after)[0].ratio(), 1.5);
        assert!(p99(&before, &after).spread.0 < 0.2);
        assert!(!table(&before, &after).contains("did not do the same"));
        let slower = Outcome { tick_us: 5, ..before.clone() };
        assert!(table(&before, &slower).contains("did not do the same"));
    }

    #[test]
    fn what_one_of_them_lacks_is_left_out() {
        let names: Vec<&str> = rows(&outcome_with(1.0, 0), &outcome_with(1.0, 0)).iter().map(|row| row.name).collect();
        assert!(!names.contains(&"server CPU, %") && names.contains(&"latency p50"), "{names:?}");
    }
}
