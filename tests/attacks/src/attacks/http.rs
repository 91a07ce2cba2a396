//! Requests and their bodies: lengths, smuggling, pipelining, overlap, connections that are cut.

use super::Attack;
use crate::line::{
    POLLING, Reply, WEBSOCKET, get_head, http_reply, open_polling, upgrade, wait_at_most, websocket_reply,
};
use crate::scene::{Bound, Scene};
use crate::server::Target;
use ringio_codec::websocket::Opcode;
use ringio_tests::wire::{Stream, upgrade_head, write_frame};
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use Reply::{End, Served, Status};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("a body of 100 MB, declared", "CVE-2020-36048", declared_body),
    Attack::new("a body in chunks without end", "CVE-2020-36048, CVE-2026-42786", endless_body),
    Attack::new("bytes that go on behind the last answer", "CVE-2020-36048 (class)", behind_the_answer),
    Attack::new("Content-Length twice, negative, garbage", "request smuggling", lengths),
    Attack::new("a request in the body of another", "request smuggling", smuggled),
    Attack::new("10,000 requests in one go", "pipelining", pipelined),
    Attack::new("polls that overlap", "protocol", overlap),
    Attack::new("handshake, upgrade, probe, cut at every byte", "CVE-2022-41940", cut),
];

fn declared_body(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut held = Vec::new();
    for length in ["100000000", "1073741824", "4611686018427387904", "18446744073709551615"] {
        let mut stream = scene.connect()?;
        let target = open_polling(&mut stream)?;
        stream.send(post_head(&target, &format!("Content-Length: {length}\r\n")).as_bytes())?;
        let _ = stream.send(&[b'4'; 1000]);
        let reply = http_reply(&mut stream);
        scene.expect(length, reply, &[Status(413), Status(400), End]);
        held.push(stream);
    }
    scene.hold(Bound::default());
    Ok(())
}

fn post_head(target: &str, headers: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain;charset=UTF-8\r\n{headers}\r\n")
}

fn endless_body(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut held = Vec::new();
    // Long chunks, and chunks of one byte with long extensions, that carry little and cost more.
    let long = [b"4000\r\n4".as_slice(), &[b'a'; 0x3fff], b"\r\n"].concat();
    let short = b"1;aaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n".repeat(500);
    for piece in [long, short] {
        let mut stream = scene.connect()?;
        let target = open_polling(&mut stream)?;
        stream.send(post_head(&target, "Transfer-Encoding: chunked\r\n").as_bytes())?;
        scene.send_without_end("a body", &mut stream, &piece);
        scene.hold(Bound { bytes: 4 << 20, per_byte: 0 });
        held.push(stream);
    }
    Ok(())
}

/// What a server may take of a connection that it has refused: enough for an honest client to hear why, with what both kernels hold of it.
const BEHIND_MAX: u64 = 32 << 20;

fn behind_the_answer(scene: &mut Scene<'_>) -> io::Result<()> {
    for what in ["a body", "chunks", "garbage", "a head", "a closed WebSocket", "a failed WebSocket"] {
        let mut stream = scene.connect()?;
        match what {
            "a body" | "chunks" => {
                let target = open_polling(&mut stream)?;
                let length = if what == "a body" { "Content-Length: 4000000000" } else { "Transfer-Encoding: chunked" };
                stream.send(post_head(&target, &format!("{length}\r\n")).as_bytes())?;
                if what == "chunks" {
                    stream.send(b"ee6b2800\r\n")?;
                }
            }
            "garbage" => stream.send(b"? ? ?\r\n\r\n")?,
            "a head" => stream.send(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nX-Long: ")?,
            _ => {
                crate::line::open_websocket(&mut stream)?;
                let opcode = if what == "a closed WebSocket" { Opcode::Close } else { Opcode::Ping };
                stream.send_frame(opcode, &vec![0; if opcode == Opcode::Close { 0 } else { 126 }])?;
            }
        }
        scene.flood(what, &mut stream, BEHIND_MAX);
        // A reset may have come before it was read.
        let reply = http_reply(&mut stream);
        scene.hear(if matches!(reply, Status(_)) { reply } else { End });
        scene.hold(Bound { bytes: 4 << 20, per_byte: 0 });
    }
    Ok(())
}

fn lengths(scene: &mut Scene<'_>) -> io::Result<()> {
    for lines in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: 2 2\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length : 2\r\n",
        "Content-Length:\u{b}2\r\n",
    ] {
        let mut stream = scene.connect()?;
        let target = open_polling(&mut stream)?;
        stream.send(post_head(&target, lines).as_bytes())?;
        let _ = stream.send(b"40");
        let reply = http_reply(&mut stream);
        scene.expect(lines, reply, &[Status(400), Status(413), End]);
    }
    Ok(())
}

fn smuggled(scene: &mut Scene<'_>) -> io::Result<()> {
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = inner.len();
    for (lines, body) in [
        (format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), format!("0\r\n\r\n{inner}")),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", 5 + length), format!("0\r\n\r\n{inner}")),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), format!("0\r\n\r\n{inner}")),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), format!("0\r\n\r\n{inner}")),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(), format!("0\r\n\r\n{inner}")),
        ("Transfer-Encoding:\u{b}chunked\r\n".to_owned(), format!("0\r\n\r\n{inner}")),
        ("Transfer-Encoding\u{b}: chunked\r\n".to_owned(), format!("0\r\n\r\n{inner}")),
        ("X: a\nTransfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{inner}")),
        ("Content-Length: 0\r\n Content-Length: 30\r\n".to_owned(), inner.to_owned()),
    ] {
        let mut stream = scene.connect()?;
        let target = open_polling(&mut stream)?;
        stream.send(post_head(&target, &lines).as_bytes())?;
        let _ = stream.send(body.as_bytes());
        let reply = http_reply(&mut stream);
        scene.expect(&lines, reply, &[Status(400), Status(501), Status(413), End]);
        wait_at_most(&stream, Duration::from_secs(2));
        let second = http_reply(&mut stream);
        scene.must(
            !matches!(second, Status(_)),
            format!("{lines:?}: what was hidden in the body is answered, with {second}"),
        );
    }
    Ok(())
}

fn pipelined(scene: &mut Scene<'_>) -> io::Result<()> {
    let request = get_head("/elsewhere", "");
    let all = request.repeat(10_000);
    let mut stream = scene.connect()?;
    // Nobody reads the answers at first.
    wait_at_most(&stream, Duration::from_secs(2));
    let _ = stream.socket().set_write_timeout(Some(Duration::from_secs(2)));
    let _ = stream.send(all.as_bytes());
    scene.hold(Bound::default());
    let mut answered = 0_usize;
    let end = loop {
        match http_reply(&mut stream) {
            Status(404) => answered += 1,
            reply => break reply,
        }
    };
    scene.note(format!("{answered} answers, then {end}"));
    // And polls behind a poll that waits: only so many bytes of them are kept.
    let mut stream = scene.connect()?;
    let target = open_polling(&mut stream)?;
    let _ = stream.socket().set_write_timeout(Some(Duration::from_secs(2)));
    let _ = stream.send(get_head(&target, "").repeat(10_000).as_bytes());
    scene.hold(Bound::default());
    Ok(())
}

fn overlap(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut first = scene.connect()?;
    let target = open_polling(&mut first)?;
    first.send(get_head(&target, "").as_bytes())?;
    let mut others = Vec::new();
    for at in 0..200 {
        let mut other = scene.connect()?;
        other.send(get_head(&target, "").as_bytes())?;
        let reply = http_reply(&mut other);
        if reply == Reply::Silence {
            scene.differs("an overlapping poll waits too");
            break;
        }
        // The first of them ends the session; for the later ones there is none.
        scene.expect(&format!("overlapping poll {at}"), reply, &[Status(400), Status(200)]);
        others.push(other);
    }
    let reply = http_reply(&mut first);
    scene.expect("the poll that waited", reply, &[Status(200), Status(400)]);
    scene.hold(Bound::default());
    Ok(())
}

/// Sends `bytes` up to each of their lengths and then cuts the connection, by FIN and by RST.
fn cut_everywhere(scene: &mut Scene<'_>, bytes: &[u8], open: impl Fn(&mut Stream) -> io::Result<()>) -> io::Result<()> {
    let step = if scene.is_quick { 7 } else { 1 };
    for len in (0..=bytes.len()).step_by(step) {
        for is_reset in [false, true] {
            let mut stream = scene.connect()?;
            open(&mut stream)?;
            stream.send(&bytes[..len])?;
            end(&stream, is_reset);
        }
    }
    Ok(())
}

/// Ends a connection, by FIN in both directions or by RST.
pub(super) fn end(stream: &Stream, is_reset: bool) {
    let socket = socket2::SockRef::from(stream.socket());
    let _ = if is_reset { socket.set_linger(Some(Duration::ZERO)) } else { socket.shutdown(Shutdown::Both) };
}

fn cut(scene: &mut Scene<'_>) -> io::Result<()> {
    cut_everywhere(scene, get_head(POLLING, "").as_bytes(), |_| Ok(()))?;
    let mut websocket = upgrade_head(WEBSOCKET, "").into_bytes();
    write_frame(&mut websocket, true, Opcode::Text, b"40");
    write_frame(&mut websocket, true, Opcode::Text, b"42[\"echo\",\"cut\"]");
    cut_everywhere(scene, &websocket, |_| Ok(()))?;
    // The probe of an upgrade, each on a session of its own.
    let mut probe = Vec::new();
    write_frame(&mut probe, true, Opcode::Text, b"2probe");
    write_frame(&mut probe, true, Opcode::Text, b"5");
    let address = (scene.address, scene.target);
    cut_everywhere(scene, &probe, move |stream| {
        let mut polls = Stream::connect(address.0, std::sync::Arc::default())?;
        let target = open_polling(&mut polls)?.replace("polling", "websocket");
        if address.1 == Target::Weak { Ok(()) } else { upgrade(stream, &target, "") }
    })?;
    // And the server is as it was.
    let mut stream = scene.connect()?;
    crate::line::open_websocket(&mut stream)?;
    stream.send_frame(Opcode::Text, b"42[\"echo\",1]")?;
    let reply = websocket_reply(&mut stream, "42[\"echo\",1]");
    scene.expect("an echo afterwards", reply, &[Served]);
    scene.hold(Bound::default());
    Ok(())
}
