//! What a run ends with: whether it counts as done, what it says of messages and connections that were lost, and where that is written.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::faulty::{Fault, FaultyServer};
use ringio_loadtest::plan::{Phase, Reconnection};
use ringio_loadtest::report::outcome::Outcome;
use ringio_loadtest::report::{html, text};
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use servers::{ServerProcess, free_port, program, scratch, start_faulty, start_script};
use std::path::Path;
use std::process::Command;

/// Exit code, everything that was said, and the result.
fn run_program(server: &ServerProcess, json: &str, arguments: &[&str]) -> (Option<i32>, String, Outcome) {
    let output = Command::new(program())
        .args(["run", arguments[0], &server.url, "--warmup", "0", "--plain", "--json", json])
        .args(&arguments[1..])
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let outcome = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    (output.status.code(), text, outcome)
}

/// The server ends after fifty messages: what was measured is reported, and the run does not pass.
#[test]
fn a_server_that_ends_leaves_an_incomplete_run() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        let count = 0;
        io.on("connection", (socket) => socket.on("echo", (...args) => {
            // When what was answered is out, of however many that came at once.
            if (++count > 50) setTimeout(() => process.exit(1), 100);
            else socket.emit("echo", ...args);
        }));
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let (code, text, outcome) =
        run_program(&server, &scratch("ended.json"), &["echo", "-c", "5", "-r", "200", "-d", "1"]);
    assert_eq!((code, outcome.is_complete), (Some(2), false), "{text}");
    assert!(
        outcome.notes.iter().any(|note| note.contains("no client was connected at the end")),
        "{:?}",
        outcome.notes
    );
    assert!(outcome.total.received >= 40, "{text}");
}

/// One client of five is thrown out: the others go on to the end, and still the run was not the one that was asked for.
#[test]
fn one_lost_connection_makes_a_run_incomplete() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        let count = 0;
        io.on("connection", (socket) => socket.on("echo", (...args) => {
            if (++count === 50) socket.disconnect(true);
            else socket.emit("echo", ...args);
        }));
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let (code, text, outcome) =
        run_program(&server, &scratch("kicked.json"), &["echo", "-c", "5", "-r", "200", "-d", "1"]);
    assert_eq!((code, outcome.is_complete, outcome.failures.total()), (Some(2), false, 1), "{text}");
    assert!(
        outcome.notes.iter().any(|note| note.starts_with("1 connection failed or ended early")),
        "{:?}",
        outcome.notes
    );
    assert!(outcome.total.received > 100, "{text}");
}

/// In a storm connections are lost because the plan says so, and messages have no sender until clients are back.
#[test]
fn a_planned_storm_is_no_failure() {
    let server = start_faulty("none");
    let (code, text, outcome) =
        run_program(&server, &scratch("storm.json"), &["storm", "-c", "5", "-r", "100", "-d", "3"]);
    assert_eq!((code, outcome.is_complete), (Some(0), true), "{text}");
    assert!(outcome.unsent() > 0 && text.contains("UNSENT"), "{text}");
    assert!(text.contains("verified     over connections that stood"), "{text}");
}

/// Connections that the server closes leave messages unanswered: how many is told, and nobody says that all arrived.
#[test]
fn messages_of_closed_connections_are_told() {
    let outcome = |duration_ms| {
        let server = FaultyServer::start(Fault::Close, 0).unwrap();
        let target = Target::resolve(&server.url(), PATH_DEFAULT).unwrap();
        let settings = Settings { clients: 8, rate: Some(500.0), duration_ms, warmup_ms: 0, ..Settings::default() };
        let (plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
        run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap()
    };
    // A machine that stands still sends all of it at once.
    let outcome = [400, 2_000, 8_000].into_iter().map(outcome).find(|outcome| outcome.unsent() > 0).unwrap();
    // Each connection is closed instead of an answer.
    let (abandoned, unsent) = (outcome.abandoned(), outcome.unsent());
    assert!(abandoned >= 8 && unsent > 0, "{abandoned} {unsent}");
    assert_eq!(outcome.total.sent, outcome.total.received + abandoned);
    let (summary, page) = (text::summary(&outcome), html::page(&outcome).unwrap());
    assert!(summary.contains(&format!("ABANDONED    {abandoned} messages unanswered")), "{summary}");
    assert!(summary.contains(&format!("UNSENT       {unsent} messages due")), "{summary}");
    assert!(!summary.contains("verified     every message"), "{summary}");
    assert!(
        page.contains(&format!("{abandoned} messages unanswered")) && page.contains(&format!("{unsent} messages due"))
    );
    assert!(!page.contains(">Every message"));
}

/// Messages that arrive wrong are counted in the phase in which they do.
#[test]
fn faults_are_counted_by_phase() {
    let server = FaultyServer::start(Fault::Duplicate, 0).unwrap();
    let target = Target::resolve(&server.url(), PATH_DEFAULT).unwrap();
    let settings = Settings { clients: 8, rate: Some(500.0), duration_ms: 400, warmup_ms: 0, ..Settings::default() };
    let (plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
    let mut calm = phases[0].clone();
    (calm.name, calm.rate, calm.rate_end) = ("calm".to_owned(), 0.0, 0.0);
    let phases = [calm, phases[0].clone()];
    let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
    let by_phase: u64 = outcome.phases.iter().map(|phase| phase.faults).sum();
    assert_eq!((by_phase, outcome.total.faults), (outcome.faults.duplicated, outcome.faults.duplicated));
    let faults: Vec<u64> = outcome.phases.iter().map(|phase| phase.faults).collect();
    // Connecting, calm, messages.
    assert_eq!(faults[..2], [0, 0], "{faults:?}");
    assert!(faults[2] >= 10, "{faults:?}");
}

/// Messages that never come are counted in the phase in which they were due, by the number that each sender had come to: a client's own,
/// and those of a group whose senders may be other workers' clients.
#[test]
fn losses_are_counted_by_phase() {
    // Side by side: most of their time is waiting for what was lost.
    std::thread::scope(|scope| {
        for scenario in [Scenario::Echo, Scenario::Ack, Scenario::Rooms, Scenario::Broadcast] {
            scope.spawn(move || check_losses_by_phase(scenario));
        }
    });
}

fn check_losses_by_phase(scenario: Scenario) {
    let server = FaultyServer::start(Fault::Drop, 0).unwrap();
    let target = Target::resolve(&server.url(), PATH_DEFAULT).unwrap();
    let settings =
        Settings { clients: 8, rate: Some(500.0), duration_ms: 400, warmup_ms: 0, room_size: 4, ..Settings::default() };
    let (plan, phases) = plan(scenario, &settings, target).unwrap();
    let talk = phases[0].clone();
    let calm = Phase { name: "calm".to_owned(), rate: 0.0, rate_end: 0.0, duration_ms: 100, ..talk.clone() };
    let phases = [calm.clone(), talk.clone(), calm, talk];
    let options = RunOptions { workers: Some(2), ..RunOptions::default() };
    let outcome = run(plan, &phases, options, &mut Unobserved).unwrap();
    // Connecting, calm, messages, calm, messages.
    let faults: Vec<u64> = outcome.phases.iter().map(|phase| phase.faults).collect();
    assert_eq!((faults[0], faults[1], faults[3]), (0, 0, 0), "{scenario}: {faults:?}");
    assert!(faults[2] >= 10 && faults[4] >= 10, "{scenario}: {faults:?}");
    assert_eq!((faults[2] + faults[4], outcome.total.faults), (outcome.faults.lost, outcome.faults.lost));
    for phase in [&outcome.phases[2], &outcome.phases[4]] {
        let receivers = match scenario {
            Scenario::Rooms => 4,
            Scenario::Broadcast => 8,
            _ => 1,
        };
        assert_eq!(phase.received + phase.faults, receivers * phase.sent, "{scenario}: {phase:?}");
    }
}

/// Churn with a single client cannot keep its rate: connections that found no free client are told.
#[test]
fn churn_that_lacks_clients_is_told() {
    let server = start_faulty("none");
    let (_, text, outcome) =
        run_program(&server, &scratch("starved.json"), &["connect", "-c", "1", "-r", "100000", "-d", "0.5"]);
    assert!(outcome.total.starved > 0, "{text}");
    assert!(outcome.notes.iter().any(|note| note.contains("were due while all clients were in use")), "{text}");
    // How late each connection was begun is known too.
    assert!(outcome.total.connect_lag.count >= outcome.total.connected, "{text}");
}

/// A client that is refused at first has waited from its first attempt on.
#[test]
fn connecting_counts_from_the_first_attempt() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        let count = 0;
        // The first is the look whether the server is there.
        io.use((socket, next) => next(++count > 1 && count <= 6 ? new Error("not yet") : undefined));
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let settings = Settings { clients: 5, duration_ms: 200, ..Settings::default() };
    let (mut plan, phases) = plan(Scenario::Idle, &settings, target).unwrap();
    plan.reconnection = Some(Reconnection { delay_ms: 300, delay_max_ms: 300, jitter: 0.0 });
    let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
    assert_eq!((outcome.total.connect.count, outcome.failures.total()), (5, 5), "{:?}", outcome.failures);
    assert!(outcome.total.connect.min >= 300.0, "{:?}", outcome.total.connect);
}

/// A result that cannot be written is told before the run where that can be known, and costs no other result.
#[test]
fn one_result_that_cannot_be_written_costs_no_other() {
    let (csv, page) = (scratch("full.csv"), scratch("full.html"));
    // Nothing listens there, which is not what is complained of.
    let url = format!("http://127.0.0.1:{}", free_port());
    for command in [vec!["run", "probe", url.as_str()], vec![url.as_str()]] {
        let output =
            Command::new(program()).args(command).args(["--csv", &csv, "--html", "/nonexistent/x.html"]).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains("/nonexistent/x.html cannot be written"), "{text}");
        // The trial leaves nothing.
        assert!(!Path::new(&csv).exists());
    }
    let server = start_faulty("none");
    let common = ["run", "probe", &server.url, "-c", "5", "-d", "0.2", "--warmup", "0", "--quiet"];
    let results = ["--json", "/dev/full", "--csv", &csv, "--html", &page];
    let output = Command::new(program()).args(common).args(results).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("/dev/full cannot be written"), "{text}");
    assert!(std::fs::read_to_string(&csv).unwrap().starts_with("second,"));
    assert!(std::fs::read_to_string(&page).unwrap().ends_with("</html>\n"));
}
