//! What the application does in a cluster: tells and asks other servers, hears them, and answers.

use super::{App, text};
use crate::link::{Letter, Link};
use crate::oracle::cluster::Publication;
use crate::oracle::inbox::EventId;
use crate::oracle::questions::Question;
use crate::oracle::{Mark, Work};
use crate::trace::note;
use bytes::Bytes;
use ringio_core::base::id::{NamespaceId, SocketKey};
use ringio_core::cluster::{ClusterMessage, ClusterPacket, NodeId, RequestId};
use ringio_core::door::{Event, EventParts, Operation};
use ringio_core::room::select::Target;
use std::rc::Rc;
use std::sync::Arc;

impl App {
    fn link<R>(&self, tell: impl FnOnce(&mut Link) -> R) -> R {
        let link = self.common.link.as_ref().expect("only a cluster comes here");
        tell(&mut link.borrow_mut())
    }

    /// What comes in a cluster only; everything else is given back.
    pub(super) fn handle_of_cluster(self: &Rc<Self>, event: Event) -> Option<Event> {
        match event {
            Event::Publish { namespace, to, message } => self.publish(namespace.0, to.as_ref(), &message),
            Event::CountServers { question, .. } => {
                let members = self.link(|link| link.members(self.role.server, self.index, question));
                if let Some(members) = members {
                    self.core(|core| core.handle_members(question, members));
                }
            }
            Event::ServersCounted { waiter, count } => {
                note!("shard {}: {count:?} servers for {waiter}", self.index);
                self.oracle(|oracle| oracle.counted(waiter, count));
            }
            Event::ServerSideEvent { namespace, from, request, packet } => {
                let id = id_of(&packet);
                note!("shard {}: hears {id} of {from}", self.index);
                self.oracle(|oracle| oracle.cluster.hear(&self.role.node, &from, id));
                if let Some(request) = request {
                    self.answer_server(namespace, from, request, id);
                }
            }
            Event::ServerSideAnswered { waiter, answers, tally } => {
                note!("shard {}: {} servers answer {waiter}: {tally:?}", self.index, answers.len());
                let answers: Vec<String> = answers.iter().flatten().map(|answer| text(&answer.json)).collect();
                self.oracle(|oracle| oracle.servers_answered(waiter, &answers, tally));
            }
            other => return Some(other),
        }
        None
    }

    fn publish(&self, namespace: u32, to: Option<&NodeId>, message: &Arc<ClusterMessage>) {
        note!("shard {}: publishes {} in {namespace}", self.index, message.number());
        self.oracle(|oracle| oracle.cluster.published(self.index, &self.role.node, namespace, to, message));
        self.link(|link| link.publish(self.role.sender, self.role.server, namespace, to, message));
    }

    /// At once, later or never.
    fn answer_server(self: &Rc<Self>, namespace: NamespaceId, from: NodeId, request: RequestId, id: EventId) {
        let json = format!("\"{}:{id}\"", self.role.node);
        let answer = Some(ClusterPacket { json: Bytes::from(json), attachments: Vec::new() });
        match self.draw(|chance| chance.below(10)) {
            0..6 => self.core(|core| core.answer_server_side(namespace, from, request, answer)),
            6..9 => self.do_later(move |app| {
                app.core(|core| core.answer_server_side(namespace, from, request, answer));
            }),
            _ => {}
        }
    }

    // ---- doing

    pub(super) fn server_side_emit(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let id = self.next_id();
        let wanted = self.draw(|chance| chance.percent(70)).then(|| {
            let timeout_ms = self.timeout_ms();
            let deadline = Some((self.now() / 1_000 + timeout_ms) * 1_000);
            (timeout_ms, self.oracle(|oracle| oracle.ask(self.index, deadline, Question::ServerSide { id })))
        });
        note!("shard {}: tells the servers {id}, wants {wanted:?}", self.index);
        let json = format!("[\"s\",{id}]");
        let parts = EventParts { json: json.as_bytes(), attachments: &[] };
        let publication = Publication::ServerSide { id, waiter: wanted.map(|(_, waiter)| waiter) };
        self.oracle(|oracle| oracle.cluster.owe(self.index, namespace.0, publication));
        self.core(|core| core.server_side_emit(namespace, parts, wanted));
    }

    pub(super) fn count_servers(&self, key: SocketKey) {
        let Some(namespace) = self.namespace_of(key) else { return };
        let timeout_ms = self.timeout_ms();
        let deadline = Some((self.now() / 1_000 + timeout_ms) * 1_000);
        let number = self.oracle(|oracle| oracle.ask(self.index, deadline, Question::Count));
        note!("shard {}: counts servers as {number}", self.index);
        self.core(|core| core.count_servers(namespace, timeout_ms, number));
    }

    // ---- hearing

    pub(super) fn take_letter(&self, letter: &Letter) {
        let Letter { from, namespace, message, .. } = letter;
        note!("shard {}: {from} says {} in {namespace}", self.index, message.number());
        self.oracle(|oracle| oracle.letter_came(&self.role.node, self.role.server, letter));
        let (target, operation) = match &**message {
            ClusterMessage::Broadcast { packet, target, flags, request, .. } => {
                let is_asked = request.is_some();
                let is_volatile = flags.volatile || is_asked && self.oracle(|oracle| oracle.is_recoverable);
                let work = Work::Broadcast { is_volatile, is_logged: !flags.volatile && !is_asked };
                return self.take_work(id_of(packet), target, work, letter);
            }
            ClusterMessage::SocketsJoin { target, rooms } => (target, Operation::Join(Arc::clone(rooms))),
            ClusterMessage::SocketsLeave { target, rooms } => (target, Operation::Leave(Arc::clone(rooms))),
            ClusterMessage::DisconnectSockets { target, close } => (target, Operation::Disconnect { close: *close }),
            _ => return self.hand_in(letter),
        };
        self.take_work(self.next_id(), target, Work::Operate(operation), letter);
    }

    /// Work of another server is work of this shard for all others.
    fn take_work(&self, id: EventId, target: &Target, work: Work, letter: &Letter) {
        self.catch_up(None);
        let mut selected = self.oracle(|oracle| oracle.selection(self.index, letter.namespace, target));
        let mut mark = Mark { id, is_end: false, namespace: letter.namespace, target: target.clone(), work };
        if matches!(mark.work, Work::Operate(_)) {
            selected.retain(|key| self.is_there(*key));
        }
        self.mark_peers(&mark);
        self.hand_in(letter);
        mark.is_end = true;
        self.mark_peers(&mark);
        match &mark.work {
            Work::Broadcast { .. } => self.was_broadcast(&mark, &selected),
            Work::Operate(operation) => {
                self.oracle(|oracle| super::actions::apply(oracle, self.index, &selected, operation));
            }
        }
    }

    fn hand_in(&self, letter: &Letter) {
        let Letter { from, namespace, message, .. } = letter;
        let name = &self.names[*namespace as usize];
        self.core(|core| core.handle_cluster(from, NamespaceId(*namespace), name, message));
    }
}

/// The number that an event carries last.
pub(crate) fn id_of(packet: &ClusterPacket) -> EventId {
    let json = text(&packet.json);
    let id = json.trim_end_matches(']').rsplit_once(',').and_then(|(_, id)| id.parse().ok());
    id.unwrap_or_else(|| panic!("violation: other servers are told {json}"))
}
