//! The application of a shard: does random things with the core's door, and tells the oracle of everything.
//!
//! | it does | how often |
//! |---|---|
//! | emits to one socket, plain, volatile, with attachments, with an acknowledgement | most |
//! | broadcasts to rooms minus rooms, also with acknowledgements | often |
//! | joins, leaves, operates on the sockets of all shards | often |
//! | disconnects, asks for sockets | seldom |
//! | in a cluster: tells and asks other servers, counts them | often |
//!
//! Some of it at once in a handler, some in an async handler that is woken later, some in jobs of other threads.

mod actions;
mod cluster;

pub(crate) use cluster::id_of;

use crate::chance::Chance;
use crate::clock::{Micros, SimulatedClock};
use crate::link::{Letter, Link};
use crate::oracle::inbox::EventId;
use crate::oracle::questions::{Question, Waiter};
use crate::oracle::{Mark, Oracle};
use crate::trace::note;
use bytes::Bytes;
use ringio_core::base::id::{NamespaceId, SocketKey};
use ringio_core::cluster::NodeId;
use ringio_core::cluster::roll::Members;
use ringio_core::door::{AckFailure, Cause, EmitFlags, Event, EventParts, Message};
use ringio_core::limits::ACKS_PER_SOCKET_MAX;
use ringio_core::shard::Shard;
use ringio_runtime::executor::Executor;
use ringio_runtime::shard_thread::Application;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Namespaces there are; clients also ask for one that there is not.
pub const NAMESPACES: [&str; 2] = ["/", "/a"];
/// Rooms that sockets join.
const ROOMS: [&str; 5] = ["r0", "r1", "r2", "r3", "r4"];
/// Namespaces about which the application never decides begin so.
pub const UNDECIDED: &str = "/undecided/";
/// The event at which a socket is asked for as many answers as it may owe, and more.
pub const HOARD: &str = "hoard";
/// What it is asked. Nobody answers.
pub const HOARDED: &str = "[\"h\"]";
/// Who waits for those answers.
const HOARDER: u64 = u64::MAX;
/// Questions over those that may be open.
const QUESTIONS_BEYOND: usize = 20;
/// Longest padding of an event. Bytes.
const PADDING_MAX: u64 = 3_000;

/// Async handlers that wait for something outside, a database say: woken by the scheduler.
#[derive(Debug, Default)]
pub struct Outside {
    /// Until when, on which shard.
    waiting: Vec<(Micros, usize, Waker)>,
}

impl Outside {
    /// Wakes who has waited long enough; whether anybody has.
    pub fn wake(&mut self, now: Micros) -> bool {
        let woken: Vec<Waker> =
            self.waiting.extract_if(.., |(at, _, _)| *at <= now).map(|(_, _, waker)| waker).collect();
        let is_any = !woken.is_empty();
        woken.into_iter().for_each(Waker::wake);
        is_any
    }

    /// Wakes everybody of a shard that is gone.
    fn wake_all_of(&mut self, shard: usize) {
        for (_, _, waker) in self.waiting.extract_if(.., |(_, of, _)| *of == shard) {
            waker.wake();
        }
    }

    /// When somebody is to be woken.
    #[must_use]
    pub fn next_at(&self) -> Option<Micros> {
        self.waiting.iter().map(|(at, _, _)| *at).min()
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
    pub is_active: Cell<bool>,
    /// Whether middlewares take their time.
    pub has_middleware: bool,
    /// Whether it asks more than it tells, in a cluster.
    pub is_curious: bool,
    /// What goes between servers, if there are several.
    pub(crate) link: Option<RefCell<Link>>,
}

/// Which shard this is.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its number in the story.
    pub index: usize,
    /// Its server's.
    pub server: usize,
    /// The numbers of its server's shards.
    pub shards: Range<usize>,
    /// Whose events it sends: another number in each of its lives.
    pub sender: u64,
    /// What its server is called among the others.
    pub node: NodeId,
}

/// One shard's application.
#[derive(Clone)]
pub struct TestApplication(Rc<App>);

struct App {
    index: usize,
    role: Role,
    core: Rc<RefCell<Shard>>,
    executor: Executor,
    common: Rc<Common>,
    chance: RefCell<Chance>,
    names: [Arc<str>; 2],
    clients: RefCell<BTreeMap<SocketKey, usize>>,
    /// Its process is gone.
    is_dead: Cell<bool>,
}

impl TestApplication {
    /// The application of a shard.
    #[must_use]
    pub fn new(role: Role, core: Rc<RefCell<Shard>>, executor: Executor, common: Rc<Common>, chance: Chance) -> Self {
        Self(Rc::new(App {
            index: role.index,
            role,
            core,
            executor,
            common,
            chance: RefCell::new(chance),
            names: NAMESPACES.map(Arc::from),
            clients: RefCell::default(),
            is_dead: Cell::new(false),
        }))
    }

    /// Something comes to its mind.
    pub fn act(&self) {
        self.0.act();
    }

    /// Another server has told something.
    pub fn take_letter(&self, letter: &Letter) {
        self.0.take_letter(letter);
    }

    /// It turns out which other servers there are.
    pub fn take_members(&self, question: u64, members: Members) {
        self.0.core(|core| core.handle_members(question, members));
    }

    /// Its process is gone: its async handlers end where they are.
    pub fn die(&self) {
        self.0.is_dead.set(true);
        self.0.common.outside.borrow_mut().wake_all_of(self.0.index);
        self.0.executor.run_ready();
        assert!(self.0.executor.is_empty(), "async handlers of a dead server wait for nothing");
    }
}

impl std::fmt::Debug for TestApplication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.role.fmt(f)
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
        if self.common.link.is_some() {
            let Some(event) = self.handle_of_cluster(event) else { return };
            return self.handle_of_shard(event, received);
        }
        self.handle_of_shard(event, received);
    }

    fn handle_of_shard(self: &Rc<Self>, event: Event, received: &[u8]) {
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
            Event::AckFailed { waiter: HOARDER, .. } => {}
            Event::AckReceived { waiter, message } => {
                let answer = text(message.data.bytes(received));
                note!("shard {}: answer {waiter}: {answer}", self.index);
                let Waiter { question, .. } = self.oracle(|oracle| oracle.answer(waiter));
                match question {
                    Question::Ack { id, sid } => {
                        assert_eq!(answer, self.answer_to(&sid, id), "violation: the answer to another question");
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
                let answers: Vec<String> = answers.iter().map(|answer| text(answer.data.bytes(&[]))).collect();
                let is_cluster = self.common.link.is_some();
                self.oracle(|oracle| oracle.gathered(waiter, answers, is_complete, is_cluster));
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
            Event::Fetched { waiter, sockets, others, missing, tally } => {
                note!("shard {}: {} and {} sockets for {waiter}", self.index, sockets.len(), others.len());
                assert_eq!(missing, 0, "violation: a shard did not answer");
                self.oracle(|oracle| oracle.fetched(waiter, &sockets, &others, tally));
            }
            Event::FromPeer { message, .. } => match message.downcast::<Mark>() {
                Ok(mark) => self.marked(&mark),
                Err(_) => panic!("violation: a message of unknown type from another shard"),
            },
            Event::ProtocolError { .. } | Event::RequestArrived { .. } | Event::RequestRefused { .. } => {}
            other => panic!("violation: nobody asked for {other:?}"),
        }
    }

    fn answer_to(&self, sid: &str, id: EventId) -> String {
        answer(sid, id, self.common.link.is_some())
    }

    fn sid(&self, key: SocketKey) -> String {
        self.core.borrow().socket_id(key).map(|sid| sid.to_string()).unwrap_or_default()
    }

    fn connect_requested(self: &Rc<Self>, key: SocketKey) {
        let Some(name) = self.core.borrow().requested_namespace(key).map(str::to_owned) else { return };
        if name.starts_with(UNDECIDED) {
            return;
        }
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
            self.do_later(move |app| app.accept(key));
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

    /// Does something in an async handler, after a while that somebody outside takes.
    fn do_later(self: &Rc<Self>, work: impl FnOnce(&Rc<Self>) + 'static) {
        let at = self.now() + self.draw(|chance| chance.between(0, 30_000));
        let app = Rc::clone(self);
        self.executor.spawn(async move {
            std::future::poll_fn(|context| {
                if app.is_dead.get() || app.now() >= at {
                    return Poll::Ready(());
                }
                app.common.outside.borrow_mut().waiting.push((at, app.index, context.waker().clone()));
                Poll::Pending
            })
            .await;
            if !app.is_dead.get() {
                work(&app);
            }
        });
    }

    fn message(self: &Rc<Self>, key: SocketKey, message: &Message, received: &[u8]) {
        let data = message.data.bytes(received);
        let name = &data[message.name.start as usize..message.name.end as usize];
        if name == HOARD.as_bytes() {
            return self.hoard(key);
        }
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
                self.do_later(move |app| app.acknowledge(key, id, &answer));
            } else {
                self.acknowledge(key, id, &answer);
            }
        }
        if self.common.is_active.get() && self.draw(|chance| chance.one_in(3)) {
            self.act_for(key);
        }
    }

    /// Asks until the engine takes no more: there is no room for the questions, or too many answers are owed.
    fn hoard(&self, key: SocketKey) {
        let ask = |_: &usize| {
            let parts = EventParts { json: HOARDED.as_bytes(), attachments: &[] };
            self.core(|core| core.emit_with_ack(key, parts, EmitFlags::default(), None, HOARDER)).is_ok()
        };
        let asked = (0..ACKS_PER_SOCKET_MAX + QUESTIONS_BEYOND).take_while(ask).count();
        note!("shard {}: asks {} {asked} times", self.index, self.sid(key));
        self.oracle(|oracle| oracle.counts.hoarded += asked as u64);
    }

    fn acknowledge(&self, key: SocketKey, id: u64, answer: &str) {
        let parts = EventParts { json: answer.as_bytes(), attachments: &[] };
        // Errors mean that the client is gone or does not read, which ends it.
        let _ = self.core(|core| core.acknowledge(key, id, parts));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the core hands out text")
}

/// How a client answers an event. Of an answer only the first argument goes to other servers.
#[must_use]
pub fn answer(sid: &str, id: EventId, is_cluster: bool) -> String {
    if is_cluster { format!("[[\"{sid}\",{id}]]") } else { format!("[\"{sid}\",{id}]") }
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
