//! What comes before a session: ids, origins, queries, header fields, extensions, files.

use super::Attack;
use crate::line::{POLLING, Reply, WEBSOCKET, get_head, http_reply, sid_of};
use crate::scene::{Bound, Scene};
use crate::server::Setting;
use ringio_tests::wire::upgrade_head;
use std::collections::HashSet;
use std::io;

use Reply::{End, Status};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("guess session ids", "CVE-2017-16031", guess_ids),
    Attack::new("another origin, by default", "CVE-2020-28481", other_origin),
    Attack::new("another origin, handshakes guarded", "CVE-2020-28481, d1f5aa9", guarded).on(Setting::Guarded),
    Attack::new("repeated and prototype-like queries", "CVE-2023-31125", queries),
    Attack::new("grammar of Sec-WebSocket-Extensions", "GHSA-5v72-xg48-5rpm", extensions).on(Setting::Deflate),
    Attack::new("Sec-WebSocket-Protocol of doubling length", "CVE-2021-32640", long_protocol),
    Attack::new("any header field of doubling length", "CVE-2023-43669", long_field),
    Attack::new("2,000 header fields", "CVE-2024-37890", many_fields),
    Attack::new("a header field of 1 MiB, and one without end", "CVE-2023-43669", endless_field),
    Attack::new("handshakes with parts missing", "CVE-2022-21676", broken_handshakes),
    Attack::new("script in a JSONP index", "CVE-2016-10537 (class)", jsonp).on(Setting::Old),
    Attack::new("paths out of the client's folder", "path traversal", traversal).on(Setting::Files),
];

/// One request on a connection of its own.
fn ask(scene: &Scene<'_>, request: &str) -> io::Result<Reply> {
    let mut stream = scene.connect()?;
    // The answer may come, and the connection end, before all is sent.
    let _ = stream.send(request.as_bytes());
    Ok(http_reply(&mut stream))
}

fn guess_ids(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut ids = Vec::new();
    for _ in 0..400 {
        let mut stream = scene.connect()?;
        stream.send(get_head(POLLING, "Connection: close\r\n").as_bytes())?;
        ids.push(sid_of(stream.answer()?.body.trim_start_matches('0'))?);
    }
    let distinct: HashSet<&String> = ids.iter().collect();
    scene.must(distinct.len() == ids.len(), "a session id was given twice");
    let length = ids.iter().map(String::len).min().unwrap_or(0);
    // Characters that a position takes, of 64 at most: what nobody can know of it. A counter or a clock shows as positions that stand still.
    let bits: f64 = (0..length)
        .map(|at| ids.iter().map(|id| id.as_bytes()[at]).collect::<HashSet<u8>>().len())
        .map(|count| (count.min(64) as f64).log2())
        .sum();
    scene.must(bits >= 90.0, format!("of a session id only {bits:.0} bits change"));
    let near =
        ids.windows(2).filter(|pair| pair[0].bytes().zip(pair[1].bytes()).filter(|(a, b)| a == b).count() * 2 > length);
    scene.must(near.count() == 0, "session ids resemble their predecessors");
    scene.note(format!("{bits:.0} bits change"));
    Ok(())
}

fn other_origin(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut stream = scene.connect()?;
    stream.send(get_head(POLLING, "Origin: http://evil.test\r\n").as_bytes())?;
    let answer = stream.answer()?;
    scene.must(answer.headers("access-control-allow-origin").is_empty(), "another origin may read answers");
    scene.expect("a poll", Status(answer.status), &[Status(200)]);
    // Browsers let any page open WebSockets, and so does Node: who minds uses allowRequest, the next attack.
    let reply = ask(scene, &upgrade_head(WEBSOCKET, "Origin: http://evil.test\r\n"))?;
    scene.expect("an upgrade", reply, &[Status(101)]);
    Ok(())
}

fn guarded(scene: &mut Scene<'_>) -> io::Result<()> {
    for target in
        [POLLING.to_owned(), WEBSOCKET.to_owned(), format!("{POLLING}&b64=1"), format!("{WEBSOCKET}&sid=x&sid=")]
    {
        let field = "Origin: http://evil.test\r\nx-refuse: no\r\n";
        let is_upgrade = target.contains("websocket");
        let request = if is_upgrade { upgrade_head(&target, field) } else { get_head(&target, field) };
        let reply = ask(scene, &request)?;
        scene.expect(&target, reply, &[Status(403), Status(400)]);
    }
    Ok(())
}

fn queries(scene: &mut Scene<'_>) -> io::Result<()> {
    for query in [
        "EIO=4&EIO=4&transport=polling&transport=polling",
        "EIO[]=4&transport[]=polling",
        "EIO=4&transport=__proto__",
        "EIO=4&transport=constructor",
        "EIO=4&transport[toString]=x",
        "EIO=4&transport=polling&sid=__proto__",
        "EIO=4&transport=polling&sid=constructor",
        "EIO=4&transport=polling&sid[]=a&sid[]=b",
        "EIO=4&transport=polling&sid[__proto__]=a",
        "EIO=4&transport=polling&sid=a&sid=b",
        "__proto__[sid]=a&EIO=4&transport=hasOwnProperty",
        "EIO=-1&transport=polling&sid=%00%ff%",
        "EIO=4&transport=%70olling%",
        "&&&=&=&%=%&EIO",
    ] {
        let reply = ask(scene, &get_head(&format!("/socket.io/?{query}"), "Connection: close\r\n"))?;
        // A value given twice may be read as one; everything else is refused.
        scene.expect(query, reply, &[Status(400), Status(200)]);
        let reply = ask(scene, &upgrade_head(&format!("/socket.io/?{query}"), ""))?;
        scene.expect(query, reply, &[Status(400)]);
    }
    Ok(())
}

fn extensions(scene: &mut Scene<'_>) -> io::Result<()> {
    let long = "permessage-deflate; client_max_window_bits=\"10\", ".repeat(200);
    let quotes = format!("permessage-deflate; a={}", "\\\"".repeat(4_000));
    for value in [
        "constructor",
        "__proto__; toString",
        "permessage-deflate; constructor",
        "permessage-deflate; __proto__=1",
        "permessage-deflate; client_max_window_bits=\"10",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=99999999999999999999",
        ";;;,,,",
        "permessage-deflate,",
        "\"permessage-deflate\"",
        "a;b=\"\\",
        long.as_str(),
        quotes.as_str(),
    ] {
        let shown: String = value.chars().take(60).collect();
        let reply = ask(scene, &upgrade_head(WEBSOCKET, &format!("Sec-WebSocket-Extensions: {value}\r\n")))?;
        scene.expect(&shown, reply, &[Status(101), Status(400)]);
    }
    Ok(())
}

fn long_protocol(scene: &mut Scene<'_>) -> io::Result<()> {
    scene.must_be_linear("a subprotocol of spaces", 1_000, 100, |scene, size| {
        let value = format!("a{}b", " ".repeat(size));
        let reply = ask(scene, &upgrade_head(WEBSOCKET, &format!("Sec-WebSocket-Protocol: {value}\r\n")))?;
        scene.expect("a long subprotocol", reply, &[Status(101), Status(400)]);
        Ok(())
    })
}

fn long_field(scene: &mut Scene<'_>) -> io::Result<()> {
    for (name, filling) in
        [("Cookie", "a=b; "), ("Accept-Encoding", "gzip;q=0,"), ("X-Any", "\" ;"), ("Connection", "close,")]
    {
        scene.must_be_linear(name, 250 * 6, 50, |scene, size| {
            let value = filling.repeat(size / filling.len());
            let reply = ask(scene, &get_head(POLLING, &format!("{name}: {value}\r\n")))?;
            scene.expect(name, reply, &[Status(200), Status(400)]);
            Ok(())
        })?;
    }
    Ok(())
}

fn many_fields(scene: &mut Scene<'_>) -> io::Result<()> {
    for count in [50, 62, 63, 64, 65, 2_000] {
        let fields: String = (0..count).map(|at| format!("a{at}: b\r\n")).collect();
        for request in [get_head(POLLING, &fields), upgrade_head(WEBSOCKET, &fields)] {
            let reply = ask(scene, &request)?;
            let allowed: &[Reply] = match count {
                50 => &[Status(200), Status(101)],
                2_000 => &[Status(431), Status(400), End],
                _ => &[Status(200), Status(101), Status(431)],
            };
            scene.expect(&format!("{count} fields"), reply, allowed);
        }
    }
    Ok(())
}

fn endless_field(scene: &mut Scene<'_>) -> io::Result<()> {
    let head = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nX-Long: ";
    let mut stream = scene.connect()?;
    stream.send(head)?;
    // Its connection may have ended before all was sent.
    let _ = stream.send(&vec![b'a'; 1 << 20]);
    let _ = stream.send(b"\r\n\r\n");
    let reply = http_reply(&mut stream);
    scene.expect("a field of 1 MiB", reply, &[Status(431), Status(400), End]);
    let mut stream = scene.connect()?;
    stream.send(head)?;
    scene.send_without_end("a field without end", &mut stream, &[b'a'; 16 << 10]);
    scene.hold(Bound { bytes: 2 << 20, per_byte: 0 });
    Ok(())
}

fn broken_handshakes(scene: &mut Scene<'_>) -> io::Result<()> {
    let whole = upgrade_head(WEBSOCKET, "");
    for (part, instead) in [
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", ""),
        ("AAAAAAAAAAAAAAAAAAAAAA==", "AAAA"),
        ("AAAAAAAAAAAAAAAAAAAAAA==", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}A=="),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 0x0d"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 99999999999999999999"),
        ("Sec-WebSocket-Version: 13", "A: b"),
        ("GET ", "POST "),
        ("HTTP/1.1", "HTTP/9.9"),
        ("Upgrade: websocket", "Upgrade: h2c, \u{7f}"),
    ] {
        let reply = ask(scene, &whole.replace(part, instead))?;
        scene.expect(instead, reply, &[Status(400), Status(405), Status(426), Status(505), End]);
    }
    Ok(())
}

fn jsonp(scene: &mut Scene<'_>) -> io::Result<()> {
    for index in
        ["1);alert(1)//", "%29%3Balert(1)%2F%2F", "<script>alert(1)</script>", "1\r\nalert", "alert", "%0d%0aalert: 1"]
    {
        let index = index.replace('\r', "%0d").replace('\n', "%0a");
        let mut stream = scene.connect()?;
        stream.send(get_head(&format!("/socket.io/?EIO=3&transport=polling&j={index}"), "").as_bytes())?;
        let answer = stream.answer()?;
        scene.must(!answer.body.contains("alert"), format!("`{index}` comes back as script"));
        scene.must(answer.headers("alert").is_empty(), format!("`{index}` comes back as header"));
        scene.expect(&index, Status(answer.status), &[Status(200), Status(400)]);
    }
    Ok(())
}

fn traversal(scene: &mut Scene<'_>) -> io::Result<()> {
    for path in [
        "/socket.io/../../../../../../etc/passwd",
        "/socket.io/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/socket.io/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/socket.io/....//....//....//etc/passwd",
        "/socket.io/..\\..\\..\\etc\\passwd",
        "/socket.io/socket.io.js/../../../package.json",
        "/socket.io/socket.io.js%00.map",
        "/socket.io//etc/passwd",
        "/../etc/passwd",
        "file:///etc/passwd",
        "/socket.io/socket.io.js?../../etc/passwd",
    ] {
        let mut stream = scene.connect()?;
        stream.send(get_head(path, "Connection: close\r\n").as_bytes())?;
        let answer = stream.answer()?;
        let is_bundle = path.starts_with("/socket.io/socket.io.js?");
        scene.must(
            !answer.body.contains("root:") && !answer.body.contains("\"dependencies\""),
            format!("{path} is served"),
        );
        let allowed: &[Reply] = if is_bundle { &[Status(200)] } else { &[Status(400), Status(404)] };
        scene.expect(path, Status(answer.status), allowed);
    }
    Ok(())
}
