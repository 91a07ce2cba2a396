//! Sessions over polling, WebSocket and upgrades: what the Node.js server does, byte by byte.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::door::DisconnectReason;
use ringio_core::limits::OPEN_HELD_MS;
use ringio_core::options::Options;
use world::{Heard, World, frame, polling_url, post_request, text, upgrade_request};

fn reasons(world: &World) -> Vec<&'static str> {
    let disconnected =
        |heard: &Heard| if let Heard::Disconnected(_, reason, _) = heard { Some(reason.as_str()) } else { None };
    world.heard.iter().filter_map(disconnected).collect()
}

#[test]
fn a_polling_session_talks_and_is_gone_afterwards() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    let url = polling_url(&sid);
    assert_eq!(world.post(0, &url, "40"), (200, "ok".into()));
    let (status, body) = world.get(0, &url);
    assert_eq!((status, &body[..10]), (200, "40{\"sid\":\""), "the connect answer");
    assert_eq!(world.post(0, &url, "42[\"a\",1]\u{1e}42[\"b\",{\"c\":[2]}]"), (200, "ok".into()));
    let names: Vec<_> =
        world.heard[1..].iter().map(|heard| format!("{heard:?}").split_once(", ").unwrap().1.to_owned()).collect();
    assert!(names[0].ends_with("\"a\", \"1\")"), "{names:?}");
    assert!(names[1].contains("\"b\""), "{names:?}");
    assert_eq!(world.post(0, &url, "1"), (200, "ok".into()));
    assert_eq!(reasons(&world), ["transport close"]);
    world.advance(40_000);
    assert_eq!(world.get(0, &url).0, 400);
    world.advance(40_000);
    assert!(world.shards[0].is_vacant());
}

#[test]
fn a_get_waits_until_there_is_something() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "40");
    world.get(0, &polling_url(&sid));
    let wire = world.connect(0);
    world.send(wire, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    assert_eq!(world.take(wire), b"");
    let socket = world.last_connected();
    world.emit(0, socket, "[\"one\"]").unwrap();
    world.emit(0, socket, "[\"two\"]").unwrap();
    world.run();
    assert_eq!(world.answer(wire), (200, "42[\"one\"]\u{1e}42[\"two\"]".into()));
    // Keep-alive: the same connection polls again.
    world.send(wire, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    world.emit(0, socket, "[\"three\"]").unwrap();
    world.run();
    assert_eq!(world.answer(wire), (200, "42[\"three\"]".into()));
}

#[test]
fn second_get_closes_the_session() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    let request = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid));
    let (first, second) = (world.connect(0), world.connect(0));
    world.send(first, request.as_bytes());
    world.send(second, request.as_bytes());
    assert_eq!(world.answer(second), (400, String::new()));
    assert_eq!(world.answer(first), (200, "1".into()));
    assert_eq!(world.get(0, &polling_url(&sid)).0, 400);
}

#[test]
fn a_cancelled_get_ends_the_session() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "40");
    world.get(0, &polling_url(&sid));
    let wire = world.connect(0);
    world.send(wire, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    world.end(wire);
    assert_eq!(reasons(&world), ["transport error"]);
}

#[test]
fn refusals_are_those_of_node() {
    let mut world = World::new(1, Options { max_http_buffer_size: 100, ..Options::default() });
    let unknown = "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA";
    let json = |code: u8, message: &str| (400, format!("{{\"code\":{code},\"message\":\"{message}\"}}"));
    assert_eq!(world.get(0, "/socket.io/?EIO=4&transport=carrier-pigeon"), json(0, "Transport unknown"));
    assert_eq!(world.get(0, "/socket.io/?EIO=4"), json(0, "Transport unknown"));
    assert_eq!(world.get(0, unknown), json(1, "Session ID unknown"));
    assert_eq!(world.get(0, "/socket.io/?EIO=4&transport=polling&sid=x"), json(1, "Session ID unknown"));
    assert_eq!(world.post(0, "/socket.io/?EIO=4&transport=polling", "40"), json(2, "Bad handshake method"));
    assert_eq!(world.get(0, "/socket.io/?EIO=4&transport=websocket"), json(3, "Bad request"));
    assert_eq!(world.get(0, "/socket.io/?transport=polling"), json(5, "Unsupported protocol version"));
    assert_eq!(world.get(0, "/nothing/here").0, 404);
    assert_eq!(world.get(0, "/socket.io?EIO=4&transport=polling").0, 404, "the path is a prefix with its slash");
    let sid = world.polling(0);
    assert_eq!(world.post(0, &polling_url(&sid), &"x".repeat(101)), (413, String::new()), "too large");
    assert_eq!(
        world.post(0, &polling_url(&sid), "2"),
        (200, "ok".into()),
        "the session lives, until this ping in the wrong direction"
    );
    assert_eq!(world.get(0, &polling_url(&sid)).0, 400);
    let wire = world.connect(0);
    world.send(wire, b"NOT HTTP AT ALL\r\n\r\n");
    assert_eq!(world.answer(wire).0, 400);
    assert!(world.is_over(wire));
    let sid = world.polling(0);
    let wire = world.connect(0);
    world.send(wire, format!("PUT {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    assert_eq!(world.answer(wire), (500, String::new()));
}

/// Found by the oracle: for a second, requests that no client sends before its goodbye were answered as if the session were there.
#[test]
fn of_a_session_that_is_over_only_a_late_poll_is_answered() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "1");
    let unknown = (400, r#"{"code":1,"message":"Session ID unknown"}"#.to_owned());
    for query in ["EIO=4&transport=websocket", "EIO=3&transport=polling"] {
        assert_eq!(world.get(0, &format!("/socket.io/?{query}&sid={sid}")), unknown, "{query}");
    }
    assert_eq!(world.post(0, &polling_url(&sid), "40"), unknown);
    assert_eq!(world.get(0, &polling_url(&sid)), (200, "6".to_owned()), "it may have been sent before");
}

#[test]
fn a_websocket_of_another_protocol_is_told_after_its_handshake() {
    let mut world = World::new(1, Options::default());
    let wire = world.connect(0);
    world.send(wire, &upgrade_request("/socket.io/?EIO=3&transport=websocket"));
    let answer = world.take_text(wire);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.ends_with("Unsupported protocol version"), "{answer}");
    assert!(world.is_over(wire));
}

#[test]
fn a_client_of_revision_3_hears_open_a_moment_after_its_websocket_is_open() {
    let mut world = World::new(1, Options { allow_eio3: true, ..Options::default() });
    let wire = world.connect(0);
    world.send(wire, &upgrade_request("/socket.io/?EIO=3&transport=websocket"));
    let answer = world.take_text(wire);
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"), "the 101 alone: {answer}");
    world.send(wire, &text("2"));
    world.advance(OPEN_HELD_MS - 1);
    assert_eq!(world.take(wire), b"", "nothing overtakes the OPEN");
    world.advance(1);
    let heard = world.take_messages(wire);
    assert!(heard[0].starts_with("0{"), "{heard:?}");
    assert_eq!(heard[1..], ["40", "3"]);

    // One that leaves before loses nothing that anybody else would miss.
    let hasty = world.connect(0);
    world.send(hasty, &upgrade_request("/socket.io/?EIO=3&transport=websocket"));
    world.end(hasty);
    world.advance(60_000);
    assert_eq!(reasons(&world), ["transport close", "ping timeout"]);
    world.advance(60_000);
    assert!(world.shards[0].is_vacant());
}

#[test]
fn a_session_that_ends_ends_its_post_and_its_upgrade() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    let url = polling_url(&sid);
    world.post(0, &url, "40");
    world.get(0, &url);
    let socket = world.last_connected();
    let upgrading = world.connect(0);
    world.send(upgrading, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    assert!(world.take(upgrading).starts_with(b"HTTP/1.1 101 "));
    world.send(upgrading, &text("2probe"));
    assert_eq!(world.take_messages(upgrading), ["3probe"]);
    let posting = world.connect(0);
    world.send(posting, format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n42[").as_bytes());
    world.emit(0, socket, "[\"last words\"]").unwrap();
    world.shards[0].disconnect(socket, true);
    world.run();
    assert!(!world.is_over(upgrading), "as in Node, the WebSocket that probed may still finish its upgrade");
    let (status, body) = world.get(0, &url);
    assert_eq!((status, body.as_str()), (200, "42[\"last words\"]\u{1e}41"), "what was queued is fetched");
    assert!(world.is_over(posting), "the rest of the body would have had no reader");
    assert_eq!(world.get(0, &url).0, 400, "without it there is no session");
    assert!(world.is_over(upgrading), "the WebSocket goes with the session");
    world.advance(60_000);
    assert!(world.shards[0].is_vacant());
}

#[test]
fn an_upgrade_loses_nothing_and_doubles_nothing() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    let url = polling_url(&sid);
    world.post(0, &url, "40");
    world.get(0, &url);
    let socket = world.last_connected();
    let poll = world.connect(0);
    world.send(poll, format!("GET {url} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    let websocket = world.connect(0);
    world.send(websocket, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    assert!(world.take(websocket).starts_with(b"HTTP/1.1 101 "));
    world.send(websocket, &text("2probe"));
    assert_eq!(world.take_messages(websocket), ["3probe"]);
    assert_eq!(world.answer(poll), (200, "6".into()), "the waiting GET returns");
    // It may poll again before it has read 3probe: the noop is repeated.
    world.send(poll, format!("GET {url} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    world.emit(0, socket, "[\"still polling\"]").unwrap();
    world.run();
    assert_eq!(world.answer(poll), (200, "42[\"still polling\"]".into()));
    world.send(poll, format!("GET {url} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    world.advance(100);
    assert_eq!(world.answer(poll), (200, "6".into()));
    world.emit(0, socket, "[\"queued\"]").unwrap();
    world.send(websocket, &text("5"));
    world.emit(0, socket, "[\"after\"]").unwrap();
    world.run();
    assert_eq!(world.take_messages(websocket), ["42[\"queued\"]", "42[\"after\"]"]);
    assert_eq!(world.get(0, &url), (400, "{\"code\":3,\"message\":\"Bad request\"}".into()), "polling is over");
    // A second WebSocket with the same sid is closed without a status, the session is not touched.
    let second = world.connect(0);
    world.send(second, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    assert!(world.is_over(second));
    world.send(websocket, &text("42[\"alive\"]"));
    assert!(matches!(world.heard.last(), Some(Heard::Message(_, name, _)) if name == "alive"));
}

#[test]
fn a_get_that_waits_at_the_switch_hears_the_close_packet() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    let websocket = world.connect(0);
    world.send(websocket, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    world.send(websocket, &text("2probe"));
    let poll = world.connect(0);
    world.send(poll, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    world.send(websocket, &text("5"));
    assert_eq!(world.answer(poll), (200, "1".into()));
}

#[test]
fn a_bad_probe_ends_only_its_websocket() {
    for bad in [text("2nonsense"), frame(0x82, &[1]), frame(0x81, b"")] {
        let mut world = World::new(1, Options::default());
        let sid = world.polling(0);
        let websocket = world.connect(0);
        world.send(websocket, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
        world.send(websocket, &bad);
        assert!(world.is_over(websocket));
        assert_eq!(world.post(0, &polling_url(&sid), "40"), (200, "ok".into()), "the session goes on");
        assert_eq!(world.get(0, &polling_url(&sid)).0, 200);
    }
}

/// Found by the oracle: half a POST outlived the upgrade, was handled when it was whole, and ended the session if it broke.
#[test]
fn half_a_post_is_cut_off_by_the_upgrade() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "40");
    let half = world.connect(0);
    let request = post_request(&polling_url(&sid), "42[\"late\"]");
    world.send(half, &request.as_bytes()[..request.len() - 3]);
    let websocket = world.connect(0);
    world.send(websocket, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    world.send(websocket, &text("5"));
    world.run();
    assert!(world.is_over(half), "what is missing of it has nowhere to go");
    assert!(reasons(&world).is_empty());
    world.send(websocket, &text("421[\"here\"]"));
    assert!(matches!(world.heard.last(), Some(Heard::Message(_, name, _)) if name == "here"));
}

/// Found by the oracle: half a POST outlived its session by 20 s, if it began when that was already closing.
#[test]
fn half_a_post_goes_with_a_session_that_was_closing() {
    let mut world = World::new(1, Options::default());
    let url = polling_url(&world.polling(0));
    world.post(0, &url, "40");
    world.get(0, &url);
    world.post(0, &url, "41/strange,");
    let half = world.connect(0);
    let request = post_request(&url, "42[\"late\"]");
    world.send(half, &request.as_bytes()[..request.len() - 3]);
    assert!(!world.is_over(half));
    assert_eq!(world.get(0, &url), (200, "6\u{1e}1".into()));
    assert!(world.is_over(half));

    // One that had begun is cut off by the end itself, if nothing is left to be fetched, and takes the session with it.
    let sid = world.polling(0);
    let url = polling_url(&sid);
    world.post(0, &url, "40");
    world.get(0, &url);
    let half = world.connect(0);
    let request = post_request(&url, "42[\"late\"]");
    world.send(half, &request.as_bytes()[..request.len() - 3]);
    let session = world.shards[0].session_of(world.last_connected()).unwrap();
    world.shards[0].close_session_by_hand(session, false);
    world.run();
    assert!(world.is_over(half));
    assert_eq!(world.get(0, &url).0, 400);
}

#[test]
fn an_upgrade_that_never_ends_is_given_up() {
    let mut world = World::new(1, Options { upgrade_timeout_ms: 500, ..Options::default() });
    let sid = world.polling(0);
    let websocket = world.connect(0);
    world.send(websocket, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    world.advance(499);
    assert!(!world.is_over(websocket));
    world.advance(1);
    assert!(world.is_over(websocket));
    assert_eq!(world.post(0, &polling_url(&sid), "40"), (200, "ok".into()));
}

#[test]
fn the_heartbeat_ends_a_silent_client_and_keeps_a_living_one() {
    let mut world = World::new(1, Options { ping_interval_ms: 300, ping_timeout_ms: 200, ..Options::default() });
    let (silent, _) = world.joined(0);
    let (alive, _) = world.joined(0);
    world.advance(299);
    assert!(world.take_messages(alive).is_empty(), "not before the interval");
    for _ in 0..5 {
        world.advance(1);
        assert_eq!(world.take_messages(alive), ["2"]);
        world.advance(100);
        world.send(alive, &text("3"));
        world.advance(299);
        assert!(world.take_messages(alive).is_empty(), "the pong starts the interval again");
    }
    assert_eq!(world.take_messages(silent), ["2", "close 1005"]);
    assert_eq!(reasons(&world), ["ping timeout"]);
}

#[test]
fn a_pong_that_nobody_asked_for_starts_the_interval_again() {
    let mut world = World::new(1, Options { ping_interval_ms: 300, ping_timeout_ms: 200, ..Options::default() });
    let (wire, _) = world.joined(0);
    for _ in 0..5 {
        world.advance(200);
        world.send(wire, &text("3"));
    }
    world.advance(299);
    assert!(world.take_messages(wire).is_empty(), "each of them was before the ping");
    world.advance(1);
    assert_eq!(world.take_messages(wire), ["2"]);
}

#[test]
fn pings_that_fall_due_soon_after_each_other_are_sent_at_one_moment() {
    let mut world = World::new(1, Options::default());
    let mut now = 30;
    world.advance(now);
    let mut wires = Vec::new();
    for _ in 0..3 {
        wires.push(world.joined(0).0);
        world.advance(8);
        now += 8;
    }
    // At 30, 38 and 46 ms; an interval of 25,000 ms has moments every 24 ms, of which 25,032 and 25,056 are two.
    for (at, pinged) in [(25_031, [0, 0, 0]), (25_032, [1, 0, 0]), (25_055, [0, 0, 0]), (25_056, [0, 1, 1])] {
        world.advance(at - now);
        now = at;
        assert_eq!(wires.iter().map(|wire| world.take_messages(*wire).len()).collect::<Vec<_>>(), pinged, "at {at} ms");
    }
}

#[test]
fn a_ping_from_the_client_goes_in_the_wrong_direction() {
    let mut world = World::new(1, Options::default());
    let (wire, _) = world.joined(0);
    world.send(wire, &text("2"));
    assert_eq!(reasons(&world), ["transport error"]);
    assert!(world.is_over(wire));
}

#[test]
fn broken_frames_get_their_close_code() {
    let cases: [(&[u8], &str); 5] = [
        (&[0x81, 0x02, b'4', b'0'], "close 1002"),
        (&frame(0xc1, b"40"), "close 1002"),
        (&frame(0x83, b""), "close 1002"),
        (&frame(0x81, &[0xff, 0xfe]), "close 1007"),
        (&frame(0x82, &[0; 200]), "close 1009"),
    ];
    for (bytes, expected) in cases {
        let mut world = World::new(1, Options { max_http_buffer_size: 150, ..Options::default() });
        let (neighbour, _) = world.joined(0);
        let (wire, _) = world.joined(0);
        world.send(wire, bytes);
        assert_eq!(world.take_messages(wire), [expected]);
        assert_eq!(reasons(&world), ["transport error"]);
        world.send(neighbour, &text("42[\"fine\"]"));
        assert!(
            matches!(world.heard.last(), Some(Heard::Message(_, name, _)) if name == "fine"),
            "a neighbour is not disturbed"
        );
    }
}

#[test]
fn an_undecodable_packet_is_a_parse_error() {
    let mut world = World::new(1, Options::default());
    let (wire, _) = world.joined(0);
    world.send(wire, &text("abc"));
    assert_eq!(reasons(&world), ["parse error"]);
    let sid = world.polling(0);
    assert_eq!(world.post(0, &polling_url(&sid), "abc"), (200, "ok".into()));
    assert_eq!(world.get(0, &polling_url(&sid)).0, 400);
}

#[test]
fn a_request_finds_its_session_from_any_shard() {
    let mut world = World::new(3, Options::default());
    let sid = world.polling(1);
    for shard in 0..3 {
        assert_eq!(
            world.post(shard, &polling_url(&sid), if shard == 0 { "40" } else { "42[\"x\"]" }),
            (200, "ok".into()),
            "shard {shard}"
        );
    }
    let wire = world.connect(2);
    let request = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid));
    for half in request.as_bytes().chunks(7) {
        world.send(wire, half);
    }
    assert_eq!(world.shard_of(wire), 1, "the connection has moved");
    assert!(world.answer(wire).1.starts_with("40{\"sid\""));
    let websocket = world.connect(0);
    world.send(websocket, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    assert_eq!(world.shard_of(websocket), 1);
    world.take(websocket);
    world.send(websocket, &text("2probe"));
    assert_eq!(world.take_messages(websocket), ["3probe"]);
    assert_eq!(world.shards[0].counters().connections_moved, 2);
}

#[test]
fn every_way_to_split_a_conversation_gives_the_same_events() {
    let conversation: Vec<u8> = [upgrade_request("/socket.io/?EIO=4&transport=websocket"), text("40")].concat();
    let rest: Vec<u8> = [
        text("42[\"one\",{\"a\":\"\u{e9}\u{20ac}\"}]"),
        frame(0x89, b"hi"),
        frame(0x01, b"42[\"frag"),
        frame(0x8a, b""),
        frame(0x80, b"mented\"]"),
        text("451-[\"bin\",{\"_placeholder\":true,\"num\":0}]"),
        frame(0x82, &[7, 8, 9]),
        text("421[\"ack\",\"me\"]"),
    ]
    .concat();
    let play = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut world = World::new(1, Options::default());
        let wire = world.connect(0);
        for byte in conversation.iter() {
            world.send(wire, &[*byte]);
        }
        let greeting = world.take(wire).len();
        for chunk in chunks {
            world.send(wire, chunk);
        }
        (world.heard.clone(), world.take_messages(wire), greeting)
    };
    let whole = play(&mut std::iter::once(&rest[..]));
    assert_eq!(whole.1, ["pong [68, 69]", "431[\"me\"]"]);
    assert_eq!(whole.0.len(), 1 + 5, "{:?}", whole.0);
    let bytewise = play(&mut rest.chunks(1));
    assert_eq!(bytewise, whole);
    for at in 1..rest.len() {
        let (head, tail) = rest.split_at(at);
        assert_eq!(play(&mut [head, tail].into_iter()), whole, "split at {at}");
    }
}

#[test]
fn dribbled_heads_and_bodies_meet_an_absolute_deadline() {
    let mut world = World::new(1, Options::default());
    let wire = world.connect(0);
    for _ in 0..19 {
        world.send(wire, b"G");
        world.advance(1_000);
        assert!(!world.is_over(wire));
    }
    world.advance(1_000);
    assert!(world.is_over(wire), "20 s after it connected, however busy it was");
    let sid = world.polling(0);
    let wire = world.connect(0);
    world.send(
        wire,
        format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n", polling_url(&sid)).as_bytes(),
    );
    for _ in 0..31 {
        world.send(wire, b"x");
        world.advance(1_000);
    }
    assert!(world.is_over(wire));
    assert_eq!(world.get(0, &polling_url(&sid)).0, 400, "its session ends with it");
}

#[test]
fn closing_all_tells_everybody_and_leaves_nothing() {
    let mut world = World::new(1, Options::default());
    let (wire, _) = world.joined(0);
    let sid = world.polling(0);
    let poll = world.connect(0);
    world.send(poll, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    world.shards[0].close_all();
    world.run();
    assert_eq!(world.take_messages(wire), ["close 1005"]);
    assert_eq!(world.answer(poll), (200, "1".into()));
    assert_eq!(reasons(&world), [DisconnectReason::ServerShuttingDown.as_str()]);
    world.advance(25_000);
    assert!(world.shards[0].is_vacant());
}

#[test]
fn an_event_in_front_of_a_close_or_a_broken_frame_is_still_answered() {
    let broken = frame(0xb1, b"reserved bits");
    let close_frame = frame(0x88, &1001_u16.to_be_bytes());
    for (last, closed) in [(close_frame, "close 1001"), (broken, "close 1002"), (text("1"), "close 1005")] {
        let mut world = World::new(1, Options::default());
        let (wire, _) = world.joined(0);
        world.send(wire, &[text("427[\"last words\"]"), last, text("428[\"too late\"]")].concat());
        assert_eq!(world.take_messages(wire), ["437[]", closed]);
        assert!(world.is_over(wire));
        let messages = world.heard.iter().filter(|heard| matches!(heard, Heard::Message(..))).count();
        assert_eq!(messages, 1, "what comes after the end is not read");
        assert!(matches!(world.heard.last(), Some(Heard::Disconnected(..))));
    }
}

#[test]
fn what_waits_when_the_server_stops_is_discarded() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "40");
    world.get(0, &polling_url(&sid));
    let polling = world.last_connected();
    world.emit(0, socket, "[\"unheard\"]").unwrap();
    world.emit(0, polling, "[\"unheard\"]").unwrap();
    world.shards[0].close_all();
    world.run();
    assert_eq!(world.take_messages(wire), ["close 1005"], "as Node's `close`, which waits for nobody");
    assert!(world.is_over(wire));
    assert_eq!(reasons(&world), ["server shutting down"; 2]);
    world.shards[0].abandon_connections();
    world.run();
    world.advance(60_000);
    assert!(world.shards[0].is_vacant());
}
