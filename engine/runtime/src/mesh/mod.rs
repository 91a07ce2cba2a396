//! What one shard says to another: N x N rings, one [`Port`] per shard.
//!
//! ```text
//!    port 0 ==ring==> port 1        each arrow is one single-producer single-consumer ring,
//!      ^  \\==ring==> port 2        each port has one bell that the others ring once per batch
//! ```
//! Nothing is lost and nobody waits: what finds its ring full goes to a queue of the sender and follows, in order, at the next
//! [`Port::flush`]; the receiver rings back when it has made room. Two shards that flood each other therefore cannot block each
//! other. This folder is the second of the two places with `unsafe` code (in `ring`); `doorbell` says why no wake-up is lost.

mod atomics;
pub mod doorbell;
pub mod ring;

use doorbell::{Doorbell, Sleeper};
use ring::{Consumer, Producer};
use ringio_core::base::id::ShardIndex;
#[cfg(ringio_planted)]
use ringio_core::base::planted::{self, Bug};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Makes the ports of `shards` shards, with rings of `capacity` messages between each two (rounded up to a power of two).
///
/// Memory: `shards * (shards - 1) * capacity * size_of::<T>()`.
///
/// # Errors
/// When the process has no descriptors left for the bells (one each).
///
/// # Panics
/// With no shard, or more than a [`ShardIndex`] can count.
pub fn mesh<T: Send>(shards: usize, capacity: usize) -> io::Result<Vec<Port<T>>> {
    assert!((1..=usize::from(u16::MAX)).contains(&shards), "1..=65535 shards, not {shards}");
    let mut ports = Vec::with_capacity(shards);
    for index in 0..shards {
        ports.push(Port {
            own: index,
            sleeper: Sleeper::new()?,
            peers: Vec::with_capacity(shards),
            loopback: VecDeque::new(),
            next: 0,
            overflowed: 0,
        });
    }
    let bells: Vec<Doorbell> = ports.iter().map(|port| port.sleeper.doorbell()).collect();
    for left in 0..shards {
        for right in 0..shards {
            // Both vectors grow in the order of indexes: (left, right) and (right, left) are made when the larger of the two is reached.
            if left <= right {
                continue;
            }
            let (to_right, from_left) = ring::ring(capacity);
            let (to_left, from_right) = ring::ring(capacity);
            ports[left].peers.push(Peer::new(right, to_right, from_right, bells[right].clone()));
            ports[right].peers.push(Peer::new(left, to_left, from_left, bells[left].clone()));
        }
    }
    for port in &mut ports {
        port.peers.sort_by_key(|peer| peer.index);
    }
    Ok(ports)
}

#[derive(Debug)]
struct Peer<T> {
    index: usize,
    outbound: Producer<T>,
    /// What found `outbound` full, oldest first. While it is not empty nothing goes to the ring past it.
    overflow: VecDeque<T>,
    inbound: Consumer<T>,
    bell: Doorbell,
    /// Something was put in since the bell was rung.
    is_bell_due: bool,
    /// Something was taken out since `inbound` was last seen empty.
    is_drained: bool,
}

impl<T> Peer<T> {
    fn new(index: usize, outbound: Producer<T>, inbound: Consumer<T>, bell: Doorbell) -> Self {
        Self { index, outbound, overflow: VecDeque::new(), inbound, bell, is_bell_due: false, is_drained: false }
    }
}

/// One shard's end of the mesh.
#[derive(Debug)]
pub struct Port<T> {
    own: usize,
    sleeper: Sleeper,
    /// All shards but this one, by index.
    peers: Vec<Peer<T>>,
    /// What this shard sent to itself.
    loopback: VecDeque<T>,
    /// Whose turn it is in `receive`: a position in `peers`, or one past them for the loopback.
    next: usize,
    overflowed: u64,
}

impl<T: Send> Port<T> {
    /// Gives back memory that no waiting message needs.
    pub(crate) fn shrink(&mut self) {
        self.loopback.shrink_to_fit();
        self.peers.iter_mut().for_each(|peer| peer.overflow.shrink_to_fit());
    }

    /// Which shard this is.
    #[must_use]
    pub fn index(&self) -> ShardIndex {
        ShardIndex(self.own as u16)
    }

    /// How many shards there are, this one included.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.peers.len() + 1
    }

    /// Sends to another shard (or to this one). Never blocks, never loses: what finds the ring full waits in a queue here.
    /// The receiver is woken at the next [`Self::flush`].
    ///
    /// # Panics
    /// When there is no shard `to`.
    pub fn send(&mut self, to: ShardIndex, message: T) {
        let to = usize::from(to.0);
        if to == self.own {
            self.loopback.push_back(message);
            return;
        }
        let peer = &mut self.peers[to - usize::from(to > self.own)];
        debug_assert_eq!(peer.index, to);
        peer.is_bell_due = true;
        let may_push = peer.overflow.is_empty();
        #[cfg(ringio_planted)]
        let may_push = may_push || planted::is(Bug::MeshOvertakes);
        if may_push {
            match peer.outbound.push(message) {
                Ok(()) => return,
                Err(message) => peer.overflow.push_back(message),
            }
        } else {
            peer.overflow.push_back(message);
        }
        self.overflowed += 1;
    }

    /// Moves what waited into the rings and rings the bell of every shard that got something, once. `true` when something still
    /// waits; the shard that must make room will then ring this one's bell, so it may sleep.
    pub fn flush(&mut self) -> bool {
        let mut waits = false;
        for peer in &mut self.peers {
            while !peer.overflow.is_empty() && (peer.outbound.has_room() || peer.outbound.starve()) {
                if let Some(message) = peer.overflow.pop_front() {
                    peer.is_bell_due = true;
                    let pushed = peer.outbound.push(message);
                    assert!(pushed.is_ok(), "nobody but this producer takes room away");
                }
            }
            waits |= !peer.overflow.is_empty();
            #[cfg(ringio_planted)]
            if planted::is(Bug::BellForgotten) && waits {
                continue;
            }
            if std::mem::take(&mut peer.is_bell_due) {
                peer.bell.ring();
            }
        }
        waits
    }

    /// The next message and its sender: one from each shard in turn, as long as there are any.
    pub fn receive(&mut self) -> Option<(ShardIndex, T)> {
        let places = self.peers.len() + 1;
        for _ in 0..places {
            let place = self.next;
            self.next = if place + 1 == places { 0 } else { place + 1 };
            let Some(peer) = self.peers.get_mut(place) else {
                if let Some(message) = self.loopback.pop_front() {
                    return Some((ShardIndex(self.own as u16), message));
                }
                continue;
            };
            if let Some(message) = peer.inbound.pop() {
                peer.is_drained = true;
                return Some((ShardIndex(peer.index as u16), message));
            }
            if std::mem::take(&mut peer.is_drained) && peer.inbound.take_starved() {
                peer.bell.ring();
            }
        }
        None
    }

    /// Whether there is nothing to receive at this moment.
    pub fn is_empty(&mut self) -> bool {
        self.loopback.is_empty() && self.peers.iter_mut().all(|peer| peer.inbound.is_empty())
    }

    /// Messages that found their ring full so far: a metric for "the rings are too small, or a shard is stuck".
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// A handle that rings this shard.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.sleeper.doorbell()
    }

    /// See [`Sleeper::about_to_sleep`]; also `false` while there is something to receive, or while a shard may wait for room that the last
    /// [`Self::receive`] made: the next one rings it.
    pub fn about_to_sleep(&mut self) -> bool {
        let is_owed_a_bell = self.peers.iter().any(|peer| peer.is_drained);
        !is_owed_a_bell && self.is_empty() && self.sleeper.about_to_sleep()
    }

    /// See [`Sleeper::woke`].
    pub fn woke(&mut self) {
        self.sleeper.woke();
    }
}

impl<T> AsFd for Port<T> {
    /// The bell's descriptor, for the driver.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sleeper.as_fd()
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::epoll::system;
    use std::os::fd::AsRawFd;

    #[test]
    fn every_shard_reaches_every_shard() {
        let mut ports = mesh::<(usize, usize)>(4, 4).unwrap();
        for (from, port) in ports.iter_mut().enumerate() {
            for to in 0..4 {
                port.send(ShardIndex(to as u16), (from, to));
            }
            assert!(!port.flush());
        }
        for (own, port) in ports.iter_mut().enumerate() {
            let mut senders = Vec::new();
            while let Some((sender, (from, to))) = port.receive() {
                assert_eq!((usize::from(sender.0), own), (from, to));
                senders.push(from);
            }
            senders.sort_unstable();
            assert_eq!(senders, [0, 1, 2, 3]);
            assert!(port.is_empty());
        }
    }

    #[test]
    fn a_full_ring_loses_nothing_and_keeps_the_order() {
        let mut ports = mesh::<u32>(2, 4).unwrap();
        let mut right = ports.pop().unwrap();
        let mut left = ports.pop().unwrap();
        for value in 0..100 {
            left.send(ShardIndex(1), value);
        }
        assert_eq!(left.overflowed(), 96);
        let mut taken = Vec::new();
        let mut rounds = 0;
        while left.flush() {
            left.woke();
            assert!(left.about_to_sleep());
            while let Some((_, value)) = right.receive() {
                taken.push(value);
            }
            assert!(!left.about_to_sleep() || taken.len() == 100, "the receiver rings back when it made room");
            rounds += 1;
        }
        while let Some((_, value)) = right.receive() {
            taken.push(value);
        }
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert_eq!(rounds, 24);
    }

    /// A turn takes so many messages and no more: as many as a ring holds, as it happens.
    #[test]
    fn who_has_taken_exactly_all_there_was_does_not_sleep_before_it_rings_back() {
        let mut ports = mesh::<u32>(2, 4).unwrap();
        let mut right = ports.pop().unwrap();
        let mut left = ports.pop().unwrap();
        (0..6).for_each(|value| left.send(ShardIndex(1), value));
        assert!(left.flush(), "two wait for room");
        left.woke();
        assert!(left.about_to_sleep());
        (0..4).for_each(|value| assert_eq!(right.receive().unwrap().1, value));
        assert!(!right.about_to_sleep(), "the other one sleeps and does not know that there is room");
        right.woke();
        assert!(right.receive().is_none());
        assert!(!left.about_to_sleep(), "now it does");
        left.woke();
        assert!(!left.flush());
        (4..6).for_each(|value| assert_eq!(right.receive().unwrap().1, value));
    }

    #[test]
    fn nothing_overtakes_what_waits() {
        let mut ports = mesh::<u32>(2, 4).unwrap();
        (0..6).for_each(|value| ports[0].send(ShardIndex(1), value));
        assert_eq!(ports[1].receive().unwrap().1, 0);
        assert_eq!(ports[1].receive().unwrap().1, 1);
        ports[0].send(ShardIndex(1), 6); // The ring has room again, but 4 and 5 wait.
        ports[0].flush();
        let mut taken: Vec<u32> = Vec::new();
        loop {
            taken.extend(std::iter::from_fn(|| ports[1].receive()).map(|(_, value)| value));
            if !ports[0].flush() && ports[1].is_empty() {
                break;
            }
        }
        assert_eq!(taken, [2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_flooding_shard_does_not_starve_the_others() {
        let mut ports = mesh::<u32>(3, 64).unwrap();
        for value in 0..50 {
            ports[1].send(ShardIndex(0), value);
        }
        ports[2].send(ShardIndex(0), 1000);
        ports[0].send(ShardIndex(0), 2000);
        let first: Vec<u32> = (0..3).map(|_| ports[0].receive().unwrap().1).collect();
        assert_eq!(first, [0, 1000, 2000]);
    }

    /// Threads that sleep on nothing but their bells pass a token round; a lost wake-up hangs the test.
    #[test]
    fn sleeping_shards_pass_a_token_round() {
        const ROUNDS: u32 = if cfg!(miri) { 60 } else { 2_000 };
        let ports = mesh::<u32>(3, 2).unwrap();
        let threads: Vec<_> = ports
            .into_iter()
            .map(|mut port| {
                std::thread::spawn(move || {
                    // As the drivers watch a bell: by edges, without reading it.
                    let list = system::epoll().unwrap();
                    let (bell, edges) = (port.as_fd().as_raw_fd(), (libc::EPOLLIN | libc::EPOLLET) as u32);
                    system::epoll_ctl(list.as_fd(), libc::EPOLL_CTL_ADD, bell, edges, 7).unwrap();
                    let mut events = [system::NO_EVENT; 2];
                    let next = ShardIndex((port.index().0 + 1) % 3);
                    if port.index().0 == 0 {
                        port.send(next, 0);
                    }
                    loop {
                        while let Some((_, token)) = port.receive() {
                            if token < ROUNDS {
                                port.send(next, token + 1);
                            }
                            if token + 3 > ROUNDS {
                                port.flush();
                                return;
                            }
                        }
                        port.flush();
                        if port.about_to_sleep() {
                            let count = system::epoll_wait(list.as_fd(), &mut events, -1).unwrap();
                            assert_eq!((count, events[0].u64), (1, 7));
                        }
                        port.woke();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
