//! HTTP requests: which are answered at once, which open a session, which wait, which move to another shard.
//!
//! The answers (status, headers, body) are Node's, see the tests in `tests/conformance/bad-input`.

use super::Shard;
use super::closing::Farewell;
use crate::base::frame::Frame;
use crate::base::id::{ConnectionKey, SessionKey, ShardIndex};
use crate::base::kept::Kept;
use crate::base::seed::Sid;
use crate::connection::State;
use crate::connection::backlog::Backlog;
use crate::connection::body::Body;
use crate::connection::polled_body::{BodyCompressor, ENCODINGS};
use crate::connection::request::{Ask, AskMethod, AskedSid, Route, has_body, route};
use crate::door::{Cause, DisconnectReason, HandshakeRequest, Output, Stage, Transport};
use crate::limits::{MOVING_DEADLINE_MS, REQUEST_HEAD_BYTES_MAX, REQUEST_HEAD_DEADLINE_MS, body_deadline_ms};
use crate::session::dialect::{Dialect, Payload, encode_payload};
use crate::session::{Link, State as SessionState};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use ringio_codec::http::query::EngineQuery;
use ringio_codec::http::request::{self, BodyLength, Request, RequestLimits};
use ringio_codec::http::response::{self, EngineError};
use ringio_codec::http::{ContentEncoding, accept_encoding};
use ringio_codec::websocket::HandshakeError;
use smallvec::{SmallVec, smallvec};

/// Headers of every polling answer.
const NO_STORE: (&str, &str) = ("cache-control", "no-store");

/// Header of polling answers to old Internet Explorers, which would take a text with markup in it for a page.
pub(super) const NO_XSS_FILTER: &[u8] = b"X-XSS-Protection: 0\r\n";

const LIMITS: RequestLimits = RequestLimits { head_bytes_max: REQUEST_HEAD_BYTES_MAX };

/// Adds bytes to a half-arrived head; whether it is worth reading again: its end has come, or it is too long.
/// Without this test a head in single bytes would be parsed once per byte.
pub(super) fn append_to_head(rest: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let from = rest.len().saturating_sub(3);
    rest.extend_from_slice(bytes);
    let tail = &rest[from..];
    rest.len() > REQUEST_HEAD_BYTES_MAX
        || tail.windows(2).any(|pair| pair == b"\n\n")
        || tail.windows(3).any(|three| three == b"\n\r\n")
}

/// How the client of a poll would have the answer compressed.
fn wanted_encoding(bodies: &BodyCompressor, request: &Request<'_>) -> Option<ContentEncoding> {
    if !bodies.is_on() {
        return None;
    }
    accept_encoding::choose(request.headers.get_all("accept-encoding"), &ENCODINGS)
}

/// Whether it is an old Internet Explorer, by the two marks that engine.io looks for.
fn is_old_browser(request: &Request<'_>) -> bool {
    let agent = request.headers.get("user-agent").unwrap_or_default();
    let has = |mark: &[u8]| agent.windows(mark.len()).any(|part| part == mark);
    has(b";MSIE") || has(b"Trident/")
}

impl Shard {
    /// Reads a request's head at the start of `bytes` and does what it asks. The number of bytes it took, or `None` if
    /// all of `bytes` was kept for later.
    pub(super) fn take_request(&mut self, key: ConnectionKey, bytes: &[u8]) -> Option<usize> {
        if self.connections.get(key)?.transmit.is_full() {
            self.connection_broke(key);
            return None;
        }
        let limits = &LIMITS;
        #[cfg(ringio_planted)]
        let limits = if crate::base::planted::is(crate::base::planted::Bug::HeadUnbounded) {
            &RequestLimits { head_bytes_max: usize::MAX }
        } else {
            limits
        };
        match request::decode(bytes, limits) {
            Ok(None) => {
                let connection = self.connections.get_mut(key)?;
                connection.state = State::Head { rest: bytes.to_vec() };
                None
            }
            Err(error) => {
                // Node's parser knows two answers.
                let status = if error.status() == 431 { 431 } else { 400 };
                self.answer_and_finish(key, status, &[], b"");
                None
            }
            Ok(Some((request, len))) => {
                if let Some(target) = self.foreign_shard(&request) {
                    self.move_connection(key, target, bytes.to_vec());
                    return None;
                }
                self.handle_request(key, &request);
                Some(len)
            }
        }
    }

    /// The shard that a request belongs to, if it is another one.
    fn foreign_shard(&self, request: &Request<'_>) -> Option<ShardIndex> {
        if self.shard_count == 1 || !request.target.starts_with(self.options.path.as_str()) {
            return None;
        }
        let sid = match route(request, &self.options, &self.assets) {
            Ok(Route::Engine(Ask { sid: AskedSid::Some(sid), .. })) => sid,
            Ok(Route::Engine(Ask { sid: AskedSid::Malformed, .. })) => return self.foreign_shard_of_name(request),
            _ => return None,
        };
        let shard = sid.shard();
        (shard != self.index && shard.0 < self.shard_count && !self.session_ids.contains_key(&sid)).then_some(shard)
    }

    /// Hands a connection with what it has sent so far to the shard of its session.
    fn move_connection(&mut self, key: ConnectionKey, target: ShardIndex, rest: Vec<u8>) {
        self.arm_connection(key, MOVING_DEADLINE_MS);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.state = State::Moving { target, backlog: Backlog::new(rest) };
        // An answer to an earlier request may still be on its way; the move waits for it.
        self.begin_move(key);
    }

    /// Starts the transfer of a moving connection whose sends are done. From then on it has no deadline: it is the kernel's until
    /// `handle_transferred`.
    pub(super) fn begin_move(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key) else { return };
        let State::Moving { target, .. } = connection.state else { return };
        if connection.transmit.is_idle() {
            self.outputs.push_back(Output::Transfer { file: connection.file, target });
            self.disarm_connection(key);
        } else {
            self.awaits_sent = true;
        }
    }

    fn handle_request(&mut self, key: ConnectionKey, request: &Request<'_>) {
        if self.is_stopping {
            return self.answer_and_finish(key, 503, &[("Retry-After", "1")], b"");
        }
        if !self.is_held_back(key, request) {
            self.route_request(key, request);
        }
        self.fields = Vec::new();
    }

    /// Does what a request asks that nobody held back.
    pub(super) fn route_request(&mut self, key: ConnectionKey, request: &Request<'_>) {
        match route(request, &self.options, &self.assets) {
            Err(error) => self.refuse(key, request, error),
            Ok(Route::NotFound) if self.options.destroy_upgrade && request.is_websocket_upgrade() => {
                self.destroy_upgrade(key);
            }
            Ok(Route::NotFound) => self.answer(key, request, 404, &[], b""),
            Ok(Route::Asset { index, is_head, is_known }) => self.answer_asset(key, request, index, is_head, is_known),
            Ok(Route::Engine(ask)) => match ask.sid {
                AskedSid::None if self.options.hooks.handshakes => self.hold_back(key, request, Stage::Handshake),
                AskedSid::None => self.open_session(key, request, ask),
                AskedSid::Malformed => match self.session_by_name(request) {
                    None => self.refuse(key, request, EngineError::UnknownSid),
                    Some(session) => self.handle_session_request(key, session, request, ask),
                },
                AskedSid::Some(sid) => match self.session_ids.get(&sid).copied() {
                    None => self.refuse(key, request, EngineError::UnknownSid),
                    Some(session) => self.handle_session_request(key, session, request, ask),
                },
            },
        }
    }

    /// Ends the connection of an upgrade that is not ours: at once with an answer, or later without one, as Node does.
    fn destroy_upgrade(&mut self, key: ConnectionKey) {
        let timeout_ms = self.options.destroy_upgrade_timeout_ms;
        if timeout_ms == 0 {
            return self.answer_and_finish(key, 404, &[], b"");
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        // What still arrives is dropped, and its deadline ends it.
        connection.state = State::Closing { dropped_bytes: 0 };
        self.arm_connection(key, timeout_ms);
    }

    fn handle_session_request(&mut self, key: ConnectionKey, session_key: SessionKey, request: &Request<'_>, ask: Ask) {
        let Some(session) = self.sessions.get(session_key) else { return };
        let is_fitting = ask.is_protocol_4 != session.is_protocol_3()
            && (ask.method == AskMethod::Upgrade || ask.transport == session.transport());
        // Of a session that is over, only the GET that its client may have sent before is answered.
        if session.state == SessionState::Closed && !(is_fitting && ask.method == AskMethod::Get) {
            return self.refuse(key, request, EngineError::UnknownSid);
        }
        if !is_fitting {
            return self.refuse(key, request, EngineError::BadRequest);
        }
        match ask.method {
            AskMethod::Upgrade if ask.transport == Transport::WebSocket => {
                self.begin_upgrade(key, session_key, request);
            }
            AskMethod::Upgrade => self.refuse(key, request, EngineError::BadRequest),
            AskMethod::Get => self.begin_poll(key, session_key, request),
            AskMethod::Post => self.begin_post(key, session_key, request),
            AskMethod::Other => self.answer(key, request, 500, &[], b""),
        }
    }

    fn begin_poll(&mut self, key: ConnectionKey, session_key: SessionKey, request: &Request<'_>) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let Link::Polling { waiting, .. } = &mut session.link else { return };
        if waiting.is_some() {
            // Overlap: this request is refused and the session ends; the first GET hears the close packet.
            self.answer_and_finish(key, 400, &[], b"");
            let cause = Cause::new(DisconnectReason::TransportError, "overlap from client");
            return self.end_session(session_key, cause, Farewell::Close);
        }
        *waiting = Some(key);
        let state = session.state;
        self.note_old_browser(request);
        self.disarm_connection(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let keep_alive = request.keep_alive && !has_body(request);
        let fields = core::mem::take(&mut self.fields).into_boxed_slice();
        let encoding = wanted_encoding(&self.bodies, request);
        connection.state = State::Waiting { session: session_key, keep_alive, encoding, rest: Vec::new(), fields };
        match state {
            SessionState::Open => self.mark_session(session_key),
            SessionState::Closing => self.answer_closing_poll(session_key, false),
            SessionState::Closed => self.answer_closed_poll(session_key),
        }
    }

    fn begin_post(&mut self, key: ConnectionKey, session_key: SessionKey, request: &Request<'_>) {
        let bytes_max = self.options.max_http_buffer_size;
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let Link::Polling { posting, .. } = &mut session.link else { return };
        // Node compares the whole header value, parameters defeat it: so does this.
        let is_binary = request.headers.get("content-type") == Some(b"application/octet-stream".as_slice());
        let is_protocol_3 = session.dialect.as_ref().is_some_and(|dialect| dialect.is_protocol_3);
        let is_jsonp = session.dialect.as_ref().is_some_and(|dialect| dialect.jsonp.is_some());
        let posting_is_busy = posting.is_some();
        if posting_is_busy || (is_binary && !is_protocol_3) {
            let text = if posting_is_busy { "data request overlap from client" } else { "invalid content" };
            self.answer_and_finish(key, 400, &[], b"");
            let cause = Cause::new(DisconnectReason::TransportError, text);
            return self.end_session(session_key, cause, Farewell::Close);
        }
        *posting = Some(key);
        let keep_alive = request.keep_alive;
        let mut body = match request.body {
            BodyLength::Fixed(length) if length > bytes_max => {
                *posting = None;
                return self.answer_and_finish(key, 413, &[], b"");
            }
            BodyLength::None | BodyLength::Fixed(0) => {
                *posting = None;
                self.note_old_browser(request);
                self.answer_post(key, keep_alive);
                // A form without the field carries nothing, which is no error.
                if !is_jsonp {
                    self.parse_failed(session_key);
                }
                return;
            }
            BodyLength::Fixed(length) => Body::fixed(session_key, keep_alive, length, bytes_max),
            BodyLength::Chunked => Body::chunked(session_key, keep_alive, bytes_max),
        };
        body.fields = core::mem::take(&mut self.fields);
        body.is_binary = is_binary;
        body.is_old_browser = is_old_browser(request);
        let length = if let BodyLength::Fixed(length) = request.body { Some(length) } else { None };
        let expects_continue =
            request.headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        if let Some(connection) = self.connections.get_mut(key) {
            connection.state = State::Body(Box::new(body));
        }
        self.arm_connection(key, body_deadline_ms(length, &self.options));
        if expects_continue {
            self.transmit(key, Frame::raw(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
        }
    }

    /// Adds the header that old Internet Explorers need.
    fn note_old_browser(&mut self, request: &Request<'_>) {
        if is_old_browser(request) {
            self.fields.extend_from_slice(NO_XSS_FILTER);
        }
    }

    /// The finished body of a connection, which reads its next request from here on; the header lines of its answer
    /// become those at hand.
    pub(super) fn take_body(&mut self, key: ConnectionKey) -> Option<Body> {
        let connection = self.connections.get_mut(key)?;
        let State::Body(body) = core::mem::replace(&mut connection.state, State::Head { rest: Vec::new() }) else {
            return None;
        };
        let mut body = *body;
        self.fields = core::mem::take(&mut body.fields);
        Some(body)
    }

    /// The session may get its next POST.
    pub(super) fn post_is_done(&mut self, session: SessionKey, key: ConnectionKey) {
        if let Some(session) = self.sessions.get_mut(session)
            && let Link::Polling { posting, .. } = &mut session.link
            && *posting == Some(key)
        {
            *posting = None;
        }
    }

    /// 413: the session lives on.
    pub(super) fn refuse_large_post(&mut self, key: ConnectionKey) {
        if let Some(body) = self.take_body(key) {
            self.post_is_done(body.session, key);
        }
        self.answer_and_finish(key, 413, &[], b"");
    }

    /// A body that is not in chunks though it says so: the connection cannot be read any further.
    pub(super) fn refuse_invalid_post(&mut self, key: ConnectionKey) {
        if let Some(Body { session, .. }) = self.take_body(key) {
            self.post_is_done(session, key);
            self.answer_and_finish(key, 400, &[], b"");
            let cause = Cause::new(DisconnectReason::TransportError, "a body that is not in chunks");
            self.end_session(session, cause, Farewell::Close);
        }
    }

    /// A request as it is kept: the handshake of a session, what the application decides or has decided about.
    pub(super) fn handshake_of(&self, key: ConnectionKey, request: &Request<'_>) -> Arc<HandshakeRequest> {
        if let Some(decided) = &self.decided {
            return Arc::clone(decided);
        }
        let connection = self.connections.get(key);
        Arc::new(HandshakeRequest {
            head: request.head.into(),
            address: connection.and_then(|connection| connection.address),
            issued_ms: self.unix_time_ms(),
            secure: connection.is_some_and(|connection| connection.is_secure),
            kept: Kept::default(),
        })
    }

    pub(super) fn open_session(&mut self, key: ConnectionKey, request: &Request<'_>, ask: Ask) {
        if ask.transport == Transport::WebSocket {
            return self.open_websocket(key, request);
        }
        let query = EngineQuery::decode(request.query());
        if !ask.is_protocol_4 && !self.options.allow_eio3 {
            return self.refuse(key, request, EngineError::UnsupportedProtocolVersion);
        }
        if !self.admits_session(key) {
            return;
        }
        let handshake = self.handshake_of(key, request);
        let link = Link::Polling { waiting: Some(key), posting: None };
        let session = self.insert_session(link, handshake, Dialect::of(&query, true));
        self.disarm_connection(key);
        let keep_alive = request.keep_alive && !has_body(request);
        self.write_cookie(session);
        self.note_old_browser(request);
        let fields = core::mem::take(&mut self.fields).into_boxed_slice();
        if let Some(connection) = self.connections.get_mut(key) {
            let encoding = wanted_encoding(&self.bodies, request);
            connection.state = State::Waiting { session, keep_alive, encoding, rest: Vec::new(), fields };
        }
        self.mark_session(session);
    }

    /// A sid that no session has; the stream of a shard never repeats in practice, but a check costs nothing.
    pub(super) fn fresh_session_sid(&mut self) -> Sid {
        loop {
            let sid = self.seed.next_sid();
            if !self.session_ids.contains_key(&sid) {
                return sid;
            }
        }
    }

    /// Refuses a request with Engine.IO's error: JSON for polling, plain text for a WebSocket handshake.
    pub(super) fn refuse(&mut self, key: ConnectionKey, request: &Request<'_>, error: EngineError) {
        self.refuse_because(key, request, error, None, "");
    }

    /// The same in the application's words, if there are any, and with a context for whoever listens to refusals.
    pub(super) fn refuse_because(
        &mut self,
        key: ConnectionKey,
        request: &Request<'_>,
        error: EngineError,
        message: Option<&str>,
        context: &'static str,
    ) {
        if self.options.hooks.refusals {
            self.note_refusal(key, request, error, context, message);
        }
        if request.is_websocket_upgrade() {
            return self.refuse_upgrade(key, message.unwrap_or(error.message()), &[]);
        }
        let mut body = Vec::new();
        response::write_engine_error_json(&mut body, error, message.unwrap_or(error.message()));
        self.answer(key, request, error.status(), &[("Content-Type", "application/json")], &body);
    }

    /// In plain text, as Node does it; the connection ends.
    fn refuse_upgrade(&mut self, key: ConnectionKey, message: &str, headers: &[(&str, &str)]) {
        let mut bytes = Vec::new();
        response::write_upgrade_refusal(&mut bytes, message, headers);
        self.transmit(key, Frame::raw(bytes));
        self.finish_connection(key);
    }

    /// A WebSocket handshake that is none, or of a version that is not spoken here.
    pub(super) fn refuse_handshake(&mut self, key: ConnectionKey, request: &Request<'_>, error: HandshakeError) {
        if self.options.hooks.refusals {
            self.note_refusal(
                key,
                request,
                EngineError::BadRequest,
                "INVALID_WEBSOCKET_HANDSHAKE",
                Some(error.message()),
            );
        }
        // RFC 6455 4.4: what would be spoken.
        let spoken: &[_] =
            if error == HandshakeError::UnsupportedVersion { &[("Sec-WebSocket-Version", "13")] } else { &[] };
        self.refuse_upgrade(key, error.message(), spoken);
    }

    fn answer_asset(&mut self, key: ConnectionKey, request: &Request<'_>, index: usize, is_head: bool, is_known: bool) {
        let assets = Arc::clone(&self.assets);
        let asset = &assets[index];
        let (encoding, body) = asset.choose(request.headers.get_all("accept-encoding"));
        let mut headers: SmallVec<[(&str, &str); 5]> = smallvec![
            ("Cache-Control", "public, max-age=0"),
            ("Content-Type", asset.content_type.as_str()),
            ("ETag", asset.etag.as_str()),
        ];
        if !asset.encoded.is_empty() {
            headers.push(("Vary", "Accept-Encoding"));
        }
        if is_known {
            headers.remove(1);
            return self.answer(key, request, 304, &headers, b"");
        }
        if let Some(encoding) = encoding {
            headers.push(("Content-Encoding", encoding.name()));
        }
        if !is_head {
            return self.answer(key, request, 200, &headers, body);
        }
        let mut bytes = Vec::new();
        let fields = core::mem::take(&mut self.fields);
        response::write_head_with(&mut bytes, 200, &headers, &fields, body.len() as u64, request.keep_alive);
        self.send_answer(key, bytes, request.keep_alive);
    }

    /// `ok`, as Node answers every POST it could read.
    pub(super) fn answer_post(&mut self, key: ConnectionKey, keep_alive: bool) {
        let mut bytes = Vec::new();
        let fields = core::mem::take(&mut self.fields);
        let headers = [("Content-Type", "text/html"), NO_STORE];
        response::write_with(&mut bytes, 200, &headers, &fields, b"ok", keep_alive);
        self.send_answer(key, bytes, keep_alive);
    }

    /// Answers a request that is complete; a body that may follow is not read: the connection ends then.
    pub(super) fn answer(
        &mut self,
        key: ConnectionKey,
        request: &Request<'_>,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let keep_alive = request.keep_alive && !has_body(request);
        let mut bytes = Vec::new();
        response::write_with(&mut bytes, status, headers, &core::mem::take(&mut self.fields), body, keep_alive);
        self.send_answer(key, bytes, keep_alive);
    }

    /// Answers and ends the connection.
    pub(super) fn answer_and_finish(&mut self, key: ConnectionKey, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let mut bytes = Vec::new();
        response::write_with(&mut bytes, status, headers, &core::mem::take(&mut self.fields), body, false);
        self.send_answer(key, bytes, false);
    }

    /// Sends an answer; the connection reads its next request, or ends. While an earlier answer is unread its deadline stays:
    /// requests behind it do not extend it.
    fn send_answer(&mut self, key: ConnectionKey, bytes: Vec<u8>, keep_alive: bool) {
        let Some(connection) = self.connections.get(key) else { return };
        let is_behind = !connection.transmit.is_idle() && connection.timer.is_some();
        self.transmit(key, Frame::raw(bytes));
        if !keep_alive {
            return self.finish_connection(key);
        }
        if !is_behind {
            self.arm_connection(key, REQUEST_HEAD_DEADLINE_MS);
        }
    }

    /// Answers the waiting GET of a session with a payload.
    pub(super) fn answer_poll(&mut self, session_key: SessionKey, payload: &Payload) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let Link::Polling { waiting, .. } = &mut session.link else { return };
        let Some(key) = waiting.take() else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let State::Waiting { keep_alive, encoding, rest, fields, .. } = &mut connection.state else { return };
        let (keep_alive, encoding) = (*keep_alive, *encoding);
        let (rest, fields) = (core::mem::take(rest), core::mem::take(fields));
        let has_rest = !rest.is_empty();
        connection.state = State::Head { rest };
        let encoding = encoding.filter(|_| payload.is_compressible);
        let compressed =
            encoding.and_then(|encoding| Some((encoding, self.bodies.compress(encoding, &payload.bytes)?)));
        let mut bytes = Vec::new();
        if let Some((encoding, body)) = compressed {
            bytes.reserve_exact(200 + fields.len() + body.len());
            let headers = [("Content-Type", payload.content_type), ("Content-Encoding", encoding.name()), NO_STORE];
            response::write_with(&mut bytes, 200, &headers, &fields, &body, keep_alive);
        } else {
            bytes.reserve_exact(160 + fields.len() + payload.bytes.len());
            let headers = [("Content-Type", payload.content_type), NO_STORE];
            response::write_with(&mut bytes, 200, &headers, &fields, &payload.bytes, keep_alive);
        }
        self.send_answer(key, bytes, keep_alive);
        if has_rest && keep_alive {
            self.resume.push(key);
        }
    }

    /// The same for these text packets.
    pub(super) fn answer_poll_text(&mut self, key: SessionKey, packets: &[&[u8]]) {
        let Some(session) = self.sessions.get(key) else { return };
        let packets = packets.iter().map(|packet| (*packet, false));
        let payload = encode_payload(session.dialect.as_deref(), 0, packets);
        self.answer_poll(key, &payload);
    }
}
