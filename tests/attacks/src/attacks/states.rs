//! Clients that stop half way, in every state: each must have a deadline, and leave nothing behind.

use super::Attack;
use super::http::end;
use crate::line::{Reply, WEBSOCKET, close_code, get_head, http_reply, open_polling, upgrade, wait_at_most};
use crate::scene::{Bound, Scene};
use crate::server::Target;
use ringio_codec::websocket::Opcode;
use ringio_tests::wire::Stream;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("nothing at all, for comparison", "control", nothing).slow().on_the_whole_board(),
    Attack::new("a silent connection", "slowloris", silent).slow(),
    Attack::new("a head, a byte at a time", "slowloris, CVE-2026-47073", slow_head).slow(),
    Attack::new("a body, a byte at a time", "slow POST, CVE-2026-47073", slow_body).slow(),
    Attack::new("a session that never polls", "socketioxide#731", never_polls).slow(),
    Attack::new("an upgrade without a probe", "socketioxide#731", no_probe).slow(),
    Attack::new("a probe without an upgrade", "socketioxide#731", no_upgrade).slow(),
    Attack::new("a namespace never joined, pongs sent", "socket.io connectTimeout", never_joins).slow(),
    Attack::new("a frame, a byte at a time, pongs withheld", "CVE-2026-47073", slow_frame).slow(),
    Attack::new("connect and abandon: polling", "socketioxide#731, #399", abandon_polling).slow(),
    Attack::new("connect and abandon: half upgraded", "socketioxide#731, #399", abandon_upgrade).slow(),
    Attack::new("connect and abandon: WebSocket", "socket.io#3477, #2427, netty-socketio#868", abandon_websocket)
        .slow(),
];

/// No attack: what neighbours notice here, they notice by themselves.
fn nothing(scene: &mut Scene<'_>) -> io::Result<()> {
    for _ in 0..12 {
        std::thread::sleep(Duration::from_secs(1));
        scene.hold(Bound::default());
    }
    Ok(())
}

/// Sends a byte every quarter of a second until the server ends the connection or the attacker's patience does.
fn dribble(scene: &mut Scene<'_>, what: &str, mut stream: Stream, byte: &[u8]) {
    let since = Instant::now();
    wait_at_most(&stream, Duration::from_millis(250));
    let mut replies = Vec::new();
    let reply = loop {
        if since.elapsed() > scene.patience {
            break Reply::Silence;
        }
        if stream.send(byte).is_err() {
            break replies.pop().unwrap_or(Reply::End);
        }
        match http_reply(&mut stream) {
            Reply::Silence => {}
            reply @ Reply::Status(_) => replies.push(reply),
            reply => break replies.pop().unwrap_or(reply),
        }
    };
    scene.expect_deadline(what, &reply, since);
}

fn silent(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    let since = Instant::now();
    wait_at_most(&stream, scene.patience);
    let reply = http_reply(&mut stream);
    scene.expect_deadline("silence", &reply, since);
    Ok(())
}

fn slow_head(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut held: Vec<Stream> = (0..200).map(|_| scene.connect()).collect::<io::Result<_>>()?;
    for stream in &mut held {
        stream.send(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nX-Slow: ")?;
    }
    scene.hold(Bound::default());
    if let Some(stream) = held.pop() {
        dribble(scene, "a slow head", stream, b"a");
    }
    Ok(())
}

fn slow_body(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    let target = open_polling(&mut stream)?;
    stream.send(
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 900000\r\n\r\n42[\"").as_bytes(),
    )?;
    dribble(scene, "a slow body", stream, b"a");
    Ok(())
}

/// All deadlines of the setting, 5 s to a ping and 5 s to its answer, and some.
const FORGOTTEN_BY_THEN: Duration = Duration::from_secs(15);

/// Whether the server has forgotten a session, asked every half second; how long it took.
fn until_forgotten(scene: &mut Scene<'_>, what: &str, target: &str) -> io::Result<()> {
    let since = Instant::now();
    let mut is_first = true;
    loop {
        // A method that a session does not know is a 500 as long as it is there, and changes nothing.
        let mut stream = scene.connect()?;
        stream.send(get_head(target, "Connection: close\r\n").replacen("GET", "PUT", 1).as_bytes())?;
        let reply = http_reply(&mut stream);
        if reply == Reply::Status(400) && is_first && !scene.target.is_ours() {
            // socketioxide says so whatever session it is: only the time can pass in which it must be forgotten.
            scene.stops(format!("{what}: a PUT is a 400 at once, which does not tell whether it is forgotten"));
            std::thread::sleep(FORGOTTEN_BY_THEN);
            return Ok(());
        }
        is_first = false;
        if reply == Reply::Status(400) {
            scene.expect_deadline(what, &reply, since);
            return Ok(());
        }
        if since.elapsed() > scene.patience {
            scene.expect_deadline(what, &Reply::Silence, since);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn never_polls(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    let target = open_polling(&mut stream)?;
    drop(stream);
    until_forgotten(scene, "never polled", &target)
}

/// The WebSocket ends, or patience does.
fn until_the_end(scene: &mut Scene<'_>, what: &str, stream: &mut Stream, sends_pongs: bool) {
    let since = Instant::now();
    wait_at_most(stream, Duration::from_millis(500));
    let reply = loop {
        match stream.frame() {
            Ok(frame) if frame.opcode == Opcode::Close => break Reply::Close(close_code(&frame.payload)),
            Ok(frame) if sends_pongs && frame.payload == b"2" => _ = stream.send_frame(Opcode::Text, b"3"),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => break error.into(),
        }
        if since.elapsed() > scene.patience {
            break Reply::Silence;
        }
    };
    scene.expect_deadline(what, &reply, since);
}

/// A session by polling and a WebSocket that wants to become its transport.
fn half_upgraded(scene: &Scene<'_>) -> io::Result<(Stream, Stream, String)> {
    let mut polls = scene.connect()?;
    let target = open_polling(&mut polls)?;
    let mut stream = scene.connect()?;
    if scene.target == Target::Weak {
        // It has no upgrades: any WebSocket does.
        upgrade(&mut stream, WEBSOCKET, "")?;
    } else {
        upgrade(&mut stream, &target.replace("polling", "websocket"), "")?;
    }
    Ok((polls, stream, target))
}

fn no_probe(scene: &mut Scene<'_>) -> io::Result<()> {
    let (polls, mut stream, target) = half_upgraded(scene)?;
    drop(polls);
    until_the_end(scene, "the WebSocket", &mut stream, false);
    until_forgotten(scene, "its session", &target)
}

fn no_upgrade(scene: &mut Scene<'_>) -> io::Result<()> {
    let (polls, mut stream, target) = half_upgraded(scene)?;
    drop(polls);
    stream.send_frame(Opcode::Text, b"2probe")?;
    until_the_end(scene, "the WebSocket", &mut stream, false);
    until_forgotten(scene, "its session", &target)
}

fn never_joins(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    upgrade(&mut stream, WEBSOCKET, "")?;
    until_the_end(scene, "never joined", &mut stream, true);
    Ok(())
}

fn slow_frame(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    crate::line::open_websocket(&mut stream)?;
    let mut head = Vec::new();
    ringio_codec::websocket::encode_header_masked(&mut head, Opcode::Text, 900_000, [0; 4]);
    stream.send(&head)?;
    let since = Instant::now();
    wait_at_most(&stream, Duration::from_millis(250));
    let reply = loop {
        if stream.send(b"a").is_err() {
            break Reply::End;
        }
        match stream.frame() {
            Ok(frame) if frame.opcode == Opcode::Close => break Reply::Close(close_code(&frame.payload)),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => break error.into(),
        }
        if since.elapsed() > scene.patience {
            break Reply::Silence;
        }
    };
    scene.expect_deadline("a slow frame", &reply, since);
    Ok(())
}

/// Opens and abandons many, waits until the last is forgotten, and again: nothing may stay.
fn churn(
    scene: &mut Scene<'_>,
    count: usize,
    abandon: impl Fn(&mut Scene<'_>, usize) -> io::Result<Option<String>>,
) -> io::Result<()> {
    let mut waves = Vec::new();
    for _ in 0..3 {
        let mut last = None;
        for at in 0..scene.many(count) {
            last = abandon(scene, at)?.or(last);
        }
        scene.hold(Bound { bytes: 16 << 20, per_byte: 16 });
        if let Some(target) = last {
            until_forgotten(scene, "the last of them", &target)?;
        }
        scene.neighbours_go_on();
        waves.push(scene.hold(Bound { bytes: 16 << 20, per_byte: 16 }));
    }
    scene.must_not_grow("abandoned clients", &waves, 1 << 20);
    Ok(())
}

fn abandon_polling(scene: &mut Scene<'_>) -> io::Result<()> {
    churn(scene, 5_000, |scene, at| {
        let mut stream = scene.connect()?;
        let target = open_polling(&mut stream)?;
        if at % 2 == 0 {
            stream.send(get_head(&target, "").as_bytes())?;
        }
        end(&stream, at % 3 == 0);
        Ok(Some(target))
    })
}

fn abandon_upgrade(scene: &mut Scene<'_>) -> io::Result<()> {
    churn(scene, 3_000, |scene, at| {
        let (polls, mut stream, target) = half_upgraded(scene)?;
        if at % 2 == 0 {
            stream.send_frame(Opcode::Text, b"2probe")?;
        }
        end(&polls, at % 3 == 0);
        end(&stream, at % 5 == 0);
        Ok(Some(target))
    })
}

fn abandon_websocket(scene: &mut Scene<'_>) -> io::Result<()> {
    churn(scene, 5_000, |scene, at| {
        let mut stream = scene.connect()?;
        upgrade(&mut stream, WEBSOCKET, "")?;
        if at % 2 == 0 {
            stream.send_frame(Opcode::Text, b"40")?;
        }
        end(&stream, at % 3 == 0);
        Ok(None)
    })
}
