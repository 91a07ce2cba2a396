//! A whole shard: bytes in, bytes out, no kernel and no handlers' types.

use super::{HotPath, client};
use ringio_core::base::id::{ConnectionKey, FileId, NamespaceId, ShardIndex};
use ringio_core::base::time::Time;
use ringio_core::door::{EmitFlags, Event, EventParts, Message, Output, PeerMessage};
use ringio_core::options::{Options, Setup};
use ringio_core::room::select::Target;
use ringio_core::shard::Shard;
use std::hint::black_box;
use std::sync::Arc;

pub(super) const PATHS: &[HotPath] = &[
    HotPath { name: "shard: echo 64 B", make: echo, units: 1, allocations: 0 },
    HotPath { name: "shard: broadcast 64 B to 1,000", make: || broadcast(1), units: 1_000, allocations: 0 },
    HotPath {
        name: "shard: four broadcasts of 64 B to 1,000, joined",
        make: || broadcast(4),
        units: 4_000,
        allocations: 0,
    },
    HotPath { name: "shard: a client connects and leaves", make: connect, units: 1, allocations: 18 },
];

const MAIN: NamespaceId = NamespaceId(0);

/// A shard with `count` clients in `/`, its kernel a list of who owes the end of a send.
pub(super) struct Host {
    pub(super) shard: Shard,
    clients: Vec<ConnectionKey>,
    sent: Vec<ConnectionKey>,
    bytes: u64,
    name: Arc<str>,
    by_file: Vec<ConnectionKey>,
}

pub(super) fn shard() -> Shard {
    shard_of(1)
}

/// The first of so many.
fn shard_of(shard_count: u16) -> Shard {
    Shard::new(Setup {
        options: Arc::new(Options::default()),
        assets: Arc::default(),
        shard: ShardIndex(0),
        shard_count,
        seed: [1; 32],
        unix_time_ms: 1_700_000_000_000,
    })
}

impl Host {
    fn new(count: u32) -> Self {
        let mut host = Self {
            shard: shard(),
            clients: Vec::new(),
            sent: Vec::new(),
            bytes: 0,
            name: Arc::from("/"),
            by_file: Vec::new(),
        };
        for _ in 0..count {
            let client = host.connect();
            host.clients.push(client);
        }
        host
    }

    fn connect(&mut self) -> ConnectionKey {
        let file = FileId(self.by_file.len() as u32);
        let key = self.shard.handle_accepted(Time::ZERO, file, None, false);
        self.by_file.push(key);
        self.receive(key, &mut client::HANDSHAKE.to_vec());
        self.receive(key, &mut client::text("40"));
        key
    }

    fn receive(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        self.shard.handle_received(Time::ZERO, key, bytes);
        while let Some(event) = self.shard.poll_event() {
            match event {
                Event::ConnectRequested { socket } => {
                    self.shard.enter_socket(socket, MAIN, &self.name);
                    self.shard.accept_socket(socket, MAIN, &self.name);
                }
                Event::Message { socket, message } => {
                    let parts = EventParts { json: data(&message, bytes), attachments: &message.attachments };
                    let _ = self.shard.emit(socket, parts, EmitFlags::default());
                }
                _ => {}
            }
        }
        self.flush();
    }

    /// Takes what is to be sent, and says that it was.
    fn flush(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            if let Output::Send { file, frame, .. } = output {
                self.bytes += frame.len() as u64;
                self.sent.push(self.by_file[file.0 as usize]);
            }
        }
        self.shard.take_awaits_sent();
        for key in self.sent.drain(..) {
            self.shard.handle_sent(Time::ZERO, key, false);
        }
    }
}

fn data<'a>(message: &'a Message, received: &'a [u8]) -> &'a [u8] {
    message.data.bytes(received)
}

fn echo() -> Box<dyn FnMut() -> u64> {
    let mut host = Host::new(100);
    let frame = client::text(&client::event("echo", 64));
    let (mut bytes, mut next) = (frame.clone(), 0);
    Box::new(move || {
        bytes.copy_from_slice(black_box(&frame));
        next = (next + 1) % host.clients.len();
        let (key, before) = (host.clients[next], host.bytes);
        host.receive(key, &mut bytes);
        host.bytes - before
    })
}

fn broadcast(count: u32) -> Box<dyn FnMut() -> u64> {
    broadcast_to(1_000, count)
}

/// `count` broadcasts of 64 B to so many clients.
#[must_use]
pub fn broadcast_to(clients: u32, count: u32) -> Box<dyn FnMut() -> u64> {
    let mut host = Host::new(clients);
    let json = format!("[\"news\",\"{}\"]", "x".repeat(64));
    let target = Target::everyone();
    Box::new(move || {
        let before = host.bytes;
        for _ in 0..count {
            let parts = EventParts { json: black_box(json.as_bytes()), attachments: &[] };
            host.shard
                .broadcast(MAIN, "/", &target, parts, EmitFlags::default())
                .expect("there is no parser that could refuse");
        }
        host.flush();
        host.bytes - before
    })
}

/// A broadcast to a room that has nobody here, told to the other shards of so many.
#[must_use]
pub fn broadcast_among(shard_count: u16) -> Box<dyn FnMut() -> u64> {
    let mut shard = shard_of(shard_count);
    let json = format!("[\"news\",\"{}\"]", "x".repeat(64));
    let target = room();
    Box::new(move || {
        let parts = EventParts { json: black_box(json.as_bytes()), attachments: &[] };
        shard.broadcast(MAIN, "/", &target, parts, EmitFlags::default()).expect("there is no parser that could refuse");
        let mut count = 0;
        while shard.poll_peer_message().is_some() {
            count += 1;
        }
        count
    })
}

/// A broadcast of another shard to a room that has nobody here.
#[must_use]
pub fn broadcast_received() -> Box<dyn FnMut() -> u64> {
    let (mut sender, mut receiver) = (shard_of(2), shard_of(2));
    let json = format!("[\"news\",\"{}\"]", "x".repeat(64));
    let target = room();
    let parts = EventParts { json: json.as_bytes(), attachments: &[] };
    sender.broadcast(MAIN, "/", &target, parts, EmitFlags::default()).expect("there is no parser that could refuse");
    let Some((_, PeerMessage::Broadcast { namespace, target, packet, flags, offset, tick })) =
        sender.poll_peer_message()
    else {
        panic!("the other shard is told");
    };
    Box::new(move || {
        let (target, packet) = (target.clone(), Arc::clone(&packet));
        let message = PeerMessage::Broadcast { namespace, target, packet, flags, offset, tick };
        receiver.handle_peer(Time::ZERO, ShardIndex(1), black_box(message));
        1
    })
}

fn room() -> Target {
    let mut target = Target::default();
    target.rooms.push(Arc::from("room 7"));
    target
}

fn connect() -> Box<dyn FnMut() -> u64> {
    let mut host = Host::new(1_000);
    let (mut handshake, connect) = (client::HANDSHAKE.to_vec(), client::text("40"));
    let mut bytes = connect.clone();
    Box::new(move || {
        let before = host.bytes;
        let file = FileId(1_000);
        let key = host.shard.handle_accepted(Time::ZERO, file, None, false);
        host.by_file.truncate(1_000);
        host.by_file.push(key);
        host.receive(key, black_box(&mut handshake));
        bytes.copy_from_slice(&connect);
        host.receive(key, &mut bytes);
        host.shard.handle_ended(Time::ZERO, key);
        while host.shard.poll_event().is_some() {}
        host.flush();
        host.bytes - before
    })
}
