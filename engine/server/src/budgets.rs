//! Who may come in, and how all leave: what a server does against storms of clients.
//!
//! A connection over its budget is closed at once and costs nothing; a session over its budget hears 503 with `Retry-After`, 1 to 10 s,
//! drawn for each. So the budget of sessions should be the smaller one: it is the polite one. Counts are exact over all shards. Counts
//! say how many may come, a bound of memory what happens when those who came hold more than was thought.

use crate::error::{Error, Result, millis_of};
use crate::options::Builder;
use crate::server::on_signals;
use crate::{Closing, Server};
use std::sync::Arc;
use std::time::Duration;

impl Builder {
    /// Connections at a time; one more is closed as soon as it is accepted. Default: as many as there are descriptors; then
    /// accepting pauses.
    pub fn connections_max(mut self, count: u64) -> Self {
        self.budgets.connections_max = Some(count);
        self
    }

    /// Connections at a time from one address (IPv6: from one network of 64 bits). Default: no limit, because many clients may
    /// come through one proxy. A browser that polls has up to 6, a client on WebSocket 1, while it upgrades 2 or 3.
    pub fn connections_per_address_max(mut self, count: u64) -> Self {
        self.budgets.connections_per_address_max = Some(count);
        self
    }

    /// Sessions at a time; a request for one more is answered with 503. Default: no limit.
    ///
    /// ```
    /// // Four cores and 16 GiB: no more than are known to fit, no faster than they can be served, no more than a few per household.
    /// let io = ringio::Server::builder()
    ///     .sessions_max(200_000)
    ///     .connections_max(220_000)
    ///     .handshakes_per_second(20_000)
    ///     .connections_per_address_max(100)
    ///     .build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn sessions_max(mut self, count: u64) -> Self {
        self.budgets.sessions_max = Some(count);
        self
    }

    /// Sessions opened per second, and as many in one instant; a request for one more is answered with 503. Default: no limit.
    /// A handshake costs some 20 microseconds of a core, what `connection` handlers do not counted.
    pub fn handshakes_per_second(mut self, count: u64) -> Self {
        self.budgets.handshakes_per_second = Some(count);
        self
    }

    /// The same from one address. Default: no limit.
    ///
    /// ```
    /// let io = ringio::Server::builder().handshakes_per_address_per_second(20).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn handshakes_per_address_per_second(mut self, count: u64) -> Self {
        self.budgets.handshakes_per_address_per_second = Some(count);
        self
    }
}

impl Builder {
    /// Resident memory that the process may have. Bytes; at least 32 MiB and 8 MiB more per shard. Default: no bound, nothing is measured.
    ///
    /// Near it the server gives up load in this order, instead of being ended by the system with everybody on it:
    ///
    /// | resident memory | what happens | until | [`Counters`](crate::Counters) |
    /// |---|---|---|---|
    /// | 80 % | requests that would open a session are answered with 503 and `Retry-After`; memory of pools goes back to the system | 75 % | `shed_handshakes`, `shed_pools` |
    /// | 100 % | first, packets kept for [recovery](Self::connection_state_recovery) are forgotten: who comes back gets a new socket | 95 % | `shed_logged_packets` |
    /// | | if that is not enough, clients who hold most (packets that wait for them, messages and bodies not finished) are closed with `outbox full`, the largest first; nobody for less than 64 KiB | | `shed_sessions`, `shed_requests`, `shed_bytes` |
    /// | | connections that come are closed at once | | `shed_connections` |
    ///
    /// Each change is one line of the log. Memory is looked at ten times a second; before anybody is closed the allocator gives back what is
    /// free, and it is looked at again. Then so many bytes are claimed as lie above 95 %, divided among the shards by what their clients
    /// hold; not again before 250 ms have passed. Packets of a broadcast are shared by their receivers and count by the share; what is
    /// claimed may still be more than what becomes free, and further steps follow.
    ///
    /// The whole process counts: the program itself, what handlers keep, threads of others. If that alone is more than the bound, nobody
    /// is let in. Not in it are socket buffers, which are the kernel's, and what grows within a tenth of a second. So set it below
    /// what the container or the machine gives, by what both may take: a fifth, say. An allocator other than the C library's must give
    /// memory back by itself.
    ///
    /// Cost: two loads per turn, and no shard sleeps longer than 250 ms. A step looks at each client once, so it takes
    /// longer the more there are.
    ///
    /// ```
    /// // A container of 2 GiB.
    /// let io = ringio::Server::builder().memory_max(1_600 << 20).outbox_bytes_max(1 << 20).build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn memory_max(mut self, bytes: u64) -> Self {
        self.budgets.memory_max = Some(bytes);
        self
    }
}

/// Less than a server needs for itself would let nobody in.
pub(crate) fn check_memory(memory_max: Option<u64>, shard_count: u16) -> Result<()> {
    let least = (32 << 20) + u64::from(shard_count) * (8 << 20);
    let Some(bytes) = memory_max.filter(|bytes| *bytes < least) else { return Ok(()) };
    let problem = format!("{bytes} bytes is less than {least}: 32 MiB, and 8 MiB per shard");
    Err(Error::Option { option: "memory_max", problem })
}

impl Server {
    /// Closes the server slowly: accepts no more and opens no more sessions, ends those there are with `server shutting down`, in
    /// equal shares over this time, then does what [`Server::close`] does. So its clients come back to other servers one after the
    /// other, not all at once; the moments are drawn, so that servers which drain together do not keep step. `close` during this time ends it.
    ///
    /// Clients that poll without keeping their connection leave at once, because there is nobody to connect to. Tell clients
    /// what you want them to know before: `io.emit("moving", &())`. It is on its way before the first of them is sent away.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn stop(io: ringio::Server) {
    /// io.drain(Duration::from_secs(30)).await;
    /// # }
    /// ```
    pub fn drain(&self, over: Duration) -> Closing {
        self.shared().close_over(millis_of(over));
        Closing::of(self)
    }
}

/// Drains the server ([`Server::drain`]) on SIGINT (Ctrl-C) or SIGTERM; a second signal ends the process at once with code 130.
///
/// ```no_run
/// let io = ringio::Server::new();
/// ringio::drain_on_signals(&io, std::time::Duration::from_secs(20))?;
/// io.listen(3000)
/// # ; Ok::<(), ringio::Error>(())
/// ```
///
/// # Errors
/// [`Error::Signals`](crate::Error::Signals) if they cannot be waited for.
pub fn drain_on_signals(server: &Server, over: Duration) -> Result<()> {
    let shared = Arc::clone(server.shared());
    let handle = shared.tokio.handle().cloned();
    on_signals(handle.as_ref(), move || shared.close_over(millis_of(over)))
}
