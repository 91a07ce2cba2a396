//! Accepting on the ring: one multishot accept per listener, which rests when descriptors run out.
//!
//! ```text
//!   Accepting --ended by itself--> (asked again at once)
//!       |  \--out of descriptors, or table nearly full--> Resting --a slot is emptied, or 100 ms--> Accepting
//!       +-----stop_listening----> Stopping --terminal completion--> (descriptor closed)
//! ```
//! The multishot accept takes a connection before it looks for a slot; with a full table the connection would be lost. So accepting is
//! cancelled a little before, and the peers wait in the backlog instead. ENFILE from the system is handled as well.

use crate::epoll::system;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a listener is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A multishot accept is outstanding.
    Accepting,
    /// It was asked to end, because the table is nearly full.
    Pausing,
    /// None is outstanding until there are descriptors.
    Resting,
    /// It was asked to end for good.
    Stopping,
    /// The descriptor is closed.
    Closed,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    fd: Option<OwnedFd>,
    pub(super) state: State,
    /// Whether accepted peers have IPv6 addresses; None when they have none at all (Unix sockets).
    pub(super) is_ipv6: Option<bool>,
}

impl Listener {
    pub(super) fn new(fd: OwnedFd) -> std::io::Result<Self> {
        // Completions instead of EAGAIN: the ring refuses to wait for what a non-blocking file does not have ready.
        system::set_nonblocking(fd.as_fd(), false)?;
        let is_ipv6 = system::is_ipv6(fd.as_fd())?;
        Ok(Self { fd: Some(fd), state: State::Resting, is_ipv6 })
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// No accept is outstanding any more, and none will be.
    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.fd = None;
    }

    /// Whether an accept is outstanding.
    pub(super) fn is_armed(&self) -> bool {
        matches!(self.state, State::Accepting | State::Pausing | State::Stopping)
    }
}

/// Connections to stop accepting at, so that those which the multishot accept takes meanwhile still find a slot.
pub(super) fn accept_limit(table_size: u32) -> u32 {
    table_size - (table_size / 4).min(256)
}
