//! Against the official Node.js server: every scenario that it can answer, over every transport.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::engine::verify::Faults;
use ringio_loadtest::failure::Class;
use ringio_loadtest::plan::{Parser, Transport};
use ringio_loadtest::report::outcome::Outcome;
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use servers::{ServerProcess, Until, come_and_go, conformance, program, scratch, start_node, start_script};
use std::process::{Command, Stdio};

const TRANSPORTS: [Transport; 3] = [Transport::Websocket, Transport::Polling, Transport::Upgrade];

/// Runs something for each transport at the same time: most of it is waiting.
fn over_every_transport(check: impl Fn(Transport) + Sync) {
    std::thread::scope(|scope| {
        for transport in TRANSPORTS {
            let check = &check;
            scope.spawn(move || check(transport));
        }
    });
}

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
    attempt_with(server, scenario, transport, &settings())
}

fn attempt_with(server: &ServerProcess, scenario: Scenario, transport: Transport, settings: &Settings) -> Outcome {
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let (mut plan, phases) = plan(scenario, settings, target).unwrap();
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
    over_every_transport(|transport| {
        for scenario in [Scenario::Probe, Scenario::Echo, Scenario::Ack, Scenario::Binary] {
            let outcome = attempt(&server, scenario, transport);
            assert_eq!((outcome.total.sent, outcome.total.received), (100, 100), "{scenario} over {transport:?}");
            assert_eq!(outcome.server_pids, [server.child.id()]);
            assert!(outcome.total.server_rss.unwrap() > 10_000_000);
        }
    });
}

#[test]
fn every_member_hears_every_message() {
    over_every_transport(|transport| {
        // One server each: a broadcast reaches everybody.
        let Some(server) = start_node() else { return };
        let outcome = attempt(&server, Scenario::Broadcast, transport);
        assert_eq!((outcome.total.sent, outcome.total.received), (100, 2000), "{transport:?}");
        let outcome = attempt(&server, Scenario::Rooms, transport);
        assert_eq!((outcome.total.sent, outcome.total.received), (100, 500), "{transport:?}");
        // Probes, echoes, acknowledgements, attachments and broadcasts, in whatever proportion chance gives.
        let outcome = attempt(&server, Scenario::Mixed, transport);
        assert_eq!((outcome.total.sent, outcome.total.actions.len()), (100, 5), "{transport:?}");
        assert!(outcome.total.received >= 100, "{transport:?}: {}", outcome.total.received);
    });
}

/// Clients that say nothing are kept by their answers to the server's pings, which the server counts too. It would bear
/// twenty seconds of silence, so that a machine that stands still is no fault of theirs.
#[test]
fn silent_clients_answer_every_ping() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const connections = new Set();
        let sent = 0;
        const http = require("node:http").createServer((_, response) => {
            const counts = [...connections].map((connection) => connection.answered);
            const least = Math.min(...counts), answered = counts.reduce((sum, count) => sum + count, 0);
            const body = JSON.stringify({ sent, answered, connections: connections.size, least });
            response.writeHead(200, { "content-length": body.length }).end(body);
        });
        const io = new Server(http, { pingInterval: 200, pingTimeout: 20_000 });
        io.engine.on("connection", (connection) => {
            connection.answered = 0;
            connections.add(connection);
            connection.on("packetCreate", (packet) => packet.type === "ping" && sent++);
            connection.on("heartbeat", () => connection.answered++);
            connection.on("close", () => connections.delete(connection));
        });
        http.listen(Number(process.argv[1]), () => console.log("ready"));"#;
    over_every_transport(|transport| {
        let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
        let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
        let settings = Settings { clients: 10, duration_ms: 60_000, ..Settings::default() };
        let (mut plan, phases) = plan(Scenario::Idle, &settings, target).unwrap();
        plan.transport = transport;
        let mut seen = serde_json::Value::Null;
        let (mut observer, options) = Until::new(|_| {
            seen = server.ask();
            seen["connections"] == 10 && seen["least"].as_u64().is_some_and(|least| least >= 3)
        });
        let outcome = run(plan, &phases, options, &mut observer).unwrap();
        let ended = server.ask();
        assert!(seen["least"].as_u64() >= Some(3), "{transport:?}: {seen}");
        assert_eq!(outcome.failures.total(), 0, "{transport:?}: {:?}", outcome.failures);
        assert!(outcome.total.heartbeats > 0 && outcome.phases[0].name == "connect", "{transport:?}");
        let heartbeats = outcome.phases.iter().map(|phase| phase.heartbeats).sum::<u64>();
        let (answered, sent) = (seen["answered"].as_u64().unwrap(), ended["sent"].as_u64().unwrap());
        assert!((answered..=sent).contains(&heartbeats), "{transport:?}: {heartbeats} of {answered} to {sent}");
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(json["total"]["heartbeats"], outcome.total.heartbeats);
    });
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
    let attempt = |transport, authorities: Option<String>, insecure, deflate| {
        let target = Target { authorities, insecure, ..target.clone() };
        let (mut plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
        (plan.transport, plan.deflate) = (transport, deflate);
        run(plan, &phases, RunOptions::default(), &mut Unobserved)
    };
    over_every_transport(|transport| {
        let error = attempt(transport, None, false, false).unwrap_err();
        assert!(error.contains("--ca") && error.contains("TLS handshake failed"), "{transport:?}: {error}");
        let plain = attempt(transport, Some(cert.clone()), false, false).unwrap();
        let deflated = attempt(transport, None, true, true).unwrap();
        for outcome in [&plain, &deflated] {
            assert_eq!(outcome.failures.total(), 0, "{transport:?}: {:?}", outcome.failures);
            assert_eq!((outcome.total.received, outcome.faults.total()), (50, 0), "{transport:?}");
        }
        let bytes_in = |outcome: &Outcome| outcome.series.iter().map(|second| second.bytes_in).sum::<u64>();
        // The plaintext of TLS is counted before it is inflated: the filler repeats, so it shrinks to a fraction. What is
        // polled is not a WebSocket's, and stays as it is.
        let shrinks = bytes_in(&deflated) * 4 < bytes_in(&plain);
        assert_eq!(
            shrinks,
            transport != Transport::Polling,
            "{transport:?}: {} {}",
            bytes_in(&deflated),
            bytes_in(&plain)
        );
    });
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
        io.httpServer.once("listening", () => console.log("ready"));"#;
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
    over_every_transport(|transport| {
        let connect = come_and_go(&server, Scenario::Connect, transport);
        assert!(connect.total.connect.p50 > 0.0, "{transport:?}: {:?}", connect.total.connect);
        let churn = come_and_go(&server, Scenario::Churn, transport);
        assert!(churn.total.received > 0, "{transport:?}: {:?}", churn.total);
    });
}

/// Clients come back after 0.5 to 1.5 s, as the official one does; what was due meanwhile had no sender, and nothing else
/// is wrong.
#[test]
fn clients_that_were_cut_off_come_back() {
    let Some(server) = start_node() else { return };
    over_every_transport(|transport| {
        let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
        let settings = Settings { duration_ms: 60_000, ..settings() };
        let (mut plan, mut phases) = plan(Scenario::Storm, &settings, target).unwrap();
        plan.transport = transport;
        phases[0].duration_ms = 500;
        let mut connected = 0;
        // Everybody twice.
        let (mut observer, options) = Until::new(|second| {
            connected += second.connected;
            connected >= 40
        });
        let storm = run(plan, &phases, options, &mut observer).unwrap();
        let failures = &storm.failures;
        assert_eq!(failures.total(), failures.count(Class::NoSender), "{transport:?}: {failures:?}");
        assert_eq!(storm.faults.total(), 0, "{transport:?}: {:?}", storm.first_fault);
        assert!(storm.total.received > 0, "{transport:?}: {:?}", storm.total);
        let back = storm.total.reconnect;
        assert_eq!((storm.total.reconnected, back.count), (20, 20), "{transport:?}");
        // Nobody is earlier than half a second. How long pauses are at most, and that they differ, is `engine::worker`'s own test: here it
        // would be that of the machine.
        assert!(back.min >= 500.0 && back.p50 >= 500.0, "{transport:?}: {back:?}");
    });
}

/// Some receivers read now and then only: what they have not read lies with the server, which says how much that is. The
/// others get every message meanwhile, and the slow ones in the end.
#[test]
fn slow_receivers_leave_messages_with_the_server() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        let waiting = 0;
        const http = require("node:http").createServer((_, response) => {
            const body = JSON.stringify({ waiting });
            response.writeHead(200, { "content-length": body.length }).end(body);
        });
        const io = new Server(http, { maxHttpBufferSize: 1e7 });
        io.on("connection", (socket) => socket.on("broadcast", (...args) => {
            io.emit("broadcast", ...args);
            waiting = Math.max(waiting, ...[...io.of("/").sockets.values()].map(({ conn }) => conn.writeBuffer.length));
        }));
        http.listen(Number(process.argv[1]), () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let settings = Settings {
        clients: 4,
        rate: Some(100.0),
        duration_ms: 60_000,
        warmup_ms: 0,
        size: 50_000,
        share: Some(0.5),
        ..Settings::default()
    };
    let (plan, phases) = plan(Scenario::Slow, &settings, target).unwrap();
    let mut waiting = 0;
    let (mut observer, options) = Until::new(|_| {
        waiting = server.ask()["waiting"].as_u64().unwrap();
        waiting > 20
    });
    let outcome = run(plan, &phases, options, &mut observer).unwrap();
    assert!(waiting > 20, "nobody reads slowly: {waiting} messages at most waited for one of them");
    assert_eq!(outcome.failures.total(), 0, "{:?}", outcome.failures);
    assert_eq!(outcome.faults.total(), 0, "{:?}", outcome.first_fault);
    assert_eq!(outcome.total.received, 4 * outcome.total.sent);
}

/// The scenario itself, over every transport: messages are there for everyone in the end, however slowly they are read.
#[test]
fn slow_receivers_get_every_message() {
    over_every_transport(|transport| {
        // One server each: a broadcast reaches everybody.
        let Some(server) = start_node() else { return };
        let slow = attempt_with(&server, Scenario::Slow, transport, &Settings { share: Some(0.5), ..settings() });
        assert_eq!((slow.total.sent, slow.total.received), (100, 2000), "{transport:?}");
    });
}

/// A namespace of one's own, over every transport: messages pass there, and where the server has none it says so.
#[test]
fn a_namespace_of_ones_own_is_joined() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        io.of("/prices").on("connection", (socket) => socket.on("echo", (...args) => socket.emit("echo", ...args)));
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let run = |namespace: &str, transport: &str| {
        let common = ["run", "echo", &server.url, "-c", "10", "-r", "200", "-d", "0.5", "--warmup", "0"];
        let output = Command::new(program())
            .args(common)
            .args(["--namespace", namespace, "--transport", transport])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    for transport in ["websocket", "polling", "upgrade"] {
        let (code, text) = run("/prices", transport);
        assert!(code == Some(0) && text.contains("100 delivered"), "{transport}: {text}");
    }
    let (code, text) = run("/nowhere", "websocket");
    assert!(code == Some(2) && text.contains("Invalid namespace") && text.contains("--namespace"), "{text}");
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
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let run_with = |server: &ServerProcess, parser, scenario, transport| {
        let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
        let (mut plan, phases) = plan(scenario, &settings(), target).unwrap();
        (plan.transport, plan.parser) = (transport, parser);
        plan.auth = Some(r#"{"token":"t-{{client}}"}"#.to_owned());
        run(plan, &phases, RunOptions::default(), &mut Unobserved)
    };
    std::thread::scope(|scope| {
        for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrade] {
            scope.spawn(move || {
                // One server each: a broadcast reaches everybody.
                let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
                let outcome = run_with(&server, Parser::Msgpack, Scenario::Mixed, transport).unwrap();
                assert_eq!(outcome.faults.total() + outcome.failures.total(), 0, "{:?}", outcome.first_fault);
                assert_eq!((outcome.total.sent, outcome.total.actions.len()), (100, 5), "{transport:?}");
                assert!(outcome.total.received >= 100);
            });
        }
    });
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let error = run_with(&server, Parser::Default, Scenario::Echo, Transport::Websocket).unwrap_err();
    assert!(error.contains("--parser"), "{error}");
    let Some(server) = start_node() else { return };
    let error = run_with(&server, Parser::Msgpack, Scenario::Echo, Transport::Websocket).unwrap_err();
    assert!(error.contains("--parser"), "{error}");
}

/// Faults are told in their class whatever carries them: a server on Node that drops, repeats or changes every tenth message of a client,
/// behind long-polling, behind the msgpack parser, and behind both.
#[test]
fn faults_are_seen_through_polling_and_msgpack() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const [parser, port] = process.argv.slice(1);
        const io = new Server(Number(port), parser === "msgpack" ? { parser: require("socket.io-msgpack-parser") } : {});
        io.on("connection", (socket) => {
            let count = 0;
            socket.onAny((name, text) => {
                if (++count % 10 !== 0) return socket.emit(name, text);
                if (name === "duplicate") socket.emit(name, text), socket.emit(name, text);
                const last = text.at(-1);
                if (name === "corrupt") socket.emit(name, text.slice(0, -1) + (last === "0" ? "1" : "0"));
            });
        });
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let check = |server: &ServerProcess, parser, transport, event: &str| {
        let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
        // Twenty messages of each client, so that two of them are struck.
        let settings = Settings { clients: 5, event: Some(event.to_owned()), ..settings() };
        let (mut plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
        (plan.transport, plan.parser) = (transport, parser);
        let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
        let what = format!("{event}, {parser:?} over {transport:?}: {:?}", outcome.first_fault);
        let (expected, received, words) = match event {
            "drop" => (Faults { lost: 10, ..Faults::default() }, 90, "2 messages never came: \"echo\""),
            "duplicate" => (Faults { duplicated: 10, ..Faults::default() }, 100, "a second time: "),
            _ => (Faults { corrupt: 10, lost: 10, ..Faults::default() }, 90, "a block whose checksum is wrong: "),
        };
        assert_eq!((outcome.total.sent, outcome.total.received, outcome.faults), (100, received, expected), "{what}");
        assert!(outcome.first_fault.as_ref().is_some_and(|first| first.contains(words)), "{what}");
        assert_eq!(outcome.failures.total(), 0, "{what}: {:?}", outcome.failures);
    };
    let servers = ["default", "msgpack"].map(|parser| start_script(&["-e", SCRIPT, parser], "http"));
    let [Some(of_text), Some(of_msgpack)] = servers else { return };
    std::thread::scope(|scope| {
        for (server, parser, transport) in [
            (&of_text, Parser::Default, Transport::Polling),
            (&of_msgpack, Parser::Msgpack, Transport::Websocket),
            (&of_msgpack, Parser::Msgpack, Transport::Polling),
        ] {
            for event in ["drop", "duplicate", "corrupt"] {
                scope.spawn(move || check(server, parser, transport, event));
            }
        }
    });
}

/// The same server, at the same time, measured by us and by an independent program: the official client on Node.js, which
/// reads its own clock and does its own arithmetic. The server answers nine of ten messages after 40 ms and the tenth
/// after 160 ms, and counts what came in which time. A machine that is busy with something else lets one of both wait, but not in every
/// round.
#[test]
fn rates_and_latencies_agree_with_an_independent_client() {
    const ROUNDS: usize = 10;
    let disagreements: Vec<String> = (0..ROUNDS).map_while(|_| compare_with_an_independent_client()?.err()).collect();
    assert!(disagreements.len() < ROUNDS, "{disagreements:#?}");
}

/// `None` where there is no Node; an error says in what they do not agree.
fn compare_with_an_independent_client() -> Option<Result<(), String>> {
    const SERVER: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        let count = 0, first, last;
        io.on("connection", (socket) => {
            let seen = 0;
            socket.on("echo", (...args) => {
                count++;
                last = performance.now();
                first ??= last;
                setTimeout(() => socket.emit("echo", ...args), ++seen % 10 === 0 ? 160 : 40);
            });
            socket.on("other", (...args) => setTimeout(() => socket.emit("other", ...args), ++seen % 10 === 0 ? 160 : 40));
            socket.on("counted", (callback) => callback({ count, perSecond: (count - 1) / (last - first) * 1000 }));
        });
        io.httpServer.once("listening", () => console.log("ready"));"#;
    const CLIENT: &str = r#"
        const socket = require("socket.io-client")(process.argv[1], { transports: ["websocket"] });
        const latencies = [], total = 200;
        socket.on("other", (sent) => {
            latencies.push(performance.now() - sent);
            if (latencies.length < total) return;
            latencies.sort((a, b) => a - b);
            const at = (share) => latencies[Math.ceil(share * total) - 1];
            // The other program may need a little longer; if it never ends, the test will say what was counted.
            let attempts = 0;
            setInterval(() => socket.emit("counted", (counted) => {
                if (counted.count < total && ++attempts < 150) return;
                console.log(at(0.5), at(0.85), at(0.95), counted.count, counted.perSecond);
                process.exit();
            }), 100);
        });
        socket.on("connect", () => {
            const begun = performance.now();
            let sent = 0;
            const timer = setInterval(() => {
                for (; sent < total && performance.now() - begun >= sent * 10; sent++) socket.emit("other", performance.now());
                if (sent === total) clearInterval(timer);
            }, 1);
        });"#;
    let server = start_script(&["-e", SERVER], "http")?;
    let independent = Command::new("node")
        .args(["-e", CLIENT, &server.url])
        .current_dir(conformance())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    // One client, so that each tenth message of the run is a tenth message of its socket.
    let settings = Settings { clients: 1, rate: Some(100.0), duration_ms: 2_000, warmup_ms: 0, ..Settings::default() };
    let (plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
    let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
    // Slower answers are overtaken by faster ones, which is what it would be called anywhere; but nothing follows the last, and where the
    // machine stands still nothing follows in time.
    assert_eq!((outcome.total.sent, outcome.total.received), (200, 200));
    assert!((1..=19).contains(&outcome.faults.reordered), "{:?}", outcome.faults);
    let output = independent.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [p50, p85, p95, count, per_second] = theirs[..] else { panic!("{text:?}") };
    assert!(p50 >= 39.0 && p95 >= 159.0, "{text}");
    assert_eq!(count, 200.0);
    let (latency, rate) = (outcome.total.latency, outcome.total.rate_sent);
    let is_near = |ours: f64, theirs: f64| (ours - theirs).abs() <= 5.0 + 0.1 * theirs;
    let do_agree = is_near(latency.p50, p50) && is_near(latency.p95, p95) && (per_second / rate - 1.0).abs() < 0.1;
    Some(if do_agree && p85 < p95 {
        Ok(())
    } else {
        Err(format!("p50 {}, p95 {}, {rate} in a second; an independent client saw {text}", latency.p50, latency.p95))
    })
}

/// A header and an `auth` payload that the server looks at: both arrive, by every transport; without them it says no, and the report
/// says what it said.
#[test]
fn headers_and_auth_are_what_the_server_sees() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        io.use((socket, next) => {
            const { headers, auth } = socket.handshake;
            if (headers["x-key"] !== "k 1") return next(new Error(`wrong key: ${headers["x-key"]}`));
            if (auth.token !== `t-${auth.number}`) return next(new Error("wrong token"));
            if (auth.number >= auth.limit) return next(new Error("too many"));
            next();
        });
        io.on("connection", (socket) => socket.on("echo", (...args) => socket.emit("echo", ...args)));
        io.httpServer.once("listening", () => console.log("ready"));"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let json = scratch("auth.json");
    let run = |header: &str, auth: &str, transport: &str| {
        let common =
            ["run", "echo", &server.url, "-c", "10", "-r", "200", "-d", "0.5", "--warmup", "0", "--json", &json];
        let output = Command::new(program())
            .args(common)
            .args(["--header", header, "--auth", auth, "--transport", transport])
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    for transport in ["websocket", "polling", "upgrade"] {
        let (code, text) = run("X-Key: k 1", r#"{"token":"t-{{client}}","number":{{client}},"limit":10}"#, transport);
        assert!(code == Some(0) && text.contains("100 delivered"), "{transport}: {text}");
    }
    // Nobody is let in: one sentence, with what the server said and what to do.
    for (header, auth, words) in [
        ("X-Key: k 2", r#"{"token":"t-0","number":0}"#, "wrong key: k 2"),
        ("X-Key: k 1", r#"{"token":"t-1","number":0}"#, "wrong token"),
        ("X-Key: k 1", "{}", "wrong token"),
    ] {
        let (code, text) = run(header, auth, "websocket");
        assert!(code == Some(2) && text.contains("no client can connect"), "{text}");
        assert!(text.contains("namespace refused") && text.contains(words) && text.contains("--auth"), "{text}");
    }
    // Some are: they are measured, and the others are told.
    let (code, text) = run("X-Key: k 1", r#"{"token":"t-{{client}}","number":{{client}},"limit":7}"#, "websocket");
    assert!(code == Some(2) && text.contains("too many") && text.contains("7 of 10 clients could connect"), "{text}");
    let outcome: Outcome = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!((outcome.total.sent, outcome.total.received, outcome.failures.count(Class::Namespace)), (100, 100, 3));
}
