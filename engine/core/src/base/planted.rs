//! Bugs that are planted on purpose, one at a time, to see whether the simulator finds them.
//!
//! Compiled only with `--cfg ringio_planted`, which no production build has. `tests/simulation/tests/planted.rs` plants each and says
//! within how many seeds it must be found.

use core::sync::atomic::{AtomicU8, Ordering};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A send that took a part counts as complete.
    ShortWriteLoss = 1,
    /// A frame is let go of when its send is cancelled, not when it has ended.
    EarlyRelease,
    /// A receive that found no buffer is not asked for again.
    NoBuffersUnnoticed,
    /// Sends are concluded to be complete while completions wait behind a full queue.
    OverflowUnnoticed,
    /// A slot is emptied while its shutdown is on the way.
    ShutdownForgotten,
    /// Messages to another shard go past those that wait for room.
    MeshOvertakes,
    /// A shard that must make room for another one is not woken.
    BellForgotten,
    /// Jobs of other threads see the time of the turn before.
    StaleTime,
    /// A deadline comes and nothing happens.
    LostTimer,
    /// A socket in two of the rooms is selected twice.
    DoubleDelivery,
    /// An acknowledgement that came is still owed.
    AckTwice,
    /// A socket that leaves stays a member of its larger rooms.
    RoomNotLeft,
    /// The WebSocket that probes for a session is forgotten when the session ends.
    AbandonedProbe,
    /// An outbox takes whatever comes.
    OutboxUnbounded,
    /// A request's head is waited for, however long it gets.
    HeadUnbounded,
    /// A session has as many sockets as its client asks for.
    SocketsUnbounded,
    /// A socket owes as many acknowledgements as are asked for.
    AcksUnbounded,
    /// A broadcast of another server is told to other servers again.
    SentOn,
    /// Questions wait for a server that is gone.
    DeadAwaited,
    /// An answer to the server that was here before is taken.
    FormerLife,
    /// A second answer of the same server counts.
    AnsweredTwice,
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants this bug and no other; `None`: none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
}

/// Whether this bug is planted.
#[must_use]
pub fn is(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as u8
}
