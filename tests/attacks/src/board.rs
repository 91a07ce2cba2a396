//! Plays attacks: each on a server of its own with its own neighbours, the slow ones beside the others.
//!
//! Nothing that one attack does keeps the others from being played: one that panics counts as not played, and so does one that finds
//! no end: the board ends its server, and what is noticed of that is no finding.

use crate::attacks::Attack;
use crate::neighbours::Neighbours;
use crate::scene::{Bound, Finding, Scene, WAIT_MAX};
use crate::server::{Places, Running, Target};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Findings of one attack that are told; the last are the neighbours' and the server's.
const FINDINGS_SHOWN: usize = 8;

/// Longest that an attack may take; then its server is ended. Two deadlines that never come, one after the other, and some.
const ATTACK_MAX: Duration = Duration::from_secs(240);

/// Between an answer and a neighbour's next question: shorter than anything that a person notices, and where many attacks are played
/// beside each other (the slow ones, which mostly wait), long enough that it is not the neighbours who keep the machine busy.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_BESIDE: Duration = Duration::from_millis(50);

/// What an attack did to a server.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub attack: &'static str,
    /// On whom.
    pub target: Target,
    /// Bytes sent.
    pub sent: u64,
    /// CPU time of the server, without the neighbours' part.
    pub cpu: Duration,
    /// Most memory held. Bytes.
    pub held: u64,
    /// Memory that was not given back when the attack had ended. Bytes.
    pub kept: u64,
    /// Most CPU time between a neighbour's question and its answer.
    pub waited: Duration,
    /// What came back.
    pub outcome: String,
    /// What was not as it must be.
    pub findings: Vec<Finding>,
}

impl Report {
    /// One line for whoever waits.
    #[must_use]
    pub fn line(&self) -> String {
        let verdict = match (self.findings.is_empty(), self.target.is_ours()) {
            (true, _) => "ok  ",
            (false, true) => "FAIL",
            (false, false) => "note",
        };
        let mut line = format!(
            "{verdict} {:<12} {:<34} {} KiB sent, {} us CPU, {} KiB held, {} KiB kept, waited {} us: {}",
            self.target.name(),
            self.attack,
            self.sent >> 10,
            self.cpu.as_micros(),
            self.held >> 10,
            self.kept >> 10,
            self.waited.as_micros(),
            self.outcome,
        );
        let rest = self.findings.len().saturating_sub(FINDINGS_SHOWN);
        for finding in self.findings.iter().rev().take(FINDINGS_SHOWN) {
            line.push_str(&match finding {
                Finding::Difference(text) => format!("\n       differs: {text}"),
                Finding::Harm(text) => format!("\n       HARM: {text}"),
                Finding::Unplayed(text) => format!("\n       not played to its end: {text}"),
            });
        }
        if rest > 0 {
            line.push_str(&format!("\n       and {rest} more"));
        }
        line
    }

    /// Of an attack that could not be played.
    fn unplayed(attack: &Attack, target: Target, error: &str) -> Self {
        Self {
            attack: attack.name,
            target,
            sent: 0,
            cpu: Duration::ZERO,
            held: 0,
            kept: 0,
            waited: Duration::ZERO,
            outcome: String::new(),
            findings: vec![Finding::Unplayed(error.to_owned())],
        }
    }
}

/// Plays one attack; `None` if the target has not what it attacks.
pub fn play(attack: &Attack, target: Target, places: &Places, is_quick: bool) -> io::Result<Option<Report>> {
    play_within(ATTACK_MAX, attack, target, places, is_quick)
}

/// The same, but the server is ended after `most`.
pub fn play_within(
    most: Duration,
    attack: &Attack,
    target: Target,
    places: &Places,
    is_quick: bool,
) -> io::Result<Option<Report>> {
    let Some((server, neighbours)) = settle(attack, target, places)? else { return Ok(None) };
    // What answering neighbours costs by itself.
    let (cpu, answered) = (server.cpu(), neighbours.answered());
    let _ = neighbours.advance(10);
    let _ = neighbours.take_longest_wait();
    let answers = u32::try_from(neighbours.answered() - answered).unwrap_or(u32::MAX).max(1);
    let per_answer = server.cpu().saturating_sub(cpu) / answers;

    let mut scene = Scene::new(target, &server, &neighbours, is_quick);
    let (cpu, answered, resident) = (server.cpu(), neighbours.answered(), server.resident_bytes());
    let (told, is_cut_off) =
        watched(&server, &neighbours, most, || catch_unwind(AssertUnwindSafe(|| (attack.story)(&mut scene))));
    match told {
        _ if is_cut_off => scene.stops(format!("no end within {} s", most.as_secs())),
        Ok(Ok(())) => {}
        Ok(Err(error)) => scene.stops(error.to_string()),
        Err(_) => scene.stops("the attack panicked"),
    }
    scene.hold(Bound { bytes: u64::MAX, per_byte: 0 });
    let seen = scene.finish();
    let _ = neighbours.advance(10);
    let spent = server.cpu().saturating_sub(cpu);
    let answers = u32::try_from(neighbours.answered() - answered).unwrap_or(u32::MAX);
    let waited = neighbours.take_longest_wait();
    let kept = server.resident_bytes().saturating_sub(resident);

    let mut findings = seen.findings;
    findings.extend(neighbours.complaints().into_iter().map(Finding::Harm));
    if waited > WAIT_MAX {
        findings.push(Finding::Harm(format!("a neighbour waited for {} ms of the server's CPU", waited.as_millis())));
    }
    drop(neighbours);
    if let Some(status) = server.ended().filter(|_| !is_cut_off) {
        findings.push(Finding::Harm(format!("the server died: {status}")));
    }
    Ok(Some(Report {
        attack: attack.name,
        target,
        sent: seen.sent,
        cpu: spent.saturating_sub(per_answer * answers),
        held: seen.held,
        kept,
        waited,
        outcome: seen.outcome,
        findings,
    }))
}

/// Does `work`, and ends the server if that takes longer than `most`. What it gave, and whether the server had to be ended.
fn watched<T>(server: &Running, neighbours: &Neighbours, most: Duration, work: impl FnOnce() -> T) -> (T, bool) {
    let (done, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let is_late = waiting.recv_timeout(most) == Err(RecvTimeoutError::Timeout);
            if is_late {
                // What neighbours notice from here on is the board's doing. A server that has died by itself is told of as such.
                neighbours.stop_listening();
                return server.ended().is_none().then(|| server.kill()).is_some();
            }
            false
        });
        let given = work();
        drop(done);
        (given, watch.join().unwrap_or(false))
    })
}

/// A server and its neighbours. A port that was free may be somebody's when the server wants it: then another is tried.
fn settle(attack: &Attack, target: Target, places: &Places) -> io::Result<Option<(Running, Neighbours)>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let settled = Running::start(target, attack.setting, places).and_then(|server| match server {
            None => Ok(None),
            Some(server) => {
                let pause = if attack.is_slow { PAUSE_BESIDE } else { PAUSE };
                Neighbours::move_in(server.address, server.cpu_clock(), pause)
                    .map(|neighbours| Some((server, neighbours)))
            }
        });
        match settled {
            Err(_) if tries < 5 => {}
            settled => return settled,
        }
    }
}

/// Plays all of them on one target and tells of each as it ends. The slow ones, which mostly wait, are played beside the others.
pub fn play_all(attacks: &[&Attack], target: Target, places: &Places, is_quick: bool, tell: impl Fn(Report) + Sync) {
    let play = |attack: &Attack| {
        let played = catch_unwind(AssertUnwindSafe(|| play(attack, target, places, is_quick)));
        let report = match played {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => Some(Report::unplayed(attack, target, &error.to_string())),
            Err(_) => Some(Report::unplayed(attack, target, "the board panicked")),
        };
        report.into_iter().for_each(&tell);
    };
    std::thread::scope(|scope| {
        let (slow, others): (Vec<&Attack>, Vec<&Attack>) = attacks.iter().partition(|attack| attack.is_slow);
        slow.into_iter().for_each(|attack| _ = scope.spawn(|| play(attack)));
        others.into_iter().for_each(play);
    });
}
