//! Which other servers have answered a question, and whether all have.
//!
//! Who is there is known by name or by number only, sooner or later than the answers come. By name, a server that leaves
//! is waited for no longer, and one that joins meanwhile is heard but not waited for. By number nobody can tell whether
//! a server that leaves was counted, so the wait then ends with its time.

use super::NodeId;
use alloc::vec::Vec;

/// The other servers of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// So many.
    Count(u32),
    /// These.
    Nodes(Vec<NodeId>),
}

impl Members {
    /// How many they are.
    #[must_use]
    pub fn len(&self) -> u32 {
        match self {
            Self::Count(count) => *count,
            Self::Nodes(nodes) => u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        }
    }

    /// Whether there is no other server.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How many other servers have answered, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers that came.
    pub answered: u32,
    /// Answers that were waited for, those that came included; `None` while it is not known how many servers there are.
    pub expected: Option<u32>,
}

/// The calling of the roll.
#[derive(Clone, Debug)]
pub struct Roll {
    members: Option<Members>,
    answered: Vec<NodeId>,
    gone: Vec<NodeId>,
}

impl Roll {
    /// It is not yet known who is there.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { members: None, answered: Vec::new(), gone: Vec::new() }
    }

    /// These are there.
    #[must_use]
    pub const fn of(members: Members) -> Self {
        Self { members: Some(members), answered: Vec::new(), gone: Vec::new() }
    }

    /// Nobody else is there.
    #[must_use]
    pub const fn alone() -> Self {
        Self::of(Members::Nodes(Vec::new()))
    }

    /// It turns out who is there.
    pub fn set_members(&mut self, members: Members) {
        self.members.get_or_insert(members);
    }

    /// A server has answered; false if it has before.
    pub fn answer(&mut self, node: &NodeId) -> bool {
        if self.answered.contains(node) {
            #[cfg(ringio_planted)]
            return crate::base::planted::is(crate::base::planted::Bug::AnsweredTwice);
            #[cfg(not(ringio_planted))]
            return false;
        }
        self.answered.push(node.clone());
        true
    }

    /// A server has left.
    pub fn lose(&mut self, node: &NodeId) {
        if !self.gone.contains(node) {
            self.gone.push(node.clone());
        }
    }

    /// Whether nobody is waited for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing() == Some(0)
    }

    /// How many are waited for, if that is known.
    fn missing(&self) -> Option<u32> {
        let answered = u32::try_from(self.answered.len()).unwrap_or(u32::MAX);
        Some(match self.members.as_ref()? {
            Members::Count(count) => count.saturating_sub(answered),
            Members::Nodes(nodes) => {
                let is_missing = |node: &&NodeId| !self.answered.contains(node) && !self.gone.contains(node);
                u32::try_from(nodes.iter().filter(is_missing).count()).unwrap_or(u32::MAX)
            }
        })
    }

    /// How many have answered, of how many.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let answered = u32::try_from(self.answered.len()).unwrap_or(u32::MAX);
        Tally { answered, expected: self.missing().map(|missing| answered.saturating_add(missing)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Members {
        Members::Nodes(names.iter().map(|name| NodeId::new(name)).collect())
    }

    #[test]
    fn alone_waits_for_nobody() {
        assert!(Roll::alone().is_complete());
        assert!(!Roll::unknown().is_complete());
        assert!(Roll::of(Members::Count(0)).is_complete());
    }

    #[test]
    fn an_answer_counts_once_and_may_come_before_the_names() {
        let (one, two) = (NodeId::new("one"), NodeId::new("two"));
        let mut roll = Roll::unknown();
        assert!(roll.answer(&one) && !roll.answer(&one));
        assert_eq!(roll.tally(), Tally { answered: 1, expected: None });
        roll.set_members(nodes(&["one", "two"]));
        assert_eq!(roll.tally(), Tally { answered: 1, expected: Some(2) });
        assert!(!roll.is_complete() && roll.answer(&two) && roll.is_complete());
    }

    #[test]
    fn who_leaves_is_waited_for_no_longer_even_if_that_is_heard_first() {
        let mut roll = Roll::unknown();
        roll.lose(&NodeId::new("one"));
        roll.set_members(nodes(&["one", "two"]));
        assert!(!roll.is_complete());
        roll.lose(&NodeId::new("two"));
        assert!(roll.is_complete());
        assert_eq!(roll.tally(), Tally { answered: 0, expected: Some(0) });
    }

    #[test]
    fn by_number_only_answers_count() {
        let mut roll = Roll::of(Members::Count(2));
        roll.lose(&NodeId::new("one"));
        assert!(roll.answer(&NodeId::new("two")) && !roll.is_complete());
        assert!(roll.answer(&NodeId::new("three")) && roll.is_complete());
    }

    #[test]
    fn a_late_comer_is_heard_and_not_waited_for() {
        let mut roll = Roll::of(nodes(&["one"]));
        assert!(roll.answer(&NodeId::new("new")) && !roll.is_complete());
        assert!(roll.answer(&NodeId::new("one")) && roll.is_complete());
    }
}
