//! Async code of the user on one shard: begun at once, finished on the executor, counted and bounded.
//!
//! ```text
//! future --polled once--> done ------------------------------------------------> then(result)
//!            +-- waits --room?--> a seat, executor --> done, failed, panicked --> then(result), seat free
//!                          +-- no --> dropped -------------------------------> then(Overloaded)
//! ```
//! Polled once first, as in Node: what stands before its first `await` happens at once and in order. What never finishes keeps
//! its seat until the shard ends: so many per socket, so many per shard, and no more.

use crate::application::App;
use crate::error::HandlerError;
use ringio_core::base::id::SocketKey;
use ringio_core::shard::Shard;
use ringio_runtime::executor::Executor;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How many futures of the user may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    /// For the events of one socket.
    pub(crate) per_socket: usize,
    /// In all, on one shard.
    pub(crate) per_shard: usize,
}

impl Default for Seats {
    fn default() -> Self {
        Self { per_socket: 1_000, per_shard: 1_000_000 }
    }
}

/// What waits on one shard.
pub(crate) struct Background {
    /// None once the shard is about to end.
    executor: RefCell<Option<Executor>>,
    core: Rc<RefCell<Shard>>,
    taken: Rc<Taken>,
    seats: Seats,
}

#[derive(Default)]
struct Taken {
    count: Cell<usize>,
    /// Only sockets that have any.
    by_socket: RefCell<HashMap<SocketKey, usize>>,
}

/// Counts as long as it lives.
struct Seat {
    taken: Rc<Taken>,
    socket: Option<SocketKey>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let taken = &self.taken;
        taken.count.set(taken.count.get() - 1);
        let Some(socket) = self.socket else { return };
        let mut by_socket = taken.by_socket.borrow_mut();
        if let Some(count) = by_socket.get_mut(&socket) {
            *count -= 1;
            if *count == 0 {
                by_socket.remove(&socket);
            }
        }
    }
}

impl Background {
    pub(crate) fn new(executor: Executor, core: Rc<RefCell<Shard>>, seats: Seats) -> Self {
        Self { executor: RefCell::new(Some(executor)), core, taken: Rc::default(), seats }
    }

    /// Whether one more may wait; for an event of `socket`, also whether its client may have one more.
    pub(crate) fn has_room(&self, socket: Option<SocketKey>) -> bool {
        let is_free = |socket| {
            let by_socket = self.taken.by_socket.borrow();
            by_socket.get(&socket).is_none_or(|count| *count < self.seats.per_socket)
        };
        self.taken.count.get() < self.seats.per_shard && socket.is_none_or(is_free)
    }

    fn seat(&self, socket: Option<SocketKey>) -> Seat {
        self.taken.count.set(self.taken.count.get() + 1);
        if let Some(socket) = socket {
            *self.taken.by_socket.borrow_mut().entry(socket).or_default() += 1;
        }
        Seat { taken: Rc::clone(&self.taken), socket }
    }

    /// Polls a task once; what waits then takes a seat. Gives the task back if there is none.
    pub(crate) fn start<F>(&self, socket: Option<SocketKey>, mut task: F) -> Option<F>
    where
        F: Future<Output = ()> + Unpin + 'static,
    {
        if Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return None;
        }
        if !self.has_room(socket) {
            return Some(task);
        }
        let seat = self.seat(socket);
        // The executor polls it again and so takes over its wake-up.
        self.spawn(async move {
            task.await;
            drop(seat);
        });
        None
    }

    /// Runs a future that is bounded otherwise, unless the shard is about to end. Each time it goes on is a tick of its own.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let executor = self.executor.borrow().clone();
        let Some(executor) = executor else { return };
        let core = Rc::clone(&self.core);
        executor.spawn(async move {
            let mut future = pin!(future);
            poll_fn(|context| {
                core.borrow_mut().begin_tick();
                future.as_mut().poll(context)
            })
            .await;
        });
    }

    /// Gives back memory that nothing needs which waits.
    pub(crate) fn shrink(&self) {
        self.taken.by_socket.borrow_mut().shrink_to_fit();
    }

    /// Drops all that waits, and takes no more.
    pub(crate) fn stop(&self) {
        let executor = self.executor.borrow_mut().take();
        drop(executor);
    }
}

/// A future of the user, and what is done with what it gives.
struct Task<T, F> {
    app: Rc<App>,
    future: Pin<Box<dyn Future<Output = T>>>,
    /// None once it has been called.
    then: Option<F>,
}

/// Nothing but the future is pinned, and that is in a box.
impl<T, F> Unpin for Task<T, F> {}

impl<T, F: FnOnce(&Rc<App>, Result<T, HandlerError>)> Future for Task<T, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let app = Rc::clone(&self.app);
        let polled = {
            let _entered = app.shared.tokio.handle().map(|handle| handle.enter());
            catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(context)))
        };
        let finished = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(Ok(result)),
            Err(panic) => Err(panic),
        };
        let result = app.settle(finished);
        if let Some(then) = self.then.take() {
            then(&app, result);
        }
        Poll::Ready(())
    }
}

impl App {
    /// Runs a future of the user; `then` hears what it gave, or that it panicked, or that there is no room for what waits.
    pub(crate) fn start<T: 'static>(
        self: &Rc<Self>,
        socket: Option<SocketKey>,
        future: Pin<Box<dyn Future<Output = T>>>,
        then: impl FnOnce(&Rc<Self>, Result<T, HandlerError>) + 'static,
    ) {
        let task = Task { app: Rc::clone(self), future, then: Some(then) };
        if let Some(Task { future, then: Some(then), .. }) = self.background.start(socket, task) {
            drop(future);
            then(self, Err(HandlerError::Overloaded));
        }
    }
}
