//! Every planted bug is found within its number of seeds, and none is found where none is planted.
//!
//! Runs with `make simulate-planted` only: the bugs exist under `--cfg ringio_planted`.

#![cfg(ringio_planted)]
#![allow(missing_docs)]

use ringio_core::base::planted::{Bug, plant};
use ringio_simulation::command_line::try_play;
use ringio_simulation::plot::Cast;

/// Seeds within which each must be found by stories of one server. The README shows where each was.
const FOUND_WITHIN: [(Bug, u64); 14] = [
    (Bug::ShortWriteLoss, 50),
    (Bug::EarlyRelease, 300),
    (Bug::NoBuffersUnnoticed, 50),
    (Bug::OverflowUnnoticed, 300),
    (Bug::ShutdownForgotten, 50),
    (Bug::MeshOvertakes, 1_000),
    (Bug::BellForgotten, 1_000),
    (Bug::StaleTime, 300),
    (Bug::LostTimer, 50),
    (Bug::DoubleDelivery, 50),
    (Bug::AckTwice, 50),
    (Bug::RoomNotLeft, 50),
    (Bug::AbandonedProbe, 300),
    (Bug::OutboxUnbounded, 50),
];

/// The same by stories of several servers.
const FOUND_IN_CLUSTERS_WITHIN: [(Bug, u64); 4] =
    [(Bug::SentOn, 50), (Bug::DeadAwaited, 300), (Bug::FormerLife, 1_000), (Bug::AnsweredTwice, 300)];

/// The same by stories with greedy clients: bounds that others do not reach.
const FOUND_WITH_GREEDY_WITHIN: [(Bug, u64); 3] =
    [(Bug::HeadUnbounded, 50), (Bug::SocketsUnbounded, 50), (Bug::AcksUnbounded, 50)];

/// Its first line, or the first of that: some show all of a connection, and a pipe may not take so much at once.
fn beginning(violation: &str) -> String {
    violation.lines().next().unwrap_or_default().chars().take(300).collect()
}

#[test]
fn every_planted_bug_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    let alone = FOUND_WITHIN.map(|(bug, seeds)| (bug, seeds, Cast::Alone));
    let in_clusters = FOUND_IN_CLUSTERS_WITHIN.map(|(bug, seeds)| (bug, seeds, Cast::Cluster));
    let with_greedy = FOUND_WITH_GREEDY_WITHIN.map(|(bug, seeds)| (bug, seeds, Cast::Greedy));
    let all = alone.into_iter().chain(in_clusters).chain(with_greedy);
    // One of them, to see what finds it: PLANTED=SentOn.
    let only = std::env::var("PLANTED").ok();
    let is_asked = |bug: &Bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"));
    for (bug, seeds, cast) in all.filter(|(bug, ..)| is_asked(bug)) {
        plant(Some(bug));
        let found = (0..seeds).find_map(|seed| try_play(seed, cast, false).err().map(|violation| (seed, violation)));
        match found {
            Some((seed, violation)) => {
                println!("| {bug:?} | seed {seed} | {} |", beginning(&violation));
            }
            None => missed.push((bug, seeds)),
        }
    }
    plant(None);
    assert!(missed.is_empty(), "not found: {missed:?}");
    for cast in [Cast::Alone, Cast::Cluster, Cast::Greedy] {
        for seed in 0..50 {
            // The words of panics are not printed here.
            let violation = try_play(seed, cast, false).err();
            if let Some(violation) = &violation {
                println!("seed {seed}, {cast:?}, nothing planted: {}", beginning(violation));
            }
            assert_eq!(violation, None);
        }
    }
}
