//! A few hundred stories in every test run, seeds that once failed, and the same seed told twice.

#![allow(missing_docs)]

use ringio_simulation::command_line::try_play;
use ringio_simulation::oracle::Counts;
use ringio_simulation::plot::Cast;
use ringio_simulation::trace;
use std::io::Write as _;

/// Stories of one server in every test run; `make simulate` plays on.
const STORIES: u64 = 600;
/// Stories of several servers.
const CLUSTER_STORIES: u64 = 200;
/// Stories with greedy clients.
const GREEDY_STORIES: u64 = 100;

fn play(seed: u64, cast: Cast) -> ringio_simulation::world::Outcome {
    try_play(seed, cast, false).unwrap_or_else(|violation| {
        trace::last_lines().iter().for_each(|line| println!("  {line}"));
        panic!("seed {seed}, {cast:?}: {violation} (cargo run --release -p ringio-simulation -- --seed {seed} --trace)")
    })
}

fn play_many(seeds: u64, cast: Cast) -> Counts {
    let mut sum = Counts::default();
    (0..seeds).for_each(|seed| sum += play(seed, cast).counts);
    say(&format!("seeds 0..{seeds}, {cast:?}: {sum:?}"));
    sum
}

/// Prints a line that a test run shows also when all is well: what goes through `println!` is kept back then.
fn say(line: &str) {
    // As one write, so that lines of tests that run at the same time stay whole.
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("somebody reads what tests say");
}

#[test]
fn hundreds_of_stories_end_well() {
    let sum = play_many(STORIES, Cast::Alone);
    // A simulator that does nothing finds nothing.
    assert!(sum.accepted > 3_000 && sum.received > 15_000 && sum.heard > 15_000, "{sum:?}");
    assert!(sum.answered > 1_000 && sum.failed > 500 && sum.recovered > 20, "{sum:?}");
}

#[test]
fn hundreds_of_stories_of_several_servers_end_well() {
    let sum = play_many(CLUSTER_STORIES, Cast::Cluster);
    assert!(sum.accepted > 1_500 && sum.received > 10_000 && sum.heard > 5_000, "{sum:?}");
    assert!(sum.letters > 10_000 && sum.servers_answered > 500 && sum.gone > 30, "{sum:?}");
}

#[test]
fn stories_with_greedy_clients_end_well_at_the_bounds() {
    let sum = play_many(GREEDY_STORIES, Cast::Greedy);
    assert!(sum.accepted > 500 && sum.received > 2_000 && sum.heard > 2_000, "{sum:?}");
    assert!(sum.greed > 100 && sum.hoarded > 1_000_000, "{sum:?}");
}

#[test]
fn a_seed_is_the_same_story_twice() {
    for cast in [Cast::Alone, Cast::Cluster, Cast::Greedy] {
        for seed in 10_000..10_020 {
            assert_eq!(play(seed, cast), play(seed, cast));
        }
        assert_ne!(play(1, cast).hash, play(2, cast).hash);
    }
}

/// A server had ended and was waited for: an answer of another of its shards had come behind its farewell and made it known again.
#[test]
fn seed_185_what_a_server_said_before_it_left() {
    play(185, Cast::Cluster);
}

/// Bytes of chance of a rude client were a ping whose payload was its next message, to the byte: no loss of ours.
#[test]
fn seed_7030306_bytes_of_chance_that_are_a_ping() {
    play(7_030_306, Cast::Cluster);
}

/// The same, and the answer to a CONNECT that had been sent before them came behind them.
#[test]
fn seed_20005749_bytes_of_chance_before_a_connect_is_answered() {
    play(20_005_749, Cast::Alone);
}

/// A listener that paused was told to stop: its accept was cancelled a second time before the first cancel had shown, which found nothing, and
/// again, turn after turn without a pause.
#[test]
fn seed_30032896_a_listener_that_pauses_is_to_stop() {
    play(30_032_896, Cast::Alone);
}

/// A broadcast of another shard was on its way while an absent socket came back and joined a room that the broadcast leaves out. No loss of ours.
#[test]
fn seed_30089876_a_room_joined_before_what_was_missed_gets_there() {
    play(30_089_876, Cast::Alone);
}

/// Acknowledgements asked for by a job of another thread timed out at once: the shard had slept, and the job's deadlines
/// counted from the turn before.
#[test]
fn seed_59_a_job_for_a_sleeping_shard() {
    play(59, Cast::Alone);
}
