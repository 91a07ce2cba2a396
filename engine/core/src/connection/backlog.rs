//! What a client sends while nobody may read it: its connection moves to another shard, or the application decides about
//! the request in front.
//!
//! It is bounded. A body that is too large for the server is larger than the bound too, and its sender wants to hear that
//! from whoever reads it (413): so the surplus is forgotten rather than the connection cut, and the connection ends when
//! what was kept has been read. Who sends much more than that is no sender of a body: what is forgotten is counted.

use alloc::vec::Vec;

/// Bytes to be read later, the first of them at least.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    forgotten_bytes: u64,
}

impl Backlog {
    /// One that begins with `bytes`, however many.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, forgotten_bytes: 0 }
    }

    /// Keeps as much as there is room for, and nothing behind what was forgotten. How many bytes have been forgotten by now.
    pub fn append(&mut self, bytes: &[u8], bytes_max: u64) -> u64 {
        let room = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_sub(self.bytes.len());
        let kept = if self.forgotten_bytes == 0 { bytes.len().min(room) } else { 0 };
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.forgotten_bytes += (bytes.len() - kept) as u64;
        self.forgotten_bytes
    }

    /// The bytes, and whether others behind them were forgotten.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, bool) {
        (self.bytes, self.forgotten_bytes > 0)
    }

    /// Bytes reserved.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_where_something_was_forgotten() {
        let mut backlog = Backlog::new(b"GET".to_vec());
        assert_eq!(backlog.append(b" /a", 8), 0);
        assert_eq!(backlog.append(b"bcd", 8), 1);
        assert_eq!(backlog.append(b"e", 100), 2);
        assert_eq!(backlog.into_parts(), (b"GET /abc"[..8].to_vec(), true));
        let mut whole = Backlog::default();
        assert_eq!(whole.append(b"abc", 3), 0);
        assert_eq!(whole.into_parts(), (b"abc".to_vec(), false));
    }
}
