//! What a process costs: CPU time, resident memory, threads; and where this one runs.
//!
//! CPU is the process CPU clock (`clock_getcpuclockid(3)`): all threads together, io-wq workers included,
//! nanoseconds. For another process the kernel adds a running thread's time at its next tick or switch, so
//! one reading may be up to a tick (1 to 10 ms) behind: measure windows of seconds.
//! On loopback the receiver's TCP softirq is charged to the sender: an absolute figure belongs to this
//! machine and set-up, only ratios taken in the same session travel.
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use std::io;
use std::time::Duration;

/// The CPU clock of one process.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock {
    clock: ClockId,
}

impl CpuClock {
    /// The clock of process `pid`.
    ///
    /// # Errors
    /// `ESRCH` when there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let clock = clock_getcpuclockid(pid_of(pid)?)?;
        Ok(Self { clock })
    }

    /// The clock of this process.
    #[must_use]
    pub fn own() -> Self {
        Self { clock: ClockId::CLOCK_PROCESS_CPUTIME_ID }
    }

    /// CPU time used since the process started.
    ///
    /// # Errors
    /// `EINVAL` when the process is gone.
    pub fn read(self) -> io::Result<Duration> {
        Ok(Duration::from(self.clock.now()?))
    }
}

fn pid_of(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).map(Pid::from_raw).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))
}

/// Resident memory of process `pid` in bytes, from `/proc/PID/smaps_rollup`.
///
/// Not from `statm`: its counters are batched per CPU and may be off by hundreds of pages. Walking the page
/// tables takes the kernel milliseconds and the process's memory lock: never within a measured window.
///
/// # Errors
/// When the process is gone or belongs to another user.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse_rollup(&rollup).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no `Rss:` line in smaps_rollup"))
}

fn parse_rollup(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kilobytes * 1024)
}

/// Threads of process `pid`, io-wq workers included.
///
/// # Errors
/// When the process is gone.
pub fn thread_count(pid: u32) -> io::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// How long the threads of process `pid` have been ready to run without a core, from `/proc/PID/task/*/schedstat`.
///
/// On a machine shared with others a saturated server uses less than a core: its CPU and this wait together
/// fill the time. Threads that have ended are not counted.
///
/// # Errors
/// When the process is gone, or the kernel keeps no such statistics.
pub fn waiting_time(pid: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let Ok(line) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let wait = line.split_whitespace().nth(1).and_then(|field| field.parse().ok());
        let wait =
            wait.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "schedstat without its second field"))?;
        total += Duration::from_nanos(wait);
    }
    Ok(total)
}

/// How often the threads of process `pid` have gone to sleep by themselves, from `/proc/PID/task/*/status`.
///
/// # Errors
/// When the process is gone.
pub fn sleep_count(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let Ok(status) = std::fs::read_to_string(task?.path().join("status")) else {
            continue;
        };
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        total += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(total)
}

/// Keeps the calling thread (and those it starts) on `core`.
///
/// # Errors
/// `EINVAL` when there is no such core or this process may not use it.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

/// Raises the soft limit of open files to the hard one and returns it.
///
/// # Errors
/// What `getrlimit(2)` and `setrlimit(2)` return.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rollup_is_read_in_bytes() {
        let rollup =
            "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:                1716 kB\nPss:                 250 kB\n";
        assert_eq!(parse_rollup(rollup), Some(1716 * 1024));
        assert_eq!(parse_rollup("Pss: 250 kB\n"), None);
    }

    #[test]
    fn own_clock_by_pid_advances_with_work() {
        // Proves that the clock taken by pid is the one of that process: it moves by at least what the
        // process's own clock moved while it worked.
        let by_pid = CpuClock::of(std::process::id()).unwrap();
        let before = by_pid.read().unwrap();
        let start = CpuClock::own().read().unwrap();
        let mut sum = 0_u64;
        while CpuClock::own().read().unwrap() < start + Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        assert!(by_pid.read().unwrap() >= before + Duration::from_millis(20));
    }

    #[test]
    fn own_memory_and_threads_are_seen() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100 * 1024);
        assert!(thread_count(pid).unwrap() >= 1);
        assert!(waiting_time(pid).is_ok());
        let is_counted = || {
            let before = sleep_count(pid).unwrap();
            std::thread::sleep(Duration::from_millis(1));
            sleep_count(pid).unwrap() > before
        };
        // The thread of another test may end meanwhile, and takes its share with it.
        assert!((0..100).any(|_| is_counted()));
        assert!(CpuClock::of(u32::MAX).is_err());
    }
}
