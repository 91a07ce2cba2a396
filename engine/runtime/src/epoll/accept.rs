//! Accepting by readiness: as many per turn as is fair, and a rest when descriptors run out.
//!
//! A listener that cannot accept is taken off the interest list, or it would be reported every turn; its peers wait in the
//! backlog. It comes back when a connection has been closed, or when the timer ends after a shortage that others may have relieved.

use super::{Epoll, IN, Key, LISTENER, system};
use crate::kernel::{Arrival, Sink};
use crate::limits::ACCEPTS_PER_TURN;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use system::errno;

/// How long accepting rests after the system ran out of something. Nanoseconds.
const ACCEPT_REST_NS: u32 = 100_000_000;

/// A listening socket.
pub(super) struct Listener {
    pub(super) fd: OwnedFd,
    pub(super) is_resting: bool,
}

impl Epoll {
    pub(super) fn accept(&mut self, index: usize, sink: &mut impl Sink<Self>) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.files.count() >= self.files_max {
                self.counters.accept_pauses += 1;
                self.rest_listener(index);
                return;
            }
            // The sink may stop listening.
            let Some(listener) = self.listeners.get(index) else { return };
            self.counters.system_calls += 1;
            match system::accept(listener.fd.as_fd()) {
                Ok((fd, peer)) => {
                    self.counters.accepts += 1;
                    let file = self.insert(fd);
                    sink.accepted(self, file, Arrival { listener: index as u16, peer });
                }
                Err(error) => match errno(&error) {
                    libc::EAGAIN => return,
                    libc::EINTR | libc::ECONNABORTED | libc::EPERM | libc::EPROTO => {}
                    _ => {
                        // Out of descriptors or memory. The peers wait in the backlog.
                        self.counters.accept_pauses += 1;
                        self.rest_listener(index);
                        self.counters.system_calls += 1;
                        self.is_resting = system::set_timer(self.timer.as_fd(), ACCEPT_REST_NS).is_ok();
                        return;
                    }
                },
            }
        }
    }

    /// A listener that cannot accept must not report that it could.
    fn rest_listener(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.is_resting = true;
            self.counters.system_calls += 1;
            let _ = system::epoll_ctl(self.epoll.as_fd(), libc::EPOLL_CTL_DEL, listener.fd.as_raw_fd(), 0, 0); // It is there.
        }
    }

    pub(super) fn wake_listeners(&mut self) {
        if self.is_resting || self.files.count() >= self.files_max {
            return;
        }
        for (index, listener) in (0_u32..).zip(&mut self.listeners) {
            if listener.is_resting {
                let key = Key { fd: index, generation: LISTENER };
                self.counters.system_calls += 1;
                listener.is_resting = system::epoll_ctl(
                    self.epoll.as_fd(),
                    libc::EPOLL_CTL_ADD,
                    listener.fd.as_raw_fd(),
                    IN,
                    key.to_bits(),
                )
                .is_err();
            }
        }
    }
}
