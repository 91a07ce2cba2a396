//! The settings of a story, as its seed wants them.
//!
//! Each seed has three stories. That of one server draws from the same streams of chance whatever the others do, so its seeds keep their
//! meaning; that of a cluster has the same faults, options and clients on two or three servers, and what befalls them besides; the greedy
//! one is that of one server with a client or two more, who want more than they may have.

use crate::chance::Chance;
use crate::client::Habits;
use crate::clock::Micros;
use crate::kernel::{Faults, Sizes};
use ringio_core::cluster::nodes::HeartbeatOptions;
use ringio_core::options::{Options, RecoveryOptions};
use ringio_runtime::uring::UringOptions;
use std::ops::Range;

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// One server.
    Alone,
    /// Two or three.
    Cluster,
    /// One, with clients that drive it to its bounds.
    Greedy,
}

/// The settings of a story, as its seed wants them.
#[derive(Debug)]
pub(crate) struct Plot {
    /// The shards of each server.
    pub shards: Vec<usize>,
    pub client_count: usize,
    /// Besides those.
    pub greedy_count: usize,
    pub faults: Faults,
    pub sizes: Sizes,
    pub uring: UringOptions,
    pub options: Options,
    pub habits: Habits,
    pub mesh_capacity: usize,
    /// Microseconds.
    pub length: Micros,
    pub has_middleware: bool,
    /// What links the servers, if there are several.
    pub cluster: Option<ClusterPlot>,
}

impl Plot {
    /// The plot of a seed's story with this cast.
    pub(crate) fn new(seed: u64, cast: Cast) -> Self {
        let mut plot = Self::of_one_server(&mut Chance::new(seed, 0));
        plot.habits.relapse = relapse(&mut Chance::new(seed, 4)).filter(|_| plot.habits.recovers);
        match cast {
            Cast::Alone => {}
            Cast::Cluster => plot.become_cluster(&mut Chance::new(seed, 5)),
            Cast::Greedy => plot.become_greedy(&mut Chance::new(seed, 7)),
        }
        plot
    }

    /// The numbers of the shards of each server, counted through the story.
    pub(crate) fn shard_ranges(&self) -> Vec<Range<usize>> {
        let mut first = 0;
        self.shards
            .iter()
            .map(|count| {
                first += count;
                first - count..first
            })
            .collect()
    }

    fn of_one_server(chance: &mut Chance) -> Self {
        // Some stories are calm, in most a few things go wrong, in some everything does.
        let weight = *chance.pick(&[0, 1, 1, 1, 3]);
        let mut fault = |rarity: u32| {
            if weight == 0 || chance.one_in(3) { 0 } else { 1 + chance.below((rarity / weight) as usize) as u32 }
        };
        let faults = Faults {
            short_send: fault(12),
            again: fault(20),
            no_buffers: fault(30),
            multishot_ends: fault(30),
            short_receive: fault(8),
            missed_cancel: fault(6),
            lateness: fault(8),
            enter_fails: fault(40),
            refused_transfer: 0,
            failed_accept: fault(20),
            delay_max: 0,
        };
        // Once in one time would be always: those that are tried again for ever need to succeed at some time.
        let at_least_two = |count: u32| if count == 1 { 2 } else { count };
        let is_cramped = chance.one_in(8);
        let faults = Faults {
            again: at_least_two(faults.again),
            no_buffers: at_least_two(faults.no_buffers),
            multishot_ends: at_least_two(faults.multishot_ends),
            missed_cancel: at_least_two(faults.missed_cancel),
            lateness: at_least_two(faults.lateness),
            enter_fails: at_least_two(faults.enter_fails),
            failed_accept: at_least_two(faults.failed_accept),
            refused_transfer: if is_cramped { 4 } else { 0 },
            delay_max: chance.between(0, 3_000),
            ..faults
        };
        let shard_count = 1 + chance.below(4);
        let client_count = 2 + chance.below(9);
        let recovers = chance.one_in(3);
        let recovery = recovers.then(|| RecoveryOptions {
            max_disconnection_ms: chance.between(500, 20_000),
            skip_middlewares: true,
            ..RecoveryOptions::default()
        });
        let options = Options {
            ping_interval_ms: chance.between(200, 3_000),
            ping_timeout_ms: chance.between(300, 2_000),
            upgrade_timeout_ms: chance.between(1_000, 10_000),
            connect_timeout_ms: chance.between(1_000, 45_000),
            max_http_buffer_size: 100_000,
            outbox_bytes_max: *chance.pick(&[4_000, 20_000, 1 << 20, 4 << 20]),
            recovery,
            ..Options::default()
        };
        let files_max = if is_cramped { 16 } else { 256 };
        Self {
            shards: vec![shard_count],
            client_count,
            greedy_count: 0,
            faults,
            sizes: Sizes {
                submissions: *chance.pick(&[2, 8, 64, 1_024]),
                completions: *chance.pick(&[2, 4, 16, 8_192]),
            },
            uring: UringOptions {
                submissions: 0,
                completions: 0,
                receive_buffers: *chance.pick(&[2, 4, 16, 64]),
                receive_buffer_bytes: *chance.pick(&[64, 256, 1_024, 4_096]),
                large_receive_buffers: *chance.pick(&[1, 2, 32]),
                large_receive_buffer_bytes: *chance.pick(&[512, 4_096, 65_536]),
                // Not drawn, so that the seeds of known stories tell the same ones.
                connection_bytes_per_turn: if client_count.is_multiple_of(2) { 100 } else { 128 << 10 },
                files_max,
            },
            options,
            habits: Habits {
                polling_percent: *chance.pick(&[0, 50, 50, 100]),
                upgrade_percent: *chance.pick(&[0, 60, 100]),
                down_room: (chance.between(200, 2_000), chance.between(4_000, 100_000)),
                delay_max: chance.between(0, 8_000),
                is_trusted: !is_cramped,
                recovers,
                relapse: None,
                server_count: 1,
            },
            mesh_capacity: *chance.pick(&[1, 2, 4, 1_024]),
            length: chance.between(300_000, 4_000_000),
            has_middleware: chance.one_in(2),
            cluster: None,
        }
    }

    /// The same with clients that want more than they may have, and room for as many questions as a socket may owe answers to.
    fn become_greedy(&mut self, chance: &mut Chance) {
        self.greedy_count = 1 + chance.below(2);
        self.options.outbox_bytes_max = *chance.pick(&[self.options.outbox_bytes_max, 16 << 20]);
    }

    /// The same with more servers, and what becomes of them.
    fn become_cluster(&mut self, chance: &mut Chance) {
        let server_count = 2 + chance.below(2);
        self.shards = (0..server_count).map(|_| 1 + chance.below(3)).collect();
        self.client_count += 1 + chance.below(6);
        self.habits.server_count = server_count;
        let delay_max = *chance.pick(&[0, 300, 5_000, 40_000]);
        let interval_ms = chance.between(300, 900);
        let timeout_ms = interval_ms * 2 + delay_max / 1_000 + chance.between(100, 500);
        let membership = match chance.below(4) {
            0 => Membership::Nodes,
            1 => Membership::Count,
            _ => Membership::Heartbeat(HeartbeatOptions { interval_ms, timeout_ms }),
        };
        let has_cuts = chance.one_in(3);
        let has_crashes = chance.one_in(3);
        let mut troubles = Vec::new();
        if has_crashes {
            // So that there is time to miss the dead.
            self.length = self.length.max(chance.between(1_500_000, 4_000_000));
            self.plan_crashes(chance, &mut troubles);
        }
        if has_cuts {
            self.plan_cuts(chance, &mut troubles);
        }
        troubles.sort_by_key(|(at, _)| *at);
        let is_troubled = !troubles.is_empty();
        self.cluster = Some(ClusterPlot {
            delay_max,
            membership,
            reaches_successors: has_crashes && chance.one_in(2),
            doubled_answers: if is_troubled { *chance.pick(&[0, 2, 6]) } else { 0 },
            lost_counts: if is_troubled { *chance.pick(&[0, 6]) } else { 0 },
            is_curious: chance.one_in(3),
            troubles,
        });
    }

    fn plan_cuts(&self, chance: &mut Chance, troubles: &mut Vec<(Micros, Trouble)>) {
        let server_count = self.shards.len();
        for _ in 0..1 + chance.below(4) {
            let at = chance.between(0, self.length);
            let until = at + chance.between(5_000, 1_500_000);
            let from = chance.below(server_count);
            let to = (from + 1 + chance.below(server_count - 1)) % server_count;
            let way = if chance.one_in(2) { CutWay::Held } else { CutWay::Lost };
            troubles.push((at, Trouble::Cut { from, to, way, until }));
            if chance.one_in(2) {
                troubles.push((at, Trouble::Cut { from: to, to: from, way, until }));
            }
        }
    }

    fn plan_crashes(&self, chance: &mut Chance, troubles: &mut Vec<(Micros, Trouble)>) {
        for _ in 0..1 + chance.below(2) {
            let server = chance.below(self.shards.len());
            let at = chance.between(self.length / 20, self.length * 3 / 4);
            let is_told = chance.one_in(3);
            troubles.push((at, if is_told { Trouble::Stop { server } } else { Trouble::Crash { server } }));
            if !chance.one_in(4) {
                troubles.push((at + chance.between(1_000, 900_000), Trouble::Restart { server }));
            }
        }
    }
}

/// What links the servers of a story.
#[derive(Debug)]
pub(crate) struct ClusterPlot {
    /// Longest way of a message. Microseconds.
    pub delay_max: Micros,
    pub membership: Membership,
    /// Whether what was meant for a server that is gone reaches the one in its place.
    pub reaches_successors: bool,
    /// One in so many answers comes twice.
    pub doubled_answers: u32,
    /// One in so many questions for the number of servers is not answered.
    pub lost_counts: u32,
    /// Whether its applications ask more than they tell.
    pub is_curious: bool,
    /// In the order of time.
    pub troubles: Vec<(Micros, Trouble)>,
}

/// How servers find out which others there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Membership {
    /// The link knows their names at once, as the adapter for servers of one process does.
    Nodes,
    /// The link finds out how many they are, and that takes time, as a broker's count of subscribers does.
    Count,
    /// They notice each other.
    Heartbeat(HeartbeatOptions),
}

/// What becomes of messages between servers that are cut off from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutWay {
    /// They wait, and arrive in their order when it is over.
    Held,
    /// They are lost.
    Lost,
}

/// What befalls a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// Nothing gets from one server to another until then.
    Cut { from: usize, to: usize, way: CutWay, until: Micros },
    /// A server is gone without a word.
    Crash { server: usize },
    /// A server ends as it should, and says so.
    Stop { server: usize },
    /// It is there again, as another one.
    Restart { server: usize },
}

/// In half of the stories with recovery, who comes back is soon cut off again.
fn relapse(chance: &mut Chance) -> Option<Micros> {
    chance.one_in(2).then(|| chance.between(2_000, 60_000))
}
