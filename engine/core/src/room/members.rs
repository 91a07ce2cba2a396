//! Who is in one room: a sorted array for few, a bitset over socket slots for many.
//!
//! ```text
//! Few    [3, 17, 4096]            4 bytes each, the first four without an allocation
//! Many   ..0100 ..0001 ..1000     one bit per slot up to the highest, whoever is in
//! ```
//! A million rooms of two must not cost a million bitsets, and ten thousand rooms of a hundred among 100,000 sockets
//! must not cost 12.5 kB each; so a room becomes a bitset when it is large *and* dense. The way back lies well below
//! the way there, so that one socket coming and going does not convert the room each time.
//!
//! Cost: `contains` is a binary search or one bit; `insert` and `remove` move at most 16 kB within the array, or set
//! one bit; a conversion passes once over the members.

use crate::base::bit_set::{self, BitSet};
use alloc::boxed::Box;
use alloc::vec::Vec;
use smallvec::SmallVec;

/// Members that fit beside the room without an allocation.
const INLINE: usize = 4;
/// With this many members a dense room becomes a bitset.
const MANY_FROM: usize = 64;
/// With fewer it becomes an array again.
const FEW_BELOW: usize = 32;
/// With this many members even a sparse room becomes a bitset: keeping the array sorted moves too many bytes.
const MANY_ALWAYS_FROM: usize = 4096;
/// A bitset of at most this many bits per member (16 bytes) is worth it: dense.
const DENSE_BITS: usize = 128;
/// A bitset of more bits per member (64 bytes) is given up: sparse.
const SPARSE_BITS: usize = 512;

const _: () = assert!(FEW_BELOW * 2 <= MANY_FROM && DENSE_BITS * 2 <= SPARSE_BITS, "or conversions would flap");
const _: () = assert!(size_of::<Members>() == 32);

/// The sockets of one room, by slot.
#[derive(Clone, Debug)]
pub enum Members {
    /// Sorted slots.
    Few(SmallVec<[u32; INLINE]>),
    /// One bit per slot.
    Many(Box<BitSet>),
}

impl Default for Members {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl Members {
    /// Puts `slot` in; `false` if it is there already.
    pub fn insert(&mut self, slot: u32) -> bool {
        if let Self::Many(bits) = self
            && is_sparse(bits.len() + 1, bits.words().len().max(slot as usize / 64 + 1))
        {
            // Before the bitset grows: one far slot must not cost the memory even for a moment.
            self.become_few();
        }
        match self {
            Self::Many(bits) => bits.insert(slot),
            Self::Few(slots) => {
                let Err(at) = slots.binary_search(&slot) else { return false };
                slots.insert(at, slot);
                self.become_many_if_worth();
                true
            }
        }
    }

    /// Takes `slot` out; `false` if it is not there.
    pub fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::Few(slots) => {
                let Ok(at) = slots.binary_search(&slot) else { return false };
                slots.remove(at);
                if slots.spilled() && slots.capacity() > slots.len() * 4 {
                    slots.shrink_to_fit();
                }
                true
            }
            Self::Many(bits) => {
                if !bits.remove(slot) {
                    return false;
                }
                if bits.len() < FEW_BELOW || is_sparse(bits.len(), bits.words().len()) {
                    self.become_few();
                }
                true
            }
        }
    }

    /// Whether the socket in `slot` is a member.
    #[inline]
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        match self {
            Self::Few(slots) => slots.binary_search(&slot).is_ok(),
            Self::Many(bits) => bits.contains(slot),
        }
    }

    /// Number of members. Costs nothing.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Few(slots) => slots.len(),
            Self::Many(bits) => bits.len(),
        }
    }

    /// Whether nobody is in.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slots, ascending.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Self::Few(slots) => Iter::Few(slots.iter()),
            Self::Many(bits) => Iter::Many(bits.iter()),
        }
    }

    /// Appends the slots, ascending.
    pub fn append_to(&self, list: &mut Vec<u32>) {
        match self {
            Self::Few(slots) => list.extend_from_slice(slots),
            Self::Many(bits) => list.extend(bits.iter()),
        }
    }

    /// Adds the members to `set`.
    pub fn union_into(&self, set: &mut BitSet) {
        match self {
            Self::Few(slots) => slots.iter().for_each(|slot| {
                set.insert(*slot);
            }),
            Self::Many(bits) => set.union_with(bits),
        }
    }

    /// Takes the members out of `set`, which keeps its memory.
    pub fn subtract_from(&self, set: &mut BitSet) {
        match self {
            Self::Few(slots) => set.subtract_each(slots.iter().copied()),
            Self::Many(bits) => set.subtract(bits),
        }
    }

    fn become_few(&mut self) {
        *self = Self::Few(self.iter().collect());
    }

    fn become_many_if_worth(&mut self) {
        let Self::Few(slots) = self else { return };
        let bits_needed = slots.last().map_or(0, |highest| *highest as usize + 1);
        let is_dense = slots.len() >= MANY_FROM && bits_needed <= slots.len() * DENSE_BITS;
        if is_dense || slots.len() >= MANY_ALWAYS_FROM {
            let mut bits = BitSet::new();
            // From the highest down: the words are then allocated once.
            slots.iter().rev().for_each(|slot| {
                bits.insert(*slot);
            });
            *self = Self::Many(Box::new(bits));
        }
    }

    /// Checks the whole structure.
    ///
    /// # Panics
    /// If the array is not sorted and free of doubles, or a kind is used beyond its bounds.
    pub fn invariants(&self) {
        match self {
            Self::Few(slots) => {
                assert!(slots.windows(2).all(|pair| pair[0] < pair[1]), "slots are sorted, each once");
                assert!(slots.len() < MANY_ALWAYS_FROM, "an array stays short");
            }
            Self::Many(bits) => {
                bits.invariants();
                assert!(bits.len() >= FEW_BELOW, "few members are an array");
                assert!(!is_sparse(bits.len(), bits.words().len()), "a bitset is no sparser than allowed");
            }
        }
    }
}

/// Whether a bitset of `word_count` words is a waste for `member_count` members. Never for more than half of what
/// makes a bitset in any case, or such a room would flap.
const fn is_sparse(member_count: usize, word_count: usize) -> bool {
    member_count < MANY_ALWAYS_FROM / 2 && word_count * 64 > member_count * SPARSE_BITS
}

impl<'a> IntoIterator for &'a Members {
    type Item = u32;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The slots of a room, ascending.
#[derive(Clone, Debug)]
pub enum Iter<'a> {
    /// Out of the array.
    Few(core::slice::Iter<'a, u32>),
    /// Out of the bitset.
    Many(bit_set::Iter<'a>),
}

impl Iterator for Iter<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        match self {
            Self::Few(slots) => slots.next().copied(),
            Self::Many(bits) => bits.next(),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Few(slots) => slots.size_hint(),
            Self::Many(bits) => bits.size_hint(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    fn is_many(members: &Members) -> bool {
        matches!(members, Members::Many(_))
    }

    fn members_of(slots: impl IntoIterator<Item = u32>) -> Members {
        let mut members = Members::default();
        for slot in slots {
            members.insert(slot);
        }
        members
    }

    #[test]
    fn a_dense_room_is_a_bitset_from_64_and_an_array_again_below_32() {
        let mut members = members_of(0..63);
        assert!(!is_many(&members));
        members.insert(63);
        assert!(is_many(&members));
        for slot in (32..64).rev() {
            members.remove(slot);
        }
        assert!(is_many(&members), "32 are left");
        members.remove(31);
        assert!(!is_many(&members));
        members.insert(31);
        assert!(!is_many(&members), "one socket coming and going converts nothing");
    }

    #[test]
    fn a_sparse_room_stays_an_array_until_it_is_large() {
        let mut members = members_of((0..4095).map(|number| number * 1_000));
        assert!(!is_many(&members));
        members.insert(4_095_000);
        assert!(is_many(&members));
        for number in (2048..4096).rev() {
            members.remove(number * 1_000);
            members.invariants();
        }
        assert!(is_many(&members), "2048 are left");
        members.remove(0);
        assert!(!is_many(&members));
    }

    #[test]
    fn one_far_slot_does_not_cost_a_room_of_near_ones_its_memory() {
        let mut members = members_of(0..100);
        assert!(is_many(&members));
        assert!(members.insert(2_000_000_000));
        assert!(!is_many(&members));
        assert!(members.contains(99) && members.contains(2_000_000_000) && members.len() == 101);
    }

    #[test]
    fn memory_of_an_array_comes_back() {
        let mut members = members_of(0..60);
        for slot in 2..60 {
            members.remove(slot);
        }
        assert!(matches!(&members, Members::Few(slots) if !slots.spilled()), "two fit beside the room");
        assert!(members.iter().eq([0, 1]));
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Insert(u32),
        Remove(u32),
        /// A crowd comes or goes, so that the kinds change in both directions.
        InsertFrom(u32, u32),
        RemoveFrom(u32, u32),
    }

    fn slot() -> impl Strategy<Value = u32> {
        prop_oneof![6 => 0..300_u32, 2 => 0..20_000_u32, 1 => 0..1_000_000_u32]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            6 => slot().prop_map(Operation::Insert),
            6 => slot().prop_map(Operation::Remove),
            1 => (slot(), 0..120_u32).prop_map(|(from, count)| Operation::InsertFrom(from, count)),
            1 => (slot(), 0..200_u32).prop_map(|(from, count)| Operation::RemoveFrom(from, count)),
        ]
    }

    proptest! {
        /// Compared with a sorted set after every step, whichever kind is in use.
        #[test]
        fn members_are_what_a_sorted_set_is(operations in prop::collection::vec(operation(), 1..100)) {
            let mut members = Members::default();
            let mut model = BTreeSet::new();
            for operation in operations {
                match operation {
                    Operation::Insert(slot) => prop_assert_eq!(members.insert(slot), model.insert(slot)),
                    Operation::Remove(slot) => prop_assert_eq!(members.remove(slot), model.remove(&slot)),
                    Operation::InsertFrom(from, count) => (from..from + count).for_each(|slot| {
                        assert_eq!(members.insert(slot), model.insert(slot));
                    }),
                    Operation::RemoveFrom(from, count) => (from..from + count).for_each(|slot| {
                        assert_eq!(members.remove(slot), model.remove(&slot));
                    }),
                }
                members.invariants();
                prop_assert_eq!(members.len(), model.len());
                prop_assert!(members.iter().eq(model.iter().copied()));
                prop_assert!((0..400).all(|slot| members.contains(slot) == model.contains(&slot)));
                let mut list = alloc::vec![7];
                members.append_to(&mut list);
                prop_assert!(list[1..].iter().eq(model.iter()));
                let mut set = BitSet::new();
                set.insert(5);
                set.insert(301);
                members.union_into(&mut set);
                prop_assert!(set.iter().eq(model.union(&BTreeSet::from([5, 301])).copied()));
                set.insert(302);
                members.subtract_from(&mut set);
                prop_assert!(set.iter().eq(BTreeSet::from([5, 301, 302]).difference(&model).copied()));
                set.invariants();
            }
        }
    }
}
