//! WebSocket: lengths, fragments, control frames, UTF-8, deflate.

use super::Attack;
use crate::line::{Reply, WEBSOCKET, close_code, open_websocket, upgrade, wait_at_most, websocket_reply};
use crate::scene::{Bound, Scene};
use crate::server::Setting;
use ringio_codec::websocket::{Deflater, Opcode, WindowBits, encode_header_masked};
use ringio_tests::wire::{Stream, write_frame};
use std::io;
use std::time::Duration;

use Reply::{Close, End, Served};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("pings of every length", "CVE-2016-10518, CVE-2026-45736", pings),
    Attack::new("close frames of every kind", "CVE-2026-45736", closes),
    Attack::new("frames that declare 1 GiB to 2^63", "CVE-2016-10542, CVE-2022-35922", declared),
    Attack::new("fragments of one byte", "CVE-2026-48779", tiny_fragments),
    Attack::new("empty fragments", "CVE-2026-48779", empty_fragments),
    Attack::new("a continuation without end", "CVE-2026-42786", endless_continuation),
    Attack::new("frames that arrive byte by byte", "CVE-2026-47073 (class)", dribbled),
    Attack::new("control frames between fragments", "RFC 6455, 5.4", interleaved),
    Attack::new("pongs nobody asked for", "netty-socketio#868, #1000", pongs),
    Attack::new("pings whose pongs are never read", "uWebSockets#1337", unread_pings),
    Attack::new("frames against the rules", "CVE-2022-21676", against_the_rules),
    Attack::new("text that is no UTF-8", "RFC 6455, 8.1", no_utf8),
    Attack::new("deflate bombs", "zip bomb", bombs).on(Setting::Deflate),
    Attack::new("deflate streams that are none", "GHSA-5v72-xg48-5rpm", no_deflate).on(Setting::Deflate),
    Attack::new("5,000 deflate contexts", "socket.io#3477, ws#1202, #497", contexts).on(Setting::Deflate),
];

fn opened(scene: &Scene<'_>) -> io::Result<Stream> {
    let mut stream = scene.connect()?;
    open_websocket(&mut stream)?;
    Ok(stream)
}

fn pings(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = opened(scene)?;
    for len in 0..=125_u8 {
        let payload: Vec<u8> = (0..len).map(|at| at.wrapping_mul(7) ^ 0x5a).collect();
        stream.send_frame(Opcode::Ping, &payload)?;
        loop {
            let frame = stream.frame()?;
            if frame.opcode == Opcode::Pong {
                scene.must(frame.payload == payload, format!("a ping of {len} bytes is answered with other bytes"));
                break;
            }
        }
        scene.hear(Served);
    }
    // A length is announced and the bytes do not come: what would be sent back is not theirs to see.
    for len in [126_usize, 1_000, 70_000] {
        let mut stream = opened(scene)?;
        stream.send_frame(Opcode::Ping, &vec![0x41; len])?;
        let reply = websocket_reply(&mut stream, "");
        scene.expect(&format!("a ping of {len} bytes"), reply, &[Close(1002), End]);
    }
    Ok(())
}

fn closes(scene: &mut Scene<'_>) -> io::Result<()> {
    for payload in [
        b"".to_vec(),
        vec![3],
        vec![3, 232],
        [&[3_u8, 232][..], &[b'r'; 123]].concat(),
        vec![3, 237],
        vec![0, 0],
        vec![255, 255],
        vec![3, 232, 0xff, 0xfe],
    ] {
        let mut stream = opened(scene)?;
        stream.send_frame(Opcode::Close, &payload)?;
        let reply = loop {
            match stream.frame() {
                Ok(frame) if frame.opcode == Opcode::Close => {
                    let is_ours = frame.payload.is_empty() || frame.payload == payload || frame.payload.len() == 2;
                    scene.must(
                        is_ours || close_code(&frame.payload) >= 1002,
                        "a close frame with bytes that nobody sent",
                    );
                    break Close(close_code(&frame.payload));
                }
                Ok(_) => {}
                Err(error) => break error.into(),
            }
        };
        scene.expect("a close frame", reply, &[Close(1000), Close(1005), Close(1002), Close(1007), End]);
    }
    Ok(())
}

fn declared(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut held = Vec::new();
    for len in [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 62, 1 << 53, 1 << 32, 1 << 30, 1_000_001] {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let mut stream = opened(scene)?;
            let mut bytes = Vec::new();
            encode_header_masked(&mut bytes, opcode, 1 << 20, [0; 4]);
            bytes[2..10].copy_from_slice(&len.to_be_bytes());
            stream.send(&bytes)?;
            let _ = stream.send(b"42[\"echo\"]");
            let reply = websocket_reply(&mut stream, "");
            scene.expect(&format!("{len} bytes declared"), reply, &[Close(1009), Close(1002), End]);
            held.push(stream);
        }
    }
    scene.hold(Bound { bytes: 8 << 20, per_byte: 4 });
    Ok(())
}

/// Messages that never end, of `payload`-byte fragments, on many connections at once.
fn fragments(scene: &mut Scene<'_>, connections: usize, count: usize, payload: &[u8]) -> io::Result<()> {
    let mut begun = Vec::new();
    write_frame(&mut begun, false, Opcode::Binary, payload);
    for _ in 1..count {
        write_frame(&mut begun, false, Opcode::Continuation, payload);
    }
    let mut held = Vec::new();
    let connections = scene.many(connections).max(4);
    for _ in 0..connections {
        let mut stream = opened(scene)?;
        if let Err(error) = stream.send(&begun) {
            scene.note(format!("{} while sending", Reply::from(error)));
        }
        held.push(stream);
    }
    let bytes = scene.hold(Bound { bytes: 4 << 20, per_byte: 1 });
    scene.note(format!("{connections} messages of {count} fragments held: {} KiB", bytes >> 10));
    Ok(())
}

fn tiny_fragments(scene: &mut Scene<'_>) -> io::Result<()> {
    fragments(scene, 40, 100_000, b"a")
}

fn empty_fragments(scene: &mut Scene<'_>) -> io::Result<()> {
    fragments(scene, 40, 100_000, b"")
}

fn endless_continuation(scene: &mut Scene<'_>) -> io::Result<()> {
    for len in [1, 100, 6_000] {
        let mut stream = opened(scene)?;
        let payload = vec![b'a'; len];
        let mut frames = Vec::new();
        write_frame(&mut frames, false, Opcode::Text, &payload);
        stream.send(&frames)?;
        frames.clear();
        for _ in 0..6_000 / len {
            write_frame(&mut frames, false, Opcode::Continuation, &payload);
        }
        scene.send_without_end("a message", &mut stream, &frames);
        scene.hold(Bound { bytes: 4 << 20, per_byte: 0 });
    }
    Ok(())
}

fn dribbled(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = opened(scene)?;
    let count = scene.many(2_000);
    let mut frames = Vec::new();
    for at in 0..count {
        write_frame(&mut frames, true, Opcode::Text, format!("42[\"echo\",{at}]").as_bytes());
    }
    // The first byte is alone for sure.
    stream.send(&frames[..1])?;
    std::thread::sleep(Duration::from_millis(50));
    for byte in &frames[1..] {
        stream.send(&[*byte])?;
    }
    for at in 0..count {
        let wanted = format!("42[\"echo\",{at}]");
        let reply = websocket_reply(&mut stream, &wanted);
        scene.expect(&wanted, reply, &[Served]);
    }
    // A long message, byte by byte: not copied anew for each.
    let mut long = Vec::new();
    write_frame(&mut long, true, Opcode::Text, format!("42[\"echo\",\"{}\"]", "a".repeat(20_000)).as_bytes());
    for byte in long {
        stream.send(&[byte])?;
    }
    let reply = websocket_reply(&mut stream, "42[\"echo\",\"aaaa");
    scene.expect("a long echo", reply, &[Served]);
    Ok(())
}

fn interleaved(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = opened(scene)?;
    let count = scene.many(20_000);
    let text = b"42[\"echo\",\"whole\"]";
    let mut bytes = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        let opcode = if at == 0 { Opcode::Text } else { Opcode::Continuation };
        write_frame(&mut bytes, at + 1 == text.len(), opcode, &[*byte]);
        for _ in 0..count / text.len() {
            write_frame(&mut bytes, true, Opcode::Pong, b"between");
        }
        write_frame(&mut bytes, true, Opcode::Ping, b"between");
    }
    stream.send(&bytes)?;
    let reply = loop {
        match stream.frame() {
            Ok(frame) if frame.opcode == Opcode::Pong => {}
            Ok(frame) if frame.payload == text => break Served,
            Ok(frame) if frame.opcode == Opcode::Close => break Close(close_code(&frame.payload)),
            Ok(_) => {}
            Err(error) => break error.into(),
        }
    };
    scene.expect("a message with control frames between its bytes", reply, &[Served]);
    Ok(())
}

fn pongs(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = opened(scene)?;
    let mut bytes = Vec::new();
    for _ in 0..1_000 {
        write_frame(&mut bytes, true, Opcode::Pong, b"");
        write_frame(&mut bytes, true, Opcode::Text, b"3");
    }
    let mut waves = Vec::new();
    for _ in 0..4 {
        for _ in 0..scene.many(50) {
            stream.send(&bytes)?;
        }
        stream.send_frame(Opcode::Text, b"42[\"echo\",1]")?;
        let reply = websocket_reply(&mut stream, "42[\"echo\",1]");
        scene.expect("an echo behind the pongs", reply, &[Served]);
        waves.push(scene.hold(Bound::default()));
    }
    scene.must_not_grow("pongs", &waves, 2 << 20);
    Ok(())
}

fn unread_pings(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = opened(scene)?;
    let mut bytes = Vec::new();
    for _ in 0..500 {
        write_frame(&mut bytes, true, Opcode::Ping, &[b'p'; 125]);
    }
    let _ = stream.socket().set_write_timeout(Some(Duration::from_secs(3)));
    let mut end = None;
    for _ in 0..1_000 {
        if let Err(error) = stream.send(&bytes) {
            end = Some(Reply::from(error));
            break;
        }
    }
    scene.must(scene.sent() < 60 << 20, "pongs pile up without bound");
    scene.hold(Bound { bytes: 24 << 20, per_byte: 0 });
    scene.hear(end.unwrap_or(Served));
    Ok(())
}

fn against_the_rules(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut continuation = Vec::new();
    write_frame(&mut continuation, true, Opcode::Continuation, b"a");
    let mut twice = Vec::new();
    write_frame(&mut twice, false, Opcode::Text, b"a");
    write_frame(&mut twice, true, Opcode::Text, b"b");
    let mut split_ping = Vec::new();
    write_frame(&mut split_ping, false, Opcode::Ping, b"a");
    for (what, bytes) in [
        ("no mask", b"\x81\x02aa".to_vec()),
        ("reserved bit 1", b"\xc1\x80\0\0\0\0".to_vec()),
        ("reserved bits 2 and 3", b"\xb1\x80\0\0\0\0".to_vec()),
        ("opcode 3", b"\x83\x80\0\0\0\0".to_vec()),
        ("opcode 15", b"\x8f\x80\0\0\0\0".to_vec()),
        ("a continuation of nothing", continuation),
        ("a message in a message", twice),
        ("a ping in parts", split_ping),
        ("a ping of 64 KiB", b"\x89\xff\0\0\0\0\0\x01\0\0\0\0\0\0".to_vec()),
    ] {
        let mut stream = opened(scene)?;
        stream.send(&bytes)?;
        let reply = websocket_reply(&mut stream, "");
        scene.expect(what, reply, &[Close(1002), End]);
    }
    Ok(())
}

fn no_utf8(scene: &mut Scene<'_>) -> io::Result<()> {
    for bytes in [
        &b"42[\"echo\",\"\xff\"]"[..],
        b"42[\"echo\",\"\xc0\x80\"]",
        b"42[\"echo\",\"\xed\xa0\x80\"]",
        b"42[\"echo\",\"\xf4\x90\x80\x80\"]",
        b"42[\"echo\",\"\xe2\x82",
    ] {
        let mut stream = opened(scene)?;
        stream.send_frame(Opcode::Text, bytes)?;
        let reply = websocket_reply(&mut stream, "");
        scene.expect("no UTF-8", reply, &[Close(1007), Close(1002), End]);
    }
    // Half a character, and nothing behind it for ever: still a message that has not ended.
    let mut stream = opened(scene)?;
    let mut bytes = Vec::new();
    write_frame(&mut bytes, false, Opcode::Text, b"42[\"echo\",\"\xe2\x82");
    write_frame(&mut bytes, true, Opcode::Continuation, b"\xac\"]");
    stream.send(&bytes)?;
    let reply = websocket_reply(&mut stream, "42[\"echo\",\"\u{20ac}\"]");
    scene.expect("a character in two fragments", reply, &[Served]);
    Ok(())
}

/// A WebSocket that has agreed on permessage-deflate and joined.
fn deflating(scene: &Scene<'_>) -> io::Result<Stream> {
    let mut stream = scene.connect()?;
    upgrade(&mut stream, WEBSOCKET, "Sec-WebSocket-Extensions: permessage-deflate\r\n")?;
    stream.frame()?;
    stream.send_frame(Opcode::Text, b"40")?;
    stream.frame()?;
    Ok(stream)
}

/// A compressed frame.
fn send_deflated(stream: &mut Stream, payload: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, true, Opcode::Text, payload);
    bytes[0] |= 0x40;
    stream.send(&bytes)
}

fn bombs(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut bomb = Vec::new();
    let zeros = vec![b'a'; 1 << 20];
    let mut deflater = Deflater::new(9, WindowBits::MAX, false);
    let mut plain = 0_u64;
    while plain < 200 << 20 {
        deflater.compress(&zeros, &mut bomb);
        // Parts of one stream: between them stands the empty block that ends a message.
        bomb.extend_from_slice(b"\0\0\xff\xff");
        plain += zeros.len() as u64;
    }
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = deflating(scene)?;
        let _ = send_deflated(&mut stream, &bomb);
        let reply = websocket_reply(&mut stream, "");
        scene.expect("a bomb of 200 MiB", reply, &[Close(1009), Close(1007), Close(1002), End]);
        held.push(stream);
    }
    scene.hold(Bound { bytes: 16 << 20, per_byte: 4 });
    Ok(())
}

fn no_deflate(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut chance = fastrand::Rng::with_seed(7);
    for at in 0..scene.many(300) {
        let mut payload: Vec<u8> = (0..chance.usize(1..200)).map(|_| chance.u8(..)).collect();
        if at % 3 == 0 {
            payload.clear();
            Deflater::new(6, WindowBits::MAX, true).compress(b"42[\"echo\",\"broken\",\"broken\"]", &mut payload);
            let at = chance.usize(..payload.len());
            payload[at] ^= 1 << chance.u8(..8);
        }
        let mut stream = deflating(scene)?;
        send_deflated(&mut stream, &payload)?;
        // What is a stream by chance is a packet, most likely a broken one. Silence: it was taken for an event that nobody listens to.
        wait_at_most(&stream, Duration::from_millis(50));
        let reply = websocket_reply(&mut stream, "42");
        let allowed = [Close(1007), Close(1002), Close(1009), Close(1005), Close(1000), End, Served, Reply::Silence];
        scene.expect("garbage", reply, &allowed);
    }
    Ok(())
}

fn contexts(scene: &mut Scene<'_>) -> io::Result<()> {
    let text = format!("42[\"echo\",\"{}\"]", "a word and another ".repeat(200));
    let mut compressed = Vec::new();
    Deflater::new(6, WindowBits::MAX, true).compress(text.as_bytes(), &mut compressed);
    let mut held = Vec::new();
    let count = scene.many(5_000);
    for _ in 0..count {
        let mut stream = deflating(scene)?;
        send_deflated(&mut stream, &compressed)?;
        stream.frame()?;
        held.push(stream);
    }
    let bytes = scene.hold(Bound { bytes: 12 << 20, per_byte: 16 });
    scene.note(format!("{} B for each", bytes / count as u64));
    Ok(())
}
