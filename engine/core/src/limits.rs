//! Every fixed bound and deadline of the core: unit, default, reason.
//!
//! What an operator may set is in `options`. A state without a deadline here (or in `shard::deadlines`) and without
//! a byte bound is a defect.

use crate::options::Options;

/// Longest request head. Bytes. Node's default is 16 KiB as well.
pub const REQUEST_HEAD_BYTES_MAX: usize = 16 << 10;

/// Bytes of further requests that may wait behind one that is being answered (pipelining). A client that polls
/// sends one request at a time.
pub const PIPELINED_BYTES_MAX: usize = 16 << 10;

/// From the first byte of a connection, or the end of the last answer, to the end of the next request's head.
/// Milliseconds. Absolute: single bytes do not extend it; it also ends a
/// connection whose peer does not read its answer. Node allows 60 s for the head and 5 s between requests;
/// clients that poll send the next request within a round trip.
pub const REQUEST_HEAD_DEADLINE_MS: u64 = 20_000;

/// How long the application may take to decide about a request; then it is answered with 503. Milliseconds.
pub const DECISION_DEADLINE_MS: u64 = 30_000;

/// From the end of a POST's head to the end of its body. Milliseconds, absolute.
pub const REQUEST_BODY_DEADLINE_MS: u64 = 30_000;

/// How long a connection that is closing may take to hear our last bytes and say FIN itself. Milliseconds.
pub const CLOSING_DEADLINE_MS: u64 = 2_000;

/// While a client upgrades, its waiting GET is answered with a noop this often, because it may poll again
/// before it has seen the probe's answer. Milliseconds, as in Node.
pub const UPGRADE_NOOP_INTERVAL_MS: u64 = 100;

/// From the 101 of a WebSocket to the OPEN behind it, for clients of revision 3 alone. Milliseconds. Programs of that time wait
/// for the WebSocket to open before they listen for its messages, and lose an OPEN that arrives in the same read.
pub const OPEN_HELD_MS: u64 = 10;

/// How long a closed polling session waits for the GET that fetches its last packets. Milliseconds, as in Node.
pub const POLLING_CLOSE_DEADLINE_MS: u64 = 30_000;

/// How long a session that its client closed by a POST is remembered for a GET that was sent earlier on another connection
/// but arrives later: connections are not ordered among each other. Milliseconds.
pub const CLOSED_GRACE_MS: u64 = 1_000;

/// How long `fetch_sockets` waits for other shards. Milliseconds, as Node's `requestsTimeout`.
pub const FETCH_DEADLINE_MS: u64 = 5_000;

/// Longest wait for an answer that another server may ask for. Milliseconds, a day.
pub const CLUSTER_TIMEOUT_MS_MAX: u64 = 86_400_000;

/// Questions of other servers (`fetch_sockets`, acknowledgements of a broadcast) that one shard answers at a time, its own
/// included. Further ones are not answered, so their asker's time runs out.
pub const CLUSTER_QUESTIONS_MAX: usize = 16_384;

/// Queued frames are joined into one buffer up to this size; larger ones are sent as they are, one after the other.
/// Bytes. Copying costs about 0.1 ns per byte, a send about 2 us, so joining pays far beyond this; the bound keeps the
/// copies of one flush in the cache.
pub const JOIN_BYTES_MAX: usize = 64 << 10;

/// Joined buffers remembered within one flush, for other sessions with the same queue.
pub const JOINED_REMEMBERED: usize = 4;

/// Compressed bodies of polling answers remembered within one flush, for other polls that get the same.
pub const BODIES_REMEMBERED: usize = 4;

/// What compressing in a context of its own costs a connection with permessage-deflate. Bytes.
pub const DEFLATER_BYTES_MAX: usize = 380 << 10;

/// What inflating in a context of its own costs it. Bytes.
pub const INFLATER_BYTES_MAX: usize = 48 << 10;

/// Queues of more than two frames whose memory is kept for the next such queues, and the longest one of them. 1 MiB at most.
pub const SPARE_QUEUES_MAX: usize = 8_192;
/// Frames of the longest queue that is kept.
pub const SPARE_QUEUE_FRAMES_MAX: usize = 16;

/// Namespaces one client may have joined or asked for at a time.
pub const SOCKETS_PER_SESSION_MAX: usize = 256;

/// Longest namespace a client may ask for. Bytes.
pub const NAMESPACE_NAME_BYTES_MAX: usize = 1_024;

/// Acknowledgements one socket may owe. More is an error for the emitter.
pub const ACKS_PER_SOCKET_MAX: usize = 65_536;

/// Unfinished packets of one client that a parser's decoder may keep. Bytes: as many as the default encoding keeps.
#[must_use]
pub const fn unfinished_bytes_max(options: &Options) -> u64 {
    options.max_http_buffer_size * (1 + options.attachments_max as u64)
}

/// A connection's bytes at worst: what one client can make the core hold.
#[must_use]
pub fn connection_bytes_max(options: &Options) -> u64 {
    let contexts = options.per_message_deflate.map_or(0, |deflate| {
        let deflater =
            if deflate.negotiation.server_no_context_takeover == Some(true) { 0 } else { DEFLATER_BYTES_MAX };
        let inflater = if deflate.negotiation.client_no_context_takeover { 0 } else { INFLATER_BYTES_MAX };
        (deflater + inflater) as u64
    });
    let message = options.max_http_buffer_size + unfinished_bytes_max(options);
    let outbox = options.outbox_bytes_max as u64 + options.max_http_buffer_size;
    (REQUEST_HEAD_BYTES_MAX + PIPELINED_BYTES_MAX) as u64 + message + outbox + contexts
}
