//! The namespaces of a server and the handlers that all their sockets share.
//!
//! ```text
//! writers (rare)   lock -> copy -> change -> publish, version + 1
//! shards           version unchanged? the snapshot of before : take a new one
//! ```
//! Read-mostly: a shard looks at one atomic number per event and takes the lock only after a change. A namespace keeps
//! its number as long as it is there; one made for clients may be removed when it is empty (see `population`).

use crate::handler::SharedHandler;
use crate::listener::{ListenerId, SharedListener, Which};
use crate::middleware::SharedMiddleware;
use crate::parent_namespace::Pattern;
use crate::population::Population;
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
    /// How many sockets are in it, if it was made for clients.
    pub(crate) population: Option<Arc<Population>>,
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
            population: None,
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
        *self = Self {
            middlewares: std::mem::take(&mut self.middlewares),
            population: self.population.take(),
            ..Self::new(Arc::clone(&self.name))
        };
    }

    /// The events that have listeners, sorted.
    pub(crate) fn event_names(&self) -> Vec<String> {
        self.events.iter().filter(|(_, listeners)| !listeners.is_empty()).map(|(name, _)| name.to_string()).collect()
    }
}

/// Namespaces that are made on demand.
#[derive(Clone)]
pub(crate) struct Parent {
    pub(crate) pattern: Pattern,
    /// What its children begin with.
    template: Table,
    children: Vec<NamespaceId>,
}

/// All namespaces at one moment.
#[derive(Clone, Default)]
pub(crate) struct View {
    /// Made by the program: indexed by [`NamespaceId`].
    tables: Vec<Arc<Table>>,
    /// Made for clients, and children made by hand.
    made: HashMap<NamespaceId, Arc<Table>>,
    made_count: u32,
    by_name: HashMap<Arc<str>, NamespaceId>,
    /// In the order in which they are asked.
    parents: Vec<Arc<Parent>>,
}

impl View {
    pub(crate) fn table(&self, id: NamespaceId) -> Option<&Table> {
        self.shared_table(id).map(|table| &**table)
    }

    pub(crate) fn shared_table(&self, id: NamespaceId) -> Option<&Arc<Table>> {
        if id.is_made() { self.made.get(&id) } else { self.tables.get(id.0 as usize) }
    }

    fn table_mut(&mut self, id: NamespaceId) -> Option<&mut Table> {
        let table = if id.is_made() { self.made.get_mut(&id) } else { self.tables.get_mut(id.0 as usize) };
        table.map(Arc::make_mut)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (&Arc<str>, NamespaceId)> {
        self.by_name.iter().map(|(name, id)| (name, *id))
    }

    /// A number that no namespace made for clients has, nor has had for as long as possible.
    fn next_made(&mut self) -> NamespaceId {
        loop {
            let id = NamespaceId(NamespaceId::FIRST_MADE | self.made_count);
            self.made_count = (self.made_count + 1) % NamespaceId::FIRST_MADE;
            if !self.made.contains_key(&id) {
                return id;
            }
        }
    }

    fn insert_child(&mut self, parent: usize, name: Arc<str>) -> Option<NamespaceId> {
        let template = self.parents.get(parent)?.template.clone();
        let id = self.next_made();
        self.by_name.insert(Arc::clone(&name), id);
        self.made.insert(id, Arc::new(Table { name, population: Some(Arc::default()), ..template }));
        Arc::make_mut(&mut self.parents[parent]).children.push(id);
        Some(id)
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
            let is_match =
                |parent: &Arc<Parent>| parent.pattern.regex.as_ref().is_some_and(|regex| regex.is_match(&name));
            let parent = view.parents.iter().position(is_match);
            let child = parent.and_then(|parent| view.insert_child(parent, Arc::clone(&name)));
            let id = child.unwrap_or_else(|| view.insert(Table::new(Arc::clone(&name))));
            (id, name, true)
        })
    }

    /// A pattern of namespaces that are made on demand; its position.
    pub(crate) fn add_parent(&self, pattern: Pattern) -> usize {
        self.change(|view| {
            let template = Table::new(Arc::from(""));
            view.parents.push(Arc::new(Parent { pattern, template, children: Vec::new() }));
            view.parents.len() - 1
        })
    }

    /// The name of the next listener that all shards share.
    pub(crate) fn next_listener(&self) -> ListenerId {
        ListenerId::shared(self.listener_count.fetch_add(1, Ordering::Relaxed))
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
        let id = self.next_listener();
        self.change_parent(parent, |template| template.handlers_mut(occasion).push(SharedListener { id, handler }));
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
            Some((view.insert_child(parent, Arc::from(name))?, true))
        })
    }

    /// Removes a child that nobody is in. From then on nobody enters it; its name is free.
    pub(crate) fn remove_if_empty(&self, id: NamespaceId) {
        self.change(|view| {
            let Some(table) = view.made.get(&id) else { return };
            if !table.population.as_ref().is_some_and(|population| population.close()) {
                return;
            }
            let name = Arc::clone(&table.name);
            view.made.remove(&id);
            view.by_name.remove(&name);
            for parent in &mut view.parents {
                if parent.children.contains(&id) {
                    Arc::make_mut(parent).children.retain(|child| *child != id);
                }
            }
        });
    }

    /// A change of one namespace, if it is still there.
    fn change_table(&self, id: NamespaceId, change: impl FnOnce(&mut Table)) {
        self.change(|view| {
            if let Some(table) = view.table_mut(id) {
                change(table);
            }
        });
    }

    pub(crate) fn add(&self, id: NamespaceId, occasion: &Occasion<'_>, handler: SharedHandler) -> ListenerId {
        let name = self.next_listener();
        self.add_named(id, occasion, name, handler);
        name
    }

    /// Adds a listener that has its name already.
    pub(crate) fn add_named(
        &self,
        namespace: NamespaceId,
        occasion: &Occasion<'_>,
        id: ListenerId,
        handler: SharedHandler,
    ) {
        self.change_table(namespace, |table| table.handlers_mut(occasion).push(SharedListener { id, handler }));
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
            for table in view.tables.iter_mut().chain(view.made.values_mut()) {
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
    use crate::parent_namespace::Answer;
    use regex::Regex;

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
        let parent = registry.add_parent(Pattern { regex: None, ask: Arc::new(|_, _| Answer::Known(true)) });
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
    fn an_empty_child_is_removed_and_comes_back_under_another_number() {
        let registry = Registry::new();
        let parent = registry.add_parent(Pattern { regex: None, ask: Arc::new(|_, _| Answer::Known(true)) });
        let Some((first, true)) = registry.child(parent, "/a", 1) else { panic!("made") };
        let (_, before) = registry.view();
        let population = before.table(first).and_then(|table| table.population.clone()).unwrap();
        assert!(population.enter());
        registry.remove_if_empty(first);
        assert_eq!(registry.child(parent, "/a", 1), Some((first, false)), "somebody is in it");
        assert!(population.leave());
        registry.remove_if_empty(first);
        let (_, after) = registry.view();
        assert!(after.table(first).is_none() && after.find("/a").is_none() && after.children(parent).is_empty());
        assert!(!population.enter(), "who holds the former view cannot enter");
        let Some((second, true)) = registry.child(parent, "/a", 1) else { panic!("made again") };
        assert_ne!(first, second);
        registry.remove_if_empty(MAIN);
        assert!(registry.view().1.table(MAIN).is_some(), "never one of the program's");
        registry.add(first, &Occasion::Connection, (|| {}).into_shared());
    }

    #[test]
    fn a_name_made_by_hand_is_adopted_by_a_regular_expression() {
        let registry = Registry::new();
        let (before, ..) = registry.namespace("/room-1");
        registry.add_parent(Pattern { regex: None, ask: Arc::new(|_, _| Answer::Known(true)) });
        let regex = Regex::new(r"^/room-\d+$").ok();
        let parent = registry.add_parent(Pattern { regex, ask: Arc::new(|_, _| Answer::Known(true)) });
        registry.add_to_parent(parent, &Occasion::Connection, (|| {}).into_shared());
        let (child, _, is_new) = registry.namespace("room-2");
        let (_, view) = registry.view();
        assert!(is_new && child.is_made() && !before.is_made());
        assert_eq!(view.children(parent), [child]);
        assert_eq!(view.table(child).map(|table| table.handlers(&Occasion::Connection).len()), Some(1));
        assert!(!registry.namespace("/other").0.is_made());
        assert_eq!(registry.namespace("/room-1").0, before, "what was there before stays what it was");
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
