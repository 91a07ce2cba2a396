//! What must be true: a plain model of the servers' sockets, and everything that is owed to somebody.
//!
//! ```text
//!   application: what it did and heard --+                      +-- clients: what they sent and received
//!                                        v                      v
//!      members (rooms by socket)   inboxes (events by socket)   waiters (answers owed, with deadlines)
//! ```
//! The model of rooms is ordered sets, changed when the application acts or hears. What acts on other shards is
//! bracketed by two marks of the application that travel the same way: what is selected at both is selected, what is
//! at one only may be. What comes from another server is work of the shard that hears it, bracketed for the others of its server. A
//! violation panics, which ends the story with its seed.

pub mod bounds;
pub mod cluster;
pub mod inbox;
pub mod questions;

use crate::clock::{Micros, SimulatedClock};
use crate::trace::note;
use cluster::{Cluster, Promise};
use inbox::{Claim, EventId, Inbox};
use questions::{Sighting, Waiter};
use ringio_core::base::id::SocketKey;
use ringio_core::cluster::NodeId;
use ringio_core::door::{DisconnectReason, Operation};
use ringio_core::room::select::Target;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How late a deadline may be: turns take no time here, so this is rounding.
const LATENESS_MAX: Micros = 10_000;
/// More shards than a server has.
const SENDERS_MAX: u64 = 8;
/// More than the lives of all shards of a cluster.
const SENDERS_MAX_OF_CLUSTER: u64 = 64;

/// A socket, wherever it is.
pub type Place = (usize, SocketKey);

/// A socket as the model knows it.
#[derive(Debug)]
pub struct Member {
    /// Its id.
    pub sid: String,
    /// Its namespace's number.
    pub namespace: u32,
    /// Its rooms, its own among them.
    pub rooms: BTreeSet<String>,
    /// Accepted and not leaving.
    pub is_joined: bool,
    /// It has heard `disconnecting`.
    pub is_leaving: bool,
    /// Its client.
    pub client: usize,
    next_upstream: u64,
}

/// Work for other shards, bracketed.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Work {
    /// An event; whether receivers may miss it, whether it is kept for those who come back.
    Broadcast { is_volatile: bool, is_logged: bool },
    /// Join, leave or disconnect.
    Operate(Operation),
}

/// Goes before and behind work to another shard.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The event's, or operation's, number.
    pub id: EventId,
    /// Whether it goes behind.
    pub is_end: bool,
    /// Where.
    pub namespace: u32,
    /// To whom.
    pub target: Target,
    /// What.
    pub work: Work,
}

#[derive(Debug)]
struct Window {
    id: EventId,
    /// An operation's: whom it is for, in the model's eyes.
    operation: Option<(u32, Target)>,
    before: BTreeSet<SocketKey>,
    touched: BTreeSet<SocketKey>,
}

/// A socket that may come back.
#[derive(Debug)]
struct Absence {
    server: usize,
    namespace: u32,
    rooms: BTreeSet<String>,
}

/// The judge.
#[derive(Debug)]
pub struct Oracle {
    clock: SimulatedClock,
    members: BTreeMap<Place, Member>,
    inboxes: BTreeMap<String, Inbox>,
    absent: BTreeMap<String, Absence>,
    /// With recovery: what each server has logged, and for whom.
    logged: Vec<BTreeMap<EventId, (u32, Target)>>,
    windows: Vec<Vec<Window>>,
    waiters: BTreeMap<u64, Waiter>,
    sightings: BTreeMap<u64, Sighting>,
    /// Questions to which all have answered who were asked.
    completed: BTreeSet<EventId>,
    /// The shards of each server.
    servers: Vec<Range<usize>>,
    /// What servers owe each other.
    pub cluster: Cluster,
    /// Servers that are ending: some of their shards have, and do not hear who has answered.
    ending: BTreeSet<usize>,
    /// More senders than the story has.
    senders_max: u64,
    next_number: u64,
    /// Events each client sent, by sid.
    sent: BTreeMap<String, u64>,
    /// Sockets whose clients have sent bytes that may be the head of a frame: what they say next may be its payload.
    swallowed: BTreeSet<String>,
    heard: BTreeMap<String, u64>,
    /// Clients whose sessions nobody but the application may end.
    polite: BTreeSet<usize>,
    /// Clients that break rules, to their own loss.
    rude: BTreeSet<usize>,
    /// Whether sockets may come back.
    pub is_recoverable: bool,
    /// What was checked: events delivered, answers, returns.
    pub counts: Counts,
}

/// How much a story had to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sockets accepted.
    pub accepted: u64,
    /// Events clients received.
    pub received: u64,
    /// Events the application heard.
    pub heard: u64,
    /// Acknowledgements that came.
    pub answered: u64,
    /// Acknowledgements that did not.
    pub failed: u64,
    /// Sockets that came back.
    pub recovered: u64,
    /// Messages of other servers.
    pub letters: u64,
    /// Answers of servers.
    pub servers_answered: u64,
    /// Servers that ended before the others, with a word or without.
    pub gone: u64,
    /// What greedy clients wanted too much of.
    pub greed: u64,
    /// Questions asked at their wish, which nobody answers.
    pub hoarded: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.received += other.received;
        self.heard += other.heard;
        self.answered += other.answered;
        self.failed += other.failed;
        self.recovered += other.recovered;
        self.letters += other.letters;
        self.servers_answered += other.servers_answered;
        self.gone += other.gone;
        self.greed += other.greed;
        self.hoarded += other.hoarded;
    }
}

impl Oracle {
    /// A judge over servers with these shards.
    #[must_use]
    pub fn new(clock: SimulatedClock, servers: &[Range<usize>], is_recoverable: bool, promise: Promise) -> Self {
        let shard_count = servers.iter().map(Range::len).sum();
        Self {
            clock,
            members: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            absent: BTreeMap::new(),
            logged: servers.iter().map(|_| BTreeMap::new()).collect(),
            windows: (0..shard_count).map(|_| Vec::new()).collect(),
            waiters: BTreeMap::new(),
            sightings: BTreeMap::new(),
            completed: BTreeSet::new(),
            servers: servers.to_vec(),
            cluster: Cluster::new(promise),
            ending: BTreeSet::new(),
            senders_max: if servers.len() > 1 { SENDERS_MAX_OF_CLUSTER } else { SENDERS_MAX },
            next_number: 1,
            sent: BTreeMap::new(),
            swallowed: BTreeSet::new(),
            heard: BTreeMap::new(),
            polite: BTreeSet::new(),
            rude: BTreeSet::new(),
            is_recoverable,
            counts: Counts::default(),
        }
    }

    /// A number for an event of this sender.
    pub fn next_id(&mut self, sender: u64) -> EventId {
        assert!(sender < self.senders_max);
        self.next_number += 1;
        self.next_number * self.senders_max + sender
    }

    fn server_of(&self, shard: usize) -> usize {
        self.servers.iter().position(|shards| shards.contains(&shard)).expect("every shard is a server's")
    }

    // ---- sockets

    /// A socket has entered a namespace.
    pub fn entered(&mut self, place: Place, sid: &str, namespace: u32, client: usize) {
        let member = Member {
            sid: sid.to_owned(),
            namespace,
            rooms: BTreeSet::new(),
            is_joined: false,
            is_leaving: false,
            client,
            next_upstream: 0,
        };
        let before = self.members.insert(place, member);
        assert!(before.is_none(), "violation: {place:?} was asked about twice");
    }

    /// A socket that came back has its former name, rooms and events again.
    pub fn recovered(&mut self, place: Place, sid: &str) {
        let server = self.server_of(place.0);
        let Some(member) = self.members.get_mut(&place) else { panic!("violation: {place:?} came back from nowhere") };
        let Some(absence) = self.absent.remove(sid) else {
            panic!("violation: {sid} came back though it may not, or twice")
        };
        assert_eq!(absence.namespace, member.namespace, "violation: {sid} came back to another namespace");
        assert_eq!(absence.server, server, "violation: {sid} came back to another server");
        sid.clone_into(&mut member.sid);
        // What is sent again is chosen as in Node: what was logged since the last event the client saw, for the rooms it left
        // with, whichever it was in at the time.
        let is_for_it =
            |(namespace, target): &(u32, Target)| *namespace == absence.namespace && matches(target, &absence.rooms);
        if let Some(inbox) = self.inboxes.get_mut(sid) {
            let logged = &self.logged[server];
            inbox.come_back(|id| logged.get(&id).is_some_and(is_for_it));
            for (id, _) in logged.iter().filter(|(_, logged)| is_for_it(logged)) {
                let expected = inbox.expect(*id, Claim::May, true);
                expected.unwrap_or_else(|wrong| panic!("violation: socket {sid}: {wrong}"));
            }
        }
        member.rooms = absence.rooms;
        member.next_upstream = self.heard.get(sid).copied().unwrap_or_default();
        self.counts.recovered += 1;
    }

    /// A socket was let in.
    pub fn accepted(&mut self, place: Place) {
        self.touch(place);
        let (senders_max, is_recoverable) = (self.senders_max, self.is_recoverable);
        let Some(member) = self.members.get_mut(&place) else { return };
        member.is_joined = true;
        let sid = member.sid.clone();
        let is_rude = self.rude.contains(&member.client);
        // Also one that came back and had left its own room before, as in Node.
        member.rooms.insert(sid.clone());
        self.counts.accepted += 1;
        self.inboxes.entry(sid).or_insert_with(|| Inbox::new(senders_max, is_recoverable, is_rude));
    }

    /// A socket joins a room: whether that changes anything.
    pub fn join(&mut self, place: Place, room: &str) -> Option<bool> {
        self.touch(place);
        let member = self.members.get_mut(&place).filter(|member| !member.is_leaving)?;
        let has_joined = member.rooms.insert(room.to_owned());
        self.doubt_missed(place);
        Some(has_joined)
    }

    /// A socket leaves a room: whether that changes anything.
    pub fn leave(&mut self, place: Place, room: &str) -> Option<bool> {
        self.touch(place);
        let member = self.members.get_mut(&place).filter(|member| !member.is_leaving)?;
        let has_left = member.rooms.remove(room);
        self.doubt_missed(place);
        Some(has_left)
    }

    /// A socket hears that it leaves; `rooms` is what the engine says it is in.
    pub fn disconnecting(&mut self, place: Place, reason: DisconnectReason, rooms: &BTreeSet<String>) {
        self.touch(place);
        let Some(member) = self.members.get_mut(&place) else { panic!("violation: {place:?} leaves from nowhere") };
        assert!(member.is_joined && !member.is_leaving, "violation: {place:?} leaves twice, or was never there");
        assert_eq!(&member.rooms, rooms, "violation: the rooms of {} while it leaves", member.sid);
        member.is_leaving = true;
        member.is_joined = false;
        let is_asked = matches!(
            reason,
            DisconnectReason::ClientNamespaceDisconnect
                | DisconnectReason::ServerNamespaceDisconnect
                | DisconnectReason::ForcedClose
                | DisconnectReason::ForcedServerClose
                | DisconnectReason::ServerShuttingDown
                | DisconnectReason::OutboxFull
        );
        let (client, sid) = (member.client, member.sid.clone());
        assert!(
            is_asked || !self.polite.contains(&client),
            "violation: client {client} did nothing wrong and is gone: {reason} ({sid})"
        );
        let may_return = !matches!(
            reason,
            DisconnectReason::ClientNamespaceDisconnect
                | DisconnectReason::ServerNamespaceDisconnect
                | DisconnectReason::ParseError
        );
        if self.is_recoverable && may_return {
            let (namespace, rooms) = (member.namespace, member.rooms.clone());
            let server = self.server_of(place.0);
            self.absent.insert(sid, Absence { server, namespace, rooms });
        } else {
            self.end_inbox(&sid);
        }
    }

    /// A socket is out of its rooms.
    pub fn disconnected(&mut self, place: Place) {
        let Some(member) = self.members.get_mut(&place) else { panic!("violation: {place:?} left from nowhere") };
        assert!(member.is_leaving, "violation: {} has left without leaving", member.sid);
        member.rooms.clear();
    }

    /// Nothing will be heard of a socket any more.
    pub fn released(&mut self, place: Place) {
        self.touch(place);
        if let Some(member) = self.members.remove(&place) {
            assert!(!member.is_joined, "violation: {} is released while it is there", member.sid);
        }
    }

    /// The sockets of a shard.
    pub fn members_of(&self, shard: usize) -> impl Iterator<Item = (SocketKey, &Member)> {
        let all = self.members.range((shard, SocketKey::from_bits(0))..=(shard, SocketKey::from_bits(u64::MAX)));
        all.map(|((_, key), member)| (*key, member))
    }

    /// The socket at this place.
    #[must_use]
    pub fn member(&self, place: Place) -> Option<&Member> {
        self.members.get(&place)
    }

    /// All sockets that are there.
    pub fn joined(&self) -> impl Iterator<Item = (Place, &Member)> {
        self.members.iter().filter(|(_, member)| member.is_joined).map(|(place, member)| (*place, member))
    }

    /// Takes the engine's word for a socket's rooms, where the order of two shards' doings is not known.
    pub fn adopt_rooms(&mut self, place: Place, rooms: BTreeSet<String>) {
        self.touch(place);
        if let Some(member) = self.members.get_mut(&place) {
            member.rooms = rooms;
        }
        self.doubt_missed(place);
    }

    // ---- events for sockets

    /// Whom a target selects on a shard.
    #[must_use]
    pub fn selection(&self, shard: usize, namespace: u32, target: &Target) -> BTreeSet<SocketKey> {
        self.members_of(shard)
            .filter(|(_, member)| member.is_joined && member.namespace == namespace && matches(target, &member.rooms))
            .map(|(key, _)| key)
            .collect()
    }

    /// An event is put before sockets of a shard, by the application there.
    pub fn deliver(&mut self, shard: usize, keys: &BTreeSet<SocketKey>, id: EventId, claim: Claim) {
        let is_loose = !self.windows[shard].is_empty();
        for key in keys {
            self.expect((shard, *key), id, claim, is_loose);
        }
    }

    fn expect(&mut self, place: Place, id: EventId, claim: Claim, is_loose: bool) {
        let Some(member) = self.members.get(&place) else { return };
        let Some(inbox) = self.inboxes.get_mut(&member.sid) else { return };
        if is_loose {
            for window in &self.windows[place.0] {
                inbox.loosen(window.id);
            }
        }
        inbox.expect(id, claim, is_loose).unwrap_or_else(|wrong| panic!("violation: socket {}: {wrong}", member.sid));
    }

    /// An event is logged, to be sent again to whom it is for.
    pub fn log(&mut self, shard: usize, id: EventId, namespace: u32, target: &Target) {
        if self.is_recoverable {
            let server = self.server_of(shard);
            self.logged[server].insert(id, (namespace, target.clone()));
        }
    }

    /// A broadcast was issued or handled on a shard: those who are absent from its server must have it when they come back.
    pub fn deliver_to_absent(&mut self, shard: usize, namespace: u32, target: &Target, id: EventId) {
        let server = self.server_of(shard);
        for (sid, absence) in &self.absent {
            if absence.server == server
                && absence.namespace == namespace
                && matches(target, &absence.rooms)
                && let Some(inbox) = self.inboxes.get_mut(sid)
            {
                inbox.miss(id).unwrap_or_else(|wrong| panic!("violation: socket {sid}: {wrong}"));
            }
        }
    }

    /// A socket is in other rooms than before. One that has come back may be so before a broadcast that it missed has got to its shard,
    /// which then selects by the rooms it finds.
    fn doubt_missed(&mut self, place: Place) {
        let logged = &self.logged[self.server_of(place.0)];
        let Some(member) = self.members.get(&place) else { return };
        if let Some(inbox) = self.inboxes.get_mut(&member.sid) {
            inbox.doubt_missed(|id| logged.get(&id).is_none_or(|(_, target)| matches(target, &member.rooms)));
        }
    }

    /// Work of another shard is about to be handled here.
    pub fn begin_window(&mut self, shard: usize, mark: &Mark) {
        let before = self.selection(shard, mark.namespace, &mark.target);
        if let Work::Broadcast { .. } = mark.work {
            self.deliver(shard, &before, mark.id, Claim::May);
        }
        let operation = matches!(mark.work, Work::Operate(_)).then(|| (mark.namespace, mark.target.clone()));
        self.windows[shard].push(Window { id: mark.id, operation, before, touched: BTreeSet::new() });
    }

    /// Sockets of whose rooms only the engine knows: an operation of another shard may have been done to them, of which the end
    /// has not been heard. Without those of `ending`, whose end is being heard.
    #[must_use]
    pub fn operated_on(&self, shard: usize, ending: Option<EventId>) -> BTreeSet<SocketKey> {
        let mut keys = BTreeSet::new();
        for window in self.windows[shard].iter().filter(|window| Some(window.id) != ending) {
            if let Some((namespace, target)) = &window.operation {
                keys.extend(window.before.iter().chain(&window.touched).copied());
                keys.extend(self.selection(shard, *namespace, target));
            }
        }
        keys
    }

    /// It has been handled: who was selected, and who may have been.
    pub fn end_window(&mut self, shard: usize, mark: &Mark) -> (BTreeSet<SocketKey>, BTreeSet<SocketKey>) {
        let Some(at) = self.windows[shard].iter().position(|window| window.id == mark.id) else {
            panic!("violation: shard {shard} got the end of {} before its beginning", mark.id)
        };
        let Window { id, before, touched, .. } = self.windows[shard].remove(at);
        let after = self.selection(shard, mark.namespace, &mark.target);
        let is_certain = |key: &&SocketKey| before.contains(key) && !touched.contains(key);
        let must: BTreeSet<SocketKey> = after.iter().filter(is_certain).copied().collect();
        let all: BTreeSet<SocketKey> = before.iter().chain(&after).chain(&touched).copied().collect();
        let may: BTreeSet<SocketKey> = all.difference(&must).copied().collect();
        if let Work::Broadcast { is_volatile, .. } = mark.work {
            let claim = if is_volatile { Claim::May } else { Claim::Must };
            for key in &must {
                self.expect((shard, *key), id, claim, false);
            }
            for key in &may {
                self.expect((shard, *key), id, Claim::May, true);
                if let Some(inbox) =
                    self.members.get(&(shard, *key)).and_then(|member| self.inboxes.get_mut(&member.sid))
                {
                    inbox.doubt(id);
                }
            }
        }
        (must, may)
    }

    /// Whether work of another shard may have been handled here of which the end has not been heard.
    #[must_use]
    pub fn has_window(&self, shard: usize) -> bool {
        !self.windows[shard].is_empty()
    }

    fn touch(&mut self, place: Place) {
        self.note_touched(place);
        for window in &mut self.windows[place.0] {
            window.touched.insert(place.1);
        }
    }

    /// A client has received an event on a socket.
    pub fn received(&mut self, sid: &str, id: EventId) {
        note!("socket {sid} receives {id}");
        self.counts.received += 1;
        let is_over = self.completed.contains(&id);
        assert!(!is_over, "violation: socket {sid} is asked {id} when all who were asked have answered");
        let Some(inbox) = self.inboxes.get_mut(sid) else { panic!("violation: socket {sid} never was") };
        inbox.receive(id).unwrap_or_else(|wrong| panic!("violation: socket {sid}: {wrong}"));
    }

    fn end_inbox(&mut self, sid: &str) {
        if let Some(inbox) = self.inboxes.get(sid)
            && self.windows.iter().all(Vec::is_empty)
        {
            inbox.settle_ended().unwrap_or_else(|wrong| panic!("violation: socket {sid}: {wrong}"));
        }
    }

    // ---- events of clients

    /// A client sends its next event on a socket: the number it carries.
    pub fn next_sent(&mut self, sid: &str) -> u64 {
        let sent = self.sent.entry(sid.to_owned()).or_default();
        *sent += 1;
        *sent - 1
    }

    /// What a client says on this socket may from now on be swallowed by what it has sent before.
    pub fn may_be_swallowed(&mut self, sid: String) {
        self.swallowed.insert(sid);
    }

    /// The application hears an event.
    pub fn heard(&mut self, place: Place, number: u64) {
        let Some(member) = self.members.get_mut(&place) else { panic!("violation: an event of nobody at {place:?}") };
        let expected = member.next_upstream;
        if self.is_recoverable || self.swallowed.contains(&member.sid) {
            // What was on its way when the client was cut off is lost; the client does not send it again.
            assert!(number >= expected, "violation: socket {} is heard saying {number} again", member.sid);
        } else {
            assert_eq!(number, expected, "violation: what socket {} says is lost, doubled or reordered", member.sid);
        }
        member.next_upstream = number + 1;
        self.heard.insert(member.sid.clone(), number + 1);
        self.counts.heard += 1;
    }

    /// From now on nobody but the application may end this client's sessions.
    pub fn trust(&mut self, client: usize) {
        self.polite.insert(client);
    }

    /// This client breaks rules.
    pub fn beware(&mut self, client: usize) {
        self.rude.insert(client);
    }

    /// The client is about to end its session, or has lost it for a reason of its own.
    pub fn distrust(&mut self, client: usize) {
        self.polite.remove(&client);
    }

    // ---- servers

    /// A server begins to end, before the others.
    pub fn begin_ending(&mut self, server: usize) {
        self.ending.insert(server);
    }

    /// A server is gone, and with it everything that it knew and owed.
    pub fn forget_server(&mut self, server: usize, node: &NodeId) {
        self.counts.gone += 1;
        self.ending.remove(&server);
        let shards = self.servers[server].clone();
        let places: Vec<Place> = self.members.keys().filter(|(shard, _)| shards.contains(shard)).copied().collect();
        for place in places {
            self.touch(place);
            if let Some(member) = self.members.remove(&place) {
                self.polite.remove(&member.client);
                if let Some(inbox) = self.inboxes.get_mut(&member.sid) {
                    inbox.abandon();
                }
            }
        }
        for shard in shards.clone() {
            self.windows[shard].clear();
        }
        self.absent.retain(|_, absence| absence.server != server);
        self.logged[server].clear();
        self.forget_waiters(|shard| shards.contains(&shard));
        self.cluster.end(node, shards.clone(), self.clock.micros());
    }

    // ---- judgements

    /// Everything has had its time, and these sockets' clients are there and read: everything owed to them is there.
    pub fn settle<'a>(&self, sids: impl Iterator<Item = &'a str>) {
        for sid in sids {
            let Some((_, member)) = self.joined().find(|(_, member)| member.sid == sid) else {
                panic!("violation: the client of {sid} believes that it is connected")
            };
            let inbox = &self.inboxes[sid];
            inbox.settle().unwrap_or_else(|wrong| panic!("violation: socket {sid}: {wrong}"));
            if self.is_recoverable {
                continue; // What was on its way when it was cut off is lost.
            }
            let sent = self.sent.get(sid).copied().unwrap_or_default();
            assert_eq!(member.next_upstream, sent, "violation: what socket {sid} said last was never heard");
        }
    }

    /// Everybody has left.
    pub fn check_empty(&self) {
        let waiting: Vec<_> = self.waiters.keys().collect();
        assert!(waiting.is_empty(), "violation: answers {waiting:?} are still owed when everybody has left");
        let left: Vec<_> = self.members.values().map(|member| &member.sid).collect();
        assert!(left.is_empty(), "violation: the application was not told that {left:?} are gone");
        assert!(self.windows.iter().all(Vec::is_empty), "violation: work between shards got lost");
        self.cluster.check_empty();
        for (sid, inbox) in &self.inboxes {
            inbox.settle_ended().unwrap_or_else(|wrong| panic!("violation: socket {sid}: {wrong}"));
        }
    }
}

/// Whether a target selects a socket in these rooms.
fn matches(target: &Target, rooms: &BTreeSet<String>) -> bool {
    let is_in = |name: &std::sync::Arc<str>| rooms.contains(&**name);
    (target.rooms.is_empty() || target.rooms.iter().any(is_in)) && !target.except.iter().any(is_in)
}
