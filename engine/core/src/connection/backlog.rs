//! What a client sends while nobody may read it: its connection moves to another shard, or the application decides about
//! the request in front.
//!
//! It is bounded. A body that is too large for the server is larger than the bound too, and its sender wants to hear that
//! from whoever reads it (413): so the surplus is forgotten rather than the connection cut, and the connection ends when
//! what was kept has been read.

use alloc::vec::Vec;

/// Bytes to be read later, the first of them at least.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Backlog {
    /// One that begins with `bytes`, however many.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, is_cut: false }
    }

    /// Keeps as much as there is room for.
    pub fn append(&mut self, bytes: &[u8], bytes_max: u64) {
        if self.is_cut {
            return;
        }
        let room = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_sub(self.bytes.len());
        self.is_cut = bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The bytes, and whether others behind them were forgotten.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, bool) {
        (self.bytes, self.is_cut)
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
        backlog.append(b" /a", 8);
        backlog.append(b"bcd", 8);
        backlog.append(b"e", 100);
        assert_eq!(backlog.into_parts(), (b"GET /abc"[..8].to_vec(), true));
        let mut whole = Backlog::default();
        whole.append(b"abc", 3);
        assert_eq!(whole.into_parts(), (b"abc".to_vec(), false));
    }
}
