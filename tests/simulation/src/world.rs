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

use crate::application::{Common, NAMESPACES, Outside, TestApplication};
use crate::chance::Chance;
use crate::client::{Client, Temper};
use crate::clock::{Micros, SimulatedClock};
use crate::kernel::{SharedKernel, SimulatedKernel};
use crate::link::Link;
use crate::network::Network;
use crate::oracle::cluster::Promise;
use crate::oracle::{Counts, Oracle, bounds};
use crate::plot::{Cast, Membership, Plot, Trouble};
use crate::server::{Seat, Servers};
use crate::trace::{self, note};
use ringio_core::base::id::NamespaceId;
use ringio_core::room::select::Target;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Steps after which a story that has not ended is one that never will.
const STEPS_MAX: u64 = 1_000_000;
/// How long everybody may take to read what is owed. Microseconds.
const SETTLING: Micros = 4_000_000;
/// The same in a cluster, where a question waits longer for who is gone. Microseconds.
const SETTLING_OF_CLUSTER: Micros = 7_000_000;
/// After this time deadlines must have got rid of everybody. Microseconds.
const PATIENCE: Micros = 200_000_000;
/// Steps between two comparisons of the whole engine with the model.
const CHECK_INTERVAL: u64 = 16;
/// Rounding while servers get to know each other. Microseconds.
const KNOWING: Micros = 10_000;
/// Between two looks whether a server that is to start again has ended. Microseconds.
const RESTART_STEP: Micros = 50_000;
/// Between two looks whether everybody has left. Microseconds.
const LEAVING_STEP: Micros = 1_000_000;

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

struct World {
    clock: SimulatedClock,
    kernel: SharedKernel,
    common: Rc<Common>,
    servers: Servers,
    /// Of all servers, one after the other.
    seats: Vec<Seat>,
    clients: Vec<Client>,
    chance: Chance,
    /// The server that ends while the others go on.
    ending: BTreeSet<usize>,
    /// What is still to befall a cluster.
    troubles: VecDeque<(Micros, Trouble)>,
    steps: u64,
}

/// Plays the story of a seed to its end.
///
/// # Panics
/// If something is not as it must be: a violation, with the words of what was violated.
#[must_use]
pub fn play(seed: u64, cast: Cast, is_printed: bool) -> Outcome {
    trace::begin(is_printed);
    let plot = Plot::new(seed, cast);
    note!("shards {:?}, {} clients, {:?} {:?}", plot.shards, plot.client_count, plot.faults, plot.habits);
    note!("{:?} {:?} {:?} {:?}", plot.sizes, plot.uring, plot.options, plot.cluster);
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
        let (clock, shards) = (SimulatedClock::default(), plot.shard_ranges());
        let network = Network::new(&shards, Chance::new(seed, 1));
        let shard_count = plot.shards.iter().sum();
        let kernel =
            SimulatedKernel::new(clock.clone(), network, Chance::new(seed, 2), plot.faults, plot.sizes, shard_count);
        let kernel = Rc::new(RefCell::new(kernel));
        let oracle = Oracle::new(clock.clone(), &shards, plot.options.recovery.is_some(), promise(plot));
        let link = plot
            .cluster
            .as_ref()
            .map(|cluster| RefCell::new(Link::new(clock.clone(), Chance::new(seed, 6), cluster, &shards)));
        let common = Rc::new(Common {
            clock: clock.clone(),
            oracle: RefCell::new(oracle),
            outside: RefCell::new(Outside::default()),
            is_active: Cell::new(true),
            has_middleware: plot.has_middleware,
            is_curious: plot.cluster.as_ref().is_some_and(|cluster| cluster.is_curious),
            link,
        });
        let mut servers = Servers::new(seed, plot, clock.clone(), Rc::clone(&kernel), Rc::clone(&common));
        let seats = (0..servers.count()).flat_map(|server| servers.start(server)).collect();
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
        let greedy = (plot.client_count..plot.client_count + plot.greedy_count).map(|number| {
            let own = Chance::new(seed, 1_000 + number as u64);
            Client::new(number, Temper::Greedy, plot.habits, Rc::clone(&kernel), Rc::clone(&common), own)
        });
        let clients = clients.chain(greedy).collect();
        let ending = BTreeSet::new();
        let troubles =
            plot.cluster.as_ref().map_or(VecDeque::new(), |cluster| cluster.troubles.iter().copied().collect());
        Self { clock, kernel, common, servers, seats, clients, chance, ending, troubles, steps: 0 }
    }

    fn play(&mut self, plot: &Plot) -> Outcome {
        self.run_until(plot.length, true);
        note!("settling");
        self.common.is_active.set(false);
        self.kernel.borrow_mut().calm_down();
        self.clients.iter_mut().for_each(Client::settle);
        let settling = if plot.cluster.is_some() { SETTLING_OF_CLUSTER } else { SETTLING };
        self.run_until(self.clock.micros() + settling, false);
        let settled: Vec<String> = self.clients.iter().flat_map(Client::settled_sids).collect();
        self.compare();
        self.common.oracle.borrow().settle(settled.iter().map(String::as_str));
        // In some stories the server stops under its clients.
        let stops_early = self.chance.one_in(4);
        if !stops_early {
            note!("leaving");
            self.clients.iter_mut().for_each(Client::leave);
            self.run_until_vacant(self.clock.micros() + PATIENCE);
            self.check_vacant();
        }
        note!("stopping");
        for server in 0..self.servers.count() {
            self.servers.stop(server, &self.seats[self.servers.shards(server)]);
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

    /// Runs everybody until nobody is left, or until `end`. Servers that notice each other always have something to do.
    fn run_until_vacant(&mut self, end: Micros) {
        let is_endless = self.common.link.is_some();
        let mut step_end = if is_endless { self.clock.micros() } else { end };
        while step_end < end && !self.is_vacant() {
            step_end = end.min(step_end + LEAVING_STEP);
            self.run_until(step_end, false);
        }
        if !is_endless {
            self.run_until(end, false);
        }
    }

    /// Runs everybody until `end`, or until nobody has anything to do any more.
    fn run_until(&mut self, end: Micros, is_wild: bool) {
        while self.clock.micros() <= end {
            let now = self.clock.micros();
            let mut is_any_woken = self.common.outside.borrow_mut().wake(now);
            if let Some(link) = &self.common.link {
                is_any_woken |= link.borrow_mut().deliver();
            }
            if is_any_woken {
                self.kernel.borrow_mut().listen_for_bells();
            }
            if let Some((_, trouble)) = self.troubles.pop_front_if(|(at, _)| *at <= now) {
                self.befall(trouble);
                continue;
            }
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
            if !seat.is_over && (is_due || self.kernel.borrow_mut().is_still_ready(index)) {
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
        let others = [
            kernel.next_at(),
            kernel.network.next_arrival(now),
            self.common.outside.borrow().next_at(),
            self.common.link.as_ref().and_then(|link| link.borrow().next_at()),
            self.troubles.front().map(|(at, _)| *at),
        ];
        of_shards.chain(of_clients).chain(others.into_iter().flatten()).filter(|at| *at > now).min()
    }

    fn resume(&mut self, index: usize) {
        self.kernel.borrow_mut().listen_for_bells();
        if self.seats[index].resume() {
            note!("shard {index} has stopped");
            self.kernel.borrow_mut().network.close_backlog(self.clock.micros(), index);
            self.note_ended();
        }
        bounds::check(&self.seats[index].core.borrow(), self.servers.options());
        self.kernel.borrow_mut().listen_for_bells();
    }

    /// Those that were to end before the others and have.
    fn note_ended(&mut self) {
        let (servers, seats) = (&self.servers, &self.seats);
        self.ending.retain(|server| {
            let of_server = &seats[servers.shards(*server)];
            let is_over = of_server.iter().all(|seat| seat.is_over);
            if is_over {
                servers.ended(*server, of_server);
            }
            !is_over
        });
    }

    /// Whether a server runs and is not the only one.
    fn is_dispensable(&self, server: usize) -> bool {
        let shards = self.servers.shards(server);
        let is_running = |at: &usize| !self.seats[*at].is_over;
        let others: Vec<usize> = (0..self.seats.len()).filter(|at| !shards.contains(at)).filter(is_running).collect();
        let is_whole = shards.clone().all(|at| is_running(&at)) && !self.ending.contains(&server);
        is_whole && others.iter().any(|at| !self.ending.iter().any(|server| self.servers.shards(*server).contains(at)))
    }

    fn befall(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Cut { from, to, way, until } => {
                if let Some(link) = &self.common.link {
                    link.borrow_mut().cut(from, to, way, until);
                }
            }
            Trouble::Crash { server } => {
                if self.is_dispensable(server) {
                    let shards = self.servers.shards(server);
                    self.servers.crash(server, &mut self.seats[shards]);
                }
            }
            Trouble::Stop { server } => {
                if self.is_dispensable(server) {
                    note!("server {server} is to end");
                    self.kernel.borrow_mut().network.shut(server);
                    self.ending.insert(server);
                    self.common.oracle.borrow_mut().begin_ending(server);
                    self.servers.stop(server, &self.seats[self.servers.shards(server)]);
                }
            }
            Trouble::Restart { server } => {
                if self.ending.contains(&server) {
                    // It takes its time; who starts it anew waits.
                    let at = self.clock.micros() + RESTART_STEP;
                    let later = self.troubles.partition_point(|(other, _)| *other <= at);
                    return self.troubles.insert(later, (at, trouble));
                }
                let shards = self.servers.shards(server);
                if self.seats[shards.clone()].iter().all(|seat| seat.is_over) {
                    self.kernel.borrow_mut().network.restart(server);
                    let seats = self.servers.start(server);
                    drop(self.seats.splice(shards, seats));
                }
            }
        }
    }

    /// A job of another thread.
    fn inject(&mut self) {
        let seat = self.chance.below(self.seats.len());
        if self.seats[seat].is_over {
            return;
        }
        note!("a job for shard {seat}");
        let injected = self.seats[seat].injector.inject(Box::new(TestApplication::act));
        let is_ending = self.ending.iter().any(|server| self.servers.shards(*server).contains(&seat));
        assert!(injected.is_ok() || is_ending, "violation: a job was refused");
        self.kernel.borrow_mut().listen_for_bells();
    }

    // ---- judgements

    /// The engine's indexes agree with each other and with the model.
    fn compare(&self) {
        let oracle = self.common.oracle.borrow();
        for (index, seat) in self.seats.iter().enumerate() {
            if seat.is_over && self.common.link.is_some() {
                continue;
            }
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
            for namespace in 0..NAMESPACES.len() as u32 {
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

    fn is_vacant(&self) -> bool {
        self.seats.iter().all(|seat| seat.is_over || seat.core.borrow().is_vacant())
            && (0..self.seats.len()).all(|index| self.kernel.borrow().outstanding(index) == (0, 0, 0))
    }

    /// Everybody has left: nothing is left of anybody.
    fn check_vacant(&self) {
        for (index, seat) in self.seats.iter().enumerate().filter(|(_, seat)| !seat.is_over) {
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

/// What is demanded of a story's cluster.
fn promise(plot: &Plot) -> Promise {
    let cluster = plot.cluster.as_ref();
    let heartbeat = cluster.and_then(|cluster| match cluster.membership {
        Membership::Heartbeat(heartbeat) => Some(heartbeat),
        Membership::Nodes | Membership::Count => None,
    });
    // Everybody has said that he is there, and has been answered.
    let known_at = cluster.map_or(0, |cluster| cluster.delay_max * 2 + KNOWING);
    Promise { heartbeat, is_calm: cluster.is_none_or(|cluster| cluster.troubles.is_empty()), known_at }
}
