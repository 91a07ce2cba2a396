//! The result of a run as values: what is written as JSON, and what every report is made from.
//!
//! Times are in milliseconds, rates per second, sizes in bytes, CPU in percent of one core. A field that could not be
//! measured is null.

use super::text::counted;
use crate::engine::stats::Counts;
use crate::engine::verify::Faults;
use crate::failure::{Class, Failures};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The version of this format.
pub const FORMAT: u32 = 1;

/// The verdict of a search's step that the server held.
pub const HELD: &str = "held";

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`FORMAT`].
    pub format: u32,
    /// The program and its version.
    pub tool: String,
    /// The scenario's name.
    pub scenario: String,
    /// The server.
    pub url: String,
    /// How clients connected.
    pub transport: String,
    /// When the run began. Milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How long it took.
    pub seconds: f64,
    /// Cores of the machine that generated the load.
    pub cores: usize,
    /// Threads that generated it.
    pub workers: u32,
    /// How many of them are processes; 0 if they were threads of one.
    #[serde(default)]
    pub processes: u32,
    /// Messages of so many microseconds were due together; 0: each on its own.
    #[serde(default)]
    pub tick_us: u64,
    /// The processes of the server that were watched.
    pub server_pids: Vec<u32>,
    /// Whether everything that was planned was done.
    pub is_complete: bool,
    /// What has to be known to read the figures: bottlenecks, interruptions.
    pub notes: Vec<String>,
    /// What was found, in a sentence.
    pub verdict: String,
    /// What went wrong with messages.
    pub faults: Faults,
    /// The first of it.
    pub first_fault: Option<String>,
    /// What went wrong with connections.
    pub failures: Failures,
    /// All measured phases together.
    pub total: PhaseOutcome,
    /// Each phase.
    pub phases: Vec<PhaseOutcome>,
    /// Each second.
    pub series: Vec<SecondOutcome>,
}

/// One phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseOutcome {
    /// Its name.
    pub name: String,
    /// Whether its figures count.
    pub measured: bool,
    /// When it began, since the run did. Seconds.
    pub start: f64,
    /// How long it lasted. Seconds.
    pub seconds: f64,
    /// Clients that were to be connected.
    pub clients: u32,
    /// Messages per second that were to be sent, on average.
    pub rate_offered: f64,
    /// Messages per second that were sent.
    pub rate_sent: f64,
    /// Deliveries per second.
    pub rate_received: f64,
    /// Messages sent.
    pub sent: u64,
    /// Deliveries.
    pub received: u64,
    /// Messages that were due while nobody could send.
    pub unsent: u64,
    /// Messages unanswered when their connection ended.
    pub abandoned: u64,
    /// Connections made.
    pub connected: u64,
    /// Connections that failed or were lost.
    pub failed: u64,
    /// Connections that came back.
    pub reconnected: u64,
    /// Connections that were due while all clients were in use, and so were not made (churn).
    #[serde(default)]
    pub starved: u64,
    /// Messages that were due in it and never came, and those that arrived wrong in it: repeated, reordered, changed, or where they should
    /// not.
    #[serde(default)]
    pub faults: u64,
    /// Pings of the server that were answered.
    #[serde(default)]
    pub heartbeats: u64,
    /// From when a message was due to its delivery.
    pub latency: Percentiles,
    /// The same for each action.
    pub actions: Vec<(String, Percentiles)>,
    /// From when a connection was due until its namespace was joined.
    pub connect: Percentiles,
    /// From when a connection was lost until it was back.
    pub reconnect: Percentiles,
    /// How late messages were sent.
    pub lag: Percentiles,
    /// How late connections were begun.
    #[serde(default)]
    pub connect_lag: Percentiles,
    /// The server's CPU.
    pub server_cpu: Option<f64>,
    /// The server's memory at the end.
    pub server_rss: Option<u64>,
    /// CPU of the busiest worker.
    pub generator_cpu: f64,
    /// In the search for a limit: whether the server held this many clients, and if not, why.
    pub verdict: Option<String>,
    /// Latency as a distribution, for charts: upper bounds in milliseconds and the share of deliveries up to it.
    pub distribution: Vec<(f64, f64)>,
}

/// One second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecondOutcome {
    /// Since the run began.
    pub second: u64,
    /// The phase in which it ended.
    pub phase: String,
    /// Whether that phase is measured.
    pub measured: bool,
    /// Clients ready at its end.
    pub ready: u32,
    /// Messages sent.
    pub sent: u64,
    /// Deliveries.
    pub received: u64,
    /// Connections that became ready.
    pub connected: u64,
    /// Connections that failed or were lost.
    pub failed: u64,
    /// Messages that arrived wrong in it. What was lost is known only at the end, by phase.
    pub faults: u64,
    /// Median latency of what arrived; null if nothing did.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Greatest.
    pub max: Option<f64>,
    /// The server's CPU.
    pub server_cpu: Option<f64>,
    /// The server's memory.
    pub server_rss: Option<u64>,
    /// CPU of the busiest worker.
    pub generator_cpu: f64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

/// A distribution in a few figures. Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Least.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Median.
    pub p50: f64,
    /// 75 of 100 are at most this.
    pub p75: f64,
    /// 90 of 100.
    pub p90: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// Greatest.
    pub max: f64,
}

impl Percentiles {
    /// Of a histogram in microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| millis(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min: millis(histogram.min()),
            mean: histogram.mean() / 1e3,
            deviation: histogram.stdev() / 1e3,
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(histogram.max()),
        }
    }
}

/// Microseconds as milliseconds.
pub fn millis(us: u64) -> f64 {
    us as f64 / 1e3
}

/// The share of values up to each of about a hundred bounds: what a distribution's chart is drawn from.
pub fn distribution(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    histogram.iter_quantiles(5).map(|step| (millis(step.value_iterated_to()), step.quantile_iterated_to())).collect()
}

impl Outcome {
    /// What generated the load.
    pub fn workers_in_words(&self) -> String {
        let (one, many) = if self.processes == 0 { ("worker", "workers") } else { ("process", "processes") };
        counted(u64::from(self.workers), one, many)
    }

    /// Messages of all phases that were unanswered when their connection ended.
    pub fn abandoned(&self) -> u64 {
        self.phases.iter().map(|phase| phase.abandoned).sum()
    }

    /// Messages of all phases that were due while no client could send them.
    pub fn unsent(&self) -> u64 {
        self.phases.iter().map(|phase| phase.unsent).sum()
    }

    /// Whether connections ended before the run did: what was under way over them was not verified.
    pub fn has_ended_connections(&self) -> bool {
        self.phases.iter().any(|phase| phase.abandoned + phase.reconnected > 0)
            || self.failures.total() > self.failures.count(Class::NoSender)
    }
}

impl PhaseOutcome {
    /// Fills in what was counted over `seconds`.
    pub fn set_counts(&mut self, counts: &Counts, seconds: f64) {
        self.seconds = seconds;
        self.sent = counts.sent;
        self.received = counts.received;
        self.unsent = counts.unsent;
        self.abandoned = counts.abandoned;
        self.connected = counts.connected;
        self.failed = counts.failed;
        self.reconnected = counts.reconnected;
        self.starved = counts.starved;
        self.heartbeats = counts.heartbeats;
        if seconds > 0.0 {
            self.rate_sent = counts.sent as f64 / seconds;
            self.rate_received = counts.received as f64 / seconds;
        }
    }
}
