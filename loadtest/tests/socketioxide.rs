//! Against socketioxide, a server that shares no code with the official one: mixed, rooms, idle, connect and churn, over every
//! transport. Mixed is probes, echoes, acknowledgements, attachments and broadcasts.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::plan::Transport;
use ringio_loadtest::report::outcome::Outcome;
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use servers::{ServerProcess, come_and_go, start_socketioxide};

#[test]
fn every_message_comes_back_over_every_transport() {
    std::thread::scope(|scope| {
        for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrade] {
            scope.spawn(move || {
                // One server each: a broadcast reaches everybody.
                let Some(server) = start_socketioxide() else { return };
                // Probes, echoes, acknowledgements, attachments and broadcasts, in whatever proportion chance gives.
                assert_eq!(check(&server, transport, Scenario::Mixed).total.sent, 100, "{transport:?}");
                let rooms = check(&server, transport, Scenario::Rooms);
                assert_eq!((rooms.total.sent, rooms.total.received), (100, 500), "{transport:?}");
            });
        }
    });
}

#[test]
fn clients_stay_and_come_and_go_over_every_transport() {
    let Some(server) = start_socketioxide() else { return };
    std::thread::scope(|scope| {
        for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrade] {
            let server = &server;
            scope.spawn(move || {
                let idle = check(server, transport, Scenario::Idle);
                assert_eq!((idle.total.connect.count, idle.total.sent), (20, 0), "{transport:?}");
                come_and_go(server, Scenario::Connect, transport);
                let churn = come_and_go(server, Scenario::Churn, transport);
                assert!(churn.total.received > 0, "{transport:?}: {:?}", churn.total);
            });
        }
    });
}

fn check(server: &ServerProcess, transport: Transport, scenario: Scenario) -> Outcome {
    let settings = Settings {
        clients: 20,
        rate: Some(200.0),
        duration_ms: 500,
        warmup_ms: 0,
        room_size: 5,
        size: 1200,
        ..Settings::default()
    };
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let (mut plan, phases) = plan(scenario, &settings, target).unwrap();
    plan.transport = transport;
    let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
    let what = format!("{scenario} over {transport:?}");
    assert_eq!(outcome.failures.total(), 0, "{what}: {:?}", outcome.failures);
    assert_eq!(outcome.faults.total(), 0, "{what}: {:?}", outcome.first_fault);
    assert_eq!(outcome.server_pids, [server.child.id()], "{what}");
    outcome
}
