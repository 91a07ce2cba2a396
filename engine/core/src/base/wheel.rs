//! Every deadline of a shard, in one hierarchical timing wheel.
//!
//! ```text
//! level 0   64 slots of 1 ms      |  a deadline lies on the level of the highest base-64 digit in which it
//! level 1   64 slots of 64 ms     |  differs from the wheel's own time, in the slot of that digit;
//! level 2   64 slots of 4.1 s     |  when time reaches the slot, its list moves down ("cascades"),
//! ...                             |  until on level 0 a slot is one millisecond
//! level 10  16 slots of 36 million years: no deadline is out of range, the end of time included
//! ```
//! *Invariant:* all deadlines of one millisecond lie in one list, in the order they were armed, so they also come
//! out in that order. A deadline is never early.
//!
//! Cost: arming and disarming touch the entry and its neighbours; an entry moves down at most once per level (three
//! times for an hour, twice for a 25 s heartbeat); empty time is skipped by one bitmap per level, however long. The
//! entries live in one slab: nothing is allocated while no more are armed than there have been since memory was given back.
//! Turning a coarse slot moves its whole list at once: 100,000 heartbeats of 25 s are about 16,000 in a slot of 4.1 s.
//!
//! Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 7.

use super::id::{Key, TimerKey};
use super::slab::Slab;
use super::time::Time;
use alloc::boxed::Box;
use alloc::vec;

const DIGIT_BITS: u32 = 6;
const SLOT_COUNT: usize = 1 << DIGIT_BITS;
const LEVEL_COUNT: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
/// The end of a list.
const NONE: u32 = u32::MAX;

/// Armed deadlines, each with what it is for.
#[derive(Debug)]
pub struct Wheel<T> {
    entries: Slab<TimerKey, Entry<T>>,
    /// `LEVEL_COUNT * SLOT_COUNT` lists, 5.6 kB.
    slots: Box<[Slot]>,
    /// Per level, the slots whose list is not empty.
    occupied: [u64; LEVEL_COUNT],
    /// The wheel's own time in ms: every entry's digits are read against it, so it moves only slot by slot.
    elapsed: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// The deadline in ms, never before `elapsed`.
    at: u64,
    previous: u32,
    next: u32,
    what: T,
}

// With its generation and the slab's own mark an armed deadline of a key takes 40 bytes.
const _: () = assert!(size_of::<Entry<u64>>() == 24);

#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    last: u32,
}

const EMPTY: Slot = Slot { first: NONE, last: NONE };

/// Level and digit of the list in which a deadline lies.
#[derive(Clone, Copy)]
struct Place {
    level: usize,
    digit: usize,
}

impl Place {
    fn of(at: u64, elapsed: u64) -> Self {
        // `| 1` because a deadline of this very millisecond differs in no digit and belongs on level 0.
        let level = ((at ^ elapsed) | 1).ilog2() / DIGIT_BITS;
        let digit = (at >> (level * DIGIT_BITS)) as usize % SLOT_COUNT;
        Self { level: level as usize, digit }
    }

    const fn slot(self) -> usize {
        self.level * SLOT_COUNT + self.digit
    }

    /// The first millisecond of the slot: the digits above are those of `elapsed`, the digits below zero.
    fn start(self, elapsed: u64) -> u64 {
        let shift = self.level as u32 * DIGIT_BITS;
        let above = u64::MAX.checked_shl(shift + DIGIT_BITS).unwrap_or(0);
        elapsed & above | (self.digit as u64) << shift
    }
}

impl<T> Wheel<T> {
    /// A wheel at rest whose time is `now`.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            entries: Slab::default(),
            slots: vec![EMPTY; LEVEL_COUNT * SLOT_COUNT].into_boxed_slice(),
            occupied: [0; LEVEL_COUNT],
            elapsed: now.as_millis(),
        }
    }

    /// Arms a deadline for `what`. An instant that has passed counts as the present one.
    pub fn arm(&mut self, at: Time, what: T) -> TimerKey {
        let at = at.as_millis().max(self.elapsed);
        let key = self.entries.insert(Entry { at, previous: NONE, next: NONE, what });
        self.append(key.index());
        key
    }

    /// Takes a deadline back and returns what it was for; `None` if it has expired or been disarmed.
    pub fn disarm(&mut self, key: TimerKey) -> Option<T> {
        let at = self.entries.get(key)?.at;
        let place = Place::of(at, self.elapsed);
        Some(self.unlink(place, key).what)
    }

    /// The next deadline that is not after `now`, earliest first, those of one millisecond in the order they were
    /// armed. To be called until it returns `None`; deadlines armed meanwhile are taken into account.
    pub fn poll_expired(&mut self, now: Time) -> Option<T> {
        while let Some(place) = self.next_place() {
            let start = place.start(self.elapsed);
            if start > now.as_millis() {
                break;
            }
            // No earlier slot holds anything, so every other entry keeps its place.
            self.elapsed = start;
            if place.level == 0 {
                let (key, _) = self.entry(self.slots[place.slot()].first);
                return Some(self.unlink(place, key).what);
            }
            self.cascade(place);
        }
        self.elapsed = self.elapsed.max(now.as_millis());
        None
    }

    /// When to call [`Self::poll_expired`] next: never after the earliest deadline. It is earlier if that deadline lies
    /// on a coarse level, for then it is the beginning of its slot: the poll finds nothing to return but moves the slot
    /// down. A deadline costs at most one such wake-up per level, a 25 s heartbeat two.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.next_place().map(|place| Time::from_millis(place.start(self.elapsed)))
    }

    /// Gives back memory that armed deadlines do not need.
    pub fn shrink(&mut self) {
        self.entries.shrink();
    }

    /// Bytes reserved for deadlines, armed or not.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.entries.reserved_bytes()
    }

    /// Whether the deadline of `key` is still to come.
    #[must_use]
    pub fn contains(&self, key: TimerKey) -> bool {
        self.entries.contains(key)
    }

    /// Number of armed deadlines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no deadline is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The earliest list that holds anything. A lower level always lies before a higher one, for it shares the
    /// digit in which the higher one is ahead of `elapsed`.
    fn next_place(&self) -> Option<Place> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        Some(Place { level, digit: self.occupied[level].trailing_zeros() as usize })
    }

    /// Moves a list whose time has come to the levels below, in order.
    fn cascade(&mut self, place: Place) {
        let mut index = core::mem::replace(&mut self.slots[place.slot()], EMPTY).first;
        self.occupied[place.level] &= !(1 << place.digit);
        while index != NONE {
            let next = self.entry(index).1.next;
            self.append(index);
            index = next;
        }
    }

    /// Puts an entry at the end of the list where it belongs.
    fn append(&mut self, index: u32) {
        let place = Place::of(self.entry(index).1.at, self.elapsed);
        self.occupied[place.level] |= 1 << place.digit;
        let slot = &mut self.slots[place.slot()];
        let previous = core::mem::replace(&mut slot.last, index);
        if previous == NONE {
            slot.first = index;
        } else {
            self.entry_mut(previous).next = index;
        }
        let entry = self.entry_mut(index);
        entry.previous = previous;
        entry.next = NONE;
    }

    /// Takes an entry out of its list and out of the slab.
    fn unlink(&mut self, place: Place, key: TimerKey) -> Entry<T> {
        let entry = self.entries.remove(key).expect("the caller has just found it");
        if entry.previous == NONE {
            self.slots[place.slot()].first = entry.next;
        } else {
            self.entry_mut(entry.previous).next = entry.next;
        }
        if entry.next == NONE {
            self.slots[place.slot()].last = entry.previous;
        } else {
            self.entry_mut(entry.next).previous = entry.previous;
        }
        if self.slots[place.slot()].first == NONE {
            self.occupied[place.level] &= !(1 << place.digit);
        }
        entry
    }

    fn entry(&self, index: u32) -> (TimerKey, &Entry<T>) {
        self.entries.at(index).expect("links lead to entries")
    }

    fn entry_mut(&mut self, index: u32) -> &mut Entry<T> {
        self.entries.at_mut(index).expect("links lead to entries").1
    }

    /// Checks the whole structure.
    ///
    /// # Panics
    /// If an entry is in a list where it does not belong or in none, if links disagree, or if a bitmap is wrong.
    pub fn invariants(&self) {
        let mut linked = 0;
        for (number, slot) in self.slots.iter().enumerate() {
            let place = Place { level: number / SLOT_COUNT, digit: number % SLOT_COUNT };
            let is_occupied = self.occupied[place.level] & 1 << place.digit != 0;
            assert_eq!(is_occupied, slot.first != NONE, "the bitmap knows which lists are empty");
            let (mut previous, mut index) = (NONE, slot.first);
            while index != NONE {
                let (_, entry) = self.entry(index);
                assert!(entry.at >= self.elapsed, "a deadline does not lie behind the wheel's time");
                assert_eq!(Place::of(entry.at, self.elapsed).slot(), number, "an entry lies where it belongs");
                assert_eq!(entry.previous, previous, "both links agree");
                linked += 1;
                previous = index;
                index = entry.next;
            }
            assert_eq!(slot.last, previous, "the list ends at its last entry");
        }
        assert_eq!(linked, self.entries.len(), "every entry is in a list");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn drain(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
        core::iter::from_fn(|| wheel.poll_expired(at(now))).collect()
    }

    #[test]
    fn a_deadline_is_neither_early_nor_late() {
        for start in [0, 1, 63, 64, 4095, (1 << 36) - 64, (1 << 60) - 2, u64::MAX - 5_000] {
            for delay in [0, 1, 2, 62, 63, 64, 65, 127, 128, 4000, 4095, 4096] {
                let mut wheel = Wheel::new(at(start));
                wheel.arm(at(start + delay), delay);
                for now in start..start + delay {
                    assert_eq!(wheel.poll_expired(at(now)), None, "{delay} ms after {start} is not at {now}");
                }
                assert_eq!(wheel.poll_expired(at(start + delay)), Some(delay));
                assert!(wheel.is_empty());
            }
        }
    }

    #[test]
    fn deadlines_of_one_millisecond_expire_as_they_were_armed() {
        // The second is armed on a finer level than the first, the third when both are a moment away.
        let mut wheel = Wheel::new(Time::ZERO);
        wheel.arm(at(10_000), 1);
        assert_eq!(wheel.poll_expired(at(9_000)), None);
        wheel.arm(at(10_000), 2);
        assert_eq!(wheel.poll_expired(at(9_999)), None);
        wheel.arm(at(10_000), 3);
        assert_eq!(drain(&mut wheel, 20_000), [1, 2, 3]);
    }

    #[test]
    fn what_has_passed_is_due_at_once_and_after_what_was_due_before() {
        let mut wheel = Wheel::new(at(1_000));
        wheel.arm(at(1_000), 1);
        wheel.arm(at(3), 2);
        wheel.invariants();
        assert_eq!(wheel.next_deadline(), Some(at(1_000)));
        assert_eq!(drain(&mut wheel, 1_000), [1, 2]);
    }

    #[test]
    fn what_a_deadline_arms_for_the_same_instant_expires_in_the_same_turn() {
        let mut wheel = Wheel::new(Time::ZERO);
        wheel.arm(at(5), 5);
        wheel.arm(at(9), 9);
        assert_eq!(wheel.poll_expired(at(100)), Some(5));
        wheel.arm(at(7), 7);
        wheel.arm(at(101), 101);
        assert_eq!(drain(&mut wheel, 100), [7, 9]);
        assert_eq!(drain(&mut wheel, 101), [101]);
    }

    #[test]
    fn a_disarmed_deadline_never_expires_and_its_key_finds_no_successor() {
        let mut wheel = Wheel::new(Time::ZERO);
        let first = wheel.arm(at(50), 1);
        assert_eq!(wheel.disarm(first), Some(1));
        assert_eq!(wheel.disarm(first), None);
        let second = wheel.arm(at(50), 2);
        assert_eq!(second.index(), first.index(), "the position is used again");
        assert_eq!(wheel.disarm(first), None);
        assert!(!wheel.contains(first) && wheel.contains(second));
        assert_eq!(drain(&mut wheel, 50), [2]);
        assert_eq!(wheel.disarm(second), None);
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    }

    #[test]
    fn the_end_of_time_can_be_armed_and_is_reached() {
        let mut wheel = Wheel::new(at(7));
        wheel.arm(at(u64::MAX), 1);
        wheel.arm(at(u64::MAX - 1), 0);
        assert_eq!(drain(&mut wheel, 1 << 62), []);
        assert_eq!(drain(&mut wheel, u64::MAX), [0, 1]);
    }

    #[test]
    fn a_loop_that_sleeps_until_the_next_deadline_wakes_in_time_and_seldom() {
        let mut wheel = Wheel::new(at(12_345));
        for delay in [25_000, 1, 90_000_000, 64, 300_000] {
            wheel.arm(at(12_345 + delay), 12_345 + delay);
        }
        let (mut wakeup_count, mut expired_count) = (0, 0);
        while let Some(now) = wheel.next_deadline() {
            wakeup_count += 1;
            while let Some(deadline) = wheel.poll_expired(now) {
                assert_eq!(now.as_millis(), deadline, "slept neither too long nor too short");
                expired_count += 1;
            }
        }
        assert_eq!(expired_count, 5);
        // Levels 2, 0, 4, 1 and 3: one wake-up per level on the way down and one for the deadline itself.
        assert!(wakeup_count <= 3 + 1 + 5 + 2 + 4, "{wakeup_count} wake-ups");
    }

    #[derive(Clone, Copy, Debug)]
    enum Operation {
        Arm(i64),
        Disarm(usize),
        /// Disarm and arm anew, as every heartbeat does.
        Rearm(usize, i64),
        /// Let so many milliseconds pass and take at most so many of what is due.
        Advance(u64, usize),
        /// Sleep until the wheel asks to be polled.
        Sleep,
    }

    /// Spans of every size, each size equally often: 1 ms to thousands of years.
    fn span() -> impl Strategy<Value = u64> {
        (0..48_u32, any::<u64>()).prop_map(|(bits, number)| number % (1 << bits))
    }

    fn delay() -> impl Strategy<Value = i64> {
        prop_oneof![9 => span().prop_map(|span| span as i64), 1 => (0..100_i64).prop_map(|span| -span)]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            6 => delay().prop_map(Operation::Arm),
            2 => any::<usize>().prop_map(Operation::Disarm),
            2 => (any::<usize>(), delay()).prop_map(|(which, delay)| Operation::Rearm(which, delay)),
            3 => (span(), prop_oneof![2 => Just(usize::MAX), 1 => 0..4_usize])
                .prop_map(|(span, count)| Operation::Advance(span, count)),
            1 => Just(Operation::Sleep),
        ]
    }

    /// The naive wheel: sorted by deadline, then by the order of arming.
    #[derive(Default)]
    struct Model {
        armed: BTreeMap<(u64, u64), TimerKey>,
        armed_count: u64,
        /// Nothing is due before this.
        floor: u64,
    }

    impl Model {
        fn arm(&mut self, wheel: &mut Wheel<u64>, now: u64, delay: i64) {
            let deadline = now.saturating_add_signed(delay);
            let key = wheel.arm(at(deadline), self.armed_count);
            self.armed.insert((deadline.max(self.floor), self.armed_count), key);
            self.armed_count += 1;
        }

        fn disarm(&mut self, wheel: &mut Wheel<u64>, which: usize) {
            let Some(nth) = which.checked_rem(self.armed.len()) else { return };
            let (&(deadline, what), &key) = self.armed.iter().nth(nth).unwrap();
            self.armed.remove(&(deadline, what));
            assert_eq!(wheel.disarm(key), Some(what));
            assert_eq!(wheel.disarm(key), None, "a key is good for once");
        }

        fn poll(&mut self, now: u64) -> Option<u64> {
            match self.armed.first_key_value() {
                Some((&(deadline, what), _)) if deadline <= now => {
                    self.armed.pop_first();
                    self.floor = deadline;
                    Some(what)
                }
                _ => {
                    self.floor = self.floor.max(now);
                    None
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Compared with a sorted map, step by step: what expires, in which order, how many are left, when to wake.
        #[test]
        fn the_wheel_does_what_a_sorted_map_does(
            start in span(),
            operations in prop::collection::vec(operation(), 1..200),
        ) {
            let mut wheel = Wheel::new(at(start));
            let mut model = Model { floor: start, ..Model::default() };
            let mut now = start;
            for operation in operations {
                match operation {
                    Operation::Arm(delay) => model.arm(&mut wheel, now, delay),
                    Operation::Disarm(which) => model.disarm(&mut wheel, which),
                    Operation::Rearm(which, delay) => {
                        model.disarm(&mut wheel, which);
                        model.arm(&mut wheel, now, delay);
                    }
                    Operation::Advance(span, count) => {
                        now += span;
                        for _ in 0..count {
                            let expired = wheel.poll_expired(at(now));
                            prop_assert_eq!(expired, model.poll(now));
                            if expired.is_none() {
                                break;
                            }
                        }
                    }
                    Operation::Sleep => now = now.max(wheel.next_deadline().map_or(0, Time::as_millis)),
                }
                wheel.invariants();
                prop_assert_eq!(wheel.len(), model.armed.len());
                let next = model.armed.first_key_value().map(|(&(deadline, _), _)| at(deadline));
                prop_assert_eq!(wheel.next_deadline().is_some(), next.is_some());
                prop_assert!(wheel.next_deadline() <= next, "never later than the earliest deadline");
            }
            while let Some(next) = wheel.next_deadline() {
                now = now.max(next.as_millis());
                loop {
                    let expired = wheel.poll_expired(at(now));
                    prop_assert_eq!(expired, model.poll(now));
                    if expired.is_none() {
                        break;
                    }
                }
            }
            prop_assert!(wheel.is_empty() && model.armed.is_empty());
            wheel.invariants();
        }
    }
}
