//! The seam between the loop and the operating system: operations and completions as safe values.
//!
//! `turn` runs the same over three implementations: `uring`, `epoll`, and the simulator's. The shape is
//! completion-like (readiness adapts to completions cheaply, the other way round does not): the loop asks for
//! something, and hears later what became of it.
//!
//! Rules every implementation keeps:
//! - received bytes are lent only while [`Sink::received`] runs; the buffer is the kernel's again afterwards;
//! - a frame given to [`Kernel::send`] is held until its one [`Sink::sent`];
//! - at most one send per file is in flight, the caller sees to that;
//! - a file's number is not used again before its [`Kernel::close`] has been asked for and every completion of it has
//!   been delivered or dropped: no completion of a former tenant reaches the next one;
//! - after [`Sink::ended`] nothing more is received on that file; the file stays open until closed.

use ringio_core::base::frame::Frame;
use ringio_core::base::id::{FileId, ShardIndex};
use std::net::SocketAddr;
use std::time::Duration;

/// What the loop tells a file's completions apart by; the core's connection key as a number.
pub type Token = u64;

/// Why nothing more will be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer finished its side (FIN).
    Finished,
    /// The connection broke: reset, timed out, unreachable. The errno.
    Broken(i32),
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// All bytes from the offset on are the kernel's.
    Complete,
    /// The connection is broken. The errno.
    Broken(i32),
}

/// Where a connection has come in, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The listener: how many others were given to [`Kernel::listen`] before.
    pub listener: u16,
    /// The peer's address, unless it has none or it cannot be known.
    pub peer: Option<SocketAddr>,
}

/// Who hears completions. Calls come one at a time from within [`Kernel::turn`].
pub trait Sink<K: Kernel + ?Sized> {
    /// A client connected; the file is open and silent until [`Kernel::start`].
    fn accepted(&mut self, kernel: &mut K, file: FileId, from: Arrival);
    /// Bytes arrived. They may be changed in place and are gone when this returns.
    fn received(&mut self, kernel: &mut K, token: Token, bytes: &mut [u8]);
    /// Nothing more will arrive.
    fn ended(&mut self, kernel: &mut K, token: Token, end: End);
    /// A send finished: every byte taken, or the connection broken. Waiting for a slow peer is the driver's business and shows as [`Sink::send_waits`].
    /// Comes before everything else of its turn. See [`Kernel::defer_sent`].
    fn sent(&mut self, kernel: &mut K, token: Token, outcome: SendOutcome);
    /// The peer takes bytes slower than they are sent: the send in flight waits for room. `sent` will follow.
    fn send_waits(&mut self, kernel: &mut K, token: Token);
    /// The connection has left this shard: `Ok` is its number in the other shard's driver. Bytes that arrived while it was
    /// leaving came as [`Sink::received`] before. `Err` is the errno (ENFILE: that shard is full; EOWNERDEAD: it has ended; EINVAL: it is this
    /// one); the file is still here then, silent as before [`Kernel::start`].
    fn transferred(&mut self, kernel: &mut K, token: Token, remote: Result<FileId, i32>);
}

/// An implementation of the system's side.
pub trait Kernel {
    /// What other threads need to hand connections to this shard (a ring's descriptor); `Clone + Send + Sync`.
    type Address: Clone + Send + Sync + 'static;

    /// Begins to accept on a listening socket. Several listeners may be given; one that is refused does not count.
    ///
    /// # Errors
    /// What the system says.
    fn listen(&mut self, listener: std::os::fd::OwnedFd) -> std::io::Result<()>;
    /// Stops accepting and closes the listeners. Who was accepted in the same moment may still be announced.
    fn stop_listening(&mut self);
    /// This shard's own address.
    fn address(&self) -> Self::Address;
    /// Tells where the other shards are, indexed by shard; before the first turn.
    fn set_peers(&mut self, peers: Vec<Self::Address>);
    /// From now on `file` belongs to `token`, and its bytes are received.
    fn start(&mut self, file: FileId, token: Token);
    /// Sends `frame` from `offset` on. Takes effect at the next [`Kernel::turn`] at the latest.
    fn send(&mut self, file: FileId, frame: Frame, offset: usize);
    /// Says FIN after the bytes sent so far; receiving goes on.
    fn shutdown_write(&mut self, file: FileId);
    /// Closes the file; a send in flight is given up (one of the same turn is tried once), no further completion of it is delivered. A peer that
    /// goes on sending is answered by a reset, which may overtake what was sent last: to be polite, say FIN and read to the end first.
    fn close(&mut self, file: FileId);
    /// Stops receiving on `file` and hands it to the shard `target`, where its number will be what `transferred` says.
    fn transfer(&mut self, file: FileId, target: ShardIndex);
    /// Adopts a file that another shard transferred here. It is silent until [`Kernel::start`].
    fn adopt(&mut self, file: FileId);
    /// Submits what was asked, waits at most `wait` (None: until something happens; zero: not at all) for
    /// a completion or the doorbell, and delivers what there is, at most as much as [`limits`](crate::limits) says: the rest in the next turn,
    /// which does not wait then.
    fn turn(&mut self, wait: Option<Duration>, sink: &mut impl Sink<Self>)
    where
        Self: Sized;
    /// Submits what was asked without waiting.
    fn submit(&mut self);
    /// Says that nothing stands behind the sends asked for so far (no more bytes, no close): the next turn may wait although it submits them, and
    /// tell of their end with whatever happens next. A send that succeeds at once makes no completion, so without this word a turn that
    /// submits sends does not wait, lest what stands behind them does. It saves one system call per isolated wake-up.
    fn defer_sent(&mut self) {}
    /// The frame of a send that has not completed: what it keeps counts as memory of its connection.
    fn sending(&self, _file: FileId) -> Option<&Frame> {
        None
    }
    /// Gives back memory that the connections there are do not need: a crowd has gone.
    fn shrink(&mut self) {}
    /// Counters for metrics and tests.
    fn counters(&self) -> Counters;
}

/// What a driver did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// System calls made by the driver.
    pub system_calls: u64,
    /// Sends asked for.
    pub sends: u64,
    /// Sends that had to wait for a slow peer.
    pub send_waits: u64,
    /// Times the receive pool was empty.
    pub receive_pool_empty: u64,
    /// Times a connection changed between small and large receive buffers.
    pub receive_pool_changes: u64,
    /// Times something received waited for the next turn, because its connection had had its share of this one.
    pub receives_put_off: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Times accepting paused because descriptors were exhausted.
    pub accept_pauses: u64,
    /// Bytes reserved for received data, for all connections together.
    pub receive_pool_bytes: u64,
}
