//! The async handlers of one shard: a local executor that the loop polls.
//!
//! Tasks live on the shard's thread and need not be `Send`. A wake-up from the same thread marks the executor
//! ready; one from another thread (a Tokio timer, a database client) also rings the shard's doorbell. Running
//! is bounded per turn by the executor's own budget, so a task that is always ready cannot starve the sockets.

use crate::mesh::doorbell::Doorbell;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Runs the futures of one shard. Cloning gives another handle.
#[derive(Clone)]
pub struct Executor {
    inner: Rc<Inner>,
}

struct Inner {
    tasks: Rc<async_executor::LocalExecutor<'static>>,
    /// The executor's endless `run` future: polling it runs what is ready.
    run: RefCell<Pin<Box<dyn Future<Output = ()>>>>,
    wake: Arc<WakeFlag>,
    waker: Waker,
}

struct WakeFlag {
    is_ready: AtomicBool,
    doorbell: Doorbell,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::AcqRel) {
            self.doorbell.ring();
        }
    }
}

impl Executor {
    /// An executor whose wake-ups ring `doorbell`.
    #[must_use]
    pub fn new(doorbell: Doorbell) -> Self {
        let tasks = Rc::new(async_executor::LocalExecutor::new());
        let wake = Arc::new(WakeFlag { is_ready: AtomicBool::new(true), doorbell });
        let waker = Waker::from(Arc::clone(&wake));
        let running = Rc::clone(&tasks);
        let run = Box::pin(async move { running.run(std::future::pending::<()>()).await });
        Self { inner: Rc::new(Inner { tasks, run: RefCell::new(run), wake, waker }) }
    }

    /// Starts a future on this shard; it runs at the end of this turn at the earliest.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.inner.tasks.spawn(future).detach();
    }

    /// Whether a task waits to be run.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inner.wake.is_ready.load(Ordering::Acquire)
    }

    /// Runs what is ready, within the executor's budget. A call from within a task does nothing.
    pub fn run_ready(&self) {
        let Ok(mut run) = self.inner.run.try_borrow_mut() else { return };
        if !self.inner.wake.is_ready.swap(false, Ordering::AcqRel) {
            return;
        }
        let poll = run.as_mut().poll(&mut Context::from_waker(&self.inner.waker));
        assert!(poll == Poll::Pending, "the executor's run future waits for ever");
    }

    /// Whether no task is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.tasks.is_empty()
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}
