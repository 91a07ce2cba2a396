//! Moves bytes between all clients and the server and checks each message.
//!
//! Knows no scenario: it opens connections, sends when told or when a message has reached everyone, and
//! counts. One clock reading, one `recv` and at most one `send` per readable connection and turn, so that
//! the client is cheaper than the server it measures.
use super::connection::{Connection, Phase};
use super::fault_log::FaultLog;
use super::group::Group;
use super::options::{GroupPlan, Options, Protocol, Scenario};
use super::pace::Pace;
use crate::clock::now;
use crate::stamp::{Pattern, Stamp};
use crate::verify::{Arrival, Faults};
use crate::wire::{self, BadFrame, Checked, Expected, Frame, Language, Template};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const SCRATCH_SIZE: usize = 256 * 1024;
const EVENT_COUNT: usize = 1024;
/// Longest latency that is told apart, nanoseconds.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    /// Reads that returned bytes.
    pub(crate) reads: u64,
}

pub(crate) struct Load {
    poll: Poll,
    events: Events,
    address: SocketAddr,
    protocol: Protocol,
    scenario: Scenario,
    connections: Vec<Connection>,
    groups: Vec<Group>,
    members: usize,
    senders: usize,
    templates: Vec<Template>,
    /// Of the namespaces in turn: group after group.
    expected: Vec<Expected>,
    namespaces: Vec<String>,
    offered: Pace,
    pace: Pace,
    dirty: Vec<usize>,
    scratch: Vec<u8>,
    latencies: Histogram<u64>,
    counts: Counts,
    faults: FaultLog,
    ready_count: usize,
    leaving_count: usize,
    in_flight_count: usize,
}

impl Load {
    pub(crate) fn new(options: &Options, plan: GroupPlan) -> io::Result<Self> {
        let size = options.size as usize;
        let language = options.scenario.language().unwrap_or(Language::Echo);
        let (language, pattern) = match options.protocol {
            Protocol::Socketio => (language, Pattern::new(size)),
            Protocol::Raw => (Language::Raw, Pattern::new(wire::delivered_frame_size(language, size) - 4)),
        };
        let namespaces: Vec<String> = match options.namespaces {
            0 => vec![String::new()],
            count => (0..count).map(|index| format!("/n{index},")).collect(),
        };
        let template_count = if language == Language::Room { plan.count } else { namespaces.len() };
        let template =
            |index: usize| Template::new(language, &pattern, &namespaces[index % namespaces.len()], &room_name(index));
        let templates = (0..template_count).map(template).collect();
        let expected = |name: &String| Expected::new(language, pattern.clone(), name, options.recovery);
        let groups = (0..plan.count).map(|index| Group::new(index, index % template_count, plan)).collect();
        let offered = match options.rate {
            None => Pace::InFlight(options.in_flight),
            Some(rate) => Pace::Clock { interval: Duration::from_secs_f64(1.0 / rate), due: now(), group: 0 },
        };
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENT_COUNT),
            address: SocketAddr::new(options.host, options.port),
            protocol: options.protocol,
            scenario: options.scenario,
            connections: Vec::with_capacity(options.clients),
            groups,
            members: plan.members,
            senders: plan.senders,
            templates,
            expected: namespaces.iter().map(expected).collect(),
            namespaces,
            offered,
            pace: Pace::Silent,
            dirty: Vec::new(),
            scratch: vec![0; SCRATCH_SIZE],
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).map_err(io::Error::other)?,
            counts: Counts::default(),
            faults: FaultLog::default(),
            ready_count: 0,
            leaving_count: 0,
            in_flight_count: 0,
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn faults(&self) -> Faults {
        self.faults.counts
    }

    /// `what` with the first fault behind it, for people.
    pub(crate) fn explain(&self, what: &str) -> String {
        format!("{what} ({} ready); first fault: {}", self.ready_count, self.faults.first())
    }

    /// Messages can no longer reach everyone.
    pub(crate) fn is_broken(&self) -> bool {
        self.faults.counts.disconnected > 0 || self.faults.counts.corrupt > 0
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready_count
    }

    pub(crate) fn opened_count(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn leaving_count(&self) -> usize {
        self.leaving_count
    }

    /// Messages that have not reached everyone.
    pub(crate) fn in_flight_count(&self) -> usize {
        self.in_flight_count
    }

    pub(crate) fn reset_latencies(&mut self) {
        self.latencies.reset();
    }

    /// Latency at `quantile` (0 to 1), microseconds.
    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Starts one more connection.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        let token = Token(self.connections.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.connections.push(Connection::new(stream, now(), self.senders));
        Ok(())
    }

    /// Lets messages flow as the options say.
    pub(crate) fn start_sending(&mut self, at: Instant) -> io::Result<()> {
        self.pace = self.offered;
        match &mut self.pace {
            Pace::Clock { due, .. } => *due = at,
            Pace::InFlight(count) => {
                for _ in 0..*count {
                    for group in 0..self.groups.len() {
                        self.send(group, at);
                    }
                }
            }
            Pace::Silent => {}
        }
        self.flush_dirty();
        Ok(())
    }

    pub(crate) fn stop_sending(&mut self) {
        self.pace = Pace::Silent;
    }

    /// In a paced run, sends what is due. Latency counts from when it was due (no coordinated omission).
    pub(crate) fn send_due(&mut self, at: Instant) -> io::Result<()> {
        while let Some((due, group)) = self.pace.take_due(at, self.groups.len()) {
            self.send(group, due);
        }
        self.flush_dirty();
        Ok(())
    }

    /// How long a turn may sleep.
    pub(crate) fn wait_limit(&self, at: Instant) -> Option<Duration> {
        Some(self.pace.wait_limit(at))
    }

    fn send(&mut self, group: usize, sent_at: Instant) {
        let group = &mut self.groups[group];
        let stamp = group.send(sent_at);
        self.in_flight_count += 1;
        let sender = stamp.sender as usize;
        let connection = &mut self.connections[sender];
        if !connection.has_output() {
            self.dirty.push(sender);
        }
        self.templates[group.template].push(stamp, connection.outbox());
    }

    fn flush_dirty(&mut self) {
        while let Some(index) = self.dirty.pop() {
            self.flush(index);
        }
    }

    fn flush(&mut self, index: usize) {
        if let Err(error) = self.connections[index].flush() {
            self.lose_connection(index, &format!("write: {error}"));
        }
    }

    /// One turn: waits for events, reads, checks, sends what that allows.
    pub(crate) fn pump(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            let Token(index) = event.token();
            match self.connections.get(index).map(|connection| connection.phase) {
                None | Some(Phase::Closed) => continue,
                Some(Phase::Opening) => self.handle_opened(index),
                Some(_) if event.is_writable() && self.connections[index].has_output() => {
                    self.flush(index);
                }
                Some(_) => {}
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.handle_readable(index, event.is_read_closed() || event.is_error());
            }
            self.flush_dirty();
        }
        self.events = events;
        Ok(())
    }

    fn handle_opened(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        match connection.stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => {
                return self.lose_connection(index, &format!("connect: {error}"));
            }
        }
        match connection.stream.peer_addr() {
            Ok(_) => {}
            // Not yet: another event comes.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
            Err(error) => return self.lose_connection(index, &format!("connect: {error}")),
        }
        if let Err(error) = connection.stream.set_nodelay(true) {
            return self.lose_connection(index, &format!("set_nodelay: {error}"));
        }
        if self.protocol == Protocol::Raw {
            connection.phase = Phase::Greeting;
        } else {
            connection.phase = Phase::Upgrading;
            connection.outbox().extend_from_slice(wire::UPGRADE_REQUEST);
            self.flush(index);
        }
    }

    fn handle_readable(&mut self, index: usize, to_the_end: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        loop {
            if self.connections[index].phase == Phase::Closed {
                break;
            }
            match self.connections[index].stream.read(&mut scratch) {
                Ok(0) => {
                    self.handle_end(index);
                    break;
                }
                Ok(count) => {
                    self.counts.reads += 1;
                    self.handle_bytes(index, &scratch[..count]);
                    if count < scratch.len() && !to_the_end {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if self.connections[index].phase == Phase::Leaving => {
                    self.handle_end(index);
                    break;
                }
                Err(error) => {
                    self.lose_connection(index, &format!("read: {error}"));
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    fn handle_end(&mut self, index: usize) {
        if self.connections[index].phase == Phase::Leaving {
            self.leaving_count -= 1;
            self.close(index);
        } else {
            self.lose_connection(index, "the server closed the connection");
        }
    }

    fn handle_bytes(&mut self, index: usize, bytes: &[u8]) {
        if self.connections[index].phase == Phase::Leaving {
            return;
        }
        let at = now();
        let mut partial = std::mem::take(&mut self.connections[index].partial);
        if partial.is_empty() {
            let consumed = self.handle_messages(index, bytes, at);
            partial.extend_from_slice(&bytes[consumed..]);
        } else {
            partial.extend_from_slice(bytes);
            let consumed = self.handle_messages(index, &partial, at);
            partial.drain(..consumed);
        }
        self.connections[index].partial = partial;
    }

    /// Takes every whole message off `bytes` and returns how far it came.
    fn handle_messages(&mut self, index: usize, bytes: &[u8], at: Instant) -> usize {
        let mut consumed = 0;
        loop {
            let rest = &bytes[consumed..];
            let taken = match (self.connections[index].phase, self.protocol) {
                (Phase::Leaving | Phase::Closed, _) => return bytes.len(),
                (Phase::Upgrading, _) => self.handle_upgrade(index, rest),
                (Phase::Greeting, Protocol::Raw) => match rest.first() {
                    Some(&wire::RAW_GREETING) => {
                        self.become_ready(index, at);
                        Ok(Some(1))
                    }
                    Some(_) => Err(BadFrame),
                    None => Ok(None),
                },
                (_, Protocol::Raw) => wire::take_raw(rest).map(|message| {
                    message.map(|(payload, size)| {
                        self.handle_checked(index, self.expected(index).check_bytes(payload), payload, at);
                        size
                    })
                }),
                (_, Protocol::Socketio) => wire::take_frame(rest).map(|frame| {
                    frame.map(|(frame, size)| {
                        self.handle_frame(index, frame, at);
                        size
                    })
                }),
            };
            match taken {
                Ok(Some(count)) => consumed += count,
                Ok(None) => return consumed,
                Err(BadFrame) => {
                    self.faults.note_corrupt(index, "unreadable frame", rest);
                    self.lose_connection(index, "unreadable frame");
                    return bytes.len();
                }
            }
        }
    }

    fn handle_upgrade(&mut self, index: usize, bytes: &[u8]) -> Result<Option<usize>, BadFrame> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = &bytes[..end];
        let accept = wire::UPGRADE_ACCEPT;
        if !head.starts_with(b"HTTP/1.1 101 ") || !head.windows(accept.len()).any(|window| window == accept) {
            return Err(BadFrame);
        }
        self.connections[index].phase = Phase::Greeting;
        Ok(Some(end + 4))
    }

    fn handle_frame(&mut self, index: usize, frame: Frame<'_>, at: Instant) {
        match frame {
            Frame::Text(payload) if self.connections[index].phase == Phase::Ready => {
                let checked = self.expected(index).check_text(payload);
                self.handle_checked(index, checked, payload, at);
            }
            Frame::Text(payload) => self.handle_handshake(index, payload, at),
            Frame::Binary(payload) if std::mem::take(&mut self.connections[index].attachment_next) => {
                self.handle_checked(index, self.expected(index).check_bytes(payload), payload, at);
            }
            Frame::Binary(payload) => {
                self.faults.note_corrupt(index, "binary message without its packet", payload);
            }
            Frame::Ping(payload) => {
                wire::push_pong(payload, self.connections[index].outbox());
                self.flush(index);
            }
            Frame::Pong => {}
            Frame::Close(reason) => {
                let reason = String::from_utf8_lossy(reason.get(2..).unwrap_or_default()).into_owned();
                self.lose_connection(index, &format!("WebSocket close {reason:?}"));
            }
        }
    }

    /// Which of the namespaces client `index` is in.
    fn namespace_index(&self, index: usize) -> usize {
        index / self.members % self.namespaces.len()
    }

    fn expected(&self, index: usize) -> &Expected {
        &self.expected[self.namespace_index(index)]
    }

    /// The messages before a connection is ready: `0{..}`, `40{..}`, and the ack behind a join.
    fn handle_handshake(&mut self, index: usize, payload: &[u8], at: Instant) {
        let room = (self.scenario == Scenario::Rooms).then(|| room_name(index / self.members));
        let namespace = &self.namespaces[self.namespace_index(index)];
        let connection = &mut self.connections[index];
        match (connection.phase, payload) {
            (_, b"2") => wire::push_text(wire::ENGINE_PONG, connection.outbox()),
            (Phase::Greeting, [b'0', b'{', ..]) => {
                connection.phase = Phase::Connecting;
                wire::push_text(format!("40{namespace}").as_bytes(), connection.outbox());
            }
            (Phase::Connecting, [b'4', b'0', rest @ ..])
                if rest.strip_prefix(namespace.as_bytes()).is_some_and(|rest| rest.starts_with(b"{")) =>
            {
                match room {
                    None => return self.become_ready(index, at),
                    Some(room) => {
                        connection.phase = Phase::Joining;
                        wire::push_text(format!("42[\"join\",\"{room}\"]").as_bytes(), connection.outbox());
                        wire::push_text(b"420[\"ack\",\"joined\"]", connection.outbox());
                    }
                }
            }
            (Phase::Joining, b"430[\"joined\"]") => return self.become_ready(index, at),
            _ => self.faults.note_corrupt(index, "unexpected packet in the handshake", payload),
        }
        self.flush(index);
    }

    fn become_ready(&mut self, index: usize, at: Instant) {
        let connection = &mut self.connections[index];
        connection.phase = Phase::Ready;
        self.ready_count += 1;
        self.latencies.saturating_record((at - connection.opened_at).as_nanos() as u64);
    }

    fn handle_checked(&mut self, index: usize, checked: Checked, payload: &[u8], at: Instant) {
        match checked {
            Checked::Message(stamp) => self.handle_delivery(index, stamp, payload, at),
            Checked::AttachmentNext => self.connections[index].attachment_next = true,
            Checked::EnginePing => {
                wire::push_text(wire::ENGINE_PONG, self.connections[index].outbox());
                self.flush(index);
            }
            Checked::Corrupt => self.faults.note_corrupt(index, "unexpected message", payload),
        }
    }

    fn handle_delivery(&mut self, index: usize, stamp: Stamp, payload: &[u8], at: Instant) {
        let group_index = index / self.members;
        let Some(sender_index) = self.groups[group_index].sender_index(stamp) else {
            return self.faults.note_corrupt(index, "message of another group", payload);
        };
        match self.connections[index].streams[sender_index].record(stamp.sequence) {
            Arrival::InOrder | Arrival::Ahead => {}
            Arrival::Late => {
                self.faults.counts.reordered += 1;
                self.faults.note(|| format!("client {index}: {stamp:?} came late"));
            }
            Arrival::Duplicate => {
                self.faults.counts.duplicate += 1;
                return self.faults.note(|| format!("client {index}: {stamp:?} came again"));
            }
        }
        let Some(delivered) = self.groups[group_index].settle(stamp) else {
            return self.faults.note_corrupt(index, "message that was never sent", payload);
        };
        self.counts.deliveries += 1;
        self.latencies.saturating_record(at.saturating_duration_since(delivered.sent_at).as_nanos() as u64);
        if delivered.is_last {
            self.counts.messages += 1;
            self.in_flight_count -= 1;
            if let Pace::InFlight(count) = self.pace
                && self.groups[group_index].in_flight_count() < count
            {
                self.send(group_index, at);
            }
        }
    }

    /// Adds what is still owed to the faults. Once, at the end.
    pub(crate) fn count_lost(&mut self) {
        self.faults.counts.lost += self.groups.iter().map(Group::owed).sum::<u64>();
    }

    /// Every ready client says good-bye and waits for the server to close.
    pub(crate) fn leave(&mut self) {
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.phase != Phase::Ready {
                continue;
            }
            connection.phase = Phase::Leaving;
            self.leaving_count += 1;
            let ended = match self.protocol {
                Protocol::Socketio => {
                    wire::push_close(connection.outbox());
                    connection.flush()
                }
                Protocol::Raw => connection.stream.shutdown(std::net::Shutdown::Write),
            };
            if ended.is_err() {
                self.handle_end(index);
            }
        }
    }

    /// Closes every connection from this side.
    pub(crate) fn drop_connections(&mut self) {
        self.connections.clear();
        self.ready_count = 0;
        self.leaving_count = 0;
    }

    fn close(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.phase = Phase::Closed;
        // The descriptor is closed with the rest; until then no event of it may arrive.
        if self.poll.registry().deregister(&mut connection.stream).is_err() {
            self.faults.note(|| format!("client {index}: deregister failed"));
        }
    }

    fn lose_connection(&mut self, index: usize, why: &str) {
        if self.connections[index].phase == Phase::Closed {
            return;
        }
        if self.connections[index].phase == Phase::Leaving {
            return self.handle_end(index);
        }
        self.faults.counts.disconnected += 1;
        self.faults.note(|| format!("client {index}: {why}"));
        self.close(index);
    }
}

fn room_name(index: usize) -> String {
    format!("room{index}")
}
