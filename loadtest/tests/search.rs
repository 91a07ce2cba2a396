//! The search for the limit, against official servers that have one: it is found, and what has nothing to do with it is no limit.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::failure::Class;
use ringio_loadtest::report::outcome::{HELD, Outcome};
use servers::{ServerProcess, program, scratch, start_faulty, start_script};
use std::process::Command;

/// A search in steps of a second. Its bound of latency is one that a busy machine keeps: what ends it is the number of clients.
fn search(server: &ServerProcess, json: &str, arguments: &[&str]) -> (Option<i32>, String, Outcome) {
    let output = Command::new(program())
        .args([&server.url, "--step", "1", "--p99", "5000", "--plain", "--json", json])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let outcome = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    // The verdict may be wrapped.
    (output.status.code(), text.replace('\n', " "), outcome)
}

/// The steps in turn: their clients, and whether they were held in the end. A step may be repeated.
fn steps(outcome: &Outcome) -> Vec<(u32, bool)> {
    let mut steps: Vec<(u32, bool)> = Vec::new();
    for phase in &outcome.phases {
        let Some(verdict) = &phase.verdict else { continue };
        match steps.last_mut() {
            Some(step) if step.0 == phase.clients => step.1 = verdict == HELD,
            _ => steps.push((phase.clients, verdict == HELD)),
        }
    }
    steps
}

/// Each step that is not held is repeated, and clients that were refused are tried again in it.
#[test]
fn a_limit_is_met_and_narrowed_down() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        io.use((socket, next) => next(io.of("/").sockets.size >= 50 ? new Error("all places are taken") : undefined));
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let (code, text, outcome) = search(&server, &scratch("met.json"), &["--start", "40", "--max-clients", "500"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(outcome.verdict.starts_with("The server holds 50 clients"), "{text}");
    assert!(outcome.verdict.contains("with 60 it does not: 50 of 60 clients were connected"), "{text}");
    assert!(outcome.verdict.contains("all places are taken"), "{text}");
    assert_eq!(steps(&outcome), [(40, true), (80, false), (60, false), (50, true)], "{text}");
    let tries = outcome.phases.iter().filter(|phase| phase.clients == 80 && phase.verdict.is_some());
    assert_eq!(tries.count(), 2, "{text}");
    // The figures are those of the step that was held.
    assert_eq!((outcome.total.clients, outcome.is_complete), (50, true));
    assert_eq!(outcome.total.name, "50 clients");
}

/// Five clients are thrown out once: the step is repeated with all of them, and the search goes on.
#[test]
fn clients_that_were_lost_once_are_no_limit() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        const sockets = [];
        io.on("connection", (socket) => {
            // The first is the look whether the server is there.
            if (sockets.push(socket) === 21) setTimeout(() => sockets.slice(-5).forEach((socket) => socket.disconnect(true)), 500);
        });
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let (code, text, outcome) = search(&server, &scratch("kicked.json"), &["--start", "20", "--max-clients", "40"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(outcome.verdict.starts_with("The server holds 40 clients"), "{text}");
    assert_eq!(
        outcome.failures.count(Class::Closed) + outcome.failures.count(Class::Namespace),
        5,
        "{:?}",
        outcome.failures
    );
    assert_eq!(outcome.failures.total(), 5, "{:?}", outcome.failures);
}

/// Not even the first step is held: there are no clients to speak of, and a condition on them fails.
#[test]
fn a_server_that_holds_nothing_passes_no_condition() {
    // Nobody acknowledges anything.
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let arguments = ["--scenario", "ack", "--start", "1", "--max-clients", "1", "--allow-faults"];
    let condition = ["--fail-if", "clients<1"];
    let (code, text, outcome) = search(&server, &scratch("nothing.json"), &[&arguments[..], &condition].concat());
    assert_eq!((code, outcome.total.clients), (Some(1), 0), "{text}");
    assert!(text.contains("failed: clients<1"), "{text}");
    assert_eq!(steps(&outcome), [(1, false)], "{text}");
}

/// The server goes down under the load: that is told, and steps against nothing are not called its limit.
#[test]
fn a_server_that_goes_down_is_told() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        io.on("connection", () => { if (io.of("/").sockets.size > 30) process.exit(1); });
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let (code, text, outcome) = search(&server, &scratch("down.json"), &["--start", "20", "--max-clients", "500"]);
    assert_eq!((code, outcome.is_complete), (Some(2), false), "{text}");
    assert!(outcome.notes.iter().any(|note| note.contains("did not survive 40 clients")), "{:?}", outcome.notes);
    assert_eq!(steps(&outcome), [(20, true), (40, false)], "{text}");
    assert_eq!(outcome.total.clients, 20);
}

/// Ports that ran out are this machine's limit and not the server's, which holds at least what was tried before.
#[test]
fn ports_that_ran_out_are_not_the_servers_limit() {
    let server = start_faulty("none");
    // An address that nothing else here connects from, so that the ports are free.
    let ports = ["--source", "127.0.0.78", "--ports", "43100-43129"];
    let arguments = [&ports[..], &["--start", "20", "--max-clients", "40"]].concat();
    let (code, text, outcome) = search(&server, &scratch("ports.json"), &arguments);
    assert_eq!((code, outcome.total.clients), (Some(0), 20), "{text}");
    assert!(outcome.verdict.starts_with("The server holds at least 20 clients"), "{text}");
    for words in ["with 40 clients, ", "all local ports of 127.0.0.78"] {
        assert!(outcome.verdict.contains(words), "{words}: {text}");
    }
    assert_eq!(steps(&outcome), [(20, true), (40, false)], "{text}");
}
