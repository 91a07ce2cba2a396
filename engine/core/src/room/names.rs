//! Room names and their numbers.
//!
//! ```text
//! table    hash of "lobby" -> 7          (32 bits of the hash, RoomId): 8 bytes, rehashed without the names
//! entries  7 -> "lobby"                  the only copy of the name
//! ```
//! A name is interned when its first member joins and freed with its last; its number is then used again, the
//! latest freed first. Everything is listed in the order of the numbers, never in that of the table.
//!
//! Clients often choose room names, so the hash is keyed: foldhash with all of its secrets made from one 64-bit seed.
//! That defeats lists of colliding names prepared beforehand. It is no cryptographic hash: somebody who can measure
//! lookups finely and for long may learn the key, and could then make every lookup among his own names a linear one.

use crate::base::id::RoomId;
use alloc::boxed::Box;
use core::hash::Hasher;
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use hashbrown::HashTable;
use slab::Slab;

/// Capacity above which an emptied table gives its memory back.
const CAPACITY_KEPT: usize = 64;

/// The names of the rooms that exist.
#[derive(Debug)]
pub struct Names {
    entries: Slab<Box<str>>,
    table: HashTable<Row>,
    secret: u64,
    shared_secret: SharedSeed,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    hash: u32,
    id: RoomId,
}

const _: () = assert!(size_of::<Row>() == 8);

impl Row {
    /// What the table takes for a hash: it looks at the lowest bits (bucket) and the highest seven (tag).
    fn spread(self) -> u64 {
        spread(self.hash)
    }
}

const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

impl Names {
    /// No names. `hash_seed` keys the hash: unguessable in service, fixed in a simulation.
    #[must_use]
    pub fn new(hash_seed: u64) -> Self {
        Self {
            entries: Slab::new(),
            table: HashTable::new(),
            secret: hash_seed.rotate_left(32),
            shared_secret: SharedSeed::from_u64(hash_seed),
        }
    }

    /// The number of `name`, if there is such a room. One hash and one comparison.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<RoomId> {
        self.find_hashed(self.hash(name), name)
    }

    /// The number of `name` and whether it has just been made.
    pub fn intern(&mut self, name: &str) -> (RoomId, bool) {
        let hash = self.hash(name);
        if let Some(id) = self.find_hashed(hash, name) {
            return (id, false);
        }
        let index = self.entries.insert(name.into());
        let id = RoomId(u32::try_from(index).expect("rooms stay below 2^32: memory ends first"));
        let row = Row { hash, id };
        self.table.insert_unique(row.spread(), row, |row| row.spread());
        (id, true)
    }

    /// The name of a room.
    ///
    /// # Panics
    /// If there is no such room: ids are kept only while the room exists.
    #[must_use]
    pub fn name(&self, id: RoomId) -> &str {
        &self.entries[id.0 as usize]
    }

    /// Frees the number and returns the name.
    ///
    /// # Panics
    /// If there is no such room.
    pub fn release(&mut self, id: RoomId) -> Box<str> {
        let name = self.entries.remove(id.0 as usize);
        let hash = self.hash(&name);
        let Ok(row) = self.table.find_entry(spread(hash), |row| row.id == id) else {
            unreachable!("a name is in the table as long as it has a number")
        };
        row.remove();
        if self.entries.is_empty() && self.table.capacity() > CAPACITY_KEPT {
            self.table = HashTable::new();
            self.entries = Slab::new();
        }
        name
    }

    /// Gives back memory that no name needs. One more than the highest number that is left.
    pub fn shrink(&mut self) -> usize {
        self.entries.shrink_to_fit();
        self.table.shrink_to_fit(|row| row.spread());
        self.entries.iter().next_back().map_or(0, |(index, _)| index + 1)
    }

    /// Bytes reserved, for names that there are or not; the text of the names is not in it.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Option<Box<str>>>() + self.table.capacity() * size_of::<Row>()
    }

    /// Number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every name, in the order of the numbers.
    pub fn iter(&self) -> impl Iterator<Item = (RoomId, &str)> {
        self.entries.iter().map(|(index, name)| (RoomId(index as u32), &**name))
    }

    fn hash(&self, name: &str) -> u32 {
        let mut hasher = FoldHasher::with_seed(self.secret, &self.shared_secret);
        hasher.write(name.as_bytes());
        let hash = hasher.finish();
        (hash >> 32) as u32 ^ hash as u32
    }

    fn find_hashed(&self, hash: u32, name: &str) -> Option<RoomId> {
        let is_it = |row: &Row| row.hash == hash && self.name(row.id) == name;
        self.table.find(spread(hash), is_it).map(|row| row.id)
    }

    /// Checks the whole structure.
    ///
    /// # Panics
    /// If a name is not found under its number, or the table holds anything else.
    pub fn invariants(&self) {
        assert_eq!(self.table.len(), self.entries.len(), "one row per name");
        for (id, name) in self.iter() {
            assert_eq!(self.find(name), Some(id), "{name:?} is found under its number");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_used_again_and_the_old_name_finds_nothing() {
        let mut names = Names::new(1);
        let (lobby, created) = names.intern("lobby");
        assert!(created);
        assert_eq!(names.intern("lobby"), (lobby, false));
        names.intern("news");
        assert_eq!(&*names.release(lobby), "lobby");
        assert_eq!(names.find("lobby"), None);
        assert_eq!(names.intern("sport"), (lobby, true));
        assert_eq!(names.name(lobby), "sport");
        assert!(names.iter().map(|(_, name)| name).eq(["sport", "news"]));
    }

    #[test]
    fn every_text_is_a_name() {
        let mut names = Names::new(2);
        let long = "x".repeat(100_000);
        let all = ["", " ", "a", "A", "a\0", "\0", "ä", "房间", "#/admin", &long, &long[1..]];
        let ids: Vec<RoomId> = all.iter().map(|name| names.intern(name).0).collect();
        for (name, id) in all.iter().zip(&ids) {
            assert_eq!(names.find(name), Some(*id));
        }
        assert_eq!(names.len(), all.len());
        names.invariants();
    }

    #[test]
    fn the_seed_decides_the_hash_whatever_the_length_of_the_name() {
        for length in [1, 3, 4, 8, 16, 17, 40, 128, 300] {
            let name = "n".repeat(length);
            let hashes: BTreeSet<u32> = (0..64).map(|seed| Names::new(seed << 40 | 77).hash(&name)).collect();
            assert_eq!(hashes.len(), 64, "64 seeds make 64 hashes of {length} characters");
            assert_eq!(Names::new(9).hash(&name), Names::new(9).hash(&name));
        }
    }

    #[test]
    fn ten_thousand_names_come_and_go_and_their_memory_with_them() {
        let mut names = Names::new(3);
        let ids: Vec<RoomId> = (0..10_000).map(|number| names.intern(&format!("room {number}")).0).collect();
        names.invariants();
        let hashes: BTreeSet<u32> = names.iter().map(|(_, name)| names.hash(name)).collect();
        assert!(hashes.len() > 9_990, "{} hashes of 10,000 names", hashes.len());
        for id in ids {
            names.release(id);
        }
        assert_eq!((names.len(), names.table.capacity(), names.entries.capacity()), (0, 0, 0));
    }

    proptest! {
        /// Compared with a sorted map after every step, numbers used again included.
        #[test]
        fn names_are_what_a_sorted_map_is(operations in prop::collection::vec((0..3_u8, 0..40_u8), 1..300), seed: u64) {
            let mut names = Names::new(seed);
            let mut ids: BTreeMap<String, RoomId> = BTreeMap::new();
            for (operation, number) in operations {
                let name = format!("room-of-the-number-{number}");
                if operation > 0 {
                    let (id, created) = names.intern(&name);
                    prop_assert_eq!(created, !ids.contains_key(&name));
                    prop_assert_eq!(*ids.entry(name).or_insert(id), id);
                } else if let Some(id) = ids.remove(&name) {
                    prop_assert_eq!(&*names.release(id), &name);
                }
                names.invariants();
                prop_assert_eq!(names.len(), ids.len());
                for number in 0..40 {
                    let name = format!("room-of-the-number-{number}");
                    prop_assert_eq!(names.find(&name), ids.get(&name).copied());
                }
                prop_assert!(names.iter().map(|(id, _)| id.0).is_sorted());
            }
        }
    }
}
