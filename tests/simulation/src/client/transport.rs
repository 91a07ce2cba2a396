//! How a client talks: polling on two connections, a WebSocket, or the one becoming the other.
//!
//! ```text
//!   Polling --begin_upgrade--> Probing --3probe--> Pausing --GET and POST are back--> WebSocket
//! ```

use super::packets::Outgoing;
use super::wire::{self, Answer, Frame};
use super::{Client, Temper};
use crate::clock::Micros;
use crate::network::{Network, Read, Wire};
use crate::trace::note;

/// Most bytes that a slow client reads at a time.
const SLOW_BYTES_MAX: usize = 90;

/// A connection and what has arrived on it.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) wire: Wire,
    buffer: Vec<u8>,
    /// A request has not been answered, or the handshake.
    pub(super) is_waiting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Polling,
    Probing,
    Pausing,
    WebSocket,
}

/// A session's connections.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) mode: Mode,
    pub(super) sid: String,
    get: Option<Pipe>,
    post: Option<Pipe>,
    websocket: Option<Pipe>,
    has_upgraded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Get,
    Post,
    WebSocket,
}

impl Transport {
    pub(super) fn new() -> Self {
        Self { mode: Mode::Polling, sid: String::new(), get: None, post: None, websocket: None, has_upgraded: false }
    }

    fn pipe(&mut self, place: Place) -> &mut Option<Pipe> {
        match place {
            Place::Get => &mut self.get,
            Place::Post => &mut self.post,
            Place::WebSocket => &mut self.websocket,
        }
    }

    pub(super) fn wires(&self) -> impl Iterator<Item = Wire> {
        [&self.get, &self.post, &self.websocket].into_iter().flatten().map(|pipe| pipe.wire)
    }

    pub(super) fn has_news(&self, network: &Network, now: Micros) -> bool {
        self.wires().any(|wire| network.client_has_news(now, wire))
    }
}

impl Client {
    pub(super) fn connect(&mut self) -> Wire {
        let room = self.chance.between(self.habits.down_room.0, self.habits.down_room.1) as usize;
        let now = self.now();
        self.kernel.borrow_mut().network.connect(now, self.server, room, self.habits.delay_max)
    }

    pub(super) fn write(&mut self, wire: Wire, bytes: &[u8]) {
        let now = self.now();
        self.kernel.borrow_mut().network.client_write(now, wire, bytes);
    }

    pub(super) fn head(&self, method: &str, query: &str, more: &str) -> String {
        format!(
            "{method} /socket.io/?EIO=4{query} HTTP/1.1\r\nHost: a.test\r\nX-Client: {}\r\n{more}\r\n",
            self.session_number()
        )
    }

    /// Sends a request on one of the two connections, which is made if there is none.
    fn request(&mut self, place: Place, head: &str, body: &[u8]) {
        let Some(transport) = &mut self.transport else { return };
        let wire = match transport.pipe(place) {
            Some(pipe) => pipe.wire,
            None => self.connect(),
        };
        let Some(transport) = &mut self.transport else { return };
        // A part of an answer to rubbish may be in there.
        let buffer = transport.pipe(place).take().map_or(Vec::new(), |pipe| pipe.buffer);
        *transport.pipe(place) = Some(Pipe { wire, buffer, is_waiting: true });
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend_from_slice(body);
        self.write(wire, &bytes);
    }

    fn session_query(&self) -> String {
        match &self.transport {
            Some(transport) if !transport.sid.is_empty() => format!("&sid={}", transport.sid),
            _ => String::new(),
        }
    }

    /// The next GET.
    pub(super) fn get(&mut self) {
        let head = self.head("GET", &format!("&transport=polling{}", self.session_query()), "");
        self.request(Place::Get, &head, b"");
    }

    fn post(&mut self, body: &str) {
        let query = format!("&transport=polling{}", self.session_query());
        if self.chance.one_in(4) {
            let head = self.head("POST", &query, "Transfer-Encoding: chunked\r\n");
            let half = (0..=body.len() / 2).rev().find(|at| body.is_char_boundary(*at)).unwrap_or_default();
            let mut chunked = String::new();
            for part in [&body[..half], &body[half..]].into_iter().filter(|part| !part.is_empty()) {
                chunked.push_str(&format!("{:x}\r\n{part}\r\n", part.len()));
            }
            chunked.push_str("0\r\n\r\n");
            return self.request(Place::Post, &head, chunked.as_bytes());
        }
        let head = self.head("POST", &query, &format!("Content-Length: {}\r\n", body.len()));
        self.request(Place::Post, &head, body.as_bytes());
    }

    pub(super) fn open_websocket(&mut self, query: &str) {
        let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let head = self.head("GET", &format!("&transport=websocket{query}"), fields);
        self.request(Place::WebSocket, &head, b"");
        if query.is_empty()
            && let Some(transport) = &mut self.transport
        {
            transport.mode = Mode::WebSocket;
        }
    }

    pub(super) fn begin_upgrade(&mut self) {
        let percent = self.habits.upgrade_percent;
        let Some(transport) = &mut self.transport else { return };
        if transport.mode != Mode::Polling || transport.sid.is_empty() || transport.has_upgraded {
            return;
        }
        transport.has_upgraded = true;
        if self.chance.percent(percent) {
            note!("client {}: begins to upgrade", self.number);
            if let Some(transport) = &mut self.transport {
                transport.mode = Mode::Probing;
            }
            let query = self.session_query();
            self.open_websocket(&query);
        }
    }

    pub(super) fn frame(&mut self, first: u8, payload: &[u8]) {
        let Some(pipe) = self.transport.as_ref().and_then(|transport| transport.websocket.as_ref()) else { return };
        let wire = pipe.wire;
        let key = (self.chance.bits() as u32).to_be_bytes();
        let mut bytes = Vec::new();
        if payload.len() > 2 && first & 0x0f != 8 && self.chance.one_in(6) {
            // In fragments, with a ping between them.
            let half = payload.len() / 2;
            wire::write_frame(&mut bytes, first & 0x7f, &payload[..half], key);
            wire::write_frame(&mut bytes, 0x89, b"?", key);
            wire::write_frame(&mut bytes, 0x80, &payload[half..], key);
        } else {
            wire::write_frame(&mut bytes, first, payload, key);
        }
        self.write(wire, &bytes);
    }

    /// Sends what is queued, if the transport is free.
    pub(super) fn flush(&mut self) {
        let Some(transport) = &self.transport else { return };
        match transport.mode {
            Mode::WebSocket => {
                if transport.websocket.as_ref().is_none_or(|pipe| pipe.is_waiting) {
                    return;
                }
                for packet in std::mem::take(&mut self.packets.outgoing) {
                    match packet {
                        Outgoing::Text(text) => self.frame(0x81, text.as_bytes()),
                        Outgoing::Binary(bytes) => self.frame(0x82, &bytes),
                    }
                }
            }
            Mode::Polling | Mode::Probing => {
                let is_busy = transport.post.as_ref().is_some_and(|pipe| pipe.is_waiting);
                if is_busy || transport.sid.is_empty() || self.packets.outgoing.is_empty() {
                    return;
                }
                let packets = std::mem::take(&mut self.packets.outgoing);
                let texts: Vec<String> = packets
                    .iter()
                    .map(|packet| match packet {
                        Outgoing::Text(text) => text.clone(),
                        Outgoing::Binary(bytes) => format!("b{}", wire::base64(bytes)),
                    })
                    .collect();
                self.post(&texts.join("\u{1e}"));
            }
            Mode::Pausing => {
                let is_busy = [&transport.get, &transport.post].into_iter().flatten().any(|pipe| pipe.is_waiting);
                if is_busy {
                    return;
                }
                note!("client {}: switches to WebSocket", self.number);
                if let Some(transport) = &mut self.transport {
                    transport.mode = Mode::WebSocket;
                }
                self.frame(0x81, b"5");
                self.flush();
            }
        }
    }

    /// Says that it goes.
    pub(super) fn say_goodbye(&mut self) {
        let Some(transport) = &self.transport else { return };
        match transport.mode {
            Mode::WebSocket if self.chance.one_in(2) => self.frame(0x88, &[]),
            Mode::WebSocket => self.frame(0x81, b"1"),
            Mode::Polling | Mode::Probing | Mode::Pausing => {
                let is_busy = transport.post.as_ref().is_some_and(|pipe| pipe.is_waiting);
                if !is_busy && !transport.sid.is_empty() {
                    self.post("1");
                }
            }
        }
    }

    // ---- hearing

    pub(super) fn read(&mut self) {
        for place in [Place::Get, Place::Post, Place::WebSocket] {
            loop {
                let now = self.now();
                let is_slow = self.temper == Temper::Slow;
                let bytes_max = if is_slow { 1 + self.chance.below(SLOW_BYTES_MAX) } else { usize::MAX };
                let Some(pipe) = self.transport.as_mut().and_then(|transport| transport.pipe(place).as_mut()) else {
                    break;
                };
                let read = self.kernel.borrow_mut().network.client_read(now, pipe.wire, bytes_max);
                match read {
                    Read::Nothing => break,
                    Read::Bytes(bytes) => pipe.buffer.extend(bytes),
                    Read::Finished | Read::Reset => {
                        self.connection_ended(place);
                        break;
                    }
                }
                self.take(place);
                if is_slow {
                    self.reads_at = now + self.chance.between(500, 20_000);
                    break;
                }
            }
        }
    }

    fn connection_ended(&mut self, place: Place) {
        let now = self.now();
        let Some(transport) = &mut self.transport else { return };
        let Some(pipe) = transport.pipe(place).take() else { return };
        self.kernel.borrow_mut().network.client_close(now, pipe.wire);
        match (place, transport.mode) {
            (Place::WebSocket, Mode::WebSocket) => self.lose_because("the WebSocket ended"),
            (Place::WebSocket, _) => {
                note!("client {}: the upgrade failed", self.number);
                transport.mode = Mode::Polling;
                if transport.get.as_ref().is_none_or(|pipe| !pipe.is_waiting) && !transport.sid.is_empty() {
                    self.get();
                }
            }
            // A connection between two requests may go; the next request makes another one.
            _ if pipe.is_waiting => self.lose_because("a request was not answered"),
            _ => {}
        }
    }

    fn take(&mut self, place: Place) {
        loop {
            let Some(pipe) = self.transport.as_mut().and_then(|transport| transport.pipe(place).as_mut()) else {
                return;
            };
            if place == Place::WebSocket && !pipe.is_waiting {
                let Some(frame) = wire::take_frame(&mut pipe.buffer) else { return };
                self.handle_frame(frame);
            } else {
                if self.temper == Temper::Rude && !pipe.is_waiting && !pipe.buffer.is_empty() {
                    return self.cut_off(); // An answer to rubbish.
                }
                let Some(answer) = wire::take_answer(&mut pipe.buffer) else { return };
                assert!(pipe.is_waiting, "violation: an answer that nobody asked for");
                pipe.is_waiting = false;
                self.handle_answer(place, &answer);
            }
        }
    }

    fn handle_answer(&mut self, place: Place, answer: &Answer) {
        let now = self.now();
        if !answer.keep_alive
            && place != Place::WebSocket
            && let Some(pipe) = self.transport.as_mut().and_then(|transport| transport.pipe(place).take())
        {
            self.kernel.borrow_mut().network.client_close(now, pipe.wire);
        }
        match (place, answer.status) {
            (Place::WebSocket, 101) => {
                if self.transport.as_ref().is_some_and(|transport| transport.mode == Mode::Probing) {
                    self.frame(0x81, b"2probe");
                }
            }
            (Place::Get, 200) => {
                let body = String::from_utf8(answer.body.clone()).expect("violation: a polling body that is no text");
                for packet in body.split('\u{1e}') {
                    note!("client {}: polled {:.40}", self.number, packet);
                    match packet.strip_prefix('b') {
                        Some(text) => self.handle_binary(&wire::from_base64(text)),
                        None => self.handle_packet(packet),
                    }
                }
                let Some(transport) = &self.transport else { return };
                if matches!(transport.mode, Mode::Polling | Mode::Probing) {
                    self.get();
                }
            }
            (Place::Post, 200) => assert_eq!(answer.body, b"ok", "violation: what a POST is answered"),
            (_, status) => self.lose_because(&format!("a request was answered with {status}")),
        }
    }

    fn handle_frame(&mut self, frame: Frame) {
        let Some(transport) = &mut self.transport else { return };
        if transport.mode != Mode::WebSocket {
            return match frame {
                Frame::Text(text) if text == "3probe" && transport.mode == Mode::Probing => {
                    transport.mode = Mode::Pausing;
                    self.flush();
                }
                Frame::Close | Frame::Pong => {}
                other => panic!("violation: {other:?} on a WebSocket that probes"),
            };
        }
        match frame {
            Frame::Text(text) => self.handle_packet(&text),
            Frame::Binary(bytes) => self.handle_binary(&bytes),
            Frame::Close => self.lose_because("the server closed the WebSocket"),
            Frame::Pong => {}
        }
    }
}
