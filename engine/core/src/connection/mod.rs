//! Floor 1: one TCP connection, from bytes to requests and WebSocket messages.
//!
//! ```text
//!            head complete                      answered
//!   Head ---------------------> Body, Posted / Waiting --> Head       HTTP, keep-alive
//!     |  the application decides first
//!     +-----------------------> Deciding ---------> any of these
//!     |  GET upgrade
//!     +-----------------------> WebSocket ------------> Closing
//!     |  the session lives elsewhere
//!     +-----------------------> Moving ---------------> (the other shard)
//! ```
//! A connection without a half-arrived request or message owns no buffer. Its deadline is absolute per state.

pub mod backlog;
pub mod body;
pub mod decision;
pub mod deflate;
pub mod polled_body;
pub mod request;
pub mod transmit;

use crate::base::id::{FileId, SessionKey, ShardIndex, TimerKey};
use alloc::boxed::Box;
use alloc::vec::Vec;
use backlog::Backlog;
use body::Body;
use core::net::SocketAddr;
use decision::Deciding;
use deflate::Deflate;
use ringio_codec::http::ContentEncoding;
use ringio_codec::websocket::Receiver;
use transmit::Transmit;

/// One TCP connection.
#[derive(Debug)]
pub struct Connection {
    /// The driver's name for it.
    pub file: FileId,
    /// The peer, unless the transport has none.
    pub address: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// Where it stands.
    pub state: State,
    /// Its deadline in the present state.
    pub timer: Option<TimerKey>,
    /// What waits to be sent, besides the session's outbox.
    pub transmit: Transmit,
}

/// Where a connection stands.
#[derive(Debug)]
pub enum State {
    /// Reads a request head; `rest` is what has arrived of it (empty, without memory, between requests).
    Head {
        /// The head's first bytes.
        rest: Vec<u8>,
    },
    /// Reads the body of a POST.
    Body(Box<Body>),
    /// The packets of its POST are many and are being taken; the answer follows.
    Posted {
        /// What arrived behind the body.
        rest: Vec<u8>,
    },
    /// A request waits for the application's verdict.
    Deciding(Box<Deciding>),
    /// A GET waits for packets of its session.
    Waiting {
        /// Whose packets.
        session: SessionKey,
        /// Whether the connection stays open after the answer.
        keep_alive: bool,
        /// How the client would have the answer compressed.
        encoding: Option<ContentEncoding>,
        /// What arrived behind the request.
        rest: Vec<u8>,
        /// Header lines for the answer.
        fields: Box<[u8]>,
    },
    /// Speaks WebSocket for a session: its transport, or probing to become it.
    WebSocket {
        /// Whose.
        session: SessionKey,
        /// Holds a half-arrived message.
        receiver: Receiver,
        /// If permessage-deflate was agreed on.
        deflate: Option<Box<Deflate>>,
        /// The peer has ended it, or broken it; what came before that is being handled.
        ending: Option<Ending>,
    },
    /// Has said or will say FIN once everything is sent, and waits for the peer's; what still arrives is dropped.
    Closing {
        /// Of what arrived: up to a bound, so that a peer in the middle of an upload hears why.
        dropped_bytes: u64,
    },
    /// On its way to the shard of its session; `rest` is the request and what follows it.
    Moving {
        /// Where to.
        target: ShardIndex,
        /// Bytes for the other shard.
        backlog: Backlog,
    },
}

/// How the peer has ended a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a close frame with this payload: nothing, or code and reason.
    Closed(Box<[u8]>),
    /// By breaking RFC 6455 or 7692; it hears this code.
    Failed(u16),
}

impl Connection {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn new(file: FileId, address: Option<SocketAddr>, is_secure: bool) -> Self {
        let state = State::Head { rest: Vec::new() };
        Self { file, address, is_secure, state, timer: None, transmit: Transmit::default() }
    }

    /// Bytes of unfinished requests and messages held for it.
    #[must_use]
    pub fn receive_bytes_held(&self) -> usize {
        match &self.state {
            State::Head { rest } | State::Posted { rest } | State::Waiting { rest, .. } => rest.capacity(),
            State::Moving { backlog, .. } => backlog.capacity(),
            State::Body(body) => body.capacity(),
            State::Deciding(deciding) => deciding.capacity(),
            State::WebSocket { receiver, deflate, .. } => {
                receiver.held_bytes() + deflate.as_ref().map_or(0, |deflate| deflate.context_bytes())
            }
            State::Closing { .. } => 0,
        }
    }
}

const _: () = assert!(size_of::<Connection>() <= 176, "a million connections: every byte is a megabyte");
