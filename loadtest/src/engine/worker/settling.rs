//! What never came: at the end every client's messages are held against what arrived of them.
//!
//! ```text
//! Drain -> what was sent -> Await: until it has arrived, or nothing comes any more -> what was sent -> Settle: count
//! ```
//!
//! A message is lost if its sender's and its receiver's connection stood long enough for it. The one that may not have reached the
//! server is excused, and so is what a receiver missed while it was away. Each is counted in the phase in which it was due, which its
//! number tells: who sends keeps with which number it began each phase.

use super::super::Sent;
use super::super::client::{Client, Status};
use super::super::verify::{Stream, certain};
use super::{JOIN_NS, Worker};
use crate::plan::{Action, Expect};
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

/// What clients sent to their groups, by client and action.
pub(super) type SentToGroups = HashMap<(u32, u8), Sent>;

/// What one client never got of one sender and action.
struct Lost<'a> {
    local: u32,
    action: usize,
    sequences: Range<u32>,
    /// What the sender says; `None`: it is the client itself.
    sent: Option<&'a Sent>,
}

pub(super) fn by_sender(sent: Vec<Sent>) -> SentToGroups {
    sent.into_iter().map(|sent| ((sent.sender, sent.action), sent)).collect()
}

fn is_to_group(action: &Action) -> bool {
    matches!(action.expect, Expect::Group | Expect::Others)
}

impl Worker<'_> {
    /// The messages of another phase begin.
    pub(super) fn begin_sending(&mut self) {
        let nexts = self.clients.iter().flat_map(|client| client.next_sequence.iter().copied());
        self.firsts.push(nexts.collect());
    }

    /// With which number a client began each phase. It may have come later than some of them.
    fn firsts(&self, local: u32, action: usize) -> impl Iterator<Item = u32> {
        let index = local as usize * self.plan.actions.len() + action;
        self.firsts.iter().map(move |firsts| firsts.get(index).copied().unwrap_or(0))
    }

    /// Which messages of a client to its group may not have reached the server, its connection having ended: those behind the last
    /// that came back to itself, or all of them if none does.
    pub(super) fn doubt(&mut self, index: u32) {
        let (plan, global) = (self.plan, self.share.global(index));
        let client = &mut self.clients[index as usize];
        for (action, _) in plan.actions.iter().enumerate().filter(|(_, action)| is_to_group(action)) {
            let place = (global % plan.group_size) as usize;
            let heard = client.heard.get(place * plan.actions.len() + action).map_or(0, Stream::next);
            let (first, next) = (client.first_sequence[action].max(heard), client.next_sequence[action]);
            if first < next {
                client.uncertain.push((action as u8, first..next));
            }
            client.first_sequence[action] = next;
        }
    }

    /// What clients of this worker sent to their groups so far.
    pub(super) fn sent(&self) -> Vec<Sent> {
        let mut all = Vec::new();
        for local in &self.senders {
            let client = &self.clients[*local as usize];
            for (action, _) in self.plan.actions.iter().enumerate().filter(|(_, action)| is_to_group(action)) {
                let uncertain = client.uncertain.iter().filter(|uncertain| usize::from(uncertain.0) == action);
                all.push(Sent {
                    sender: self.share.global(*local),
                    action: action as u8,
                    count: client.next_sequence[action],
                    uncertain: uncertain.map(|uncertain| uncertain.1.clone()).collect(),
                    firsts: self.firsts(*local, action).collect(),
                    last_due_ns: client.last_due_ns[action],
                });
            }
        }
        all
    }

    /// Whether nothing is missing any more.
    pub(super) fn has_arrived(&self, sent: &SentToGroups) -> bool {
        self.each_lost(sent, &mut |_| ControlFlow::Break(())).is_continue()
    }

    /// Counts what never came, of senders that say what they sent.
    pub(super) fn settle(&mut self, sent: &SentToGroups) {
        let mut by_phase = vec![0; self.ledger.phases.len()];
        let mut first: Option<(u32, usize, usize)> = None;
        let _: ControlFlow<()> = self.each_lost(sent, &mut |lost| {
            let own: Vec<u32>;
            let firsts = match lost.sent {
                Some(sent) => &sent.firsts,
                None => {
                    own = self.firsts(lost.local, lost.action).collect();
                    &own
                }
            };
            for sequence in lost.sequences.clone() {
                // What no phase has begun with a lower number belongs to the time before them all.
                let phase = firsts.partition_point(|first| *first <= sequence).min(by_phase.len() - 1);
                by_phase[phase] += 1;
            }
            let (local, action, count) = first.get_or_insert((lost.local, lost.action, 0));
            if (*local, *action) == (lost.local, lost.action) {
                *count += lost.sequences.len();
            }
            ControlFlow::Continue(())
        });
        // What is counted as lost is not abandoned, too, when its connection ends.
        for client in &mut self.clients {
            client.unanswered = 0;
        }
        if let Some((local, action, count)) = first {
            let name = self.plan.actions[action].name.clone();
            self.ledger.note(self.share.global(local), &format!("{count} messages never came"), &name);
        }
        self.ledger.lose(&by_phase);
    }

    /// Goes over what is missing of what was sent.
    fn each_lost(&self, sent: &SentToGroups, each: &mut dyn FnMut(Lost<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let plan = self.plan;
        for (local, client) in self.clients.iter().enumerate() {
            let local = local as u32;
            let global = self.share.global(local);
            let group = global / plan.group_size * plan.group_size;
            for (action, expect) in plan.actions.iter().map(|action| action.expect).enumerate() {
                let places = match expect {
                    Expect::Nothing => continue,
                    Expect::Sender | Expect::Ack => {
                        let next = client.next_sequence[action];
                        for sequences in self.missing(client, &client.own[action], next).map(|(missing, _)| missing) {
                            each(Lost { local, action, sequences, sent: None })?;
                        }
                        continue;
                    }
                    Expect::Group | Expect::Others => 0..plan.senders_per_group,
                };
                for place in places.filter(|place| expect == Expect::Group || group + place != global) {
                    let stream = &client.heard[place as usize * plan.actions.len() + action];
                    let Some(sent) = sent.get(&(group + place, action as u8)) else { continue };
                    let stands = client.status == Status::Ready;
                    let unheard = stands.then(|| unheard(client.ready_ns, stream, sent, self.ledger.starts_ns()));
                    let unheard = unheard.map(|unheard| (unheard, false));
                    let missing = self.missing(client, stream, sent.count).chain(unheard);
                    for (missing, is_followed) in missing {
                        for sequences in certain(missing, is_followed, &sent.uncertain) {
                            each(Lost { local, action, sequences, sent: Some(sent) })?;
                        }
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// What has not arrived of so many that were sent, each part with whether the one behind it has. Who is not connected is owed no more
    /// than what it was passed over with, long enough before its connection ended.
    fn missing<'s>(
        &self,
        client: &Client,
        stream: &'s Stream,
        count: u32,
    ) -> impl Iterator<Item = (Range<u32>, bool)> + use<'s> {
        let stands = client.status == Status::Ready;
        let until_ns = if stands { u64::MAX } else { client.certain_until_ns(self.patience_ns()) };
        let tail = stands.then(|| stream.tail(count)).filter(|tail| !tail.is_empty());
        let gaps = stream.gaps().iter().filter(move |gap| gap.since_ns <= until_ns);
        gaps.map(|gap| (gap.sequences.clone(), true)).chain(tail.map(|tail| (tail, false)))
    }

    pub(super) fn patience_ns(&self) -> u64 {
        self.plan.drain_ms * 1_000_000
    }
}

/// What a client is owed that was ready at `ready_ns`, while messages were flowing, and has heard nothing of a sender since: what was due
/// in phases that began well after that, or the last message at least, if it was due then. `starts_ns`: when each phase began.
fn unheard(ready_ns: u64, stream: &Stream, sent: &Sent, starts_ns: &[u64]) -> Range<u32> {
    let joined_ns = ready_ns + JOIN_NS;
    if !stream.is_unheard() || sent.count == 0 || sent.last_due_ns < joined_ns {
        return 0..0;
    }
    let phase = starts_ns.partition_point(|start_ns| *start_ns < joined_ns);
    let last = sent.count - 1;
    sent.firsts.get(phase).map_or(last, |first| last.min(*first)).max(stream.next())..sent.count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND_NS;

    /// Three phases of ten seconds and ten messages, of which a client heard the first two and then no more.
    #[test]
    fn who_hears_nothing_is_owed_the_phases_since_it_is_back() {
        let starts_ns = [0, 10 * SECOND_NS, 20 * SECOND_NS];
        let sent = |last_due_s| Sent {
            sender: 0,
            action: 0,
            count: 30,
            uncertain: Vec::new(),
            firsts: vec![0, 10, 20],
            last_due_ns: last_due_s * SECOND_NS,
        };
        let mut stream = Stream::from(0);
        stream.record(0, 0);
        stream.record(1, 0);
        assert_eq!(unheard(SECOND_NS, &stream, &sent(29), &starts_ns), 0..0, "its connection never ended");
        stream.begin_anew(None, 0);
        assert_eq!(unheard(8 * SECOND_NS, &stream, &sent(29), &starts_ns), 10..30);
        // It was let in while a phase went on, or may have been.
        assert_eq!(unheard(SECOND_NS * 19 / 2, &stream, &sent(29), &starts_ns), 20..30);
        assert_eq!(unheard(20 * SECOND_NS, &stream, &sent(29), &starts_ns), 29..30);
        assert_eq!(unheard(20 * SECOND_NS, &stream, &sent(20), &starts_ns), 0..0);
        stream.record(7, 0);
        assert_eq!(unheard(0, &stream, &sent(29), &starts_ns), 0..0, "it has heard something");
    }
}
