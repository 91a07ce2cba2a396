//! What other shards say and ask: broadcasts, operations, questions, moved connections.

use super::Shard;
use super::cluster::{Asker, QuestionKind};
use super::deadlines::Deadline;
use crate::base::frame::Frame;
use crate::base::id::{ConnectionKey, FileId, NamespaceId, ShardIndex, TimerKey};
use crate::base::time::Time;
use crate::cluster::roll::Roll;
use crate::cluster::{ClusterMessage, NodeId};
use crate::connection::{Connection, State};
use crate::door::{EmitFlags, Event, FetchRequest, Output, PeerMessage, SocketDescription};
use crate::limits::REQUEST_HEAD_DEADLINE_MS;
use crate::room::select::Target;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::Any;

/// A question for sockets of which answers are missing.
#[derive(Debug)]
pub(super) struct PendingFetch {
    asker: Asker,
    pub(super) namespace: NamespaceId,
    missing: u16,
    sockets: Vec<SocketDescription>,
    /// Of other servers.
    others: Vec<SocketDescription>,
    pub(super) roll: Roll,
    timer: TimerKey,
}

impl Shard {
    /// A message from another shard.
    pub fn handle_peer(&mut self, now: Time, from: ShardIndex, message: PeerMessage) {
        self.advance(now);
        match message {
            PeerMessage::Broadcast { namespace, target, packet, flags, offset, tick } => {
                self.ticks.begin_of_peer(from, tick);
                self.deliver(namespace, &target, packet, flags, offset);
            }
            PeerMessage::Operate { namespace, target, operation } => {
                self.operate_locally(namespace, &target, &operation);
            }
            PeerMessage::Fetch { request, namespace, target } => {
                let sockets = self.local_sockets(namespace, &target);
                let request = FetchRequest { from: Some(from), id: request };
                self.events.push_back(Event::FetchRequested { request, sockets });
            }
            PeerMessage::Fetched { request, sockets } => self.take_answer(request, sockets),
            PeerMessage::RoomsAre { namespace, rooms } => self.take_room_report(from, namespace, rooms),
            PeerMessage::RoomStep { namespace, step } => self.take_room_step(from, namespace, step),
            PeerMessage::ClusterAnswer { from, message } => self.handle_answer(&from, &message),
            PeerMessage::NodeGone { namespace, node } => self.lose_node(namespace, &node),
            PeerMessage::NodesAre { namespace, nodes } => self.note_nodes(namespace, nodes),
            PeerMessage::Moved { file, address, is_secure, bytes, is_cut, luggage: _ } => {
                self.adopt(Connection::new(file, address, is_secure), bytes, is_cut);
            }
            PeerMessage::ComesBack { asker, socket, namespace, pid, offset } => {
                self.answer_return(asker, socket, namespace, pid, offset);
            }
            PeerMessage::Forgotten { pid } => self.forget_forward(pid),
            PeerMessage::CameBack { socket, found } => self.restore(socket, found),
            PeerMessage::Ask { namespace, target, packet, id, question, timeout_ms, flags } => {
                self.ask_selected((from, question), namespace, &target, &Frame::shared(packet), id, timeout_ms, flags);
            }
            PeerMessage::Asked { question, count, lost } => self.note_asked(question, count, lost),
            PeerMessage::Answered { question, answer } => self.take_ack(question, answer),
            PeerMessage::Settled { .. } => {}
            PeerMessage::Application(message) => {
                self.begin_tick();
                self.events.push_back(Event::FromPeer { from, message });
            }
        }
    }

    /// What is to be told to another shard.
    pub fn poll_peer_message(&mut self) -> Option<(ShardIndex, PeerMessage)> {
        self.peer_messages.pop_front()
    }

    /// Hands a message to the application of another shard.
    pub fn send_to_peer(&mut self, target: ShardIndex, message: Box<dyn Any + Send>) {
        self.peer_messages.push_back((target, PeerMessage::Application(message)));
    }

    /// A connection has left this shard, or could not. It is here until then, whatever happens to it, so the number that its file has
    /// with the other shard is never lost: only when the server ends is it closed before, and the driver gives up the transfer.
    pub fn handle_transferred(&mut self, now: Time, key: ConnectionKey, remote: Option<FileId>) {
        self.advance(now);
        let Some(remote) = remote else { return self.drop_connection(key) };
        let Some(connection) = self.connections.remove(key) else { return };
        self.disarm(connection.timer);
        let State::Moving { target, backlog } = connection.state else {
            debug_assert!(false, "only moving connections are transferred");
            return;
        };
        self.counters.connections_moved += 1;
        let (bytes, is_cut) = backlog.into_parts();
        let Connection { address, is_secure, .. } = connection;
        let message = PeerMessage::Moved { file: remote, address, is_secure, bytes, is_cut, luggage: None };
        self.peer_messages.push_back((target, message));
    }

    /// A connection arrives with what it has sent so far.
    fn adopt(&mut self, connection: Connection, bytes: Vec<u8>, is_cut: bool) {
        let file = connection.file;
        let key = self.connections.insert(connection);
        self.outputs.push_back(Output::Adopt { file, connection: key });
        self.arm_connection(key, REQUEST_HEAD_DEADLINE_MS);
        self.receive_kept(key, bytes, is_cut);
    }

    /// Asks for descriptions of the selected sockets of all shards and servers: `Event::Fetched` with `waiter` follows, at the
    /// latest after `timeout_ms`.
    pub fn fetch_sockets(
        &mut self,
        namespace: NamespaceId,
        target: &Target,
        flags: EmitFlags,
        timeout_ms: u64,
        waiter: u64,
    ) {
        let id = self.next_fetch;
        let roll = self.call_roll(namespace, (QuestionKind::Fetch, id), flags.local);
        if !flags.local
            && let Some(request) = self.request_id(QuestionKind::Fetch, id)
        {
            self.publish(namespace, None, ClusterMessage::FetchSockets { target: target.clone(), request });
        }
        self.fetch_for(Asker::Application(waiter), namespace, target, roll, timeout_ms);
    }

    /// Asks all shards on behalf of `asker`.
    pub(super) fn fetch_for(
        &mut self,
        asker: Asker,
        namespace: NamespaceId,
        target: &Target,
        roll: Roll,
        timeout_ms: u64,
    ) {
        let id = self.next_fetch;
        self.next_fetch += 1;
        let timer = self.wheel.arm(self.now.after(timeout_ms), Deadline::Fetch(id));
        let (missing, sockets, others) = (self.shard_count, Vec::new(), Vec::new());
        self.fetches.insert(id, PendingFetch { asker, namespace, missing, sockets, others, roll, timer });
        for peer in self.peers() {
            self.peer_messages.push_back((peer, PeerMessage::Fetch { request: id, namespace, target: target.clone() }));
        }
        let sockets = self.local_sockets(namespace, target);
        self.events.push_back(Event::FetchRequested { request: FetchRequest { from: None, id }, sockets });
    }

    /// The application's answer to `Event::FetchRequested`.
    #[expect(clippy::needless_pass_by_value, reason = "a question is answered once")]
    pub fn reply_fetch(&mut self, request: FetchRequest, sockets: Vec<SocketDescription>) {
        match request.from {
            None => self.take_answer(request.id, sockets),
            Some(shard) => self.peer_messages.push_back((shard, PeerMessage::Fetched { request: request.id, sockets })),
        }
    }

    fn take_answer(&mut self, id: u64, sockets: Vec<SocketDescription>) {
        let Some(pending) = self.fetches.get_mut(&id) else { return };
        pending.sockets.extend(sockets);
        pending.missing -= 1;
        self.finish_fetch_if_complete(id);
    }

    /// Another server has said which sockets it has.
    pub(super) fn take_sockets(&mut self, id: u64, from: &NodeId, sockets: &[SocketDescription]) {
        let Some(pending) = self.fetches.get_mut(&id) else { return };
        if pending.roll.answer(from) {
            pending.others.extend_from_slice(sockets);
            self.finish_fetch_if_complete(id);
        }
    }

    pub(super) fn finish_fetch_if_complete(&mut self, id: u64) {
        if self.fetches.get(&id).is_some_and(|pending| pending.missing == 0 && pending.roll.is_complete()) {
            self.finish_fetch(id);
        }
    }

    /// Not everybody has answered: the asker gets what there is. Another server gets nothing, so that it does not take a
    /// part for the whole.
    pub(super) fn fetch_is_late(&mut self, id: u64) {
        self.finish_fetch(id);
    }

    fn finish_fetch(&mut self, id: u64) {
        let Some(PendingFetch { asker, namespace, missing, sockets, others, roll, timer }) = self.fetches.remove(&id)
        else {
            return;
        };
        self.wheel.disarm(timer);
        match asker {
            Asker::Application(waiter) => {
                let tally = roll.tally();
                self.events.push_back(Event::Fetched { waiter, sockets, others, missing, tally });
            }
            Asker::Node(node, request) if missing == 0 => {
                self.publish(namespace, Some(node), ClusterMessage::FetchSocketsResponse { request, sockets });
            }
            Asker::Node(..) => {}
        }
    }
}
