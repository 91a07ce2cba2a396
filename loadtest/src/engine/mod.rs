//! Workers: threads that each drive their share of the clients and share nothing.
//!
//! ```text
//! run --Command--> worker (mio, one loop) --Report--> run
//! ```
//!
//! A worker is a thread, or a process of its own (`remote`).
//! A worker opens connections, sends what is due, checks what arrives, and counts. It does not know the scenario beyond
//! its [`Plan`], nor when the run will end.

mod client;
mod link;
pub mod link_limits;
pub mod mailbox;
pub mod ports;
mod receiving;
pub mod remote;
mod scratch;
mod sending;
pub mod stats;
mod thinking;
pub mod verify;
mod wire;
mod worker;

use crate::failure::{Failure, Failures};
use crate::plan::{Phase, Plan};
use mailbox::Inbox;
pub(crate) use receiving::SETUP_NAMESPACE;
use serde::{Deserialize, Serialize};
use stats::{Second, Stats};
use std::ops::Range;
use std::sync::mpsc::Sender;
use verify::Faults;

/// Which part of the clients a worker drives: groups in turn, so that every worker has its share of each prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// This worker, from 0.
    pub worker: u32,
    /// How many workers there are.
    pub workers: u32,
    /// Clients that stay together: a group, or 1 if groups span workers.
    pub unit: u32,
}

impl Share {
    /// The index over the whole run of this worker's client `local`.
    pub fn global(&self, local: u32) -> u32 {
        ((local / self.unit) * self.workers + self.worker) * self.unit + local % self.unit
    }

    /// How many clients of this worker are among the first `count`.
    pub fn count_below(&self, count: u32) -> u32 {
        let round = self.unit * self.workers;
        let rest = (count % round).saturating_sub(self.worker * self.unit).min(self.unit);
        count / round * self.unit + rest
    }
}

/// What a client sent to its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The client, by its index over the whole run.
    pub sender: u32,
    /// Which of the plan's actions.
    pub action: u8,
    /// How many.
    pub count: u32,
    /// Which of them were under way when its connection ended: nobody knows whether the server had read them. In order.
    pub uncertain: Vec<Range<u32>>,
    /// Of each phase with messages the number of the first, whether it was sent or not.
    pub firsts: Vec<u32>,
    /// When the last was due. Nanoseconds since the run began.
    pub last_due_ns: u64,
}

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Have so many clients (over the whole run) connected, and say so.
    Grow(u32),
    /// A phase begins at this time. Nanoseconds since the run began.
    Phase(Phase, u64),
    /// Say what the current phase has shown so far.
    Look,
    /// Send no more, and say what was sent to groups.
    Drain,
    /// What all clients sent to their groups: say the same again when everything has arrived, or nothing has come for a while.
    /// Connections may have ended meanwhile.
    Await(Vec<Sent>),
    /// What all clients sent to their groups: count what is missing.
    Settle(Vec<Sent>),
    /// Leave and end.
    Stop,
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// All clients asked for are ready or have failed: how many are ready.
    Grown {
        /// Ready clients of this worker.
        ready: u32,
    },
    /// A second has ended.
    Second(Box<Second>),
    /// What the current phase has shown so far.
    Looked(Box<Stats>),
    /// Nothing more is sent, or awaited: what was sent to groups.
    Drained(Vec<Sent>),
    /// The worker's totals; it has ended.
    Done(Box<Totals>),
    /// The worker could not run.
    Broken(Failure),
}

/// A worker's totals.
#[derive(Debug, Serialize, Deserialize)]
pub struct Totals {
    /// By phase, in the order in which they were commanded; the first is everything before.
    pub phases: Vec<Stats>,
    /// Faults of messages.
    pub faults: Faults,
    /// The first fault, in words.
    pub first_fault: Option<String>,
    /// Failures of connections.
    pub failures: Failures,
    /// Clients that were ready when it was told to stop.
    pub ready: u32,
}

/// Runs a worker to its end on this thread. `epoch_ns` is when the run began.
pub fn work(plan: &Plan, share: Share, epoch_ns: u64, inbox: Inbox, reports: &Sender<Report>) {
    let Inbox { commands, poll } = inbox;
    let result = worker::Worker::new(plan, share, epoch_ns, poll).and_then(|mut worker| worker.run(&commands, reports));
    if let Err(failure) = result {
        // Whoever conducts the run may have given up already.
        let _ = reports.send(Report::Broken(failure));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_client_once() {
        for (workers, unit) in [(1, 1), (3, 1), (2, 5), (4, 3)] {
            for count in [1, 2, 5, 30, 31, 77] {
                let mut seen = vec![0; count as usize];
                for worker in 0..workers {
                    let share = Share { worker, workers, unit };
                    for local in 0..share.count_below(count) {
                        seen[share.global(local) as usize] += 1;
                    }
                }
                assert!(seen.iter().all(|times| *times == 1), "{workers} workers, {unit} each, {count}: {seen:?}");
            }
        }
    }
}
