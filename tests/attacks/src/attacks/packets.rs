//! Engine.IO and Socket.IO: names, ids, attachments, JSON, namespaces, and nonsense from a seed.

use super::Attack;
use crate::line::{
    POLLING, Reply, WEBSOCKET, answering_pings, http_reply, open_polling, open_websocket, post, upgrade, wait_at_most,
    websocket_reply, websocket_reply_among_others,
};
use crate::scene::{Bound, Scene};
use crate::server::{Setting, Target};
use ringio_codec::websocket::Opcode;
use ringio_tests::wire::{Stream, write_frame};
use std::io;
use std::time::Duration;

use Reply::{Close, End, Served, Status};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("events with reserved names", "CVE-2024-38355", reserved_names),
    Attack::new("events whose handler panics", "CVE-2024-38355", panics).on(Setting::Asking),
    Attack::new("event names that are no strings", "CVE-2023-32695, CVE-2023-30591", odd_names),
    Attack::new("placeholders of every kind", "CVE-2022-2421", placeholders),
    Attack::new("counts and ids of many digits", "CVE-2020-36049, CVE-2026-33151", long_numbers),
    Attack::new("attachments that never arrive", "CVE-2026-33151", missing_attachments),
    Attack::new("100,000 brackets", "stack overflow", brackets),
    Attack::new("numbers and strings of 900 KB", "CVE-2020-36049", long_values),
    Attack::new("strange characters", "CVE-2022-21676", strange_characters),
    Attack::new("acknowledgements nobody asked for", "protocol", acknowledgements).on(Setting::Asking),
    Attack::new("malformed packets by WebSocket, from a seed", "CVE-2022-21676", nonsense_by_websocket),
    Attack::new("malformed payloads by polling, from a seed", "CVE-2022-21676", nonsense_by_polling),
    Attack::new("probes and upgrades in the wrong order", "CVE-2022-41940, engine.io#284", wrong_order),
    Attack::new("a flood of namespaces", "socket.io#1054", namespaces),
    Attack::new("CONNECT and DISCONNECT in turn", "socket.io#1054", connect_cycles),
    Attack::new("a flood of rooms", "socket.io#1054", rooms),
];

/// How a server ends a client that broke the protocol: a close frame of any of these codes, or the end.
const ENDS: &[Reply] = &[Close(1000), Close(1002), Close(1005), Close(1007), Close(1009), End];
const AFTER: &str = "42[\"echo\",\"after\"]";

/// Sends messages on a joined WebSocket, then asks for an echo: it comes, or the connection ends.
fn play(scene: &Scene<'_>, messages: &[&[u8]]) -> io::Result<Reply> {
    let mut stream = scene.connect()?;
    open_websocket(&mut stream)?;
    Ok(send_and_ask(&mut stream, messages))
}

fn send_and_ask(stream: &mut Stream, messages: &[&[u8]]) -> Reply {
    for message in messages {
        let opcode = if std::str::from_utf8(message).is_ok_and(|text| !text.starts_with('\0')) {
            Opcode::Text
        } else {
            Opcode::Binary
        };
        if let Err(error) = stream.send_frame(opcode, message) {
            return error.into();
        }
    }
    // Its write may fail where the answer has yet to be read.
    let _ = stream.send_frame(Opcode::Text, AFTER.as_bytes());
    websocket_reply_among_others(stream, AFTER)
}

/// Each packet alone costs its sender the connection, or nothing.
fn each(scene: &mut Scene<'_>, packets: &[&str]) -> io::Result<()> {
    let allowed: Vec<Reply> = ENDS.iter().cloned().chain([Served]).collect();
    for packet in packets {
        let reply = play(scene, &[packet.as_bytes()])?;
        let shown: String = packet.chars().take(60).collect();
        scene.expect(&shown, reply, &allowed);
    }
    Ok(())
}

/// Each packet costs its sender the connection.
fn each_ends(scene: &mut Scene<'_>, packets: &[&str]) -> io::Result<()> {
    for packet in packets {
        let reply = play(scene, &[packet.as_bytes()])?;
        let shown: String = packet.chars().take(60).collect();
        scene.expect(&shown, reply, ENDS);
    }
    Ok(())
}

fn reserved_names(scene: &mut Scene<'_>) -> io::Result<()> {
    for name in ["error", "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        for arguments in ["", ",{}", ",null,1"] {
            let packet = format!("42[\"{name}\"{arguments}]");
            each(scene, &[&packet, &format!("427[\"{name}\"{arguments}]")])?;
        }
    }
    each(scene, &["42[\"__proto__\"]", "42[\"constructor\",1]", "42[\"toString\"]", "42[\"hasOwnProperty\",\"a\"]"])
}

fn panics(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    open_websocket(&mut stream)?;
    let count = scene.many(5_000);
    for _ in 0..count {
        stream.send_frame(Opcode::Text, b"42[\"panic\"]")?;
    }
    // It costs its own event: its sender goes on as if nothing had been.
    let reply = send_and_ask(&mut stream, &[]);
    scene.expect("an echo behind the panics", reply, &[Served]);
    scene.hold(Bound::default());
    Ok(())
}

fn odd_names(scene: &mut Scene<'_>) -> io::Result<()> {
    each_ends(
        scene,
        &[
            "42[null]",
            "42[[]]",
            "42[{}]",
            "42[true]",
            "42[]",
            "42{}",
            "42null",
            "42\"echo\"",
            "42[{\"toString\":\"a\"}]",
            "42[[\"echo\"]]",
        ],
    )?;
    // Node takes a number as a name, and an event without anything as one that nobody listens to.
    each(scene, &["42", "42[1]", "42[-0.0]", "42[1e400]"])
}

fn placeholders(scene: &mut Scene<'_>) -> io::Result<()> {
    let ends: Vec<Reply> = ENDS.iter().cloned().chain([Served]).collect();
    for number in [
        "-1",
        "1",
        "1.5",
        "\"0\"",
        "1e3",
        "99999999999999999999",
        "null",
        "[0]",
        "{}",
        "true",
        "\"length\"",
        "\"__proto__\"",
    ] {
        let header = format!("451-[\"bin\",{{\"_placeholder\":true,\"num\":{number}}}]");
        let reply = play(scene, &[header.as_bytes(), b"\0attachment"])?;
        scene.expect(&header, reply, &ends);
    }
    for header in [
        "451-[{\"_placeholder\":true,\"num\":0}]",
        "451-[{\"_placeholder\":true,\"num\":0},\"a\"]",
        "451-[\"bin\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}]",
        "451-[\"bin\",{\"_placeholder\":{\"_placeholder\":true,\"num\":0},\"num\":0}]",
        "451-[\"bin\",{\"_placeholder\":true}]",
        "451-[\"bin\",{\"num\":0,\"_placeholder\":true,\"num\":7}]",
        "451-[\"bin\",{\"_placeholder\":1,\"num\":0}]",
        "451-[\"bin\"]",
        "450-[\"bin\"]",
        "451[\"bin\"]",
        "45-1-[\"bin\"]",
        "451.5-[\"bin\"]",
        "451-",
        "461-[{\"_placeholder\":true,\"num\":0}]",
    ] {
        let reply = play(scene, &[header.as_bytes(), b"\0attachment"])?;
        scene.expect(header, reply, &ends);
    }
    // Attachments without a packet, text between packet and attachment.
    for messages in
        [vec![&b"\0attachment"[..]], vec![b"451-[\"bin\",{\"_placeholder\":true,\"num\":0}]", b"42[\"echo\"]"]]
    {
        let reply = play(scene, &messages)?;
        scene.expect("an attachment out of place", reply, ENDS);
    }
    Ok(())
}

fn long_numbers(scene: &mut Scene<'_>) -> io::Result<()> {
    let digits = "9".repeat(900_000);
    each_ends(
        scene,
        &[
            "451000000-[\"bin\",{\"_placeholder\":true,\"num\":0}]",
            "4511-[\"bin\"]",
            "455999999999-[\"bin\"]",
            "4518446744073709551616-[\"bin\"]",
            &format!("45{digits}-[\"bin\"]"),
            &format!("45{digits}"),
        ],
    )?;
    each(
        scene,
        &[
            "429007199254740993[\"ack\"]",
            "4218446744073709551616[\"ack\"]",
            "43999999999999[]",
            &format!("42{digits}[\"ack\"]"),
            &format!("43{digits}[]"),
        ],
    )?;
    scene.hold(Bound::default());
    Ok(())
}

fn missing_attachments(scene: &mut Scene<'_>) -> io::Result<()> {
    // Ten are announced, nine come, each nearly as long as a message may be: what one client may make the server hold.
    let placeholders: Vec<String> = (0..10).map(|at| format!("{{\"_placeholder\":true,\"num\":{at}}}")).collect();
    let header = format!("4510-[\"bin\",{}]", placeholders.join(","));
    let attachment = vec![0; 900_000];
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = scene.connect()?;
        open_websocket(&mut stream)?;
        stream.send_frame(Opcode::Text, header.as_bytes())?;
        for _ in 0..9 {
            stream.send_frame(Opcode::Binary, &attachment)?;
        }
        held.push(stream);
    }
    // And many that announce one and send nothing.
    for _ in 0..scene.many(1_000) {
        let mut stream = scene.connect()?;
        open_websocket(&mut stream)?;
        stream.send_frame(Opcode::Text, b"451-[\"bin\",{\"_placeholder\":true,\"num\":0}]")?;
        held.push(stream);
    }
    scene.hold(Bound { bytes: 24 << 20, per_byte: 2 });
    // A client that answers no heartbeat does not keep them.
    let since = std::time::Instant::now();
    let Some(mut stream) = held.pop() else { return Ok(()) };
    wait_at_most(&stream, scene.patience);
    let reply = loop {
        match stream.frame() {
            Ok(frame) if frame.opcode == Opcode::Close => break Close(crate::line::close_code(&frame.payload)),
            Ok(_) => {}
            Err(error) => break error.into(),
        }
    };
    scene.expect_deadline("without pongs", &reply, since);
    Ok(())
}

fn brackets(scene: &mut Scene<'_>) -> io::Result<()> {
    let allowed: Vec<Reply> = ENDS.iter().cloned().chain([Served]).collect();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [100, 100_000] {
            let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for packet in [
                format!("42[\"echo\",{value}]"),
                format!("427[\"ack\",{value}]"),
                format!("42[\"join\",{value}]"),
                format!("42[\"room\",{value},1]"),
                format!("42[\"echo\",{}", open.repeat(depth)),
                format!("451-[\"bin\",{value}]"),
            ] {
                let reply = play(scene, &[packet.as_bytes()])?;
                scene.expect(&packet[..30], reply, &allowed);
            }
            let mut stream = scene.connect()?;
            upgrade(&mut stream, WEBSOCKET, "")?;
            stream.text()?;
            stream.send_frame(Opcode::Text, format!("40{{\"token\":{value}}}").as_bytes())?;
            stream.send_frame(Opcode::Text, AFTER.as_bytes()).unwrap_or_default();
            let reply = websocket_reply(&mut stream, "4");
            scene.expect("an auth payload", reply, &allowed);
            let mut stream = scene.connect()?;
            let target = open_polling(&mut stream)?;
            stream.send(post(&target, &format!("40\u{1e}42[\"echo\",{value}]")).as_bytes())?;
            let reply = http_reply(&mut stream);
            scene.expect("by polling", reply, &[Status(200), Status(400)]);
        }
    }
    Ok(())
}

fn long_values(scene: &mut Scene<'_>) -> io::Result<()> {
    let digits = "9".repeat(900_000);
    let escapes = "\\u0041".repeat(150_000);
    let pairs = "\"a\":1,".repeat(140_000);
    each(
        scene,
        &[
            &format!("42[\"echo\",{digits}]"),
            &format!("42[\"echo\",-{digits}e{digits}"),
            &format!("42[\"echo\",1e{}]", &digits[..400_000]),
            &format!("42[\"echo\",\"{escapes}\"]"),
            &format!("42[\"echo\",{{{pairs}\"b\":1}}]"),
            &format!("42[\"{digits}\"]"),
            &format!("42[\"echo\"{}]", ",0".repeat(450_000)),
            &format!("42[\"echo\",{}]", " ".repeat(900_000)),
            &format!("42/{digits},[\"echo\"]"),
        ],
    )?;
    scene.hold(Bound { bytes: 32 << 20, per_byte: 2 });
    scene.must_be_linear("spaces in an event", 100_000, 10, |scene, size| {
        let packet = format!("42[\"echo\"{}]", " ".repeat(size));
        each(scene, &[&packet])
    })?;
    scene.must_be_linear("quotes and backslashes", 100_000, 10, |scene, size| {
        let packet = format!("42[\"echo\",\"{}\"]", "\\\\".repeat(size / 2));
        each(scene, &[&packet])
    })
}

fn strange_characters(scene: &mut Scene<'_>) -> io::Result<()> {
    each(
        scene,
        &[
            "42[\"echo\",\"\\ud800\"]",
            "42[\"echo\",\"\\udc00\\ud800\"]",
            "42[\"\\ud800\",1]",
            "42[\"echo\",\"\\u0000\"]",
            "42[\"echo\",\"\u{0}\"]",
            "42[\"echo\",\"\u{1e}42[\"]",
            "42[\"echo\",\"\u{2028}\u{feff}\u{202e}\"]",
            "42[\"echo\",\"\\x\"]",
            "\u{feff}42[\"echo\"]",
            "42[\"echo\",NaN]",
            "42[\"echo\",01]",
            "42[\"echo\",'a']",
            "42[\"echo\",\"a\" /* b */]",
        ],
    )
}

fn acknowledgements(scene: &mut Scene<'_>) -> io::Result<()> {
    // Nobody asked.
    each(
        scene,
        &[
            "430[]",
            "43999[1]",
            "4318446744073709551615[]",
            "43-1[]",
            "43[]",
            "461-0[{\"_placeholder\":true,\"num\":0}]",
        ],
    )?;
    // Twice, and of another shape.
    for answers in [["[1]", "[2]"], ["[]", "[1]"], ["{}", "[1]"], ["null", "[1]"]] {
        let mut stream = scene.connect()?;
        open_websocket(&mut stream)?;
        stream.send_frame(Opcode::Text, b"42[\"askme\",1]")?;
        let question = answering_pings(&mut stream)?;
        let id: String = question[2..].chars().take_while(char::is_ascii_digit).collect();
        let answers = answers.map(|answer| format!("43{id}{answer}"));
        let reply = send_and_ask(&mut stream, &[answers[0].as_bytes(), answers[1].as_bytes(), answers[0].as_bytes()]);
        let allowed: Vec<Reply> = ENDS.iter().cloned().chain([Served]).collect();
        scene.expect("two answers", reply, &allowed);
    }
    let mut stream = scene.connect()?;
    open_websocket(&mut stream)?;
    let mut bytes = Vec::new();
    for id in 0..10_000 {
        write_frame(&mut bytes, true, Opcode::Text, format!("43{id}[1]").as_bytes());
    }
    for _ in 0..scene.many(20) {
        stream.send(&bytes)?;
    }
    let reply = send_and_ask(&mut stream, &[]);
    scene.expect("a flood of answers", reply, &[Served]);
    scene.hold(Bound::default());
    Ok(())
}

/// What mutations begin with.
const GOOD: &[&str] = &[
    "40",
    "40/admin,{\"token\":1}",
    "42[\"echo\",1,\"a\",{\"b\":[true,null]}]",
    "427[\"ack\",\"\u{e9}\u{20ac}\u{1f600}\"]",
    "42/admin,3[\"echo\"]",
    "43[1]",
    "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]",
    "461-5[{\"_placeholder\":true,\"num\":0}]",
    "41",
    "3",
    "2probe",
    "6",
    "bAQID",
];

/// One of them with some bytes changed, cut or repeated.
pub(super) fn nonsense(chance: &mut fastrand::Rng) -> Vec<u8> {
    const MARKS: &[u8] = b"0123456789-/,[]{}\":b\\\x1e\x00\xff\xc3 ";
    let mut bytes = GOOD[chance.usize(..GOOD.len())].as_bytes().to_vec();
    for _ in 0..chance.usize(1..5) {
        let at = chance.usize(..=bytes.len());
        match chance.u8(..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, MARKS[chance.usize(..MARKS.len())]),
            2 if at < bytes.len() => bytes[at] = MARKS[chance.usize(..MARKS.len())],
            3 if at < bytes.len() => bytes[at] ^= 1 << chance.u8(..8),
            _ => {
                let part = bytes[at..].to_vec();
                bytes.extend_from_slice(&part);
            }
        }
    }
    bytes
}

pub(super) fn seed_of(scene: &mut Scene<'_>) -> fastrand::Rng {
    scene.note("seed 20482");
    fastrand::Rng::with_seed(20_482)
}

fn nonsense_by_websocket(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut chance = seed_of(scene);
    let allowed: Vec<Reply> = ENDS.iter().cloned().chain([Served, Reply::Silence]).collect();
    for _ in 0..scene.many(2_000) {
        let mut stream = scene.connect()?;
        open_websocket(&mut stream)?;
        let messages: Vec<Vec<u8>> = (0..3).map(|_| nonsense(&mut chance)).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        // The nonsense may have left the namespace: then there is no echo, and no end either.
        wait_at_most(&stream, Duration::from_millis(100));
        let reply = send_and_ask(&mut stream, &messages);
        scene.expect(
            &format!("{:?}", messages.iter().map(|bytes| bytes.escape_ascii().to_string()).collect::<Vec<_>>()),
            reply,
            &allowed,
        );
    }
    scene.hold(Bound::default());
    Ok(())
}

fn nonsense_by_polling(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut chance = seed_of(scene);
    for _ in 0..scene.many(2_000) {
        let mut stream = scene.connect()?;
        let target = open_polling(&mut stream)?;
        let mut body = b"40".to_vec();
        for _ in 0..3 {
            body.push(0x1e);
            body.extend(nonsense(&mut chance));
        }
        let head = post(&target, "").replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
        stream.send(&[head.as_bytes(), &body].concat())?;
        let reply = http_reply(&mut stream);
        scene.expect(&body.escape_ascii().to_string(), reply, &[Status(200), Status(400), Status(413)]);
    }
    scene.hold(Bound::default());
    Ok(())
}

fn wrong_order(scene: &mut Scene<'_>) -> io::Result<()> {
    if scene.target == Target::Weak {
        return play(scene, &[b"9"]).map(|reply| scene.expect("a probe", reply, ENDS));
    }
    for messages in [
        &["5"][..],
        &["2probe", "2probe", "2probe"],
        &["2probe", "4", "5"],
        &["2probe", "5", "5", "2probe"],
        &["40", "42[\"echo\"]"],
        &["2probe", "5", "6", "1"],
        &["2probe", "1"],
        &["3probe"],
        &["2probe\u{0}"],
        &["2proba", "5"],
        &[""],
    ] {
        let mut polls = scene.connect()?;
        let target = open_polling(&mut polls)?;
        let mut stream = scene.connect()?;
        upgrade(&mut stream, &target.replace("polling", "websocket"), "")?;
        for message in messages {
            let _ = stream.send_frame(Opcode::Text, message.as_bytes());
        }
        // The session itself may live on; what it must not do is take anybody with it.
        wait_at_most(&stream, Duration::from_millis(100));
        let reply = websocket_reply(&mut stream, "3probe");
        scene.hear(reply);
    }
    // An upgrade of a session that is a WebSocket already, and one from polling to polling.
    let mut stream = scene.connect()?;
    upgrade(&mut stream, WEBSOCKET, "")?;
    let sid = crate::line::sid_of(stream.text()?.trim_start_matches('0'))?;
    for target in [format!("{WEBSOCKET}&sid={sid}"), format!("{POLLING}&sid={sid}")] {
        let mut second = scene.connect()?;
        second.send(ringio_tests::wire::upgrade_head(&target, "").as_bytes())?;
        let reply = http_reply(&mut second);
        scene.expect(&target[..40], reply, &[Status(400), Status(101), End]);
    }
    Ok(())
}

fn namespaces(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    open_websocket(&mut stream)?;
    let mut waves = Vec::new();
    for wave in 0..4 {
        for at in 0..scene.many(20_000) {
            stream.send_frame(Opcode::Text, format!("40/unknown-{wave}-{at},").as_bytes())?;
            if at % 100 == 99 {
                for _ in 0..100 {
                    answering_pings(&mut stream)?;
                }
            }
        }
        waves.push(scene.hold(Bound::default()));
    }
    scene.must_not_grow("unknown namespaces", &waves, 2 << 20);
    Ok(())
}

fn connect_cycles(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    open_websocket(&mut stream)?;
    let mut waves = Vec::new();
    for _ in 0..4 {
        for _ in 0..scene.many(5_000) {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, true, Opcode::Text, b"41");
            write_frame(&mut bytes, true, Opcode::Text, b"40");
            stream.send(&bytes)?;
            while !answering_pings(&mut stream)?.starts_with("40") {}
        }
        waves.push(scene.hold(Bound::default()));
    }
    scene.must_not_grow("connecting and disconnecting", &waves, 2 << 20);
    Ok(())
}

fn rooms(scene: &mut Scene<'_>) -> io::Result<()> {
    // A room is what the application lets clients join: it costs memory while they are there, and none afterwards.
    let mut waves = Vec::new();
    for _ in 0..3 {
        let mut stream = scene.connect()?;
        open_websocket(&mut stream)?;
        let mut bytes = Vec::new();
        for at in 0..scene.many(50_000) {
            write_frame(
                &mut bytes,
                true,
                Opcode::Text,
                format!("42[\"join\",\"a room with a name of some length {at}\"]").as_bytes(),
            );
        }
        stream.send(&bytes)?;
        let reply = send_and_ask(&mut stream, &[]);
        scene.expect("an echo behind the joins", reply, &[Served]);
        scene.hold(Bound { bytes: 8 << 20, per_byte: 8 });
        drop(stream);
        scene.neighbours_go_on();
        waves.push(scene.hold(Bound { bytes: 8 << 20, per_byte: 8 }));
    }
    scene.must_not_grow("rooms that were left", &waves, 4 << 20);
    Ok(())
}
