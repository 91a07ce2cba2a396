//! Conducts a run: starts workers, tells them what to do, gathers what they say, watches the server.
//!
//! ```text
//! grow (connect) -> phase -> phase -> ... -> finish: drain, settle, stop -> Outcome
//! ```
//!
//! Whatever happens, what has been measured so far becomes an [`Outcome`]: an interrupted run, or one whose server died,
//! is reported as far as it came.

use crate::clock::{SECOND_NS, now_ns};
use crate::engine::stats::{Counts, Stats, add_histogram, histogram};
use crate::engine::verify::Faults;
use crate::engine::{self, Command, Report, Share, Totals};
use crate::failure::{Class, Failure, Failures};
use crate::plan::{Phase, Plan};
use crate::report::outcome::{FORMAT, Outcome, Percentiles, PhaseOutcome, SecondOutcome, distribution, millis};
use crate::saturation;
use crate::server_process::{Reading, ServerProcess};
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clients that one worker drives before another one is started, if there are cores.
const CLIENTS_PER_WORKER: u32 = 20_000;
/// The longest wait for workers to finish.
const FINISH_NS: u64 = 20 * SECOND_NS;

/// Who watches while a run goes on. All methods do nothing unless implemented.
pub trait Observer {
    /// A phase begins.
    fn phase(&mut self, _phase: &Phase) {}
    /// A second has ended.
    fn second(&mut self, _second: &SecondOutcome) {}
    /// Something worth a line.
    fn say(&mut self, _text: &str) {}
}

/// Watches nothing.
#[derive(Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// What the conductor is given besides the plan.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Threads. None: one for every 20,000 clients, at most half the cores.
    pub workers: Option<u32>,
    /// Processes of the server. Empty: looked for by its port.
    pub pids: Vec<u32>,
    /// Set when the run is to end early.
    pub interrupted: Arc<AtomicBool>,
}

/// One second, gathered from all workers.
struct Gathered {
    counts: Counts,
    latency: Histogram<u64>,
    ready: u32,
    faults: u64,
    busiest_cpu_ns: u64,
    workers: u32,
}

struct PhaseRecord {
    phase: Phase,
    start_ns: u64,
    end_ns: u64,
    server: (Option<Reading>, Option<Reading>),
    verdict: Option<String>,
}

/// A quick look at what a phase has shown so far, from the seconds that ended within it.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Latency of deliveries.
    pub latency: Percentiles,
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
    plan: Plan,
    options: RunOptions,
    observer: &'a mut dyn Observer,
    epoch_ns: u64,
    started_unix_ms: u64,
    commands: Vec<Sender<Command>>,
    threads: Vec<JoinHandle<()>>,
    reports: Receiver<Report>,
    server: Option<ServerProcess>,
    readings: BTreeMap<u64, Reading>,
    gathered: BTreeMap<u64, Gathered>,
    series: Vec<SecondOutcome>,
    phases: Vec<PhaseRecord>,
    grown: Vec<u32>,
    drained: Vec<HashMap<(u32, u8), u32>>,
    totals: Vec<Totals>,
    broken: Option<Failure>,
    notes: Vec<String>,
    failed_recently: Failures,
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
        let workers = options.workers.unwrap_or(wanted).max(1);
        // Small groups stay with one worker, so that what they say to each other stays in one loop.
        let unit = if plan.group_size <= plan.clients.div_ceil(workers * 4).max(1) { plan.group_size } else { 1 };
        let (report_sender, reports) = mpsc::channel();
        let epoch_ns = now_ns();
        let mut commands = Vec::new();
        let mut threads = Vec::new();
        for worker in 0..workers {
            let (command_sender, command_receiver) = mpsc::channel();
            let (plan, reports) = (plan.clone(), report_sender.clone());
            let share = Share { worker, workers, unit };
            let thread = std::thread::Builder::new().name(format!("load-{worker}")).spawn(move || {
                engine::work(&plan, share, epoch_ns, &command_receiver, &reports);
            });
            threads.push(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
            commands.push(command_sender);
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
            totals: Vec::new(),
            broken: None,
            notes: Vec::new(),
            failed_recently: Failures::default(),
        };
        conductor.sample_server();
        Ok(conductor)
    }

    /// Nanoseconds since the run began.
    fn now(&self) -> u64 {
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
        self.tell(&Command::Grow(count));
        let limit_ns = self.now()
            + (f64::from(count) / self.plan.connect_rate.max(1e-3) * 1e9) as u64
            + self.plan.connect_timeout_ms * 1_000_000
            + 2 * SECOND_NS;
        let workers = self.commands.len();
        self.pump(|conductor| conductor.grown.len() == workers || conductor.now() > limit_ns);
        self.grown.iter().sum()
    }

    /// Runs a phase to its end, or until the run is over.
    pub fn phase(&mut self, phase: &Phase) {
        self.observer.phase(phase);
        let start_ns = self.now() + 2_000_000;
        let before = self.sample_server();
        self.tell(&Command::Phase(phase.clone(), start_ns));
        let end_ns = start_ns + phase.duration_ms * 1_000_000;
        self.phases.push(PhaseRecord { phase: phase.clone(), start_ns, end_ns, server: (before, None), verdict: None });
        self.pump(|conductor| conductor.now() >= end_ns);
        let after = self.sample_server();
        let end_ns = end_ns.min(self.now());
        if let Some(record) = self.phases.last_mut() {
            record.end_ns = end_ns;
            record.server.1 = after;
        }
    }

    /// What the phase that ran last has shown. Waits up to a second for its last second to be reported.
    pub fn glance(&mut self) -> Glance {
        let (start_ns, end_ns) = self.phases.last().map_or((0, 0), |record| (record.start_ns, record.end_ns));
        // The last second that ended within the phase is reported a moment later.
        let (workers, last) = (self.commands.len() as u32, (end_ns / SECOND_NS).saturating_sub(1));
        let limit_ns = self.now() + SECOND_NS;
        self.pump(|conductor| {
            let is_reported = |second: &Gathered| second.workers >= workers;
            conductor.gathered.get(&last).is_some_and(is_reported) || conductor.now() > limit_ns
        });
        self.glance_at(start_ns, end_ns)
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

    fn glance_at(&self, start_ns: u64, end_ns: u64) -> Glance {
        let mut latency = histogram();
        let mut glance = Glance {
            latency: Percentiles::default(),
            sent: 0,
            received: 0,
            failed: 0,
            faults: 0,
            ready: 0,
            generator_cpu: 0.0,
        };
        for (_, second) in self.gathered.range(start_ns / SECOND_NS..end_ns / SECOND_NS) {
            add_histogram(&mut latency, &second.latency);
            glance.sent += second.counts.sent;
            glance.received += second.counts.received;
            glance.failed += second.counts.failed;
            glance.faults += second.faults;
            glance.ready = second.ready;
            glance.generator_cpu = glance.generator_cpu.max(second.busiest_cpu_ns as f64 / 1e7);
        }
        glance.latency = Percentiles::of(&latency);
        glance
    }

    /// Takes reports in until `is_done` or the run is over.
    fn pump(&mut self, is_done: impl Fn(&Self) -> bool) {
        while !is_done(self) && !self.is_over() {
            self.pump_once();
        }
    }

    fn pump_once(&mut self) {
        match self.reports.recv_timeout(Duration::from_millis(10)) {
            Ok(report) => self.take(report),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
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
            Report::Drained(sent) => self.drained.push(sent),
            Report::Done(totals) => self.totals.push(*totals),
            Report::Broken(failure) => self.broken = Some(failure),
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
                if gathered.workers as usize == self.commands.len() {
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

    /// Waits for answers, counts what is missing, lets everybody leave, and sums up.
    pub fn finish(mut self) -> Outcome {
        let was_interrupted = self.options.interrupted.load(Ordering::Relaxed);
        if was_interrupted {
            self.note("interrupted: what was measured until then follows".to_owned());
        }
        // From here on an interruption only shortens what is left.
        self.options.interrupted = Arc::new(AtomicBool::new(false));
        let workers = self.commands.len();
        let limit_ns = self.now() + FINISH_NS;
        if !self.plan.actions.is_empty() && self.broken.is_none() {
            self.tell(&Command::Drain);
            self.pump(|conductor| conductor.drained.len() == workers || conductor.now() > limit_ns);
            let sent = self.drained.drain(..).flatten().collect();
            self.tell(&Command::Settle(Arc::new(sent)));
        }
        self.tell(&Command::Stop);
        while self.totals.len() < workers && self.broken.is_none() && self.now() < limit_ns {
            self.pump_once();
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

    fn sum_up(mut self, was_interrupted: bool) -> Outcome {
        let mut faults = Faults::default();
        let mut failures = Failures::default();
        let mut first_fault = None;
        let mut stats: Vec<Stats> = Vec::new();
        for totals in &self.totals {
            faults.add(&totals.faults);
            failures.add(&totals.failures);
            first_fault = first_fault.or_else(|| totals.first_fault.clone());
            for (index, phase) in totals.phases.iter().enumerate() {
                match stats.get_mut(index) {
                    Some(sum) => sum.add(phase),
                    None => stats.push(phase.clone()),
                }
            }
        }
        let first_ns = self.phases.first().map_or(self.now(), |record| record.start_ns);
        let connecting = PhaseRecord {
            phase: Phase::new("connect", first_ns / 1_000_000, 0.0, self.plan.clients).unmeasured(),
            start_ns: 0,
            end_ns: first_ns,
            server: (None, None),
            verdict: None,
        };
        let mut total = Stats::new(self.plan.actions.len());
        let mut measured =
            PhaseOutcome { name: "all measured phases".to_owned(), measured: true, ..Default::default() };
        let mut seconds = 0.0;
        let mut phases = Vec::new();
        let records: Vec<&PhaseRecord> = [&connecting].into_iter().chain(&self.phases).collect();
        for (record, stats) in records.into_iter().zip(&stats) {
            let outcome = self.phase_outcome(record, stats);
            if record.phase.measured {
                total.add(stats);
                seconds += outcome.seconds;
                measured.rate_offered += outcome.rate_offered * outcome.seconds;
                measured.clients = measured.clients.max(outcome.clients);
                measured.generator_cpu = measured.generator_cpu.max(outcome.generator_cpu);
                measured.server_rss = measured.server_rss.max(outcome.server_rss);
                let cpu = outcome.server_cpu.map(|cpu| cpu * outcome.seconds);
                measured.server_cpu = cpu.map(|cpu| cpu + measured.server_cpu.unwrap_or(0.0));
            }
            phases.push(outcome);
        }
        if let Some(connect) = stats.first() {
            // Connecting is what comes before the first phase, and counts in every scenario.
            add_histogram(&mut total.connect, &connect.connect);
        }
        measured.set_counts(&total.counts, seconds);
        if seconds > 0.0 {
            measured.rate_offered /= seconds;
            measured.server_cpu = measured.server_cpu.map(|cpu| cpu / seconds);
        }
        self.set_distributions(&mut measured, &total);
        let mut outcome = Outcome {
            format: FORMAT,
            tool: format!("ringio-loadtest {}", env!("CARGO_PKG_VERSION")),
            scenario: self.plan.name.clone(),
            url: self.plan.target.url.clone(),
            transport: format!("{:?}", self.plan.transport).to_lowercase(),
            started_unix_ms: self.started_unix_ms,
            seconds: self.now() as f64 / 1e9,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            workers: self.totals.len() as u32,
            server_pids: self.server.as_ref().map(ServerProcess::pids).unwrap_or_default(),
            is_complete: !was_interrupted && self.notes.is_empty(),
            notes: std::mem::take(&mut self.notes),
            verdict: String::new(),
            faults,
            first_fault,
            failures,
            total: measured,
            phases,
            series: std::mem::take(&mut self.series),
        };
        outcome.notes.extend(saturation::notes(&outcome));
        outcome
    }

    fn phase_outcome(&self, record: &PhaseRecord, stats: &Stats) -> PhaseOutcome {
        let seconds = (record.end_ns - record.start_ns) as f64 / 1e9;
        let mut outcome = PhaseOutcome {
            name: record.phase.name.clone(),
            measured: record.phase.measured,
            start: record.start_ns as f64 / 1e9,
            clients: record.phase.clients,
            rate_offered: (record.phase.rate + record.phase.rate_end) / 2.0,
            verdict: record.verdict.clone(),
            ..PhaseOutcome::default()
        };
        outcome.set_counts(&stats.counts, seconds);
        if let (Some(before), Some(after)) = record.server {
            outcome.server_cpu = Some((after.cpu_ns - before.cpu_ns) as f64 / 1e7 / seconds.max(1e-3));
            outcome.server_rss = Some(after.rss_bytes);
        }
        let within = self.gathered.range(record.start_ns / SECOND_NS..record.end_ns.div_ceil(SECOND_NS));
        outcome.generator_cpu = within.map(|second| second.1.busiest_cpu_ns as f64 / 1e7).fold(0.0, f64::max);
        self.set_distributions(&mut outcome, stats);
        outcome
    }

    fn set_distributions(&self, outcome: &mut PhaseOutcome, stats: &Stats) {
        let all = stats.latency_of_all();
        outcome.latency = Percentiles::of(&all);
        outcome.distribution = distribution(&all);
        let names = self.plan.actions.iter().map(|action| action.name.clone());
        outcome.actions = names.zip(stats.latency.iter().map(Percentiles::of)).collect();
        outcome.connect = Percentiles::of(&stats.connect);
        outcome.reconnect = Percentiles::of(&stats.reconnect);
        outcome.lag = Percentiles::of(&stats.lag);
    }
}

/// Runs a plan from its first connection to its last phase.
///
/// # Errors
/// A sentence for the operator when the run could not begin: no client could connect, for one.
pub fn run(plan: Plan, phases: &[Phase], options: RunOptions, observer: &mut dyn Observer) -> Result<Outcome, String> {
    check_target(&plan)?;
    let first = phases.first().map_or(plan.clients, |phase| phase.clients.min(plan.clients));
    let mut conductor = Conductor::start(plan, options, observer)?;
    let ready = conductor.grow(first);
    let is_churn = conductor.plan.lifetime_ms.is_some();
    if ready < first && !is_churn && !conductor.is_over() {
        conductor.note(format!("{ready} of {first} clients could connect"));
    }
    if ready > 0 || is_churn {
        for phase in phases {
            if conductor.is_over() {
                break;
            }
            conductor.phase(phase);
        }
    }
    Ok(conductor.finish())
}

/// Connects one client as the plan says, so that a wrong address is told in one sentence and not by thousands of failures.
///
/// # Errors
/// That sentence.
pub fn check_target(plan: &Plan) -> Result<(), String> {
    let mut plan = plan.clone();
    plan.actions.clear();
    plan.setup.clear();
    plan.reconnection = None;
    plan.lifetime_ms = None;
    plan.connect_timeout_ms = plan.connect_timeout_ms.min(10_000);
    let url = plan.target.url.clone();
    let options = RunOptions { workers: Some(1), ..RunOptions::default() };
    let mut unobserved = Unobserved;
    let mut conductor = Conductor::start(plan, options, &mut unobserved)?;
    let ready = conductor.grow(1);
    let broken = conductor.broken.take();
    let outcome = conductor.finish();
    if ready > 0 {
        return Ok(());
    }
    let seen = outcome.failures.0.iter().next().map(|(class, counted)| format!("{class}: {}", counted.first));
    let seen = seen.or_else(|| broken.map(|failure| failure.to_string()));
    Err(format!("{url}: no client can connect. {}", seen.unwrap_or_else(|| "No answer came.".to_owned())))
}
