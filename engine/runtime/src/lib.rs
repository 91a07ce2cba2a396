//! The runtime of Ringio: does what the core decides. Threads, clock, chance, drivers, and the mesh between shards.
//!
//! | question | file |
//! |---|---|
//! | the order of work in one iteration | [`turn`] |
//! | what the core may ask of the system | [`kernel`] |
//! | how much one turn does | [`limits`] |
//! | one thread per shard, start and stop | [`shard_thread`] |
//! | what was said before a stop is done before it | `settle` |
//! | what the kernel may still write to | [`uring`]: `in_flight`, `buffers` |
//! | receive buffers exhausted | [`uring`]: `buffers` |
//! | kernel too old, ring refused | [`uring::probe`] |
//! | the same by readiness | [`epoll`] |
//! | memory ordering between cores | [`mesh`]: `ring`, `doorbell` |
//! | async handlers | [`executor`] |
//! | calls from other threads | [`injector`] |
//! | one port, many listeners | [`listener`] |
//! | free memory back to the system | [`trim`] |
//! | TLS, between driver and core | [`tls`] |
//! | how much memory the process has | [`memory`] |
//!
//! Unsafe code lives in `uring`, `epoll` and `mesh` (with `listener`'s system calls); everything else denies it.

#![deny(unsafe_code)]

pub mod budgets;
pub mod clock;
pub mod entropy;
pub mod epoll;
pub mod executor;
pub mod injector;
pub mod kernel;
pub mod limits;
pub mod listener;
pub mod memory;
pub mod mesh;
mod settle;
pub mod shard_thread;
pub mod tls;
pub mod trim;
pub mod turn;
pub mod uring;

#[cfg(test)]
mod driver_tests;
#[cfg(test)]
mod first_shard;
