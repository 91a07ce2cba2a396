//! Floor 2: one Engine.IO session, which outlives the connections it talks over.
//!
//! ```text
//!   open on a GET ---> Polling --- probe, upgrade ---> WebSocket <--- open on a WebSocket
//!                         |                               |
//!                         +--> closing (a last poll) -----+--> closed: out of every table
//! ```
//! A session answers its packets with what they mean ([`packet::Found`]); what follows from that is carried on by `shard/`.

pub mod dialect;
pub mod handshake;
pub mod hearing;
pub mod heartbeat;
pub mod outbox;
pub mod packet;
pub mod upgrade;

use crate::base::id::{ConnectionKey, SocketKey, TimerKey};
use crate::base::seed::Sid;
use crate::door::{DisconnectReason, HandshakeRequest, Transport};
use crate::namespace::assembly::Unfinished;
use alloc::boxed::Box;
use alloc::sync::Arc;
use dialect::Dialect;
use hearing::Hearing;
use heartbeat::Heartbeat;
use outbox::Outbox;
use smallvec::SmallVec;
use upgrade::Upgrade;

/// One Engine.IO client.
#[derive(Debug)]
pub struct Session {
    /// Its name; tells which shard it lives on.
    pub sid: Sid,
    /// Whether it takes packets.
    pub state: State,
    /// How it talks.
    pub link: Link,
    /// A WebSocket that probes to become its transport.
    pub upgrade: Option<Upgrade>,
    /// What waits for the transport.
    pub outbox: Outbox,
    /// Pings and pongs.
    pub heartbeat: Heartbeat,
    /// What its client wants otherwise; `None` for revision 4.
    pub dialect: Option<Box<Dialect>>,
    /// Its first request.
    pub handshake: Arc<HandshakeRequest>,
    /// Its sockets, joined or asked for.
    pub sockets: SmallVec<[SocketKey; 1]>,
    /// A packet of which something is missing, such as attachments.
    pub unfinished: Option<Box<Unfinished>>,
    /// Runs until a namespace is joined; afterwards until the last poll of a closing session.
    pub timer: Option<TimerKey>,
    /// The session is in the shard's list of those to flush.
    pub is_dirty: bool,
    /// What the application wants to hear of it.
    pub hearing: Hearing,
}

/// Whether a session takes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Open,
    /// Its sockets are gone; the next GET fetches what is left and the close packet.
    Closing,
    /// The client has closed it by a POST. A GET it sent before, on another connection, may still be on its way:
    /// it is answered with a noop, as one that had been waiting.
    Closed,
}

/// How a session talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// By requests.
    Polling {
        /// The GET that waits for packets.
        waiting: Option<ConnectionKey>,
        /// The POST whose body is arriving.
        posting: Option<ConnectionKey>,
    },
    /// By one WebSocket.
    WebSocket(ConnectionKey),
}

impl Session {
    /// Whether the client speaks revision 3 of Engine.IO, hence revision 4 of Socket.IO.
    #[must_use]
    pub fn is_protocol_3(&self) -> bool {
        self.dialect.as_ref().is_some_and(|dialect| dialect.is_protocol_3)
    }

    /// Whether what is queued may not be sent yet.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.dialect.as_ref().is_some_and(|dialect| dialect.is_held)
    }

    /// How it talks, as the application sees it.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self.link {
            Link::Polling { .. } => Transport::Polling,
            Link::WebSocket(_) => Transport::WebSocket,
        }
    }

    /// The reason Node gives when the server itself closes this session: at once if the transport can be told now, later otherwise.
    #[must_use]
    pub const fn forced_close_reason(&self) -> DisconnectReason {
        match self.link {
            Link::Polling { waiting: None, .. } => DisconnectReason::ForcedServerClose,
            _ => DisconnectReason::ForcedClose,
        }
    }
}

const _: () = assert!(size_of::<Session>() <= 224, "a million sessions: every byte is a megabyte");
