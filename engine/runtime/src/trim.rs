//! Free memory goes back to the system: asked for by shards, done on a thread of its own.
//!
//! ```text
//! crowd has gone --> shard: tables shrink --TrimMemory::ask--> thread: waits TRIM_PAUSE, once for all who ask meanwhile --> malloc_trim
//! ```
//! glibc's allocator keeps freed pages that lie below something in use, after a crowd most of them, until it is told. That call walks the
//! heaps of all threads and unmaps page by page, for longer than a turn may take. On this thread it costs a shard nothing but the lock of
//! its heap if it allocates just then, which in the steady state it does not.

use crate::epoll::system;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// From the first question until memory is given back, so that shards which the same crowd has left pay once.
const TRIM_PAUSE: Duration = Duration::from_secs(1);

/// Who asks. The thread ends when the last of them has gone.
#[derive(Clone, Debug)]
pub struct TrimMemory(SyncSender<()>);

impl TrimMemory {
    /// Starts the thread. To be called by one that is not pinned to a core: the thread inherits that.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start() -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        thread::Builder::new().name("ringio-memory".to_owned()).spawn(move || run(&asked))?;
        Ok(Self(ask))
    }

    /// Asks. Returns at once.
    pub fn ask(&self) {
        // Full: somebody has asked already.
        let _ = self.0.try_send(());
    }
}

fn run(asked: &Receiver<()>) {
    while asked.recv().is_ok() {
        thread::sleep(TRIM_PAUSE);
        while asked.try_recv().is_ok() {}
        system::trim_memory();
    }
}
