//! Against the official Node.js server: every scenario that it can answer, over every transport, and the program itself.
//!
//! Needs `node` and the packages of `tests/conformance` (`make test-node` installs them). Where they are missing a test
//! says so and passes; with CI=true it fails instead.
#![allow(clippy::unwrap_used)]

use ringio_loadtest::plan::Transport;
use ringio_loadtest::report::outcome::Outcome;
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

struct NodeServer {
    child: Child,
    url: String,
}

impl Drop for NodeServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn conformance() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance")
}

/// The `bench` suite on a free port; `None` where Node or its packages are missing.
fn start_node() -> Option<NodeServer> {
    start(&["node-reference.mjs", "bench", "--port"], "http")
}

/// A program of Node's, which gets a free port as its last argument and says `ready`.
fn start(arguments: &[&str], scheme: &str) -> Option<NodeServer> {
    if !conformance().join("node_modules/socket.io").exists() {
        assert!(std::env::var_os("CI").is_none(), "tests/conformance/node_modules is missing");
        eprintln!("skipped: tests/conformance/node_modules is missing, `make test-node` installs it");
        return None;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("node")
        .args(arguments)
        .arg(port.to_string())
        .current_dir(conformance())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("CI").is_none(), "node is missing");
        eprintln!("skipped: node is missing");
        return None;
    };
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    Some(NodeServer { child, url: format!("{scheme}://localhost:{port}") })
}

fn attempt(server: &NodeServer, scenario: Scenario, transport: Transport) -> Outcome {
    let settings = Settings {
        clients: 20,
        rate: Some(200.0),
        duration_ms: 500,
        warmup_ms: 0,
        room_size: 5,
        size: 1200,
        ..Settings::default()
    };
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let (mut plan, phases) = plan(scenario, &settings, target).unwrap();
    plan.transport = transport;
    // The server does not compress; that it is offered must do no harm.
    plan.deflate = true;
    let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
    assert_eq!(outcome.failures.total(), 0, "{scenario} over {transport:?}: {:?}", outcome.failures);
    assert_eq!(outcome.faults.total(), 0, "{scenario} over {transport:?}: {:?}", outcome.first_fault);
    outcome
}

#[test]
fn every_message_comes_back_over_every_transport() {
    let Some(server) = start_node() else { return };
    let check = |transport: Transport| {
        for scenario in [Scenario::Probe, Scenario::Echo, Scenario::Ack, Scenario::Binary] {
            let outcome = attempt(&server, scenario, transport);
            assert_eq!((outcome.total.sent, outcome.total.received), (100, 100), "{scenario} over {transport:?}");
            assert_eq!(outcome.server_pids, [server.child.id()]);
            assert!(outcome.total.server_rss.unwrap() > 10_000_000);
        }
    };
    std::thread::scope(|scope| {
        for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrade] {
            scope.spawn(move || check(transport));
        }
    });
}

#[test]
fn every_member_hears_every_message() {
    let Some(server) = start_node() else { return };
    for transport in [Transport::Websocket, Transport::Polling] {
        let outcome = attempt(&server, Scenario::Broadcast, transport);
        assert_eq!((outcome.total.sent, outcome.total.received), (100, 2000), "{transport:?}");
        let outcome = attempt(&server, Scenario::Rooms, transport);
        assert_eq!((outcome.total.sent, outcome.total.received), (100, 500), "{transport:?}");
    }
}

/// TLS and compression, on the same official server.
#[test]
fn encrypted_and_compressed_messages_come_back() {
    const SCRIPT: &str = r#"
        const [cert, key, port] = process.argv.slice(1);
        const { readFileSync } = require("node:fs");
        const { Server } = require("socket.io");
        const https = require("node:https").createServer({ cert: readFileSync(cert), key: readFileSync(key) });
        new Server(https, { perMessageDeflate: { threshold: 100 } }).on("connection", (socket) =>
            socket.on("echo", (...args) => socket.emit("echo", ...args)));
        https.listen(Number(port), () => console.log("ready"));"#;
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (scratch("cert.pem"), scratch("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let Some(server) = start(&["-e", SCRIPT, &cert, &key], "https") else { return };
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let settings =
        Settings { clients: 5, rate: Some(100.0), duration_ms: 500, warmup_ms: 0, size: 3000, ..Settings::default() };
    let attempt = |authorities: Option<String>, insecure, deflate| {
        let target = Target { authorities, insecure, ..target.clone() };
        let (mut plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
        plan.deflate = deflate;
        run(plan, &phases, RunOptions::default(), &mut Unobserved)
    };
    let error = attempt(None, false, false).unwrap_err();
    assert!(error.contains("--ca") && error.contains("TLS handshake failed"), "{error}");
    let plain = attempt(Some(cert), false, false).unwrap();
    let deflated = attempt(None, true, true).unwrap();
    let bytes_in = |outcome: &Outcome| outcome.series.iter().map(|second| second.bytes_in).sum::<u64>();
    for outcome in [&plain, &deflated] {
        assert_eq!((outcome.total.received, outcome.faults.total(), outcome.failures.total()), (50, 0, 0));
    }
    // The plaintext of TLS is counted before it is inflated: the filler repeats, so it shrinks to a fraction.
    assert!(bytes_in(&deflated) * 4 < bytes_in(&plain), "{} {}", bytes_in(&deflated), bytes_in(&plain));
}

/// No coordinated omission: while the server is held up for half a second, messages go on being due, and each of them
/// counts from when it was due. A client that waited for the first answer would report one slow message.
#[test]
fn a_pause_of_the_server_is_in_every_message_that_was_due_meanwhile() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        let begun = 0, paused = false;
        io.on("connection", (socket) => socket.on("echo", (...args) => {
            begun ||= Date.now();
            if (!paused && Date.now() - begun > 200) {
                paused = true;
                for (const end = Date.now() + 500; Date.now() < end; );
            }
            socket.emit("echo", ...args);
        }));
        console.log("ready");"#;
    let Some(server) = start(&["-e", SCRIPT], "http") else { return };
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let settings = Settings { clients: 5, rate: Some(100.0), duration_ms: 1_000, warmup_ms: 0, ..Settings::default() };
    let (plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
    let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
    assert_eq!((outcome.total.sent, outcome.total.received), (100, 100));
    // About fifty were due during the pause, and waited for what was left of it: evenly, 0 to 500 ms.
    let latency = outcome.total.latency;
    assert!(latency.max >= 490.0 && latency.p90 >= 300.0 && latency.p75 >= 150.0, "{latency:?}");
}

#[test]
fn clients_come_and_go() {
    let Some(server) = start_node() else { return };
    let outcome = attempt(&server, Scenario::Connect, Transport::Websocket);
    assert!((60..=110).contains(&outcome.total.connected), "{}", outcome.total.connected);
    assert!(outcome.total.connect.p50 > 0.0);
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringio-loadtest")).args(arguments).output().unwrap()
}

fn scratch(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("{}-{name}", std::process::id())).to_str().unwrap().to_owned()
}

#[test]
fn one_command_finds_the_limit_and_reports_it() {
    let Some(server) = start_node() else { return };
    let (json, html, csv) = (scratch("limit.json"), scratch("limit.html"), scratch("limit.csv"));
    let output = program(&[
        &server.url,
        "--start",
        "20",
        "--max-clients",
        "40",
        "--step",
        "1",
        "--p99",
        "5000",
        "--json",
        &json,
        "--html",
        &html,
        "--csv",
        &csv,
        "--fail-if",
        "clients<40",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("The server holds 40 clients"), "{text}");
    assert!(std::fs::read_to_string(&html).unwrap().contains("The server holds 40 clients"));
    assert!(std::fs::read_to_string(&csv).unwrap().lines().count() > 3);
    let compared = program(&["compare", &json, &json]);
    assert!(String::from_utf8(compared.stdout).unwrap().contains("1.00x"));
    let crossed =
        program(&["run", "echo", &server.url, "-c", "5", "-d", "0.3", "--warmup", "0", "--fail-if", "p50>0.0001ms"]);
    assert_eq!(crossed.status.code(), Some(1));
    assert!(String::from_utf8(crossed.stdout).unwrap().contains("failed: p50>0.0001ms"));
}

#[test]
fn a_scenario_file_runs_and_its_mistakes_are_told() {
    let Some(server) = start_node() else { return };
    let file = scratch("scenario.toml");
    let good = "[clients]\ncount = 10\ngroup_size = 5\nconnect_rate = 1000\n[[setup]]\nemit = \"join\"\nargs = [\"room-{{group}}\"]\n\
        [[action]]\nemit = \"room\"\nargs = [\"room-{{group}}\", { text = \"{{stamp}}\" }]\nexpect = \"group\"\n\
        [[action]]\nemit = \"ack\"\nargs = [1]\nexpect = \"ack\"\n[[phase]]\nduration = \"500ms\"\nrate = 100\n";
    std::fs::write(&file, good).unwrap();
    assert_eq!(program(&["check", &file]).status.code(), Some(0));
    let output = program(&["run", &file, &server.url, "--quiet"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("  room") && text.contains("  ack") && text.contains("verified     every message"), "{text}");
    std::fs::write(&file, good.replace("expect = \"ack\"", "expcet = \"ack\"")).unwrap();
    let output = program(&["run", &file, &server.url]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("line 15: "));
}

#[test]
fn an_interrupted_run_keeps_what_it_measured() {
    let Some(server) = start_node() else { return };
    let json = scratch("interrupted.json");
    let child = Command::new(env!("CARGO_BIN_EXE_ringio-loadtest"))
        .args(["run", "echo", &server.url, "-c", "5", "-d", "60", "--warmup", "0", "--plain", "--json", &json])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The second line that counts messages: some have been measured by then.
    let counted = lines.by_ref().filter(|line| line.as_ref().is_ok_and(|line| line.contains(" p50 "))).nth(1);
    assert!(counted.is_some());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGINT).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let outcome: Outcome = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert!(outcome.total.received > 0 && !outcome.is_complete);
    assert!(outcome.notes.iter().any(|note| note.contains("interrupted")), "{:?}", outcome.notes);
    assert_eq!(outcome.faults.total(), 0);
}

#[test]
fn what_cannot_work_is_told_in_a_sentence() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    for (arguments, words) in [
        (vec!["run", "echo", &url], "nothing listens"),
        (vec!["run", "ehco", &url], "neither a file nor one of"),
        (vec!["run", "echo", "ftp://x"], "scheme"),
        (vec!["run", "echo"], "address is missing"),
        (vec![], "address is missing"),
        (vec!["compare", "/nonexistent", "/nonexistent"], "cannot be read"),
        (vec!["run", "echo", &url, "--fail-if", "p98>1"], "no metric"),
    ] {
        let output = program(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}
