//! Interleaved rounds: every scenario with every target, each run on a fresh server.
//!
//! ```text
//! round -> row -> target: start server (core 0) -> drive (core 1) -> report -> kill server
//! ```
//!
//! The order of the targets turns with the round. Results: `reports.jsonl` (every run), `machine.json`
//! (where and with which commands), `table.md`, and the servers' output in `servers.log`. System calls are
//! counted by `perf stat` in runs of their own, since tracing slows the server.
pub mod options;
pub mod server;
pub mod table;

use crate::drive::WINDOW_LINE;
use crate::report::Report;
use options::{Floor, Options, ROWS, Row, Target};
use server::Server;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use table::Run;

const FLOOR: &str = "floor";
const FLOOR_JOIN: &str = "floor-join";

/// Measures and writes the results; `true` when no run had a fault.
///
/// # Errors
/// When a program cannot be started or a file not written. A target that fails is reported and left out.
pub fn run(options: &Options) -> io::Result<bool> {
    let rows = selected_rows(options)?;
    let targets = all_targets(options)?;
    let folder = options.out.join(format!("{}-{}", output_of("date", &["+%Y-%m-%d"])?, options.name));
    fs::create_dir_all(&options.out)?;
    // Raw results are kept: a second run of the name does not mix with the first.
    fs::create_dir(&folder).map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}; choose another --name", folder.display()))
    })?;
    let measurement = Measurement { options, folder, drive: sibling("drive")? };
    measurement.write_machine(&targets)?;
    let mut runs = Vec::new();
    let rounds = if options.no_syscalls { options.rounds } else { options.rounds + 1 };
    for round in 0..rounds {
        let counts_syscalls = round == options.rounds;
        for row in &rows {
            if counts_syscalls && row.unit != options::Unit::Delivery {
                continue;
            }
            for index in 0..targets.len() {
                let target = &targets[(index + round) % targets.len()];
                let Some(command) = command_for(target, row) else {
                    continue;
                };
                match measurement.run_once(row, target, &command, round, counts_syscalls) {
                    Ok(run) => {
                        println!("{}", run.report.line());
                        measurement.append(&run)?;
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
    let table = table::render(&rows, &names, &bases, &runs);
    fs::write(measurement.folder.join("table.md"), &table)?;
    println!("\n{table}\n{}", measurement.folder.display());
    Ok(runs.iter().all(|run| run.report.faults.is_clean()))
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

/// The command for a row; `None` where a floor program has nothing to say.
fn command_for(target: &Target, row: &Row) -> Option<String> {
    let is_broadcast = row.floor_mode == Some("broadcast");
    match target.floor {
        None => Some(target.command.clone()),
        Some(Floor::Join) if !is_broadcast => None,
        Some(_) => Some(target.command.replace("{mode}", row.floor_mode?)),
    }
}

struct Measurement<'a> {
    options: &'a Options,
    folder: PathBuf,
    drive: PathBuf,
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
        let mut log = OpenOptions::new().create(true).append(true).open(self.folder.join("servers.log"))?;
        writeln!(log, "== {} {} round {round}", row.name, target.name)?;
        let server = Server::start(command, &options.server_cores, log)?;
        let json = self.folder.join("last.json");
        let mut drive = Command::new(&self.drive)
            .args(row.arguments.split_whitespace())
            .args(["--port", &server.port().to_string(), "--pid", &server.pid().to_string()])
            .args(["--seconds", &options.seconds.to_string(), "--warmup", &options.warmup.to_string()])
            .args(["--core", &options.client_core.to_string(), "--label", &target.name, "--announce"])
            .args(["--protocol", if target.floor.is_some() { "raw" } else { "socketio" }])
            .arg("--json")
            .arg(&json)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut syscalls_per_second = None;
        let lines = drive.stdout.take().map(BufReader::new);
        for line in lines.into_iter().flat_map(BufRead::lines) {
            if line? == WINDOW_LINE && counts_syscalls {
                syscalls_per_second = count_syscalls(server.pid(), options.seconds * 0.75);
            }
        }
        let status = drive.wait()?;
        if status.code().is_none_or(|code| code > 1) {
            return Err(io::Error::other(format!("drive: {status}")));
        }
        let report: Report = serde_json::from_slice(&fs::read(&json)?).map_err(io::Error::other)?;
        fs::remove_file(&json)?;
        if counts_syscalls && syscalls_per_second.is_none() {
            return Err(io::Error::other(
                "system calls could not be counted (needs perf and its raw_syscalls tracepoint)",
            ));
        }
        let (row, target) = (row.name.to_owned(), target.name.clone());
        Ok(Run { row, target, round, syscalls_per_second, report })
    }

    fn append(&self, run: &Run) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.folder.join("reports.jsonl"))?;
        writeln!(file, "{}", serde_json::to_string(run).map_err(io::Error::other)?)
    }

    /// Where the figures come from: they mean nothing without it.
    fn write_machine(&self, targets: &[Target]) -> io::Result<()> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        // Where this checkout lies says nothing; of the floor's path only its arguments do.
        let here = format!("{}/", std::env::current_dir()?.display());
        let command = |target: &Target| match target.floor {
            Some(_) => target.command.rsplit('/').next().unwrap_or_default().replace('\'', ""),
            None => target.command.replace(&here, ""),
        };
        let machine = serde_json::json!({
            "kernel": read("/proc/sys/kernel/osrelease"),
            "cpu": cpu.map(|(_, model)| model.trim()),
            "cores": std::thread::available_parallelism()?.get(),
            "load_average": read("/proc/loadavg"),
            "tcp_congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
            "commit": output_of("git", &["describe", "--always", "--dirty"]).ok(),
            "rounds": self.options.rounds,
            "seconds": self.options.seconds,
            "warmup": self.options.warmup,
            "server_cores": self.options.server_cores,
            "client_core": self.options.client_core,
            "targets": targets.iter().map(|target| (target.name.clone(), command(target).into()))
                .collect::<serde_json::Map<String, serde_json::Value>>(),
            "scenarios": ROWS.iter().map(|row| (row.name.to_owned(), row.arguments.into()))
                .collect::<serde_json::Map<String, serde_json::Value>>(),
        });
        let file = File::create(self.folder.join("machine.json"))?;
        serde_json::to_writer_pretty(file, &machine).map_err(io::Error::other)
    }
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

/// A program built beside this one.
fn sibling(name: &str) -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if Path::new(&path).exists() {
        return Ok(path);
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("{name} is not built; run cargo build --release -p ringio-bench"),
    ))
}

fn output_of(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{program}: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
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
        let command = |kind, name| row(name).and_then(|row| command_for(&floor(kind), &row));
        assert_eq!(command(Some(Floor::Plain), "echo-500").as_deref(), Some("floor echo"));
        assert_eq!(command(Some(Floor::Join), "echo-500"), None);
        assert_eq!(command(Some(Floor::Join), "broadcast-1000").as_deref(), Some("floor broadcast"));
        assert_eq!(command(Some(Floor::Plain), "rooms"), None);
        assert_eq!(command(None, "rooms").as_deref(), Some("floor {mode}"));
    }
}
