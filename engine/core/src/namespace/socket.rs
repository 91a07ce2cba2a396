//! One session's presence in a namespace.
//!
//! ```text
//!   Requested --enter--> Entering --accept--> Joined --any close--> Leaving --disconnecting, disconnect--> released
//!       +---------------------+----refuse, or the client leaves---------------------------------> released
//! ```

use super::ack::Acks;
use crate::base::id::{NamespaceId, SessionKey};
use crate::base::seed::Sid;
use crate::broadcast::recovery::Recoverable;
use crate::door::{DisconnectReason, HandshakeRequest};
use crate::room::Memberships;
use alloc::boxed::Box;
use alloc::sync::Arc;

/// A socket.
#[derive(Debug)]
pub struct Socket {
    /// Its name, another one than its session's.
    pub sid: Sid,
    /// The session it belongs to.
    pub session: SessionKey,
    /// Where it stands.
    pub presence: Presence,
    /// Its rooms, besides the one of its own id.
    pub memberships: Memberships,
    /// It has left the room of its own id.
    pub has_left_own_room: bool,
    /// It is out of its namespace and rooms; only the application is still being told.
    pub has_left_everything: bool,
    /// The application wants to hear what is sent to it.
    pub hears_outgoing: bool,
    /// How its client may come back, if recovery is on.
    pub recovery: Option<Box<Recoverable>>,
    /// The auth payload of its CONNECT, raw JSON.
    pub auth: Option<Box<str>>,
    /// The first request of its session; outlives the session for the disconnect handlers.
    pub handshake: Arc<HandshakeRequest>,
    /// What the client owes.
    pub acks: Acks,
}

/// Where a socket stands.
#[derive(Debug)]
pub enum Presence {
    /// The application has not yet decided; the namespace asked for.
    Requested(Box<str>),
    /// The namespace exists; middleware decides. It may join rooms and be emitted to, broadcasts do not reach it.
    Entering(NamespaceId),
    /// In the namespace.
    Joined(NamespaceId),
    /// Gone as far as the client is concerned; the application is being told.
    Leaving(NamespaceId, DisconnectReason),
}

impl Socket {
    /// The namespace it is in, also while it enters or leaves.
    #[must_use]
    pub const fn namespace(&self) -> Option<NamespaceId> {
        match self.presence {
            Presence::Entering(namespace) | Presence::Joined(namespace) | Presence::Leaving(namespace, _) => {
                Some(namespace)
            }
            Presence::Requested(_) => None,
        }
    }

    /// Whether it may join rooms.
    #[must_use]
    pub const fn has_rooms(&self) -> bool {
        matches!(self.presence, Presence::Entering(_) | Presence::Joined(_))
    }

    /// Whether it takes events.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        matches!(self.presence, Presence::Joined(_))
    }
}

const _: () = assert!(size_of::<Socket>() <= 160, "a million sockets: every byte is a megabyte");
