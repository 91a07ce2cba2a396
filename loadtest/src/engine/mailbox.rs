//! How a worker is told something: a channel, and what wakes the worker to look into it.
//!
//! ```text
//! Mailbox --Command--> channel ----> Inbox
//!         --wake-----> epoll set --'
//! ```
//!
//! Without the wake a worker would have to look every few milliseconds, which is all that one with idle clients would do.

use super::Command;
use crate::failure::{Class, Failure};
use mio::{Poll, Token, Waker};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The token of the wake.
pub(super) const WAKE_TOKEN: Token = Token(usize::MAX - 2);

/// The conductor's end.
#[derive(Clone, Debug)]
pub struct Mailbox {
    commands: Sender<Command>,
    /// None: who receives waits for the channel itself.
    waker: Option<Arc<Waker>>,
}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox {
    pub(super) commands: Receiver<Command>,
    pub(super) poll: Poll,
}

impl Mailbox {
    /// A mailbox and its other end.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> Result<(Self, Inbox), Failure> {
        let open = || {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE_TOKEN)?;
            Ok((poll, waker))
        };
        let (poll, waker) =
            open().map_err(|error: std::io::Error| Failure::new(Class::Exhausted, error.to_string()))?;
        let (sender, commands) = channel();
        Ok((Self { commands: sender, waker: Some(Arc::new(waker)) }, Inbox { commands, poll }))
    }

    /// One whose other end waits for the channel.
    pub(crate) fn of_channel() -> (Self, Receiver<Command>) {
        let (commands, receiver) = channel();
        (Self { commands, waker: None }, receiver)
    }

    /// Tells the worker. Returns whether it is still there.
    pub fn send(&self, command: Command) -> bool {
        let is_there = self.commands.send(command).is_ok();
        if let Some(waker) = &self.waker {
            // A worker that is not woken looks at the end of the second.
            let _ = waker.wake();
        }
        is_there
    }
}
