//! Against socketioxide, a server that shares no code with the official one: every scenario over every transport.
#![allow(clippy::unwrap_used)]

mod servers;

use ringio_loadtest::plan::Transport;
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use servers::{ServerProcess, start_socketioxide};

#[test]
fn every_message_comes_back_over_every_transport() {
    std::thread::scope(|scope| {
        for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrade] {
            scope.spawn(move || {
                // One server each: a broadcast reaches everybody.
                let Some(server) = start_socketioxide() else { return };
                // Probes, echoes, acknowledgements, attachments and broadcasts, in whatever proportion chance gives.
                check(&server, transport, Scenario::Mixed, None);
                check(&server, transport, Scenario::Rooms, Some(500));
            });
        }
    });
}

fn check(server: &ServerProcess, transport: Transport, scenario: Scenario, deliveries: Option<u64>) {
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
    assert_eq!(outcome.total.sent, 100, "{what}");
    if let Some(deliveries) = deliveries {
        assert_eq!(outcome.total.received, deliveries, "{what}");
    }
    assert_eq!(outcome.server_pids, [server.child.id()]);
}
