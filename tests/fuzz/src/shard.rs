//! A whole shard fed with bytes: connections that come and go, their bytes split anywhere, time that passes.
//!
//! ```text
//!   input: [operation][operand ...] [operation] ...        the structure is that of the bytes, so every mutation is a story
//! ```
//! Checked: no panic, both indexes agree after every step, what is held stays within `limits`, one send per connection, and
//! at the end nothing is left of anybody once all connections are gone and deadlines have passed.

use ringio_core::base::id::{ConnectionKey, FileId, NamespaceId, ShardIndex};
use ringio_core::base::time::Time;
use ringio_core::door::{EmitFlags, Event, EventParts, Output};
use ringio_core::options::{Options, Setup};
use ringio_core::shard::Shard;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stories to begin with: polling with events, a WebSocket, an upgrade. Pairs of operation and operand.
pub const STORIES: &[&[u8]] = &[
    b"\x00\x00\x10\x00\x50\x00\x00\x00\x13\x01\x50\x01\x12\x00\x50\x00\x14\x01\xa0\x00\x12\x00\x50\x00\x95\x64\x70\x00",
    b"\x00\x00\x11\x00\x50\x00\x16\x00\x50\x00\x17\x00\x50\x00\x1c\x00\x1d\x00\x50\x00\x1f\x00\x1e\x00\x50\x00\x1b\x00",
    b"\x00\x00\x10\x00\x50\x00\x00\x00\x13\x01\x50\x01\x00\x00\x15\x02\x50\x02\x18\x02\x50\x02\x12\x00\x50\x00\x19\x02\x50\x02\x17\x02\x50\x02\x90\xff",
];

/// Pieces of what clients say, so that mutations get past the first byte.
const PIECES: [&[u8]; 16] = [
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"GET /socket.io/?EIO=4&transport=polling&sid=$ HTTP/1.1\r\n\r\n",
    b"POST /socket.io/?EIO=4&transport=polling&sid=$ HTTP/1.1\r\nContent-Length: 2\r\n\r\n40",
    b"POST /socket.io/?EIO=4&transport=polling&sid=$ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n42[\"a\",1]\r\n0\r\n\r\n",
    b"GET /socket.io/?EIO=4&transport=websocket&sid=$ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"\x81\x82\x00\x00\x00\x0040",
    b"\x81\x89\x00\x00\x00\x0042[\"a\",1]",
    b"\x81\x86\x00\x00\x00\x002probe",
    b"\x81\x81\x00\x00\x00\x005",
    b"\x81\x81\x00\x00\x00\x003",
    b"\x88\x80\x00\x00\x00\x00",
    b"\x81\xab\x00\x00\x00\x00451-[\"b\",{\"_placeholder\":true,\"num\":0},123]",
    b"\x82\x83\x00\x00\x00\x00abc",
    b"\x89\x80\x00\x00\x00\x00",
    b"\x81\x8a\x00\x00\x00\x00420[\"a\",1]",
];

const CONNECTIONS_MAX: usize = 6;

struct World {
    shard: Shard,
    now: Time,
    files: BTreeMap<FileId, ConnectionKey>,
    sending: BTreeMap<FileId, bool>,
    next_file: u32,
    sid: String,
}

impl World {
    fn new(options: Options) -> Self {
        let setup = Setup {
            options: Arc::new(options),
            assets: Arc::default(),
            shard: ShardIndex(0),
            shard_count: 1,
            seed: [7; 32],
            unix_time_ms: 0,
        };
        let (files, sending) = (BTreeMap::new(), BTreeMap::new());
        Self { shard: Shard::new(setup), now: Time::ZERO, files, sending, next_file: 0, sid: "x".into() }
    }

    fn accept(&mut self) {
        if self.files.len() < CONNECTIONS_MAX {
            let file = FileId(self.next_file);
            self.next_file += 1;
            let key = self.shard.handle_accepted(self.now, file, None, false);
            self.files.insert(file, key);
        }
    }

    fn file(&self, number: u8) -> Option<(FileId, ConnectionKey)> {
        let at = usize::from(number).checked_rem(self.files.len())?;
        self.files.iter().nth(at).map(|(file, key)| (*file, *key))
    }

    /// What the input says, with `$` for the last session's sid.
    fn receive(&mut self, number: u8, bytes: &[u8]) {
        let Some((_, key)) = self.file(number) else { return };
        let mut bytes: Vec<u8> = bytes
            .iter()
            .flat_map(|byte| if *byte == b'$' { self.sid.as_bytes().to_vec() } else { vec![*byte] })
            .collect();
        self.shard.handle_received(self.now, key, &mut bytes);
        self.dispatch(&bytes);
    }

    fn dispatch(&mut self, received: &[u8]) {
        let name: Arc<str> = Arc::from("/");
        while let Some(event) = self.shard.poll_event() {
            match event {
                Event::ConnectRequested { socket } => {
                    if self.shard.requested_namespace(socket) == Some("/") {
                        self.shard.accept_socket(socket, NamespaceId(0), &name);
                        self.shard.join(socket, "room");
                    } else {
                        self.shard.refuse_socket(socket, "no", None);
                    }
                }
                Event::Message { socket, message } => {
                    let data = message.data.bytes(received);
                    assert!(std::str::from_utf8(data).is_ok(), "events are text");
                    assert!(message.arguments.end as usize <= data.len() && message.name.end as usize <= data.len());
                    let parts = EventParts { json: b"[\"echo\",1]", attachments: &message.attachments };
                    let _ = self.shard.emit(socket, EventParts { attachments: &[], ..parts }, EmitFlags::default());
                    if let Some(id) = message.id {
                        let _ = self.shard.acknowledge(socket, id, EventParts { json: b"[]", attachments: &[] });
                    }
                }
                _ => {}
            }
        }
    }

    /// Does what the core wants done; sends stay in flight until the input says that they are over.
    fn flush(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Send { file, frame, offset } => {
                    let bytes = &frame.bytes()[offset..];
                    assert!(!bytes.is_empty(), "a send of nothing");
                    let text = String::from_utf8_lossy(bytes);
                    if let Some(sid) = text.split_once("\"sid\":\"").and_then(|(_, rest)| rest.get(..20))
                        && text.contains("pingInterval")
                    {
                        sid.clone_into(&mut self.sid);
                    }
                    assert!(self.files.contains_key(&file), "a send on a closed connection");
                    let is_second = self.sending.insert(file, true).unwrap_or_default();
                    assert!(!is_second, "two sends at a time");
                }
                Output::ShutdownWrite { file } => assert!(self.files.contains_key(&file)),
                Output::Close { file } => {
                    self.sending.remove(&file);
                    assert!(self.files.remove(&file).is_some(), "closed twice");
                }
                Output::Transfer { .. } | Output::Adopt { .. } => panic!("there is one shard"),
            }
        }
    }

    fn sent(&mut self, number: u8, is_broken: bool) {
        let Some((file, key)) = self.file(number) else { return };
        if self.sending.insert(file, false) == Some(true) {
            self.shard.handle_sent(self.now, key, is_broken);
            self.dispatch(&[]);
        }
    }

    fn end(&mut self, number: u8) {
        if let Some((_, key)) = self.file(number) {
            self.shard.handle_ended(self.now, key);
            self.dispatch(&[]);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.after(millis);
        self.shard.handle_deadlines(self.now);
        self.dispatch(&[]);
    }
}

/// Plays the bytes as a story.
pub fn shard(bytes: &[u8]) {
    let _ = play(bytes);
}

/// The number of events that reached the application.
fn play(bytes: &[u8]) -> u64 {
    let options = Options { allow_eio3: bytes.len() % 2 == 1, max_http_buffer_size: 4_000, ..Options::default() };
    let limit = 4 * 4_000 + 64_000;
    let mut world = World::new(options);
    let mut input = bytes.iter().copied();
    while let Some(operation) = input.next() {
        let operand = input.next().unwrap_or_default();
        let piece = PIECES[usize::from(operation & 15)];
        match operation >> 4 {
            0 => world.accept(),
            1 | 2 => world.receive(operand, piece),
            3 => {
                let at = usize::from(operand) % piece.len();
                world.receive(operation, &piece[..at]);
                world.flush();
                world.receive(operation, &piece[at..]);
            }
            4 => {
                let raw: Vec<u8> = input.by_ref().take(usize::from(operand % 32)).collect();
                world.receive(operation, &raw);
            }
            5 => world.sent(operand, false),
            6 => world.sent(operand, operand > 200),
            7 => world.end(operand),
            8 => world.pass(u64::from(operand)),
            9 => world.pass(u64::from(operand) * 200),
            10 => (0..CONNECTIONS_MAX as u8).for_each(|number| world.sent(number, false)),
            11 => world.receive(operand, &piece.repeat(3)),
            _ => {
                world.receive(operand, piece);
                world.flush();
                world.sent(operand, false);
            }
        }
        world.flush();
        world.shard.invariants();
        let held = world.shard.counters().receive_bytes_held;
        assert!(held <= (CONNECTIONS_MAX * limit) as u64, "{held} bytes held");
    }
    // Everybody goes; what is left is got rid of by deadlines.
    for _ in 0..world.files.len() {
        world.end(0);
        world.sent(0, true);
        world.flush();
    }
    for _ in 0..40 {
        world.pass(10_000);
        world.flush();
    }
    assert!(world.files.is_empty() && world.shard.is_vacant(), "something is left");
    world.shard.counters().events_received
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that never gets past the door would find nothing behind it.
    #[test]
    fn every_story_to_begin_with_brings_events() {
        for story in STORIES {
            assert!(play(story) > 0, "{story:?}");
        }
    }
}
