//! How sessions and connections end: at once, or politely after what is queued.
//!
//! | end | who decides | reason | the transport hears |
//! |---|---|---|---|
//! | `end_session` | the client or the network | what happened | a farewell, at once |
//! | `close_session` | the server: a violation, `disconnect(true)`, no namespace in time | `forced close`, `forced server close` | what is queued, then the farewell |
//!
//! A polling session without a waiting GET cannot be told: it stays, without sockets, until the next GET fetches
//! its last packets, or for 30 s.

use super::Shard;
use super::deadlines::Deadline;
use crate::base::id::{ConnectionKey, SessionKey};
use crate::broadcast::encode;
use crate::connection::State;
use crate::door::{Cause, DisconnectReason, Event, Output};
use crate::limits::{CLOSED_GRACE_MS, CLOSING_DEADLINE_MS, POLLING_CLOSE_DEADLINE_MS};
use crate::session::{Link, Session, State as SessionState};
use alloc::vec::Vec;
use ringio_codec::websocket::Opcode;

/// What a transport hears when its session ends at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Nothing: it is gone, or has been told.
    Silent,
    /// The close packet on a waiting GET, a close frame without status on a WebSocket.
    Close,
    /// A noop on a waiting GET.
    Noop,
}

impl Shard {
    /// Ends a session at once; what was queued is lost with its client.
    pub(super) fn end_session(&mut self, key: SessionKey, cause: impl Into<Cause>, farewell: Farewell) {
        let cause = cause.into();
        let Some(session) = self.sessions.get(key) else { return };
        let link = session.link;
        let was_closing = session.state != SessionState::Open;
        self.sockets_leave(key, cause);
        match (link, farewell) {
            (Link::WebSocket(connection), Farewell::Silent) => self.finish_connection(connection),
            (Link::WebSocket(connection), _) => self.finish_websocket(connection, &[]),
            (Link::Polling { waiting, .. }, farewell) => {
                match farewell {
                    Farewell::Close => self.answer_poll_text(key, &[b"1"]),
                    Farewell::Noop => self.answer_poll_text(key, &[b"6"]),
                    Farewell::Silent => waiting.into_iter().for_each(|connection| self.drop_connection(connection)),
                }
                self.cut_post(key);
            }
        }
        if self.options.engine_only && !was_closing {
            self.events.push_back(Event::EngineClosed { session: key, reason: cause.reason });
        }
        if !was_closing {
            self.tell_closed(key, cause);
        }
        let is_unheard = farewell == Farewell::Noop && matches!(link, Link::Polling { waiting: None, .. });
        if is_unheard {
            return self.remember_closed(key);
        }
        self.forget_session(key);
    }

    /// The client closed the session while no GET waited: one that it sent before may still be on its way.
    fn remember_closed(&mut self, key: SessionKey) {
        self.drop_unfinished(key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.state = SessionState::Closed;
        session.outbox.take();
        let timer = session.timer.take();
        let upgrade = session.upgrade;
        self.disarm(timer);
        // The session is over for everybody but that GET: a WebSocket that probes has nothing to become.
        if let Some(upgrade) = upgrade {
            self.give_up_probe(upgrade.connection, key);
        }
        let timer = self.wheel.arm(self.now.after(CLOSED_GRACE_MS), Deadline::Session(key));
        if let Some(session) = self.sessions.get_mut(key) {
            session.timer = Some(timer);
        }
    }

    /// The GET that was on its way when its session was closed.
    pub(super) fn answer_closed_poll(&mut self, key: SessionKey) {
        self.answer_poll_text(key, &[b"6"]);
        self.forget_session(key);
    }

    /// Ends the session if `connection` is still the one that posts for it.
    pub(super) fn end_session_of(&mut self, key: SessionKey, connection: ConnectionKey, cause: impl Into<Cause>) {
        self.post_is_done(key, connection);
        self.end_session(key, cause, Farewell::Close);
    }

    /// Ends a session politely: its sockets leave, what is queued is sent, then the transport is closed.
    pub(super) fn close_session(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.state != SessionState::Open {
            return;
        }
        let reason = session.forced_close_reason();
        self.close_session_because(key, reason);
    }

    /// The same with a reason of the caller's.
    pub(super) fn close_session_because(&mut self, key: SessionKey, cause: impl Into<Cause>) {
        let cause = cause.into();
        self.sockets_leave(key, cause);
        if self.options.engine_only {
            self.events.push_back(Event::EngineClosed { session: key, reason: cause.reason });
        }
        self.tell_closed(key, cause);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let timer = session.timer.take();
        let link = session.link;
        self.disarm(timer);
        self.drop_unfinished(key);
        // A WebSocket that probes may go on: it hears the end when it becomes the transport, or when a GET does.
        match link {
            Link::WebSocket(connection) => self.close_over_websocket(key, connection),
            Link::Polling { waiting, .. } => {
                let Some(session) = self.sessions.get_mut(key) else { return };
                session.state = SessionState::Closing;
                let is_told_all = session.outbox.is_empty();
                if waiting.is_some() {
                    return self.answer_closing_poll(key, true);
                }
                if is_told_all && self.cut_post(key) {
                    return self.forget_session(key);
                }
                self.arm_last_poll(key);
            }
        }
    }

    /// What is queued, then a close frame.
    fn close_over_websocket(&mut self, key: SessionKey, connection: ConnectionKey) {
        self.transmit_outbox(key, connection);
        self.transmit(connection, encode::control_frame(Opcode::Close, &[]));
        self.finish_connection(connection);
        self.forget_session(key);
    }

    /// A closing session finished its upgrade: the last packets go over the WebSocket.
    pub(super) fn forget_closing_over(&mut self, key: SessionKey, connection: ConnectionKey) {
        self.close_over_websocket(key, connection);
    }

    /// A GET of a closing session. What is queued goes first and alone: a client that finds the close packet behind it
    /// handles that one first (the JavaScript client does), and would take a `disconnect` for a broken connection. The
    /// answer after it says close. `was_waiting`: the GET was there before the session closed. A POST of which a part is missing
    /// is cut off, and as in Node that is the end of the session.
    pub(super) fn answer_closing_poll(&mut self, key: SessionKey, was_waiting: bool) {
        let is_cut = self.cut_post(key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.outbox.is_empty() {
            self.answer_poll_text(key, if was_waiting { &[b"1"] } else { &[b"6", b"1"] });
            return self.forget_session(key);
        }
        let payload = Self::take_payload(session);
        self.answer_poll(key, &payload);
        if is_cut {
            return self.forget_session(key);
        }
        self.arm_last_poll(key);
    }

    /// Ends the connection on which a part of the session's POST has come, if there is one. One that has come whole has its answer.
    fn cut_post(&mut self, key: SessionKey) -> bool {
        let Some(Link::Polling { posting: Some(connection), .. }) = self.sessions.get(key).map(|session| session.link)
        else {
            return false;
        };
        let is_cut = !self.is_posted(connection);
        if is_cut {
            self.post_is_done(key, connection);
            self.drop_connection(connection);
        }
        is_cut
    }

    /// How long the next GET of a closing session is waited for.
    fn arm_last_poll(&mut self, key: SessionKey) {
        let timer = self.wheel.arm(self.now.after(POLLING_CLOSE_DEADLINE_MS), Deadline::Session(key));
        if let Some(session) = self.sessions.get_mut(key) {
            let before = session.timer.replace(timer);
            self.disarm(before);
        }
    }

    /// Takes a session out of every table.
    pub(super) fn forget_session(&mut self, key: SessionKey) {
        self.drop_unfinished(key);
        let Some(session) = self.sessions.remove(key) else { return };
        debug_assert!(session.sockets.is_empty(), "sockets leave before their session goes");
        if session.outbox.is_heard {
            self.events.push_back(Event::Relieved { session: key });
        }
        let Session { sid, upgrade, heartbeat, timer, .. } = session;
        self.session_ids.remove(&sid);
        self.session_names.remove(key);
        if self.session_ids.is_empty() {
            self.session_ids.shrink_to_fit();
        }
        self.counters.sessions_closed += 1;
        self.note_session_gone();
        self.wheel.disarm(heartbeat.timer);
        self.disarm(timer);
        #[cfg(ringio_planted)]
        if crate::base::planted::is(crate::base::planted::Bug::AbandonedProbe) {
            return;
        }
        if let Some(upgrade) = upgrade {
            self.wheel.disarm(upgrade.timeout);
            self.disarm(upgrade.noop);
            self.finish_websocket(upgrade.connection, &[]);
        }
    }

    /// Says FIN once everything queued is sent, then waits a moment for the peer's.
    pub(super) fn finish_connection(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.state = State::Closing { dropped_bytes: 0 };
        connection.transmit.finish = true;
        self.arm_connection(key, CLOSING_DEADLINE_MS);
        self.mark_connection(key);
    }

    /// The connection is of no more use: ends what depends on it.
    pub(super) fn connection_broke(&mut self, key: ConnectionKey) {
        let cause = Cause::new(DisconnectReason::TransportError, "more bytes than the connection may hold");
        self.connection_ended(key, cause);
    }

    /// The peer has ended its side or is gone: what that means in each state.
    pub(super) fn connection_ended(&mut self, key: ConnectionKey, websocket_cause: impl Into<Cause>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match &mut connection.state {
            State::Head { .. } | State::Posted { .. } | State::Deciding(_) | State::Closing { .. } => {
                self.drop_connection(key);
            }
            State::Body(body) => {
                let session = body.session;
                self.drop_connection(key);
                let cause = Cause::new(DisconnectReason::TransportError, "data request connection closed prematurely");
                self.end_session_of(session, key, cause);
            }
            State::Waiting { session, .. } => {
                let session = *session;
                self.drop_connection(key);
                let cause = Cause::new(DisconnectReason::TransportError, "poll connection closed prematurely");
                self.end_session(session, cause, Farewell::Silent);
            }
            State::WebSocket { session, .. } => {
                let session = *session;
                let is_transport =
                    self.sessions.get(session).is_some_and(|session| session.link == Link::WebSocket(key));
                self.drop_connection(key);
                self.websocket_ended(key, session, is_transport, websocket_cause);
            }
            // Not yet on its way: what was said to it before is still unread.
            State::Moving { .. } if connection.timer.is_some() => self.drop_connection(key),
            // The shard it moves to will hear of the end itself.
            State::Moving { .. } => {}
        }
    }

    /// Ends all sessions with `server shutting down` and takes no more requests.
    pub fn close_all(&mut self) {
        self.is_stopping = true;
        self.close_cluster();
        let sessions: Vec<SessionKey> = self.sessions.iter().map(|(key, _)| key).collect();
        for session in sessions {
            self.end_session(session, DisconnectReason::ServerShuttingDown, Farewell::Close);
        }
        let idle: Vec<ConnectionKey> = self
            .connections
            .iter()
            .filter(|(_, connection)| matches!(connection.state, State::Head { .. }) && connection.transmit.is_idle())
            .map(|(key, _)| key)
            .collect();
        for connection in idle {
            self.drop_connection(connection);
        }
    }

    /// Whether nothing is left to do for anybody: after `close_all`, when the last bytes are out.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.connections.is_empty() && self.sessions.is_empty() && self.events.is_empty() && self.outputs.is_empty()
    }

    /// Closes every connection that is still open, sent or not.
    pub fn abandon_connections(&mut self) {
        let keys: Vec<ConnectionKey> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(connection) = self.connections.remove(key) {
                self.disarm(connection.timer);
                self.note_gone(connection.address);
                self.outputs.push_back(Output::Close { file: connection.file });
            }
        }
    }
}
