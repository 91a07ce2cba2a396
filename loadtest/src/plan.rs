//! What a run is to do: who connects how, what they send, and what has to come back. Plain values, without behaviour.
//!
//! Built-in scenarios and scenario files both become a [`Plan`]; workers know nothing else. Phases are separate, because
//! they may be decided while the run goes on (the search for a server's limit does that).

use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How clients reach the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A WebSocket from the start.
    #[default]
    Websocket,
    /// HTTP long-polling, and nothing else.
    Polling,
    /// Long-polling first, then the upgrade to a WebSocket: what browsers do unless told otherwise.
    Upgrade,
}

/// How Socket.IO packets are written; server and clients have to agree on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parser {
    /// Text with attachments: that of `socket.io-parser`.
    #[default]
    Default,
    /// MessagePack: that of `socket.io-msgpack-parser`.
    Msgpack,
}

/// What has to come back for a message, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// Nothing.
    Nothing,
    /// An event to the sender alone.
    Sender,
    /// An event to every member of the sender's group, the sender included.
    Group,
    /// An event to every member of the sender's group but the sender.
    Others,
    /// The acknowledgement of the event.
    Ack,
}

/// One kind of message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Its name in reports.
    pub name: String,
    /// How often it is chosen, relative to the others.
    pub weight: u32,
    /// The event to send. Empty for the probe: a CONNECT to a namespace that does not exist, which every server
    /// answers with its name, so that the round trip needs nothing from the application.
    pub event: String,
    /// The JSON of the arguments, separated by commas, with places like `{{stamp}}` in it; see `template`.
    pub arguments: String,
    /// Bytes of the block that stands at `{{stamp}}` or `{{bytes}}`.
    pub size: usize,
    /// What comes back.
    pub expect: Expect,
    /// The event in which it comes back. For [`Expect::Ack`] it is not used.
    pub reply: String,
    /// Whether the block comes back too. If not, answers are matched by id (ack) or by order, and only counted.
    pub stamped: bool,
}

impl Action {
    /// Whether this is the probe.
    pub fn is_probe(&self) -> bool {
        self.event.is_empty()
    }
}

/// An event sent once by every client when it has connected: joining a room, for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The event.
    pub event: String,
    /// Its arguments, as in [`Action::arguments`].
    pub arguments: String,
    /// Whether it asks for an acknowledgement; what that says is not looked at.
    pub ack: bool,
}

/// How a client comes back after its connection was lost. The defaults are those of socket.io-client.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconnection {
    /// Pause before the first attempt. Milliseconds, default 1_000.
    pub delay_ms: u64,
    /// The longest pause, varied or not; it doubles with each attempt. Milliseconds, default 5_000.
    pub delay_max_ms: u64,
    /// By how much the pause is varied at random. Share of it, 0.0 to 1.0, default 0.5.
    pub jitter: f64,
}

impl Default for Reconnection {
    fn default() -> Self {
        Self { delay_ms: 1_000, delay_max_ms: 5_000, jitter: 0.5 }
    }
}

/// Local ports, both ends included; the first is at least 1 and at most the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub low: u16,
    /// The last.
    pub high: u16,
}

impl PortRange {
    /// How many ports there are.
    pub fn count(self) -> u32 {
        u32::from(self.high) - u32::from(self.low) + 1
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.low, self.high)
    }
}

/// The tick unless another is given: an evenly spaced message costs this program two sleeps, and as much CPU as it costs a server;
/// ten of one millisecond cost it a third of that. Microseconds.
pub const TICK_US: u64 = 1_000;

/// The highest rate, of messages or connections, that can be planned. Per second.
pub const RATE_MAX: f64 = 1e7;
/// The longest time that can be planned: stamps hold 78 hours of nanoseconds. Milliseconds, two days.
pub const DURATION_MS_MAX: u64 = 200_000_000;

/// How long a client pauses between two of its messages. Milliseconds, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Think {
    /// Always as long.
    Fixed(u64),
    /// Anything from the first to the second, equally likely.
    Uniform(u64, u64),
    /// Exponentially distributed with this mean, as of people who write independently of when they last did.
    Exponential(u64),
}

impl Think {
    /// The mean pause. Milliseconds.
    pub fn mean_ms(self) -> f64 {
        match self {
            Self::Fixed(ms) | Self::Exponential(ms) => ms as f64,
            Self::Uniform(from, to) => (from as f64 + to as f64) / 2.0,
        }
    }
}

/// Everything that workers need to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub name: String,
    /// The server.
    pub target: Target,
    /// The most clients there will be at a time.
    pub clients: u32,
    /// Members of a group: 1 when everybody talks to itself, all of them for a broadcast.
    pub group_size: u32,
    /// How many members of each group send.
    pub senders_per_group: u32,
    /// New connections per second, over all workers.
    pub connect_rate: f64,
    /// The longest that a connection may take until its namespace is joined. Milliseconds.
    pub connect_timeout_ms: u64,
    /// How clients connect.
    pub transport: Transport,
    /// How packets are written.
    pub parser: Parser,
    /// Offers permessage-deflate, without context takeover.
    pub deflate: bool,
    /// The namespace.
    pub namespace: String,
    /// The JSON object sent as `auth`; may have places like `{{client}}` in it.
    pub auth: Option<String>,
    /// Further headers of every request.
    pub headers: Vec<(String, String)>,
    /// Addresses to connect from, in turn. None: the system chooses.
    pub sources: Vec<std::net::IpAddr>,
    /// Local ports to connect from, of each source. None: the system's, see `engine::ports`.
    pub ports: Option<PortRange>,
    /// Whether a lost connection is made again, and how.
    pub reconnection: Option<Reconnection>,
    /// How long a client stays before it leaves and another takes its place. None: to the end. Milliseconds.
    pub lifetime_ms: Option<u64>,
    /// The share of clients that read only now and then. 0.0 to 1.0.
    pub slow_share: f64,
    /// How long a slow client reads nothing between two reads. Milliseconds.
    pub slow_pause_ms: u64,
    /// What is sent once by everybody.
    pub setup: Vec<Setup>,
    /// What is sent all the time. Empty: nothing.
    pub actions: Vec<Action>,
    /// What was not answered within this time of the last arrival is lost. Milliseconds, default 5_000.
    pub drain_ms: u64,
    /// Whether messages are spaced at random (a Poisson process) instead of evenly.
    pub poisson: bool,
    /// Messages of one tick are due together, at its beginning: the load generator wakes up less often. Microseconds,
    /// default 1_000; 0: each whenever the rate says.
    pub tick_us: u64,
}

impl Plan {
    /// A plan in which clients connect, stay, and say nothing.
    pub fn new(name: &str, target: Target, clients: u32) -> Self {
        Self {
            name: name.to_owned(),
            namespace: target.namespace.clone(),
            target,
            clients,
            group_size: 1,
            senders_per_group: 1,
            connect_rate: 1_000.0,
            connect_timeout_ms: 20_000,
            transport: Transport::default(),
            parser: Parser::default(),
            deflate: false,
            auth: None,
            headers: Vec::new(),
            sources: Vec::new(),
            ports: None,
            reconnection: None,
            lifetime_ms: None,
            slow_share: 0.0,
            slow_pause_ms: 2_000,
            setup: Vec::new(),
            actions: Vec::new(),
            drain_ms: 5_000,
            poisson: false,
            tick_us: TICK_US,
        }
    }

    /// Whether some action sends to a whole group.
    pub fn has_group_actions(&self) -> bool {
        self.actions.iter().any(|action| matches!(action.expect, Expect::Group | Expect::Others))
    }

    /// How many of the first `clients` send.
    pub fn senders(&self, clients: u32) -> u32 {
        let (groups, rest) = (clients / self.group_size, clients % self.group_size);
        groups * self.senders_per_group + rest.min(self.senders_per_group)
    }

    /// Whether a client sends, by its place in its group.
    pub fn is_sender(&self, client: u32) -> bool {
        client % self.group_size.max(1) < self.senders_per_group
    }
}

/// A stretch of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name in reports.
    pub name: String,
    /// How long it lasts. Milliseconds.
    pub duration_ms: u64,
    /// Messages per second over all clients, when it begins.
    pub rate: f64,
    /// The same when it ends: the rate moves evenly from one to the other.
    pub rate_end: f64,
    /// Each client sends after pauses of its own; the rates above only say what that comes to. None: all share the rate.
    pub think: Option<Think>,
    /// How many clients there are to be; more connect and surplus ones leave when it begins.
    pub clients: u32,
    /// Whether its figures count. Not those of warming up.
    pub measured: bool,
    /// The share of clients whose connection is cut when it begins. 0.0 to 1.0.
    pub storm_share: f64,
}

impl Phase {
    /// A measured phase of constant rate.
    pub fn new(name: &str, duration_ms: u64, rate: f64, clients: u32) -> Self {
        let name = name.to_owned();
        Self { name, duration_ms, rate, rate_end: rate, think: None, clients, measured: true, storm_share: 0.0 }
    }

    /// The same, without being measured.
    #[must_use]
    pub fn unmeasured(mut self) -> Self {
        self.measured = false;
        self
    }
}
