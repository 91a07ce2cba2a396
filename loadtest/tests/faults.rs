//! Every fault of a server is reported, and in its own class; a correct server raises no alarm.
//!
//! Here over WebSocket with the default parser, which is what the faulty server speaks: without a fault for the seven scenarios that
//! always send messages, and each fault for those of them that it concerns. `node.rs` has faults behind polling and msgpack.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::failure::Class;
use ringio_loadtest::faulty::{Fault, FaultyServer};
use ringio_loadtest::plan::{Action, Expect, Phase, Reconnection};
use ringio_loadtest::report::outcome::Outcome;
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use servers::Until;

/// 8 clients, 200 messages in 0.4 s.
fn attempt(fault: Fault, scenario: Scenario) -> Result<Outcome, String> {
    attempt_for(400, fault, scenario)
}

fn attempt_for(duration_ms: u64, fault: Fault, scenario: Scenario) -> Result<Outcome, String> {
    let server = FaultyServer::start(fault, 0).unwrap();
    let target = Target::resolve(&server.url(), PATH_DEFAULT)?;
    let settings =
        Settings { clients: 8, rate: Some(500.0), duration_ms, warmup_ms: 0, room_size: 4, ..Settings::default() };
    let (mut plan, phases) = plan(scenario, &settings, target)?;
    // Short where the time is waited for, and one that is too short would change nothing.
    match fault {
        Fault::Silent => plan.connect_timeout_ms = 1_500,
        Fault::Drop | Fault::Stall => plan.drain_ms = 500,
        _ => {}
    }
    run(plan, &phases, RunOptions::default(), &mut Unobserved)
}

fn outcome(fault: Fault, scenario: Scenario) -> Outcome {
    attempt(fault, scenario).unwrap()
}

/// The first fault is told as a person would look for it: the client, what was wrong, and the packet or event.
fn assert_first(outcome: &Outcome, scenario: Scenario, words: &str) {
    let first = outcome.first_fault.as_deref().unwrap_or_default();
    assert!(first.starts_with("client ") && first.contains(words), "{scenario}: {first}");
}

/// The outcome of each scenario, run side by side: most of their time is waiting.
fn outcomes(fault: Fault, scenarios: &[Scenario]) -> Vec<(Scenario, Outcome)> {
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            scenarios.iter().map(|scenario| scope.spawn(move || (*scenario, outcome(fault, *scenario)))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

const WITH_MESSAGES: [Scenario; 7] = [
    Scenario::Probe,
    Scenario::Echo,
    Scenario::Ack,
    Scenario::Binary,
    Scenario::Broadcast,
    Scenario::Rooms,
    Scenario::Mixed,
];

#[test]
fn a_correct_server_raises_no_alarm() {
    for (scenario, outcome) in outcomes(Fault::None, &WITH_MESSAGES) {
        assert_eq!(outcome.faults, Default::default(), "{scenario}: {:?}", outcome.first_fault);
        assert_eq!(outcome.failures.total(), 0, "{scenario}: {:?}", outcome.failures);
        assert_eq!(outcome.total.sent, 200, "{scenario}");
        assert!(outcome.total.received >= outcome.total.sent, "{scenario}");
    }
}

#[test]
fn dropped_messages_are_lost() {
    for (scenario, outcome) in
        outcomes(Fault::Drop, &[Scenario::Probe, Scenario::Ack, Scenario::Binary, Scenario::Broadcast, Scenario::Rooms])
    {
        let faults = outcome.faults;
        assert!(faults.lost >= 10, "{scenario}: {faults:?}");
        assert_eq!((faults.total(), outcome.abandoned()), (faults.lost, 0), "{scenario}: {faults:?}");
        assert_first(&outcome, scenario, "never came: ");
    }
}

#[test]
fn repeated_messages_are_duplicated() {
    for (scenario, outcome) in
        outcomes(Fault::Duplicate, &[Scenario::Probe, Scenario::Ack, Scenario::Binary, Scenario::Rooms])
    {
        let faults = outcome.faults;
        assert!(faults.duplicated >= 10, "{scenario}: {faults:?}");
        assert_eq!(faults.total(), faults.duplicated, "{scenario}: {faults:?}");
        assert_first(&outcome, scenario, ": a second time: ");
    }
}

#[test]
fn late_messages_are_reordered() {
    for (scenario, outcome) in
        outcomes(Fault::Reorder, &[Scenario::Probe, Scenario::Echo, Scenario::Binary, Scenario::Broadcast])
    {
        let faults = outcome.faults;
        assert!(faults.reordered >= 1, "{scenario}: {faults:?}");
        // The last one held back may never go out.
        assert!(faults.lost <= 1 && faults.total() == faults.reordered + faults.lost, "{scenario}: {faults:?}");
        assert_first(&outcome, scenario, ": after a later one: ");
    }
}

#[test]
fn changed_messages_are_corrupt() {
    for (scenario, outcome) in outcomes(
        Fault::Corrupt,
        &[Scenario::Echo, Scenario::Ack, Scenario::Binary, Scenario::Broadcast, Scenario::Rooms],
    ) {
        let faults = outcome.faults;
        assert!(faults.corrupt >= 10, "{scenario}: {faults:?}");
        // What arrived changed has not arrived as it was sent.
        assert_eq!(faults.lost, faults.corrupt, "{scenario}: {faults:?}");
        let is_ack = scenario == Scenario::Ack;
        let words =
            if is_ack { ": an acknowledgement without its block: " } else { ": a block whose checksum is wrong: " };
        assert_first(&outcome, scenario, words);
    }
}

#[test]
fn messages_for_others_are_unexpected() {
    for (scenario, outcome) in outcomes(Fault::Misroute, &[Scenario::Echo, Scenario::Rooms, Scenario::Probe]) {
        let faults = outcome.faults;
        assert!(faults.unexpected >= 5, "{scenario}: {faults:?}");
        assert_eq!(faults.corrupt, 0, "{scenario}: {faults:?}");
        let is_group = scenario == Scenario::Rooms;
        assert_first(&outcome, scenario, if is_group { ": " } else { ": the message of another client: " });
    }
    let outcome = outcome(Fault::Rename, Scenario::Echo);
    let faults = outcome.faults;
    assert!(faults.unexpected >= 10 && faults.lost == faults.unexpected, "{faults:?}");
    assert_first(&outcome, Scenario::Echo, ": under another event's name: ");
}

#[test]
fn a_stalled_server_loses_what_it_owes() {
    let outcome = outcome(Fault::Stall, Scenario::Echo);
    assert!(outcome.faults.lost > 100, "{:?}", outcome.faults);
    assert_eq!(outcome.faults.lost, outcome.total.sent - outcome.total.received);
}

#[test]
fn closed_connections_are_failures_and_not_losses() {
    let has_unsent = |duration_ms| {
        let outcome = attempt_for(duration_ms, Fault::Close, Scenario::Echo).unwrap();
        assert!(
            outcome.failures.count(Class::Closed) + outcome.failures.count(Class::Reset) >= 8,
            "{:?}",
            outcome.failures
        );
        assert_eq!(outcome.faults.total(), 0, "{:?}", outcome.faults);
        outcome.failures.count(Class::NoSender) > 0
    };
    // A machine that stands still sends all of it at once.
    assert!([400, 2_000, 8_000].into_iter().any(has_unsent));
}

#[test]
fn broken_frames_are_protocol_errors() {
    let outcome = outcome(Fault::Frame, Scenario::Echo);
    assert!(outcome.failures.count(Class::Protocol) >= 5, "{:?}", outcome.failures);
}

#[test]
fn missing_pings_are_noticed() {
    let server = FaultyServer::start(Fault::Heartbeat, 0).unwrap();
    let target = Target::resolve(&server.url(), PATH_DEFAULT).unwrap();
    let settings = Settings { clients: 4, duration_ms: 60_000, ..Settings::default() };
    let (plan, phases) = plan(Scenario::Idle, &settings, target).unwrap();
    let mut failed = 0;
    let (mut observer, options) = Until::new(|second| {
        failed += second.failed;
        failed >= 4
    });
    let outcome = run(plan, &phases, options, &mut observer).unwrap();
    assert_eq!(outcome.failures.count(Class::Heartbeat), 4, "{:?}", outcome.failures);
}

#[test]
fn a_server_nobody_can_connect_to_is_explained_in_a_sentence() {
    for (fault, words) in [
        (Fault::Accept, "Sec-WebSocket-Accept"),
        (Fault::NotFound, "--path"),
        (Fault::Open, "Engine.IO handshake"),
        (Fault::Refuse, "namespace"),
        (Fault::Silent, "not ready after"),
    ] {
        let error = attempt(fault, Scenario::Echo).unwrap_err();
        assert!(error.contains(words) && error.contains("no client can connect"), "{fault:?}: {error}");
    }
}

/// Rooms of five whose members write to all of them, or to the others, through these phases; the share of clients that each phase cuts off.
fn rooms(fault: Fault, expect: Expect, drain_ms: u64, phases: &[(u64, f64)]) -> Outcome {
    let server = FaultyServer::start(fault, 0).unwrap();
    let target = Target::resolve(&server.url(), PATH_DEFAULT).unwrap();
    // In the last room there are three, so that a fault that strikes every tenth time does not strike the same two again and again.
    let settings = Settings { clients: 23, rate: Some(2_000.0), room_size: 5, warmup_ms: 0, ..Settings::default() };
    let (mut plan, planned) = plan(Scenario::Rooms, &settings, target).unwrap();
    plan.reconnection = Some(Reconnection { delay_ms: 50, delay_max_ms: 50, jitter: 0.5 });
    plan.drain_ms = drain_ms;
    if expect == Expect::Others {
        let others = || "others".to_owned();
        let room = plan.actions.remove(0);
        plan.actions.push(Action { expect, event: others(), reply: others(), ..room });
    }
    let phase = |(duration_ms, storm_share)| Phase { duration_ms, storm_share, ..planned[0].clone() };
    let phases: Vec<Phase> = phases.iter().copied().map(phase).collect();
    run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap()
}

/// What a client had sent to its room when its connection was cut may not have reached the server, and so nobody there: that is no
/// message lost. What the server drops of those that stay is, all the same. Who does not hear itself does not know how far it came.
#[test]
fn messages_under_way_when_their_sender_is_cut_off_are_not_lost() {
    for expect in [Expect::Group, Expect::Others] {
        let storms = [(300, 0.5); 5];
        let outcome = rooms(Fault::None, expect, 5_000, &storms);
        assert!(outcome.total.reconnected > 0 && outcome.total.received > outcome.total.sent, "{:?}", outcome.total);
        assert_eq!(outcome.faults, Default::default(), "{expect:?}: {:?}", outcome.first_fault);
        let outcome = rooms(Fault::Drop, expect, 500, &storms);
        assert!(outcome.faults.lost > 100, "{expect:?}: {:?}", outcome.faults);
    }
}

/// What the server drops before everybody is cut off is lost as if nobody had been: every tenth delivery of the first phase.
#[test]
fn a_cut_hides_nothing_that_was_lost_before_it() {
    for expect in [Expect::Group, Expect::Others] {
        // A machine that stands still for the whole phase sends nothing in it. Without patience what was passed over counts at once.
        let calm = |duration_ms| rooms(Fault::Drop, expect, 0, &[(duration_ms, 0.0), (300, 1.0)]).phases.remove(1);
        let calm = [500, 2_000, 8_000].into_iter().map(calm).find(|calm| calm.received > 500).unwrap();
        // Less what each was passed over with last.
        assert!(20 * calm.faults > calm.received && 5 * calm.faults < calm.received, "{expect:?}: {calm:?}");
    }
}

/// A server that does not let into their rooms who come back: they hear nothing, and should.
#[test]
fn who_comes_back_and_hears_nothing_has_lost_what_was_said() {
    for expect in [Expect::Group, Expect::Others] {
        // Long enough for everybody to be back well before the end, on any machine.
        let lost = |duration_ms| rooms(Fault::Forget, expect, 300, &[(300, 0.0), (duration_ms, 1.0)]).faults.lost;
        assert!([2_000, 5_000, 15_000].into_iter().map(lost).any(|lost| lost > 0), "{expect:?}");
    }
}

/// A server that ends in the middle: what was measured stays, and each attempt to come back is a refused connection.
#[test]
fn a_server_that_ends_leaves_what_was_measured() {
    let server = FaultyServer::start(Fault::None, 0).unwrap();
    let target = Target::resolve(&server.url(), PATH_DEFAULT).unwrap();
    let settings = Settings { clients: 4, rate: Some(100.0), duration_ms: 60_000, warmup_ms: 0, ..Settings::default() };
    let (mut plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
    plan.reconnection = Some(Reconnection { delay_ms: 10, delay_max_ms: 1_000, jitter: 0.5 });
    plan.drain_ms = 300;
    // Ends with the first second that has messages; the run ends when each client has tried to come back several times.
    let (mut server, mut failed) = (Some(server), 0);
    let (mut observer, options) = Until::new(|second| {
        if second.received > 0 {
            server = None;
        }
        failed += second.failed;
        failed >= 4 * 7
    });
    let outcome = run(plan, &phases, options, &mut observer).unwrap();
    assert!(server.is_none() && outcome.total.received > 0);
    let failures = &outcome.failures;
    assert_eq!(failures.count(Class::Closed) + failures.count(Class::Reset), 4, "{failures:?}");
    // Pauses of 10, 20, 40 ms and so on up to a second, each by up to a half more or less: no client can begin more than nine
    // attempts at once and one in each second, and without backoff each would make more than a hundred in one.
    let refused = failures.count(Class::Refused);
    assert!(refused >= 4 && refused as f64 <= 4.0 * (9.0 + outcome.seconds), "{failures:?} in {} s", outcome.seconds);
    assert!(failures.count(Class::NoSender) > 0 && outcome.faults.total() == 0, "{:?}", outcome.faults);
}
