//! How many may be in a server at once and how many may come per second, in all and from one address: the gate that its shards share.
//!
//! Counting is two atomics per connection; addresses are looked at behind one lock, and only if a budget asks for them. An IPv6 client
//! owns a network of 64 bits, so that is what counts as its address. What is kept of addresses is bounded by the connections there are and
//! by those that opened a session within the last second.

use parking_lot::Mutex;
use ringio_core::gate::Gate;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};

/// The budgets. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is closed at once.
    pub connections_max: Option<u64>,
    /// The same from one address.
    pub connections_per_address_max: Option<u64>,
    /// Sessions at a time; one more is answered with 503.
    pub sessions_max: Option<u64>,
    /// Sessions opened per second, as many at once at most.
    pub handshakes_per_second: Option<u64>,
    /// The same from one address.
    pub handshakes_per_address_per_second: Option<u64>,
    /// Resident bytes of the process. Not the gate's business, but the [`Meter`](crate::memory::Meter)'s.
    pub memory_max: Option<u64>,
}

impl Limits {
    /// The gate that keeps them; `None` if there is nothing to keep.
    #[must_use]
    pub fn gate(self) -> Option<Budgets> {
        (Self { memory_max: None, ..self } != Self::default()).then(|| Budgets { limits: self, ..Budgets::default() })
    }
}

/// What is used of the budgets.
#[derive(Debug, Default)]
pub struct Budgets {
    limits: Limits,
    connections: AtomicU64,
    sessions: AtomicU64,
    handshakes: Mutex<Bucket>,
    addresses: Mutex<Addresses>,
}

/// Thousandths of handshakes used of the last second, and when that was last reckoned.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    used: u64,
    at_ms: u64,
}

impl Bucket {
    fn settle(&mut self, now_ms: u64, per_second: u64) {
        // Shards' clocks differ by a little: time that goes back counts as none.
        self.used = self.used.saturating_sub(now_ms.saturating_sub(self.at_ms).saturating_mul(per_second));
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// Whether there is room for one more.
    fn has_room(&mut self, now_ms: u64, per_second: u64) -> bool {
        self.settle(now_ms, per_second);
        self.used + 1_000 <= per_second * 1_000
    }
}

#[derive(Debug, Default)]
struct Addresses {
    of: HashMap<IpAddr, (u64, Bucket)>,
    swept_ms: u64,
}

impl Addresses {
    /// Forgets who has no connection and nothing to settle; once a second at most.
    fn sweep(&mut self, now_ms: u64, per_second: u64) {
        if now_ms < self.swept_ms + 1_000 {
            return;
        }
        self.swept_ms = now_ms;
        self.of.retain(|_, (connections, bucket)| {
            bucket.settle(now_ms, per_second);
            *connections > 0 || bucket.used > 0
        });
        self.of.shrink_to(self.of.len() * 2);
    }
}

/// What counts as one client's address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// Counts one more unless that were more than `most`.
fn count(counter: &AtomicU64, most: Option<u64>) -> bool {
    let most = most.unwrap_or(u64::MAX);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
}

impl Gate for Budgets {
    fn connect(&self, address: Option<IpAddr>) -> bool {
        if !count(&self.connections, self.limits.connections_max) {
            return false;
        }
        if let (Some(most), Some(address)) = (self.limits.connections_per_address_max, address) {
            let mut addresses = self.addresses.lock();
            let (connections, _) = addresses.of.entry(network(address)).or_default();
            if *connections >= most {
                self.connections.fetch_sub(1, Ordering::Relaxed);
                return false;
            }
            *connections += 1;
        }
        true
    }

    fn disconnect(&self, address: Option<IpAddr>) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if let (Some(_), Some(address)) = (self.limits.connections_per_address_max, address) {
            let mut addresses = self.addresses.lock();
            let address = network(address);
            if let Some((connections, bucket)) = addresses.of.get_mut(&address) {
                *connections -= 1;
                if *connections == 0 && bucket.used == 0 {
                    addresses.of.remove(&address);
                }
            }
        }
    }

    fn open(&self, now_ms: u64, address: Option<IpAddr>) -> bool {
        if !count(&self.sessions, self.limits.sessions_max) {
            return false;
        }
        let is_admitted = self.takes_handshake(now_ms, address);
        if !is_admitted {
            self.close();
        }
        is_admitted
    }

    fn close(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budgets {
    /// Whether one more session may open now, by how many did; counted if so. Who is refused uses up nothing.
    fn takes_handshake(&self, now_ms: u64, address: Option<IpAddr>) -> bool {
        let mut all = self.limits.handshakes_per_second.map(|most| (most, self.handshakes.lock()));
        if let Some((most, bucket)) = &mut all
            && !bucket.has_room(now_ms, *most)
        {
            return false;
        }
        if let (Some(most), Some(address)) = (self.limits.handshakes_per_address_per_second, address) {
            let mut addresses = self.addresses.lock();
            addresses.sweep(now_ms, most);
            let (_, bucket) = addresses.of.entry(network(address)).or_default();
            if !bucket.has_room(now_ms, most) {
                return false;
            }
            bucket.used += 1_000;
        }
        if let Some((_, bucket)) = &mut all {
            bucket.used += 1_000;
        }
        true
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        assert!(Limits::default().gate().is_none());
        assert!(Limits { memory_max: Some(1), ..Limits::default() }.gate().is_none(), "nothing is counted for it");
        let limits = Limits { connections_max: Some(3), connections_per_address_max: Some(2), ..Limits::default() };
        let gate = limits.gate().unwrap();
        assert!(gate.connect(ip("10.0.0.1")) && gate.connect(ip("10.0.0.1")));
        assert!(!gate.connect(ip("10.0.0.1")), "two of this address");
        assert!(gate.connect(ip("10.0.0.2")), "who was refused is not counted");
        assert!(!gate.connect(ip("10.0.0.3")), "three in all");
        gate.disconnect(ip("10.0.0.1"));
        assert!(gate.connect(ip("::ffff:10.0.0.1")), "the same address, as an IPv6 socket sees it");
        for address in ["10.0.0.1", "10.0.0.1", "10.0.0.2"] {
            gate.disconnect(ip(address));
        }
        assert!(gate.addresses.lock().of.is_empty());
        assert!(gate.connect(ip("2001:db8::1")) && gate.connect(ip("2001:db8::2")));
        assert!(!gate.connect(ip("2001:db8::3")), "one network is one client");
        assert!(gate.connect(None), "a Unix socket has no address");
    }

    #[test]
    fn sessions_are_counted_and_paced() {
        let gate = Limits { sessions_max: Some(1), ..Limits::default() }.gate().unwrap();
        assert!(gate.open(0, None) && !gate.open(0, None));
        gate.close();
        assert!(gate.open(0, None));
        let limits =
            Limits { handshakes_per_second: Some(10), handshakes_per_address_per_second: Some(4), ..Limits::default() };
        let gate = limits.gate().unwrap();
        let opened = |now_ms: u64, address: &str| (0..100).filter(|_| gate.open(now_ms, ip(address))).count();
        assert_eq!(opened(5_000, "10.0.0.1"), 4);
        assert_eq!(opened(5_000, "10.0.0.2"), 4);
        assert_eq!(opened(5_000, "10.0.0.3"), 2, "ten in all");
        assert_eq!(opened(5_250, "10.0.0.1"), 1, "a quarter of a second gives one of this address");
        assert_eq!(opened(5_250, "10.0.0.4"), 1, "and two in all");
        assert_eq!(opened(4_000, "10.0.0.5"), 0, "a clock that is behind gives nothing");
        assert_eq!(opened(9_000, "10.0.0.6"), 4);
        assert_eq!(gate.addresses.lock().of.len(), 1, "who came long ago is forgotten");
    }
}
