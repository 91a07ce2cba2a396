//! Parsers other than the default one, through the whole core: msgpack byte for byte, and one that keeps state.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use bytes::Bytes;
use ringio_core::base::id::NamespaceId;
use ringio_core::door::{DisconnectReason, EmitError, EmitFlags, EventParts};
use ringio_core::options::{Options, RecoveryOptions};
use ringio_core::parser::msgpack::Msgpack;
use ringio_core::parser::{
    DecodeError, Decoder, EncodeError, Incoming, Message, Messages, Outgoing, PacketKind, Parser,
};
use ringio_core::room::select::Target;
use std::sync::Arc;
use world::{Heard, Wire, World, binary, messages, polling_url, post_request, text};

const MAIN: NamespaceId = NamespaceId(0);

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn options(parser: impl Parser + 'static) -> Options {
    Options { parser: Some(Arc::new(parser)), ..Options::default() }
}

fn event(json: &str) -> EventParts<'_> {
    EventParts { json: json.as_bytes(), attachments: &[] }
}

/// The payloads of the binary messages that have come.
fn taken(world: &mut World, wire: Wire) -> Vec<String> {
    messages(&world.take(wire))
        .into_iter()
        .map(|message| match message.strip_prefix('b') {
            Some(bytes) => bytes.replace([',', '[', ']', ' '], ""),
            None => message,
        })
        .collect()
}

fn msgpack_world(shards: u16) -> (World, Wire) {
    let mut world = World::new(shards, options(Msgpack::default()));
    let wire = world.websocket(0);
    world.take(wire);
    world.send(wire, &binary(&hex("82 a47479706500 a36e7370a12f")));
    (world, wire)
}

fn ended(world: &World) -> Option<DisconnectReason> {
    world
        .heard
        .iter()
        .find_map(|heard| if let Heard::Disconnected(_, reason, _) = heard { Some(*reason) } else { None })
}

/// The captured packets of socket.io 4.8.3 with socket.io-msgpack-parser 3.0.2, in the order of the recording.
#[test]
fn msgpack_is_that_of_the_official_server() {
    let (mut world, wire) = msgpack_world(1);
    let socket = world.last_connected();
    let sid = world.shards[0].socket_id(socket).unwrap().to_string();
    let sid: String = sid.bytes().map(|byte| format!("{byte:02x}")).collect();
    let connected = format!("83a47479706500a46461746182a3736964b4{sid}a3706964d40000a36e7370a12f");
    assert_eq!(taken(&mut world, wire), [connected]);

    let attachments = [Bytes::from_static(&[1, 2])];
    let parts = EventParts { json: br#"["s",{"_placeholder":true,"num":0},{}]"#, attachments: &attachments };
    world.shards[0].emit_with_ack(socket, parts, EmitFlags::default(), None, 9).unwrap();
    world.run();
    assert_eq!(taken(&mut world, wire), ["84a47479706502a46461746193a173c402010280a2696400a36e7370a12f"]);
    world.send(wire, &binary(&hex("84a47479706503a2696400a4646174619107a36e7370a12f")));
    assert_eq!(world.heard.last(), Some(&Heard::AckReceived(9, "[7]".to_owned())));

    let extra_keys =
        "84a47479706502a46461746192a16581a178cb3ff8000000000000a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f";
    world.send(wire, &binary(&hex(extra_keys)));
    assert_eq!(world.heard.last(), Some(&Heard::Message(socket, "e".to_owned(), r#"{"x":1.5}"#.to_owned())));
    let wants_ack = "85a47479706502a46461746192a16501a76f7074696f6e7381a8636f6d7072657373c3a2696400a36e7370a12f";
    world.send(wire, &binary(&hex(wants_ack)));
    assert_eq!(taken(&mut world, wire), ["84a2696400a47479706503a4646174619101a36e7370a12f"]);

    world.shards[0].broadcast(MAIN, "/", &Target::everyone(), event("[\"b\",-1]"), EmitFlags::default()).unwrap();
    world.run();
    assert_eq!(taken(&mut world, wire), ["83a47479706502a46461746192a162ffa36e7370a12f"]);
    world.shards[0].disconnect(socket, false);
    world.run();
    assert_eq!(taken(&mut world, wire), ["82a47479706501a36e7370a12f"]);
    world.send(wire, &binary(&hex("82a47479706500a36e7370a22f78")));
    let refused = "83a47479706504a36e7370a22f78a46461746181a76d657373616765b1496e76616c6964206e616d657370616365";
    assert_eq!(taken(&mut world, wire), [refused]);
}

#[test]
fn a_client_leaves_its_namespace_in_msgpack() {
    let (mut world, wire) = msgpack_world(1);
    world.send(wire, &binary(&hex("82a47479706501a36e7370a12f")));
    assert_eq!(ended(&world), Some(DisconnectReason::ClientNamespaceDisconnect));
    assert!(!world.is_over(wire), "the connection stays");
}

#[test]
fn binary_is_handed_on_as_attachments_over_both_transports() {
    let packet = "83a47479706502a46461746193a165c40201ffc7010009a36e7370a12f";
    let (mut world, wire) = msgpack_world(1);
    world.send(wire, &binary(&hex(packet)));
    let attachments = vec![vec![1, 255], vec![9]];
    let socket = world.last_connected();
    assert!(world.heard.contains(&Heard::Binary(socket, "e".to_owned(), attachments.clone())));

    let sid = world.polling(0);
    let base64 = |packet: &str| {
        let mut body = b"b".to_vec();
        ringio_codec::engineio::base64::encode(&mut body, &hex(packet));
        String::from_utf8(body).unwrap()
    };
    let wire = world.connect(0);
    world.send(wire, post_request(&polling_url(&sid), &base64("82a47479706500a36e7370a12f")).as_bytes());
    let (_, body) = world.get(0, &polling_url(&sid));
    assert!(body.starts_with('b'), "{body}");
    world.send(wire, post_request(&polling_url(&sid), &base64(packet)).as_bytes());
    let socket = world.last_connected();
    assert!(world.heard.contains(&Heard::Binary(socket, "e".to_owned(), attachments)));
}

#[test]
fn what_msgpack_cannot_read_closes_the_connection() {
    for (bad, error) in [
        ("83a47479706502a46461746191", "malformed msgpack"),
        ("83a47479706505a46461746191a165a36e7370a12f", "invalid packet type"),
        ("83a47479706502a46461746191a16aa36e737001", "invalid namespace"),
        ("83a47479706502a46461746190a36e7370a12f", "invalid payload"),
        ("84a47479706502a46461746191a165a26964ffa36e7370a12f", "invalid packet id"),
    ] {
        let (mut world, wire) = msgpack_world(1);
        world.send(wire, &binary(&hex(bad)));
        assert!(world.heard.contains(&Heard::ProtocolError(error)), "{bad}: {:?}", world.heard);
        assert_eq!(ended(&world), Some(DisconnectReason::ForcedClose));
        assert!(taken(&mut world, wire).contains(&"close 1005".to_owned()));
    }
    let (mut world, wire) = msgpack_world(1);
    world.send(wire, &text("42[\"e\"]"));
    assert!(world.heard.contains(&Heard::ProtocolError("text where msgpack should come")));
    assert_eq!(ended(&world), Some(DisconnectReason::ForcedClose));
}

#[test]
fn a_namespace_without_slash_is_refused_by_the_name_it_was_asked_for() {
    let (mut world, wire) = msgpack_world(1);
    world.take(wire);
    world.send(wire, &binary(&hex("82a47479706500a36e7370a178")));
    let refused = "83a47479706504a36e7370a178a46461746181a76d657373616765b1496e76616c6964206e616d657370616365";
    assert_eq!(taken(&mut world, wire), [refused]);
    assert!(ended(&world).is_none());
}

#[test]
fn binary_in_auth_is_a_list_of_numbers() {
    let mut world = World::new(1, options(Msgpack::default()));
    let wire = world.websocket(0);
    world.send(wire, &binary(&hex("83 a47479706500 a464617461 82a16bc4020aff a161 91a3782279 a36e7370a12f")));
    let socket = world.last_connected();
    assert_eq!(world.shards[0].auth(socket), Some(&br#"{"k":[10, 255],"a":["x\"y"]}"#[..]));
}

#[test]
fn a_broadcast_to_every_shard_is_encoded_once() {
    let (mut world, first) = msgpack_world(3);
    let mut wires = vec![first];
    for shard in [0, 1, 2, 2] {
        let wire = world.websocket(shard);
        world.send(wire, &binary(&hex("82 a47479706500 a36e7370a12f")));
        wires.push(wire);
    }
    for wire in &wires {
        world.take(*wire);
    }
    let encoded = |world: &World| world.shards.iter().map(|shard| shard.counters().packets_encoded).sum::<u64>();
    let before = encoded(&world);
    world.shards[1].broadcast(MAIN, "/", &Target::everyone(), event("[\"b\",1.5]"), EmitFlags::default()).unwrap();
    world.run();
    assert_eq!(encoded(&world) - before, 1);
    for wire in wires {
        let expected = "83a47479706502a46461746192a162cb3ff8000000000000a36e7370a12f";
        assert_eq!(taken(&mut world, wire), [expected]);
    }
}

#[test]
fn an_offset_is_the_last_argument() {
    let recovery = Some(RecoveryOptions::default());
    let mut world = World::new(1, Options { recovery, ..options(Msgpack::default()) });
    let wire = world.websocket(0);
    world.take(wire);
    world.send(wire, &binary(&hex("82 a47479706500 a36e7370a12f")));
    let [connected] = &taken(&mut world, wire)[..] else { panic!("one answer") };
    assert!(connected.contains("a3706964b4"), "a private id: {connected}");
    world.emit(0, world.last_connected(), "[\"e\"]").unwrap();
    world.run();
    // Offset 1 of the only shard.
    assert_eq!(taken(&mut world, wire), ["83a47479706502a46461746192a165a131a36e7370a12f"]);
}

#[test]
fn what_msgpack_cannot_encode_is_told_to_whoever_emits_it() {
    let (mut world, wire) = msgpack_world(2);
    world.take(wire);
    let deep = format!("[\"e\",{}{}]", "[".repeat(200), "]".repeat(200));
    let socket = world.last_connected();
    assert!(matches!(world.emit(0, socket, &deep), Err(EmitError::Encode(_))));
    let flags = EmitFlags::default();
    let shard = &mut world.shards[0];
    assert!(matches!(shard.broadcast(MAIN, "/", &Target::everyone(), event(&deep), flags), Err(EmitError::Encode(_))));
    let name = Arc::from("/");
    let asked = shard.broadcast_with_ack(MAIN, &name, &Target::everyone(), event(&deep), flags, 1_000, 1);
    assert!(matches!(asked, Err(EmitError::Encode(_))));
    world.run();
    assert!(world.take(wire).is_empty());
    assert_eq!(world.emit(0, socket, "[\"e\"]"), Ok(()));
}

/// Collects text messages until one that ends in a dot; then each word of them is an event. `!` is an error.
#[derive(Debug)]
struct Words;

#[derive(Default)]
struct Sentence(String);

impl Parser for Words {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(Sentence::default())
    }

    fn encode(&self, namespace: &str, packet: &Outgoing<'_>, messages: &mut Messages) -> Result<(), EncodeError> {
        match packet {
            Outgoing::Connect { .. } => messages.push_text("connected"),
            Outgoing::Event { parts, .. } => {
                messages.push_text(namespace);
                messages.push_binary(parts.json);
            }
            Outgoing::Disconnect => return Err(EncodeError("cannot say it")),
            _ => {}
        }
        Ok(())
    }
}

impl Decoder for Sentence {
    fn decode(&mut self, message: Message<'_>, packets: &mut Vec<Incoming>) -> Result<(), DecodeError> {
        let Message::Text(text) = message else { return Err(DecodeError("bytes")) };
        let namespace = "/".to_owned();
        if text == "hello" {
            let packet = Incoming { kind: PacketKind::Connect, namespace, id: None, json: None, attachments: vec![] };
            packets.push(packet);
            return Ok(());
        }
        self.0.push_str(text);
        let Some(sentence) = self.0.strip_suffix('.') else { return Ok(()) };
        for word in sentence.split(' ') {
            if word == "!" {
                return Err(DecodeError("do not shout"));
            }
            let id = (word == "#").then_some(1 << 53);
            let json = if word == "?" { "[".to_owned() } else { format!("[\"{word}\"]") };
            let (kind, namespace) = (PacketKind::BinaryEvent, namespace.clone());
            packets.push(Incoming { kind, namespace, id, json: Some(json), attachments: vec![] });
        }
        self.0 = String::new();
        Ok(())
    }

    fn bytes_held(&self) -> usize {
        self.0.len()
    }
}

fn words(options: Options) -> (World, Wire) {
    let mut world = World::new(1, options);
    let wire = world.websocket(0);
    world.take(wire);
    world.send(wire, &text("4hello"));
    assert_eq!(taken(&mut world, wire), ["4connected"]);
    (world, wire)
}

fn names(world: &World) -> Vec<&str> {
    world
        .heard
        .iter()
        .filter_map(|heard| if let Heard::Message(_, name, _) = heard { Some(&**name) } else { None })
        .collect()
}

#[test]
fn a_decoder_keeps_what_is_unfinished_and_one_message_may_hold_several_packets() {
    let (mut world, wire) = words(options(Words));
    world.send(wire, &text("4one t"));
    assert_eq!(names(&world), Vec::<&str>::new());
    world.send(wire, &text("4wo."));
    world.send(wire, &text("4three."));
    assert_eq!(names(&world), ["one", "two", "three"]);
    world.emit(0, world.last_connected(), "[\"e\"]").unwrap();
    world.run();
    assert_eq!(messages(&world.take(wire)), ["4/", "b[5b, 22, 65, 22, 5d]"], "one behind the other");
}

#[test]
fn an_error_comes_after_the_packets_before_it() {
    let (mut world, wire) = words(options(Words));
    world.send(wire, &text("4one ! two."));
    assert_eq!(names(&world), ["one"]);
    assert!(world.heard.contains(&Heard::ProtocolError("do not shout")));
    assert_eq!(ended(&world), Some(DisconnectReason::ForcedClose));
}

#[test]
fn what_a_parser_hands_up_is_checked() {
    for (bad, error) in [
        ("4?.", "invalid payload"),
        ("4connect.", "invalid payload"),
        ("4a\"b.", "invalid payload"),
        ("4#.", "invalid ack id"),
    ] {
        let (mut world, wire) = words(options(Words));
        world.send(wire, &text(bad));
        assert!(world.heard.contains(&Heard::ProtocolError(error)), "{bad}");
        assert_eq!(ended(&world), Some(DisconnectReason::ForcedClose));
    }
}

#[test]
fn a_decoder_that_keeps_too_much_closes_its_connection() {
    let (mut world, wire) = words(Options { max_http_buffer_size: 100, attachments_max: 1, ..options(Words) });
    for _ in 0..20 {
        world.send(wire, &text("40123456789"));
    }
    assert!(ended(&world).is_none(), "200 bytes are kept");
    world.send(wire, &text("40"));
    assert_eq!(ended(&world), Some(DisconnectReason::ForcedClose));
}

#[test]
fn a_client_that_cannot_be_told_is_closed() {
    let (mut world, wire) = words(options(Words));
    let socket = world.last_connected();
    world.shards[0].disconnect(socket, false);
    world.run();
    assert_eq!(messages(&world.take(wire)), ["close 1005"]);
    assert_eq!(ended(&world), Some(DisconnectReason::ForcedClose));
    // No message at all is an error as well.
    let (mut world, _) = words(options(Words));
    let socket = world.last_connected();
    assert!(matches!(world.shards[0].acknowledge(socket, 1, event("[]")), Err(EmitError::Encode(_))));
}
