//! Bytes to values and back.

use super::HotPath;
use super::client::{self, HANDSHAKE};
use ringio_codec::engineio::payload;
use ringio_codec::http::request;
use ringio_codec::http::{EngineQuery, RequestLimits};
use ringio_codec::socketio::decode::{DecodeLimits, decode};
use ringio_codec::socketio::json;
use ringio_codec::websocket::{MessageLimits, Receiver, accept_key, apply_mask};
use std::hint::black_box;

pub(super) const PATHS: &[HotPath] = &[
    HotPath { name: "http: head of a handshake", make: head, units: 1, allocations: 0 },
    HotPath { name: "http: query of a handshake", make: query, units: 1, allocations: 0 },
    HotPath { name: "websocket: key to accept", make: accept, units: 1, allocations: 0 },
    HotPath { name: "websocket: unmask 64 B", make: || unmask(64), units: 1, allocations: 0 },
    HotPath { name: "websocket: unmask 64 KiB", make: || unmask(64 << 10), units: 1, allocations: 0 },
    HotPath { name: "websocket: receive an event of 64 B", make: || receive(64), units: 1, allocations: 0 },
    HotPath { name: "websocket: receive an event of 16 KiB", make: || receive(16 << 10), units: 1, allocations: 0 },
    HotPath { name: "engineio: polling body of three packets", make: polled, units: 3, allocations: 0 },
    HotPath { name: "socketio: decode an event of 64 B", make: || event(64), units: 1, allocations: 0 },
    HotPath { name: "socketio: decode an event of 16 KiB", make: || event(16 << 10), units: 1, allocations: 0 },
    HotPath { name: "socketio: validate nested JSON of 1 KiB", make: nested, units: 1, allocations: 0 },
];

fn head() -> Box<dyn FnMut() -> u64> {
    let limits = RequestLimits::default();
    Box::new(move || {
        let decoded = request::decode(black_box(HANDSHAKE), &limits);
        decoded.ok().flatten().map_or(0, |(request, size)| size as u64 + u64::from(request.is_websocket_upgrade()))
    })
}

fn query() -> Box<dyn FnMut() -> u64> {
    Box::new(|| {
        let query = EngineQuery::decode(black_box("EIO=4&transport=polling&t=OaPWjHd&sid=lv_VI97HAXpY6yYWAAAC"));
        query.sid.map_or(0, |sid| sid.len() as u64)
    })
}

fn accept() -> Box<dyn FnMut() -> u64> {
    Box::new(|| u64::from(accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ=="))[0]))
}

fn unmask(size: usize) -> Box<dyn FnMut() -> u64> {
    let mut bytes = vec![7; size];
    Box::new(move || {
        apply_mask(black_box(&mut bytes), [1, 2, 3, 4], 0);
        u64::from(bytes[size - 1])
    })
}

fn receive(size: usize) -> Box<dyn FnMut() -> u64> {
    let frame = client::text(&client::event("echo", size));
    let (mut bytes, mut receiver, limits) = (frame.clone(), Receiver::new(), MessageLimits::default());
    Box::new(move || {
        bytes.copy_from_slice(black_box(&frame));
        let (mut cursor, mut count) = (0, 0);
        while let Ok(Some(_)) = receiver.next(&mut bytes, &mut cursor, &limits) {
            count += 1;
        }
        count + cursor as u64
    })
}

fn polled() -> Box<dyn FnMut() -> u64> {
    let body = format!("2\u{1e}{}\u{1e}bAQIDBA==", client::event("echo", 64));
    // The binary packet is decoded on first use only; its text is what is found here.
    Box::new(move || payload::decode(black_box(&body)).filter_map(Result::ok).take(2).count() as u64)
}

fn event(size: usize) -> Box<dyn FnMut() -> u64> {
    let text = client::event("echo", size);
    let limits = DecodeLimits { attachments_max: 10 };
    Box::new(move || decode(black_box(&text[1..]), &limits).map_or(0, |packet| u64::from(packet.argument_count())))
}

fn nested() -> Box<dyn FnMut() -> u64> {
    let value = r#"{"id":12345,"name":"Ada","tags":["a","b","c"],"at":{"x":1.5,"y":-2e3,"z":null},"ok":true}"#;
    let text = format!("[{}]", [value; 11].join(","));
    Box::new(move || u64::from(json::validate(black_box(&text)).is_ok()))
}
