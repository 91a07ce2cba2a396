//! Plays the attack board: `attacks --targets uring,epoll --quick`, `attacks --table tests/attacks/README.md`.

use clap::Parser;
use parking_lot::Mutex;
use ringio_attacks::attacks::{Attack, BOARD};
use ringio_attacks::board::{Report, play_all};
use ringio_attacks::server::{Places, Target};
use ringio_attacks::table::{self, Run};
use ringio_attacks::weak;
use ringio_bench::process::raise_open_files_limit;
use ringio_bench::record::machine;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

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
    /// Writes the cells of these attacks and targets into the table of this page, after every attack anew: what has been played by then is
    /// never lost.
    #[arg(long, conflicts_with = "quick")]
    table: Option<PathBuf>,
    /// What else is to be known of this run, a sentence without its full stop: that the machine was busy, say.
    #[arg(long)]
    remark: Option<String>,
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
    let (since, machine) = (Instant::now(), machine()?);
    let of = |key: &str| machine.get(key).map_or("-".to_owned(), |value| value.to_string().replace('"', ""));
    let note = |ended: &str| {
        let (commit, kernel, cores) = (of("commit"), of("kernel"), of("cores"));
        let remark = options.remark.as_ref().map_or(String::new(), |remark| format!(" {remark}."));
        format!("{} s, {ended}. Commit {commit}, kernel {kernel}, {cores} cores.{remark}", since.elapsed().as_secs())
    };
    let reports = Mutex::new(Vec::new());
    let write = |reports: &[Report], ended: &str| match &options.table {
        Some(page) => {
            let note = note(ended);
            table::write(page, Run { attacks: &attacks, targets: &options.targets, reports, note: &note })
        }
        None => Ok(()),
    };
    // Tried before hours are spent on what cannot be written in the end.
    write(&[], "not begun")?;
    let tell = |report: Report| {
        println!("{}", report.line());
        let mut reports = reports.lock();
        reports.push(report);
        if let Err(error) = write(&reports, "not at its end") {
            eprintln!("the table cannot be written: {error}");
        }
    };
    // What is measured is CPU time and memory of each server alone, so that they may be played beside each other.
    std::thread::scope(|scope| {
        for target in &options.targets {
            let (attacks, places, tell) = (&attacks, &places, &tell);
            scope.spawn(move || play_all(attacks, *target, places, options.quick, tell));
        }
    });
    let reports = reports.into_inner();
    write(&reports, "to its end")?;
    let ours = reports.iter().filter(|report| report.target.is_ours() || report.target == Target::Weak);
    let (good, bad): (Vec<_>, Vec<_>) = ours.partition(|report| report.findings.is_empty());
    println!("{} s", since.elapsed().as_secs());
    println!("attacks: {} passed, {} failed", good.len(), bad.len());
    Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
