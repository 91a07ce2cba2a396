//! A broadcast is encoded once, waits once, and is joined once; proven by counters.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::NamespaceId;
use ringio_core::door::{EmitError, EmitFlags, EventParts, Operation};
use ringio_core::options::Options;
use ringio_core::room::select::Target;
use std::sync::Arc;
use world::{Heard, Wire, World, frame, text};

const MAIN: NamespaceId = NamespaceId(0);

fn event(json: &str) -> EventParts<'_> {
    EventParts { json: json.as_bytes(), attachments: &[] }
}

fn to(room: &str) -> Target {
    Target { rooms: [Arc::from(room)].into_iter().collect(), ..Target::default() }
}

#[test]
fn a_broadcast_to_5000_is_encoded_once_and_joins_queued_frames() {
    let mut world = World::new(1, Options::default());
    let wires: Vec<Wire> = (0..5_000).map(|_| world.joined(0).0).collect();
    let before = world.shards[0].counters();
    for wire in &wires {
        world.stick(*wire, true);
    }
    // The first finds the transport free and leaves as it is; three more wait behind it.
    for number in 0..4 {
        let json = format!("[\"news\",{number}]");
        assert_eq!(
            world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event(&json), EmitFlags::default()).unwrap(),
            5_000
        );
        if number == 0 {
            world.run();
        }
    }
    for wire in &wires {
        world.stick(*wire, false);
    }
    world.run();
    let after = world.shards[0].counters();
    assert_eq!(after.packets_encoded - before.packets_encoded, 4, "each broadcast is encoded once");
    assert_eq!(after.frames_queued - before.frames_queued, 20_000);
    assert_eq!(after.sends - before.sends, 10_000, "four messages, two sends each");
    assert_eq!(after.joins_made - before.joins_made, 1, "three waiting frames are joined once for all");
    assert_eq!(after.joins_shared - before.joins_shared, 4_999);
    for wire in wires {
        assert_eq!(world.take_messages(wire), ["42[\"news\",0]", "42[\"news\",1]", "42[\"news\",2]", "42[\"news\",3]"]);
    }
}

#[test]
fn an_idle_connection_owns_no_receive_buffer() {
    let mut world = World::new(1, Options::default());
    let (wire, _) = world.joined(0);
    assert_eq!(world.shards[0].counters().receive_bytes_held, 0, "after the handshake");
    let message = text("42[\"x\",\"a long message that is cut in two\"]");
    world.send(wire, &message[..20]);
    assert!(world.shards[0].counters().receive_bytes_held > 0, "the first half has to be kept");
    world.send(wire, &message[20..]);
    assert!(matches!(world.heard.last(), Some(Heard::Message(..))));
    assert_eq!(world.shards[0].counters().receive_bytes_held, 0, "nothing is kept after the second");
}

#[test]
fn nobody_listens_nothing_is_encoded() {
    let mut world = World::new(1, Options::default());
    world.joined(0);
    let before = world.shards[0].counters().packets_encoded;
    world.shards[0].broadcast(MAIN, "/", &to("empty"), event("[\"x\"]"), EmitFlags::default()).unwrap();
    assert_eq!(world.shards[0].counters().packets_encoded, before);
}

#[test]
fn rooms_reach_their_members_on_every_shard_once() {
    let mut world = World::new(3, Options::default());
    let mut inside = Vec::new();
    let mut outside = Vec::new();
    for number in 0..30 {
        let shard = number % 3;
        let (wire, socket) = world.joined(shard);
        if number % 2 == 0 {
            world.shards[shard].join(socket, "even");
            world.shards[shard].join(socket, "also");
            inside.push(wire);
        } else {
            outside.push(wire);
        }
    }
    let mut target = to("even");
    target.rooms.push(Arc::from("also"));
    let before: u64 = world.shards.iter().map(|shard| shard.counters().packets_encoded).sum();
    world.shards[1].broadcast(MAIN, "/", &target, event("[\"hi\"]"), EmitFlags::default()).unwrap();
    world.run();
    let after: u64 = world.shards.iter().map(|shard| shard.counters().packets_encoded).sum();
    assert_eq!(after - before, 1, "once for all shards");
    for wire in inside {
        assert_eq!(world.take_messages(wire), ["42[\"hi\"]"]);
    }
    for wire in outside {
        assert!(world.take_messages(wire).is_empty());
    }
}

#[test]
fn the_own_id_is_a_room_on_every_shard() {
    let mut world = World::new(2, Options::default());
    let (wire, socket) = world.joined(0);
    let (other, _) = world.joined(1);
    let id = world.shards[0].socket_id(socket).unwrap().to_string();
    world.shards[1].broadcast(MAIN, "/", &to(&id), event("[\"you\"]"), EmitFlags::default()).unwrap();
    let except = Target { except: [Arc::from(id.as_str())].into_iter().collect(), ..Target::default() };
    world.shards[1].broadcast(MAIN, "/", &except, event("[\"others\"]"), EmitFlags::default()).unwrap();
    world.run();
    assert_eq!(world.take_messages(wire), ["42[\"you\"]"]);
    assert_eq!(world.take_messages(other), ["42[\"others\"]"]);
    assert!(world.shards[0].leave(socket, &id), "even the own room can be left");
    world.shards[1].broadcast(MAIN, "/", &to(&id), event("[\"gone\"]"), EmitFlags::default()).unwrap();
    world.run();
    assert!(world.take_messages(wire).is_empty());
}

#[test]
fn operations_and_questions_reach_all_shards() {
    let mut world = World::new(3, Options::default());
    let joined: Vec<_> = (0..6).map(|number| world.joined(number % 3)).collect();
    let rooms: Arc<[Arc<str>]> = Arc::from([Arc::from("a"), Arc::from("b")]);
    world.shards[2].operate(MAIN, &Target::everyone(), &Operation::Join(rooms), EmitFlags::default());
    world.run();
    world.shards[0].fetch_sockets(MAIN, &to("a"), EmitFlags::default(), 5_000, 7);
    world.run();
    let Some(Heard::Fetched(7, mut ids)) = world.heard.pop() else { panic!("fetched") };
    ids.sort();
    let mut expected: Vec<String> = joined
        .iter()
        .enumerate()
        .map(|(number, (_, socket))| world.shards[number % 3].socket_id(*socket).unwrap().to_string())
        .collect();
    expected.sort();
    assert_eq!(ids, expected);
    world.shards[1].operate(MAIN, &to("b"), &Operation::Disconnect { close: true }, EmitFlags::default());
    world.run();
    for (wire, _) in joined {
        assert_eq!(world.take_messages(wire), ["41", "close 1005"]);
        world.end(wire);
    }
    assert!(world.shards.iter().all(ringio_core::shard::Shard::is_vacant), "all have left, nothing is left");
}

#[test]
fn volatile_is_dropped_while_a_send_is_in_flight() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    let volatile = EmitFlags { volatile: true, ..EmitFlags::default() };
    assert_eq!(world.shards[0].emit(socket, event("[\"v\",1]"), volatile), Ok(()));
    assert_eq!(
        world.shards[0].emit(socket, event("[\"v\",2]"), volatile),
        Err(EmitError::NotWritable),
        "two in a row: one"
    );
    world.run();
    world.stick(wire, true);
    world.emit(0, socket, "[\"regular\"]").unwrap();
    world.run();
    assert_eq!(world.shards[0].emit(socket, event("[\"v\",3]"), volatile), Err(EmitError::NotWritable));
    world.stick(wire, false);
    assert_eq!(world.shards[0].emit(socket, event("[\"v\",4]"), volatile), Ok(()));
    world.run();
    assert_eq!(world.take_messages(wire), ["42[\"v\",1]", "42[\"regular\"]", "42[\"v\",4]"]);
}

#[test]
fn the_outbox_is_bounded_and_a_broadcast_over_it_closes_the_slow_one_only() {
    let mut world = World::new(1, Options { outbox_bytes_max: 1_000, ..Options::default() });
    let (slow, slow_socket) = world.joined(0);
    let (quick, _) = world.joined(0);
    world.stick(slow, true);
    world.emit(0, slow_socket, "[\"in flight\"]").unwrap();
    world.run();
    let large = format!("[\"{}\"]", "x".repeat(600));
    assert_eq!(world.emit(0, slow_socket, &large), Ok(()));
    assert_eq!(
        world.emit(0, slow_socket, &large),
        Err(EmitError::OutboxFull),
        "the sender is told, nothing is lost silently"
    );
    world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event(&large), EmitFlags::default()).unwrap();
    world.run();
    assert_eq!(world.take_messages(quick), [format!("42{large}")]);
    let reason = world.heard.iter().find_map(|heard| {
        if let Heard::Disconnected(socket, reason, _) = heard { Some((*socket, reason.as_str())) } else { None }
    });
    assert_eq!(reason, Some((slow_socket, "outbox full")));
}

/// What did not fit leaves no gap, whoever ends the session before its turn does.
#[test]
fn nothing_follows_what_did_not_fit() {
    for close in [None, Some(false), Some(true)] {
        let mut world = World::new(1, Options { outbox_bytes_max: 1_000, ..Options::default() });
        let (slow, socket) = world.joined(0);
        world.stick(slow, true);
        world.emit(0, socket, "[\"in flight\"]").unwrap();
        world.run();
        for text in ["before".to_owned(), "x".repeat(1_000), "behind".to_owned()] {
            let json = format!("[\"{text}\"]");
            world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event(&json), EmitFlags::default()).unwrap();
        }
        if let Some(close) = close {
            world.shards[0].disconnect(socket, close);
        }
        world.run();
        world.stick(slow, false);
        world.run();
        let messages = world.take_messages(slow);
        assert!(!messages.iter().any(|message| message.contains("behind")), "{close:?}: {messages:?}");
    }
}

#[test]
fn attachments_follow_their_event_without_anything_between() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    world.stick(wire, true);
    world.emit(0, socket, "[\"first\"]").unwrap();
    world.run();
    let attachments = [bytes::Bytes::from_static(&[1, 2]), bytes::Bytes::from_static(&[3])];
    let json = b"[\"bin\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    world.shards[0].emit(socket, EventParts { json, attachments: &attachments }, EmitFlags::default()).unwrap();
    world.send(wire, &frame(0x89, b"ping"));
    world.emit(0, socket, "[\"last\"]").unwrap();
    world.stick(wire, false);
    world.run();
    let messages = world.take_messages(wire);
    assert_eq!(messages[0], "42[\"first\"]");
    assert_eq!(messages[1], "pong [70, 69, 6e, 67]", "control frames are not kept back");
    assert!(messages[2].starts_with("452-[\"bin\""));
    assert_eq!(messages[3..], ["b[01, 02]", "b[03]", "42[\"last\"]"]);
}
