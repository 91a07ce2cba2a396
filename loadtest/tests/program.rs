//! The program itself: its commands, files, exit codes, and what it says when something cannot work.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::failure::Class;
use ringio_loadtest::report::outcome::Outcome;
use servers::{free_port, program, scratch, start_faulty, start_node, start_script};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn run(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

#[test]
fn one_command_finds_the_limit_and_reports_it() {
    let Some(server) = start_node() else { return };
    let (json, html, csv) = (scratch("limit.json"), scratch("limit.html"), scratch("limit.csv"));
    let output = run(&[
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
    // Clients connect between the steps, and each step says how those that it added did.
    let outcome: Outcome = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let steps = outcome.phases.iter().filter(|phase| phase.verdict.is_some());
    // One that a busy machine has spoiled was repeated, with the clients that were there.
    let of = |clients| steps.clone().filter(move |step| step.clients == clients);
    let connected: [u64; 2] = [20, 40].map(|clients| of(clients).map(|step| step.connect.count).sum());
    assert_eq!(connected, [20, 20], "{text}");
    assert_eq!(outcome.total.connect.count, 40);
    let compared = run(&["compare", &json, &json]);
    assert!(String::from_utf8(compared.stdout).unwrap().contains("1.00x"));
    let crossed =
        run(&["run", "echo", &server.url, "-c", "5", "-d", "0.3", "--warmup", "0", "--fail-if", "p50>0.0001ms"]);
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
    assert_eq!(run(&["check", &file]).status.code(), Some(0));
    let output = run(&["run", &file, &server.url, "--quiet"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("  room") && text.contains("  ack") && text.contains("verified     every message"), "{text}");
    std::fs::write(&file, good.replace("expect = \"ack\"", "expcet = \"ack\"")).unwrap();
    let output = run(&["run", &file, &server.url]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("line 15: "));
}

/// Not a complaint about the first line of it.
#[test]
fn a_scenario_in_yaml_is_refused_in_a_sentence() {
    for extension in ["yaml", "yml"] {
        let file = scratch(&format!("scenario.{extension}"));
        std::fs::write(&file, "name: chat\nclients:\n  count: 10\n").unwrap();
        for command in [vec!["check", &file], vec!["run", &file, "http://127.0.0.1:9"]] {
            let output = run(&command);
            assert_eq!(output.status.code(), Some(2));
            let text = text_of(&output.stderr);
            assert!(text.contains("is YAML, and scenario files are TOML") && text.contains("scenario.toml"), "{text}");
            assert!(!text.contains("line 1"), "{text}");
        }
    }
}

/// What a file says stands unless something else is given, and what cannot be given with a file is not ignored.
#[test]
fn options_beside_a_file_are_taken_or_refused() {
    let server = start_faulty("none");
    let (file, json) = (scratch("beside.toml"), scratch("beside.json"));
    let text = "[clients]\ncount = 2\ntransport = \"polling\"\n[[phase]]\nduration = \"300ms\"\n";
    std::fs::write(&file, text).unwrap();
    // That server speaks WebSocket only.
    let output = run(&["run", &file, &server.url, "--quiet", "--transport", "websocket", "--json", &json]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output.stderr));
    let outcome: Outcome = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!((outcome.transport.as_str(), outcome.total.clients), ("websocket", 2));
    for option in ["--warmup", "--size", "--room-size", "--senders", "--event", "--reply", "--share"] {
        let output = run(&["run", &file, &server.url, option, if option == "--size" { "64" } else { "1" }]);
        let text = text_of(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(&format!("{option} is for built-in")), "{text}");
    }
}

/// A search asks whether clients stay and are answered: where they come and go on purpose there is no limit to find.
#[test]
fn a_search_needs_clients_that_stay() {
    for scenario in ["connect", "churn", "storm", "slow"] {
        let output = run(&["http://127.0.0.1:9", "--scenario", scenario, "--quiet"]);
        let text = text_of(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains("a search needs clients that stay"), "{text}");
    }
}

/// The keys of a file that the other tests leave out, against a server that does for each what it asks for: slow readers, messages to the
/// others of a group, answers that carry no stamp, attachments, pauses before coming back, and lives that end.
#[test]
fn a_file_does_what_its_keys_say() {
    const SCRIPT: &str = r#"
        const { Server } = require("socket.io");
        const io = new Server(Number(process.argv[1]));
        io.on("connection", (socket) => {
            socket.on("join", (room, callback) => (socket.join(room), callback("in")));
            socket.on("others", (room, message) => socket.to(room).emit("from another", message));
            socket.on("upload", (file, callback) => callback({ stored: Buffer.isBuffer(file.data) && file.data }));
            socket.on("question", () => socket.emit("answer", 42));
        });
        io.httpServer.once("listening", () => console.log("ready"));"#;
    const FILE: &str = r#"
        [clients]
        count = 20
        group_size = 5
        senders_per_group = 2
        connect_rate = 1000
        slow_share = 0.5
        slow_pause = "100ms"
        reconnect = true
        reconnect_delay = "200ms"
        reconnect_jitter = 0.25
        poisson = false
        [[setup]]
        emit = "join"
        args = ["room-{{group}}"]
        ack = true
        [[action]]
        emit = "others"
        args = ["room-{{group}}", { text = "{{stamp}}" }]
        expect = "others"
        reply = "from another"
        [[action]]
        emit = "upload"
        args = [{ data = "{{bytes}}" }]
        expect = "ack"
        size = 500
        [[action]]
        emit = "question"
        args = ["{{stamp}}"]
        expect = "sender"
        reply = "answer"
        stamped = false
        [[phase]]
        name = "calm"
        duration = "1s"
        rate = 300
"#;
    const OUTAGE: &str = r#"
        [[phase]]
        name = "after an outage"
        duration = "5s"
        rate = 100
        storm = 1.0"#;
    let Some(server) = start_script(&["-e", SCRIPT], "http") else { return };
    let (file, json) = (scratch("keys.toml"), scratch("keys.json"));
    let outcome = |text: &str| -> Outcome {
        std::fs::write(&file, text).unwrap();
        let output = run(&["run", &file, &server.url, "--quiet", "--json", &json]);
        assert_eq!(output.status.code(), Some(0), "{}{}", text_of(&output.stdout), text_of(&output.stderr));
        serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap()
    };
    let calm = outcome(FILE).total;
    let counts = calm.actions.iter().map(|(name, latency)| (name.as_str(), latency.count)).collect::<Vec<_>>();
    let [("others", others), ("upload", uploads), ("question", questions)] = counts[..] else { panic!("{counts:?}") };
    // Each message to the others has four receivers, each upload and each question one answer.
    let to_others = calm.sent - uploads - questions;
    assert!(uploads > 0 && questions > 0 && to_others > 0, "{counts:?}");
    assert_eq!(calm.received, 4 * to_others + uploads + questions, "{counts:?}");
    // What slow clients receive is counted, and its latency is theirs alone.
    assert!((to_others..4 * to_others).contains(&others), "{counts:?}");

    // All come back, nobody before three quarters of the pause.
    let storm = outcome(&format!("{FILE}{OUTAGE}"));
    let back = &storm.total.reconnect;
    assert!(back.count == 20 && back.min >= 150.0, "{back:?}");
    assert_eq!(storm.faults.total(), 0, "{:?}", storm.first_fault);

    // Nobody stays longer than that, so that more come than there are places, unless the machine stands still for all of the time.
    let churning = FILE.replace("reconnect = true", "lifetime = \"100ms\"").replace("reconnect_", "# reconnect_");
    let has_more = |seconds| {
        let churn = outcome(&churning.replace("duration = \"1s\"", &format!("duration = \"{seconds}s\"")));
        assert_eq!(churn.faults.total(), 0, "{:?}", churn.first_fault);
        churn.total.connected > 20 && churn.total.received > 0
    };
    assert!([1, 5, 20].into_iter().any(has_more));
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The example of the guide: it is in order, and it runs against the chat, faster than people write.
#[test]
fn the_example_of_the_guide_runs() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/chat.toml");
    let text = std::fs::read_to_string(example).unwrap();
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/GUIDE.md")).unwrap();
    assert!(guide.contains(&format!("```toml\n{text}```")), "the guide shows another example than examples/chat.toml");
    assert_eq!(run(&["check", example]).status.code(), Some(0));
    let Some(server) = start_script(&["chat-reference.mjs", "--port"], "http") else { return };
    let (file, json) = (scratch("chat.toml"), scratch("chat.json"));
    let hurried = [("think = \"5s\"", "think = \"500ms\""), ("duration = \"10s\"", "duration = \"2s\"")];
    let hurried = hurried.iter().fold(text.replace("duration = \"3s\"", "duration = \"200ms\""), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    std::fs::write(&file, hurried).unwrap();
    let output = run(&["run", &file, &server.url, "--clients", "40", "--quiet", "--json", &json]);
    let text = text_of(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", text_of(&output.stderr));
    let outcome: Outcome = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let measured = outcome.phases.iter().filter(|phase| phase.measured).map(|phase| phase.name.as_str());
    assert_eq!(measured.collect::<Vec<_>>(), ["evening", "rush", "after an outage"]);
    assert_eq!(outcome.transport, "upgrade");
    // Ten people hear each message; that somebody is typing is told, and nothing waits for it.
    assert!(outcome.total.sent > 100 && outcome.total.received > 5 * outcome.total.sent, "{text}");
    assert_eq!(outcome.faults.total(), 0, "{text}");
    assert!((1..=40).contains(&outcome.total.reconnected), "{text}");
}

/// Messages that a server loses or repeats fail the program, unless it is told to bear them or a condition of the file says what it
/// fails for; the report of that run is made again from its JSON.
#[test]
fn faults_fail_the_program() {
    let (dropping, repeating) = (start_faulty("drop"), start_faulty("duplicate"));
    let echo = |url: &str, arguments: &[&str]| {
        let common = ["run", "echo", url, "-c", "5", "-r", "200", "-d", "0.5", "--warmup", "0", "--quiet"];
        let output = run(&[&common[..], arguments].concat());
        (output.status.code(), text_of(&output.stdout) + &text_of(&output.stderr))
    };
    let (json, html) = (scratch("faults.json"), scratch("faults.html"));
    let (code, text) = echo(&dropping.url, &["--json", &json]);
    assert!(code == Some(1) && text.contains("FAULTS       10 lost, 0 duplicated"), "{text}");
    assert!(text.contains("first: client ") && text.contains("never came: \"echo\""), "{text}");
    let output = run(&["report", &json, "-o", &html]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output.stderr));
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.contains("10 lost") && page.contains("never came"), "{page}");

    let (code, text) = echo(&repeating.url, &[]);
    assert!(code == Some(1) && text.contains("10 duplicated"), "{text}");
    let (code, text) = echo(&repeating.url, &["--allow-faults"]);
    assert!(code == Some(0) && text.contains("10 duplicated"), "{text}");
    let (code, text) = echo(&repeating.url, &["--allow-faults", "--fail-if", "lost>0"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = echo(&repeating.url, &["--allow-faults", "--fail-if", "duplicated>9"]);
    assert!(code == Some(1) && text.contains("failed: duplicated>9"), "{text}");

    // A file's own conditions.
    let file = scratch("conditions.toml");
    let with = |condition: &str, arguments: &[&str]| {
        let text = format!(
            "fail_if = [\"{condition}\"]\n[clients]\ncount = 5\n[[action]]\nemit = \"echo\"\nargs = [\"{{{{stamp}}}}\"]\n\
             expect = \"sender\"\n[[phase]]\nduration = \"500ms\"\nrate = 200\n"
        );
        std::fs::write(&file, text).unwrap();
        let output = run(&[&["run", &file, &repeating.url, "--quiet"], arguments].concat());
        (output.status.code(), text_of(&output.stdout) + &text_of(&output.stderr))
    };
    let (code, text) = with("duplicated>0", &["--allow-faults"]);
    assert!(code == Some(1) && text.contains("failed: duplicated>0"), "{text}");
    assert_eq!(with("lost>0", &["--allow-faults"]).0, Some(0));
    assert_eq!(with("lost>0", &[]).0, Some(1));
}

/// What the package contains is all that its pages lead to: a link that leaves the folder breaks where others read it.
#[test]
fn the_pages_lead_nowhere_outside_the_package() {
    for page in ["README.md", "GUIDE.md"] {
        let text = std::fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.starts_with("http") && !target.starts_with('#')) {
            let path = format!("{}/{target}", env!("CARGO_MANIFEST_DIR"));
            assert!(!target.contains("..") && std::path::Path::new(&path).exists(), "{page}: {target}");
        }
    }
}

#[test]
fn an_interrupted_run_keeps_what_it_measured() {
    let Some(server) = start_node() else { return };
    let json = scratch("interrupted.json");
    let child = Command::new(program())
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
    let url = format!("http://127.0.0.1:{}", free_port());
    for (arguments, words) in [
        (vec!["run", "echo", &url], "nothing listens"),
        (vec!["run", "ehco", &url], "neither a file nor one of"),
        (vec!["run", "echo", "ftp://x"], "scheme"),
        (vec!["run", "echo"], "address is missing"),
        (vec![], "address is missing"),
        (vec!["compare", "/nonexistent", "/nonexistent"], "cannot be read"),
        (vec!["run", "echo", &url, "--fail-if", "p98>1"], "no metric"),
        (vec!["run", "echo", &url, "--ports", "9-8"], "as in 20000-60000"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

/// More clients than one address has ports: those that fit are measured, and the others explained.
#[test]
fn clients_that_have_ports_are_measured_and_the_others_explained() {
    let server = start_faulty("none");
    let json = scratch("ports.json");
    let run = |arguments: &[&str]| {
        let common = ["run", "echo", &server.url, "-c", "50", "-r", "200", "-d", "0.5", "--warmup", "0"];
        run(&[&common[..], &["--ports", "43000-43029", "--json", &json], arguments].concat())
    };
    // An address that nothing else here connects from, so that the ports are free.
    let output = run(&["--source", "127.0.0.77"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let outcome: Outcome = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let exhausted = &outcome.failures.0[&Class::Exhausted];
    // The port of the client that looked first whether the server is there may not be free yet.
    assert!((20..=21).contains(&exhausted.count), "{exhausted:?}");
    for words in ["127.0.0.77", "43000-43029", "--source", "--ports"] {
        assert!(exhausted.first.contains(words), "{words}: {exhausted:?}");
    }
    assert_eq!((outcome.total.sent, outcome.total.received, outcome.is_complete), (100, 100, false));
    let could = outcome.notes.iter().any(|note| note.contains("of 50 clients could connect"));
    assert!(could && text.contains("all local ports of 127.0.0.77"), "{text}");
    // On loopback there are more addresses.
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Ten clients that write every tenth of a second, each from its own beginning, send ten messages each in one second.
#[test]
fn clients_think_by_themselves() {
    let server = start_faulty("none");
    let (file, json) = (scratch("think.toml"), scratch("think.json"));
    let text = "[clients]\ncount = 10\nconnect_rate = 1000\nthink = { fixed = \"100ms\" }\n[[action]]\nemit = \"echo\"\nargs = [\"{{stamp}}\"]\n\
        expect = \"sender\"\n[[phase]]\nname = \"calm\"\nduration = \"1s\"\n[[phase]]\nname = \"rush\"\nduration = \"1s\"\n\
        think = { fixed = \"20ms\" }\n";
    std::fs::write(&file, text).unwrap();
    let output = run(&["run", &file, &server.url, "--quiet", "--json", &json]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let outcome: Outcome = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let counts = |name: &str| {
        let phase = outcome.phases.iter().find(|phase| phase.name == name).unwrap();
        (phase.sent, phase.received, phase.rate_offered)
    };
    assert_eq!((counts("calm"), counts("rush")), ((100, 100, 100.0), (500, 500, 500.0)));
}

/// Something listens, and it is not what it should be.
#[test]
fn what_speaks_another_protocol_is_told_in_a_sentence() {
    // Says what it is told to say, whatever it hears.
    let serve = |answer: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
                let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
                let _ = stream.read(&mut [0; 4096]);
            }
        });
        port
    };
    let html = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".as_slice();
    for (answer, scheme, arguments, words) in [
        (b"SSH-2.0-OpenSSH_9.2\r\n".as_slice(), "http", vec![], "does not answer with HTTP"),
        (html, "http", vec![], "HTTP 200"),
        (html, "http", vec!["--transport", "polling"], "in the polling body"),
        (html, "https", vec![], "Does the server speak TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x46".as_slice(), "http", vec![], "https://"),
        (
            b"".as_slice(),
            "http",
            vec![],
            "closed before the handshake was answered. Is Socket.IO mounted at another path (--path)?",
        ),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: https://x\r\nContent-Length: 0\r\n\r\n".as_slice(),
            "http",
            vec![],
            "redirect",
        ),
    ] {
        let url = format!("{scheme}://127.0.0.1:{}", serve(answer));
        let output = run(&[&["run", "probe", &url][..], &arguments].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words) && text.contains("no client can connect"), "{words}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
