//! The end of a server, to be awaited.
//!
//! ```text
//! close: what was said before is done, on every shard --> no more connections --> every socket: disconnecting, disconnect
//!        "server shutting down" --> sends that have begun end, `drain` at most --> connections closed --> handlers of this shard dropped
//!        --> the last shard: handlers of the server dropped, Closing ready
//! ```

use crate::Server;
use crate::shared::Shared;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How many shards have ended, and who waits for all.
#[derive(Debug, Default)]
pub(crate) struct Ended(Mutex<(u16, Vec<Waker>)>);

impl Ended {
    fn is_over(&self, shard_count: u16) -> bool {
        self.0.lock().0 >= shard_count
    }

    /// One more shard has ended; true for the last one.
    fn count(&self, shard_count: u16) -> bool {
        let mut ended = self.0.lock();
        ended.0 += 1;
        ended.0 >= shard_count
    }

    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut self.0.lock().1);
        for waker in wakers {
            waker.wake();
        }
    }

    /// Wakes `waker` later; false if it is over.
    fn wait(&self, shard_count: u16, waker: &Waker) -> bool {
        let mut ended = self.0.lock();
        if ended.0 >= shard_count {
            return false;
        }
        if !ended.1.iter().any(|other| other.will_wake(waker)) {
            ended.1.push(waker.clone());
        }
        true
    }
}

impl Shared {
    /// A shard has ended; the last one forgets the handlers, which may own the server.
    pub(crate) fn shard_ended(&self) {
        if self.ended.count(self.settings.shard_count) {
            self.registry.clear_handlers();
            self.clear_hooks();
            self.ended.wake();
        }
    }
}

/// The end of a server that was told to close: a future for everywhere but its own shards, which end before it does. It may be
/// dropped; the server closes all the same.
///
/// ```no_run
/// # async fn stop(io: ringio::Server) {
/// io.close().await;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Closing {
    shared: Arc<Shared>,
}

impl Closing {
    pub(crate) fn of(server: &Server) -> Self {
        Self { shared: Arc::clone(server.shared()) }
    }

    /// Waits on this thread. Not in a handler: a shard cannot wait for its own end.
    ///
    /// ```no_run
    /// # fn stop(io: &ringio::Server) {
    /// io.close().wait();
    /// # }
    /// ```
    pub fn wait(self) {
        if let Some(running) = self.shared.running() {
            running.join();
        }
    }
}

impl Future for Closing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = &self.shared;
        if shared.is_started() && shared.ended.wait(shared.settings.shard_count, context.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Server {
    /// Stops the server, from anywhere: accepts no more, ends all sockets with `server shutting down`, lets sends that have begun go on for
    /// [`Builder::drain`](crate::Builder::drain) at most, closes all connections. Returns at once; the [`Closing`] that it gives may be awaited,
    /// and [`Server::listen`] and [`ServerHandle::join`](crate::ServerHandle::join) return when it is done.
    ///
    /// What was called before it, by the same thread or handler, is done before it, on every shard: all who can take it at once hear
    /// `io.emit("bye", &()); io.close();`. What waits behind a send to a slow client, or for a client that polls to ask for it, is discarded, as in
    /// Node. If a handler keeps a shard, the others wait for it, 5 s at most.
    ///
    /// A second call changes nothing and gives the same end. A server that was never started is closed at once, and ends as soon as it is
    /// started.
    pub fn close(&self) -> Closing {
        self.shared().close();
        Closing { shared: Arc::clone(self.shared()) }
    }

    /// Whether the server has been started and has not ended.
    ///
    /// ```
    /// assert!(!ringio::Server::new().is_running());
    /// ```
    #[must_use]
    pub fn is_running(&self) -> bool {
        let shared = self.shared();
        shared.running().is_some() && !shared.ended.is_over(shared.settings.shard_count)
    }
}
