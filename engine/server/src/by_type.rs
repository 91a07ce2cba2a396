//! At most one value of each type: what extensions are kept in.
//!
//! A list, because there are a few at most. `P` is a counted reference to `dyn Any`: of one shard, or of all threads.

use std::any::TypeId;

pub(crate) struct ByType<P>(Vec<(TypeId, P)>);

impl<P> Default for ByType<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P> ByType<P> {
    /// Sets the value of a type and returns the one before.
    pub(crate) fn insert(&mut self, id: TypeId, value: P) -> Option<P> {
        match self.0.iter_mut().find(|(other, _)| *other == id) {
            Some((_, before)) => Some(std::mem::replace(before, value)),
            None => {
                self.0.push((id, value));
                None
            }
        }
    }

    pub(crate) fn find(&self, id: TypeId) -> Option<&P> {
        self.0.iter().find(|(other, _)| *other == id).map(|(_, value)| value)
    }

    /// Removes the value of a type and returns it.
    pub(crate) fn remove(&mut self, id: TypeId) -> Option<P> {
        let at = self.0.iter().position(|(other, _)| *other == id)?;
        Some(self.0.remove(at).1)
    }
}
