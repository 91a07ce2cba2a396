//! What the application may read.

use super::Shard;
use crate::base::id::{NamespaceId, SessionKey, ShardIndex, SocketKey};
use crate::base::seed::Sid;
use crate::door::{Counters, DisconnectReason, HandshakeRequest, SocketDescription, Transport};
use crate::namespace::socket::Presence;
use crate::session::State as SessionState;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Shard {
    /// The name a requested socket asked for, with its leading slash.
    #[must_use]
    pub fn requested_namespace(&self, socket: SocketKey) -> Option<&str> {
        match &self.sockets.get(socket)?.presence {
            Presence::Requested(name) => Some(name),
            Presence::Entering(_) | Presence::Joined(_) | Presence::Leaving(..) => None,
        }
    }

    /// The namespace of an accepted socket, also while it leaves.
    #[must_use]
    pub fn namespace_of(&self, socket: SocketKey) -> Option<NamespaceId> {
        self.sockets.get(socket)?.namespace()
    }

    /// The id that peers know.
    #[must_use]
    pub fn socket_id(&self, socket: SocketKey) -> Option<Sid> {
        Some(self.sockets.get(socket)?.sid)
    }

    /// The joined socket with this id.
    #[must_use]
    pub fn socket_by_id(&self, namespace: NamespaceId, id: &str) -> Option<SocketKey> {
        let key = *self.socket_ids.get(&Sid::parse(id)?)?;
        (self.sockets.get(key)?.namespace() == Some(namespace)).then_some(key)
    }

    /// Accepted and not leaving; still true in handlers of `disconnecting`, as in Node.
    #[must_use]
    pub fn is_connected(&self, socket: SocketKey) -> bool {
        self.sockets.get(socket).is_some_and(crate::namespace::socket::Socket::is_joined)
            || self.is_disconnecting(socket)
    }

    /// Whether the application hears what this socket has said. Besides those that are connected: one whose client said something that cannot
    /// be read behind it and is told with its next poll, as in Node, where the socket stays until then. One look-up for one that is connected, three for others.
    #[must_use]
    pub fn is_heard(&self, socket: SocketKey) -> bool {
        self.is_connected(socket)
            || self.sockets.get(socket).is_some_and(|socket| {
                matches!(socket.presence, Presence::Leaving(_, DisconnectReason::ForcedClose))
                    && self.sessions.get(socket.session).is_some_and(|session| session.state == SessionState::Closing)
            })
    }

    /// The first request of its session.
    #[must_use]
    pub fn handshake(&self, socket: SocketKey) -> Option<Arc<HandshakeRequest>> {
        Some(Arc::clone(&self.sockets.get(socket)?.handshake))
    }

    /// The auth payload, a raw JSON object; `None` if the client sent none.
    #[must_use]
    pub fn auth(&self, socket: SocketKey) -> Option<&[u8]> {
        self.sockets.get(socket)?.auth.as_deref().map(str::as_bytes)
    }

    /// The session that the socket belongs to.
    #[must_use]
    pub fn session_of(&self, socket: SocketKey) -> Option<SessionKey> {
        Some(self.sockets.get(socket)?.session)
    }

    /// How its session talks now; `None` when the session is gone.
    #[must_use]
    pub fn transport(&self, socket: SocketKey) -> Option<Transport> {
        Some(self.sessions.get(self.session_of(socket)?)?.transport())
    }

    /// The session's sid.
    #[must_use]
    pub fn session_id(&self, socket: SocketKey) -> Option<Sid> {
        Some(self.sessions.get(self.session_of(socket)?)?.sid)
    }

    /// Bytes that wait for the socket's client.
    #[must_use]
    pub fn outbox_bytes(&self, socket: SocketKey) -> Option<usize> {
        Some(self.sessions.get(self.session_of(socket)?)?.outbox.bytes())
    }

    /// Calls `each` with every room of the socket, its own id first.
    pub fn for_each_room(&self, socket: SocketKey, each: &mut dyn FnMut(&str)) {
        let Some(socket) = self.sockets.get(socket) else { return };
        if !socket.has_left_own_room && matches!(socket.presence, Presence::Joined(_) | Presence::Leaving(..)) {
            each(socket.sid.as_str());
        }
        if let Some(namespace) = socket.namespace().and_then(|id| self.namespace(id)) {
            namespace.rooms.names_of(&socket.memberships).for_each(each);
        }
    }

    /// What the core itself knows of a socket; `data` is left empty for the application to fill.
    #[must_use]
    pub fn describe(&self, key: SocketKey) -> Option<SocketDescription> {
        let socket = self.sockets.get(key)?;
        let mut rooms = Vec::with_capacity(socket.memberships.len() + 1);
        self.for_each_room(key, &mut |room| rooms.push(String::from(room)));
        Some(SocketDescription {
            id: socket.sid,
            rooms,
            handshake: Arc::clone(&socket.handshake),
            auth: socket.auth.as_deref().unwrap_or_default().as_bytes().into(),
            data: Vec::new(),
        })
    }

    /// Sockets of the namespace on this shard.
    #[must_use]
    pub fn socket_count(&self, namespace: NamespaceId) -> usize {
        self.namespace(namespace).map_or(0, |namespace| namespace.everyone.len())
    }

    /// Sessions of this shard.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Connections of this shard.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Places of the queue to the application, used or not.
    #[must_use]
    pub fn event_capacity(&self) -> usize {
        self.events.capacity()
    }

    /// This shard.
    #[must_use]
    pub fn index(&self) -> ShardIndex {
        self.index
    }

    /// Shards of this server.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// Unix time of this turn. Milliseconds.
    #[must_use]
    pub fn unix_time_ms(&self) -> u64 {
        self.unix_time_ms + self.now.as_millis()
    }

    /// What has been counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let receive_bytes_held =
            self.connections.iter().map(|(_, connection)| connection.receive_bytes_held() as u64).sum::<u64>()
                + self.posts.iter().map(|post| post.capacity() as u64).sum::<u64>();
        Counters {
            joins_made: self.joiner.made,
            joins_shared: self.joiner.shared,
            deflates_made: self.deflate.made,
            deflates_shared: self.deflate.shared,
            bodies_compressed: self.bodies.made,
            bodies_shared: self.bodies.shared,
            messages_inflated: self.deflate.inflated,
            receive_bytes_held,
            connections_now: self.connections.len() as u64,
            sessions_now: self.sessions.len() as u64,
            sockets_now: self.sockets.len() as u64,
            rooms_now: self.namespaces.iter().map(|namespace| namespace.rooms.len() as u64).sum(),
            timers_now: self.wheel.len() as u64,
            questions_now: (self.questions.len() + self.fetches.len()) as u64,
            ..self.counters
        }
    }
}
