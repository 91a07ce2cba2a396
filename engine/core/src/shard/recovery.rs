//! Sockets that were cut off come back, to whatever shard.
//!
//! ```text
//!   application: recover_socket(pid, offset) --ComesBack--> home shard (the pid names it)
//!                                            <--CameBack--- what it was, what it missed
//!   restore: its id, its rooms, the missed packets into its outbox --> Event::RecoveryDecided --> accept_socket
//! ```
//! Missed packets are queued before the CONNECT answer, as in Node. A socket that came back is absent no more, unless it is not
//! let in after all: then it may try again, as in Node. The private id always names the first home; one that came back to
//! another shard is kept there when it is cut off again, and the first home forwards the question, until it is told that
//! the socket will not come back.

use super::Shard;
use super::deadlines::Deadline;
use super::outbound::Unqueued;
use crate::base::frame::{Encoded, Frame};
use crate::base::id::{NamespaceId, ShardIndex, SocketKey, TimerKey};
use crate::base::seed::Sid;
use crate::base::time::Time;
use crate::broadcast::packets;
use crate::broadcast::recovery::{Absent, Horizon, Log, Logged, Offset, Recoverable, Return, Standing};
use crate::broadcast::replay::{Replay, Replays};
use crate::door::{DisconnectReason, EmitError, EmitFlags, Event, EventParts, PeerMessage};
use crate::namespace::socket::Presence;
use crate::options::RecoveryOptions;
use crate::room::select::Target;
use crate::session::Session;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// How often the old is forgotten. Milliseconds; Node sweeps every 60 s.
const SWEEP_INTERVAL_MS: u64 = 10_000;

/// What a shard keeps for recovery.
pub(super) struct Recovery {
    options: RecoveryOptions,
    log: Log,
    /// What was sent again to sockets that came from other shards.
    replays: Replays,
    next_number: u64,
    absent: HashMap<Sid, Absent, FixedState>,
    /// Sockets of this home that came back to another shard.
    forwards: HashMap<Sid, ShardIndex, FixedState>,
    /// In the order of leaving; ids that came back stay until their turn.
    leaving_order: VecDeque<Sid>,
    timer: Option<TimerKey>,
}

impl core::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Recovery").field("log", &self.log).field("absent", &self.absent.len()).finish_non_exhaustive()
    }
}

impl Recovery {
    pub(super) fn new(options: &Option<RecoveryOptions>, shard_count: u16, hash: FixedState) -> Option<Box<Self>> {
        let options = (*options)?;
        Some(Box::new(Self {
            options,
            log: Log::new(options, shard_count),
            replays: Replays::new(options.packets_max, options.bytes_max, hash.clone()),
            next_number: 1,
            absent: HashMap::with_hasher(hash.clone()),
            forwards: HashMap::with_hasher(hash),
            leaving_order: VecDeque::new(),
            timer: None,
        }))
    }

    /// Whether nobody is absent.
    pub(super) fn is_idle(&self) -> bool {
        self.absent.is_empty() && self.forwards.is_empty() && self.replays.is_empty() && self.timer.is_none()
    }

    /// Sockets that may come back.
    pub(super) fn absent_count(&self) -> usize {
        self.absent.len()
    }

    /// Gives back memory that nothing needs.
    pub(super) fn shrink(&mut self) {
        self.log.shrink();
        self.replays.shrink();
        self.absent.shrink_to_fit();
        self.forwards.shrink_to_fit();
        self.leaving_order.shrink_to_fit();
    }

    fn log(&mut self, now: Time, logged: Logged) {
        self.log.push(now, logged);
        self.replays.forget_old(now, self.options.max_disconnection_ms, self.log.first_place());
    }

    /// Since when a socket that enters at this moment is fed from this shard's log.
    fn standing(&self, horizon: Option<Horizon>) -> Standing {
        let horizon = horizon.filter(|horizon| !self.log.has_reached(horizon));
        Standing { since: self.log.next_place(), horizon }
    }
}

impl Shard {
    /// Gives an entering socket its former state, if `pid` and `offset` (both as the client sent them) are known:
    /// `Event::RecoveryDecided` follows in any case.
    pub fn recover_socket(&mut self, key: SocketKey, pid: &str, offset: &str) {
        let namespace = self.namespace_of(key);
        let known = Sid::parse(pid).zip(Offset::from_wire(offset, self.shard_count)).zip(namespace);
        let Some(((pid, offset), namespace)) = known.filter(|_| self.recovery.is_some()) else {
            return self.restore(key, None);
        };
        let home = pid.shard();
        let is_here = self.recovery.as_ref().is_some_and(|recovery| recovery.absent.contains_key(&pid));
        if is_here || home == self.index {
            self.answer_return(self.index, key, namespace, pid, offset);
        } else if home.0 < self.shard_count {
            let message = PeerMessage::ComesBack { asker: self.index, socket: key, namespace, pid, offset };
            self.peer_messages.push_back((home, message));
        } else {
            self.restore(key, None);
        }
    }

    /// Tells the asking shard what is known here of a socket that comes back, or passes the question on.
    pub(super) fn answer_return(
        &mut self,
        asker: ShardIndex,
        socket: SocketKey,
        namespace: NamespaceId,
        pid: Sid,
        offset: Offset,
    ) {
        let found = self.find_absent(namespace, pid, offset, asker).map(Box::new);
        if pid.shard() == self.index
            && let Some(recovery) = self.recovery.as_mut()
        {
            let is_elsewhere = found.is_none().then(|| recovery.forwards.get(&pid).copied()).flatten();
            if let Some(next) = is_elsewhere.filter(|next| *next != self.index && *next != asker) {
                recovery.forwards.insert(pid, asker);
                let message = PeerMessage::ComesBack { asker, socket, namespace, pid, offset };
                return self.peer_messages.push_back((next, message));
            }
            if found.is_some() && asker != self.index {
                recovery.forwards.insert(pid, asker);
            } else if found.is_some() {
                recovery.forwards.remove(&pid);
            }
        }
        if asker == self.index {
            self.restore(socket, found);
        } else {
            self.peer_messages.push_back((asker, PeerMessage::CameBack { socket, found }));
        }
    }

    /// A socket that had come back to another shard is gone for good.
    pub(super) fn forget_forward(&mut self, pid: Sid) {
        if let Some(recovery) = self.recovery.as_mut() {
            recovery.forwards.remove(&pid);
        }
    }

    /// Tells the home of a private id that its socket will not come back.
    fn tell_forgotten(&mut self, pid: Sid) {
        if let Some(recovery) = self.recovery.as_mut() {
            recovery.replays.remove(pid);
        }
        if pid.shard() == self.index {
            self.forget_forward(pid);
        } else {
            self.peer_messages.push_back((pid.shard(), PeerMessage::Forgotten { pid }));
        }
    }

    /// What is kept of a socket and what it missed. It is absent no more.
    fn find_absent(&mut self, namespace: NamespaceId, pid: Sid, offset: Offset, asker: ShardIndex) -> Option<Return> {
        let now = self.now;
        let recovery = self.recovery.as_mut()?;
        let absent = recovery.absent.get(&pid)?;
        if absent.namespace != namespace || now.since(absent.left_at) > recovery.options.max_disconnection_ms {
            return None;
        }
        let replay = recovery.replays.find(pid);
        let missed = recovery.log.missed(offset, &absent.standing, replay, namespace, &absent.rooms)?;
        let absent = recovery.absent.remove(&pid)?;
        let horizon = (asker != self.index).then(|| recovery.log.horizon_with(absent.standing.horizon.as_ref()));
        if horizon.is_some() {
            recovery.replays.remove(pid);
        }
        Some(Return { absent, offset, missed, horizon })
    }

    /// Adds to what a socket missed, if it was kept by another shard, what only this one knows of. `None` if something of that
    /// was pushed out already, or if it takes more than half of an outbox: with what is said besides it would run over, and
    /// the client be closed for that, and come back, for ever.
    fn take_in(&mut self, found: Return) -> Option<(Absent, Vec<Arc<Logged>>)> {
        let Return { mut absent, offset, mut missed, horizon } = found;
        let recovery = self.recovery.as_mut()?;
        let is_whole = match &horizon {
            // Kept here, it goes on in the same log.
            None => true,
            Some(horizon) => match recovery.log.beyond(horizon, absent.namespace, &absent.rooms) {
                Some(beyond) => {
                    missed.extend(beyond);
                    true
                }
                None => false,
            },
        };
        let bytes: usize = missed.iter().map(|logged| logged.packet.bytes.len()).sum();
        if !is_whole || (missed.len() > 1 && bytes > self.options.outbox_bytes_max / 2) {
            self.tell_forgotten(absent.pid);
            return None;
        }
        if horizon.is_some() {
            absent.standing = recovery.standing(horizon);
            let replay = Replay { from: offset, packets: missed.clone() };
            recovery.replays.insert(self.now, absent.pid, absent.standing.since, replay);
            self.arm_sweep();
        }
        Some((absent, missed))
    }

    /// The home shard has answered.
    pub(super) fn restore(&mut self, key: SocketKey, found: Option<Box<Return>>) {
        let found = found.and_then(|found| self.take_in(*found));
        let entering = self.sockets.get_mut(key).filter(|socket| matches!(socket.presence, Presence::Entering(_)));
        let ((absent, missed), socket) = match (found, entering) {
            (Some(found), Some(socket)) => (found, socket),
            (found, _) => {
                // The client left while it came back: it is absent as before, and kept here. Its home, which sends everybody
                // who asks to this shard, is told when it is forgotten.
                if let Some((absent, _)) = found {
                    self.insert_absent(absent);
                }
                if self.sockets.contains(key) {
                    self.events.push_back(Event::RecoveryDecided { socket: key, is_recovered: false, data: None });
                }
                return;
            }
        };
        socket.sid = absent.sid;
        let session = socket.session;
        let (sid, data, rooms) = (absent.sid, absent.data.clone(), absent.rooms.clone());
        socket.recovery = Some(Box::new(Recoverable {
            pid: absent.pid,
            is_recovered: true,
            standing: absent.standing.clone(),
            former: Some(Box::new(absent)),
        }));
        for room in &rooms {
            if **room != *sid.as_str() {
                self.join(key, room);
            }
        }
        for logged in missed {
            self.queue_control(session, Frame::shared(Arc::clone(&logged.packet)));
        }
        self.events.push_back(Event::RecoveryDecided { socket: key, is_recovered: true, data });
    }

    /// A socket enters: from now on it is fed from this shard's log, and its client may come back once it is let in.
    pub(super) fn make_recoverable(&mut self, key: SocketKey) {
        let Some(recovery) = &self.recovery else { return };
        let session = self.sockets.get(key).and_then(|socket| self.sessions.get(socket.session));
        if session.is_none_or(Session::is_protocol_3) {
            return; // Such a client is not told a private id.
        }
        let standing = recovery.standing(None);
        let pid = self.seed.next_sid();
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.recovery = Some(Box::new(Recoverable { pid, is_recovered: false, standing, former: None }));
        }
    }

    /// The private id that a socket is told at its CONNECT: it is let in.
    pub(super) fn pid_of(&mut self, key: SocketKey) -> Option<Sid> {
        let recovery = self.sockets.get_mut(key)?.recovery.as_mut()?;
        recovery.former = None;
        Some(recovery.pid)
    }

    /// Whether the socket has its former state.
    #[must_use]
    pub fn is_recovered(&self, key: SocketKey) -> bool {
        self.sockets.get(key).and_then(|socket| socket.recovery.as_ref()).is_some_and(|recovery| recovery.is_recovered)
    }

    /// Keeps what is needed to restore a socket that leaves, if it may come back. Called while it has its rooms.
    pub(super) fn keep_absent(&mut self, key: SocketKey) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let Some(recoverable) = socket.recovery.as_mut() else { return };
        let Presence::Leaving(namespace, reason) = socket.presence else {
            // Not let in: absent as before, if it was.
            if let Some(former) = recoverable.former.take() {
                self.insert_absent(*former);
            }
            return;
        };
        let pid = recoverable.pid;
        if !is_recoverable(reason) {
            return self.tell_forgotten(pid);
        }
        let (sid, standing) = (socket.sid, recoverable.standing.clone());
        let mut rooms: Vec<Box<str>> = Vec::new();
        self.for_each_room(key, &mut |room| rooms.push(Box::from(room)));
        self.insert_absent(Absent { pid, sid, namespace, rooms, data: None, left_at: self.now, standing });
    }

    /// What the application wants to have back when the socket comes back; to be given in its `Disconnected`.
    pub fn keep_data(&mut self, key: SocketKey, data: Arc<dyn Any + Send + Sync>) {
        let pid = self.sockets.get(key).and_then(|socket| socket.recovery.as_ref()).map(|recovery| recovery.pid);
        let kept = pid.and_then(|pid| self.recovery.as_mut()?.absent.get_mut(&pid));
        if let Some(absent) = kept {
            absent.data = Some(data);
        }
    }

    fn insert_absent(&mut self, absent: Absent) {
        let mut forgotten = Vec::new();
        let Some(recovery) = self.recovery.as_mut() else { return };
        recovery.leaving_order.push_back(absent.pid);
        recovery.absent.insert(absent.pid, absent);
        while recovery.absent.len() > recovery.options.absent_max {
            let Some(oldest) = recovery.leaving_order.pop_front() else { break };
            if recovery.absent.remove(&oldest).is_some() {
                forgotten.push(oldest);
            }
        }
        self.arm_sweep();
        for pid in forgotten {
            self.tell_forgotten(pid);
        }
    }

    fn arm_sweep(&mut self) {
        let at = self.now.after(SWEEP_INTERVAL_MS);
        if let Some(recovery) = self.recovery.as_mut()
            && recovery.timer.is_none()
        {
            recovery.timer = Some(self.wheel.arm(at, Deadline::Recovery));
        }
    }

    /// Forgets who has been absent for too long, and old packets.
    pub(super) fn forget_absent(&mut self) {
        let now = self.now;
        let mut forgotten = Vec::new();
        let Some(recovery) = self.recovery.as_mut() else { return };
        recovery.log.forget_old(now);
        recovery.replays.forget_old(now, recovery.options.max_disconnection_ms, recovery.log.first_place());
        while let Some(pid) = recovery.leaving_order.front() {
            let is_old = recovery
                .absent
                .get(pid)
                .is_none_or(|absent| now.since(absent.left_at) > recovery.options.max_disconnection_ms);
            if !is_old {
                break;
            }
            if let Some(pid) = recovery.leaving_order.pop_front()
                && recovery.absent.remove(&pid).is_some()
            {
                forgotten.push(pid);
            }
        }
        let is_needed = !recovery.absent.is_empty() || !recovery.replays.is_empty();
        recovery.timer = is_needed.then(|| self.wheel.arm(now.after(SWEEP_INTERVAL_MS), Deadline::Recovery));
        for pid in forgotten {
            self.tell_forgotten(pid);
        }
    }

    /// Memory is short: who is absent comes back as somebody new, as after too long an absence, and so does who is cut off from here on
    /// and has missed something. The bytes of the log.
    pub(super) fn forget_recovery(&mut self) -> usize {
        let now = self.now;
        let Some(recovery) = self.recovery.as_mut() else { return 0 };
        let (packet_count, bytes) = recovery.log.clear();
        recovery.replays.forget_old(now, 0, u64::MAX);
        let left = core::mem::take(&mut recovery.leaving_order);
        let forgotten: Vec<Sid> = left.into_iter().filter(|pid| recovery.absent.remove(pid).is_some()).collect();
        recovery.absent.shrink_to_fit();
        self.counters.shed_logged_packets += packet_count as u64;
        for pid in forgotten {
            self.tell_forgotten(pid);
        }
        bytes
    }

    fn next_offset(&mut self) -> Option<Offset> {
        let origin = self.index;
        let recovery = self.recovery.as_mut()?;
        let number = recovery.next_number;
        recovery.next_number += 1;
        Some(Offset { origin, number })
    }

    /// Logs a packet of any shard at the moment of its delivery here.
    pub(super) fn log_packet(
        &mut self,
        offset: Offset,
        namespace: NamespaceId,
        target: &Target,
        packet: &Arc<Encoded>,
    ) {
        let now = self.now;
        if let Some(recovery) = self.recovery.as_mut() {
            let (target, packet) = (target.clone(), Arc::clone(packet));
            recovery.log(now, Logged { offset, namespace, target, packet, is_direct: false });
        }
    }

    /// An event for one socket, logged for it. If that one is on its way out and may come back, it is only logged, as in Node.
    pub(super) fn emit_recoverable(
        &mut self,
        key: SocketKey,
        namespace: NamespaceId,
        event: EventParts<'_>,
        flags: EmitFlags,
    ) -> Result<(), EmitError> {
        let socket = self.sockets.get(key).ok_or(EmitError::Disconnected)?;
        let (session, sid) = (socket.session, socket.sid);
        let may_return = matches!(socket.presence, Presence::Leaving(_, reason) if is_recoverable(reason));
        let offset = self.next_offset().ok_or(EmitError::Disconnected)?;
        let wire = offset.to_wire(self.shard_count);
        let buffer = self.frame_pool.buffer();
        let name = self.namespace_name(namespace);
        let encoded = packets::encode_recoverable(buffer, &self.options.parser, name, event, wire)?;
        let when_slow = self.when_slow(flags, self.namespace_name(namespace));
        let packet = Arc::new(encoded.with_compression(flags.for_one()).with_when_slow(when_slow));
        self.counters.packets_encoded += 1;
        let frame = Frame::shared(Arc::clone(&packet));
        self.note_outgoing(key, &frame);
        match self.queue(session, frame, false) {
            Ok(()) => {}
            Err(Unqueued::Disconnected) if may_return => {}
            // Whoever hears of the error may send it anew: it must not come back from the log as well.
            Err(reason) => return Err(reason.into()),
        }
        let target = Target { rooms: [Arc::from(sid.as_str())].into_iter().collect(), ..Target::default() };
        let now = self.now;
        if let Some(recovery) = self.recovery.as_mut() {
            recovery.log(now, Logged { offset, namespace, target, packet, is_direct: true });
        }
        Ok(())
    }

    /// An event for many, with an offset, logged by every shard that delivers it.
    pub(super) fn broadcast_recoverable(
        &mut self,
        namespace: NamespaceId,
        name: &str,
        target: &Target,
        event: EventParts<'_>,
        flags: EmitFlags,
    ) -> Result<usize, EmitError> {
        let Some(offset) = self.next_offset() else { return Ok(0) };
        let wire = offset.to_wire(self.shard_count);
        self.counters.packets_encoded += 1;
        let encoded = packets::encode_recoverable(self.frame_pool.buffer(), &self.options.parser, name, event, wire)?;
        let when_slow = self.when_slow(flags, name);
        let packet = Arc::new(encoded.with_compression(flags.for_many()).with_when_slow(when_slow));
        for peer in self.peers() {
            let (target, packet) = (target.clone(), Arc::clone(&packet));
            let message = PeerMessage::Broadcast {
                namespace,
                target,
                packet,
                flags,
                offset: Some(offset),
                tick: self.ticks.now(),
            };
            self.peer_messages.push_back((peer, message));
        }
        Ok(self.deliver(namespace, target, packet, flags, Some(offset)))
    }
}

/// Whether a socket that left for this reason may come back: not if one side wanted it to leave.
const fn is_recoverable(reason: DisconnectReason) -> bool {
    !matches!(
        reason,
        DisconnectReason::ClientNamespaceDisconnect
            | DisconnectReason::ServerNamespaceDisconnect
            | DisconnectReason::ParseError
    )
}
