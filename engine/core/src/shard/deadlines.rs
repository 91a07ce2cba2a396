//! Every timer of the core: one enum, one sentence and one handler each.

use super::Shard;
use crate::base::id::{ConnectionKey, SessionKey, SocketKey, TimerKey};
use crate::base::time::Time;
use crate::connection::State as ConnectionState;
use crate::door::{AckFailure, DisconnectReason, Output};
use crate::limits::{DEADLINES_PER_TURN, PING_MOMENTS, UPGRADE_NOOP_INTERVAL_MS};
use crate::session::heartbeat::Beat;
use crate::session::{Link, State as SessionState};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// A connection has been in its state for too long: head, body, an answer nobody reads, closing.
    Connection(ConnectionKey),
    /// A ping is to be sent, or a pong has not come.
    Heartbeat(SessionKey),
    /// A session has joined no namespace, or nobody fetched its last packets.
    Session(SessionKey),
    /// The attachments of a packet have not all come.
    Attachments(SessionKey),
    /// The first packets for a client of revision 3 on a WebSocket may be sent.
    Open(SessionKey),
    /// A probing WebSocket has not become the transport.
    Upgrade(SessionKey),
    /// The waiting GET of an upgrading session is to be answered with a noop.
    UpgradeNoop(SessionKey),
    /// A client has not acknowledged.
    Ack(SocketKey, u64),
    /// Not everybody has acknowledged a broadcast.
    Question(u64),
    /// Absent sockets and logged packets may have become too old.
    Recovery,
    /// Other shards have not said which sockets they have.
    Fetch(u64),
    /// Other servers have not answered.
    Request(u64),
    /// The next share of the sessions is to be sent away.
    Drain,
    /// Other servers are to hear that this one is there; those not heard for long are gone.
    ClusterBeat,
    /// A crowd has gone: its memory is to be given back.
    GiveBack,
}

const _: () = assert!(size_of::<Deadline>() <= 24);

impl Shard {
    /// Handles the deadlines up to `now`, at most [`DEADLINES_PER_TURN`] of them: [`Self::next_deadline`] has passed then, too, as long as some are left.
    pub fn handle_deadlines(&mut self, now: Time) {
        self.advance(now);
        for _ in 0..DEADLINES_PER_TURN {
            let Some(deadline) = self.wheel.poll_expired(self.now) else { break };
            self.begin_tick();
            #[cfg(ringio_planted)]
            if crate::base::planted::is(crate::base::planted::Bug::LostTimer)
                && let Deadline::Ack(_, id) = deadline
                && id % 4 == 0
            {
                continue;
            }
            match deadline {
                Deadline::Connection(connection) => self.connection_is_late(connection),
                Deadline::Heartbeat(session) => self.heartbeat_is_due(session),
                Deadline::Session(session) => self.session_is_late(session),
                Deadline::Attachments(session) => self.attachments_are_late(session),
                Deadline::Open(session) => self.release_open(session),
                Deadline::Upgrade(session) => self.give_up_upgrade(session),
                Deadline::UpgradeNoop(session) => self.upgrade_noop_is_due(session),
                Deadline::Ack(socket, id) => self.ack_is_late(socket, id),
                Deadline::Question(id) => self.question_is_late(id),
                Deadline::Recovery => self.forget_absent(),
                Deadline::Fetch(id) => self.fetch_is_late(id),
                Deadline::Request(id) => self.request_is_late(id),
                Deadline::Drain => self.drain_is_due(),
                Deadline::ClusterBeat => self.cluster_beat_is_due(),
                Deadline::GiveBack => self.give_back(),
            }
        }
    }

    /// When `handle_deadlines` is to be called next; maybe a little early, never late.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.wheel.next_deadline()
    }

    /// The connection's deadline is from now on `millis` away; an earlier one is forgotten.
    pub(super) fn arm_connection(&mut self, key: ConnectionKey, millis: u64) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(timer) = connection.timer.take() {
            self.wheel.disarm(timer);
        }
        connection.timer = Some(self.wheel.arm(self.now.after(millis), Deadline::Connection(key)));
    }

    /// The connection has no deadline of its own (its session's heartbeat watches it).
    pub(super) fn disarm_connection(&mut self, key: ConnectionKey) {
        if let Some(timer) = self.connections.get_mut(key).and_then(|connection| connection.timer.take()) {
            self.wheel.disarm(timer);
        }
    }

    /// Disarms a timer kept in a place of its own.
    pub(super) fn disarm(&mut self, timer: Option<TimerKey>) {
        if let Some(timer) = timer {
            self.wheel.disarm(timer);
        }
    }

    fn connection_is_late(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.timer = None;
        match &connection.state {
            ConnectionState::Body(body) => {
                let session = body.session;
                self.drop_connection(key);
                self.end_session_of(session, key, DisconnectReason::TransportError);
            }
            ConnectionState::WebSocket { .. } => self.message_is_late(key),
            ConnectionState::Deciding(_) => self.answer_and_finish(key, 503, &[("Retry-After", "1")], b""),
            // A silent connection costs its peer nothing but the connection.
            _ => self.drop_connection(key),
        }
    }

    fn heartbeat_is_due(&mut self, key: SessionKey) {
        let timeout = self.options.ping_timeout_ms;
        let Some(session) = self.sessions.get_mut(key) else { return };
        match session.heartbeat.handle_deadline() {
            Beat::Ping => {
                session.heartbeat.timer = self.wheel.arm(self.now.after(timeout), Deadline::Heartbeat(key));
                let ping = self.ping_frame.clone();
                self.queue_control(key, ping);
            }
            Beat::TimedOut => self.end_session(key, DisconnectReason::PingTimeout, super::closing::Farewell::Close),
        }
    }

    /// When a client that has just been heard is pinged: after the interval, at the next of [`PING_MOMENTS`].
    pub(super) fn next_ping(&self) -> Time {
        let interval = self.options.ping_interval_ms;
        let due = self.now.after(interval).as_millis();
        Time::from_millis(due.checked_next_multiple_of((interval / PING_MOMENTS).max(1)).unwrap_or(due))
    }

    /// A pong came, or something that extends its timeout.
    pub(super) fn rearm_heartbeat(&mut self, key: SessionKey, at: Time) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        self.wheel.disarm(session.heartbeat.timer);
        session.heartbeat.timer = self.wheel.arm(at, Deadline::Heartbeat(key));
    }

    fn session_is_late(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.timer = None;
        match session.state {
            // No namespace joined in time.
            SessionState::Open => self.close_session(key),
            // Nobody fetched the last packets.
            SessionState::Closing | SessionState::Closed => self.forget_session(key),
        }
    }

    fn attachments_are_late(&mut self, key: SessionKey) {
        self.violate(key, "attachments took too long");
    }

    fn upgrade_noop_is_due(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(upgrade) = &mut session.upgrade else { return };
        upgrade.noop = Some(self.wheel.arm(self.now.after(UPGRADE_NOOP_INTERVAL_MS), Deadline::UpgradeNoop(key)));
        self.answer_with_noop(key);
    }

    /// Answers the waiting GET of a session, if there is one, so that the client can go on.
    pub(super) fn answer_with_noop(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Link::Polling { waiting: Some(_), .. } = session.link
            && session.outbox.is_empty()
        {
            self.answer_poll_text(key, &[b"6"]);
        }
    }

    fn ack_is_late(&mut self, key: SocketKey, id: u64) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if let Some(owed) = socket.acks.take(id) {
            self.acknowledgement_failed(&owed, AckFailure::Timeout);
        }
    }

    /// Closes a connection at once, whatever it was doing.
    pub(super) fn drop_connection(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.remove(key) else { return };
        self.disarm(connection.timer);
        self.note_gone(connection.address);
        self.outputs.push_back(Output::Close { file: connection.file });
    }
}
