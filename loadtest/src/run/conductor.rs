//! Conducts a run: starts workers, tells them what to do, gathers what they say, watches the server.

use super::{Observer, RunOptions};
use crate::clock::{SECOND_NS, now_ns};
use crate::engine::mailbox::Mailbox;
use crate::engine::stats::{Counts, Stats, add_histogram, histogram};
use crate::engine::{self, Command, Report, Sent, Share, Totals, remote};
use crate::failure::{Class, Failure, Failures};
use crate::plan::{Phase, Plan};
use crate::report::outcome::{Outcome, Percentiles, SecondOutcome, millis};
use crate::server_process::{Reading, ServerProcess};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clients that one worker drives before another one is started, if there are cores.
const CLIENTS_PER_WORKER: u32 = 20_000;
/// The longest wait for workers to finish.
const FINISH_NS: u64 = 20 * SECOND_NS;

/// How long an interruption may go unnoticed.
const PATIENCE_NS: u64 = 100_000_000;

/// How long before its beginning workers are told of a phase.
const THREAD_LEAD_NS: u64 = 5_000_000;
const PROCESS_LEAD_NS: u64 = 100_000_000;

/// One second, gathered from all workers.
pub(super) struct Gathered {
    pub(super) counts: Counts,
    pub(super) latency: Histogram<u64>,
    pub(super) ready: u32,
    pub(super) faults: u64,
    pub(super) busiest_cpu_ns: u64,
    pub(super) workers: u32,
}

pub(super) struct PhaseRecord {
    pub(super) phase: Phase,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) server: (Option<Reading>, Option<Reading>),
    pub(super) verdict: Option<String>,
}

/// A quick look at what a phase has shown.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Latency of deliveries.
    pub latency: Percentiles,
    /// How late messages were sent.
    pub lag: Percentiles,
    /// Messages sent.
    pub sent: u64,
    /// Deliveries.
    pub received: u64,
    /// Connections that failed or were lost.
    pub failed: u64,
    /// Faults of messages.
    pub faults: u64,
    /// Clients ready at the end.
    pub ready: u32,
    /// CPU of the busiest worker. Percent.
    pub generator_cpu: f64,
}

/// A run that goes on.
pub struct Conductor<'a> {
    pub(super) plan: Plan,
    pub(super) options: RunOptions,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) epoch_ns: u64,
    pub(super) started_unix_ms: u64,
    pub(super) commands: Vec<Mailbox>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) reports: Receiver<Report>,
    pub(super) server: Option<ServerProcess>,
    pub(super) readings: BTreeMap<u64, Reading>,
    pub(super) gathered: BTreeMap<u64, Gathered>,
    pub(super) series: Vec<SecondOutcome>,
    pub(super) phases: Vec<PhaseRecord>,
    pub(super) grown: Vec<u32>,
    pub(super) drained: Vec<Vec<Sent>>,
    pub(super) looked: Vec<Stats>,
    pub(super) totals: Vec<Totals>,
    /// Workers that will say nothing more, without totals.
    pub(super) lost: usize,
    pub(super) broken: Option<Failure>,
    pub(super) notes: Vec<String>,
    pub(super) failed_recently: Failures,
}

impl<'a> Conductor<'a> {
    /// Starts the workers. They do nothing yet.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn start(plan: Plan, options: RunOptions, observer: &'a mut dyn Observer) -> Result<Self, String> {
        let server = ServerProcess::find(&options.pids, plan.target.address)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        let wanted = plan.clients.div_ceil(CLIENTS_PER_WORKER).min(cores / 2).max(1);
        let workers = if options.processes > 0 { options.processes } else { options.workers.unwrap_or(wanted).max(1) };
        // Small groups stay with one worker, so that what they say to each other stays in one loop.
        let unit = if plan.group_size <= plan.clients.div_ceil(workers * 4).max(1) { plan.group_size } else { 1 };
        let (report_sender, reports) = mpsc::channel();
        let epoch_ns = now_ns();
        let mut commands = Vec::new();
        let (mut threads, mut worker_pids) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let (plan, reports) = (plan.clone(), report_sender.clone());
            let share = Share { worker, workers, unit };
            let thread = std::thread::Builder::new().name(format!("load-{worker}"));
            let (mailbox, thread) = if options.processes > 0 {
                let remote = remote::spawn(&program_of(&options)?, &plan, share, epoch_ns)?;
                worker_pids.push(remote.pid());
                let (mailbox, commands) = Mailbox::of_channel();
                (mailbox, thread.spawn(move || remote.relay(commands, &reports)))
            } else {
                let (mailbox, inbox) = Mailbox::new().map_err(|failure| failure.to_string())?;
                (mailbox, thread.spawn(move || engine::work(&plan, share, epoch_ns, inbox, &reports)))
            };
            threads.push(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
            commands.push(mailbox);
        }
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut conductor = Self {
            plan,
            options,
            observer,
            epoch_ns,
            started_unix_ms: started.as_millis() as u64,
            commands,
            threads,
            reports,
            server,
            readings: BTreeMap::new(),
            gathered: BTreeMap::new(),
            series: Vec::new(),
            phases: Vec::new(),
            grown: Vec::new(),
            drained: Vec::new(),
            looked: Vec::new(),
            totals: Vec::new(),
            lost: 0,
            broken: None,
            notes: Vec::new(),
            failed_recently: Failures::default(),
        };
        if !worker_pids.is_empty() {
            let pids: Vec<String> = worker_pids.iter().map(u32::to_string).collect();
            conductor.say(&format!("{workers} worker processes: {}", pids.join(", ")));
        }
        conductor.sample_server();
        Ok(conductor)
    }

    /// Nanoseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        now_ns() - self.epoch_ns
    }

    /// Whether the run is to end: interrupted, or a worker could not go on.
    pub fn is_over(&self) -> bool {
        self.options.interrupted.load(Ordering::Relaxed) || self.broken.is_some()
    }

    /// The workers in use.
    pub fn worker_count(&self) -> u32 {
        self.commands.len() as u32
    }

    /// Adds a remark to the outcome.
    pub fn note(&mut self, text: String) {
        self.observer.say(&text);
        self.notes.push(text);
    }

    /// Says something to whoever watches.
    pub fn say(&mut self, text: &str) {
        self.observer.say(text);
    }

    fn tell(&self, command: &Command) {
        for sender in &self.commands {
            // A worker that has ended has said why.
            let _ = sender.send(command.clone());
        }
    }

    /// Connects clients until there are `count`, and returns how many are ready. Failures are counted, not repeated.
    pub fn grow(&mut self, count: u32) -> u32 {
        self.grown.clear();
        self.observer.growing(count);
        self.tell(&Command::Grow(count));
        let limit_ns = self.now()
            + (f64::from(count) / self.plan.connect_rate.max(1e-3) * 1e9) as u64
            + self.plan.connect_timeout_ms * 1_000_000
            + 2 * SECOND_NS;
        let workers = self.commands.len();
        self.pump(limit_ns, |conductor| conductor.grown.len() == workers);
        self.grown.iter().sum()
    }

    /// Begins a stretch without messages, which lasts until the next phase: what happens meanwhile is counted as its own.
    pub fn interlude(&mut self, name: &str, clients: u32) {
        let phase = Phase::new(name, 0, 0.0, clients).unmeasured();
        let start_ns = self.now();
        self.tell(&Command::Phase(phase.clone(), start_ns));
        self.phases.push(PhaseRecord { phase, start_ns, end_ns: start_ns, server: (None, None), verdict: None });
    }

    /// Runs a phase to its end, or until the run is over.
    pub fn phase(&mut self, phase: &Phase) {
        self.observer.phase(phase);
        // Every worker is to know of the phase before it begins: one that comes late sends its first messages late, which would be
        // our doing.
        let start_ns = self.now() + if self.options.processes > 0 { PROCESS_LEAD_NS } else { THREAD_LEAD_NS };
        let before = self.sample_server();
        self.tell(&Command::Phase(phase.clone(), start_ns));
        let end_ns = start_ns + phase.duration_ms * 1_000_000;
        if let Some(interlude) = self.phases.last_mut().filter(|record| record.phase.duration_ms == 0) {
            interlude.end_ns = start_ns;
        }
        self.phases.push(PhaseRecord { phase: phase.clone(), start_ns, end_ns, server: (before, None), verdict: None });
        self.pump(end_ns, |_| false);
        let after = self.sample_server();
        let end_ns = end_ns.min(self.now());
        if let Some(record) = self.phases.last_mut() {
            record.end_ns = end_ns;
            record.server.1 = after;
        }
    }

    /// What the phase that ran last has shown, counting answers that come up to `grace_ms` after its end.
    pub fn glance(&mut self, grace_ms: u64) -> Glance {
        let (start_ns, end_ns) = self.phases.last().map_or((0, 0), |record| (record.start_ns, record.end_ns));
        self.pump(end_ns + grace_ms * 1_000_000, |_| false);
        self.looked.clear();
        self.tell(&Command::Look);
        // A worker that takes longer is missing here, as it is from the answers in time.
        let limit_ns = self.now() + 2 * SECOND_NS;
        self.pump(limit_ns, |conductor| conductor.looked.len() >= conductor.commands.len());
        let mut stats = Stats::new(self.plan.actions.len());
        for part in self.looked.drain(..) {
            stats.add(&part);
        }
        let mut glance = Glance {
            latency: Percentiles::of(&stats.latency_of_all()),
            lag: Percentiles::of(&stats.lag),
            sent: stats.counts.sent,
            received: stats.counts.received,
            failed: stats.counts.failed,
            faults: 0,
            ready: 0,
            generator_cpu: 0.0,
        };
        for (_, second) in self.gathered.range(start_ns / SECOND_NS..end_ns / SECOND_NS) {
            glance.faults += second.faults;
            glance.ready = second.ready;
            glance.generator_cpu = glance.generator_cpu.max(second.busiest_cpu_ns as f64 / 1e7);
        }
        glance
    }

    /// Keeps what was concluded from the phase that ran last.
    pub fn judge(&mut self, verdict: &str) {
        if let Some(record) = self.phases.last_mut() {
            record.verdict = Some(verdict.to_owned());
        }
    }

    /// Failures of connections since this was last asked.
    pub fn take_failures(&mut self) -> Failures {
        std::mem::take(&mut self.failed_recently)
    }

    /// Takes reports in until `is_done`, until that time, or until the run is over.
    fn pump(&mut self, until_ns: u64, is_done: impl Fn(&Self) -> bool) {
        while !is_done(self) && self.now() < until_ns && !self.is_over() {
            self.pump_once(until_ns);
        }
    }

    /// Waits for one report, no longer than until then, and no longer than the second: the server is looked at in each.
    fn pump_once(&mut self, until_ns: u64) {
        let now = self.now();
        let end_ns = until_ns.min(now + PATIENCE_NS).min((now / SECOND_NS + 1) * SECOND_NS);
        match self.reports.recv_timeout(Duration::from_nanos(end_ns.saturating_sub(now))) {
            Ok(report) => self.take(report),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // A panic of a thread: it said goodbye to nobody.
                self.lost = self.commands.len() - self.totals.len();
                if self.broken.is_none() {
                    self.broken = Some(Failure::new(Class::Protocol, "all workers have ended"));
                }
            }
        }
        if !self.readings.contains_key(&(self.now() / SECOND_NS)) {
            self.sample_server();
        }
    }

    /// Reads the server's figures. The first reading of each second is kept for the series.
    fn sample_server(&mut self) -> Option<Reading> {
        let reading = self.server.as_ref()?.read()?;
        let second = self.now() / SECOND_NS;
        self.readings.entry(second).or_insert(reading);
        Some(reading)
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Grown { ready } => self.grown.push(ready),
            Report::Looked(stats) => self.looked.push(*stats),
            Report::Drained(sent) => self.drained.push(sent),
            Report::Done(totals) => self.totals.push(*totals),
            Report::Broken(failure) => {
                self.lost += 1;
                self.broken = Some(failure);
            }
            Report::Second(second) => {
                let gathered = self.gathered.entry(second.index).or_insert_with(|| Gathered {
                    counts: Counts::default(),
                    latency: histogram(),
                    ready: 0,
                    faults: 0,
                    busiest_cpu_ns: 0,
                    workers: 0,
                });
                gathered.counts.add(&second.counts);
                add_histogram(&mut gathered.latency, &second.latency);
                gathered.ready += second.ready;
                gathered.faults += second.faults.total();
                gathered.busiest_cpu_ns = gathered.busiest_cpu_ns.max(second.cpu_ns);
                gathered.workers += 1;
                self.failed_recently.add(&second.failures);
                if gathered.workers as usize + self.lost >= self.commands.len() {
                    self.publish(second.index);
                }
            }
        }
    }

    fn publish(&mut self, index: u64) {
        // The reading that ends this second is the first one of the next.
        self.sample_server();
        let Some(gathered) = self.gathered.get(&index) else { return };
        let end_ns = (index + 1) * SECOND_NS;
        let phase = self.phases.iter().rev().find(|record| record.start_ns < end_ns);
        let is_empty = gathered.latency.is_empty();
        let at = |quantile| (!is_empty).then(|| millis(gathered.latency.value_at_quantile(quantile)));
        let reading = |second| self.readings.get(&second);
        let server_cpu = reading(index).zip(reading(index + 1)).map(|(before, after)| {
            // Readings are a second apart but for scheduling, which evens out over the series.
            after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e7
        });
        let second = SecondOutcome {
            second: index,
            phase: phase.map_or("connect", |record| &record.phase.name).to_owned(),
            measured: phase.is_some_and(|record| record.phase.measured && end_ns <= record.end_ns + SECOND_NS),
            ready: gathered.ready,
            sent: gathered.counts.sent,
            received: gathered.counts.received,
            connected: gathered.counts.connected,
            failed: gathered.counts.failed,
            faults: gathered.faults,
            p50: at(0.5),
            p99: at(0.99),
            max: (!is_empty).then(|| millis(gathered.latency.max())),
            server_cpu,
            server_rss: reading(index + 1).or(reading(index)).map(|reading| reading.rss_bytes),
            generator_cpu: gathered.busiest_cpu_ns as f64 / 1e7,
            bytes_in: gathered.counts.bytes_in,
            bytes_out: gathered.counts.bytes_out,
        };
        self.observer.second(&second);
        self.series.push(second);
    }

    /// What all workers sent to groups, as far as they say so in time.
    fn gather_sent(&mut self, limit_ns: u64) -> Vec<Sent> {
        while self.drained.len() + self.lost < self.commands.len() && self.now() < limit_ns {
            self.pump_once(limit_ns);
        }
        self.drained.drain(..).flatten().collect()
    }

    /// Waits for answers, counts what is missing, lets everybody leave, and sums up.
    pub fn finish(mut self) -> Outcome {
        let was_interrupted = self.options.interrupted.load(Ordering::Relaxed);
        if was_interrupted {
            self.note("interrupted: what was measured until then follows".to_owned());
        }
        // From here on an interruption only shortens what is left, and a worker that is gone does not stop the others.
        self.options.interrupted = Arc::new(AtomicBool::new(false));
        if let Some(failure) = self.broken.take() {
            self.notes.push(format!("the load generator could not go on: {failure}"));
        }
        let workers = self.commands.len();
        let limit_ns = self.now() + FINISH_NS;
        if !self.plan.actions.is_empty() {
            self.tell(&Command::Drain);
            let sent = self.gather_sent(limit_ns);
            self.tell(&Command::Await(sent));
            let sent = self.gather_sent(limit_ns);
            self.tell(&Command::Settle(sent));
        }
        self.tell(&Command::Stop);
        while self.totals.len() + self.lost < workers && self.now() < limit_ns {
            self.pump_once(limit_ns);
        }
        if let Some(failure) = self.broken.take() {
            self.notes.push(format!("the load generator could not go on: {failure}"));
        }
        self.commands.clear();
        for thread in self.threads.drain(..) {
            // A panic has printed its message; the totals of that worker are missing, and the outcome says so.
            let _ = thread.join();
        }
        if self.totals.len() < workers {
            self.notes.push(format!("{} of {workers} workers did not report", workers - self.totals.len()));
        }
        self.sum_up(was_interrupted)
    }
}

fn program_of(options: &RunOptions) -> Result<PathBuf, String> {
    match &options.program {
        Some(program) => Ok(program.clone()),
        None => std::env::current_exe().map_err(|error| format!("this program cannot find itself: {error}")),
    }
}
