//! The search for how many clients a server holds at which latency.
//!
//! ```text
//! start -> x2 -> x2 -> ... until a step is not held -> halfway between held and not held, twice -> the answer
//! ```
//!
//! Each step connects the clients that are missing, lets the load settle for a second, and measures. A step is not held
//! when, twice in a row, latency passes the bound, answers stay out, connections fail, or messages arrive wrong. If the load generator itself
//! gives in first, the answer says so: then it is a lower bound.

use crate::failure::{Class, Failures};
use crate::plan::{Phase, Plan};
use crate::report::outcome::{HELD, Outcome, Percentiles, PhaseOutcome};
use crate::report::text::{grouped, millis};
use crate::run::{Conductor, Glance, Observer, RunOptions, check_target};
use crate::saturation;
use std::fmt;

/// The bounds of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Clients of the first step.
    pub start: u32,
    /// No more clients than this.
    pub clients_max: u32,
    /// Messages per second of each client.
    pub rate_per_client: f64,
    /// If set, messages per second over all clients at every step instead: for broadcasts.
    pub rate: Option<f64>,
    /// The 99th percentile of latency that is still good. Milliseconds.
    pub p99_ms: f64,
    /// How long a step is measured. Milliseconds.
    pub step_ms: u64,
    /// Steps between held and not held.
    pub refinements: u32,
}

/// The load generator's CPU above which a step says nothing about the server. Percent of a core.
const BUSY_PERCENT: f64 = 95.0;
/// The longest wait for answers behind a step. Milliseconds.
const GRACE_MS_MAX: u64 = 1_000;
/// The share of messages that has to be answered within a step.
const ANSWERED_SHARE: f64 = 0.95;
/// The share of clients that has to be ready.
const READY_SHARE: f64 = 0.999;

/// Searches.
///
/// # Errors
/// A sentence for the operator when no client can connect.
pub fn run(plan: Plan, limit: &Limit, options: RunOptions, observer: &mut dyn Observer) -> Result<Outcome, String> {
    check_target(&plan)?;
    let is_group = plan.has_group_actions();
    // Of a mixture of actions it is not known which were sent.
    let (group_size, senders) =
        if plan.actions.len() == 1 { (plan.group_size, plan.senders_per_group) } else { (1, 1) };
    let one_client = plan.clone();
    let mut conductor = Conductor::start(plan, options, observer)?;
    let mut held: Option<(u32, Glance)> = None;
    let mut broken: Option<(u32, String)> = None;
    let mut bottleneck = None;
    let mut next = limit.start.min(limit.clients_max).max(1);
    let mut refinements = 0;
    while !conductor.is_over() {
        let mut glance = step(&mut conductor, limit, next, is_group);
        if let Err(reason) = judge(&glance, limit, next, receivers(next, group_size, senders))
            && !conductor.is_over()
        {
            // A machine that does something else for a moment looks like a limit; a limit is there twice.
            conductor.judge(&format!("repeated: {reason}"));
            conductor.say(&format!("{next} clients: {reason}; once more"));
            let _ = conductor.take_failures();
            glance = step(&mut conductor, limit, next, is_group);
        }
        if conductor.is_over() {
            break;
        }
        let failures = conductor.take_failures();
        match judge(&glance, limit, next, receivers(next, group_size, senders)) {
            Ok(()) => {
                conductor.judge(HELD);
                conductor.say(&format!("{next} clients: held, p99 {:.1} ms", glance.latency.p99));
                held = Some((next, glance));
            }
            Err(reason) if failures.count(Class::Exhausted) > 0 => {
                conductor.judge("this machine at its limit");
                let seen = failures.0.get(&Class::Exhausted).map_or("", |counted| counted.first.as_str());
                bottleneck = Some(format!("with {} clients, {reason} ({seen})", grouped(u64::from(next))));
                break;
            }
            Err(reason) if reason.may_be_ours(&failures) && is_ours(&glance) => {
                conductor.judge("load generator at its limit");
                let clients = grouped(u64::from(next));
                bottleneck = Some(format!(
                    "with {clients} clients, {reason}, but the load generator itself was late or busy (is it on the server's cores?)"
                ));
                break;
            }
            Err(reason) => {
                let seen =
                    failures.0.values().next().map(|counted| format!(" ({})", counted.first)).unwrap_or_default();
                conductor.judge(&format!("not held: {reason}{seen}"));
                conductor.say(&format!("{next} clients: not held, {reason}{seen}"));
                broken = Some((next, format!("{reason}{seen}")));
                // Steps against a server that is not there any more would be called its limit.
                if glance.ready == 0
                    && let Err(error) = check_target(&one_client)
                {
                    conductor.note(format!("the server did not survive {} clients: {error}", grouped(u64::from(next))));
                    break;
                }
            }
        }
        let low = held.as_ref().map_or(0, |held| held.0);
        match &broken {
            None if low >= limit.clients_max => break,
            None => next = low.saturating_mul(2).min(limit.clients_max),
            Some((high, _)) => {
                if refinements == limit.refinements || high - low <= 1 + low / 20 {
                    break;
                }
                refinements += 1;
                next = low + (high - low) / 2;
            }
        }
    }
    let verdict = verdict(limit, held.as_ref(), broken.as_ref(), bottleneck.as_deref());
    let mut outcome = conductor.finish();
    outcome.verdict = verdict;
    // Each step is told how its clients connected, which was before it.
    let mut connect = Percentiles::default();
    for phase in &mut outcome.phases {
        if phase.name == connecting(phase.clients) {
            connect = phase.connect;
        } else if phase.measured {
            phase.connect = std::mem::take(&mut connect);
        }
    }
    settle(&mut outcome, held.map(|held| held.0), broken.is_some());
    Ok(outcome)
}

/// The figures of a search are those of the greatest step that was held; what lies beyond it is not to be averaged in. A search that
/// found neither a step that was held nor one that was not has said nothing of the server.
fn settle(outcome: &mut Outcome, held: Option<u32>, is_broken: bool) {
    let is_best = |phase: &&PhaseOutcome| phase.verdict.as_deref() == Some(HELD) && held == Some(phase.clients);
    match outcome.phases.iter().find(is_best) {
        Some(best) => outcome.total = PhaseOutcome { connect: outcome.total.connect, ..best.clone() },
        // So that `clients<100` fails where not even the first step was held.
        None => outcome.total.clients = 0,
    }
    outcome.is_complete &= held.is_some() || is_broken;
}

/// The stretch in which the clients of a step connect.
fn connecting(clients: u32) -> String {
    format!("connecting {clients}")
}

fn step(conductor: &mut Conductor<'_>, limit: &Limit, clients: u32, is_group: bool) -> Glance {
    conductor.interlude(&connecting(clients), clients);
    conductor.grow(clients);
    let rate = limit.rate.unwrap_or(limit.rate_per_client * f64::from(if is_group { 1 } else { clients }));
    let phase = Phase::new(&format!("{clients} clients"), limit.step_ms, rate, clients);
    conductor.phase(&Phase { name: format!("to {clients}"), duration_ms: 1_000, ..phase.clone() }.unmeasured());
    conductor.phase(&phase);
    // What comes later than this is as good as missing: p99 would be beyond its bound.
    conductor.glance((limit.p99_ms as u64).clamp(20, GRACE_MS_MAX))
}

/// Whether it was the load generator that gave in.
fn is_ours(glance: &Glance) -> bool {
    glance.generator_cpu > BUSY_PERCENT || saturation::is_lag_of_weight(glance.lag.p99, glance.latency.p99)
}

/// How many clients get a message, on average over those who send. The last group may have fewer members.
fn receivers(clients: u32, group_size: u32, senders: u32) -> f64 {
    let (groups, rest) = (f64::from(clients / group_size), clients % group_size);
    let (size, senders, rest_senders) = (f64::from(group_size), f64::from(senders), f64::from(senders.min(rest)));
    (groups * senders * size + rest_senders * f64::from(rest)) / (groups * senders + rest_senders).max(1.0)
}

/// Why a step was not held.
#[derive(Clone, Debug, PartialEq)]
enum Reason {
    /// So many of the clients were connected.
    Missing(u32, u32),
    /// So many messages arrived wrong.
    Wrong(u64),
    /// So many of the messages arrived in time.
    Unanswered(u64, u64),
    /// The 99th percentile of latency, and its bound. Milliseconds.
    Slow(f64, f64),
}

impl Reason {
    /// Whether a load generator that was late or busy can be the cause. What the server refused or closed, it did itself.
    fn may_be_ours(&self, failures: &Failures) -> bool {
        match self {
            Self::Missing(..) => failures.count(Class::ConnectTimeout) + failures.count(Class::Heartbeat) > 0,
            Self::Wrong(_) => false,
            Self::Unanswered(..) | Self::Slow(..) => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(ready, clients) => write!(f, "{ready} of {clients} clients were connected"),
            Self::Wrong(count) => write!(f, "{count} messages were repeated, reordered, changed or misrouted"),
            Self::Unanswered(received, expected) => {
                write!(f, "{} of {} messages arrived in time", grouped(*received), grouped(*expected))
            }
            Self::Slow(p99_ms, bound_ms) => write!(f, "p99 {p99_ms:.1} ms is above {bound_ms} ms"),
        }
    }
}

/// `receivers`: how many get each message.
fn judge(glance: &Glance, limit: &Limit, clients: u32, receivers: f64) -> Result<(), Reason> {
    if f64::from(glance.ready) < READY_SHARE * f64::from(clients) {
        return Err(Reason::Missing(glance.ready, clients));
    }
    if glance.faults > 0 {
        return Err(Reason::Wrong(glance.faults));
    }
    let expected = (glance.sent as f64 * receivers) as u64;
    if (glance.received as f64) < ANSWERED_SHARE * expected as f64 {
        return Err(Reason::Unanswered(glance.received, expected));
    }
    if glance.latency.p99 > limit.p99_ms {
        return Err(Reason::Slow(glance.latency.p99, limit.p99_ms));
    }
    Ok(())
}

fn verdict(
    limit: &Limit,
    held: Option<&(u32, Glance)>,
    broken: Option<&(u32, String)>,
    bottleneck: Option<&str>,
) -> String {
    let count = |clients: &u32| grouped(u64::from(*clients));
    let bound = format!("p99 at most {} ms", limit.p99_ms);
    let figures = |glance: &Glance| format!("p50 {}, p99 {}", millis(glance.latency.p50), millis(glance.latency.p99));
    match (held, broken, bottleneck) {
        (Some((clients, glance)), _, Some(bottleneck)) => format!(
            "The server holds at least {} clients with {bound} ({}). More could not be tried: {bottleneck}.",
            count(clients),
            figures(glance)
        ),
        (Some((clients, glance)), Some((high, reason)), None) => format!(
            "The server holds {} clients with {bound} ({}); with {} it does not: {reason}.",
            count(clients),
            figures(glance),
            count(high)
        ),
        (Some((clients, glance)), None, None) => format!(
            "The server holds {} clients with {bound} ({}), and more was not tried (--max-clients).",
            count(clients),
            figures(glance)
        ),
        (None, Some((clients, reason)), _) => {
            format!("The server does not hold {} clients with {bound}: {reason}.", count(clients))
        }
        (None, None, Some(bottleneck)) => format!("Nothing can be said of the server: {bottleneck}."),
        (None, None, None) => "The search ended before its first step.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::outcome::Percentiles;
    use crate::report::threshold::tests::outcome_with;

    const LIMIT: Limit = Limit {
        start: 100,
        clients_max: 1000,
        rate_per_client: 1.0,
        rate: None,
        p99_ms: 50.0,
        step_ms: 1000,
        refinements: 2,
    };

    fn glance(p99: f64, ready: u32, received: u64, faults: u64) -> Glance {
        let latency = Percentiles { p99, ..Percentiles::default() };
        Glance {
            latency,
            lag: Percentiles::default(),
            sent: 100,
            received,
            failed: 0,
            faults,
            ready,
            generator_cpu: 10.0,
        }
    }

    #[test]
    fn a_step_is_held_or_the_reason_is_named() {
        assert_eq!(judge(&glance(49.0, 100, 100, 0), &LIMIT, 100, 1.0), Ok(()));
        let reason =
            |glance| judge(&glance, &LIMIT, 100, 1.0).err().map(|reason| reason.to_string()).unwrap_or_default();
        assert!(reason(glance(51.0, 100, 100, 0)).contains("p99"));
        assert!(reason(glance(1.0, 90, 100, 0)).contains("connected"));
        assert!(reason(glance(1.0, 100, 80, 0)).contains("80 of 100 messages arrived"));
        assert!(reason(glance(1.0, 100, 100, 3)).contains("repeated"));
        assert!(judge(&glance(1.0, 100, 9_000, 0), &LIMIT, 100, 100.0).is_err());
    }

    #[test]
    fn receivers_are_those_of_whole_and_partial_groups() {
        assert_eq!(receivers(100, 1, 1), 1.0);
        assert_eq!(receivers(100, 1000, 1), 100.0);
        assert_eq!(receivers(20, 10, 10), 10.0);
        assert_eq!(receivers(15, 10, 10), 125.0 / 15.0);
    }

    #[test]
    fn a_bottleneck_of_our_own_is_never_called_the_servers_limit() {
        let held = (100, glance(5.0, 100, 100, 0));
        let text = verdict(&LIMIT, Some(&held), None, Some("busy"));
        assert!(text.contains("at least 100") && text.contains("busy"), "{text}");
        let with = |lag_ms, generator_cpu| {
            let lag = Percentiles { p99: lag_ms, ..Percentiles::default() };
            is_ours(&Glance { lag, generator_cpu, ..glance(60.0, 100, 100, 0) })
        };
        assert_eq!([with(1.0, 50.0), with(50.0, 50.0), with(1.0, 96.0)], [false, true, true]);
    }

    /// A refusal is the server's word, however busy we were; silence may be ours.
    #[test]
    fn what_the_server_refused_is_not_ours() {
        let failures = |class| {
            let mut failures = Failures::default();
            failures.record_many(class, 5, "");
            failures
        };
        let missing = Reason::Missing(95, 100);
        let ours = [Class::Namespace, Class::Refused, Class::Closed, Class::ConnectTimeout, Class::Heartbeat]
            .map(|class| missing.may_be_ours(&failures(class)));
        assert_eq!(ours, [false, false, false, true, true]);
        let none = Failures::default();
        assert!(Reason::Slow(9.0, 5.0).may_be_ours(&none) && Reason::Unanswered(1, 2).may_be_ours(&none));
        assert!(!Reason::Wrong(1).may_be_ours(&none));
    }

    #[test]
    fn a_search_that_held_nothing_counts_no_clients() {
        let step = |clients, verdict: &str| PhaseOutcome {
            clients,
            rate_received: f64::from(clients),
            verdict: Some(verdict.to_owned()),
            ..PhaseOutcome::default()
        };
        let settled = |held, is_broken| {
            let mut outcome = outcome_with(1.0, 0);
            outcome.phases = vec![step(50, HELD), step(100, HELD), step(200, "not held: p99")];
            outcome.total = step(200, "");
            settle(&mut outcome, held, is_broken);
            (outcome.total.clients, outcome.total.rate_received, outcome.is_complete)
        };
        assert_eq!(settled(Some(100), true), (100, 100.0, true));
        assert_eq!(settled(Some(100), false), (100, 100.0, true));
        assert_eq!(settled(None, true), (0, 200.0, true));
        // "Nothing can be said of the server", or the search ended before its first step.
        assert_eq!(settled(None, false), (0, 200.0, false));
    }
}
