//! A shard's own handles of namespaces, so that counting their references does not bounce between cores.

use crate::Namespace;
use crate::registry::View;
use ringio_core::base::id::NamespaceId;
use std::collections::HashMap;
use std::rc::Rc;

/// Made when first asked for. Numbers of namespaces that were removed are not used again while it matters, so what is
/// here is right, however old.
#[derive(Default)]
pub(crate) struct NamespaceHandles {
    /// Of namespaces made by the program, indexed by number.
    fixed: Vec<Option<Rc<Namespace>>>,
    /// Of namespaces made for clients.
    made: HashMap<NamespaceId, Rc<Namespace>>,
}

impl NamespaceHandles {
    pub(crate) fn find(&self, id: NamespaceId) -> Option<Rc<Namespace>> {
        if id.is_made() {
            return self.made.get(&id).cloned();
        }
        self.fixed.get(id.0 as usize)?.clone()
    }

    pub(crate) fn insert(&mut self, id: NamespaceId, namespace: Rc<Namespace>) {
        if id.is_made() {
            self.made.insert(id, namespace);
            return;
        }
        let at = id.0 as usize;
        if self.fixed.len() <= at {
            self.fixed.resize_with(at + 1, || None);
        }
        self.fixed[at] = Some(namespace);
    }

    /// Gives back memory that no handle needs.
    pub(crate) fn shrink(&mut self) {
        self.made.shrink_to_fit();
    }

    /// Forgets the handles of namespaces that have been removed; sockets that still hold one keep it.
    pub(crate) fn forget_removed(&mut self, view: &View) {
        self.made.retain(|id, _| view.table(*id).is_some());
    }
}
