//! The servers that tests run against, each in a process of its own that ends with its handle.
//!
//! They need `node` and the packages of `tests/conformance` (`make test-node` installs them), or a program that `make`
//! builds. Where something is missing a test says so and passes; with CI=true it fails instead.
#![allow(dead_code, reason = "each test program uses its own part")]

use ringio_loadtest::failure::Class;
use ringio_loadtest::plan::Transport;
use ringio_loadtest::report::outcome::{Outcome, SecondOutcome};
use ringio_loadtest::run::{Observer, RunOptions, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A running server.
pub(crate) struct ServerProcess {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ServerProcess {
    /// What the server says to a plain GET: scripts answer with what they have counted, as JSON.
    pub(crate) fn ask(&self) -> serde_json::Value {
        let authority = self.url.split("//").nth(1).unwrap();
        let mut stream = TcpStream::connect(authority).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 ") && !head.contains("chunked"), "{text}");
        serde_json::from_str(body).unwrap()
    }
}

/// Ends a run when something has happened, however long that takes; the run's own duration only bounds it.
pub(crate) struct Until<F> {
    has_happened: F,
    interrupted: Arc<AtomicBool>,
}

impl<F: FnMut(&SecondOutcome) -> bool> Until<F> {
    /// Asks after each second whether it `has_happened`, until it has. The options are for the run.
    pub(crate) fn new(has_happened: F) -> (Self, RunOptions) {
        let options = RunOptions::default();
        (Self { has_happened, interrupted: Arc::clone(&options.interrupted) }, options)
    }
}

impl<F: FnMut(&SecondOutcome) -> bool> Observer for Until<F> {
    fn second(&mut self, second: &SecondOutcome) {
        if !self.interrupted.load(Ordering::Relaxed) && (self.has_happened)(second) {
            self.interrupted.store(true, Ordering::Relaxed);
        }
    }
}

/// Clients that come and go (connect or churn), 200 per second, until each has come three times on average.
pub(crate) fn come_and_go(server: &ServerProcess, scenario: Scenario, transport: Transport) -> Outcome {
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let settings =
        Settings { clients: 20, rate: Some(200.0), duration_ms: 60_000, warmup_ms: 0, ..Settings::default() };
    let (mut plan, phases) = plan(scenario, &settings, target).unwrap();
    plan.transport = transport;
    let mut connected = 0;
    let (mut observer, options) = Until::new(|second| {
        connected += second.connected;
        connected >= 60
    });
    let outcome = run(plan, &phases, options, &mut observer).unwrap();
    let what = format!("{scenario} over {transport:?}");
    assert!(connected >= 60, "{what}: {connected}");
    // No more than were due.
    assert!(outcome.total.connected as f64 <= 200.0 * outcome.seconds + 1.0, "{what}: {:?}", outcome.total);
    // There may be a moment when everybody is on the way.
    let failures = &outcome.failures;
    assert_eq!(failures.total(), failures.count(Class::NoSender), "{what}: {failures:?}");
    assert_eq!(outcome.faults.total(), 0, "{what}: {:?}", outcome.first_fault);
    outcome
}

fn skip(what: &str, remedy: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} is missing");
    eprintln!("skipped: {what} is missing, {remedy}");
}

/// Where the packages for Node are.
pub(crate) fn conformance() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance")
}

/// The suite `bench` of the official server on a free port; `None` where Node or its packages are missing.
pub(crate) fn start_node() -> Option<ServerProcess> {
    start_script(&["node-reference.mjs", "bench", "--port"], "http")
}

/// A program for Node, which gets a free port as its last argument and says `ready`.
pub(crate) fn start_script(arguments: &[&str], scheme: &str) -> Option<ServerProcess> {
    let conformance = conformance();
    if !conformance.join("node_modules/socket.io").exists() {
        skip("tests/conformance/node_modules", "`make test-node` installs it");
        return None;
    }
    let mut command = Command::new("node");
    command.args(arguments).current_dir(conformance);
    start(command, scheme)
}

/// socketioxide with the events of the suite `bench`; `None` where it was not built.
pub(crate) fn start_socketioxide() -> Option<ServerProcess> {
    let target = Path::new(program()).parent()?.parent()?.join("peers");
    let builds = ["debug", "release"].map(|profile| target.join(profile).join("peer-socketioxide"));
    let Some(program) = builds.iter().find(|program| program.exists()) else {
        skip("socketioxide", "`make socketioxide` builds it");
        return None;
    };
    let mut command = Command::new(program);
    command.arg("--port");
    start(command, "http")
}

/// The faulty server in a process of its own.
pub(crate) fn start_faulty(fault: &str) -> ServerProcess {
    let mut command = Command::new(program());
    command.args(["faulty", fault, "--port"]);
    start(command, "http").unwrap()
}

fn start(mut command: Command, scheme: &str) -> Option<ServerProcess> {
    let port = free_port();
    let Ok(mut child) = command.arg(port.to_string()).stdout(Stdio::piped()).spawn() else {
        skip(&format!("{command:?}"), "is it installed?");
        return None;
    };
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready") || line.starts_with("serving"), "{line:?}");
    Some(ServerProcess { child, url: format!("{scheme}://localhost:{port}") })
}

/// The program.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_ringio-loadtest")
}

/// A port that nobody has at present, from below those that the kernel gives to connections: one of these may be the
/// port of another test's client by the time the server listens.
pub(crate) fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, *port)).is_ok();
    (0..100).map(|_| fastrand::u16(10_000..20_000)).find(is_free).expect("ten thousand ports")
}

/// A file for this test process alone.
pub(crate) fn scratch(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("{}-{name}", std::process::id())).to_str().unwrap().to_owned()
}
