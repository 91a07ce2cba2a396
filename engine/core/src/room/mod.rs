//! Floor 4, who: the rooms of one namespace on one shard.
//!
//! ```text
//!  Rooms                                                       Memberships, one per socket
//!    names     "lobby" <-> RoomId 0     "news" <-> RoomId 1      slot 3   [0, 1]     joined lobby, then news
//!    members   0 -> {3, 7}              1 -> {3}                 slot 7   [0]
//! ```
//! Two indexes of the same fact: `members` answers a broadcast, `Memberships` answers `socket.rooms` and a disconnect.
//! *Invariant:* a slot is among a room's members exactly if the room is among the memberships of the socket in that
//! slot, and a room without members does not exist. Both sides change in [`Rooms::join`] and `leave*` only.
//!
//! The own-id room of a socket is virtual: its one member is known by its name, so it costs nothing and is never stored
//! (see [`select`]). Others may join a room of that name; then the stored room holds those others.
//!
//! A socket that is still in its middlewares may join rooms before it is connected, so members are not all receivers:
//! whoever delivers asks whether the socket is connected.

pub mod census;
pub mod members;
pub mod names;
pub mod select;

use crate::base::id::RoomId;
use alloc::vec::Vec;
use members::Members;
use names::Names;
use smallvec::SmallVec;

/// Rooms of one socket that need no allocation.
const MEMBERSHIPS_INLINE: usize = 4;

const _: () = assert!(size_of::<Memberships>() == 24);

/// The rooms of one socket, in the order they were joined.
#[derive(Debug, Default)]
pub struct Memberships(SmallVec<[RoomId; MEMBERSHIPS_INLINE]>);

impl Memberships {
    /// In how many rooms the socket is, its own-id room not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the socket is in no room but its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a join did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// There was no such room before.
    pub created: bool,
    /// The socket was not in it before.
    pub joined: bool,
}

/// What a leave did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The socket was in the room.
    pub left: bool,
    /// It was the last, so the room is gone.
    pub deleted: bool,
}

/// The rooms of one namespace on one shard.
#[derive(Debug)]
pub struct Rooms {
    names: Names,
    /// By `RoomId`; empty where the number is free.
    members: Vec<Members>,
}

impl Rooms {
    /// No rooms. `hash_seed` keys the hash of their names (see [`names`]).
    #[must_use]
    pub fn new(hash_seed: u64) -> Self {
        Self { names: Names::new(hash_seed), members: Vec::new() }
    }

    /// Puts the socket in `slot`, whose memberships these are, into the room `name`.
    pub fn join(&mut self, slot: u32, memberships: &mut Memberships, name: &str) -> Joined {
        let (id, created) = self.names.intern(name);
        let index = id.0 as usize;
        if index >= self.members.len() {
            self.members.resize_with(index + 1, Members::default);
        }
        let joined = self.members[index].insert(slot);
        if joined {
            memberships.0.push(id);
        }
        Joined { created, joined }
    }

    /// Takes the socket in `slot` out of the room `name`. Cost: linear in the socket's rooms.
    ///
    /// # Panics
    /// If the indexes disagree, which means that the memberships are not those of `slot`.
    pub fn leave(&mut self, slot: u32, memberships: &mut Memberships, name: &str) -> Left {
        const NOT_IN: Left = Left { left: false, deleted: false };
        let Some(id) = self.names.find(name) else { return NOT_IN };
        let members = &mut self.members[id.0 as usize];
        if !members.remove(slot) {
            return NOT_IN;
        }
        let at = memberships.0.iter().position(|room| *room == id);
        memberships.0.remove(at.expect("who is a member has the membership"));
        let deleted = members.is_empty();
        if deleted {
            self.names.release(id);
            self.trim();
        }
        Left { left: true, deleted }
    }

    /// Takes the socket in `slot` out of every room, in the order of joining; tells for each its name and whether it
    /// is gone with its last member.
    ///
    /// # Panics
    /// If the indexes disagree, which means that the memberships are not those of `slot`.
    pub fn leave_all(&mut self, slot: u32, memberships: &mut Memberships, mut on_left: impl FnMut(&str, bool)) {
        for id in core::mem::take(&mut memberships.0) {
            #[cfg(ringio_planted)]
            if crate::base::planted::is(crate::base::planted::Bug::RoomNotLeft) && self.members[id.0 as usize].len() > 2
            {
                continue;
            }
            let members = &mut self.members[id.0 as usize];
            assert!(members.remove(slot), "who has the membership is a member");
            if members.is_empty() {
                on_left(&self.names.release(id), true);
            } else {
                on_left(self.names.name(id), false);
            }
        }
        self.trim();
    }

    /// The names of a socket's rooms in the order of joining, without its own-id room.
    pub fn names_of<'a>(&'a self, memberships: &'a Memberships) -> impl ExactSizeIterator<Item = &'a str> {
        memberships.0.iter().map(|id| self.names.name(*id))
    }

    /// Who is in the room `name`; `None` if there is no such room.
    #[must_use]
    pub fn members(&self, name: &str) -> Option<&Members> {
        self.names.find(name).map(|id| self.members_of(id))
    }

    /// Number of rooms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names of all rooms, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(_, name)| name)
    }

    fn members_of(&self, id: RoomId) -> &Members {
        &self.members[id.0 as usize]
    }

    /// Gives memory back when the last room is gone.
    fn trim(&mut self) {
        if self.names.is_empty() {
            self.members = Vec::new();
        }
    }

    /// Gives back the memory of rooms that are gone, as far as no room behind them holds it.
    pub fn shrink(&mut self) {
        let room_count = self.names.shrink();
        self.members.truncate(room_count);
        self.members.shrink_to_fit();
    }

    /// Bytes reserved for rooms that there are or not; their names and members are not in it.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.names.reserved_bytes() + self.members.capacity() * size_of::<Members>()
    }

    /// Checks that both indexes agree, given every socket that may be in a room: its slot and its memberships.
    ///
    /// # Panics
    /// If they do not agree, or a structure below is broken.
    pub fn invariants<'a>(&self, sockets: impl IntoIterator<Item = (u32, &'a Memberships)>) {
        self.names.invariants();
        let mut membership_count = 0;
        for (slot, memberships) in sockets {
            for (at, id) in memberships.0.iter().enumerate() {
                assert!(!memberships.0[..at].contains(id), "a room is joined once");
                assert!(self.members_of(*id).contains(slot), "slot {slot} is a member of {:?}", self.names.name(*id));
            }
            membership_count += memberships.len();
        }
        for (id, name) in self.names.iter() {
            self.members_of(id).invariants();
            assert!(!self.members_of(id).is_empty(), "{name:?} exists, so somebody is in it");
        }
        let member_count: usize = self.members.iter().map(Members::len).sum();
        assert_eq!(member_count, membership_count, "every member has the membership");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    #[test]
    fn a_socket_joins_once_and_the_last_to_leave_deletes_the_room() {
        let mut rooms = Rooms::new(1);
        let (mut anna, mut ben) = (Memberships::default(), Memberships::default());
        assert_eq!(rooms.join(3, &mut anna, "lobby"), Joined { created: true, joined: true });
        assert_eq!(rooms.join(3, &mut anna, "lobby"), Joined { created: false, joined: false });
        assert_eq!(rooms.join(7, &mut ben, "lobby"), Joined { created: false, joined: true });
        rooms.invariants([(3, &anna), (7, &ben)]);
        assert_eq!(rooms.leave(3, &mut anna, "lobby"), Left { left: true, deleted: false });
        assert_eq!(rooms.leave(3, &mut anna, "lobby"), Left { left: false, deleted: false });
        assert_eq!(rooms.leave(7, &mut ben, "lobby"), Left { left: true, deleted: true });
        assert_eq!(rooms.leave(7, &mut ben, "lobby"), Left { left: false, deleted: false });
        assert!(rooms.is_empty() && rooms.members("lobby").is_none() && rooms.members.capacity() == 0);
    }

    #[test]
    fn rooms_are_left_in_the_order_they_were_joined() {
        let mut rooms = Rooms::new(1);
        let (mut anna, mut ben) = (Memberships::default(), Memberships::default());
        for name in ["z", "a", "m", "b", "c", "d"] {
            rooms.join(3, &mut anna, name);
        }
        rooms.join(4, &mut ben, "m");
        rooms.leave(3, &mut anna, "a");
        rooms.join(3, &mut anna, "a");
        let joined = ["z", "m", "b", "c", "d", "a"];
        assert!(rooms.names_of(&anna).eq(joined));
        let mut left = Vec::new();
        rooms.leave_all(3, &mut anna, |name, deleted| left.push((String::from(name), deleted)));
        assert_eq!(left, joined.map(|name| (String::from(name), name != "m")));
        assert!(anna.is_empty() && rooms.names().eq(["m"]));
        rooms.invariants([(3, &anna), (4, &ben)]);
    }

    #[test]
    fn rooms_of_a_crowd_give_their_memory_back_though_one_stays() {
        let mut rooms = Rooms::new(1);
        let (mut anna, mut crowd) = (Memberships::default(), Memberships::default());
        rooms.join(3, &mut anna, "lobby");
        let before = rooms.reserved_bytes();
        for number in 0..10_000 {
            rooms.join(7, &mut crowd, &format!("room {number}"));
        }
        rooms.leave_all(7, &mut crowd, |_, _| {});
        assert!(rooms.reserved_bytes() > 100 * before);
        rooms.shrink();
        assert!(rooms.reserved_bytes() <= before, "{} against {before}", rooms.reserved_bytes());
        rooms.join(7, &mut crowd, "lobby");
        rooms.join(7, &mut crowd, "kitchen");
        rooms.invariants([(3, &anna), (7, &crowd)]);
    }

    #[test]
    #[should_panic(expected = "who is a member has the membership")]
    fn foreign_memberships_are_noticed() {
        let mut rooms = Rooms::new(1);
        rooms.join(3, &mut Memberships::default(), "lobby");
        rooms.leave(3, &mut Memberships::default(), "lobby");
    }

    #[test]
    #[should_panic(expected = "every member has the membership")]
    fn a_member_without_a_membership_breaks_the_invariants() {
        let mut rooms = Rooms::new(1);
        rooms.join(3, &mut Memberships::default(), "lobby");
        rooms.invariants([(3, &Memberships::default())]);
    }

    const SOCKET_COUNT: u32 = 90;

    #[derive(Clone, Copy, Debug)]
    enum Operation {
        Join(u32, u8),
        Leave(u32, u8),
        LeaveAll(u32),
        /// Everybody joins or leaves, so that rooms become bitsets and end.
        JoinByAll(u8),
        LeaveByAll(u8),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let pair = || (0..SOCKET_COUNT, 0..8_u8);
        prop_oneof![
            8 => pair().prop_map(|(slot, room)| Operation::Join(slot, room)),
            4 => pair().prop_map(|(slot, room)| Operation::Leave(slot, room)),
            2 => (0..SOCKET_COUNT).prop_map(Operation::LeaveAll),
            1 => (0..8_u8).prop_map(Operation::JoinByAll),
            1 => (0..8_u8).prop_map(Operation::LeaveByAll),
        ]
    }

    /// The naive rooms: sorted sets by name, and each socket's rooms in the order of joining.
    #[derive(Default)]
    struct Model {
        members: BTreeMap<String, BTreeSet<u32>>,
        joined: BTreeMap<u32, Vec<String>>,
    }

    struct Both {
        rooms: Rooms,
        memberships: Vec<Memberships>,
        model: Model,
    }

    impl Both {
        fn join(&mut self, slot: u32, name: &str) {
            let created = !self.model.members.contains_key(name);
            let joined = self.model.members.entry(name.into()).or_default().insert(slot);
            if joined {
                self.model.joined.entry(slot).or_default().push(name.into());
            }
            let expected = Joined { created, joined };
            assert_eq!(self.rooms.join(slot, &mut self.memberships[slot as usize], name), expected);
        }

        fn leave_model(&mut self, slot: u32, name: &str) -> Left {
            let Some(members) = self.model.members.get_mut(name) else { return Left { left: false, deleted: false } };
            let left = members.remove(&slot);
            let deleted = members.is_empty();
            if deleted {
                self.model.members.remove(name);
            }
            self.model.joined.entry(slot).or_default().retain(|joined| joined != name);
            Left { left, deleted }
        }

        fn leave(&mut self, slot: u32, name: &str) {
            let expected = self.leave_model(slot, name);
            assert_eq!(self.rooms.leave(slot, &mut self.memberships[slot as usize], name), expected);
        }

        fn leave_all(&mut self, slot: u32) {
            let names = self.model.joined.remove(&slot).unwrap_or_default();
            let expected: Vec<_> =
                names.into_iter().map(|name| (self.leave_model(slot, &name).deleted, name)).collect();
            let mut left = Vec::new();
            let memberships = &mut self.memberships[slot as usize];
            self.rooms.leave_all(slot, memberships, |name, deleted| left.push((deleted, String::from(name))));
            assert_eq!(left, expected);
        }

        fn check(&self) {
            let sockets = || (0..).zip(&self.memberships);
            self.rooms.invariants(sockets());
            assert_eq!(self.rooms.len(), self.model.members.len());
            let names: BTreeSet<&str> = self.rooms.names().collect();
            assert!(names.into_iter().eq(self.model.members.keys()));
            for (name, members) in &self.model.members {
                assert!(self.rooms.members(name).is_some_and(|slots| slots.iter().eq(members.iter().copied())));
            }
            for (slot, memberships) in sockets() {
                let joined = self.model.joined.get(&slot).map_or(&[][..], Vec::as_slice);
                assert!(self.rooms.names_of(memberships).eq(joined));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Compared with sorted maps after every step; both indexes agree; at the end nothing is left.
        #[test]
        fn rooms_are_what_sorted_maps_are(operations in prop::collection::vec(operation(), 1..80), seed: u64) {
            let memberships = (0..SOCKET_COUNT).map(|_| Memberships::default()).collect();
            let mut both = Both { rooms: Rooms::new(seed), memberships, model: Model::default() };
            let name = |room: u8| format!("room {room}");
            for operation in operations {
                match operation {
                    Operation::Join(slot, room) => both.join(slot, &name(room)),
                    Operation::Leave(slot, room) => both.leave(slot, &name(room)),
                    Operation::LeaveAll(slot) => both.leave_all(slot),
                    Operation::JoinByAll(room) => (0..SOCKET_COUNT).for_each(|slot| both.join(slot, &name(room))),
                    Operation::LeaveByAll(room) => (0..SOCKET_COUNT).for_each(|slot| both.leave(slot, &name(room))),
                }
                both.check();
            }
            (0..SOCKET_COUNT).for_each(|slot| both.leave_all(slot));
            both.check();
            prop_assert!(both.rooms.is_empty() && both.rooms.members.capacity() == 0);
        }
    }
}
