//! A set of small numbers: one bit each.
//!
//! ```text
//! words[0] = indexes 0..64    words[1] = 64..128    ...    the last word is never zero
//! ```
//! The number of members is counted along, so asking for it costs nothing. The set grows to the highest index
//! put in and gives memory back on [`BitSet::remove`] once three quarters of it are unused. The operations of a
//! working buffer (`clear`, `union_with`, `subtract`, `subtract_each`) keep what is allocated.
//!
//! Cost: `insert`, `remove` and `contains` touch one word; everything else passes once over the words, 64 indexes
//! each: 100,000 sockets are 1,563 words or 12.5 kB.

use alloc::vec::Vec;

/// Indexes that one word holds.
const WORD_BITS: u32 = u64::BITS;

/// Below this many words unused memory is not given back: it is less than one allocation is worth.
const WORDS_KEPT: usize = 8;

/// A set of `u32` indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitSet {
    words: Vec<u64>,
    len: usize,
}

/// Where the bit of `index` is: its word and the mask within.
#[inline]
const fn locate(index: u32) -> (usize, u64) {
    ((index / WORD_BITS) as usize, 1 << (index % WORD_BITS))
}

impl BitSet {
    /// The empty set; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new(), len: 0 }
    }

    /// Puts `index` in; `false` if it is there already. Grows the set to `index / 64 + 1` words.
    #[inline]
    pub fn insert(&mut self, index: u32) -> bool {
        let (at, mask) = locate(index);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let added = self.words[at] & mask == 0;
        self.words[at] |= mask;
        self.len += usize::from(added);
        added
    }

    /// Takes `index` out; `false` if it is not there. May give memory back.
    #[inline]
    pub fn remove(&mut self, index: u32) -> bool {
        let removed = self.unset(index);
        if removed && self.words.last() == Some(&0) {
            self.trim();
            if self.words.capacity() > WORDS_KEPT.max(self.words.len() * 4) {
                self.words.shrink_to(self.words.len() * 2);
            }
        }
        removed
    }

    /// Whether `index` is in the set.
    #[inline]
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        let (at, mask) = locate(index);
        self.words.get(at).is_some_and(|word| word & mask != 0)
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &Self) {
        let shared = self.words.len().min(other.words.len());
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            self.len += (theirs & !*word).count_ones() as usize;
            *word |= theirs;
        }
        let beyond = &other.words[shared..];
        self.words.extend_from_slice(beyond);
        self.len += beyond.iter().map(|word| word.count_ones() as usize).sum::<usize>();
    }

    /// Takes all of `other` out. Keeps its memory.
    pub fn subtract(&mut self, other: &Self) {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            self.len -= (*word & theirs).count_ones() as usize;
            *word &= !theirs;
        }
        self.trim();
    }

    /// Takes each of `indexes` out, those not in the set included. Keeps its memory.
    pub fn subtract_each(&mut self, indexes: impl IntoIterator<Item = u32>) {
        for index in indexes {
            self.unset(index);
        }
        self.trim();
    }

    /// Empties the set. Keeps its memory.
    pub fn clear(&mut self) {
        self.words.clear();
        self.len = 0;
    }

    /// Number of indexes in the set. Costs nothing.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in the set.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes this set has allocated.
    #[must_use]
    pub const fn allocated_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// The bits, lowest index first; the last word is not zero.
    #[inline]
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The indexes, ascending. Skips 64 absent ones at a time.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { words: self.words.iter(), word: 0, base: 0_u32.wrapping_sub(WORD_BITS), remaining: self.len }
    }

    fn unset(&mut self, index: u32) -> bool {
        let (at, mask) = locate(index);
        let Some(word) = self.words.get_mut(at) else { return false };
        let removed = *word & mask != 0;
        *word &= !mask;
        self.len -= usize::from(removed);
        removed
    }

    fn trim(&mut self) {
        let used = self.words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        self.words.truncate(used);
    }

    /// Checks the whole structure.
    ///
    /// # Panics
    /// If the count is wrong or the last word is zero.
    pub fn invariants(&self) {
        let counted: usize = self.words.iter().map(|word| word.count_ones() as usize).sum();
        assert_eq!(self.len, counted, "the count follows the bits");
        assert_ne!(self.words.last(), Some(&0), "the last word holds a bit");
    }
}

impl<'a> IntoIterator for &'a BitSet {
    type Item = u32;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The indexes of a [`BitSet`], ascending.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    words: core::slice::Iter<'a, u64>,
    /// What is left of the current word.
    word: u64,
    /// Index of the current word's lowest bit; one word before 0 at the start.
    base: u32,
    remaining: usize,
}

impl Iterator for Iter<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.word == 0 {
            self.word = *self.words.next()?;
            self.base = self.base.wrapping_add(WORD_BITS);
        }
        let index = self.base + self.word.trailing_zeros();
        self.word &= self.word - 1;
        self.remaining -= 1;
        Some(index)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    #[test]
    fn memory_comes_back_when_high_indexes_leave() {
        let mut set = BitSet::new();
        set.insert(3);
        set.insert(1_000_000);
        assert_eq!(set.words().len(), 1_000_000 / 64 + 1);
        assert!(set.remove(1_000_000));
        assert_eq!(set.words(), [8]);
        assert!(set.allocated_bytes() <= WORDS_KEPT * 8, "{} bytes are kept for one index", set.allocated_bytes());
        assert!(set.remove(3));
        assert_eq!(set, BitSet::new());
    }

    #[test]
    fn a_working_buffer_keeps_its_memory() {
        let mut full = BitSet::new();
        full.insert(100_000);
        let mut buffer = BitSet::new();
        buffer.union_with(&full);
        let allocated = buffer.allocated_bytes();
        assert!(allocated >= 12_504);
        buffer.subtract(&full);
        assert!(buffer.is_empty());
        assert_eq!(buffer.allocated_bytes(), allocated);
        buffer.union_with(&full);
        buffer.subtract_each([5, 100_000, 4_000_000]);
        assert_eq!(buffer.words(), []);
        assert_eq!(buffer.allocated_bytes(), allocated);
        buffer.union_with(&full);
        buffer.clear();
        assert_eq!(buffer.allocated_bytes(), allocated);
    }

    #[test]
    fn the_bounds_of_words_and_of_u32_are_members_like_others() {
        let mut set = BitSet::new();
        for index in [0, 63, 64, 127, 128, 1 << 20] {
            assert!(!set.contains(index) && set.insert(index) && !set.insert(index) && set.contains(index));
        }
        assert!(!set.contains(u32::MAX) && !set.remove(u32::MAX));
        assert!(set.iter().eq([0, 63, 64, 127, 128, 1 << 20]));
        assert_eq!(set.iter().len(), 6);
        assert_eq!(set.words()[..3], [1 | 1 << 63, 1 | 1 << 63, 1]);
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Insert(u32),
        Remove(u32),
        Clear,
        Union(Vec<u32>),
        Subtract(Vec<u32>),
        SubtractEach(Vec<u32>),
    }

    fn index() -> impl Strategy<Value = u32> {
        prop_oneof![4 => 0..200_u32, 1 => 0..5_000_u32]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let indexes = || prop::collection::vec(index(), 0..40);
        prop_oneof![
            12 => index().prop_map(Operation::Insert),
            8 => index().prop_map(Operation::Remove),
            1 => Just(Operation::Clear),
            2 => indexes().prop_map(Operation::Union),
            2 => indexes().prop_map(Operation::Subtract),
            2 => indexes().prop_map(Operation::SubtractEach),
        ]
    }

    fn set_of(indexes: &[u32]) -> BitSet {
        let mut set = BitSet::new();
        for index in indexes {
            set.insert(*index);
        }
        set
    }

    proptest! {
        /// Compared with a sorted set after every step.
        #[test]
        fn it_does_what_a_sorted_set_does(operations in prop::collection::vec(operation(), 1..150)) {
            let mut set = BitSet::new();
            let mut model = BTreeSet::new();
            for operation in operations {
                match operation {
                    Operation::Insert(index) => prop_assert_eq!(set.insert(index), model.insert(index)),
                    Operation::Remove(index) => prop_assert_eq!(set.remove(index), model.remove(&index)),
                    Operation::Clear => {
                        set.clear();
                        model.clear();
                    }
                    Operation::Union(indexes) => {
                        set.union_with(&set_of(&indexes));
                        model.extend(indexes);
                    }
                    Operation::Subtract(indexes) => {
                        set.subtract(&set_of(&indexes));
                        model.retain(|index| !indexes.contains(index));
                    }
                    Operation::SubtractEach(indexes) => {
                        model.retain(|index| !indexes.contains(index));
                        set.subtract_each(indexes);
                    }
                }
                set.invariants();
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.is_empty(), model.is_empty());
                prop_assert!(set.iter().eq(model.iter().copied()));
                prop_assert!((0..300).all(|index| set.contains(index) == model.contains(&index)));
            }
        }
    }
}
