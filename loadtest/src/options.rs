//! The command line.

mod number;

use crate::engine::link_limits;
use crate::plan::{Parser, Plan, PortRange, Reconnection, Transport};
use crate::report::threshold::Threshold;
use crate::run::RunOptions;
use crate::scenario::builtin::{Scenario, Settings};
use crate::target::{PATH_DEFAULT, Target};
use clap::{Args, Subcommand};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Load-tests any Socket.IO server.
///
/// With an address alone it finds out how many clients the server holds at which latency, without any help from the
/// application, and writes a report: ringio-loadtest http://localhost:3000
#[derive(Debug, clap::Parser)]
#[command(name = "ringio-loadtest", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The search for the limit.
    #[command(flatten)]
    pub limit: LimitArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Finds how many clients the server holds (what an address alone does too).
    Limit(LimitArgs),
    /// Runs a built-in scenario, or one from a file.
    Run(RunArgs),
    /// Checks a scenario file without running it.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Compares two results: the second in relation to the first.
    Compare {
        /// The result to compare with.
        before: PathBuf,
        /// The result to be judged.
        after: PathBuf,
    },
    /// Makes the HTML report of a result again.
    Report {
        /// The result, as --json wrote it.
        result: PathBuf,
        /// The report.
        #[arg(short, long, default_value = "loadtest.html")]
        output: PathBuf,
    },
    /// Is a worker of another process of this program (--processes).
    #[command(hide = true)]
    Worker,
    /// Serves a deliberately faulty Socket.IO server, to see how faults are reported.
    Faulty {
        /// The fault.
        #[arg(value_enum)]
        fault: crate::faulty::Fault,
        /// The port.
        #[arg(long, default_value_t = 3001)]
        port: u16,
    },
}

/// How to reach the server.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// The path of Socket.IO's requests.
    #[arg(long, default_value = PATH_DEFAULT)]
    pub path: String,
    /// The namespace, instead of the one in the address.
    #[arg(long)]
    pub namespace: Option<String>,
    /// How clients connect: websocket, polling, or upgrade from the one to the other. Default: websocket, or what the file says.
    #[arg(long, value_parser = parse_transport)]
    pub transport: Option<Transport>,
    /// How the server writes packets: default or msgpack. Default: default, or what the file says.
    #[arg(long, value_parser = parse_parser)]
    pub parser: Option<Parser>,
    /// JSON object sent as auth; may contain {{client}}.
    #[arg(long)]
    pub auth: Option<String>,
    /// A header of every request, as in `Authorization: Bearer x`. May be given several times.
    #[arg(long = "header", value_parser = parse_header)]
    pub headers: Vec<(String, String)>,
    /// Offers permessage-deflate.
    #[arg(long)]
    pub deflate: bool,
    /// Accepts any TLS certificate.
    #[arg(long)]
    pub insecure: bool,
    /// Trusts the authorities in this PEM file as well.
    #[arg(long)]
    pub ca: Option<String>,
    /// Addresses to connect from, separated by commas. Each has about 28,000 ports.
    #[arg(long = "source", value_delimiter = ',')]
    pub sources: Vec<IpAddr>,
    /// Local ports to connect from, of each source. Default: those that the system hands out, 32768-60999 on most.
    #[arg(long, value_name = "LOW-HIGH", value_parser = parse_ports)]
    pub ports: Option<PortRange>,
    /// New connections per second. Default: 1000, of connect and churn their rate, or what the file says.
    #[arg(long, value_parser = number::connect_rate, allow_negative_numbers = true)]
    pub connect_rate: Option<f64>,
    /// How long a connection may take. Seconds.
    #[arg(long, default_value_t = 20.0, value_parser = number::seconds, allow_negative_numbers = true)]
    pub connect_timeout: f64,
    /// Makes lost connections again, as socket.io-client does.
    #[arg(long)]
    pub reconnect: bool,
    /// Threads. Default: one for every 20,000 clients, at most half the cores.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// Processes with one thread each, instead of threads. Default: as many as open files require, if one is not enough.
    #[arg(long, conflicts_with = "workers", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub processes: Option<u32>,
    /// Messages of so many microseconds are due together: less work for this program, small bursts for the server.
    /// Default: 1000, which changes nothing below 1000 messages per second. 0: each on its own.
    #[arg(long, value_name = "US")]
    pub tick: Option<u64>,
    /// Process of the server, for its CPU and memory. Default: the one that listens on its port, if it is on this machine.
    #[arg(long = "pid", value_delimiter = ',')]
    pub pids: Vec<u32>,
}

/// Where results go.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// Writes the result as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Writes the seconds as CSV.
    #[arg(long)]
    pub csv: Option<PathBuf>,
    /// Writes the report as HTML. The search for the limit writes loadtest.html unless another result is asked for.
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// Fails the run (exit code 1) if the condition holds, as in `p99>20ms`. May be given several times.
    #[arg(long = "fail-if")]
    pub fail_if: Vec<Threshold>,
    /// Does not fail because of lost, repeated, reordered or changed messages.
    #[arg(long)]
    pub allow_faults: bool,
    /// A line per second instead of the live screen.
    #[arg(long)]
    pub plain: bool,
    /// Nothing but the summary.
    #[arg(long)]
    pub quiet: bool,
}

/// Arguments of the search.
#[derive(Clone, Debug, Args)]
pub struct LimitArgs {
    /// Address of the server, as in http://localhost:3000. A path names a namespace.
    pub url: Option<String>,
    /// What clients do meanwhile. Not connect, churn, storm and slow, which are for `run`.
    #[arg(long, value_enum, default_value_t = Scenario::Probe)]
    pub scenario: Scenario,
    /// Clients of the first step.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub start: u32,
    /// The most clients that are tried. Default: what open files and ports of this machine allow.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_clients: Option<u32>,
    /// Messages per second of each client.
    #[arg(long, default_value_t = 1.0, value_parser = number::rate, allow_negative_numbers = true)]
    pub rate_per_client: f64,
    /// Messages per second over all clients instead, the same at every step. Default for messages to groups: a few.
    #[arg(long, conflicts_with = "rate_per_client", value_parser = number::rate, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// The 99th percentile of latency that is still good. Milliseconds.
    #[arg(long, default_value_t = 100.0, value_parser = number::latency_ms, allow_negative_numbers = true)]
    pub p99: f64,
    /// How long each step is measured. Seconds, at least 1.
    #[arg(long, default_value_t = 5.0, value_parser = number::step, allow_negative_numbers = true)]
    pub step: f64,
    /// Bytes of payload per message.
    #[arg(long, default_value_t = 64, value_parser = number::size)]
    pub size: usize,
    /// How to connect.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of a run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// probe, connect, churn, idle, storm, echo, ack, binary, broadcast, rooms, slow, mixed, or a scenario file.
    pub scenario: String,
    /// Address of the server; may be left out if the file has one.
    pub url: Option<String>,
    /// Clients. Default: 500, or what the file says.
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
    pub clients: Option<u32>,
    /// Messages per second over all clients (connect and churn: connections per second). Default: what any small server bears.
    #[arg(long, short, value_parser = number::rate, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// How long is measured. Seconds. Default: 10, or what the file says; each measured phase of a file.
    #[arg(long, short, value_parser = number::seconds, allow_negative_numbers = true)]
    pub duration: Option<f64>,
    /// How long messages flow before that. Seconds. Default: 2.
    #[arg(long, value_parser = number::seconds_or_none, allow_negative_numbers = true)]
    pub warmup: Option<f64>,
    /// Bytes of payload per message. Default: 64.
    #[arg(long, value_parser = number::size)]
    pub size: Option<usize>,
    /// Members of a room. Default: 10.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub room_size: Option<u32>,
    /// Members of a group that send. Default: one in a broadcast, all in a room.
    #[arg(long)]
    pub senders: Option<u32>,
    /// Another event than the scenario's (echo, ack, binary, broadcast).
    #[arg(long)]
    pub event: Option<String>,
    /// The event in which it comes back, if that is another one.
    #[arg(long)]
    pub reply: Option<String>,
    /// The share of clients that read little (slow, default 0.1) or lose their connection (storm, default 1). 0 to 1.
    #[arg(long, value_parser = number::share, allow_negative_numbers = true)]
    pub share: Option<f64>,
    /// Spaces messages at random (Poisson) instead of evenly.
    #[arg(long)]
    pub poisson: bool,
    /// How to connect.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl ConnectArgs {
    /// What the conductor of this plan is given.
    ///
    /// # Errors
    /// A sentence when the plan's clients do not fit into the processes asked for.
    pub fn run_options(&self, plan: &Plan, interrupted: Arc<AtomicBool>) -> Result<RunOptions, String> {
        let needed = link_limits::processes_needed(plan);
        let processes = self.processes.unwrap_or(if needed > 1 { needed } else { 0 });
        link_limits::check(plan, processes)?;
        let (workers, pids) = (self.workers, self.pids.clone());
        Ok(RunOptions { workers, processes, pids, interrupted, ..RunOptions::default() })
    }

    /// Resolves the address.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn target(&self, url: &str) -> Result<Target, String> {
        let mut target = Target::resolve(url, &self.path)?;
        target.insecure = self.insecure;
        target.authorities = self.ca.clone();
        Ok(target)
    }

    /// Moves these arguments into a plan, whose values stand unless given here.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn apply(&self, plan: &mut Plan) -> Result<(), String> {
        if let Some(auth) = &self.auth {
            crate::template::Template::parse(auth).map_err(|error| format!("--auth: {error}"))?;
            if !auth.trim_start().starts_with('{') {
                return Err(format!("--auth must be a JSON object, as in '{{\"token\":\"x\"}}', not {auth}"));
            }
            plan.auth = Some(auth.clone());
        }
        if let Some(namespace) = &self.namespace {
            plan.namespace = format!("/{}", namespace.trim_start_matches('/'));
        }
        plan.connect_rate = self.connect_rate.unwrap_or(plan.connect_rate);
        plan.transport = self.transport.unwrap_or(plan.transport);
        plan.parser = self.parser.unwrap_or(plan.parser);
        plan.headers.extend(self.headers.iter().cloned());
        plan.deflate |= self.deflate;
        plan.sources.extend(self.sources.iter().copied());
        plan.ports = self.ports.or(plan.ports);
        plan.connect_timeout_ms = (self.connect_timeout * 1e3) as u64;
        if self.reconnect && plan.reconnection.is_none() {
            plan.reconnection = Some(Reconnection::default());
        }
        if let Some(tick_us) = self.tick {
            if tick_us > 1_000_000 {
                return Err("--tick is in microseconds, and at most 1,000,000".to_owned());
            }
            plan.tick_us = tick_us;
        }
        spread_sources(plan);
        Ok(())
    }
}

/// Clients for each address on loopback: fewer than the ports at which the kernel begins to search (see `engine::ports`),
/// because there addresses cost nothing.
const LOOPBACK_PORTS: u32 = 14_000;

/// On loopback every address in 127.0.0.0/8 is ours: more of them carry more connections.
fn spread_sources(plan: &mut Plan) {
    let ports = plan.ports.map_or(LOOPBACK_PORTS, |ports| ports.count().min(LOOPBACK_PORTS));
    let IpAddr::V4(address) = plan.target.address.ip() else { return };
    let links = u64::from(plan.clients) * link_limits::links_per_client(plan);
    if address.is_loopback() && plan.sources.is_empty() && links > u64::from(ports) {
        let count = links.div_ceil(ports.into()).min(200);
        plan.sources = (0..count).map(|index| IpAddr::from([127, 0, 1, 1 + index as u8])).collect();
    }
}

impl RunArgs {
    /// The first that was given of what only a built-in scenario takes: in a file each action and phase has its own.
    pub fn only_for_builtin(&self) -> Option<&'static str> {
        let given = [
            (self.warmup.is_some(), "--warmup"),
            (self.size.is_some(), "--size"),
            (self.room_size.is_some(), "--room-size"),
            (self.senders.is_some(), "--senders"),
            (self.event.is_some(), "--event"),
            (self.reply.is_some(), "--reply"),
            (self.share.is_some(), "--share"),
        ];
        given.iter().find(|given| given.0).map(|given| given.1)
    }

    /// The numbers of a built-in scenario.
    pub fn settings(&self) -> Settings {
        let default = Settings::default();
        Settings {
            clients: self.clients.unwrap_or(default.clients),
            rate: self.rate,
            duration_ms: self.duration.map_or(default.duration_ms, |seconds| (seconds * 1e3) as u64),
            warmup_ms: self.warmup.map_or(default.warmup_ms, |seconds| (seconds * 1e3) as u64),
            size: self.size.unwrap_or(default.size),
            room_size: self.room_size.unwrap_or(default.room_size),
            senders: self.senders,
            event: self.event.clone(),
            reply: self.reply.clone(),
            share: self.share,
        }
    }
}

fn parse_transport(text: &str) -> Result<Transport, String> {
    match text {
        "websocket" => Ok(Transport::Websocket),
        "polling" => Ok(Transport::Polling),
        "upgrade" => Ok(Transport::Upgrade),
        _ => Err("there are websocket, polling and upgrade".to_owned()),
    }
}

fn parse_parser(text: &str) -> Result<Parser, String> {
    match text {
        "default" => Ok(Parser::Default),
        "msgpack" => Ok(Parser::Msgpack),
        _ => Err("there are default and msgpack".to_owned()),
    }
}

fn parse_ports(text: &str) -> Result<PortRange, String> {
    let range =
        text.split_once('-').and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
    match range {
        Some((low, high)) if 0 < low && low <= high => Ok(PortRange { low, high }),
        _ => Err("a range of ports is as in 20000-60000, from 1 to 65535".to_owned()),
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `Name: value`")?;
    if text.contains(['\r', '\n']) || name.trim().is_empty() {
        return Err("a header is one line, `Name: value`".to_owned());
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
