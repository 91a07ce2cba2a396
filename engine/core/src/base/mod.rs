//! What knows nothing of the domain: names, tables, slabs, bits, time, the wheel, shared bytes, the seed.
//!
//! Everything here is usable by every floor and uses none of them.

pub mod bit_set;
pub mod frame;
pub mod frame_pool;
pub mod id;
pub mod kept;
#[cfg(ringio_planted)]
pub mod planted;
pub mod seed;
pub mod slab;
pub mod table;
pub mod time;
pub mod wheel;
