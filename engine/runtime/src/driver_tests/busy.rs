//! Busy polling: whole turns of a shard on each driver, with a clock that the test moves; counted are the waits.

use super::{Driver, Sizes, on_both_drivers};
use crate::clock::Hand;
use crate::executor::Executor;
use crate::first_shard::first_shard;
use crate::injector::Injector;
use crate::mesh::{Port, mesh};
use crate::shard_thread::Application;
use crate::turn::Turn;
use ringio_core::base::id::ShardIndex;
use ringio_core::door::{Event, PeerMessage};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

on_both_drivers!(
    it_looks_on_for_so_long_and_then_waits,
    whatever_happens_makes_it_look_on,
    without_the_option_it_waits_at_once,
    nobody_rings_while_it_looks_and_the_last_look_is_followed_by_a_wait,
);

/// In milliseconds, as the clock of these tests.
const SPAN: u64 = 3;

struct Silent;

impl Application for Silent {
    fn handle_event(&self, _: Event, _: &mut [u8]) {}
    fn handle_stop(&self) {}
}

struct Watched<D: Driver> {
    turn: Turn<D, Silent, Hand>,
    hand: Hand,
    injector: Injector<Silent>,
    executor: Executor,
    /// Another shard's end of the mesh.
    peer: Port<PeerMessage>,
    /// The shard's bell, for a look whether it was rung.
    bell: File,
    client: TcpStream,
}

impl<D: Driver> Watched<D> {
    /// A shard that listens, with one client that has said nothing, when its last look is over.
    fn new(busy_poll: Duration) -> Self {
        let mut ports = mesh::<PeerMessage>(2, 4).unwrap();
        let (peer, port) = (ports.pop().unwrap(), ports.pop().unwrap());
        let bell = File::from(port.as_fd().try_clone_to_owned().unwrap());
        let core = first_shard(2);
        let (injector, executor) = (Injector::new(port.doorbell()), Executor::new(port.doorbell()));
        let mut driver = D::make(Sizes::default(), &port);
        let listener = crate::listener::bind("127.0.0.1:0".parse().unwrap(), 1, 1).unwrap().remove(0);
        let client = TcpStream::connect(crate::listener::local_addr(&listener).unwrap()).unwrap();
        driver.listen(listener).unwrap();
        let hand = Hand::default();
        let turn = Turn::new(driver, Rc::clone(&core), Silent, port, injector.clone(), executor.clone(), hand.clone());
        let mut watched = Self { turn: turn.with_busy_poll(busy_poll), hand, injector, executor, peer, bell, client };
        while core.borrow().connection_count() == 0 {
            watched.turn.run(Some(Duration::ZERO));
        }
        watched.fall_silent();
        watched
    }

    /// Time passes without anything happening, until the shard would wait.
    fn fall_silent(&mut self) {
        loop {
            self.pass(SPAN);
            self.turn.run_after(Some(Duration::ZERO));
            self.pass(SPAN);
            if self.would_wait() {
                return;
            }
        }
    }

    fn pass(&self, millis: u64) {
        self.hand.0.set(self.hand.0.get() + millis);
    }

    /// Whether the next turn waits for something to happen.
    fn would_wait(&mut self) -> bool {
        self.turn.prepare_wait(None) != Some(Duration::ZERO)
    }

    /// Turns that do not wait until the shard would; time passes by a millisecond before each. How many there were.
    fn looks(&mut self) -> usize {
        for looks in 0..100 {
            if self.would_wait() {
                return looks;
            }
            self.turn.run_after(Some(Duration::ZERO));
            self.pass(1);
        }
        panic!("it never waits");
    }

    /// Whether somebody has made a system call to wake it.
    fn was_rung(&mut self) -> bool {
        // It does not block, and reading makes it 0.
        self.bell.read(&mut [0; 8]).is_ok()
    }

    fn inject(&self) {
        self.injector.inject(Box::new(|_| {})).unwrap();
    }
}

const BUSY: Duration = Duration::from_millis(SPAN);

fn it_looks_on_for_so_long_and_then_waits<D: Driver>() {
    let mut shard = Watched::<D>::new(BUSY);
    for _ in 0..3 {
        shard.inject();
        // The turn that does the job, and three milliseconds of looking.
        assert_eq!(shard.looks(), 1 + SPAN as usize - 1);
        assert!(shard.would_wait(), "and it goes on waiting");
        shard.fall_silent();
    }
    // What happens while it looks makes it look on from there.
    shard.inject();
    shard.turn.run_after(Some(Duration::ZERO));
    shard.pass(SPAN - 1);
    shard.inject();
    shard.turn.run_after(Some(Duration::ZERO));
    shard.pass(SPAN - 1);
    assert!(!shard.would_wait());
    shard.pass(1);
    assert!(shard.would_wait());
}

fn whatever_happens_makes_it_look_on<D: Driver>() {
    let mut shard = Watched::<D>::new(BUSY);
    let expect_looks = |shard: &mut Watched<D>, what: &str| {
        shard.turn.run_after(Some(Duration::ZERO));
        assert!(!shard.would_wait(), "after {what}");
        shard.fall_silent();
    };
    shard.inject();
    expect_looks(&mut shard, "a job");
    shard.executor.spawn(async {});
    expect_looks(&mut shard, "a task");
    shard.peer.send(ShardIndex(0), PeerMessage::Asked { question: 0, count: 0, lost: 0 });
    shard.peer.flush();
    expect_looks(&mut shard, "a message of a shard");
    // What a client says is there when the system has carried it.
    shard.client.write_all(b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    while shard.would_wait() {
        shard.turn.run_after(Some(Duration::ZERO));
    }
    shard.turn.run_after(Some(Duration::ZERO)); // Its answer leaves with the next turn.
    shard.client.read_exact(&mut [0; 12]).unwrap();
}

fn without_the_option_it_waits_at_once<D: Driver>() {
    let mut shard = Watched::<D>::new(Duration::ZERO);
    shard.inject();
    assert_eq!(shard.looks(), 1, "the turn that does the job");
}

fn nobody_rings_while_it_looks_and_the_last_look_is_followed_by_a_wait<D: Driver>() {
    let mut shard = Watched::<D>::new(BUSY);
    shard.was_rung();
    assert!(shard.would_wait());
    shard.inject();
    assert!(shard.was_rung(), "it sleeps");
    shard.turn.run_after(Some(Duration::ZERO));
    let calls = shard.turn.kernel.counters().system_calls;
    for _ in 0..SPAN {
        assert!(!shard.would_wait());
        shard.inject();
        assert!(!shard.was_rung(), "it is about to look, so nobody has to wake it");
        shard.turn.run_after(Some(Duration::ZERO));
        shard.inject();
        assert!(!shard.was_rung(), "it has looked and will again");
        shard.turn.run_after(Some(Duration::ZERO));
    }
    let calls = shard.turn.kernel.counters().system_calls - calls;
    // A ring says in memory that it has nothing; epoll has to be asked.
    assert_eq!(calls, if D::SYSTEM_CALLS_PER_ECHO == 1 { 0 } else { 2 * SPAN });
    // A ring between the last look and the wait keeps it awake, as ever.
    shard.pass(SPAN);
    shard.inject();
    assert!(!shard.was_rung());
    assert!(!shard.would_wait(), "it is asked before it sleeps");
    shard.fall_silent();
    shard.inject();
    assert!(shard.was_rung(), "it sleeps again");
}
