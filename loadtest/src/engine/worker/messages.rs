//! A worker's messages: who sends which when it is due.

use super::super::client::{Pending, Status};
use super::super::receiving::PROBE_NAMESPACE;
use super::super::sending::{Prepared, Whose};
use super::super::stats;
use super::{BATCH_MAX, OUTBOX_BYTES_MAX, Worker};
use crate::block::{self, Stamp};
use crate::failure::Class;
use crate::plan::Expect;
use crate::protocol::Role;
use crate::template::Values;
use ringio_codec::socketio::PacketKind;
use ringio_codec::socketio::encode::encode_header;

impl Worker<'_> {
    /// Sends what is due, a batch at most. Returns whether more may be due.
    pub(super) fn send_due(&mut self, now: u64) -> bool {
        for _ in 0..BATCH_MAX {
            let Some(schedule) = self.schedules.front_mut() else { return false };
            let Some((due_ns, whose)) = schedule.take_due(now) else {
                // The next phase may have begun: its schedule stands behind this one's.
                if schedule.next_due_ns().is_none() && self.schedules.len() > 1 {
                    self.schedules.pop_front();
                    self.begin_sending();
                    continue;
                }
                return false;
            };
            let chosen = match whose {
                Whose::Nobodys => continue,
                Whose::Anybodys => self.choose_sender(),
                Whose::Of(index) if self.clients[index as usize].status != Status::Ready => continue,
                Whose::Of(index) => self.can_send(index).then_some(index),
            };
            match chosen {
                Some(index) => self.send(index, due_ns),
                None => {
                    self.count(|counts| counts.unsent += 1);
                    let text = "a message was due while no client was connected that could send it";
                    self.failures.record_many(Class::NoSender, 1, text);
                }
            }
        }
        true
    }

    pub(super) fn choose_sender(&mut self) -> Option<u32> {
        for _ in 0..self.senders.len() {
            let index = self.senders[self.next_sender % self.senders.len()];
            self.next_sender = (self.next_sender + 1) % self.senders.len();
            if self.can_send(index) {
                return Some(index);
            }
        }
        None
    }

    /// Whether a client is connected, and its server reads what it sends.
    fn can_send(&mut self, index: u32) -> bool {
        let client = &mut self.clients[index as usize];
        client.status == Status::Ready
            && client
                .session
                .as_mut()
                .is_some_and(|session| Role::ALL.iter().all(|role| session.outbox(*role).len() < OUTBOX_BYTES_MAX))
    }

    pub(super) fn send(&mut self, index: u32, due_ns: u64) {
        let Some(chosen) = self.repertoire.choose() else { return };
        let (action, prepared) = (&self.plan.actions[chosen], &self.repertoire.0[chosen]);
        let global = self.share.global(index);
        let client = &mut self.clients[index as usize];
        let Some(session) = &mut client.session else { return };
        let sequence = client.next_sequence[chosen];
        client.next_sequence[chosen] += 1;
        self.block.clear();
        self.packet.clear();
        block::encode(&mut self.block, Stamp { sender: global, action: chosen as u8, sequence, due_ns }, action.size);
        let mut attachment = None;
        if action.is_probe() {
            self.packet.push(b'0');
            self.packet.extend_from_slice(PROBE_NAMESPACE.as_bytes());
            self.packet.extend_from_slice(&self.block);
            self.packet.push(b',');
        } else {
            let values = Values { client: global, group: global / self.plan.group_size, sequence, block: &self.block };
            attachment = prepared.arguments.has_bytes().then_some(self.block.as_slice());
            let kind = if attachment.is_some() { PacketKind::BinaryEvent } else { PacketKind::Event };
            let action_count = self.plan.actions.len() as u64;
            let id = (action.expect == Expect::Ack).then_some(u64::from(sequence) * action_count + chosen as u64);
            push_event(&mut self.packet, kind, &self.plan.namespace, id, prepared, &values);
        }
        session.send(&self.packet, attachment, &self.config, &mut self.deflater);
        if matches!(action.expect, Expect::Sender | Expect::Ack) {
            client.unanswered += 1;
            if !action.stamped {
                client.pending.push_back(Pending { action: chosen as u8, sequence, due_ns });
            }
        }
        if matches!(action.expect, Expect::Group | Expect::Others) {
            client.last_due_ns[chosen] = due_ns;
        }
        self.dirty.push(index);
        let late_ns = self.now().saturating_sub(due_ns);
        self.ledger.second.counts.sent += 1;
        let phase = self.ledger.phase_at(due_ns);
        phase.counts.sent += 1;
        stats::record_ns(&mut phase.lag, late_ns);
    }
}

/// Appends an event: its header, and its name and arguments as an array.
pub(super) fn push_event(
    out: &mut Vec<u8>,
    kind: PacketKind,
    namespace: &str,
    id: Option<u64>,
    prepared: &Prepared,
    values: &Values<'_>,
) {
    encode_header(out, kind, 1, namespace, id);
    out.push(b'[');
    out.extend_from_slice(prepared.event.as_bytes());
    let before = out.len();
    out.push(b',');
    prepared.arguments.write(out, values);
    if out.len() == before + 1 {
        out.pop();
    }
    out.push(b']');
}
