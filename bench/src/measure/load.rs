//! Loads one server with one row: by `drive`, or by `ringio-loadtest` where a client of another kind is needed.
//!
//! Both run on the client's core. Of a run of `ringio-loadtest` the figures are its own; how long the server waited for its
//! core is read here, over nine tenths of the window.
use super::options::{Driver, Options, Row};
use super::server::Server;
use crate::clock::now;
use crate::drive::WINDOW_LINE;
use crate::process::{CpuClock, thread_count, waiting_time};
use crate::record::{Record, sibling};
use crate::report::{Connect, Report, Window};
use crate::verify::Faults;
use serde::Deserialize;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Starts the loading programs.
#[derive(Clone, Debug)]
pub struct Loader {
    drive: PathBuf,
    loadtest: PathBuf,
    /// Cores of the client, as taskset(1) takes them.
    cores: String,
    seconds: f64,
    warmup: f64,
}

impl Loader {
    /// As the options say.
    ///
    /// # Errors
    /// When a program is not built.
    pub fn new(options: &Options) -> io::Result<Self> {
        Self::on(&options.client_core.to_string(), options.seconds, options.warmup)
    }

    /// With a window of `seconds` behind `warmup` seconds, on these cores.
    ///
    /// # Errors
    /// When a program is not built.
    pub fn on(cores: &str, seconds: f64, warmup: f64) -> io::Result<Self> {
        Ok(Self {
            drive: sibling("drive")?,
            loadtest: sibling("ringio-loadtest")?,
            cores: cores.to_owned(),
            seconds,
            warmup,
        })
    }

    /// Loads the server and says how it went; `beside` runs when the window begins.
    ///
    /// # Errors
    /// When the run could not be made.
    pub fn load(
        &self,
        row: &Row,
        server: &Server,
        label: &str,
        is_raw: bool,
        record: &Record,
        beside: impl FnOnce(),
    ) -> io::Result<Report> {
        match row.driver {
            Driver::Drive => self.drive(row.arguments, server, label, is_raw, record, beside),
            Driver::Loadtest => self.loadtest(row.arguments, server, label, record, beside),
        }
    }

    /// The same with `drive` and these arguments.
    ///
    /// # Errors
    /// When the run could not be made.
    pub fn drive(
        &self,
        arguments: &str,
        server: &Server,
        label: &str,
        is_raw: bool,
        record: &Record,
        beside: impl FnOnce(),
    ) -> io::Result<Report> {
        let json = record.path("last.json");
        let mut command = self.command(&self.drive);
        command
            .args(arguments.split_whitespace())
            .args(["--port", &server.port().to_string(), "--pid", &server.pid().to_string()])
            .args(["--seconds", &self.seconds.to_string(), "--warmup", &self.warmup.to_string()])
            .args(["--protocol", if is_raw { "raw" } else { "socketio" }])
            .args(["--label", label, "--announce", "--json"])
            .arg(&json);
        let mut drive = command.stdout(Stdio::piped()).spawn()?;
        let lines = drive.stdout.take();
        wait_for(lines, |line| line == WINDOW_LINE, beside)?;
        let status = drive.wait()?;
        if status.code().is_none_or(|code| code > 1) {
            return Err(io::Error::other(format!("drive: {status}")));
        }
        take_json(&json)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", &self.cores]).arg(program);
        command
    }

    fn loadtest(
        &self,
        arguments: &str,
        server: &Server,
        label: &str,
        record: &Record,
        beside: impl FnOnce(),
    ) -> io::Result<Report> {
        let json = record.path("last.json");
        let arguments = format!(
            "{arguments} --workers 1 --connect-rate 2000 --duration {} --warmup {}",
            self.seconds.max(1.0),
            self.warmup
        );
        let mut loadtest = self.start_loadtest(&arguments, server, &json)?;
        let mut waiting = 0.0;
        let window = Duration::from_secs_f64(self.seconds * 0.9);
        let lines = loadtest.stderr.take();
        let is_measured = |line: &str| line.starts_with("phase ") && !line.starts_with("phase warm-up");
        wait_for(lines, is_measured, || {
            beside();
            waiting = waiting_share(server.pid(), window).unwrap_or(0.0);
        })?;
        let status = loadtest.wait()?;
        if status.code().is_none_or(|code| code > 1) {
            return Err(io::Error::other(format!("ringio-loadtest: {status}")));
        }
        let outcome: Outcome = take_json(&json)?;
        if arguments.contains("--deflate") && outcome.bytes_per_delivery() > 1024.0 {
            return Err(io::Error::other("the answers came uncompressed: no figure"));
        }
        let mut report = outcome.report(arguments.split(' ').next().unwrap_or_default(), waiting)?;
        report.label = label.to_owned();
        report.server_threads = thread_count(server.pid())?;
        Ok(report)
    }

    /// Starts `ringio-loadtest run` against a server; its lines come on standard error.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_loadtest(&self, arguments: &str, server: &Server, json: &Path) -> io::Result<Child> {
        let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
        let (url, pid) = (format!("http://127.0.0.1:{}", server.port()), server.pid().to_string());
        arguments.insert(1, &url);
        self.command(&self.loadtest)
            .arg("run")
            .args(arguments)
            .args(["--pid", &pid, "--plain", "--json"])
            .arg(json)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// Reads lines to the end; at the first that is `wanted`, `then` runs.
///
/// # Errors
/// When they cannot be read.
pub fn wait_for(lines: Option<impl Read>, mut wanted: impl FnMut(&str) -> bool, then: impl FnOnce()) -> io::Result<()> {
    let mut then = Some(then);
    for line in lines.map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        if wanted(&line?)
            && let Some(then) = then.take()
        {
            then();
        }
    }
    Ok(())
}

/// Reads a result and removes its file.
///
/// # Errors
/// When there is none, or it is another program's.
pub fn take_json<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<T> {
    let value = serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::other)?;
    std::fs::remove_file(path)?;
    Ok(value)
}

/// Share of `time` in which threads of `pid` were ready but had no core.
fn waiting_share(pid: u32, time: Duration) -> io::Result<f64> {
    let (start, before) = (now(), waiting_time(pid)?);
    std::thread::sleep(time);
    Ok(waiting_time(pid)?.saturating_sub(before).as_secs_f64() / (now() - start).as_secs_f64())
}

/// CPU time of `pid` over `time`, as a share of one core.
///
/// # Errors
/// When the process is gone.
pub fn cpu_share(pid: u32, time: Duration) -> io::Result<f64> {
    let clock = CpuClock::of(pid)?;
    let (start, before) = (now(), clock.read()?);
    std::thread::sleep(time);
    Ok((clock.read()? - before).as_secs_f64() / (now() - start).as_secs_f64())
}

/// What is read of the JSON of `ringio-loadtest`.
#[derive(Clone, Debug, Deserialize)]
pub struct Outcome {
    /// Whether everything was done that was asked for.
    pub is_complete: bool,
    /// What has to be known to read the figures.
    pub notes: Vec<String>,
    /// What went wrong with connections, by class.
    pub failures: serde_json::Value,
    faults: OutcomeFaults,
    first_fault: Option<String>,
    total: Phase,
    /// Each phase.
    pub phases: Vec<Phase>,
    series: Vec<Second>,
}

#[derive(Clone, Debug, Deserialize)]
struct Second {
    measured: bool,
    received: u64,
    bytes_in: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct OutcomeFaults {
    lost: u64,
    duplicated: u64,
    reordered: u64,
    corrupt: u64,
    unexpected: u64,
}

/// One phase of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it lasted.
    pub seconds: f64,
    /// Clients.
    pub clients: u32,
    /// Messages per second asked for.
    pub rate_offered: f64,
    /// Messages sent.
    pub sent: u64,
    /// Deliveries.
    pub received: u64,
    /// Clients that connected.
    pub connected: u64,
    /// Clients that did not, or were lost.
    pub failed: u64,
    /// Until a message was delivered, milliseconds.
    pub latency: Percentiles,
    /// Until a client was ready, milliseconds.
    pub connect: Percentiles,
    /// Percent of one core.
    pub server_cpu: Option<f64>,
    /// CPU of the busiest worker, percent.
    pub generator_cpu: f64,
}

/// A few quantiles, milliseconds.
#[derive(Clone, Debug, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Outcome {
    /// Messages lost, repeated, reordered or changed.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let OutcomeFaults { lost, duplicated, reordered, corrupt, unexpected } = self.faults;
        Faults {
            lost,
            duplicate: duplicated,
            reordered,
            corrupt: corrupt + unexpected,
            disconnected: self.total.failed,
        }
    }

    /// Clients that did not connect, or were lost.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.as_object().into_iter().flatten().filter_map(|(_, class)| class["count"].as_u64()).sum()
    }

    /// How long clients took to become ready, all of them.
    #[must_use]
    pub fn connect(&self) -> &Percentiles {
        &self.total.connect
    }

    /// Bytes that came over the wire for a delivery, over the measured seconds.
    fn bytes_per_delivery(&self) -> f64 {
        let measured = || self.series.iter().filter(|second| second.measured);
        let received: u64 = measured().map(|second| second.received).sum();
        measured().map(|second| second.bytes_in).sum::<u64>() as f64 / received.max(1) as f64
    }

    fn report(&self, scenario: &str, server_waiting: f64) -> io::Result<Report> {
        let total = &self.total;
        let cpu = total.server_cpu.ok_or_else(|| io::Error::other("the server's CPU could not be read"))? / 100.0;
        if total.received == 0 {
            return Err(io::Error::other(format!("nothing was delivered; {:?}, {}", self.first_fault, self.failures)));
        }
        let window = Window {
            seconds: total.seconds,
            messages: total.sent,
            deliveries: total.received,
            cpu_us_per_message: 1e6 * cpu * total.seconds / total.sent as f64,
            cpu_us_per_delivery: 1e6 * cpu * total.seconds / total.received as f64,
            deliveries_per_second: total.received as f64 / total.seconds,
            server_utilisation: cpu,
            server_waiting,
            client_utilisation: total.generator_cpu / 100.0,
            latency_p50_us: total.latency.p50 * 1e3,
            latency_p99_us: total.latency.p99 * 1e3,
            latency_max_us: total.latency.max * 1e3,
            ..Window::default()
        };
        Ok(Report {
            scenario: scenario.to_owned(),
            protocol: "socketio".to_owned(),
            clients: total.clients as usize,
            rate_offered: Some(total.rate_offered),
            connect: Connect::default(),
            window: Some(window),
            faults: self.faults(),
            ..Report::default()
        })
    }
}
