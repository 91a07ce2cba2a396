//! What servers tell each other, on its way: the adapter of a simulated cluster, as its contract has it and no kinder.
//!
//! ```text
//!   shard --publish--> [letters on their way, cut off, held, lost] --job--> first shard of each other server
//!   shard --members--> at once by name, or later by number, or never
//! ```
//! The contract (`cluster::Link` of the crate `ringio`): nobody hears his own; what one thread publishes arrives in that order, while two
//! shards of a server overtake each other; an answer goes to one server. A link may lose what it cannot send, and who is counted is
//! reached unless it is cut off or gone. Not promised, and done here now and then: an answer comes once, or not to a successor.

use crate::application::TestApplication;
use crate::chance::Chance;
use crate::clock::{Micros, SimulatedClock};
use crate::plot::{ClusterPlot, CutWay, Membership};
use crate::trace::note;
use ringio_core::cluster::roll::Members;
use ringio_core::cluster::{ClusterMessage, NodeId};
use ringio_runtime::injector::Injector;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// How long a broker may take to hand out what it has kept, or an answer to come again. Microseconds.
const LATE_MAX: Micros = 1_500_000;

/// A message as it arrives.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Who says it.
    pub from: NodeId,
    /// To whom; a successor may get it.
    pub to: NodeId,
    /// Where.
    pub namespace: u32,
    /// What.
    pub message: Arc<ClusterMessage>,
}

#[derive(Debug)]
struct Parcel {
    sender: u64,
    from: usize,
    to: usize,
    letter: Letter,
}

/// Where a server is, or was.
#[derive(Debug)]
struct Home {
    node: NodeId,
    shards: Range<usize>,
    is_there: bool,
}

#[derive(Debug)]
struct Cut {
    from: usize,
    to: usize,
    way: CutWay,
    until: Micros,
}

/// How many others there are, on its way to who asked.
#[derive(Debug)]
struct Reply {
    at: Micros,
    inbox: Injector<TestApplication>,
    question: u64,
    members: Members,
}

/// All links of a story.
#[derive(Debug)]
pub(crate) struct Link {
    clock: SimulatedClock,
    chance: Chance,
    membership: Membership,
    delay_max: Micros,
    reaches_successors: bool,
    doubled_answers: u32,
    lost_counts: u32,
    homes: Vec<Home>,
    /// Where each server is that ever was.
    addresses: BTreeMap<NodeId, usize>,
    /// Of each shard.
    inboxes: Vec<Option<Injector<TestApplication>>>,
    /// By arrival.
    parcels: BTreeMap<(Micros, u64), Parcel>,
    /// What has arrived where nobody is, for the successor.
    kept: Vec<(u64, Parcel)>,
    /// When the last one of a sender to a server arrives.
    last_at: BTreeMap<(u64, usize), Micros>,
    replies: Vec<Reply>,
    cuts: Vec<Cut>,
    parcel_count: u64,
}

impl Link {
    /// Links between servers with these shards, none of which has started.
    pub(crate) fn new(clock: SimulatedClock, chance: Chance, plot: &ClusterPlot, shards: &[Range<usize>]) -> Self {
        let home = |shards: &Range<usize>| Home { node: NodeId::new(""), shards: shards.clone(), is_there: false };
        Self {
            clock,
            chance,
            membership: plot.membership,
            delay_max: plot.delay_max,
            reaches_successors: plot.reaches_successors,
            doubled_answers: plot.doubled_answers,
            lost_counts: plot.lost_counts,
            homes: shards.iter().map(home).collect(),
            addresses: BTreeMap::new(),
            inboxes: (0..shards.iter().map(Range::len).sum()).map(|_| None).collect(),
            parcels: BTreeMap::new(),
            kept: Vec::new(),
            last_at: BTreeMap::new(),
            replies: Vec::new(),
            cuts: Vec::new(),
            parcel_count: 0,
        }
    }

    /// A server has started under this name.
    pub(crate) fn open(&mut self, server: usize, node: NodeId, inboxes: Vec<Injector<TestApplication>>) {
        self.addresses.insert(node.clone(), server);
        let home = &mut self.homes[server];
        for (shard, inbox) in home.shards.clone().zip(inboxes) {
            self.inboxes[shard] = Some(inbox);
        }
        home.node = node;
        home.is_there = true;
        // A broker that kept messages hands them out when it comes to it, and those that follow behind them.
        let now = self.clock.micros();
        let mut begins: BTreeMap<u64, Micros> = BTreeMap::new();
        for (number, parcel) in self.kept.extract_if(.., |(_, parcel)| parcel.to == server) {
            let last_at = self.last_at.entry((parcel.sender, server)).or_default();
            let at = *begins.entry(parcel.sender).or_insert_with(|| {
                // Something that was said later is on its way.
                if *last_at >= now {
                    return now;
                }
                *last_at = now + self.chance.between(0, LATE_MAX);
                *last_at
            });
            self.parcels.insert((at, number), parcel);
        }
    }

    /// It is gone.
    pub(crate) fn close(&mut self, server: usize) {
        let home = &mut self.homes[server];
        home.is_there = false;
        for shard in home.shards.clone() {
            self.inboxes[shard] = None;
        }
    }

    /// Nothing gets from one server to another until then.
    pub(crate) fn cut(&mut self, from: usize, to: usize, way: CutWay, until: Micros) {
        note!("server {to} does not hear server {from} until {until}: {way:?}");
        self.cuts.push(Cut { from, to, way, until });
    }

    /// What stands between two servers at this moment; the longest if there are several.
    fn cut_between(&self, from: usize, to: usize) -> Option<(CutWay, Micros)> {
        let now = self.clock.micros();
        let of_both = self.cuts.iter().filter(|cut| (cut.from, cut.to) == (from, to) && cut.until > now);
        of_both.max_by_key(|cut| cut.until).map(|cut| (cut.way, cut.until))
    }

    /// A sender of server `from` tells the others, or one of them.
    pub(crate) fn publish(
        &mut self,
        sender: u64,
        from: usize,
        namespace: u32,
        to: Option<&NodeId>,
        message: &Arc<ClusterMessage>,
    ) {
        match to {
            None => {
                for server in (0..self.homes.len()).filter(|server| *server != from) {
                    // A server that has ended needs nothing any more, but the one after it may get it.
                    if self.homes[server].is_there || self.reaches_successors {
                        let to = self.homes[server].node.clone();
                        self.post(sender, from, server, namespace, to, message);
                    }
                }
            }
            Some(to) => {
                let server = self.addresses.get(to).copied();
                let Some(server) = server.filter(|server| *server != from) else {
                    panic!("violation: server {from} answers {to}, which is itself or nobody")
                };
                self.post(sender, from, server, namespace, to.clone(), message);
                let is_single = matches!(
                    &**message,
                    ClusterMessage::FetchSocketsResponse { .. }
                        | ClusterMessage::ServerSideEmitResponse { .. }
                        | ClusterMessage::BroadcastClientCount { .. }
                );
                if is_single && self.chance.one_in(self.doubled_answers) {
                    let at = self.clock.micros() + self.chance.between(0, LATE_MAX);
                    let letter = self.letter(from, to.clone(), namespace, message);
                    self.send_off(at, Parcel { sender, from, to: server, letter });
                }
            }
        }
    }

    fn post(
        &mut self,
        sender: u64,
        from: usize,
        to: usize,
        namespace: u32,
        node: NodeId,
        message: &Arc<ClusterMessage>,
    ) {
        let now = self.clock.micros();
        let begin = match self.cut_between(from, to) {
            Some((CutWay::Lost, _)) => return note!("lost: {} from server {from} to {to}", message.number()),
            Some((CutWay::Held, until)) => until,
            None => now,
        };
        let at = begin + self.chance.between(0, self.delay_max);
        let last_at = self.last_at.entry((sender, to)).or_default();
        let at = at.max(*last_at);
        *last_at = at;
        let letter = self.letter(from, node, namespace, message);
        self.send_off(at, Parcel { sender, from, to, letter });
    }

    fn letter(&self, from: usize, to: NodeId, namespace: u32, message: &Arc<ClusterMessage>) -> Letter {
        Letter { from: self.homes[from].node.clone(), to, namespace, message: Arc::clone(message) }
    }

    fn send_off(&mut self, at: Micros, parcel: Parcel) {
        self.parcel_count += 1;
        self.parcels.insert((at, self.parcel_count), parcel);
    }

    /// Who else is there: now, or later by a job of shard `asker`, or never.
    pub(crate) fn members(&mut self, server: usize, asker: usize, question: u64) -> Option<Members> {
        let others = self.homes.iter().enumerate().filter(|(other, home)| *other != server && home.is_there);
        let nodes: Vec<NodeId> = others.map(|(_, home)| home.node.clone()).collect();
        match self.membership {
            Membership::Nodes => return Some(Members::Nodes(nodes)),
            Membership::Count => {}
            Membership::Heartbeat(_) => panic!("violation: asked for members though they notice each other"),
        }
        if let Some(inbox) = self.inboxes[asker].clone()
            && !self.chance.one_in(self.lost_counts)
        {
            let at = self.clock.micros() + self.chance.between(0, self.delay_max);
            let members = Members::Count(nodes.len() as u32);
            self.replies.push(Reply { at, inbox, question, members });
        }
        None
    }

    /// Hands in what has arrived; whether anything has.
    pub(crate) fn deliver(&mut self) -> bool {
        let mut is_any = false;
        let now = self.clock.micros();
        while let Some(entry) = self.parcels.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, number), parcel) = entry.remove_entry();
            let Parcel { from, to, .. } = parcel;
            match self.cut_between(from, to) {
                Some((CutWay::Held, until)) => {
                    self.parcels.insert((until, number), parcel);
                    continue;
                }
                Some((CutWay::Lost, _)) => {
                    note!("lost on its way: {} from server {from} to {to}", parcel.letter.message.number());
                    continue;
                }
                None => {}
            }
            let home = &self.homes[to];
            if !home.is_there && self.reaches_successors {
                self.kept.push((number, parcel));
                continue;
            }
            let is_for_it = home.node == parcel.letter.to || self.reaches_successors;
            if let Some(inbox) = self.inboxes[home.shards.start].as_ref().filter(|_| is_for_it) {
                // One that has ended needs nothing any more.
                let letter = parcel.letter;
                is_any = true;
                let _ = inbox.inject(Box::new(move |application: &TestApplication| application.take_letter(&letter)));
            }
        }
        for reply in self.replies.extract_if(.., |reply| reply.at <= now) {
            let Reply { inbox, question, members, .. } = reply;
            is_any = true;
            let _ = inbox.inject(Box::new(move |application: &TestApplication| {
                application.take_members(question, members);
            }));
        }
        is_any
    }

    /// When something arrives.
    pub(crate) fn next_at(&self) -> Option<Micros> {
        let of_parcels = self.parcels.keys().next().map(|(at, _)| *at);
        self.replies.iter().map(|reply| reply.at).chain(of_parcels).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: u64 = 40;

    fn plot() -> ClusterPlot {
        ClusterPlot {
            delay_max: 1_000,
            membership: Membership::Nodes,
            reaches_successors: false,
            doubled_answers: 0,
            lost_counts: 0,
            is_curious: false,
            troubles: Vec::new(),
        }
    }

    /// The arrivals of what sender 0 of server 0 tells server 1.
    fn arrivals(link: &Link) -> Vec<(Micros, u64)> {
        link.parcels.keys().copied().collect()
    }

    fn link(plot: &ClusterPlot) -> (SimulatedClock, Link) {
        let clock = SimulatedClock::default();
        let mut link = Link::new(clock.clone(), Chance::new(1, 6), plot, &[0..1, 1..2]);
        link.open(0, NodeId::new("a"), Vec::new());
        link.open(1, NodeId::new("b"), Vec::new());
        (clock, link)
    }

    #[test]
    fn what_one_sender_says_keeps_its_order_through_a_cut() {
        let (clock, mut link) = link(&plot());
        let message = Arc::new(ClusterMessage::Heartbeat);
        for step in 0..MESSAGES {
            if step == MESSAGES / 2 {
                link.cut(0, 1, CutWay::Held, clock.micros() + 5_000);
            }
            link.publish(0, 0, 0, None, &message);
            clock.advance_to(clock.micros() + 100);
            link.deliver();
        }
        let numbers: Vec<u64> = arrivals(&link).iter().map(|(_, number)| *number).collect();
        assert!(numbers.is_sorted() && numbers.len() as u64 >= MESSAGES / 2, "{numbers:?}");
        clock.advance_to(clock.micros() + 100_000);
        link.deliver();
        assert!(link.parcels.is_empty());
    }

    #[test]
    fn what_is_lost_is_lost_and_nobody_hears_his_own() {
        let (_, mut link) = link(&plot());
        let message = Arc::new(ClusterMessage::Heartbeat);
        link.cut(0, 1, CutWay::Lost, 5_000);
        link.publish(0, 0, 0, None, &message);
        assert!(arrivals(&link).is_empty());
        link.publish(1, 1, 0, None, &message);
        assert_eq!(link.parcels.values().map(|parcel| parcel.to).collect::<Vec<_>>(), [0]);
    }
}
