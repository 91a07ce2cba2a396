//! A world of one or more shards for tests of the core: clients made of bytes, a kernel that does at once what it is
//! asked, time that is advanced by hand.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "each test uses a part of it"
)]

pub mod storm;

use ringio_core::base::frame::Frame;
use ringio_core::base::id::{ConnectionKey, FileId, NamespaceId, ShardIndex, SocketKey};
use ringio_core::base::time::Time;
use ringio_core::cluster::roll::Tally;
use ringio_core::door::{Cause, DisconnectReason, EmitFlags, Event, EventParts, Output, PeerMessage};
use ringio_core::options::{Asset, Options, Setup};
use ringio_core::room::census::RoomChange;
use ringio_core::shard::Shard;
use ringio_core::shard::pressure::Shed;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What the application heard, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Connected(SocketKey),
    Message(SocketKey, String, String),
    Binary(SocketKey, String, Vec<Vec<u8>>),
    Disconnecting(SocketKey, DisconnectReason, Vec<String>),
    Disconnected(SocketKey, DisconnectReason, Vec<String>),
    AckReceived(u64, String),
    AckFailed(u64),
    ProtocolError(&'static str),
    Fetched(u64, Vec<String>),
    Gathered(u64, Vec<String>, bool),
    Recovered(bool, Option<String>),
    Relieved,
}

/// A client's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire(usize);

#[derive(Debug)]
struct End {
    shard: usize,
    file: FileId,
    key: ConnectionKey,
    received: Vec<u8>,
    is_finished: bool,
    is_closed: bool,
    is_stuck: bool,
    owed_sent: u32,
    /// What the kernel holds until it is sent.
    in_flight: Option<Frame>,
}

pub struct World {
    pub shards: Vec<Shard>,
    pub now: Time,
    pub heard: Vec<Heard>,
    ends: Vec<End>,
    by_file: BTreeMap<(usize, FileId), usize>,
    moving: BTreeMap<(usize, FileId), usize>,
    next_file: u32,
    /// Namespaces that exist besides `/`.
    pub namespaces: Vec<&'static str>,
    /// Sockets whose CONNECT is not decided.
    pub undecided: BTreeSet<SocketKey>,
    pub decides: bool,
    /// Whether a socket that hears `disconnect` is sent something.
    pub says_goodbye: bool,
    /// What the handlers of every message do, besides.
    pub on_message: fn(&mut Shard, SocketKey),
    /// Whether who comes back is let in.
    pub lets_back_in: bool,
    /// Connections between shards that are slow: their messages wait for `release`.
    pub slow: BTreeSet<(usize, usize)>,
    held: VecDeque<(usize, usize, PeerMessage)>,
    /// What is for other servers or came from them.
    pub told: VecDeque<(usize, Event)>,
    /// How many other servers have answered each `fetch_sockets`.
    pub tallies: Vec<Tally>,
    /// What happened to watched rooms.
    pub rooms_heard: Vec<RoomChange>,
}

/// A shard alone, without a world around it.
pub fn shard_with(options: Options) -> Shard {
    let (options, assets) = (Arc::new(options), Arc::default());
    let (shard, shard_count, seed) = (ShardIndex(0), 1, [1; 32]);
    Shard::new(Setup { options, assets, shard, shard_count, seed, unix_time_ms: 1_700_000_000_000 })
}

impl World {
    pub fn new(shard_count: u16, options: Options) -> Self {
        Self::with_assets(shard_count, options, Vec::new())
    }

    pub fn with_assets(shard_count: u16, options: Options, assets: Vec<Asset>) -> Self {
        Self::seeded(0, shard_count, options, assets)
    }

    /// A world whose sids no world of another seed gives.
    pub fn seeded(seed: u8, shard_count: u16, options: Options, assets: Vec<Asset>) -> Self {
        let (options, assets) = (Arc::new(options), Arc::new(assets));
        let shards = (0..shard_count)
            .map(|index| {
                Shard::new(Setup {
                    options: Arc::clone(&options),
                    assets: Arc::clone(&assets),
                    shard: ShardIndex(index),
                    shard_count,
                    seed: [seed.wrapping_mul(32).wrapping_add(index as u8 + 1); 32],
                    unix_time_ms: 1_700_000_000_000,
                })
            })
            .collect();
        Self {
            shards,
            now: Time::ZERO,
            heard: Vec::new(),
            ends: Vec::new(),
            by_file: BTreeMap::new(),
            moving: BTreeMap::new(),
            next_file: 0,
            namespaces: vec!["/", "/admin"],
            undecided: BTreeSet::new(),
            decides: true,
            says_goodbye: false,
            on_message: |_, _| {},
            lets_back_in: true,
            slow: BTreeSet::new(),
            held: VecDeque::new(),
            told: VecDeque::new(),
            tallies: Vec::new(),
            rooms_heard: Vec::new(),
        }
    }

    /// A new connection to a shard.
    pub fn connect(&mut self, shard: usize) -> Wire {
        let file = FileId(self.next_file);
        self.next_file += 1;
        let address = Some("127.0.0.1:5555".parse().unwrap());
        assert!(self.shards[shard].admits(address), "a connection too many");
        let key = self.shards[shard].handle_accepted(self.now, file, address, false);
        self.ends.push(End {
            shard,
            file,
            key,
            received: Vec::new(),
            is_finished: false,
            is_closed: false,
            is_stuck: false,
            owed_sent: 0,
            in_flight: None,
        });
        self.by_file.insert((shard, file), self.ends.len() - 1);
        Wire(self.ends.len() - 1)
    }

    /// The client sends bytes; everything that follows happens.
    pub fn send(&mut self, wire: Wire, bytes: &[u8]) {
        self.arrive(wire, bytes);
        self.run();
    }

    /// Bytes of the client arrive and are handled, but the turn is not over.
    pub fn arrive(&mut self, wire: Wire, bytes: &[u8]) {
        let (shard, key) = (self.ends[wire.0].shard, self.ends[wire.0].key);
        let mut bytes = bytes.to_vec();
        self.shards[shard].handle_received(self.now, key, &mut bytes);
        self.dispatch(shard, &bytes);
    }

    /// The client says FIN, or resets.
    pub fn end(&mut self, wire: Wire) {
        let (shard, key) = (self.ends[wire.0].shard, self.ends[wire.0].key);
        self.shards[shard].handle_ended(self.now, key);
        self.run();
    }

    /// The client stops (or begins again) to take bytes: the send in flight stays in flight.
    pub fn stick(&mut self, wire: Wire, is_stuck: bool) {
        self.ends[wire.0].is_stuck = is_stuck;
        if !is_stuck {
            let (shard, key) = (self.ends[wire.0].shard, self.ends[wire.0].key);
            self.ends[wire.0].in_flight = None;
            for _ in 0..std::mem::take(&mut self.ends[wire.0].owed_sent) {
                self.shards[shard].handle_sent(self.now, key, false);
            }
        }
    }

    pub fn advance(&mut self, millis: u64) {
        let end = self.now.after(millis);
        while self.now < end {
            self.now = self.now.after(1);
            for shard in 0..self.shards.len() {
                self.shards[shard].handle_deadlines(self.now);
                self.dispatch(shard, &[]);
            }
            self.run();
        }
    }

    /// What the client has got since it was last asked.
    pub fn take(&mut self, wire: Wire) -> Vec<u8> {
        std::mem::take(&mut self.ends[wire.0].received)
    }

    pub fn take_text(&mut self, wire: Wire) -> String {
        String::from_utf8_lossy(&self.take(wire)).into_owned()
    }

    /// The WebSocket messages among it: text as it is, binary as `b` and hex, close as `close` and its code.
    pub fn take_messages(&mut self, wire: Wire) -> Vec<String> {
        messages(&self.take(wire))
    }

    /// Whether the server has said FIN or closed.
    pub fn is_over(&self, wire: Wire) -> bool {
        self.ends[wire.0].is_finished || self.ends[wire.0].is_closed
    }

    /// Whether it has closed.
    pub fn is_closed(&self, wire: Wire) -> bool {
        self.ends[wire.0].is_closed
    }

    pub fn shard_of(&self, wire: Wire) -> usize {
        self.ends[wire.0].shard
    }

    /// Events to the application, until there are none.
    pub fn dispatch(&mut self, shard: usize, received: &[u8]) {
        while let Some(event) = self.shards[shard].poll_event() {
            self.handle(shard, event, received);
        }
    }

    /// Everything there is to do, until nothing is left.
    pub fn run(&mut self) {
        loop {
            let mut is_busy = false;
            for shard in 0..self.shards.len() {
                is_busy |= self.shards[shard].handle_post(self.now);
                self.dispatch(shard, &[]);
                while let Some(output) = self.shards[shard].poll_output() {
                    is_busy = true;
                    self.perform(shard, output);
                }
                while let Some((target, message)) = self.shards[shard].poll_peer_message() {
                    is_busy = true;
                    let target = usize::from(target.0);
                    if self.slow.contains(&(shard, target)) {
                        self.held.push_back((shard, target, message));
                    } else {
                        self.deliver(shard, target, message);
                    }
                }
                self.shards[shard].invariants();
            }
            if !is_busy && self.shards.iter().all(|shard| !shard.has_work()) {
                return;
            }
        }
    }

    fn deliver(&mut self, shard: usize, target: usize, message: PeerMessage) {
        if let PeerMessage::Moved { file, .. } = &message {
            let end = self.moving.remove(&(target, *file)).unwrap();
            self.by_file.insert((target, *file), end);
            self.ends[end].shard = target;
            self.ends[end].file = *file;
        }
        self.shards[target].handle_peer(self.now, ShardIndex(shard as u16), message);
        self.dispatch(target, &[]);
    }

    /// The slow connections between shards catch up.
    pub fn release(&mut self) {
        self.slow.clear();
        while let Some((shard, target, message)) = self.held.pop_front() {
            self.deliver(shard, target, message);
        }
        self.run();
    }

    fn perform(&mut self, shard: usize, output: Output) {
        match output {
            Output::Send { file, frame, offset } => {
                let end = &mut self.ends[self.by_file[&(shard, file)]];
                end.received.extend_from_slice(&frame.bytes()[offset..]);
                if end.is_stuck {
                    end.owed_sent += 1;
                    end.in_flight = Some(frame);
                } else {
                    let key = end.key;
                    self.shards[shard].handle_sent(self.now, key, false);
                }
            }
            Output::ShutdownWrite { file } => self.ends[self.by_file[&(shard, file)]].is_finished = true,
            Output::Close { file } => {
                let end = self.by_file.remove(&(shard, file)).unwrap();
                self.ends[end].is_closed = true;
                self.ends[end].in_flight = None;
            }
            Output::Transfer { file, target } => {
                let end = self.by_file.remove(&(shard, file)).unwrap();
                let remote = FileId(self.next_file);
                self.next_file += 1;
                self.moving.insert((usize::from(target.0), remote), end);
                let key = self.ends[end].key;
                self.shards[shard].handle_transferred(self.now, key, Some(remote));
            }
            Output::Adopt { file, connection } => {
                let end = self.by_file[&(shard, file)];
                self.ends[end].key = connection;
            }
        }
    }

    /// A step of giving up memory on a shard.
    pub fn shed(&mut self, shard: usize, goal_bytes: u64) -> Shed {
        let in_flight = |file: FileId| {
            let frame = self.ends[self.by_file[&(shard, file)]].in_flight.as_ref();
            frame.map_or(0, Frame::share_bytes)
        };
        let shed = self.shards[shard].shed(self.now, goal_bytes, &in_flight);
        self.run();
        shed
    }

    fn rooms(&self, shard: usize, socket: SocketKey) -> Vec<String> {
        let mut rooms = Vec::new();
        self.shards[shard].for_each_room(socket, &mut |room| rooms.push(room.to_owned()));
        rooms
    }

    fn handle(&mut self, shard: usize, event: Event, received: &[u8]) {
        match event {
            Event::ConnectRequested { socket } if self.decides => self.decide(shard, socket),
            Event::ConnectRequested { socket } => {
                self.undecided.insert(socket);
            }
            Event::Message { socket, message } => {
                let data = message.data.bytes(received);
                let text = |range: &std::ops::Range<u32>| {
                    String::from_utf8(data[range.start as usize..range.end as usize].to_vec()).unwrap()
                };
                let (name, arguments) = (text(&message.name), text(&message.arguments));
                if let Some(id) = message.id {
                    let json = format!("[{arguments}]");
                    self.shards[shard]
                        .acknowledge(
                            socket,
                            id,
                            EventParts { json: json.as_bytes(), attachments: &message.attachments },
                        )
                        .unwrap();
                }
                if !message.attachments.is_empty() {
                    let attachments = message.attachments.iter().map(|bytes| bytes.to_vec()).collect();
                    self.heard.push(Heard::Binary(socket, name.clone(), attachments));
                }
                self.heard.push(Heard::Message(socket, name, arguments));
                (self.on_message)(&mut self.shards[shard], socket);
            }
            Event::Disconnecting { socket, cause: Cause { reason, .. } } => {
                let rooms = self.rooms(shard, socket);
                assert!(self.shards[shard].is_connected(socket), "still connected while disconnecting");
                self.heard.push(Heard::Disconnecting(socket, reason, rooms));
            }
            Event::Disconnected { socket, cause: Cause { reason, .. } } => {
                let rooms = self.rooms(shard, socket);
                assert!(!self.shards[shard].is_connected(socket));
                assert!(!self.shards[shard].join(socket, "too late"), "joining is over");
                self.shards[shard].keep_data(socket, Arc::new("kept".to_owned()));
                if self.says_goodbye {
                    self.emit(shard, socket, "[\"goodbye\"]").unwrap();
                }
                self.heard.push(Heard::Disconnected(socket, reason, rooms));
            }
            Event::AckReceived { waiter, message } => {
                let data = String::from_utf8(message.data.bytes(received).to_vec()).unwrap();
                self.heard.push(Heard::AckReceived(waiter, data));
            }
            Event::BroadcastAcknowledged { waiter, answers, is_complete } => {
                let text =
                    |message: &ringio_core::door::Message| String::from_utf8(message.data.bytes(&[]).to_vec()).unwrap();
                let mut answers: Vec<String> = answers.iter().map(text).collect();
                answers.sort();
                self.heard.push(Heard::Gathered(waiter, answers, is_complete));
            }
            Event::AckFailed { waiter, .. } => self.heard.push(Heard::AckFailed(waiter)),
            Event::RecoveryDecided { socket, is_recovered, data } => {
                let data = data.map(|data| data.downcast::<String>().unwrap().to_string());
                self.heard.push(Heard::Recovered(is_recovered, data));
                if !self.lets_back_in {
                    return self.shards[shard].refuse_socket(socket, "not again", None);
                }
                assert!(self.shards[shard].accept_socket(socket, NamespaceId(0), &Arc::from("/")));
                self.heard.push(Heard::Connected(socket));
            }
            Event::Relieved { .. } => self.heard.push(Heard::Relieved),
            Event::ProtocolError { error, .. } => self.heard.push(Heard::ProtocolError(error)),
            Event::FetchRequested { request, sockets } => {
                let described = sockets.iter().filter_map(|socket| self.shards[shard].describe(*socket)).collect();
                self.shards[shard].reply_fetch(request, described);
            }
            Event::Fetched { waiter, sockets, others, missing, tally } => {
                assert_eq!(missing, 0);
                let ids = sockets.iter().chain(&others).map(|socket| socket.id.to_string()).collect();
                self.heard.push(Heard::Fetched(waiter, ids));
                self.tallies.push(tally);
            }
            Event::RoomChanged { change, .. } => {
                assert_eq!(shard, 0, "rooms are counted on the first shard");
                self.rooms_heard.push(change);
            }
            Event::Publish { .. }
            | Event::CountServers { .. }
            | Event::ServersCounted { .. }
            | Event::ServerSideEvent { .. }
            | Event::ServerSideAnswered { .. } => self.told.push_back((shard, event)),
            _ => {}
        }
    }

    pub fn decide(&mut self, shard: usize, socket: SocketKey) {
        let Some(name) = self.shards[shard].requested_namespace(socket).map(str::to_owned) else { return };
        let auth = String::from_utf8(self.shards[shard].auth(socket).unwrap_or_default().to_vec()).unwrap();
        if let Some((pid, offset)) = comes_back(&auth) {
            self.shards[shard].enter_socket(socket, NamespaceId(0), &Arc::from(name));
            return self.shards[shard].recover_socket(socket, &pid, &offset);
        }
        match self.namespaces.iter().position(|known| *known == name) {
            Some(at) => {
                assert!(self.shards[shard].accept_socket(socket, NamespaceId(at as u32), &Arc::from(name)));
                self.heard.push(Heard::Connected(socket));
            }
            None => self.shards[shard].refuse_socket(socket, "Invalid namespace", None),
        }
    }

    pub fn emit(&mut self, shard: usize, socket: SocketKey, json: &str) -> Result<(), ringio_core::door::EmitError> {
        self.shards[shard].emit(socket, EventParts { json: json.as_bytes(), attachments: &[] }, EmitFlags::default())
    }

    /// A WebSocket client that has joined `/`: its wire and socket.
    pub fn joined(&mut self, shard: usize) -> (Wire, SocketKey) {
        let wire = self.websocket(shard);
        self.send(wire, &text("40"));
        let socket = self.last_connected();
        self.take(wire);
        (wire, socket)
    }

    /// A WebSocket session that has joined nothing.
    pub fn websocket(&mut self, shard: usize) -> Wire {
        let wire = self.connect(shard);
        self.send(wire, &upgrade_request("/socket.io/?EIO=4&transport=websocket"));
        let answer = self.take(wire);
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        wire
    }

    pub fn last_connected(&self) -> SocketKey {
        self.heard
            .iter()
            .rev()
            .find_map(|heard| if let Heard::Connected(socket) = heard { Some(*socket) } else { None })
            .unwrap()
    }

    /// A request without body on a new connection; the answer's status and body.
    pub fn get(&mut self, shard: usize, target: &str) -> (u16, String) {
        let wire = self.connect(shard);
        self.send(wire, format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        self.answer(wire)
    }

    pub fn post(&mut self, shard: usize, target: &str, body: &str) -> (u16, String) {
        let wire = self.connect(shard);
        self.send(wire, post_request(target, body).as_bytes());
        self.answer(wire)
    }

    /// The one answer that has come over a wire.
    pub fn answer(&mut self, wire: Wire) -> (u16, String) {
        let text = self.take_text(wire);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, body.to_owned())
    }

    /// Opens a polling session on a shard: its sid.
    pub fn polling(&mut self, shard: usize) -> String {
        let (status, body) = self.get(shard, "/socket.io/?EIO=4&transport=polling");
        assert_eq!(status, 200, "{body}");
        body[9..29].to_owned()
    }
}

pub fn polling_url(sid: &str) -> String {
    format!("/socket.io/?EIO=4&transport=polling&sid={sid}")
}

pub fn post_request(target: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn upgrade_request(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A masked client frame.
pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x11, 0x22, 0x33, 0x44];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

pub fn binary(payload: &[u8]) -> Vec<u8> {
    frame(0x82, payload)
}

/// Unmasked server frames in words.
pub fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while bytes.len() >= 2 {
        let (len, head) = match bytes[1] & 0x7f {
            126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
            len => (usize::from(len), 2),
        };
        let payload = &bytes[head..head + len];
        messages.push(match bytes[0] {
            0x81 => String::from_utf8(payload.to_vec()).unwrap(),
            0x82 => format!("b{payload:02x?}"),
            0x88 => format!("close {}", payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]))),
            0x8a => format!("pong {payload:02x?}"),
            other => format!("frame {other:02x}"),
        });
        bytes = &bytes[head + len..];
    }
    assert!(bytes.is_empty(), "a frame was cut off");
    messages
}

/// `pid` and `offset` of an auth payload `{"pid":"..","offset":".."}`.
fn comes_back(auth: &str) -> Option<(String, String)> {
    let value = |key: &str| Some(auth.split_once(&format!("\"{key}\":\""))?.1.split_once('"')?.0.to_owned());
    Some((value("pid")?, value("offset")?))
}
