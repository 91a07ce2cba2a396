//! One pinned thread per shard: makes the shard, its driver and its application, and runs turns until stopped.
//!
//! A failed assertion of the engine stops the process: corrupt state must not be served. Panics of handlers are
//! caught where handlers are called and never reach this thread.

use crate::budgets::Limits;
use crate::clock::{Clock, unix_time_ms};
use crate::entropy;
use crate::epoll::{Epoll, EpollOptions};
use crate::executor::Executor;
use crate::injector::Injector;
use crate::kernel::Kernel;
use crate::listener::{Endpoint, SocketFile};
use crate::memory::{Meter, Watch, worst_case};
use crate::mesh::{Port, mesh};
use crate::trim::TrimMemory;
use crate::turn::Turn;
use crate::uring::{Uring, UringOptions, probe};
use parking_lot::Mutex;
use ringio_core::base::id::ShardIndex;
use ringio_core::door::{Event, PeerMessage};
use ringio_core::gate::Gate;
use ringio_core::options::{Asset, Options, Setup};
use ringio_core::shard::Shard;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Messages that a ring between two shards holds; more wait in the sender's overflow queue.
const MESH_CAPACITY: usize = 1_024;

/// How often a shard that drains looks whether it is to stop at once.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// Which driver moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where the system allows it, epoll otherwise; the log says which and why.
    #[default]
    Auto,
    /// io_uring, or an error with the remedy.
    Uring,
    /// epoll.
    Epoll,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of shards, 1..=4096.
    pub shard_count: u16,
    /// Which driver.
    pub driver: DriverChoice,
    /// Pin each shard's thread to a core of its own, as far as there are cores.
    pub pin_threads: bool,
    /// How long a shard looks on without sleeping after something happened. Default zero: it sleeps at once.
    pub busy_poll: Duration,
    /// Where to listen.
    pub endpoints: Vec<Endpoint>,
    /// The operator's settings.
    pub options: Arc<Options>,
    /// Files served from memory.
    pub assets: Arc<Vec<Asset>>,
    /// At stop, how long sends in flight may take. Milliseconds, default 1_000.
    pub drain_ms: u64,
    /// Who may come in. Default: everybody.
    pub budgets: Limits,
}

/// What an application gets on its shard's thread.
#[derive(Clone, Debug)]
pub struct ShardContext {
    /// Which shard.
    pub index: ShardIndex,
    /// The shard's core; borrowed only for the length of one call.
    pub core: Rc<RefCell<Shard>>,
    /// Runs futures on this shard.
    pub executor: Executor,
}

/// What runs on top of the core, one per shard.
pub trait Application: 'static {
    /// One event; `received` are the bytes it may point into. The core is not borrowed during the call.
    fn handle_event(&self, event: Event, received: &mut [u8]);
    /// A crowd has gone: gives back memory that those who are left do not need.
    fn shrink(&self) {}
    /// The shard is about to end: drop what refers to it.
    fn handle_stop(&self);
}

/// Running shards.
#[derive(Debug)]
pub struct Running<A> {
    injectors: Vec<Injector<A>>,
    addresses: Vec<SocketAddr>,
    driver: DriverChoice,
    stop: Arc<Stop>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Stop {
    is_asked: AtomicBool,
    /// Over how long clients are sent away; the shortest time that was asked for. Milliseconds.
    spread_ms: AtomicU64,
    doorbells: Vec<crate::mesh::doorbell::Doorbell>,
}

/// What one thread is made of.
struct Seat<A, K: Kernel, F> {
    index: ShardIndex,
    settings: Settings,
    listeners: Vec<OwnedFd>,
    /// Go when the last shard has ended.
    files: Arc<Vec<SocketFile>>,
    port: Port<PeerMessage>,
    injector: Injector<A>,
    stop: Arc<Stop>,
    make: Arc<F>,
    gate: Option<Arc<dyn Gate>>,
    meter: Option<Arc<Meter>>,
    trim_memory: TrimMemory,
    ready: Sender<io::Result<(ShardIndex, K::Address)>>,
    peers: Receiver<Vec<K::Address>>,
}

/// Starts the shards and returns when all of them listen.
///
/// # Errors
/// An address cannot be bound, a thread cannot be started, the driver asked for is refused: with the remedy.
pub fn start<A: Application>(
    settings: &Settings,
    make: impl Fn(ShardContext) -> A + Send + Sync + 'static,
) -> io::Result<Running<A>> {
    let driver = match settings.driver {
        DriverChoice::Epoll => DriverChoice::Epoll,
        DriverChoice::Uring => {
            probe::probe().map_err(|refused| io::Error::other(refused.to_string()))?;
            DriverChoice::Uring
        }
        DriverChoice::Auto => match probe::probe() {
            Ok(()) => DriverChoice::Uring,
            Err(refused) => {
                tracing::warn!("io_uring is not available, using epoll: {refused}");
                DriverChoice::Epoll
            }
        },
    };
    let worst = worst_case(&settings.options, &settings.assets);
    tracing::info!(
        shards = settings.shard_count,
        ?driver,
        connection_bytes_max = worst.connection_bytes,
        session_bytes_max = worst.session_bytes,
        tls_bytes_max = worst.tls_bytes,
        shard_bytes_max = worst.shard_bytes + worst.driver_bytes,
        bytes_max_of_10_000_clients = worst.total(10_000, settings.shard_count),
        "starting"
    );
    match driver {
        DriverChoice::Epoll => {
            start_with::<A, Epoll>(settings, driver, make, |bell| Epoll::new(&EpollOptions::default(), bell))
        }
        DriverChoice::Uring | DriverChoice::Auto => start_with::<A, Uring>(settings, driver, make, |bell| {
            Uring::new(&UringOptions::default(), bell).map_err(|refused| io::Error::other(refused.to_string()))
        }),
    }
}

fn start_with<A: Application, K: Kernel + 'static>(
    settings: &Settings,
    driver: DriverChoice,
    make: impl Fn(ShardContext) -> A + Send + Sync + 'static,
    open: fn(&Port<PeerMessage>) -> io::Result<K>,
) -> io::Result<Running<A>> {
    let shard_count = usize::from(settings.shard_count);
    let (mut addresses, mut files) = (Vec::new(), Vec::new());
    let mut listeners: Vec<Vec<OwnedFd>> = (0..shard_count).map(|_| Vec::new()).collect();
    for Endpoint { place, .. } in &settings.endpoints {
        let listening = place
            .listen(shard_count)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {place}: {error}")))?;
        addresses.extend(listening.address);
        files.extend(listening.file);
        for (of_shard, one) in listeners.iter_mut().zip(listening.listeners) {
            of_shard.push(one);
        }
    }
    let files = Arc::new(files);
    let ports = mesh::<PeerMessage>(shard_count, MESH_CAPACITY)?;
    let doorbells = ports.iter().map(Port::doorbell).collect::<Vec<_>>();
    let injectors: Vec<Injector<A>> = doorbells.iter().cloned().map(Injector::new).collect();
    let stop = Arc::new(Stop { is_asked: AtomicBool::new(false), spread_ms: AtomicU64::new(u64::MAX), doorbells });
    let gate = settings.budgets.gate().map(|gate| Arc::new(gate) as Arc<dyn Gate>);
    let meter = settings.budgets.memory_max.map(|bytes_max| Meter::open(bytes_max, shard_count)).transpose()?;
    let meter = meter.map(Arc::new);
    let trim_memory = TrimMemory::start()?;
    let make = Arc::new(make);
    let (ready, answers) = channel();
    let mut threads = Vec::new();
    let mut peers = Vec::new();
    for ((index, port), listeners) in ports.into_iter().enumerate().zip(listeners) {
        let (tell_peers, hear_peers) = channel();
        peers.push(tell_peers);
        let index = ShardIndex(u16::try_from(index).map_err(io::Error::other)?);
        let seat = Seat::<A, K, _> {
            index,
            settings: settings.clone(),
            listeners,
            files: Arc::clone(&files),
            port,
            injector: injectors[usize::from(index.0)].clone(),
            stop: Arc::clone(&stop),
            make: Arc::clone(&make),
            gate: gate.clone(),
            meter: meter.clone(),
            trim_memory: trim_memory.clone(),
            ready: ready.clone(),
            peers: hear_peers,
        };
        threads.push(std::thread::Builder::new().name(format!("ringio-{}", index.0)).spawn(move || run(seat, open))?);
    }
    drop(ready);
    let running = Running { injectors, addresses, driver, stop, threads: Mutex::new(threads) };
    match gather_addresses::<K>(&answers, shard_count) {
        Ok(addresses) => {
            for tell in peers {
                // A thread that is gone has told why through `answers`.
                let _ = tell.send(addresses.clone());
            }
            Ok(running)
        }
        Err(error) => {
            drop(peers);
            running.stop();
            running.join();
            Err(error)
        }
    }
}

/// Waits for every shard's address, in shard order.
fn gather_addresses<K: Kernel>(
    answers: &Receiver<io::Result<(ShardIndex, K::Address)>>,
    shard_count: usize,
) -> io::Result<Vec<K::Address>> {
    let mut addresses: Vec<(ShardIndex, K::Address)> = Vec::with_capacity(shard_count);
    for _ in 0..shard_count {
        let answer = answers.recv().map_err(|_| io::Error::other("a shard's thread ended before it was ready"))?;
        addresses.push(answer?);
    }
    addresses.sort_by_key(|(index, _)| *index);
    Ok(addresses.into_iter().map(|(_, address)| address).collect())
}

/// The life of one shard's thread.
fn run<A: Application, K: Kernel, F: Fn(ShardContext) -> A>(
    seat: Seat<A, K, F>,
    open: fn(&Port<PeerMessage>) -> io::Result<K>,
) {
    let _guard = AbortOnPanic;
    if seat.settings.pin_threads {
        pin(seat.index);
    }
    let Seat {
        index,
        settings,
        listeners,
        files: _files,
        port,
        injector,
        stop,
        make,
        gate,
        meter,
        trim_memory,
        ready,
        peers,
    } = seat;
    let opened = open(&port).and_then(|kernel| Ok((kernel, entropy::seed()?)));
    let (mut kernel, seed) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    if ready.send(Ok((index, kernel.address()))).is_err() {
        return;
    }
    drop(ready);
    let Ok(addresses) = peers.recv() else { return };
    kernel.set_peers(addresses);
    let setup = Setup {
        options: Arc::clone(&settings.options),
        assets: Arc::clone(&settings.assets),
        shard: index,
        shard_count: settings.shard_count,
        seed,
        unix_time_ms: unix_time_ms(),
    };
    let mut core = Shard::new(setup);
    if let Some(gate) = gate {
        core.set_gate(gate);
    }
    let core = Rc::new(RefCell::new(core));
    let executor = Executor::new(port.doorbell());
    let application = make(ShardContext { index, core: Rc::clone(&core), executor: executor.clone() });
    // What was refused does not count as a listener, so it must not count here either.
    let mut tls = Vec::new();
    for (listener, endpoint) in listeners.into_iter().zip(&settings.endpoints) {
        match kernel.listen(listener) {
            Ok(()) => tls.push(endpoint.tls.clone()),
            Err(error) => tracing::error!("shard {} cannot accept: {error}", index.0),
        }
    }
    let turn = Turn::new(kernel, core, application, port, injector, executor, Clock::start());
    let watch = meter.map(|meter| Watch::new(meter, index));
    let turn = turn.with_tls(tls).with_busy_poll(settings.busy_poll);
    let mut turn = turn.with_watch(watch).with_trim_memory(trim_memory);
    while !stop.is_asked.load(Ordering::Acquire) {
        turn.run(None);
    }
    let spread_ms = stop.spread_ms.load(Ordering::Relaxed);
    if spread_ms > 0 {
        turn.settle();
        let end = turn.begin_drain(spread_ms);
        // Somebody may have lost patience.
        while !turn.is_drained(end) && stop.spread_ms.load(Ordering::Relaxed) > 0 {
            turn.run(Some(STOP_LOOK));
        }
    }
    turn.stop(settings.drain_ms);
}

/// Pins the thread to the core of its number, if there is one.
fn pin(index: ShardIndex) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = cores.get(usize::from(index.0)) {
        core_affinity::set_for_current(*core);
    }
}

/// Stops the process when its thread panics: the panic has been printed, and what the shard holds cannot be trusted.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl<A: Application> Running<A> {
    /// One injector per shard.
    #[must_use]
    pub fn injectors(&self) -> &[Injector<A>] {
        &self.injectors
    }

    /// Where the server listens, as far as these are IP addresses: with the port that 0 became.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Which driver runs.
    #[must_use]
    pub fn driver(&self) -> DriverChoice {
        self.driver
    }

    /// Asks all shards to stop: accept no more, end all sessions with `server shutting down`, drain, end. Returns at once.
    pub fn stop(&self) {
        self.stop_over(0);
    }

    /// The same, but the sessions are ended in equal shares over this time first. Milliseconds. The shortest of several counts.
    pub fn stop_over(&self, spread_ms: u64) {
        self.stop.spread_ms.fetch_min(spread_ms, Ordering::Relaxed);
        self.stop.is_asked.store(true, Ordering::Release);
        for doorbell in &self.stop.doorbells {
            doorbell.ring();
        }
    }

    /// Waits until all shards have ended.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A panic of the thread has stopped the process already.
            let _ = thread.join();
        }
    }
}
