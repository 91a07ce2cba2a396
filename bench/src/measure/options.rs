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
    /// What a target cannot do, as NAME=NEED,NEED: rows that need it are left out for it. `--list` shows what rows need.
    #[arg(long = "lacks", value_parser = parse_lack)]
    pub lacks: Vec<(String, String)>,
    /// The targets speak the floor's protocol, not Socket.IO; {mode} in a command is what the floor would do (echo, broadcast).
    #[arg(long)]
    pub raw: bool,
    /// Leaves the floor program out.
    #[arg(long)]
    pub no_floor: bool,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Scenarios to run, by name; when absent all but those of latency. `--list` shows them.
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

fn parse_lack(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, needs)) if !name.is_empty() => Ok((name.to_owned(), needs.to_owned())),
        _ => Err("must be NAME=NEED,NEED".to_owned()),
    }
}

/// What is measured in one row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name, for `--scenarios` and in results.
    pub name: &'static str,
    /// Arguments of its program.
    pub arguments: &'static str,
    /// Who loads the server.
    pub driver: Driver,
    /// Figure that is compared.
    pub unit: Unit,
    /// Mode of the floor program that does the same; none where it cannot.
    pub floor_mode: Option<&'static str>,
    /// Options that the server's command gets besides.
    pub server: &'static str,
    /// What not every server can do, separated by commas.
    pub needs: &'static str,
    /// Whether it is measured unless asked for.
    pub is_default: bool,
}

/// Who loads the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// `drive`: saturates or paces, over WebSocket as it is.
    Drive,
    /// `ringio-loadtest run`, paced: it polls, inflates, and speaks msgpack.
    Loadtest,
}

impl Driver {
    /// Its program, as one would type it.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Drive => "drive",
            Self::Loadtest => "ringio-loadtest run",
        }
    }
}

/// The figure of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Server CPU per connection, microseconds.
    Connection,
    /// Server CPU per connection that comes and leaves, microseconds.
    Churn,
    /// Resident bytes per idle connection, KB of 1024 bytes.
    Memory,
    /// Server CPU per delivery, microseconds.
    Delivery,
    /// Time from when a message was due to its delivery, microseconds: the median, and the 99th percentile beside it.
    Latency,
}

impl Unit {
    /// Short form for tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Connection => "us/connection",
            Self::Churn => "us/come and leave",
            Self::Memory => "KB/connection",
            Self::Delivery => "us/delivery",
            Self::Latency => "us until delivered",
        }
    }
}

impl Row {
    const fn drive(name: &'static str, arguments: &'static str, unit: Unit) -> Self {
        let (driver, floor_mode) = (Driver::Drive, None);
        Self { name, arguments, driver, unit, floor_mode, server: "", needs: "", is_default: true }
    }

    const fn loadtest(name: &'static str, arguments: &'static str) -> Self {
        Self { driver: Driver::Loadtest, ..Self::drive(name, arguments, Unit::Delivery) }
    }

    const fn floor(self, mode: &'static str) -> Self {
        Self { floor_mode: Some(mode), ..self }
    }

    const fn server(self, server: &'static str, needs: &'static str) -> Self {
        Self { server, needs, ..self }
    }

    const fn needs(self, needs: &'static str) -> Self {
        Self { needs, ..self }
    }

    const fn optional(self) -> Self {
        Self { is_default: false, ..self }
    }

    const fn latency(name: &'static str, arguments: &'static str) -> Self {
        Self::drive(name, arguments, Unit::Latency).floor("echo").optional()
    }

    /// Whether a server that lacks these things can be measured in this row.
    #[must_use]
    pub fn suits(&self, lacking: &str) -> bool {
        !self.needs.split(',').any(|need| !need.is_empty() && lacking.split(',').any(|lack| lack == need))
    }
}

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    Row::drive("connect", "connect --clients 5000", Unit::Connection).floor("echo"),
    Row::drive("churn", "connect --clients 5000", Unit::Churn).needs("leave"),
    Row::drive("idle", "idle --clients 5000", Unit::Memory).floor("echo"),
    Row::drive("echo-1", "echo --clients 1", Unit::Delivery).floor("echo"),
    Row::drive("echo-500", "echo --clients 500", Unit::Delivery).floor("echo"),
    Row::drive("ack-500", "ack --clients 500", Unit::Delivery).floor("echo").needs("acks"),
    Row::drive("bin-1k", "bin --clients 100 --size 1024", Unit::Delivery).floor("echo"),
    Row::drive("bin-64k", "bin --clients 100 --size 65536", Unit::Delivery),
    Row::drive("broadcast-100", "broadcast --clients 100 --in-flight 4", Unit::Delivery).floor("broadcast").optional(),
    Row::drive("broadcast-1000", "broadcast --clients 1000 --in-flight 4", Unit::Delivery).floor("broadcast"),
    Row::drive("broadcast-1000-50/s", "broadcast --clients 1000 --rate 50", Unit::Delivery).floor("broadcast"),
    Row::drive("broadcast-5000", "broadcast --clients 5000 --in-flight 4", Unit::Delivery).floor("broadcast"),
    Row::drive("broadcast-5000-20/s", "broadcast --clients 5000 --rate 20", Unit::Delivery).floor("broadcast"),
    Row::drive("rooms", "rooms --clients 2000 --rooms 200", Unit::Delivery).needs("rooms"),
    Row::drive("namespaces-echo", "echo --clients 500 --namespaces 50", Unit::Delivery)
        .server("--namespaces 50", "namespaces"),
    Row::drive("namespaces-broadcast", "broadcast --clients 1000 --namespaces 50 --in-flight 4", Unit::Delivery)
        .server("--namespaces 50", "namespaces"),
    Row::drive("recovery-broadcast", "broadcast --clients 1000 --in-flight 4 --recovery", Unit::Delivery)
        .server("--recovery", "recovery"),
    Row::loadtest("polling-echo", "echo --clients 100 --rate 2000 --transport polling").needs("polling"),
    Row::loadtest("msgpack-echo", "echo --clients 500 --rate 10000 --tick 1000 --parser msgpack")
        .server("--parser msgpack", "msgpack"),
    Row::loadtest("deflate-echo-1k", "echo --clients 100 --rate 2000 --size 1024 --deflate")
        .server("--deflate", "deflate"),
    Row::loadtest("deflate-broadcast-1k", "broadcast --clients 1000 --rate 5 --size 1024 --deflate")
        .server("--deflate", "deflate"),
    Row::latency("latency-1", "echo --clients 1 --rate 500"),
    Row::latency("latency-10", "echo --clients 10 --rate 1000"),
    Row::latency("latency-100", "echo --clients 100 --rate 5000"),
    Row::latency("latency-1000", "echo --clients 1000 --rate 10000"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::drive::options::Options as DriveOptions;

    #[test]
    fn every_row_is_a_valid_run() {
        for row in ROWS.iter().filter(|row| row.driver == Driver::Drive) {
            let line = format!("drive {} --port 1 --pid 1", row.arguments);
            let options = DriveOptions::try_parse_from(line.split_whitespace()).unwrap();
            assert!(options.groups().is_ok(), "{}", row.name);
            let has_window = matches!(row.unit, Unit::Delivery | Unit::Latency);
            assert_eq!(options.scenario.language().is_some(), has_window);
        }
    }

    #[test]
    fn a_row_is_left_out_where_what_it_needs_is_lacking() {
        let row = |name: &str| ROWS.iter().find(|row| row.name == name).unwrap();
        assert!(row("echo-500").suits("acks,deflate"));
        assert!(row("ack-500").suits("deflate") && !row("ack-500").suits("deflate,acks"));
        assert_eq!(parse_lack("a=b,c"), Ok(("a".to_owned(), "b,c".to_owned())));
        assert!(parse_lack("a").is_err());
    }

    #[test]
    fn targets_need_a_name_and_a_port() {
        assert_eq!(parse_target("a=b --port {port} --x=y").unwrap().command, "b --port {port} --x=y");
        for bad in ["a", "=b {port}", "a=b"] {
            assert!(parse_target(bad).is_err());
        }
    }
}
