//! Who is in which room and what was said there last, shared by all shards.

use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Messages kept of one room.
const MESSAGES_MAX: usize = 50;
/// Empty rooms whose messages are kept; whoever opens more finds them without history.
const EMPTY_ROOMS_MAX: usize = 1_000;

#[derive(Clone, Serialize)]
pub(crate) struct Message {
    from: String,
    text: String,
    /// Milliseconds of Unix time.
    at: u64,
}

impl Message {
    /// Said now.
    #[expect(clippy::disallowed_methods, reason = "the clock is kept from the engine, not from applications")]
    pub(crate) fn new(from: String, text: String) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { from, text, at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}

#[derive(Default)]
struct Room {
    /// Socket ids and names. Two windows may have the same name.
    members: Vec<(String, String)>,
    history: VecDeque<Message>,
}

#[derive(Default)]
pub(crate) struct Rooms(Mutex<HashMap<String, Room>>);

impl Rooms {
    pub(crate) fn enter(&self, room: &str, id: &str, name: &str) {
        self.lock().entry(room.to_owned()).or_default().members.push((id.to_owned(), name.to_owned()));
    }

    pub(crate) fn leave(&self, room: &str, id: &str) {
        let mut rooms = self.lock();
        let Some(left) = rooms.get_mut(room) else { return };
        left.members.retain(|(member, _)| member != id);
        let is_over = left.members.is_empty() && (left.history.is_empty() || rooms.len() > EMPTY_ROOMS_MAX);
        if is_over {
            rooms.remove(room);
        }
    }

    /// The names in a room, sorted.
    pub(crate) fn members(&self, room: &str) -> Vec<String> {
        let rooms = self.lock();
        let members = rooms.get(room).into_iter().flat_map(|room| &room.members);
        let mut names: Vec<String> = members.map(|(_, name)| name.clone()).collect();
        names.sort();
        names
    }

    pub(crate) fn say(&self, room: &str, message: &Message) {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(room) else { return };
        if room.history.len() == MESSAGES_MAX {
            room.history.pop_front();
        }
        room.history.push_back(message.clone());
    }

    pub(crate) fn history(&self, room: &str) -> Vec<Message> {
        self.lock().get(room).into_iter().flat_map(|room| &room.history).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
