//! The hot paths, each as one unit of work that can be repeated: one list for three measurements.
//!
//! ```text
//!   PATHS --> benches/hot.rs        criterion: time, on this machine
//!         --> bin/instructions.rs   callgrind: instructions, comparable between machines; CI compares them
//!         --> tests/allocations.rs  a counting allocator: the steady state allocates what the list says, and no more
//! ```
//! `make` prepares everything outside of the measured part. A unit returns a number made of its results, so that the
//! compiler cannot leave it out; a path whose number changes has been changed.

pub mod client;
mod codec;
mod memory;
mod mesh;
mod rooms;
pub mod shard;
mod turn;

/// One hot path.
#[derive(Clone, Copy, Debug)]
pub struct HotPath {
    /// Name: the part of the system and what it does.
    pub name: &'static str,
    /// Prepares the path; each call of what it returns is one unit.
    pub make: fn() -> Box<dyn FnMut() -> u64>,
    /// Units of the name in one call: receivers of a broadcast, timers armed.
    pub units: u32,
    /// Allocations of one call in the steady state.
    pub allocations: u64,
}

/// Every hot path, in the order of a message's way.
pub const PATHS: &[&[HotPath]] = &[codec::PATHS, rooms::PATHS, memory::PATHS, mesh::PATHS, shard::PATHS, turn::PATHS];

/// All of them.
pub fn paths() -> impl Iterator<Item = &'static HotPath> {
    PATHS.iter().flat_map(|paths| paths.iter())
}

/// The path of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static HotPath> {
    paths().find(|path| path.name == name)
}
