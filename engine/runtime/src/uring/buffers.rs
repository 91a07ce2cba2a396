//! The pools that received bytes land in: two for all connections of a shard, so that an idle one owns nothing.
//!
//! Most messages are small and many connections bring one at a time: for them there are many small buffers. A message of 64 KiB would
//! take sixteen of those, each with a completion and a call of TCP's own; so a connection that has filled several small ones in a row
//! receives into a few large ones, until it brings small messages again ([`Habit`]). Each pool is a buffer group of io_uring:
//!
//! ```text
//!   ring of entries (shared with the kernel)      memory
//!   [ addr len id | addr len id | ... ]           [ buffer 0 | buffer 1 | ... | buffer n-1 ]
//!        ^ the kernel takes here     ^ tail: given back here
//! ```
//! A buffer is the kernel's, or lent to a sink while [`Lent`] lives; `is_lent` says which, so that a number from the kernel that
//! names a buffer twice is refused instead of believed. Source: io_uring_register(2), IORING_REGISTER_PBUF_RING (5.19).
//!
//! When the pool is empty a receive ends with ENOBUFS; everything that arrived is then in the completion queue, so asking again right
//! after it has been delivered finds buffers. A pool smaller than a burst costs half as much again per message.

use io_uring::IoUring;
use std::alloc::Layout;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Which pool a receive takes its buffers from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Many small buffers.
    Small,
    /// A few large ones.
    Large,
}

impl Pool {
    /// The buffer group's number within its ring.
    pub(super) const fn group(self) -> u16 {
        self as u16
    }
}

/// What a connection has brought lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Habit {
    /// Receives in a row that speak for the other pool.
    streak: u8,
    /// The pool of the next receive that is armed.
    pub(super) wants: Pool,
}

/// Small buffers filled in a row that make a connection use large ones.
const FULL_STREAK: u8 = 2;
/// Receives in a row of less than half a small buffer that bring it back. More, because changing costs a cancel.
const SMALL_STREAK: u8 = 16;

impl Habit {
    pub(super) const NEW: Self = Self { streak: 0, wants: Pool::Small };

    /// Takes note of `size` bytes in a buffer of `pool`. Whether the receive should now be armed anew, with the other pool.
    pub(super) fn note(&mut self, pool: Pool, size: usize, small_size: usize) -> bool {
        let (speaks_for_other, enough, other) = match pool {
            Pool::Small => (size >= small_size, FULL_STREAK, Pool::Large),
            Pool::Large => (size < small_size / 2, SMALL_STREAK, Pool::Small),
        };
        self.streak = if speaks_for_other { self.streak + 1 } else { 0 };
        if self.streak < enough {
            return false;
        }
        self.streak = 0;
        self.wants = other;
        true
    }
}

/// `struct io_uring_buf`. The `tail` of the whole ring lies in the last field of its first entry.
#[derive(Debug)]
#[repr(C)]
struct Entry {
    address: u64,
    size: u32,
    id: u16,
    tail: AtomicU16,
}

const ENTRIES_PER_PAGE: usize = 4096 / size_of::<Entry>();
const _: () = assert!(size_of::<Entry>() == 16 && size_of::<Page>() == 4096);

#[derive(Debug)]
#[repr(C, align(4096))]
struct Page([Entry; ENTRIES_PER_PAGE]);

impl Page {
    fn empty() -> Self {
        Self(std::array::from_fn(|_| Entry { address: 0, size: 0, id: 0, tail: AtomicU16::new(0) }))
    }
}

/// The buffers' bytes. Shared with what is lent, so that even a sink that drops the driver cannot free what it holds.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Drop for Memory {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `Group::new`, freed only here. The kernel has let go: `Uring` unregisters the pool and closes
        // the ring first.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Both pools.
#[derive(Debug)]
pub struct Buffers {
    small: Group,
    large: Group,
}

impl Buffers {
    pub(super) fn new(small: Group, large: Group) -> Self {
        Self { small, large }
    }

    /// Tells the kernel of both.
    pub(super) fn register(&self, ring: &IoUring) -> io::Result<()> {
        self.small.register(ring, Pool::Small)?;
        self.large.register(ring, Pool::Large)
    }

    /// Bytes reserved.
    pub(super) fn size(&self) -> u64 {
        self.small.size() + self.large.size()
    }

    /// One pool.
    #[must_use]
    pub fn pool(&self, pool: Pool) -> &Group {
        match pool {
            Pool::Small => &self.small,
            Pool::Large => &self.large,
        }
    }

    /// One pool, to lend from or to fill.
    pub fn pool_mut(&mut self, pool: Pool) -> &mut Group {
        match pool {
            Pool::Small => &mut self.small,
            Pool::Large => &mut self.large,
        }
    }
}

/// One pool: buffers of one size.
#[derive(Debug)]
pub struct Group {
    memory: Rc<Memory>,
    pages: Vec<Page>,
    is_lent: Vec<bool>,
    size: usize,
    tail: u16,
}

/// Received bytes, while a sink looks at them.
pub(super) struct Lent {
    memory: Rc<Memory>,
    id: u16,
    offset: usize,
    size: usize,
}

impl Lent {
    #[allow(unsafe_code)]
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let start = self.memory.start.as_ptr().wrapping_add(self.offset);
        // SAFETY: `lend` checked that offset and size lie in the allocation (which this value keeps alive), that the kernel gave this buffer
        // away and that it is lent once; it goes back to the kernel only by `give_back`, which takes this value. The memory was zeroed.
        unsafe { std::slice::from_raw_parts_mut(start, self.size) }
    }
}

impl Group {
    /// Makes a pool of `count` (a power of two, at most 32768) buffers of `size` bytes. Its memory is touched as it is used.
    #[allow(unsafe_code)]
    pub(super) fn new(count: u16, size: u32) -> io::Result<Self> {
        let valid = count.is_power_of_two() && count <= 1 << 15 && (64..=1 << 24).contains(&size);
        if !valid {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "receive buffers: a power of two up to 32768, of 64 bytes to 16 MiB",
            ));
        }
        let bytes = usize::from(count) * size as usize;
        let layout = Layout::from_size_align(bytes, 4096).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: the size is not zero.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        start.as_ptr().expose_provenance();
        let pages = (0..usize::from(count).div_ceil(ENTRIES_PER_PAGE)).map(|_| Page::empty()).collect();
        let mut group = Self {
            memory: Rc::new(Memory { start, layout }),
            pages,
            is_lent: vec![false; usize::from(count)],
            size: size as usize,
            tail: 0,
        };
        for id in 0..count {
            group.add(id);
        }
        Ok(group)
    }

    /// Tells the kernel of the pool.
    #[allow(unsafe_code)]
    fn register(&self, ring: &IoUring, pool: Pool) -> io::Result<()> {
        let address = self.pages.as_ptr().expose_provenance() as u64;
        // SAFETY: the pages are aligned, hold `count` entries, do not move (the vector never grows), and outlive the ring or the registration:
        // `Uring` drops them last.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, self.is_lent.len() as u16, pool.group(), 0) }
    }

    fn size(&self) -> u64 {
        self.memory.layout.size() as u64
    }

    /// The bytes of a completion: the first `size` of buffer `id`; None when the kernel cannot have meant this.
    pub(super) fn lend(&mut self, id: u16, size: usize) -> Option<Lent> {
        let is_lent = self.is_lent.get_mut(usize::from(id))?;
        if *is_lent || size > self.size {
            return None;
        }
        *is_lent = true;
        Some(Lent { memory: Rc::clone(&self.memory), id, offset: usize::from(id) * self.size, size })
    }

    /// Gives a buffer back to the kernel.
    #[allow(clippy::needless_pass_by_value)] // The point is that nobody looks at the bytes any more.
    pub(super) fn give_back(&mut self, lent: Lent) {
        if !Rc::ptr_eq(&lent.memory, &self.memory) {
            return; // Of a driver that the sink replaced.
        }
        self.is_lent[usize::from(lent.id)] = false;
        self.add(lent.id);
    }

    /// How many buffers there are.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.is_lent.len() as u16
    }

    /// Bytes of each.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.size
    }

    /// For a ring that is not the kernel's: the buffer that a reader who has taken `taken` of them finds next; `None` if all that were given
    /// back are taken.
    #[must_use]
    pub fn offered(&self, taken: u16) -> Option<u16> {
        if taken == self.tail {
            return None;
        }
        let position = usize::from(taken) & (self.is_lent.len() - 1);
        Some(self.pages[position / ENTRIES_PER_PAGE].0[position % ENTRIES_PER_PAGE].id)
    }

    /// For a ring that is not the kernel's: received bytes arrive in a buffer that it was [offered](Self::offered).
    ///
    /// # Panics
    /// If the buffer is lent at this moment (what a kernel would overwrite then, a sink is looking at), if there is none of that number, or
    /// if the bytes are too many.
    #[allow(unsafe_code)]
    pub fn fill(&mut self, id: u16, bytes: &[u8]) {
        assert_eq!(self.is_lent.get(usize::from(id)), Some(&false), "buffer {id} is filled while somebody looks at it");
        assert!(bytes.len() <= self.size, "{} bytes for a buffer of {}", bytes.len(), self.size);
        let start = self.memory.start.as_ptr().wrapping_add(usize::from(id) * self.size);
        // SAFETY: `id` names a buffer and the bytes fit it, so the target lies in the allocation; it is not lent, so nobody has a reference
        // to it, and `bytes` cannot overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
    }

    fn add(&mut self, id: u16) {
        let position = usize::from(self.tail) & (self.is_lent.len() - 1);
        let start = self.memory.start.as_ptr().addr();
        let entry = &mut self.pages[position / ENTRIES_PER_PAGE].0[position % ENTRIES_PER_PAGE];
        entry.address = (start + usize::from(id) * self.size) as u64;
        entry.size = self.size as u32;
        entry.id = id;
        self.tail = self.tail.wrapping_add(1);
        // Release: the kernel reads the tail before the entry. Field by field above, because the first entry's last field *is* the tail.
        self.pages[0].0[0].tail.store(self.tail, Ordering::Release);
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn long_messages_change_the_pool_and_short_ones_change_it_back() {
        let mut habit = Habit::NEW;
        let mut notes = |pool, sizes: &[usize]| {
            let answers = sizes.iter().map(|size| habit.note(pool, *size, 4096)).collect::<Vec<_>>();
            (answers, habit.wants)
        };
        assert_eq!(notes(Pool::Small, &[4096, 100, 4096]), (vec![false; 3], Pool::Small), "a full one now and then");
        assert_eq!(notes(Pool::Small, &[4096]), (vec![true], Pool::Large), "two in a row");
        assert_eq!(notes(Pool::Small, &[4096, 4096]), (vec![false, true], Pool::Large), "again, if it was not heard");
        assert_eq!(notes(Pool::Large, &[65_536, 2048, 14]).1, Pool::Large, "a small buffer's worth stays, ends do too");
        assert_eq!(notes(Pool::Large, &[10; 14]), (vec![false; 14], Pool::Large));
        assert_eq!(notes(Pool::Large, &[10]), (vec![true], Pool::Small), "sixteen short ones in a row");
    }

    #[test]
    fn a_buffer_is_lent_once_and_only_if_it_exists() {
        let mut buffers = Group::new(4, 64).unwrap();
        let mut lent = buffers.lend(3, 64).unwrap();
        lent.bytes().fill(7);
        assert!(buffers.lend(3, 1).is_none(), "already lent");
        assert!(buffers.lend(4, 1).is_none(), "no such buffer");
        assert!(buffers.lend(2, 65).is_none(), "larger than a buffer");
        buffers.give_back(lent);
        assert_eq!(buffers.lend(3, 64).unwrap().bytes(), [7; 64]);
    }

    #[test]
    fn given_back_buffers_go_round_the_ring() {
        let mut buffers = Group::new(4, 64).unwrap();
        assert_eq!(buffers.tail, 4);
        // Beyond the end of the tail, but for Miri, to which a hundred rounds take a second.
        let rounds = if cfg!(miri) { 200 } else { 70_000_u32 };
        for round in 0..rounds {
            let lent = buffers.lend((round % 4) as u16, 1).unwrap();
            buffers.give_back(lent);
        }
        assert_eq!(buffers.pages[0].0[0].tail.load(Ordering::Relaxed), ((rounds + 4) & 0xffff) as u16);
        let entry = &buffers.pages[0].0[((rounds + 3) % 4) as usize];
        assert_eq!(u32::from(entry.id), (rounds - 1) % 4);
    }

    #[test]
    fn one_buffer_is_filled_while_another_is_looked_at() {
        let mut buffers = Group::new(2, 64).unwrap();
        assert_eq!((buffers.offered(0), buffers.offered(1), buffers.offered(2)), (Some(0), Some(1), None));
        buffers.fill(0, b"abc");
        let mut lent = buffers.lend(0, 3).unwrap();
        let seen = lent.bytes();
        buffers.fill(1, &[7; 64]);
        assert_eq!(seen, b"abc");
        buffers.give_back(lent);
        assert_eq!(buffers.offered(2), Some(0));
        assert_eq!(buffers.lend(1, 64).unwrap().bytes(), [7; 64]);
    }

    #[test]
    fn what_is_lent_outlives_the_pool() {
        let mut buffers = Group::new(2, 64).unwrap();
        let mut lent = buffers.lend(0, 10).unwrap();
        let mut other = Group::new(2, 64).unwrap();
        drop(buffers);
        lent.bytes()[9] = 1;
        other.give_back(lent);
        assert_eq!(other.tail, 2, "a foreign buffer is not taken");
    }
}
