//! Local ports, chosen here where the kernel's choice is slow, or where the operator wants a range of their own.
//!
//! `connect` hands out the ports of one parity first and leaves the other half to `bind`. A source address that has used that half up
//! (14,116 of the 28,232 ports that Linux has by default) still has the other one, but each further `connect` tries the
//! whole first half again, a few milliseconds a time: connecting stands still. A port that is bound beforehand
//! needs no search, and may come from a wider range than the system's.
//!
//! Each worker has every n-th port, so that none waits for another's. A port comes back when its connection is gone, to the end of
//! the queue, so that what TCP still remembers of it (TIME_WAIT) has time to be forgotten.

use super::Share;
use super::link_limits::links_per_client;
use crate::plan::{Plan, PortRange};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// The range of the system where it cannot be read: Linux's default.
const SYSTEM_DEFAULT: PortRange = PortRange { low: 32_768, high: 60_999 };

/// The free ports of each source address.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) range: PortRange,
    free: Vec<Rc<RefCell<VecDeque<u16>>>>,
}

/// A port in use; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) port: u16,
    free: Rc<RefCell<VecDeque<u16>>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.free.borrow_mut().push_back(self.port);
    }
}

impl Ports {
    /// This worker's ports, if they are not to be left to the kernel.
    pub(super) fn new(plan: &Plan, share: Share) -> Option<Self> {
        let sources = plan.sources.len().max(1);
        let needed = u64::from(plan.clients) * links_per_client(plan) / sources as u64;
        let range = match plan.ports {
            Some(range) => range,
            None if needed > u64::from(system_range().count() / 2) => system_range(),
            None => return None,
        };
        let queue = || (range.low..=range.high).skip(share.worker as usize).step_by(share.workers as usize).collect();
        Some(Self { range, free: (0..sources).map(|_| Rc::new(RefCell::new(queue()))).collect() })
    }

    /// The port of this source that has been free for longest; `None` if all are in use.
    pub(super) fn take(&self, source: usize) -> Option<Lease> {
        let free = &self.free[source % self.free.len()];
        let port = free.borrow_mut().pop_front()?;
        Some(Lease { port, free: Rc::clone(free) })
    }
}

/// The ports that the kernel hands out (`net.ipv4.ip_local_port_range`).
pub fn system_range() -> PortRange {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(low), Some(high)) if low <= high => PortRange { low, high },
        _ => SYSTEM_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::target::Target;

    fn plan(clients: u32, ports: Option<PortRange>) -> Plan {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::resolve(&listener.local_addr().unwrap().to_string(), "/").unwrap();
        Plan { ports, ..Plan::new("", target, clients) }
    }

    #[test]
    fn workers_share_the_ports_and_each_returns_to_the_end() {
        let plan = plan(10, Some(PortRange { low: 100, high: 104 }));
        let ports = |worker| Ports::new(&plan, Share { worker, workers: 2, unit: 1 }).unwrap();
        let (even, odd) = (ports(0), ports(1));
        let all = |ports: &Ports| std::iter::from_fn(|| ports.take(0)).collect::<Vec<_>>();
        let numbers = |leases: &[Lease]| leases.iter().map(|lease| lease.port).collect::<Vec<_>>();
        let leases = all(&even);
        assert_eq!((numbers(&leases), numbers(&all(&odd))), (vec![100, 102, 104], vec![101, 103]));
        assert!(even.take(0).is_none());
        drop(leases);
        drop(even.take(0));
        assert_eq!(numbers(&all(&even)), [102, 104, 100]);
    }

    /// Half of the range is where the kernel begins to search.
    #[test]
    fn few_clients_leave_the_choice_to_the_kernel() {
        let half = system_range().count() / 2;
        let alone = Share { worker: 0, workers: 1, unit: 1 };
        assert!(Ports::new(&plan(half, None), alone).is_none());
        let mut plan = plan(half + 1, None);
        assert_eq!(Ports::new(&plan, alone).unwrap().range, system_range());
        plan.sources = vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
        assert!(Ports::new(&plan, alone).is_none());
    }
}
