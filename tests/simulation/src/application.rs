//! The application of a shard: does random things with the core's door, and tells the oracle of everything.
//!
//! | it does | how often |
//! |---|---|
//! | emits to one socket, plain, volatile, with attachments, with an acknowledgement | most |
//! | broadcasts to rooms minus rooms, also with acknowledgements | often |
//! | joins, leaves, operates on the sockets of all shards | often |
//! | disconnects, asks for sockets | seldom |
//!
//! Some of it at once in a handler, some in an async handler that is woken later, some in jobs of other threads.

use crate::chance::Chance;
use crate::clock::{Micros, SimulatedClock};
use crate::oracle::inbox::{Claim, EventId};
use crate::oracle::{Mark, Oracle, Question, Waiter, Work};
use crate::trace::note;
use bytes::Bytes;
use ringio_core::base::id::{NamespaceId, ShardIndex, SocketKey};
use ringio_core::door::{
    AckFailure, Cause, EmitError, EmitFlags, Event, EventParts, Message, Operation, SocketDescription,
};
use ringio_core::limits::FETCH_DEADLINE_MS;
use ringio_core::room::select::Target;
use ringio_core::shard::Shard;
use ringio_runtime::executor::Executor;
use ringio_runtime::shard_thread::Application;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Namespaces there are; clients also ask for one that there is not.
pub const NAMESPACES: [&str; 2] = ["/", "/a"];
/// Rooms that sockets join.
const ROOMS: [&str; 5] = ["r0", "r1", "r2", "r3", "r4"];
/// Longest padding of an event. Bytes.
const PADDING_MAX: u64 = 3_000;

/// Async handlers that wait for something outside, a database say: woken by the scheduler.
#[derive(Debug, Default)]
pub struct Outside {
    waiting: Vec<(Micros, Waker)>,
}

impl Outside {
    /// Wakes who has waited long enough.
    pub fn wake(&mut self, now: Micros) {
        for (_, waker) in self.waiting.extract_if(.., |(at, _)| *at <= now) {
            waker.wake();
        }
    }

    /// When somebody is to be woken.
    #[must_use]
    pub fn next_at(&self) -> Option<Micros> {
        self.waiting.iter().map(|(at, _)| *at).min()
    }
}

/// What the applications of a story share.
#[derive(Debug)]
pub struct Common {
    /// The clock.
    pub clock: SimulatedClock,
    /// The judge.
    pub oracle: RefCell<Oracle>,
    /// Who async handlers wait for.
    pub outside: RefCell<Outside>,
    /// Whether the application does anything of its own accord.
    pub is_active: std::cell::Cell<bool>,
    /// Whether middlewares take their time.
    pub has_middleware: bool,
}

/// One shard's application.
#[derive(Clone)]
pub struct TestApplication(Rc<App>);

struct App {
    index: usize,
    shard_count: usize,
    core: Rc<RefCell<Shard>>,
    executor: Executor,
    common: Rc<Common>,
    chance: RefCell<Chance>,
    /// Acknowledgements that clients are owed, so that none is answered twice by mistake.
    names: [Arc<str>; 2],
    clients: RefCell<BTreeMap<SocketKey, usize>>,
}

impl TestApplication {
    /// The application of shard `index`.
    #[must_use]
    pub fn new(
        index: usize,
        shard_count: usize,
        core: Rc<RefCell<Shard>>,
        executor: Executor,
        common: Rc<Common>,
        chance: Chance,
    ) -> Self {
        Self(Rc::new(App {
            index,
            shard_count,
            core,
            executor,
            common,
            chance: RefCell::new(chance),
            names: NAMESPACES.map(Arc::from),
            clients: RefCell::default(),
        }))
    }

    /// Something comes to its mind.
    pub fn act(&self) {
        self.0.act();
    }
}

impl Application for TestApplication {
    fn handle_event(&self, event: Event, received: &mut [u8]) {
        self.0.handle(event, received);
    }

    fn handle_stop(&self) {}
}

impl App {
    fn draw<R>(&self, from: impl FnOnce(&mut Chance) -> R) -> R {
        from(&mut self.chance.borrow_mut())
    }

    fn oracle<R>(&self, tell: impl FnOnce(&mut Oracle) -> R) -> R {
        tell(&mut self.common.oracle.borrow_mut())
    }

    fn core<R>(&self, call: impl FnOnce(&mut Shard) -> R) -> R {
        call(&mut self.core.borrow_mut())
    }

    fn now(&self) -> Micros {
        self.common.clock.micros()
    }

    fn rooms_of(&self, key: SocketKey) -> BTreeSet<String> {
        let mut rooms = BTreeSet::new();
        self.core.borrow().for_each_room(key, &mut |room| {
            assert!(rooms.insert(room.to_owned()), "violation: a socket is in {room} twice");
        });
        rooms
    }

    // ---- hearing

    fn handle(self: &Rc<Self>, event: Event, received: &[u8]) {
        match event {
            Event::ConnectRequested { socket } => self.connect_requested(socket),
            Event::RecoveryDecided { socket, is_recovered, data } => {
                if is_recovered {
                    let sid = self.sid(socket);
                    let kept = data.and_then(|data| data.downcast::<String>().ok());
                    assert_eq!(kept.as_deref(), Some(&sid), "violation: {sid} came back with other data");
                    self.oracle(|oracle| oracle.recovered((self.index, socket), &sid));
                }
                self.accept(socket);
            }
            Event::Message { socket, message } => self.message(socket, &message, received),
            Event::AckReceived { waiter, message } => {
                let answer = text(message.data.bytes(received));
                note!("shard {}: answer {waiter}: {answer}", self.index);
                let Waiter { question, .. } = self.oracle(|oracle| oracle.answer(waiter));
                match question {
                    Question::Ack { id, sid } => {
                        assert_eq!(answer, format!("[\"{sid}\",{id}]"), "violation: the answer to another question");
                    }
                    other => panic!("violation: {other:?} was answered by one socket"),
                }
            }
            Event::AckFailed { waiter, failure } => {
                note!("shard {}: answer {waiter}: {failure:?}", self.index);
                self.oracle(|oracle| oracle.fail(waiter, failure == AckFailure::Timeout));
            }
            Event::BroadcastAcknowledged { waiter, answers, is_complete } => {
                note!("shard {}: {} answers to {waiter}, complete: {is_complete}", self.index, answers.len());
                let Waiter { question, .. } = self.oracle(|oracle| oracle.answer(waiter));
                let Question::Gather { id } = question else { panic!("violation: {question:?} was answered by many") };
                let mut answers: Vec<String> = answers.iter().map(|answer| text(answer.data.bytes(&[]))).collect();
                answers.sort();
                let count = answers.len();
                answers.dedup();
                assert_eq!(answers.len(), count, "violation: a socket answered twice");
                let is_ours = |answer: &String| answer.ends_with(&format!("\",{id}]"));
                assert!(answers.iter().all(is_ours), "violation: answers to another question");
            }
            Event::Disconnecting { socket, cause: Cause { reason, .. } } => {
                note!("shard {}: {} is leaving: {reason}", self.index, self.sid(socket));
                self.catch_up(None);
                let rooms = self.rooms_of(socket);
                self.oracle(|oracle| oracle.disconnecting((self.index, socket), reason, &rooms));
            }
            Event::Disconnected { socket, .. } => {
                let sid = self.sid(socket);
                assert!(self.rooms_of(socket).is_empty(), "violation: {sid} is gone and still in rooms");
                self.core(|core| core.keep_data(socket, Arc::new(sid)));
                self.oracle(|oracle| oracle.disconnected((self.index, socket)));
            }
            Event::Released { socket } => {
                self.clients.borrow_mut().remove(&socket);
                self.oracle(|oracle| oracle.released((self.index, socket)));
            }
            Event::FetchRequested { request, sockets } => {
                let described = self.core(|core| sockets.iter().filter_map(|key| core.describe(*key)).collect());
                self.core(|core| core.reply_fetch(request, described));
            }
            Event::Fetched { waiter, sockets, missing, .. } => {
                self.oracle(|oracle| oracle.answer(waiter));
                assert_eq!(missing, 0, "violation: a shard did not answer");
                self.check_fetched(&sockets);
            }
            Event::FromPeer { message, .. } => match message.downcast::<Mark>() {
                Ok(mark) => self.marked(&mark),
                Err(_) => panic!("violation: a message of unknown type from another shard"),
            },
            Event::ProtocolError { .. } | Event::RequestArrived { .. } | Event::RequestRefused { .. } => {}
            other => panic!("violation: nobody asked for {other:?}"),
        }
    }

    fn sid(&self, key: SocketKey) -> String {
        self.core.borrow().socket_id(key).map(|sid| sid.to_string()).unwrap_or_default()
    }

    fn connect_requested(self: &Rc<Self>, key: SocketKey) {
        let Some(name) = self.core.borrow().requested_namespace(key).map(str::to_owned) else { return };
        let Some(namespace) = NAMESPACES.iter().position(|known| *known == name) else {
            return self.core(|core| core.refuse_socket(key, "Invalid namespace", None));
        };
        let client = self.core.borrow().handshake(key).map_or(usize::MAX, |handshake| client_of(&handshake.head));
        self.clients.borrow_mut().insert(key, client);
        let sid = self.sid(key);
        note!("shard {}: client {client} asks for {name} as {sid}", self.index);
        if !self.core(|core| core.enter_socket(key, NamespaceId(namespace as u32), &self.names[namespace])) {
            return;
        }
        self.oracle(|oracle| oracle.entered((self.index, key), &sid, namespace as u32, client));
        let auth = self.core.borrow().auth(key).map(text).unwrap_or_default();
        if let Some((pid, offset)) = former(&auth) {
            return self.core(|core| core.recover_socket(key, &pid, &offset));
        }
        if self.draw(|chance| chance.one_in(20)) {
            return self.core(|core| core.refuse_socket(key, "no", Some("{\"why\":1}")));
        }
        if self.common.has_middleware && self.draw(|chance| chance.one_in(3)) {
            if self.draw(|chance| chance.one_in(2)) {
                self.join(key);
            }
            let app = Rc::clone(self);
            let waits = self.later();
            self.executor.spawn(async move {
                waits.await;
                app.accept(key);
            });
        } else {
            self.accept(key);
        }
    }

    fn accept(self: &Rc<Self>, key: SocketKey) {
        let Some(namespace) = self.core.borrow().namespace_of(key) else { return };
        let name = &self.names[namespace.0 as usize];
        if self.core(|core| core.accept_socket(key, namespace, name)) {
            self.oracle(|oracle| oracle.accepted((self.index, key)));
            if self.draw(|chance| chance.one_in(2)) {
                self.join(key);
            }
        }
    }

    /// A while that somebody outside takes.
    fn later(&self) -> impl Future<Output = ()> + use<> {
        let at = self.now() + self.draw(|chance| chance.between(0, 30_000));
        let common = Rc::clone(&self.common);
        std::future::poll_fn(move |context| {
            if common.clock.micros() >= at {
                return Poll::Ready(());
            }
            common.outside.borrow_mut().waiting.push((at, context.waker().clone()));
            Poll::Pending
        })
    }

    fn message(self: &Rc<Self>, key: SocketKey, message: &Message, received: &[u8]) {
        let data = message.data.bytes(received);
        let name = &data[message.name.start as usize..message.name.end as usize];
        let arguments = text(&data[message.arguments.start as usize..message.arguments.end as usize]);
        if name != b"u" {
            return; // Of a rude client.
        }
        let number: u64 = arguments.split(',').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
        if number == u64::MAX {
            return; // Of a rude client as well.
        }
        note!("shard {}: {} says {number}", self.index, self.sid(key));
        for attachment in &message.attachments {
            assert!(is_attachment(attachment, number), "violation: an attachment is not what was sent");
        }
        self.oracle(|oracle| oracle.heard((self.index, key), number));
        if let Some(id) = message.id {
            let answer = format!("[{number}]");
            if self.draw(|chance| chance.one_in(4)) {
                let (app, waits) = (Rc::clone(self), self.later());
                self.executor.spawn(async move {
                    waits.await;
                    app.acknowledge(key, id, &answer);
                });
            } else {
                self.acknowledge(key, id, &answer);
            }
        }
        if self.common.is_active.get() && self.draw(|chance| chance.one_in(3)) {
            self.act_for(key);
        }
    }

    fn acknowledge(&self, key: SocketKey, id: u64, answer: &str) {
        let parts = EventParts { json: answer.as_bytes(), attachments: &[] };
        // Errors mean that the client is gone or does not read, which ends it.
        let _ = self.core(|core| core.acknowledge(key, id, parts));
    }

    fn check_fetched(&self, sockets: &[SocketDescription]) {
        let sids: BTreeSet<String> = sockets.iter().map(|socket| socket.id.to_string()).collect();
        assert_eq!(sids.len(), sockets.len(), "violation: a socket was fetched twice");
    }

    // ---- doing

    fn act(self: &Rc<Self>) {
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
    fn is_there(&self, key: SocketKey) -> bool {
        self.core.borrow().is_connected(key)
    }

    fn act_for(self: &Rc<Self>, key: SocketKey) {
        if !self.is_there(key) {
            return;
        }
        self.catch_up(None);
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
            _ => {
                let (app, waits) = (Rc::clone(self), self.later());
                self.executor.spawn(async move {
                    waits.await;
                    app.catch_up(None);
                    app.broadcast(key);
                });
            }
        }
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
        let id = self.oracle(|oracle| oracle.next_id(self.index));
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
                        oracle.log(id, namespace, &target);
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
        let (id, sid) = (self.oracle(|oracle| oracle.next_id(self.index)), self.sid(key));
        let (json, attachments) = self.event("q", id);
        let timeout_ms = self.draw(|chance| (!chance.one_in(4)).then(|| chance.between(1, 400)));
        let now_ms = self.now() / 1_000;
        let deadline = timeout_ms.map(|timeout| (now_ms + timeout) * 1_000);
        let number = self.oracle(|oracle| oracle.ask(Waiter { deadline, question: Question::Ack { id, sid } }));
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

    fn namespace_of(&self, key: SocketKey) -> Option<NamespaceId> {
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

    fn mark_peers(&self, mark: &Mark) {
        for peer in (0..self.shard_count).filter(|peer| *peer != self.index) {
            self.core(|core| core.send_to_peer(ShardIndex(peer as u16), Box::new(mark.clone())));
        }
    }

    fn broadcast(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let target = self.target(key);
        let id = self.oracle(|oracle| oracle.next_id(self.index));
        let (json, attachments) = self.event("d", id);
        let is_volatile = self.draw(|chance| chance.one_in(6));
        let flags = EmitFlags { volatile: is_volatile, ..EmitFlags::default() };
        let parts = EventParts { json: json.as_bytes(), attachments: &attachments };
        let selected = self.oracle(|oracle| oracle.selection(self.index, namespace.0, &target));
        note!(
            "shard {}: broadcasts {id} to {:?} but {:?}: {} here",
            self.index,
            target.rooms,
            target.except,
            selected.len()
        );
        let work = Work::Broadcast { is_volatile };
        let mut mark = Mark { id, is_end: false, namespace: namespace.0, target, work };
        self.mark_peers(&mark);
        let name = &self.names[namespace.0 as usize];
        let count = self.core(|core| core.broadcast(namespace, name, &mark.target, parts, flags));
        let count = count.unwrap_or_else(|wrong| panic!("violation: a broadcast failed: {wrong:?}"));
        assert!(count <= selected.len(), "violation: {count} received {id}, {} were selected", selected.len());
        mark.is_end = true;
        self.mark_peers(&mark);
        let claim = if is_volatile { Claim::May } else { Claim::Must };
        self.oracle(|oracle| {
            oracle.deliver(self.index, &selected, id, claim);
            if !is_volatile {
                oracle.log(id, namespace.0, &mark.target);
                oracle.deliver_to_absent(namespace.0, &mark.target, id);
            }
        });
    }

    fn broadcast_with_ack(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let target = self.target(key);
        let id = self.oracle(|oracle| oracle.next_id(self.index));
        let (json, attachments) = self.event("q", id);
        let timeout_ms = self.draw(|chance| chance.between(1, 400));
        let deadline = Some((self.now() / 1_000 + timeout_ms) * 1_000);
        let number = self.oracle(|oracle| oracle.ask(Waiter { deadline, question: Question::Gather { id } }));
        let parts = EventParts { json: json.as_bytes(), attachments: &attachments };
        let selected = self.oracle(|oracle| oracle.selection(self.index, namespace.0, &target));
        note!("shard {}: asks {id} of {:?} but {:?} as {number}", self.index, target.rooms, target.except);
        let is_recoverable = self.oracle(|oracle| oracle.is_recoverable);
        let work = Work::Broadcast { is_volatile: is_recoverable };
        let mut mark = Mark { id, is_end: false, namespace: namespace.0, target, work };
        self.mark_peers(&mark);
        let (name, flags) = (&self.names[namespace.0 as usize], EmitFlags::default());
        let target = &mark.target;
        self.core(|core| core.broadcast_with_ack(namespace, name, target, parts, flags, timeout_ms, number))
            .unwrap_or_else(|wrong| panic!("violation: a broadcast failed: {wrong:?}"));
        mark.is_end = true;
        self.mark_peers(&mark);
        let claim = if is_recoverable { Claim::May } else { Claim::Must };
        self.oracle(|oracle| oracle.deliver(self.index, &selected, id, claim));
    }

    fn join(&self, key: SocketKey) {
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
        let id = self.oracle(|oracle| oracle.next_id(self.index));
        note!("shard {}: {operation:?} for {:?} but {:?} ({id})", self.index, target.rooms, target.except);
        let mut selected = self.oracle(|oracle| oracle.selection(self.index, namespace.0, &target));
        selected.retain(|key| self.is_there(*key));
        let work = Work::Operate(operation.clone());
        let mut mark = Mark { id, is_end: false, namespace: namespace.0, target, work };
        self.mark_peers(&mark);
        self.core(|core| core.operate(namespace, &mark.target, &operation, EmitFlags::default()));
        mark.is_end = true;
        self.mark_peers(&mark);
        self.oracle(|oracle| apply(oracle, self.index, &selected, &operation));
    }

    fn fetch(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let target = self.target(key);
        let deadline = Some(self.now() + FETCH_DEADLINE_MS * 1_000);
        let number = self.oracle(|oracle| oracle.ask(Waiter { deadline, question: Question::Fetch }));
        note!("shard {}: fetches as {number}", self.index);
        self.core(|core| core.fetch_sockets(namespace, &target, EmitFlags::default(), FETCH_DEADLINE_MS, number));
    }

    fn disconnect(&self, key: SocketKey) {
        let close = self.draw(|chance| chance.one_in(2));
        note!("shard {}: disconnects {} ({close})", self.index, self.sid(key));
        self.core(|core| core.disconnect(key, close));
    }

    /// Tells the model what operations of other shards have done here so far. When their end is heard, it knows by itself.
    fn catch_up(&self, ending: Option<EventId>) {
        for key in self.oracle(|oracle| oracle.operated_on(self.index, ending)) {
            if self.is_there(key) {
                let rooms = self.rooms_of(key);
                self.oracle(|oracle| oracle.adopt_rooms((self.index, key), rooms));
            }
        }
    }

    /// Another shard's work begins here, or has ended.
    fn marked(&self, mark: &Mark) {
        self.catch_up(mark.is_end.then_some(mark.id));
        if !mark.is_end {
            return self.oracle(|oracle| oracle.begin_window(self.index, mark));
        }
        let (must, may) = self.oracle(|oracle| oracle.end_window(self.index, mark));
        note!("shard {}: {} was for {} here", self.index, mark.id, must.len());
        match &mark.work {
            Work::Broadcast { is_volatile } => {
                if !is_volatile {
                    self.oracle(|oracle| oracle.deliver_to_absent(mark.namespace, &mark.target, mark.id));
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
fn apply(oracle: &mut Oracle, shard: usize, selected: &BTreeSet<SocketKey>, operation: &Operation) {
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the core hands out text")
}

/// The bytes that go with an event.
#[must_use]
pub fn attachment(id: u64) -> Bytes {
    Bytes::from(id.to_le_bytes().repeat(1 + (id % 40) as usize))
}

/// Whether these are the bytes that go with an event.
#[must_use]
pub fn is_attachment(bytes: &[u8], id: u64) -> bool {
    bytes == attachment(id)
}

/// The client's number in a request's head.
fn client_of(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head);
    let value = head.split_once("X-Client: ").and_then(|(_, rest)| rest.split_once("\r\n"));
    value.and_then(|(number, _)| number.parse().ok()).unwrap_or(usize::MAX)
}

/// `pid` and `offset` of an auth payload.
fn former(auth: &str) -> Option<(String, String)> {
    let value = |key: &str| Some(auth.split_once(&format!("\"{key}\":\""))?.1.split_once('"')?.0.to_owned());
    Some((value("pid")?, value("offset")?))
}
