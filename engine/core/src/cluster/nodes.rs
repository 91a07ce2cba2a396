//! The other servers of each namespace, known by their heartbeats.
//!
//! ```text
//!   open --InitialHeartbeat-->   others answer with a Heartbeat at once, so both sides know each other after one round
//!   every interval --Heartbeat-->      any message refreshes its sender
//!   silent for the timeout, or AdapterClose --> gone: nobody waits for it any more
//! ```
//! Shards of one server overtake each other, so what a server said before its AdapterClose may come behind it. It is no sign of life: for
//! the timeout only another InitialHeartbeat is.
//!
//! Only for links that cannot say who is there. The official adapter leaves out a heartbeat when it has published
//! something else within the interval; this one does not, because other shards publish too.

use super::NodeId;
use crate::base::id::NamespaceId;
use crate::base::time::Time;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// How servers notice each other by heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatOptions {
    /// How often a server says that it is there. Milliseconds, default 5_000 as in the official adapters.
    pub interval_ms: u64,
    /// Silence after which a server counts as gone. Milliseconds, default 10_000.
    pub timeout_ms: u64,
}

impl Default for HeartbeatOptions {
    fn default() -> Self {
        Self { interval_ms: 5_000, timeout_ms: 10_000 }
    }
}

impl HeartbeatOptions {
    /// How often silent servers are looked for. Milliseconds: a second as in the official adapters, or less for a
    /// shorter timeout.
    #[must_use]
    pub fn check_ms(&self) -> u64 {
        1_000.min(self.timeout_ms / 5).min(self.interval_ms).max(1)
    }
}

/// Emitters publish and are no servers.
const EMITTER: &str = "emitter";

#[derive(Clone, Debug)]
struct Node {
    id: NodeId,
    heard_at: Time,
}

#[derive(Debug, Default)]
struct Neighbours {
    nodes: Vec<Node>,
    /// Who has said that he leaves, when.
    left: Vec<Node>,
    beat_at: Time,
}

/// Who else is there, by namespace.
#[derive(Debug, Default)]
pub struct Nodes {
    namespaces: BTreeMap<NamespaceId, Neighbours>,
}

impl Nodes {
    /// This server takes part in a namespace from now on; false if it did before.
    pub fn open(&mut self, namespace: NamespaceId, now: Time) -> bool {
        if self.namespaces.contains_key(&namespace) {
            return false;
        }
        self.namespaces.insert(namespace, Neighbours { nodes: Vec::new(), left: Vec::new(), beat_at: now });
        true
    }

    /// It takes part no longer; false if it did not.
    pub fn close(&mut self, namespace: NamespaceId) -> bool {
        self.namespaces.remove(&namespace).is_some()
    }

    /// The namespaces in which this server takes part.
    pub fn namespaces(&self) -> impl Iterator<Item = NamespaceId> {
        self.namespaces.keys().copied()
    }

    /// Something came from a server; true if it was not known.
    pub fn heard(&mut self, namespace: NamespaceId, node: &NodeId, now: Time) -> bool {
        let Some(neighbours) = self.namespaces.get_mut(&namespace) else { return false };
        if node.as_str() == EMITTER || neighbours.left.iter().any(|left| left.id == *node) {
            return false;
        }
        match neighbours.nodes.iter_mut().find(|known| known.id == *node) {
            Some(known) => {
                known.heard_at = now;
                false
            }
            None => {
                neighbours.nodes.push(Node { id: node.clone(), heard_at: now });
                true
            }
        }
    }

    /// A server has said that it is here: if it had left, it is back.
    pub fn come_back(&mut self, namespace: NamespaceId, node: &NodeId) {
        if let Some(neighbours) = self.namespaces.get_mut(&namespace) {
            neighbours.left.retain(|left| left.id != *node);
        }
    }

    /// A server has said that it leaves; false if it was not known.
    pub fn leave(&mut self, namespace: NamespaceId, node: &NodeId, now: Time) -> bool {
        let Some(neighbours) = self.namespaces.get_mut(&namespace) else { return false };
        let before = neighbours.nodes.len();
        neighbours.nodes.retain(|known| known.id != *node);
        let was_known = neighbours.nodes.len() < before;
        if was_known {
            neighbours.left.push(Node { id: node.clone(), heard_at: now });
        }
        was_known
    }

    /// The known servers of a namespace, in the order in which they came.
    #[must_use]
    pub fn of(&self, namespace: NamespaceId) -> Vec<NodeId> {
        self.namespaces
            .get(&namespace)
            .map_or(Vec::new(), |neighbours| neighbours.nodes.iter().map(|node| node.id.clone()).collect())
    }

    /// Takes out those that have been silent for too long.
    pub fn take_silent(&mut self, options: &HeartbeatOptions, now: Time) -> Vec<(NamespaceId, NodeId)> {
        let mut silent = Vec::new();
        for (namespace, neighbours) in &mut self.namespaces {
            neighbours.left.retain(|left| now.since(left.heard_at) <= options.timeout_ms);
            neighbours.nodes.retain(|node| {
                let is_silent = now.since(node.heard_at) > options.timeout_ms;
                if is_silent {
                    silent.push((*namespace, node.id.clone()));
                }
                !is_silent
            });
        }
        silent
    }

    /// The namespaces in which a heartbeat is due; it counts as sent.
    pub fn take_due(&mut self, options: &HeartbeatOptions, now: Time) -> Vec<NamespaceId> {
        let mut due = Vec::new();
        for (namespace, neighbours) in &mut self.namespaces {
            if now.since(neighbours.beat_at) >= options.interval_ms {
                neighbours.beat_at = now;
                due.push(*namespace);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: NamespaceId = NamespaceId(0);
    const OPTIONS: HeartbeatOptions = HeartbeatOptions { interval_ms: 5_000, timeout_ms: 10_000 };

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_server_is_known_from_its_first_message_until_its_silence_is_too_long() {
        let (one, mut nodes) = (NodeId::new("one"), Nodes::default());
        assert!(!nodes.heard(MAIN, &one, at(0)), "nobody is known in a namespace that is not ours");
        assert!(nodes.open(MAIN, at(0)) && !nodes.open(MAIN, at(0)));
        assert!(nodes.heard(MAIN, &one, at(0)) && !nodes.heard(MAIN, &one, at(4_000)));
        assert!(nodes.take_silent(&OPTIONS, at(14_000)).is_empty());
        assert_eq!(nodes.take_silent(&OPTIONS, at(14_001)), [(MAIN, one.clone())]);
        assert!(nodes.of(MAIN).is_empty() && nodes.heard(MAIN, &one, at(20_000)));
        assert!(nodes.leave(MAIN, &one, at(20_000)) && !nodes.leave(MAIN, &one, at(20_000)));
        assert!(!nodes.heard(MAIN, &NodeId::new("emitter"), at(20_000)), "an emitter is no server");
        assert!(nodes.close(MAIN) && !nodes.close(MAIN));
    }

    /// Found by the simulator: an answer of another shard behind the AdapterClose made a server known again, and every question waited
    /// for it until it had been silent for the timeout.
    #[test]
    fn who_has_left_is_not_back_by_what_he_said_before() {
        let (one, mut nodes) = (NodeId::new("one"), Nodes::default());
        nodes.open(MAIN, at(0));
        assert!(nodes.heard(MAIN, &one, at(0)) && nodes.leave(MAIN, &one, at(1_000)));
        assert!(!nodes.heard(MAIN, &one, at(1_001)) && nodes.of(MAIN).is_empty());
        assert!(nodes.take_silent(&OPTIONS, at(11_000)).is_empty() && !nodes.heard(MAIN, &one, at(11_000)));
        nodes.come_back(MAIN, &one);
        assert!(nodes.heard(MAIN, &one, at(11_000)), "it has the namespace again");
        assert!(nodes.leave(MAIN, &one, at(12_000)) && nodes.take_silent(&OPTIONS, at(22_001)).is_empty());
        assert!(nodes.heard(MAIN, &one, at(22_001)), "nothing of before comes as late as that");
    }

    #[test]
    fn a_heartbeat_is_due_once_per_interval() {
        let mut nodes = Nodes::default();
        nodes.open(MAIN, at(0));
        assert!(nodes.take_due(&OPTIONS, at(4_999)).is_empty());
        assert_eq!(nodes.take_due(&OPTIONS, at(5_000)), [MAIN]);
        assert!(nodes.take_due(&OPTIONS, at(9_999)).is_empty());
        assert_eq!(HeartbeatOptions { interval_ms: 10, timeout_ms: 20 }.check_ms(), 4);
        assert_eq!(OPTIONS.check_ms(), 1_000);
    }
}
