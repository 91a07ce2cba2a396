//! Interleaved rounds: every scenario with every target, each run on a fresh server.
//!
//! ```text
//! round -> row -> target: start server (core 0) -> drive (core 1) -> report -> kill server
//! ```
//!
//! The order of the targets turns with the round. Results: `reports.jsonl` (every run), `machine.json`
//! (where and with which commands), `table.md`, `costs.svg`, and the servers' output in `servers.log`. System calls are
//! counted by `perf stat` in runs of their own, since tracing slows the server.
pub mod load;
pub mod options;
pub mod server;
pub mod table;

use crate::record::{Record, sibling, without_checkout};
use load::Loader;
use options::{Floor, Options, ROWS, Row, Target, Unit};
use server::Server;
use std::io;
use std::path::Path;
use std::process::Command;
use table::Run;

/// The picture of all costs.
const COSTS: &str = "costs.svg";
const FLOOR: &str = "floor";
const FLOOR_JOIN: &str = "floor-join";

/// Measures and writes the results; `true` when no run had a fault.
///
/// # Errors
/// When a program cannot be started or a file not written. A target that fails is reported and left out.
pub fn run(options: &Options) -> io::Result<bool> {
    let rows = selected_rows(options)?;
    let targets = all_targets(options)?;
    let record = Record::create(&options.out, &options.name, details(options, &targets, &rows))?;
    let measurement = Measurement { options, record, loader: Loader::new(options)? };
    let mut runs = Vec::new();
    let rounds = if options.no_syscalls { options.rounds } else { options.rounds + 1 };
    for round in 0..rounds {
        let counts_syscalls = round == options.rounds;
        for row in &rows {
            if counts_syscalls && !matches!(row.unit, Unit::Delivery | Unit::Latency) {
                continue;
            }
            for index in 0..targets.len() {
                let target = &targets[(index + round) % targets.len()];
                let Some(command) = command_for(target, row, options.raw) else {
                    continue;
                };
                if options.lacks.iter().any(|(name, lacking)| *name == target.name && !row.suits(lacking)) {
                    continue;
                }
                match measurement.run_once(row, target, &command, round, counts_syscalls) {
                    Ok(run) => {
                        println!("{}", run.report.line());
                        measurement.record.append("reports.jsonl", &run)?;
                        runs.push(run);
                    }
                    Err(error) => eprintln!("measure: {} with {}: {error}", row.name, target.name),
                }
            }
        }
    }
    let names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
    let bases: Vec<String> = targets
        .iter()
        .filter(|target| target.floor == Some(Floor::Plain))
        .map(|target| target.name.clone())
        .chain(options.reference.clone())
        .collect();
    draw(&measurement.record.path(COSTS), &names, &runs)?;
    measurement.record.finish(&table::render(&rows, &names, &bases, &runs))?;
    Ok(runs.iter().all(|run| run.report.faults.is_clean()))
}

/// Draws what the runs of a folder cost into it, as [`run`] does at its end.
///
/// # Errors
/// When the folder has no readable runs, or the picture cannot be written.
pub fn redraw(folder: &Path) -> io::Result<()> {
    let text = std::fs::read_to_string(folder.join("reports.jsonl"))?;
    let runs: Vec<Run> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(io::Error::other)?;
    let mut names: Vec<String> = Vec::new();
    for run in &runs {
        if !names.contains(&run.target) {
            names.push(run.target.clone());
        }
    }
    draw(&folder.join(COSTS), &names, &runs)
}

fn draw(path: &Path, targets: &[String], runs: &[Run]) -> io::Result<()> {
    let rows: Vec<&str> =
        ROWS.iter().map(|row| row.name).filter(|name| runs.iter().any(|run| run.row == *name)).collect();
    match table::picture(&rows, targets, runs) {
        Some(dots) if !rows.is_empty() => std::fs::write(path, dots.svg().map_err(io::Error::other)?),
        _ => Ok(()),
    }
}

fn selected_rows(options: &Options) -> io::Result<Vec<Row>> {
    if let Some(unknown) = options.scenarios.iter().find(|name| ROWS.iter().all(|row| row.name != **name)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("unknown scenario {unknown}; see --list")));
    }
    let is_selected =
        |row: &&Row| options.scenarios.is_empty() || options.scenarios.iter().any(|name| name == row.name);
    Ok(ROWS.iter().filter(is_selected).copied().collect())
}

fn all_targets(options: &Options) -> io::Result<Vec<Target>> {
    let mut targets = Vec::new();
    if !options.no_floor {
        let program = sibling("floor")?;
        let floor = |name: &str, floor: Floor, join: &str| Target {
            name: name.to_owned(),
            command: format!("'{}' {{mode}} --port {{port}}{join}", program.display()),
            floor: Some(floor),
        };
        targets.push(floor(FLOOR, Floor::Plain, ""));
        targets.push(floor(FLOOR_JOIN, Floor::Join, " --join"));
    }
    targets.extend(options.targets.iter().cloned());
    if let Some(reference) = &options.reference
        && targets.iter().all(|target| target.name != *reference)
    {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "--reference names none of the targets"));
    }
    Ok(targets)
}

/// The command for a row; `None` where a program of the raw protocol has nothing to say.
fn command_for(target: &Target, row: &Row, raw: bool) -> Option<String> {
    let is_broadcast = row.floor_mode == Some("broadcast");
    match target.floor {
        None if raw => Some(target.command.replace("{mode}", row.floor_mode?)),
        None if row.server.is_empty() => Some(target.command.clone()),
        None => Some(format!("{} {}", target.command, row.server)),
        Some(Floor::Join) if !is_broadcast => None,
        Some(_) => Some(target.command.replace("{mode}", row.floor_mode?)),
    }
}

struct Measurement<'a> {
    options: &'a Options,
    record: Record,
    loader: Loader,
}

impl Measurement<'_> {
    fn run_once(
        &self,
        row: &Row,
        target: &Target,
        command: &str,
        round: usize,
        counts_syscalls: bool,
    ) -> io::Result<Run> {
        let options = self.options;
        let log = self.record.log(&format!("{} {} round {round}", row.name, target.name))?;
        let server = Server::start(command, &options.server_cores, log)?;
        let mut syscalls_per_second = None;
        let is_raw = options.raw || target.floor.is_some();
        let report = self.loader.load(row, &server, &target.name, is_raw, &self.record, || {
            if counts_syscalls {
                syscalls_per_second = count_syscalls(server.pid(), options.seconds * 0.75);
            }
        })?;
        if counts_syscalls && syscalls_per_second.is_none() {
            return Err(io::Error::other(
                "system calls could not be counted (needs perf and its raw_syscalls tracepoint)",
            ));
        }
        let (row, target) = (row.name.to_owned(), target.name.clone());
        Ok(Run { row, target, round, syscalls_per_second, report })
    }
}

/// How it was measured, for the record.
fn details(options: &Options, targets: &[Target], rows: &[Row]) -> serde_json::Value {
    // Where this checkout lies says nothing; of the floor's path only its arguments do.
    let command = |target: &Target| match target.floor {
        Some(_) => target.command.rsplit('/').next().unwrap_or_default().replace('\'', ""),
        None => without_checkout(&target.command),
    };
    let arguments = |row: &Row| format!("{} {}", row.driver.program(), row.arguments);
    serde_json::json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "warmup": options.warmup,
        "server_cores": options.server_cores,
        "client_core": options.client_core,
        "targets": targets.iter().map(|target| (target.name.clone(), command(target).into()))
            .collect::<serde_json::Map<String, serde_json::Value>>(),
        "scenarios": rows.iter().map(|row| (row.name.to_owned(), arguments(row).into()))
            .collect::<serde_json::Map<String, serde_json::Value>>(),
    })
}

/// System calls per second of all threads of `pid`, over `seconds`; `None` where perf may not look.
fn count_syscalls(pid: u32, seconds: f64) -> Option<f64> {
    let output = Command::new("perf")
        .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", &pid.to_string()])
        .args(["--", "sleep", &seconds.to_string()])
        .output()
        .ok()?;
    parse_perf(&String::from_utf8_lossy(&output.stderr)).map(|count| count / seconds)
}

fn parse_perf(text: &str) -> Option<f64> {
    text.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perf_output_is_read() {
        assert_eq!(parse_perf("144,,raw_syscalls:sys_enter,1157236,100.00,,\n"), Some(144.0));
        assert_eq!(parse_perf("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n"), None);
        assert_eq!(parse_perf("event syntax error\n"), None);
    }

    #[test]
    fn floors_answer_only_what_they_can() {
        let floor = |floor| Target { name: String::new(), command: "floor {mode}".to_owned(), floor };
        let row = |name: &str| ROWS.iter().find(|row| row.name == name).copied();
        let command = |kind, name| row(name).and_then(|row| command_for(&floor(kind), &row, false));
        assert_eq!(command(Some(Floor::Plain), "echo-500").as_deref(), Some("floor echo"));
        assert_eq!(command(Some(Floor::Join), "echo-500"), None);
        assert_eq!(command(Some(Floor::Join), "broadcast-1000").as_deref(), Some("floor broadcast"));
        assert_eq!(command(Some(Floor::Plain), "rooms"), None);
        assert_eq!(command(None, "rooms").as_deref(), Some("floor {mode}"));
    }
}
