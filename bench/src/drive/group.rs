//! Who sends to whom, and what is still owed.
//!
//! Every scenario is groups: an echo is a group of one, a room is a group, a broadcast is one group of all.
//! A message is in flight until each member has it once; what is left in flight at the end is lost.
use crate::drive::options::GroupPlan;
use crate::stamp::Stamp;
use std::time::Instant;

/// Clients `first .. first + members`, and their messages in flight.
#[derive(Debug)]
pub(crate) struct Group {
    /// Index of the first member.
    pub(crate) first: usize,
    /// Which template its messages are made from.
    pub(crate) template: usize,
    members: u32,
    next_sequence: Box<[u32]>,
    turn: usize,
    in_flight: Vec<InFlight>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    stamp: Stamp,
    owed: u32,
    sent_at: Instant,
}

/// A delivery that was owed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    /// When the message was sent, or was due.
    pub(crate) sent_at: Instant,
    /// Whether it was the last one owed.
    pub(crate) is_last: bool,
}

impl Group {
    pub(crate) fn new(index: usize, template: usize, plan: GroupPlan) -> Self {
        Self {
            first: index * plan.members,
            template,
            members: plan.members as u32,
            next_sequence: vec![0; plan.senders].into(),
            turn: 0,
            in_flight: Vec::with_capacity(4),
        }
    }

    /// Puts the next message in flight; its sender is the client `stamp.sender`.
    pub(crate) fn send(&mut self, sent_at: Instant) -> Stamp {
        let turn = self.turn;
        self.turn = (turn + 1) % self.next_sequence.len();
        let stamp = Stamp { sender: (self.first + turn) as u32, sequence: self.next_sequence[turn] };
        self.next_sequence[turn] += 1;
        self.in_flight.push(InFlight { stamp, owed: self.members, sent_at });
        stamp
    }

    /// Which of the group's senders this is; `None` for a stranger.
    pub(crate) fn sender_index(&self, stamp: Stamp) -> Option<usize> {
        (stamp.sender as usize).checked_sub(self.first).filter(|&index| index < self.next_sequence.len())
    }

    /// Settles one delivery; `None` when none is owed for this message.
    pub(crate) fn settle(&mut self, stamp: Stamp) -> Option<Delivered> {
        let index = self.in_flight.iter().position(|message| message.stamp == stamp)?;
        let message = &mut self.in_flight[index];
        message.owed -= 1;
        let delivered = Delivered { sent_at: message.sent_at, is_last: message.owed == 0 };
        if delivered.is_last {
            self.in_flight.remove(index);
        }
        Some(delivered)
    }

    pub(crate) fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Deliveries still owed.
    pub(crate) fn owed(&self) -> u64 {
        self.in_flight.iter().map(|message| u64::from(message.owed)).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_is_owed_until_every_member_has_it() {
        let mut group = Group::new(2, 0, GroupPlan { count: 3, members: 3, senders: 2 });
        let now = crate::clock::now();
        let first = group.send(now);
        let second = group.send(now);
        let third = group.send(now);
        assert_eq!((first.sender, first.sequence), (6, 0));
        assert_eq!((second.sender, second.sequence), (7, 0));
        assert_eq!((third.sender, third.sequence), (6, 1));
        assert_eq!((group.in_flight_count(), group.owed()), (3, 9));
        for is_last in [false, false, true] {
            assert_eq!(group.settle(second).unwrap().is_last, is_last);
        }
        assert!(group.settle(second).is_none());
        assert_eq!(group.owed(), 6);
        assert_eq!(group.sender_index(third), Some(0));
        assert_eq!(group.sender_index(Stamp { sender: 8, sequence: 0 }), None);
        assert_eq!(group.sender_index(Stamp { sender: 5, sequence: 0 }), None);
    }
}
