//! TLS as a program writes it, under the load-test tool: every message comes back, over wss and over https.

#![allow(clippy::unwrap_used, missing_docs)]

use ringio::{Driver, RawArgs, Server, Socket, Tls};
use ringio_loadtest::plan::Transport;
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use std::net::SocketAddr;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[test]
fn plain_and_encrypted_listeners_side_by_side_bring_every_message_back() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(certified.cert.pem().as_bytes(), certified.signing_key.serialize_pem().as_bytes()).unwrap();
    let authorities = format!("{}/tls-{}.pem", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&authorities, certified.cert.pem()).unwrap();
    for driver in [Driver::Uring, Driver::Epoll] {
        let io = Server::builder().driver(driver).shards(2).build().unwrap();
        io.sockets_on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", &args));
        let running = io.start((LOOPBACK, tls.on([LOOPBACK, LOOPBACK]))).unwrap();
        let [plain, first, second] = running.local_addrs() else { panic!("three addresses") };
        for (scheme, address, transport) in [
            ("http", plain, Transport::Websocket),
            ("https", first, Transport::Websocket),
            ("https", second, Transport::Polling),
        ] {
            let target = Target::resolve(&format!("{scheme}://localhost:{}", address.port()), PATH_DEFAULT).unwrap();
            let target = Target { authorities: (scheme == "https").then(|| authorities.clone()), ..target };
            let settings = Settings {
                clients: 20,
                rate: Some(400.0),
                duration_ms: 500,
                warmup_ms: 0,
                // More than a TLS connection buffers.
                size: 70_000,
                ..Settings::default()
            };
            let (mut plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
            plan.transport = transport;
            let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
            let what = format!("{driver:?} {scheme} {transport:?}");
            assert_eq!(outcome.failures.total(), 0, "{what}: {:?}", outcome.failures);
            assert_eq!(outcome.faults.total(), 0, "{what}: {:?}", outcome.first_fault);
            assert_eq!((outcome.total.sent, outcome.total.received), (200, 200), "{what}");
        }
        running.close();
        running.join();
    }
}
