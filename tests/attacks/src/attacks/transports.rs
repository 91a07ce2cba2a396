//! What holds on one transport must hold on all: refusals, the longest message, the old protocol, sessions that live on other cores.

use super::Attack;
use super::packets::{nonsense, seed_of};
use crate::line::{
    POLLING, Reply, WEBSOCKET, get_head, http_reply, join, open_polling, payload_max_of, post, sid_of, upgrade,
    wait_at_most, websocket_reply, websocket_reply_among_others,
};
use crate::scene::{Bound, Scene};
use crate::server::{Setting, Target};
use ringio_codec::websocket::Opcode;
use ringio_tests::wire::Stream;
use std::io::{self, ErrorKind};
use std::time::Duration;

use Reply::{Close, End, Served, Silence, Status};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("a namespace that refuses, on every transport", "engine.io d1f5aa9", refused_everywhere)
        .on(Setting::Old),
    Attack::new("a message that is just too long", "socket.io#3817, #3946, socket.io-client#1531", just_too_long),
    Attack::new("malformed payloads of revision 3, from a seed", "CVE-2022-21676", old_payloads).on(Setting::Old),
    Attack::new("sessions of all cores over one connection", "socket.io#2140, #1739", all_cores),
];

const JOIN: &str = "40/guarded,";
const REFUSAL: &str = "44/guarded";
const EVENT: &str = "42/guarded,[\"echo\",\"inside\"]";

/// A WebSocket: of one of the revisions, or what a session by polling has become.
fn websocket(scene: &Scene<'_>, way: &str) -> io::Result<Stream> {
    let mut stream = scene.connect()?;
    match way {
        "upgraded" if scene.target != Target::Weak => {
            let mut polls = scene.connect()?;
            let target = open_polling(&mut polls)?;
            upgrade(&mut stream, &target.replace("polling", "websocket"), "")?;
            for (sent, heard) in [("2probe", "3probe"), ("5", "")] {
                stream.send_frame(Opcode::Text, sent.as_bytes())?;
                if !heard.is_empty() && stream.text()? != heard {
                    return Err(io::Error::new(ErrorKind::InvalidData, "no answer to a probe"));
                }
            }
        }
        "EIO=3" => upgrade(&mut stream, &WEBSOCKET.replace("EIO=4", way), "")?,
        _ => {
            upgrade(&mut stream, WEBSOCKET, "")?;
            stream.text()?;
        }
    }
    Ok(stream)
}

fn refused_everywhere(scene: &mut Scene<'_>) -> io::Result<()> {
    for way in ["EIO=4", "upgraded", "EIO=3"] {
        let mut stream = websocket(scene, way)?;
        stream.send_frame(Opcode::Text, JOIN.as_bytes())?;
        let reply = websocket_reply_among_others(&mut stream, REFUSAL);
        scene.must(reply == Served, format!("{way}: let into a namespace that refuses: {reply}"));
        // What is sent there nevertheless is not served.
        wait_at_most(&stream, Duration::from_secs(1));
        let _ = stream.send_frame(Opcode::Text, EVENT.as_bytes());
        let reply = websocket_reply_among_others(&mut stream, EVENT);
        scene.must(reply != Served, format!("{way}: served by a namespace that refused"));
        scene.hear(reply);
    }
    let mut posts = scene.connect()?;
    let target = open_polling(&mut posts)?;
    for packet in [JOIN, EVENT] {
        posts.send(post(&target, packet).as_bytes())?;
        let reply = http_reply(&mut posts);
        scene.expect("a POST", reply, &[Status(200), Status(400)]);
    }
    let mut polls = scene.connect()?;
    let mut heard = String::new();
    for _ in 0..2 {
        let _ = polls.send(get_head(&target, "").as_bytes());
        let Ok(answer) = polls.answer() else { break };
        heard.push_str(&answer.body);
        if answer.status != 200 {
            break;
        }
        // Another one may wait for nothing.
        wait_at_most(&polls, Duration::from_secs(5));
    }
    scene.must(heard.contains(REFUSAL), "polling: let into a namespace that refuses");
    scene.must(!heard.contains(EVENT), "polling: served by a namespace that refused");
    Ok(())
}

fn just_too_long(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    upgrade(&mut stream, WEBSOCKET, "")?;
    let open = stream.text()?;
    let told = payload_max_of(open.trim_start_matches('0'));
    scene.must(told.is_some(), "nobody is told how long a message may be");
    let Some(most) = told else { return Ok(()) };
    let event = |length: usize| format!("42[\"echo\",\"{}\"]", "a".repeat(length - 13));
    // As long as it may be: it is served, whoever sends it.
    join(&mut stream)?;
    stream.send_frame(Opcode::Text, event(most).as_bytes())?;
    let reply = websocket_reply(&mut stream, &event(most)[..20]);
    scene.expect("a message of the greatest length", reply, &[Served]);
    // One byte more, and its sender is told why.
    let _ = stream.send_frame(Opcode::Text, event(most + 1).as_bytes());
    let reply = websocket_reply_among_others(&mut stream, "never");
    scene.expect("one byte more", reply, &[Close(1009)]);
    let mut stream = scene.connect()?;
    let target = open_polling(&mut stream)?;
    let _ = stream.send(post(&target, &event(most + 1)).as_bytes());
    let reply = http_reply(&mut stream);
    scene.expect("one byte more by polling", reply, &[Status(413)]);
    scene.hold(Bound { bytes: 16 << 20, per_byte: 4 });
    Ok(())
}

/// A session of the old revision by polling: where it polls from now on. Its OPEN stands between other packets.
fn open_old(stream: &mut Stream) -> io::Result<String> {
    let old = POLLING.replace("EIO=4", "EIO=3");
    stream.send(get_head(&old, "").as_bytes())?;
    let body = stream.answer()?.body;
    let open = body.find('{').zip(body.find('}')).and_then(|(from, to)| body.get(from..=to));
    Ok(format!("{old}&sid={}", sid_of(open.unwrap_or_default())?))
}

/// Packets behind their lengths, as the old revision has them, some of them wrong.
fn old_payload(chance: &mut fastrand::Rng, is_binary: bool) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..3 {
        let packet = nonsense(chance);
        let length = match chance.u8(..8) {
            0 => "-1".to_owned(),
            1 => "99999999999999999999".to_owned(),
            2 => (packet.len() + chance.usize(1..9)).to_string(),
            _ => String::from_utf8_lossy(&packet).encode_utf16().count().to_string(),
        };
        if is_binary {
            body.push(chance.u8(..3));
            body.extend(length.bytes().map(|digit| digit.wrapping_sub(b'0')));
            body.push(255);
        } else {
            body.extend_from_slice(length.as_bytes());
            body.push(b':');
        }
        body.extend(packet);
    }
    body
}

fn old_payloads(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut chance = seed_of(scene);
    let known: [&[u8]; 10] =
        [b"4", b":", b"1:", b"1:4", b"0:", b"-1:4", b"1:4:", b"99999999999999999999:4", b"\x00\xff4", b"2:4"];
    for at in 0..scene.many(2_000) {
        let mut stream = scene.connect()?;
        let target = open_old(&mut stream)?;
        let is_binary = at % 2 == 1;
        let body = known.get(at).map_or_else(|| old_payload(&mut chance, is_binary), |body| body.to_vec());
        let mut head = post(&target, "").replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
        if is_binary {
            head = head.replace("text/plain;charset=UTF-8", "application/octet-stream");
        }
        stream.send(&[head.as_bytes(), &body].concat())?;
        let reply = http_reply(&mut stream);
        scene.expect(&body.escape_ascii().to_string(), reply, &[Status(200), Status(400), Status(413)]);
    }
    scene.hold(Bound::default());
    Ok(())
}

/// Requests that are sent at once: as many as a connection may have to carry from core to core.
const AT_ONCE: usize = 100;

fn all_cores(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut targets = Vec::new();
    for _ in 0..16 {
        targets.push(open_polling(&mut scene.connect()?)?);
    }
    let mut stream = scene.connect()?;
    for round in 0..scene.many(50) {
        // A method that a session does not know is a 500 as long as it is there, and changes nothing.
        let ask = |at: usize| get_head(&targets[(round + at) % targets.len()], "").replacen("GET", "PUT", 1);
        stream.send((0..AT_ONCE).map(ask).collect::<String>().as_bytes())?;
        for _ in 0..AT_ONCE {
            let reply = http_reply(&mut stream);
            scene.expect("a session of whichever core", reply.clone(), &[Status(500)]);
            if matches!(reply, End | Silence) {
                return Ok(());
            }
        }
    }
    scene.hold(Bound::default());
    Ok(())
}
