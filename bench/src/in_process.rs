//! What a piece of work costs in this process, by its CPU clock: a few interleaved rounds of many calls.
use crate::process::CpuClock;
use std::hint::black_box;
use std::io;

/// CPU nanoseconds of one call of `unit`, one figure per round.
///
/// # Errors
/// When the clock cannot be read.
pub fn cpu_ns(rounds: usize, calls: u32, mut unit: impl FnMut() -> u64) -> io::Result<Vec<f64>> {
    let clock = CpuClock::own();
    // A round that does not count warms up caches and pools.
    for _ in 0..calls {
        black_box(unit());
    }
    let mut figures = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let before = clock.read()?;
        for _ in 0..calls {
            black_box(unit());
        }
        figures.push((clock.read()? - before).as_nanos() as f64 / f64::from(calls));
    }
    Ok(figures)
}
