//! Acknowledgements: one socket's to the application, and those of a broadcast, gathered from all shards.
//!
//! ```text
//!   asking shard --Ask--> other shards --Asked (how many)--> asking shard
//!                           each client's acknowledgement --Answered--> counted there
//! ```
//! A broadcast is complete when every shard has said how many it asked and as many have answered. A client that
//! leaves without answering ends the wait for it at once (Node waits for the timeout): the outcome is then known to be
//! incomplete. So it is when a client could not be asked: it did not take a volatile event, its outbox had no room, or it
//! owes too many answers already. The packet is encoded once: ack ids are unique across the shards of a server.
//!
//! Other servers are asked like shards: each says how many clients it asked, then sends each acknowledgement. They do not
//! say that a client has left, so its asker waits for the time to pass, as in Node.

use super::Shard;
use super::cluster::{Asker, QuestionKind, answer_of, message_of};
use super::deadlines::Deadline;
use super::outbound::Unqueued;
use crate::base::frame::Frame;
use crate::base::id::{NamespaceId, ShardIndex, SocketKey, TimerKey};
use crate::broadcast::packets;
use crate::cluster::roll::Roll;
use crate::cluster::{ClusterMessage, ClusterPacket, NodeId};
use crate::door::{AckFailure, EmitError, EmitFlags, Event, EventParts, Message, PeerMessage};
use crate::namespace::ack::{Owed, Waiter};
use crate::parser::Outgoing;
use crate::room::select::Target;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A broadcast of this shard that waits for acknowledgements.
#[derive(Debug)]
pub(super) struct Question {
    asker: Asker,
    pub(super) namespace: NamespaceId,
    /// Shards that have not said how many they asked.
    silent_shards: u16,
    /// Other servers that have said it.
    pub(super) roll: Roll,
    asked: u64,
    gone: u64,
    answered: u64,
    /// For the application; another server gets each as it comes, once it has been told how many.
    answers: Vec<Message>,
    timer: TimerKey,
}

impl Shard {
    /// Sends an event to the selected sockets of all shards and servers and gathers their acknowledgements: one
    /// `Event::BroadcastAcknowledged` with `waiter` follows, at the latest after `timeout_ms`.
    ///
    /// # Errors
    /// [`EmitError::Encode`], with a parser that cannot encode the event; nothing follows then.
    #[expect(clippy::too_many_arguments, reason = "a broadcast's arguments and what it waits for")]
    pub fn broadcast_with_ack(
        &mut self,
        namespace: NamespaceId,
        name: &Arc<str>,
        target: &Target,
        event: EventParts<'_>,
        flags: EmitFlags,
        timeout_ms: u64,
        waiter: u64,
    ) -> Result<(), EmitError> {
        let number = self.next_question;
        let roll = self.call_roll(namespace, (QuestionKind::Broadcast, number), flags.local);
        self.ask_for(Asker::Application(waiter), roll, (namespace, name), target, event, flags, timeout_ms)?;
        if !flags.local
            && let Some(request) = self.request_id(QuestionKind::Broadcast, number)
        {
            self.publish_event(namespace, target, event, flags, Some((request, timeout_ms)));
        }
        Ok(())
    }

    /// Asks all shards on behalf of `asker`.
    #[expect(clippy::too_many_arguments, reason = "a broadcast's arguments, and for whom")]
    pub(super) fn ask_for(
        &mut self,
        asker: Asker,
        roll: Roll,
        (namespace, name): (NamespaceId, &Arc<str>),
        target: &Target,
        event: EventParts<'_>,
        flags: EmitFlags,
        timeout_ms: u64,
    ) -> Result<(), EmitError> {
        let id = self.namespaces.next_ack_id(namespace, name, &mut self.seed);
        self.counters.packets_encoded += 1;
        let packet = Outgoing::Event { parts: event, id: Some(id), is_broadcast: true };
        let packet = Arc::new(
            packets::encode(self.frame_pool.buffer(), &self.options.parser, name, &packet)?
                .with_compression(flags.for_many()),
        );
        // Not the packet's id: ids count per namespace, so two namespaces may ask under the same one.
        let number = self.next_question;
        self.next_question += 1;
        let timer = self.wheel.arm(self.now.after(timeout_ms), Deadline::Question(number));
        let question = Question {
            asker,
            namespace,
            silent_shards: self.shard_count,
            roll,
            asked: 0,
            gone: 0,
            answered: 0,
            answers: Vec::new(),
            timer,
        };
        self.questions.insert(number, question);
        for peer in self.peers() {
            let (target, packet) = (target.clone(), Arc::clone(&packet));
            let ask = PeerMessage::Ask { namespace, target, packet, id, question: number, timeout_ms, flags };
            self.peer_messages.push_back((peer, ask));
        }
        self.ask_selected((self.index, number), namespace, target, &Frame::shared(packet), id, timeout_ms, flags);
        Ok(())
    }

    /// Asks the sockets of this shard on behalf of `asker`.
    #[expect(clippy::too_many_arguments, reason = "the fields of PeerMessage::Ask and who sent it")]
    pub(super) fn ask_selected(
        &mut self,
        (asker, question): (ShardIndex, u64),
        namespace: NamespaceId,
        target: &Target,
        frame: &Frame,
        id: u64,
        timeout_ms: u64,
        flags: EmitFlags,
    ) {
        let (mut count, mut lost) = (0, 0);
        for key in self.local_sockets(namespace, target) {
            let Some(session) = self.session_of(key) else { continue };
            self.note_outgoing(key, frame);
            let queued = self.queue(session, frame.clone(), flags.volatile);
            match queued {
                // It has left already.
                Err(Unqueued::Disconnected) => continue,
                Err(Unqueued::OutboxFull) => self.overrun(session),
                Ok(()) | Err(Unqueued::Dropped | Unqueued::NotWritable) => {}
            }
            count += 1;
            if queued.is_err() || !self.owe(key, id, Waiter::Broadcast(asker, question), timeout_ms) {
                lost += 1;
            }
        }
        if asker == self.index {
            self.note_asked(question, count, lost);
        } else {
            self.peer_messages.push_back((asker, PeerMessage::Asked { question, count, lost }));
        }
    }

    /// The socket owes an answer from now on; false if it owes too many already.
    fn owe(&mut self, key: SocketKey, id: u64, waiter: Waiter, timeout_ms: u64) -> bool {
        let timer = self.wheel.arm(self.now.after(timeout_ms), Deadline::Ack(key, id));
        let owed = Owed { id, waiter, timer: Some(timer) };
        let is_taken = self.sockets.get_mut(key).is_some_and(|socket| socket.acks.insert(owed));
        if !is_taken {
            self.disarm(Some(timer));
        }
        is_taken
    }

    /// A client has acknowledged.
    pub(super) fn acknowledgement_came(&mut self, owed: &Owed, mut message: Message, received: &[u8]) {
        match owed.waiter {
            Waiter::Application(waiter) => self.events.push_back(Event::AckReceived { waiter, message }),
            Waiter::Broadcast(asker, question) => {
                message.data.own(received);
                self.report_ack(asker, question, Some(message));
            }
        }
    }

    /// A client will not acknowledge.
    pub(super) fn acknowledgement_failed(&mut self, owed: &Owed, failure: AckFailure) {
        match owed.waiter {
            Waiter::Application(waiter) => self.events.push_back(Event::AckFailed { waiter, failure }),
            Waiter::Broadcast(asker, question) => self.report_ack(asker, question, None),
        }
    }

    fn report_ack(&mut self, asker: ShardIndex, question: u64, answer: Option<Message>) {
        if asker == self.index {
            self.take_ack(question, answer);
        } else {
            self.peer_messages.push_back((asker, PeerMessage::Answered { question, answer }));
        }
    }

    /// A shard says how many it has asked, and of how many of them no answer can come.
    pub(super) fn note_asked(&mut self, id: u64, count: usize, lost: usize) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        question.silent_shards -= 1;
        question.asked += count as u64;
        question.gone += lost as u64;
        if question.silent_shards == 0
            && let Asker::Node(node, request) = question.asker.clone()
        {
            // The count comes first: the asker takes no more acknowledgements than it has been told of.
            let (namespace, early) = (question.namespace, core::mem::take(&mut question.answers));
            let count = question.asked;
            let message = ClusterMessage::BroadcastClientCount { request: request.clone(), count };
            self.publish(namespace, Some(node.clone()), message);
            for message in early {
                let message = ClusterMessage::BroadcastAck { request: request.clone(), answer: answer_of(&message) };
                self.publish(namespace, Some(node.clone()), message);
            }
        }
        self.finish_question_if_complete(id);
    }

    /// Another server says how many it has asked.
    pub(super) fn note_asked_by(&mut self, id: u64, from: &NodeId, count: u64) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        if question.roll.answer(from) {
            question.asked = question.asked.saturating_add(count);
            self.finish_question_if_complete(id);
        }
    }

    /// One of the asked has answered, or never will.
    pub(super) fn take_ack(&mut self, id: u64, answer: Option<Message>) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let Some(message) = answer else {
            question.gone += 1;
            return self.finish_question_if_complete(id);
        };
        question.answered += 1;
        match &question.asker {
            Asker::Node(node, request) if question.silent_shards == 0 => {
                let (namespace, node) = (question.namespace, node.clone());
                let message = ClusterMessage::BroadcastAck { request: request.clone(), answer: answer_of(&message) };
                self.publish(namespace, Some(node), message);
            }
            _ => question.answers.push(message),
        }
        self.finish_question_if_complete(id);
    }

    /// A client of another server has answered.
    pub(super) fn take_ack_of(&mut self, id: u64, answer: Option<&ClusterPacket>) {
        if self.questions.get(&id).is_some_and(|question| question.answered < question.asked) {
            self.take_ack(id, Some(message_of(answer)));
        }
    }

    pub(super) fn finish_question_if_complete(&mut self, id: u64) {
        let is_over = self.questions.get(&id).is_some_and(|question| {
            question.silent_shards == 0
                && question.roll.is_complete()
                && question.answered + question.gone >= question.asked
        });
        if is_over {
            self.finish_question(id);
        }
    }

    /// The time is over: the asker gets what there is.
    pub(super) fn question_is_late(&mut self, id: u64) {
        self.finish_question(id);
    }

    fn finish_question(&mut self, id: u64) {
        let Some(question) = self.questions.remove(&id) else { return };
        self.wheel.disarm(question.timer);
        if let Asker::Application(waiter) = question.asker {
            let is_complete =
                question.silent_shards == 0 && question.roll.is_complete() && question.answered == question.asked;
            let answers = question.answers;
            self.events.push_back(Event::BroadcastAcknowledged { waiter, answers, is_complete });
        }
    }
}
