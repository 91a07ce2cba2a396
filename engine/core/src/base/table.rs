//! Values by number, kept in chunks, so that the memory of a crowd can be given back although some of it stays.
//!
//! ```text
//! chunks   [ * ][ - ][ * ] ..        64 numbers each; none where nothing has been, or had gone when memory was given back
//! chunk    used ..0101   [0] [-] [2] ..
//! roomy    ..0110                    one bit per chunk with a free number: the lowest one is found in a few words
//! ```
//! One list would have to stay as long as its highest number is taken, and would be copied as a whole when it grows: milliseconds
//! for a hundred thousand connections. The lowest free number is given out first, so that who comes later fills the gaps.
//!
//! *Invariant:* a bit of `used` is set exactly where a value is; a bit of `roomy` exactly where a chunk is missing or not full.
//! Cost: one look into the list of chunks before the value. Nothing is freed but in [`Table::shrink`], and nothing allocated for a number
//! whose chunk has been needed since.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Numbers of one chunk: one word's bits.
const CHUNK: usize = u64::BITS as usize;

/// Values by number.
#[derive(Debug)]
pub struct Table<T> {
    chunks: Vec<Option<Box<Chunk<T>>>>,
    roomy: Vec<u64>,
    /// Words of `roomy` before this one are zero.
    first_roomy: usize,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    used: u64,
    values: [Option<T>; CHUNK],
}

/// Chunk of a number, and its place there.
#[inline]
const fn locate(number: u32) -> (usize, usize) {
    (number as usize / CHUNK, number as usize % CHUNK)
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), roomy: Vec::new(), first_roomy: 0, len: 0 }
    }
}

impl<T> Table<T> {
    /// The value of `number`.
    #[inline]
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&T> {
        let (at, place) = locate(number);
        self.chunks.get(at)?.as_deref()?.values[place].as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (at, place) = locate(number);
        self.chunks.get_mut(at)?.as_deref_mut()?.values[place].as_mut()
    }

    /// The lowest number without a value.
    ///
    /// # Panics
    /// If all 2^32 have one.
    pub fn vacancy(&mut self) -> u32 {
        while self.roomy.get(self.first_roomy) == Some(&0) {
            self.first_roomy += 1;
        }
        let at = match self.roomy.get(self.first_roomy) {
            Some(word) => self.first_roomy * CHUNK + word.trailing_zeros() as usize,
            None => self.chunks.len(),
        };
        let used = self.chunks.get(at).and_then(Option::as_ref).map_or(0, |chunk| chunk.used);
        let number = at * CHUNK + used.trailing_ones() as usize;
        u32::try_from(number).expect("a table stays below 2^32 values: descriptors and memory end first")
    }

    /// Gives `number` a value.
    ///
    /// # Panics
    /// If it has one.
    pub fn put(&mut self, number: u32, value: T) {
        let (at, place) = locate(number);
        if at >= self.chunks.len() {
            self.grow(at + 1);
        }
        let chunk = self.chunks[at].get_or_insert_with(Chunk::empty);
        assert!(chunk.values[place].is_none(), "number {number} has a value");
        chunk.values[place] = Some(value);
        chunk.used |= 1 << place;
        if chunk.used == u64::MAX {
            self.roomy[at / CHUNK] &= !(1 << (at % CHUNK));
        }
        self.len += 1;
    }

    /// Takes the value of `number` out.
    pub fn take(&mut self, number: u32) -> Option<T> {
        let (at, place) = locate(number);
        let chunk = self.chunks.get_mut(at)?.as_deref_mut()?;
        let value = chunk.values[place].take()?;
        if chunk.used == u64::MAX {
            self.roomy[at / CHUNK] |= 1 << (at % CHUNK);
            self.first_roomy = self.first_roomy.min(at / CHUNK);
        }
        chunk.used &= !(1 << place);
        self.len -= 1;
        Some(value)
    }

    /// Gives back the memory of chunks without values.
    pub fn shrink(&mut self) {
        for chunk in &mut self.chunks {
            if chunk.as_ref().is_some_and(|chunk| chunk.used == 0) {
                *chunk = None;
            }
        }
        let chunk_count = self.chunks.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.chunks.truncate(chunk_count);
        self.chunks.shrink_to_fit();
        self.roomy.truncate(chunk_count.div_ceil(CHUNK));
        self.roomy.shrink_to_fit();
        if let Some(last) = self.roomy.last_mut()
            && !chunk_count.is_multiple_of(CHUNK)
        {
            *last &= (1 << (chunk_count % CHUNK)) - 1;
        }
        self.first_roomy = 0;
    }

    /// Number of values.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values with their numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0_u32..).zip(&self.chunks).filter_map(|(at, chunk)| Some((at, chunk.as_deref()?))).flat_map(|(at, chunk)| {
            (at * CHUNK as u32..).zip(&chunk.values).filter_map(|(number, value)| Some((number, value.as_ref()?)))
        })
    }

    /// All values, in the order of their numbers.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.chunks.into_iter().flatten().flat_map(|chunk| chunk.values).flatten()
    }

    /// Bytes reserved, for values that there are or not; what values own is not in it.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.chunks.iter().flatten().count() * size_of::<Chunk<T>>()
            + self.chunks.capacity() * size_of::<Option<Box<Chunk<T>>>>()
            + self.roomy.capacity() * size_of::<u64>()
    }

    #[cold]
    fn grow(&mut self, chunk_count: usize) {
        let before = self.chunks.len();
        self.chunks.resize_with(chunk_count, || None);
        self.roomy.resize(chunk_count.div_ceil(CHUNK), 0);
        for at in before..chunk_count {
            self.roomy[at / CHUNK] |= 1 << (at % CHUNK);
        }
        self.first_roomy = self.first_roomy.min(before / CHUNK);
    }

    /// Checks the whole structure.
    ///
    /// # Panics
    /// If a bit or the count is wrong.
    pub fn invariants(&self) {
        assert_eq!(self.iter().count(), self.len, "the count follows the values");
        assert_eq!(self.roomy.len(), self.chunks.len().div_ceil(CHUNK));
        assert!(self.roomy.iter().take(self.first_roomy).all(|word| *word == 0), "no room is passed over");
        for (at, chunk) in self.chunks.iter().enumerate() {
            let used = chunk.as_ref().map_or(0, |chunk| chunk.used);
            let is_roomy = self.roomy[at / CHUNK] & 1 << (at % CHUNK) != 0;
            assert_eq!(is_roomy, used != u64::MAX, "chunk {at} is roomy unless it is full");
            for (place, value) in chunk.iter().flat_map(|chunk| chunk.values.iter().enumerate()) {
                assert_eq!(value.is_some(), used & 1 << place != 0, "a bit for each value");
            }
        }
        let bits: u32 = self.roomy.iter().map(|word| word.count_ones()).sum();
        assert!(bits as usize <= self.chunks.len(), "no room beyond the end");
    }
}

impl<T> Chunk<T> {
    #[cold]
    fn empty() -> Box<Self> {
        Box::new(Self { used: 0, values: [const { None }; CHUNK] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    #[test]
    fn the_lowest_free_number_comes_first() {
        let mut table = Table::default();
        for number in 0..1_000 {
            assert_eq!(table.vacancy(), number);
            table.put(number, number);
        }
        for number in [700, 3, 64] {
            assert_eq!(table.take(number), Some(number));
        }
        for number in [3, 64, 700, 1_000] {
            assert_eq!(table.vacancy(), number);
            table.put(number, number);
        }
        table.invariants();
    }

    #[test]
    fn what_stays_does_not_hold_the_memory_of_what_has_gone() {
        let mut table = Table::default();
        for number in 0..100_000 {
            table.put(number, [0_u64; 4]);
        }
        let full = table.reserved_bytes();
        for number in 0..100_000 {
            if number % 10_000 != 9_999 {
                table.take(number);
            }
        }
        assert_eq!(table.reserved_bytes(), full, "nothing is freed before it is asked for");
        table.shrink();
        table.invariants();
        let left = 10 * size_of::<Chunk<[u64; 4]>>() + (100_000 / CHUNK + 1) * 8 * 2;
        assert!(table.reserved_bytes() <= left, "{} of {full} bytes for ten values", table.reserved_bytes());
        assert_eq!((table.len(), table.vacancy()), (10, 0));
        assert!(table.get(99_999).is_some() && table.get(99_998).is_none() && table.get(u32::MAX).is_none());
    }

    #[test]
    #[should_panic(expected = "number 5 has a value")]
    fn a_value_is_not_written_over() {
        let mut table = Table::default();
        table.put(5, ());
        table.put(5, ());
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Insert,
        Put(u32),
        Take(u32),
        TakeRun(u32, u32),
        Shrink,
    }

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![4 => 0..200_u32, 1 => 0..10_000_u32]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            8 => Just(Operation::Insert),
            2 => number().prop_map(Operation::Put),
            4 => number().prop_map(Operation::Take),
            2 => (number(), 0..300_u32).prop_map(|(from, count)| Operation::TakeRun(from, count)),
            1 => Just(Operation::Shrink),
        ]
    }

    proptest! {
        /// Compared with a sorted map after every step.
        #[test]
        fn it_does_what_a_sorted_map_does(
            first in 0..300_u32,
            operations in prop::collection::vec(operation(), 1..120),
        ) {
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            let mut next_value = 0_u32;
            let mut value = move || {
                next_value += 1;
                next_value
            };
            let operations = (0..first).map(|_| Operation::Insert).chain(operations);
            for operation in operations {
                match operation {
                    Operation::Insert => {
                        let number = table.vacancy();
                        let lowest = (0..).find(|number| !model.contains_key(number));
                        prop_assert_eq!(Some(number), lowest);
                        let value = value();
                        table.put(number, value);
                        model.insert(number, value);
                    }
                    Operation::Put(number) if !model.contains_key(&number) => {
                        let value = value();
                        table.put(number, value);
                        model.insert(number, value);
                    }
                    Operation::Put(number) => {
                        prop_assert_eq!(table.get(number), model.get(&number));
                        prop_assert_eq!(table.get_mut(number), model.get_mut(&number));
                    }
                    Operation::Take(number) => prop_assert_eq!(table.take(number), model.remove(&number)),
                    Operation::TakeRun(from, count) => {
                        for number in from..from + count {
                            prop_assert_eq!(table.take(number), model.remove(&number));
                        }
                    }
                    Operation::Shrink => table.shrink(),
                }
                table.invariants();
                prop_assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
            }
            prop_assert!(table.iter().map(|(number, value)| (number, *value)).eq(model.clone()));
            prop_assert!(table.into_values().eq(model.into_values()));
        }
    }
}
