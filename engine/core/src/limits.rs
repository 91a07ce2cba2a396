//! Every fixed bound and deadline of the core: unit, default, reason; and the memory they add up to at worst.
//!
//! What an operator may set is in `options`. A state without a deadline and a byte bound in this table is a defect; each row names the
//! tests that show both (`tests/tests/coverage.rs` looks whether they are there). Deadlines are absolute: they run from the beginning of the
//! state, whatever dribbles in.
//!
//! | state | deadline | bytes | shown by |
//! |---|---|---|---|
//! | connection: request head, and silence between requests | `REQUEST_HEAD_DEADLINE_MS` | `REQUEST_HEAD_BYTES_MAX` | `engine/core/tests/bounds.rs` "connection_request_head" |
//! | connection: body of a POST | [`body_deadline_ms`] | `max_http_buffer_size` | `engine/core/tests/bounds.rs` "connection_body_of_a_post" |
//! | connection: the packets of its POST are taken | `REQUEST_HEAD_DEADLINE_MS` | `PIPELINED_BYTES_MAX` | `engine/core/tests/posts.rs` "while_its_packets_are_taken_a_connection_has_its_deadline_and_its_bound" |
//! | connection: the application decides | `DECISION_DEADLINE_MS` | [`backlog_bytes_max`]; [`dropped_bytes_max`] behind them are read and dropped | `engine/core/tests/bounds.rs` "connection_the_application_decides"; `engine/core/tests/bounds.rs` "connection_what_follows_while_nobody_may_read" |
//! | connection: a GET waits | the session's heartbeat | `PIPELINED_BYTES_MAX` | `engine/core/tests/bounds.rs` "connection_a_get_waits" |
//! | connection: moves to another shard, an answer unread | `MOVING_DEADLINE_MS` | [`backlog_bytes_max`]; [`dropped_bytes_max`] behind them are read and dropped | `engine/core/tests/bounds.rs` "connection_moves_to_another_shard"; `engine/core/tests/bounds.rs` "connection_what_follows_while_nobody_may_read" |
//! | connection: answers and control frames unread | `REQUEST_HEAD_DEADLINE_MS`, or the heartbeat | `TRANSMIT_BYTES_MAX`, `TRANSMIT_FRAMES_MAX` | `engine/core/tests/bounds.rs` "connection_answers_and_control_frames_unread" |
//! | connection: WebSocket, half a message | [`message_deadline_ms`] | `max_http_buffer_size` | `engine/core/tests/bounds.rs` "connection_websocket_half_a_message" |
//! | connection: WebSocket between messages | the session's heartbeat | 0 | `engine/core/tests/bounds.rs` "connection_websocket_between_messages" |
//! | connection: closing | `CLOSING_DEADLINE_MS` | 0; [`dropped_bytes_max`] are read and dropped | `engine/core/tests/bounds.rs` "connection_closing"; `engine/core/tests/bounds.rs` "connection_what_follows_a_refusal" |
//! | session: in no namespace yet | `connect_timeout_ms` | `max_http_buffer_size` of auth, `SOCKETS_PER_SESSION_MAX` requests, each of `NAMESPACE_NAME_BYTES_MAX` | `engine/core/tests/bounds.rs` "session_in_no_namespace_yet"; `engine/core/tests/bounds.rs` "session_the_name_of_a_namespace" |
//! | session: a long POST of which packets are left | none: in each turn `POSTED_PACKETS_PER_TURN` of them are taken | `max_http_buffer_size` | `engine/core/tests/posts.rs` "nobody_waits_for_more_than_a_piece" |
//! | session: a packet whose attachments are missing | [`attachments_deadline_ms`] | [`unfinished_bytes_max`] | `engine/core/tests/bounds.rs` "session_attachments_missing" |
//! | session: probing WebSocket | `upgrade_timeout_ms` | as a connection | `engine/core/tests/bounds.rs` "session_probing" |
//! | session: open and silent | `ping_interval_ms` (and a part of [`PING_MOMENTS`]) + `ping_timeout_ms`, the timeout once more if something else came | 0 | `engine/core/tests/bounds.rs` "session_silent_or_not_reading" |
//! | session: packets unread | as above: the ping waits behind them | `outbox_bytes_max` and one message | `engine/core/tests/bounds.rs` "session_silent_or_not_reading" |
//! | session: closing, its last packets unfetched | `POLLING_CLOSE_DEADLINE_MS` | `outbox_bytes_max` | `engine/core/tests/bounds.rs` "session_closing_and_closed" |
//! | session: closed by a POST | `CLOSED_GRACE_MS` | 0 | `engine/core/tests/bounds.rs` "session_closing_and_closed" |
//! | socket: the application decides | its own; the client's `connect_timeout_ms` if it is in no namespace | counted with the session | `tests/tests/misuse.rs` "a_middleware_that_never_finishes_costs_its_client_the_connection" |
//! | socket: owes acknowledgements | the emitter's timeout, at the latest its end | `ACKS_PER_SOCKET_MAX` | `engine/core/tests/namespaces.rs` "acknowledgements_go_both_ways_once"; `tests/tests/misuse.rs` "acknowledgements_owed_are_bounded" |
//! | socket: absent, may come back | `max_disconnection_ms` | `absent_max` of them, `bytes_max` of packets | `engine/core/tests/recovery.rs` "who_cannot_be_recovered_gets_a_new_socket"; `engine/core/tests/recovery.rs` "of_too_many_absent_clients_the_one_that_left_first_is_forgotten"; `engine/core/src/broadcast/recovery.rs` "the_log_is_bounded_in_packets_bytes_and_age" |
//! | shard: questions of other servers | the asker's time, [`CLUSTER_TIMEOUT_MS_MAX`] at most; `FETCH_DEADLINE_MS` | `CLUSTER_QUESTIONS_MAX` of each kind | `engine/core/tests/cluster.rs` "a_question_of_another_server_ends_with_its_time"; `engine/core/tests/cluster.rs` "no_more_questions_of_other_servers_are_open_than_may_be" |
//!
//! Bounds that live elsewhere, beside what they bound:
//!
//! | what | bound | where |
//! |---|---|---|
//! | what an operator may set: messages 1 MB, an outbox 4 MiB, 10 attachments, 100,000 absent clients and 64 MiB of packets for them | `max_http_buffer_size`, `outbox_bytes_max`, `attachments_max`, `absent_max`, `bytes_max`, ... | core `options.rs` |
//! | frames kept for the next ones | `POOL_BYTES_MAX` 4 MiB, `POOL_FRAMES_MAX` 1,024, none over `POOL_BUFFER_BYTES_MAX` 256 KiB | core `base/frame_pool.rs` |
//! | what was sent again to sockets that came back | `LOGS_MAX`: as much as 8 logs of the largest number of packets, and the bytes of one | core `broadcast/replay.rs` |
//! | header fields of a request | `HEADER_COUNT_MAX` 64 | codec `http/request.rs` |
//! | extensions that a WebSocket client offers, parameters of each | `OFFER_COUNT_MAX` 32, `PARAMETER_COUNT_MAX` 16 | codec `websocket/extensions.rs` |
//! | extensions of a chunk and trailers of a chunked body | `EXTENSION_BYTES_MAX`, `TRAILER_BYTES_MAX`, 4 KiB each | codec `http/chunked.rs` |
//! | depth of JSON, digits of an acknowledgement's id | `DEPTH_MAX` 128, `ID_MAX` 2^53 - 1 | codec `socketio/json.rs`, `socketio/decode.rs` |
//! | calls of other threads that wait for a shard | `INJECTED_MAX` 65,536 | runtime `injector.rs` |
//! | unfinished records of TLS, what TLS has to say to a peer that does not listen | `HELD_BYTES_MAX` 80 KiB, `OWN_BYTES_MAX` 256 KiB | runtime `tls/channel.rs` |
//! | what one turn does at most | `CONNECTION_BYTES_PER_TURN`, ... | runtime `limits.rs` |
//! | messages of other servers that wait for the first shard | `INBOX_MESSAGES_MAX` 16,384, `INBOX_BYTES_MAX` 64 MiB | server `cluster/inbox.rs` |

use crate::base::frame_pool::{POOL_BYTES_MAX, POOL_FRAMES_MAX};
use crate::door::Event;
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

/// What the body of a POST or a WebSocket message may take, besides what its length takes at `RECEIVE_BYTES_PER_MS_MIN`.
/// Milliseconds, absolute: from the end of the head, from the first byte that is kept.
pub const RECEIVE_DEADLINE_MS: u64 = 30_000;

/// The slowest client that long messages are waited for. Bytes per millisecond: 16 is 128 kbit/s, a poor mobile network. Without it a
/// server with a large `max_http_buffer_size` would cut honest uploads off.
pub const RECEIVE_BYTES_PER_MS_MIN: u64 = 16;

/// How long a connection that is to move to another shard may take to hear what was said to it before. Milliseconds. The move
/// itself is the kernel's and takes microseconds.
pub const MOVING_DEADLINE_MS: u64 = 20_000;

/// How long a connection that is closing may take to hear our last bytes and say FIN itself. Milliseconds.
pub const CLOSING_DEADLINE_MS: u64 = 2_000;

/// What a peer that is to hear why it is not listened to may send meanwhile, besides a whole message: it is read and dropped, for
/// nothing but that a reset would take the answer away from it. Bytes: a client that reads while it sends has at most what its kernel
/// holds for it on its way (Linux: 4 MiB). Who goes on has not listened and is cut, so that it costs less than a second at any speed.
pub const DROPPED_BYTES: u64 = 4 << 20;

/// While a client upgrades, its waiting GET is answered with a noop this often, because it may poll again
/// before it has seen the probe's answer. Milliseconds, as in Node.
pub const UPGRADE_NOOP_INTERVAL_MS: u64 = 100;

/// Pings are sent at so many moments of a ping interval: what falls due between two of them waits for the second. With the default interval that is up to
/// 24 ms, and the pings of silent connections, and with them the answers, come in batches that share a turn; each alone costs several times as much.
/// An interval under two seconds has its milliseconds.
pub const PING_MOMENTS: u64 = 1_024;

/// From the 101 of a WebSocket to the OPEN behind it, for clients of revision 3 alone. Milliseconds. Programs of that time wait
/// for the WebSocket to open before they listen for its messages, and lose an OPEN that arrives in the same read.
pub const OPEN_HELD_MS: u64 = 10;

/// Answers and control frames that may wait, in number, for a peer that makes us answer faster than it reads (pipelined requests, pings,
/// probes); beyond it the connection is cut.
pub const TRANSMIT_FRAMES_MAX: usize = 256;

/// The same in bytes. One answer more may wait: it was asked for when there was room. Pages and client bundles are the long ones.
pub const TRANSMIT_BYTES_MAX: usize = 256 << 10;

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

/// Questions that the application of one shard may have open (broadcasts with acknowledgements, `fetch_sockets`,
/// `server_side_emit_with_ack`, `server_count`), those of other servers included. More is an error for who asks. Each ends with its
/// answers or its deadline.
pub const OWN_QUESTIONS_MAX: usize = 65_536;

/// Queued frames are joined into one buffer up to this size; larger ones are sent as they are, one after the other.
/// Bytes. Copying costs about 0.1 ns per byte, a send about 2 us, so joining pays far beyond this; the bound keeps the
/// copies of one flush in the cache.
pub const JOIN_BYTES_MAX: usize = 64 << 10;

/// What a frame in an outbox counts besides its bytes. Without it a client could be owed half a million of the shortest packets, at 20
/// times the memory that `outbox_bytes_max` says. A broadcast costs less, because all outboxes share it; an event for one client more.
pub const QUEUED_FRAME_BYTES: usize = 64;

/// Frames of an outbox, the latest, among which one of the same key is looked for. A client that reads has a few, one that is stuck as
/// many as there are keys.
pub const CONFLATED_AMONG: usize = 1_024;

/// Connections, sessions and sockets of a shard that must have gone before memory is given back: fewer held too little to matter. A
/// client is three of them.
pub const CROWD_MIN: usize = 256;

/// And which part of all that there were: a sixteenth, so that what a crowd leaves behind stays well below a tenth.
pub const CROWD_SHARE: usize = 16;

/// From then until memory is given back. Milliseconds. A wave is over by then, and a server whose clients come and go pays once in this time.
pub const GIVE_BACK_PAUSE_MS: u64 = 5_000;

/// While a server drains, a share of the sessions is ended once in so long, at a moment drawn within it. Milliseconds. Finer steps would
/// wake it more often than helps.
pub const DRAIN_STEP_MS: u64 = 100;

/// Longest `Retry-After` of a request that finds no room. Seconds, from 1 on, drawn for each, so that they do not come back together.
pub const RETRY_AFTER_S_MAX: u64 = 10;

/// Resident memory, as a share of `memory_max`, from which on no session opens and unused memory is given back. Percent: the last fifth is
/// for those who are in.
pub const MEMORY_SHORT_PERCENT: u64 = 80;

/// Share below which memory is not short any longer. Percent: lower, so that one client more or less does not close the door and open it.
pub const MEMORY_CALM_PERCENT: u64 = 75;

/// Share from which on what is held is given up and no connection is kept that comes. Percent.
pub const MEMORY_OVER_PERCENT: u64 = 100;

/// Share below which that ends, and down to which a step claims. Percent: lower, lest the next packet begin it again.
pub const MEMORY_ENOUGH_PERCENT: u64 = 95;

/// How often the resident memory is looked at. Milliseconds. A look costs one shard one read. What grows between two looks is
/// not seen: at 10 Gbit/s that is 125 MB.
pub const MEMORY_LOOK_INTERVAL_MS: u64 = 100;

/// From one step of giving up to the next. Milliseconds: every shard takes part within that time (none waits longer), and what became
/// free is seen by then.
pub const MEMORY_STEP_INTERVAL_MS: u64 = 250;

/// How often the allocator is asked to give back what is free, while memory is short but not over; then it is at every step.
/// Milliseconds. It keeps what was freed below something in use, so that without asking a crowd that has gone still counts; asking
/// takes some milliseconds per 100 MiB.
pub const MEMORY_TRIM_INTERVAL_MS: u64 = 1_000;

/// Nobody is closed for holding less. Bytes: so much may wait for a client that does read, over a slow network. Closing those would free
/// little.
pub const SHED_BYTES_MIN: usize = 64 << 10;

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

/// Pairs of a namespace's query that are looked at, as in Node. Revision 3 alone.
pub const QUERY_PAIRS_MAX: usize = 1_000;

/// Events that the queue to the application keeps memory for when it is empty. A polling body of short packets makes it long, once.
pub const EVENTS_KEPT_MAX: usize = 4_096;

/// Packets of one POST's body that are taken in one turn: some two milliseconds of small events. Clients put what they have sent within a round trip
/// into a body, so it takes a flood to reach this.
pub const POSTED_PACKETS_PER_TURN: usize = 2_048;

/// Bytes of such a body taken in one turn, to the end of the packet in which they end. A long packet costs less than as many bytes of short ones: a
/// body of the default size is cut by its packets alone.
pub const POSTED_BYTES_PER_TURN: usize = 1 << 20;

/// Deadlines that are handled in one turn; the next handles the rest. After a pause of the machine those of many clients are due at once, and a
/// ping costs a send.
pub const DEADLINES_PER_TURN: usize = 4_096;

/// Acknowledgements one socket may owe. More is an error for the emitter.
pub const ACKS_PER_SOCKET_MAX: usize = 65_536;

/// How long the body of a POST may take: so many bytes, or as many as are taken at all. Milliseconds.
#[must_use]
pub fn body_deadline_ms(length: Option<u64>, options: &Options) -> u64 {
    let bytes = length.unwrap_or(u64::MAX).min(options.max_http_buffer_size);
    RECEIVE_DEADLINE_MS + bytes / RECEIVE_BYTES_PER_MS_MIN
}

/// How long a message may take over a WebSocket from the first byte that had to be kept: fragments and pauses included.
/// Milliseconds.
#[must_use]
pub const fn message_deadline_ms(options: &Options) -> u64 {
    RECEIVE_DEADLINE_MS + options.max_http_buffer_size / RECEIVE_BYTES_PER_MS_MIN
}

/// How long all attachments of a packet may take behind it. Milliseconds.
#[must_use]
pub const fn attachments_deadline_ms(options: &Options) -> u64 {
    RECEIVE_DEADLINE_MS + unfinished_bytes_max(options) / RECEIVE_BYTES_PER_MS_MIN
}

/// What may arrive while nobody may read it: a body that is just not too large, and what is pipelined behind it. Bytes.
#[must_use]
pub const fn backlog_bytes_max(options: &Options) -> u64 {
    options.max_http_buffer_size + PIPELINED_BYTES_MAX as u64
}

/// What is read of one connection and dropped, in a state in which nobody listens; then it is cut. Bytes: a body or message that is up to
/// twice as long as it may be is heard to its end by a client that listens only afterwards.
#[must_use]
pub const fn dropped_bytes_max(options: &Options) -> u64 {
    options.max_http_buffer_size.saturating_add(DROPPED_BYTES)
}

/// Unfinished packets of one client that a parser's decoder may keep. Bytes: as many as the default encoding keeps.
#[must_use]
pub const fn unfinished_bytes_max(options: &Options) -> u64 {
    options.max_http_buffer_size * (1 + options.attachments_max as u64)
}

/// What clients can make the engine hold at worst. Bytes. What the application itself keeps or asks for (rooms, data, acknowledgements) is
/// not in it, nor are the kernel's socket buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// Of one connection: a message that arrives, answers it does not read.
    pub connection_bytes: u64,
    /// Of one connection over TLS, more than that: a handshake that arrives, what TLS has to say, records on their way.
    pub tls_bytes: u64,
    /// Of one session: its first request, its sockets, a long POST, a packet whose attachments are missing, a full outbox.
    pub session_bytes: u64,
    /// Of one shard, however many clients: pools, and the events of one body.
    pub shard_bytes: u64,
    /// Of one shard besides: what the driver receives into and tells the kernel with, and the pool of TLS.
    pub driver_bytes: u64,
}

impl WorstCase {
    /// Of so many connections with a session each, on so many shards, without TLS. Bytes.
    #[must_use]
    pub const fn total(&self, connections: u64, shard_count: u16) -> u64 {
        let each = self.connection_bytes.saturating_add(self.session_bytes);
        let shard = self.shard_bytes.saturating_add(self.driver_bytes);
        connections.saturating_mul(each).saturating_add(shard.saturating_mul(shard_count as u64))
    }

    /// The same where every connection is one over TLS.
    #[must_use]
    pub const fn over_tls(self) -> Self {
        Self { connection_bytes: self.connection_bytes.saturating_add(self.tls_bytes), ..self }
    }
}

/// Memory that grows is there twice for a moment: while it is copied into twice its size.
const GROWTH: u64 = 2;

/// What a frame costs besides its bytes: its counts, bounds of packets, its place in a queue, the allocator's own.
pub const FRAME_BYTES: u64 = 256;

/// The shortest packet in a polling body that becomes an event, its separator included: `42[0]`. Bytes.
const POLLED_PACKET_BYTES_MIN: u64 = 6;

const _: () = assert!(size_of::<Event>() + 2 * size_of::<usize>() <= 256, "EVENT_BYTES");
/// What an event costs while it waits for the application, a copy of its bytes not included.
const EVENT_BYTES: u64 = 256;

/// The sum of all terms above: the core's share. TLS and the driver are the runtime's, which adds them.
#[must_use]
pub fn worst_case(options: &Options) -> WorstCase {
    let message = options.max_http_buffer_size;
    let contexts = options.per_message_deflate.map_or(0, |deflate| {
        let deflater =
            if deflate.negotiation.server_no_context_takeover == Some(true) { 0 } else { DEFLATER_BYTES_MAX };
        let inflater = if deflate.negotiation.client_no_context_takeover { 0 } else { INFLATER_BYTES_MAX };
        (deflater + inflater) as u64
    });
    // One of its states at a time; a backlog is the largest. What is being sent has left the queue and counts once more.
    let received = (REQUEST_HEAD_BYTES_MAX as u64 + backlog_bytes_max(options)) * GROWTH;
    let answers = 2 * TRANSMIT_BYTES_MAX as u64 + TRANSMIT_FRAMES_MAX as u64 * FRAME_BYTES;
    let outbox_bytes = options.outbox_bytes_max as u64;
    let outbox = outbox_bytes + outbox_bytes / QUEUED_FRAME_BYTES as u64 * FRAME_BYTES + message;
    let sending = JOIN_BYTES_MAX as u64 + message;
    let posted = message;
    let sockets = SOCKETS_PER_SESSION_MAX as u64 * (NAMESPACE_NAME_BYTES_MAX as u64 + SOCKET_BYTES) + message;
    let recovery = options.recovery.map_or(0, |recovery| {
        // What was sent again to sockets of other shards: as many bytes, and references as in so many logs.
        let replays =
            recovery.bytes_max as u64 + recovery.packets_max as u64 * REPLAYED_LOGS * size_of::<usize>() as u64;
        recovery.bytes_max as u64
            + replays
            + recovery.packets_max as u64 * FRAME_BYTES
            + recovery.absent_max as u64 * SOCKET_BYTES
    });
    let events = message / POLLED_PACKET_BYTES_MIN * EVENT_BYTES * GROWTH + message;
    WorstCase {
        connection_bytes: received + answers + contexts + CONNECTION_BYTES,
        tls_bytes: 0,
        session_bytes: REQUEST_HEAD_BYTES_MAX as u64
            + sockets
            + posted
            + unfinished_bytes_max(options) * GROWTH
            + outbox
            + sending
            + SESSION_BYTES,
        shard_bytes: POOL_BYTES_MAX as u64
            + POOL_FRAMES_MAX as u64 * FRAME_BYTES
            + (SPARE_QUEUES_MAX * SPARE_QUEUE_FRAMES_MAX * size_of::<usize>()) as u64
            + events
            + recovery,
        driver_bytes: 0,
    }
}

/// `broadcast/replay.rs`, `LOGS_MAX`.
const REPLAYED_LOGS: u64 = 8;
/// A connection in its table, with its deadline; the table may have twice the places. Bytes.
const CONNECTION_BYTES: u64 = 512;
/// A session in its table and by its name, with its deadlines. Bytes.
const SESSION_BYTES: u64 = 1_024;
/// A socket in its tables, absent or not. Bytes.
const SOCKET_BYTES: u64 = 1_024;
