//! Clients that do not read: what each policy drops, what is never dropped, who hears when there is room, and that nobody else notices.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use bytes::Bytes;
use ringio_core::base::frame::WhenSlow;
use ringio_core::base::id::{FileId, NamespaceId, SocketKey};
use ringio_core::base::time::Time;
use ringio_core::door::{Counters, DisconnectReason, EmitError, EmitFlags, Event, EventParts, Output};
use ringio_core::limits::PING_MOMENTS;
use ringio_core::options::Options;
use ringio_core::room::select::Target;
use ringio_core::shard::slow::Room;
use std::collections::BTreeMap;
use std::sync::Arc;
use world::{Heard, Wire, World, shard_with, text, upgrade_request};

const OUTBOX_BYTES_MAX: usize = 10_000;

fn options() -> Options {
    Options { outbox_bytes_max: OUTBOX_BYTES_MAX, ..Options::default() }
}

fn flags(when_slow: WhenSlow) -> EmitFlags {
    EmitFlags { when_slow: Some(when_slow), ..EmitFlags::default() }
}

/// A client that takes nothing, with one packet in flight: everything after it waits.
fn stuck(world: &mut World) -> (Wire, SocketKey) {
    let (wire, socket) = world.joined(0);
    world.stick(wire, true);
    world.emit(0, socket, "[\"in flight\"]").unwrap();
    world.run();
    world.take(wire);
    (wire, socket)
}

fn emit(world: &mut World, socket: SocketKey, number: usize, when_slow: WhenSlow) -> Result<(), EmitError> {
    let json = format!("[\"n\",{number:0100}]");
    let sent = world.shards[0].emit(socket, EventParts { json: json.as_bytes(), attachments: &[] }, flags(when_slow));
    world.run();
    sent
}

/// The numbers of the events that a client gets once it reads.
fn numbers(world: &mut World, wire: Wire) -> Vec<usize> {
    world.stick(wire, false);
    world.run();
    let messages = world.take_messages(wire);
    let number = |message: &String| message.strip_prefix("42[\"n\",")?.trim_end_matches(']').parse().ok();
    messages.iter().filter_map(number).collect()
}

#[test]
fn new_packets_are_dropped() {
    let mut world = World::new(1, options());
    let (wire, socket) = stuck(&mut world);
    let sent: Vec<bool> = (0..100).map(|number| emit(&mut world, socket, number, WhenSlow::DropNew).is_ok()).collect();
    let kept = sent.iter().filter(|is_sent| **is_sent).count();
    assert!((40..60).contains(&kept), "{kept}");
    assert_eq!(world.shards[0].counters().slow_dropped_new, 100 - kept as u64);
    assert_eq!(numbers(&mut world, wire), (0..kept).collect::<Vec<_>>(), "the first ones, in order");
    assert!(world.shards[0].is_connected(socket));
}

#[test]
fn old_packets_are_dropped() {
    let mut world = World::new(1, options());
    let (wire, socket) = stuck(&mut world);
    for number in 0..1_000 {
        emit(&mut world, socket, number, WhenSlow::DropOld).unwrap();
        assert!(world.shards[0].outbox_bytes(socket).unwrap() <= OUTBOX_BYTES_MAX);
    }
    let dropped = world.shards[0].counters().slow_dropped_old as usize;
    let got = numbers(&mut world, wire);
    assert_eq!(got, (dropped..1_000).collect::<Vec<_>>(), "the last ones, in order");
    assert!(got.len() >= 40, "{}", got.len());
}

#[test]
fn packets_of_a_key_replace_each_other() {
    let mut world = World::new(1, options());
    let (wire, socket) = stuck(&mut world);
    emit(&mut world, socket, 7_000, WhenSlow::Close).unwrap();
    for number in 0..1_000 {
        emit(&mut world, socket, number, WhenSlow::Conflate(number as u64 % 10)).unwrap();
    }
    assert_eq!(world.shards[0].counters().slow_conflated, 990);
    let mut expected = vec![7_000];
    expected.extend(990..1_000);
    assert_eq!(numbers(&mut world, wire), expected);
}

#[test]
fn an_emit_without_policy_fails_and_a_broadcast_closes() {
    let mut world = World::new(1, options());
    let (wire, socket) = stuck(&mut world);
    let refused = (0..100).find_map(|number| emit(&mut world, socket, number, WhenSlow::Close).err());
    assert_eq!(refused, Some(EmitError::OutboxFull));
    assert!(world.shards[0].is_connected(socket));
    let event = EventParts { json: b"[\"to all\"]", attachments: &[] };
    let pad = format!("[\"{}\"]", "x".repeat(500));
    for json in [pad.as_bytes(), event.json] {
        let event = EventParts { json, attachments: &[] };
        world.shards[0].broadcast(NamespaceId(0), "/", &Target::default(), event, EmitFlags::default()).unwrap();
        world.run();
    }
    let ended = |heard: &Heard| matches!(heard, Heard::Disconnected(_, DisconnectReason::OutboxFull, _));
    assert!(world.heard.iter().any(ended));
    world.advance(2_000);
    assert!(world.is_over(wire), "it did not even take the close frame");
    assert_eq!(world.shards[0].counters().slow_closed, 1);
}

#[test]
fn a_namespace_has_its_policy_and_a_broadcast_keeps_it() {
    let when_slow_in = vec![("/".to_owned(), WhenSlow::DropNew)];
    let mut world = World::new(2, Options { when_slow_in, ..options() });
    let (wire, socket) = stuck(&mut world);
    for _ in 0..200 {
        // From another shard: the policy travels with the packet.
        let json = format!("[\"{}\"]", "x".repeat(100));
        let event = EventParts { json: json.as_bytes(), attachments: &[] };
        world.shards[1].broadcast(NamespaceId(0), "/", &Target::default(), event, EmitFlags::default()).unwrap();
        world.run();
    }
    assert!(world.shards[0].is_connected(socket) && !world.is_over(wire));
    assert!(world.shards[0].counters().slow_dropped_new > 100);
}

/// What the protocol says, and what somebody waits for, stays; an event goes with all its attachments or not at all.
#[test]
fn control_packets_are_never_dropped_and_attachments_never_parted() {
    let mut world = World::new(1, options());
    let (wire, socket) = stuck(&mut world);
    world.send(wire, &text("40/admin,"));
    world.send(wire, &text("427[\"please answer\"]"));
    world.shards[0]
        .emit_with_ack(socket, EventParts { json: b"[\"asked\"]", attachments: &[] }, flags(WhenSlow::DropOld), None, 1)
        .unwrap();
    for number in 0..500 {
        let json = format!("[\"n\",{number},{{\"_placeholder\":true,\"num\":0}},{{\"_placeholder\":true,\"num\":1}}]");
        let attachments = [Bytes::from(vec![number as u8; 50]), Bytes::from(vec![number as u8; 60])];
        let event = EventParts { json: json.as_bytes(), attachments: &attachments };
        world.shards[0].emit(socket, event, flags(WhenSlow::DropOld)).unwrap();
        world.run();
    }
    assert!(world.shards[0].counters().slow_dropped_old > 400);
    world.advance(25_000 + 25_000 / PING_MOMENTS);
    world.stick(wire, false);
    world.run();
    let got = world.take_messages(wire);
    assert!(got.iter().any(|message| message.starts_with("40/admin,")), "the CONNECT");
    assert!(got.contains(&"437[]".to_owned()), "the acknowledgement");
    assert!(got.iter().any(|message| message.starts_with("42") && message.ends_with("[\"asked\"]")), "what has an ack");
    assert!(got.contains(&"2".to_owned()), "the ping");
    let mut expects = 0_u32;
    for message in &got {
        assert_eq!(message.starts_with('b'), expects > 0, "attachments follow their packet: {message}");
        expects = if message.starts_with("452-") { 2 } else { expects.saturating_sub(1) };
    }
    assert_eq!(expects, 0);
}

#[test]
fn room_is_told_once_between_the_marks() {
    let mut world = World::new(1, Options { outbox_marks: Some((1_000, 4_000)), ..options() });
    let (wire, socket) = stuck(&mut world);
    world.shards[0].hear_room(socket, true);
    let told = |world: &World| world.heard.iter().filter(|heard| matches!(heard, Heard::Relieved)).count();
    let mut sent = 0;
    while world.shards[0].await_room(socket, false) == Room::Free {
        emit(&mut world, socket, sent, WhenSlow::Close).unwrap();
        sent += 1;
    }
    assert!(world.shards[0].outbox_bytes(socket).unwrap() > 4_000);
    assert_eq!((world.shards[0].await_room(socket, false), told(&world)), (Room::Awaited, 0));
    numbers(&mut world, wire);
    assert_eq!((world.shards[0].await_room(socket, false), told(&world)), (Room::Free, 1));
    // Below the high mark nothing is told, and a packet that did not fit is waited for all the same.
    world.stick(wire, true);
    for number in 0..20 {
        emit(&mut world, socket, number, WhenSlow::Close).unwrap();
    }
    numbers(&mut world, wire);
    assert_eq!(told(&world), 1);
    world.stick(wire, true);
    for number in 0..3 {
        emit(&mut world, socket, number, WhenSlow::Close).unwrap();
    }
    assert_eq!(world.shards[0].await_room(socket, true), Room::Awaited);
    numbers(&mut world, wire);
    assert_eq!(told(&world), 2);
    // The end is told too: who waits must not wait for ever.
    world.end(wire);
    assert_eq!((world.shards[0].await_room(socket, true), told(&world)), (Room::Gone, 3));
}

fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(bytes.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

/// What a shard with many receivers does for a series of broadcasts: counters, and what each got, send by send.
fn play(receivers: usize, stuck: Option<usize>, when_slow: WhenSlow) -> (Counters, BTreeMap<FileId, Vec<u64>>) {
    let now = Time::ZERO;
    let mut shard = shard_with(options());
    let mut keys = BTreeMap::new();
    let mut got: BTreeMap<FileId, Vec<u64>> = BTreeMap::new();
    for index in 0..receivers {
        let file = FileId(index as u32);
        let key = shard.handle_accepted(now, file, None, false);
        keys.insert(file, key);
        let mut bytes = upgrade_request("/socket.io/?EIO=4&transport=websocket");
        bytes.extend(text("40"));
        shard.handle_received(now, key, &mut bytes);
        while let Some(event) = shard.poll_event() {
            if let Event::ConnectRequested { socket } = event {
                assert!(shard.accept_socket(socket, NamespaceId(0), &Arc::from("/")));
            }
        }
        while let Some(output) = shard.poll_output() {
            assert!(matches!(output, Output::Send { .. }));
            shard.handle_sent(now, key, false);
        }
    }
    for number in 0..100 {
        let json = format!("[\"n\",{number:0100}]");
        let event = EventParts { json: json.as_bytes(), attachments: &[] };
        shard.broadcast(NamespaceId(0), "/", &Target::default(), event, flags(when_slow)).unwrap();
        while let Some(output) = shard.poll_output() {
            let Output::Send { file, frame, .. } = output else { continue };
            got.entry(file).or_default().push(digest(frame.bytes()));
            if stuck != Some(file.0 as usize) {
                shard.handle_sent(now, keys[&file], false);
            }
        }
        while shard.poll_event().is_some() {}
    }
    (shard.counters(), got)
}

/// One stuck receiver among 5,000: the same sends for everybody else, in the same turns and order, and no work that grows.
#[test]
fn one_stuck_receiver_changes_nothing_for_the_others() {
    let (calm, expected) = play(5_000, None, WhenSlow::Close);
    for when_slow in [WhenSlow::Close, WhenSlow::DropNew, WhenSlow::DropOld, WhenSlow::Conflate(1)] {
        let (counters, mut got) = play(5_000, Some(2_500), when_slow);
        let stuck = got.remove(&FileId(2_500)).unwrap();
        assert_eq!(stuck.len(), 1, "one send in flight");
        let others: usize = got.values().map(Vec::len).sum();
        assert_eq!(others, 4_999 * 100, "{when_slow:?}: one send per broadcast each");
        assert!(got.iter().all(|(file, sends)| expected[file] == *sends), "{when_slow:?}: the same bytes in each turn");
        assert_eq!(counters.joins_made, calm.joins_made, "{when_slow:?}: nothing is joined for anybody");
        assert_eq!(counters.packets_encoded, calm.packets_encoded);
    }
}

/// Send by send: nothing is told above the low mark.
#[test]
fn room_is_told_at_the_low_mark() {
    let marks = (100_000, 400_000);
    let mut world =
        World::new(1, Options { outbox_bytes_max: 1 << 20, outbox_marks: Some(marks), ..Options::default() });
    let (wire, socket) = stuck(&mut world);
    world.shards[0].hear_room(socket, true);
    let json = format!("[\"{}\"]", "x".repeat(50_000));
    for _ in 0..10 {
        world.emit(0, socket, &json).unwrap();
        world.run();
    }
    loop {
        // The send in flight is done, the next one is not.
        world.stick(wire, false);
        world.stick(wire, true);
        world.run();
        let bytes = world.shards[0].outbox_bytes(socket).unwrap();
        let is_told = world.heard.contains(&Heard::Relieved);
        assert_eq!(is_told, bytes <= marks.0, "{bytes} bytes wait");
        assert_eq!(world.shards[0].await_room(socket, false), if is_told { Room::Free } else { Room::Awaited });
        if is_told {
            assert!(bytes > 0);
            return;
        }
    }
}
