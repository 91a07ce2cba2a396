//! What the application does of its own accord, and what the oracle is told of it.

use super::{App, PADDING_MAX, ROOMS, attachment};
use crate::oracle::cluster::Publication;
use crate::oracle::inbox::{Claim, EventId};
use crate::oracle::questions::Question;
use crate::oracle::{Mark, Oracle, Work};
use crate::trace::note;
use bytes::Bytes;
use ringio_core::base::id::{NamespaceId, ShardIndex, SocketKey};
use ringio_core::door::{EmitError, EmitFlags, EventParts, Operation};
use ringio_core::limits::FETCH_DEADLINE_MS;
use ringio_core::room::select::Target;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

impl App {
    pub(super) fn act(self: &Rc<Self>) {
        let keys: Vec<SocketKey> = self.oracle(|oracle| {
            oracle.members_of(self.index).filter(|(_, member)| member.is_joined).map(|(key, _)| key).collect()
        });
        if keys.is_empty() {
            return;
        }
        let key = self.draw(|chance| *chance.pick(&keys));
        self.act_for(key);
    }

    /// Whether the engine lets it act; one that is on its way out has heard nothing yet.
    pub(super) fn is_there(&self, key: SocketKey) -> bool {
        self.core.borrow().is_connected(key)
    }

    pub(super) fn act_for(self: &Rc<Self>, key: SocketKey) {
        if !self.is_there(key) {
            return;
        }
        self.catch_up(None);
        if self.common.link.is_some() {
            return self.act_in_cluster(key);
        }
        match self.draw(|chance| chance.below(100)) {
            0..20 => self.emit(key),
            20..30 => self.emit_with_ack(key),
            30..58 => self.broadcast(key),
            58..63 => self.broadcast_with_ack(key),
            63..76 => self.join(key),
            76..84 => self.leave(key),
            84..90 => self.operate(key),
            90..94 => self.fetch(key),
            94..96 => self.disconnect(key),
            _ => self.broadcast_later(key),
        }
    }

    fn act_in_cluster(self: &Rc<Self>, key: SocketKey) {
        if self.common.is_curious && self.draw(|chance| chance.one_in(2)) {
            return match self.draw(|chance| chance.below(3)) {
                0 => self.fetch(key),
                1 => self.server_side_emit(key),
                _ => self.broadcast_with_ack(key),
            };
        }
        match self.draw(|chance| chance.below(100)) {
            0..12 => self.emit(key),
            12..20 => self.emit_with_ack(key),
            20..42 => self.broadcast(key),
            42..50 => self.broadcast_with_ack(key),
            50..60 => self.join(key),
            60..66 => self.leave(key),
            66..74 => self.operate(key),
            74..81 => self.fetch(key),
            81..91 => self.server_side_emit(key),
            91..94 => self.count_servers(key),
            94..96 => self.disconnect(key),
            _ => self.broadcast_later(key),
        }
    }

    fn broadcast_later(self: &Rc<Self>, key: SocketKey) {
        self.do_later(move |app| {
            app.catch_up(None);
            app.broadcast(key);
        });
    }

    /// Now and then what is for many is for those of this server only.
    fn flags(&self) -> EmitFlags {
        let local = self.common.link.is_some() && self.draw(|chance| chance.one_in(6));
        EmitFlags { local, ..EmitFlags::default() }
    }

    /// What was just done here is to be told to the other servers.
    fn owe(&self, flags: EmitFlags, namespace: NamespaceId, publication: impl FnOnce() -> Publication) {
        if self.common.link.is_some() && !flags.local {
            self.oracle(|oracle| oracle.cluster.owe(self.index, namespace.0, publication()));
        }
    }

    pub(super) fn next_id(&self) -> EventId {
        self.oracle(|oracle| oracle.next_id(self.role.sender))
    }

    /// An event that carries its number, and attachments with it now and then.
    fn event(&self, name: &str, id: u64) -> (String, Vec<Bytes>) {
        let padding = self.draw(|chance| if chance.one_in(4) { chance.between(0, PADDING_MAX) } else { 0 });
        let padding = "x".repeat(padding as usize);
        if self.draw(|chance| chance.one_in(8)) {
            let placeholder = "{\"_placeholder\":true,\"num\":0}";
            return (format!("[\"{name}\",\"{padding}\",{placeholder},{id}]"), vec![attachment(id)]);
        }
        (format!("[\"{name}\",\"{padding}\",{id}]"), Vec::new())
    }

    fn emit(&self, key: SocketKey) {
        let id = self.next_id();
        let (json, attachments) = self.event("d", id);
        let flags = EmitFlags { volatile: self.draw(|chance| chance.one_in(5)), ..EmitFlags::default() };
        let parts = EventParts { json: json.as_bytes(), attachments: &attachments };
        let is_joined = self.oracle(|oracle| oracle.member((self.index, key)).is_some_and(|member| member.is_joined));
        if !is_joined {
            return;
        }
        match self.core(|core| core.emit(key, parts, flags)) {
            Ok(()) => {
                note!("shard {}: emits {id} to {}", self.index, self.sid(key));
                let claim = if flags.volatile && self.oracle(|oracle| oracle.is_recoverable) {
                    Claim::May
                } else {
                    Claim::Must
                };
                let namespace = self.namespace_of(key).map_or(0, |namespace| namespace.0);
                let target = Target { rooms: [Arc::from(self.sid(key))].into_iter().collect(), ..Target::default() };
                self.oracle(|oracle| {
                    if !flags.volatile {
                        oracle.log(self.index, id, namespace, &target);
                    }
                    oracle.deliver(self.index, &BTreeSet::from([key]), id, claim);
                });
            }
            Err(EmitError::NotWritable) => assert!(flags.volatile, "violation: what must not be dropped was"),
            Err(EmitError::OutboxFull | EmitError::Disconnected) => {}
            Err(EmitError::Encode(wrong)) => panic!("violation: an event that cannot be encoded: {wrong}"),
        }
    }

    fn emit_with_ack(&self, key: SocketKey) {
        let (id, sid) = (self.next_id(), self.sid(key));
        let (json, attachments) = self.event("q", id);
        let timeout_ms = self.draw(|chance| (!chance.one_in(4)).then(|| chance.between(1, 400)));
        let now_ms = self.now() / 1_000;
        let deadline = timeout_ms.map(|timeout| (now_ms + timeout) * 1_000);
        let number = self.oracle(|oracle| oracle.ask(self.index, deadline, Question::Ack { id, sid }));
        let parts = EventParts { json: json.as_bytes(), attachments: &attachments };
        let emitted = self.core(|core| core.emit_with_ack(key, parts, EmitFlags::default(), timeout_ms, number));
        match emitted {
            Ok(()) => {
                note!("shard {}: asks {id} as {number}", self.index);
                let claim = if self.oracle(|oracle| oracle.is_recoverable) { Claim::May } else { Claim::Must };
                self.oracle(|oracle| oracle.deliver(self.index, &BTreeSet::from([key]), id, claim));
            }
            Err(_) => self.oracle(|oracle| oracle.withdraw(number)),
        }
    }

    pub(super) fn namespace_of(&self, key: SocketKey) -> Option<NamespaceId> {
        self.core.borrow().namespace_of(key)
    }

    /// Everyone, rooms, or the own room of somebody; minus rooms, minus oneself.
    fn target(&self, key: SocketKey) -> Target {
        let sids: Vec<String> = self.oracle(|oracle| oracle.joined().map(|(_, member)| member.sid.clone()).collect());
        let own = self.sid(key);
        self.draw(|chance| {
            let mut target = Target::default();
            for _ in 0..chance.below(4) {
                target.rooms.push(Arc::from(*chance.pick(&ROOMS)));
            }
            if chance.one_in(5) && !sids.is_empty() {
                target.rooms.push(Arc::from(chance.pick(&sids).as_str()));
            }
            if chance.one_in(3) {
                target.except.push(Arc::from(own.as_str()));
            }
            if chance.one_in(3) {
                target.except.push(Arc::from(*chance.pick(&ROOMS)));
            }
            target
        })
    }

    pub(super) fn mark_peers(&self, mark: &Mark) {
        for (peer, index) in self.role.shards.clone().enumerate() {
            if index != self.index {
                self.core(|core| core.send_to_peer(ShardIndex(peer as u16), Box::new(mark.clone())));
            }
        }
    }

    fn broadcast(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let target = self.target(key);
        let id = self.next_id();
        let (json, attachments) = self.event("d", id);
        let is_volatile = self.draw(|chance| chance.one_in(6));
        let flags = EmitFlags { volatile: is_volatile, ..self.flags() };
        let parts = EventParts { json: json.as_bytes(), attachments: &attachments };
        let selected = self.oracle(|oracle| oracle.selection(self.index, namespace.0, &target));
        note!(
            "shard {}: broadcasts {id} to {:?} but {:?}: {} here",
            self.index,
            target.rooms,
            target.except,
            selected.len()
        );
        let work = Work::Broadcast { is_volatile, is_logged: !is_volatile };
        let mut mark = Mark { id, is_end: false, namespace: namespace.0, target, work };
        self.mark_peers(&mark);
        let name = &self.names[namespace.0 as usize];
        let count = self.core(|core| core.broadcast(namespace, name, &mark.target, parts, flags));
        let count = count.unwrap_or_else(|wrong| panic!("violation: a broadcast failed: {wrong:?}"));
        assert!(count <= selected.len(), "violation: {count} received {id}, {} were selected", selected.len());
        mark.is_end = true;
        self.mark_peers(&mark);
        self.was_broadcast(&mark, &selected);
        self.owe(flags, namespace, || Publication::Broadcast { id, target: mark.target, is_volatile, waiter: None });
    }

    /// The core has taken an event for many: what this shard owes to whom.
    pub(super) fn was_broadcast(&self, mark: &Mark, selected: &BTreeSet<SocketKey>) {
        let Work::Broadcast { is_volatile, is_logged } = mark.work else { return };
        let claim = if is_volatile { Claim::May } else { Claim::Must };
        self.oracle(|oracle| {
            oracle.deliver(self.index, selected, mark.id, claim);
            if is_logged {
                oracle.log(self.index, mark.id, mark.namespace, &mark.target);
                oracle.deliver_to_absent(self.index, mark.namespace, &mark.target, mark.id);
            }
        });
    }

    fn broadcast_with_ack(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let target = self.target(key);
        let id = self.next_id();
        let (json, attachments) = self.event("q", id);
        let timeout_ms = self.timeout_ms();
        let deadline = Some((self.now() / 1_000 + timeout_ms) * 1_000);
        let flags = self.flags();
        let is_local = flags.local;
        let number = self.oracle(|oracle| oracle.ask(self.index, deadline, Question::Gather { id, is_local }));
        let parts = EventParts { json: json.as_bytes(), attachments: &attachments };
        let selected = self.oracle(|oracle| oracle.selection(self.index, namespace.0, &target));
        note!("shard {}: asks {id} of {:?} but {:?} as {number}", self.index, target.rooms, target.except);
        let is_recoverable = self.oracle(|oracle| oracle.is_recoverable);
        let work = Work::Broadcast { is_volatile: is_recoverable, is_logged: false };
        let mut mark = Mark { id, is_end: false, namespace: namespace.0, target, work };
        self.mark_peers(&mark);
        let (name, target) = (&self.names[namespace.0 as usize], &mark.target);
        self.core(|core| core.broadcast_with_ack(namespace, name, target, parts, flags, timeout_ms, number))
            .unwrap_or_else(|wrong| panic!("violation: a broadcast failed: {wrong:?}"));
        mark.is_end = true;
        self.mark_peers(&mark);
        self.was_broadcast(&mark, &selected);
        let (target, waiter) = (mark.target, Some(number));
        self.owe(flags, namespace, || Publication::Broadcast { id, target, is_volatile: false, waiter });
    }

    /// How long a question may take; in a cluster now and then long enough to miss a server that is gone.
    pub(super) fn timeout_ms(&self) -> u64 {
        if self.common.link.is_some() && self.draw(|chance| chance.one_in(3)) {
            return self.draw(|chance| chance.between(400, 3_000));
        }
        self.draw(|chance| chance.between(1, 400))
    }

    pub(super) fn join(&self, key: SocketKey) {
        let room = self.draw(|chance| *chance.pick(&ROOMS));
        let expected = self.oracle(|oracle| oracle.join((self.index, key), room));
        let joined = self.core(|core| core.join(key, room));
        self.compare(key, room, expected, joined);
    }

    fn leave(&self, key: SocketKey) {
        let own = self.sid(key);
        let room = self.draw(|chance| if chance.one_in(12) { own } else { (*chance.pick(&ROOMS)).to_owned() });
        let expected = self.oracle(|oracle| oracle.leave((self.index, key), &room));
        let left = self.core(|core| core.leave(key, &room));
        self.compare(key, &room, expected, left);
    }

    fn compare(&self, key: SocketKey, room: &str, expected: Option<bool>, happened: bool) {
        note!("shard {}: {} joins or leaves {room}: {happened}", self.index, self.sid(key));
        if let Some(expected) = expected {
            assert_eq!(happened, expected, "violation: {} and room {room}", self.sid(key));
        }
    }

    fn operate(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let target = self.target(key);
        let room: Arc<[Arc<str>]> = Arc::from([Arc::from(self.draw(|chance| *chance.pick(&ROOMS)))]);
        let operation = match self.draw(|chance| chance.below(9)) {
            0..5 => Operation::Join(room),
            5..8 => Operation::Leave(room),
            _ => Operation::Disconnect { close: self.draw(|chance| chance.one_in(2)) },
        };
        let id = self.next_id();
        note!("shard {}: {operation:?} for {:?} but {:?} ({id})", self.index, target.rooms, target.except);
        let mut selected = self.oracle(|oracle| oracle.selection(self.index, namespace.0, &target));
        selected.retain(|key| self.is_there(*key));
        let work = Work::Operate(operation.clone());
        let mut mark = Mark { id, is_end: false, namespace: namespace.0, target, work };
        let flags = self.flags();
        self.mark_peers(&mark);
        self.core(|core| core.operate(namespace, &mark.target, &operation, flags));
        mark.is_end = true;
        self.mark_peers(&mark);
        self.oracle(|oracle| apply(oracle, self.index, &selected, &operation));
        self.owe(flags, namespace, || Publication::Operation { operation, target: mark.target });
    }

    fn fetch(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let target = self.target(key);
        let deadline = Some(self.now() + FETCH_DEADLINE_MS * 1_000);
        let flags = self.flags();
        let number =
            self.oracle(|oracle| oracle.ask_for_sockets(self.index, deadline, namespace.0, &target, flags.local));
        note!("shard {}: fetches as {number}", self.index);
        self.core(|core| core.fetch_sockets(namespace, &target, flags, FETCH_DEADLINE_MS, number));
        self.owe(flags, namespace, || Publication::Fetch { target, waiter: number });
    }

    fn disconnect(&self, key: SocketKey) {
        let close = self.draw(|chance| chance.one_in(2));
        note!("shard {}: disconnects {} ({close})", self.index, self.sid(key));
        self.core(|core| core.disconnect(key, close));
    }

    /// Tells the model what operations of other shards have done here so far. When their end is heard, it knows by itself.
    pub(super) fn catch_up(&self, ending: Option<EventId>) {
        for key in self.oracle(|oracle| oracle.operated_on(self.index, ending)) {
            if self.is_there(key) {
                let rooms = self.rooms_of(key);
                self.oracle(|oracle| oracle.adopt_rooms((self.index, key), rooms));
            }
        }
    }

    /// Another shard's work begins here, or has ended.
    pub(super) fn marked(&self, mark: &Mark) {
        self.catch_up(mark.is_end.then_some(mark.id));
        if !mark.is_end {
            return self.oracle(|oracle| oracle.begin_window(self.index, mark));
        }
        let (must, may) = self.oracle(|oracle| oracle.end_window(self.index, mark));
        note!("shard {}: {} was for {} here", self.index, mark.id, must.len());
        match &mark.work {
            Work::Broadcast { is_logged, .. } => {
                if *is_logged {
                    self.oracle(|oracle| oracle.deliver_to_absent(self.index, mark.namespace, &mark.target, mark.id));
                }
            }
            Work::Operate(operation) => {
                self.oracle(|oracle| apply(oracle, self.index, &must, operation));
                for key in may {
                    let rooms = self.rooms_of(key);
                    self.oracle(|oracle| oracle.adopt_rooms((self.index, key), rooms));
                }
            }
        }
    }
}

/// What an operation does to the model; that sockets leave is heard of each.
pub(super) fn apply(oracle: &mut Oracle, shard: usize, selected: &BTreeSet<SocketKey>, operation: &Operation) {
    for key in selected {
        match operation {
            Operation::Join(rooms) => rooms.iter().for_each(|room| {
                oracle.join((shard, *key), room);
            }),
            Operation::Leave(rooms) => rooms.iter().for_each(|room| {
                oracle.leave((shard, *key), room);
            }),
            Operation::Disconnect { .. } => {}
        }
    }
}
