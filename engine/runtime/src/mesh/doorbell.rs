//! Wakes a sleeping shard, once per batch, with a system call only if it sleeps.
//!
//! ```text
//!               about_to_sleep                      ring: writes the eventfd
//!    Awake ----------------------> Sleeping ----------------------> Rung
//!      ^  \___________ ring: no system call ____________________/    |
//!      |                                                             | about_to_sleep: false, look again
//!      +--------------------------- woke ----------------------------+
//! ```
//! Why no wake-up is lost: every transition is a read-modify-write of one atomic, so all of them are in one order. Who rings has
//! put the work in before (Release). If the ring comes before `about_to_sleep`, that sees `Rung` (Acquire: the work too) and says no; if it
//! comes after, it sees `Sleeping` and writes. `woke` comes before the queues are looked at, so work whose ring it swallows is seen.
//! A load instead of the swap for bells already rung would need a fence that costs as much. Checked by loom.
//!
//! A shard that polls does not say that it sleeps: it is `Awake`, rings cost no system call, and each look begins with `woke`. Only the last
//! look before a real wait is followed by `about_to_sleep`, so nothing of the above changes.
//!
//! The eventfd is never read: the drivers watch it edge-wise (a multishot poll of the ring, EPOLLET), which saves a system call per
//! wake-up. Its counter reaches its end after 2^64 wake-ups.

use super::atomics::{Arc, AtomicU8, Ordering};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const RUNG: u8 = 2;

/// How a sleeping shard is woken: the eventfd, or a flag in loom's world.
pub(super) trait Wake {
    fn wake(&self);
}

#[derive(Debug)]
struct Bell<W> {
    state: AtomicU8,
    waker: W,
}

impl<W: Wake> Bell<W> {
    fn ring(&self) {
        if self.state.swap(RUNG, Ordering::AcqRel) == SLEEPING {
            self.waker.wake();
        }
    }

    fn about_to_sleep(&self) -> bool {
        match self.state.compare_exchange(AWAKE, SLEEPING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state == SLEEPING,
        }
    }

    fn woke(&self) {
        self.state.swap(AWAKE, Ordering::AcqRel);
    }
}

#[derive(Debug)]
struct Event(OwnedFd);

impl Wake for Event {
    fn wake(&self) {
        crate::epoll::system::eventfd_add(self.0.as_fd());
    }
}

/// The side of those who have work for a shard. Cloning costs one atomic increment.
#[derive(Clone, Debug)]
pub struct Doorbell(Arc<Bell<Event>>);

impl Doorbell {
    /// Tells the shard that there is work, which must have been put where it looks before. One swap; a system call only if it sleeps.
    pub fn ring(&self) {
        self.0.ring();
    }
}

/// The side of the shard.
#[derive(Debug)]
pub struct Sleeper(Arc<Bell<Event>>);

impl Sleeper {
    /// Makes a bell.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = crate::epoll::system::eventfd()?;
        Ok(Self(Arc::new(Bell { state: AtomicU8::new(AWAKE), waker: Event(event) })))
    }

    /// A handle for those who ring.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        Doorbell(Arc::clone(&self.0))
    }

    /// From now on rings make a system call. `false`: somebody rang since [`Self::woke`], look again instead of sleeping.
    pub fn about_to_sleep(&mut self) -> bool {
        self.0.about_to_sleep()
    }

    /// Rings are free of system calls again. To be called after sleeping and *before* looking for work.
    pub fn woke(&mut self) {
        self.0.woke();
    }
}

impl AsFd for Sleeper {
    /// What a driver watches, by edges: becomes readable at every wake-up, and is never read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.waker.0.as_fd()
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[derive(Debug, Default)]
    struct Count(Cell<u32>);

    impl Wake for Count {
        fn wake(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn only_the_first_ring_of_a_sleeper_wakes() {
        let bell = Bell { state: AtomicU8::new(AWAKE), waker: Count::default() };
        bell.ring();
        assert_eq!(bell.waker.0.get(), 0, "it is awake");
        assert!(!bell.about_to_sleep(), "there is work");
        bell.woke();
        assert!(bell.about_to_sleep());
        assert!(bell.about_to_sleep(), "saying it twice changes nothing");
        bell.ring();
        bell.ring();
        assert_eq!(bell.waker.0.get(), 1);
        assert!(!bell.about_to_sleep());
        bell.woke();
        assert!(bell.about_to_sleep());
    }
}

#[cfg(all(test, ringio_loom))]
mod loom_tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mesh::ring::ring;
    use loom::sync::atomic::AtomicBool;

    #[derive(Debug)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(&self) {
            self.0.store(true, Ordering::Release);
        }
    }

    /// The shard goes to sleep while another thread sends: it takes the value, or is told not to sleep, or is woken.
    #[test]
    fn no_wake_up_is_lost() {
        send_while_it_looks(1);
    }

    /// The same, but it looks once more before it says that it sleeps: that look swallows a ring, and not the value.
    #[test]
    fn no_wake_up_is_lost_by_one_who_polls() {
        send_while_it_looks(2);
    }

    fn send_while_it_looks(looks: usize) {
        loom::model(move || {
            let bell = Arc::new(Bell { state: AtomicU8::new(AWAKE), waker: Flag(AtomicBool::new(false)) });
            let (mut producer, mut consumer) = ring(2);
            let sender = {
                let bell = Arc::clone(&bell);
                loom::thread::spawn(move || {
                    producer.push(7).unwrap();
                    bell.ring();
                })
            };
            let mut taken = None;
            for _ in 0..looks {
                bell.woke();
                taken = taken.or_else(|| consumer.pop());
            }
            let mut asleep = false;
            if taken.is_none() {
                if bell.about_to_sleep() {
                    asleep = true;
                } else {
                    bell.woke();
                    taken = consumer.pop();
                    assert_eq!(taken, Some(7), "told not to sleep, so the value is there");
                }
            }
            sender.join().unwrap();
            if asleep {
                assert!(bell.waker.0.load(Ordering::Acquire), "asleep and not woken");
                bell.woke();
                taken = consumer.pop();
            }
            assert_eq!(taken, Some(7));
        });
    }
}
