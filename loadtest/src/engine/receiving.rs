//! What arrived, held against what was sent.
//!
//! The sender, action and number of a message are in its block; the group tells who may hear it. Anything that fits
//! nowhere is counted as corrupt or unexpected, with the first case kept in words.

use super::client::{Client, Pending};
use super::stats::{self, Stats};
use super::verify::{Arrival, Faults};
use crate::block::{Found, Stamp, find};
use crate::plan::{Expect, Plan};
use ringio_codec::socketio::decode::{DecodeLimits, decode};
use ringio_codec::socketio::{Packet, PacketKind};

/// The beginning of the name of the namespace that the probe asks for. Nobody has it.
pub(super) const PROBE_NAMESPACE: &str = "/~loadtest-";
/// The namespace asked for behind the setup: its refusal says that the setup was processed.
pub(crate) const SETUP_NAMESPACE: &str = "/~loadtest-setup";

/// The id of the acknowledgement that a setup may ask for; far above those of messages.
pub(super) const SETUP_ACK_ID: u64 = 1 << 52;

/// Where results go.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) phases: Vec<Stats>,
    /// When each phase but the first begins. Nanoseconds since the run began.
    starts_ns: Vec<u64>,
    /// When the last of the phases ends: what is due later belongs to one that this worker has not been told of yet.
    known_until_ns: u64,
    /// Deliveries that were due later than that.
    early: Vec<Delivery>,
    pub(super) second: Stats,
    pub(super) faults: Faults,
    pub(super) first_fault: Option<String>,
    /// Clients whose setup was answered in this turn.
    pub(super) set_up: bool,
    /// When something was last read that was expected. Later than it came, if this worker was held up.
    pub(super) read_ns: u64,
}

/// A delivery as a phase counts it.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    due_ns: u64,
    action: u8,
    /// None: of a client that hardly reads.
    latency_ns: Option<u64>,
}

impl Ledger {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            phases: vec![Stats::new(plan.actions.len())],
            starts_ns: Vec::new(),
            known_until_ns: 0,
            early: Vec::new(),
            second: Stats::new(plan.actions.len()),
            faults: Faults::default(),
            first_fault: None,
            set_up: false,
            read_ns: 0,
        }
    }

    /// The statistics of the phase that this instant belongs to.
    pub(super) fn phase_at(&mut self, at_ns: u64) -> &mut Stats {
        let index = self.starts_ns.partition_point(|start| *start <= at_ns);
        &mut self.phases[index]
    }

    /// A phase begins at `start_ns` and ends at `end_ns`. Other workers may have begun it already, if this one was held up: what
    /// came of theirs is counted where it belongs.
    pub(super) fn begin_phase(&mut self, start_ns: u64, end_ns: u64) {
        let action_count = self.second.latency.len();
        self.phases.push(Stats::new(action_count));
        self.starts_ns.push(start_ns);
        self.known_until_ns = end_ns;
        for delivery in std::mem::take(&mut self.early) {
            self.count_in_phase(delivery);
        }
    }

    /// The phases. Nothing is counted after this.
    pub(super) fn take_phases(&mut self) -> Vec<Stats> {
        for delivery in std::mem::take(&mut self.early) {
            self.known_until_ns = u64::MAX;
            self.count_in_phase(delivery);
        }
        std::mem::take(&mut self.phases)
    }

    /// When each phase but the first begins. Nanoseconds since the run began.
    pub(super) fn starts_ns(&self) -> &[u64] {
        &self.starts_ns
    }

    /// So many messages of each phase never came.
    pub(super) fn lose(&mut self, by_phase: &[u64]) {
        for (phase, lost) in self.phases.iter_mut().zip(by_phase) {
            phase.faults += lost;
            self.faults.lost += lost;
        }
    }

    /// Keeps the first fault in words.
    pub(super) fn note(&mut self, client: u32, what: &str, text: &str) {
        if self.first_fault.is_none() {
            let start: String = text.chars().take(160).collect();
            self.first_fault = Some(format!("client {client}: {what}: {start:?}"));
        }
    }

    fn corrupt(&mut self, client: u32, what: &str, text: &str) {
        self.faults.corrupt += 1;
        self.note(client, what, text);
    }

    fn unexpected(&mut self, client: u32, what: &str, text: &str) {
        self.faults.unexpected += 1;
        self.note(client, what, text);
    }

    /// One Socket.IO packet of client `index`, at `now_ns`.
    pub(super) fn receive(
        &mut self,
        plan: &Plan,
        client: &mut Client,
        index: u32,
        now_ns: u64,
        text: &str,
        attachments: &[Vec<u8>],
    ) {
        // A refusal names the namespace; the block, if there is one, stands in it.
        if let Some(rest) = text.strip_prefix(['4', '0'])
            && rest.starts_with(PROBE_NAMESPACE)
        {
            if rest.starts_with(SETUP_NAMESPACE) {
                self.set_up = true;
                return;
            }
            return match find(rest.as_bytes()) {
                Found::Block { stamp, .. } => self.settle_own(plan, client, index, now_ns, stamp, text),
                _ => self.corrupt(index, "probe answered with another name", text),
            };
        }
        let packet = match decode(text, &DecodeLimits { attachments_max: 1000 }) {
            Ok(packet) => packet,
            Err(error) => return self.corrupt(index, &error.to_string(), text),
        };
        let found = match find(packet.arguments().as_bytes()) {
            Found::Nothing => attachments.first().map_or(Found::Nothing, |bytes| find(bytes)),
            found => found,
        };
        match packet.kind {
            PacketKind::Ack | PacketKind::BinaryAck => {
                self.receive_ack(plan, client, index, now_ns, &packet, found, text);
            }
            PacketKind::Event | PacketKind::BinaryEvent => {
                self.receive_event(plan, client, index, now_ns, &packet, found, text);
            }
            _ => self.unexpected(index, "a packet that nobody asked for", text),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one step of `receive`, cut out for reading")]
    fn receive_ack(
        &mut self,
        plan: &Plan,
        client: &mut Client,
        index: u32,
        now_ns: u64,
        packet: &Packet<'_>,
        found: Found,
        text: &str,
    ) {
        let Some(id) = packet.id else {
            return self.unexpected(index, "an acknowledgement without id", text);
        };
        if id == SETUP_ACK_ID && !plan.setup.is_empty() {
            return;
        }
        let action_count = plan.actions.len() as u64;
        let (action, sequence) = ((id % action_count.max(1)) as u8, (id / action_count.max(1)) as u32);
        let is_ours = plan.actions.get(usize::from(action)).is_some_and(|action| action.expect == Expect::Ack)
            && sequence < client.next_sequence[usize::from(action)];
        if !is_ours {
            return self.unexpected(index, "an acknowledgement of nothing", text);
        }
        if !plan.actions[usize::from(action)].stamped {
            let position =
                client.pending.iter().position(|pending| (pending.action, pending.sequence) == (action, sequence));
            let due_ns = position.and_then(|position| client.pending.remove(position)).map(|pending| pending.due_ns);
            let stamp = Stamp { sender: index, action, sequence, due_ns: due_ns.unwrap_or(now_ns) };
            return self.settle_own(plan, client, index, now_ns, stamp, text);
        }
        match found {
            Found::Block { stamp, .. } if (stamp.action, stamp.sequence) == (action, sequence) => {
                self.settle_own(plan, client, index, now_ns, stamp, text);
            }
            Found::Block { .. } => self.unexpected(index, "an acknowledgement with the answer of another", text),
            _ => self.corrupt(index, "an acknowledgement without its block", text),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one step of `receive`, cut out for reading")]
    fn receive_event(
        &mut self,
        plan: &Plan,
        client: &mut Client,
        index: u32,
        now_ns: u64,
        packet: &Packet<'_>,
        found: Found,
        text: &str,
    ) {
        let name = packet.event_name().unwrap_or_default();
        let stamp = match found {
            Found::Block { stamp, .. } => stamp,
            Found::Nothing => return self.receive_unstamped(plan, client, index, now_ns, &name, text),
            Found::Corrupt => {
                let is_ours = plan.actions.iter().any(|action| action.stamped && action.reply == name);
                return if is_ours {
                    self.corrupt(index, "a block whose checksum is wrong", text);
                } else {
                    self.second.counts.other_events += 1;
                };
            }
        };
        let Some(action) = plan.actions.get(usize::from(stamp.action)) else {
            return self.corrupt(index, "a block of no action", text);
        };
        if name != action.reply {
            return self.unexpected(index, "under another event's name", text);
        }
        match action.expect {
            Expect::Sender => self.settle_own(plan, client, index, now_ns, stamp, text),
            Expect::Group | Expect::Others => self.settle_heard(plan, client, index, now_ns, stamp, text),
            Expect::Nothing | Expect::Ack => self.unexpected(index, "an answer where none was due", text),
        }
    }

    /// An event without block: the answer to the oldest message that expects one of this name, or somebody else's news.
    fn receive_unstamped(&mut self, plan: &Plan, client: &mut Client, index: u32, now_ns: u64, name: &str, text: &str) {
        let is_answer = |pending: &Pending| {
            let action = &plan.actions[usize::from(pending.action)];
            action.expect == Expect::Sender && action.reply == name
        };
        match client.pending.iter().position(is_answer).and_then(|position| client.pending.remove(position)) {
            Some(Pending { action, sequence, due_ns }) => {
                let stamp = Stamp { sender: index, action, sequence, due_ns };
                self.settle_own(plan, client, index, now_ns, stamp, text);
            }
            None if plan.actions.iter().any(|action| action.stamped && action.reply == name) => {
                self.corrupt(index, "an answer without its block", text);
            }
            None => self.second.counts.other_events += 1,
        }
    }

    fn settle_own(&mut self, plan: &Plan, client: &mut Client, index: u32, now_ns: u64, stamp: Stamp, text: &str) {
        let action = usize::from(stamp.action);
        if action >= plan.actions.len() {
            return self.corrupt(index, "a block of no action", text);
        }
        if stamp.sender != index || stamp.sequence >= client.next_sequence[action] {
            return self.unexpected(index, "the message of another client", text);
        }
        let arrival = if stamp.sequence < client.first_sequence[action] {
            // Over an earlier connection, which ended before the answer came: nobody waits for it any more.
            Arrival::Late
        } else {
            client.own[action].record(stamp.sequence, now_ns)
        };
        match arrival {
            Arrival::Duplicate => {
                self.faults.duplicated += 1;
                self.note(index, "a second time", text);
                return;
            }
            // Acknowledgements promise no order.
            Arrival::Late if plan.actions[action].expect != Expect::Ack => {
                self.faults.reordered += 1;
                self.note(index, "after a later one", text);
            }
            Arrival::Late | Arrival::Ahead => {}
        }
        client.unanswered = client.unanswered.saturating_sub(1);
        self.delivered(stamp, now_ns, client.is_slow);
    }

    fn settle_heard(&mut self, plan: &Plan, client: &mut Client, index: u32, now_ns: u64, stamp: Stamp, text: &str) {
        let others = plan.actions[usize::from(stamp.action)].expect == Expect::Others;
        let same_group = stamp.sender / plan.group_size == index / plan.group_size;
        if !same_group || !plan.is_sender(stamp.sender) || (others && stamp.sender == index) {
            return self.unexpected(index, "a message for another group", text);
        }
        let sender = (stamp.sender % plan.group_size) as usize;
        match client.heard[sender * plan.actions.len() + usize::from(stamp.action)].record(stamp.sequence, now_ns) {
            Arrival::Duplicate => {
                self.faults.duplicated += 1;
                return self.note(index, "a second time", text);
            }
            Arrival::Late => {
                self.faults.reordered += 1;
                self.note(index, "after a later one", text);
            }
            Arrival::Ahead => {}
        }
        self.delivered(stamp, now_ns, client.is_slow);
    }

    /// The latency of those who do not read is their own: only its effect on the others is of interest.
    fn delivered(&mut self, stamp: Stamp, now_ns: u64, is_slow: bool) {
        let latency_ns = (!is_slow).then(|| now_ns.saturating_sub(stamp.due_ns));
        self.second.counts.received += 1;
        if let Some(latency_ns) = latency_ns {
            stats::record_ns(&mut self.second.latency[usize::from(stamp.action)], latency_ns);
        }
        self.count_in_phase(Delivery { due_ns: stamp.due_ns, action: stamp.action, latency_ns });
    }

    fn count_in_phase(&mut self, delivery: Delivery) {
        // Nothing is due between phases, so that the end of the last one is the beginning of what is not known.
        if delivery.due_ns >= self.known_until_ns {
            return self.early.push(delivery);
        }
        let phase = self.phase_at(delivery.due_ns);
        phase.counts.received += 1;
        if let Some(latency_ns) = delivery.latency_ns {
            stats::record_ns(&mut phase.latency[usize::from(delivery.action)], latency_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::faulty::{Fault, FaultyServer};
    use crate::scenario::builtin::probe_action;
    use crate::target::{PATH_DEFAULT, Target};

    fn received(phases: &[Stats]) -> Vec<u64> {
        phases.iter().map(|phase| phase.counts.received).collect()
    }

    /// Messages of other workers come before this one has looked at its commands: in the first phase, and across two.
    #[test]
    fn what_comes_before_its_phase_is_told_is_counted_in_it() {
        let server = FaultyServer::start(Fault::None, 0).unwrap();
        let mut plan = Plan::new("", Target::resolve(&server.url(), PATH_DEFAULT).unwrap(), 1);
        plan.actions = vec![probe_action(64)];
        let mut ledger = Ledger::new(&plan);
        let deliver = |ledger: &mut Ledger, dues_ns: &[u64]| {
            for due_ns in dues_ns.iter().copied() {
                ledger.delivered(Stamp { sender: 0, action: 0, sequence: 0, due_ns }, due_ns + 5_000, false);
            }
        };
        deliver(&mut ledger, &[100, 199]);
        assert_eq!(received(&ledger.phases), [0]);
        ledger.begin_phase(100, 200);
        assert_eq!(received(&ledger.phases), [0, 2]);
        deliver(&mut ledger, &[150, 210, 299, 310]);
        ledger.begin_phase(210, 300);
        ledger.begin_phase(310, 400);
        // A late one, and one of a phase that this worker is never told of.
        deliver(&mut ledger, &[160, 500]);
        let phases = ledger.take_phases();
        assert_eq!(received(&phases), [0, 4, 2, 2]);
        assert_eq!(phases.iter().map(|phase| phase.latency[0].len()).collect::<Vec<_>>(), [0, 4, 2, 2]);
        assert_eq!(ledger.second.counts.received, 8);
    }
}
