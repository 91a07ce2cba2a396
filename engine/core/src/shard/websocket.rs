//! WebSocket connections: opened for a new session, or beside a polling one to upgrade it; their messages and their end.

use super::Shard;
use super::closing::Farewell;
use crate::base::frame::Frame;
use crate::base::id::{ConnectionKey, SessionKey};
use crate::broadcast::encode;
use crate::connection::deflate::Deflate;
use crate::connection::{Ending, State};
use crate::door::{Cause, DisconnectReason, SessionEvent};
use crate::namespace::event::Carrier;
use crate::session::dialect::Dialect;
use crate::session::upgrade::{Probe, Upgrade, read_probe};
use crate::session::{Link, Session, State as SessionState};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use ringio_codec::engineio::payload_v3;
use ringio_codec::http::query::EngineQuery;
use ringio_codec::http::request::Request;
use ringio_codec::http::response::{self, EngineError};
use ringio_codec::websocket::{Incoming, InflateError, MessageError, MessageLimits, Payload, Received, Receiver, Role};
use ringio_codec::websocket::{Opcode, extensions, validate, write_switching_protocols_with};

use super::deadlines::Deadline;
use crate::limits::{OPEN_HELD_MS, UPGRADE_NOOP_INTERVAL_MS, message_deadline_ms};

/// The close code for a peer that keeps to the protocol but not to our rules (RFC 6455, 7.4.1).
const POLICY_VIOLATION: u16 = 1008;

/// permessage-deflate, if the client offered it and the server wants it.
type Agreed = Option<Box<Deflate>>;

impl Shard {
    /// A WebSocket handshake without a session: opens one.
    pub(super) fn open_websocket(&mut self, key: ConnectionKey, request: &Request<'_>) {
        let Some((mut answer, deflate)) = self.accept_websocket(key, request) else { return };
        if self.options.plain_websocket {
            if !self.admits_session(key) {
                return;
            }
            let handshake = self.handshake_of(key, request);
            let session = self.insert_session(Link::WebSocket(key), handshake, None);
            return self.become_websocket(key, session, answer, deflate);
        }
        let query = EngineQuery::decode(request.query());
        if query.protocol != 4 && !self.options.allow_eio3 {
            // As Node does: found only after the handshake, and said in the wrong language.
            self.note_refusal(key, request, EngineError::UnsupportedProtocolVersion, "", None);
            response::write_upgrade_refusal(&mut answer, EngineError::UnsupportedProtocolVersion.message(), &[]);
            self.transmit(key, Frame::raw(answer));
            return self.finish_connection(key);
        }
        if !self.admits_session(key) {
            return;
        }
        let handshake = self.handshake_of(key, request);
        let session = self.insert_session(Link::WebSocket(key), handshake, Dialect::of(&query, false));
        self.become_websocket(key, session, answer, deflate);
        if self.sessions.get(session).is_some_and(Session::is_held) {
            self.wheel.arm(self.now.after(OPEN_HELD_MS), Deadline::Open(session));
        }
        self.mark_session(session);
    }

    /// A client of revision 3 has had time to see that its WebSocket is open.
    pub(super) fn release_open(&mut self, key: SessionKey) {
        if let Some(dialect) = self.sessions.get_mut(key).and_then(|session| session.dialect.as_mut()) {
            dialect.is_held = false;
        }
        self.mark_session(key);
    }

    /// A WebSocket handshake for a polling session: it begins to probe.
    pub(super) fn begin_upgrade(&mut self, key: ConnectionKey, session_key: SessionKey, request: &Request<'_>) {
        let Some((answer, deflate)) = self.accept_websocket(key, request) else { return };
        self.become_websocket(key, session_key, answer, deflate);
        let allowed = self.options.allow_upgrades;
        let timeout = self.now.after(self.options.upgrade_timeout_ms);
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let is_free = allowed
            && session.upgrade.is_none()
            && session.state != SessionState::Closed
            && matches!(session.link, Link::Polling { .. });
        if !is_free {
            // Accepted and closed at once, without a status: the session is not touched.
            return self.finish_websocket(key, &[]);
        }
        let timeout = self.wheel.arm(timeout, Deadline::Upgrade(session_key));
        session.upgrade = Some(Upgrade { connection: key, timeout, noop: None });
    }

    /// The 101 answer and what was agreed on with it, or `None` if the handshake is refused.
    fn accept_websocket(&mut self, key: ConnectionKey, request: &Request<'_>) -> Option<(Vec<u8>, Agreed)> {
        let accepted = match validate(request) {
            Ok(accepted) => accepted,
            Err(error) => {
                self.refuse_handshake(key, request, error);
                return None;
            }
        };
        let mut fields = Vec::new();
        let mut deflate = None;
        if let Some(options) = &self.options.per_message_deflate {
            let offers = request.headers.get_all("sec-websocket-extensions");
            let Ok(parameters) = extensions::negotiate(offers, &options.negotiation) else {
                let message = Some("Invalid or unacceptable Sec-WebSocket-Extensions header");
                self.refuse_because(key, request, EngineError::BadRequest, message, "INVALID_EXTENSIONS");
                return None;
            };
            if let Some(parameters) = parameters {
                let mut value = String::new();
                parameters.write(&mut value);
                response::write_headers(&mut fields, &[("Sec-WebSocket-Extensions", &value)]);
                deflate = Some(Box::new(Deflate::new(parameters)));
            }
        }
        fields.append(&mut self.fields);
        let mut answer = Vec::with_capacity(256);
        write_switching_protocols_with(&mut answer, &accepted.accept(), &fields);
        Some((answer, deflate))
    }

    fn become_websocket(&mut self, key: ConnectionKey, session: SessionKey, answer: Vec<u8>, deflate: Agreed) {
        self.disarm_connection(key);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.state = State::WebSocket { session, receiver: Receiver::new(), deflate, ending: None };
        }
        self.transmit(key, Frame::raw(answer));
    }

    /// Takes the messages in `bytes` from `cursor` on.
    pub(super) fn receive_websocket(&mut self, key: ConnectionKey, bytes: &mut [u8], cursor: &mut usize) {
        let message_bytes_max = self.options.max_http_buffer_size;
        let mut has_message = false;
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let State::WebSocket { session, receiver, deflate, ending: None } = &mut connection.state else {
                *cursor = bytes.len();
                return;
            };
            let session = *session;
            let limits = MessageLimits { message_bytes_max, role: Role::Server, allow_rsv1: deflate.is_some() };
            let received = match deflate {
                None => receiver.next(bytes, cursor, &limits).map_err(MessageError::close_code),
                Some(deflate) => match receiver.next_with_deflate(bytes, cursor, &limits) {
                    Ok(None) => Ok(None),
                    Ok(Some(Incoming::Plain(received))) => Ok(Some(received)),
                    Ok(Some(Incoming::Deflated(message))) => deflate
                        .inflate(&mut self.deflate, &message, bytes, message_bytes_max)
                        .map(Some)
                        .map_err(InflateError::close_code),
                    Err(error) => Err(error.close_code()),
                },
            };
            match received {
                Ok(None) => return self.watch_assembly(key, has_message),
                Ok(Some(received)) => {
                    has_message |= matches!(received, Received::Text(_) | Received::Binary(_));
                    self.handle_frame(key, session, received, bytes);
                }
                Err(close_code) => self.begin_ending(key, Ending::Failed(close_code)),
            }
        }
    }

    /// All that has arrived was read: half a message has a deadline, counted from its first byte.
    fn watch_assembly(&mut self, key: ConnectionKey, has_message: bool) {
        let Some(connection) = self.connections.get(key) else { return };
        let State::WebSocket { receiver, .. } = &connection.state else { return };
        match (receiver.is_idle(), connection.timer.is_some()) {
            (true, true) => self.disarm_connection(key),
            (false, is_armed) if has_message || !is_armed => {
                self.arm_connection(key, message_deadline_ms(&self.options));
            }
            _ => {}
        }
    }

    /// A message was not whole in time.
    pub(super) fn message_is_late(&mut self, key: ConnectionKey) {
        self.begin_ending(key, Ending::Failed(POLICY_VIOLATION));
    }

    fn handle_frame(&mut self, key: ConnectionKey, session: SessionKey, received: Received, bytes: &[u8]) {
        match received {
            Received::Text(payload) if !self.is_transport(key, session) => {
                self.handle_probe(key, session, payload.bytes(bytes));
            }
            Received::Binary(_) if !self.is_transport(key, session) => self.give_up_probe(key, session),
            Received::Text(payload) => {
                let carrier = match payload {
                    Payload::InPlace(range) => Carrier::Received(range),
                    Payload::Owned(owned) => Carrier::Owned(owned, 0),
                };
                if self.options.plain_websocket {
                    return self.handle_plain_text(session, carrier, bytes);
                }
                self.handle_packet(session, carrier, bytes);
            }
            Received::Binary(payload) => {
                let message = match payload {
                    Payload::InPlace(range) => Cow::Borrowed(&bytes[range]),
                    Payload::Owned(owned) => Cow::Owned(owned),
                };
                if self.sessions.get(session).is_some_and(Session::is_protocol_3) {
                    return match payload_v3::decode_websocket_binary(&message) {
                        Ok(message) => self.handle_binary(session, Cow::Borrowed(message)),
                        Err(_) => self.end_session(session, DisconnectReason::ParseError, Farewell::Close),
                    };
                }
                self.handle_binary(session, message);
            }
            Received::Ping(payload) => {
                self.answer_frame(key, encode::control_frame(Opcode::Pong, payload.bytes(bytes)));
            }
            Received::Pong(_) if self.options.plain_websocket => self.handle_pong(session),
            Received::Pong(_) => {}
            Received::Close { code, reason } => {
                // The answer repeats code and reason, as Node's does.
                let mut echo = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                echo.extend_from_slice(reason.bytes(bytes));
                self.begin_ending(key, Ending::Closed(echo.into_boxed_slice()));
            }
        }
    }

    /// Answers a frame, unless its peer makes us answer faster than it reads. Whether it does not.
    fn answer_frame(&mut self, key: ConnectionKey, frame: Frame) -> bool {
        if self.connections.get(key).is_some_and(|connection| connection.transmit.is_full()) {
            self.connection_broke(key);
            return false;
        }
        self.transmit(key, frame);
        true
    }

    /// Whether the connection is its session's transport, not one that probes.
    fn is_transport(&self, key: ConnectionKey, session: SessionKey) -> bool {
        self.sessions.get(session).is_some_and(|session| session.link == Link::WebSocket(key))
    }

    /// A text on a WebSocket that is not the transport yet.
    fn handle_probe(&mut self, key: ConnectionKey, session_key: SessionKey, text: &[u8]) {
        match read_probe(text) {
            Probe::Answer => {
                if !self.answer_frame(key, encode::text_frame(b"3probe")) {
                    return;
                }
                let Some(session) = self.sessions.get_mut(session_key) else { return };
                let Some(upgrade) = &mut session.upgrade else { return };
                let is_first = upgrade.noop.is_none();
                if is_first {
                    upgrade.noop = Some(
                        self.wheel.arm(self.now.after(UPGRADE_NOOP_INTERVAL_MS), Deadline::UpgradeNoop(session_key)),
                    );
                }
                if is_first {
                    self.tell_upgrade(session_key, SessionEvent::Upgrading);
                }
                self.answer_with_noop(session_key);
            }
            Probe::Switch => self.switch_transport(key, session_key),
            Probe::Refuse => self.give_up_probe(key, session_key),
        }
    }

    /// The WebSocket becomes the transport; what was queued follows on it.
    fn switch_transport(&mut self, key: ConnectionKey, session_key: SessionKey) {
        self.take_rest_of_post(session_key);
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let Some(upgrade) = session.upgrade.take_if(|upgrade| upgrade.connection == key) else { return };
        self.wheel.disarm(upgrade.timeout);
        self.disarm(upgrade.noop);
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        if session.state == SessionState::Closing {
            return self.forget_closing_over(session_key, key);
        }
        if let Link::Polling { posting: Some(connection), .. } = session.link {
            // Of a POST that is not whole nothing has been handled, and nothing of it may be once the other transport is heard.
            self.drop_connection(connection);
        }
        // A client that did not wait for its GET to return hears on it that polling is over.
        self.answer_poll_text(session_key, &[b"1"]);
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        session.link = Link::WebSocket(key);
        self.mark_session(session_key);
        self.tell_upgrade(session_key, SessionEvent::Upgraded);
    }

    /// A probe went wrong: only its WebSocket ends.
    pub(super) fn give_up_probe(&mut self, key: ConnectionKey, session_key: SessionKey) {
        self.finish_websocket(key, &[]);
        self.upgrade_ended(key, session_key);
    }

    /// The upgrade took too long.
    pub(super) fn give_up_upgrade(&mut self, session_key: SessionKey) {
        let Some(upgrade) = self.sessions.get(session_key).and_then(|session| session.upgrade) else { return };
        self.give_up_probe(upgrade.connection, session_key);
    }

    /// The session goes on without the upgrade over this connection.
    pub(super) fn upgrade_ended(&mut self, key: ConnectionKey, session_key: SessionKey) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        if let Some(upgrade) = session.upgrade.take_if(|upgrade| upgrade.connection == key) {
            self.wheel.disarm(upgrade.timeout);
            self.disarm(upgrade.noop);
        }
    }

    /// A WebSocket is over: the session with it, if it was the transport.
    pub(super) fn websocket_ended(
        &mut self,
        key: ConnectionKey,
        session: SessionKey,
        is_transport: bool,
        cause: impl Into<Cause>,
    ) {
        if is_transport {
            self.end_session(session, cause, Farewell::Silent);
        } else {
            self.upgrade_ended(key, session);
        }
    }

    /// The peer ends a WebSocket: nothing more is read. Events that came before it are handled first, so that their
    /// handlers can still answer.
    pub(super) fn begin_ending(&mut self, key: ConnectionKey, ending: Ending) {
        if let Some(connection) = self.connections.get_mut(key)
            && let State::WebSocket { ending: state, .. } = &mut connection.state
        {
            *state = Some(ending);
            if self.events.is_empty() { self.finish_ending(key) } else { self.endings.push(key) }
        }
    }

    /// What is queued, then a close frame: the peer's own again, or what it did wrong.
    pub(super) fn finish_ending(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let State::WebSocket { session, ending, .. } = &mut connection.state else { return };
        let (session, Some(ending)) = (*session, ending.take()) else { return };
        let (payload, cause) = match ending {
            Ending::Closed(payload) => (payload, DisconnectReason::TransportClose.into()),
            Ending::Failed(code) => {
                let text = match code {
                    1007 => "invalid UTF-8 sequence",
                    1009 => "Max payload size exceeded",
                    POLICY_VIOLATION => "a message took too long",
                    _ => "invalid WebSocket frame",
                };
                (Box::from(code.to_be_bytes()), Cause::new(DisconnectReason::TransportError, text))
            }
        };
        let is_transport = self.is_transport(key, session);
        if is_transport {
            self.transmit_outbox(session, key);
        }
        self.finish_websocket(key, &payload);
        self.websocket_ended(key, session, is_transport, cause);
    }

    /// Moves what is queued for a session to its WebSocket, for the last time.
    pub(super) fn transmit_outbox(&mut self, session: SessionKey, key: ConnectionKey) {
        let mut frames = self.sessions.get_mut(session).map(|session| session.outbox.take()).unwrap_or_default();
        if let Some(connection) = self.connections.get_mut(key)
            && let State::WebSocket { deflate: Some(deflate), .. } = &mut connection.state
        {
            frames.iter_mut().for_each(|frame| *frame = deflate.deflate(&mut self.deflate, frame));
        }
        for frame in frames {
            self.transmit(key, frame);
        }
    }

    /// Sends a close frame and ends the connection once it is out.
    pub(super) fn finish_websocket(&mut self, key: ConnectionKey, payload: &[u8]) {
        self.transmit(key, encode::control_frame(Opcode::Close, payload));
        self.finish_connection(key);
    }
}
