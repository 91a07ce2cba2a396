//! What servers owe each other: that others are told what concerns them, once, and nothing else; that questions are answered to who asked.
//!
//! ```text
//!   application acts --owe--> [owed] --published--> link ~~~> letter_came --> work bracketed as that of any other shard
//!                                        question: who may answer it        server-side event: [arriving] --hear-->
//! ```
//! That a broadcast reaches the selected sockets of another server once and in its sender's order is judged where it arrives, as of any
//! other shard; here it is judged that it leaves as it must, and that what came from elsewhere does not leave again.

use super::inbox::EventId;
use crate::application::{NAMESPACES, id_of};
use crate::clock::Micros;
use crate::link::Letter;
use ringio_core::cluster::nodes::HeartbeatOptions;
use ringio_core::cluster::{ClusterMessage, NodeId, RequestId};
use ringio_core::door::Operation;
use ringio_core::room::select::Target;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// What a shard has to tell the other servers.
#[derive(Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Publication {
    /// An event for sockets; who waits for acknowledgements.
    Broadcast { id: EventId, target: Target, is_volatile: bool, waiter: Option<u64> },
    /// Join, leave, disconnect.
    Operation { operation: Operation, target: Target },
    /// Which sockets are there?
    Fetch { target: Target, waiter: u64 },
    /// An event for servers; who waits for their answers.
    ServerSide { id: EventId, waiter: Option<u64> },
}

/// A server from its start to its end.
#[derive(Debug)]
struct Life {
    server: usize,
    began: Micros,
    ended: Option<Micros>,
    /// When each server heard it last.
    heard: BTreeMap<usize, Micros>,
    /// Who has been told that it leaves: in how many namespaces, when last.
    told: BTreeMap<NodeId, (usize, Micros)>,
}

/// What is demanded of a story's cluster.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// How they notice each other; none if the link says who is there.
    pub heartbeat: Option<HeartbeatOptions>,
    /// Nothing is ever cut off or gone: whoever is asked answers.
    pub is_calm: bool,
    /// From this instant on each server knows all others.
    pub known_at: Micros,
}

/// The servers of a story; one of them only: nothing is ever owed.
#[derive(Debug)]
pub struct Cluster {
    promise: Promise,
    owed: BTreeMap<usize, VecDeque<(u32, Publication)>>,
    /// Who waits for a request's answers, by who asked.
    requests: BTreeMap<(NodeId, RequestId), u64>,
    /// Requests of others that a server got: server, asker, name; whether it has said what is said once.
    asked: BTreeMap<(NodeId, NodeId, RequestId), bool>,
    /// Server-side events that a server's core has and its application has not.
    arriving: BTreeMap<NodeId, VecDeque<(NodeId, EventId)>>,
    lives: BTreeMap<NodeId, Life>,
    /// What each server is called.
    names: BTreeMap<usize, NodeId>,
}

impl Cluster {
    /// A cluster without servers.
    #[must_use]
    pub const fn new(promise: Promise) -> Self {
        Self {
            promise,
            owed: BTreeMap::new(),
            requests: BTreeMap::new(),
            asked: BTreeMap::new(),
            arriving: BTreeMap::new(),
            lives: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// A server starts.
    pub fn begin(&mut self, node: NodeId, server: usize, now: Micros) {
        self.names.insert(server, node.clone());
        let life = Life { server, began: now, ended: None, heard: BTreeMap::new(), told: BTreeMap::new() };
        assert!(self.lives.insert(node, life).is_none(), "two servers of one name");
    }

    /// A server is gone: what it owed, nobody is owed.
    pub fn end(&mut self, node: &NodeId, shards: Range<usize>, now: Micros) {
        if let Some(life) = self.lives.get_mut(node) {
            life.ended = Some(now);
        }
        shards.for_each(|shard| {
            self.owed.remove(&shard);
        });
        self.arriving.remove(node);
    }

    /// Something was done on a shard that concerns the other servers.
    pub fn owe(&mut self, shard: usize, namespace: u32, publication: Publication) {
        self.owed.entry(shard).or_default().push_back((namespace, publication));
    }

    /// A shard tells other servers something, or one of them.
    pub fn published(
        &mut self,
        shard: usize,
        node: &NodeId,
        namespace: u32,
        to: Option<&NodeId>,
        message: &ClusterMessage,
    ) {
        if let Some(request) = message.answers() {
            let Some(to) = to else { panic!("violation: shard {shard} answers everybody: {message:?}") };
            let Some(has_answered) = self.asked.get_mut(&(node.clone(), to.clone(), request.clone())) else {
                panic!("violation: shard {shard} answers what {to} has not asked: {message:?}")
            };
            let is_first = !std::mem::replace(has_answered, true);
            let is_ack = matches!(message, ClusterMessage::BroadcastAck { .. });
            assert_ne!(is_first, is_ack, "violation: shard {shard} answers twice, or before the number: {message:?}");
            return;
        }
        assert!(to.is_none(), "violation: shard {shard} tells one server only: {message:?}");
        if matches!(
            message,
            ClusterMessage::InitialHeartbeat | ClusterMessage::Heartbeat | ClusterMessage::AdapterClose
        ) {
            return;
        }
        let owed = self.owed.get_mut(&shard).and_then(VecDeque::pop_front);
        let Some((of, publication)) = owed else {
            panic!("violation: shard {shard} tells other servers what nobody did there: {message:?}")
        };
        let is_it = of == namespace && is_publication(&publication, message);
        assert!(is_it, "violation: shard {shard} owes others {publication:?} in {of} and tells {message:?}");
        let (waiter, request) = match (publication, message) {
            (Publication::Fetch { waiter, .. }, ClusterMessage::FetchSockets { request, .. }) => {
                (waiter, request.clone())
            }
            (
                Publication::Broadcast { waiter: Some(waiter), .. }
                | Publication::ServerSide { waiter: Some(waiter), .. },
                ClusterMessage::Broadcast { request: Some(request), .. }
                | ClusterMessage::ServerSideEmit { request: Some(request), .. },
            ) => (waiter, request.clone()),
            _ => return,
        };
        self.requests.insert((node.clone(), request), waiter);
    }

    /// A server gets a letter: who waits for it, if it is an answer.
    pub(super) fn letter_came(&mut self, node: &NodeId, server: usize, letter: &Letter, now: Micros) -> Option<u64> {
        let Letter { from, to, message, .. } = letter;
        let Some(life) = self.lives.get_mut(from) else { panic!("violation: a letter of {from}, who never was") };
        assert_ne!(life.server, server, "violation: server {server} hears its own");
        life.heard.insert(server, now);
        if matches!(**message, ClusterMessage::AdapterClose) {
            let told = life.told.entry(node.clone()).or_default();
            *told = (told.0 + 1, now);
        }
        match &**message {
            ClusterMessage::Broadcast { request: Some(request), .. } | ClusterMessage::FetchSockets { request, .. } => {
                self.asked.insert((node.clone(), from.clone(), request.clone()), false);
            }
            ClusterMessage::ServerSideEmit { packet, request } => {
                if let Some(request) = request {
                    self.asked.insert((node.clone(), from.clone(), request.clone()), false);
                }
                self.arriving.entry(node.clone()).or_default().push_back((from.clone(), id_of(packet)));
            }
            _ => {}
        }
        // What was meant for the one before is none of its business.
        let request = message.answers().filter(|_| to == node)?;
        self.requests.get(&(node.clone(), request.clone())).copied()
    }

    /// A server's application hears an event for servers.
    pub fn hear(&mut self, node: &NodeId, from: &NodeId, id: EventId) {
        let next = self.arriving.get_mut(node).and_then(VecDeque::pop_front);
        assert_eq!(next, Some((from.clone(), id)), "violation: what {node} hears of servers is lost, doubled or new");
    }

    /// Whether a question asked then concerns every other server, and every one answers.
    pub(super) const fn is_whole(&self, asked_at: Micros) -> bool {
        self.promise.is_calm && (self.promise.heartbeat.is_none() || asked_at >= self.promise.known_at)
    }

    /// Whether nothing is ever cut off or gone.
    pub(super) const fn is_calm(&self) -> bool {
        self.promise.is_calm
    }

    /// How many other servers there are.
    pub(super) fn other_count(&self) -> u32 {
        let servers: BTreeSet<usize> = self.lives.values().map(|life| life.server).collect();
        servers.len().saturating_sub(1) as u32
    }

    /// Which server this is or was.
    pub(super) fn server_of(&self, node: &NodeId) -> Option<usize> {
        self.lives.get(node).map(|life| life.server)
    }

    /// When `server` must have missed the last of those that are gone, or been answered by them, so that it waits for nobody
    /// any more; `None` if it may wait until its time is over.
    pub(super) fn ends_at(
        &self,
        server: usize,
        asked_at: Micros,
        answered: &BTreeMap<NodeId, Micros>,
    ) -> Option<Micros> {
        let heartbeat = self.promise.heartbeat?;
        let silence = (heartbeat.timeout_ms + heartbeat.check_ms()) * 1_000;
        let name = self.names.get(&server)?;
        let mut last = asked_at;
        for (node, life) in self.lives.iter().filter(|(_, life)| life.server != server && life.began <= asked_at) {
            let heard = life.heard.get(&server).copied();
            // What it said before comes behind that, from its other shards, and is not taken for a sign of life as long as silence is.
            let left = life.told.get(name).filter(|(count, at)| {
                *count == NAMESPACES.len() && heard.is_none_or(|heard| heard <= at + heartbeat.timeout_ms * 1_000)
            });
            let at = match (answered.get(node), left, life.ended) {
                (Some(at), ..) | (None, Some((_, at)), _) => *at,
                // It may never have been heard here; then nobody waits for it.
                (None, None, Some(_)) => heard.map_or(asked_at, |heard| heard + silence),
                (None, None, None) => return None,
            };
            last = last.max(at);
        }
        Some(last)
    }

    /// Most servers that `server` may believe in, itself included.
    pub(super) fn count_max(&self, server: usize, now: Micros) -> u32 {
        let Some(heartbeat) = self.promise.heartbeat else { return 1 + self.other_count() };
        let silence = (heartbeat.timeout_ms + heartbeat.check_ms()) * 1_000;
        let believed = self.lives.values().filter(|life| {
            let is_missed = life.heard.get(&server).is_none_or(|heard| now > heard + silence + super::LATENESS_MAX);
            life.server != server && (life.ended.is_none() || !is_missed)
        });
        1 + believed.count() as u32
    }

    /// Everybody has had their time.
    pub(super) fn check_empty(&self) {
        let owed: Vec<_> = self.owed.values().flatten().collect();
        assert!(owed.is_empty(), "violation: other servers were never told {owed:?}");
        let arriving: Vec<_> = self.arriving.values().flatten().collect();
        assert!(arriving.is_empty(), "violation: events for servers that no application heard: {arriving:?}");
    }
}

fn is_publication(publication: &Publication, message: &ClusterMessage) -> bool {
    match (publication, message) {
        (
            Publication::Broadcast { id, target, is_volatile, waiter },
            ClusterMessage::Broadcast { packet, target: to, flags, request, timeout_ms },
        ) => {
            id_of(packet) == *id
                && target == to
                && flags.volatile == *is_volatile
                && request.is_some() == waiter.is_some()
                && timeout_ms.is_some() == waiter.is_some()
        }
        (Publication::Operation { operation, target }, message) => match (operation, message) {
            (Operation::Join(rooms), ClusterMessage::SocketsJoin { target: to, rooms: said })
            | (Operation::Leave(rooms), ClusterMessage::SocketsLeave { target: to, rooms: said }) => {
                target == to && rooms == said
            }
            (Operation::Disconnect { close }, ClusterMessage::DisconnectSockets { target: to, close: said }) => {
                target == to && close == said
            }
            _ => false,
        },
        (Publication::Fetch { target, .. }, ClusterMessage::FetchSockets { target: to, .. }) => target == to,
        (Publication::ServerSide { id, waiter }, ClusterMessage::ServerSideEmit { packet, request }) => {
            id_of(packet) == *id && request.is_some() == waiter.is_some()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringio_core::cluster::ClusterPacket;
    use ringio_core::door::EventParts;

    const CALM: Promise = Promise { heartbeat: None, is_calm: true, known_at: 0 };

    fn server_side(id: EventId) -> ClusterMessage {
        let json = format!("[\"s\",{id}]");
        let packet = ClusterPacket::new(EventParts { json: json.as_bytes(), attachments: &[] });
        ClusterMessage::ServerSideEmit { packet, request: None }
    }

    #[test]
    fn what_was_done_is_told_once() {
        let (mut cluster, node) = (Cluster::new(CALM), NodeId::new("a"));
        cluster.owe(0, 0, Publication::ServerSide { id: 8, waiter: None });
        cluster.published(0, &node, 0, None, &server_side(8));
        cluster.check_empty();
        let again = std::panic::AssertUnwindSafe(|| cluster.published(0, &node, 0, None, &server_side(8)));
        assert!(std::panic::catch_unwind(again).is_err(), "nobody did that");
    }

    #[test]
    fn who_is_gone_is_missed_after_its_silence() {
        let heartbeat = HeartbeatOptions { interval_ms: 500, timeout_ms: 1_000 };
        let mut cluster = Cluster::new(Promise { heartbeat: Some(heartbeat), is_calm: false, known_at: 0 });
        let (a, b) = (NodeId::new("a"), NodeId::new("b"));
        cluster.begin(a.clone(), 0, 0);
        cluster.begin(b.clone(), 1, 0);
        let answered = BTreeMap::new();
        assert_eq!(cluster.ends_at(0, 5_000, &answered), None, "it may answer");
        cluster.end(&b, 1..2, 20_000);
        assert_eq!(cluster.ends_at(0, 5_000, &answered), Some(5_000), "it was never heard of");
        let message = std::sync::Arc::new(ClusterMessage::Heartbeat);
        let letter = Letter { from: b.clone(), to: a.clone(), namespace: 0, message };
        cluster.letter_came(&a, 0, &letter, 21_000);
        assert_eq!(cluster.ends_at(0, 5_000, &answered), Some(21_000 + 1_200_000));
        assert_eq!((cluster.count_max(0, 22_000), cluster.count_max(0, 2_000_000)), (2, 1));
        assert_eq!(cluster.ends_at(0, 5_000, &BTreeMap::from([(b, 6_000)])), Some(6_000));
    }
}
