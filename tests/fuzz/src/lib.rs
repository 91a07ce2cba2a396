//! Fuzz targets: what every decoder and a whole shard must keep to, whatever bytes come.
//!
//! A target is a function of bytes that panics if something is not as it must be. [`driver`] is a seeded mutator over the
//! corpus, on stable Rust: the smoke run of every test run, and `make fuzz`. libFuzzer drives the same
//! bodies (`libfuzzer/`, `make libfuzzer`).
//!
//! | targets | file |
//! |---|---|
//! | HTTP: request, query, cookie, chunked, JSONP, extensions | [`http`] |
//! | WebSocket: frames, messages, deflate | [`websocket`] |
//! | Engine.IO and Socket.IO: packets, payloads, JSON, attachments, msgpack | [`packets`] |
//! | connections, their bytes split anywhere, time | [`shard`] |
//!
//! `corpus/` keeps a few inputs of each that libFuzzer has found; [`keep`] chooses them (`make fuzz-corpus`).

#![forbid(unsafe_code)]

pub mod driver;
pub mod http;
pub mod keep;
pub mod packets;
pub mod shard;
pub mod websocket;

/// A target: its name, what it does, and inputs to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As `make fuzz TARGET_NAME=name` wants it.
    pub name: &'static str,
    /// Takes any bytes; panics if something is wrong.
    pub run: fn(&[u8]),
    /// Good beginnings; what fuzzing finds is added to the files of `corpus/<name>`.
    pub seeds: &'static [&'static [u8]],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "http_request", run: http::request, seeds: http::REQUESTS },
    Target { name: "http_fields", run: http::fields, seeds: http::FIELDS },
    Target {
        name: "chunked",
        run: http::chunked,
        seeds: &[b"3\r\nabc\r\n0\r\n\r\n", b"a;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"],
    },
    Target { name: "websocket_message", run: websocket::message, seeds: websocket::FRAMES },
    Target {
        name: "websocket_deflate",
        run: websocket::deflate,
        seeds: &[b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\x00\x00\x00\xff\xff", b"aaaaaaaaaaaa"],
    },
    Target { name: "engineio", run: packets::engineio, seeds: packets::PAYLOADS },
    Target { name: "socketio", run: packets::socketio, seeds: packets::PACKETS },
    Target { name: "json", run: packets::json, seeds: packets::JSON },
    Target { name: "msgpack", run: packets::msgpack, seeds: packets::MSGPACK },
    Target { name: "shard", run: shard::shard, seeds: shard::STORIES },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
