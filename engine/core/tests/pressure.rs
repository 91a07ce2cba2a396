//! Memory is short: newcomers are refused, logs go before clients, those who hold most go first, and nothing of anybody stays.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use bytes::Bytes;
use ringio_core::base::id::{NamespaceId, SocketKey};
use ringio_core::door::{DisconnectReason, EmitFlags, EventParts};
use ringio_core::limits::SHED_BYTES_MIN;
use ringio_core::options::{Hooks, Options, RecoveryOptions};
use ringio_core::room::select::Target;
use ringio_core::shard::pressure::{Pressure, Shed};
use world::{Heard, Wire, World, binary, frame, polling_url, text, upgrade_request};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A client that takes nothing; so many bytes of its own wait for it, in packets of this size.
fn stuck(world: &mut World, packets: usize, bytes: usize) -> (Wire, SocketKey) {
    let (wire, socket) = world.joined(0);
    world.stick(wire, true);
    let json = format!("[\"{}\"]", "x".repeat(bytes));
    // The first is in flight.
    for _ in 0..=packets {
        world.emit(0, socket, &json).unwrap();
        world.run();
    }
    (wire, socket)
}

fn ended(world: &World) -> Vec<SocketKey> {
    let of = |heard: &Heard| match heard {
        Heard::Disconnected(socket, DisconnectReason::OutboxFull, _) => Some(*socket),
        _ => None,
    };
    world.heard.iter().filter_map(of).collect()
}

fn assert_vacant(mut world: World) {
    world.advance(200_000);
    assert!(world.shards.iter().all(ringio_core::shard::Shard::is_vacant), "something is left");
}

#[test]
fn newcomers_are_refused_while_memory_is_short_and_let_in_afterwards() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    let sid = world.polling(0);
    let before = world.shards[0].reserved_bytes();
    assert!(world.shards[0].set_pressure(Pressure::Short), "unused memory goes back");
    assert!(world.shards[0].reserved_bytes() <= before);
    assert!(!world.shards[0].set_pressure(Pressure::Short), "once");
    let refused = world.connect(0);
    world.send(refused, format!("GET {POLLING} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    let answer = world.take_text(refused);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
    let refused = world.connect(0);
    world.send(refused, &upgrade_request("/socket.io/?EIO=4&transport=websocket"));
    assert_eq!(world.answer(refused).0, 503);
    // Those who are in go on, polls and upgrades among it.
    world.send(wire, &text("42[\"still here\"]"));
    assert!(world.heard.contains(&Heard::Message(socket, "still here".into(), String::new())));
    assert_eq!(world.post(0, &polling_url(&sid), "40").0, 200);
    let upgrade = world.connect(0);
    world.send(upgrade, &upgrade_request(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")));
    assert!(world.take(upgrade).starts_with(b"HTTP/1.1 101 "));
    // Over its bound the process takes no connection at all.
    assert!(!world.shards[0].set_pressure(Pressure::Over), "nothing more to give back");
    assert!(!world.shards[0].admits(None));
    world.shards[0].set_pressure(Pressure::Short);
    assert!(world.shards[0].admits(None));
    assert_eq!(world.get(0, POLLING).0, 503);
    world.shards[0].set_pressure(Pressure::Calm);
    world.polling(0);
    let counters = world.shards[0].counters();
    assert_eq!((counters.shed_handshakes, counters.sessions_refused), (3, 3));
    assert_eq!((counters.shed_connections, counters.connections_refused, counters.shed_pools), (1, 1, 1));
    assert_eq!((counters.shed_sessions, counters.shed_bytes), (0, 0));
    assert_vacant(world);
}

#[test]
fn those_who_hold_most_go_first_and_small_holders_stay() {
    let mut world = World::new(1, Options::default());
    let (small, _) = stuck(&mut world, 3, 10_000);
    let (_, middle) = stuck(&mut world, 10, 20_000);
    let (_, large) = stuck(&mut world, 10, 100_000);
    let (_, medium) = stuck(&mut world, 10, 30_000);
    let shed = world.shed(0, 0);
    assert_eq!(shed.claimed_bytes, 0);
    assert!((1_650_000..1_660_000).contains(&shed.left_bytes), "what is in flight counts: {shed:?}");
    assert!(ended(&world).is_empty(), "nothing was asked for");
    let shed = world.shed(0, 1);
    assert_eq!(ended(&world), [large]);
    assert!((1_100_000..1_110_000).contains(&shed.claimed_bytes) && shed.left_bytes < 560_000, "{shed:?}");
    let shed = world.shed(0, 400_000);
    assert_eq!(ended(&world), [large, medium, middle]);
    assert!(shed.claimed_bytes > 500_000);
    // Less than the floor is not worth a client, whatever is asked for.
    assert_eq!(world.shed(0, u64::MAX), Shed::default());
    assert!(!world.is_over(small));
    assert_eq!(world.shards[0].session_count(), 1);
    assert_eq!(world.shards[0].connection_count(), 1, "who is stuck hears nothing: what was in flight is free at once");
    let counters = world.shards[0].counters();
    assert_eq!((counters.shed_sessions, counters.slow_closed), (3, 0));
    assert!((1_600_000..1_670_000).contains(&counters.shed_bytes));
    assert_vacant(world);
}

/// Half a message, half a body, attachments that do not come, answers unread, a backlog, an auth: all of it is held.
#[test]
fn unfinished_input_counts_wherever_it_waits() {
    const BYTES: usize = 100_000;
    let long = "x".repeat(BYTES);
    let mut world =
        World::new(1, Options { hooks: Hooks { handshakes: true, ..Hooks::default() }, ..Options::default() });
    let deciding = world.connect(0);
    world.send(deciding, format!("GET {POLLING} HTTP/1.1\r\nHost: h\r\n\r\n{long}").as_bytes());
    let shed = world.shed(0, 1);
    assert!(world.is_over(deciding) && shed.claimed_bytes >= BYTES as u64, "{shed:?}");
    assert_eq!((world.shards[0].counters().shed_requests, world.shards[0].counters().shed_sessions), (1, 0));
    assert_vacant(world);
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    let posting = world.connect(0);
    let head = format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n", polling_url(&sid));
    world.send(posting, format!("{head}{long}").as_bytes());
    let (half, _) = world.joined(0);
    let whole = frame(0x81, format!("42[\"{}\"]", "x".repeat(2 * BYTES)).as_bytes());
    world.send(half, &whole[..BYTES + 1_000]);
    let (missing, _) = world.joined(0);
    world.send(missing, &text("452-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]"));
    world.send(missing, &binary(&vec![7; BYTES + 2_000]));
    world.decides = false;
    let asking = world.websocket(0);
    world.send(asking, &text(&format!("40/asked,{{\"a\":\"{}\"}}", "x".repeat(BYTES + 3_000))));
    world.decides = true;
    let unread = world.connect(0);
    world.stick(unread, true);
    let all = world.shed(0, 0).left_bytes;
    assert!((4 * BYTES as u64 + 6_000..7 * BYTES as u64).contains(&all), "{all}");
    assert_eq!(world.shed(0, u64::MAX).claimed_bytes, all);
    assert_eq!(world.shards[0].session_count(), 0);
    for wire in [posting, half, missing, asking] {
        assert!(world.is_over(wire));
    }
    assert!(!world.is_over(unread));
    assert!(world.take_messages(half).contains(&"close 1005".to_owned()), "who reads is told");
    assert_eq!(world.shards[0].counters().receive_bytes_held, 0);
    assert_vacant(world);
}

/// What waits for everybody is not what one client makes the server keep.
#[test]
fn shared_frames_count_by_their_share() {
    let mut world = World::new(1, Options::default());
    let receivers: Vec<(Wire, SocketKey)> = (0..20).map(|_| stuck(&mut world, 0, 10)).collect();
    let (_, greedy) = stuck(&mut world, 2, 200_000);
    let json = format!("[\"{}\"]", "x".repeat(500_000));
    let event = EventParts { json: json.as_bytes(), attachments: &[] };
    world.shards[0].broadcast(NamespaceId(0), "/", &Target::default(), event, EmitFlags::default()).unwrap();
    world.run();
    world.shed(0, 1);
    assert_eq!(ended(&world), [greedy]);
    assert_eq!(world.shed(0, u64::MAX).claimed_bytes, 0, "a twentieth each is less than the floor");
    // When most have gone, those who still hold it hold it for themselves.
    for (wire, _) in &receivers[5..] {
        world.stick(*wire, false);
        world.run();
    }
    let shed = world.shed(0, 1);
    assert!((100_000..101_000).contains(&shed.claimed_bytes), "{shed:?}");
    assert_eq!(ended(&world).len(), 2);
    assert_vacant(world);
}

#[test]
fn logs_go_before_clients_and_their_clients_come_back_as_new_ones() {
    let recovery = Some(RecoveryOptions::default());
    let mut world = World::new(2, Options { recovery, ..Options::default() });
    let (_, stuck) = stuck(&mut world, 10, 20_000);
    let mut away = Vec::new();
    for shard in [0, 1] {
        let wire = world.websocket(shard);
        world.send(wire, &text("40"));
        let answer = world.take_messages(wire).pop().unwrap();
        let pid = answer.split("\"pid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let json = format!("[\"{}\"]", "x".repeat(40_000));
        let event = EventParts { json: json.as_bytes(), attachments: &[] };
        world.shards[shard].broadcast(NamespaceId(0), "/", &Target::default(), event, EmitFlags::default()).unwrap();
        world.run();
        let seen = world.take_messages(wire).pop().unwrap();
        let offset = seen.trim_end_matches("\"]").rsplit('"').next().unwrap().to_owned();
        world.end(wire);
        away.push((shard, pid, offset));
    }
    // Its log is the first thing that a shard gives up, and enough for what is asked.
    let shed = world.shed(0, 100_000);
    assert!(shed.claimed_bytes > 200_000 && ended(&world).is_empty(), "{shed:?}");
    assert!(world.shards[0].counters().shed_logged_packets >= 12);
    world.shed(1, 0);
    world.shed(0, 100_000);
    assert_eq!(ended(&world), [stuck], "there is no log any more");
    for (shard, pid, offset) in away {
        let wire = world.websocket(shard);
        world.send(wire, &text(&format!("40{{\"pid\":\"{pid}\",\"offset\":\"{offset}\"}}")));
        assert_eq!(
            world.heard.iter().rev().find(|heard| matches!(heard, Heard::Recovered(..))),
            Some(&Heard::Recovered(false, None))
        );
        world.end(wire);
    }
    assert_vacant(world);
}

/// Over polling too, and one that is closing already: nobody fetches what waits for it.
#[test]
fn polling_sessions_are_holders_too() {
    let mut world = World::new(1, Options::default());
    let json = format!("[\"{}\"]", "x".repeat(100_000));
    for is_closing in [false, true] {
        let sid = world.polling(0);
        world.post(0, &polling_url(&sid), "40");
        world.get(0, &polling_url(&sid));
        let socket = world.last_connected();
        world.emit(0, socket, &json).unwrap();
        world.run();
        if is_closing {
            world.shards[0].disconnect(socket, true);
            world.run();
        }
        assert!(world.shed(0, 1).claimed_bytes as usize > SHED_BYTES_MIN);
        assert_eq!(world.shards[0].session_count(), 0);
        let (status, body) = world.get(0, &polling_url(&sid));
        assert_eq!((status, body.contains("Session ID unknown")), (400, true), "{body}");
    }
    assert_eq!(ended(&world).len(), 1, "the other one had left before");
    assert_vacant(world);
}

/// A step costs in proportion to what there is, and does the same each time.
#[test]
fn a_step_does_the_same_for_the_same_clients() {
    let play = || {
        let mut world = World::new(1, Options::default());
        let sizes = [30_000, 90_000, 60_000, 90_000, 70_000, 90_000];
        let attachment = Bytes::from(vec![1; 70_000]);
        let sockets: Vec<SocketKey> = sizes.map(|bytes| stuck(&mut world, 1, bytes).1).into();
        let event = EventParts { json: b"[\"a\",{\"_placeholder\":true,\"num\":0}]", attachments: &[attachment] };
        world.shards[0].emit(sockets[0], event, EmitFlags::default()).unwrap();
        world.run();
        world.shed(0, 600_000);
        (ended(&world), sockets)
    };
    let (ended, sockets) = play();
    assert_eq!(ended, [1, 3, 5, 4].map(|at: usize| sockets[at]), "the first in the table first");
    assert_eq!(play().0, ended);
}
