//! Requests that the application decides about, and the header lines that answers carry.
//!
//! ```text
//! request --CORS (preflights end here)--> Stage::Request --checks of Engine.IO--> Stage::Handshake --> session opens
//!                                             |                                       |
//!                                   Event::RequestArrived                   Event::RequestArrived      (as hooks ask)
//!                                             v                                       v
//!                                         decide: Pass, Refuse, Answer            decide
//! ```
//! The order is Node's: `engine.use` before everything, `allowRequest` when a session would open otherwise. Without hooks
//! nothing here runs but one comparison. A request that waits owns its bytes; its connection does nothing else.

use super::Shard;
use crate::base::id::{ConnectionKey, SessionKey};
use crate::base::seed::ChosenId;
use crate::connection::State;
use crate::connection::backlog::Backlog;
use crate::connection::decision::Deciding;
use crate::connection::request::{Ask, AskedSid, Route, route};
use crate::door::{Event, Stage, Verdict};
use crate::limits::{DECISION_DEADLINE_MS, REQUEST_HEAD_BYTES_MAX};
use crate::session::State as SessionState;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use ringio_codec::http::request::{self, Method, Request, RequestLimits};
use ringio_codec::http::{EngineError, cors, is_valid_header_value, response};

impl Shard {
    /// Writes the header lines of CORS, and asks the application if it wants to be asked about every request. Whether the
    /// request goes no further for now.
    pub(super) fn is_held_back(&mut self, key: ConnectionKey, request: &Request<'_>) -> bool {
        if self.options.cors.is_none() && !self.options.hooks.requests
            || !request.target.starts_with(self.options.path.as_str())
        {
            return false;
        }
        if let Some(status) = self.write_cors(request) {
            self.answer(key, request, status, &[], b"");
            return true;
        }
        let is_asset = matches!(route(request, &self.options, &self.assets), Ok(Route::Asset { .. }));
        if !self.options.hooks.requests || is_asset {
            return false;
        }
        self.hold_back(key, request, Stage::Request);
        true
    }

    /// The header lines of CORS; the status of the answer if the request is a preflight.
    fn write_cors(&mut self, request: &Request<'_>) -> Option<u16> {
        let options = self.options.cors.as_ref()?;
        let is_preflight = request.method == Method::Options;
        let headers = if is_preflight { cors::preflight(options, request)? } else { cors::actual(options, request) };
        for (name, value) in &headers {
            response::write_headers(&mut self.fields, &[(name, value)]);
        }
        (is_preflight && !options.preflight_continue).then_some(options.options_success_status)
    }

    /// Puts a request before the application; `decide` goes on with it.
    pub(super) fn hold_back(&mut self, key: ConnectionKey, request: &Request<'_>, stage: Stage) {
        // In its second stage it is still the same one, with what the application has kept with it.
        let request = self.handshake_of(key, request);
        let fields = core::mem::take(&mut self.fields);
        self.arm_connection(key, DECISION_DEADLINE_MS);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let deciding = Deciding { stage, request: Arc::clone(&request), fields, backlog: Backlog::default() };
        connection.state = State::Deciding(Box::new(deciding));
        self.events.push_back(Event::RequestArrived { connection: key, request, stage });
    }

    /// What the application says to `Event::RequestArrived`. Without effect if the connection has ended meanwhile.
    pub fn decide(&mut self, key: ConnectionKey, verdict: Verdict) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !matches!(connection.state, State::Deciding(_)) {
            return;
        }
        let State::Deciding(deciding) = core::mem::replace(&mut connection.state, State::Head { rest: Vec::new() })
        else {
            return;
        };
        let Deciding { stage, request: decided, fields, backlog } = *deciding;
        let limits = RequestLimits { head_bytes_max: REQUEST_HEAD_BYTES_MAX };
        let Ok(Some((request, _))) = request::decode(&decided.head, &limits) else {
            unreachable!("this head was read before it was put before the application");
        };
        self.fields = fields;
        self.decided = Some(Arc::clone(&decided));
        self.apply(key, &request, stage, verdict);
        self.decided = None;
        self.fields = Vec::new();
        self.chosen_sid = None;
        let (bytes, is_cut) = backlog.into_parts();
        self.receive_kept(key, bytes, is_cut);
    }

    fn apply(&mut self, key: ConnectionKey, request: &Request<'_>, stage: Stage, verdict: Verdict) {
        match verdict {
            _ if self.is_stopping => self.answer_and_finish(key, 503, &[("Retry-After", "1")], b""),
            Verdict::Pass { fields, sid } => {
                self.fields.extend_from_slice(&fields);
                if stage == Stage::Request {
                    return self.route_request(key, request);
                }
                if sid.as_ref().is_some_and(|sid| self.is_taken(sid)) {
                    return self.refuse_because(key, request, EngineError::BadRequest, None, "ID_GENERATION_ERROR");
                }
                self.chosen_sid = sid;
                if let Ok(Route::Engine(ask)) = route(request, &self.options, &self.assets)
                    && ask.sid == AskedSid::None
                {
                    self.open_session(key, request, ask);
                }
            }
            Verdict::Refuse { error, message, context, fields } => {
                self.fields.extend_from_slice(&fields);
                self.refuse_because(key, request, error, message.as_deref(), context);
            }
            Verdict::Answer { status, fields, body } => {
                self.fields.extend_from_slice(&fields);
                self.answer(key, request, status, &[], &body);
            }
        }
    }

    /// Whether a session is called so already; one that its client has closed gives its id up.
    fn is_taken(&mut self, id: &ChosenId) -> bool {
        let owner = match id {
            ChosenId::Sid(sid) if sid.shard() != self.index => return true,
            ChosenId::Sid(sid) => self.session_ids.get(sid).copied(),
            ChosenId::Text(name) => self.session_names.find(name),
        };
        let Some(owner) = owner else { return false };
        if self.sessions.get(owner).is_some_and(|session| session.state == SessionState::Closed) {
            self.forget_session(owner);
            return false;
        }
        true
    }

    /// Tells the application of a refused request, if it wants to know.
    pub(super) fn note_refusal(
        &mut self,
        key: ConnectionKey,
        request: &Request<'_>,
        error: EngineError,
        context: &'static str,
        message: Option<&str>,
    ) {
        if !self.options.hooks.refusals {
            return;
        }
        let context = if context.is_empty() { self.context_of(request, error) } else { context };
        let request = self.handshake_of(key, request);
        self.events.push_back(Event::RequestRefused { request, error, context, message: message.map(String::from) });
    }

    /// Node's name for what is wrong with a request, by the checks that lead to this error.
    fn context_of(&self, request: &Request<'_>, error: EngineError) -> &'static str {
        match error {
            EngineError::UnknownTransport => "UNKNOWN_TRANSPORT",
            EngineError::UnknownSid => "UNKNOWN_SID",
            EngineError::BadHandshakeMethod => "BAD_HANDSHAKE_METHOD",
            EngineError::Forbidden => "FORBIDDEN",
            EngineError::UnsupportedProtocolVersion => "UNSUPPORTED_PROTOCOL_VERSION",
            EngineError::BadRequest => {
                if !request.headers.get("origin").is_none_or(is_valid_header_value) {
                    return "INVALID_ORIGIN";
                }
                match route(request, &self.options, &self.assets) {
                    Ok(Route::Engine(ask)) if ask.sid == AskedSid::None => "INVALID_WEBSOCKET_HANDSHAKE",
                    Ok(Route::Engine(ask)) if self.speaks_otherwise(&ask) => "PROTOCOL_MISMATCH",
                    Ok(Route::Engine(_)) => "TRANSPORT_MISMATCH",
                    _ => "TRANSPORT_HANDSHAKE_ERROR",
                }
            }
        }
    }

    /// Whether a request and its session are not of one revision.
    fn speaks_otherwise(&self, ask: &Ask) -> bool {
        let AskedSid::Some(sid) = ask.sid else { return false };
        let session = self.session_ids.get(&sid).and_then(|key| self.sessions.get(*key));
        session.is_some_and(|session| session.is_protocol_3() == ask.is_protocol_4)
    }

    /// The cookie that names the session which a polling request has just opened.
    pub(super) fn write_cookie(&mut self, session: SessionKey) {
        let options = &self.options;
        let Some(cookie) = &options.cookie else { return };
        let Ok(value) = cookie.serialize(&self.session_name(session)) else { return };
        response::write_headers(&mut self.fields, &[("Set-Cookie", &value)]);
    }
}
