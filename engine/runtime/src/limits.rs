//! How much one turn does at most: every bound of the loop and of the drivers, with its reason.
//!
//! A client that always has more to say must not keep its shard from the others. So each source of work has a share of a turn; what it
//! has beyond that is not lost but waits for the next turn, which follows without waiting, and there it stands behind what the others
//! sent meanwhile. The answers to everything leave at the end of a turn, so what a turn does is also how long an answer may lie. Short
//! messages cost about a microsecond each; the bounds are chosen so that no source alone makes a turn of much more than ten milliseconds.
//!
//! | source | bound of a turn | kept by |
//! |---|---|---|
//! | one connection's received bytes | io_uring: [`CONNECTION_BYTES_PER_TURN`], behind all others [`SURPLUS_BYTES_PER_TURN`]; epoll: one buffer, 64 KiB | `uring/shares.rs`, `epoll` |
//! | received bytes of all | [`RECEIVED_BYTES_PER_TURN`] and the buffer that reaches it | `uring/complete.rs`, `epoll` |
//! | packets in the body of a POST | `ringio_core::limits::POSTED_PACKETS_PER_TURN`, of [`POSTS_PER_TURN`] such bodies | core `shard/posts.rs` |
//! | new connections | epoll: [`ACCEPTS_PER_TURN`] of a listener; io_uring: its backlog, `listener::BACKLOG` | `epoll/accept.rs` |
//! | readiness of files | [`EVENTS_PER_TURN`] | `epoll` |
//! | messages of other shards | [`PEER_MESSAGES_PER_TURN`] | `turn` |
//! | calls of other threads | [`JOBS_PER_TURN`] | `turn` |
//! | deadlines | `ringio_core::limits::DEADLINES_PER_TURN` | core `shard/deadlines.rs` |
//! | async handlers | 200 steps, the executor's own | `executor` |
//!
//! No bound: a handler, which is the application's, and what one message asks for. A handler that takes a second takes it from every
//! client of its shard; a broadcast to a hundred thousand is a hundred thousand sends of one turn. Bytes are counted as they came: with
//! permessage-deflate (off by default) a message may become as long as `max_http_buffer_size` allows. Bodies of POSTs in revision 3 of
//! Engine.IO (`allow_eio3`, off by default) are taken whole.

use std::time::Duration;

/// Received bytes of one connection before others have had theirs, on io_uring. Two large receive buffers, so that a message of 64 KiB
/// is not torn from its header: 1,900 messages of 64 bytes, or two milliseconds of small events. What it has brought beyond waits.
pub const CONNECTION_BYTES_PER_TURN: usize = 128 << 10;

/// Bytes that connections have brought beyond their share in earlier turns, delivered in one turn behind everything else; all such
/// connections together. More than a share, so that a single long upload is not slowed down; one buffer more may be.
pub const SURPLUS_BYTES_PER_TURN: usize = 2 * CONNECTION_BYTES_PER_TURN;

/// Received bytes of all connections within one turn, the surplus not counted; one buffer more may be. What the large receive buffers of
/// io_uring hold together: a thousand connections that all fill their windows make many such turns instead of one of 64 MiB.
pub const RECEIVED_BYTES_PER_TURN: usize = 16 * CONNECTION_BYTES_PER_TURN;

/// Files that epoll tells of at once.
pub const EVENTS_PER_TURN: usize = 1_024;

/// Connections taken from one listener, by epoll, so that a storm of them does not starve those who are connected.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Messages taken from other shards, so that a busy one cannot keep a shard from its own clients.
pub const PEER_MESSAGES_PER_TURN: usize = 1_024;

/// Calls from other threads, so that a program that floods a shard with them does not keep its clients waiting.
pub const JOBS_PER_TURN: usize = 1_024;

/// How long a shard that is to stop waits for the others to do what was said to them before. They need microseconds, unless a handler keeps
/// one of them. Time in which this shard did not run either is not counted beyond [`SETTLE_LOOK`] at once.
pub const SETTLE_MAX: Duration = Duration::from_secs(5);

/// How often it looks meanwhile.
pub const SETTLE_LOOK: Duration = Duration::from_millis(50);

/// Bodies of POSTs with very many packets of which a piece is taken: eight thousand packets together. The others are first in the next turn.
pub const POSTS_PER_TURN: usize = 4;

/// Longest time that a shard may look on instead of sleeping. Microseconds, a second: longer is a core that never rests.
pub const BUSY_POLL_US_MAX: u64 = 1_000_000;
