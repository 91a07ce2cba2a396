//! Rooms that somebody watches: each join and leave of a shard goes to the first one, which adds up.
//!
//! Nobody watches: one test of an empty list per join and leave.

use super::Shard;
use crate::base::id::{NamespaceId, ShardIndex, SocketKey};
use crate::base::seed::Sid;
use crate::door::{Event, PeerMessage};
use crate::room::census::{Census, RoomChange, RoomStep};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use foldhash::fast::FixedState;

/// The shard that adds up, and whose application hears of it.
const COUNTING_SHARD: ShardIndex = ShardIndex(0);

impl Shard {
    /// Watches the rooms of a namespace, own-id rooms included: `Event::RoomChanged` comes on the first shard for what happens
    /// from now on. To be called on every shard; a second time does nothing.
    pub fn watch_rooms(&mut self, namespace: NamespaceId) {
        if self.watched.contains(&namespace) {
            return;
        }
        self.watched.push(namespace);
        let mut rooms: BTreeMap<String, u32> = BTreeMap::new();
        let members: Vec<SocketKey> = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.namespace() == Some(namespace))
            .map(|(key, _)| key)
            .collect();
        for key in members {
            self.for_each_room(key, &mut |room| *rooms.entry(String::from(room)).or_insert(0) += 1);
        }
        let rooms = rooms.into_iter().map(|(room, count)| (Arc::from(room), count)).collect();
        if self.index == COUNTING_SHARD {
            self.take_room_report(self.index, namespace, rooms);
        } else {
            self.peer_messages.push_back((COUNTING_SHARD, PeerMessage::RoomsAre { namespace, rooms }));
        }
    }

    /// Nobody watches any more, or the namespace has been removed.
    pub fn unwatch_rooms(&mut self, namespace: NamespaceId) {
        self.watched.retain(|watched| *watched != namespace);
        self.censuses.remove(&namespace);
    }

    /// A socket has joined or left a room.
    #[inline]
    pub(super) fn note_room(&mut self, namespace: NamespaceId, room: &str, socket: Sid, is_join: bool) {
        if !self.watched.is_empty() && self.watched.contains(&namespace) {
            let step = RoomStep { room: Arc::from(room), socket, is_join };
            if self.index == COUNTING_SHARD {
                self.take_room_step(self.index, namespace, step);
            } else {
                self.peer_messages.push_back((COUNTING_SHARD, PeerMessage::RoomStep { namespace, step }));
            }
        }
    }

    /// The rooms that a socket is about to leave, if somebody wants to hear of it.
    pub(super) fn watched_rooms_of(&self, key: SocketKey, namespace: NamespaceId) -> Vec<String> {
        let mut rooms = Vec::new();
        if self.watched.contains(&namespace) {
            self.for_each_room(key, &mut |room| rooms.push(String::from(room)));
        }
        rooms
    }

    pub(super) fn take_room_report(&mut self, from: ShardIndex, namespace: NamespaceId, rooms: Vec<(Arc<str>, u32)>) {
        let census = self.censuses.entry(namespace).or_insert_with(|| {
            // Looked up by name only, never walked through, so its order does not matter; names may be the clients'.
            Census::new(self.shard_count, FixedState::with_seed(self.seed.next_u64()))
        });
        let events = &mut self.events;
        census.report(from, rooms, |change| events.push_back(changed(namespace, change)));
    }

    pub(super) fn take_room_step(&mut self, from: ShardIndex, namespace: NamespaceId, step: RoomStep) {
        let Some(census) = self.censuses.get_mut(&namespace) else { return };
        let events = &mut self.events;
        census.step(from, step, |change| events.push_back(changed(namespace, change)));
    }
}

const fn changed(namespace: NamespaceId, change: RoomChange) -> Event {
    Event::RoomChanged { namespace, change }
}
