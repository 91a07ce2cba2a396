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
        let mut client = Self {
            wire,
            socket: last_connected(world),
            sid: String::new(),
            pid: String::new(),
            offset: String::new(),
            events: Vec::new(),
        };
        client.read(world);
        client
    }

    fn read(&mut self, world: &mut World) {
        self.read_some(world, usize::MAX);
    }

    /// Reads `count` events; what lies behind them is lost.
    fn read_some(&mut self, world: &mut World, mut count: usize) {
        for message in world.take_messages(self.wire) {
            if let Some(connect) = message.strip_prefix("40{\"sid\":\"") {
                let (sid, rest) = connect.split_once("\",\"pid\":\"").unwrap();
                self.sid = sid.to_owned();
                self.pid = rest.trim_end_matches("\"}").to_owned();
            } else if let Some(event) = message.strip_prefix("42[").filter(|_| count > 0) {
                count -= 1;
                let (event, offset) = event.trim_end_matches("\"]").rsplit_once(",\"").unwrap();
                self.offset = offset.to_owned();
                self.events.push(event.to_owned());
            }
        }
    }

    fn come_back(&mut self, world: &mut World, shard: usize) {
        self.come_back_for(world, shard, usize::MAX);
    }

    /// Comes back and sees `count` events of those it missed; the others are lost again.
    fn come_back_for(&mut self, world: &mut World, shard: usize, count: usize) {
        self.ask_to_come_back(world, shard);
        self.read_some(world, count);
        self.socket = last_connected(world);
    }

    fn ask_to_come_back(&mut self, world: &mut World, shard: usize) {
        self.wire = world.websocket(shard);
        world.send(self.wire, &text(&format!("40{{\"pid\":\"{}\",\"offset\":\"{}\"}}", self.pid, self.offset)));
    }
}

fn last_connected(world: &World) -> SocketKey {
    let connected = |heard: &Heard| if let Heard::Connected(socket) = heard { Some(*socket) } else { None };
    world.heard.iter().rev().find_map(connected).unwrap_or_else(|| SocketKey::from_bits(0))
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

/// Found by the simulator: an emit that failed, because the outbox was full, was sent all the same when the client came back.
#[test]
fn an_emit_that_failed_is_not_sent_again() {
    let mut world = World::new(1, Options { outbox_bytes_max: 1_000, ..options() });
    let mut client = Client::connect(&mut world, 0, "");
    world.emit(0, client.socket, "[\"seen\"]").unwrap();
    world.run();
    client.read(&mut world);
    world.stick(client.wire, true);
    let long = format!("[\"{}\"]", "x".repeat(400));
    world.emit(0, client.socket, &long).unwrap();
    let failed = world.emit(0, client.socket, &format!("[\"{}\"]", "y".repeat(800)));
    assert_eq!(failed, Err(ringio_core::door::EmitError::OutboxFull));
    world.end(client.wire);
    client.come_back(&mut world, 0);
    assert_eq!(recovered(&world).map(|(is, _)| is), Some(true));
    assert_eq!(client.events.len(), 2, "{:?}", client.events);
    assert!(client.events[1].contains('x'), "{:?}", client.events);
}

/// It would be closed as soon as it is back, come back, be closed again ...
#[test]
fn who_missed_more_than_half_an_outbox_holds_gets_a_new_socket() {
    for elsewhere in [0, 1] {
        let mut world = World::new(2, Options { outbox_bytes_max: 1_000, ..options() });
        let mut client = Client::connect(&mut world, 0, "");
        broadcast(&mut world, 0, None, "\"seen\"");
        client.read(&mut world);
        let sid = client.sid.clone();
        world.end(client.wire);
        for _ in 0..4 {
            broadcast(&mut world, 0, None, &format!("\"{}\"", "x".repeat(300)));
        }
        client.come_back(&mut world, elsewhere);
        assert_eq!(recovered(&world), Some((false, None)));
        assert_ne!(client.sid, sid);
        assert_eq!(client.events, ["\"seen\""]);
        world.end(client.wire);
        world.advance(140_000);
        assert!(world.shards.iter().all(ringio_core::shard::Shard::is_vacant), "nothing is kept of it");
    }
}

/// As in Node, where the log does not ask whether the socket is there.
#[test]
fn what_is_sent_to_a_socket_that_hears_disconnect_waits_for_its_return() {
    let mut world = World::new(1, options());
    let mut client = Client::connect(&mut world, 0, "");
    world.emit(0, client.socket, "[\"seen\"]").unwrap();
    world.run();
    client.read(&mut world);
    world.says_goodbye = true;
    world.end(client.wire);
    client.come_back(&mut world, 0);
    assert_eq!(client.events, ["\"seen\"", "\"goodbye\""]);
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

/// The logs of shards have different orders: the offset of an event that was sent again is no place in the log of the shard
/// that the client came to. Proven for every event with which the second cut may come, and every shard after it.
#[test]
fn a_client_that_is_cut_off_again_gets_each_event_once_whatever_it_had_seen_by_then() {
    for seen in 0..=3 {
        for then in 0..3 {
            let mut world = World::new(3, options());
            let mut client = Client::connect(&mut world, 0, "");
            broadcast(&mut world, 2, None, "0");
            client.read(&mut world);
            // Shard 0 logs its own event between two of shard 2, shard 1 in front of both.
            world.slow.insert((2, 1));
            world.stick(client.wire, true);
            broadcast(&mut world, 2, None, "1");
            world.emit(0, client.socket, "[\"direct\"]").unwrap();
            world.run();
            world.end(client.wire);
            broadcast(&mut world, 2, None, "2");
            client.come_back_for(&mut world, 1, seen);
            assert_eq!(recovered(&world).map(|(is, _)| is), Some(true));
            world.release();
            broadcast(&mut world, 2, None, "3");
            world.end(client.wire);
            broadcast(&mut world, 2, None, "4");
            client.come_back(&mut world, then);
            broadcast(&mut world, 2, None, "5");
            client.read(&mut world);
            let story = format!("{seen} seen, then to shard {then}");
            assert_eq!(recovered(&world).map(|(is, _)| is), Some(true), "{story}");
            assert_eq!(client.events, ["0", "1", "\"direct\"", "2", "3", "4", "5"], "{story}");
            // And once more, for what it keeps of two returns.
            world.end(client.wire);
            broadcast(&mut world, 0, None, "6");
            client.come_back(&mut world, (then + 1) % 3);
            assert_eq!(client.events.split_off(7), ["6"], "{story}");
            world.end(client.wire);
            world.advance(140_000);
            assert!(world.shards.iter().all(ringio_core::shard::Shard::is_vacant), "{story}: nothing is kept of it");
        }
    }
}

/// Stories from seeds: a client wanders between shards whose messages are late, is cut off at any event, and must have seen each
/// event once, those of each shard in order.
#[test]
fn a_client_that_wanders_sees_each_event_once() {
    let mut returns = 0;
    for seed in 1..=400_u64 {
        let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |end: usize| {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            (bits >> 33) as usize % end
        };
        let mut world = World::new(3, options());
        let mut client = Client::connect(&mut world, below(3), "");
        let mut sent = [0; 3];
        broadcast(&mut world, 0, None, "0,0");
        sent[0] = 1;
        client.read(&mut world);
        let mut is_there = true;
        let mut missed_at = 0;
        for step in 0..60 {
            match below(10) {
                0..4 => {
                    let shard = below(3);
                    broadcast(&mut world, shard, None, &format!("{shard},{}", sent[shard]));
                    sent[shard] += 1;
                }
                4 if is_there => {
                    let shard = world.shard_of(client.wire);
                    world.emit(shard, client.socket, &format!("[{shard},{}]", sent[shard])).unwrap();
                    world.run();
                    sent[shard] += 1;
                }
                5 => {
                    world.slow.insert((below(3), below(3)));
                }
                6 => world.release(),
                7..9 if is_there => {
                    client.read_some(&mut world, below(6));
                    world.end(client.wire);
                    (is_there, missed_at) = (false, step);
                }
                7..9 => {
                    // The shards' questions about it do not overtake what they said before.
                    client.ask_to_come_back(&mut world, below(3));
                    world.release();
                    client.socket = last_connected(&world);
                    assert_eq!(recovered(&world).map(|(is, _)| is), Some(true), "seed {seed}: gone since {missed_at}");
                    (is_there, returns) = (true, returns + 1);
                }
                _ => {}
            }
        }
        world.release();
        if is_there {
            client.read_some(&mut world, below(6));
            world.end(client.wire);
        }
        client.come_back(&mut world, below(3));
        for (shard, count) in sent.into_iter().enumerate() {
            let of_shard = |event: &&String| event.starts_with(&shard.to_string());
            let seen: Vec<&String> = client.events.iter().filter(of_shard).collect();
            let wanted: Vec<String> = (0..count).map(|number| format!("{shard},{number}")).collect();
            assert_eq!(seen, wanted.iter().collect::<Vec<_>>(), "seed {seed}");
        }
    }
    assert!(returns > 1_000, "{returns}");
}

#[test]
fn who_is_refused_when_it_comes_back_is_absent_as_before() {
    for elsewhere in [0, 1] {
        let mut world = World::new(2, options());
        let mut client = Client::connect(&mut world, 0, "");
        broadcast(&mut world, 0, None, "\"seen\"");
        client.read(&mut world);
        world.shards[0].join(client.socket, "room");
        world.end(client.wire);
        broadcast(&mut world, 1, Some("room"), "\"missed\"");
        world.lets_back_in = false;
        let auth = format!("{{\"pid\":\"{}\",\"offset\":\"{}\"}}", client.pid, client.offset);
        let wire = world.websocket(elsewhere);
        world.send(wire, &text(&format!("40{auth}")));
        assert!(world.take_text(wire).contains("44{\"message\":\"not again\"}"));
        world.end(wire);
        world.lets_back_in = true;
        let sid = client.sid.clone();
        client.come_back(&mut world, 1);
        assert_eq!(recovered(&world), Some((true, Some("kept".into()))));
        assert_eq!((client.sid, client.events), (sid, vec!["\"seen\"".to_owned(), "\"missed\"".to_owned()]));
    }
}

/// What its client saw last before belongs to a former socket: what was sent between the two is not for this one.
#[test]
fn a_socket_gets_nothing_again_that_was_sent_before_it_was_there() {
    let mut world = World::new(1, options());
    let mut client = Client::connect(&mut world, 0, "");
    broadcast(&mut world, 0, None, "\"seen\"");
    client.read(&mut world);
    world.send(client.wire, &text("41"));
    world.end(client.wire);
    broadcast(&mut world, 0, None, "\"between\"");
    let offset = client.offset.clone();
    let mut client = Client { offset, ..Client::connect(&mut world, 0, "") };
    world.end(client.wire);
    broadcast(&mut world, 0, None, "\"missed\"");
    client.come_back(&mut world, 0);
    assert_eq!(client.events, ["\"missed\""]);
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

#[test]
fn of_too_many_absent_clients_the_one_that_left_first_is_forgotten() {
    const ABSENT_MAX: usize = 3;
    let recovery = RecoveryOptions { absent_max: ABSENT_MAX, ..RecoveryOptions::default() };
    let mut world = World::new(1, Options { recovery: Some(recovery), ..Options::default() });
    let mut clients: Vec<Client> = (0..=ABSENT_MAX).map(|_| Client::connect(&mut world, 0, "")).collect();
    broadcast(&mut world, 0, None, "\"seen\"");
    clients.iter_mut().for_each(|client| client.read(&mut world));
    clients.iter().for_each(|client| world.end(client.wire));
    broadcast(&mut world, 0, None, "\"missed\"");
    for (at, client) in clients.iter_mut().enumerate() {
        client.come_back(&mut world, 0);
        assert_eq!(recovered(&world).map(|(is, _)| is), Some(at > 0), "client {at}");
        assert_eq!(client.events.len(), 1 + usize::from(at > 0));
    }
}
