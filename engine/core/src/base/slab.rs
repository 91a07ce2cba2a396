//! Entries addressed by keys with a generation, in a [`Table`].
//!
//! ```text
//! key = (index, generation)      entries[index] = (generation, value)
//! ```
//! Removing an entry and inserting another at the same index changes the generation, so a stale key finds
//! nothing instead of a stranger. Generations come from one counter per slab and wrap after 2^32 inserts;
//! a key would have to be held across all of them to be mistaken.

use super::id::Key;
use super::table::Table;

/// A slab whose keys notice that their entry is gone.
#[derive(Debug)]
pub struct Slab<K, V> {
    entries: Table<(u32, V)>,
    next_generation: u32,
    key: core::marker::PhantomData<fn() -> K>,
}

impl<K: Key, V> Default for Slab<K, V> {
    fn default() -> Self {
        Self { entries: Table::default(), next_generation: 1, key: core::marker::PhantomData }
    }
}

impl<K: Key, V> Slab<K, V> {
    /// Puts `value` into a free position and returns its key.
    pub fn insert(&mut self, value: V) -> K {
        self.insert_with(|_| value)
    }

    /// Like [`Self::insert`] for a value that knows its own key.
    pub fn insert_with(&mut self, value: impl FnOnce(K) -> V) -> K {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let index = self.entries.vacancy();
        let key = K::new(index, generation);
        self.entries.put(index, (generation, value(key)));
        key
    }

    /// The entry of `key`, unless it is gone.
    #[inline]
    #[must_use]
    pub fn get(&self, key: K) -> Option<&V> {
        match self.entries.get(key.index()) {
            Some((generation, value)) if *generation == key.generation() => Some(value),
            _ => None,
        }
    }

    /// The entry of `key`, unless it is gone.
    #[inline]
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        match self.entries.get_mut(key.index()) {
            Some((generation, value)) if *generation == key.generation() => Some(value),
            _ => None,
        }
    }

    /// The key and entry at `index`, whatever its generation.
    #[inline]
    #[must_use]
    pub fn at(&self, index: u32) -> Option<(K, &V)> {
        self.entries.get(index).map(|(generation, value)| (K::new(index, *generation), value))
    }

    /// The key and entry at `index`, whatever its generation.
    #[inline]
    pub fn at_mut(&mut self, index: u32) -> Option<(K, &mut V)> {
        self.entries.get_mut(index).map(|(generation, value)| (K::new(index, *generation), value))
    }

    /// Takes the entry of `key` out, unless it is gone.
    pub fn remove(&mut self, key: K) -> Option<V> {
        self.get(key)?;
        self.entries.take(key.index()).map(|(_, value)| value)
    }

    /// Gives back memory that no entry needs.
    pub fn shrink(&mut self) {
        self.entries.shrink();
    }

    /// Bytes reserved for entries that there are or not; what they own is not in it.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.entries.reserved_bytes()
    }

    /// Whether `key` still has its entry.
    #[must_use]
    pub fn contains(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries in index order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.entries.iter().map(|(index, (generation, value))| (K::new(index, *generation), value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::SocketKey;
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab: Slab<SocketKey, &str> = Slab::default();
        let first = slab.insert("first");
        let keep = slab.insert("keep");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index(), first.index(), "the position is used again");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.get(keep), Some(&"keep"));
        assert_eq!(SocketKey::from_bits(second.to_bits()), second);
    }
}
