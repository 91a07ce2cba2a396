//! Clients that were cut off come back: to the same shard or another, once, with everything they missed.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::{NamespaceId, SocketKey};
use ringio_core::door::{EmitFlags, EventParts};
use ringio_core::options::{Options, RecoveryOptions};
use ringio_core::room::select::Target;
use std::sync::Arc;
use world::{Heard, Wire, World, text};

const MAIN: NamespaceId = NamespaceId(0);

fn options() -> Options {
    Options { recovery: Some(RecoveryOptions::default()), ..Options::default() }
}

/// A client: where it is, its private id, the last offset it saw, the events it saw.
struct Client {
    wire: Wire,
    socket: SocketKey,
    sid: String,
    pid: String,
    offset: String,
    events: Vec<String>,
}

impl Client {
    fn connect(world: &mut World, shard: usize, auth: &str) -> Self {
        let wire = world.websocket(shard);
        world.send(wire, &text(&format!("40{auth}")));
        let socket = world
            .heard
            .iter()
            .rev()
            .find_map(|heard| if let Heard::Connected(socket) = heard { Some(*socket) } else { None });
        let mut client = Self {
            wire,
            socket: socket.unwrap_or_else(|| SocketKey::from_bits(0)),
            sid: String::new(),
            pid: String::new(),
            offset: String::new(),
            events: Vec::new(),
        };
        client.read(world);
        client
    }

    fn read(&mut self, world: &mut World) {
        for message in world.take_messages(self.wire) {
            if let Some(connect) = message.strip_prefix("40{\"sid\":\"") {
                let (sid, rest) = connect.split_once("\",\"pid\":\"").unwrap();
                self.sid = sid.to_owned();
                self.pid = rest.trim_end_matches("\"}").to_owned();
            } else if let Some(event) = message.strip_prefix("42[") {
                let (event, offset) = event.trim_end_matches("\"]").rsplit_once(",\"").unwrap();
                self.offset = offset.to_owned();
                self.events.push(event.to_owned());
            }
        }
    }

    fn come_back(&mut self, world: &mut World, shard: usize) {
        let auth = format!("{{\"pid\":\"{}\",\"offset\":\"{}\"}}", self.pid, self.offset);
        let events = std::mem::take(&mut self.events);
        let back = Self::connect(world, shard, &auth);
        *self = Self {
            events: [events, back.events.clone()].concat(),
            offset: if back.offset.is_empty() { self.offset.clone() } else { back.offset.clone() },
            ..back
        };
    }
}

fn broadcast(world: &mut World, shard: usize, room: Option<&str>, name: &str) {
    let target = Target { rooms: room.into_iter().map(Arc::from).collect(), ..Target::default() };
    let json = format!("[{name}]");
    world.shards[shard]
        .broadcast(MAIN, "/", &target, EventParts { json: json.as_bytes(), attachments: &[] }, EmitFlags::default())
        .unwrap();
    world.run();
}

fn recovered(world: &World) -> Option<(bool, Option<String>)> {
    world
        .heard
        .iter()
        .rev()
        .find_map(|heard| if let Heard::Recovered(is, data) = heard { Some((*is, data.clone())) } else { None })
}

#[test]
fn a_client_that_leaves_while_it_comes_back_is_absent_as_before() {
    let mut world = World::new(2, options());
    let mut client = Client::connect(&mut world, 0, "");
    broadcast(&mut world, 0, None, "\"seen\"");
    client.read(&mut world);
    world.end(client.wire);
    broadcast(&mut world, 0, None, "\"missed\"");
    // It asks the other shard, whose question is slow, and is gone when the answer comes.
    world.slow.insert((1, 0));
    let (sid, offset) = (client.sid.clone(), client.offset.clone());
    let auth = format!("{{\"pid\":\"{}\",\"offset\":\"{offset}\"}}", client.pid);
    let wire = world.websocket(1);
    world.send(wire, &text(&format!("40{auth}")));
    world.end(wire);
    world.release();
    client.come_back(&mut world, 0);
    assert_eq!((recovered(&world).map(|(is, _)| is), &client.sid), (Some(true), &sid));
    assert_eq!(client.events, ["\"seen\"", "\"missed\""]);
    // And when it stays away, nothing is left of it.
    world.end(client.wire);
    let wire = world.websocket(1);
    world.slow.insert((1, 0));
    world.send(wire, &text(&format!("40{{\"pid\":\"{}\",\"offset\":\"{}\"}}", client.pid, client.offset)));
    world.end(wire);
    world.release();
    world.advance(300_000);
    assert!(world.shards.iter().all(|shard| shard.is_vacant()));
}

#[test]
fn a_client_that_was_cut_off_gets_its_id_rooms_data_and_what_it_missed() {
    for (home, elsewhere) in [(0, 0), (1, 2), (2, 0)] {
        let mut world = World::new(3, options());
        let mut client = Client::connect(&mut world, home, "");
        world.shards[home].join(client.socket, "room");
        broadcast(&mut world, 0, None, "\"seen\"");
        client.read(&mut world);
        assert_eq!(client.events, ["\"seen\""]);
        world.end(client.wire);
        broadcast(&mut world, 1, None, "\"missed\",1");
        broadcast(&mut world, 2, Some("room"), "\"missed\",2");
        broadcast(&mut world, 2, Some("other"), "\"not for it\"");
        let (sid, pid) = (client.sid.clone(), client.pid.clone());
        client.come_back(&mut world, elsewhere);
        assert_eq!(recovered(&world), Some((true, Some("kept".into()))));
        assert_eq!((&client.sid, &client.pid), (&sid, &pid), "the same socket as before");
        assert_eq!(client.events, ["\"seen\"", "\"missed\",1", "\"missed\",2"]);
        broadcast(&mut world, 0, Some("room"), "\"live\"");
        client.read(&mut world);
        assert_eq!(client.events.len(), 4, "it is in its room again, and each comes once: {:?}", client.events);
        // Once more, from there to a third shard: the question is passed on.
        world.end(client.wire);
        broadcast(&mut world, 0, Some("room"), "\"again\"");
        client.come_back(&mut world, (elsewhere + 1) % 3);
        assert_eq!(client.events.len(), 5, "{:?}", client.events);
        assert_eq!(client.sid, sid);
        world.send(client.wire, &text("41"));
        world.end(client.wire);
        world.advance(20_000);
        assert!(world.shards.iter().all(ringio_core::shard::Shard::is_vacant), "nothing is kept of one that left");
    }
}

#[test]
fn direct_emits_are_recovered_too_and_carry_an_offset() {
    let mut world = World::new(2, options());
    let mut client = Client::connect(&mut world, 0, "");
    world.emit(0, client.socket, "[\"one\"]").unwrap();
    world.run();
    client.read(&mut world);
    assert_eq!(client.events, ["\"one\""]);
    world.stick(client.wire, true);
    world.emit(0, client.socket, "[\"lost on the way\"]").unwrap();
    world.run();
    world.take(client.wire);
    world.emit(0, client.socket, "[\"never sent\"]").unwrap();
    world.end(client.wire);
    client.come_back(&mut world, 1);
    assert_eq!(client.events, ["\"one\"", "\"lost on the way\"", "\"never sent\""]);
}

#[test]
fn volatile_and_acknowledged_events_carry_no_offset() {
    let mut world = World::new(1, options());
    let client = Client::connect(&mut world, 0, "");
    let parts = EventParts { json: b"[\"x\"]", attachments: &[] };
    world.shards[0].emit(client.socket, parts, EmitFlags { volatile: true, ..EmitFlags::default() }).unwrap();
    world.run();
    world.shards[0].emit_with_ack(client.socket, parts, EmitFlags::default(), None, 1).unwrap();
    world.run();
    assert_eq!(world.take_messages(client.wire), ["42[\"x\"]", "420[\"x\"]"]);
}

#[test]
fn messages_that_overtake_each_other_between_shards_arrive_exactly_once() {
    // Shard 2 broadcasts; the client goes from shard 0 to shard 1. The messages 2 -> 0 or 2 -> 1 are late.
    for late in [(2, 0), (2, 1), (1, 0), (0, 1)] {
        let mut world = World::new(3, options());
        let mut client = Client::connect(&mut world, 0, "");
        broadcast(&mut world, 2, None, "1");
        client.read(&mut world);
        world.slow.insert(late);
        broadcast(&mut world, 2, None, "2");
        broadcast(&mut world, 1, None, "a");
        client.read(&mut world);
        world.end(client.wire);
        broadcast(&mut world, 2, None, "3");
        broadcast(&mut world, 0, None, "b");
        // Everything but the late connection is there; the answer about the client may be late as well.
        let auth = format!("{{\"pid\":\"{}\",\"offset\":\"{}\"}}", client.pid, client.offset);
        let wire = world.websocket(1);
        world.send(wire, &text(&format!("40{auth}")));
        broadcast(&mut world, 2, None, "4");
        world.release();
        broadcast(&mut world, 2, None, "5");
        client.wire = wire;
        client.read(&mut world);
        let mut events = client.events.clone();
        let of_two: Vec<_> = events.iter().filter(|event| event.parse::<u32>().is_ok()).cloned().collect();
        assert_eq!(of_two, ["1", "2", "3", "4", "5"], "late {late:?}: once each, in the order of the sender");
        events.sort();
        assert_eq!(events, ["1", "2", "3", "4", "5", "a", "b"], "late {late:?}");
        assert_eq!(recovered(&world).map(|(is, _)| is), Some(true));
    }
}

#[test]
fn who_cannot_be_recovered_gets_a_new_socket() {
    let mut world = World::new(2, options());
    let mut client = Client::connect(&mut world, 0, "");
    broadcast(&mut world, 0, None, "\"seen\"");
    client.read(&mut world);
    let (pid, offset) = (client.pid.clone(), client.offset.clone());
    for (pid, offset) in [
        ("nonsense", "1"),
        (&pid, "nonsense"),
        (&pid, "999999"),
        ("AAAAAAAAAAAAAAAAAAAA", &offset),
        ("AAAAAAAAAAAAAAAAAA__", &offset),
    ] {
        let stranger = Client::connect(&mut world, 1, &format!("{{\"pid\":\"{pid}\",\"offset\":\"{offset}\"}}"));
        assert_eq!(recovered(&world), Some((false, None)), "{pid} {offset}");
        assert_ne!(stranger.sid, client.sid);
        assert!(!stranger.pid.is_empty());
    }
    // Still connected: nobody can take its place.
    Client::connect(&mut world, 1, &format!("{{\"pid\":\"{pid}\",\"offset\":\"{offset}\"}}"));
    assert_eq!(recovered(&world), Some((false, None)));
    // Left on purpose.
    world.send(client.wire, &text("41"));
    world.send(client.wire, &text(&format!("40{{\"pid\":\"{pid}\",\"offset\":\"{offset}\"}}")));
    assert_eq!(recovered(&world), Some((false, None)));
    // Absent for too long.
    let mut late = Client::connect(&mut world, 0, "");
    broadcast(&mut world, 0, None, "\"seen\"");
    late.read(&mut world);
    world.end(late.wire);
    world.advance(120_001);
    late.come_back(&mut world, 0);
    assert_eq!(recovered(&world), Some((false, None)));
}
