//! Work for a shard from threads that are no shards: a bounded queue and the shard's doorbell.
//!
//! One lock per injected job, held for a push or a swap: callers are Tokio tasks and other threads, not the
//! shards' own path (shards talk through the mesh). A full queue is an error for the caller, never a wait.

use crate::mesh::doorbell::Doorbell;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Jobs that may wait for one shard.
pub const INJECTED_MAX: usize = 65_536;

/// A job for the application of a shard, run on the shard's thread.
pub type Job<A> = Box<dyn FnOnce(&A) + Send>;

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectError {
    /// [`INJECTED_MAX`] jobs wait already: the shard is overloaded; try again later.
    Full,
    /// The shard has stopped.
    Stopped,
}

struct Queue<A> {
    jobs: VecDeque<Job<A>>,
    is_stopped: bool,
}

/// Puts jobs before one shard, from any thread.
pub struct Injector<A> {
    queue: Arc<Mutex<Queue<A>>>,
    doorbell: Doorbell,
}

impl<A> Clone for Injector<A> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), doorbell: self.doorbell.clone() }
    }
}

impl<A> std::fmt::Debug for Injector<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Injector").field("waiting", &self.queue.lock().jobs.len()).finish_non_exhaustive()
    }
}

impl<A> Injector<A> {
    /// A queue whose owner is woken by `doorbell`.
    #[must_use]
    pub fn new(doorbell: Doorbell) -> Self {
        Self { queue: Arc::new(Mutex::new(Queue { jobs: VecDeque::new(), is_stopped: false })), doorbell }
    }

    /// Lets `job` run on the shard, after the jobs injected before.
    ///
    /// # Errors
    /// [`InjectError::Full`], [`InjectError::Stopped`]; the job is dropped then.
    pub fn inject(&self, job: Job<A>) -> Result<(), InjectError> {
        {
            let mut queue = self.queue.lock();
            if queue.is_stopped {
                return Err(InjectError::Stopped);
            }
            if queue.jobs.len() >= INJECTED_MAX {
                return Err(InjectError::Full);
            }
            queue.jobs.push_back(job);
        }
        self.doorbell.ring();
        Ok(())
    }

    /// Takes all waiting jobs; `jobs` must be empty and gives its memory to the queue.
    pub(crate) fn take(&self, jobs: &mut VecDeque<Job<A>>) {
        debug_assert!(jobs.is_empty());
        let mut queue = self.queue.lock();
        std::mem::swap(&mut queue.jobs, jobs);
    }

    /// Takes all waiting jobs, behind those in `jobs`.
    pub(crate) fn take_all(&self, jobs: &mut VecDeque<Job<A>>) {
        jobs.append(&mut self.queue.lock().jobs);
    }

    /// Whether a job waits.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.queue.lock().jobs.is_empty()
    }

    /// Takes no more jobs and drops those that wait.
    pub(crate) fn stop(&self) {
        let dropped = {
            let mut queue = self.queue.lock();
            queue.is_stopped = true;
            std::mem::take(&mut queue.jobs)
        };
        drop(dropped);
    }
}
