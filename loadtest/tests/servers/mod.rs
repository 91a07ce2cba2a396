//! The servers that tests run against, each in a process of its own that ends with its handle.
//!
//! They need `node` and the packages of `tests/conformance` (`make test-node` installs them), or a program that `make`
//! builds. Where something is missing a test says so and passes; with CI=true it fails instead.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
