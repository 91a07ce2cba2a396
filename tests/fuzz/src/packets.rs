//! Engine.IO and Socket.IO: packets, payloads of both revisions, JSON, attachments, msgpack.

use ringio_codec::engineio::{self, PayloadEncoder, PolledPacket, payload, payload_v3};
use ringio_codec::socketio::decode::{DecodeLimits, decode};
use ringio_codec::socketio::msgpack::{self, MsgpackLimits};
use ringio_codec::socketio::{attachment, json as skim};

/// Polling payloads to begin with.
pub const PAYLOADS: &[&[u8]] = &[
    b"4hello\x1e2\x1ebAQID\x1e6",
    b"6:4hello2:4\xe2\x82\xac10:b4AQIDBA==",
    b"\x00\x06\xff4hello\x01\x04\xff\x04\x01\x02\x03",
    b"0{\"sid\":\"x\"}",
];
/// Packets to begin with.
pub const PACKETS: &[&[u8]] = &[
    b"0/admin,{\"token\":1}",
    b"2/a,12[\"name\",1,{\"b\":[true,null]}]",
    b"51-[\"x\",{\"_placeholder\":true,\"num\":0}]",
    b"62-/n?q=1,3[{\"_placeholder\":true,\"num\":1},{\"num\":0,\"_placeholder\":true}]",
    b"1/x,",
    b"4{\"message\":\"no\"}",
];
/// JSON to begin with.
pub const JSON: &[&[u8]] = &[
    b"[\"na\\u006de\",-1.5e+3,[],{},\"\\ud83d\\ude00\"]",
    b"[[[[[[1]]]]],{\"a\":{\"b\":{\"_placeholder\":true,\"num\":3}}}]",
    b"[\"x\" , \"\\\"\", false ]",
];
/// Messages to begin with.
pub const MSGPACK: &[&[u8]] = &[
    b"\x83\xa4type\x02\xa4data\x92\xa1x\x01\xa3nsp\xa1/",
    b"\x84\xa4type\x03\xa4data\x91\xc4\x02\x01\x02\xa3nsp\xa2/a\xa2id\x05",
    b"\x83\xa4type\x00\xa4data\x80\xa3nsp\xa1/",
];

/// What a text payload holds is what it says when it is encoded again.
pub fn engineio(bytes: &[u8]) {
    for packet in payload_v3::decode_binary_body(bytes).take(10_000) {
        if packet.is_err() {
            break;
        }
    }
    let _ = payload_v3::decode_websocket_binary(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = engineio::decode_text(text);
    let _ = payload_v3::decode_websocket_text(text);
    for packet in payload_v3::decode_text_body(text).take(10_000) {
        if packet.is_err() {
            break;
        }
    }
    let packets: Vec<_> = payload::decode(text).take_while(Result::is_ok).flatten().collect();
    let mut again = Vec::new();
    let mut encoder = PayloadEncoder::new(&mut again);
    for packet in &packets {
        match packet {
            PolledPacket::Text(packet) => {
                let mut one = Vec::new();
                packet.encode(&mut one);
                encoder.push_text(&one);
            }
            PolledPacket::Binary(message) => encoder.push_binary(message),
        }
    }
    let again = String::from_utf8(again).expect("a text payload is text");
    let back: Vec<_> = payload::decode(&again).take_while(Result::is_ok).flatten().collect();
    if !packets.is_empty() {
        assert_eq!(format!("{back:?}"), format!("{packets:?}"));
    }
}

/// A packet's parts lie in its text, and its arguments are as many as it says.
pub fn socketio(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(packet) = decode(text, &DecodeLimits { attachments_max: 10 }) else { return };
    assert!(packet.attachment_count <= 10);
    assert!(packet.namespace == "/" || text.contains(packet.namespace));
    if let Some(data) = packet.data {
        assert!(text.ends_with(data) || data.len() <= text.len());
        skim::validate(data).expect("what was let through is JSON");
        let _ = attachment::check(data, packet.attachment_count);
    }
    let (arguments, count) = (packet.arguments(), packet.argument_count());
    let bounds: Vec<_> = skim::argument_bounds(arguments).collect();
    assert_eq!(bounds.len(), count as usize, "{text}");
    let _ = packet.event_name();
}

/// Elements found without parsing are those that are there; placeholders lie in the text in order.
pub fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let is_valid = skim::validate(text).is_ok();
    let (array, object) = (skim::validate_array(text).is_ok(), skim::validate_object(text).is_ok());
    assert!(is_valid || (!array && !object), "an array or object that is no JSON: {text}");
    assert!(!(array && object));
    if skim::skim_event(text).is_ok() {
        assert!(array, "an event is an array: {text}");
    }
    if array && let Ok(placeholders) = attachment::find(text, 1_000) {
        let mut end = 0;
        for placeholder in &placeholders {
            assert!(placeholder.range.start >= end && placeholder.range.end <= text.len());
            end = placeholder.range.end;
            skim::validate_object(&text[placeholder.range.clone()]).expect("a placeholder is an object");
        }
        assert_eq!(attachment::count(text), Ok(placeholders.len()));
    }
}

/// What is read as a packet can be said as one of the default parser.
pub fn msgpack(bytes: &[u8]) {
    let Ok(packet) = msgpack::decode(bytes, &MsgpackLimits { attachments_max: 20 }) else { return };
    let _ = (packet.event_name(), packet.argument_count());
    let (mut text, mut attachments) = (Vec::new(), Vec::new());
    if packet.write_text(&mut text, &mut attachments).is_ok() {
        let text = std::str::from_utf8(&text).expect("JSON is text");
        assert!(attachments.len() <= 20);
        assert!(attachments.iter().all(|range| range.end <= bytes.len()), "attachments lie in the message");
        let _ = skim::validate(text);
    }
}
