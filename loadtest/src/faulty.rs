//! A deliberately faulty Socket.IO server: the proof that the load test notices.
//!
//! One thread, WebSocket only, `bench` suite only (`echo`, `ack`, `bin`, `broadcast`, `join`, `room`) and `others`, a room without the sender, and one fault, which
//! strikes every [`PERIOD`]th message. Without a fault it is a correct server, so that each test can show both: silence where nothing
//! is wrong, and the right class where something is.

use crate::engine::SETUP_NAMESPACE;
use crate::protocol::websocket::{Deflater, Message, Reader};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use ringio_codec::http::{RequestLimits, request};
use ringio_codec::socketio::decode::{DecodeLimits, decode};
use ringio_codec::socketio::{Packet, PacketKind};
use ringio_codec::websocket::{Opcode, apply_mask, decode_header, encode_header, validate, write_switching_protocols};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Every so many messages the fault strikes.
pub const PERIOD: u64 = 10;
const LISTENER: Token = Token(usize::MAX);

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Nothing.
    None,
    /// Swallows a message.
    Drop,
    /// Sends a message twice.
    Duplicate,
    /// Holds a message back until the next one has gone out.
    Reorder,
    /// Changes a byte of a message.
    Corrupt,
    /// Sends a message to another client.
    Misroute,
    /// Sends a message under another event's name.
    Rename,
    /// Answers the handshake with a wrong accept key.
    Accept,
    /// Answers the handshake with 404.
    NotFound,
    /// Sends an Engine.IO handshake that is not JSON.
    Open,
    /// Refuses the namespace.
    Refuse,
    /// Never answers the handshake.
    Silent,
    /// Stops answering after some messages.
    Stall,
    /// Closes the connection after some messages.
    Close,
    /// Sends a frame with a reserved bit.
    Frame,
    /// Promises pings and sends none.
    Heartbeat,
    /// Lets nobody into a room once something has been said in one, as if it forgot those who come back.
    Forget,
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct FaultyServer {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FaultyServer {
    /// Starts a server on a thread of its own. Port 0 chooses one.
    ///
    /// # Errors
    /// What binding the port returns.
    pub fn start(fault: Fault, port: u16) -> io::Result<Self> {
        let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let ended = Arc::new(AtomicBool::new(false));
        let mut server = Server {
            fault,
            poll,
            peers: HashMap::new(),
            rooms: HashMap::new(),
            has_heard: false,
            next: 0,
            messages: 0,
            held: None,
        };
        let flag = Arc::clone(&ended);
        let thread = std::thread::spawn(move || server.serve(&listener, &flag));
        Ok(Self { address, ended, thread: Some(thread) })
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until the process ends.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Peer {
    stream: TcpStream,
    is_upgraded: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    reader: Reader,
    /// The event whose attachment comes next.
    waiting: Option<String>,
}

struct Server {
    fault: Fault,
    poll: Poll,
    peers: HashMap<usize, Peer>,
    rooms: HashMap<String, HashSet<usize>>,
    /// Whether something has been said in a room.
    has_heard: bool,
    next: usize,
    messages: u64,
    /// A message held back: to whom, and its frames.
    held: Option<(usize, Vec<u8>)>,
}

impl Server {
    fn serve(&mut self, listener: &TcpListener, ended: &AtomicBool) {
        let mut events = Events::with_capacity(256);
        while !ended.load(Ordering::Relaxed) {
            if self.poll.poll(&mut events, Some(Duration::from_millis(20))).is_err() {
                continue;
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(listener),
                    Token(id) => {
                        if event.is_readable() {
                            self.read(id);
                        }
                        self.flush(id);
                    }
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) {
        while let Ok((mut stream, _)) = listener.accept() {
            let id = self.next;
            self.next += 1;
            let interest = Interest::READABLE | Interest::WRITABLE;
            if stream.set_nodelay(true).is_err()
                || self.poll.registry().register(&mut stream, Token(id), interest).is_err()
            {
                continue;
            }
            let (input, output) = (Vec::new(), Vec::new());
            let reader = Reader::default();
            self.peers.insert(id, Peer { stream, is_upgraded: false, input, output, reader, waiting: None });
        }
    }

    fn read(&mut self, id: usize) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            match peer.stream.read(&mut buffer) {
                Ok(0) => return self.forget(id),
                Ok(count) => {
                    peer.input.extend_from_slice(&buffer[..count]);
                    if peer.is_upgraded {
                        self.read_frames(id);
                    } else {
                        self.shake_hands(id);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.forget(id),
            }
        }
    }

    fn forget(&mut self, id: usize) {
        self.peers.remove(&id);
        for members in self.rooms.values_mut() {
            members.remove(&id);
        }
    }

    fn shake_hands(&mut self, id: usize) {
        let fault = self.fault;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let head = match request::decode(&peer.input, &RequestLimits::default()) {
            Ok(Some((request, len))) => validate(&request).ok().map(|key| (key, len)),
            _ => return,
        };
        let (Some((key, len)), false) = (head, matches!(fault, Fault::NotFound | Fault::Silent)) else {
            if fault != Fault::Silent {
                peer.output.extend_from_slice(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            }
            return;
        };
        peer.input.drain(..len);
        peer.is_upgraded = true;
        let mut accept = key.accept();
        if fault == Fault::Accept {
            accept[0] ^= 1;
        }
        write_switching_protocols(&mut peer.output, &accept, &[]);
        let interval = if fault == Fault::Heartbeat { 300 } else { 25_000 };
        let open = match fault {
            Fault::Open => "0{sid}".to_owned(),
            _ => format!(
                r#"0{{"sid":"f{id}","upgrades":[],"pingInterval":{interval},"pingTimeout":200,"maxPayload":1000000}}"#
            ),
        };
        push_frame(&mut peer.output, Opcode::Text, open.as_bytes());
        self.read_frames(id);
    }

    /// Frames of clients are masked, which the reader of the client's side refuses: they are unmasked first.
    fn read_frames(&mut self, id: usize) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut unmasked = Vec::new();
        while let Ok(Some(header)) = decode_header(&peer.input) {
            let end = header.header_len + header.payload_len as usize;
            if peer.input.len() < end {
                break;
            }
            let mut payload: Vec<u8> = peer.input.drain(..end).skip(header.header_len).collect();
            apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
            push_frame(&mut unmasked, header.opcode, &payload);
        }
        let mut messages = Vec::new();
        let mut reader = std::mem::take(&mut peer.reader);
        // What a client of ours sends is well-formed; if not, its test will miss its answers.
        let _ = reader.read(&unmasked, &mut Deflater::default(), &mut |message| {
            match message {
                Message::Text(text) => messages.push((String::from_utf8_lossy(text).into_owned(), Vec::new())),
                Message::Binary(bytes) => messages.push((String::new(), bytes.to_vec())),
                Message::Ping(_) | Message::Close(_) => messages.push(("1".to_owned(), Vec::new())),
            }
            Ok(())
        });
        peer.reader = reader;
        for (text, bytes) in messages {
            self.receive(id, &text, &bytes);
        }
    }

    fn receive(&mut self, id: usize, text: &str, attachment: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if text.is_empty() {
            if let Some(packet) = peer.waiting.take() {
                self.answer_event(id, &packet, attachment);
            }
            return;
        }
        match text.split_at(1) {
            ("4", packet) if packet.starts_with("0/~") => {
                let name = packet[1..].trim_end_matches(',');
                let answer = frame(Opcode::Text, format!(r#"44{name},{{"message":"Invalid namespace"}}"#).as_bytes());
                // Faults are for messages: who never hears that it is set up sends none.
                if name.starts_with(SETUP_NAMESPACE) {
                    self.send(id, &answer);
                } else {
                    self.send_faultily(id, answer);
                }
            }
            ("4", packet) if packet.starts_with('0') => {
                let answer = if self.fault == Fault::Refuse {
                    r#"44{"message":"no"}"#.to_owned()
                } else {
                    format!(r#"40{{"sid":"s{id}"}}"#)
                };
                push_frame(&mut peer.output, Opcode::Text, answer.as_bytes());
                self.flush(id);
            }
            ("4", packet) if packet.starts_with('5') => peer.waiting = Some(packet.to_owned()),
            ("4", packet) if packet.starts_with('2') => self.answer_event(id, packet, b""),
            ("1", _) => self.forget(id),
            _ => {}
        }
    }

    /// What the `bench` suite does with an event.
    fn answer_event(&mut self, id: usize, text: &str, attachment: &[u8]) {
        let Ok(packet) = decode(text, &DecodeLimits::default()) else { return };
        let (name, arguments) = (packet.event_name().unwrap_or_default().into_owned(), packet.arguments().to_owned());
        match name.as_str() {
            "ack" => {
                let answer = format!("43{}[{arguments}]", packet.id.unwrap_or_default());
                self.send_faultily(id, frame(Opcode::Text, answer.as_bytes()));
            }
            "join" if self.fault == Fault::Forget && self.has_heard => {}
            "join" => {
                self.rooms.entry(arguments).or_default().insert(id);
            }
            "room" | "others" => {
                self.has_heard = true;
                let (room, rest) = arguments.split_once(',').unwrap_or_default();
                let answer = frame(Opcode::Text, format!(r#"42["{name}",{rest}]"#).as_bytes());
                let mut members: Vec<usize> = self.rooms.get(room).into_iter().flatten().copied().collect();
                members.retain(|member| name == "room" || *member != id);
                members.sort_unstable();
                for member in members {
                    self.send_faultily(member, answer.clone());
                }
            }
            "broadcast" => {
                let answer = frame(Opcode::Text, format!(r#"42["broadcast",{arguments}]"#).as_bytes());
                let mut everyone: Vec<usize> = self.peers.keys().copied().collect();
                everyone.sort_unstable();
                for peer in everyone {
                    self.send_faultily(peer, answer.clone());
                }
            }
            _ => self.send_back(id, &packet, &name, &arguments, attachment),
        }
    }

    fn send_back(&mut self, id: usize, packet: &Packet<'_>, name: &str, arguments: &str, attachment: &[u8]) {
        let is_renamed = self.fault == Fault::Rename && (self.messages + 1).is_multiple_of(PERIOD);
        let name = if is_renamed { "other" } else { name };
        let is_binary = packet.kind == PacketKind::BinaryEvent;
        let head = if is_binary { "451-" } else { "42" };
        let mut answer = frame(Opcode::Text, format!(r#"{head}["{name}",{arguments}]"#).as_bytes());
        if is_binary {
            push_frame(&mut answer, Opcode::Binary, attachment);
        }
        self.send_faultily(id, answer);
    }

    /// Sends frames, and does so wrongly every [`PERIOD`]th time.
    fn send_faultily(&mut self, id: usize, mut frames: Vec<u8>) {
        self.messages += 1;
        let strikes = self.messages.is_multiple_of(PERIOD);
        match self.fault {
            Fault::Drop if strikes => return,
            Fault::Duplicate if strikes => self.send(id, &frames.clone()),
            Fault::Reorder if strikes && self.held.is_none() => {
                self.held = Some((id, frames));
                return;
            }
            Fault::Corrupt if strikes => {
                // Within the block: its filler and checksum lie at the end, before `"]`.
                let index = frames.len() - 8;
                frames[index] ^= 1;
            }
            Fault::Misroute if strikes => {
                let mut others: Vec<usize> = self.peers.keys().copied().filter(|other| *other != id).collect();
                others.sort_unstable();
                if let Some(other) = others.first() {
                    self.send(*other, &frames);
                    return;
                }
            }
            Fault::Frame if strikes => frames[0] |= 0x20,
            Fault::Stall if self.messages > 3 * PERIOD => return,
            Fault::Close if self.messages > 3 * PERIOD => return self.forget(id),
            _ => {}
        }
        self.send(id, &frames);
        if let Some((held_for, held)) = self.held.take_if(|held| held.0 == id) {
            self.send(held_for, &held);
        }
    }

    fn send(&mut self, id: usize, frames: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.output.extend_from_slice(frames);
        }
        self.flush(id);
    }

    fn flush(&mut self, id: usize) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        while !peer.output.is_empty() {
            match peer.stream.write(&peer.output) {
                Ok(count) => {
                    peer.output.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.forget(id),
            }
        }
    }
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_frame(&mut out, opcode, payload);
    out
}

fn push_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    encode_header(out, opcode, payload.len() as u64);
    out.extend_from_slice(payload);
}
