//! Sessions as the application sees them beside their sockets: what they are, what happens to them, raw messages, the end.

use super::Shard;
use super::closing::Farewell;
use crate::base::frame::Frame;
use crate::base::id::{SessionKey, SocketKey};
use crate::door::{Cause, DisconnectReason, Event, SessionDescription, SessionEvent};
use crate::namespace::event::Carrier;
use crate::session::hearing::Hearing;
use crate::session::{Link, State};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ringio_codec::engineio::PacketKind;

impl Shard {
    /// What a session is at this moment; `None` when it is gone.
    #[must_use]
    pub fn describe_session(&self, key: SessionKey) -> Option<SessionDescription> {
        let session = self.sessions.get(key)?;
        Some(SessionDescription {
            id: self.session_name(key),
            transport: session.transport(),
            protocol: if session.is_protocol_3() { 3 } else { 4 },
            is_open: session.state == State::Open,
            is_upgrading: session.upgrade.is_some_and(|upgrade| upgrade.noop.is_some()),
            request: Arc::clone(&session.handshake),
            outbox_bytes: session.outbox.bytes(),
        })
    }

    /// The sockets of a session that are in a namespace, in the order in which they were asked for.
    #[must_use]
    pub fn sockets_of(&self, key: SessionKey) -> Vec<SocketKey> {
        let Some(session) = self.sessions.get(key) else { return Vec::new() };
        let is_joined = |socket: &SocketKey| self.sockets.get(*socket).is_some_and(|socket| socket.is_joined());
        session.sockets.iter().copied().filter(is_joined).collect()
    }

    /// From now on the application hears this of a session; false if it is gone.
    pub fn hear_session(&mut self, key: SessionKey, hearing: Hearing) -> bool {
        match self.sessions.get_mut(key) {
            Some(session) => session.hearing = hearing,
            None => return false,
        }
        true
    }

    /// Ends a session with `forced close`: after what is queued, or at once if that is to be discarded.
    pub fn close_session_by_hand(&mut self, key: SessionKey, discard: bool) {
        if self.sessions.get(key).is_none_or(|session| session.state != State::Open) {
            return;
        }
        if discard {
            if let Some(session) = self.sessions.get_mut(key) {
                session.outbox.take();
            }
            return self.end_session(key, DisconnectReason::ForcedClose, Farewell::Close);
        }
        self.close_session_because(key, DisconnectReason::ForcedClose);
    }

    fn hears(&self, key: SessionKey, hearing: Hearing) -> bool {
        self.sessions.get(key).is_some_and(|session| session.hearing.has(hearing))
    }

    /// A text packet came.
    pub(super) fn tell_packet(&mut self, key: SessionKey, kind: PacketKind, carrier: &Carrier, received: &[u8]) {
        if self.hears(key, Hearing::PACKETS) {
            let data = match carrier {
                Carrier::Received(range) => Carrier::Received(range.clone()),
                Carrier::Owned(..) => Carrier::Owned(carrier.bytes(received).to_vec(), 0),
            };
            let event = SessionEvent::Packet { kind, data: data.without_first().into_data(), is_binary: false };
            self.events.push_back(Event::Session { session: key, event });
        }
    }

    /// A binary message came.
    pub(super) fn tell_binary(&mut self, key: SessionKey, message: &[u8]) {
        if self.hears(key, Hearing::PACKETS) {
            let data = Carrier::Owned(message.to_vec(), 0).into_data();
            let event = SessionEvent::Packet { kind: PacketKind::Message, data, is_binary: true };
            self.events.push_back(Event::Session { session: key, event });
        }
    }

    /// A frame was put into the outbox.
    pub(super) fn tell_created(&mut self, key: SessionKey, frame: Frame) {
        self.events.push_back(Event::Session { session: key, event: SessionEvent::Created { frame } });
    }

    /// The session begins to upgrade, or has upgraded.
    pub(super) fn tell_upgrade(&mut self, key: SessionKey, event: SessionEvent) {
        if self.hears(key, Hearing::UPGRADES) {
            self.events.push_back(Event::Session { session: key, event });
        }
    }

    /// What was queued has been given to the transport; a polling transport is done with it by that.
    pub(super) fn tell_flushed(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key).filter(|session| session.hearing.has(Hearing::FLUSHES)) else {
            return;
        };
        let is_polling = matches!(session.link, Link::Polling { .. });
        self.events.push_back(Event::Session { session: key, event: SessionEvent::Flushed });
        if is_polling {
            self.events.push_back(Event::Session { session: key, event: SessionEvent::Drained });
        } else {
            self.awaits_sent = true;
        }
    }

    /// The WebSocket is done with what it was given.
    pub(super) fn tell_drained(&mut self, key: SessionKey) {
        if self.hears(key, Hearing::FLUSHES) {
            self.events.push_back(Event::Session { session: key, event: SessionEvent::Drained });
        }
    }

    /// The session has ended.
    pub(super) fn tell_closed(&mut self, key: SessionKey, cause: Cause) {
        if self.hears(key, Hearing::CLOSE) {
            self.events.push_back(Event::Session { session: key, event: SessionEvent::Closed(cause) });
        }
    }
}
