//! What costs a volatile packet its place: what is not out yet, as Node sees it, and nothing else.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::{NamespaceId, ShardIndex, SocketKey};
use ringio_core::door::{EmitError, EmitFlags, EventParts};
use ringio_core::limits::OPEN_HELD_MS;
use ringio_core::options::Options;
use ringio_core::room::select::Target;
use ringio_core::shard::Shard;
use std::sync::Arc;
use world::{World, polling_url, text};

const MAIN: NamespaceId = NamespaceId(0);
const VOLATILE: EmitFlags = EmitFlags { volatile: true, local: false, compress: true, when_slow: None };

fn event(json: &str) -> EventParts<'_> {
    EventParts { json: json.as_bytes(), attachments: &[] }
}

fn emit(shard: &mut Shard, socket: SocketKey, json: &str) -> Result<(), EmitError> {
    shard.emit(socket, event(json), VOLATILE)
}

fn broadcast(shard: &mut Shard, json: &str) -> usize {
    shard.broadcast(MAIN, "/", &Target::everyone(), event(json), VOLATILE).unwrap()
}

#[test]
fn only_what_was_queued_in_the_same_tick_drops_it() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    assert_eq!(emit(&mut world.shards[0], socket, "[1]"), Ok(()));
    assert_eq!(emit(&mut world.shards[0], socket, "[2]"), Err(EmitError::NotWritable));
    world.shards[0].begin_tick();
    assert_eq!(emit(&mut world.shards[0], socket, "[3]"), Ok(()));
    assert_eq!(emit(&mut world.shards[0], socket, "[4]"), Err(EmitError::NotWritable));
    world.run();
    assert_eq!(world.take_messages(wire), ["42[1]", "42[3]"]);
}

#[test]
fn two_clients_whose_handlers_broadcast_in_one_turn_are_both_heard() {
    let mut world = World::new(1, Options::default());
    let [(a, _), (b, _), (c, _)] = [world.joined(0), world.joined(0), world.joined(0)];
    world.on_message = |shard, _| {
        broadcast(shard, "[\"moved\"]");
    };
    world.arrive(a, &text("42[\"move\"]"));
    world.arrive(b, &text("42[\"move\"]"));
    world.run();
    for wire in [a, b, c] {
        assert_eq!(world.take_messages(wire), ["42[\"moved\"]", "42[\"moved\"]"]);
    }
}

#[test]
fn of_what_handlers_say_to_messages_that_came_together_the_first_is_kept() {
    let mut world = World::new(1, Options::default());
    let (wire, _) = world.joined(0);
    world.on_message = |shard, socket| {
        let _ = emit(shard, socket, "[\"fleeting\"]");
    };
    world.send(wire, &[text("42[\"a\"]"), text("42[\"b\"]")].concat());
    assert_eq!(world.take_messages(wire), ["42[\"fleeting\"]"]);
}

#[test]
fn answers_of_the_protocol_to_what_came_with_it_do_not_drop_it() {
    let mut world = World::new(1, Options { allow_eio3: true, ..Options::default() });
    let wire = world.connect(0);
    world.send(wire, &world::upgrade_request("/socket.io/?EIO=3&transport=websocket"));
    world.advance(OPEN_HELD_MS);
    world.take(wire);
    world.on_message = |shard, socket| {
        let _ = emit(shard, socket, "[\"fleeting\"]");
    };
    world.send(wire, &[text("2"), text("42[\"a\"]")].concat());
    assert_eq!(world.take_messages(wire), ["3", "42[\"fleeting\"]"]);

    let (wire, _) = world.joined(0);
    world.send(wire, &[text("40/admin,"), text("42[\"a\"]")].concat());
    let received = world.take_messages(wire);
    assert!(received[0].starts_with("40/admin,"), "{received:?}");
    assert_eq!(received[1..], ["42[\"fleeting\"]"]);
}

#[test]
fn a_connect_among_messages_is_another_go_and_theirs_goes_on_behind_it() {
    let mut world = World::new(1, Options::default());
    let [(a, _), (b, _)] = [world.joined(0), world.joined(0)];
    // The first one sends nothing to its own client, the third one does.
    world.send(a, &text("42[\"a\"]"));
    world.on_message = |shard, socket| {
        let others = Target {
            except: [Arc::from(shard.socket_id(socket).unwrap().to_string())].into_iter().collect(),
            ..Target::everyone()
        };
        let is_first = shard.broadcast(MAIN, "/", &others, event("[\"others\"]"), VOLATILE).unwrap() == 1;
        if !is_first {
            let _ = emit(shard, socket, "[\"me\"]");
        }
    };
    world.send(a, &[text("42[\"a\"]"), text("40/admin,"), text("42[\"b\"]"), text("42[\"c\"]")].concat());
    let received = world.take_messages(a);
    assert!(received[0].starts_with("40/admin,"), "{received:?}");
    assert_eq!(received[1..], ["42[\"me\"]"], "one of the two behind it");
    assert_eq!(world.take_messages(b), ["42[\"others\"]"], "they are one tick, though a CONNECT stands between");
}

#[test]
fn what_waits_since_an_earlier_turn_drops_it_whatever_the_tick() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    let large = format!("[\"{}\"]", "x".repeat(25_000));
    world.stick(wire, true);
    for _ in 0..3 {
        world.emit(0, socket, &large).unwrap();
        world.run();
    }
    world.stick(wire, false);
    world.shards[0].begin_tick();
    assert_eq!(
        emit(&mut world.shards[0], socket, "[1]"),
        Err(EmitError::NotWritable),
        "two more wait, which one send will carry"
    );
    world.run();
    assert_eq!(emit(&mut world.shards[0], socket, "[2]"), Ok(()), "all is out");
    world.run();
    assert_eq!(world.take_messages(wire).last().unwrap(), "42[2]");
}

#[test]
fn more_than_one_send_carries_drops_it() {
    let mut world = World::new(1, Options::default());
    let (wire, socket) = world.joined(0);
    let large = format!("[\"{}\"]", "x".repeat(40_000));
    world.emit(0, socket, &large).unwrap();
    world.shards[0].begin_tick();
    assert_eq!(emit(&mut world.shards[0], socket, "[1]"), Ok(()));
    world.emit(0, socket, &large).unwrap();
    world.shards[0].begin_tick();
    assert_eq!(emit(&mut world.shards[0], socket, "[2]"), Err(EmitError::NotWritable));
    world.run();
    assert_eq!(world.take_messages(wire).len(), 3);
}

#[test]
fn a_poll_takes_one_packet_whatever_the_tick() {
    let mut world = World::new(1, Options::default());
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "40");
    let socket = world.last_connected();
    world.get(0, &polling_url(&sid));
    let wire = world.connect(0);
    world.send(wire, format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling_url(&sid)).as_bytes());
    assert_eq!(emit(&mut world.shards[0], socket, "[1]"), Ok(()));
    world.shards[0].begin_tick();
    assert_eq!(emit(&mut world.shards[0], socket, "[2]"), Err(EmitError::NotWritable));
    world.run();
    assert_eq!(world.answer(wire), (200, "42[1]".to_owned()));
}

#[test]
fn ticks_are_told_apart_by_other_shards() {
    let mut world = World::new(3, Options::default());
    let (wire, _) = world.joined(1);
    assert_eq!(broadcast(&mut world.shards[0], "[1]"), 0);
    broadcast(&mut world.shards[0], "[2]");
    world.run();
    assert_eq!(world.take_messages(wire), ["42[1]"], "two in a row of one tick");

    broadcast(&mut world.shards[0], "[3]");
    world.shards[0].begin_tick();
    broadcast(&mut world.shards[0], "[4]");
    broadcast(&mut world.shards[2], "[5]");
    world.run();
    assert_eq!(world.take_messages(wire), ["42[3]", "42[4]", "42[5]"], "three ticks, two shards");

    assert_eq!(broadcast(&mut world.shards[1], "[6]"), 1);
    world.shards[0].send_to_peer(ShardIndex(1), Box::new(()));
    let (_, message) = world.shards[0].poll_peer_message().unwrap();
    world.shards[1].handle_peer(world.now, ShardIndex(0), message);
    assert_eq!(broadcast(&mut world.shards[1], "[7]"), 1, "the application of another shard has asked for it");
    world.run();
    assert_eq!(world.take_messages(wire), ["42[6]", "42[7]"]);
}
