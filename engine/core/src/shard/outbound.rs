//! The way down: frames into outboxes, outboxes into sends, once per turn.
//!
//! ```text
//! queue --> session.outbox --+
//!                            +--> flush --> one joined frame --> Output::Send      WebSocket
//! transmit (pongs, answers) -+         +--> one answer to the waiting GET          polling
//! ```
//! Every outbox touched in a turn is flushed once at its end. One send per connection is in flight; what is queued
//! meanwhile leaves together when it is done.

use super::Shard;
use crate::base::frame::{Compression, Encoded, Frame, PacketBounds, WhenSlow};
use crate::base::id::{ConnectionKey, SessionKey};
use crate::base::time::Time;
use crate::connection::State;
use crate::door::{Cause, DisconnectReason, EmitError, Output};
use crate::session::dialect::{Payload, encode_payload};
use crate::session::hearing::Hearing;
use crate::session::{Link, Session, State as SessionState};
use alloc::vec::Vec;

/// Why a frame was not queued: one byte, because a broadcast asks for each receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unqueued {
    /// The client is gone.
    Disconnected,
    /// Its outbox is full.
    OutboxFull,
    /// There was no room, and that is no reason to close its client.
    Dropped,
    /// It was volatile, and the client cannot take it at this instant.
    NotWritable,
}

impl From<Unqueued> for EmitError {
    fn from(reason: Unqueued) -> Self {
        match reason {
            Unqueued::Disconnected => Self::Disconnected,
            Unqueued::OutboxFull | Unqueued::Dropped => Self::OutboxFull,
            Unqueued::NotWritable => Self::NotWritable,
        }
    }
}

impl Shard {
    /// Puts a frame into a session's outbox.
    pub(super) fn queue(&mut self, key: SessionKey, frame: Frame, volatile: bool) -> Result<(), Unqueued> {
        let Some(session) = self.sessions.get_mut(key) else { return Err(Unqueued::Disconnected) };
        if session.state != SessionState::Open {
            return Err(Unqueued::Disconnected);
        }
        if volatile && !is_writable(session, &self.connections, self.ticks.now()) {
            self.counters.volatile_dropped += 1;
            return Err(Unqueued::NotWritable);
        }
        session.outbox.note_tick(self.ticks.now(), self.ticks.is_of_messages());
        let created = session.hearing.has(Hearing::CREATED).then(|| frame.clone());
        let frame = match &session.dialect {
            None => frame,
            Some(dialect) => self.translations.translate(dialect, frame),
        };
        if let WhenSlow::Conflate(value) = frame.when_slow()
            && session.outbox.conflate(value)
        {
            self.counters.slow_conflated += 1;
        }
        if let Err(frame) = session.outbox.push(frame, self.options.outbox_bytes_max, &mut self.joiner.spares) {
            self.queue_full(key, frame)?;
            self.counters.frames_queued += 1;
            self.mark_session(key);
        } else {
            self.counters.frames_queued += 1;
            session.outbox.is_high |= session.outbox.bytes() > self.high_mark;
            if !session.is_dirty {
                session.is_dirty = true;
                self.dirty_sessions.push(key);
            }
        }
        if let Some(frame) = created {
            self.tell_created(key, frame);
        }
        Ok(())
    }

    /// Queues what the protocol itself says; a client for which even that does not fit is beyond help.
    pub(super) fn queue_control(&mut self, key: SessionKey, frame: Frame) {
        if self.queue(key, frame, false) == Err(Unqueued::OutboxFull) {
            self.overrun(key);
        }
    }

    /// A packet that may not be missing did not fit: the session ends with this turn, and hears nothing that comes after it.
    pub(super) fn overrun(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.outbox.is_overrun = true;
        }
        self.overflowed.push(key);
    }

    /// Queues a packet of the protocol itself. A client that cannot be told is closed.
    pub(super) fn queue_packet(&mut self, key: SessionKey, encoded: Result<Encoded, EmitError>) {
        match encoded {
            Ok(encoded) => {
                let frame = self.frame_pool.frame(encoded);
                self.queue_control(key, frame);
            }
            Err(_) => self.close_session(key),
        }
    }

    /// Queues raw bytes on a connection, ahead of its session's frames.
    pub(super) fn transmit(&mut self, key: ConnectionKey, frame: Frame) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.transmit.push(frame);
        self.mark_connection(key);
    }

    /// The session is flushed at the end of this turn.
    pub(super) fn mark_session(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key)
            && !session.is_dirty
        {
            session.is_dirty = true;
            self.dirty_sessions.push(key);
        }
    }

    /// The connection is flushed at the end of this turn.
    pub(super) fn mark_connection(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.transmit.is_dirty
        {
            connection.transmit.is_dirty = true;
            self.dirty_connections.push(key);
        }
    }

    /// A send is done: `is_broken` if the connection is.
    pub fn handle_sent(&mut self, now: Time, key: ConnectionKey, is_broken: bool) {
        self.advance(now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.transmit.is_sending = false;
        if is_broken {
            let cause = Cause::new(DisconnectReason::TransportError, "the connection broke");
            return self.connection_ended(key, cause);
        }
        let has_more = !connection.transmit.is_empty() || connection.transmit.finish;
        match connection.state {
            State::WebSocket { session, .. }
                if self.sessions.get_mut(session).is_some_and(|session| session.outbox.falls_behind()) =>
            {
                self.mark_connection(key);
            }
            State::WebSocket { session, .. } if !has_more => self.tell_drained(session),
            State::Moving { .. } if !has_more => self.begin_move(key),
            _ if has_more => self.mark_connection(key),
            _ => {}
        }
    }

    /// What the kernel is to do next. Flushes every outbox touched since the last call first.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.flush();
        }
        self.outputs.pop_front()
    }

    /// Whether the end of a send is to be told soon, because something stands behind it; asked once per flush. If not, the
    /// kernel may tell it with whatever happens next.
    pub fn take_awaits_sent(&mut self) -> bool {
        core::mem::take(&mut self.awaits_sent)
    }

    fn flush(&mut self) {
        while let Some(key) = self.overflowed.pop() {
            self.counters.slow_closed += u64::from(self.sessions.contains(key));
            self.end_session(key, DisconnectReason::OutboxFull, super::closing::Farewell::Close);
        }
        if self.dirty_sessions.is_empty() && self.dirty_connections.is_empty() {
            return;
        }
        let mut sessions = core::mem::take(&mut self.dirty_sessions);
        for key in sessions.drain(..) {
            self.flush_session(key);
        }
        self.dirty_sessions = sessions;
        let mut connections = core::mem::take(&mut self.dirty_connections);
        for key in connections.drain(..) {
            self.flush_connection(key);
        }
        self.dirty_connections = connections;
        self.joiner.clear();
        self.translations.clear();
        self.bodies.clear();
    }

    fn flush_session(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.is_dirty = false;
        match session.link {
            Link::WebSocket(connection) => self.flush_websocket(connection, key),
            Link::Polling { waiting: Some(_), .. } if !session.outbox.is_empty() => {
                let payload = Self::take_payload(session);
                self.counters.sends += 1;
                self.answer_poll(key, &payload);
                self.tell_flushed(key);
                self.tell_relieved(key);
            }
            Link::Polling { .. } => {}
        }
    }

    /// Sends what waits for a WebSocket: control frames first, then the session's.
    fn flush_websocket(&mut self, key: ConnectionKey, session_key: SessionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.transmit.is_sending {
            return;
        }
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        session.outbox.is_behind = false;
        let next = match &mut connection.state {
            _ if session.is_held() => None,
            State::WebSocket { deflate: Some(deflate), .. } => {
                let shared = &mut self.deflate;
                session
                    .outbox
                    .take_send_as(&mut self.joiner, &mut self.frame_pool, |frame| deflate.deflate(shared, frame))
            }
            _ => session.outbox.take_send(&mut self.joiner, &mut self.frame_pool),
        };
        let is_told = next.is_some() && session.hearing.has(Hearing::FLUSHES);
        let is_high = session.outbox.is_high;
        let frame = if connection.transmit.is_empty() {
            next
        } else {
            let mut frames = connection.transmit.take();
            frames.extend(next);
            Some(concatenate(frames))
        };
        let Some(frame) = frame else { return };
        connection.transmit.is_sending = true;
        self.awaits_sent |= !session.outbox.is_empty();
        self.counters.sends += 1;
        self.outputs.push_back(Output::Send { file: connection.file, frame, offset: 0 });
        if is_told {
            self.tell_flushed(session_key);
        }
        if is_high {
            self.tell_relieved(session_key);
        }
    }

    fn flush_connection(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.transmit.is_dirty = false;
        if let State::WebSocket { session, .. } = connection.state
            && self.sessions.get(session).is_some_and(|session| session.link == Link::WebSocket(key))
        {
            return self.flush_websocket(key, session);
        }
        if connection.transmit.is_sending {
            return;
        }
        if !connection.transmit.is_empty() {
            let frame = concatenate(connection.transmit.take());
            connection.transmit.is_sending = true;
            self.awaits_sent |= connection.transmit.finish || matches!(connection.state, State::Moving { .. });
            self.counters.sends += 1;
            return self.outputs.push_back(Output::Send { file: connection.file, frame, offset: 0 });
        }
        if connection.transmit.finish && !connection.transmit.is_finished {
            connection.transmit.is_finished = true;
            self.outputs.push_back(Output::ShutdownWrite { file: connection.file });
        }
    }

    /// What is queued for a polling session, as a polling payload.
    pub(super) fn take_payload(session: &mut Session) -> Payload {
        let bytes = session.outbox.bytes();
        let frames = session.outbox.take();
        let packets = frames.iter().flat_map(|frame| {
            let body = |packet: &PacketBounds| &frame.bytes()[packet.start as usize..packet.end as usize];
            frame.packets().iter().map(move |packet| (body(packet), packet.is_binary))
        });
        // As in Node: one packet that may be compressed is enough.
        let is_compressible = frames.iter().any(|frame| frame.compression() != Compression::Off);
        Payload { is_compressible, ..encode_payload(session.dialect.as_deref(), bytes, packets) }
    }
}

/// Whether a volatile packet would leave at once: nothing in flight, and nothing queued but what leaves with it in the same send
/// though it was said in an earlier tick; for polling a GET that waits, and nothing queued.
fn is_writable(
    session: &Session,
    connections: &crate::base::slab::Slab<ConnectionKey, crate::connection::Connection>,
    tick: u32,
) -> bool {
    let outbox = &session.outbox;
    match session.link {
        Link::WebSocket(key) => {
            (outbox.is_empty() || outbox.is_out_but_for_the_send(tick) && !session.is_held())
                && connections.get(key).is_some_and(|connection| !connection.transmit.is_sending)
        }
        Link::Polling { waiting, .. } => outbox.is_empty() && waiting.is_some(),
    }
}

/// Several frames as one; a single one stays as it is.
fn concatenate(mut frames: Vec<Frame>) -> Frame {
    match frames.len() {
        1 => frames.swap_remove(0),
        _ => {
            let mut bytes = Vec::with_capacity(frames.iter().map(Frame::len).sum());
            for frame in &frames {
                bytes.extend_from_slice(frame.bytes());
            }
            Frame::raw(bytes)
        }
    }
}
