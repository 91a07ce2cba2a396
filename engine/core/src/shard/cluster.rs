//! Other servers: what is told to them, what they tell, who is waited for.
//!
//! ```text
//!   any shard:    broadcast, operate, fetch_sockets, server_side_emit --> Event::Publish        (and the local part)
//!   first shard:  handle_cluster <-- link     a broadcast or operation: done here and on the other shards
//!                                             a question: all shards are asked, one answer is published
//!                                             an answer: to the shard that asked, which its request id names
//! ```
//! What comes from other servers comes to the first shard, in the order of arrival, so the broadcasts of one sender stay in
//! order. A question names its kind, shard and number in its request id; an id that says something else finds nobody, nor
//! does a second answer of the same server. Every question has a deadline; one for another server ends with the time its
//! asker gave.

use super::Shard;
use super::deadlines::Deadline;
use crate::base::id::{NamespaceId, ShardIndex, TimerKey};
#[cfg(ringio_planted)]
use crate::base::planted::{self, Bug};
use crate::cluster::nodes::{HeartbeatOptions, Nodes};
use crate::cluster::roll::{Members, Roll};
use crate::cluster::{ClusterMessage, ClusterPacket, NodeId, RequestId};
use crate::door::{Data, EmitFlags, Event, EventParts, Message, Operation, PeerMessage};
use crate::limits::{CLUSTER_QUESTIONS_MAX, CLUSTER_TIMEOUT_MS_MAX, FETCH_DEADLINE_MS, OWN_QUESTIONS_MAX};
use crate::room::select::Target;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use ringio_codec::socketio::json::argument_bounds;

/// The shard that hears other servers.
pub const CLUSTER_SHARD: ShardIndex = ShardIndex(0);

/// How this server takes part in a cluster.
#[derive(Clone, Copy, Debug)]
pub struct ClusterOptions {
    /// The same on all shards of this server and on no other server: makes request ids that no two servers give.
    pub secret: u64,
    /// How servers notice each other; `None` if the link says who is there.
    pub heartbeat: Option<HeartbeatOptions>,
}

/// Who asked.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    /// The application of this shard.
    Application(u64),
    /// Another server, under this name.
    Node(NodeId, RequestId),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuestionKind {
    /// `fetch_sockets`
    Fetch = 0,
    /// `broadcast_with_ack`
    Broadcast = 1,
    /// `server_side_emit_with_ack`, `count_servers`
    Request = 2,
}

/// The number of a question across shards: kind, shard, number there.
///
/// ```text
///   63..62 kind | 61..48 shard | 47..0 number
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct QuestionKey(u64);

const SHARD_SHIFT: u32 = 48;
const KIND_SHIFT: u32 = 62;
const NUMBER_MASK: u64 = (1 << SHARD_SHIFT) - 1;

impl QuestionKey {
    const fn new(kind: QuestionKind, shard: ShardIndex, number: u64) -> Self {
        Self((kind as u64) << KIND_SHIFT | (shard.0 as u64) << SHARD_SHIFT | number & NUMBER_MASK)
    }

    const fn kind(self) -> Option<QuestionKind> {
        match self.0 >> KIND_SHIFT {
            0 => Some(QuestionKind::Fetch),
            1 => Some(QuestionKind::Broadcast),
            2 => Some(QuestionKind::Request),
            _ => None,
        }
    }

    const fn shard(self) -> ShardIndex {
        ShardIndex((self.0 >> SHARD_SHIFT) as u16 & 0x3fff)
    }

    const fn number(self) -> u64 {
        self.0 & NUMBER_MASK
    }

    fn request_id(self, secret: u64) -> RequestId {
        #[cfg(ringio_planted)]
        let secret = if planted::is(Bug::FormerLife) { 0 } else { secret };
        RequestId::new(&alloc::format!("{:016x}", self.0 ^ secret))
    }

    /// Reads a request id; `None` if we gave none such. A foreign one may pass, and finds no question.
    fn parse(id: &RequestId, secret: u64) -> Option<Self> {
        #[cfg(ringio_planted)]
        let secret = if planted::is(Bug::FormerLife) { 0 } else { secret };
        let is_ours = id.as_str().len() == 16 && id.as_str().bytes().all(|byte| byte.is_ascii_hexdigit());
        is_ours.then(|| u64::from_str_radix(id.as_str(), 16).ok().map(|number| Self(number ^ secret)))?
    }
}

/// What this shard knows of other servers and asks them, besides `fetches` and `questions`.
#[derive(Debug)]
pub(super) struct Cluster {
    options: ClusterOptions,
    /// By heartbeats; on the first shard.
    nodes: Nodes,
    /// The same as the first shard said last; on the others.
    known: BTreeMap<NamespaceId, Arc<[NodeId]>>,
    requests: BTreeMap<u64, Request>,
    next_request: u64,
    /// With heartbeats, on the first shard, until this server ends.
    beat: Option<TimerKey>,
}

impl Cluster {
    /// Whether nothing is asked.
    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Timers that are nobody's: armed as long as this server takes part.
    pub(super) const fn timer_count(&self) -> usize {
        self.beat.is_some() as usize
    }
}

/// A question to servers, not to their clients.
#[derive(Debug)]
struct Request {
    subject: Subject,
    namespace: NamespaceId,
    roll: Roll,
    timer: TimerKey,
}

#[derive(Debug)]
enum Subject {
    /// `server_side_emit_with_ack`
    Emit { waiter: u64, answers: Vec<Option<ClusterPacket>> },
    /// `count_servers`
    Count { waiter: u64 },
}

impl Shard {
    /// Makes this shard speak to other servers: from now on `Event::Publish` comes.
    pub fn join_cluster(&mut self, options: ClusterOptions) {
        let heartbeat = options.heartbeat.filter(|_| self.index == CLUSTER_SHARD);
        let beat =
            heartbeat.map(|heartbeat| self.wheel.arm(self.now.after(heartbeat.check_ms()), Deadline::ClusterBeat));
        let (nodes, known, requests) = (Nodes::default(), BTreeMap::new(), BTreeMap::new());
        self.cluster = Some(Box::new(Cluster { options, nodes, known, requests, next_request: 0, beat }));
    }

    /// This server has the namespace: others may count it. On the first shard; a second time does nothing.
    pub fn open_in_cluster(&mut self, namespace: NamespaceId) {
        let now = self.now;
        let Some(cluster) = self.cluster.as_mut() else { return };
        if cluster.nodes.open(namespace, now) && cluster.options.heartbeat.is_some() {
            self.publish(namespace, None, ClusterMessage::InitialHeartbeat);
        }
    }

    /// This server has the namespace no longer, and the application has told the others. On the first shard.
    pub fn close_in_cluster(&mut self, namespace: NamespaceId) {
        if let Some(cluster) = self.cluster.as_mut() {
            cluster.nodes.close(namespace);
        }
    }

    /// This server ends.
    pub(super) fn close_cluster(&mut self) {
        let namespaces: Vec<NamespaceId> =
            self.cluster.as_ref().map_or(Vec::new(), |cluster| cluster.nodes.namespaces().collect());
        for namespace in namespaces {
            self.publish(namespace, None, ClusterMessage::AdapterClose);
            self.close_in_cluster(namespace);
        }
        let beat = self.cluster.as_mut().and_then(|cluster| cluster.beat.take());
        self.disarm(beat);
    }

    // What leaves -----------------------------------------------------------------------------------------------------

    pub(super) fn publish(&mut self, namespace: NamespaceId, to: Option<NodeId>, message: ClusterMessage) {
        if self.cluster.is_some() {
            self.events.push_back(Event::Publish { namespace, to, message: Arc::new(message) });
        }
    }

    /// An event for the clients of other servers, unless it is for this one alone.
    pub(super) fn publish_event(
        &mut self,
        namespace: NamespaceId,
        target: &Target,
        event: EventParts<'_>,
        flags: EmitFlags,
        wanted: Option<(RequestId, u64)>,
    ) {
        if flags.local || self.cluster.is_none() {
            return;
        }
        let (request, timeout_ms) = wanted.unzip();
        let (packet, target) = (ClusterPacket::new(event), target.clone());
        self.publish(namespace, None, ClusterMessage::Broadcast { packet, target, flags, timeout_ms, request });
    }

    pub(super) fn publish_operation(
        &mut self,
        namespace: NamespaceId,
        target: &Target,
        operation: &Operation,
        flags: EmitFlags,
    ) {
        if flags.local || self.cluster.is_none() {
            return;
        }
        let target = target.clone();
        let message = match operation {
            Operation::Join(rooms) => ClusterMessage::SocketsJoin { target, rooms: Arc::clone(rooms) },
            Operation::Leave(rooms) => ClusterMessage::SocketsLeave { target, rooms: Arc::clone(rooms) },
            Operation::Disconnect { close } => ClusterMessage::DisconnectSockets { target, close: *close },
        };
        self.publish(namespace, None, message);
    }

    /// Whether the application may ask one more question: a broadcast with acknowledgements, `fetch_sockets`, `server_side_emit` with
    /// answers, `count_servers`.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        let requests = self.cluster.as_ref().map_or(0, |cluster| cluster.requests.len());
        self.questions.len() + self.fetches.len() + requests < OWN_QUESTIONS_MAX
    }

    /// Sends an event to the other servers themselves. With `wanted` (a time in milliseconds and a waiter) they are to answer:
    /// `Event::ServerSideAnswered` follows, at once if there is no other server, at the latest when the time is over.
    pub fn server_side_emit(&mut self, namespace: NamespaceId, event: EventParts<'_>, wanted: Option<(u64, u64)>) {
        let Some((timeout_ms, waiter)) = wanted else {
            if self.cluster.is_some() {
                let packet = ClusterPacket::new(event);
                self.publish(namespace, None, ClusterMessage::ServerSideEmit { packet, request: None });
            }
            return;
        };
        let subject = Subject::Emit { waiter, answers: Vec::new() };
        let Some(number) = self.ask_servers(namespace, subject, timeout_ms) else {
            let (answers, tally) = (Vec::new(), Roll::alone().tally());
            return self.events.push_back(Event::ServerSideAnswered { waiter, answers, tally });
        };
        let request = self.request_id(QuestionKind::Request, number);
        let packet = ClusterPacket::new(event);
        self.publish(namespace, None, ClusterMessage::ServerSideEmit { packet, request });
        self.finish_request_if_complete(number);
    }

    /// Asks how many servers have the namespace: `Event::ServersCounted` follows.
    pub fn count_servers(&mut self, namespace: NamespaceId, timeout_ms: u64, waiter: u64) {
        match self.ask_servers(namespace, Subject::Count { waiter }, timeout_ms) {
            Some(number) => self.finish_request_if_complete(number),
            None => self.events.push_back(Event::ServersCounted { waiter, count: Some(1) }),
        }
    }

    /// Answers `Event::ServerSideEvent`.
    pub fn answer_server_side(
        &mut self,
        namespace: NamespaceId,
        to: NodeId,
        request: RequestId,
        answer: Option<ClusterPacket>,
    ) {
        self.publish(namespace, Some(to), ClusterMessage::ServerSideEmitResponse { request, answer });
    }

    /// The number of a question to servers; `None` without a cluster.
    fn ask_servers(&mut self, namespace: NamespaceId, subject: Subject, timeout_ms: u64) -> Option<u64> {
        let number = self.cluster.as_ref()?.next_request;
        let roll = self.call_roll(namespace, (QuestionKind::Request, number), false);
        let timer = self.wheel.arm(self.now.after(timeout_ms), Deadline::Request(number));
        let cluster = self.cluster.as_mut()?;
        cluster.next_request += 1;
        cluster.requests.insert(number, Request { subject, namespace, roll, timer });
        Some(number)
    }

    /// The name under which others answer.
    pub(super) fn request_id(&self, kind: QuestionKind, number: u64) -> Option<RequestId> {
        let secret = self.cluster.as_ref()?.options.secret;
        Some(QuestionKey::new(kind, self.index, number).request_id(secret))
    }

    /// Who has to answer a question of this shard.
    pub(super) fn call_roll(
        &mut self,
        namespace: NamespaceId,
        (kind, number): (QuestionKind, u64),
        is_local: bool,
    ) -> Roll {
        let Some(cluster) = self.cluster.as_ref().filter(|_| !is_local) else { return Roll::alone() };
        if cluster.options.heartbeat.is_some() {
            let nodes = if self.index == CLUSTER_SHARD {
                cluster.nodes.of(namespace)
            } else {
                cluster.known.get(&namespace).map_or(Vec::new(), |nodes| nodes.to_vec())
            };
            return Roll::of(Members::Nodes(nodes));
        }
        let question = QuestionKey::new(kind, self.index, number).0;
        self.events.push_back(Event::CountServers { namespace, question });
        Roll::unknown()
    }

    // What arrives ----------------------------------------------------------------------------------------------------

    /// A message of another server, on the first shard. Never one of this server's own.
    pub fn handle_cluster(
        &mut self,
        from: &NodeId,
        namespace: NamespaceId,
        name: &Arc<str>,
        message: &Arc<ClusterMessage>,
    ) {
        self.begin_tick();
        if let (ClusterMessage::InitialHeartbeat, Some(cluster)) = (&**message, self.cluster.as_mut()) {
            cluster.nodes.come_back(namespace, from);
        }
        self.note_node(namespace, from);
        match &**message {
            ClusterMessage::InitialHeartbeat => self.publish(namespace, None, ClusterMessage::Heartbeat),
            ClusterMessage::Heartbeat => {}
            ClusterMessage::AdapterClose => {
                let now = self.now;
                let was_known = self.cluster.as_mut().is_some_and(|cluster| cluster.nodes.leave(namespace, from, now));
                if was_known {
                    self.tell_nodes(namespace);
                }
                self.node_left(namespace, from);
            }
            ClusterMessage::Broadcast { packet, target, flags, request: None, .. } => {
                let flags = here(*flags);
                #[cfg(ringio_planted)]
                let flags = EmitFlags { local: !planted::is(Bug::SentOn), ..flags };
                // A parser of this server that cannot encode it keeps it from this server's clients only.
                let _ = self.broadcast(namespace, name, target, packet.parts(), flags);
            }
            ClusterMessage::Broadcast { packet, target, flags, timeout_ms, request: Some(request) } => {
                if self.questions.len() < CLUSTER_QUESTIONS_MAX {
                    let asker = Asker::Node(from.clone(), request.clone());
                    let timeout_ms = timeout_ms.unwrap_or(FETCH_DEADLINE_MS).min(CLUSTER_TIMEOUT_MS_MAX);
                    let place = (namespace, name);
                    let roll = Roll::alone();
                    let asked = self.ask_for(asker, roll, place, target, packet.parts(), here(*flags), timeout_ms);
                    if asked.is_err() {
                        let message = ClusterMessage::BroadcastClientCount { request: request.clone(), count: 0 };
                        self.publish(namespace, Some(from.clone()), message);
                    }
                }
            }
            ClusterMessage::SocketsJoin { target, rooms } => {
                self.operate_here(namespace, target, &Operation::Join(Arc::clone(rooms)));
            }
            ClusterMessage::SocketsLeave { target, rooms } => {
                self.operate_here(namespace, target, &Operation::Leave(Arc::clone(rooms)));
            }
            ClusterMessage::DisconnectSockets { target, close } => {
                self.operate_here(namespace, target, &Operation::Disconnect { close: *close });
            }
            ClusterMessage::FetchSockets { target, request } => {
                if self.fetches.len() < CLUSTER_QUESTIONS_MAX {
                    let asker = Asker::Node(from.clone(), request.clone());
                    self.fetch_for(asker, namespace, target, Roll::alone(), FETCH_DEADLINE_MS);
                }
            }
            ClusterMessage::ServerSideEmit { packet, request } => {
                let (from, request, packet) = (from.clone(), request.clone(), packet.clone());
                self.events.push_back(Event::ServerSideEvent { namespace, from, request, packet });
            }
            ClusterMessage::FetchSocketsResponse { .. }
            | ClusterMessage::ServerSideEmitResponse { .. }
            | ClusterMessage::BroadcastClientCount { .. }
            | ClusterMessage::BroadcastAck { .. } => self.hand_on_answer(from, message),
        }
    }

    fn operate_here(&mut self, namespace: NamespaceId, target: &Target, operation: &Operation) {
        self.operate(namespace, target, operation, here(EmitFlags::default()));
    }

    /// An answer of another server goes to the shard that asked.
    fn hand_on_answer(&mut self, from: &NodeId, message: &Arc<ClusterMessage>) {
        let Some(key) = self.question_key(message) else { return };
        if key.shard() == self.index {
            self.handle_answer(from, message);
        } else if key.shard().0 < self.shard_count {
            let answer = PeerMessage::ClusterAnswer { from: from.clone(), message: Arc::clone(message) };
            self.peer_messages.push_back((key.shard(), answer));
        }
    }

    fn question_key(&self, message: &ClusterMessage) -> Option<QuestionKey> {
        QuestionKey::parse(message.answers()?, self.cluster.as_ref()?.options.secret)
    }

    /// An answer to a question of this shard, if there is one.
    pub(super) fn handle_answer(&mut self, from: &NodeId, message: &ClusterMessage) {
        let Some(key) = self.question_key(message) else { return };
        let number = key.number();
        match (key.kind(), message) {
            (Some(QuestionKind::Fetch), ClusterMessage::FetchSocketsResponse { sockets, .. }) => {
                self.take_sockets(number, from, sockets);
            }
            (Some(QuestionKind::Broadcast), ClusterMessage::BroadcastClientCount { count, .. }) => {
                self.note_asked_by(number, from, *count);
            }
            (Some(QuestionKind::Broadcast), ClusterMessage::BroadcastAck { answer, .. }) => {
                self.take_ack_of(number, answer.as_ref());
            }
            (Some(QuestionKind::Request), ClusterMessage::ServerSideEmitResponse { answer, .. }) => {
                let request = self.cluster.as_mut().and_then(|cluster| cluster.requests.get_mut(&number));
                if let Some(Request { subject: Subject::Emit { answers, .. }, roll, .. }) = request
                    && roll.answer(from)
                {
                    answers.push(answer.clone());
                    self.finish_request_if_complete(number);
                }
            }
            _ => {}
        }
    }

    /// The answer to `Event::CountServers`.
    pub fn handle_members(&mut self, question: u64, members: Members) {
        let key = QuestionKey(question);
        let number = key.number();
        match key.kind() {
            Some(QuestionKind::Fetch) => {
                if let Some(fetch) = self.fetches.get_mut(&number) {
                    fetch.roll.set_members(members);
                    self.finish_fetch_if_complete(number);
                }
            }
            Some(QuestionKind::Broadcast) => {
                if let Some(question) = self.questions.get_mut(&number) {
                    question.roll.set_members(members);
                    self.finish_question_if_complete(number);
                }
            }
            Some(QuestionKind::Request) => {
                if let Some(request) = self.cluster.as_mut().and_then(|cluster| cluster.requests.get_mut(&number)) {
                    request.roll.set_members(members);
                    self.finish_request_if_complete(number);
                }
            }
            None => {}
        }
    }

    fn finish_request_if_complete(&mut self, number: u64) {
        let request = self.cluster.as_ref().and_then(|cluster| cluster.requests.get(&number));
        let is_over = request.is_some_and(|request| match request.subject {
            Subject::Emit { .. } => request.roll.is_complete(),
            Subject::Count { .. } => request.roll.tally().expected.is_some(),
        });
        if is_over {
            self.request_is_late(number);
        }
    }

    /// The time is over, or everybody has answered: the asker gets what there is.
    pub(super) fn request_is_late(&mut self, number: u64) {
        let Some(cluster) = self.cluster.as_mut() else { return };
        let Some(Request { subject, roll, timer, .. }) = cluster.requests.remove(&number) else { return };
        self.wheel.disarm(timer);
        let tally = roll.tally();
        self.events.push_back(match subject {
            Subject::Emit { waiter, answers } => Event::ServerSideAnswered { waiter, answers, tally },
            Subject::Count { waiter } => {
                Event::ServersCounted { waiter, count: tally.expected.map(|others| others.saturating_add(1)) }
            }
        });
    }

    // Who is there ----------------------------------------------------------------------------------------------------

    fn note_node(&mut self, namespace: NamespaceId, node: &NodeId) {
        let now = self.now;
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.options.heartbeat.is_some()) else { return };
        if cluster.nodes.heard(namespace, node, now) {
            self.tell_nodes(namespace);
        }
    }

    /// A server is not known any more: no shard waits for it.
    fn node_left(&mut self, namespace: NamespaceId, node: &NodeId) {
        for peer in self.peers() {
            self.peer_messages.push_back((peer, PeerMessage::NodeGone { namespace, node: node.clone() }));
        }
        self.lose_node(namespace, node);
    }

    /// The other shards learn who is there.
    fn tell_nodes(&mut self, namespace: NamespaceId) {
        let Some(cluster) = &self.cluster else { return };
        let nodes: Arc<[NodeId]> = cluster.nodes.of(namespace).into();
        for peer in self.peers() {
            self.peer_messages.push_back((peer, PeerMessage::NodesAre { namespace, nodes: Arc::clone(&nodes) }));
        }
    }

    pub(super) fn note_nodes(&mut self, namespace: NamespaceId, nodes: Arc<[NodeId]>) {
        if let Some(cluster) = self.cluster.as_mut() {
            cluster.known.insert(namespace, nodes);
        }
    }

    /// Nobody waits for a server that has left.
    pub(super) fn lose_node(&mut self, namespace: NamespaceId, node: &NodeId) {
        #[cfg(ringio_planted)]
        if planted::is(Bug::DeadAwaited) {
            return;
        }
        let mut fetches = Vec::new();
        for (number, fetch) in self.fetches.iter_mut().filter(|(_, fetch)| fetch.namespace == namespace) {
            fetch.roll.lose(node);
            fetches.push(*number);
        }
        let mut questions = Vec::new();
        for (number, question) in self.questions.iter_mut().filter(|(_, question)| question.namespace == namespace) {
            question.roll.lose(node);
            questions.push(*number);
        }
        let mut requests = Vec::new();
        if let Some(cluster) = self.cluster.as_mut() {
            for (number, request) in cluster.requests.iter_mut().filter(|(_, request)| request.namespace == namespace) {
                request.roll.lose(node);
                requests.push(*number);
            }
        }
        // In the order in which they were asked.
        fetches.sort_unstable();
        questions.sort_unstable();
        fetches.into_iter().for_each(|number| self.finish_fetch_if_complete(number));
        questions.into_iter().for_each(|number| self.finish_question_if_complete(number));
        requests.into_iter().for_each(|number| self.finish_request_if_complete(number));
    }

    /// Says that this server is there, and notices who is not.
    pub(super) fn cluster_beat_is_due(&mut self) {
        let now = self.now;
        let Some(cluster) = self.cluster.as_mut() else { return };
        let Some(heartbeat) = cluster.options.heartbeat else { return };
        cluster.beat = Some(self.wheel.arm(now.after(heartbeat.check_ms()), Deadline::ClusterBeat));
        let silent = cluster.nodes.take_silent(&heartbeat, now);
        let due = cluster.nodes.take_due(&heartbeat, now);
        for (namespace, node) in silent {
            self.tell_nodes(namespace);
            self.node_left(namespace, &node);
        }
        for namespace in due {
            self.publish(namespace, None, ClusterMessage::Heartbeat);
        }
    }
}

/// The same for this server alone: what came from another one is not published again.
const fn here(flags: EmitFlags) -> EmitFlags {
    EmitFlags { local: true, ..flags }
}

/// The first argument of an acknowledgement, which is all that other servers hear of it.
pub(super) fn answer_of(message: &Message) -> Option<ClusterPacket> {
    let data = message.data.bytes(&[]);
    let arguments = data.get(message.arguments.start as usize..message.arguments.end as usize)?;
    let text = core::str::from_utf8(arguments).ok()?;
    let first = argument_bounds(text).next().filter(|_| message.argument_count > 0)?;
    Some(ClusterPacket { json: Bytes::copy_from_slice(&arguments[first]), attachments: message.attachments.clone() })
}

/// An acknowledgement with this one argument.
pub(super) fn message_of(answer: Option<&ClusterPacket>) -> Message {
    let (json, attachments) = answer.map_or((&[][..], &[][..]), |answer| (&answer.json[..], &answer.attachments[..]));
    let mut bytes = Vec::with_capacity(json.len() + 2);
    bytes.push(b'[');
    bytes.extend_from_slice(json);
    bytes.push(b']');
    let end = u32::try_from(bytes.len() - 1).unwrap_or(u32::MAX);
    Message {
        data: Data::Owned { bytes, start: 0 },
        name: 0..0,
        name_has_escapes: false,
        arguments: 1..end,
        argument_count: answer.is_some().into(),
        id: None,
        attachments: attachments.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_names_its_question_to_its_asker_only() {
        let key = QuestionKey::new(QuestionKind::Request, ShardIndex(4095), 7);
        let id = key.request_id(0x0123_4567_89ab_cdef);
        assert_eq!(id.as_str().len(), 16);
        let back = QuestionKey::parse(&id, 0x0123_4567_89ab_cdef);
        assert_eq!(back, Some(key));
        assert_eq!((key.kind(), key.shard(), key.number()), (Some(QuestionKind::Request), ShardIndex(4095), 7));
        assert_ne!(QuestionKey::parse(&id, 1), Some(key));
        for foreign in ["", "a-Z_09", "0123456789abcdeg", "+123456789abcdef", "0123456789abcdef0"] {
            assert_eq!(QuestionKey::parse(&RequestId::new(foreign), 0), None, "{foreign}");
        }
    }

    #[test]
    fn the_first_argument_travels_and_comes_back_as_the_only_one() {
        for (json, expected) in [("[]", None), ("[1,2]", Some("1")), (r#"[{"a":[1,2]},"x"]"#, Some(r#"{"a":[1,2]}"#))] {
            let count = expected.map_or(0, |_| 2);
            let message = Message {
                data: Data::Owned { bytes: json.as_bytes().to_vec(), start: 0 },
                arguments: 1..json.len() as u32 - 1,
                argument_count: count,
                ..message_of(None)
            };
            let answer = answer_of(&message);
            assert_eq!(answer.as_ref().map(|answer| &answer.json[..]), expected.map(str::as_bytes));
            let back = message_of(answer.as_ref());
            assert_eq!(answer_of(&back), answer);
        }
    }
}
