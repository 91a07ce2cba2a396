//! Against the official Node.js server: every scenario that it can answer, over every transport.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::plan::{Parser, Transport};
use ringio_loadtest::report::outcome::Outcome;
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use servers::{ServerProcess, scratch, start_node, start_script};

/// 20 clients, 100 messages in half a second.
fn settings() -> Settings {
    Settings {
        clients: 20,
        rate: Some(200.0),
        duration_ms: 500,
        warmup_ms: 0,
        room_size: 5,
        size: 1200,
        ..Settings::default()
    }
}

fn attempt(server: &ServerProcess, scenario: Scenario, transport: Transport) -> Outcome {
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let (mut plan, phases) = plan(scenario, &settings(), target).unwrap();
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
    let Some(server) = start_script(&["-e", SCRIPT, &cert, &key], "https") else { return };
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
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
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

/// The official msgpack parser, over every transport; and a server with the other parser than expected is explained.
#[test]
fn packets_of_the_msgpack_parser_come_back() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const parser = require("socket.io-msgpack-parser");
        const io = new Server(Number(process.argv[1]), { parser });
        io.on("connection", (socket) => {
            socket.on("echo", (...args) => socket.emit("echo", ...args));
            socket.on("ack", (...args) => args.pop()(...args));
            socket.on("bin", (data) => {
                if (!Buffer.isBuffer(data)) throw new Error("not binary");
                socket.emit("bin", data);
            });
            socket.on("broadcast", (...args) => io.emit("broadcast", ...args));
        });
        console.log("ready");"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let run_with = &|parser, scenario, transport| {
        let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
        let (mut plan, phases) = plan(scenario, &settings(), target).unwrap();
        (plan.transport, plan.parser) = (transport, parser);
        plan.auth = Some(r#"{"token":"t-{{client}}"}"#.to_owned());
        run(plan, &phases, RunOptions::default(), &mut Unobserved)
    };
    std::thread::scope(|scope| {
        for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrade] {
            scope.spawn(move || {
                let outcome = run_with(Parser::Msgpack, Scenario::Mixed, transport).unwrap();
                assert_eq!(outcome.faults.total() + outcome.failures.total(), 0, "{:?}", outcome.first_fault);
                assert_eq!((outcome.total.sent, outcome.total.actions.len()), (100, 5), "{transport:?}");
                assert!(outcome.total.received >= 100);
            });
        }
    });
    let error = run_with(Parser::Default, Scenario::Echo, Transport::Websocket).unwrap_err();
    assert!(error.contains("--parser"), "{error}");
    let Some(server) = start_node() else { return };
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let (mut plan, phases) = plan(Scenario::Echo, &settings(), target).unwrap();
    plan.parser = Parser::Msgpack;
    let error = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap_err();
    assert!(error.contains("--parser"), "{error}");
}
