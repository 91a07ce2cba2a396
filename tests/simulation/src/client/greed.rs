//! What a client may ask for, but not so much of it: each drives one bound of the engine to its edge.
//!
//! What is asked for is a little more than the bound, so that a bound that is not kept is passed (`oracle/bounds.rs`).

use super::Client;
use crate::application::{HOARD, UNDECIDED};
use crate::trace::note;
use ringio_core::limits::{REQUEST_HEAD_BYTES_MAX, SOCKETS_PER_SESSION_MAX};

/// Namespaces asked for over those that a session may have.
const NAMESPACES_BEYOND: usize = 20;

impl Client {
    pub(super) fn be_greedy(&mut self) {
        self.common.oracle.borrow_mut().counts.greed += 1;
        match self.chance.below(3) {
            0 => self.send_long_head(),
            1 => {
                note!("client {}: asks for {SOCKETS_PER_SESSION_MAX} namespaces and more", self.number);
                for number in 0..SOCKETS_PER_SESSION_MAX + NAMESPACES_BEYOND {
                    self.send(format!("40{UNDECIDED}{number},"));
                }
            }
            _ => self.say_on_one(HOARD),
        }
    }

    /// On a connection of its own, which says nothing more and reads nothing. What grows may be reserved twice, so it is longer than that.
    fn send_long_head(&mut self) {
        let length = REQUEST_HEAD_BYTES_MAX * 5 / 2;
        note!("client {}: sends a head of {length} bytes", self.number);
        let wire = self.connect();
        self.write(wire, format!("GET /socket.io/?EIO=4 HTTP/1.1\r\nX: {}", "x".repeat(length)).as_bytes());
    }
}
