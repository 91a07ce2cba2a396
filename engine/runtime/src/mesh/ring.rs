//! A bounded queue from exactly one thread to exactly one other.
//!
//! ```text
//!            head (the consumer's)            tail (the producer's)
//!              v                                v
//!   [ free ] [ A ] [ B ] [ C ] [ D ] [ E ] [ free ] ...      capacity is a power of two
//! ```
//! Both counters only grow; `counter & mask` is the position. Invariant: a slot in `head..tail` holds a value and belongs to
//! the consumer, every other slot is empty and belongs to the producer. The producer gives a slot away by the Release store of
//! `tail`, the consumer gives it back by the Release store of `head`; each reads the other's counter with Acquire, and only when its own
//! copy says full or empty, so that in the steady state neither touches the other's cache line.
//! That there is one of each is in the types: neither half is `Clone`, and every operation takes `&mut self`.
//! The orderings are searched by loom (`cfg(ringio_loom)`); AddressSanitizer (`make test-asan`) and Miri (`make miri`) see the tests below, which
//! are shorter for Miri (`cfg!(miri)`).

use super::atomics::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};
use std::collections::VecDeque;
use std::mem::MaybeUninit;

/// Two cache lines: the processor fetches them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone<T>(T);

struct Shared<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Counts values taken out. Written by the consumer only.
    head: Alone<AtomicUsize>,
    /// Counts values put in. Written by the producer only.
    tail: Alone<AtomicUsize>,
    /// The producer has values that found no room, and wants its bell rung when there is.
    starved: Alone<AtomicBool>,
}

// SAFETY: the fields' own threads rules are the module's invariant: a slot is touched by one side at a time, and changes sides by a
// Release store that the other side reads with Acquire. A value crosses threads, hence `T: Send`; no `&T` is ever shared.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; `Producer` and `Consumer` are the only ones who reach the slots, each through `&mut self`.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Shared<T> {}

/// Makes a ring of at least `capacity` values (rounded up to a power of two, at least 2).
///
/// # Panics
/// When `capacity` exceeds half the address space.
#[must_use]
pub fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.max(2).next_power_of_two();
    let slots = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let shared = Arc::new(Shared {
        slots,
        head: Alone(AtomicUsize::new(0)),
        tail: Alone(AtomicUsize::new(0)),
        starved: Alone(AtomicBool::new(false)),
    });
    (Producer { shared: Arc::clone(&shared), tail: 0, head_seen: 0 }, Consumer { shared, head: 0, tail_seen: 0 })
}

/// The end that puts in.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// The true `tail`: nobody else writes it.
    tail: usize,
    /// A past `head`; the true one is never less.
    head_seen: usize,
}

/// The end that takes out.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// The true `head`: nobody else writes it.
    head: usize,
    /// A past `tail`; the true one is never less.
    tail_seen: usize,
}

impl<T> Shared<T> {
    fn mask(&self) -> usize {
        self.slots.len() - 1
    }
}

impl<T: Send> Producer<T> {
    /// Puts `value` in. Costs one store when there is room, one load more when the last known room is used up.
    ///
    /// # Errors
    /// The value back when the ring is full.
    #[inline]
    #[allow(unsafe_code)]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if !self.has_room() {
            return Err(value);
        }
        let slot = &self.shared.slots[self.tail & self.shared.mask()];
        slot.with_mut(|place| {
            // SAFETY: `tail - head <= tail - head_seen < capacity`, so this slot is outside `head..tail` and the producer's; its former
            // value was moved out before the consumer's Release store of `head`, which `has_room` read with Acquire.
            unsafe { place.write(MaybeUninit::new(value)) }
        });
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Whether [`Self::push`] would succeed.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        if self.tail.wrapping_sub(self.head_seen) < self.shared.slots.len() {
            return true;
        }
        self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) < self.shared.slots.len()
    }

    /// Asks the consumer to say when there is room again ([`Consumer::take_starved`]), and looks once more: `true` when there is room
    /// already, and no word may follow.
    pub fn starve(&mut self) -> bool {
        self.shared.starved.0.store(true, Ordering::Relaxed);
        // Store-load: either the consumer sees the wish after it emptied the ring, or this thread sees the emptied ring. Without
        // the fence both can miss the other, and the values wait until something else wakes this shard.
        fence(Ordering::SeqCst);
        self.has_room()
    }
}

impl<T: Send> Consumer<T> {
    /// Takes the oldest value.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.available() == 0 {
            return None;
        }
        let value = self.read(self.head);
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Moves at most `limit` values to the end of `target` and returns how many. The slots are given back all at once.
    pub fn pop_into(&mut self, target: &mut VecDeque<T>, limit: usize) -> usize {
        if self.tail_seen.wrapping_sub(self.head) < limit {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
        }
        let count = self.tail_seen.wrapping_sub(self.head).min(limit);
        target.reserve(count); // The only thing here that can panic, and nothing has been moved yet.
        for offset in 0..count {
            target.push_back(self.read(self.head.wrapping_add(offset)));
        }
        self.head = self.head.wrapping_add(count);
        self.shared.head.0.store(self.head, Ordering::Release);
        count
    }

    /// Whether nothing is there to take at this moment.
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        self.available() == 0
    }

    /// Whether the producer asked to be told of room, once. To be called after values were taken out.
    pub fn take_starved(&mut self) -> bool {
        // The other half of `Producer::starve`.
        fence(Ordering::SeqCst);
        self.shared.starved.0.load(Ordering::Relaxed) && self.shared.starved.0.swap(false, Ordering::Relaxed)
    }

    #[inline]
    fn available(&mut self) -> usize {
        if self.tail_seen == self.head {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.tail_seen.wrapping_sub(self.head)
    }

    /// Moves the value out of the slot at `position`, which must be in `head..tail_seen`; the caller advances `head` past it.
    #[inline]
    #[allow(unsafe_code)]
    fn read(&mut self, position: usize) -> T {
        debug_assert!(position.wrapping_sub(self.head) < self.tail_seen.wrapping_sub(self.head));
        let slot = &self.shared.slots[position & self.shared.mask()];
        let value = slot.with_mut(|place| {
            // SAFETY: `position` is in `head..tail`, so the slot is the consumer's and holds a value, whose writing happened before the
            // Release store of `tail` that `available` read with Acquire.
            unsafe { place.read() }
        });
        // SAFETY: the slot held a value (above), and `head` moves past it before anybody reads there again.
        unsafe { value.assume_init() }
    }
}

impl<T> Drop for Shared<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // Both halves are gone: the last `Arc` synchronizes with both, so these are the true counters.
        let mut head = self.head.0.load(Ordering::Relaxed);
        let tail = self.tail.0.load(Ordering::Relaxed);
        let mask = self.mask();
        while head != tail {
            self.slots[head & mask].with_mut(|place| {
                // SAFETY: `&mut self` makes the place ours to borrow.
                let value = unsafe { &mut *place };
                // SAFETY: slots in `head..tail` hold values, and `head` moves past this one right here.
                unsafe { value.assume_init_drop() }
            });
            head = head.wrapping_add(1);
        }
    }
}

impl<T> std::fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("head", &self.head).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn capacity_is_rounded_up_and_a_full_ring_gives_the_value_back() {
        let (mut producer, mut consumer) = ring(3);
        for value in 0..4 {
            assert_eq!(producer.push(value), Ok(()));
        }
        assert_eq!(producer.push(4), Err(4));
        assert_eq!(consumer.pop(), Some(0));
        assert_eq!(producer.push(4), Ok(()));
        assert_eq!(producer.push(5), Err(5));
    }

    /// Compared with a `VecDeque` under a fixed-seed mix of operations, over several turns of the ring.
    #[test]
    fn behaves_as_a_bounded_deque() {
        let (mut producer, mut consumer) = ring::<u32>(8);
        let mut model = VecDeque::new();
        let mut state = 0x9e37_79b9_u32;
        let mut taken = VecDeque::new();
        let steps = if cfg!(miri) { 500 } else { 100_000 };
        for value in 0..steps {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 29 {
                0..4 => {
                    let expected = if model.len() < 8 { Ok(()) } else { Err(value) };
                    assert_eq!(producer.push(value), expected);
                    if expected.is_ok() {
                        model.push_back(value);
                    }
                }
                4..6 => assert_eq!(consumer.pop(), model.pop_front()),
                6 => {
                    let limit = (state >> 20) as usize & 7;
                    let count = consumer.pop_into(&mut taken, limit);
                    assert_eq!(count, limit.min(model.len()));
                    for _ in 0..count {
                        assert_eq!(taken.pop_front(), model.pop_front());
                    }
                }
                _ => {
                    assert_eq!(consumer.is_empty(), model.is_empty());
                    assert_eq!(producer.has_room(), model.len() < 8);
                }
            }
        }
    }

    #[test]
    fn what_is_left_is_dropped_once() {
        let alive = Arc::new(());
        let (mut producer, mut consumer) = ring(8);
        for _ in 0..6 {
            producer.push(Arc::clone(&alive)).unwrap();
        }
        drop(consumer.pop());
        assert_eq!(Arc::strong_count(&alive), 6);
        drop(producer);
        assert_eq!(Arc::strong_count(&alive), 6, "the consumer may still take them");
        drop(consumer);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn two_threads_keep_the_order() {
        let (mut producer, mut consumer) = ring(16);
        let count = if cfg!(miri) { 200 } else { 300_000_usize };
        let sender = std::thread::spawn(move || {
            for value in 0..count {
                let mut boxed = Box::new(value);
                while let Err(back) = producer.push(boxed) {
                    boxed = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < count {
            match consumer.pop() {
                Some(value) => {
                    assert_eq!(*value, next);
                    next += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        sender.join().unwrap();
        assert!(consumer.is_empty());
    }

    #[test]
    fn both_halves_may_cross_threads() {
        fn sends<T: Send>() {}
        sends::<Producer<Vec<u8>>>();
        sends::<Consumer<Vec<u8>>>();
    }
}

#[cfg(all(test, ringio_loom))]
mod loom_tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_arrive_whole_in_order_and_once() {
        loom::model(|| {
            let (mut producer, mut consumer) = ring(2);
            let sender = loom::thread::spawn(move || {
                let mut sent = 0_usize;
                for value in 0..3_usize {
                    if producer.push(Box::new(value)).is_err() {
                        break;
                    }
                    sent += 1;
                }
                sent
            });
            let mut taken = Vec::new();
            for _ in 0..2 {
                taken.extend(consumer.pop().map(|value| *value));
            }
            let sent = sender.join().unwrap();
            let mut rest = VecDeque::new();
            consumer.pop_into(&mut rest, 8);
            taken.extend(rest.into_iter().map(|value| *value));
            assert_eq!(taken, (0..sent).collect::<Vec<_>>());
        });
    }

    /// A starved producer either finds room itself or is told: never neither.
    #[test]
    fn room_is_never_missed() {
        loom::model(|| {
            let (mut producer, mut consumer) = ring(2);
            producer.push(0).unwrap();
            producer.push(1).unwrap();
            let taker = loom::thread::spawn(move || {
                assert_eq!(consumer.pop(), Some(0));
                assert_eq!(consumer.pop(), Some(1));
                consumer.take_starved()
            });
            let found = producer.starve();
            let told = taker.join().unwrap();
            assert!(found || told);
        });
    }
}
