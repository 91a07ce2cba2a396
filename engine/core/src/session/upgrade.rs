//! From polling to WebSocket without losing or doubling a packet.
//!
//! ```text
//!   client                     server
//!   WebSocket with the sid --> a second connection of the session: probing
//!   2probe                 --> 3probe; the waiting GET is answered with a noop, now and every 100 ms,
//!                              because the client may poll again before it has read 3probe
//!   (pauses polling) 5     --> the WebSocket becomes the transport, the outbox follows
//! ```
//! Until `5`, packets travel by polling. Whatever else arrives on the WebSocket, or nothing within
//! `upgrade_timeout_ms`, closes that WebSocket and leaves the session polling.
//! Source: engine.io 6.6, `socket.ts` (`_maybeUpgrade`).

use crate::base::id::{ConnectionKey, TimerKey};

/// A WebSocket on its way to become a session's transport.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade {
    /// The WebSocket.
    pub connection: ConnectionKey,
    /// When it is given up.
    pub timeout: TimerKey,
    /// When the waiting GET is answered next, once the probe has come.
    pub noop: Option<TimerKey>,
}

/// What a packet on a probing WebSocket leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Answer `3probe` and begin with noops.
    Answer,
    /// Switch the transport.
    Switch,
    /// Close this WebSocket.
    Refuse,
}

/// Reads a text packet that came over a probing WebSocket.
#[must_use]
pub fn read_probe(text: &[u8]) -> Probe {
    match text {
        b"2probe" => Probe::Answer,
        [b'5', ..] => Probe::Switch,
        _ => Probe::Refuse,
    }
}
