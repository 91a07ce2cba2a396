//! The namespaces of one shard, by the server's number.
//!
//! ```text
//! fixed   [ / ][ /admin ][ - ] ...      made by the program: few, low numbers, they stay
//! made    { 2^31 + n: /room-7, .. }     made because a client asked: here while a socket of this shard is in it
//! ```
//! A number of the second kind is not used again while anybody could still mean its former namespace, so a message from
//! another shard that comes too late finds nothing. Their acknowledgements are numbered per shard: a namespace that is forgotten
//! and comes back must not use an id that a socket of another shard still owes.

use super::Namespace;
use super::ack::AckIds;
use crate::base::id::NamespaceId;
use crate::base::seed::Seed;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// All namespaces that a shard knows.
#[derive(Debug)]
pub struct Namespaces {
    fixed: Vec<Option<Box<Namespace>>>,
    made: HashMap<NamespaceId, Box<Namespace>, FixedState>,
    made_ack_ids: AckIds,
    fixed_ack_ids: AckIds,
}

impl Namespaces {
    /// None yet. `ack_ids` are those of the shard.
    #[must_use]
    pub fn new(hash: FixedState, ack_ids: AckIds) -> Self {
        Self { fixed: Vec::new(), made: HashMap::with_hasher(hash), made_ack_ids: ack_ids, fixed_ack_ids: ack_ids }
    }

    /// The namespace of this number, if the shard has it.
    #[inline]
    #[must_use]
    pub fn get(&self, id: NamespaceId) -> Option<&Namespace> {
        match self.fixed.get(id.0 as usize) {
            Some(found) => found.as_deref(),
            None => self.made.get(&id).map(|found| &**found),
        }
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: NamespaceId) -> Option<&mut Namespace> {
        match self.fixed.get_mut(id.0 as usize) {
            Some(found) => found.as_deref_mut(),
            None => self.made.get_mut(&id).map(|found| &mut **found),
        }
    }

    /// A socket of this shard enters: the namespace appears with its first one.
    pub fn enter(&mut self, id: NamespaceId, name: &Arc<str>, seed: &mut Seed) {
        self.get_or_new(id, name, seed).tenants += 1;
    }

    /// A socket of this shard is gone altogether. A namespace that was made for clients goes with its last one.
    pub fn leave(&mut self, id: NamespaceId) {
        let Some(namespace) = self.get_mut(id) else {
            debug_assert!(false, "a namespace stays while a socket is in it");
            return;
        };
        debug_assert!(namespace.tenants > 0, "who leaves has entered");
        namespace.tenants -= 1;
        if namespace.tenants == 0 && id.is_made() {
            self.made.remove(&id);
            if self.made.is_empty() {
                self.made.shrink_to_fit();
            }
        }
    }

    /// The id for the next acknowledgement in a namespace, which need not have a socket of this shard.
    pub fn next_ack_id(&mut self, id: NamespaceId, name: &Arc<str>, seed: &mut Seed) -> u64 {
        if id.is_made() {
            return self.made_ack_ids.next_id();
        }
        self.get_or_new(id, name, seed).ack_ids.next_id()
    }

    /// The same in a namespace that the shard has.
    pub fn known_ack_id(&mut self, id: NamespaceId) -> Option<u64> {
        if id.is_made() {
            return self.made.contains_key(&id).then(|| self.made_ack_ids.next_id());
        }
        Some(self.get_mut(id)?.ack_ids.next_id())
    }

    fn get_or_new(&mut self, id: NamespaceId, name: &Arc<str>, seed: &mut Seed) -> &mut Namespace {
        let ack_ids = self.fixed_ack_ids;
        let mut new = || Box::new(Namespace::new(id, Arc::clone(name), seed.next_u64(), ack_ids));
        if id.is_made() {
            return self.made.entry(id).or_insert_with(&mut new);
        }
        let at = id.0 as usize;
        if self.fixed.len() <= at {
            self.fixed.resize_with(at + 1, || None);
        }
        self.fixed[at].get_or_insert_with(&mut new)
    }

    /// Gives back memory that no namespace and no room needs.
    pub fn shrink(&mut self) {
        self.made.shrink_to_fit();
        self.fixed.iter_mut().flatten().chain(self.made.values_mut()).for_each(|namespace| namespace.rooms.shrink());
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.fixed.iter().flatten().chain(self.made.values()).map(|namespace| &**namespace)
    }

    /// Namespaces made for clients that have a socket of this shard.
    #[must_use]
    pub fn made_count(&self) -> usize {
        self.made.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ShardIndex;

    #[test]
    fn one_made_for_clients_goes_with_its_last_socket_and_numbers_go_on() {
        let mut seed = Seed::new([1; 32], ShardIndex(0));
        let mut namespaces = Namespaces::new(FixedState::default(), AckIds::new(1, 3));
        let (fixed, made) = (NamespaceId(2), NamespaceId(NamespaceId::FIRST_MADE + 5));
        let (name, other): (Arc<str>, Arc<str>) = (Arc::from("/fixed"), Arc::from("/made"));
        for id in [fixed, made] {
            let name = if id == fixed { &name } else { &other };
            namespaces.enter(id, name, &mut seed);
            namespaces.enter(id, name, &mut seed);
            assert_eq!(namespaces.get(id).map(|found| (found.id, &found.name)), Some((id, name)));
        }
        assert_eq!(
            (namespaces.next_ack_id(made, &other, &mut seed), namespaces.next_ack_id(fixed, &name, &mut seed)),
            (1, 1)
        );
        for id in [fixed, made] {
            namespaces.leave(id);
            assert!(namespaces.get_mut(id).is_some());
            namespaces.leave(id);
        }
        assert!(namespaces.get(fixed).is_some() && namespaces.get(made).is_none());
        assert_eq!((namespaces.made_count(), namespaces.iter().count()), (0, 1));
        assert_eq!(namespaces.next_ack_id(made, &other, &mut seed), 4, "also without a socket of this shard");
        assert!(namespaces.get(made).is_none(), "asking makes nothing");
        assert!(namespaces.get(NamespaceId(u32::MAX)).is_none());
    }
}
