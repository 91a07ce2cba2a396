//! Workers in processes of their own: together they see what one worker would, and one that dies costs its own part only.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::faulty::{Fault, FaultyServer};
use ringio_loadtest::report::outcome::{Outcome, SecondOutcome};
use ringio_loadtest::run::{Observer, RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use servers::program;
use std::process::Command;

fn attempt(fault: Fault, scenario: Scenario, duration_ms: u64, observer: &mut dyn Observer) -> Outcome {
    let server = FaultyServer::start(fault, 0).unwrap();
    let target = Target::resolve(&server.url(), PATH_DEFAULT).unwrap();
    let settings =
        Settings { clients: 12, rate: Some(200.0), duration_ms, warmup_ms: 0, room_size: 4, ..Settings::default() };
    let (plan, phases) = plan(scenario, &settings, target).unwrap();
    let options = RunOptions { processes: 3, program: Some(program().into()), ..RunOptions::default() };
    run(plan, &phases, options, observer).unwrap()
}

/// Groups that span processes, and groups that do not; each message is counted and timed once, wherever it arrived.
#[test]
fn processes_see_together_what_one_worker_would() {
    for (scenario, receivers) in [(Scenario::Broadcast, 12), (Scenario::Rooms, 4), (Scenario::Ack, 1)] {
        let outcome = attempt(Fault::None, scenario, 500, &mut Unobserved);
        assert_eq!(outcome.faults.total() + outcome.failures.total(), 0, "{scenario}: {:?}", outcome.first_fault);
        assert_eq!((outcome.total.sent, outcome.total.received), (100, 100 * receivers), "{scenario}");
        assert_eq!(outcome.total.latency.count, outcome.total.received, "{scenario}");
        assert_eq!((outcome.workers, outcome.processes, outcome.is_complete), (3, 3, true));
        let per_second: u64 = outcome.series.iter().map(|second| second.received).sum();
        assert_eq!(per_second, outcome.total.received, "{scenario}");
    }
}

#[test]
fn what_is_lost_between_processes_is_lost() {
    let outcome = attempt(Fault::Drop, Scenario::Broadcast, 500, &mut Unobserved);
    // Every tenth of 1,200 deliveries.
    assert_eq!(outcome.faults.lost, 120, "{:?}", outcome.faults);
    assert_eq!(outcome.total.received, 1_080);
}

/// Kills the first worker process in the second second.
#[derive(Default)]
struct Killer {
    pid: Option<String>,
}

impl Observer for Killer {
    fn say(&mut self, text: &str) {
        if let Some((_, pids)) = text.split_once("worker processes: ") {
            self.pid = pids.split(", ").next().map(str::to_owned);
        }
    }

    fn second(&mut self, second: &SecondOutcome) {
        if second.received > 0
            && let Some(pid) = self.pid.take()
        {
            // Not kill(1), which small systems do not have.
            let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
}

#[test]
fn a_process_that_dies_leaves_what_the_others_measured() {
    let outcome = attempt(Fault::None, Scenario::Echo, 60_000, &mut Killer::default());
    assert!(outcome.seconds < 50.0 && !outcome.is_complete, "{}", outcome.seconds);
    assert!(outcome.notes.iter().any(|note| note.contains("worker process ended")), "{:?}", outcome.notes);
    assert!(outcome.total.received > 0 && outcome.workers == 2);
    assert_eq!(outcome.faults.total(), 0, "{:?}", outcome.first_fault);
}

/// More clients than one process may have open files: several are started by themselves. A limit that is asked for is kept.
#[test]
fn clients_beyond_the_limit_of_open_files_get_more_processes() {
    let server = FaultyServer::start(Fault::None, 0).unwrap();
    let run = |arguments: &str| {
        let command = format!(
            "ulimit -n 140; exec '{}' run probe {} -c 60 -d 0.3 --warmup 0 --quiet {arguments}",
            program(),
            server.url()
        );
        Command::new("bash").args(["-c", &command]).output().unwrap()
    };
    let output = run("");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("2 processes"), "{text}");
    let output = run("--processes 1");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("60 clients need 160 open files") && text.contains("--processes"), "{text}");
}
