//! Pings from the server, pongs from the client.
//!
//! ```text
//!   Resting --interval--> ping sent: Awaiting --pong--> Resting
//!                                       |  timeout: dead
//!                                       +--first other packet--> the timeout starts again, once
//! ```
//! One deadline per session at any time. A pong restarts the interval, also one that nobody asked for.
//! In revision 3 of the protocol the client pings: the one deadline is the interval and the timeout from its last ping on.
//! Source: engine.io 6.6.12, `socket.ts` (`schedulePing`, `resetPingTimeout`).

use crate::base::id::TimerKey;

/// Where the heartbeat of a session stands.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// The one deadline.
    pub timer: TimerKey,
    /// What it means.
    pub phase: Phase,
}

/// What the heartbeat waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The next ping is due at the deadline.
    Resting,
    /// A pong is due until the deadline.
    Awaiting {
        /// Another packet has already shown that the client lives.
        is_extended: bool,
    },
    /// Revision 3: a ping of the client is due until the deadline.
    Listening,
}

/// What a deadline of the heartbeat leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping and wait for its pong.
    Ping,
    /// The client is dead.
    TimedOut,
}

impl Heartbeat {
    /// The deadline has come.
    pub fn handle_deadline(&mut self) -> Beat {
        match self.phase {
            Phase::Resting => {
                self.phase = Phase::Awaiting { is_extended: false };
                Beat::Ping
            }
            Phase::Awaiting { .. } | Phase::Listening => Beat::TimedOut,
        }
    }

    /// A packet other than a pong came: whether the timeout starts again.
    pub fn handle_packet(&mut self) -> bool {
        let extends = self.phase == Phase::Awaiting { is_extended: false };
        if extends {
            self.phase = Phase::Awaiting { is_extended: true };
        }
        extends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_extends_the_timeout_once() {
        let mut heartbeat = Heartbeat { timer: TimerKey::from_bits(0), phase: Phase::Resting };
        assert!(!heartbeat.handle_packet());
        assert_eq!(heartbeat.handle_deadline(), Beat::Ping);
        assert!(heartbeat.handle_packet());
        assert!(!heartbeat.handle_packet());
        assert_eq!(heartbeat.handle_deadline(), Beat::TimedOut);
    }
}
