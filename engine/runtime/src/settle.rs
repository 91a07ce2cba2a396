//! How shards agree that what was said before a stop is done.
//!
//! ```text
//! asked to stop --> the calls that wait: done --> "round 0" to every shard, behind what those calls said to it
//!               --> heard "round 0" of all: what they said is done, too --> "round 1", behind what that said, and so on
//! ```
//! A call of another thread is done on one shard, which tells the others; sometimes those tell again. Rounds follow such chains, as long
//! as they get: an emit to a room takes one round, one through a socket of another shard two, one that looks for a socket that
//! came back three. The word of a round goes the way of what was said, so it can overtake nothing.

use ringio_core::base::id::ShardIndex;
use ringio_core::door::PeerMessage;

/// The longest chain: caller, shard that acts for it, shard that made a socket's id, shard where the socket is now, all shards.
const ROUNDS: usize = 4;

/// Before a drain, and before the end.
const SETTLEMENTS: usize = 2;

/// What is said and heard by one shard.
#[derive(Debug)]
pub(crate) struct Rounds {
    own: u16,
    shard_count: u16,
    /// Of each round: how many others have said it.
    heard: [u16; ROUNDS * SETTLEMENTS],
    /// The next to be said.
    next: usize,
}

impl Rounds {
    pub(crate) const fn new(own: ShardIndex, shard_count: u16) -> Self {
        Self { own: own.0, shard_count, heard: [0; ROUNDS * SETTLEMENTS], next: 0 }
    }

    /// The rounds of the settlement that begins now.
    pub(crate) fn begin(&self) -> std::ops::Range<usize> {
        self.next..(self.next + ROUNDS).min(self.heard.len())
    }

    /// The word of the next round, for each other shard; none if all rounds are said.
    pub(crate) fn say(&mut self) -> impl Iterator<Item = (ShardIndex, PeerMessage)> + use<> {
        let (own, round) = (self.own, self.next);
        let is_left = round < self.heard.len();
        self.next += usize::from(is_left);
        let others = (0..self.shard_count).filter(move |index| is_left && *index != own);
        others.map(move |index| (ShardIndex(index), PeerMessage::Settled { round: round as u8 }))
    }

    /// Whether there are rounds that were not said.
    pub(crate) const fn has_more(&self) -> bool {
        self.next < self.heard.len()
    }

    /// Another shard has said a round.
    pub(crate) fn hear(&mut self, round: u8) {
        self.heard[usize::from(round)] += 1;
    }

    /// Whether all others have said a round.
    pub(crate) const fn is_heard(&self, round: usize) -> bool {
        self.heard[round] + 1 >= self.shard_count
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_heard_when_all_others_have_said_it() {
        let mut rounds = Rounds::new(ShardIndex(1), 3);
        assert_eq!(rounds.begin(), 0..ROUNDS);
        let said: Vec<ShardIndex> = rounds.say().map(|(shard, _)| shard).collect();
        assert_eq!(said, [ShardIndex(0), ShardIndex(2)]);
        rounds.hear(0);
        rounds.hear(1); // The same shard, which is ahead.
        assert!(!rounds.is_heard(0) && !rounds.is_heard(1));
        rounds.hear(0);
        assert!(rounds.is_heard(0));
    }

    #[test]
    fn the_second_settlement_follows_the_first_and_is_the_last() {
        let mut rounds = Rounds::new(ShardIndex(0), 2);
        (0..ROUNDS).for_each(|_| assert_eq!(rounds.say().count(), 1));
        assert_eq!(rounds.begin(), ROUNDS..2 * ROUNDS);
        while rounds.has_more() {
            assert_eq!(rounds.say().count(), 1);
        }
        assert_eq!((rounds.begin().count(), rounds.say().count()), (0, 0));
    }

    #[test]
    fn a_single_shard_waits_for_nobody() {
        let mut rounds = Rounds::new(ShardIndex(0), 1);
        assert_eq!(rounds.say().count(), 0);
        assert!(rounds.is_heard(0));
    }
}
