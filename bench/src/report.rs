//! The result of one run of `drive`: what was asked, what the server paid, how long messages took.
//!
//! Written as JSON (`--json`), read back by `measure`, kept in `runs/`. Field names carry their units; a
//! field that the scenario does not measure is absent.
use crate::verify::Faults;
use serde::{Deserialize, Serialize};

/// One run against one server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Name given by `--label`.
    pub label: String,
    /// The scenario, as on the command line.
    pub scenario: String,
    /// `socketio` or `raw`.
    pub protocol: String,
    /// Connections.
    pub clients: usize,
    /// Bytes of payload per message (of the whole message in the raw protocol).
    pub size: usize,
    /// Messages in flight per group, or none in a paced run.
    pub in_flight: Option<usize>,
    /// Messages per second offered, in a paced run.
    pub rate_offered: Option<f64>,
    /// Threads of the server when all clients were connected.
    pub server_threads: usize,
    /// Cost of getting every client connected.
    pub connect: Connect,
    /// The measured window of a message scenario.
    pub window: Option<Window>,
    /// The measurements of `idle`.
    pub idle: Option<Idle>,
    /// Everything that went wrong over the whole run.
    pub faults: Faults,
}

/// From the first connection to the last one that is ready.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Connect {
    /// Server CPU per connection, microseconds.
    pub cpu_us: f64,
    /// Connections per second.
    pub rate: f64,
    /// Time from `connect(2)` to the namespace's answer, microseconds.
    pub latency_p50_us: f64,
    /// 99th percentile of the same.
    pub latency_p99_us: f64,
    /// Server CPU per connection that leaves, microseconds (of `connect` alone).
    pub leave_cpu_us: Option<f64>,
    /// Server CPU as a share of one core while connecting.
    pub server_utilisation: f64,
    /// This client's CPU as a share of one core while connecting.
    pub client_utilisation: f64,
}

/// A steady stretch of messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// Length, seconds.
    pub seconds: f64,
    /// Messages that reached all their receivers.
    pub messages: u64,
    /// Deliveries: messages times receivers.
    pub deliveries: u64,
    /// Server CPU per message, microseconds.
    pub cpu_us_per_message: f64,
    /// Server CPU per delivery, microseconds. The figure that is compared.
    pub cpu_us_per_delivery: f64,
    /// Deliveries per second.
    pub deliveries_per_second: f64,
    /// Server CPU as a share of one core.
    pub server_utilisation: f64,
    /// Share of the time that the server's threads were ready but had no core (neighbours had it). With
    /// `server_utilisation` near 1 per thread: the server was saturated.
    pub server_waiting: f64,
    /// This client's CPU as a share of one core. Near 1: the client was the limit.
    pub client_utilisation: f64,
    /// Deliveries per read of this client: how far the server joins messages.
    pub deliveries_per_read: f64,
    /// From the send (in a paced run: from when it was due) to each delivery, microseconds.
    pub latency_p50_us: f64,
    /// 99th percentile of the same.
    pub latency_p99_us: f64,
    /// Largest of the same.
    pub latency_max_us: f64,
    /// Times the server's threads went to sleep, per delivery.
    #[serde(default)]
    pub sleeps_per_delivery: f64,
}

/// Connections that do nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Idle {
    /// Resident memory before the first connection, bytes.
    pub rss_before: u64,
    /// With half of the connections.
    pub rss_half: u64,
    /// With all of them.
    pub rss_all: u64,
    /// After they left.
    pub rss_after: u64,
    /// `(rss_all - rss_before) / clients`, bytes; pools that grow once are in it.
    pub rss_per_connection: f64,
    /// `(rss_all - rss_half) / (clients / 2)`, bytes: the growth alone.
    pub rss_per_connection_marginal: f64,
    /// Server CPU per connection and second of doing nothing, microseconds.
    pub cpu_us_per_connection_second: f64,
}

impl Report {
    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{:<16} {:<10} {:>6} clients", self.label, self.scenario, self.clients);
        if let Some(window) = &self.window {
            line += &format!(
                "  {:>7} B  {:>8.3} us/delivery  {:>9.0}/s  server {:>4.0}+{:.0} %  client {:>4.0} %  {:>5.1}/read  p50 {:>7.0} us  p99 {:>7.0} us",
                self.size,
                window.cpu_us_per_delivery,
                window.deliveries_per_second,
                100.0 * window.server_utilisation,
                100.0 * window.server_waiting,
                100.0 * window.client_utilisation,
                window.deliveries_per_read,
                window.latency_p50_us,
                window.latency_p99_us,
            );
        } else if let Some(idle) = &self.idle {
            line += &format!(
                "  {:>6.2} KB/connection (marginal {:.2})  {:.2} us/connection/s  RSS {:.1} -> {:.1} -> {:.1} MB",
                idle.rss_per_connection / 1024.0,
                idle.rss_per_connection_marginal / 1024.0,
                idle.cpu_us_per_connection_second,
                megabytes(idle.rss_before),
                megabytes(idle.rss_all),
                megabytes(idle.rss_after),
            );
        } else {
            line += &format!(
                "  {:>8.1} us/connection  {:>7.0}/s  server {:>4.0} %  client {:>4.0} %  p50 {:.0} us  p99 {:.0} us",
                self.connect.cpu_us,
                self.connect.rate,
                100.0 * self.connect.server_utilisation,
                100.0 * self.connect.client_utilisation,
                self.connect.latency_p50_us,
                self.connect.latency_p99_us,
            );
            if let Some(leave) = self.connect.leave_cpu_us {
                line += &format!("  leave {leave:.1} us");
            }
        }
        if self.faults.is_clean() { line + "  ok" } else { format!("{line}  FAULTS {:?}", self.faults) }
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reports_survive_json() {
        let report = Report {
            label: "floor".to_owned(),
            window: Some(Window { deliveries: 7, ..Window::default() }),
            ..Report::default()
        };
        let back: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(back.window.unwrap().deliveries, 7);
        assert!(back.idle.is_none());
    }

    #[test]
    fn faults_show_in_the_line() {
        let mut report = Report::default();
        assert!(report.line().ends_with("ok"));
        report.faults.duplicate = 1;
        assert!(report.line().contains("FAULTS"));
    }
}
