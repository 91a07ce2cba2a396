//! Which rooms exist on the whole server, for those who want to hear of them.
//!
//! ```text
//!   every shard   from the moment of watching: its rooms and how many are in each, once; then each join and leave
//!   first shard   adds up:  0 -> 1 members   created, joined        1 -> 0 members   left, deleted
//! ```
//! A room is created once and deleted once, however many shards have members of it. Until every shard has said what it
//! had when the watching began, nothing is told: what one shard takes for the first member may be another's second.
//! What a shard says before that is in its first word already.

use crate::base::id::ShardIndex;
use crate::base::seed::Sid;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What happened to a room of the server, in the order in which it happened: a socket joins a room that has been created,
/// and a room is deleted that the last one has left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum RoomChange {
    /// The room exists: somebody is about to join it.
    Created { room: Arc<str> },
    /// The socket has joined it.
    Joined { room: Arc<str>, socket: Sid },
    /// The socket has left it.
    Left { room: Arc<str>, socket: Sid },
    /// Nobody is in it any more.
    Deleted { room: Arc<str> },
}

/// A socket of one shard joins or leaves a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomStep {
    /// The room.
    pub room: Arc<str>,
    /// The socket.
    pub socket: Sid,
    /// Whether it joins.
    pub is_join: bool,
}

/// The members of every room of one namespace, over all shards.
#[derive(Debug)]
pub struct Census {
    has_reported: Vec<bool>,
    members: HashMap<Arc<str>, u32, FixedState>,
    early: VecDeque<RoomStep>,
}

impl Census {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(shard_count: u16, hash: FixedState) -> Self {
        let has_reported = alloc::vec![false; usize::from(shard_count)];
        Self { has_reported, members: HashMap::with_hasher(hash), early: VecDeque::new() }
    }

    /// A shard says which rooms it has, with the number of their members.
    pub fn report(&mut self, shard: ShardIndex, rooms: Vec<(Arc<str>, u32)>, mut each: impl FnMut(RoomChange)) {
        let Some(has_reported) = self.has_reported.get_mut(usize::from(shard.0)) else { return };
        if core::mem::replace(has_reported, true) {
            return;
        }
        for (room, count) in rooms {
            *self.members.entry(room).or_insert(0) += count;
        }
        if self.is_complete() {
            for step in core::mem::take(&mut self.early) {
                self.apply(step, &mut each);
            }
        }
    }

    /// A socket of a shard has joined or left a room.
    pub fn step(&mut self, shard: ShardIndex, step: RoomStep, mut each: impl FnMut(RoomChange)) {
        if self.has_reported.get(usize::from(shard.0)) != Some(&true) {
            return;
        }
        if self.is_complete() {
            self.apply(step, &mut each);
        } else {
            self.early.push_back(step);
        }
    }

    /// Gives back memory that no room needs.
    pub fn shrink(&mut self) {
        self.members.shrink_to_fit();
    }

    fn is_complete(&self) -> bool {
        self.has_reported.iter().all(|has_reported| *has_reported)
    }

    fn apply(&mut self, RoomStep { room, socket, is_join }: RoomStep, each: &mut impl FnMut(RoomChange)) {
        if is_join {
            let count = self.members.entry(Arc::clone(&room)).or_insert(0);
            *count += 1;
            if *count == 1 {
                each(RoomChange::Created { room: Arc::clone(&room) });
            }
            return each(RoomChange::Joined { room, socket });
        }
        each(RoomChange::Left { room: Arc::clone(&room), socket });
        let Some(count) = self.members.get_mut(&room) else {
            debug_assert!(false, "who leaves a room was counted");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.members.remove(&room);
            if self.members.is_empty() {
                self.members.shrink_to_fit();
            }
            each(RoomChange::Deleted { room });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::seed::Seed;
    use alloc::format;
    use alloc::string::String;

    struct Story {
        census: Census,
        socket: Sid,
        told: Vec<String>,
    }

    impl Story {
        fn new(shard_count: u16) -> Self {
            let socket = Seed::new([1; 32], ShardIndex(0)).next_sid();
            Self { census: Census::new(shard_count, FixedState::default()), socket, told: Vec::new() }
        }

        fn report(&mut self, shard: u16, rooms: &[(&str, u32)]) {
            let rooms = rooms.iter().map(|(room, count)| (Arc::from(*room), *count)).collect();
            self.census.report(ShardIndex(shard), rooms, |change| self.told.push(words(&change)));
        }

        fn step(&mut self, shard: u16, room: &str, is_join: bool) {
            let step = RoomStep { room: Arc::from(room), socket: self.socket, is_join };
            self.census.step(ShardIndex(shard), step, |change| self.told.push(words(&change)));
        }

        fn told(&mut self) -> String {
            core::mem::take(&mut self.told).join(" ")
        }
    }

    fn words(change: &RoomChange) -> String {
        match change {
            RoomChange::Created { room } => format!("+{room}"),
            RoomChange::Joined { room, .. } => format!("in:{room}"),
            RoomChange::Left { room, .. } => format!("out:{room}"),
            RoomChange::Deleted { room } => format!("-{room}"),
        }
    }

    #[test]
    fn a_room_is_created_and_deleted_once_for_all_shards() {
        let mut story = Story::new(2);
        story.report(0, &[]);
        story.report(1, &[]);
        story.step(0, "a", true);
        story.step(1, "a", true);
        story.step(0, "a", false);
        story.step(1, "a", false);
        story.step(1, "a", true);
        assert_eq!(story.told(), "+a in:a in:a out:a out:a -a +a in:a");
    }

    #[test]
    fn what_was_there_before_is_not_created_again() {
        let mut story = Story::new(2);
        story.step(0, "unheard", true);
        story.report(0, &[("unheard", 1)]);
        story.step(0, "a", true);
        assert_eq!(story.told(), "", "the other shard may have members of it");
        story.report(1, &[("a", 2)]);
        story.report(1, &[("b", 2)]);
        assert_eq!(story.told(), "in:a");
        for shard in [0, 1, 1] {
            story.step(shard, "a", false);
        }
        story.step(0, "unheard", false);
        assert_eq!(story.told(), "out:a out:a out:a -a out:unheard -unheard");
        assert!(story.census.members.is_empty());
    }
}
