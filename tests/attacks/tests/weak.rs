//! Every attack finds something on a server that has every flaw: no check of the board is one that cannot fail.

use ringio_attacks::attacks::{Attack, BOARD};
use ringio_attacks::board::play;
use ringio_attacks::server::{Places, Target};
use ringio_bench::process::raise_open_files_limit;
use std::path::Path;
use std::sync::Mutex;

/// Played at a time: they wait more than they compute.
const BESIDE: usize = 4;

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
                    let report = play(attack, Target::Weak, &places, true).unwrap().unwrap();
                    println!("{}", report.line());
                    if report.findings.is_empty() {
                        idle.lock().unwrap().push(attack.name);
                    }
                }
            });
        }
    });
    let idle = idle.into_inner().unwrap();
    assert!(idle.is_empty(), "found nothing: {idle:?}");
}
