//! The load client: one thread, one epoll, every message checked.
//!
//! `options` says what is asked; `group` knows who sends to whom and what is owed; `connection` is one
//! client; `load` moves bytes and knows no scenario; this file is the scenarios, from the first connection
//! to the [`Report`].
mod connection;
mod fault_log;
mod group;
mod load;
pub mod options;
mod pace;

use crate::clock::now;
use crate::process::{
    CpuClock, pin_to_core, raise_open_files_limit, resident_bytes, sleep_count, thread_count, waiting_time,
};
use crate::report::{Connect, Idle, Report, Window};
use load::Load;
use options::{Options, Protocol, Scenario};
use std::io;
use std::time::{Duration, Instant};

/// How long to listen for duplicates after the last message.
const AFTERMATH: Duration = Duration::from_millis(200);

/// What `--announce` prints when the window begins.
pub const WINDOW_LINE: &str = "window";

/// Runs one scenario.
///
/// # Errors
/// When the run could not be made: options that contradict each other, no such process, no connection.
/// Faults of the server are not errors: they are in the report.
pub fn run(options: &Options) -> io::Result<Report> {
    let plan = options.groups().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    raise_open_files_limit()?;
    if let Some(core) = options.core {
        pin_to_core(core)?;
    }
    let mut report = Report {
        label: options.label.clone(),
        scenario: options.scenario.name().to_owned(),
        protocol: match options.protocol {
            Protocol::Socketio => "socketio",
            Protocol::Raw => "raw",
        }
        .to_owned(),
        clients: options.clients,
        size: options.size as usize,
        in_flight: options.rate.is_none().then_some(options.in_flight),
        rate_offered: options.rate,
        ..Report::default()
    };
    let run = Run { options, server: CpuClock::of(options.pid)?, stall: Duration::from_secs_f64(options.stall) };
    let mut load = Load::new(options, plan)?;
    match options.scenario {
        Scenario::Connect => {
            report.connect = run.connect(&mut load)?;
            report.server_threads = thread_count(options.pid)?;
            report.connect.leave_cpu_us = run.leave(&mut load)?;
        }
        Scenario::Idle => {
            let (connect, idle) = run.idle(&mut load)?;
            report.connect = connect;
            report.idle = Some(idle);
            report.server_threads = thread_count(options.pid)?;
        }
        _ => {
            report.connect = run.connect(&mut load)?;
            report.server_threads = thread_count(options.pid)?;
            report.window = Some(run.messages(&mut load)?);
        }
    }
    report.faults = load.faults();
    Ok(report)
}

struct Run<'a> {
    options: &'a Options,
    server: CpuClock,
    /// No delivery for so long means that the rest is lost.
    stall: Duration,
}

/// Clocks and counters at one instant.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    server: Duration,
    /// Of the threads that live, as `sleeps`: one that ends takes its share with it.
    waiting: Duration,
    sleeps: u64,
    client: Duration,
    counts: load::Counts,
}

impl Run<'_> {
    fn sample(&self, load: &Load) -> io::Result<Sample> {
        Ok(Sample {
            waiting: waiting_time(self.options.pid)?,
            sleeps: sleep_count(self.options.pid)?,
            at: now(),
            server: self.server.read()?,
            client: CpuClock::own().read()?,
            counts: load.counts(),
        })
    }

    fn connect(&self, load: &mut Load) -> io::Result<Connect> {
        load.reset_latencies();
        let clients = (self.options.clients - load.ready_count()) as f64;
        let before = self.sample(load)?;
        self.connect_up_to(load, self.options.clients)?;
        let after = self.sample(load)?;
        let seconds = (after.at - before.at).as_secs_f64();
        let cpu = (after.server - before.server).as_secs_f64();
        Ok(Connect {
            cpu_us: 1e6 * cpu / clients,
            rate: clients / seconds,
            latency_p50_us: load.latency_us(0.5),
            latency_p99_us: load.latency_us(0.99),
            leave_cpu_us: None,
            server_utilisation: cpu / seconds,
            client_utilisation: (after.client - before.client).as_secs_f64() / seconds,
        })
    }

    fn connect_up_to(&self, load: &mut Load, target: usize) -> io::Result<()> {
        let mut progress = (load.ready_count(), now());
        while load.ready_count() < target {
            let pending = load.opened_count() - load.ready_count();
            for _ in pending..self.options.connecting.max(1) {
                if load.opened_count() < target {
                    load.open()?;
                }
            }
            load.pump(Some(Duration::from_millis(10)))?;
            if load.faults().disconnected > 0 {
                return Err(io::Error::other(load.explain("the server closed a connection while clients connected")));
            }
            if load.ready_count() > progress.0 {
                progress = (load.ready_count(), now());
            } else if now() - progress.1 > self.stall {
                return Err(io::Error::other(load.explain("connecting makes no progress")));
            }
        }
        Ok(())
    }

    /// All clients leave; server CPU per client, microseconds; `None` when the server kept some.
    fn leave(&self, load: &mut Load) -> io::Result<Option<f64>> {
        let before = self.server.read()?;
        let deadline = now() + self.stall;
        load.leave();
        while load.leaving_count() > 0 && now() < deadline {
            load.pump(Some(Duration::from_millis(10)))?;
        }
        let is_complete = load.leaving_count() == 0;
        load.drop_connections();
        self.pump_for(load, AFTERMATH)?;
        let cpu = self.server.read()?.saturating_sub(before).as_secs_f64();
        Ok(is_complete.then_some(1e6 * cpu / self.options.clients as f64))
    }

    fn pump_for(&self, load: &mut Load, time: Duration) -> io::Result<()> {
        let end = now() + time;
        loop {
            let rest = end.saturating_duration_since(now());
            if rest.is_zero() {
                return Ok(());
            }
            load.pump(Some(rest))?;
        }
    }

    fn idle(&self, load: &mut Load) -> io::Result<(Connect, Idle)> {
        let options = self.options;
        let settle = Duration::from_secs_f64(options.settle);
        let clients = options.clients as f64;
        let half = options.clients / 2;
        let rss_before = resident_bytes(options.pid)?;
        self.connect_up_to(load, half)?;
        self.pump_for(load, settle)?;
        let rss_half = resident_bytes(options.pid)?;
        let connect = self.connect(load)?;
        self.pump_for(load, settle)?;
        let before = self.sample(load)?;
        self.pump_for(load, Duration::from_secs_f64(options.seconds))?;
        let after = self.sample(load)?;
        let rss_all = resident_bytes(options.pid)?;
        self.leave(load)?;
        self.pump_for(load, settle)?;
        let rss_after = resident_bytes(options.pid)?;
        let grown = |from: u64, to: u64| to as f64 - from as f64;
        let cpu = (after.server - before.server).as_secs_f64();
        let idle = Idle {
            rss_before,
            rss_half,
            rss_all,
            rss_after,
            rss_per_connection: grown(rss_before, rss_all) / clients,
            rss_per_connection_marginal: grown(rss_half, rss_all) / (options.clients - half) as f64,
            cpu_us_per_connection_second: 1e6 * cpu / clients / (after.at - before.at).as_secs_f64(),
        };
        Ok((connect, idle))
    }

    fn messages(&self, load: &mut Load) -> io::Result<Window> {
        let warmup = Duration::from_secs_f64(self.options.warmup);
        let length = Duration::from_secs_f64(self.options.seconds);
        load.start_sending(now())?;
        let start = now();
        self.pump_while(load, |load, at| at - start < warmup && !load.is_broken())?;
        load.reset_latencies();
        if self.options.announce {
            println!("{WINDOW_LINE}");
        }
        let before = self.sample(load)?;
        let message_end = self.options.messages.map_or(u64::MAX, |count| before.counts.messages + count);
        self.pump_while(load, |load, at| {
            at - before.at < length && load.counts().messages < message_end && !load.is_broken()
        })?;
        let after = self.sample(load)?;
        let window = summarise(load, before, after);
        load.stop_sending();
        self.pump_while(load, |load, _| load.in_flight_count() > 0 && !load.is_broken())?;
        self.pump_for(load, AFTERMATH)?;
        load.count_lost();
        Ok(window)
    }

    /// Pumps until `condition` fails or nothing has been delivered for `stall` although something is owed.
    fn pump_while(&self, load: &mut Load, condition: impl Fn(&Load, Instant) -> bool) -> io::Result<()> {
        let mut progress = (load.counts().deliveries, now());
        loop {
            let at = now();
            if !condition(load, at) {
                return Ok(());
            }
            if load.counts().deliveries != progress.0 || load.in_flight_count() == 0 {
                progress = (load.counts().deliveries, at);
            } else if at - progress.1 > self.stall {
                return Ok(());
            }
            load.send_due(at)?;
            load.pump(load.wait_limit(at))?;
        }
    }
}

fn summarise(load: &Load, before: Sample, after: Sample) -> Window {
    let seconds = (after.at - before.at).as_secs_f64();
    let messages = after.counts.messages - before.counts.messages;
    let deliveries = after.counts.deliveries - before.counts.deliveries;
    let reads = after.counts.reads - before.counts.reads;
    let cpu = (after.server - before.server).as_secs_f64();
    let per = |total: f64, count: u64| {
        if count == 0 { 0.0 } else { total / count as f64 }
    };
    Window {
        seconds,
        messages,
        deliveries,
        cpu_us_per_message: per(1e6 * cpu, messages),
        cpu_us_per_delivery: per(1e6 * cpu, deliveries),
        deliveries_per_second: deliveries as f64 / seconds,
        server_utilisation: cpu / seconds,
        server_waiting: after.waiting.saturating_sub(before.waiting).as_secs_f64() / seconds,
        client_utilisation: (after.client - before.client).as_secs_f64() / seconds,
        deliveries_per_read: per(deliveries as f64, reads),
        latency_p50_us: load.latency_us(0.5),
        latency_p99_us: load.latency_us(0.99),
        latency_max_us: load.latency_us(1.0),
        sleeps_per_delivery: per(after.sleeps.saturating_sub(before.sleeps) as f64, deliveries),
    }
}
