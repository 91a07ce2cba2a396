//! A POST with a hundred thousand packets in it is taken a piece per turn, and nobody else waits for all of it.
//!
//! Counted by what the application hears between two messages of somebody else, not by time.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::{ConnectionKey, FileId, NamespaceId};
use ringio_core::base::time::Time;
use ringio_core::door::{DisconnectReason, EmitFlags, Event, EventParts, Output};
use ringio_core::limits::{
    CLOSED_GRACE_MS, CLOSING_DEADLINE_MS, DEADLINES_PER_TURN, PIPELINED_BYTES_MAX, POSTED_BYTES_PER_TURN,
    POSTED_PACKETS_PER_TURN, REQUEST_HEAD_DEADLINE_MS,
};
use ringio_core::options::Options;
use ringio_core::shard::Shard;
use std::sync::Arc;
use world::{Heard, World, polling_url, post_request, shard_with, text, upgrade_request};

const PACKETS: usize = 100_000;

/// Events `["n"]` and their number, as a polling body.
fn body(count: usize) -> String {
    (0..count).map(|number| format!("42[\"{number}\"]")).collect::<Vec<_>>().join("\u{1e}")
}

fn joined(world: &mut World) -> String {
    let sid = world.polling(0);
    assert_eq!(world.post(0, &polling_url(&sid), "40"), (200, "ok".into()));
    sid
}

fn names(world: &World) -> Vec<String> {
    let name = |heard: &Heard| if let Heard::Message(_, name, _) = heard { Some(name.clone()) } else { None };
    world.heard.iter().filter_map(name).collect()
}

/// A shard, and the ends of two clients in it: one posts, one speaks WebSocket.
struct Two {
    shard: Shard,
    posting: ConnectionKey,
    polite: ConnectionKey,
    sid: String,
    sent: Vec<(FileId, Vec<u8>)>,
    /// What the application heard: the length of the event's JSON.
    heard: Vec<usize>,
}

impl Two {
    fn new() -> Self {
        Self::of(&body(PACKETS))
    }

    /// With this body posted.
    fn of(body: &str) -> Self {
        let mut shard = shard_with(Options { max_http_buffer_size: 4_000_000, ..Options::default() });
        let connect = |shard: &mut Shard, file| shard.handle_accepted(Time::ZERO, FileId(file), None, false);
        let (posting, polite) = (connect(&mut shard, 0), connect(&mut shard, 1));
        let mut two = Self { shard, posting, polite, sid: String::new(), sent: Vec::new(), heard: Vec::new() };
        two.receive(polite, upgrade_request("/socket.io/?EIO=4&transport=websocket"));
        two.receive(polite, text("40"));
        two.receive(posting, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n".to_vec());
        let answer = String::from_utf8_lossy(&two.sent.last().unwrap().1).into_owned();
        two.sid = answer.split_once("\"sid\":\"").unwrap().1[..20].to_owned();
        two.post(posting, "40");
        two.sent.clear();
        two.post(posting, body);
        two
    }

    fn post(&mut self, key: ConnectionKey, body: &str) {
        self.receive(key, post_request(&polling_url(&self.sid), body).into_bytes());
    }

    fn receive(&mut self, key: ConnectionKey, mut bytes: Vec<u8>) {
        self.shard.handle_received(Time::ZERO, key, &mut bytes);
        self.dispatch(&bytes);
        self.flush();
    }

    fn dispatch(&mut self, received: &[u8]) {
        while let Some(event) = self.shard.poll_event() {
            match event {
                Event::ConnectRequested { socket } => {
                    self.shard.enter_socket(socket, NamespaceId(0), &Arc::from("/"));
                    self.shard.accept_socket(socket, NamespaceId(0), &Arc::from("/"));
                }
                Event::Message { message, .. } => self.heard.push(message.data.bytes(received).len()),
                _ => {}
            }
        }
    }

    fn flush(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            if let Output::Send { file, frame, .. } = output {
                self.sent.push((file, frame.bytes().to_vec()));
                let key = match file {
                    FileId(0) => self.posting,
                    FileId(1) => self.polite,
                    _ => continue, // One more client, whose sends stay in flight.
                };
                self.shard.handle_sent(Time::ZERO, key, false);
            }
        }
    }

    /// What `runtime::turn` does of it.
    fn turn(&mut self) {
        for _ in 0..self.shard.posted_count() {
            self.shard.handle_post(Time::ZERO);
            self.dispatch(&[]);
        }
        self.flush();
    }
}

#[test]
fn nobody_waits_for_more_than_a_piece() {
    let mut two = Two::new();
    assert!(two.heard.is_empty(), "the packets are the next turns'");
    assert!(two.sent.is_empty(), "and their answer");
    let mut turns = 0;
    while two.shard.has_work() {
        let before = two.heard.len();
        two.turn();
        let count = two.heard.len() - before;
        assert!(count <= POSTED_PACKETS_PER_TURN, "{count} events in one turn");
        // Somebody else is heard in each turn, at once.
        let before = two.heard.len();
        two.receive(two.polite, text("42[\"polite\"]"));
        assert_eq!(two.heard.len(), before + 1);
        turns += 1;
    }
    assert_eq!(two.heard.len(), PACKETS + turns);
    assert_eq!(turns, PACKETS.div_ceil(POSTED_PACKETS_PER_TURN));
    let answers: Vec<&(FileId, Vec<u8>)> = two.sent.iter().filter(|(file, _)| *file == FileId(0)).collect();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].1.ends_with(b"\r\n\r\nok"));
}

#[test]
fn every_packet_arrives_once_and_in_order() {
    let mut world = World::new(1, Options::default());
    let sid = joined(&mut world);
    assert_eq!(world.post(0, &polling_url(&sid), &body(20_000)), (200, "ok".into()));
    let expected = (0..20_000).map(|number| number.to_string()).collect::<Vec<_>>();
    assert!(names(&world) == expected, "{:?}", &names(&world)[..10]);
    // The next one is welcome.
    assert_eq!(world.post(0, &polling_url(&sid), "42[\"next\"]"), (200, "ok".into()));
    assert_eq!(names(&world).last().unwrap(), "next");
}

#[test]
fn while_its_packets_are_taken_a_connection_has_its_deadline_and_its_bound() {
    let mut two = Two::new();
    two.receive(two.posting, vec![b'x'; PIPELINED_BYTES_MAX]);
    assert_eq!(two.shard.connection_count(), 2);
    two.receive(two.posting, vec![b'x']);
    assert_eq!(two.shard.connection_count(), 1, "more pipelined bytes than may wait");
    let mut two = Two::new();
    two.shard.handle_deadlines(Time::from_millis(REQUEST_HEAD_DEADLINE_MS - 1));
    two.receive(two.posting, vec![b'x']);
    assert_eq!(two.shard.connection_count(), 2);
    two.shard.handle_deadlines(Time::from_millis(REQUEST_HEAD_DEADLINE_MS));
    two.flush();
    assert_eq!(two.shard.connection_count(), 1);
    assert!(two.shard.has_work(), "its packets are its session's");
}

/// Few long packets are no flood: an honest client with much to say gets its answers in as few polls as ever.
#[test]
fn long_packets_are_taken_at_once_up_to_a_mebibyte() {
    let mut two = Two::of(&vec![format!("42[\"{}\"]", "x".repeat(60_000)); 15].join("\u{1e}"));
    assert_eq!(two.heard.len(), 15);
    assert!(two.sent[0].1.ends_with(b"\r\n\r\nok"));
    two.heard.clear();
    // Longer ones: to the end of the packet in which the bytes end, each time.
    let (first, long) = (two.posting, POSTED_BYTES_PER_TURN / 2 + 1);
    two.post(first, &vec![format!("42[\"{}\"]", "x".repeat(long)); 5].join("\u{1e}"));
    let mut in_each_turn = Vec::new();
    while two.shard.has_work() {
        let before = two.heard.len();
        two.turn();
        in_each_turn.push(two.heard.len() - before);
    }
    assert_eq!(in_each_turn, [2, 2, 1]);
}

#[test]
fn requests_behind_it_are_answered_behind_it() {
    let mut world = World::new(1, Options::default());
    let sid = joined(&mut world);
    let wire = world.connect(0);
    let mut bytes = post_request(&polling_url(&sid), &body(20_000)).into_bytes();
    bytes.extend(b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    world.send(wire, &bytes);
    let answers = world.take_text(wire);
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404"]);
    assert_eq!(names(&world).len(), 20_000);
}

#[test]
fn its_packets_are_taken_though_its_connection_ends() {
    let mut two = Two::new();
    two.shard.handle_ended(Time::ZERO, two.posting);
    while two.shard.has_work() {
        two.turn();
    }
    assert_eq!(two.heard.len(), PACKETS);
    assert_eq!(two.shard.session_count(), 2);
}

#[test]
fn what_comes_over_the_websocket_of_an_upgrade_comes_behind_it() {
    let mut two = Two::new();
    two.turn();
    assert!(!two.heard.is_empty() && two.heard.len() < PACKETS);
    let key = two.shard.handle_accepted(Time::ZERO, FileId(2), None, false);
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", two.sid);
    two.receive(key, upgrade_request(&target));
    two.receive(key, text("2probe"));
    assert!(two.heard.len() < PACKETS, "it is not the transport yet");
    two.receive(key, text("5"));
    assert_eq!(two.heard.len(), PACKETS);
    two.receive(key, text("42[\"behind\"]"));
    assert_eq!(two.heard.len(), PACKETS + 1);
    let answered = |(file, bytes): &(FileId, Vec<u8>)| *file == FileId(0) && bytes.ends_with(b"\r\n\r\nok");
    assert_eq!(two.sent.iter().filter(|sent| answered(sent)).count(), 1);
    assert!(!two.shard.has_work());
}

#[test]
fn a_second_post_meanwhile_overlaps() {
    let mut world = World::new(1, Options::default());
    let sid = joined(&mut world);
    let wire = world.connect(0);
    let mut two_posts = post_request(&polling_url(&sid), &body(20_000));
    two_posts.push_str(&post_request(&polling_url(&sid), "42[\"behind\"]"));
    world.send(wire, two_posts.as_bytes());
    assert_eq!(names(&world).len(), 20_001, "behind it on its own connection it is no overlap");
    // On another connection it is one, as while a body arrives.
    let mut two = Two::new();
    let key = two.shard.handle_accepted(Time::ZERO, FileId(2), None, false);
    let session = two.shard.session_count();
    two.post(key, "42[\"second\"]");
    assert_eq!(two.shard.session_count(), session - 1);
    while two.shard.has_work() {
        two.turn();
    }
    assert!(two.heard.is_empty(), "what was not taken of a session that has ended is not taken");
}

#[test]
fn a_packet_that_ends_the_session_ends_the_rest_and_is_answered() {
    let mut world = World::new(1, Options::default());
    let sid = joined(&mut world);
    let body = format!("{}\u{1e}1\u{1e}{}", body(10_000), body(10_000));
    assert_eq!(world.post(0, &polling_url(&sid), &body), (200, "ok".into()));
    assert_eq!(names(&world).len(), 10_000);
    let last = world.heard.last().unwrap();
    assert!(matches!(last, Heard::Disconnected(_, DisconnectReason::TransportClose, _)), "{last:?}");
    let sid = joined(&mut world);
    world.heard.clear();
    let body = format!("{}\u{1e}", self::body(10_000));
    assert_eq!(world.post(0, &polling_url(&sid), &body), (200, "ok".into()), "an empty packet at the end is none");
    assert_eq!(names(&world).len(), 10_000);
    let last = world.heard.last().unwrap();
    assert!(matches!(last, Heard::Disconnected(_, DisconnectReason::ParseError, _)), "{last:?}");
    world.advance(CLOSED_GRACE_MS + CLOSING_DEADLINE_MS + 50_000);
    assert!(world.shards[0].is_vacant());
}

#[test]
fn a_flood_of_deadlines_is_handled_over_several_turns() {
    let mut world = World::new(1, Options { outbox_bytes_max: 16 << 20, ..Options::default() });
    let (_, socket) = world.joined(0);
    let late = world.now.after(1_000);
    let count = 2 * DEADLINES_PER_TURN + 10;
    let shard = &mut world.shards[0];
    for waiter in 0..count as u64 {
        let parts = EventParts { json: b"[\"question\"]", attachments: &[] };
        shard.emit_with_ack(socket, parts, EmitFlags::default(), Some(1_000), waiter).unwrap();
    }
    let mut in_each_turn = Vec::new();
    while shard.next_deadline().is_some_and(|deadline| deadline <= late) {
        shard.handle_deadlines(late);
        let failed = std::iter::from_fn(|| shard.poll_event()).filter(|event| matches!(event, Event::AckFailed { .. }));
        in_each_turn.push(failed.count());
    }
    in_each_turn.retain(|count| *count > 0);
    assert_eq!(in_each_turn, [DEADLINES_PER_TURN, DEADLINES_PER_TURN, 10]);
}
