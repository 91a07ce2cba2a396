//! Answers that are owed to the application: each comes once, in time, and says what is true.
//!
//! A question for sockets is judged by a window over the whole cluster from the asking to the answer: who was selected at both ends
//! and not touched in between must be named, with its rooms; who was not selected at any time must not be.

use super::inbox::EventId;
use super::{LATENESS_MAX, Oracle, Place, matches};
use crate::clock::Micros;
use crate::link::Letter;
use ringio_core::cluster::roll::Tally;
use ringio_core::cluster::{ClusterMessage, NodeId};
use ringio_core::door::SocketDescription;
use ringio_core::room::select::Target;
use std::collections::{BTreeMap, BTreeSet};

/// Deadlines are whole milliseconds. Microseconds.
const ROUNDING: Micros = 1_000;

/// An answer that is owed.
#[derive(Debug)]
pub struct Waiter {
    /// When it must have come.
    pub deadline: Option<Micros>,
    /// For what.
    pub question: Question,
    /// Who asks.
    shard: usize,
    asked_at: Micros,
    /// When each other server's answer reached this one.
    arrived: BTreeMap<NodeId, Micros>,
    /// Acknowledgements of other servers' clients that reached this one.
    acks: Vec<(Micros, String)>,
}

/// What was asked.
#[derive(Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Question {
    /// An acknowledgement of one socket.
    Ack { id: EventId, sid: String },
    /// Acknowledgements of a broadcast.
    Gather { id: EventId, is_local: bool },
    /// Which sockets there are.
    Fetch { is_local: bool },
    /// An answer of each other server.
    ServerSide { id: EventId },
    /// How many servers there are.
    Count,
}

/// Who may be named when somebody asks for sockets.
#[derive(Debug)]
pub(super) struct Sighting {
    namespace: u32,
    target: Target,
    /// Selected when it was asked: where, and in which rooms.
    before: BTreeMap<String, (usize, BTreeSet<String>)>,
    /// Whoever did anything meanwhile.
    pub(super) touched: BTreeMap<String, usize>,
}

impl Oracle {
    /// An answer is owed from now on.
    pub fn ask(&mut self, shard: usize, deadline: Option<Micros>, question: Question) -> u64 {
        self.next_number += 1;
        let asked_at = self.clock.micros();
        let (arrived, acks) = (BTreeMap::new(), Vec::new());
        self.waiters.insert(self.next_number, Waiter { deadline, question, shard, asked_at, arrived, acks });
        self.next_number
    }

    /// The same, of all sockets that a target selects.
    pub fn ask_for_sockets(
        &mut self,
        shard: usize,
        deadline: Option<Micros>,
        namespace: u32,
        target: &Target,
        is_local: bool,
    ) -> u64 {
        let number = self.ask(shard, deadline, Question::Fetch { is_local });
        let before = self.selected_everywhere(namespace, target);
        let sighting = Sighting { namespace, target: target.clone(), before, touched: BTreeMap::new() };
        self.sightings.insert(number, sighting);
        number
    }

    fn selected_everywhere(&self, namespace: u32, target: &Target) -> BTreeMap<String, (usize, BTreeSet<String>)> {
        self.joined()
            .filter(|(_, member)| member.namespace == namespace && matches(target, &member.rooms))
            .map(|((shard, _), member)| (member.sid.clone(), (shard, member.rooms.clone())))
            .collect()
    }

    /// The answer has come.
    pub fn answer(&mut self, number: u64) -> Waiter {
        self.counts.answered += 1;
        let waiter = self.waiters.remove(&number);
        waiter.unwrap_or_else(|| panic!("violation: answer {number} came twice, or was never asked for"))
    }

    /// The question was not asked after all.
    pub fn withdraw(&mut self, number: u64) {
        self.waiters.remove(&number);
    }

    /// The answer will not come.
    pub fn fail(&mut self, number: u64, is_timeout: bool) {
        let waiter = self.answer(number);
        self.counts.answered -= 1;
        self.counts.failed += 1;
        if is_timeout {
            assert!(self.is_due(&waiter), "violation: answer {number} timed out early");
        }
    }

    fn is_due(&self, waiter: &Waiter) -> bool {
        waiter.deadline.is_some_and(|deadline| self.clock.micros() + ROUNDING >= deadline)
    }

    /// The acknowledgements of a broadcast are there, or its time is over.
    pub fn gathered(&mut self, number: u64, mut answers: Vec<String>, is_complete: bool, is_cluster: bool) {
        let waiter = self.answer(number);
        let Question::Gather { id, is_local } = waiter.question else {
            panic!("violation: {:?} was answered by many", waiter.question)
        };
        answers.sort();
        let count = answers.len();
        answers.dedup();
        assert_eq!(answers.len(), count, "violation: a socket answered twice");
        for answer in &answers {
            let sid = answer.split('"').nth(1).unwrap_or_default();
            assert_eq!(
                *answer,
                crate::application::answer(sid, id, is_cluster),
                "violation: an answer to another question"
            );
            let is_its = self.inboxes.get(sid).is_some_and(|inbox| inbox.has_received(id));
            assert!(is_its, "violation: {sid} has answered {id}, which it never received");
        }
        let now = self.clock.micros();
        if self.cluster.is_calm() {
            for (at, ack) in &waiter.acks {
                let is_in = answers.binary_search(&format!("[{ack}]")).is_ok();
                assert!(is_in || *at == now, "violation: {ack} came in time and is not among the answers");
            }
        }
        if is_complete && (is_local || self.cluster.is_whole(waiter.asked_at)) {
            self.completed.insert(id);
        }
    }

    /// It is said which sockets there are.
    pub fn fetched(&mut self, number: u64, own: &[SocketDescription], others: &[SocketDescription], tally: Tally) {
        let waiter = self.answer(number);
        let Question::Fetch { is_local } = waiter.question else {
            panic!("violation: {:?} was answered with sockets", waiter.question)
        };
        let Some(sighting) = self.sightings.remove(&number) else { return };
        let server = self.server_of(waiter.shard);
        let mut named = BTreeSet::new();
        for socket in own.iter().chain(others) {
            assert!(named.insert(socket.id.to_string()), "violation: {} was fetched twice", socket.id);
        }
        self.check_tally(number, &waiter, tally, is_local);
        // Of whose rooms is the model not sure?
        let mut unsure: BTreeMap<String, usize> = sighting.touched;
        for shard in 0..self.windows.len() {
            for key in self.operated_on(shard, None) {
                if let Some(member) = self.members.get(&(shard, key)) {
                    unsure.insert(member.sid.clone(), shard);
                }
            }
        }
        let after = self.selected_everywhere(sighting.namespace, &sighting.target);
        let now = self.clock.micros();
        let has_answered = |of: usize| {
            of == server
                || (!is_local
                    && waiter.arrived.iter().any(|(node, at)| self.cluster.server_of(node) == Some(of) && *at < now))
        };
        for (sid, (shard, rooms)) in &sighting.before {
            if unsure.contains_key(sid) || !after.contains_key(sid) || !has_answered(self.server_of(*shard)) {
                continue;
            }
            let list = if self.server_of(*shard) == server { own } else { others };
            let Some(socket) = list.iter().find(|socket| socket.id.as_str() == sid) else {
                panic!("violation: {sid} is there, was asked for, and is not among the sockets of {number}")
            };
            let said: BTreeSet<String> = socket.rooms.iter().cloned().collect();
            assert_eq!((said.len(), &said), (socket.rooms.len(), rooms), "violation: the rooms of {sid}, fetched");
        }
        for (socket, is_own) in
            own.iter().map(|socket| (socket, true)).chain(others.iter().map(|socket| (socket, false)))
        {
            let sid = socket.id.as_str();
            let shard = [&sighting.before, &after].iter().find_map(|known| known.get(sid).map(|(shard, _)| *shard));
            let Some(shard) = shard.or_else(|| unsure.get(sid).copied()) else {
                panic!("violation: {sid} is among the sockets of {number}, and was never selected")
            };
            assert_eq!(self.server_of(shard) == server, is_own, "violation: whose socket {sid} is");
        }
    }

    /// Other servers' answers are there, or their time is over.
    pub fn servers_answered(&mut self, number: u64, answers: &[String], tally: Tally) {
        let waiter = self.answer(number);
        let Question::ServerSide { id } = waiter.question else {
            panic!("violation: {:?} was answered by servers", waiter.question)
        };
        let mut servers = BTreeSet::new();
        for answer in answers {
            let said = answer.trim_matches('"').rsplit_once(':');
            let is_its = said.is_some_and(|(_, of)| of.parse() == Ok(id));
            assert!(is_its, "violation: {answer} answers another question than {id}");
            let node = NodeId::new(said.map_or("", |(node, _)| node));
            let server = self.cluster.server_of(&node).filter(|server| *server != self.server_of(waiter.shard));
            assert!(server.is_some(), "violation: {node} answers itself, or never was");
            assert!(servers.insert(node), "violation: {answer} was given twice");
        }
        assert_eq!(tally.answered as usize, answers.len(), "violation: answers are not counted as they came");
        self.check_tally(number, &waiter, tally, false);
        self.counts.servers_answered += answers.len() as u64;
    }

    /// Who has answered is who could, and nobody is waited for without need.
    fn check_tally(&self, number: u64, waiter: &Waiter, tally: Tally, is_local: bool) {
        let now = self.clock.micros();
        // What takes no time between two shards of a server may have been overtaken at this very instant.
        let sure = waiter.arrived.values().filter(|at| **at < now).count();
        let most = waiter.arrived.len();
        assert!(
            (sure..=most).contains(&(tally.answered as usize)),
            "violation: answers of {sure} to {most} servers came for {number}, and {tally:?} is said"
        );
        if tally.expected != Some(tally.answered) {
            assert!(self.is_due(waiter), "violation: answer {number} ended early: {tally:?}");
        }
        let others = if is_local { 0 } else { self.cluster.other_count() };
        if is_local || self.cluster.is_whole(waiter.asked_at) {
            let is_unknown = tally.expected.is_none() && self.is_due(waiter);
            let is_right = tally.expected == Some(others) || is_unknown;
            assert!(is_right, "violation: {others} others are there, and {tally:?} is said for {number}");
        }
    }

    /// It is said how many servers there are.
    pub fn counted(&mut self, number: u64, count: Option<u32>) {
        let waiter = self.answer(number);
        assert!(
            matches!(waiter.question, Question::Count),
            "violation: {:?} was answered by a number",
            waiter.question
        );
        let now = self.clock.micros();
        let most = self.cluster.count_max(self.server_of(waiter.shard), now);
        match count {
            Some(count) => assert!((1..=most).contains(&count), "violation: {count} servers, at most {most} are there"),
            None => assert!(self.is_due(&waiter), "violation: nobody counted for {number}, and there was time"),
        }
        if self.cluster.is_whole(waiter.asked_at) {
            let all = self.cluster.other_count() + 1;
            assert!(count == Some(all) || self.is_due(&waiter), "violation: {count:?} servers of {all}");
        }
    }

    /// A server gets a letter.
    pub fn letter_came(&mut self, node: &NodeId, server: usize, letter: &Letter) {
        let now = self.clock.micros();
        self.counts.letters += 1;
        let number = self.cluster.letter_came(node, server, letter, now);
        let Some(waiter) = number.and_then(|number| self.waiters.get_mut(&number)) else { return };
        if let ClusterMessage::BroadcastAck { answer, .. } = &*letter.message {
            let ack =
                answer.as_ref().map_or(String::new(), |answer| String::from_utf8_lossy(&answer.json).into_owned());
            waiter.acks.push((now, ack));
        } else {
            waiter.arrived.entry(letter.from.clone()).or_insert(now);
        }
    }

    /// Nothing that has a deadline is overdue, and nobody waits for who is known to be gone.
    pub fn check_deadlines(&self) {
        let now = self.clock.micros();
        for (number, waiter) in
            self.waiters.iter().filter(|(_, waiter)| !self.ending.contains(&self.server_of(waiter.shard)))
        {
            let is_overdue = waiter.deadline.is_some_and(|deadline| now > deadline + LATENESS_MAX);
            assert!(!is_overdue, "violation: answer {number} is overdue: {waiter:?}");
            if matches!(waiter.question, Question::Fetch { is_local: false } | Question::ServerSide { .. }) {
                let ends_at = self.cluster.ends_at(self.server_of(waiter.shard), waiter.asked_at, &waiter.arrived);
                let is_vain = ends_at.is_some_and(|at| now > at + LATENESS_MAX);
                assert!(!is_vain, "violation: answer {number} waits for servers that are gone: {waiter:?}");
            }
        }
    }

    /// A server is gone: nobody there waits any more.
    pub(super) fn forget_waiters(&mut self, is_gone: impl Fn(usize) -> bool) {
        let gone: Vec<u64> =
            self.waiters.iter().filter(|(_, waiter)| is_gone(waiter.shard)).map(|(number, _)| *number).collect();
        for number in gone {
            self.waiters.remove(&number);
            self.sightings.remove(&number);
        }
    }

    /// A socket did something, or something was done to it, while somebody asks for sockets.
    pub(super) fn note_touched(&mut self, place: Place) {
        if self.sightings.is_empty() {
            return;
        }
        let Some(sid) = self.members.get(&place).map(|member| member.sid.clone()) else { return };
        for sighting in self.sightings.values_mut() {
            sighting.touched.insert(sid.clone(), place.0);
        }
    }
}
