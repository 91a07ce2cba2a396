//! TCP between clients and shards: bytes in transit, small send buffers, FIN, resets, backlogs.
//!
//! ```text
//!   client --write--> [segments on their way] --take--> ring          up
//!   client <--read--- [segments on their way, room for so many] <--put-- ring     down
//! ```
//! Each direction keeps its order; connections are not ordered among each other. Bytes are never lost on a connection
//! that lives. A reset throws away what was on its way; closing with unread bytes resets, as TCP does.

use crate::chance::Chance;
use crate::clock::Micros;
use std::collections::VecDeque;
use std::ops::Range;

/// A connection's number.
pub type Wire = usize;

#[derive(Debug)]
struct Segment {
    at: Micros,
    bytes: Vec<u8>,
}

/// What an end finds when it reads.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing at this moment.
    Nothing,
    /// Bytes.
    Bytes(Vec<u8>),
    /// The other end has said FIN.
    Finished,
    /// The connection is reset.
    Reset,
}

#[derive(Debug, Default)]
struct Direction {
    segments: VecDeque<Segment>,
    /// When what was written last arrives.
    last_at: Micros,
    finish_at: Option<Micros>,
}

impl Direction {
    fn push(&mut self, at: Micros, bytes: &[u8]) {
        self.last_at = self.last_at.max(at);
        self.segments.push_back(Segment { at: self.last_at, bytes: bytes.to_vec() });
    }

    fn has_arrived(&self, now: Micros) -> bool {
        self.segments.front().is_some_and(|segment| segment.at <= now) || self.is_finished(now)
    }

    fn is_finished(&self, now: Micros) -> bool {
        self.segments.is_empty() && self.finish_at.is_some_and(|at| at <= now)
    }

    fn take(&mut self, now: Micros, bytes_max: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(segment) = self.segments.front_mut().filter(|segment| segment.at <= now) {
            let room = bytes_max - taken.len();
            if segment.bytes.len() <= room {
                taken.append(&mut segment.bytes);
                self.segments.pop_front();
            } else {
                taken.extend(segment.bytes.drain(..room));
                break;
            }
        }
        taken
    }

    fn next_at(&self) -> Option<Micros> {
        self.segments.front().map(|segment| segment.at).or(self.finish_at)
    }
}

#[derive(Debug)]
struct Connection {
    up: Direction,
    down: Direction,
    /// Bytes of the server that its send buffer and the way hold.
    down_queued: usize,
    down_room: usize,
    /// The instants at which each end learns that the connection is reset.
    reset_for_server: Option<Micros>,
    reset_for_client: Option<Micros>,
    is_closed_by_client: bool,
    /// Table slots and operations of rings that hold the server's end.
    holders: usize,
    was_held: bool,
    delay_max: Micros,
    server: usize,
}

/// A server as clients see it: one address, behind which its shards accept.
#[derive(Debug)]
struct Front {
    shards: Range<usize>,
    is_down: bool,
}

/// All connections.
#[derive(Debug)]
pub struct Network {
    connections: Vec<Connection>,
    /// Per shard: who waits to be accepted.
    backlogs: Vec<VecDeque<(Micros, Wire)>>,
    servers: Vec<Front>,
    chance: Chance,
}

impl Network {
    /// A network before any connection; `shards` are those of each server.
    #[must_use]
    pub fn new(shards: &[Range<usize>], chance: Chance) -> Self {
        let shard_count = shards.iter().map(Range::len).sum();
        let servers = shards.iter().map(|shards| Front { shards: shards.clone(), is_down: false }).collect();
        let backlogs = (0..shard_count).map(|_| VecDeque::new()).collect();
        Self { connections: Vec::new(), backlogs, servers, chance }
    }

    fn arrival(&mut self, now: Micros, wire: Wire) -> Micros {
        now + self.chance.between(0, self.connections[wire].delay_max)
    }

    // ---- the client's end

    /// A client connects to a server; some shard's listener gets it. The server's send buffer holds `down_room` bytes.
    pub fn connect(&mut self, now: Micros, server: usize, down_room: usize, delay_max: Micros) -> Wire {
        let wire = self.connections.len();
        self.connections.push(Connection {
            up: Direction::default(),
            down: Direction::default(),
            down_queued: 0,
            down_room,
            reset_for_server: None,
            reset_for_client: None,
            is_closed_by_client: false,
            holders: 0,
            was_held: false,
            delay_max,
            server,
        });
        let at = self.arrival(now, wire);
        let front = &self.servers[server];
        if front.is_down {
            self.connections[wire].reset_for_client = Some(at);
            return wire;
        }
        let shard = front.shards.start + self.chance.below(front.shards.len());
        self.backlogs[shard].push_back((at, wire));
        wire
    }

    /// The client sends bytes.
    pub fn client_write(&mut self, now: Micros, wire: Wire, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = if self.chance.one_in(3) { 1 + self.chance.below(rest.len()) } else { rest.len() };
            let at = self.arrival(now, wire);
            self.connections[wire].up.push(at, &rest[..size]);
            rest = &rest[size..];
        }
    }

    /// The client reads at most so many bytes.
    pub fn client_read(&mut self, now: Micros, wire: Wire, bytes_max: usize) -> Read {
        let connection = &mut self.connections[wire];
        if connection.reset_for_client.is_some_and(|at| at <= now) {
            return Read::Reset;
        }
        let bytes = connection.down.take(now, bytes_max);
        connection.down_queued -= bytes.len();
        if !bytes.is_empty() {
            Read::Bytes(bytes)
        } else if connection.down.is_finished(now) {
            Read::Finished
        } else {
            Read::Nothing
        }
    }

    /// Whether the client would read something.
    #[must_use]
    pub fn client_has_news(&self, now: Micros, wire: Wire) -> bool {
        let connection = &self.connections[wire];
        connection.reset_for_client.is_some_and(|at| at <= now) || connection.down.has_arrived(now)
    }

    /// The client closes: FIN, or a reset if there is something that it has not read.
    pub fn client_close(&mut self, now: Micros, wire: Wire) {
        let connection = &mut self.connections[wire];
        if std::mem::replace(&mut connection.is_closed_by_client, true) {
            return;
        }
        if connection.down.segments.is_empty() {
            let at = self.arrival(now, wire);
            let up = &mut self.connections[wire].up;
            up.finish_at = Some(up.last_at.max(at));
        } else {
            self.client_reset(now, wire);
        }
    }

    /// The client resets the connection.
    pub fn client_reset(&mut self, now: Micros, wire: Wire) {
        let at = self.arrival(now, wire);
        let connection = &mut self.connections[wire];
        connection.is_closed_by_client = true;
        connection.reset_for_server = Some(connection.reset_for_server.unwrap_or(at).min(at));
        connection.reset_for_client = Some(now);
    }

    // ---- the server's end

    /// Whom a shard may accept at this moment.
    pub fn accept(&mut self, now: Micros, shard: usize) -> Option<Wire> {
        self.has_backlog(now, shard).then(|| self.backlogs[shard].pop_front().map(|(_, wire)| wire)).flatten()
    }

    /// Whether somebody waits to be accepted.
    #[must_use]
    pub fn has_backlog(&self, now: Micros, shard: usize) -> bool {
        self.backlogs[shard].front().is_some_and(|(at, _)| *at <= now)
    }

    /// The listener of a shard is closed: who waits is refused.
    pub fn close_backlog(&mut self, now: Micros, shard: usize) {
        for (_, wire) in std::mem::take(&mut self.backlogs[shard]) {
            self.connections[wire].reset_for_client = Some(now);
        }
    }

    /// A server is gone without a word: its connections are reset, nobody accepts there any more.
    pub fn crash(&mut self, now: Micros, server: usize) {
        for wire in 0..self.connections.len() {
            let connection = &self.connections[wire];
            if connection.server == server && connection.holders > 0 {
                self.server_reset(now, wire);
            }
        }
        self.shut(server);
        for shard in self.servers[server].shards.clone() {
            self.close_backlog(now, shard);
        }
    }

    /// A server accepts nobody any more.
    pub fn shut(&mut self, server: usize) {
        self.servers[server].is_down = true;
    }

    /// It is there again.
    pub fn restart(&mut self, server: usize) {
        self.servers[server].is_down = false;
    }

    /// A table slot or an operation holds the server's end.
    pub fn hold(&mut self, wire: Wire) {
        self.connections[wire].holders += 1;
        self.connections[wire].was_held = true;
    }

    /// One holder less; the last one closes.
    pub fn release(&mut self, now: Micros, wire: Wire) {
        self.connections[wire].holders -= 1;
        if self.connections[wire].holders > 0 {
            return;
        }
        let has_unread = !self.connections[wire].up.segments.is_empty();
        if has_unread {
            self.server_reset(now, wire);
        } else {
            self.server_finish(now, wire);
        }
    }

    /// The server's end is gone without having been served.
    pub fn server_reset(&mut self, now: Micros, wire: Wire) {
        let at = self.arrival(now, wire);
        let connection = &mut self.connections[wire];
        connection.reset_for_client.get_or_insert(at);
        connection.reset_for_server.get_or_insert(now);
    }

    /// The server says FIN.
    pub fn server_finish(&mut self, now: Micros, wire: Wire) {
        let at = self.arrival(now, wire);
        let down = &mut self.connections[wire].down;
        if down.finish_at.is_none() {
            down.finish_at = Some(down.last_at.max(at));
        }
    }

    /// What the server receives.
    pub fn server_read(&mut self, now: Micros, wire: Wire, bytes_max: usize) -> Read {
        let connection = &mut self.connections[wire];
        if connection.reset_for_server.is_some_and(|at| at <= now) {
            return Read::Reset;
        }
        let bytes = connection.up.take(now, bytes_max);
        if !bytes.is_empty() {
            Read::Bytes(bytes)
        } else if connection.up.is_finished(now) {
            Read::Finished
        } else {
            Read::Nothing
        }
    }

    /// Whether the server would receive something.
    #[must_use]
    pub fn server_has_news(&self, now: Micros, wire: Wire) -> bool {
        let connection = &self.connections[wire];
        connection.reset_for_server.is_some_and(|at| at <= now) || connection.up.has_arrived(now)
    }

    /// Room in the server's send buffer; `None` if the connection is reset.
    #[must_use]
    pub fn server_room(&self, now: Micros, wire: Wire) -> Option<usize> {
        let connection = &self.connections[wire];
        let is_reset = connection.reset_for_server.is_some_and(|at| at <= now);
        (!is_reset).then(|| connection.down_room.saturating_sub(connection.down_queued))
    }

    /// Takes bytes of the server; the caller has asked for room.
    pub fn server_write(&mut self, now: Micros, wire: Wire, bytes: &[u8]) {
        assert!(self.connections[wire].down.finish_at.is_none(), "connection {wire}: bytes after FIN");
        if self.connections[wire].is_closed_by_client {
            // Nobody reads there any more.
            let at = self.arrival(now, wire);
            self.connections[wire].reset_for_server.get_or_insert(at);
            return;
        }
        let at = self.arrival(now, wire);
        let connection = &mut self.connections[wire];
        connection.down.push(at, bytes);
        connection.down_queued += bytes.len();
    }

    // ---- for the scheduler

    /// The next instant after `now` at which something arrives somewhere.
    #[must_use]
    pub fn next_arrival(&self, now: Micros) -> Option<Micros> {
        let of_connections =
            self.connections.iter().filter(|connection| !connection.is_over()).flat_map(|connection| {
                let server_is_there = connection.holders > 0;
                [
                    connection.up.next_at().filter(|_| server_is_there),
                    connection.down.next_at().filter(|_| !connection.is_closed_by_client),
                    connection.reset_for_server.filter(|_| server_is_there),
                    connection.reset_for_client.filter(|_| !connection.is_closed_by_client),
                ]
            });
        let of_backlogs = self.backlogs.iter().flatten().map(|(at, _)| Some(*at));
        of_connections.chain(of_backlogs).flatten().filter(|at| *at > now).min()
    }

    /// Connections whose server's end is still held.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.connections.iter().filter(|connection| connection.holders > 0).count()
    }
}

impl Connection {
    fn is_over(&self) -> bool {
        self.was_held && self.holders == 0 && self.is_closed_by_client
    }
}
