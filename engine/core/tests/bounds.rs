//! The table of `limits.rs`, row by row: each state ends at its deadline however its peer dribbles, and holds no more than its bound.
//!
//! A dribbler sends one byte per second; it is cut off in the very millisecond in which a silent one would be.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::door::{DisconnectReason, EmitFlags, Event, EventParts};
use ringio_core::limits::{
    CLOSED_GRACE_MS, CLOSING_DEADLINE_MS, DECISION_DEADLINE_MS, EVENTS_KEPT_MAX, MOVING_DEADLINE_MS,
    NAMESPACE_NAME_BYTES_MAX, PING_MOMENTS, POLLING_CLOSE_DEADLINE_MS, QUEUED_FRAME_BYTES, RECEIVE_BYTES_PER_MS_MIN,
    RECEIVE_DEADLINE_MS, REQUEST_HEAD_BYTES_MAX, REQUEST_HEAD_DEADLINE_MS, SOCKETS_PER_SESSION_MAX, TRANSMIT_BYTES_MAX,
    TRANSMIT_FRAMES_MAX, WorstCase, attachments_deadline_ms, body_deadline_ms, dropped_bytes_max, message_deadline_ms,
    unfinished_bytes_max, worst_case,
};
use ringio_core::options::{Asset, Hooks, Options, RecoveryOptions};
use std::sync::Arc;
use world::{Heard, Wire, World, binary, frame, polling_url, shard_with, text, upgrade_request};

/// Small messages, so that deadlines which depend on them stay short.
fn small() -> Options {
    Options { max_http_buffer_size: 4_000, ..Options::default() }
}

/// Sends `each` every second; the connection lives until `deadline_ms`, and no longer.
fn dribble(world: &mut World, wire: Wire, deadline_ms: u64, each: &[u8]) {
    let mut left = deadline_ms - 1;
    while left > 0 {
        let step = left.min(1_000);
        world.advance(step);
        left -= step;
        assert!(!world.is_over(wire), "{left} ms too early");
        if left > 0 {
            world.send(wire, each);
        }
    }
    world.advance(1);
    assert!(world.is_over(wire), "not over at {deadline_ms} ms");
}

fn reasons(world: &World) -> Vec<DisconnectReason> {
    let disconnected = |heard: &Heard| if let Heard::Disconnected(_, reason, _) = heard { Some(*reason) } else { None };
    world.heard.iter().filter_map(disconnected).collect()
}

fn held(world: &World) -> u64 {
    world.shards.iter().map(|shard| shard.counters().receive_bytes_held).sum()
}

fn assert_vacant(world: &mut World) {
    world.advance(CLOSING_DEADLINE_MS + POLLING_CLOSE_DEADLINE_MS + 50_000);
    assert!(world.shards.iter().all(ringio_core::shard::Shard::is_vacant), "something is left");
}

#[test]
fn connection_request_head() {
    let mut world = World::new(1, small());
    let wire = world.connect(0);
    world.send(wire, b"GET /socket.io/?x=");
    dribble(&mut world, wire, REQUEST_HEAD_DEADLINE_MS, b"a");
    // Between requests it is the same state: from the last answer on.
    let wire = world.connect(0);
    world.advance(10_000);
    world.send(wire, b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\nG");
    dribble(&mut world, wire, REQUEST_HEAD_DEADLINE_MS, b"E");
    // A head without end is refused at its bound.
    let wire = world.connect(0);
    world.send(wire, b"GET / HTTP/1.1\r\nX: ");
    world.send(wire, &vec![b'x'; REQUEST_HEAD_BYTES_MAX]);
    assert_eq!(world.answer(wire).0, 431);
    assert_eq!(held(&world), 0);
    assert_vacant(&mut world);
}

#[test]
fn connection_body_of_a_post() {
    let mut world = World::new(1, small());
    let sid = world.polling(0);
    let wire = world.connect(0);
    let post = |length: &str| format!("POST {} HTTP/1.1\r\nHost: h\r\n{length}\r\n\r\n", polling_url(&sid));
    world.send(wire, post("Content-Length: 3200").as_bytes());
    let deadline = body_deadline_ms(Some(3_200), &small());
    assert_eq!(deadline, RECEIVE_DEADLINE_MS + 3_200 / RECEIVE_BYTES_PER_MS_MIN, "a long body may take longer");
    world.send(wire, &[b'x'; 10]);
    assert!(held(&world) < 100, "what is declared costs nothing before it comes: {}", held(&world));
    dribble(&mut world, wire, deadline, b"x");
    // Chunks say nothing of their sum, so they may take as long as the longest body.
    let chunked = |world: &mut World| {
        let sid = world.polling(0);
        let wire = world.connect(0);
        let head = format!("POST {} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", polling_url(&sid));
        world.send(wire, head.as_bytes());
        wire
    };
    let wire = chunked(&mut world);
    let deadline = body_deadline_ms(None, &small());
    assert_eq!(deadline, RECEIVE_DEADLINE_MS + 4_000 / RECEIVE_BYTES_PER_MS_MIN);
    dribble(&mut world, wire, deadline, b"1\r\nx\r\n");
    let wire = chunked(&mut world);
    world.send(wire, b"fa0\r\n4");
    assert!(held(&world) < 100, "nor does a chunk: {}", held(&world));
    let wire = chunked(&mut world);
    world.send(wire, format!("fa0\r\n{}", "x".repeat(4_000)).as_bytes());
    assert!(held(&world) < 2 * 4_000 + 100);
    world.send(wire, b"\r\n1\r\nx");
    assert_eq!(world.answer(wire).0, 413, "one byte more than the bound");
    assert_vacant(&mut world);
}

#[test]
fn connection_the_application_decides() {
    let hooks = Hooks { requests: true, ..Hooks::default() };
    let mut world = World::new(1, Options { hooks, ..small() });
    let wire = world.connect(0);
    world.send(wire, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n");
    for _ in 0..20 {
        world.send(wire, &[b'x'; 10_000]);
    }
    assert!(held(&world) < 2 * (4_000 + 16_384) + 1_000, "{}", held(&world));
    dribble(&mut world, wire, DECISION_DEADLINE_MS, b"x");
    assert_eq!(world.answer(wire).0, 503);
    assert_vacant(&mut world);
}

#[test]
fn connection_a_get_waits() {
    let mut world = World::new(1, small());
    let sid = world.polling(0);
    let wire = world.connect(0);
    world.send(wire, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    world.advance(24_999);
    assert_eq!(world.take(wire), b"");
    world.advance(1 + 25_000 / PING_MOMENTS);
    assert_eq!(world.answer(wire), (200, "2".into()), "the ping ends its wait");
    assert_eq!(world.get(0, &polling_url(&sid)).0, 0, "another one waits");
    world.advance(20_000);
    assert_eq!(world.shards[0].session_count(), 0, "no pong");
    let sid = world.polling(0);
    let wire = world.connect(0);
    world.send(wire, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    world.send(wire, &vec![b'x'; 16 << 10]);
    assert!(!world.is_over(wire));
    world.send(wire, b"x");
    assert!(world.is_over(wire), "more pipelined bytes than may wait");
    assert_vacant(&mut world);
}

/// A connection with an answer that its peer does not read, whose next request belongs to another shard.
fn stuck_and_moving(world: &mut World) -> Wire {
    let sid = world.polling(1);
    let wire = world.connect(0);
    world.stick(wire, true);
    world.send(wire, b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    world.send(wire, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    assert_eq!((world.shard_of(wire), world.is_over(wire)), (0, false));
    wire
}

#[test]
fn connection_moves_to_another_shard() {
    let mut world = World::new(2, small());
    let wire = stuck_and_moving(&mut world);
    for _ in 0..20 {
        world.send(wire, &[b'x'; 10_000]);
    }
    assert!(held(&world) < 2 * (4_000 + 16_384) + 1_000, "{}", held(&world));
    dribble(&mut world, wire, MOVING_DEADLINE_MS, b"x");
    // One that goes meanwhile is forgotten at once.
    let wire = stuck_and_moving(&mut world);
    world.end(wire);
    assert!(world.is_over(wire));
    // One that reads in the end is moved, and has its deadline there.
    let wire = stuck_and_moving(&mut world);
    world.stick(wire, false);
    world.run();
    assert_eq!(world.shard_of(wire), 1);
    world.advance(50_000);
    assert_vacant(&mut world);
}

#[test]
fn connection_answers_and_control_frames_unread() {
    let page = Asset {
        path: "/page".into(),
        content_type: "text/plain".into(),
        etag: "\"1\"".into(),
        body: Arc::from(vec![b'p'; 10_000]),
        encoded: Vec::new(),
    };
    let mut world = World::with_assets(1, small(), vec![page]);
    let wire = world.connect(0);
    world.stick(wire, true);
    let mut asked = 0;
    while !world.is_over(wire) {
        world.send(wire, b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n");
        asked += 1;
        assert!(asked * 10_000 < TRANSMIT_BYTES_MAX + 50_000, "answers without bound");
    }
    assert!(asked * 10_200 > TRANSMIT_BYTES_MAX, "as many as there is room for: {asked}");
    // Requests do not extend the time in which the first answer is to be read.
    let wire = world.connect(0);
    world.stick(wire, true);
    world.send(wire, b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    dribble(&mut world, wire, REQUEST_HEAD_DEADLINE_MS, b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    // Pings and probes are answered as long as somebody reads the answers.
    for (target, ask) in [("", frame(0x89, b"x")), ("&sid=", text("2probe"))] {
        let sid = if target.is_empty() { String::new() } else { world.polling(0) };
        let wire = world.connect(0);
        let transport = format!("/socket.io/?EIO=4&transport=websocket{target}{sid}");
        world.send(wire, &upgrade_request(&transport));
        world.stick(wire, true);
        let mut asked = 0;
        while !world.is_over(wire) {
            world.send(wire, &ask);
            asked += 1;
            assert!(asked <= TRANSMIT_FRAMES_MAX + 5, "{target}: control frames without bound");
        }
        assert!(asked > TRANSMIT_FRAMES_MAX, "{asked}");
    }
    world.advance(50_000);
    assert_vacant(&mut world);
}

#[test]
fn connection_websocket_half_a_message() {
    let mut world = World::new(1, small());
    let (wire, socket) = world.joined(0);
    // A frame whose bytes dribble in; a pong cannot come meanwhile, and a ping is not due yet.
    let half = frame(0x81, &[b'4'; 3_900]);
    world.send(wire, &half[..10]);
    let deadline = message_deadline_ms(&small());
    assert_eq!(deadline, 30_250);
    dribble(&mut world, wire, deadline, b"x");
    assert!(world.take_messages(wire).contains(&"close 1008".to_owned()));
    assert_eq!(reasons(&world), [DisconnectReason::TransportError]);
    assert!(!world.shards[0].is_connected(socket));
    // Fragments with pongs between them, and a whole message before: counted from the first byte of this message.
    let (wire, _) = world.joined(0);
    world.advance(9_000);
    let mut both = text("42[\"whole\"]");
    both.extend(frame(0x01, b"42[\"a\",\""));
    world.send(wire, &both);
    let mut fragment = frame(0x00, b"x");
    fragment.extend(frame(0x8a, b""));
    world.advance(16_000);
    world.send(wire, &fragment);
    world.advance(deadline - 16_000 - 1);
    assert!(!world.is_over(wire));
    world.advance(1);
    assert!(world.is_over(wire), "fragments without end");
    // A message that becomes whole leaves no deadline behind.
    let (wire, _) = world.joined(0);
    let whole = text("42[\"late\",1]");
    world.send(wire, &whole[..5]);
    world.advance(20_000);
    world.send(wire, &whole[5..]);
    for _ in 0..5 {
        world.advance(20_000);
        world.send(wire, &text("3"));
        assert!(!world.is_over(wire));
    }
    // What is declared costs a first piece of 64 KiB at most, before its bytes come.
    let mut large = World::new(1, Options::default());
    let (declares, _) = large.joined(0);
    large.send(declares, &frame(0x81, &[b'4'; 900_000])[..20]);
    assert!(held(&large) < (64 << 10) + 500, "{}", held(&large));
    // Its bytes are bounded by the size of a message.
    world.send(wire, &frame(0x01, &[b'a'; 3_000]));
    assert!(held(&world) < 2 * 4_000 + 200);
    world.send(wire, &frame(0x00, &[b'a'; 1_001]));
    assert!(world.take_messages(wire).contains(&"close 1009".to_owned()));
    assert_vacant(&mut world);
}

#[test]
fn connection_websocket_between_messages() {
    let mut world = World::new(1, small());
    let (wire, _) = world.joined(0);
    world.send(wire, &[text("42[\"one\"]"), frame(0x8a, b"a pong"), text("42[\"two\"]")].concat());
    assert_eq!(held(&world), 0, "nothing is kept of what was whole");
    world.advance(44_999);
    assert!(!world.is_over(wire));
    world.advance(1 + 25_000 / PING_MOMENTS);
    assert!(world.is_over(wire), "a ping and no pong");
    assert_eq!(reasons(&world), [DisconnectReason::PingTimeout]);
    assert_vacant(&mut world);
}

#[test]
fn connection_closing() {
    let mut world = World::new(1, small());
    let (wire, _) = world.joined(0);
    world.stick(wire, true);
    world.send(wire, &frame(0x88, b""));
    for _ in 0..20 {
        world.send(wire, &[b'x'; 10_000]);
    }
    assert_eq!((world.shards[0].connection_count(), held(&world)), (1, 0), "what still arrives is dropped");
    world.advance(CLOSING_DEADLINE_MS / 2);
    world.send(wire, b"x");
    world.advance(CLOSING_DEADLINE_MS / 2 - 1);
    assert_eq!(world.shards[0].connection_count(), 1);
    world.advance(1);
    assert_eq!(world.shards[0].connection_count(), 0, "what comes meanwhile does not extend it");
    assert!(world.shards[0].is_vacant());
}

/// Sends until the connection is closed: how much was read of it.
fn flood(world: &mut World, wire: Wire) -> u64 {
    let piece = [b'x'; 10_000];
    let mut sent = 0;
    while !world.is_closed(wire) {
        assert!(sent <= dropped_bytes_max(&small()) + 50_000, "read without end");
        world.send(wire, &piece);
        sent += piece.len() as u64;
    }
    sent
}

#[test]
fn connection_what_follows_a_refusal() {
    let mut world = World::new(1, small());
    let refused = |world: &mut World, bytes: &[u8]| {
        let wire = world.connect(0);
        world.send(wire, bytes);
        wire
    };
    let sid = world.polling(0);
    let post =
        |length: u64| format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n", polling_url(&sid));
    // A body twice as long as it may be is heard to its end, and its sender hears why.
    let wire = refused(&mut world, post(8_000).as_bytes());
    world.send(wire, &[b'x'; 8_000]);
    assert!(!world.is_closed(wire));
    assert_eq!(world.answer(wire).0, 413);
    // What goes on and on is read up to the bound, whatever it was.
    let long_head = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; REQUEST_HEAD_BYTES_MAX]].concat();
    for (bytes, status) in
        [(post(1 << 40).into_bytes(), 413), (b"? / HTTP/1.1\r\n\r\n".to_vec(), 400), (long_head, 431)]
    {
        let wire = refused(&mut world, &bytes);
        assert!(flood(&mut world, wire) > dropped_bytes_max(&small()), "{status}: cut too early");
        assert_eq!(world.answer(wire).0, status);
    }
    for last in [frame(0x88, b""), frame(0x81, &[b'4'; 4_001])] {
        let (wire, _) = world.joined(0);
        world.send(wire, &last);
        assert!(flood(&mut world, wire) > dropped_bytes_max(&small()));
    }
    assert_vacant(&mut world);
}

#[test]
fn connection_what_follows_while_nobody_may_read() {
    let hooks = Hooks { requests: true, ..Hooks::default() };
    let mut world = World::new(1, Options { hooks, ..small() });
    let wire = world.connect(0);
    world.send(wire, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut sent = 0;
    while !world.is_over(wire) {
        assert!(sent <= dropped_bytes_max(&small()) + 50_000, "read without end");
        world.send(wire, &[b'x'; 10_000]);
        sent += 10_000;
    }
    assert!(sent > dropped_bytes_max(&small()));
    assert_eq!((held(&world), world.answer(wire).0), (0, 413), "whatever will be decided");
    flood(&mut world, wire);
    assert_vacant(&mut world);
    let mut world = World::new(2, small());
    let wire = stuck_and_moving(&mut world);
    assert!(flood(&mut world, wire) > dropped_bytes_max(&small()));
    assert_vacant(&mut world);
}

#[test]
fn session_in_no_namespace_yet() {
    let mut world = World::new(1, small());
    world.decides = false;
    let wire = world.websocket(0);
    world.send(wire, &text("40/asked,"));
    world.advance(25_000);
    world.send(wire, &text("3"));
    world.advance(19_999);
    assert!(!world.is_over(wire));
    world.advance(1);
    assert!(world.is_over(wire), "in no namespace after connect_timeout_ms");
    // Requests that the application has not decided are bounded in number, and in bytes of auth.
    let wire = world.websocket(0);
    for index in 0..SOCKETS_PER_SESSION_MAX {
        world.send(wire, &text(&format!("40/{index},")));
    }
    assert!(!world.is_over(wire));
    world.send(wire, &text("40/more,"));
    assert!(world.is_over(wire));
    let wire = world.websocket(0);
    let auth = format!("{{\"a\":\"{}\"}}", "x".repeat(1_990));
    world.send(wire, &text(&format!("40/1,{auth}")));
    world.send(wire, &text(&format!("40/2,{auth}")));
    assert!(!world.is_over(wire));
    world.send(wire, &text("40/3,{\"a\":1}"));
    assert!(world.is_over(wire), "more auth than one message may hold");
    assert_vacant(&mut world);
}

#[test]
fn session_the_name_of_a_namespace() {
    let mut world = World::new(1, small());
    let name = |bytes: usize| format!("/{}", "n".repeat(bytes - 1));
    let wire = world.websocket(0);
    world.send(wire, &text(&format!("40{},", name(NAMESPACE_NAME_BYTES_MAX))));
    assert!(world.take_text(wire).contains("Invalid namespace"), "the application is asked");
    assert!(!world.is_over(wire));
    world.send(wire, &text(&format!("40{},", name(NAMESPACE_NAME_BYTES_MAX + 1))));
    assert!(!world.take_text(wire).contains("Invalid namespace"), "nobody is asked");
    assert!(world.is_over(wire));
    assert_vacant(&mut world);
}

#[test]
fn session_attachments_missing() {
    let mut world = World::new(1, Options { ping_timeout_ms: 60_000, ..small() });
    let (wire, _) = world.joined(0);
    world.send(wire, &text("453-[\"a\",{\"_placeholder\":true,\"num\":0}]"));
    let deadline = attachments_deadline_ms(&small());
    assert_eq!(deadline, RECEIVE_DEADLINE_MS + 44_000 / RECEIVE_BYTES_PER_MS_MIN);
    world.advance(20_000);
    world.send(wire, &binary(b"one of three"));
    world.advance(deadline - 20_000 - 1);
    assert!(!world.is_over(wire));
    world.advance(1);
    assert!(world.is_over(wire));
    assert!(world.heard.contains(&Heard::ProtocolError("attachments took too long")));
    // One that is whole in time leaves no deadline behind, nor does one whose session goes.
    let (wire, _) = world.joined(0);
    world.send(wire, &text("451-[\"a\",{\"_placeholder\":true,\"num\":0}]"));
    world.send(wire, &binary(b"x"));
    world.advance(deadline);
    assert!(!world.is_over(wire));
    world.send(wire, &text("452-[\"a\",{\"_placeholder\":true,\"num\":0}]"));
    world.end(wire);
    // As many as may come, each as long as it may be, are all that is kept; one more is not waited for.
    let (wire, _) = world.joined(0);
    world.send(wire, &text("4510-[\"a\",{\"_placeholder\":true,\"num\":0}]"));
    for _ in 0..9 {
        world.send(wire, &binary(&[0; 4_000]));
    }
    let unfinished = |world: &World| -> usize {
        let of_sessions = world.shards[0].all_sessions().filter_map(|(_, session)| session.unfinished.as_ref());
        of_sessions.map(|unfinished| unfinished.bytes_held()).sum()
    };
    let max = unfinished_bytes_max(&small()) as usize;
    assert!((9 * 4_000..=max).contains(&unfinished(&world)), "{} of {max}", unfinished(&world));
    world.end(wire);
    assert_eq!(unfinished(&world), 0);
    let (wire, _) = world.joined(0);
    world.send(wire, &text("4511-[\"a\",{\"_placeholder\":true,\"num\":0}]"));
    assert!(world.is_over(wire), "more than may come");
    assert_vacant(&mut world);
}

#[test]
fn session_probing() {
    let mut world = World::new(1, small());
    let sid = world.polling(0);
    let wire = world.connect(0);
    world.send(wire, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    dribble(&mut world, wire, 10_000, &text("2probe"));
    assert_eq!(world.shards[0].session_count(), 1, "the session lives on");
    world.advance(45_000);
    assert_vacant(&mut world);
}

#[test]
fn session_silent_or_not_reading() {
    let mut world = World::new(1, Options { outbox_bytes_max: 1_000, ..small() });
    let (wire, socket) = world.joined(0);
    world.stick(wire, true);
    world.advance(45_000 + 25_000 / PING_MOMENTS);
    assert_eq!(reasons(&world), [DisconnectReason::PingTimeout]);
    assert!(!world.shards[0].is_connected(socket));
    // Something else than a pong extends the timeout once.
    let (wire, _) = world.joined(0);
    world.advance(30_000);
    for _ in 0..19 {
        world.send(wire, &text("42[\"alive\"]"));
        world.advance(1_000);
    }
    world.advance(999);
    assert!(!world.is_over(wire));
    world.advance(1);
    assert!(world.is_over(wire));
    // Packets that nobody reads, up to the bound.
    let (wire, socket) = world.joined(0);
    world.stick(wire, true);
    let event = EventParts { json: b"[\"0123456789\"]", attachments: &[] };
    let mut bytes = 0;
    while world.shards[0].emit(socket, event, EmitFlags::default()).is_ok() {
        world.run();
        bytes = world.shards[0].outbox_bytes(socket).unwrap();
        assert!(bytes <= 1_000);
    }
    let packet = b"\x81\x1042[\"0123456789\"]".len();
    assert_eq!(
        bytes / packet,
        (1_000 + QUEUED_FRAME_BYTES) / (packet + QUEUED_FRAME_BYTES),
        "short packets count what they cost"
    );
    world.end(wire);
    assert_vacant(&mut world);
}

#[test]
fn session_closing_and_closed() {
    let mut world = World::new(1, small());
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "40");
    let socket = world.last_connected();
    world.shards[0].disconnect(socket, true);
    world.run();
    world.advance(POLLING_CLOSE_DEADLINE_MS - 1);
    assert_eq!(world.shards[0].session_count(), 1);
    world.advance(1);
    assert_eq!(world.shards[0].session_count(), 0, "nobody fetched its last packets");
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "1");
    world.advance(CLOSED_GRACE_MS - 1);
    assert_eq!(world.shards[0].session_count(), 1);
    world.advance(1);
    assert_eq!(world.shards[0].session_count(), 0);
    assert_vacant(&mut world);
}

/// A body of the shortest events makes the queue to the application long; it does not stay so.
#[test]
fn a_long_queue_of_events_gives_its_memory_back() {
    let mut shard = shard_with(Options { engine_only: true, ..Options::default() });
    let key = shard.handle_accepted(ringio_core::base::time::Time::ZERO, ringio_core::base::id::FileId(0), None, false);
    let now = ringio_core::base::time::Time::ZERO;
    let mut open = upgrade_request("/socket.io/?EIO=4&transport=websocket");
    shard.handle_received(now, key, &mut open);
    let mut messages: Vec<u8> = (0..10 * EVENTS_KEPT_MAX).flat_map(|_| text("4")).collect();
    shard.handle_received(now, key, &mut messages);
    assert!(shard.event_capacity() >= 10 * EVENTS_KEPT_MAX);
    let mut count = 0;
    while let Some(event) = shard.poll_event() {
        count += usize::from(matches!(event, Event::EngineMessage { .. }));
    }
    assert_eq!(count, 10 * EVENTS_KEPT_MAX);
    assert!(shard.event_capacity() <= 2 * EVENTS_KEPT_MAX, "{}", shard.event_capacity());
}

/// The sum has every term: it moves with each option it depends on, and is never less than what one client was seen to hold.
#[test]
fn the_worst_case_is_the_sum_of_the_bounds() {
    let base = worst_case(&Options::default());
    let with = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        worst_case(&options)
    };
    let larger = with(|options| options.max_http_buffer_size += 1_000);
    assert_eq!(larger.connection_bytes - base.connection_bytes, 2_000);
    assert_eq!(larger.session_bytes - base.session_bytes, 1_000 * (1 + 1 + 2 * 11 + 1 + 1));
    let more = with(|options| options.outbox_bytes_max += 64_000);
    assert_eq!(more.session_bytes - base.session_bytes, 64_000 + 1_000 * 256);
    let parts = with(|options| options.attachments_max += 1);
    assert_eq!(parts.session_bytes - base.session_bytes, 2_000_000);
    let kept = with(|options| options.recovery = Some(RecoveryOptions::default()));
    let more = with(|options| {
        options.recovery = Some(RecoveryOptions { bytes_max: (64 << 20) + 1_000, ..RecoveryOptions::default() });
    });
    assert_eq!(more.shard_bytes - kept.shard_bytes, 2_000, "the log, and what was sent again");
    assert!(kept.shard_bytes - base.shard_bytes > 2 * (64 << 20) + 100_000 * 1_280);
    // TLS and the driver are added by the runtime, and by its tests.
    assert_eq!((base.tls_bytes, base.driver_bytes), (0, 0));
    let whole = WorstCase { tls_bytes: 10, driver_bytes: 5, ..base };
    let total = whole.total(1_000, 4);
    assert_eq!(total, 1_000 * (base.connection_bytes + base.session_bytes) + 4 * (base.shard_bytes + 5));
    assert_eq!(whole.over_tls().total(1_000, 4) - total, 10_000);
    assert_eq!(whole.total(u64::MAX, 4), u64::MAX, "no overflow");
}
