//! The options of [`Builder`] that concern connection state recovery: for how long, and how much is kept for it.

use crate::error::{Result, millis_of};
use crate::options::{Builder, refused};
use ringio_core::options::RecoveryOptions;
use std::ops::RangeInclusive;
use std::time::Duration;

const PACKETS: RangeInclusive<usize> = 1..=1_000_000_000;
const BYTES: RangeInclusive<usize> = 1_024..=1 << 40;

impl Builder {
    /// Lets clients that were cut off come back to their socket, with its id, rooms and data, and sends them what they
    /// missed. Default: off. Node suggests 2 minutes and `true`.
    ///
    /// A client comes back when it was away for less than `max_disconnection` (1 ms to 24 h), left for another reason
    /// than `disconnect` on either side or an unreadable packet, had received at least one event before, and what it missed
    /// is still in the log and takes at most half of `outbox_bytes_max`. It need not reach the same shard, and may be cut off and
    /// come back again at any time: it gets each event once. If a middleware refuses it, it may try again. With `skip_middlewares` the middlewares do not see it.
    /// Volatile events and those with acknowledgements are not sent again. [`Socket::is_recovered`](crate::Socket::is_recovered) tells.
    ///
    /// A past is recovered from once: what was missed is handed over, and whoever names the same `pid` again while that socket is there is somebody
    /// new. With Node's in-memory adapter any number of sockets can be recovered from the same past.
    ///
    /// Cost: every event carries its offset as one more argument and is logged, up to [`recovery_packets_max`](Self::recovery_packets_max) and
    /// [`recovery_bytes_max`](Self::recovery_bytes_max) per shard, and with several shards up to twice as much of what was sent again is
    /// remembered; up to 100,000 absent sockets per shard are remembered, the oldest are forgotten first.
    pub fn connection_state_recovery(mut self, max_disconnection: Duration, skip_middlewares: bool) -> Self {
        self.recovery.max_disconnection_ms = millis_of(max_disconnection);
        self.recovery.skip_middlewares = skip_middlewares;
        self.options.recovery = Some(self.recovery);
        self
    }

    /// Packets that the log of each shard holds at most for [`connection_state_recovery`](Self::connection_state_recovery), which logs nothing
    /// when it is off. Default 100,000, 1 to 1,000,000,000. A packet more pushes the oldest out, and who has missed that one comes back as
    /// somebody new. Node's log has no bound but age.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let io = ringio::Server::builder()
    ///     .connection_state_recovery(Duration::from_secs(120), true)
    ///     .recovery_packets_max(10_000)
    ///     .recovery_bytes_max(8 << 20)
    ///     .build()?;
    /// # Ok::<(), ringio::Error>(())
    /// ```
    pub fn recovery_packets_max(mut self, count: usize) -> Self {
        self.recovery.packets_max = count;
        self.options.recovery = self.options.recovery.map(|_| self.recovery);
        self
    }

    /// Bytes that these packets may have together. Default 67,108,864 (64 MiB) per shard, 1,024 to 1 TiB. Past it the oldest are pushed out.
    pub fn recovery_bytes_max(mut self, bytes: usize) -> Self {
        self.recovery.bytes_max = bytes;
        self.options.recovery = self.options.recovery.map(|_| self.recovery);
        self
    }
}

pub(crate) fn check(recovery: &RecoveryOptions) -> Result<()> {
    let bounds = [
        ("recovery_packets_max", "packets", recovery.packets_max, PACKETS),
        ("recovery_bytes_max", "bytes", recovery.bytes_max, BYTES),
    ];
    for (option, unit, value, range) in bounds {
        if !range.contains(&value) {
            return Err(refused(
                option,
                format!("{value} {unit} is not between {} and {}", range.start(), range.end()),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::Server;
    use std::time::Duration;

    #[test]
    fn bounds_may_be_given_in_any_order_and_count_in_the_worst_case() {
        let minute = Duration::from_secs(60);
        let worst = |builder: crate::Builder| builder.shards(1).build().unwrap().worst_case().shard_bytes;
        let usual = worst(Server::builder().connection_state_recovery(minute, true));
        let before = worst(
            Server::builder().recovery_packets_max(7).recovery_bytes_max(4_096).connection_state_recovery(minute, true),
        );
        let behind = worst(
            Server::builder().connection_state_recovery(minute, true).recovery_packets_max(7).recovery_bytes_max(4_096),
        );
        assert_eq!(before, behind);
        assert!(usual - before > 64 << 20, "{usual} and {before}");
        assert!(before > worst(Server::builder().recovery_packets_max(7)), "nothing is kept while it is off");
    }
}
