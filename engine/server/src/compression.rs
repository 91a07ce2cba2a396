//! What an operator says about compression: of WebSocket messages, and of the answers to polls.
//!
//! | | default | per message | shared |
//! |---|---|---|---|
//! | WebSocket, [`PerMessageDeflate`] | off | `compress(false)` | a broadcast is compressed once per shard and window |
//! | polling, [`HttpCompression`] | from 1024 bytes | `compress(false)` | equal answers of one turn are compressed once |

use ringio_codec::websocket::{DeflateOptions, WindowBits};
use ringio_core::options;

pub use ringio_core::options::HttpCompression;

/// permessage-deflate (RFC 7692) for clients that offer it: Node's `perMessageDeflate`.
///
/// Unlike in Node neither side keeps its context by default. A kept context lets a message refer to the 32 KiB before it;
/// but the server then owns up to 380 KB per connection to compress and 48 KB to inflate, which is 43 GB for 100,000
/// connections, and must compress a message for each of them. Without, all connections of a shard share one compressor
/// and one inflater, an idle connection costs nothing more, and a broadcast is compressed once however many receive it.
/// What is lost is little from the threshold on: events of 1.4 KB with lists of small objects become 3.4 times shorter
/// instead of 4.1, those of 5 KB 4.1 instead of 4.3; only short ones are much shorter with a context, 174 bytes 3.6
/// times instead of 1.4 (the program `deflate` of the crate `ringio-bench`).
///
/// With kept contexts a broadcast is compressed once all the same, by itself; the connections that get it forget their
/// context then.
///
/// ```
/// use ringio::{PerMessageDeflate, Server};
///
/// let io = Server::builder()
///     .per_message_deflate(PerMessageDeflate { threshold: 512, ..PerMessageDeflate::default() })
///     .build()?;
/// # Ok::<(), ringio::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMessageDeflate {
    /// Messages below it are sent as they are, and those that do not get shorter. Bytes, default 1024; with 0 every message is
    /// compressed. Where the server keeps its context, an event for one
    /// socket is compressed whatever its length, as `ws` does.
    pub threshold: usize,
    /// Whether the server forgets what it sent before. Default true; with `false` it does for clients that ask for it.
    pub server_no_context_takeover: bool,
    /// Whether clients have to forget what they sent before. Default true; with `false` they may.
    pub client_no_context_takeover: bool,
    /// Largest window of the server, as its base-2 logarithm: 8 to 15. Default `None`: what the client allows. A client
    /// that allows only less is refused.
    pub server_max_window_bits: Option<u8>,
    /// Largest window of clients: 8 to 15. Default `None`: any. A client that cannot be told is refused with it.
    pub client_max_window_bits: Option<u8>,
    /// 1 (fastest) to 9 (smallest). Default 6, zlib's; 1 takes about a third of the time for a third more bytes.
    pub level: u8,
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        Self {
            threshold: 1024,
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: None,
            client_max_window_bits: None,
            level: 6,
        }
    }
}

impl PerMessageDeflate {
    /// For the core; or what is wrong.
    pub(crate) fn to_core(self) -> Result<options::PerMessageDeflate, String> {
        let window = |bits: Option<u8>| match bits.map(WindowBits::new) {
            None => Ok(None),
            Some(None) => Err(format!("a window of {} bits is not between 8 and 15", bits.unwrap_or_default())),
            Some(window) => Ok(window),
        };
        check_level(self.level)?;
        let negotiation = DeflateOptions {
            server_no_context_takeover: self.server_no_context_takeover.then_some(true),
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: window(self.server_max_window_bits)?,
            client_max_window_bits: window(self.client_max_window_bits)?,
        };
        Ok(options::PerMessageDeflate { negotiation, threshold_bytes: self.threshold, level: self.level })
    }
}

pub(crate) fn check_level(level: u8) -> Result<(), String> {
    if (1..=9).contains(&level) { Ok(()) } else { Err(format!("level {level} is not between 1 and 9")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_default_is_that_of_the_core() {
        assert_eq!(PerMessageDeflate::default().to_core(), Ok(options::PerMessageDeflate::default()));
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let window = PerMessageDeflate { server_max_window_bits: Some(7), ..PerMessageDeflate::default() };
        assert_eq!(window.to_core().unwrap_err(), "a window of 7 bits is not between 8 and 15");
        let level = PerMessageDeflate { level: 0, ..PerMessageDeflate::default() };
        assert_eq!(level.to_core().unwrap_err(), "level 0 is not between 1 and 9");
    }
}
