//! Who may come in, and how all leave: what a server does against storms of clients.
//!
//! A connection over its budget is closed at once and costs nothing; a session over its budget hears 503 with `Retry-After`, 1 to 10 s,
//! drawn for each. So the budget of sessions should be the smaller one: it is the polite one. Counts are exact over all shards.

use crate::error::{Result, millis_of};
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

impl Server {
    /// Closes the server slowly: accepts no more and opens no more sessions, ends those there are with `server shutting down`, in
    /// equal shares over this time, then does what [`Server::close`] does. So its clients come back to other servers one after the
    /// other, not all at once. `close` during this time ends it.
    ///
    /// Clients that poll without keeping their connection leave at once, because there is nobody to connect to. Tell clients
    /// what you want them to know before: `io.emit("moving", &())`.
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
