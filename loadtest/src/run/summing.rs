//! What a run's workers counted and its phases showed, as one [`Outcome`].

use super::conductor::{Conductor, PhaseRecord};
use crate::clock::SECOND_NS;
use crate::engine::stats::{Stats, add_histogram};
use crate::engine::verify::Faults;
use crate::failure::Failures;
use crate::plan::Phase;
use crate::report::outcome::{FORMAT, Outcome, Percentiles, PhaseOutcome, distribution};
use crate::saturation;
use crate::server_process::ServerProcess;

/// Messages per second that were due on average in the first `seconds` of a phase, whose rate moves evenly to its end.
fn rate_offered(phase: &Phase, seconds: f64) -> f64 {
    let progress = (seconds * 1e3 / (phase.duration_ms as f64).max(1.0)).min(1.0);
    phase.rate + (phase.rate_end - phase.rate) * progress / 2.0
}

impl Conductor<'_> {
    pub(super) fn sum_up(mut self, was_interrupted: bool) -> Outcome {
        let ready: u32 = self.totals.iter().map(|totals| totals.ready).sum();
        if self.notes.is_empty() && ready == 0 && self.plan.lifetime_ms.is_none() {
            let has_stormed = self.phases.iter().any(|record| record.phase.storm_share > 0.0);
            let why = if has_stormed { "the time was too short for them to come back" } else { "it let nobody stay" };
            self.notes.push(format!("no client was connected at the end: the server has gone, or {why}"));
        }
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
            if record.phase.duration_ms == 0 {
                // An interlude, in which the clients of a search's step connect.
                add_histogram(&mut total.connect, &stats.connect);
                add_histogram(&mut total.connect_lag, &stats.connect_lag);
            }
            phases.push(outcome);
        }
        if let Some(connect) = stats.first() {
            // Connecting is what comes before the first phase, and counts in every scenario.
            add_histogram(&mut total.connect, &connect.connect);
            add_histogram(&mut total.connect_lag, &connect.connect_lag);
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
            processes: self.options.processes,
            tick_us: self.plan.tick_us,
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
            rate_offered: if self.plan.actions.is_empty() { 0.0 } else { rate_offered(&record.phase, seconds) },
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
        outcome.connect_lag = Percentiles::of(&stats.connect_lag);
        outcome.faults = stats.faults;
    }
}
