//! The way up: bytes to requests and messages, to packets, to events for the application.
//!
//! ```text
//! handle_received --> receive --+--> take_request (requests.rs) --> open, poll, post, upgrade
//!                               +--> receive_websocket (websocket.rs)
//!                                         |                    polled packets |
//!                                         +--> handle_packet <----------------+
//!                                                    | message
//!                                                    v
//!                                    handle_text / handle_binary --> Event
//! ```
//! Events point into the received bytes where they can; the caller dispatches them before it takes the buffer back.

use super::Shard;
use super::closing::Farewell;
use super::deadlines::Deadline;
use super::requests::NO_XSS_FILTER;
use crate::base::id::{ConnectionKey, SessionKey, SocketKey, TimerKey};
use crate::base::time::Time;
use crate::broadcast::encode;
use crate::connection::body::Progress;
use crate::connection::{Ending, State};
use crate::door::{Cause, Data, DisconnectReason, Event, SessionEvent};
use crate::limits::{
    PIPELINED_BYTES_MAX, QUERY_PAIRS_MAX, attachments_deadline_ms, backlog_bytes_max, dropped_bytes_max,
};
use crate::namespace::assembly::{Assembly, Unfinished, Unwanted};
use crate::namespace::event::{Bounds, Carrier};
use crate::parser::Message;
use crate::session::packet::{self, Found};
use crate::session::{Link, Session, State as SessionState};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use ringio_codec::engineio::TextPacket;
use ringio_codec::engineio::{self as engineio, base64, payload, payload_v3};
use ringio_codec::http::{jsonp, query};
use ringio_codec::socketio::PacketKind;
use ringio_codec::socketio::decode::{DecodeError, DecodeLimits, decode};
use ringio_codec::socketio::encode::write_json_string;
use ringio_codec::socketio::{Packet, attachment};

impl Shard {
    /// Bytes came. They are changed in place; events that follow point into them.
    pub fn handle_received(&mut self, now: Time, connection: ConnectionKey, bytes: &mut [u8]) {
        self.advance(now);
        self.begin_tick();
        self.receive(connection, bytes);
    }

    /// Takes all of `bytes`, in whatever states they lead the connection through.
    pub(super) fn receive(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let mut cursor = 0;
        while cursor < bytes.len() {
            let Some(connection) = self.connections.get_mut(key) else { return };
            match &mut connection.state {
                State::Head { rest } if rest.is_empty() => match self.take_request(key, &bytes[cursor..]) {
                    Some(consumed) => cursor += consumed,
                    None => return,
                },
                State::Head { rest } => {
                    if super::requests::append_to_head(rest, &bytes[cursor..]) {
                        let whole = core::mem::take(rest);
                        self.receive_owned(key, whole);
                    }
                    return;
                }
                State::Body(body) => match body.take(&bytes[cursor..]) {
                    Progress::More => return,
                    Progress::Complete(taken) => {
                        cursor += taken;
                        self.finish_post(key);
                    }
                    Progress::TooLarge => return self.refuse_large_post(key),
                    Progress::Invalid => return self.refuse_invalid_post(key),
                },
                State::Waiting { rest, .. } | State::Posted { rest } => {
                    if rest.len() + bytes.len() - cursor > PIPELINED_BYTES_MAX {
                        return self.connection_broke(key);
                    }
                    rest.extend_from_slice(&bytes[cursor..]);
                    return;
                }
                State::Deciding(deciding) => {
                    let forgotten = deciding.backlog.append(&bytes[cursor..], backlog_bytes_max(&self.options));
                    return self.cut_if_more(key, forgotten);
                }
                State::WebSocket { .. } => self.receive_websocket(key, bytes, &mut cursor),
                State::Moving { backlog, .. } => {
                    let forgotten = backlog.append(&bytes[cursor..], backlog_bytes_max(&self.options));
                    return self.cut_if_more(key, forgotten);
                }
                State::Closing { dropped_bytes } => {
                    *dropped_bytes += (bytes.len() - cursor) as u64;
                    let dropped = *dropped_bytes;
                    return self.cut_if_more(key, dropped);
                }
            }
        }
    }

    /// Ends a connection of which more was read and dropped than a peer sends that is about to hear why.
    fn cut_if_more(&mut self, key: ConnectionKey, dropped_bytes: u64) {
        if dropped_bytes <= dropped_bytes_max(&self.options) {
            return;
        }
        let is_deciding =
            self.connections.get(key).is_some_and(|connection| matches!(connection.state, State::Deciding(_)));
        if is_deciding {
            // Whatever the application decides, there is no room for such a body: why wait to say so?
            return self.answer_and_finish(key, 413, &[], b"");
        }
        self.connection_broke(key);
    }

    /// Takes bytes that were kept: events that point into them get a copy, because nobody lends the buffer any longer.
    pub(super) fn receive_owned(&mut self, key: ConnectionKey, mut bytes: Vec<u8>) {
        let first = self.events.len();
        self.receive(key, &mut bytes);
        for event in self.events.range_mut(first..) {
            match event {
                Event::Message { message, .. } | Event::AckReceived { message, .. } => message.data.own(&bytes),
                Event::EngineMessage { data, .. } | Event::Session { event: SessionEvent::Packet { data, .. }, .. } => {
                    data.own(&bytes);
                }
                _ => {}
            }
        }
    }

    /// Takes what arrived while nobody could read it, a backlog's parts.
    pub(super) fn receive_kept(&mut self, key: ConnectionKey, bytes: Vec<u8>, is_cut: bool) {
        if !bytes.is_empty() {
            self.receive_owned(key, bytes);
        }
        // What was forgotten is missed now, unless the answer to the first part ends the connection anyway.
        let is_open =
            self.connections.get(key).is_some_and(|connection| !matches!(connection.state, State::Closing { .. }));
        if is_cut && is_open {
            self.connection_broke(key);
        }
    }

    /// A POST's body is whole: answers it and takes its packets, or begins to, if they are many.
    fn finish_post(&mut self, key: ConnectionKey) {
        let Some(mut body) = self.take_body(key) else { return };
        let (session, is_binary) = (body.session, body.is_binary);
        let dialect = self.sessions.get(session).and_then(|session| session.dialect.as_deref());
        let is_protocol_3 = dialect.is_some_and(|dialect| dialect.is_protocol_3);
        let is_jsonp = dialect.is_some_and(|dialect| dialect.jsonp.is_some());
        let bytes = body.take_bytes();
        let content = match (is_protocol_3 && is_binary, is_jsonp) {
            (true, false) => Content::Binary(bytes),
            // Bytes are no form.
            (true, true) => Content::Nothing,
            // A form without the field carries nothing, which is no error.
            (false, true) => jsonp::decode_body(&bytes).map_or(Content::Nothing, Content::Text),
            (false, false) => String::from_utf8(bytes).map_or(Content::Unreadable, Content::Text),
        };
        let content = match content {
            Content::Text(text) if !is_protocol_3 && Self::is_long_post(&text) => {
                return self.begin_post_pieces(key, &body, text);
            }
            other => other,
        };
        self.arm_connection(key, crate::limits::REQUEST_HEAD_DEADLINE_MS);
        self.post_is_done(session, key);
        if body.is_old_browser {
            self.fields.extend_from_slice(NO_XSS_FILTER);
        }
        self.answer_post(key, body.keep_alive);
        match content {
            Content::Nothing => {}
            Content::Binary(bytes) => self.take_polled(session, payload_v3::decode_binary_body(&bytes)),
            Content::Text(text) if is_protocol_3 => self.take_polled(session, payload_v3::decode_text_body(&text)),
            Content::Text(text) => self.take_polled(session, payload::decode(&text)),
            Content::Unreadable => self.parse_failed(session),
        }
    }

    /// A POST without a packet in it, or with one that is none. A session that is closing reads no packets any more.
    pub(super) fn parse_failed(&mut self, key: SessionKey) {
        if self.takes_packets(key) {
            self.end_session(key, DisconnectReason::ParseError, Farewell::Close);
        }
    }

    /// The packets of a POST's body, or of a piece of a long one, up to the first that is none. Where the client ends its session behind a goodbye to a
    /// namespace in the same, it is the end of the session that the socket hears of, as in Node, which takes packets of Socket.IO a tick later.
    pub(super) fn take_polled<'a, E>(
        &mut self,
        session: SessionKey,
        mut packets: impl Iterator<Item = Result<payload::PolledPacket<'a>, E>> + Clone,
    ) {
        let mut ends_session = None;
        while let Some(polled) = packets.next() {
            match polled {
                Ok(payload::PolledPacket::Text(packet)) => {
                    let text = packet.data.as_bytes();
                    let mut owned = Vec::with_capacity(text.len() + 1);
                    owned.push(packet.kind.digit());
                    owned.extend_from_slice(text);
                    let carrier = Carrier::Owned(owned, 0);
                    let found = packet::read(packet.kind);
                    if found == Found::Close {
                        return self.end_session(session, DisconnectReason::TransportClose, Farewell::Noop);
                    }
                    let is_goodbye = found == Found::Message && text.first() == Some(&b'1');
                    if is_goodbye && *ends_session.get_or_insert_with(|| has_close(packets.clone())) {
                        self.tell_packet(session, packet.kind, &carrier, &[]);
                        continue;
                    }
                    self.handle_packet(session, carrier, &[]);
                }
                Ok(payload::PolledPacket::Binary(message)) => self.handle_binary(session, Cow::Owned(message)),
                Err(_) => return self.parse_failed(session),
            }
        }
    }

    /// One text packet of an open session.
    pub(super) fn handle_packet(&mut self, key: SessionKey, carrier: Carrier, received: &[u8]) {
        let Some(session) = self.sessions.get(key).filter(|session| session.state == SessionState::Open) else {
            return;
        };
        let is_protocol_3 = session.is_protocol_3();
        let Ok(text) = simdutf8::basic::from_utf8(carrier.bytes(received)) else {
            return self.end_session(key, DisconnectReason::ParseError, Farewell::Close);
        };
        let kind = match engineio::decode_text(text) {
            Ok(TextPacket::Packet(packet)) => packet.kind,
            Ok(TextPacket::Base64(text)) if !is_protocol_3 => {
                return self.handle_binary(key, Cow::Owned(base64::decode(text)));
            }
            Ok(TextPacket::Base64(_)) => {
                return match payload_v3::decode_websocket_text(text) {
                    Ok(payload::PolledPacket::Binary(message)) => self.handle_binary(key, Cow::Owned(message)),
                    _ => self.end_session(key, DisconnectReason::ParseError, Farewell::Close),
                };
            }
            Err(_) => return self.end_session(key, DisconnectReason::ParseError, Farewell::Close),
        };
        self.tell_packet(key, kind, &carrier, received);
        let found = if is_protocol_3 { packet::read_protocol_3(kind) } else { packet::read(kind) };
        if found == Found::Pong {
            return self.handle_pong(key);
        }
        self.note_alive(key);
        match found {
            Found::Message => self.handle_text(key, carrier.without_first(), received),
            Found::Close => self.hear_goodbye(key),
            Found::WrongDirection => {
                let cause = Cause::new(DisconnectReason::TransportError, "invalid heartbeat direction");
                self.end_session(key, cause, Farewell::Close);
            }
            Found::Ping => {
                self.rearm_heartbeat(key, self.now.after(self.options.ping_interval_ms + self.options.ping_timeout_ms));
                self.queue_control(key, encode::text_frame(b"3"));
            }
            Found::Ignored | Found::Pong => {}
        }
    }

    /// The close packet of Engine.IO. Over a WebSocket it ends like a close frame: events before it are handled first.
    fn hear_goodbye(&mut self, key: SessionKey) {
        match self.sessions.get(key).map(|session| session.link) {
            Some(Link::WebSocket(connection)) => self.begin_ending(connection, Ending::Closed(Box::default())),
            _ => self.end_session(key, DisconnectReason::TransportClose, Farewell::Close),
        }
    }

    /// The client has answered a ping.
    pub(super) fn handle_pong(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.heartbeat.phase = crate::session::heartbeat::Phase::Resting;
        }
        self.rearm_heartbeat(key, self.next_ping());
    }

    /// A text that is no packet: where WebSocket is spoken alone.
    pub(super) fn handle_plain_text(&mut self, key: SessionKey, carrier: Carrier, received: &[u8]) {
        self.note_alive(key);
        self.handle_text(key, carrier, received);
    }

    /// A text message: a packet of Socket.IO.
    fn handle_text(&mut self, key: SessionKey, carrier: Carrier, received: &[u8]) {
        if self.options.engine_only {
            self.counters.events_received += 1;
            return self.events.push_back(Event::EngineMessage {
                session: key,
                data: carrier.into_data(),
                is_binary: false,
            });
        }
        if self.options.parser.is_some() {
            let Ok(text) = core::str::from_utf8(carrier.bytes(received)) else { return };
            return self.take_message(key, Message::Text(text));
        }
        let Some(session) = self.sessions.get(key) else { return };
        if session.unfinished.is_some() {
            return self.violate(key, "got plaintext data when reconstructing a packet");
        }
        let Ok(text) = simdutf8::basic::from_utf8(carrier.bytes(received)) else { return };
        if text.is_empty() {
            // Not a CONNECT, though an empty text decodes as one: Node's decoder is given nothing then.
            return self.violate(key, "an empty message");
        }
        let packet = match decode(text, &DecodeLimits { attachments_max: self.options.attachments_max }) {
            Ok(packet) => packet,
            Err(error) => return self.violate(key, decode_error_text(error)),
        };
        let (namespace, query) = self.split_namespace(key, packet.namespace);
        if packet.kind == PacketKind::Connect {
            let auth = self.auth_of(key, packet.data, query);
            return self.request_connect(key, namespace, auth);
        }
        let Some(socket) = self.socket_in(key, namespace) else { return self.end_of_a_stranger(key, &packet) };
        match packet.kind {
            PacketKind::Disconnect => self.begin_leaving(socket, DisconnectReason::ClientNamespaceDisconnect),
            PacketKind::Event | PacketKind::Ack => {
                // `2` without payload is an event without a name: nobody can listen to it.
                let Some(bounds) = Bounds::of(text, &packet) else { return };
                let is_ack = packet.kind == PacketKind::Ack;
                let message = bounds.into_message(carrier);
                self.deliver_message(socket, is_ack, message, received);
            }
            PacketKind::BinaryEvent | PacketKind::BinaryAck => self.begin_assembly(key, socket, text, &packet),
            PacketKind::ConnectError | PacketKind::Connect => self.close_session(key),
        }
    }

    /// A query belongs to the namespace in revision 3.
    pub(super) fn split_namespace<'a>(&self, key: SessionKey, namespace: &'a str) -> (&'a str, &'a str) {
        match namespace.split_once('?') {
            Some(split) if self.sessions.get(key).is_some_and(Session::is_protocol_3) => split,
            _ => (namespace, ""),
        }
    }

    /// What a CONNECT carries: in revision 3, the query stands for what auth is since.
    pub(super) fn auth_of(&self, key: SessionKey, data: Option<&str>, query: &str) -> Option<Box<str>> {
        if self.sessions.get(key).is_some_and(Session::is_protocol_3) {
            return Some(query_as_json(query));
        }
        data.map(Box::from)
    }

    /// A packet for a namespace that the client is not in ends the session, once it is whole.
    fn end_of_a_stranger(&mut self, key: SessionKey, packet: &Packet<'_>) {
        if packet.attachment_count == 0 {
            return self.close_session(key);
        }
        let is_legal = attachment::check(packet.data.unwrap_or_default(), packet.attachment_count).is_ok();
        let timer = self.arm_attachments(key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let unwanted = Unwanted { left: packet.attachment_count, is_legal, timer };
        session.unfinished = Some(Box::new(Unfinished::Unwanted(unwanted)));
    }

    /// The attachments of a packet follow: keeps a copy of it until they are here.
    fn begin_assembly(&mut self, key: SessionKey, socket: SocketKey, text: &str, packet: &Packet<'_>) {
        let Some(bounds) = Bounds::of(text, packet) else { return };
        let message = bounds.into_message(Carrier::Owned(text.as_bytes().to_vec(), 0));
        let assembly = Assembly {
            socket,
            is_ack: packet.kind == PacketKind::BinaryAck,
            message,
            attachment_count: packet.attachment_count,
            timer: self.arm_attachments(key),
        };
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.unfinished = Some(Box::new(Unfinished::Attachments(assembly)));
    }

    /// Until when the attachments of a packet are waited for.
    fn arm_attachments(&mut self, key: SessionKey) -> TimerKey {
        let late_at = self.now.after(attachments_deadline_ms(&self.options));
        self.wheel.arm(late_at, Deadline::Attachments(key))
    }

    /// What is missing of a packet will not be waited for.
    pub(super) fn drop_unfinished(&mut self, key: SessionKey) {
        let unfinished = self.sessions.get_mut(key).and_then(|session| session.unfinished.take());
        self.disarm(unfinished.and_then(|unfinished| unfinished.timer()));
    }

    /// A binary message: the next attachment.
    pub(super) fn handle_binary(&mut self, key: SessionKey, message: Cow<'_, [u8]>) {
        if !self.takes_packets(key) {
            return;
        }
        self.note_alive(key);
        self.tell_binary(key, &message);
        if self.options.engine_only {
            self.counters.events_received += 1;
            let data = Data::Owned { bytes: message.into_owned(), start: 0 };
            return self.events.push_back(Event::EngineMessage { session: key, data, is_binary: true });
        }
        if self.options.parser.is_some() {
            return self.take_message(key, Message::Binary(&message));
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        match session.unfinished.as_deref_mut() {
            Some(Unfinished::Attachments(assembly)) => {
                if !assembly.push(message.into_owned()) {
                    return;
                }
            }
            Some(Unfinished::Unwanted(unwanted)) => {
                unwanted.left -= 1;
                return match (unwanted.left, unwanted.is_legal) {
                    (0, true) => self.close_session(key),
                    (0, false) => self.violate(key, "illegal attachments"),
                    _ => {}
                };
            }
            _ => return self.violate(key, "got binary data when not reconstructing a packet"),
        }
        let Some(Unfinished::Attachments(assembly)) = session.unfinished.take().map(|unfinished| *unfinished) else {
            return;
        };
        self.wheel.disarm(assembly.timer);
        let json = core::str::from_utf8(assembly.message.data.bytes(&[])).unwrap_or_default();
        if attachment::check(json, assembly.attachment_count).is_err() {
            return self.violate(key, "illegal attachments");
        }
        self.deliver_message(assembly.socket, assembly.is_ack, assembly.message, &[]);
    }

    /// A whole event or acknowledgement for the application.
    pub(super) fn deliver_message(
        &mut self,
        socket: SocketKey,
        is_ack: bool,
        message: crate::door::Message,
        received: &[u8],
    ) {
        self.counters.events_received += 1;
        if !is_ack {
            return self.events.push_back(Event::Message { socket, message });
        }
        // An acknowledgement that nobody waits for is ignored, as in Node.
        let owed = message.id.and_then(|id| self.sockets.get_mut(socket)?.acks.take(id));
        if let Some(owed) = owed {
            self.disarm(owed.timer);
            self.acknowledgement_came(&owed, message, received);
        }
    }

    /// The client broke a rule of Socket.IO: its sockets hear of it, then the connection is closed.
    pub(super) fn violate(&mut self, key: SessionKey, error: &'static str) {
        self.drop_unfinished(key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let is_open = session.state == SessionState::Open;
        for socket in session.sockets.clone() {
            self.events.push_back(Event::ProtocolError { socket, error });
        }
        // Node closes its engine then, and the sockets hear of that, however they talk.
        if is_open {
            self.close_session_because(key, Cause::new(DisconnectReason::ForcedClose, error));
        }
    }

    /// The joined socket of a session in the namespace of this name, or the one that has just left it.
    pub(super) fn socket_in(&self, key: SessionKey, namespace: &str) -> Option<SocketKey> {
        let session = self.sessions.get(key)?;
        let mut joined = session.sockets.iter().copied().filter(|socket| {
            self.sockets.get(*socket).is_some_and(|socket| {
                socket.is_joined()
                    && socket
                        .namespace()
                        .and_then(|id| self.namespace(id))
                        .is_some_and(|found| *found.name == *namespace)
            })
        });
        joined.next().or_else(|| self.leaving_from(key, namespace))
    }

    /// The socket of a session that has said goodbye to the namespace, as long as nobody was told: what its client sent
    /// along with the goodbye is lost with it, but breaks no rule.
    fn leaving_from(&self, key: SessionKey, namespace: &str) -> Option<SocketKey> {
        self.events.iter().rev().find_map(|event| {
            let Event::Disconnecting { socket: leaving, .. } = event else { return None };
            let socket = self.sockets.get(*leaving).filter(|socket| socket.session == key)?;
            let found = socket.namespace().and_then(|id| self.namespace(id))?;
            (*found.name == *namespace).then_some(*leaving)
        })
    }

    pub(super) fn takes_packets(&self, key: SessionKey) -> bool {
        self.sessions.get(key).is_some_and(|session| session.state == crate::session::State::Open)
    }

    /// Something other than a pong came.
    fn note_alive(&mut self, key: SessionKey) {
        if self.sessions.get_mut(key).is_some_and(|session| session.heartbeat.handle_packet()) {
            self.rearm_heartbeat(key, self.now.after(self.options.ping_timeout_ms));
        }
    }
}

/// Whether one of these packets ends the session.
fn has_close<'a, E>(packets: impl Iterator<Item = Result<payload::PolledPacket<'a>, E>>) -> bool {
    let is_close =
        |polled| matches!(polled, payload::PolledPacket::Text(packet) if packet::read(packet.kind) == Found::Close);
    packets.map_while(Result::ok).any(is_close)
}

/// What the body of a POST holds.
enum Content {
    /// No packet, and that is no error.
    Nothing,
    /// Packets as text.
    Text(String),
    /// Packets of revision 3 as bytes.
    Binary(Vec<u8>),
    /// What should be text is none.
    Unreadable,
}

/// A query as the object that Node's `url.parse` makes of it: names that come again hold an array.
fn query_as_json(query: &str) -> Box<str> {
    let mut pairs: Vec<(Cow<'_, str>, Vec<Cow<'_, str>>)> = Vec::new();
    for (name, value) in query::pairs(query).take(QUERY_PAIRS_MAX) {
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => pairs.push((name, alloc::vec![value])),
        }
    }
    let mut json = Vec::with_capacity(query.len() + 16);
    json.push(b'{');
    for (name, values) in &pairs {
        if json.len() > 1 {
            json.push(b',');
        }
        write_json_string(&mut json, name);
        json.push(b':');
        if let [value] = values.as_slice() {
            write_json_string(&mut json, value);
            continue;
        }
        for (index, value) in values.iter().enumerate() {
            json.push(if index == 0 { b'[' } else { b',' });
            write_json_string(&mut json, value);
        }
        json.push(b']');
    }
    json.push(b'}');
    String::from_utf8(json).expect("strings are written as UTF-8").into_boxed_str()
}

/// The words of socket.io-parser where it has them.
const fn decode_error_text(error: DecodeError) -> &'static str {
    match error {
        DecodeError::UnknownPacketType => "unknown packet type",
        DecodeError::IllegalAttachments => "Illegal attachments",
        DecodeError::TooManyAttachments => "too many attachments",
        DecodeError::IdTooLarge => "invalid ack id",
        DecodeError::InvalidPayload => "invalid payload",
        DecodeError::PayloadTooDeep => "payload nested too deeply",
    }
}
