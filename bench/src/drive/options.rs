//! The command line of `drive`.
use crate::wire::Language;
use clap::{Parser, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;

/// Loads a Socket.IO server that runs the `bench` suite and says what each message cost it.
///
/// Every message that comes back is checked. Exit code: 0 when nothing was lost, repeated, reordered or
/// changed, 1 otherwise, 2 when the run could not be made.
#[derive(Clone, Debug, Parser)]
#[command(name = "drive", version)]
pub struct Options {
    /// What to do.
    pub scenario: Scenario,
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port of the server.
    #[arg(long)]
    pub port: u16,
    /// Process of the server, whose CPU and memory are read.
    #[arg(long)]
    pub pid: u32,
    /// Connections. One address carries about 28,000.
    #[arg(long, default_value_t = 500)]
    pub clients: usize,
    /// Bytes of payload per message, at least 16.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=100_000_000))]
    pub size: u32,
    /// Messages in flight per group (a client in echo, ack and bin; a room; everyone in broadcast).
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
    /// Messages per second over all groups, offered whatever comes back, instead of --in-flight.
    #[arg(long, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Rooms, each with clients / rooms members.
    #[arg(long, default_value_t = 200)]
    pub rooms: usize,
    /// Namespaces over which the clients are spread evenly: /n0, /n1, ...; none: all in "/". A broadcast goes to its namespace.
    #[arg(long, default_value_t = 0)]
    pub namespaces: usize,
    /// Expects the offset that a server with connection state recovery puts behind the arguments of a broadcast.
    #[arg(long)]
    pub recovery: bool,
    /// Members of a group that send, in turn. Default: one in broadcast, all in rooms.
    #[arg(long)]
    pub senders: Option<usize>,
    /// Seconds under load before the window.
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Seconds measured; of doing nothing, in idle.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Ends the window after so many messages, if that is earlier.
    #[arg(long)]
    pub messages: Option<u64>,
    /// Seconds to wait before memory is read.
    #[arg(long, default_value_t = 1.0)]
    pub settle: f64,
    /// Seconds without a delivery after which what is owed is lost.
    #[arg(long, default_value_t = 5.0)]
    pub stall: f64,
    /// Connections being set up at the same time.
    #[arg(long, default_value_t = 64)]
    pub connecting: usize,
    /// What the server speaks.
    #[arg(long, value_enum, default_value_t = Protocol::Socketio)]
    pub protocol: Protocol,
    /// Prints a line when the window begins, for a program that measures beside it.
    #[arg(long)]
    pub announce: bool,
    /// Core to run on; the server belongs on another.
    #[arg(long)]
    pub core: Option<usize>,
    /// File for the result.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Name of the server in the result.
    #[arg(long, default_value = "server")]
    pub label: String,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Connect, then leave.
    Connect,
    /// Connect and stay silent: memory and CPU per connection.
    Idle,
    /// Every client sends and gets its own message back.
    Echo,
    /// The same by acknowledgement.
    Ack,
    /// The same with one binary attachment.
    Bin,
    /// One client's message to all clients.
    Broadcast,
    /// Messages within rooms.
    Rooms,
}

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Socket.IO 5 on Engine.IO 4 over WebSocket.
    Socketio,
    /// The floor program's: sizes and bytes, as many as Socket.IO's answer would have.
    Raw,
}

impl Scenario {
    /// Name on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Echo => "echo",
            Self::Ack => "ack",
            Self::Bin => "bin",
            Self::Broadcast => "broadcast",
            Self::Rooms => "rooms",
        }
    }

    /// The messages of this scenario as Socket.IO; `None` where there are none.
    #[must_use]
    pub fn language(self) -> Option<Language> {
        match self {
            Self::Connect | Self::Idle => None,
            Self::Echo => Some(Language::Echo),
            Self::Ack => Some(Language::Ack),
            Self::Bin => Some(Language::Binary),
            Self::Broadcast => Some(Language::Broadcast),
            Self::Rooms => Some(Language::Room),
        }
    }
}

impl Options {
    /// Groups and the members and senders of each.
    ///
    /// # Errors
    /// A sentence for the operator when the numbers do not fit together.
    pub fn groups(&self) -> Result<GroupPlan, String> {
        let plan = match self.scenario {
            Scenario::Broadcast => {
                let count = self.namespaces.max(1);
                GroupPlan { count, members: self.clients / count, senders: self.senders.unwrap_or(1) }
            }
            Scenario::Rooms => {
                let members = self.clients.checked_div(self.rooms).unwrap_or(0);
                GroupPlan { count: self.rooms, members, senders: self.senders.unwrap_or(members) }
            }
            _ => GroupPlan { count: self.clients, members: 1, senders: 1 },
        };
        if plan.count * plan.members != self.clients || self.clients == 0 {
            return Err(format!("{} clients do not fill {} groups evenly", self.clients, plan.count));
        }
        if self.namespaces > 0 && (self.scenario == Scenario::Rooms || self.protocol == Protocol::Raw) {
            return Err("--namespaces is for Socket.IO, and not for rooms".to_owned());
        }
        if plan.senders == 0 || plan.senders > plan.members || self.in_flight == 0 {
            return Err("--senders must be 1 to the members of a group, --in-flight at least 1".to_owned());
        }
        if self.protocol == Protocol::Raw && self.scenario == Scenario::Rooms {
            return Err("the raw protocol has no rooms".to_owned());
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err("--rate must be above 0".to_owned());
        }
        Ok(plan)
    }
}

/// How the clients are divided: `count` groups of `members`, of which the first `senders` send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    /// Groups.
    pub count: usize,
    /// Members of each: the receivers of each of its messages.
    pub members: usize,
    /// Members that send, in turn.
    pub senders: usize,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(line: &str) -> Options {
        Options::parse_from(format!("drive {line} --port 1 --pid 1").split_whitespace())
    }

    #[test]
    fn namespaces_are_the_groups_of_a_broadcast() {
        let plan = |line| parse(line).groups();
        let of_namespaces = GroupPlan { count: 5, members: 4, senders: 1 };
        assert_eq!(plan("broadcast --clients 20 --namespaces 5"), Ok(of_namespaces));
        assert_eq!(plan("echo --clients 7 --namespaces 5"), Ok(GroupPlan { count: 7, members: 1, senders: 1 }));
        assert!(plan("broadcast --clients 21 --namespaces 5").is_err());
        assert!(plan("rooms --clients 20 --rooms 4 --namespaces 5").is_err());
    }

    #[test]
    fn groups_follow_the_scenario() {
        let plan = |line| parse(line).groups();
        assert_eq!(plan("echo --clients 7"), Ok(GroupPlan { count: 7, members: 1, senders: 1 }));
        assert_eq!(plan("broadcast --clients 7"), Ok(GroupPlan { count: 1, members: 7, senders: 1 }));
        assert_eq!(
            plan("rooms --clients 20 --rooms 4 --senders 2"),
            Ok(GroupPlan { count: 4, members: 5, senders: 2 })
        );
        assert!(plan("rooms --clients 21 --rooms 4").is_err());
        assert!(plan("rooms --clients 20 --rooms 0").is_err());
        assert!(plan("rooms --clients 20 --rooms 4 --protocol raw").is_err());
        assert!(plan("echo --rate 0").is_err());
    }
}
