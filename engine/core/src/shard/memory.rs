//! Memory that a crowd needed, given back when it has gone.
//!
//! ```text
//! population   most since the last time ----> a sixteenth of it gone: after GIVE_BACK_PAUSE_MS tables and lists shrink to what is
//!                                             there; that is the most from then on
//! ```
//! Tables and lists keep their memory, because in the steady state a turn allocates nothing. After a wave of disconnects that is memory
//! without a use. Waiting a moment takes a wave as one, and keeps a server whose clients come and go from paying for it at every turn.
//! Polling clients are sessions without connections for most of their time, so everybody counts. The driver, the application and the
//! allocator hear of it by [`Shard::poll_given_back`], and do as much.
//! When memory is short (`pressure`) all that is unused goes back, whoever is there.

use super::Shard;
use super::deadlines::Deadline;
use crate::door::{Event, Output};
use crate::limits::{CROWD_MIN, CROWD_SHARE, GIVE_BACK_PAUSE_MS};
use crate::room::census::Census;
use crate::room::select::Selection;

/// How many there have been.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Most since memory was given back.
    peak: usize,
    /// So many have gone that the deadline runs.
    is_leaving: bool,
    /// Memory has been given back, which nobody has asked yet.
    has_given_back: bool,
}

impl Crowd {
    /// Whether so many have gone that their memory matters.
    fn has_gone(&self, population: usize) -> bool {
        self.peak - population >= CROWD_MIN.max(self.peak / CROWD_SHARE)
    }
}

impl Shard {
    /// Whether this shard has given back memory since the last question, so that those around it may do as much. To be asked once per
    /// turn, at its end: a few additions and a comparison.
    pub fn poll_given_back(&mut self) -> bool {
        let population = self.population();
        self.crowd.peak = self.crowd.peak.max(population);
        if !self.crowd.is_leaving && self.crowd.has_gone(population) {
            self.crowd.is_leaving = true;
            self.wheel.arm(self.now.after(GIVE_BACK_PAUSE_MS), Deadline::GiveBack);
        }
        core::mem::take(&mut self.crowd.has_given_back)
    }

    /// Connections, sessions and sockets, those included that may come back.
    fn population(&self) -> usize {
        let absent = self.recovery.as_ref().map_or(0, |recovery| recovery.absent_count());
        self.connections.len() + self.sessions.len() + self.sockets.len() + absent
    }

    /// Gives back what is not needed any longer, unless as many have come as had gone.
    pub(super) fn give_back(&mut self) {
        let population = self.population();
        self.crowd.is_leaving = false;
        self.crowd.peak = self.crowd.peak.max(population);
        if !self.crowd.has_gone(population) {
            return;
        }
        self.crowd.peak = population;
        self.crowd.has_given_back = true;
        self.shrink();
    }

    /// Gives back all that nobody uses at this moment. What is needed again is allocated again.
    pub(super) fn shrink(&mut self) {
        self.connections.shrink();
        self.sessions.shrink();
        self.sockets.shrink();
        self.wheel.shrink();
        self.session_ids.shrink_to_fit();
        self.session_names.shrink();
        self.socket_ids.shrink_to_fit();
        self.namespaces.shrink();
        self.fetches.shrink_to_fit();
        self.questions.shrink_to_fit();
        if let Some(recovery) = &mut self.recovery {
            recovery.shrink();
        }
        self.censuses.values_mut().for_each(Census::shrink);
        self.events.shrink_to_fit();
        self.outputs.shrink_to_fit();
        self.outgoing.shrink_to_fit();
        self.peer_messages.shrink_to_fit();
        self.dirty_sessions.shrink_to_fit();
        self.dirty_connections.shrink_to_fit();
        self.overflowed.shrink_to_fit();
        self.resume.shrink_to_fit();
        self.posts.shrink_to_fit();
        self.endings.shrink_to_fit();
        self.selection = Selection::default();
        self.joiner.spares.clear();
        self.frame_pool.clear();
    }

    /// Bytes reserved by the tables and lists of this shard, used or not; what their entries own is not in it.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.connections.reserved_bytes()
            + self.sessions.reserved_bytes()
            + self.sockets.reserved_bytes()
            + self.wheel.reserved_bytes()
            + self.namespaces.iter().map(|namespace| namespace.rooms.reserved_bytes()).sum::<usize>()
            + self.events.capacity() * size_of::<Event>()
            + self.outputs.capacity() * size_of::<Output>()
            + (self.session_ids.capacity() + self.socket_ids.capacity()) * 32
            + (self.dirty_sessions.capacity() + self.dirty_connections.capacity()) * 8
    }
}
