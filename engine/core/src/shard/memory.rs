//! Memory that a crowd needed, given back when it has gone.
//!
//! ```text
//! connections   peak ----> a quarter of it left: tables and lists shrink to what is there; this is the peak from here on
//! ```
//! Tables grow by doubling and keep their memory, because in the steady state a turn allocates nothing. After a wave of disconnects
//! that is memory without a use; shrinking at a quarter keeps a server whose clients come and go from paying for it at every turn.
//! When memory is short (`pressure`) all that is unused goes back, whoever is there.

use super::Shard;
use crate::connection::Connection;
use crate::door::{Event, Output};
use crate::limits::CROWD_MIN;
use crate::namespace::socket::Socket;
use crate::session::Session;

impl Shard {
    /// Gives back what is not needed any longer, if most connections have gone since the last time; whether it did. To be asked
    /// once per turn: it is one comparison otherwise.
    pub fn give_back(&mut self) -> bool {
        let count = self.connections.len();
        self.connections_peak = self.connections_peak.max(count);
        if self.connections_peak < CROWD_MIN || count > self.connections_peak / 4 {
            return false;
        }
        self.connections_peak = count;
        self.shrink();
        true
    }

    /// Gives back all that nobody uses at this moment. What is needed again is allocated again.
    pub(super) fn shrink(&mut self) {
        self.connections.shrink();
        self.sessions.shrink();
        self.sockets.shrink();
        self.session_ids.shrink_to_fit();
        self.socket_ids.shrink_to_fit();
        self.wheel.shrink();
        self.events.shrink_to_fit();
        self.outputs.shrink_to_fit();
        self.outgoing.shrink_to_fit();
        self.peer_messages.shrink_to_fit();
        self.dirty_sessions.shrink_to_fit();
        self.dirty_connections.shrink_to_fit();
        self.overflowed.shrink_to_fit();
        self.resume.shrink_to_fit();
        self.endings.shrink_to_fit();
        self.joiner.spares.clear();
        self.frame_pool.clear();
    }

    /// Bytes reserved by the tables and lists of this shard, used or not; what their entries own is not in it.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.connections.capacity() * size_of::<Connection>()
            + self.sessions.capacity() * size_of::<Session>()
            + self.sockets.capacity() * size_of::<Socket>()
            + self.wheel.reserved_bytes()
            + self.events.capacity() * size_of::<Event>()
            + self.outputs.capacity() * size_of::<Output>()
            + (self.session_ids.capacity() + self.socket_ids.capacity()) * 32
            + (self.dirty_sessions.capacity() + self.dirty_connections.capacity()) * 8
    }
}
