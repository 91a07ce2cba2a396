//! For tests of what goes on around a shard: a core with nothing in it and every option as it comes.

use ringio_core::base::id::ShardIndex;
use ringio_core::options::Setup;
use ringio_core::shard::Shard;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The first of so many shards.
pub(crate) fn first_shard(shard_count: u16) -> Rc<RefCell<Shard>> {
    let setup = Setup {
        options: Arc::default(),
        assets: Arc::default(),
        shard: ShardIndex(0),
        shard_count,
        seed: [1; 32],
        unix_time_ms: 0,
    };
    Rc::new(RefCell::new(Shard::new(setup)))
}
