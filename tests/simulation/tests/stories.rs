//! A few hundred stories in every test run, seeds that once failed, and the same seed told twice.

#![allow(missing_docs)]

use ringio_simulation::command_line::try_play;
use ringio_simulation::trace;

/// Stories of every test run; `make simulate` plays on.
const STORIES: u64 = 600;

fn play(seed: u64) -> ringio_simulation::world::Outcome {
    try_play(seed, false).unwrap_or_else(|violation| {
        trace::last_lines().iter().for_each(|line| println!("  {line}"));
        panic!("seed {seed}: {violation} (cargo run --release -p ringio-simulation -- --seed {seed} --trace)")
    })
}

#[test]
fn hundreds_of_stories_end_well() {
    let mut sum = ringio_simulation::oracle::Counts::default();
    for seed in 0..STORIES {
        let counts = play(seed).counts;
        sum.accepted += counts.accepted;
        sum.received += counts.received;
        sum.heard += counts.heard;
        sum.answered += counts.answered;
        sum.failed += counts.failed;
        sum.recovered += counts.recovered;
    }
    println!("seeds 0..{STORIES}: {sum:?}");
    // A simulator that does nothing finds nothing.
    assert!(sum.accepted > 3_000 && sum.received > 15_000 && sum.heard > 15_000, "{sum:?}");
    assert!(sum.answered > 1_000 && sum.failed > 500 && sum.recovered > 20, "{sum:?}");
}

#[test]
fn a_seed_is_the_same_story_twice() {
    for seed in 10_000..10_020 {
        assert_eq!(play(seed), play(seed));
    }
    assert_ne!(play(1).hash, play(2).hash);
}

/// Acknowledgements asked for by a job of another thread timed out at once: the shard had slept, and the job's deadlines
/// counted from the turn before.
#[test]
fn seed_59_a_job_for_a_sleeping_shard() {
    play(59);
}
