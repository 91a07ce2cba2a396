//! A story: shards, kernel, network and clients, until nobody is left.
//!
//! ```text
//!   act ----------> settle ----------> leave ------------> stop ------> end
//!   chance rules    everybody reads    clients go, deadlines      every driver is dropped
//!                   what is owed is    get rid of the rest,
//!                   there              nothing is left
//! ```
//! One thread; shards are coroutines that run the production loop and are suspended where it would wait. The scheduler
//! picks one of those who have something to do at the present instant; if there is none, time moves on to the next
//! instant at which somebody has.

use crate::application::{Common, Outside, TestApplication};
use crate::chance::Chance;
use crate::client::{Client, Habits, Temper};
use crate::clock::{Micros, SimulatedClock};
use crate::kernel::{Faults, Pause, SharedKernel, SimulatedKernel, SimulatedRing, Sizes};
use crate::network::Network;
use crate::oracle::{Counts, Oracle};
use crate::trace::{self, note};
use corosensei::{Coroutine, CoroutineResult};
use ringio_core::base::id::{NamespaceId, ShardIndex};
use ringio_core::options::{Options, RecoveryOptions, Setup};
use ringio_core::room::select::Target;
use ringio_core::shard::Shard;
use ringio_runtime::executor::Executor;
use ringio_runtime::injector::Injector;
use ringio_runtime::kernel::Kernel;
use ringio_runtime::mesh::mesh;
use ringio_runtime::turn::Turn;
use ringio_runtime::uring::{Uring, UringOptions};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;

/// Steps after which a story that has not ended is one that never will.
const STEPS_MAX: u64 = 1_000_000;
/// How long everybody may take to read what is owed. Microseconds.
const SETTLING: Micros = 4_000_000;
/// After this time deadlines must have got rid of everybody. Microseconds.
const PATIENCE: Micros = 200_000_000;
/// Steps between two comparisons of the whole engine with the model.
const CHECK_INTERVAL: u64 = 16;

/// What a story turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything that happened, as one number.
    pub hash: u64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// What was checked.
    pub counts: Counts,
}

type Body = Coroutine<(), Pause, ()>;

struct Seat {
    body: Body,
    /// Suspended until this instant, or until something is there for it.
    pause: Pause,
    is_over: bool,
    core: Rc<RefCell<Shard>>,
    injector: Injector<TestApplication>,
}

struct World {
    clock: SimulatedClock,
    kernel: SharedKernel,
    common: Rc<Common>,
    seats: Vec<Seat>,
    clients: Vec<Client>,
    chance: Chance,
    is_stopping: Rc<Cell<bool>>,
    steps: u64,
}

/// The settings of a story, as its seed wants them.
struct Plot {
    shard_count: usize,
    client_count: usize,
    faults: Faults,
    sizes: Sizes,
    uring: UringOptions,
    options: Options,
    habits: Habits,
    mesh_capacity: usize,
    /// Microseconds.
    length: Micros,
    has_middleware: bool,
}

impl Plot {
    fn new(chance: &mut Chance) -> Self {
        // Some stories are calm, in most a few things go wrong, in some everything does.
        let weight = *chance.pick(&[0, 1, 1, 1, 3]);
        let mut fault = |rarity: u32| {
            if weight == 0 || chance.one_in(3) { 0 } else { 1 + chance.below((rarity / weight) as usize) as u32 }
        };
        let faults = Faults {
            short_send: fault(12),
            again: fault(20),
            no_buffers: fault(30),
            multishot_ends: fault(30),
            short_receive: fault(8),
            missed_cancel: fault(6),
            lateness: fault(8),
            enter_fails: fault(40),
            refused_transfer: 0,
            failed_accept: fault(20),
            delay_max: 0,
        };
        // Once in one time would be always: those that are tried again for ever need to succeed at some time.
        let at_least_two = |count: u32| if count == 1 { 2 } else { count };
        let is_cramped = chance.one_in(8);
        let faults = Faults {
            again: at_least_two(faults.again),
            no_buffers: at_least_two(faults.no_buffers),
            multishot_ends: at_least_two(faults.multishot_ends),
            missed_cancel: at_least_two(faults.missed_cancel),
            lateness: at_least_two(faults.lateness),
            enter_fails: at_least_two(faults.enter_fails),
            failed_accept: at_least_two(faults.failed_accept),
            refused_transfer: if is_cramped { 4 } else { 0 },
            delay_max: chance.between(0, 3_000),
            ..faults
        };
        let shard_count = 1 + chance.below(4);
        let client_count = 2 + chance.below(9);
        let recovers = chance.one_in(3);
        let recovery = recovers.then(|| RecoveryOptions {
            max_disconnection_ms: chance.between(500, 20_000),
            skip_middlewares: true,
            ..RecoveryOptions::default()
        });
        let options = Options {
            ping_interval_ms: chance.between(200, 3_000),
            ping_timeout_ms: chance.between(300, 2_000),
            upgrade_timeout_ms: chance.between(1_000, 10_000),
            connect_timeout_ms: chance.between(1_000, 45_000),
            max_http_buffer_size: 100_000,
            outbox_bytes_max: *chance.pick(&[4_000, 20_000, 1 << 20, 4 << 20]),
            recovery,
            ..Options::default()
        };
        let files_max = if is_cramped { 16 } else { 256 };
        Self {
            shard_count,
            client_count,
            faults,
            sizes: Sizes {
                submissions: *chance.pick(&[2, 8, 64, 1_024]),
                completions: *chance.pick(&[2, 4, 16, 8_192]),
            },
            uring: UringOptions {
                submissions: 0,
                completions: 0,
                receive_buffers: *chance.pick(&[2, 4, 16, 64]),
                receive_buffer_bytes: *chance.pick(&[64, 256, 1_024, 4_096]),
                large_receive_buffers: *chance.pick(&[1, 2, 32]),
                large_receive_buffer_bytes: *chance.pick(&[512, 4_096, 65_536]),
                files_max,
            },
            options,
            habits: Habits {
                polling_percent: *chance.pick(&[0, 50, 50, 100]),
                upgrade_percent: *chance.pick(&[0, 60, 100]),
                down_room: (chance.between(200, 2_000), chance.between(4_000, 100_000)),
                delay_max: chance.between(0, 8_000),
                is_trusted: !is_cramped,
                recovers,
                relapse: None,
            },
            mesh_capacity: *chance.pick(&[1, 2, 4, 1_024]),
            length: chance.between(300_000, 4_000_000),
            has_middleware: chance.one_in(2),
        }
    }
}

/// In half of the stories with recovery, who comes back is soon cut off again.
fn relapse(chance: &mut Chance) -> Option<Micros> {
    chance.one_in(2).then(|| chance.between(2_000, 60_000))
}

/// Plays the story of a seed to its end.
///
/// # Panics
/// If something is not as it must be: a violation, with the words of what was violated.
#[must_use]
pub fn play(seed: u64, is_printed: bool) -> Outcome {
    trace::begin(is_printed);
    let mut plot = Plot::new(&mut Chance::new(seed, 0));
    plot.habits.relapse = relapse(&mut Chance::new(seed, 4)).filter(|_| plot.habits.recovers);
    note!("{} shards, {} clients, {:?} {:?}", plot.shard_count, plot.client_count, plot.faults, plot.habits);
    note!("{:?} {:?} {:?}", plot.sizes, plot.uring, plot.options);
    let mut world = World::new(seed, &plot);
    // A story that fails leaves its coroutines where they are: unwinding them would run into what failed.
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.play(&plot)));
    match played {
        Ok(outcome) => outcome,
        Err(violation) => {
            std::mem::forget(world);
            std::panic::resume_unwind(violation)
        }
    }
}

impl World {
    fn new(seed: u64, plot: &Plot) -> Self {
        let clock = SimulatedClock::default();
        let network = Network::new(plot.shard_count, Chance::new(seed, 1));
        let kernel = SimulatedKernel::new(
            clock.clone(),
            network,
            Chance::new(seed, 2),
            plot.faults,
            plot.sizes,
            plot.shard_count,
        );
        let kernel = Rc::new(RefCell::new(kernel));
        let oracle = Oracle::new(clock.clone(), plot.shard_count, plot.options.recovery.is_some());
        let common = Rc::new(Common {
            clock: clock.clone(),
            oracle: RefCell::new(oracle),
            outside: RefCell::new(Outside::default()),
            is_active: Cell::new(true),
            has_middleware: plot.has_middleware,
        });
        let is_stopping = Rc::new(Cell::new(false));
        let ports = mesh(plot.shard_count, plot.mesh_capacity).expect("a story has few descriptors");
        let options = Arc::new(plot.options.clone());
        let addresses: Rc<RefCell<BTreeMap<usize, _>>> = Rc::default();
        let seats = ports.into_iter().enumerate().map(|(index, port)| {
            let mut own = Chance::new(seed, 100 + index as u64);
            let mut bytes = [0; 32];
            bytes.fill_with(|| own.bits() as u8);
            let core = Rc::new(RefCell::new(Shard::new(Setup {
                options: Arc::clone(&options),
                assets: Arc::default(),
                shard: ShardIndex(index as u16),
                shard_count: plot.shard_count as u16,
                seed: bytes,
                unix_time_ms: 1_700_000_000_000,
            })));
            let injector = Injector::new(port.doorbell());
            let executor = Executor::new(port.doorbell());
            let application = TestApplication::new(
                index,
                plot.shard_count,
                Rc::clone(&core),
                executor.clone(),
                Rc::clone(&common),
                own,
            );
            let (kernel, sizes, clock) = (Rc::clone(&kernel), plot.uring, clock.clone());
            let (of_core, of_injector, is_stopping) = (Rc::clone(&core), injector.clone(), Rc::clone(&is_stopping));
            let (addresses, shard_count) = (Rc::clone(&addresses), plot.shard_count);
            let body = Coroutine::new(move |yielder, ()| {
                let ring = SimulatedRing::new(kernel, yielder, index);
                let mut kernel = Uring::over(ring, &sizes, &port).expect("the sizes are within their ranges");
                addresses.borrow_mut().insert(index, kernel.address());
                while addresses.borrow().len() < shard_count {
                    yielder.suspend(Some(0));
                }
                kernel.set_peers(addresses.borrow().values().cloned().collect());
                // A real listener, never connected to: the driver asks it for its family and holds it open.
                let listener = TcpListener::bind("127.0.0.1:0").expect("a story has few descriptors");
                kernel.listen(listener.into()).expect("it is a listener");
                let mut turn = Turn::new(kernel, of_core, application, port, of_injector, executor, clock);
                while !is_stopping.get() {
                    turn.run(None);
                    yielder.suspend(Some(0));
                }
                turn.stop(1_000);
                assert_eq!(turn.kernel.unexpected(), 0, "violation: the driver met what it does not know");
            });
            Seat { body, pause: Some(0), is_over: false, core, injector }
        });
        let seats = seats.collect();
        let tempers = [
            Temper::Polite,
            Temper::Polite,
            Temper::Polite,
            Temper::Slow,
            Temper::Flaky,
            Temper::Flaky,
            Temper::Rude,
            Temper::Silent,
        ];
        let mut chance = Chance::new(seed, 3);
        let clients = (0..plot.client_count).map(|number| {
            let temper = *chance.pick(&tempers);
            let own = Chance::new(seed, 1_000 + number as u64);
            Client::new(number, temper, plot.habits, Rc::clone(&kernel), Rc::clone(&common), own)
        });
        let clients = clients.collect();
        Self { clock, kernel, common, seats, clients, chance, is_stopping, steps: 0 }
    }

    fn play(&mut self, plot: &Plot) -> Outcome {
        self.run_until(plot.length, true);
        note!("settling");
        self.common.is_active.set(false);
        self.kernel.borrow_mut().calm_down();
        self.clients.iter_mut().for_each(Client::settle);
        self.run_until(self.clock.micros() + SETTLING, false);
        let settled: Vec<String> = self.clients.iter().flat_map(Client::settled_sids).collect();
        self.compare();
        self.common.oracle.borrow().settle(settled.iter().map(String::as_str));
        // In some stories the server stops under its clients.
        let stops_early = self.chance.one_in(4);
        if !stops_early {
            note!("leaving");
            self.clients.iter_mut().for_each(Client::leave);
            self.run_until(self.clock.micros() + PATIENCE, false);
            self.check_vacant();
        }
        note!("stopping");
        self.is_stopping.set(true);
        let doorbells = self.seats.iter().map(|seat| seat.injector.clone());
        for injector in doorbells.collect::<Vec<_>>() {
            // A job is as good as a bell; the shard may have stopped already.
            let _ = injector.inject(Box::new(|_| {}));
        }
        self.run_until(self.clock.micros() + PATIENCE, false);
        assert!(self.seats.iter().all(|seat| seat.is_over), "violation: a shard does not stop");
        let held = self.kernel.borrow().network.held_count();
        assert_eq!(held, 0, "violation: {held} connections are still held by rings that are gone");
        if !stops_early {
            self.common.oracle.borrow().check_empty();
        }
        self.clients.iter_mut().for_each(Client::die);
        Outcome { hash: trace::hash(), steps: self.steps, counts: self.common.oracle.borrow().counts }
    }

    /// Runs everybody until `end`, or until nobody has anything to do any more.
    fn run_until(&mut self, end: Micros, is_wild: bool) {
        while self.clock.micros() <= end {
            let now = self.clock.micros();
            self.common.outside.borrow_mut().wake(now);
            let ready = self.ready(now);
            if ready.is_empty() {
                match self.next_at(now).filter(|at| *at <= end) {
                    Some(at) => self.clock.advance_to(at),
                    None => return,
                }
                continue;
            }
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "violation: the story does not end");
            if is_wild && self.chance.one_in(200) {
                self.inject();
            }
            let place = *self.chance.pick(&ready);
            if place < self.seats.len() {
                self.resume(place);
            } else {
                self.clients[place - self.seats.len()].run();
            }
            self.common.oracle.borrow().check_deadlines();
            if self.steps.is_multiple_of(CHECK_INTERVAL) {
                self.compare();
            }
        }
    }

    /// Places of those who have something to do: shards first, then clients.
    fn ready(&self, now: Micros) -> Vec<usize> {
        let mut ready = Vec::new();
        for (index, seat) in self.seats.iter().enumerate() {
            let is_due = seat.pause.is_some_and(|until| until <= now);
            if !seat.is_over && (is_due || self.kernel.borrow_mut().is_ready(index)) {
                ready.push(index);
            }
        }
        let clients = self.clients.iter().enumerate().filter(|(_, client)| client.is_ready());
        ready.extend(clients.map(|(number, _)| self.seats.len() + number));
        ready
    }

    fn next_at(&self, now: Micros) -> Option<Micros> {
        let kernel = self.kernel.borrow();
        let of_shards = self.seats.iter().filter(|seat| !seat.is_over).filter_map(|seat| seat.pause);
        let of_clients = self.clients.iter().filter_map(Client::next_at);
        let others = [kernel.next_at(), kernel.network.next_arrival(now), self.common.outside.borrow().next_at()];
        of_shards.chain(of_clients).chain(others.into_iter().flatten()).filter(|at| *at > now).min()
    }

    fn resume(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        match seat.body.resume(()) {
            CoroutineResult::Yield(pause) => seat.pause = pause,
            CoroutineResult::Return(()) => {
                note!("shard {index} has stopped");
                seat.is_over = true;
                seat.pause = None;
                self.kernel.borrow_mut().network.close_backlog(self.clock.micros(), index);
            }
        }
    }

    /// A job of another thread.
    fn inject(&mut self) {
        let seat = self.chance.below(self.seats.len());
        note!("a job for shard {seat}");
        let injected = self.seats[seat].injector.inject(Box::new(TestApplication::act));
        assert!(injected.is_ok(), "violation: a job was refused");
    }

    // ---- judgements

    /// The engine's indexes agree with each other and with the model.
    fn compare(&self) {
        let oracle = self.common.oracle.borrow();
        for (index, seat) in self.seats.iter().enumerate() {
            let mut core = seat.core.borrow_mut();
            core.invariants();
            if oracle.has_window(index) {
                continue;
            }
            for (key, member) in oracle.members_of(index).filter(|(_, member)| member.is_joined) {
                if !core.is_connected(key) {
                    continue; // It is on its way out, and has not been told.
                }
                let mut rooms = BTreeSet::new();
                core.for_each_room(key, &mut |room| {
                    rooms.insert(room.to_owned());
                });
                assert_eq!(rooms, member.rooms, "violation: the rooms of {}", member.sid);
            }
            for namespace in 0..crate::application::NAMESPACES.len() as u32 {
                for room in ["r0", "r3"] {
                    let target = Target { rooms: [Arc::from(room)].into_iter().collect(), ..Target::default() };
                    let engine: BTreeSet<_> = core.local_sockets(NamespaceId(namespace), &target).into_iter().collect();
                    let mut model = oracle.selection(index, namespace, &target);
                    model.retain(|key| core.is_connected(*key));
                    assert_eq!(engine, model, "violation: who is in {room} on shard {index}");
                }
            }
        }
    }

    /// Everybody has left: nothing is left of anybody.
    fn check_vacant(&self) {
        for (index, seat) in self.seats.iter().enumerate() {
            let core = seat.core.borrow();
            let (connections, sessions) = (core.connection_count(), core.session_count());
            assert!(
                core.is_vacant(),
                "violation: shard {index} is not empty: {connections} connections, {sessions} sessions"
            );
            let (sends, receives, slots) = self.kernel.borrow().outstanding(index);
            assert_eq!((sends, receives, slots), (0, 0, 0), "violation: the driver of shard {index} holds something");
            assert_eq!(core.counters().receive_bytes_held, 0, "violation: shard {index} holds received bytes");
        }
    }
}
