//! What the application keeps per socket of a shard.
//!
//! ```text
//! slots[key.index] = generation, namespace, id, Option<Box<Local>>       40 bytes
//!                                               listeners, data, extensions: only once something is registered
//! ```
//! A socket whose events are all handled namespace-wide costs its slot and nothing else. Nothing of the user's is
//! dropped or called while the table is borrowed: what falls out is returned.

use crate::by_type::ByType;
use crate::handler::LocalHandler;
use crate::listener::{ListenerId, Which};
use ringio_core::base::id::{Key, NamespaceId, SocketKey};
use ringio_core::base::seed::Sid;
use ringio_core::base::table::Table;
use serde_json::{Map, Value};
use smallvec::SmallVec;
use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::num::NonZero;
use std::rc::Rc;
use tokio::sync::oneshot;

/// Handlers that one event reaches.
pub(crate) type Matching = SmallVec<[LocalHandler; 2]>;

/// Handlers of every event, with their names.
pub(crate) type AnyListeners = Vec<(ListenerId, LocalHandler)>;

struct Listener {
    event: Cow<'static, str>,
    handler: LocalHandler,
    id: ListenerId,
    is_once: bool,
}

/// What a socket has registered or been given.
#[derive(Default)]
pub(crate) struct Local {
    listeners: Vec<Listener>,
    /// Handlers of every event that comes.
    pub(crate) any: AnyListeners,
    /// Handlers of every event that is sent.
    pub(crate) outgoing: AnyListeners,
    /// Handlers of `drain`.
    pub(crate) drain: AnyListeners,
    /// Who waits for room in its outbox.
    pub(crate) room: Vec<oneshot::Sender<()>>,
    /// Middlewares for its events.
    pub(crate) middlewares: Vec<LocalHandler>,
    pub(crate) data: Map<String, Value>,
    pub(crate) extensions: ByType<Rc<dyn Any>>,
}

impl Local {
    pub(crate) fn listen(&mut self, event: Cow<'static, str>, handler: LocalHandler, id: ListenerId, is_once: bool) {
        self.listeners.push(Listener { event, handler, id, is_once });
    }

    /// The same, before the others.
    pub(crate) fn listen_first(&mut self, event: Cow<'static, str>, handler: LocalHandler, id: ListenerId) {
        self.listeners.insert(0, Listener { event, handler, id, is_once: false });
    }

    /// The listeners of `event` in their order.
    pub(crate) fn listeners(&self, event: &str) -> Vec<ListenerId> {
        self.listeners.iter().filter(|listener| listener.event == event).map(|listener| listener.id).collect()
    }

    /// The events that somebody listens to, each once, in the order in which they were first named.
    pub(crate) fn event_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for listener in &self.listeners {
            if !names.iter().any(|name| *name == listener.event) {
                names.push(listener.event.clone().into_owned());
            }
        }
        names
    }

    /// The handlers of `event` in their order; those of `once` are forgotten by this.
    pub(crate) fn take_matching(&mut self, event: &str) -> Matching {
        let mut matching = Matching::new();
        let mut has_once = false;
        for listener in self.listeners.iter().filter(|listener| listener.event == event) {
            matching.push(Rc::clone(&listener.handler));
            has_once |= listener.is_once;
        }
        if has_once {
            self.listeners.retain(|listener| !(listener.is_once && listener.event == event));
        }
        matching
    }

    /// Forgets the handlers that are meant and returns them to be dropped.
    pub(crate) fn forget(&mut self, which: Which<'_>) -> Matching {
        let is_meant = |listener: &mut Listener| match which {
            Which::One(id) => listener.id == id,
            Which::Event(event) => listener.event == event,
        };
        self.listeners.extract_if(.., is_meant).map(|listener| listener.handler).collect()
    }

    /// Forgets the handlers of all events, those of every event excepted, and returns them to be dropped.
    pub(crate) fn forget_all(&mut self) -> Matching {
        self.listeners.drain(..).map(|listener| listener.handler).collect()
    }
}

/// Takes out one listener, or all of them, and returns them to be dropped.
pub(crate) fn remove(listeners: &mut AnyListeners, which: Option<ListenerId>) -> AnyListeners {
    match which {
        None => std::mem::take(listeners),
        Some(id) => listeners.extract_if(.., |(listener, _)| *listener == id).collect(),
    }
}

struct Slot {
    generation: u32,
    /// One more than the namespace's number: so that an empty slot needs no room of its own.
    namespace_plus_one: NonZero<u32>,
    id: Sid,
    local: Option<Box<Local>>,
}

const _: () = assert!(size_of::<Option<Slot>>() <= 40, "a socket without listeners costs 40 bytes here");

/// All sockets of a shard.
#[derive(Default)]
pub(crate) struct SocketTable {
    slots: RefCell<Table<Slot>>,
}

impl SocketTable {
    pub(crate) fn insert(&self, key: SocketKey, namespace: NamespaceId, id: Sid) {
        let namespace_plus_one = namespace.0.checked_add(1).and_then(NonZero::new);
        let namespace_plus_one = namespace_plus_one.expect("2^32 namespaces do not fit into memory");
        let slot = Slot { generation: key.generation(), namespace_plus_one, id, local: None };
        // A socket is released before its position is used again.
        self.slots.borrow_mut().put(key.index(), slot);
    }

    /// Namespace and id of a socket that has not been released.
    pub(crate) fn find(&self, key: SocketKey) -> Option<(NamespaceId, Sid)> {
        let slots = self.slots.borrow();
        let slot = slots.get(key.index())?;
        (slot.generation == key.generation()).then_some((NamespaceId(slot.namespace_plus_one.get() - 1), slot.id))
    }

    /// The socket got its former id back.
    pub(crate) fn rename(&self, key: SocketKey, id: Sid) {
        let mut slots = self.slots.borrow_mut();
        if let Some(slot) = slots.get_mut(key.index()).filter(|slot| slot.generation == key.generation()) {
            slot.id = id;
        }
    }

    /// Calls `look` with what the socket has registered, if it has anything.
    pub(crate) fn look<R>(&self, key: SocketKey, look: impl FnOnce(&mut Local) -> R) -> Option<R> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(key.index())?;
        if slot.generation != key.generation() {
            return None;
        }
        slot.local.as_deref_mut().map(look)
    }

    /// Calls `change` with what the socket has registered. None if the socket is gone; then nothing was called.
    pub(crate) fn change<R>(&self, key: SocketKey, change: impl FnOnce(&mut Local) -> R) -> Option<R> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(key.index())?;
        if slot.generation != key.generation() {
            return None;
        }
        Some(change(slot.local.get_or_insert_default()))
    }

    /// Forgets a socket and returns what it had registered, to be dropped.
    pub(crate) fn remove(&self, key: SocketKey) -> Option<Box<Local>> {
        self.find(key)?;
        self.slots.borrow_mut().take(key.index())?.local
    }

    /// Gives back memory that no socket needs.
    pub(crate) fn shrink(&self) {
        self.slots.borrow_mut().shrink();
    }

    /// Forgets all sockets and returns what they had registered, to be dropped.
    pub(crate) fn take_all(&self) -> Vec<Option<Box<Local>>> {
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        slots.into_values().map(|slot| slot.local).collect()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::handler::Handler;
    use ringio_core::base::id::ShardIndex;
    use ringio_core::base::seed::Seed;

    fn handler() -> LocalHandler {
        (|| {}).into_local()
    }

    #[test]
    fn once_is_forgotten_when_it_matches() {
        let mut local = Local::default();
        let [always, once, other] = [handler(), handler(), handler()];
        let [first_id, second_id, third_id] = [1, 2, 3].map(ListenerId::shared);
        local.listen("e".into(), Rc::clone(&always), first_id, false);
        local.listen("e".into(), Rc::clone(&once), second_id, true);
        local.listen("f".into(), other, third_id, true);
        assert_eq!(
            (local.event_names(), local.listeners("e")),
            (vec!["e".into(), "f".into()], vec![first_id, second_id])
        );
        let first = local.take_matching("e");
        assert!(first.len() == 2 && Rc::ptr_eq(&first[0], &always) && Rc::ptr_eq(&first[1], &once));
        let second = local.take_matching("e");
        assert!(second.len() == 1 && Rc::ptr_eq(&second[0], &always));
        assert!(local.forget(Which::One(second_id)).is_empty(), "it was taken out when it matched");
        assert_eq!(local.forget(Which::Event("e")).len(), 1);
        assert!(local.take_matching("e").is_empty());
        assert_eq!(local.take_matching("f").len(), 1);
    }

    #[test]
    fn a_former_tenant_finds_nothing_and_memory_returns() {
        let table = SocketTable::default();
        let id = Seed::new([1; 32], ShardIndex(0)).next_sid();
        let [first, high, second] = [SocketKey::new(0, 1), SocketKey::new(900, 2), SocketKey::new(0, 3)];
        table.insert(first, NamespaceId(0), id);
        table.insert(high, NamespaceId(1), id);
        assert_eq!(table.find(high), Some((NamespaceId(1), id)));
        assert!(table.look(first, |_| ()).is_none(), "nothing registered, nothing allocated");
        assert!(
            table.change(first, |local| local.listen("e".into(), handler(), ListenerId::shared(1), false)).is_some()
        );
        assert!(table.look(first, |_| ()).is_some());
        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none());
        table.insert(second, NamespaceId(0), id);
        assert_eq!(table.find(first), None);
        assert!(table.change(first, |_| ()).is_none());
        table.remove(high);
        assert_eq!(table.len(), 1);
        table.remove(second);
        assert_eq!(table.len(), 0);
    }
}
