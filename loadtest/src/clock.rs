//! The one clock of a run, and the only file that reads it.
//!
//! Nanoseconds of `CLOCK_MONOTONIC`, which all processes of a machine share: a message that one process stamps may be
//! received by another one of the same run.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Two clocks read one after the other within this time are read at once.
const HELD_UP_NS: u64 = 10_000;

/// Nanoseconds since an arbitrary, fixed instant.
pub fn now_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// How far the clock of day, by which the kernel says when something arrived, is ahead of [`now_ns`]. Nanoseconds; none if the thread
/// was held up while it looked.
pub fn day_ahead_ns() -> Option<u64> {
    let before = now_ns();
    let day = read(ClockId::CLOCK_REALTIME);
    (now_ns() - before < HELD_UP_NS).then(|| day.wrapping_sub(before))
}

/// CPU time that the calling thread has used. Nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: ClockId) -> u64 {
    // Cannot fail: these clocks exist on every Linux, and the address is a local variable's.
    clock_gettime(clock).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}
