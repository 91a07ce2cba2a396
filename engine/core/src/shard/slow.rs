//! Clients that read slower than they are sent to: what is dropped for them, and who hears when there is room again.
//!
//! ```text
//! bytes in the outbox   0 ........ low ............ high .............. outbox_bytes_max
//!                            <- Relieved       is_high ->        what does not fit: WhenSlow
//! ```
//! The marks lie apart, so that a client at the edge is not reported at every packet. Nobody else pays for a slow client: each full
//! outbox is handled by itself, in constant time on average.

use super::Shard;
use super::outbound::Unqueued;
use crate::base::frame::{Frame, WhenSlow};
use crate::base::id::{SessionKey, SocketKey};
use crate::door::{EmitFlags, Event};
use crate::session::{Session, State};

/// Whether an outbox takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It does.
    Free,
    /// It does not; `Event::Relieved` comes when it does.
    Awaited,
    /// Nobody would get it.
    Gone,
}

impl Shard {
    /// What happens to a packet of this namespace when there is no room.
    pub(super) fn when_slow(&self, flags: EmitFlags, namespace: &str) -> WhenSlow {
        flags.when_slow.unwrap_or_else(|| self.options.when_slow_in(namespace))
    }

    /// A frame found no room: makes some, if it may, and queues it.
    pub(super) fn queue_full(&mut self, key: SessionKey, frame: Frame) -> Result<(), Unqueued> {
        let bytes_max = self.options.outbox_bytes_max;
        match frame.when_slow() {
            WhenSlow::Close => return Err(Unqueued::OutboxFull),
            WhenSlow::DropNew => {}
            WhenSlow::DropOld | WhenSlow::Conflate(_) => {
                let session = self.sessions.get_mut(key).filter(|session| !session.outbox.is_overrun);
                let Some(session) = session else { return Err(Unqueued::Disconnected) };
                self.counters.slow_dropped_old += session.outbox.drop_old(frame.len(), bytes_max) as u64;
                if session.outbox.push(frame, bytes_max, &mut self.joiner.spares).is_ok() {
                    return Ok(());
                }
            }
        }
        self.counters.slow_dropped_new += 1;
        Err(Unqueued::Dropped)
    }

    /// Whether there is room for this socket's client: less than the high mark waits, or it has come down to the low one since.
    /// `is_refused`: a packet did not fit just now, whatever the marks say.
    pub fn await_room(&mut self, socket: SocketKey, is_refused: bool) -> Room {
        let session = self.session_of(socket).and_then(|key| self.sessions.get_mut(key));
        let Some(session) = session.filter(|session| session.state == State::Open) else { return Room::Gone };
        if session.outbox.is_empty() || !(session.outbox.is_high || is_refused) {
            return Room::Free;
        }
        session.outbox.is_high = true;
        session.outbox.is_heard = true;
        Room::Awaited
    }

    /// From now on the application hears `Event::Relieved` of this socket's session, or not.
    pub fn hear_room(&mut self, socket: SocketKey, is_heard: bool) {
        if let Some(session) = self.session_of(socket).and_then(|key| self.sessions.get_mut(key)) {
            session.outbox.is_heard = is_heard;
        }
    }
}

/// Something has left the outbox: whether the application is to be told that there is room.
#[inline]
pub(super) fn is_relieved(session: &mut Session, low_mark: usize) -> bool {
    if !session.outbox.is_high || session.outbox.bytes() > low_mark {
        return false;
    }
    session.outbox.is_high = false;
    session.outbox.is_heard
}

impl Shard {
    /// Tells the application that there is room, if it wants to know and it is so.
    pub(super) fn tell_relieved(&mut self, key: SessionKey) {
        let (low_mark, _) = self.options.outbox_marks();
        if self.sessions.get_mut(key).is_some_and(|session| is_relieved(session, low_mark)) {
            self.events.push_back(Event::Relieved { session: key });
        }
    }
}
