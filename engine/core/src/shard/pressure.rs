//! Memory is short: what a shard gives up, and in which order.
//!
//! ```text
//!            80 %                               100 %
//!   Calm ------------> Short --------------------------------> Over, and step by step:
//!        <------------ no session opens        <-------------- 1 logs of recovery go
//!            75 %      unused memory goes back      95 %       2 who holds most is closed, the largest first
//!                                                              3 no connection is kept that comes
//! ```
//! How full the process is, only the runtime can see ([`limits`](crate::limits) says when it looks). Here everything is counted, so a
//! step does the same for the same clients.
//!
//! A frame that waits for many counts for each of them by its share, because it goes with the last of them: so who gets what everybody
//! gets is not taken for who makes the server keep bytes of their own. Shares of frames that other shards hold as well are too large by
//! as many, and the log's bytes may wait in outboxes: what is claimed may be more than what becomes free. Further steps make up for it.

use super::Shard;
use super::closing::Farewell;
use crate::base::id::{ConnectionKey, FileId, SessionKey};
use crate::base::time::Time;
use crate::connection::{Connection, State};
use crate::door::{Cause, DisconnectReason};
use crate::limits::SHED_BYTES_MIN;
use crate::session::outbox::Outbox;
use crate::session::{Link, Session};
use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    #[default]
    Calm,
    /// No session opens.
    Short,
    /// No connection is kept that comes either, and what is held is given up.
    Over,
}

/// What came of a step. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// Given up.
    pub claimed_bytes: u64,
    /// What further steps could still give up, at most.
    pub left_bytes: u64,
}

/// Who can be closed. Ties go to the one that stands first in its table, so that each run is like the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Session(SessionKey),
    /// One whose request belongs to no session of this shard.
    Connection(ConnectionKey),
}

/// What somebody holds: at most, until the frames of its outbox have been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    bytes: usize,
    is_exact: bool,
    holder: Reverse<Holder>,
}

impl Shard {
    /// Memory is so short from here on. Whether unused memory was given back because it has just become short: then the
    /// allocator has something to give back as well.
    pub fn set_pressure(&mut self, pressure: Pressure) -> bool {
        let was_calm = self.pressure == Pressure::Calm;
        self.pressure = pressure;
        let is_new = was_calm && pressure != Pressure::Calm;
        if is_new {
            self.shrink();
            self.counters.shed_pools += 1;
        }
        is_new
    }

    /// Gives up what was kept for clients that may come back, then closes those who hold most, until so many bytes are claimed; nobody
    /// who holds less than `SHED_BYTES_MIN`. `in_flight` says how many bytes the kernel's side keeps of a file's send.
    ///
    /// Costs time in proportion to sessions and connections, and to the frames of the outboxes that are looked at.
    pub fn shed(&mut self, now: Time, goal_bytes: u64, in_flight: &dyn Fn(FileId) -> usize) -> Shed {
        self.advance(now);
        let mut claimed_bytes = self.forget_recovery() as u64;
        let mut holders = self.holders(in_flight);
        while claimed_bytes < goal_bytes {
            let Some(Held { bytes, is_exact, holder: Reverse(holder) }) = holders.pop() else { break };
            if is_exact {
                self.close_holder(holder);
                claimed_bytes += bytes as u64;
                continue;
            }
            let bytes = self.bytes_of(holder, in_flight, Outbox::share_bytes);
            if bytes >= SHED_BYTES_MIN {
                holders.push(Held { bytes, is_exact: true, holder: Reverse(holder) });
            }
        }
        self.counters.shed_bytes += claimed_bytes;
        Shed { claimed_bytes, left_bytes: holders.iter().map(|held| held.bytes as u64).sum() }
    }

    /// All who may hold enough to be closed for it.
    fn holders(&self, in_flight: &dyn Fn(FileId) -> usize) -> BinaryHeap<Held> {
        let sessions = self.sessions.iter().map(|(key, _)| Holder::Session(key));
        let connections = self.connections.iter().filter(|(_, connection)| is_alone(connection));
        let all = sessions.chain(connections.map(|(key, _)| Holder::Connection(key)));
        let held = all.map(|holder| {
            let bytes = self.bytes_of(holder, in_flight, Outbox::bytes_at_most);
            Held { bytes, is_exact: false, holder: Reverse(holder) }
        });
        held.filter(|held| held.bytes >= SHED_BYTES_MIN).collect()
    }

    /// What goes with a holder: what waits for it, what it has sent and not finished, what it asked for.
    fn bytes_of(
        &self,
        holder: Holder,
        in_flight: &dyn Fn(FileId) -> usize,
        outbox_bytes: fn(&Outbox) -> usize,
    ) -> usize {
        let of_connection = |key: ConnectionKey| {
            let Some(connection) = self.connections.get(key) else { return 0 };
            let sending = if connection.transmit.is_sending { in_flight(connection.file) } else { 0 };
            connection.receive_bytes_held() + connection.transmit.bytes() + sending
        };
        match holder {
            Holder::Connection(key) => of_connection(key),
            Holder::Session(key) => {
                let Some(session) = self.sessions.get(key) else { return 0 };
                let unfinished = session.unfinished.as_ref().map_or(0, |unfinished| unfinished.bytes_held());
                let connections = connections_of(session).map(of_connection).sum::<usize>();
                let posted = self.posted_bytes(session);
                outbox_bytes(&session.outbox) + unfinished + self.auth_bytes(session) + posted + connections
            }
        }
    }

    /// Ends it, with the reason that a full outbox has. Who does not take what is being sent is not told: as long as its connection
    /// stays, the kernel's side keeps the frame.
    fn close_holder(&mut self, holder: Holder) {
        let cause = Cause::new(DisconnectReason::OutboxFull, "the server is short of memory");
        match holder {
            Holder::Connection(key) => {
                self.counters.shed_requests += 1;
                self.connection_ended(key, cause);
            }
            Holder::Session(key) => {
                let Some(session) = self.sessions.get(key) else { return };
                let connections: [Option<ConnectionKey>; 3] = {
                    let mut all = connections_of(session);
                    core::array::from_fn(|_| all.next())
                };
                self.counters.shed_sessions += 1;
                self.end_session(key, cause, Farewell::Close);
                for key in connections.into_iter().flatten() {
                    if self.connections.get(key).is_some_and(|connection| connection.transmit.is_sending) {
                        self.drop_connection(key);
                    }
                }
            }
        }
    }
}

/// Whether what a connection holds is no session's of this shard. One that is being handed over is the kernel's.
fn is_alone(connection: &Connection) -> bool {
    match connection.state {
        State::Head { .. } | State::Deciding(_) | State::Closing { .. } => true,
        State::Moving { .. } => connection.timer.is_some(),
        State::Body(_) | State::Posted { .. } | State::Waiting { .. } | State::WebSocket { .. } => false,
    }
}

/// The connections that a session talks over.
fn connections_of(session: &Session) -> impl Iterator<Item = ConnectionKey> {
    let link = match session.link {
        Link::Polling { waiting, posting } => [waiting, posting],
        Link::WebSocket(connection) => [Some(connection), None],
    };
    link.into_iter().chain([session.upgrade.map(|upgrade| upgrade.connection)]).flatten()
}
