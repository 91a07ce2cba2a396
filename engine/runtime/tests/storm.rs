//! The core's storm of reconnects, at the gate that servers have: its budgets hold, and what was taken of them comes back.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../core/tests/world/mod.rs"]
mod world;

use ringio_core::gate::Gate;
use ringio_runtime::budgets::Limits;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use world::storm::{self, CONNECTIONS_MAX, SESSIONS_MAX};

const ADDRESSES: u32 = 1_000;
const PER_ADDRESS: u64 = SESSIONS_MAX / ADDRESSES as u64;

#[test]
fn the_production_budgets_hold_in_a_storm_of_100_000_reconnects() {
    let limits = Limits {
        connections_max: Some(CONNECTIONS_MAX),
        connections_per_address_max: Some(PER_ADDRESS),
        sessions_max: Some(SESSIONS_MAX),
        // All at once to begin with, and then a hundred in each turn of ten milliseconds.
        handshakes_per_second: Some(SESSIONS_MAX),
        handshakes_per_address_per_second: Some(2 * PER_ADDRESS),
        memory_max: None,
    };
    let gate = Arc::new(limits.gate().unwrap());
    let storm = storm::of_reconnects(gate.clone(), ADDRESSES, 100);
    assert!(storm.shard.is_vacant());
    // The whole of each budget is there again.
    let ip = |number: u64| Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number as u32)));
    assert!((0..CONNECTIONS_MAX).all(|number| gate.connect(ip(number / PER_ADDRESS))));
    assert!(!gate.connect(ip(CONNECTIONS_MAX)), "and no more");
    let now_ms = storm.now.as_millis() + 10_000;
    assert!((0..SESSIONS_MAX).all(|number| gate.open(now_ms, ip(number / PER_ADDRESS))));
    gate.close();
    assert!(!gate.open(now_ms, ip(0)), "ten thousand in a second");
    assert!(gate.open(now_ms + 1_000, ip(0)) && !gate.open(now_ms + 2_000, ip(0)), "and at a time");
}
