//! From shard to shard.

use super::HotPath;
use ringio_core::base::id::ShardIndex;
use ringio_runtime::mesh::mesh;

pub(super) const PATHS: &[HotPath] =
    &[HotPath { name: "mesh: a message to an awake shard and its receipt", make: passed, units: 1, allocations: 0 }];

fn passed() -> Box<dyn FnMut() -> u64> {
    let mut ports = mesh::<u64>(2, 1_024).expect("two eventfds");
    let (mut to, mut from) = (ports.pop().expect("two"), ports.pop().expect("two"));
    to.woke();
    let mut number = 0;
    Box::new(move || {
        number += 1;
        from.send(ShardIndex(1), number);
        from.flush();
        to.receive().map_or(0, |(_, number)| number)
    })
}
