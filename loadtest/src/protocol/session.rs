//! One client's conversation with the server, over whichever transport.
//!
//! ```text
//! websocket   Opening -> Joining -> Ready                                        -> Leaving
//! polling     Opening -> Joining -> Ready            (GET waits, POST sends)
//! upgrade     Opening -> Joining -> Probing -> Pausing -> Ready
//!              open      namespace  2probe    last GET,
//!                                    3probe    then 5
//! ```
//!
//! A session says which connections it needs ([`Session::needs`]); whoever does the I/O makes them, feeds their bytes to
//! [`Session::handle`] and sends what is in their outboxes. Source: Engine.IO protocol 4, Socket.IO protocol 5.

use super::config::{Config, KEY};
use super::http::{self, Answer};
use super::msgpack;
use super::websocket::{self, Deflater, Message};
use crate::failure::{Class, Failure};
use crate::plan::{Parser, Transport};
use ringio_codec::engineio::payload::SEPARATOR;
use ringio_codec::engineio::{PolledPacket, payload};
use ringio_codec::socketio::PacketKind;
use ringio_codec::socketio::encode::encode_header;
use ringio_codec::websocket::{Opcode, accept_key};
use serde::Deserialize;

/// One of the connections that a session may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The WebSocket.
    WebSocket = 0,
    /// Carries the GET that waits.
    Poll = 1,
    /// Carries POSTs.
    Post = 2,
}

impl Role {
    /// All of them, by index.
    pub const ALL: [Self; 3] = [Self::WebSocket, Self::Poll, Self::Post];
}

/// What arrived for the application.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// The namespace is joined, over the transport that is to be used: messages may be sent.
    Joined,
    /// A ping of Engine.IO was answered.
    Heartbeat,
    /// A Socket.IO packet other than those of joining: its text, and its attachments.
    Packet {
        /// The text behind the Engine.IO `4`.
        text: &'a str,
        /// As many as the text announced.
        attachments: &'a [Vec<u8>],
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Joining,
    /// Joined over polling; the WebSocket is being made or probed.
    Probing,
    /// The probe was answered; the last GET and POST have to come back first.
    Pausing,
    Ready,
    Leaving,
}

/// The values of the server's first packet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    sid: String,
    #[serde(default)]
    upgrades: Vec<String>,
    ping_interval: u32,
    ping_timeout: u32,
}

#[derive(Debug)]
struct Polling {
    sid: String,
    poll: http::Reader,
    post: http::Reader,
    is_poll_waiting: bool,
    /// The request that is on its way, kept in case an idle connection was closed under it.
    posting: Option<Vec<u8>>,
    /// The body of the next POST.
    body: Vec<u8>,
}

/// An event whose attachments are arriving.
#[derive(Debug)]
struct Assembly {
    text: String,
    missing: usize,
    attachments: Vec<Vec<u8>>,
}

/// One client.
#[derive(Debug)]
pub struct Session {
    state: State,
    /// Whether messages go over the WebSocket, not by polling.
    on_websocket: bool,
    /// Whether the handshake of the WebSocket is done.
    is_upgraded: bool,
    deflates: bool,
    /// The head of the handshake's answer, as far as it has arrived.
    head: Vec<u8>,
    reader: websocket::Reader,
    polling: Option<Box<Polling>>,
    assembly: Option<Box<Assembly>>,
    auth: Option<Box<str>>,
    outbox: [Vec<u8>; 3],
    /// The longest silence that the server promised. Milliseconds; 0 until the session is open.
    pub silence_max_ms: u32,
}

impl Session {
    /// A client that is about to connect. `auth` is the JSON of its CONNECT.
    pub fn new(config: &Config, auth: Option<String>) -> Self {
        let polls = config.transport != Transport::Websocket;
        let mut session = Self {
            state: State::Opening,
            on_websocket: !polls,
            is_upgraded: false,
            deflates: false,
            head: Vec::new(),
            reader: websocket::Reader::default(),
            polling: polls.then(|| {
                Box::new(Polling {
                    sid: String::new(),
                    poll: http::Reader::default(),
                    post: http::Reader::default(),
                    is_poll_waiting: false,
                    posting: None,
                    body: Vec::new(),
                })
            }),
            assembly: None,
            auth: auth.map(String::into_boxed_str),
            outbox: Default::default(),
            silence_max_ms: 0,
        };
        if polls {
            session.poll(config);
        } else {
            session.request_websocket(config);
        }
        session
    }

    /// Whether messages may be sent.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Whether the client said goodbye.
    pub fn is_leaving(&self) -> bool {
        self.state == State::Leaving
    }

    /// Whether this connection has to stand.
    pub fn needs(&self, role: Role) -> bool {
        match role {
            Role::WebSocket => self.on_websocket || matches!(self.state, State::Probing | State::Pausing),
            Role::Poll => self.polling.as_ref().is_some_and(|polling| polling.is_poll_waiting),
            Role::Post => self.polling.as_ref().is_some_and(|polling| polling.posting.is_some()),
        }
    }

    /// Whether this connection may stand: one that waits for its next request may.
    pub fn may_keep(&self, role: Role) -> bool {
        self.needs(role) || (role != Role::WebSocket && self.polling.is_some())
    }

    /// What is to be sent over a connection. Taken bytes are removed by whoever sends them.
    pub fn outbox(&mut self, role: Role) -> &mut Vec<u8> {
        &mut self.outbox[role as usize]
    }

    /// A connection ended or was reset.
    ///
    /// # Errors
    /// When it was still needed. A POST that met a connection which the server had closed for being idle is sent again.
    pub fn handle_end(&mut self, role: Role) -> Result<(), Failure> {
        self.outbox[role as usize].clear();
        if let (Role::Post, Some(polling)) = (role, &mut self.polling)
            && let Some(request) = &polling.posting
            && !polling.post.has_begun()
        {
            self.outbox[role as usize] = request.clone();
            return Ok(());
        }
        if !self.needs(role) {
            return Ok(());
        }
        let text = match self.state {
            State::Opening => {
                "the connection was closed before the handshake was answered. Is Socket.IO mounted at another path (--path)?"
            }
            State::Joining => "the connection was closed before the namespace was joined",
            _ => "the connection was closed without a reason",
        };
        let class = if self.state == State::Opening { Class::Handshake } else { Class::Closed };
        Err(Failure::new(class, format!("{text}{}", self.parser_advice())))
    }

    /// Takes in bytes of one connection.
    ///
    /// # Errors
    /// Why the connection cannot be used any longer.
    pub fn handle(
        &mut self,
        role: Role,
        input: &[u8],
        config: &Config,
        deflater: &mut Deflater,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Failure> {
        match role {
            Role::WebSocket if !self.is_upgraded => self.handle_switching(input, config, deflater, sink),
            Role::WebSocket => self.handle_frames(input, config, deflater, sink),
            Role::Poll => {
                let answer = match &mut self.polling {
                    Some(polling) => polling.poll.read(input)?,
                    None => None,
                };
                let Some(answer) = answer else { return Ok(()) };
                self.handle_polled(&answer, config, sink)
            }
            Role::Post => {
                let answer = match &mut self.polling {
                    Some(polling) => polling.post.read(input)?,
                    None => None,
                };
                let Some(answer) = answer else { return Ok(()) };
                if answer.status != 200 {
                    return Err(config.refusal(answer.status, &answer.body, self.state == State::Opening));
                }
                if let Some(polling) = &mut self.polling {
                    polling.posting = None;
                }
                self.post(config);
                self.finish_upgrade(sink);
                Ok(())
            }
        }
    }

    /// Sends a Socket.IO packet and its attachment.
    pub fn send(&mut self, packet: &[u8], attachment: Option<&[u8]>, config: &Config, deflater: &mut Deflater) {
        self.push_packet(packet, attachment, config, Some(deflater));
        self.post(config);
    }

    /// Appends a Socket.IO packet to what is to be sent, as the server's parser wants it.
    fn push_packet(
        &mut self,
        packet: &[u8],
        attachment: Option<&[u8]>,
        config: &Config,
        mut deflater: Option<&mut Deflater>,
    ) {
        if config.parser == Parser::Msgpack {
            if let Some(message) = msgpack::encode(packet, attachment) {
                self.push_binary(&message, deflater);
            }
            return;
        }
        match &mut deflater {
            Some(deflater) if self.on_websocket && self.deflates => {
                let (text, outbox) = ([b"4", packet].concat(), &mut self.outbox[Role::WebSocket as usize]);
                websocket::push_message(outbox, Opcode::Text, &text, Some(deflater));
            }
            _ => self.push_text(b'4', packet),
        }
        if let Some(bytes) = attachment {
            self.push_binary(bytes, deflater);
        }
    }

    /// Appends one binary message to what is to be sent: an attachment, or a packet of the msgpack parser.
    fn push_binary(&mut self, bytes: &[u8], deflater: Option<&mut Deflater>) {
        if self.on_websocket {
            let deflater = deflater.filter(|_| self.deflates);
            websocket::push_message(&mut self.outbox[Role::WebSocket as usize], Opcode::Binary, bytes, deflater);
        } else if let Some(polling) = &mut self.polling {
            if !polling.body.is_empty() {
                polling.body.push(SEPARATOR);
            }
            polling.body.push(b'b');
            ringio_codec::engineio::base64::encode(&mut polling.body, bytes);
        }
    }

    /// Says goodbye: leaves the namespace and closes the session.
    pub fn leave(&mut self, config: &Config) {
        let mut packet = Vec::new();
        ringio_codec::socketio::encode::disconnect(&mut packet, &config.namespace);
        self.push_packet(&packet, None, config, None);
        self.push_text(b'1', b"");
        if self.on_websocket {
            let code = 1000u16.to_be_bytes();
            websocket::push_message(&mut self.outbox[Role::WebSocket as usize], Opcode::Close, &code, None);
        }
        self.state = State::Leaving;
        self.post(config);
    }

    /// Appends one Engine.IO packet to what is to be sent, never deflated: answers are too short for it.
    fn push_text(&mut self, digit: u8, data: &[u8]) {
        if self.on_websocket {
            websocket::push_text(&mut self.outbox[Role::WebSocket as usize], digit, data);
        } else if let Some(polling) = &mut self.polling {
            if !polling.body.is_empty() {
                polling.body.push(SEPARATOR);
            }
            polling.body.push(digit);
            polling.body.extend_from_slice(data);
        }
    }

    fn push_probe(&mut self, text: &[u8]) {
        websocket::push_message(&mut self.outbox[Role::WebSocket as usize], Opcode::Text, text, None);
    }

    fn request_websocket(&mut self, config: &Config) {
        let sid = self.polling.as_ref().map(|polling| polling.sid.as_str());
        self.outbox[Role::WebSocket as usize].extend_from_slice(config.websocket_request(sid).as_bytes());
    }

    fn poll(&mut self, config: &Config) {
        let Some(polling) = &mut self.polling else { return };
        polling.is_poll_waiting = true;
        self.outbox[Role::Poll as usize].extend_from_slice(config.poll_request(&polling.sid).as_bytes());
    }

    /// Sends what waits, unless a POST is on its way.
    fn post(&mut self, config: &Config) {
        let Some(polling) = &mut self.polling else { return };
        if polling.body.is_empty() || polling.posting.is_some() || polling.sid.is_empty() {
            return;
        }
        let mut request = config.post_request(&polling.sid, polling.body.len()).into_bytes();
        request.append(&mut polling.body);
        self.outbox[Role::Post as usize].extend_from_slice(&request);
        polling.posting = Some(request);
    }

    fn handle_switching(
        &mut self,
        input: &[u8],
        config: &Config,
        deflater: &mut Deflater,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Failure> {
        self.head.extend_from_slice(input);
        let Some(head) = http::decode_head(&self.head)? else {
            return Ok(());
        };
        let bytes = std::mem::take(&mut self.head);
        let rest = &bytes[head.len..];
        if head.status != 101 {
            return Err(config.refusal(head.status, rest, self.state == State::Opening));
        }
        if head.accept.as_deref() != Some(&accept_key(KEY.as_bytes())) {
            return Err(Failure::new(
                Class::Handshake,
                "the server switched protocols with a wrong Sec-WebSocket-Accept",
            ));
        }
        self.deflates = head.deflate;
        self.is_upgraded = true;
        if !self.on_websocket {
            self.push_probe(b"2probe");
        }
        self.handle_frames(rest, config, deflater, sink)
    }

    fn handle_frames(
        &mut self,
        input: &[u8],
        config: &Config,
        deflater: &mut Deflater,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Failure> {
        let mut reader = std::mem::take(&mut self.reader);
        let result = reader.read(input, deflater, &mut |message| match message {
            Message::Text(text) => {
                let text = std::str::from_utf8(text)
                    .map_err(|_| Failure::new(Class::Protocol, "WebSocket: text that is not UTF-8"))?;
                self.handle_text(text, config, sink)
            }
            Message::Binary(bytes) => self.handle_binary(bytes.to_vec(), config, sink),
            Message::Ping(bytes) => {
                websocket::push_message(&mut self.outbox[Role::WebSocket as usize], Opcode::Pong, bytes, None);
                Ok(())
            }
            Message::Close(_) if self.state == State::Leaving => Ok(()),
            Message::Close(payload) => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                let advice = self.parser_advice();
                let text = format!("the server closed the WebSocket with code {code} {reason:?}{advice}");
                Err(Failure::new(Class::Closed, text))
            }
        });
        self.reader = reader;
        result
    }

    fn handle_polled(
        &mut self,
        answer: &Answer,
        config: &Config,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Failure> {
        if answer.status != 200 {
            return Err(config.refusal(answer.status, &answer.body, self.state == State::Opening));
        }
        if let Some(polling) = &mut self.polling {
            polling.is_poll_waiting = false;
        }
        let body = std::str::from_utf8(&answer.body)
            .map_err(|_| Failure::new(Class::Protocol, "a polling body that is not UTF-8"))?;
        for packet in payload::decode(body) {
            match packet {
                Ok(PolledPacket::Text(packet)) => {
                    let mut text = Vec::with_capacity(packet.data.len() + 1);
                    packet.encode(&mut text);
                    let text = String::from_utf8_lossy(&text);
                    self.handle_text(&text, config, sink)?;
                }
                Ok(PolledPacket::Binary(bytes)) => self.handle_binary(bytes, config, sink)?,
                Err(error) => return Err(not_engine(&format!("{error} in the polling body"), body)),
            }
        }
        if !matches!(self.state, State::Pausing | State::Leaving) && !self.on_websocket {
            self.poll(config);
        }
        self.finish_upgrade(sink);
        Ok(())
    }

    /// One Engine.IO packet as text.
    fn handle_text(&mut self, text: &str, config: &Config, sink: &mut dyn FnMut(Incoming<'_>)) -> Result<(), Failure> {
        match text.as_bytes().first() {
            Some(b'4') if self.state != State::Opening && config.parser == Parser::Msgpack => {
                let text = format!("a text packet of a server that was to use msgpack (--parser): {text:.60?}");
                Err(Failure::new(Class::Protocol, text))
            }
            Some(b'4') if self.state != State::Opening => self.handle_packet(&text[1..], config, sink),
            Some(b'2') => {
                self.push_text(b'3', &text.as_bytes()[1..]);
                self.post(config);
                sink(Incoming::Heartbeat);
                Ok(())
            }
            Some(b'0') if self.state == State::Opening => self.handle_open(&text[1..], config),
            Some(b'3') if text == "3probe" && self.state == State::Probing => {
                self.state = State::Pausing;
                self.finish_upgrade(sink);
                Ok(())
            }
            Some(b'6' | b'3') => Ok(()),
            Some(b'1') if self.state == State::Leaving => Ok(()),
            Some(b'1') => {
                let text = format!("the server closed the session{}", self.parser_advice());
                Err(Failure::new(Class::Closed, text))
            }
            Some(b'b') => self.handle_binary(ringio_codec::engineio::base64::decode(&text[1..]), config, sink),
            _ => Err(not_engine("not an Engine.IO packet", text)),
        }
    }

    fn handle_open(&mut self, json: &str, config: &Config) -> Result<(), Failure> {
        let open: Open = serde_json::from_str(json)
            .map_err(|error| Failure::new(Class::Handshake, format!("Engine.IO handshake {json:?}: {error}")))?;
        self.silence_max_ms = open.ping_interval.saturating_add(open.ping_timeout);
        if let Some(polling) = &mut self.polling {
            polling.sid = open.sid;
            if config.transport == Transport::Upgrade && !open.upgrades.iter().any(|name| name == "websocket") {
                return Err(Failure::new(Class::Handshake, "the server offers no upgrade to WebSocket"));
            }
        }
        self.state = State::Joining;
        let mut packet = Vec::new();
        encode_header(&mut packet, PacketKind::Connect, 0, &config.namespace, None);
        packet.extend_from_slice(self.auth.take().unwrap_or_default().as_bytes());
        self.push_packet(&packet, None, config, None);
        self.post(config);
        Ok(())
    }

    /// One Socket.IO packet.
    fn handle_packet(
        &mut self,
        text: &str,
        config: &Config,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Failure> {
        if let Some(assembly) = &self.assembly {
            return Err(Failure::new(Class::Protocol, format!("{} attachments never came", assembly.missing)));
        }
        match text.as_bytes().first() {
            Some(b'0' | b'4') if self.state == State::Joining => self.handle_joining(text, config, sink),
            Some(b'1') if self.state != State::Leaving => {
                Err(Failure::new(Class::Closed, "the server disconnected the client from its namespace"))
            }
            Some(b'5' | b'6') => {
                let count = text[1..].split('-').next().and_then(|count| count.parse().ok());
                let missing = count
                    .filter(|count| (1..=1000).contains(count))
                    .ok_or_else(|| Failure::new(Class::Protocol, format!("attachment count in {text:.60?}")))?;
                self.assembly = Some(Box::new(Assembly { text: text.to_owned(), missing, attachments: Vec::new() }));
                Ok(())
            }
            _ => {
                sink(Incoming::Packet { text, attachments: &[] });
                Ok(())
            }
        }
    }

    fn handle_joining(
        &mut self,
        text: &str,
        config: &Config,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Failure> {
        if text.starts_with('4') {
            let reason = text.find('{').map_or(text, |start| &text[start..]);
            return Err(Failure::new(
                Class::Namespace,
                format!(
                    "the namespace {} refused the client: {reason}. Does its middleware want --auth, or a --header? \
                     Another namespace: --namespace.",
                    config.namespace
                ),
            ));
        }
        if config.transport == Transport::Upgrade {
            self.state = State::Probing;
            self.request_websocket(config);
        } else {
            self.state = State::Ready;
            sink(Incoming::Joined);
        }
        Ok(())
    }

    /// Moves to the WebSocket once both HTTP connections are silent.
    fn finish_upgrade(&mut self, sink: &mut dyn FnMut(Incoming<'_>)) {
        let is_silent = |polling: &Polling| !polling.is_poll_waiting && polling.posting.is_none();
        if self.state != State::Pausing || !self.polling.as_deref().is_some_and(is_silent) {
            return;
        }
        let body = self.polling.take().map(|polling| polling.body).unwrap_or_default();
        self.on_websocket = true;
        self.state = State::Ready;
        self.push_text(b'5', b"");
        // A heartbeat that was to be answered by POST.
        for packet in body.split(|byte| *byte == SEPARATOR).filter(|packet| !packet.is_empty()) {
            self.push_text(packet[0], &packet[1..]);
        }
        sink(Incoming::Joined);
    }

    /// A server ends the connection of a client whose first packet it cannot read.
    fn parser_advice(&self) -> &'static str {
        if self.state == State::Joining { ". Does it use another parser (--parser default or msgpack)?" } else { "" }
    }

    /// One binary message: an attachment, or a packet of the msgpack parser.
    fn handle_binary(
        &mut self,
        bytes: Vec<u8>,
        config: &Config,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Failure> {
        if config.parser == Parser::Msgpack {
            let (text, attachments) = msgpack::to_text(&bytes)?;
            if attachments.is_empty() {
                return self.handle_packet(&text, config, sink);
            }
            sink(Incoming::Packet { text: &text, attachments: &attachments });
            return Ok(());
        }
        let Some(mut assembly) = self.assembly.take() else {
            let advice =
                if self.state == State::Joining { ": does the server use msgpack (--parser msgpack)?" } else { "" };
            return Err(Failure::new(Class::Protocol, format!("an attachment that no packet announced{advice}")));
        };
        assembly.attachments.push(bytes);
        assembly.missing -= 1;
        if assembly.missing == 0 {
            sink(Incoming::Packet { text: &assembly.text, attachments: &assembly.attachments });
        } else {
            self.assembly = Some(assembly);
        }
        Ok(())
    }
}

fn not_engine(what: &str, text: &str) -> Failure {
    Failure::new(Class::Protocol, format!("{what}: {:?}", text.chars().take(60).collect::<String>()))
}
