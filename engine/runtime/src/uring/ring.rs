//! The seam below the driver: what it asks of a ring, as safe values.
//!
//! ```text
//!   Uring: files, sends in flight, receive pool        decides
//!   ------ trait Ring: typed operations, one enter, plain completions ------
//!   submit::SystemRing: the kernel's          the simulator's: the same rules, played by a seed
//! ```
//! The driver is generic over this, statically: the production build knows one ring and pays nothing. What goes wrong in
//! io_uring servers (bytes lost after a short send, a buffer used before its terminal completion, a multishot that ended
//! unnoticed, an overflow) goes wrong above this line, so the simulator replaces what is below it.
//!
//! Rules every ring keeps, as io_uring does: operations take effect at the next [`Ring::enter`] at the latest, in the order
//! they were asked for; a `send_now` is over when the enter that submits it returns, and completes only if it did not
//! take all bytes; `cancel`, `close` and `tell` complete only when they fail; everything else completes once, multishot
//! operations with `has_more` until their last.

use super::buffers::{Buffers, Pool};
use super::complete::{Completion, Tag};
use super::in_flight::{NamePlace, SendBytes};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// Whether an enter waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Submits only; completions that are not ready stay where they are.
    Submit,
    /// Submits and makes the completions that are ready.
    Poll,
    /// Until a completion, at most so long.
    AtMost(Duration),
    /// Until a completion.
    Forever,
}

/// A queue of operations, a queue of completions, and the call between them.
pub trait Ring {
    /// Makes a table of `files_max` empty slots and takes note of the receive pools; before anything else.
    ///
    /// # Errors
    /// What the system says.
    fn prepare(&mut self, files_max: u32, buffers: &Buffers) -> io::Result<()>;
    /// Empties the table and forgets the pools; the last call.
    fn release(&mut self);
    /// The ring's name for other rings of the process.
    fn address(&self) -> RawFd;
    /// Whether one more operation fits before the next enter.
    fn has_room(&mut self) -> bool;
    /// Whether operations wait for the next enter.
    fn has_submissions(&mut self) -> bool;
    /// Whether completions found the queue full and wait until the ring is asked again.
    fn has_overflown(&mut self) -> bool;
    /// Whether there are completions to make at the next enter.
    fn has_deferred_work(&mut self) -> bool;
    /// Submits everything, then waits as asked. `buffers` are the pools that it was [prepared](Self::prepare) with.
    ///
    /// # Errors
    /// The errno: ETIME and EINTR are a wait that ended without a completion, EAGAIN and EBUSY mean to take completions and try again.
    fn enter(&mut self, wait: Wait, buffers: &mut Buffers) -> Result<(), i32>;
    /// Moves all completions that are there to the end of `target`.
    fn reap(&mut self, target: &mut VecDeque<Completion>);
    /// System calls made so far.
    fn system_calls(&self) -> u64;

    /// Accepts until told otherwise, each connection into a free slot of the table.
    fn accept(&mut self, listener: BorrowedFd<'_>, tag: Tag);
    /// Receives until told otherwise, each time into a buffer of this pool.
    fn receive(&mut self, slot: u32, pool: Pool, tag: Tag);
    /// Sends what there is room for and is over within the enter; completes only if bytes are left or the connection is broken.
    fn send_now(&mut self, slot: u32, bytes: &SendBytes<'_>, tag: Tag);
    /// Sends all, waiting for room; always completes.
    fn send_waiting(&mut self, slot: u32, bytes: &SendBytes<'_>, tag: Tag);
    /// Asks for the peer's address; its length, or an error, is the result.
    fn peer_name(&mut self, slot: u32, place: &NamePlace, tag: Tag);
    /// Says FIN, at some moment after the enter.
    fn shutdown_write(&mut self, slot: u32, tag: Tag);
    /// Tries to end the operation that was submitted with `target`.
    fn cancel(&mut self, target: Tag, tag: Tag);
    /// Tries to end everything.
    fn cancel_all(&mut self);
    /// Empties a slot of the table, which closes the connection unless an operation still holds it.
    fn close(&mut self, slot: u32, tag: Tag);
    /// Puts the connection into a free slot of another ring's table as well. Completes here, with that slot's number.
    fn transfer(&mut self, slot: u32, ring: RawFd, tag: Tag);
    /// Completes in another ring, as `there` with the number `result`.
    fn tell(&mut self, ring: RawFd, result: i32, there: Tag, tag: Tag);
    /// Completes whenever the bell is rung, by edges: the eventfd is never read.
    fn watch(&mut self, event: BorrowedFd<'_>, tag: Tag);
    /// Completes after [`ACCEPT_REST_MS`].
    fn rest(&mut self, tag: Tag);
}

/// How long accepting rests after the system ran out of something. Milliseconds.
pub const ACCEPT_REST_MS: u32 = 100;
