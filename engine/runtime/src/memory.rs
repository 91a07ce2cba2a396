//! How much memory the process has, and who is told that it is short.
//!
//! ```text
//!   /proc/self/statm --look, by whichever shard's turn comes first--> Meter: level, step, each shard's share of the step
//!                                                                        |  one word, which every turn compares
//!                                     shard: set_pressure, shed <--------+
//! ```
//! The core decides what is given up (`shard/pressure.rs`); the thresholds, with their reasons, are in its `limits`. What is measured is
//! the resident memory of the whole process, the application's included: it is what the system ends a process for.
//!
//! A step's claim is divided among the shards by what each could give up when it was last asked, equally when none could: the clients
//! who hold most may all be on one.
//!
//! Cost with a bound set: two relaxed loads per turn; ten times a second, on one shard, one system call; four turns per second on
//! a shard that has nothing to do. Without one: nothing.

use crate::epoll::{EVENTS_BYTES, EpollOptions, system};
use crate::kernel::Kernel;
use crate::tls::{self, Stage};
use crate::uring::UringOptions;
use parking_lot::Mutex;
use ringio_core::base::frame::Frame;
use ringio_core::base::id::{FileId, ShardIndex};
use ringio_core::base::time::Time;
use ringio_core::limits::{
    self, MEMORY_CALM_PERCENT, MEMORY_ENOUGH_PERCENT, MEMORY_LOOK_INTERVAL_MS, MEMORY_OVER_PERCENT,
    MEMORY_SHORT_PERCENT, MEMORY_STEP_INTERVAL_MS, MEMORY_TRIM_INTERVAL_MS, WorstCase,
};
use ringio_core::options::{Asset, Options};
use ringio_core::shard::Shard;
use ringio_core::shard::pressure::Pressure;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest wait of a shard while there is a bound: one that has nothing to do takes part in every step.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(MEMORY_STEP_INTERVAL_MS);

/// Where resident memory is seen: the seam at which a test takes the system's place.
pub trait Gauge: Send {
    /// Bytes at this moment.
    ///
    /// # Errors
    /// They cannot be known.
    fn resident_bytes(&mut self) -> io::Result<u64>;
    /// Has the allocator give back what is free.
    fn trim(&mut self);
}

/// The system's own account, kept open: `/proc/self/statm`, in pages. On many cores it may be some MiB behind.
#[derive(Debug)]
struct Statm {
    file: File,
    page_bytes: u64,
}

impl Gauge for Statm {
    fn resident_bytes(&mut self) -> io::Result<u64> {
        let mut text = [0; 128];
        let len = self.file.read_at(&mut text, 0)?;
        let pages = resident_pages(&text[..len]).ok_or(io::ErrorKind::InvalidData)?;
        Ok(pages.saturating_mul(self.page_bytes))
    }

    fn trim(&mut self) {
        system::trim_memory();
    }
}

/// The second number. Source: proc_pid_statm(5).
fn resident_pages(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The memory of the process against its bound: one for all shards.
pub struct Meter {
    bytes_max: u64,
    look_at_ms: AtomicU64,
    /// The level, and above its two bits the number of the last step.
    state: AtomicU64,
    /// Of the last step, by shard.
    shares: Box<[AtomicU64]>,
    /// What each shard could still give up, as it said last.
    left: Box<[AtomicU64]>,
    watcher: Mutex<Watcher>,
}

/// What only who looks needs.
struct Watcher {
    gauge: Box<dyn Gauge>,
    level: Pressure,
    step_at_ms: u64,
    trim_at_ms: u64,
    is_blind: bool,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.load(Ordering::Relaxed);
        f.debug_struct("Meter").field("bytes_max", &self.bytes_max).field("state", &state).finish_non_exhaustive()
    }
}

impl Meter {
    /// One that sees this process.
    ///
    /// # Errors
    /// The system does not say how much memory the process has.
    pub fn open(bytes_max: u64, shard_count: usize) -> io::Result<Self> {
        let unknown = |error: io::Error| {
            let text = format!("memory_max: /proc/self/statm cannot be read ({error}); mount /proc, or leave it out");
            io::Error::new(error.kind(), text)
        };
        let file = File::open("/proc/self/statm").map_err(unknown)?;
        let mut statm = Statm { file, page_bytes: system::page_bytes() };
        statm.resident_bytes().map_err(unknown)?;
        Ok(Self::new(bytes_max, shard_count, statm))
    }

    /// One that sees what `gauge` says.
    #[must_use]
    pub fn new(bytes_max: u64, shard_count: usize, gauge: impl Gauge + 'static) -> Self {
        let zeros = || (0..shard_count).map(|_| AtomicU64::new(0)).collect();
        let watcher =
            Watcher { gauge: Box::new(gauge), level: Pressure::Calm, step_at_ms: 0, trim_at_ms: 0, is_blind: false };
        let (look_at_ms, state) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { bytes_max, look_at_ms, state, shares: zeros(), left: zeros(), watcher: Mutex::new(watcher) }
    }

    /// Whether a look is due, and it is this caller's. The shards' clocks differ by a little, which does not matter.
    fn claim_look(&self, now_ms: u64) -> bool {
        let at = self.look_at_ms.load(Ordering::Relaxed);
        let next = now_ms + MEMORY_LOOK_INTERVAL_MS;
        now_ms >= at && self.look_at_ms.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn percent(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(100) / self.bytes_max.max(1)
    }

    fn is_over(&self, bytes: u64) -> bool {
        self.percent(bytes) >= MEMORY_OVER_PERCENT
    }

    fn look(&self, now_ms: u64) {
        // Somebody else still looks: the allocator may take longer than the interval.
        let Some(mut watcher) = self.watcher.try_lock() else { return };
        let mut bytes = match watcher.gauge.resident_bytes() {
            Ok(bytes) => bytes,
            Err(_) if watcher.is_blind => return,
            Err(error) => {
                watcher.is_blind = true;
                return tracing::warn!("memory_max is not watched any more: /proc/self/statm cannot be read: {error}");
            }
        };
        let mut level = level(watcher.level, self.percent(bytes));
        let is_step_due = now_ms >= watcher.step_at_ms;
        let is_trim_due = now_ms >= watcher.trim_at_ms && level != Pressure::Calm;
        // What is free but not given back counts as resident: nobody is to be closed for it, and nobody kept out.
        if is_trim_due || (is_step_due && self.is_over(bytes)) {
            watcher.gauge.trim();
            bytes = watcher.gauge.resident_bytes().unwrap_or(bytes);
            level = self::level(watcher.level, self.percent(bytes));
            let pause = if level == Pressure::Over { MEMORY_STEP_INTERVAL_MS } else { MEMORY_TRIM_INTERVAL_MS };
            watcher.trim_at_ms = now_ms + pause;
        }
        let before = std::mem::replace(&mut watcher.level, level);
        if before != level {
            self.tell(before, level, bytes);
        }
        let is_step = is_step_due && self.is_over(bytes);
        if is_step {
            watcher.step_at_ms = now_ms + MEMORY_STEP_INTERVAL_MS;
            self.divide(bytes - self.bytes_max / 100 * MEMORY_ENOUGH_PERCENT);
        }
        let step = (self.state.load(Ordering::Relaxed) >> 2) + u64::from(is_step);
        // Whoever sees it sees its shares.
        self.state.store(step << 2 | level as u64, Ordering::Release);
    }

    /// To an operator, once per change.
    fn tell(&self, before: Pressure, level: Pressure, resident_bytes: u64) {
        let memory_max = self.bytes_max;
        match level {
            Pressure::Calm => tracing::warn!(resident_bytes, memory_max, "memory is not short any longer"),
            Pressure::Short if before == Pressure::Over => {
                tracing::warn!(resident_bytes, memory_max, "memory is still short: no session opens");
            }
            Pressure::Short => tracing::warn!(resident_bytes, memory_max, "memory is short: no session opens"),
            Pressure::Over => {
                tracing::warn!(resident_bytes, memory_max, "memory is over its bound: who holds most is closed");
            }
        }
    }

    fn divide(&self, overshoot: u64) {
        let left: Vec<u64> = self.left.iter().map(|left| left.load(Ordering::Relaxed)).collect();
        let all: u128 = left.iter().map(|left| u128::from(*left)).sum();
        for (share, left) in self.shares.iter().zip(&left) {
            let bytes = match (u128::from(overshoot) * u128::from(*left)).checked_div(all) {
                Some(bytes) => bytes as u64,
                None => overshoot.div_ceil(self.shares.len() as u64),
            };
            share.store(bytes, Ordering::Relaxed);
        }
    }
}

/// The level at so many percent, after `before`.
fn level(before: Pressure, percent: u64) -> Pressure {
    match before {
        _ if percent >= MEMORY_OVER_PERCENT => Pressure::Over,
        Pressure::Over if percent >= MEMORY_ENOUGH_PERCENT => Pressure::Over,
        Pressure::Calm if percent < MEMORY_SHORT_PERCENT => Pressure::Calm,
        _ if percent < MEMORY_CALM_PERCENT => Pressure::Calm,
        _ => Pressure::Short,
    }
}

fn level_of(state: u64) -> Pressure {
    [Pressure::Calm, Pressure::Short, Pressure::Over, Pressure::Over][(state & 3) as usize]
}

/// What one shard has seen of the meter.
#[derive(Debug)]
pub struct Watch {
    meter: Arc<Meter>,
    shard: usize,
    seen: u64,
}

impl Watch {
    /// For this shard.
    #[must_use]
    pub fn new(meter: Arc<Meter>, shard: ShardIndex) -> Self {
        Self { meter, shard: usize::from(shard.0), seen: 0 }
    }

    /// Once per turn: looks, if that is due, and says whether something is to be done.
    #[inline]
    pub(crate) fn has_news(&self, now: Time) -> bool {
        if self.meter.claim_look(now.as_millis()) {
            self.meter.look(now.as_millis());
        }
        self.meter.state.load(Ordering::Relaxed) != self.seen
    }

    /// Does what the meter asks for. What the core has to say of it waits in its queues.
    pub(crate) fn heed<K: Kernel>(&mut self, now: Time, core: &mut Shard, kernel: &K, tls: &mut Stage) {
        let state = self.meter.state.load(Ordering::Acquire);
        let level = level_of(state);
        if core.set_pressure(level) {
            tls.shrink();
            system::trim_memory();
        }
        if state >> 2 != self.seen >> 2 && level == Pressure::Over {
            let share = self.meter.shares[self.shard].load(Ordering::Relaxed);
            let in_flight = |file: FileId| {
                let frames = [kernel.sending(file), tls.sending(file)];
                frames.into_iter().flatten().map(Frame::share_bytes).sum::<usize>()
            };
            let shed = core.shed(now, share, &in_flight);
            self.meter.left[self.shard].store(shed.left_bytes, Ordering::Relaxed);
        }
        self.seen = state;
    }
}

/// A connection in the driver's tables, which may have twice the places. Bytes.
const DRIVER_CONNECTION_BYTES: u64 = 256;

/// What clients can make the engine hold at worst: what the core says, and what TLS, the driver and these pages add.
#[must_use]
pub fn worst_case(options: &Options, assets: &[Asset]) -> WorstCase {
    let core = limits::worst_case(options);
    let page =
        |asset: &Asset| asset.encoded.iter().map(|(_, body)| body.len()).max().unwrap_or(0).max(asset.body.len());
    let page_bytes = assets.iter().map(page).max().unwrap_or(0) as u64;
    let driver =
        UringOptions::default().memory_bytes().max(EpollOptions::default().scratch_bytes as u64 + EVENTS_BYTES);
    WorstCase {
        // One is on its way, and one waits that was asked for when there was room.
        connection_bytes: core.connection_bytes + DRIVER_CONNECTION_BYTES + 2 * page_bytes,
        tls_bytes: tls::CONNECTION_BYTES_MAX,
        driver_bytes: driver + tls::SHARD_BYTES_MAX,
        ..core
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::Hand;
    use crate::epoll::Epoll;
    use crate::executor::Executor;
    use crate::first_shard::first_shard;
    use crate::injector::Injector;
    use crate::mesh::mesh;
    use crate::shard_thread::Application;
    use crate::turn::Turn;
    use ringio_core::door::Event;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::atomic::AtomicBool;

    const MAX: u64 = 1_000_000;

    /// Says what a test says; of `free` bytes the allocator gives back all when it is asked.
    #[derive(Clone, Default)]
    struct Fake(Arc<FakeMemory>);

    #[derive(Default)]
    struct FakeMemory {
        held: AtomicU64,
        free: AtomicU64,
        trims: AtomicU64,
        looks: AtomicU64,
        is_gone: AtomicBool,
    }

    impl Gauge for Fake {
        fn resident_bytes(&mut self) -> io::Result<u64> {
            self.0.looks.fetch_add(1, Ordering::Relaxed);
            if self.0.is_gone.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(self.0.held.load(Ordering::Relaxed) + self.0.free.load(Ordering::Relaxed))
        }

        fn trim(&mut self) {
            self.0.trims.fetch_add(1, Ordering::Relaxed);
            self.0.free.store(0, Ordering::Relaxed);
        }
    }

    impl Fake {
        fn meter(&self, shard_count: usize) -> Meter {
            Meter::new(MAX, shard_count, self.clone())
        }

        /// The level and the number of steps after a look at this time, at so many percent.
        fn look(&self, meter: &Meter, now_ms: u64, percent: u64) -> (Pressure, u64) {
            self.0.held.store(MAX / 100 * percent, Ordering::Relaxed);
            assert!(meter.claim_look(now_ms), "a look is due");
            meter.look(now_ms);
            let state = meter.state.load(Ordering::Relaxed);
            (level_of(state), state >> 2)
        }

        fn trims(&self) -> u64 {
            self.0.trims.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn levels_are_left_lower_than_they_are_entered() {
        let fake = Fake::default();
        let meter = fake.meter(1);
        let levels: Vec<Pressure> = [79, 80, 76, 75, 74, 79, 100, 97, 95, 94, 80, 75, 74]
            .into_iter()
            .enumerate()
            .map(|(at, percent)| fake.look(&meter, at as u64 * 1_000, percent).0)
            .collect();
        let (calm, short, over) = (Pressure::Calm, Pressure::Short, Pressure::Over);
        assert_eq!(levels, [calm, short, short, short, calm, calm, over, over, over, short, short, short, calm]);
    }

    #[test]
    fn one_caller_looks_and_no_sooner_than_the_interval() {
        let fake = Fake::default();
        let meter = fake.meter(2);
        fake.look(&meter, 5_000, 10);
        assert!(!meter.claim_look(5_000 + MEMORY_LOOK_INTERVAL_MS - 1));
        assert!(meter.claim_look(5_000 + MEMORY_LOOK_INTERVAL_MS));
        assert!(!meter.claim_look(5_000 + MEMORY_LOOK_INTERVAL_MS), "somebody else was first");
        assert!(!meter.claim_look(0), "a clock that is behind waits");
        assert_eq!(fake.0.looks.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_free_is_given_back_before_anybody_pays_for_it() {
        let fake = Fake::default();
        let meter = fake.meter(1);
        fake.0.free.store(MAX, Ordering::Relaxed);
        assert_eq!(fake.look(&meter, 0, 50), (Pressure::Calm, 0), "more than there may be, but it was free");
        assert_eq!(fake.trims(), 1);
        // While memory is short that is tried again, not at every look, so that who comes later is not kept out for nothing.
        for (at, percent) in [(10, 80), (11, 80), (15, 80)] {
            fake.look(&meter, at * 100, percent);
        }
        assert_eq!(fake.trims(), 2);
        fake.0.free.store(MAX, Ordering::Relaxed);
        assert_eq!(fake.look(&meter, 1_700, 80), (Pressure::Short, 0), "before each step");
        assert_eq!(fake.trims(), 3);
        fake.0.free.store(MAX / 10 * 4, Ordering::Relaxed);
        assert_eq!(fake.look(&meter, 2_700, 40), (Pressure::Calm, 0));
        assert_eq!(fake.trims(), 4);
        fake.look(&meter, 9_000, 79);
        assert_eq!(fake.trims(), 4, "nothing is asked of the allocator while there is enough");
    }

    #[test]
    fn steps_are_apart_and_are_divided_by_what_each_shard_can_give() {
        let fake = Fake::default();
        let meter = fake.meter(4);
        let shares = |meter: &Meter| meter.shares.iter().map(|share| share.load(Ordering::Relaxed)).collect::<Vec<_>>();
        assert_eq!(fake.look(&meter, 1_000, 115), (Pressure::Over, 1));
        assert_eq!(shares(&meter), [50_000; 4], "down to 95 percent, equally: nobody has said what it holds");
        assert_eq!(fake.look(&meter, 1_100, 115), (Pressure::Over, 1), "what was freed must be seen first");
        assert_eq!(fake.look(&meter, 1_249, 115), (Pressure::Over, 1));
        for (left, bytes) in meter.left.iter().zip([0, 3_000, 0, 1_000]) {
            left.store(bytes, Ordering::Relaxed);
        }
        assert_eq!(fake.look(&meter, 1_350, 115), (Pressure::Over, 2));
        assert_eq!(shares(&meter), [0, 150_000, 0, 50_000]);
        assert_eq!(fake.look(&meter, 1_700, 99), (Pressure::Over, 2), "no step below the bound");
        assert_eq!(fake.look(&meter, 1_800, 94), (Pressure::Short, 2));
        assert_eq!(fake.look(&meter, 1_900, 100), (Pressure::Over, 3));
    }

    #[test]
    fn a_level_stays_when_nothing_can_be_seen() {
        let fake = Fake::default();
        let meter = fake.meter(1);
        fake.look(&meter, 0, 85);
        fake.0.is_gone.store(true, Ordering::Relaxed);
        assert_eq!(fake.look(&meter, 100, 10), (Pressure::Short, 0));
        assert_eq!(fake.look(&meter, 200, 10), (Pressure::Short, 0));
        fake.0.is_gone.store(false, Ordering::Relaxed);
        assert_eq!(fake.look(&meter, 300, 10), (Pressure::Calm, 0));
    }

    #[test]
    fn the_system_says_how_much_there_is() {
        assert_eq!(resident_pages(b"4096 137 50 1 0 900 0\n"), Some(137));
        assert_eq!(resident_pages(b"4096"), None);
        assert_eq!(resident_pages(b"4096 x"), None);
        let meter = Meter::open(1 << 40, 1).unwrap();
        let resident = |meter: &Meter| meter.watcher.lock().gauge.resident_bytes().unwrap();
        let grown = || {
            let before = resident(&meter);
            let held = vec![1_u8; 64 << 20];
            let after = resident(&meter);
            drop(std::hint::black_box(held));
            after.saturating_sub(before)
        };
        // Other tests of this process come and go meanwhile, some with as much.
        assert!((0..50).any(|_| grown() > 32 << 20), "64 MiB more are not seen");
        let told = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        let is_the_same = |told: u64| (told / 2..told * 2).contains(&resident(&meter));
        assert!((0..50).any(|_| is_the_same(told())), "{} and {}", told(), resident(&meter));
    }

    struct Silent;

    impl Application for Silent {
        fn handle_event(&self, _: Event, _: &mut [u8]) {}
        fn handle_stop(&self) {}
    }

    /// One shard's loop, on a clock that is moved.
    fn turn(meter: &Arc<Meter>, core: &Rc<RefCell<Shard>>, hand: &Hand) -> Turn<Epoll, Silent, Hand> {
        let port = mesh(1, 4).unwrap().pop().unwrap();
        let (injector, executor) = (Injector::new(port.doorbell()), Executor::new(port.doorbell()));
        let kernel = Epoll::new(&EpollOptions::default(), &port).unwrap();
        let turn = Turn::new(kernel, Rc::clone(core), Silent, port, injector, executor, hand.clone());
        turn.with_watch(Some(Watch::new(Arc::clone(meter), ShardIndex(0))))
    }

    #[test]
    fn a_shard_hears_of_each_change_and_says_what_it_could_give() {
        let (fake, hand) = (Fake::default(), Hand::default());
        let meter = Arc::new(fake.meter(1));
        let core = first_shard(1);
        let mut turn = turn(&meter, &core, &hand);
        turn.run(Some(Duration::ZERO));
        assert_eq!(turn.prepare_wait(None), Some(WAIT_MAX), "it takes part though nothing happens");
        turn.run_after(Some(Duration::ZERO));
        let mut at = |now_ms: u64, percent: u64| {
            fake.0.held.store(MAX / 100 * percent, Ordering::Relaxed);
            hand.0.set(now_ms);
            turn.run(Some(Duration::ZERO));
            let mut core = core.borrow_mut();
            (core.admits(None), core.counters().shed_pools)
        };
        assert_eq!(at(1_000, 50), (true, 0));
        assert_eq!(at(1_200, 85), (true, 1));
        meter.left[0].store(77, Ordering::Relaxed);
        assert_eq!(at(1_400, 110), (false, 1));
        assert_eq!(meter.left[0].load(Ordering::Relaxed), 0, "nobody is there");
        assert_eq!(at(1_450, 10), (false, 1), "not looked at yet");
        assert_eq!(at(1_500, 10), (true, 1));
        assert_eq!(at(1_600, 80), (true, 2));
    }

    /// The core's own sums are tested there; these are the terms that it does not know.
    #[test]
    fn the_worst_case_has_the_terms_of_tls_the_driver_and_the_pages() {
        let (options, core) = (Options::default(), limits::worst_case(&Options::default()));
        let page = Asset {
            path: "/".into(),
            content_type: "text/html".into(),
            etag: String::new(),
            body: Arc::from(vec![0; 1_000]),
            encoded: Vec::new(),
        };
        let worst = worst_case(&options, &[page]);
        assert_eq!(worst.connection_bytes, core.connection_bytes + DRIVER_CONNECTION_BYTES + 2_000);
        assert_eq!((worst.session_bytes, worst.shard_bytes), (core.session_bytes, core.shard_bytes));
        // Pools of 4 and 2 MiB, a ring of 1,024 and 8,192 entries, and TLS's pool of 4 MiB.
        assert!((10 << 20..12 << 20).contains(&worst.driver_bytes), "{}", worst.driver_bytes);
        // A handshake that comes, a chain of certificates that goes, a piece of ciphertext: none of it more than its bound twice.
        assert!((512 << 10..2 << 20).contains(&worst.tls_bytes), "{}", worst.tls_bytes);
    }
}
