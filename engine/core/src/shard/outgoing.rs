//! What is sent to sockets whose application wants to hear of it.
//!
//! A socket that nobody listens for costs a delivery one test of a flag. Frames are noted before they are queued, in the
//! order of the emits, and whether or not the outbox takes them (as in Node, where the listeners run first).

use super::Shard;
use crate::base::frame::Frame;
use crate::base::id::SocketKey;

impl Shard {
    /// Whether the application hears what is sent to this socket.
    pub fn hear_outgoing(&mut self, key: SocketKey, is_heard: bool) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.hears_outgoing = is_heard;
        }
    }

    /// Whether something was sent that the application wants to hear of.
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What was sent, oldest first; `poll_event` gives what is not taken here.
    pub fn take_outgoing(&mut self) -> Option<(SocketKey, Frame)> {
        self.outgoing.pop_front()
    }

    /// Notes an event for one socket, if somebody listens.
    pub(super) fn note_outgoing(&mut self, key: SocketKey, frame: &Frame) {
        if self.sockets.get(key).is_some_and(|socket| socket.hears_outgoing) {
            self.outgoing.push_back((key, frame.clone()));
        }
    }
}
