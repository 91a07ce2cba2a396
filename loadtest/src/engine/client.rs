//! One client as its worker sees it: where it stands, its connections, and what it has seen and sent.
//!
//! ```text
//! Idle -> Connecting -> SettingUp -> Ready -> Leaving -> Idle
//!           ^  failed       |  lost   |
//!           +--- Waiting <--+---------+     (only if lost connections are made again)
//! ```

use super::link::Link;
use super::verify::Stream;
use crate::protocol::Session;
use std::collections::VecDeque;
use std::ops::Range;

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Not connected, and may be.
    Idle,
    /// Not connected, and will not be again unless so many clients are asked for anew.
    Failed,
    /// Its connection, or its namespace, is being opened.
    Connecting,
    /// Its setup was sent; the answer to the probe behind it is awaited.
    SettingUp,
    /// It may send, and receives.
    Ready,
    /// It said goodbye and waits for the server to close.
    Leaving,
    /// Its connection was lost and will be made again.
    Waiting,
}

/// A message whose answer carries no block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) action: u8,
    pub(super) sequence: u32,
    pub(super) due_ns: u64,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) status: Status,
    pub(super) session: Option<Box<Session>>,
    pub(super) links: [Option<Link>; 3],
    /// Counts its connections; timers of earlier ones are void.
    pub(super) generation: u32,
    /// When its connection was due, however many attempts it took. Nanoseconds since the run began.
    pub(super) due_ns: u64,
    /// When the present attempt was due: the time for connecting counts from there.
    pub(super) attempt_ns: u64,
    /// When its connection was lost.
    pub(super) lost_ns: Option<u64>,
    /// When the server was last heard.
    pub(super) heard_ns: u64,
    /// Pauses before attempts to come back, since it was last ready.
    pub(super) attempts: u32,
    /// Per action: the next message's number. Goes on over all its connections.
    pub(super) next_sequence: Box<[u32]>,
    /// Per action: what came back to itself.
    pub(super) own: Box<[Stream]>,
    /// Per sender of its group and action: what it heard of them.
    pub(super) heard: Box<[Stream]>,
    pub(super) pending: VecDeque<Pending>,
    /// Messages of its own that are not answered yet.
    pub(super) unanswered: u32,
    /// Per action: the number of the first message over this connection.
    pub(super) first_sequence: Box<[u32]>,
    /// Messages to its group that may not have reached the server, since a connection ended: the action, and which.
    pub(super) uncertain: Vec<(u8, Range<u32>)>,
    /// Per action: when the last message to its group was due. Nanoseconds since the run began.
    pub(super) last_due_ns: Box<[u64]>,
    /// When it was ready. The same.
    pub(super) ready_ns: u64,
    /// When its connection ended, or it said goodbye. The same.
    pub(super) ended_ns: u64,
    /// Whether it reads only now and then.
    pub(super) is_slow: bool,
    /// Whether it is not reading at present.
    pub(super) is_paused: bool,
}

impl Client {
    pub(super) fn new(action_count: usize, sender_count: usize, is_slow: bool) -> Self {
        Self {
            status: Status::Idle,
            session: None,
            links: [None, None, None],
            generation: 0,
            due_ns: 0,
            attempt_ns: 0,
            lost_ns: None,
            heard_ns: 0,
            attempts: 0,
            next_sequence: vec![0; action_count].into(),
            own: vec![Stream::from(0); action_count].into(),
            heard: vec![Stream::from(0); action_count * sender_count].into(),
            pending: VecDeque::new(),
            unanswered: 0,
            first_sequence: vec![0; action_count].into(),
            uncertain: Vec::new(),
            last_due_ns: vec![0; action_count].into(),
            ready_ns: 0,
            ended_ns: 0,
            is_slow,
            is_paused: false,
        }
    }

    /// A fresh start: what comes next is a client like one that was never connected.
    pub(super) fn rest(&mut self) {
        self.status = Status::Idle;
        self.attempts = 0;
        self.lost_ns = None;
    }

    /// Listens anew: what was sent over an earlier connection is no longer owed. `is_late`: messages are flowing. `patience_ns`: after so
    /// long a message does not come any more.
    pub(super) fn listen_anew(&mut self, is_late: bool, patience_ns: u64) {
        let certain_until_ns = self.certain_until_ns(patience_ns);
        for (stream, next) in self.own.iter_mut().zip(&self.next_sequence) {
            stream.begin_anew(Some(*next), certain_until_ns);
        }
        for stream in &mut self.heard {
            stream.begin_anew((!is_late).then_some(0), certain_until_ns);
        }
        self.first_sequence.copy_from_slice(&self.next_sequence);
        self.pending.clear();
    }

    /// What was passed over until then on a connection that has ended would not have come, had it stood.
    pub(super) fn certain_until_ns(&self, patience_ns: u64) -> u64 {
        self.ended_ns.saturating_sub(patience_ns)
    }
}
