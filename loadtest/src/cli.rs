//! The commands: from arguments to exit code.
//!
//! 0: done and passed. 1: done, and a condition of `--fail-if` held or messages were lost, repeated, reordered or
//! changed. 2: not done, or not completely: connections failed that nobody planned to lose, the server has gone, the run was interrupted,
//! a search could say nothing, or a result could not be written.

use crate::engine::{link_limits, remote};
use crate::faulty::FaultyServer;
use crate::options::{Cli, Command, LimitArgs, OutputArgs, RunArgs};
use crate::plan::{Phase, Plan};
use crate::report::outcome::{FORMAT, Outcome};
use crate::report::threshold::Threshold;
use crate::report::{compare, csv, html, text};
use crate::run::{self, Observer, Unobserved};
use crate::scenario::builtin::{self, Scenario};
use crate::scenario::file::ScenarioFile;
use crate::scenario::limit::{self, Limit};
use crate::screen;
use clap::{Parser, ValueEnum};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FAILED: u8 = 1;
const NOT_DONE: u8 = 2;
/// The report of a search for which no other result was asked.
const REPORT_DEFAULT: &str = "loadtest.html";

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        None => search(&cli.limit),
        Some(Command::Limit(args)) => search(args),
        Some(Command::Run(args)) => run_scenario(args),
        Some(other) => other_command(other),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "ringio-loadtest: {error}");
        ExitCode::from(NOT_DONE)
    })
}

fn other_command(command: &Command) -> Result<ExitCode, String> {
    match command {
        Command::Check { file } => {
            read_scenario(file)?;
            say(&format!("{}: in order", file.display()));
        }
        Command::Compare { before, after } => say(&compare::table(&read_outcome(before)?, &read_outcome(after)?)),
        Command::Report { result, output } => {
            write_file(output, &html::page(&read_outcome(result)?)?)?;
            say(&format!("{} written", output.display()));
        }
        Command::Faulty { fault, port } => {
            let server = FaultyServer::start(*fault, *port).map_err(|error| format!("port {port}: {error}"))?;
            say(&format!("serving {fault:?} on {}", server.url()));
            server.join();
        }
        Command::Worker => {
            // Ctrl-C reaches all processes of a terminal; the conductor decides when this one ends.
            let _ = ctrlc::set_handler(|| {});
            remote::serve()?;
        }
        Command::Limit(_) | Command::Run(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) {
    // Whoever reads may have gone away (a pipe into head).
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn read_outcome(path: &Path) -> Result<Outcome, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let outcome: Outcome = serde_json::from_str(&text)
        .map_err(|error| format!("{} is no result of this program ({error}). Make one with --json.", path.display()))?;
    if outcome.format != FORMAT {
        return Err(format!("{} has format {}, this program reads {FORMAT}", path.display(), outcome.format));
    }
    Ok(outcome)
}

fn search(args: &LimitArgs) -> Result<ExitCode, String> {
    let url =
        args.url.as_deref().ok_or("the server's address is missing, as in: ringio-loadtest http://localhost:3000")?;
    if matches!(args.scenario, Scenario::Connect | Scenario::Churn | Scenario::Storm | Scenario::Slow) {
        let scenario = args.scenario;
        return Err(format!("a search needs clients that stay and read: {scenario} is for `run {scenario} {url}`"));
    }
    let mut output = args.output.clone();
    if !output.quiet && output.html.is_none() && output.json.is_none() && output.csv.is_none() {
        output.html = Some(REPORT_DEFAULT.into());
    }
    check_results(&output)
        .map_err(|error| format!("{error}. Choose another place with --html, or no report with --quiet."))?;
    let target = args.connect.target(url)?;
    let clients_max = args.max_clients.unwrap_or_else(|| {
        let processes = args.connect.processes.unwrap_or(1);
        link_limits::clients_max(&args.connect.sources, args.connect.ports, &target, processes)
    });
    let settings = builtin::Settings { clients: clients_max, size: args.size, ..builtin::Settings::default() };
    let (mut plan, phases) = builtin::plan(args.scenario, &settings, target)?;
    args.connect.apply(&mut plan)?;
    let limit = Limit {
        start: args.start,
        clients_max,
        rate_per_client: args.rate_per_client,
        rate: args.rate.or_else(|| plan.has_group_actions().then(|| phases.last().map_or(1.0, |phase| phase.rate))),
        p99_ms: args.p99,
        step_ms: (args.step * 1e3) as u64,
        refinements: 2,
    };
    plan.name = format!("limit ({})", plan.name);
    let options = args.connect.run_options(&plan, interruption())?;
    let mut observer = observer(&args.output);
    let outcome = limit::run(plan, &limit, options, observer.as_mut())?;
    drop(observer);
    Ok(conclude(&outcome, &output, &[]))
}

fn run_scenario(args: &RunArgs) -> Result<ExitCode, String> {
    check_results(&args.output)?;
    let (mut plan, phases, file) = plan_of(args)?;
    args.connect.apply(&mut plan)?;
    plan.poisson |= args.poisson;
    let options = args.connect.run_options(&plan, interruption())?;
    let mut observer = observer(&args.output);
    let outcome = run::run(plan, &phases, options, observer.as_mut())?;
    drop(observer);
    Ok(conclude(&outcome, &args.output, &file.map(|file| file.thresholds()).unwrap_or_default()))
}

fn plan_of(args: &RunArgs) -> Result<(Plan, Vec<Phase>, Option<ScenarioFile>), String> {
    if let Ok(scenario) = Scenario::from_str(&args.scenario, true) {
        let url =
            args.url.as_deref().ok_or("the server's address is missing, as in: run echo http://localhost:3000")?;
        let (plan, phases) = builtin::plan(scenario, &args.settings(), args.connect.target(url)?)?;
        return Ok((plan, phases, None));
    }
    let path = Path::new(&args.scenario);
    if !path.exists() {
        let names: Vec<String> = Scenario::value_variants().iter().map(ToString::to_string).collect();
        return Err(format!("{} is neither a file nor one of {}", args.scenario, names.join(", ")));
    }
    let file = read_scenario(path)?;
    if let Some(option) = args.only_for_builtin() {
        return Err(format!("{option} is for built-in scenarios: write it into {}", path.display()));
    }
    let url =
        args.url.as_deref().or(file.url()).ok_or("the server's address is missing, in the file (url) and here")?;
    let (plan, mut phases) = file.plan(args.connect.target(url)?, args.clients)?;
    if let Some(rate) = args.rate {
        for phase in &mut phases {
            (phase.rate, phase.rate_end, phase.think) = (rate, rate, None);
        }
    }
    if let Some(seconds) = args.duration {
        for phase in phases.iter_mut().filter(|phase| phase.measured) {
            phase.duration_ms = (seconds * 1e3) as u64;
        }
    }
    Ok((plan, phases, Some(file)))
}

fn read_scenario(path: &Path) -> Result<ScenarioFile, String> {
    if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        let as_toml = path.with_extension("toml");
        return Err(format!(
            "{} is YAML, and scenario files are TOML: write it as {}. GUIDE.md shows one.",
            path.display(),
            as_toml.display()
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    ScenarioFile::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn observer(output: &OutputArgs) -> Box<dyn Observer> {
    if output.quiet { Box::new(Unobserved) } else { screen::choose(output.plain) }
}

/// Set by Ctrl-C and SIGTERM. The second one ends the program at once.
fn interruption() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let installed = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(NOT_DONE));
        }
    });
    if installed.is_err() {
        let _ = writeln!(std::io::stderr(), "Ctrl-C will end the program without a summary");
    }
    interrupted
}

/// Prints and writes the outcome and says how it went.
fn conclude(outcome: &Outcome, output: &OutputArgs, thresholds: &[Threshold]) -> ExitCode {
    let mut out = std::io::stdout();
    // Whoever reads may have gone away (a pipe into head); files are written all the same.
    let _ = out.write_all(text::summary(outcome).as_bytes());
    let mut code = if outcome.is_complete { ExitCode::SUCCESS } else { ExitCode::from(NOT_DONE) };
    // A file that cannot be written costs no other one: the run may have been long.
    for error in write_results(outcome, output) {
        let _ = writeln!(std::io::stderr(), "ringio-loadtest: {error}");
        code = ExitCode::from(NOT_DONE);
    }
    if outcome.faults.total() > 0 && !output.allow_faults {
        code = ExitCode::from(FAILED);
    }
    for crossed in thresholds.iter().chain(&output.fail_if).filter_map(|threshold| threshold.crossed_by(outcome)) {
        let _ = writeln!(out, "{crossed}");
        code = ExitCode::from(FAILED);
    }
    code
}

/// Writes each result that was asked for and says where. Returns what could not be written, and why.
fn write_results(outcome: &Outcome, output: &OutputArgs) -> Vec<String> {
    let write = |path: &Path, text: Result<String, String>| {
        write_file(path, &text?)?;
        say(&format!("written      {}", path.display()));
        Ok(())
    };
    let json = || serde_json::to_string_pretty(outcome).map_err(|error| error.to_string());
    let results = [
        output.json.as_deref().map(|path| write(path, json())),
        output.csv.as_deref().map(|path| write(path, Ok(csv::table(&outcome.series)))),
        output.html.as_deref().map(|path| write(path, html::page(outcome))),
    ];
    results.into_iter().flatten().filter_map(Result::err).collect()
}

/// Whether the results can be written where they are to be, before a long run: an existing file stays as it is, and none is left.
fn check_results(output: &OutputArgs) -> Result<(), String> {
    for path in [&output.json, &output.csv, &output.html].into_iter().flatten() {
        let is_there = path.exists();
        if is_there && !path.is_file() && !path.is_dir() {
            // A pipe's reader would take the trial for the end.
            continue;
        }
        std::fs::OpenOptions::new().append(true).create(true).open(path).map_err(|error| unwritable(path, &error))?;
        if !is_there {
            std::fs::remove_file(path).map_err(|error| unwritable(path, &error))?;
        }
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| unwritable(path, &error))
}
