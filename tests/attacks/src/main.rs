//! Plays the attack board: `attacks --targets uring,epoll --quick`, `attacks --table tests/attacks/README.md`.

use clap::Parser;
use ringio_attacks::attacks::{Attack, BOARD};
use ringio_attacks::board::{Report, play_all};
use ringio_attacks::server::{Places, Target};
use ringio_attacks::{table, weak};
use ringio_bench::process::raise_open_files_limit;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
struct Options {
    /// Who is attacked: uring, epoll, node, socketioxide, weak.
    #[arg(long, value_delimiter = ',', default_value = "uring,epoll", value_parser = target)]
    targets: Vec<Target>,
    /// The short form: fewer repetitions, and only what is played in every test run.
    #[arg(long)]
    quick: bool,
    /// Attacks whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// Writes the table into this page.
    #[arg(long)]
    table: Option<PathBuf>,
    /// Where cargo builds.
    #[arg(long, default_value = "target")]
    target_dir: PathBuf,
    /// Be the weak server.
    #[arg(long, hide = true)]
    be_weak: bool,
    #[arg(long, hide = true, default_value_t = 0)]
    port: u16,
}

fn target(name: &str) -> Result<Target, String> {
    let all = Target::ALL.into_iter().chain([Target::Weak]);
    all.into_iter().find(|target| target.name() == name).ok_or_else(|| format!("{name} is no target"))
}

fn main() -> io::Result<ExitCode> {
    let options = Options::parse();
    if options.be_weak {
        weak::serve(options.port)?;
    }
    raise_open_files_limit()?;
    let places = Places::below(&options.target_dir, std::env::current_exe()?);
    let is_wanted = |attack: &&Attack| {
        (!options.quick || attack.is_quick) && options.only.as_ref().is_none_or(|only| attack.name.contains(only))
    };
    let attacks: Vec<&Attack> = BOARD.iter().copied().flatten().filter(is_wanted).collect();
    // What is measured is CPU time and memory of each server alone, so that they may be played beside each other.
    let tell = |report: &Report| println!("{}", report.line());
    let play = |target| play_all(&attacks, target, &places, options.quick, tell);
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let targets: Vec<_> = options.targets.iter().map(|target| scope.spawn(|| play(*target))).collect();
        let results =
            targets.into_iter().map(|thread| thread.join().map_err(|_| io::Error::other("a target panicked"))?);
        results.collect::<io::Result<Vec<_>>>().map(|reports| reports.into_iter().flatten().collect())
    })?;
    if let Some(page) = &options.table {
        table::write(page, &attacks, &options.targets, &reports)?;
    }
    let ours = reports.iter().filter(|report| report.target.is_ours() || report.target == Target::Weak);
    let (good, bad): (Vec<_>, Vec<_>) = ours.partition(|report| report.findings.is_empty());
    println!("attacks: {} passed, {} failed", good.len(), bad.len());
    Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
