//! Connections begin, sockets come and go, and the application hears of it in order.
//!
//! ```text
//!   poll_event:  Disconnecting (rooms still there) -> leaves its rooms -> Disconnected -> Released
//! ```
//! The steps between those three events happen when the next event is asked for, so that a handler of
//! `disconnecting` sees the rooms and one of `disconnect` does not.

use super::Shard;
use super::deadlines::Deadline;
use crate::base::frame::Frame;
use crate::base::id::{ConnectionKey, FileId, Key, SessionKey, SocketKey};
use crate::base::seed::ChosenId;
use crate::base::time::Time;
use crate::broadcast::encode;
use crate::connection::{Connection, State};
use crate::door::{AckFailure, Cause, DisconnectReason, Event, HandshakeRequest};
use crate::limits::{EVENTS_KEPT_MAX, NAMESPACE_NAME_BYTES_MAX, REQUEST_HEAD_DEADLINE_MS, SOCKETS_PER_SESSION_MAX};
use crate::namespace::ack::Acks;
use crate::namespace::socket::{Presence, Socket};
use crate::options::InitialPacket;
use crate::room::Memberships;
use crate::session::dialect::Dialect;
use crate::session::handshake::open_frame;
use crate::session::hearing::Hearing;
use crate::session::heartbeat::{Heartbeat, Phase};
use crate::session::outbox::Outbox;
use crate::session::{Link, Session, State as SessionState};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use smallvec::SmallVec;

/// Which socket is being told that it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// None.
    None,
    /// It hears `disconnecting`.
    Disconnecting(SocketKey, Cause),
    /// It hears `disconnect`.
    Disconnected(SocketKey),
}

impl Shard {
    /// A client has connected; `is_secure` over TLS, of which the core sees the plaintext.
    pub fn handle_accepted(
        &mut self,
        now: Time,
        file: FileId,
        address: Option<SocketAddr>,
        is_secure: bool,
    ) -> ConnectionKey {
        self.advance(now);
        let key = self.connections.insert(Connection::new(file, address, is_secure));
        self.arm_connection(key, REQUEST_HEAD_DEADLINE_MS);
        key
    }

    /// Nothing more will come from the peer. Whether it said so or was cut off is the same to sockets: Node calls both
    /// `transport close`.
    pub fn handle_ended(&mut self, now: Time, key: ConnectionKey) {
        self.advance(now);
        self.connection_ended(key, DisconnectReason::TransportClose);
    }

    /// What the peer sends is no TLS, or breaks its rules: it is not heard any more. Who waited for a request may read why, and FIN;
    /// everybody else ends at once.
    pub fn handle_unreadable(&mut self, now: Time, key: ConnectionKey, description: &'static str) {
        self.advance(now);
        self.counters.tls_failures += 1;
        match self.connections.get(key).map(|connection| &connection.state) {
            Some(State::Head { .. }) => self.finish_connection(key),
            _ => self.connection_ended(key, Cause::new(DisconnectReason::TransportError, description)),
        }
    }

    /// A new session with its OPEN packet queued.
    pub(super) fn insert_session(
        &mut self,
        link: Link,
        handshake: Arc<HandshakeRequest>,
        dialect: Option<Box<Dialect>>,
    ) -> SessionKey {
        let (sid, name) = match self.chosen_sid.take() {
            None => (self.fresh_session_sid(), None),
            Some(ChosenId::Sid(sid)) => (sid, None),
            Some(ChosenId::Text(name)) => (self.fresh_session_sid(), Some(name)),
        };
        let is_protocol_3 = dialect.as_ref().is_some_and(|dialect| dialect.is_protocol_3);
        let (phase, heartbeat_at) = if is_protocol_3 {
            (Phase::Listening, self.now.after(self.options.ping_interval_ms + self.options.ping_timeout_ms))
        } else {
            (Phase::Resting, self.next_ping())
        };
        let connect_at = self.now.after(self.options.connect_timeout_ms);
        let engine_only = self.options.engine_only;
        let wheel = &mut self.wheel;
        let key = self.sessions.insert_with(|key| Session {
            sid,
            state: SessionState::Open,
            link,
            upgrade: None,
            outbox: Outbox::default(),
            heartbeat: Heartbeat { timer: wheel.arm(heartbeat_at, Deadline::Heartbeat(key)), phase },
            dialect,
            handshake,
            sockets: SmallVec::new(),
            unfinished: None,
            timer: (!engine_only && !is_protocol_3).then(|| wheel.arm(connect_at, Deadline::Session(key))),
            is_dirty: false,
            hearing: Hearing::NONE,
        });
        self.session_ids.insert(sid, key);
        self.counters.sessions_opened += 1;
        if let Some(session) = self.sessions.get_mut(key)
            && !self.options.plain_websocket
        {
            let open = open_frame(name.as_deref().unwrap_or(sid.as_str()), session.transport(), &self.options);
            let pushed = session.outbox.push(open, usize::MAX, &mut self.joiner.spares);
            debug_assert!(pushed.is_ok(), "an empty outbox takes any frame");
        }
        if let Some(name) = name {
            self.session_names.insert(key, name);
        }
        if let Some(InitialPacket { data, is_binary }) = &self.options.initial_packet {
            let frame = Frame::new(encode::engine_message(data, *is_binary, self.options.plain_websocket));
            self.queue_control(key, frame);
        }
        if engine_only || self.options.hooks.sessions {
            self.events.push_back(Event::EngineOpened { session: key });
        }
        if is_protocol_3 && !engine_only {
            // Such a client is in `/` without asking.
            self.request_connect(key, "/", None);
        }
        key
    }

    /// A client asks for a namespace: the application decides.
    pub(super) fn request_connect(&mut self, key: SessionKey, namespace: &str, auth: Option<Box<str>>) {
        let Some(session) = self.sessions.get(key) else { return };
        let is_known =
            session.sockets.iter().filter_map(|socket| self.sockets.get(*socket)).any(|socket| {
                match &socket.presence {
                    Presence::Requested(name) => **name == *namespace,
                    _ => socket
                        .namespace()
                        .and_then(|id| self.namespace(id))
                        .is_some_and(|found| *found.name == *namespace),
                }
            });
        let auth_bytes = self.auth_bytes(session) + auth.as_ref().map_or(0, |auth| auth.len());
        let is_full = session.sockets.len() >= SOCKETS_PER_SESSION_MAX;
        #[cfg(ringio_planted)]
        let is_full = is_full && !crate::base::planted::is(crate::base::planted::Bug::SocketsUnbounded);
        let is_too_much = is_full
            || namespace.len() > NAMESPACE_NAME_BYTES_MAX
            || auth_bytes as u64 > self.options.max_http_buffer_size;
        if is_known || is_too_much {
            // A second CONNECT to the same namespace breaks the protocol, also while the first one is undecided.
            return self.close_session(key);
        }
        let handshake = Arc::clone(&session.handshake);
        let mut name = String::with_capacity(namespace.len() + 1);
        if !namespace.starts_with('/') {
            name.push('/');
        }
        name.push_str(namespace);
        // Such a client derives the id of its socket in `/` from the session's by itself.
        let sid = if session.is_protocol_3() && name == "/" { session.sid } else { self.seed.next_sid() };
        let socket = self.sockets.insert(Socket {
            sid,
            session: key,
            presence: Presence::Requested(name.into_boxed_str()),
            memberships: Memberships::default(),
            has_left_own_room: false,
            has_left_everything: false,
            hears_outgoing: false,
            recovery: None,
            auth,
            handshake,
            acks: Acks::default(),
        });
        if let Some(session) = self.sessions.get_mut(key) {
            session.sockets.push(socket);
        }
        self.events.push_back(Event::ConnectRequested { socket });
    }

    /// Bytes of auth that a session's sockets came with.
    pub(super) fn auth_bytes(&self, session: &Session) -> usize {
        let auth_of = |socket: &SocketKey| Some(self.sockets.get(*socket)?.auth.as_ref()?.len());
        session.sockets.iter().filter_map(auth_of).sum()
    }

    /// All sockets of a session leave.
    pub(super) fn sockets_leave(&mut self, key: SessionKey, cause: Cause) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        for socket in core::mem::take(&mut session.sockets) {
            self.begin_leaving(socket, cause);
        }
    }

    /// A socket leaves: from now on it takes no events; the application is told in its turn.
    pub(super) fn begin_leaving(&mut self, key: SocketKey, cause: impl Into<Cause>) {
        let cause = cause.into();
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if let Some(session) = self.sessions.get_mut(socket.session) {
            session.sockets.retain(|other| *other != key);
        }
        match socket.presence {
            Presence::Requested(_) => {
                let socket = self.sockets.remove(key);
                debug_assert!(socket.is_some_and(|socket| socket.acks.is_empty()));
                self.events.push_back(Event::Released { socket: key });
            }
            Presence::Entering(_) => {
                self.leave_everything(key);
                self.release(key);
                self.events.push_back(Event::Released { socket: key });
            }
            Presence::Joined(namespace) => {
                socket.presence = Presence::Leaving(namespace, cause.reason);
                self.events.push_back(Event::Disconnecting { socket: key, cause });
            }
            Presence::Leaving(..) => {}
        }
    }

    /// What the application is to hear next. Every event is handed out once.
    pub fn poll_event(&mut self) -> Option<Event> {
        match core::mem::replace(&mut self.departure, Departure::None) {
            Departure::None => {}
            Departure::Disconnecting(socket, cause) => {
                self.leave_everything(socket);
                self.departure = Departure::Disconnected(socket);
                return Some(Event::Disconnected { socket, cause });
            }
            Departure::Disconnected(socket) => {
                self.release(socket);
                return Some(Event::Released { socket });
            }
        }
        while let Some(key) = self.resume.pop() {
            self.resume_request(key);
        }
        if let Some((socket, frame)) = self.outgoing.pop_front() {
            return Some(Event::Sent { socket, frame });
        }
        loop {
            while let Some(event) = self.events.pop_front() {
                match event {
                    Event::Message { socket, .. } if !self.takes_messages(socket) => {}
                    Event::ConnectRequested { socket } | Event::ProtocolError { socket, .. }
                        if !self.sockets.contains(socket) => {}
                    Event::Disconnecting { socket, cause } => {
                        self.departure = Departure::Disconnecting(socket, cause);
                        self.ticks.begin_of_event(&event);
                        return Some(event);
                    }
                    _ => {
                        self.ticks.begin_of_event(&event);
                        return Some(event);
                    }
                }
            }
            let Some(key) = self.endings.pop() else {
                if self.events.capacity() > EVENTS_KEPT_MAX {
                    self.events.shrink_to(EVENTS_KEPT_MAX);
                }
                return None;
            };
            self.finish_ending(key);
        }
    }

    /// Whether something waits that needs no completion and no deadline: the loop must not sleep.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.events.is_empty()
            || !self.outgoing.is_empty()
            || !self.resume.is_empty()
            || !self.posts.is_empty()
            || !self.endings.is_empty()
            || self.departure != Departure::None
            || !self.outputs.is_empty()
            || !self.dirty_sessions.is_empty()
            || !self.dirty_connections.is_empty()
            || !self.overflowed.is_empty()
            || !self.peer_messages.is_empty()
    }

    /// Whether an event that was received goes to its socket's handlers: yes, unless one side has said that the
    /// socket leaves. (Node defers both, so an event in the same payload as the leaving is not delivered.)
    fn takes_messages(&self, key: SocketKey) -> bool {
        self.sockets.get(key).is_some_and(|socket| match socket.presence {
            Presence::Joined(_) => true,
            Presence::Requested(_) | Presence::Entering(_) => false,
            Presence::Leaving(_, reason) => !matches!(
                reason,
                DisconnectReason::ClientNamespaceDisconnect | DisconnectReason::ServerNamespaceDisconnect
            ),
        })
    }

    /// Whether the application is hearing `disconnecting` of this socket at this moment.
    pub(super) fn is_disconnecting(&self, key: SocketKey) -> bool {
        matches!(self.departure, Departure::Disconnecting(socket, _) if socket == key)
    }

    /// A request that arrived behind an answered one.
    fn resume_request(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let State::Head { rest } = &mut connection.state {
            let rest = core::mem::take(rest);
            self.receive_owned(key, rest);
        }
    }

    /// Nothing more is to be said about a socket that has entered a namespace.
    fn release(&mut self, key: SocketKey) {
        if let Some(namespace) = self.sockets.remove(key).and_then(|socket| socket.namespace()) {
            self.namespaces.leave(namespace);
        }
    }

    /// A socket leaves its rooms, its namespace and whoever waits for its acknowledgements.
    fn leave_everything(&mut self, key: SocketKey) {
        self.keep_absent(key);
        let namespace = self.namespace_of(key);
        let watched = namespace.map_or(Vec::new(), |namespace| self.watched_rooms_of(key, namespace));
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let owed = socket.acks.take_all();
        let sid = socket.sid;
        if let Some(id) = socket.namespace()
            && let Some(namespace) = self.namespaces.get_mut(id)
        {
            namespace.rooms.leave_all(key.index(), &mut socket.memberships, |_, _| {});
            namespace.everyone.remove(key.index());
        }
        socket.has_left_own_room = true;
        socket.has_left_everything = true;
        self.socket_ids.remove(&sid);
        if self.socket_ids.is_empty() {
            self.socket_ids.shrink_to_fit();
        }
        for room in watched {
            if let Some(namespace) = namespace {
                self.note_room(namespace, &room, sid, false);
            }
        }
        for owed in owed {
            self.disarm(owed.timer);
            self.acknowledgement_failed(&owed, AckFailure::Disconnected);
        }
    }
}
