//! `simulate`: plays the stories of seeds and says which of them fail.

use crate::plot::Cast;
use crate::trace;
use crate::world::{Outcome, play};
use clap::Parser;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Plays simulated stories of whole servers.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
pub struct Arguments {
    /// One story, told in words with --trace.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed of many.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many stories; without it until MINUTES are over, or for ever.
    #[arg(long)]
    seeds: Option<u64>,
    /// For how long. Minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Print every step.
    #[arg(long)]
    trace: bool,
    /// Only the stories of one server.
    #[arg(long, conflicts_with_all = ["cluster", "greedy"])]
    alone: bool,
    /// Only the stories of several servers.
    #[arg(long, conflicts_with = "greedy")]
    cluster: bool,
    /// Only the stories with greedy clients.
    #[arg(long)]
    greedy: bool,
    /// Go on after a story that fails.
    #[arg(long)]
    keep_going: bool,
}

impl Arguments {
    /// The stories of each seed.
    const fn casts(&self) -> &'static [Cast] {
        match (self.alone, self.cluster, self.greedy) {
            (true, ..) => &[Cast::Alone],
            (_, true, _) => &[Cast::Cluster],
            (.., true) => &[Cast::Greedy],
            _ => &[Cast::Alone, Cast::Cluster, Cast::Greedy],
        }
    }
}

/// The outcome of a story, or what was violated and the steps before.
///
/// # Errors
/// The words of the violation.
pub fn try_play(seed: u64, cast: Cast, is_printed: bool) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| play(seed, cast, is_printed))).map_err(|violation| {
        let words = violation.downcast_ref::<String>().cloned();
        words.or_else(|| violation.downcast_ref::<&str>().map(|words| (*words).to_owned())).unwrap_or_default()
    })
}

/// Reads the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        println!("seed {seed}");
        let all_end_well =
            arguments.casts().iter().filter(|cast| !tell_twice(seed, **cast, arguments.trace)).count() == 0;
        return if all_end_well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    // How long to go on is not part of a story.
    let start = Instant::now();
    let limit = arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let (mut failed, mut steps, mut received, mut played) = (0_u64, 0_u64, 0_u64, 0_u64);
    let casts = arguments.casts();
    for seed in (arguments.from..).take(arguments.seeds.map_or(usize::MAX, |seeds| seeds as usize)) {
        if limit.is_some_and(|limit| start.elapsed() > limit) {
            break;
        }
        for cast in casts {
            match try_play(seed, *cast, false) {
                Ok(outcome) => {
                    steps += outcome.steps;
                    received += outcome.counts.received;
                }
                Err(violation) => {
                    tell(seed, *cast, &violation);
                    failed += 1;
                    if !arguments.keep_going {
                        return ExitCode::FAILURE;
                    }
                }
            }
        }
        played += 1;
        if played.is_multiple_of(100) {
            println!("{played} seeds to {seed}, {casts:?}: {steps} steps, {received} events received, {failed} failed");
        }
    }
    println!(
        "{played} seeds from {}, {casts:?}: {steps} steps, {received} events received, {failed} failed",
        arguments.from
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays one story twice; whether it ends well, and in the same way.
fn tell_twice(seed: u64, cast: Cast, is_printed: bool) -> bool {
    match (try_play(seed, cast, is_printed), try_play(seed, cast, false)) {
        (Ok(outcome), Ok(again)) => {
            println!("{cast:?}: {outcome:?}");
            if outcome != again {
                println!("not the same twice: {again:?}");
            }
            outcome == again
        }
        (Err(violation), _) | (_, Err(violation)) => {
            tell(seed, cast, &violation);
            false
        }
    }
}

fn tell(seed: u64, cast: Cast, violation: &str) {
    for line in trace::last_lines() {
        println!("  {line}");
    }
    println!("seed {seed}, {cast:?}, failed: {violation}");
}
