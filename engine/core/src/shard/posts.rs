//! Long bodies of POSTs, taken a piece per turn.
//!
//! ```text
//!   body whole --short--> its packets are taken, its answer follows                  inbound.rs
//!        \------long----> Post: [ piece | piece | ... ]  one piece per turn ------> the answer, behind the last
//! ```
//! A body may hold a hundred thousand packets: taken at once they are a tenth of a second in which nobody else is heard. So no more than
//! [`POSTED_PACKETS_PER_TURN`] of one body are taken in a turn, nor more than [`POSTED_BYTES_PER_TURN`] and the packet in which they end. The client hears `ok` when all is taken
//! or its session has ended, and sends its next POST then; one that does not wait for that overlaps, as one whose body has not arrived does. Whose
//! connection ends meanwhile has sent its packets all the same. Bodies of revision 3 are taken whole: their packets have no separator to cut at.

use super::Shard;
use super::requests::NO_XSS_FILTER;
use crate::base::id::{ConnectionKey, SessionKey};
use crate::base::time::Time;
use crate::connection::State;
use crate::connection::body::Body;
use crate::limits::{POSTED_BYTES_PER_TURN, POSTED_PACKETS_PER_TURN, REQUEST_HEAD_DEADLINE_MS};
use crate::session::{Link, Session};
use alloc::string::String;
use alloc::vec::Vec;
use ringio_codec::engineio::payload;

/// A body whose packets are being taken.
#[derive(Debug)]
pub struct Post {
    session: SessionKey,
    connection: ConnectionKey,
    keep_alive: bool,
    /// Header lines for the answer.
    fields: Vec<u8>,
    text: String,
    /// Where the next packet begins.
    at: usize,
}

impl Post {
    /// Bytes reserved.
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity() + self.fields.capacity()
    }
}

/// Where the piece that begins at `at` ends: at a separator, or at the end of the text.
fn piece_end(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    let ends = rest.iter().enumerate().filter(|(_, byte)| **byte == payload::SEPARATOR).map(|(end, _)| end);
    let mut counted = (1..).zip(ends);
    let last = counted.find(|(count, end)| *count == POSTED_PACKETS_PER_TURN || *end >= POSTED_BYTES_PER_TURN);
    last.map_or(text.len(), |(_, end)| at + end)
}

impl Shard {
    /// Whether a body is taken over several turns.
    pub(super) fn is_long_post(text: &str) -> bool {
        // A packet and its separator are two bytes at least.
        text.len() > 2 * POSTED_PACKETS_PER_TURN && {
            let packets = 1 + text.bytes().filter(|byte| *byte == payload::SEPARATOR).count();
            packets > POSTED_PACKETS_PER_TURN || (packets > 1 && text.len() > POSTED_BYTES_PER_TURN)
        }
    }

    /// A long body is whole: its packets are taken from the next turn on.
    pub(super) fn begin_post_pieces(&mut self, key: ConnectionKey, body: &Body, text: String) {
        let mut fields = core::mem::take(&mut self.fields);
        if body.is_old_browser {
            fields.extend_from_slice(NO_XSS_FILTER);
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.state = State::Posted { rest: Vec::new() };
        }
        self.arm_connection(key, REQUEST_HEAD_DEADLINE_MS);
        let (session, keep_alive) = (body.session, body.keep_alive);
        self.posts.push_back(Post { session, connection: key, keep_alive, fields, text, at: 0 });
    }

    /// Whether the body of this connection's POST is one of those: it has its answer, whatever becomes of its session.
    pub(super) fn is_posted(&self, key: ConnectionKey) -> bool {
        self.connections.get(key).is_some_and(|connection| matches!(connection.state, State::Posted { .. }))
    }

    /// Bytes of the session's body that has packets left, if it has one and its connection.
    pub(super) fn posted_bytes(&self, session: &Session) -> usize {
        let Link::Polling { posting: Some(connection), .. } = session.link else { return 0 };
        if !self.is_posted(connection) {
            return 0;
        }
        let mut posts = self.posts.iter();
        posts.find(|post| post.connection == connection).map_or(0, Post::capacity)
    }

    /// Bodies that have packets left.
    #[must_use]
    pub fn posted_count(&self) -> usize {
        self.posts.len()
    }

    /// Takes the next piece of the body that has waited longest; whether there was one. To be asked in each turn once per
    /// [body](Self::posted_count) that there was at its beginning, or less often.
    pub fn handle_post(&mut self, now: Time) -> bool {
        self.advance(now);
        let Some(mut post) = self.posts.pop_front() else { return false };
        let end = piece_end(&post.text, post.at);
        self.take_polled(post.session, payload::decode(&post.text[post.at..end]));
        if end == post.text.len() || !self.takes_packets(post.session) {
            self.finish_post_pieces(post);
            return true;
        }
        post.at = end + 1;
        self.posts.push_back(post);
        true
    }

    /// The session's WebSocket is about to be heard: what is left of a POST that came before is taken now, or it would come behind. That is once in a
    /// session's life, and a client that waits for its answers before it changes its transport, as the official ones do, has nothing left.
    pub(super) fn take_rest_of_post(&mut self, session: SessionKey) {
        let left = self.posts.iter().position(|post| post.session == session);
        let Some(post) = left.and_then(|index| self.posts.remove(index)) else { return };
        self.take_polled(session, payload::decode(&post.text[post.at..]));
        self.finish_post_pieces(post);
    }

    /// All packets are taken, or nobody takes the rest: answers, if somebody still waits for that.
    fn finish_post_pieces(&mut self, post: Post) {
        self.post_is_done(post.session, post.connection);
        let Some(connection) = self.connections.get_mut(post.connection) else { return };
        let State::Posted { rest } = &mut connection.state else { return };
        let rest = core::mem::take(rest);
        let has_rest = !rest.is_empty();
        connection.state = State::Head { rest };
        self.fields = post.fields;
        self.answer_post(post.connection, post.keep_alive);
        if has_rest && post.keep_alive {
            self.resume.push(post.connection);
        }
    }
}
