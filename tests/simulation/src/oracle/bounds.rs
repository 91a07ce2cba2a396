//! Nobody holds more than `ringio_core::limits` allows: each connection, session and socket after each turn of its shard.
//!
//! What is held is counted here from what is there; the bounds are those of the limits and of the story's options, by the state
//! that the table in `limits` names. Memory that grows is reserved up to twice.

use ringio_core::connection::{Connection, State};
use ringio_core::limits::{
    ACKS_PER_SOCKET_MAX, NAMESPACE_NAME_BYTES_MAX, PIPELINED_BYTES_MAX, QUEUED_FRAME_BYTES, REQUEST_HEAD_BYTES_MAX,
    SOCKETS_PER_SESSION_MAX, TRANSMIT_BYTES_MAX, TRANSMIT_FRAMES_MAX, backlog_bytes_max, unfinished_bytes_max,
};
use ringio_core::namespace::socket::Presence;
use ringio_core::options::Options;
use ringio_core::session::outbox::Outbox;
use ringio_core::shard::Shard;

/// Reserved for what is kept, at most.
const GROWTH: usize = 2;
/// What a half-arrived message costs besides its bytes, a control frame in its middle included. Bytes.
const UNFINISHED_BYTES: usize = 1_024;
/// Frames that find a full queue of answers: the answer that was asked for when there was room, and a farewell.
const FRAMES_BEYOND: usize = 2;

/// Looks at everybody of a shard.
///
/// # Panics
/// If somebody holds more than it may.
pub fn check(shard: &Shard, options: &Options) {
    let message = as_size(options.max_http_buffer_size);
    let mut of_connections = 0;
    for connection in shard.all_connections() {
        let held = connection.receive_bytes_held();
        let max = receive_bytes_max(connection, options);
        assert!(held <= max, "violation: a connection holds {held} received bytes of at most {max}: {connection:?}");
        of_connections += held;
        let (frames, bytes) = (connection.transmit.len(), connection.transmit.bytes());
        // A WebSocket that closes says before what its session's outbox held.
        let is_last = matches!(connection.state, State::Closing { .. });
        let of_outbox = if is_last { options.outbox_bytes_max / QUEUED_FRAME_BYTES + 1 } else { 0 };
        let max = TRANSMIT_FRAMES_MAX + FRAMES_BEYOND + of_outbox;
        assert!(frames <= max, "violation: {frames} answers wait for a connection, at most {max} may");
        // The answer to a poll is as long as an outbox.
        let max = TRANSMIT_BYTES_MAX + options.outbox_bytes_max + message + REQUEST_HEAD_BYTES_MAX;
        assert!(bytes <= max, "violation: {bytes} bytes of answers wait for a connection, at most {max} may");
    }
    let posted = as_size(shard.counters().receive_bytes_held) - of_connections;
    let max = shard.posted_count() * GROWTH * (message + REQUEST_HEAD_BYTES_MAX);
    assert!(posted <= max, "violation: {} bodies take {posted} bytes", shard.posted_count());
    for (key, session) in shard.all_sessions() {
        let sid = session.sid;
        check_outbox(&session.outbox, options.outbox_bytes_max)
            .unwrap_or_else(|wrong| panic!("violation: the outbox of session {sid}: {wrong}"));
        let unfinished = session.unfinished.as_ref().map_or(0, |unfinished| unfinished.bytes_held());
        let max = GROWTH * as_size(unfinished_bytes_max(options));
        assert!(unfinished <= max, "violation: unfinished packets of session {sid} take {unfinished} bytes");
        let sockets = session.sockets.len();
        assert!(sockets <= SOCKETS_PER_SESSION_MAX, "violation: session {sid} has {sockets} sockets");
        let of_session = shard.all_sockets().filter(|socket| socket.session == key);
        let auth: usize = of_session.filter_map(|socket| socket.auth.as_ref()).map(|auth| auth.len()).sum();
        assert!(auth <= message, "violation: session {sid} has said {auth} bytes of auth");
    }
    for socket in shard.all_sockets() {
        let (sid, owed) = (socket.sid, socket.acks.len());
        assert!(owed <= ACKS_PER_SOCKET_MAX, "violation: socket {sid} owes {owed} acknowledgements");
        if let Presence::Requested(name) = &socket.presence {
            assert!(
                name.len() <= NAMESPACE_NAME_BYTES_MAX,
                "violation: socket {sid} asks for a name of {}",
                name.len()
            );
        }
    }
}

/// What a connection may keep of what it received, in its state. Compression is off in all stories. Bytes.
fn receive_bytes_max(connection: &Connection, options: &Options) -> usize {
    let message = as_size(options.max_http_buffer_size);
    match connection.state {
        State::Head { .. } => GROWTH * REQUEST_HEAD_BYTES_MAX.max(PIPELINED_BYTES_MAX),
        State::Body(_) => GROWTH * message,
        State::Posted { .. } | State::Waiting { .. } => GROWTH * PIPELINED_BYTES_MAX,
        State::Deciding(_) | State::Moving { .. } => {
            GROWTH * (REQUEST_HEAD_BYTES_MAX + as_size(backlog_bytes_max(options)))
        }
        State::WebSocket { .. } => GROWTH * message + UNFINISHED_BYTES,
        State::Closing { .. } => 0,
    }
}

/// Each frame counts with its bytes and some more; one may always wait, however long.
fn check_outbox(outbox: &Outbox, bytes_max: usize) -> Result<(), String> {
    let frames = outbox.frames();
    let bytes: usize = frames.iter().map(|frame| frame.len()).sum();
    if outbox.bytes() != bytes {
        return Err(format!("{bytes} bytes wait, and {} are said", outbox.bytes()));
    }
    let before = frames.len().saturating_sub(1);
    if before > 0 && bytes + before * QUEUED_FRAME_BYTES > bytes_max {
        return Err(format!("{} frames of {bytes} bytes wait, at most {bytes_max} may", frames.len()));
    }
    Ok(())
}

fn as_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
