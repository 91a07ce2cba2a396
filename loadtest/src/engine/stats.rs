//! What a worker counts and measures: per phase, per second, per action.
//!
//! Latencies are HdrHistograms in microseconds, three significant digits, up to an hour. A message belongs to the phase
//! in which it was due and to the second in which it arrived.

use super::wire;
use crate::engine::verify::Faults;
use crate::failure::Failures;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency told apart. Microseconds: an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// An empty histogram of microseconds.
pub fn histogram() -> Histogram<u64> {
    // Cannot fail: 1, an hour and 3 are within the bounds that the crate documents.
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Records nanoseconds.
pub fn record_ns(histogram: &mut Histogram<u64>, ns: u64) {
    histogram.saturating_record((ns / 1000).max(1));
}

/// Adds one histogram to another of the same kind.
pub fn add_histogram(target: &mut Histogram<u64>, source: &Histogram<u64>) {
    // Cannot fail: all are made by `histogram`.
    let _ = target.add(source);
}

/// Counters that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages sent.
    pub sent: u64,
    /// Messages received that were expected: deliveries.
    pub received: u64,
    /// Messages unanswered when their connection ended.
    pub abandoned: u64,
    /// Times that a message was due and no client could send it.
    pub unsent: u64,
    /// Connections that were ready.
    pub connected: u64,
    /// Connections that failed or were lost.
    pub failed: u64,
    /// Connections that came back after they had been lost.
    pub reconnected: u64,
    /// Heartbeats of Engine.IO that were answered.
    pub heartbeats: u64,
    /// Events of other kinds than the plan's, which applications send of their own accord.
    pub other_events: u64,
    /// Connections that were due while all clients were in use (churn).
    pub starved: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes handed to sockets or to their outboxes.
    pub bytes_out: u64,
}

impl Counts {
    /// Adds another part's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            sent,
            received,
            abandoned,
            unsent,
            connected,
            failed,
            reconnected,
            heartbeats,
            other_events,
            starved,
            bytes_in,
            bytes_out,
        } = other;
        self.sent += sent;
        self.received += received;
        self.abandoned += abandoned;
        self.unsent += unsent;
        self.connected += connected;
        self.failed += failed;
        self.reconnected += reconnected;
        self.heartbeats += heartbeats;
        self.other_events += other_events;
        self.starved += starved;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
    }
}

/// One phase, or one second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// What happened how often.
    pub counts: Counts,
    /// From when a message was due to its delivery, per action.
    #[serde(with = "wire::many")]
    pub latency: Vec<Histogram<u64>>,
    /// From when a connection was due until its namespace was joined.
    #[serde(with = "wire::one")]
    pub connect: Histogram<u64>,
    /// From when a connection was lost until it was back.
    #[serde(with = "wire::one")]
    pub reconnect: Histogram<u64>,
    /// How late messages were sent: the load generator's own fault.
    #[serde(with = "wire::one")]
    pub lag: Histogram<u64>,
    /// How late connections were begun: the same.
    #[serde(with = "wire::one")]
    pub connect_lag: Histogram<u64>,
    /// Messages that arrived wrong: repeated, reordered, changed, or where they should not; at the end also those that never came.
    pub faults: u64,
}

impl Stats {
    /// Empty, for so many actions.
    pub fn new(action_count: usize) -> Self {
        Self {
            counts: Counts::default(),
            latency: vec![histogram(); action_count],
            connect: histogram(),
            reconnect: histogram(),
            lag: histogram(),
            connect_lag: histogram(),
            faults: 0,
        }
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (target, source) in self.latency.iter_mut().zip(&other.latency) {
            add_histogram(target, source);
        }
        add_histogram(&mut self.connect, &other.connect);
        add_histogram(&mut self.reconnect, &other.reconnect);
        add_histogram(&mut self.lag, &other.lag);
        add_histogram(&mut self.connect_lag, &other.connect_lag);
        self.faults += other.faults;
    }

    /// Latency over all actions.
    pub fn latency_of_all(&self) -> Histogram<u64> {
        let mut all = histogram();
        for action in &self.latency {
            add_histogram(&mut all, action);
        }
        all
    }
}

/// What a worker says of one second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Second {
    /// Which second since the run began.
    pub index: u64,
    /// What happened in it.
    pub counts: Counts,
    /// Latency over all actions.
    #[serde(with = "wire::one")]
    pub latency: Histogram<u64>,
    /// Clients ready at its end.
    pub ready: u32,
    /// Faults in it. What was lost is known only at the end.
    pub faults: Faults,
    /// CPU time of the worker's thread in it. Nanoseconds.
    pub cpu_ns: u64,
    /// Failures in it.
    pub failures: Failures,
}
