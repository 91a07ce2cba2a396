//! Who listens for rooms that are created, joined, left and deleted: Node's adapter events.

use crate::Namespace;
use crate::application::{App, ShardApplication};
use crate::listener::ListenerId;
use crate::shared::Shared;
use parking_lot::RwLock;
use ringio_core::base::id::NamespaceId;
use ringio_core::room::census::RoomChange;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// What is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    Create,
    Join,
    Leave,
    Delete,
}

/// Called with the room and, where there is one, the socket's id.
type RoomHandler = Arc<dyn Fn(&str, &str) + Send + Sync>;

#[derive(Clone)]
struct Listener {
    id: ListenerId,
    occasion: Occasion,
    handler: RoomHandler,
}

/// By namespace, in the order in which they were added.
#[derive(Default)]
pub(crate) struct RoomListeners(RwLock<HashMap<NamespaceId, Vec<Listener>>>);

impl RoomListeners {
    /// Forgets all of a namespace that has been removed; whether there were any.
    pub(crate) fn remove_namespace(&self, namespace: NamespaceId) -> bool {
        let removed = self.0.write().remove(&namespace);
        removed.is_some()
    }

    /// Forgets all: they may own the server that owns them.
    pub(crate) fn clear(&self) {
        let removed = std::mem::take(&mut *self.0.write());
        drop(removed);
    }

    fn remove(&self, namespace: NamespaceId, id: ListenerId) {
        // Dropped after the lock: handlers are the user's, and may use the server when dropped.
        let removed: Vec<Listener> = match self.0.write().get_mut(&namespace) {
            Some(listeners) => listeners.extract_if(.., |listener| listener.id == id).collect(),
            None => Vec::new(),
        };
        drop(removed);
    }

    fn matching(&self, namespace: NamespaceId, occasion: Occasion) -> Vec<RoomHandler> {
        let listeners = self.0.read();
        let of_namespace = listeners.get(&namespace).map_or(&[][..], Vec::as_slice);
        of_namespace
            .iter()
            .filter(|listener| listener.occasion == occasion)
            .map(|listener| Arc::clone(&listener.handler))
            .collect()
    }
}

impl Namespace {
    /// Calls `listener` with the name of every room of this namespace that comes into being on this server, which is before
    /// its first socket joins; the room of a socket's own id too. Node's adapter event `create-room`.
    ///
    /// The four room events come in the order in which things happened, on the thread of the first shard, soon after they
    /// happened: at once after the handler that joined, or a message later if that was on another shard. A room exists
    /// once for all shards. Rooms that exist when the first listener is added are not created again. Without listeners
    /// nothing is counted; from the first one on, each join and leave of the namespace is, as long as the namespace is
    /// there. A listener must not block; a panic is logged.
    ///
    /// ```no_run
    /// # let io = ringio::Server::new();
    /// io.on_create_room(|room| println!("{room} exists"));
    /// io.on_join_room(|room, id| println!("{id} is in {room}"));
    /// io.on_leave_room(|room, id| println!("{id} is not in {room} any more"));
    /// let listener = io.on_delete_room(|room| println!("{room} exists no longer"));
    /// io.off_room(listener);
    /// ```
    pub fn on_create_room(&self, listener: impl Fn(&str) + Send + Sync + 'static) -> ListenerId {
        self.listen_to_rooms(Occasion::Create, Arc::new(move |room, _| listener(room)))
    }

    /// Calls `listener` with room and socket id for every socket that joins a room; the room of its own id too. Node's
    /// `join-room`; see [`Namespace::on_create_room`].
    pub fn on_join_room(&self, listener: impl Fn(&str, &str) + Send + Sync + 'static) -> ListenerId {
        self.listen_to_rooms(Occasion::Join, Arc::new(listener))
    }

    /// Calls `listener` with room and socket id for every socket that leaves a room, also because it disconnects. Node's
    /// `leave-room`; see [`Namespace::on_create_room`].
    pub fn on_leave_room(&self, listener: impl Fn(&str, &str) + Send + Sync + 'static) -> ListenerId {
        self.listen_to_rooms(Occasion::Leave, Arc::new(listener))
    }

    /// Calls `listener` with the name of every room whose last socket on this server has left it. Node's `delete-room`; see
    /// [`Namespace::on_create_room`].
    pub fn on_delete_room(&self, listener: impl Fn(&str) + Send + Sync + 'static) -> ListenerId {
        self.listen_to_rooms(Occasion::Delete, Arc::new(move |room, _| listener(room)))
    }

    /// Removes a listener of rooms.
    pub fn off_room(&self, listener: ListenerId) {
        self.shared().rooms.remove(self.id(), listener);
    }

    fn listen_to_rooms(&self, occasion: Occasion, handler: RoomHandler) -> ListenerId {
        let id = self.shared().registry.next_listener();
        self.shared().rooms.0.write().entry(self.id()).or_default().push(Listener { id, occasion, handler });
        self.shared().watch_rooms();
        id
    }
}

impl Shared {
    /// Somebody listens: every shard that runs has to count.
    fn watch_rooms(&self) {
        for shard in 0..self.settings.shard_count {
            // A shard that does not run yet looks when it starts.
            let _ = self.inject(shard, |ShardApplication(app)| app.watch_rooms());
        }
    }

    /// The same once more for who listened while the shards were starting.
    pub(crate) fn check_rooms(&self) {
        if !self.rooms.0.read().is_empty() {
            self.watch_rooms();
        }
    }
}

impl App {
    /// Counts in the namespaces whose rooms somebody listens for.
    pub(crate) fn watch_rooms(&self) {
        let namespaces: Vec<NamespaceId> = self.shared.rooms.0.read().keys().copied().collect();
        for namespace in namespaces {
            self.with_core(|core| core.watch_rooms(namespace));
        }
    }

    /// A room was created, joined, left or deleted.
    pub(crate) fn handle_room(self: &Rc<Self>, namespace: NamespaceId, change: &RoomChange) {
        let (occasion, room, socket) = match change {
            RoomChange::Created { room } => (Occasion::Create, room, ""),
            RoomChange::Joined { room, socket } => (Occasion::Join, room, socket.as_str()),
            RoomChange::Left { room, socket } => (Occasion::Leave, room, socket.as_str()),
            RoomChange::Deleted { room } => (Occasion::Delete, room, ""),
        };
        for handler in self.shared.rooms.matching(namespace, occasion) {
            self.guard("a listener of rooms panicked", || handler(room, socket));
        }
    }
}
