//! Every attack finds something on a server that has every flaw: no check of the board is one that cannot fail.

use ringio_attacks::attacks::{Attack, BOARD};
use ringio_attacks::board::{play, play_within};
use ringio_attacks::line::{Reply, http_reply};
use ringio_attacks::scene::{Finding, Scene};
use ringio_attacks::server::{Places, Setting, Target};
use ringio_bench::process::raise_open_files_limit;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// Played at a time: they wait more than they compute.
const BESIDE: usize = 4;

/// An attack that has found nothing is played again: on a busy machine the server may not have come to the point where it hurts.
const TRIES: usize = 5;

#[test]
fn every_attack_finds_something_on_the_weak_server() {
    raise_open_files_limit().unwrap();
    let board = Path::new(env!("CARGO_BIN_EXE_ringio-attacks"));
    let places = Places::below(Path::new("target"), board.to_owned());
    let attacks: Vec<&Attack> = BOARD.iter().copied().flatten().filter(|attack| attack.is_quick).collect();
    let (next, idle) = (Mutex::new(attacks.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                loop {
                    let Some(attack) = next.lock().unwrap().next() else { return };
                    let finds = || {
                        let report = play(attack, Target::Weak, &places, true).unwrap().unwrap();
                        println!("{}", report.line());
                        // An attack that could not go on has found nothing by that.
                        report.findings.iter().any(|finding| !matches!(finding, Finding::Unplayed(_)))
                    };
                    if !(0..TRIES).any(|_| finds()) {
                        idle.lock().unwrap().push(attack.name);
                    }
                }
            });
        }
    });
    let idle = idle.into_inner().unwrap();
    assert!(idle.is_empty(), "found nothing: {idle:?}");
}

/// Waits for an answer to nothing.
fn no_end(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    while http_reply(&mut stream) == Reply::Silence {}
    Ok(())
}

#[test]
fn a_server_that_the_board_ends_has_not_died() {
    let attack = Attack {
        name: "no end",
        class: "control",
        setting: Setting::Impatient,
        is_slow: false,
        is_quick: true,
        story: no_end,
    };
    let board = Path::new(env!("CARGO_BIN_EXE_ringio-attacks"));
    let places = Places::below(Path::new("target"), board.to_owned());
    let report = play_within(Duration::ZERO, &attack, Target::Weak, &places, true).unwrap().unwrap();
    assert!(
        matches!(&report.findings[..], [Finding::Unplayed(why)] if why == "no end within 0 s"),
        "{}",
        report.line()
    );
}
