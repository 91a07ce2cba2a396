//! Senders that never stop, receivers that never read, crowds.

use super::Attack;
use crate::line::{
    Reply, answering_pings, get_head, open_polling, open_websocket, patiently, wait_at_most, websocket_reply,
};
use crate::scene::{Bound, Scene};
use crate::server::Setting;
use ringio_codec::websocket::Opcode;
use ringio_tests::wire::{Stream, write_frame};
use std::io;
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("a sender that never stops", "fairness", saturating),
    Attack::new("echoes that are never read", "socket.io#3158, engine.io#420", unread_echoes),
    Attack::new("broadcasts to receivers that never read", "Flask-SocketIO#1081, socket.io#4937", unread_broadcasts),
    Attack::new("polls whose answers are never read", "slow read", unread_polls).slow(),
    Attack::new("2,000 sessions from one address", "socket.io#1054, tungstenite#480", crowd),
    Attack::new("more than an address may have", "socket.io#1054, #2412", over_budget).on(Setting::Budgeted),
    Attack::new("more connections than descriptors", "uWebSockets#201", descriptors).on(Setting::Descriptors(64)),
    Attack::new("sessions by polling as fast as they open", "reconnect storm", storm),
];

/// Longest `Retry-After` that the documentation promises. Seconds.
const RETRY_AFTER_S_MAX: u64 = 10;

/// Events that are sent before the first answer is read.
const BURST: usize = 5_000;

fn saturating(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    open_websocket(&mut stream)?;
    let mut frames = Vec::new();
    for _ in 0..BURST {
        write_frame(
            &mut frames,
            true,
            Opcode::Text,
            b"42[\"echo\",\"sixty-four bytes or so of nothing in particular\"]",
        );
    }
    for _ in 0..scene.many(40) {
        stream.send(&frames)?;
        for _ in 0..BURST {
            answering_pings(&mut stream)?;
        }
    }
    scene.neighbours_go_on();
    scene.hear(Reply::Served);
    Ok(())
}

fn unread_echoes(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut frame = Vec::new();
    write_frame(&mut frame, true, Opcode::Text, format!("42[\"echo\",\"{}\"]", "a".repeat(60_000)).as_bytes());
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = scene.connect()?;
        open_websocket(&mut stream)?;
        let _ = stream.socket().set_write_timeout(Some(Duration::from_secs(2)));
        scene.send_without_end("echoes", &mut stream, &frame);
        held.push(stream);
    }
    // Two clients, each with an outbox of 4 MiB and one message.
    scene.hold(Bound { bytes: 24 << 20, per_byte: 0 });
    Ok(())
}

fn unread_broadcasts(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stuck = Vec::new();
    for _ in 0..50 {
        let mut stream = scene.connect()?;
        open_websocket(&mut stream)?;
        stuck.push(stream);
    }
    let mut sender = scene.connect()?;
    open_websocket(&mut sender)?;
    let text = format!("42[\"broadcast\",\"{}\"]", "a".repeat(60_000));
    for at in 0..scene.many(400).max(100) {
        if at % 25 == 24 {
            // Neighbours are sent all of it as well; who reads is given the time to.
            scene.neighbours_go_on();
        }
        sender.send_frame(Opcode::Text, text.as_bytes())?;
        // The sender reads its own: it is polite.
        while !answering_pings(&mut sender)?.starts_with("42[\"broadcast\"") {}
    }
    let bytes = scene.hold(Bound { bytes: 64 << 20, per_byte: 2 });
    scene.note(format!("50 stuck receivers hold {} KiB together", bytes >> 10));
    // Those that did not read are let go, by the bound of what may wait or by the heartbeat.
    let since = Instant::now();
    let Some(mut stream) = stuck.pop() else { return Ok(()) };
    wait_at_most(&stream, scene.patience);
    let reply = loop {
        match stream.frame() {
            Ok(frame) if frame.opcode == Opcode::Close => break Reply::Close(crate::line::close_code(&frame.payload)),
            Ok(_) => {}
            Err(error) => break error.into(),
        }
    };
    scene.expect_deadline("a stuck receiver", &reply, since);
    Ok(())
}

fn unread_polls(scene: &mut Scene<'_>) -> io::Result<()> {
    // A polling session is sent much and its poll's answer is not read.
    let mut polls = scene.connect()?;
    let target = open_polling(&mut polls)?;
    let mut posts = scene.connect()?;
    let body = format!("40\u{1e}42[\"echo\",\"{}\"]", "a".repeat(900_000));
    posts.send(crate::line::post(&target, &body).as_bytes())?;
    patiently(&mut posts, Stream::answer)?;
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = scene.connect()?;
        stream.send(get_head(&target, "").repeat(50).as_bytes())?;
        held.push(stream);
    }
    scene.hold(Bound { bytes: 16 << 20, per_byte: 4 });
    let since = Instant::now();
    let Some(mut stream) = held.pop() else { return Ok(()) };
    wait_at_most(&stream, scene.patience);
    let reply = loop {
        match crate::line::http_reply(&mut stream) {
            Reply::Status(_) => {}
            reply => break reply,
        }
    };
    scene.expect_deadline("the connection", &reply, since);
    Ok(())
}

fn crowd(scene: &mut Scene<'_>) -> io::Result<()> {
    let count = scene.many(2_000);
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = scene.connect()?;
        open_websocket(&mut stream)?;
        held.push(stream);
    }
    let bytes = scene.hold(Bound { bytes: 8 << 20, per_byte: 24 });
    let each = bytes / count as u64;
    // A read buffer for each, made before anything is read, is 4 to 128 KiB.
    scene.must(each < 16 << 10, format!("{each} B for each client that says nothing"));
    scene.note(format!("{each} B each"));
    Ok(())
}

fn over_budget(scene: &mut Scene<'_>) -> io::Result<()> {
    // Its own address, because the neighbours' is theirs.
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..scene.many(2_000) {
        let mut stream = scene.connect_from(2)?;
        // One connection too many is closed as soon as it is accepted, one session too many hears when to come back.
        let answer = stream.send(get_head(crate::line::POLLING, "").as_bytes()).and_then(|()| stream.answer());
        if let Some(answer) = answer.as_ref().ok().filter(|answer| answer.status == 503) {
            let seconds = answer.headers("retry-after").first().and_then(|seconds| seconds.parse::<u64>().ok());
            scene.must(
                seconds.is_some_and(|seconds| (1..=RETRY_AFTER_S_MAX).contains(&seconds)),
                format!("503 with Retry-After {seconds:?}"),
            );
        }
        let reply = answer.map_or_else(Reply::from, |answer| Reply::Status(answer.status));
        refused += usize::from(reply != Reply::Status(200));
        scene.expect("a handshake", reply, &[Reply::Status(200), Reply::Status(503), Reply::End]);
        held.push(stream);
    }
    scene.must(refused > 0, "one address may have everything");
    scene.hold(Bound::default());
    // Another address is not counted with it.
    let mut stream = scene.connect_from(3)?;
    open_websocket(&mut stream)?;
    stream.send_frame(Opcode::Text, b"42[\"echo\",1]")?;
    let reply = websocket_reply(&mut stream, "42[\"echo\",1]");
    scene.expect("another address", reply, &[Reply::Served]);
    Ok(())
}

fn descriptors(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut held = Vec::new();
    let before = scene.cpu();
    for _ in 0..200 {
        // In the backlog at worst.
        held.push(scene.connect()?);
    }
    scene.neighbours_go_on();
    std::thread::sleep(Duration::from_secs(1));
    let spent = scene.cpu().saturating_sub(before);
    scene.must(
        spent < Duration::from_millis(150),
        format!("spins when there are no descriptors: {} ms of CPU", spent.as_millis()),
    );
    drop(held);
    let mut stream = scene.connect()?;
    let asked = open_websocket(&mut stream).and_then(|()| stream.send_frame(Opcode::Text, b"42[\"echo\",1]"));
    let reply = asked.map_or_else(Reply::from, |()| websocket_reply(&mut stream, "42[\"echo\",1]"));
    scene.expect("when there are descriptors again", reply, &[Reply::Served]);
    Ok(())
}

fn storm(scene: &mut Scene<'_>) -> io::Result<()> {
    let count = scene.many(10_000);
    for at in 0..count {
        let mut stream = scene.connect()?;
        stream.send(get_head(crate::line::POLLING, "Connection: close\r\n").as_bytes())?;
        if at % 2 == 0 {
            stream.answer()?;
        }
    }
    let bytes = scene.hold(Bound { bytes: 16 << 20, per_byte: 32 });
    scene.note(format!("{} B each", bytes / count as u64));
    Ok(())
}
