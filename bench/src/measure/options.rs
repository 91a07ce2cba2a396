//! The command line of `measure`, and the scenarios it knows.
use clap::Parser;
use std::path::PathBuf;

/// Measures servers against each other and against the floor, in interleaved rounds.
///
/// Every run starts its server afresh, pinned away from the client. A round visits every scenario with every
/// target; ratios are taken within a round, so that a slow minute of the machine hits all alike.
#[derive(Clone, Debug, Parser)]
#[command(name = "measure", version)]
pub struct Options {
    /// Name of the run: results go to OUT/DATE-NAME.
    #[arg(long)]
    pub name: String,
    /// A server as NAME=COMMAND; {port} is replaced. Repeatable; the order is that of the table.
    #[arg(long = "target", value_parser = parse_target)]
    pub targets: Vec<Target>,
    /// Target whose figures the others are divided by in a second column, beside the floor.
    #[arg(long)]
    pub reference: Option<String>,
    /// Leaves the floor program out.
    #[arg(long)]
    pub no_floor: bool,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Scenarios to run, by name; all when absent. `--list` shows them.
    #[arg(long, value_delimiter = ',')]
    pub scenarios: Vec<String>,
    /// Shows the scenarios and ends.
    #[arg(long)]
    pub list: bool,
    /// Seconds of each window.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Seconds under load before each window.
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Leaves the runs that count system calls out.
    #[arg(long)]
    pub no_syscalls: bool,
    /// Cores of the server, as taskset(1) takes them.
    #[arg(long, default_value = "0")]
    pub server_cores: String,
    /// Core of the client.
    #[arg(long, default_value_t = 1)]
    pub client_core: usize,
    /// Folder of the results.
    #[arg(long, default_value = "bench/runs")]
    pub out: PathBuf,
}

/// A server to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name in the tables.
    pub name: String,
    /// Shell command with `{port}` in it.
    pub command: String,
    /// Which floor program this is, if it is one.
    pub floor: Option<Floor>,
}

/// The floor programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// One send per message and receiver.
    Plain,
    /// Messages that arrive together leave together.
    Join,
}

fn parse_target(text: &str) -> Result<Target, String> {
    match text.split_once('=') {
        Some((name, command)) if !name.is_empty() && command.contains("{port}") => {
            Ok(Target { name: name.to_owned(), command: command.to_owned(), floor: None })
        }
        _ => Err("must be NAME=COMMAND with {port} in the command".to_owned()),
    }
}

/// What is measured in one row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name, for `--scenarios` and in results.
    pub name: &'static str,
    /// Arguments of `drive`.
    pub arguments: &'static str,
    /// Figure that is compared.
    pub unit: Unit,
    /// Mode of the floor program that does the same; none where it cannot.
    pub floor_mode: Option<&'static str>,
}

/// The figure of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Server CPU per connection, microseconds.
    Connection,
    /// Resident bytes per idle connection, KB of 1024 bytes.
    Memory,
    /// Server CPU per delivery, microseconds.
    Delivery,
}

impl Unit {
    /// Short form for tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Connection => "us/connection",
            Self::Memory => "KB/connection",
            Self::Delivery => "us/delivery",
        }
    }
}

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    Row { name: "connect", arguments: "connect --clients 5000", unit: Unit::Connection, floor_mode: Some("echo") },
    Row { name: "idle", arguments: "idle --clients 5000", unit: Unit::Memory, floor_mode: Some("echo") },
    Row { name: "echo-1", arguments: "echo --clients 1", unit: Unit::Delivery, floor_mode: Some("echo") },
    Row { name: "echo-500", arguments: "echo --clients 500", unit: Unit::Delivery, floor_mode: Some("echo") },
    Row { name: "ack-500", arguments: "ack --clients 500", unit: Unit::Delivery, floor_mode: Some("echo") },
    Row { name: "bin-1k", arguments: "bin --clients 100 --size 1024", unit: Unit::Delivery, floor_mode: Some("echo") },
    Row { name: "bin-64k", arguments: "bin --clients 100 --size 65536", unit: Unit::Delivery, floor_mode: None },
    Row {
        name: "broadcast-1000",
        arguments: "broadcast --clients 1000 --in-flight 4",
        unit: Unit::Delivery,
        floor_mode: Some("broadcast"),
    },
    Row {
        name: "broadcast-1000-50/s",
        arguments: "broadcast --clients 1000 --rate 50",
        unit: Unit::Delivery,
        floor_mode: Some("broadcast"),
    },
    Row {
        name: "broadcast-5000",
        arguments: "broadcast --clients 5000 --in-flight 4",
        unit: Unit::Delivery,
        floor_mode: Some("broadcast"),
    },
    Row {
        name: "broadcast-5000-20/s",
        arguments: "broadcast --clients 5000 --rate 20",
        unit: Unit::Delivery,
        floor_mode: Some("broadcast"),
    },
    Row { name: "rooms", arguments: "rooms --clients 2000 --rooms 200", unit: Unit::Delivery, floor_mode: None },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::drive::options::Options as DriveOptions;

    #[test]
    fn every_row_is_a_valid_run() {
        for row in ROWS {
            let line = format!("drive {} --port 1 --pid 1", row.arguments);
            let options = DriveOptions::try_parse_from(line.split_whitespace()).unwrap();
            assert!(options.groups().is_ok(), "{}", row.name);
            assert_eq!(options.scenario.language().is_some(), row.unit == Unit::Delivery);
        }
    }

    #[test]
    fn targets_need_a_name_and_a_port() {
        assert_eq!(parse_target("a=b --port {port} --x=y").unwrap().command, "b --port {port} --x=y");
        for bad in ["a", "=b {port}", "a=b"] {
            assert!(parse_target(bad).is_err());
        }
    }
}
