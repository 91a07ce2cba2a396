//! permessage-deflate and compressed polls: made once, shared, bounded; proven by counters and by reading what came.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_codec::websocket::{
    DeflateOptions, Deflater, Incoming, Inflater, MessageLimits, Received, Receiver, Role, WindowBits,
};
use ringio_core::base::id::NamespaceId;
use ringio_core::door::{EmitFlags, EventParts};
use ringio_core::options::{Options, PerMessageDeflate};
use ringio_core::room::select::Target;
use world::{Heard, Wire, World, frame, polling_url, post_request};

const MAIN: NamespaceId = NamespaceId(0);
const OFFER: &str = "permessage-deflate; client_max_window_bits";

fn deflating() -> Options {
    Options { per_message_deflate: Some(PerMessageDeflate::default()), ..Options::default() }
}

/// Both sides keep their contexts, if the client wants to.
fn keeping() -> Options {
    let deflate = PerMessageDeflate { negotiation: DeflateOptions::default(), ..PerMessageDeflate::default() };
    Options { per_message_deflate: Some(deflate), ..Options::default() }
}

fn long_event(text: &str) -> String {
    format!("[\"news\",\"{}\"]", text.repeat(2_000 / text.len()))
}

fn event(json: &str) -> EventParts<'_> {
    EventParts { json: json.as_bytes(), attachments: &[] }
}

fn handshake(target: &str, offer: &str) -> Vec<u8> {
    let request = String::from_utf8(world::upgrade_request(target)).unwrap();
    request.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n")).into_bytes()
}

/// A WebSocket client with permessage-deflate.
struct Client {
    wire: Wire,
    receiver: Receiver,
    inflater: Inflater,
    deflater: Deflater,
    /// The value of the answer's `Sec-WebSocket-Extensions`.
    agreed: String,
    /// What came with it.
    unread: Vec<u8>,
}

impl Client {
    fn connect(world: &mut World, shard: usize, offer: &str) -> Self {
        let wire = world.connect(shard);
        world.send(wire, &handshake("/socket.io/?EIO=4&transport=websocket", offer));
        Self::of(world, wire)
    }

    /// The client at the end of this wire, whose answer to the handshake has come.
    fn of(world: &mut World, wire: Wire) -> Self {
        let bytes = world.take(wire);
        let head_len = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let answer = String::from_utf8_lossy(&bytes[..head_len]);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let agreed = answer.split("Sec-WebSocket-Extensions: ").nth(1).unwrap_or_default();
        let agreed = agreed.lines().next().unwrap_or_default().to_owned();
        Self {
            wire,
            receiver: Receiver::new(),
            inflater: Inflater::new(agreed.contains("server_no_context_takeover")),
            deflater: Deflater::new(6, WindowBits::MAX, agreed.contains("client_no_context_takeover")),
            agreed,
            unread: bytes[head_len..].to_vec(),
        }
    }

    fn joined(world: &mut World, shard: usize, offer: &str) -> Self {
        let mut client = Self::connect(world, shard, offer);
        client.send(world, "40");
        client.take(world);
        client
    }

    fn send(&mut self, world: &mut World, message: &str) {
        world.send(self.wire, &self.deflated(message.as_bytes()));
    }

    fn deflated(&mut self, message: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::new();
        self.deflater.compress(message, &mut compressed);
        frame(0xc1, &compressed)
    }

    /// The messages that came, and how many bytes they took on the wire.
    fn take(&mut self, world: &mut World) -> (Vec<String>, usize) {
        let limits = MessageLimits { role: Role::Client, allow_rsv1: true, ..MessageLimits::default() };
        let mut bytes = std::mem::take(&mut self.unread);
        bytes.extend(world.take(self.wire));
        let (len, mut cursor, mut messages) = (bytes.len(), 0, Vec::new());
        while let Some(incoming) = self.receiver.next_with_deflate(&mut bytes, &mut cursor, &limits).unwrap() {
            let received = match incoming {
                Incoming::Plain(received) => received,
                Incoming::Deflated(message) => self.inflater.receive(&message, &bytes, 1 << 20).unwrap(),
            };
            messages.push(match received {
                Received::Text(payload) => String::from_utf8(payload.bytes(&bytes).to_vec()).unwrap(),
                Received::Binary(payload) => format!("{} bytes", payload.len()),
                Received::Close { code, .. } => format!("close {}", code.unwrap_or(1005)),
                other => format!("{other:?}"),
            });
        }
        (messages, len)
    }
}

#[test]
fn a_broadcast_to_5000_is_compressed_once_and_its_compressed_frames_are_joined_once() {
    let mut world = World::new(1, deflating());
    let mut clients: Vec<Client> = (0..5_000).map(|_| Client::joined(&mut world, 0, OFFER)).collect();
    assert_eq!(clients[0].agreed, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    let before = world.shards[0].counters();
    for client in &clients {
        world.stick(client.wire, true);
    }
    // The first finds the transport free; two more wait behind it and leave together.
    let events = [long_event("one "), long_event("two "), long_event("three ")];
    for (index, json) in events.iter().enumerate() {
        world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event(json), EmitFlags::default()).unwrap();
        if index == 0 {
            world.run();
        }
    }
    for client in &clients {
        world.stick(client.wire, false);
    }
    world.run();
    let after = world.shards[0].counters();
    assert_eq!(after.packets_encoded - before.packets_encoded, 3);
    assert_eq!(after.deflates_made - before.deflates_made, 3, "each broadcast is compressed once");
    assert_eq!(after.deflates_shared - before.deflates_shared, 3 * 4_999);
    assert_eq!(after.joins_made - before.joins_made, 1, "two compressed frames are joined once for all");
    assert_eq!(after.joins_shared - before.joins_shared, 4_999);
    assert_eq!(after.sends - before.sends, 10_000);
    assert_eq!(after.receive_bytes_held, 0, "nobody owns a context");
    for client in &mut clients {
        let (messages, len) = client.take(&mut world);
        assert_eq!(messages, events.iter().map(|json| format!("42{json}")).collect::<Vec<_>>());
        assert!(len < 300, "{len} bytes for 6,000");
    }
}

#[test]
fn three_shards_compress_a_broadcast_once_each_and_for_the_smallest_window_of_each() {
    let mut world = World::new(3, deflating());
    let offers = [OFFER, "permessage-deflate; server_max_window_bits=9", OFFER];
    let mut clients: Vec<Client> =
        (0..60).map(|index| Client::joined(&mut world, index % 3, offers[index / 20])).collect();
    let json = long_event("words ");
    world.shards[1].broadcast(MAIN, "/", &Target::everyone(), event(&json), EmitFlags::default()).unwrap();
    world.run();
    for shard in &world.shards {
        let counters = shard.counters();
        assert_eq!((counters.deflates_made, counters.deflates_shared), (2, 18), "for 15 bits, then for 9");
    }
    for client in &mut clients {
        assert_eq!(client.take(&mut world).0, [format!("42{json}")]);
    }
}

#[test]
fn who_did_not_offer_it_gets_the_same_broadcast_uncompressed() {
    let mut world = World::new(1, deflating());
    let (plain, _) = world.joined(0);
    let mut client = Client::joined(&mut world, 0, OFFER);
    let json = long_event("x");
    world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event(&json), EmitFlags::default()).unwrap();
    world.run();
    assert_eq!(world.take_messages(plain), [format!("42{json}")]);
    assert_eq!(client.take(&mut world).0, [format!("42{json}")]);
    // And rsv1 from it is what it always was.
    world.send(plain, &frame(0xc1, b"x"));
    assert_eq!(world.take_messages(plain), ["close 1002"]);
}

#[test]
fn compress_false_and_the_threshold_leave_messages_as_they_are() {
    let mut world = World::new(1, deflating());
    let mut client = Client::joined(&mut world, 0, OFFER);
    let socket = world.last_connected();
    let (long, off) = (long_event("x"), EmitFlags { compress: false, ..EmitFlags::default() });
    let made = world.shards[0].counters().deflates_made;
    world.shards[0].emit(socket, event(&long), off).unwrap();
    world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event(&long), off).unwrap();
    world.shards[0].broadcast_with_ack(MAIN, &"/".into(), &Target::everyone(), event(&long), off, 1_000, 1).unwrap();
    world.emit(0, socket, "[\"short\"]").unwrap();
    world.run();
    assert_eq!(world.shards[0].counters().deflates_made, made);
    let (messages, len) = client.take(&mut world);
    assert_eq!(messages.len(), 4);
    assert!(len > 6_000);
    world.emit(0, socket, &long).unwrap();
    world.run();
    assert_eq!(world.shards[0].counters().deflates_made, made + 1);
    assert!(client.take(&mut world).1 < 100);
}

#[test]
fn kept_contexts_live_in_both_directions_across_broadcasts_and_closing() {
    let mut world = World::new(1, keeping());
    let mut client = Client::joined(&mut world, 0, OFFER);
    assert_eq!(client.agreed, "permessage-deflate");
    let socket = world.last_connected();
    let mut lengths = Vec::new();
    for round in 0..4 {
        client.send(&mut world, "42[\"a name of an event\",\"and what it says\"]");
        world.emit(0, socket, "[\"news\",\"of no great length\"]").unwrap();
        world.run();
        let (messages, len) = client.take(&mut world);
        assert_eq!(messages, ["42[\"news\",\"of no great length\"]"], "round {round}");
        lengths.push(len);
        world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event("[\"short\"]"), EmitFlags::default()).unwrap();
        if round == 2 {
            world.shards[0]
                .broadcast(MAIN, "/", &Target::everyone(), event(&long_event("x")), EmitFlags::default())
                .unwrap();
        }
        world.run();
        client.take(&mut world);
    }
    assert!(lengths[1] < lengths[0] / 2 && lengths[3] == lengths[0], "{lengths:?}");
    assert_eq!(world.heard.iter().filter(|heard| matches!(heard, Heard::Message(..))).count(), 4);
    assert!(world.shards[0].counters().receive_bytes_held > 0, "its contexts are counted");
    world.shards[0].disconnect(socket, true);
    world.run();
    assert_eq!(client.take(&mut world).0, ["41", "close 1005"]);
    assert_eq!(world.shards[0].counters().receive_bytes_held, 0);
}

#[test]
fn a_bomb_is_closed_with_1009_and_leaves_nothing_behind() {
    for options in [deflating(), keeping()] {
        let mut world = World::new(1, options);
        let mut client = Client::joined(&mut world, 0, OFFER);
        let mut neighbour = Client::joined(&mut world, 0, OFFER);
        // 20 MB in 20 KB.
        let bomb = client.deflated(&vec![b'a'; 20 << 20]);
        assert!(bomb.len() < 32 << 10);
        world.send(client.wire, &bomb);
        assert_eq!(client.take(&mut world).0, ["close 1009"]);
        assert!(world.heard.iter().any(|heard| matches!(heard, Heard::Disconnected(_, reason, _)
            if reason.as_str() == "transport error")));
        neighbour.send(&mut world, "42[\"still here\"]");
        assert!(world.heard.iter().any(|heard| matches!(heard, Heard::Message(_, name, _) if name == "still here")));
        let after = world.shards[0].counters();
        assert!(after.receive_bytes_held < 512 << 10);
    }
}

#[test]
fn broken_streams_and_misplaced_bits_close_only_their_connection() {
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("no deflate", frame(0xc1, &[0xff; 20]), "close 1007"),
        ("rsv2", frame(0xa1, b"x"), "close 1002"),
        ("rsv3", frame(0x91, b"x"), "close 1002"),
        ("rsv1 on a ping", frame(0xc9, b"x"), "close 1002"),
        ("rsv1 on a continuation", [frame(0x01, b"4"), frame(0xc0, b"x")].concat(), "close 1002"),
        ("text that is none", frame(0xc1, &[0x4a, 0xfc, 0x0f, 0x00]), "close 1007"),
    ];
    for (name, bytes, expected) in cases {
        let mut world = World::new(1, deflating());
        let mut client = Client::joined(&mut world, 0, OFFER);
        let mut neighbour = Client::joined(&mut world, 0, OFFER);
        world.send(client.wire, &bytes);
        assert_eq!(client.take(&mut world).0, [expected], "{name}");
        assert!(world.is_over(client.wire), "{name}");
        neighbour.send(&mut world, "42[\"x\"]");
        assert_eq!(neighbour.take(&mut world).0, [""; 0]);
        assert!(matches!(world.heard.last(), Some(Heard::Message(..))), "{name}");
    }
}

#[test]
fn half_a_stream_is_never_half_an_event() {
    for options in [deflating(), keeping()] {
        let mut world = World::new(1, options);
        let mut neighbour = Client::joined(&mut world, 0, OFFER);
        let mut whole = Vec::new();
        Deflater::new(6, WindowBits::MAX, true).compress(b"42[\"cut\",\"somewhere in here\"]", &mut whole);
        for len in 0..whole.len() - 1 {
            let mut client = Client::joined(&mut world, 0, OFFER);
            world.send(client.wire, &frame(0xc1, &whole[..len]));
            // What is left may be a packet: `4`, or an event without a name. Nobody hears of those.
            let (messages, _) = client.take(&mut world);
            assert!(messages.iter().all(|message| message.starts_with("close ")), "{len}: {messages:?}");
        }
        // What the client leaves out at the end may be what the receiver puts there: nothing is missing then.
        for heard in &world.heard {
            let Heard::Message(_, name, arguments) = heard else { continue };
            assert_eq!((name.as_str(), arguments.as_str()), ("cut", "\"somewhere in here\""));
        }
        neighbour.send(&mut world, "42[\"x\"]");
        assert!(matches!(world.heard.last(), Some(Heard::Message(..))));
    }
}

#[test]
fn an_offer_that_cannot_be_met_is_refused_as_ws_does() {
    let mut options = keeping();
    options.per_message_deflate.as_mut().unwrap().negotiation.server_max_window_bits = WindowBits::new(10);
    for offer in ["permessage-deflate; server_max_window_bits=9", "permessage-deflate; foo", "permessage-deflate;="] {
        let mut world = World::new(1, options.clone());
        let wire = world.connect(0);
        world.send(wire, &handshake("/socket.io/?EIO=4&transport=websocket", offer));
        let answer = world.take_text(wire);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nInvalid or unacceptable Sec-WebSocket-Extensions header"), "{answer}");
    }
    let mut world = World::new(1, options);
    assert_eq!(Client::connect(&mut world, 0, "x-webkit-deflate-frame").agreed, "");
    let client = Client::connect(&mut world, 0, "x-other, permessage-deflate; client_no_context_takeover");
    assert_eq!(client.agreed, "permessage-deflate; client_no_context_takeover; server_max_window_bits=10");
    // Where it is off, nobody looks.
    let mut world = World::new(1, Options::default());
    assert_eq!(Client::connect(&mut world, 0, "permessage-deflate;=").agreed, "");
}

#[test]
fn an_upgrade_carries_what_waited_compressed_and_polling_what_was_compressed_plain() {
    for options in [deflating(), keeping()] {
        let mut world = World::new(1, options);
        let sid = world.polling(0);
        world.post(0, &polling_url(&sid), "40");
        world.get(0, &polling_url(&sid));
        let socket = world.last_connected();
        let wire = world.connect(0);
        world.send(wire, &handshake(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"), OFFER));
        let mut client = Client::of(&mut world, wire);
        client.send(&mut world, "2probe");
        assert_eq!(client.take(&mut world).0, ["3probe"]);
        let json = long_event("waiting ");
        world.emit(0, socket, &json).unwrap();
        world.run();
        client.send(&mut world, "5");
        let (messages, len) = client.take(&mut world);
        assert_eq!(messages, [format!("42{json}")]);
        assert!(len < 100, "{len}");
    }
}

#[test]
fn older_clients_get_theirs_compressed_too() {
    let mut world = World::new(1, Options { allow_eio3: true, ..deflating() });
    let wire = world.connect(0);
    world.send(wire, &handshake("/socket.io/?EIO=3&transport=websocket", OFFER));
    let mut client = Client::of(&mut world, wire);
    // Its OPEN packet comes a moment later.
    world.advance(20);
    client.take(&mut world);
    let socket = world.last_connected();
    let attachments = [bytes::Bytes::from(vec![7; 5_000])];
    let json = b"[\"bin\",{\"_placeholder\":true,\"num\":0}]";
    world.shards[0].emit(socket, EventParts { json, attachments: &attachments }, EmitFlags::default()).unwrap();
    world.run();
    let (messages, len) = client.take(&mut world);
    assert_eq!(messages[1], "5001 bytes", "with the leading byte of revision 3");
    assert!(len < 200);
}

/// A poll that accepts this, on a connection of its own.
fn poll(world: &mut World, shard: usize, sid: &str, accepts: &str) -> Wire {
    let wire = world.connect(shard);
    let target = polling_url(sid);
    world.send(wire, format!("GET {target} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accepts}\r\n\r\n").as_bytes());
    wire
}

fn joined_by_polling(world: &mut World) -> String {
    let sid = world.polling(0);
    world.post(0, &polling_url(&sid), "40");
    world.get(0, &polling_url(&sid));
    sid
}

#[test]
fn the_polls_that_get_one_broadcast_share_one_compressed_body() {
    let mut world = World::new(1, Options::default());
    let wires: Vec<Wire> = (0..300)
        .map(|index| {
            let sid = joined_by_polling(&mut world);
            poll(&mut world, 0, &sid, ["gzip", "deflate", "br"][index % 3])
        })
        .collect();
    let json = long_event("polled ");
    world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event(&json), EmitFlags::default()).unwrap();
    world.run();
    let counters = world.shards[0].counters();
    assert_eq!((counters.bodies_compressed, counters.bodies_shared), (2, 198));
    for (index, wire) in wires.into_iter().enumerate() {
        let answer = world.take(wire);
        let text = String::from_utf8_lossy(&answer);
        let encoding = ["Content-Encoding: gzip\r\n", "Content-Encoding: deflate\r\n", "Content-Length: 2"][index % 3];
        assert!(text.contains(encoding), "{text}");
        assert_eq!(index % 3 == 2, text.ends_with(&format!("42{json}")));
    }
}

#[test]
fn polls_are_compressed_from_the_threshold_unless_everything_in_them_must_not_be() {
    let mut world = World::new(1, Options::default());
    let sid = joined_by_polling(&mut world);
    let socket = world.last_connected();
    let off = EmitFlags { compress: false, ..EmitFlags::default() };
    let long = long_event("x");
    let cases: [(&[(&str, EmitFlags)], bool); 4] = [
        (&[("[\"short\"]", EmitFlags::default())], false),
        (&[(&long, EmitFlags::default())], true),
        (&[(&long, off)], false),
        (&[(&long, off), ("[\"short\"]", EmitFlags::default())], true),
    ];
    for (events, is_compressed) in cases {
        for (json, flags) in events {
            world.shards[0].emit(socket, event(json), *flags).unwrap();
        }
        let wire = poll(&mut world, 0, &sid, "gzip");
        let answer = world.take(wire);
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(text.contains("Content-Encoding: gzip\r\n"), is_compressed, "{text}");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\n"));
        assert!(text.contains("cache-control: no-store\r\n"));
    }
    let mut world = World::new(1, Options { http_compression: None, ..Options::default() });
    let sid = joined_by_polling(&mut world);
    world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event(&long), EmitFlags::default()).unwrap();
    let wire = poll(&mut world, 0, &sid, "gzip");
    assert!(world.take_text(wire).ends_with(&format!("42{long}")));
}

#[test]
fn a_posted_message_is_never_inflated() {
    let mut world = World::new(1, Options::default());
    let sid = joined_by_polling(&mut world);
    let request = post_request(&polling_url(&sid), "42[\"x\"]").replace("Host: h", "Host: h\r\nContent-Encoding: gzip");
    let wire = world.connect(0);
    world.send(wire, request.as_bytes());
    assert_eq!(world.answer(wire).0, 200, "as in Node: the field is not looked at");
}
