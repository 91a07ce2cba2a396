//! A run: what it is given, who watches it, and its course.
//!
//! ```text
//! check the target -> conductor: grow (connect) -> phase -> phase -> ... -> finish: drain, settle, stop -> Outcome
//! ```
//!
//! Whatever happens, what has been measured so far becomes an [`Outcome`]: an interrupted run, or one whose server died,
//! is reported as far as it came.

mod conductor;
mod summing;

pub use conductor::{Conductor, Glance};

use crate::failure::{Class, Failures};
use crate::plan::{Phase, Plan};
use crate::report::outcome::{Outcome, SecondOutcome};
use crate::report::text::counted;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Who watches while a run goes on. All methods do nothing unless implemented.
pub trait Observer {
    /// Clients connect, or surplus ones leave, until there are so many.
    fn growing(&mut self, _clients: u32) {}
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
    /// Processes instead of threads: so many, each with one worker. 0: threads.
    pub processes: u32,
    /// The program that those processes run. None: this one.
    pub program: Option<PathBuf>,
    /// Processes of the server. Empty: looked for by its port.
    pub pids: Vec<u32>,
    /// Set when the run is to end early.
    pub interrupted: Arc<AtomicBool>,
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
    let mut outcome = conductor.finish();
    // While clients come and go, or come back from a storm, there may be nobody to send: that is planned.
    let may_be_empty = is_churn || phases.iter().any(|phase| phase.storm_share > 0.0);
    if let Some(note) = failures_note(&outcome.failures, may_be_empty) {
        outcome.is_complete = false;
        outcome.notes.push(note);
    }
    Ok(outcome)
}

/// What has to be said when connections failed that nobody planned to lose: the load was not the one that was asked for.
fn failures_note(failures: &Failures, may_be_empty: bool) -> Option<String> {
    let unsent = failures.count(Class::NoSender);
    let connections = failures.total() - unsent;
    if connections > 0 {
        let counted = counted(connections, "connection", "connections");
        return Some(format!("{counted} failed or ended early: for a time there were fewer clients than planned"));
    }
    let counted = counted(unsent, "message was", "messages were");
    (unsent > 0 && !may_be_empty)
        .then(|| format!("{counted} not sent: the server read so slowly that no client could take one more"))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Nobody to send is planned where clients come and go; a connection that fails never is.
    #[test]
    fn failures_that_nobody_planned_are_told() {
        let failures = |class, count| {
            let mut failures = Failures::default();
            failures.record_many(class, count, "");
            failures
        };
        assert_eq!(failures_note(&Failures::default(), false), None);
        assert_eq!(failures_note(&failures(Class::NoSender, 3), true), None);
        assert!(failures_note(&failures(Class::NoSender, 3), false).unwrap().starts_with("3 messages were not sent"));
        for may_be_empty in [false, true] {
            let mut both = failures(Class::NoSender, 3);
            both.record_many(Class::Closed, 2, "");
            assert!(failures_note(&both, may_be_empty).unwrap().starts_with("2 connections failed"));
        }
    }
}
