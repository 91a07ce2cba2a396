//! Resident memory, descriptors and CPU of the server over time, and the line through them.

use ringio_bench::process::{CpuClock, resident_bytes, thread_count};
use std::fs::{self, File};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// What was seen so far.
pub(crate) struct Samples {
    pid: u32,
    clock: CpuClock,
    start: Instant,
    /// Since the start, and resident bytes.
    memory: Vec<(Duration, f64)>,
    file: File,
}

/// The line fitted to resident memory.
pub(crate) struct Slope {
    /// Where it begins, after the first third. Bytes.
    pub(crate) level: f64,
    /// Bytes.
    pub(crate) per_minute: f64,
    /// From there to the end of the load, as a part of the level.
    pub(crate) growth: f64,
}

impl Samples {
    pub(crate) fn new(pid: u32, mut file: File) -> io::Result<Self> {
        writeln!(file, "seconds,resident_bytes,descriptors,threads,cpu_seconds,faulty_clients_held")?;
        Ok(Self { pid, clock: CpuClock::of(pid)?, start: Instant::now(), memory: Vec::new(), file })
    }

    pub(crate) fn take(&mut self, held: usize) -> io::Result<()> {
        let (at, bytes) = (self.start.elapsed(), resident_bytes(self.pid)?);
        self.memory.push((at, bytes as f64));
        let (descriptors, threads) = (descriptors(self.pid)?, thread_count(self.pid)?);
        let cpu = self.cpu()?.as_secs_f64();
        writeln!(self.file, "{:.1},{bytes},{descriptors},{threads},{cpu:.2},{held}", at.as_secs_f64())
    }

    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        self.clock.read()
    }

    pub(crate) fn last_bytes(&self) -> f64 {
        self.memory.last().map_or(0.0, |(_, bytes)| *bytes)
    }

    /// Over the last two thirds of the load: the first one fills pools and tables to what the load asks for.
    pub(crate) fn slope(&self, load: Duration) -> Slope {
        let points: Vec<(f64, f64)> = self
            .memory
            .iter()
            .filter(|(at, _)| *at > load / 3 && *at <= load)
            .map(|(at, bytes)| (at.as_secs_f64() / 60.0, *bytes))
            .collect();
        fit(&points)
    }
}

/// Least squares.
fn fit(points: &[(f64, f64)]) -> Slope {
    let count = points.len().max(1) as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let across: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let along: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let per_minute = if across > 0.0 { along / across } else { 0.0 };
    let at = |x: f64| y_mean + per_minute * (x - x_mean);
    let first = points.first().map_or(0.0, |point| point.0);
    let last = points.last().map_or(0.0, |point| point.0);
    Slope { level: at(first), per_minute, growth: at(last) / at(first) - 1.0 }
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_has_a_slope_and_noise_has_none() {
        let leak: Vec<_> = (0..60).map(|at| (f64::from(at), 1e7 + 1e5 * f64::from(at))).collect();
        let slope = fit(&leak);
        assert!((slope.per_minute - 1e5).abs() < 1.0 && (slope.growth - 0.59).abs() < 0.001, "{}", slope.growth);
        let noise: Vec<_> = (0..60).map(|at| (f64::from(at), 1e7 + if at % 2 == 0 { 1e5 } else { 0.0 })).collect();
        assert!(fit(&noise).growth.abs() < 0.001);
    }
}
