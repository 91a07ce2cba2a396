//! The ring itself: what goes in (typed operations), the one system call, what comes out (plain numbers).
//!
//! Sources: io_uring_setup(2), io_uring_enter(2), io_uring_register(2). The `io-uring` crate maps the rings and encodes the entries; the
//! enter call is made here, because its `register_ring_fd` (0.7.15) lasts only as long as the borrowed `Submitter` and never reaches a later
//! `submit`. A registered ring saves the descriptor look-up in every call (5 % of an echo in our measurements).
//!
//! Flags and since when:
//! - `SINGLE_ISSUER` (6.0): one thread submits; without it the kernel takes a lock per call;
//! - `DEFER_TASKRUN` (6.1): completions are made when this thread asks, not by interrupting it (8 % of an echo against none);
//! - `TASKRUN_FLAG` (5.19): says in shared memory whether there is deferred work, so a turn that will not wait may skip the call;
//! - `SUBMIT_ALL` (5.18): an entry that fails at once does not stop the ones behind it;
//! - `CQSIZE` (5.5): a completion queue large enough that bursts do not overflow; overflow is handled all the same.
//!
//! Which memory the entries name and how long it lives is kept by `in_flight` (frames, names) and `buffers` (receive pool).

use super::buffers::{Buffers, Pool};
use super::complete::{Completion, Operation, Tag};
use super::in_flight::{NamePlace, SendBytes};
use super::ring::{ACCEPT_REST_MS, Ring, Wait};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const REGISTER_RING_FDS: u32 = 20;
const MSG_RING_CQE_SKIP: u32 = 1;
const SOCKET_OPERATION_GETSOCKOPT: u32 = 2;
/// Not in every libc: the peer's address as a socket option (socket(7) leaves it out; since Linux 2.4).
const SO_PEERNAME: u32 = 28;

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct EnterArgument {
    signal_mask: u64,
    signal_mask_size: u32,
    min_wait_us: u32,
    timespec: u64,
}

/// `struct io_uring_rsrc_update`, as REGISTER_RING_FDS uses it.
#[repr(C)]
struct RingRegistration {
    offset: u32,
    reserved: u32,
    fd: u64,
}

/// Read by the kernel when the timer is submitted.
static ACCEPT_REST: types::Timespec = types::Timespec::new().nsec(ACCEPT_REST_MS * 1_000_000);

/// The two queues and the call between them, as the kernel has them.
pub struct SystemRing {
    ring: IoUring,
    /// What to enter with: the registered index, or the descriptor where registering was refused.
    enter_fd: RawFd,
    enter_flags: u32,
    system_calls: u64,
}

impl SystemRing {
    pub(super) fn new(submissions: u32, completions: u32) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(completions)
            .setup_clamp()
            .dontfork()
            .build(submissions)?;
        let registered = register(ring.as_raw_fd());
        let (enter_fd, enter_flags) = match registered {
            Some(index) => (index, ENTER_REGISTERED_RING),
            None => (ring.as_raw_fd(), 0),
        };
        Ok(Self { ring, enter_fd, enter_flags, system_calls: 0 })
    }

    pub(super) fn crate_ring(&self) -> &IoUring {
        &self.ring
    }

    /// Puts an entry into the queue, which must have room.
    ///
    /// The memory that `entry` names must stay as it is until the completion of the operation (or, for one without a completion, until the
    /// enter that submits it has returned). Private: the functions below make the entries, of values that keep this.
    #[allow(unsafe_code)]
    fn push(&mut self, entry: &squeue::Entry) {
        let mut queue = self.ring.submission();
        // SAFETY: every caller is below and says why the memory of its entry lives long enough.
        let pushed = unsafe { queue.push(entry) };
        assert!(pushed.is_ok(), "the caller makes room first");
    }
}

impl Ring for SystemRing {
    fn prepare(&mut self, files_max: u32, buffers: &Buffers) -> io::Result<()> {
        self.ring.submitter().register_files_sparse(files_max)?;
        buffers.register(&self.ring)
    }

    fn release(&mut self) {
        // Closes all connections now, not when the kernel gets round to it. Refusals change nothing: the ring goes anyway.
        let submitter = self.ring.submitter();
        let _ = submitter.unregister_files();
        for pool in [Pool::Small, Pool::Large] {
            let _ = submitter.unregister_buf_ring(pool.group());
        }
    }

    fn address(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }

    fn has_room(&mut self) -> bool {
        !self.ring.submission().is_full()
    }

    fn has_submissions(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    fn has_overflown(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// Meaningful because of `TASKRUN_FLAG`.
    fn has_deferred_work(&mut self) -> bool {
        self.ring.submission().taskrun()
    }

    #[allow(unsafe_code)]
    fn enter(&mut self, wait: Wait, _: &mut Buffers) -> Result<(), i32> {
        let submissions = self.ring.submission().len() as u32;
        let (least, mut flags) = match wait {
            Wait::Submit => (0, 0),
            Wait::Poll => (0, ENTER_GETEVENTS),
            Wait::AtMost(_) | Wait::Forever => (1_u32, ENTER_GETEVENTS),
        };
        let timespec;
        let mut argument = EnterArgument { signal_mask: 0, signal_mask_size: 0, min_wait_us: 0, timespec: 0 };
        if let Wait::AtMost(limit) = wait {
            timespec = types::Timespec::from(limit);
            argument.timespec = (&raw const timespec).expose_provenance() as u64;
            flags |= ENTER_EXT_ARG;
        }
        let has_argument = flags & ENTER_EXT_ARG != 0;
        let argument_pointer = if has_argument { &raw const argument } else { std::ptr::null() };
        let argument_size = if has_argument { size_of::<EnterArgument>() } else { 0 };
        self.system_calls += 1;
        // SAFETY: the submitted entries were made in `push`, whose contract covers what they name; `argument` and the `timespec` it names
        // live to the end of this function, which is longer than the kernel reads them.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_fd,
                submissions,
                least,
                flags | self.enter_flags,
                argument_pointer,
                argument_size,
            )
        };
        if result < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(()) }
    }

    fn reap(&mut self, target: &mut VecDeque<Completion>) {
        for entry in self.ring.completion() {
            let flags = entry.flags();
            target.push_back(Completion {
                tag: entry.user_data(),
                result: entry.result(),
                buffer: cqueue::buffer_select(flags),
                has_more: cqueue::more(flags),
            });
        }
    }

    fn accept(&mut self, listener: BorrowedFd<'_>, tag: Tag) {
        let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).allocate_file_index(true).build();
        self.push(&entry.user_data(tag.to_bits())); // Names no memory.
    }

    fn receive(&mut self, slot: u32, pool: Pool, tag: Tag) {
        let entry = opcode::RecvMulti::new(types::Fixed(slot), pool.group()).build();
        self.push(&entry.user_data(tag.to_bits())); // The pool is registered, and outlives the ring by `Uring`'s drop order.
    }

    fn send_now(&mut self, slot: u32, bytes: &SendBytes<'_>, tag: Tag) {
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(types::Fixed(slot), bytes.pointer(), bytes.size).flags(flags).build();
        // `SendBytes` point into a frame that `in_flight` holds until the send's completion was seen or ruled out.
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag.to_bits()));
    }

    fn send_waiting(&mut self, slot: u32, bytes: &SendBytes<'_>, tag: Tag) {
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(types::Fixed(slot), bytes.pointer(), bytes.size).flags(flags).build();
        self.push(&entry.user_data(tag.to_bits())); // As in `send_now`.
    }

    /// Asks for the peer's address (getsockopt as a ring operation, since 6.7).
    #[allow(unsafe_code)]
    fn peer_name(&mut self, slot: u32, place: &NamePlace, tag: Tag) {
        // The crate knows the setting twin only; both have the same layout and differ in the number of the command.
        let mut entry = opcode::SetSockOpt::new(
            types::Fixed(slot),
            libc::SOL_SOCKET as u32,
            SO_PEERNAME,
            place.pointer.cast(),
            place.size,
        )
        .build()
        .user_data(tag.to_bits());
        const _: () = assert!(size_of::<squeue::Entry>() == 64);
        let command = (&raw mut entry).cast::<u32>().wrapping_add(2);
        // SAFETY: `cmd_op` of `struct io_uring_sqe` lies at byte 8 of its 64, and is a plain number.
        unsafe { command.write(SOCKET_OPERATION_GETSOCKOPT) };
        self.push(&entry); // `in_flight` holds the place until the completion.
    }

    /// Says FIN. The kernel does this on a worker thread, so it is ordered after a send only by asking after that completed.
    fn shutdown_write(&mut self, slot: u32, tag: Tag) {
        let entry = opcode::Shutdown::new(types::Fixed(slot), libc::SHUT_WR).build();
        self.push(&entry.user_data(tag.to_bits())); // Names no memory.
    }

    fn cancel(&mut self, target: Tag, tag: Tag) {
        let entry = opcode::AsyncCancel::new(target.to_bits()).build();
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag.to_bits())); // Names no memory.
    }

    fn cancel_all(&mut self) {
        let entry = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        let tag = Tag::new(Operation::CancelAll, 0, 0);
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag.to_bits())); // Names no memory.
    }

    fn close(&mut self, slot: u32, tag: Tag) {
        let entry = opcode::Close::new(types::Fixed(slot)).build();
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag.to_bits())); // Names no memory.
    }

    fn transfer(&mut self, slot: u32, ring: RawFd, tag: Tag) {
        let entry =
            opcode::MsgRingSendFd::new(types::Fd(ring), types::Fixed(slot), types::DestinationSlot::auto_target(), 0)
                .opcode_flags(MSG_RING_CQE_SKIP)
                .build();
        self.push(&entry.user_data(tag.to_bits())); // Names no memory.
    }

    fn tell(&mut self, ring: RawFd, result: i32, there: Tag, tag: Tag) {
        let entry = opcode::MsgRingData::new(types::Fd(ring), result, there.to_bits(), None).build();
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag.to_bits())); // Names no memory.
    }

    fn watch(&mut self, event: BorrowedFd<'_>, tag: Tag) {
        let entry = opcode::PollAdd::new(types::Fd(event.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.push(&entry.user_data(tag.to_bits())); // Names no memory.
    }

    fn rest(&mut self, tag: Tag) {
        let entry = opcode::Timeout::new(&raw const ACCEPT_REST).build();
        self.push(&entry.user_data(tag.to_bits())); // Names a static.
    }
}

impl std::fmt::Debug for SystemRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemRing").field("system_calls", &self.system_calls).finish_non_exhaustive()
    }
}

/// The index under which this thread may enter the ring, if the system grants one.
#[allow(unsafe_code)]
fn register(ring: RawFd) -> Option<RawFd> {
    let mut registration = RingRegistration { offset: u32::MAX, reserved: 0, fd: ring as u64 };
    // SAFETY: one registration, as the count says, which lives beyond the call.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_RING_FDS, &raw mut registration, 1_u32) };
    (result == 1).then_some(registration.offset as RawFd)
}
