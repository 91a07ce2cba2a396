//! The scenarios that need no file.
//!
//! | scenario | what clients do | what the server has to do |
//! |---|---|---|
//! | probe | ask for a namespace that does not exist; its refusal is the answer | nothing |
//! | connect | connect and leave at once | nothing |
//! | churn | come, probe, and leave after a while | nothing |
//! | idle | connect and stay silent but for heartbeats | nothing |
//! | storm | all lose their connection at the same moment and come back | nothing |
//! | echo, ack, binary | send and get back | `echo`, `ack`, `bin` |
//! | broadcast | few send to everyone | `broadcast` |
//! | rooms | each sends to its room | `join`, `room` |
//! | slow | as broadcast, but some receivers hardly read | `broadcast` |
//! | mixed | probe, echo, ack, binary and broadcast together | all of them |
//!
//! The events are those of the `bench` suite; the guide shows them for a Node.js server in ten lines.

use crate::block::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN};
use crate::plan::{Action, DURATION_MS_MAX, Expect, Phase, Plan, Reconnection, Setup};
use crate::target::Target;
use std::fmt;

/// A built-in scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Round trips that need nothing from the application.
    Probe,
    /// Connect and leave.
    Connect,
    /// Clients come and go, and probe meanwhile.
    Churn,
    /// Clients stay and say nothing.
    Idle,
    /// All clients lose their connection at once and come back.
    Storm,
    /// Each client gets its own messages back.
    Echo,
    /// The same by acknowledgement.
    Ack,
    /// The same as an attachment.
    Binary,
    /// One client sends to all.
    Broadcast,
    /// Clients send to the members of their room.
    Rooms,
    /// A broadcast of which some clients read little.
    Slow,
    /// A bit of everything.
    Mixed,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// The numbers of a built-in scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Clients.
    pub clients: u32,
    /// Messages per second over all clients; connections per second for connect and churn.
    pub rate: Option<f64>,
    /// How long is measured. Milliseconds.
    pub duration_ms: u64,
    /// How long messages flow before that. Milliseconds.
    pub warmup_ms: u64,
    /// Bytes of payload per message.
    pub size: usize,
    /// Members of a room.
    pub room_size: u32,
    /// Members of a group that send. None: one in a broadcast, all in a room.
    pub senders: Option<u32>,
    /// Another event than the scenario's own (echo, ack, binary and broadcast).
    pub event: Option<String>,
    /// The event in which it comes back, if that is another one.
    pub reply: Option<String>,
    /// The share of clients that read little (slow), or that lose their connection (storm). 0.0 to 1.0.
    pub share: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clients: 500,
            rate: None,
            duration_ms: 10_000,
            warmup_ms: 2_000,
            size: 64,
            room_size: 10,
            senders: None,
            event: None,
            reply: None,
            share: None,
        }
    }
}

/// The plan and the phases of a scenario.
///
/// # Errors
/// A sentence when the numbers do not fit together.
pub fn plan(scenario: Scenario, settings: &Settings, target: Target) -> Result<(Plan, Vec<Phase>), String> {
    if settings.clients == 0 {
        return Err("--clients must be at least 1".to_owned());
    }
    check_size(settings.size).map_err(|error| format!("--{error}"))?;
    let is_connecting = matches!(scenario, Scenario::Connect | Scenario::Churn);
    if is_connecting && settings.rate.is_some_and(|rate| rate <= 0.0) {
        return Err(format!("--rate must be above 0: of {scenario} it is the connections per second"));
    }
    let mut plan = Plan::new(&scenario.to_string(), target, settings.clients);
    plan.actions = actions(scenario, settings);
    let senders = match scenario {
        Scenario::Rooms => {
            plan.group_size = settings.room_size.clamp(1, settings.clients);
            plan.setup =
                vec![Setup { event: "join".to_owned(), arguments: r#""room-{{group}}""#.to_owned(), ack: false }];
            settings.senders.unwrap_or(plan.group_size)
        }
        Scenario::Broadcast | Scenario::Slow => {
            plan.group_size = settings.clients;
            settings.senders.unwrap_or(1)
        }
        // Everybody sends; few of them to everybody, since each receiver keeps track of each sender.
        Scenario::Mixed => {
            plan.group_size = settings.clients;
            settings.senders.unwrap_or(settings.clients.min(16))
        }
        _ => 1,
    };
    if senders == 0 || senders > plan.group_size {
        return Err(format!("--senders must be 1 to {}, the members of a group", plan.group_size));
    }
    plan.senders_per_group = senders;
    let rate = settings.rate.unwrap_or_else(|| default_rate(scenario, &plan));
    let measured = Phase::new(&plan.name, settings.duration_ms, rate, settings.clients);
    let mut phases = Vec::new();
    if settings.warmup_ms > 0 && !matches!(scenario, Scenario::Idle | Scenario::Connect) {
        phases.push(
            Phase { name: "warm-up".to_owned(), duration_ms: settings.warmup_ms, ..measured.clone() }.unmeasured(),
        );
    }
    match scenario {
        Scenario::Connect | Scenario::Churn => {
            plan.connect_rate = settings.rate.unwrap_or(if scenario == Scenario::Connect { 200.0 } else { 50.0 });
            // In churn the clients are there for as long as it takes the given rate to replace them all.
            let stay_ms = (1e3 * f64::from(settings.clients) / plan.connect_rate * 0.8) as u64;
            let stay_ms = stay_ms.min(DURATION_MS_MAX);
            plan.lifetime_ms = Some(if scenario == Scenario::Connect { 0 } else { stay_ms });
            let rate = if scenario == Scenario::Connect { 0.0 } else { f64::from(settings.clients) };
            for phase in &mut phases {
                (phase.rate, phase.rate_end) = (rate, rate);
            }
            phases.push(Phase { rate, rate_end: rate, ..measured });
        }
        Scenario::Storm => {
            plan.reconnection = Some(Reconnection::default());
            let storm_share = settings.share.unwrap_or(1.0);
            phases.push(Phase { name: "calm".to_owned(), duration_ms: settings.duration_ms / 3, ..measured.clone() });
            phases.push(Phase { storm_share, ..measured });
        }
        Scenario::Slow => {
            plan.slow_share = settings.share.unwrap_or(0.1);
            phases.push(measured);
        }
        _ => phases.push(measured),
    }
    Ok((plan, phases))
}

/// Whether a message may have so many bytes.
///
/// # Errors
/// A sentence that begins with `size`.
pub fn check_size(size: usize) -> Result<(), String> {
    if (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&size) {
        return Ok(());
    }
    Err(format!(
        "size must be {BLOCK_BYTES_MIN}, which takes the stamp by which messages are checked, to {BLOCK_BYTES_MAX}"
    ))
}

/// Messages per second that a small server of any kind bears.
fn default_rate(scenario: Scenario, plan: &Plan) -> f64 {
    let clients = f64::from(plan.clients);
    match scenario {
        Scenario::Idle | Scenario::Connect => 0.0,
        // About 5,000 deliveries per second, whatever the number of receivers.
        Scenario::Broadcast | Scenario::Slow => (5_000.0 / clients).clamp(1.0, 100.0),
        Scenario::Rooms => (5_000.0 / f64::from(plan.group_size)).min(clients),
        _ => clients.min(1_000.0),
    }
}

fn actions(scenario: Scenario, settings: &Settings) -> Vec<Action> {
    let action = |name: &str, event: &str, expect| Action {
        name: name.to_owned(),
        weight: 1,
        event: settings.event.clone().unwrap_or_else(|| event.to_owned()),
        arguments: r#""{{stamp}}""#.to_owned(),
        size: settings.size,
        expect,
        reply: settings.reply.clone().or(settings.event.clone()).unwrap_or_else(|| event.to_owned()),
        stamped: true,
    };
    let probe = probe_action(settings.size);
    let binary = Action { arguments: "{{bytes}}".to_owned(), ..action("binary", "bin", Expect::Sender) };
    match scenario {
        Scenario::Probe | Scenario::Churn | Scenario::Storm => vec![probe],
        Scenario::Connect | Scenario::Idle => Vec::new(),
        Scenario::Echo => vec![action("echo", "echo", Expect::Sender)],
        Scenario::Ack => vec![action("ack", "ack", Expect::Ack)],
        Scenario::Binary => vec![binary],
        Scenario::Broadcast | Scenario::Slow => vec![action("broadcast", "broadcast", Expect::Group)],
        Scenario::Rooms => {
            let arguments = r#""room-{{group}}","{{stamp}}""#.to_owned();
            vec![Action { arguments, ..action("room", "room", Expect::Group) }]
        }
        Scenario::Mixed => {
            let weighted = |weight, action| Action { weight, ..action };
            vec![
                weighted(10, probe),
                weighted(50, action("echo", "echo", Expect::Sender)),
                weighted(29, action("ack", "ack", Expect::Ack)),
                weighted(10, binary),
                weighted(1, action("broadcast", "broadcast", Expect::Group)),
            ]
        }
    }
}

/// The action that every server answers without knowing it.
pub fn probe_action(size: usize) -> Action {
    Action {
        name: "probe".to_owned(),
        weight: 1,
        event: String::new(),
        arguments: String::new(),
        size,
        expect: Expect::Sender,
        reply: String::new(),
        stamped: true,
    }
}
