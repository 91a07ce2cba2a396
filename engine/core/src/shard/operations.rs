//! What the application does: let in, emit, broadcast, join, leave, disconnect.
//!
//! Everything takes effect at once on this shard and is seen by the next read; other shards get a message.

use super::Shard;
use super::outbound::Unqueued;
use crate::base::frame::{Encoded, Frame};
use crate::base::id::{Key, NamespaceId, SessionKey, ShardIndex, SocketKey};
use crate::base::seed::Sid;
use crate::broadcast::encode;
use crate::broadcast::packets;
use crate::broadcast::recovery::Offset;
use crate::door::{DisconnectReason, EmitError, EmitFlags, EventParts, Operation, PeerMessage};
use crate::namespace::ack::{Owed, Waiter};
use crate::namespace::socket::Presence;
use crate::parser::Outgoing;
use crate::room::select::{Target, select};
use crate::session::Session;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::deadlines::Deadline;

impl Shard {
    /// Takes a requested socket into `namespace`, whose middleware decides from here on: it may join rooms and be emitted
    /// to. False if the client has left meanwhile.
    pub fn enter_socket(&mut self, key: SocketKey, namespace: NamespaceId, name: &Arc<str>) -> bool {
        let Some(socket) = self.sockets.get_mut(key) else { return false };
        if !matches!(socket.presence, Presence::Requested(_)) {
            return false;
        }
        socket.presence = Presence::Entering(namespace);
        if self.recovery.is_some() {
            self.make_recoverable(key);
        }
        self.namespaces.enter(namespace, name, &mut self.seed);
        true
    }

    /// Lets a requested or entering socket into `namespace`: it joins the room of its own id and the client is told.
    /// False if the client has left meanwhile.
    pub fn accept_socket(&mut self, key: SocketKey, namespace: NamespaceId, name: &Arc<str>) -> bool {
        self.enter_socket(key, namespace, name);
        let Some(socket) = self.sockets.get_mut(key) else { return false };
        if !matches!(socket.presence, Presence::Entering(entered) if entered == namespace) {
            return false;
        }
        socket.presence = Presence::Joined(namespace);
        let (sid, session_key) = (socket.sid, socket.session);
        self.socket_ids.insert(sid, key);
        self.note_room(namespace, sid.as_str(), sid, true);
        if let Some(namespace) = self.namespaces.get_mut(namespace) {
            namespace.everyone.insert(key.index());
        }
        let timer = self.sessions.get_mut(session_key).and_then(|session| session.timer.take());
        self.disarm(timer);
        let is_protocol_3 = self.sessions.get(session_key).is_some_and(Session::is_protocol_3);
        let pid = self.pid_of(key);
        let pid = pid.as_ref().map(Sid::as_str);
        let packet = Outgoing::Connect { sid: (!is_protocol_3).then_some(sid.as_str()), pid };
        self.queue_packet(session_key, packets::encode(Vec::new(), &self.options.parser, name, &packet));
        true
    }

    /// Refuses a requested or entering socket: CONNECT_ERROR `{"message":..,"data":..}`; `data` is raw JSON. It leaves the
    /// rooms it may have joined; the connection stays.
    pub fn refuse_socket(&mut self, key: SocketKey, message: &str, data: Option<&str>) {
        let Some(socket) = self.sockets.get(key) else { return };
        let name = match &socket.presence {
            Presence::Requested(name) => &**name,
            Presence::Entering(namespace) => self.namespace_name(*namespace),
            Presence::Joined(_) | Presence::Leaving(..) => return,
        };
        let session = socket.session;
        let is_protocol_3 = self.sessions.get(session).is_some_and(Session::is_protocol_3);
        let is_entering = matches!(socket.presence, Presence::Entering(_));
        let packet = match data {
            // What a middleware says is plain data there; an unknown namespace is an object in both.
            _ if is_protocol_3 && is_entering => Outgoing::ConnectErrorBare { message, data },
            None if !is_entering => Outgoing::UnknownNamespace { message },
            _ => Outgoing::ConnectError { message, data },
        };
        let encoded = packets::encode(Vec::new(), &self.options.parser, name, &packet);
        self.begin_leaving(key, DisconnectReason::ServerNamespaceDisconnect);
        self.queue_packet(session, encoded);
    }

    /// Joins a room; true if the socket was not a member. Nothing happens after disconnection.
    pub fn join(&mut self, key: SocketKey, room: &str) -> bool {
        let Some(socket) = self.sockets.get_mut(key) else { return false };
        let Some(id) = socket.namespace().filter(|_| socket.has_rooms()) else { return false };
        let sid = socket.sid;
        let has_joined = if is_own_room(&sid, room) {
            core::mem::replace(&mut socket.has_left_own_room, false)
        } else {
            let Some(namespace) = self.namespaces.get_mut(id) else { return false };
            namespace.rooms.join(key.index(), &mut socket.memberships, room).joined
        };
        if has_joined {
            self.note_room(id, room, sid, true);
        }
        has_joined
    }

    /// Leaves a room; true if the socket was a member.
    pub fn leave(&mut self, key: SocketKey, room: &str) -> bool {
        let Some(socket) = self.sockets.get_mut(key) else { return false };
        let Some(id) = socket.namespace().filter(|_| socket.has_rooms()) else { return false };
        let sid = socket.sid;
        let has_left = if is_own_room(&sid, room) {
            // It joins that room when it is let in.
            socket.is_joined() && !core::mem::replace(&mut socket.has_left_own_room, true)
        } else {
            let Some(namespace) = self.namespaces.get_mut(id) else { return false };
            namespace.rooms.leave(key.index(), &mut socket.memberships, room).left
        };
        if has_left {
            self.note_room(id, room, sid, false);
        }
        has_left
    }

    /// The session and namespace of a socket that can be emitted to: as in Node, also one that has left its
    /// namespace while its connection lives.
    fn addressee(&self, key: SocketKey) -> Result<(SessionKey, NamespaceId), EmitError> {
        let socket = self.sockets.get(key).ok_or(EmitError::Disconnected)?;
        Ok((socket.session, socket.namespace().ok_or(EmitError::Disconnected)?))
    }

    /// Sends an event to one client.
    ///
    /// # Errors
    /// The client is gone, its outbox is full, or the emit was volatile and the client could not take it.
    pub fn emit(&mut self, key: SocketKey, event: EventParts<'_>, flags: EmitFlags) -> Result<(), EmitError> {
        let (session, namespace) = self.addressee(key)?;
        if self.recovery.is_some() && !flags.volatile {
            return self.emit_recoverable(key, namespace, event, flags);
        }
        let packet = Outgoing::Event { parts: event, id: None, is_broadcast: false };
        let encoded =
            packets::encode(self.frame_pool.buffer(), &self.options.parser, self.namespace_name(namespace), &packet)?;
        let when_slow = self.when_slow(flags, self.namespace_name(namespace));
        let frame = self.frame_pool.frame(encoded.with_compression(flags.for_one()).with_when_slow(when_slow));
        self.counters.packets_encoded += 1;
        self.note_outgoing(key, &frame);
        Ok(self.queue(session, frame, flags.volatile)?)
    }

    /// Sends an event and lets the application hear `AckReceived` or `AckFailed` with `waiter`, exactly once, unless
    /// this returns an error. Without a timeout it waits until the client leaves.
    ///
    /// # Errors
    /// Those of [`Self::emit`]; also if the socket owes too many acknowledgements.
    pub fn emit_with_ack(
        &mut self,
        key: SocketKey,
        event: EventParts<'_>,
        flags: EmitFlags,
        timeout_ms: Option<u64>,
        waiter: u64,
    ) -> Result<(), EmitError> {
        let (session, namespace) = self.addressee(key)?;
        let now = self.now;
        let id = self.namespaces.known_ack_id(namespace).ok_or(EmitError::Disconnected)?;
        let packet = Outgoing::Event { parts: event, id: Some(id), is_broadcast: false };
        let encoded =
            packets::encode(self.frame_pool.buffer(), &self.options.parser, self.namespace_name(namespace), &packet)?;
        let frame = self.frame_pool.frame(encoded.with_compression(flags.for_one()));
        self.counters.packets_encoded += 1;
        // As in Node a middleware may ask, too: the client answers when it is in.
        let Some(socket) = self.sockets.get_mut(key).filter(|socket| socket.has_rooms()) else {
            return Err(EmitError::Disconnected);
        };
        let timer = timeout_ms.map(|millis| self.wheel.arm(now.after(millis), Deadline::Ack(key, id)));
        let is_taken = socket.acks.insert(Owed { id, waiter: Waiter::Application(waiter), timer });
        let sent = if is_taken {
            self.note_outgoing(key, &frame);
            self.queue(session, frame, flags.volatile).map_err(EmitError::from)
        } else {
            Err(EmitError::OutboxFull)
        };
        if sent.is_err() {
            self.disarm(timer);
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.acks.take(id);
            }
        }
        sent
    }

    /// Acknowledges the client's event `id`; `answer.json` is an array of the arguments.
    ///
    /// # Errors
    /// Those of [`Self::emit`].
    pub fn acknowledge(&mut self, key: SocketKey, id: u64, answer: EventParts<'_>) -> Result<(), EmitError> {
        let (session, namespace) = self.addressee(key)?;
        let packet = Outgoing::Ack { parts: answer, id };
        let encoded =
            packets::encode(self.frame_pool.buffer(), &self.options.parser, self.namespace_name(namespace), &packet)?;
        self.send_encoded(session, encoded, false)
    }

    fn send_encoded(&mut self, session: SessionKey, encoded: Encoded, volatile: bool) -> Result<(), EmitError> {
        self.counters.packets_encoded += 1;
        let frame = self.frame_pool.frame(encoded);
        Ok(self.queue(session, frame, volatile)?)
    }

    pub(super) fn namespace_name(&self, id: NamespaceId) -> &str {
        self.namespace(id).map_or("/", |namespace| &namespace.name)
    }

    /// Sends an event to the sockets of `namespace` that `target` selects, on all shards and servers, encoded once on
    /// each server. The number of receivers on this shard.
    ///
    /// # Errors
    /// [`EmitError::Encode`], with a parser that cannot encode the event; nobody receives it then.
    pub fn broadcast(
        &mut self,
        namespace: NamespaceId,
        name: &str,
        target: &Target,
        event: EventParts<'_>,
        flags: EmitFlags,
    ) -> Result<usize, EmitError> {
        let delivered = self.broadcast_here(namespace, name, target, event, flags)?;
        self.publish_event(namespace, target, event, flags, None);
        Ok(delivered)
    }

    /// The same on this server alone.
    fn broadcast_here(
        &mut self,
        namespace: NamespaceId,
        name: &str,
        target: &Target,
        event: EventParts<'_>,
        flags: EmitFlags,
    ) -> Result<usize, EmitError> {
        if self.recovery.is_some() && !flags.volatile {
            return self.broadcast_recoverable(namespace, name, target, event, flags);
        }
        let packet = Outgoing::Event { parts: event, id: None, is_broadcast: true };
        if self.shard_count == 1 {
            if !self.select(namespace, target) {
                return Ok(0);
            }
            self.counters.packets_encoded += 1;
            let encoded = packets::encode(self.frame_pool.buffer(), &self.options.parser, name, &packet)?;
            let encoded = encoded.with_compression(flags.for_many()).with_when_slow(self.when_slow(flags, name));
            let frame = self.frame_pool.frame(encoded);
            return Ok(self.deliver_selected(&frame, flags, None));
        }
        self.counters.packets_encoded += 1;
        let encoded = packets::encode(self.frame_pool.buffer(), &self.options.parser, name, &packet)?;
        let when_slow = self.when_slow(flags, name);
        let packet = Arc::new(encoded.with_compression(flags.for_many()).with_when_slow(when_slow));
        for peer in self.peers() {
            let message = PeerMessage::Broadcast {
                namespace,
                target: target.clone(),
                packet: Arc::clone(&packet),
                flags,
                offset: None,
                tick: self.ticks.now(),
            };
            self.peer_messages.push_back((peer, message));
        }
        Ok(self.deliver(namespace, target, packet, flags, None))
    }

    /// Delivers a packet of another shard, or this one's share of its own.
    pub(super) fn deliver(
        &mut self,
        namespace: NamespaceId,
        target: &Target,
        packet: Arc<Encoded>,
        flags: EmitFlags,
        offset: Option<Offset>,
    ) -> usize {
        if let Some(offset) = offset {
            self.log_packet(offset, namespace, target, &packet);
        }
        if !self.select(namespace, target) {
            return 0;
        }
        self.deliver_selected(&Frame::shared(packet), flags, offset)
    }

    /// Puts a frame into the outbox of every selected socket; those whose outbox is full are closed.
    fn deliver_selected(&mut self, frame: &Frame, flags: EmitFlags, offset: Option<Offset>) -> usize {
        let selection = core::mem::take(&mut self.selection);
        let mut count = 0;
        for slot in selection.iter() {
            let Some((key, socket)) = self.sockets.at(slot).filter(|(_, socket)| socket.is_joined()) else { continue };
            if let (Some(offset), Some(recovery)) = (offset, &socket.recovery)
                && recovery.standing.has_seen(offset)
            {
                continue;
            }
            let session = socket.session;
            if socket.hears_outgoing {
                self.outgoing.push_back((key, frame.clone()));
            }
            match self.queue(session, frame.clone(), flags.volatile) {
                Ok(()) => count += 1,
                Err(Unqueued::OutboxFull) => self.overrun(session),
                Err(Unqueued::Disconnected | Unqueued::Dropped | Unqueued::NotWritable) => {}
            }
        }
        self.selection = selection;
        count
    }

    /// Selects into `self.selection`; whether anybody was.
    pub(super) fn select(&mut self, namespace: NamespaceId, target: &Target) -> bool {
        let mut selection = core::mem::take(&mut self.selection);
        let is_any = match self.namespace(namespace) {
            Some(found) => {
                select(&found.rooms, &found.everyone, target, |name| self.own_slot(namespace, name), &mut selection);
                !selection.is_empty()
            }
            None => false,
        };
        self.selection = selection;
        is_any
    }

    /// The slot of the socket whose own room has this name.
    fn own_slot(&self, namespace: NamespaceId, name: &str) -> Option<u32> {
        let key = match Sid::parse(name) {
            Some(sid) => *self.socket_ids.get(&sid)?,
            None => self.socket_by_old_id(namespace, name)?,
        };
        let socket = self.sockets.get(key)?;
        (socket.namespace() == Some(namespace) && !socket.has_left_own_room).then(|| key.index())
    }

    /// The sockets of this shard that `target` selects.
    pub fn local_sockets(&mut self, namespace: NamespaceId, target: &Target) -> Vec<SocketKey> {
        if !self.select(namespace, target) {
            return Vec::new();
        }
        self.selection
            .iter()
            .filter_map(|slot| self.sockets.at(slot))
            .filter(|(_, socket)| socket.is_joined())
            .map(|(key, _)| key)
            .collect()
    }

    /// Join, leave or disconnect for the selected sockets of all shards and servers.
    pub fn operate(&mut self, namespace: NamespaceId, target: &Target, operation: &Operation, flags: EmitFlags) {
        self.publish_operation(namespace, target, operation, flags);
        for peer in self.peers() {
            let message = PeerMessage::Operate { namespace, target: target.clone(), operation: operation.clone() };
            self.peer_messages.push_back((peer, message));
        }
        self.operate_locally(namespace, target, operation);
    }

    pub(super) fn operate_locally(&mut self, namespace: NamespaceId, target: &Target, operation: &Operation) {
        for socket in self.local_sockets(namespace, target) {
            match operation {
                Operation::Join(rooms) => rooms.iter().for_each(|room| {
                    self.join(socket, room);
                }),
                Operation::Leave(rooms) => rooms.iter().for_each(|room| {
                    self.leave(socket, room);
                }),
                Operation::Disconnect { close } => self.disconnect(socket, *close),
            }
        }
    }

    /// Makes a socket leave its namespace and tells the client; with `close`, all sockets of its client, whose
    /// connection is then closed.
    pub fn disconnect(&mut self, key: SocketKey, close: bool) {
        let Some(socket) = self.sockets.get(key).filter(|socket| socket.is_joined()) else { return };
        let session = socket.session;
        if !close {
            return self.disconnect_one(key);
        }
        let sockets = self.sessions.get(session).map(|session| session.sockets.clone()).unwrap_or_default();
        for socket in sockets {
            self.disconnect_one(socket);
        }
        self.close_session(session);
    }

    fn disconnect_one(&mut self, key: SocketKey) {
        let Some(socket) = self.sockets.get(key) else { return };
        if let Presence::Joined(namespace) = socket.presence {
            let session = socket.session;
            let name = self.namespace_name(namespace);
            self.queue_packet(session, packets::encode(Vec::new(), &self.options.parser, name, &Outgoing::Disconnect));
        }
        self.begin_leaving(key, DisconnectReason::ServerNamespaceDisconnect);
    }

    /// Sends a message of `Options::engine_only`.
    ///
    /// # Errors
    /// Those of [`Self::emit`].
    pub fn engine_send(&mut self, session: SessionKey, data: &[u8], is_binary: bool) -> Result<(), EmitError> {
        self.send_encoded(session, encode::engine_message(data, is_binary, self.options.plain_websocket), false)
    }

    /// Closes a session after what is queued (`Options::engine_only`).
    pub fn engine_close(&mut self, session: SessionKey) {
        self.close_session(session);
    }

    /// The other shards.
    pub(super) fn peers(&self) -> impl Iterator<Item = ShardIndex> + use<> {
        let this = self.index.0;
        (0..self.shard_count).filter(move |index| *index != this).map(ShardIndex)
    }
}

fn is_own_room(sid: &Sid, room: &str) -> bool {
    sid.as_str() == room
}
