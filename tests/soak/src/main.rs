//! A soak: a server under mixed load with faults for as long as one likes, and whether anything of it stays.
//!
//! ```text
//!   polite: ringio-loadtest, every message checked     must notice nothing
//!   faults: killed, silent, half upgraded, wrong bytes, stuck readers     come and go, some of each held at any time
//!   waves:  hundreds of clients at once, gone at once
//!   samples: resident memory, descriptors, CPU       every few seconds -> samples.csv
//! ```
//! At the end everybody leaves and the heartbeats run out. It is well when the polite clients lost nothing, the server holds
//! for the one client that asks what it held for such a client at the start (connections, sessions, sockets, rooms, timers, questions),
//! every session that was opened has been closed, its descriptors are as at the start, and resident memory had no slope after the first third.

#![forbid(unsafe_code)]

mod faults;
mod samples;

use clap::Parser;
use faults::{Faults, Stop};
use ringio_bench::measure::server::Server;
use ringio_bench::process::raise_open_files_limit;
use samples::{Samples, Slope};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Sessions that went silent are gone after Node's 25 + 20 seconds, and their handshakes long before.
const HEARTBEATS_OVER: Duration = Duration::from_secs(60);
/// Resident memory may grow so much from the end of the first third to the end, by the fitted line.
const GROWTH_MAX: f64 = 0.03;
/// And end so far above the first third's level after all have left.
const LEFT_OVER_MAX: f64 = 0.10;

/// Mixed load with faults on one server, for a given time.
#[derive(Debug, Parser)]
struct Options {
    /// The conformance program.
    #[arg(long)]
    server: PathBuf,
    /// The load-test tool, which plays the polite clients.
    #[arg(long)]
    loadtest: PathBuf,
    /// `uring` or `epoll`.
    #[arg(long)]
    driver: String,
    /// How long the faults go on. Minutes; at least 2, to tell a slope from a start.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Where samples, logs and the summary go.
    #[arg(long)]
    output: PathBuf,
    /// What the faults are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match soak(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

fn soak(options: &Options) -> io::Result<bool> {
    fs::create_dir_all(&options.output)?;
    raise_open_files_limit()?;
    let command = format!("{} bench --port {{port}} --shards 2 --driver {}", options.server.display(), options.driver);
    let server = Server::start(&command, "0-1", File::create(options.output.join("server.log"))?)?;
    let time = Duration::from_secs_f64(options.minutes.max(2.0) * 60.0);
    let descriptors_before = samples::descriptors(server.pid())?;
    let before = faults::holdings(server.port())?;
    let stop = Arc::new(Stop::default());
    let faults = Faults::start(server.port(), options.seed, &stop);
    let mut polite = be_polite(options, server.port(), time)?;
    let mut samples = Samples::new(server.pid(), File::create(options.output.join("samples.csv"))?)?;
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(2));
        samples.take(faults.held())?;
    }
    stop.now();
    let counts = faults.join();
    let is_polite_content = polite.wait()?.success();
    let leaving = Instant::now();
    while leaving.elapsed() < HEARTBEATS_OVER {
        thread::sleep(Duration::from_secs(2));
        samples.take(0)?;
    }
    let descriptors_after = samples::descriptors(server.pid())?;
    let after = faults::holdings(server.port())?;
    let Slope { level, per_minute, growth } = samples.slope(time);
    let left_over = samples.last_bytes() / level - 1.0;
    let verdicts = [
        (
            is_polite_content,
            format!("polite clients: {}", if is_polite_content { "lost nothing" } else { "see polite.log" }),
        ),
        (after.now == before.now, format!("held before, with the one that asks: {before}; at the end: {after}")),
        (
            after.is_balanced(),
            format!("sessions opened and closed, all but the one that asks: {}, {}", after.opened, after.closed),
        ),
        (
            descriptors_after <= descriptors_before,
            format!("descriptors before and after: {descriptors_before}, {descriptors_after}"),
        ),
        (
            growth < GROWTH_MAX,
            format!(
                "resident memory after the first third: {:.1} MB, {:+.1} KB a minute, {:+.2} % to the end",
                level / 1e6,
                per_minute / 1e3,
                growth * 100.0
            ),
        ),
        (
            left_over < LEFT_OVER_MAX,
            format!("when all had left: {:.1} MB, {:+.1} %", samples.last_bytes() / 1e6, left_over * 100.0),
        ),
    ];
    let mut text = format!(
        "driver {}, {:.1} minutes, seed {}: {counts}; CPU of the server {:.1} s\n",
        options.driver,
        time.as_secs_f64() / 60.0,
        options.seed,
        samples.cpu()?.as_secs_f64()
    );
    for (is_well, what) in &verdicts {
        text += &format!("{} {what}\n", if *is_well { "ok  " } else { "WRONG" });
    }
    print!("{text}");
    fs::write(options.output.join("summary.txt"), text)?;
    Ok(verdicts.iter().all(|(is_well, _)| *is_well))
}

/// Clients that check everything they get, all the time.
fn be_polite(options: &Options, port: u16, time: Duration) -> io::Result<Child> {
    let log = File::create(options.output.join("polite.log"))?;
    Command::new(&options.loadtest)
        .args(["run", "mixed", &format!("http://127.0.0.1:{port}"), "--clients", "60", "--rate", "120", "--plain"])
        .args(["--duration", &time.as_secs().to_string(), "--json"])
        .arg(options.output.join("polite.json"))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}
