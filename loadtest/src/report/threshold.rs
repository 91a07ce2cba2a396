//! Conditions that fail a run: `p99>20ms`, `lost>0`, `received<1000`.
//!
//! Metrics come from all measured phases together. A metric that was not measured fails, because a condition that is
//! silently not checked is worse than one that is wrong.

use super::outcome::{Outcome, Percentiles};
use std::fmt;
use std::str::FromStr;

/// The metrics that a condition may name; those of [`PERCENTILES`] also behind `connect.` and `reconnect.`.
const METRICS: &[&str] = &[
    "rate",
    "received",
    "sent",
    "clients",
    "failures",
    "faults",
    "lost",
    "duplicated",
    "reordered",
    "corrupt",
    "unexpected",
    "unsent",
    "abandoned",
    "cpu",
    "rss",
];
const PERCENTILES: &[&str] = &["min", "mean", "p50", "p75", "p90", "p95", "p99", "p999", "max"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: String,
    comparison: Comparison,
    bound: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let start =
            text.find(['<', '>']).ok_or_else(|| format!("{text:?}: a condition needs < or >, as in p99>20ms"))?;
        let is_equal = text[start + 1..].starts_with('=');
        let comparison = match (&text[start..=start], is_equal) {
            (">", false) => Comparison::Above,
            (">", true) => Comparison::AtLeast,
            (_, false) => Comparison::Below,
            (_, true) => Comparison::AtMost,
        };
        let metric = text[..start].trim().replace("p99.9", "p999");
        let known = METRICS.contains(&metric.as_str())
            || PERCENTILES.contains(&metric.rsplit('.').next().unwrap_or_default())
                && ["", "latency.", "connect.", "reconnect."]
                    .contains(&metric.trim_end_matches(|character| character != '.'));
        if !known {
            return Err(format!(
                "{metric:?} is no metric. There are {}, and {} (also as connect.p99, reconnect.p99)",
                METRICS.join(", "),
                PERCENTILES.join(", ")
            ));
        }
        let bound = parse_quantity(text[start + 1 + usize::from(is_equal)..].trim())?;
        Ok(Self { text: text.to_owned(), metric, comparison, bound })
    }
}

/// A number with an optional unit: of time (us, ms, s; milliseconds without), of size (kB, MB, GB), or %.
fn parse_quantity(text: &str) -> Result<f64, String> {
    let end = text.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| format!("{text:?} is not a number"))?;
    let factor = match text[end..].trim() {
        "" | "ms" | "%" | "B" | "/s" => 1.0,
        "us" | "µs" => 1e-3,
        "s" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        unit => return Err(format!("{unit:?} is no unit: use us, ms, s, kB, MB, GB or %")),
    };
    Ok(number * factor)
}

impl Threshold {
    /// The value that fails, or `None` if the run passes.
    pub fn crossed_by(&self, outcome: &Outcome) -> Option<Crossed<'_>> {
        let value = self.value(outcome);
        let is_crossed = match (value, self.comparison) {
            (None, _) => true,
            (Some(value), Comparison::Above) => value > self.bound,
            (Some(value), Comparison::AtLeast) => value >= self.bound,
            (Some(value), Comparison::Below) => value < self.bound,
            (Some(value), Comparison::AtMost) => value <= self.bound,
        };
        is_crossed.then_some(Crossed { text: &self.text, metric: &self.metric, value })
    }

    fn value(&self, outcome: &Outcome) -> Option<f64> {
        let total = &outcome.total;
        let faults = &outcome.faults;
        Some(match self.metric.as_str() {
            "rate" => total.rate_received,
            "received" => total.received as f64,
            "sent" => total.sent as f64,
            "clients" => f64::from(total.clients),
            "failures" => outcome.failures.total() as f64,
            "faults" => faults.total() as f64,
            "lost" => faults.lost as f64,
            "duplicated" => faults.duplicated as f64,
            "reordered" => faults.reordered as f64,
            "corrupt" => faults.corrupt as f64,
            "unexpected" => faults.unexpected as f64,
            "unsent" => total.unsent as f64,
            "abandoned" => total.abandoned as f64,
            "cpu" => return total.server_cpu,
            "rss" => return total.server_rss.map(|bytes| bytes as f64),
            name => {
                let (kind, percentile) = name.rsplit_once('.').unwrap_or(("latency", name));
                let figures = match kind {
                    "connect" => &total.connect,
                    "reconnect" => &total.reconnect,
                    _ => &total.latency,
                };
                return percentile_named(figures, percentile).filter(|_| figures.count > 0);
            }
        })
    }
}

/// A percentile by its name.
pub fn percentile_named(figures: &Percentiles, name: &str) -> Option<f64> {
    Some(match name {
        "min" => figures.min,
        "mean" => figures.mean,
        "p50" => figures.p50,
        "p75" => figures.p75,
        "p90" => figures.p90,
        "p95" => figures.p95,
        "p99" => figures.p99,
        "p999" => figures.p999,
        "max" => figures.max,
        _ => return None,
    })
}

/// A condition that failed a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossed<'a> {
    text: &'a str,
    metric: &'a str,
    value: Option<f64>,
}

impl fmt::Display for Crossed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "failed: {} ({} was {value:.3})", self.text, self.metric),
            None => write!(f, "failed: {} ({} was not measured)", self.text, self.metric),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::outcome::PhaseOutcome;

    pub(crate) fn outcome_with(p99: f64, lost: u64) -> Outcome {
        let latency = Percentiles { count: 100, p50: p99 / 2.0, p99, max: p99 * 2.0, ..Percentiles::default() };
        let total = PhaseOutcome {
            name: "steady".to_owned(),
            measured: true,
            seconds: 10.0,
            sent: 1000,
            received: 1000,
            rate_received: 100.0,
            latency,
            ..PhaseOutcome::default()
        };
        Outcome {
            format: super::super::outcome::FORMAT,
            tool: "test".to_owned(),
            scenario: "echo".to_owned(),
            url: "http://localhost:3000".to_owned(),
            transport: "websocket".to_owned(),
            started_unix_ms: 0,
            seconds: 10.0,
            cores: 2,
            workers: 1,
            processes: 0,
            tick_us: 0,
            server_pids: vec![],
            is_complete: true,
            notes: vec![],
            verdict: String::new(),
            faults: crate::engine::verify::Faults { lost, ..Default::default() },
            first_fault: None,
            failures: Default::default(),
            phases: vec![total.clone()],
            total,
            series: vec![],
        }
    }

    #[test]
    fn conditions_are_checked_with_their_units() {
        let outcome = outcome_with(25.0, 3);
        for (text, is_crossed) in [
            ("p99>20ms", true),
            ("p99>25ms", false),
            ("p99>=25", true),
            ("p99 > 0.02s", true),
            ("p50<=12500us", true),
            ("lost>0", true),
            ("rate<100", false),
            ("received<1001", true),
            ("latency.max>1s", false),
            // Nothing reconnected and no server was seen: that cannot pass.
            ("reconnect.p99>1s", true),
            ("rss>1GB", true),
        ] {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!(threshold.crossed_by(&outcome).is_some(), is_crossed, "{text}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |text: &str| text.parse::<Threshold>().unwrap_err();
        assert!(error("p99=20").contains("needs < or >"));
        assert!(error("p98>20ms").contains("no metric") && error("x.p99>1").contains("no metric"));
        assert!(error("p99>20h").contains("no unit"));
        assert!(error("p99>abc").contains("not a number"));
    }
}
