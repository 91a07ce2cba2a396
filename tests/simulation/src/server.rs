//! Servers of a story: their shards as coroutines over production code, from a start to an end, and again.
//!
//! ```text
//!   start: rings, mesh, cores, applications, a name of its own --> turns, until `is_stopping`
//!   crash: async handlers end, every coroutine is unwound where it is; what the driver holds, the kernel lets go of
//!   stop: as in production; the others go on
//! ```
//! A server that starts again is another one to all others: it has another name, another secret, and knows nothing.

use crate::application::{Common, NAMESPACES, Role, TestApplication};
use crate::chance::Chance;
use crate::clock::SimulatedClock;
use crate::kernel::{Pause, SharedKernel, SimulatedRing};
use crate::plot::{Membership, Plot};
use crate::trace::note;
use corosensei::{Coroutine, CoroutineResult};
use ringio_core::base::id::{NamespaceId, ShardIndex};
use ringio_core::cluster::NodeId;
use ringio_core::cluster::nodes::HeartbeatOptions;
use ringio_core::options::{Options, Setup};
use ringio_core::shard::Shard;
use ringio_core::shard::cluster::ClusterOptions;
use ringio_runtime::clock::TimeSource;
use ringio_runtime::executor::Executor;
use ringio_runtime::injector::Injector;
use ringio_runtime::kernel::Kernel;
use ringio_runtime::mesh::mesh;
use ringio_runtime::turn::Turn;
use ringio_runtime::uring::{Uring, UringOptions};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

type Body = Coroutine<(), Pause, ()>;

/// A shard that runs, or has run.
pub(crate) struct Seat {
    body: Option<Body>,
    /// Suspended until this instant, or until something is there for it.
    pub pause: Pause,
    pub is_over: bool,
    pub core: Rc<RefCell<Shard>>,
    pub injector: Injector<TestApplication>,
    application: TestApplication,
}

impl Seat {
    /// Lets it run until it waits; whether it has stopped.
    pub(crate) fn resume(&mut self) -> bool {
        let Some(body) = &mut self.body else { return true };
        match body.resume(()) {
            CoroutineResult::Yield(pause) => self.pause = pause,
            CoroutineResult::Return(()) => {
                self.is_over = true;
                self.pause = None;
            }
        }
        self.is_over
    }

    /// Its process is gone.
    fn crash(&mut self) {
        self.is_over = true;
        self.pause = None;
        self.application.die();
        self.body = None;
    }
}

/// What it takes to start servers.
pub(crate) struct Servers {
    seed: u64,
    clock: SimulatedClock,
    kernel: SharedKernel,
    common: Rc<Common>,
    options: Arc<Options>,
    uring: UringOptions,
    mesh_capacity: usize,
    /// Of each: whether it is to end.
    is_stopping: Vec<Rc<Cell<bool>>>,
    /// The shards of each.
    shards: Vec<Range<usize>>,
    /// What each is called, if it was ever started.
    nodes: Vec<NodeId>,
    is_cluster: bool,
    heartbeat: Option<HeartbeatOptions>,
    sender_count: u64,
    start_count: u64,
}

impl Servers {
    /// None has started.
    pub(crate) fn new(seed: u64, plot: &Plot, clock: SimulatedClock, kernel: SharedKernel, common: Rc<Common>) -> Self {
        let shards = plot.shard_ranges();
        let heartbeat = plot.cluster.as_ref().and_then(|cluster| match cluster.membership {
            Membership::Heartbeat(heartbeat) => Some(heartbeat),
            Membership::Nodes | Membership::Count => None,
        });
        Self {
            seed,
            clock,
            kernel,
            common,
            options: Arc::new(plot.options.clone()),
            uring: plot.uring,
            mesh_capacity: plot.mesh_capacity,
            is_stopping: shards.iter().map(|_| Rc::default()).collect(),
            nodes: shards.iter().map(|_| NodeId::new("")).collect(),
            shards,
            is_cluster: plot.cluster.is_some(),
            heartbeat,
            sender_count: 0,
            start_count: 0,
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) const fn count(&self) -> usize {
        self.shards.len()
    }

    /// The shards of a server.
    pub(crate) fn shards(&self, server: usize) -> Range<usize> {
        self.shards[server].clone()
    }

    /// Starts a server: its seats.
    pub(crate) fn start(&mut self, server: usize) -> Vec<Seat> {
        let shards = self.shards(server);
        let mut own = Chance::new(self.seed, 500 + self.start_count);
        self.start_count += 1;
        let (node, secret) = (NodeId::of_number(own.bits()), own.bits());
        let ports = mesh(shards.len(), self.mesh_capacity).expect("a story has few descriptors");
        let addresses: Rc<RefCell<BTreeMap<usize, _>>> = Rc::default();
        let mut seats = Vec::new();
        self.is_stopping[server] = Rc::default();
        for (port, index) in ports.into_iter().zip(shards.clone()) {
            let role = Role { index, server, shards: shards.clone(), sender: self.sender_count, node: node.clone() };
            let mut own = Chance::new(self.seed, 100 + self.sender_count);
            self.sender_count += 1;
            let mut bytes = [0; 32];
            bytes.fill_with(|| own.bits() as u8);
            let shard = ShardIndex((index - shards.start) as u16);
            let mut core = Shard::new(Setup {
                options: Arc::clone(&self.options),
                assets: Arc::default(),
                shard,
                shard_count: shards.len() as u16,
                seed: bytes,
                unix_time_ms: 1_700_000_000_000,
            });
            if self.is_cluster {
                core.advance(self.clock.now());
                core.join_cluster(ClusterOptions { secret, heartbeat: self.heartbeat });
                if index == shards.start {
                    (0..NAMESPACES.len() as u32).for_each(|id| core.open_in_cluster(NamespaceId(id)));
                }
            }
            let core = Rc::new(RefCell::new(core));
            let injector = Injector::new(port.doorbell());
            let executor = Executor::new(port.doorbell());
            let application =
                TestApplication::new(role, Rc::clone(&core), executor.clone(), Rc::clone(&self.common), own);
            let of_seat = (Rc::clone(&core), injector.clone(), application.clone());
            let (kernel, sizes, clock) = (Rc::clone(&self.kernel), self.uring, self.clock.clone());
            let (addresses, shard_count) = (Rc::clone(&addresses), shards.len());
            let is_stopping = Rc::clone(&self.is_stopping[server]);
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
                let mut turn = Turn::new(kernel, core, application, port, injector, executor, clock);
                while !is_stopping.get() {
                    turn.run(None);
                    yielder.suspend(Some(0));
                }
                turn.stop(1_000);
                assert_eq!(turn.kernel.unexpected(), 0, "violation: the driver met what it does not know");
            });
            let (core, injector, application) = of_seat;
            seats.push(Seat { body: Some(body), pause: Some(0), is_over: false, core, injector, application });
        }
        if let Some(link) = &self.common.link {
            note!("server {server} is {node}");
            let inboxes = seats.iter().map(|seat: &Seat| seat.injector.clone()).collect();
            link.borrow_mut().open(server, node.clone(), inboxes);
            self.common.oracle.borrow_mut().cluster.begin(node.clone(), server, self.clock.micros());
        }
        self.nodes[server] = node;
        seats
    }

    /// A server is to end as it should; its seats are.
    pub(crate) fn stop(&self, server: usize, seats: &[Seat]) {
        self.is_stopping[server].set(true);
        for seat in seats {
            // A job is as good as a bell; the shard may have stopped already.
            let _ = seat.injector.inject(Box::new(|_| {}));
        }
        self.kernel.borrow_mut().listen_for_bells();
    }

    /// It has ended, and others go on.
    pub(crate) fn ended(&self, server: usize, seats: &[Seat]) {
        note!("server {server} has ended");
        seats.iter().for_each(|seat| seat.application.die());
        self.forget(server);
    }

    fn forget(&self, server: usize) {
        if let Some(link) = &self.common.link {
            link.borrow_mut().close(server);
        }
        self.common.oracle.borrow_mut().forget_server(server, &self.nodes[server]);
    }

    /// A server is gone without a word.
    pub(crate) fn crash(&mut self, server: usize, seats: &mut [Seat]) {
        note!("server {server} is gone");
        let now = self.clock.micros();
        {
            let mut kernel = self.kernel.borrow_mut();
            kernel.network.crash(now, server);
            self.shards(server).for_each(|ring| kernel.abandon(ring));
        }
        seats.iter_mut().for_each(Seat::crash);
        self.forget(server);
    }
}
