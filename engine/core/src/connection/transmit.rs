//! What a connection has to say besides its session's outbox: HTTP answers, pongs, the closing frame.
//!
//! One send is in flight at a time; what is queued meanwhile goes out together with the next one. Control frames
//! are never dropped and go before the session's frames, which is allowed between messages.

use crate::base::frame::Frame;
use crate::limits::{TRANSMIT_BYTES_MAX, TRANSMIT_FRAMES_MAX};
use alloc::vec::Vec;

/// Sending side of one connection.
#[derive(Debug, Default)]
pub struct Transmit {
    /// Answers and control frames, in order.
    queue: Vec<Frame>,
    /// Bytes of them.
    bytes: usize,
    /// The kernel has a send of this connection.
    pub is_sending: bool,
    /// The send in flight waits for a slow peer.
    pub is_waiting: bool,
    /// The connection is in the shard's list of those to flush.
    pub is_dirty: bool,
    /// After the queue is sent: say FIN.
    pub finish: bool,
    /// FIN has been said.
    pub is_finished: bool,
}

impl Transmit {
    /// Queues raw bytes.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.queue.push(frame);
    }

    /// Takes all that is queued.
    pub fn take(&mut self) -> Vec<Frame> {
        self.bytes = 0;
        core::mem::take(&mut self.queue)
    }

    /// Bytes that are queued.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Answers and control frames that are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is queued or in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_sending
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a peer makes us answer faster than it reads: no more is to be queued for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() >= TRANSMIT_FRAMES_MAX || self.bytes >= TRANSMIT_BYTES_MAX
    }
}
