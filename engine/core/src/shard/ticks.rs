//! Ticks: what happens in one go, as far as volatile packets are concerned.
//!
//! ```text
//! turn:   [frames that came together] [another client's frames] [a peer's broadcast] [a task] [a task] --> flush
//! ticks:  protocol | their handlers    protocol | handlers       one of the peer's    one      one
//! ```
//! Node writes when a handler is done, and what it has written is out before the next client's packet is looked at; a volatile packet
//! is dropped only behind something that is not out yet. Here everything of a turn leaves together at its end, so what was
//! queued in an earlier tick of the turn counts as written: of two volatile broadcasts of one handler the second is dropped, of
//! two senders' none is.

use super::Shard;
use crate::base::id::ShardIndex;
use crate::door::Event;

/// Which tick it is. A number comes back after 2^32 ticks, when all that was queued in it is long gone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks {
    now: u32,
    /// The newest that has begun.
    newest: u32,
    /// That of the handlers of messages which came together, if one is heard already.
    of_messages: Option<u32>,
    /// It is that.
    is_of_messages: bool,
    /// The last one of another shard, by its own number, that broadcast here.
    of_peer: Option<(ShardIndex, u32)>,
}

impl Ticks {
    pub(super) fn now(&self) -> u32 {
        self.now
    }

    /// Whether it is that of the handlers of messages.
    pub(super) fn is_of_messages(&self) -> bool {
        self.is_of_messages
    }

    pub(super) fn begin(&mut self) {
        self.of_messages = None;
        self.begin_beside();
    }

    /// Another one, behind which that of the messages goes on.
    fn begin_beside(&mut self) {
        self.newest = self.newest.wrapping_add(1);
        self.now = self.newest;
        self.is_of_messages = false;
    }

    /// A broadcast of another shard's tick: the same as that of the one before, or a new one.
    pub(super) fn begin_of_peer(&mut self, from: ShardIndex, tick: u32) {
        if self.of_peer.replace((from, tick)) != Some((from, tick)) {
            self.begin();
        }
    }

    /// The application hears this next. The handlers of messages that came together share a tick; it begins behind what the protocol has
    /// answered to what came with them, and a CONNECT among them is another go.
    pub(super) fn begin_of_event(&mut self, event: &Event) {
        match event {
            Event::Message { .. } | Event::EngineMessage { .. } => {
                match self.of_messages {
                    Some(tick) => self.now = tick,
                    None => {
                        self.begin_beside();
                        self.of_messages = Some(self.now);
                    }
                }
                self.is_of_messages = true;
            }
            Event::ConnectRequested { .. } | Event::RecoveryDecided { .. } => self.begin_beside(),
            _ => {}
        }
    }
}

impl Shard {
    /// What follows is another go than what was before: a volatile packet is not dropped because of what was queued until now in this
    /// turn. What is received, deadlines and what peers and other servers say begin one; whoever calls the application otherwise (a task, a
    /// job) says so.
    pub fn begin_tick(&mut self) {
        self.ticks.begin();
    }
}
