//! The simulated kernel: what io_uring does with the driver's operations, as unkindly as its rules allow.
//!
//! ```text
//!   Uring (production) --operations--> submissions --enter--> outstanding: receives, sends, accept, late work
//!                      <-completions-- completions, overflow <-- task work, in an order of chance
//! ```
//! What it does that a test machine's kernel does rarely: takes few bytes of a send or none, ends a multishot receive in
//! the middle, finds no buffer, misses a cancel, ends a cancelled operation much later, makes completions in any order
//! (those of one operation keep theirs), overflows a small completion queue, refuses to be entered, hands a slot to its next
//! tenant at once, moves a shutdown to a worker that looks its slot up only then.
//!
//! What it checks, because a real kernel would only corrupt memory: a frame lives until the send that names it has ended; a receive
//! buffer is not filled while somebody looks at it; a slot is emptied only when nothing on it is outstanding.

mod operations;
mod ring;
mod work;

pub use ring::{Pause, SimulatedRing};

use crate::chance::Chance;
use crate::clock::{Micros, SimulatedClock};
use crate::network::{Network, Wire};
use ringio_core::base::frame::FrameWatch;
use ringio_runtime::uring::{Completion, Pool};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::rc::Rc;

/// How unkind the kernel is: each happens once in so many times, never for 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A send takes only a part though there is room.
    pub short_send: u32,
    /// A send takes nothing though there is room: EAGAIN.
    pub again: u32,
    /// A receive finds no buffer though there is one: ENOBUFS.
    pub no_buffers: u32,
    /// A multishot operation ends with a completion that says so, or with an error that means nothing.
    pub multishot_ends: u32,
    /// A receive takes only a part of what is there.
    pub short_receive: u32,
    /// A cancel does not find the operation just now: EALREADY.
    pub missed_cancel: u32,
    /// Work that is ready is left for later.
    pub lateness: u32,
    /// An enter fails with EAGAIN, EBUSY or EINTR, or submits only a part.
    pub enter_fails: u32,
    /// Another ring has no slot for a connection that is handed over: ENFILE.
    pub refused_transfer: u32,
    /// Accepting fails: ECONNABORTED or EMFILE.
    pub failed_accept: u32,
    /// Longest delay of a cancelled operation's end, a shutdown, a transfer. Microseconds.
    pub delay_max: Micros,
}

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Operations between two enters.
    pub submissions: usize,
    /// Completions before they overflow.
    pub completions: usize,
}

#[derive(Debug)]
struct Receiving {
    tag: u64,
    slot: u32,
    pool: Pool,
    wire: Wire,
}

#[derive(Debug)]
struct Sending {
    tag: u64,
    slot: u32,
    wire: Wire,
    watch: FrameWatch,
    range: Range<usize>,
    taken: usize,
}

#[derive(Debug)]
enum Late {
    /// An operation ends; the wire is what it held, the watch what it may still read.
    End { tag: u64, slot: u32, result: i32, wire: Option<Wire>, watch: Option<FrameWatch> },
    /// A worker says FIN on whatever is in the slot by then.
    Shutdown { tag: u64, slot: u32 },
    /// The connection gets a slot in another ring.
    Transfer { tag: u64, wire: Wire, ring: usize },
}

#[derive(Debug)]
struct LateWork {
    at: Micros,
    work: Late,
}

#[derive(Debug, Default)]
struct RingState {
    submissions: VecDeque<operations::Submission>,
    completions: VecDeque<Completion>,
    overflow: VecDeque<Completion>,
    slots: Vec<Option<Wire>>,
    receives: Vec<Receiving>,
    sends: Vec<Sending>,
    accept: Option<u64>,
    late: Vec<LateWork>,
    bell: Option<(u64, File)>,
    is_rung: bool,
    /// Nobody has done anything since its bell was looked at.
    is_bell_known: bool,
    rest: Option<(Micros, u64)>,
    /// Buffers taken of the small pool and of the large one.
    buffers_taken: [u16; 2],
    is_alive: bool,
    /// Its process is gone: whatever is outstanding ends at once.
    is_abandoned: bool,
}

/// What all rings of a story share.
#[derive(Debug)]
pub struct SimulatedKernel {
    /// The connections.
    pub network: Network,
    clock: SimulatedClock,
    chance: Chance,
    faults: Faults,
    sizes: Sizes,
    rings: Vec<RingState>,
}

/// The kernel, as rings, clients and scheduler hold it.
pub type SharedKernel = Rc<RefCell<SimulatedKernel>>;

impl SimulatedKernel {
    /// A kernel for so many shards.
    #[must_use]
    pub fn new(
        clock: SimulatedClock,
        network: Network,
        chance: Chance,
        faults: Faults,
        sizes: Sizes,
        rings: usize,
    ) -> Self {
        let rings = (0..rings).map(|_| RingState::default()).collect();
        Self { network, clock, chance, faults, sizes, rings }
    }

    /// From now on only what the rules demand goes wrong: stories end without new trouble.
    pub fn calm_down(&mut self) {
        self.faults = Faults { delay_max: self.faults.delay_max, ..Faults::default() };
    }

    /// The process of this ring is gone. What it has asked for ends at once, and nothing goes wrong any more: its driver is about to be
    /// dropped and must not be kept from letting go of everything.
    pub fn abandon(&mut self, ring: usize) {
        let now = self.now();
        let state = &mut self.rings[ring];
        state.is_abandoned = true;
        state.late.iter_mut().for_each(|late| late.at = now);
    }

    fn now(&self) -> Micros {
        self.clock.micros()
    }

    /// Somebody has done something by which bells may have rung: [`Self::is_still_ready`] looks again, which is a system call each.
    pub fn listen_for_bells(&mut self) {
        self.rings.iter_mut().for_each(|state| state.is_bell_known = false);
    }

    /// Whether an enter of this ring would find something to deliver.
    pub fn is_ready(&mut self, ring: usize) -> bool {
        self.poll_bell(ring);
        self.has_work(ring)
    }

    /// The same if no bell has rung since [`Self::listen_for_bells`] was said.
    pub fn is_still_ready(&mut self, ring: usize) -> bool {
        if !self.rings[ring].is_bell_known {
            self.poll_bell(ring);
        }
        self.has_work(ring)
    }

    fn has_work(&self, ring: usize) -> bool {
        let now = self.now();
        let state = &self.rings[ring];
        state.is_rung
            || !state.completions.is_empty()
            || !state.overflow.is_empty()
            || state.late.iter().any(|late| late.at <= now)
            || state.rest.is_some_and(|(at, _)| at <= now)
            || state.receives.iter().any(|receiving| self.network.server_has_news(now, receiving.wire))
            || state.sends.iter().any(|sending| self.network.server_room(now, sending.wire) != Some(0))
            || (state.accept.is_some() && self.network.has_backlog(now, ring))
    }

    /// When something becomes ready that no network event announces.
    #[must_use]
    pub fn next_at(&self) -> Option<Micros> {
        let now = self.now();
        let of_rings = self.rings.iter().flat_map(|state| {
            state.late.iter().map(|late| late.at).chain(state.rest.map(|(at, _)| at)).filter(|at| *at > now)
        });
        of_rings.min()
    }

    /// What this ring still holds: outstanding sends and receives, and slots in use.
    #[must_use]
    pub fn outstanding(&self, ring: usize) -> (usize, usize, usize) {
        let state = &self.rings[ring];
        (state.sends.len(), state.receives.len(), state.slots.iter().flatten().count())
    }

    fn poll_bell(&mut self, ring: usize) {
        let state = &mut self.rings[ring];
        state.is_bell_known = true;
        if let Some((_, bell)) = &mut state.bell {
            // The driver never reads it and sees edges; reading it here makes every ring an edge.
            let mut count = [0; 8];
            state.is_rung |= bell.read(&mut count).is_ok();
        }
    }

    fn post(&mut self, ring: usize, completion: Completion) {
        let state = &mut self.rings[ring];
        if state.completions.len() < self.sizes.completions && state.overflow.is_empty() {
            state.completions.push_back(completion);
        } else {
            state.overflow.push_back(completion);
        }
    }

    fn complete(&mut self, ring: usize, tag: u64, result: i32) {
        self.post(ring, Completion { tag, result, buffer: None, has_more: false });
    }

    /// Does something later.
    fn defer(&mut self, ring: usize, work: Late) {
        let delay_max = if self.rings[ring].is_abandoned { 0 } else { self.faults.delay_max };
        let at = self.now() + self.chance.between(0, delay_max);
        self.rings[ring].late.push(LateWork { at, work });
    }

    fn free_slot(&mut self, ring: usize) -> Option<usize> {
        self.rings[ring].slots.iter().position(Option::is_none)
    }
}
