//! Who is let in, and how all are sent away over a time: storms of reconnecting clients at both ends of a server's life.
//!
//! ```text
//! begin_drain(spread) --once in every 100 ms, at a moment that is drawn: an equal share of those left--> server shutting down ... nobody left
//! ```
//! A server that ends all its sessions in one instant sends all its clients to its siblings in the next. Shares are equal over the time,
//! whatever the order of the table: clients come back evenly. Within its step the moment of each is drawn, and so is what does not divide,
//! so that the shards and the servers of a deployment do not keep step with each other.

use super::Shard;
use super::closing::Farewell;
use super::deadlines::Deadline;
use super::pressure::Pressure;
use crate::base::id::{ConnectionKey, SessionKey};
use crate::base::time::Time;
use crate::door::DisconnectReason;
use crate::gate::Gate;
use crate::limits::{DRAIN_STEP_MS, RETRY_AFTER_S_MAX};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Sessions are being sent away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    end: Time,
}

/// How many steps these milliseconds are, the last one begun.
const fn steps(millis: u64) -> u64 {
    millis.div_ceil(DRAIN_STEP_MS)
}

fn ip(address: Option<SocketAddr>) -> Option<IpAddr> {
    address.map(|address| address.ip())
}

impl Shard {
    /// From now on this gate is asked. Before the first connection, or counts go wrong.
    pub fn set_gate(&mut self, gate: Arc<dyn Gate>) {
        self.gate = Some(gate);
    }

    /// Whether a client that has just connected may stay: if not it is to be closed and never named to this shard.
    pub fn admits(&mut self, address: Option<SocketAddr>) -> bool {
        let is_over = self.pressure == Pressure::Over;
        let is_admitted = !is_over && self.gate.as_ref().is_none_or(|gate| gate.connect(ip(address)));
        self.counters.shed_connections += u64::from(is_over);
        self.counters.connections_refused += u64::from(!is_admitted);
        is_admitted
    }

    /// A connection that was let in is gone from the server.
    pub(super) fn note_gone(&self, address: Option<SocketAddr>) {
        if let Some(gate) = &self.gate {
            gate.disconnect(ip(address));
        }
    }

    /// Whether a request may open a session; if not it is answered with 503 and when to try again, which differs from client to client.
    pub(super) fn admits_session(&mut self, key: ConnectionKey) -> bool {
        let address = self.connections.get(key).and_then(|connection| connection.address);
        let is_short = self.pressure != Pressure::Calm;
        let may_open = !is_short && self.drain.is_none();
        let is_admitted =
            may_open && self.gate.as_ref().is_none_or(|gate| gate.open(self.now.as_millis(), ip(address)));
        if !is_admitted {
            self.counters.sessions_refused += 1;
            self.counters.shed_handshakes += u64::from(is_short);
            let seconds = 1 + self.seed.next_u64() % RETRY_AFTER_S_MAX;
            self.answer_and_finish(key, 503, &[("Retry-After", &seconds.to_string())], b"");
        }
        is_admitted
    }

    /// A session that was let in is gone.
    pub(super) fn note_session_gone(&self) {
        if let Some(gate) = &self.gate {
            gate.close();
        }
    }

    /// Ends all sessions in equal shares until `spread_ms` from now, each with `server shutting down`; no session opens any more. Again:
    /// the time counts from now.
    pub fn begin_drain(&mut self, now: Time, spread_ms: u64) {
        self.advance(now);
        let is_new = self.drain.is_none();
        self.drain = Some(Drain { end: self.now.after(spread_ms) });
        if is_new {
            match steps(spread_ms) {
                0 => self.drain_is_due(),
                left => self.arm_drain(self.now, spread_ms - (left - 1) * DRAIN_STEP_MS),
            }
        }
    }

    /// Ends this step's share of the sessions that are left. Steps are counted back from the end.
    pub(super) fn drain_is_due(&mut self) {
        let Some(Drain { end }) = self.drain else { return };
        let left_ms = end.since(self.now);
        let left = steps(left_ms).max(1);
        let sessions = self.sessions.len() as u64;
        let is_one_more = self.seed.next_u64() % left < sessions % left;
        let count = usize::try_from(sessions / left + u64::from(is_one_more)).unwrap_or(usize::MAX);
        let sessions: Vec<SessionKey> = self.sessions.iter().map(|(key, _)| key).take(count).collect();
        for session in sessions {
            self.end_session(session, DisconnectReason::ServerShuttingDown, Farewell::Close);
        }
        if !self.sessions.is_empty() {
            self.arm_drain(self.now.after(left_ms.saturating_sub((left - 1) * DRAIN_STEP_MS)), DRAIN_STEP_MS);
        }
    }

    /// The next share goes within the step that begins at `begin` and lasts so long.
    fn arm_drain(&mut self, begin: Time, step_ms: u64) {
        let jitter_ms = self.seed.next_u64() % step_ms;
        self.wheel.arm(begin.after(jitter_ms), Deadline::Drain);
    }
}
