//! The floor: what the kernel alone costs, with no protocol above it.
//!
//! A bare io_uring server that returns bytes (`echo`) or sends one client's message to all of them
//! (`broadcast`) from prebuilt requests. Nothing is parsed but the size that starts a message. What Ringio
//! costs beyond this is Ringio's; what this costs is the kernel's TCP path, charged to the sender.
//!
//! ```text
//! accept (multishot, direct) -> '+' -> receive (multishot, provided buffers) -> send (inline, no CQE)
//! ```
//!
//! A send carries MSG_DONTWAIT: it ends inside `io_uring_enter`, so its bytes are free when that returns.
//! A send that would block therefore ends the program: the floor has no outbox, and a floor that waits
//! measures something else. Unsafe code: the submission of requests and the provided-buffer ring.
use clap::{Parser, ValueEnum};
use io_uring::types::{BufRingEntry, Fixed};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue, types};
use nix::sys::socket::{setsockopt, sockopt};
use ringio_bench::process::{pin_to_core, raise_open_files_limit};
use ringio_bench::wire::{RAW_GREETING, take_raw};
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

const SUBMISSION_COUNT: u32 = 4096;
const COMPLETION_COUNT: u32 = 32_768;
const BUFFER_COUNT: u16 = 4096;
const BUFFER_SIZE: usize = 4096;
const BUFFER_GROUP: u16 = 0;
const STAGING_SIZE: usize = 1 << 20;
const PAGE_SIZE: usize = 4096;
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL;
const ACCEPT: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const CLOSE: u64 = 4 << 32;
static GREETING: [u8; 1] = [RAW_GREETING];

const _: () = assert!(BUFFER_COUNT.is_power_of_two(), "the ring's index is masked");

#[derive(Parser)]
#[command(name = "floor", version, about = "A server without a protocol: the least a message can cost")]
struct Options {
    /// What to do with what arrives.
    mode: Mode,
    /// Port to listen on, at 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Broadcast: messages that arrive in one turn leave as one send.
    #[arg(long)]
    join: bool,
    /// Largest number of connections.
    #[arg(long, default_value_t = 16_384)]
    connections: u32,
    /// Core to run on.
    #[arg(long)]
    core: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Echo,
    Broadcast,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    raise_open_files_limit()?;
    if let Some(core) = options.core {
        pin_to_core(core)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
    // Accepted sockets inherit it. Without it Nagle's algorithm holds a second message back until the first is
    // acknowledged, and then the acknowledging client pays for sending it: a floor far too low.
    setsockopt(&listener, sockopt::TcpNoDelay, &true)?;
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(COMPLETION_COUNT)
        .build(SUBMISSION_COUNT)?;
    ring.submitter().register_files_sparse(options.connections)?;
    let buffers = ReceiveBuffers::register(&ring.submitter())?;
    let (mut submitter, submissions, completions) = ring.split();
    // Effective only because this submitter is the one that is used from here on.
    submitter.register_ring_fd()?;
    let mut floor = Floor {
        requests: Requests { submitter, submissions },
        buffers,
        used: Vec::with_capacity(usize::from(BUFFER_COUNT)),
        receivers: Receivers::new(options.connections as usize),
        partial: vec![Vec::new(); options.connections as usize],
        staging: vec![0; STAGING_SIZE].into(),
        staged: 0,
        mode: options.mode,
        join: options.join,
        listener,
    };
    floor.accept()?;
    println!("ready");
    floor.run(completions)
}

/// The submission side of the ring.
struct Requests<'a> {
    submitter: Submitter<'a>,
    submissions: SubmissionQueue<'a>,
}

impl Requests<'_> {
    /// Queues one request. Whatever it points to must live until it has completed: see each caller.
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        self.push_all(std::slice::from_ref(entry))
    }

    /// Queues requests, submitting whenever the queue is full.
    fn push_all(&mut self, mut entries: &[squeue::Entry]) -> io::Result<()> {
        while !entries.is_empty() {
            let room = self.submissions.capacity() - self.submissions.len();
            let (now, later) = entries.split_at(room.min(entries.len()));
            // SAFETY: every entry is built in this file and points to: nothing (accept, receive, close); the
            // static greeting; a provided buffer, which is given back only after the submission that ends the
            // send (`used`); or the staging area, which is overwritten only after `submit` (`fan_out`). Pool
            // and staging live as long as the process.
            let pushed = unsafe { self.submissions.push_multiple(now) };
            pushed.map_err(io::Error::other)?;
            entries = later;
            if !entries.is_empty() {
                self.submit()?;
            }
        }
        Ok(())
    }

    /// Hands everything queued to the kernel; sends have ended when this returns.
    fn submit(&mut self) -> io::Result<()> {
        self.submissions.sync();
        while !self.submissions.is_empty() {
            self.submitter.submit()?;
            self.submissions.sync();
        }
        Ok(())
    }

    /// The same, then waits for a completion: the one system call of a turn.
    fn submit_and_wait(&mut self) -> io::Result<()> {
        self.submissions.sync();
        match self.submitter.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.submissions.sync();
        // Only a full completion queue stops the kernel half-way.
        if self.submissions.is_empty() { Ok(()) } else { self.submit() }
    }
}

/// The pool that multishot receives draw from. Never freed: the kernel may write to it until the process ends.
struct ReceiveBuffers {
    ring: *mut BufRingEntry,
    pool: *mut u8,
    tail: u16,
}

impl ReceiveBuffers {
    fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let ring_layout = Layout::array::<BufRingEntry>(usize::from(BUFFER_COUNT))
            .and_then(|layout| layout.align_to(PAGE_SIZE))
            .map_err(io::Error::other)?;
        let pool_layout =
            Layout::from_size_align(usize::from(BUFFER_COUNT) * BUFFER_SIZE, PAGE_SIZE).map_err(io::Error::other)?;
        // SAFETY: the layout has a size above zero (BUFFER_COUNT entries of 16 bytes).
        let ring = unsafe { alloc_zeroed(ring_layout) }.cast::<BufRingEntry>();
        if ring.is_null() {
            handle_alloc_error(ring_layout);
        }
        // SAFETY: the layout has a size above zero.
        let pool = unsafe { alloc_zeroed(pool_layout) };
        if pool.is_null() {
            handle_alloc_error(pool_layout);
        }
        // SAFETY: `ring` is page-aligned, holds BUFFER_COUNT zeroed entries and is never freed.
        unsafe { submitter.register_buf_ring_with_flags(ring as u64, BUFFER_COUNT, BUFFER_GROUP, 0) }?;
        let mut buffers = Self { ring, pool, tail: 0 };
        for id in 0..BUFFER_COUNT {
            buffers.give_back(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    fn address(&self, id: u16) -> *mut u8 {
        assert!(id < BUFFER_COUNT, "the kernel named a buffer that does not exist");
        self.pool.wrapping_add(usize::from(id) * BUFFER_SIZE)
    }

    /// Lets the kernel fill buffer `id` again, from the next `publish` on.
    fn give_back(&mut self, id: u16) {
        let address = self.address(id) as u64;
        let slot = self.ring.wrapping_add(usize::from(self.tail & (BUFFER_COUNT - 1)));
        // SAFETY: `slot` is within the ring (masked), aligned and zeroed at allocation; the kernel does not
        // read it before the tail passes it, and has consumed what it held: at most BUFFER_COUNT ids exist.
        let entry = unsafe { &mut *slot };
        entry.set_addr(address);
        entry.set_len(BUFFER_SIZE as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: `ring` is the base of the registered ring; its first entry was initialised with zeros.
        let tail = unsafe { BufRingEntry::tail(self.ring) }.cast_mut();
        // SAFETY: the tail is an aligned u16 in memory that lives for ever; kernel and process access it
        // atomically, and nothing in this process holds a reference to it (entries do not cover it by name).
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The first `size` bytes of buffer `id`. Not to be kept beyond `give_back`.
    fn bytes(&self, id: u16, size: usize) -> &[u8] {
        assert!(size <= BUFFER_SIZE, "the kernel wrote more than a buffer");
        // SAFETY: in bounds by the two assertions; initialised (zeroed, then written by the kernel, which
        // does not touch it again before `give_back`).
        unsafe { std::slice::from_raw_parts(self.address(id), size) }
    }
}

/// Connected clients, each with its prebuilt send.
struct Receivers {
    /// Direct descriptors in the order of `sends`.
    files: Vec<u32>,
    /// Where each descriptor stands in `files`.
    position: Vec<Option<u32>>,
    sends: Vec<squeue::Entry>,
    /// Size that the sends are built for.
    size: usize,
}

impl Receivers {
    fn new(capacity: usize) -> Self {
        Self { files: Vec::with_capacity(capacity), position: vec![None; capacity], sends: Vec::new(), size: 0 }
    }

    fn add(&mut self, file: u32) {
        self.position[file as usize] = Some(self.files.len() as u32);
        self.files.push(file);
        self.size = 0;
    }

    fn remove(&mut self, file: u32) {
        if let Some(position) = self.position[file as usize].take() {
            self.files.swap_remove(position as usize);
            if let Some(&moved) = self.files.get(position as usize) {
                self.position[moved as usize] = Some(position);
            }
            self.size = 0;
        }
    }

    /// The sends of `size` bytes at `address` to everyone; rebuilt only when size or receivers changed.
    fn sends(&mut self, address: *const u8, size: usize) -> &[squeue::Entry] {
        if self.size != size {
            self.size = size;
            self.sends.clear();
            self.sends.extend(self.files.iter().map(|&file| send(file, address, size)));
        }
        &self.sends
    }
}

fn send(file: u32, address: *const u8, size: usize) -> squeue::Entry {
    opcode::Send::new(Fixed(file), address, size as u32)
        .flags(SEND_FLAGS)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(SEND | u64::from(file))
}

struct Floor<'a> {
    requests: Requests<'a>,
    buffers: ReceiveBuffers,
    /// Buffers that sends of this turn read from.
    used: Vec<u16>,
    receivers: Receivers,
    /// Start of a message per connection, where a receive cut it.
    partial: Vec<Vec<u8>>,
    /// What a broadcast sends, always at the same address.
    staging: Box<[u8]>,
    staged: usize,
    mode: Mode,
    join: bool,
    listener: TcpListener,
}

impl Floor<'_> {
    fn run(&mut self, mut completions: CompletionQueue<'_>) -> io::Result<()> {
        loop {
            self.requests.submit_and_wait()?;
            for id in self.used.drain(..) {
                self.buffers.give_back(id);
            }
            self.buffers.publish();
            completions.sync();
            for completion in &mut completions {
                self.handle(&completion)?;
            }
            completions.sync();
            if self.staged > 0 {
                self.fan_out()?;
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(types::Fd(self.listener.as_raw_fd())).allocate_file_index(true);
        self.requests.push(&accept.build().user_data(ACCEPT))
    }

    fn receive(&mut self, file: u32) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(Fixed(file), BUFFER_GROUP);
        self.requests.push(&receive.build().user_data(RECEIVE | u64::from(file)))
    }

    fn handle(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let file = completion.user_data() as u32;
        let result = completion.result();
        match completion.user_data() & !u64::from(u32::MAX) {
            ACCEPT => {
                if !cqueue::more(completion.flags()) {
                    self.accept()?;
                }
                let file = u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?;
                self.receivers.add(file);
                self.receive(file)?;
                self.requests.push(&send(file, GREETING.as_ptr(), GREETING.len()))
            }
            RECEIVE => self.handle_receive(file, completion),
            // Only failures complete; a client that left is none of ours.
            SEND if matches!(-result, libc::EPIPE | libc::ECONNRESET) => Ok(()),
            SEND => Err(io::Error::other(format!("a send to {file} was short or would block ({result}): no floor"))),
            CLOSE => Ok(()),
            tag => Err(io::Error::other(format!("unknown completion {tag:#x}"))),
        }
    }

    fn handle_receive(&mut self, file: u32, completion: &cqueue::Entry) -> io::Result<()> {
        let result = completion.result();
        if let Some(id) = cqueue::buffer_select(completion.flags()) {
            let size = usize::try_from(result).map_err(io::Error::other)?;
            match self.mode {
                Mode::Echo => self.requests.push(&send(file, self.buffers.address(id), size))?,
                Mode::Broadcast => self.broadcast(file, id, size)?,
            }
            self.used.push(id);
        }
        let is_over = result <= 0 && result != -libc::ENOBUFS;
        if is_over {
            self.receivers.remove(file);
            self.partial[file as usize].clear();
            self.requests.push(&opcode::Close::new(Fixed(file)).build().user_data(CLOSE))
        } else if !cqueue::more(completion.flags()) {
            self.receive(file)
        } else {
            Ok(())
        }
    }

    /// Stages every whole message of the buffer; without `join` each goes out by itself.
    fn broadcast(&mut self, file: u32, id: u16, size: usize) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.partial[file as usize]);
        bytes.extend_from_slice(self.buffers.bytes(id, size));
        let mut start = 0;
        while let Some((_, size)) =
            take_raw(&bytes[start..]).map_err(|_| io::Error::other("not a message of the raw protocol"))?
        {
            if self.staged + size > STAGING_SIZE {
                self.fan_out()?;
            }
            let target = self
                .staging
                .get_mut(self.staged..self.staged + size)
                .ok_or_else(|| io::Error::other("message larger than the staging area"))?;
            target.copy_from_slice(&bytes[start..start + size]);
            self.staged += size;
            start += size;
            if !self.join {
                self.fan_out()?;
            }
        }
        bytes.drain(..start);
        self.partial[file as usize] = bytes;
        Ok(())
    }

    /// Sends what is staged to everyone and waits for nothing: on return the staging area is free.
    fn fan_out(&mut self) -> io::Result<()> {
        let size = std::mem::take(&mut self.staged);
        self.requests.push_all(self.receivers.sends(self.staging.as_ptr(), size))?;
        self.requests.submit()
    }
}
