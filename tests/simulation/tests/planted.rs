//! Every planted bug is found within its number of seeds, and none is found where none is planted.
//!
//! Runs with `make simulate-planted` only: the bugs exist under `--cfg ringio_planted`.

#![cfg(ringio_planted)]
#![allow(missing_docs)]

use ringio_core::base::planted::{Bug, plant};
use ringio_simulation::command_line::try_play;

/// Seeds within which each must be found. The README shows where each was.
const FOUND_WITHIN: [(Bug, u64); 13] = [
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
];

#[test]
fn every_planted_bug_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for (bug, seeds) in FOUND_WITHIN {
        plant(Some(bug));
        let found = (0..seeds).find_map(|seed| try_play(seed, false).err().map(|violation| (seed, violation)));
        match found {
            Some((seed, violation)) => {
                println!("| {bug:?} | seed {seed} | {} |", violation.lines().next().unwrap_or_default());
            }
            None => missed.push((bug, seeds)),
        }
    }
    plant(None);
    assert!(missed.is_empty(), "not found: {missed:?}");
    for seed in 0..50 {
        assert_eq!(try_play(seed, false).err(), None, "seed {seed}, nothing planted");
    }
}
