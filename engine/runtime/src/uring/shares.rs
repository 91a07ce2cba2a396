//! Who may have how much of a turn: what one connection brought beyond its share waits behind everybody else.
//!
//! ```text
//!   completions  A A A A A A A A B C D        one multishot receive fills buffer after buffer until its peer pauses
//!   this turn    A A . . . . . . B C D        its share, then the others
//!   next turn    E F B   then   A A A         what is new first, then what was put off
//! ```
//! The kernel makes up to 32 completions of one receive in a row (64 KiB each, from 6.9 on; before that as many as there are buffers).
//! Handled as they come, a sender that always has more would be two megabytes ahead of everybody: thirty milliseconds of small events.
//!
//! Counted is a *run* of completions of the same receive, so no slot of the table needs a field for it. Once something of a receive is put
//! off, all that follows of it is, its end included: bytes keep their order, and a receive that has run out of buffers is armed anew only when
//! what it brought has been handled, so a greedy connection cannot take them all for long.

use super::complete::{Completion, Operation, Tag};
use crate::limits::{CONNECTION_BYTES_PER_TURN, RECEIVED_BYTES_PER_TURN, SURPLUS_BYTES_PER_TURN};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Shares {
    /// Bytes of a share.
    share: usize,
    /// The receive whose completions come one after the other just now, and the bytes they have brought in this turn.
    run: (u64, usize),
    /// What was put off, oldest first. At most as many as there are receive buffers, and an end for each receive.
    put_off: VecDeque<Completion>,
    /// The receives of `put_off`, and how many completions of each. Few: each has brought more than its share.
    receives: Vec<(u64, usize)>,
}

impl Shares {
    pub(super) fn new(share: usize) -> Self {
        Self { share, run: (0, 0), put_off: VecDeque::new(), receives: Vec::new() }
    }

    /// Bytes of all connections together in a turn, after which the rest is the next turn's.
    pub(super) fn turn_bytes(&self) -> usize {
        self.share * (RECEIVED_BYTES_PER_TURN / CONNECTION_BYTES_PER_TURN)
    }

    /// Bytes of what was put off in a turn.
    pub(super) fn surplus_bytes(&self) -> usize {
        self.share * (SURPLUS_BYTES_PER_TURN / CONNECTION_BYTES_PER_TURN)
    }

    /// A turn begins: everybody may bring something. How many completions of earlier turns wait.
    pub(super) fn begin_turn(&mut self) -> usize {
        self.run = (0, 0);
        self.put_off.len()
    }

    /// Takes note of a completion. It is given back if it is to be handled; else its receive has had its share, and it is kept.
    pub(super) fn admit(&mut self, completion: Completion) -> Option<Completion> {
        if Tag::from_bits(completion.tag).operation() != Some(Operation::Receive) {
            return Some(completion);
        }
        let tag = completion.tag;
        if self.run.0 != tag {
            self.run = (tag, 0);
        }
        let waiting = self.receives.iter_mut().find(|(receive, _)| *receive == tag);
        match waiting {
            Some((_, count)) => *count += 1,
            None if self.run.1 >= self.share => self.receives.push((tag, 1)),
            None => {
                self.run.1 += completion.bytes();
                return Some(completion);
            }
        }
        self.put_off.push_back(completion);
        None
    }

    /// The oldest completion that was put off.
    pub(super) fn take(&mut self) -> Option<Completion> {
        let completion = self.put_off.pop_front()?;
        if let Some(index) = self.receives.iter().position(|(receive, _)| *receive == completion.tag) {
            self.receives[index].1 -= 1;
            if self.receives[index].1 == 0 {
                self.receives.swap_remove(index);
            }
        }
        Some(completion)
    }

    /// Gives back what a crowd needed.
    pub(super) fn shrink(&mut self) {
        self.put_off.shrink_to_fit();
        self.receives.shrink_to_fit();
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.put_off.is_empty()
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    use super::*;

    const BUFFER: i32 = 65_536;

    fn receive(slot: u32, result: i32) -> Completion {
        let tag = Tag::new(Operation::Receive, 1, slot).to_bits();
        Completion { tag, result, buffer: (result > 0).then_some(0), has_more: result > 0 }
    }

    /// The slots of the completions that are handled, of these.
    fn admitted(shares: &mut Shares, completions: &[Completion]) -> Vec<u32> {
        let handled = completions.iter().filter_map(|completion| shares.admit(*completion));
        handled.map(|completion| Tag::from_bits(completion.tag).slot()).collect()
    }

    #[test]
    fn a_run_is_cut_at_its_share_and_the_others_are_not() {
        let mut shares = Shares::new(CONNECTION_BYTES_PER_TURN);
        assert_eq!(shares.begin_turn(), 0);
        let greedy = [receive(7, BUFFER); 8];
        assert_eq!(admitted(&mut shares, &greedy), [7, 7]);
        assert_eq!(admitted(&mut shares, &[receive(1, 10), receive(2, 10), receive(1, 10)]), [1, 2, 1]);
        assert_eq!(shares.begin_turn(), 6);
    }

    #[test]
    fn what_follows_what_was_put_off_is_put_off_its_end_included() {
        let mut shares = Shares::new(CONNECTION_BYTES_PER_TURN);
        admitted(&mut shares, &[receive(7, BUFFER); 3]);
        shares.begin_turn();
        let end = receive(7, -libc::ENOBUFS);
        assert_eq!(admitted(&mut shares, &[receive(7, 5), receive(8, 5), end]), [8], "in a turn of its own, too");
        let results = std::iter::from_fn(|| shares.take()).map(|completion| completion.result).collect::<Vec<_>>();
        assert_eq!(results, [BUFFER, 5, -libc::ENOBUFS]);
        assert!(shares.is_empty());
        assert_eq!(admitted(&mut shares, &[receive(7, 5)]), [7], "nothing waits any more");
    }

    #[test]
    fn what_is_no_receive_is_nobodys_share() {
        let mut shares = Shares::new(CONNECTION_BYTES_PER_TURN);
        admitted(&mut shares, &[receive(7, BUFFER); 4]);
        let other = Completion { tag: Tag::new(Operation::Send, 1, 7).to_bits(), ..receive(7, BUFFER) };
        assert_eq!(admitted(&mut shares, &[other; 5]), [7; 5]);
    }
}
