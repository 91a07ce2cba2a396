//! The namespaces of a server and the handlers that all their sockets share.
//!
//! ```text
//! writers (rare)   lock -> copy -> change -> publish, version + 1
//! shards           version unchanged? the snapshot of before : take a new one
//! ```
//! Read-mostly: a shard looks at one atomic number per event and takes the lock only after a change. A namespace keeps
//! its number for ever; numbers are never used again.

use crate::handler::SharedHandler;
use crate::listener::{ListenerId, SharedListener, Which};
use crate::middleware::SharedMiddleware;
use crate::parent_namespace::Predicate;
use parking_lot::RwLock;
use ringio_core::base::id::NamespaceId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The main namespace, which exists from the beginning.
pub(crate) const MAIN: NamespaceId = NamespaceId(0);

/// What handlers of connections are filed under; clients cannot reach it by an event of that name.
pub(crate) enum Occasion<'a> {
    /// A socket has joined.
    Connection,
    /// A socket is leaving, its rooms are still there.
    Disconnecting,
    /// A socket has left its rooms.
    Disconnect,
    /// A client sent this event.
    Event(&'a str),
}

impl<'a> Occasion<'a> {
    /// The names that mean no event of a client, for those who know them from Node.
    pub(crate) fn of(event: &'a str) -> Self {
        match event {
            "disconnecting" => Self::Disconnecting,
            "disconnect" => Self::Disconnect,
            event => Self::Event(event),
        }
    }
}

/// One namespace and its handlers.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) name: Arc<str>,
    /// In their order.
    pub(crate) middlewares: Vec<SharedMiddleware>,
    connection: Vec<SharedListener>,
    disconnecting: Vec<SharedListener>,
    disconnect: Vec<SharedListener>,
    /// Sorted by name.
    events: Vec<(Box<str>, Vec<SharedListener>)>,
}

impl Table {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            middlewares: Vec::new(),
            connection: Vec::new(),
            disconnecting: Vec::new(),
            disconnect: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The handlers for `occasion` in the order in which they were added.
    pub(crate) fn handlers(&self, occasion: &Occasion<'_>) -> &[SharedListener] {
        match occasion {
            Occasion::Connection => &self.connection,
            Occasion::Disconnecting => &self.disconnecting,
            Occasion::Disconnect => &self.disconnect,
            Occasion::Event(name) => match self.events.binary_search_by(|(event, _)| (**event).cmp(name)) {
                Ok(at) => &self.events[at].1,
                Err(_) => &[],
            },
        }
    }

    fn handlers_mut(&mut self, occasion: &Occasion<'_>) -> &mut Vec<SharedListener> {
        match occasion {
            Occasion::Connection => &mut self.connection,
            Occasion::Disconnecting => &mut self.disconnecting,
            Occasion::Disconnect => &mut self.disconnect,
            Occasion::Event(name) => {
                let at = self.events.binary_search_by(|(event, _)| (**event).cmp(name)).unwrap_or_else(|at| {
                    self.events.insert(at, (Box::from(*name), Vec::new()));
                    at
                });
                &mut self.events[at].1
            }
        }
    }

    /// Forgets the listeners that are meant: one, wherever it is, or all of an occasion.
    fn forget(&mut self, which: Which<'_>) {
        match which {
            Which::Event(name) => {
                self.handlers_mut(&Occasion::of(name)).clear();
                self.events.retain(|(_, listeners)| !listeners.is_empty());
            }
            Which::One(id) => {
                let events = self.events.iter_mut().map(|(_, listeners)| listeners);
                for listeners in
                    [&mut self.connection, &mut self.disconnecting, &mut self.disconnect].into_iter().chain(events)
                {
                    listeners.retain(|listener| listener.id != id);
                }
            }
        }
    }

    /// Forgets all listeners; middlewares stay.
    fn forget_all(&mut self) {
        *self = Self { middlewares: std::mem::take(&mut self.middlewares), ..Self::new(Arc::clone(&self.name)) };
    }

    /// The events that have listeners, sorted.
    pub(crate) fn event_names(&self) -> Vec<String> {
        self.events.iter().filter(|(_, listeners)| !listeners.is_empty()).map(|(name, _)| name.to_string()).collect()
    }
}

/// Namespaces that are made on demand.
#[derive(Clone)]
pub(crate) struct Parent {
    pub(crate) predicate: Predicate,
    /// What its children begin with.
    template: Table,
    children: Vec<NamespaceId>,
}

/// All namespaces at one moment.
#[derive(Clone, Default)]
pub(crate) struct View {
    /// Indexed by [`NamespaceId`].
    tables: Vec<Arc<Table>>,
    by_name: HashMap<Arc<str>, NamespaceId>,
    /// In the order in which they are asked.
    parents: Vec<Arc<Parent>>,
}

impl View {
    pub(crate) fn table(&self, id: NamespaceId) -> Option<&Table> {
        self.tables.get(id.0 as usize).map(|table| &**table)
    }

    pub(crate) fn shared_table(&self, id: NamespaceId) -> Option<&Arc<Table>> {
        self.tables.get(id.0 as usize)
    }

    pub(crate) fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    pub(crate) fn parents(&self) -> &[Arc<Parent>] {
        &self.parents
    }

    pub(crate) fn children(&self, parent: usize) -> &[NamespaceId] {
        self.parents.get(parent).map_or(&[], |parent| &parent.children)
    }

    fn insert(&mut self, table: Table) -> NamespaceId {
        let id =
            NamespaceId(u32::try_from(self.tables.len()).expect("names of 2^32 namespaces do not fit into memory"));
        self.by_name.insert(Arc::clone(&table.name), id);
        self.tables.push(Arc::new(table));
        id
    }

    pub(crate) fn find(&self, name: &str) -> Option<NamespaceId> {
        self.by_name.get(name).copied()
    }
}

pub(crate) struct Registry {
    view: RwLock<Arc<View>>,
    version: AtomicU64,
    listener_count: AtomicU64,
}

impl Registry {
    /// With the main namespace.
    pub(crate) fn new() -> Self {
        let registry = Self { view: RwLock::default(), version: AtomicU64::new(1), listener_count: AtomicU64::new(0) };
        assert_eq!(registry.namespace("/").0, MAIN, "the first namespace is the main one");
        registry
    }

    /// Changes with every change of the registry.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The namespaces and the version that is at most as recent as they are.
    pub(crate) fn view(&self) -> (u64, Arc<View>) {
        let version = self.version();
        (version, Arc::clone(&self.view.read()))
    }

    /// The namespace of that name, made if there is none, and whether it was made. A leading slash is added, `""` is `/`.
    pub(crate) fn namespace(&self, name: &str) -> (NamespaceId, Arc<str>, bool) {
        let name: Arc<str> = if name.starts_with('/') { Arc::from(name) } else { Arc::from(format!("/{name}")) };
        self.change(|view| {
            if let Some((name, id)) = view.by_name.get_key_value(&name) {
                return (*id, Arc::clone(name), false);
            }
            (view.insert(Table::new(Arc::clone(&name))), name, true)
        })
    }

    /// A pattern of namespaces that are made on demand; its position.
    pub(crate) fn add_parent(&self, predicate: Predicate) -> usize {
        self.change(|view| {
            let template = Table::new(Arc::from(""));
            view.parents.push(Arc::new(Parent { predicate, template, children: Vec::new() }));
            view.parents.len() - 1
        })
    }

    fn name_listener(&self, handler: SharedHandler) -> SharedListener {
        SharedListener { id: ListenerId::shared(self.listener_count.fetch_add(1, Ordering::Relaxed)), handler }
    }

    /// A change of what future children of a parent begin with. After the server has ended there are no parents.
    fn change_parent(&self, parent: usize, change: impl FnOnce(&mut Table)) {
        self.change(|view| {
            if let Some(parent) = view.parents.get_mut(parent) {
                change(&mut Arc::make_mut(parent).template);
            }
        });
    }

    pub(crate) fn add_to_parent(&self, parent: usize, occasion: &Occasion<'_>, handler: SharedHandler) -> ListenerId {
        let listener = self.name_listener(handler);
        let id = listener.id;
        self.change_parent(parent, |template| template.handlers_mut(occasion).push(listener));
        id
    }

    pub(crate) fn remove_from_parent(&self, parent: usize, which: Which<'_>) {
        self.change_parent(parent, |template| template.forget(which));
    }

    pub(crate) fn add_middleware_to_parent(&self, parent: usize, middleware: SharedMiddleware) {
        self.change_parent(parent, |template| template.middlewares.push(middleware));
    }

    /// The namespace of that name as a child of `parent`, made if there is none, and whether it was made. `None` if
    /// the parents have `children_max` children already.
    pub(crate) fn child(&self, parent: usize, name: &str, children_max: usize) -> Option<(NamespaceId, bool)> {
        self.change(|view| {
            if let Some(id) = view.find(name) {
                return Some((id, false));
            }
            if view.parents.iter().map(|parent| parent.children.len()).sum::<usize>() >= children_max {
                return None;
            }
            let template = view.parents.get(parent)?.template.clone();
            let id = view.insert(Table { name: Arc::from(name), ..template });
            Arc::make_mut(&mut view.parents[parent]).children.push(id);
            Some((id, true))
        })
    }

    /// A change of one namespace, if it is still there.
    fn change_table(&self, id: NamespaceId, change: impl FnOnce(&mut Table)) {
        self.change(|view| {
            if let Some(table) = view.tables.get_mut(id.0 as usize) {
                change(Arc::make_mut(table));
            }
        });
    }

    pub(crate) fn add(&self, id: NamespaceId, occasion: &Occasion<'_>, handler: SharedHandler) -> ListenerId {
        let listener = self.name_listener(handler);
        let name = listener.id;
        self.change_table(id, |table| table.handlers_mut(occasion).push(listener));
        name
    }

    pub(crate) fn add_middleware(&self, id: NamespaceId, middleware: SharedMiddleware) {
        self.change_table(id, |table| table.middlewares.push(middleware));
    }

    pub(crate) fn remove(&self, id: NamespaceId, which: Which<'_>) {
        self.change_table(id, |table| table.forget(which));
    }

    pub(crate) fn remove_all(&self, id: NamespaceId) {
        self.change_table(id, Table::forget_all);
    }

    /// Forgets all handlers: they may own the server that owns them.
    pub(crate) fn clear_handlers(&self) {
        self.change(|view| {
            view.parents.clear();
            for table in &mut view.tables {
                *table = Arc::new(Table::new(Arc::clone(&table.name)));
            }
        });
    }

    fn change<R>(&self, change: impl FnOnce(&mut View) -> R) -> R {
        // What falls out of use is dropped after the lock: handlers are the user's, and may use the server when dropped.
        let (result, before) = {
            let mut view = self.view.write();
            let before = Arc::clone(&view);
            let result = change(Arc::make_mut(&mut view));
            self.version.fetch_add(1, Ordering::Release);
            (result, before)
        };
        drop(before);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Socket;
    use crate::handler::Handler;

    #[test]
    fn names_get_their_slash_and_keep_their_number() {
        let registry = Registry::new();
        let (admin, name, is_new) = registry.namespace("admin");
        assert!(is_new && !registry.namespace("/admin").2);
        assert_eq!(&*name, "/admin");
        assert_eq!(registry.namespace("/admin").0, admin);
        assert_eq!(registry.namespace("").0, MAIN);
        assert_eq!(registry.namespace("/").0, MAIN);
        assert_ne!(registry.namespace("/other").0, admin);
        let (_, view) = registry.view();
        assert_eq!(view.find("/admin"), Some(admin));
        assert_eq!(view.find("admin"), None);
        assert_eq!(view.find("/none"), None);
    }

    #[test]
    fn children_have_what_their_parent_had_and_are_bounded() {
        let registry = Registry::new();
        let parent = registry.add_parent(Arc::new(|_, _| true));
        registry.add_to_parent(parent, &Occasion::Connection, (|| {}).into_shared());
        let Some((first, true)) = registry.child(parent, "/a", 2) else { panic!("made") };
        assert_eq!(registry.child(parent, "/a", 2), Some((first, false)), "the same for the next client");
        registry.add_to_parent(parent, &Occasion::Connection, (|| {}).into_shared());
        let Some((second, true)) = registry.child(parent, "/b", 2) else { panic!("made") };
        assert_eq!(registry.child(parent, "/c", 2), None);
        assert_eq!(registry.child(parent, "/", 0), Some((MAIN, false)));
        let (_, view) = registry.view();
        let count = |id| view.table(id).map(|table| table.handlers(&Occasion::Connection).len());
        assert_eq!((count(first), count(second)), (Some(1), Some(2)), "as it was when they were made");
        assert_eq!(view.children(parent), [first, second]);
    }

    #[test]
    fn a_change_is_seen_by_its_version_and_not_in_older_views() {
        let registry = Registry::new();
        let (version, before) = registry.view();
        registry.add(MAIN, &Occasion::Event("b"), (|_: Socket| {}).into_shared());
        registry.add(MAIN, &Occasion::Event("a"), (|| {}).into_shared());
        registry.add(MAIN, &Occasion::Event("b"), (async || {}).into_shared());
        registry.add(MAIN, &Occasion::Connection, (|| {}).into_shared());
        assert_ne!(registry.version(), version);
        let count = |view: &View, occasion| view.table(MAIN).map(|table| table.handlers(&occasion).len());
        let (_, after) = registry.view();
        assert_eq!(count(&before, Occasion::Event("b")), Some(0));
        assert_eq!(count(&after, Occasion::Event("b")), Some(2));
        assert_eq!(count(&after, Occasion::Event("a")), Some(1));
        assert_eq!(count(&after, Occasion::Event("connection")), Some(0));
        assert_eq!(count(&after, Occasion::Connection), Some(1));
        let id = registry.add(MAIN, &Occasion::Event("b"), (|| {}).into_shared());
        registry.remove(MAIN, Which::One(id));
        assert_eq!(count(&registry.view().1, Occasion::Event("b")), Some(2), "the others stay");
        registry.remove(MAIN, Which::Event("b"));
        assert_eq!(count(&registry.view().1, Occasion::Event("b")), Some(0));
        assert_eq!(registry.view().1.table(MAIN).map(Table::event_names), Some(vec!["a".to_owned()]));
        registry.remove_all(MAIN);
        assert_eq!(count(&registry.view().1, Occasion::Connection), Some(0));
        registry.add(MAIN, &Occasion::Connection, (|| {}).into_shared());
        registry.clear_handlers();
        assert_eq!(count(&registry.view().1, Occasion::Connection), Some(0));
    }
}
