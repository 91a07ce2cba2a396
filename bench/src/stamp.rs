//! The payload of a measured message: who sent it, which one it is, and bytes that can be checked.
//!
//! ```text
//! | sender, 8 hex | sequence, 8 hex | filler, by position | stamp once more (from 32 bytes on) |
//! ```
//!
//! Printable ASCII without `"` and `\`, so that the same bytes serve as JSON string and as attachment. The
//! filler depends on its position (a shift shows); the second stamp shows two messages mixed into one.
use std::ops::Range;

/// Bytes of one stamp, and the smallest payload.
pub const STAMP_SIZE: usize = 16;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Sender and sequence of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Index of the sending client, from 0.
    pub sender: u32,
    /// Number of the message among those of this sender, from 0.
    pub sequence: u32,
}

impl Stamp {
    /// The stamp as it stands in a payload.
    #[must_use]
    pub fn encode(self) -> [u8; STAMP_SIZE] {
        let both = (u64::from(self.sender) << 32) | u64::from(self.sequence);
        std::array::from_fn(|index| HEX[(both >> (60 - 4 * index)) as usize & 15])
    }

    /// Reads a stamp; `None` unless all 16 bytes are lower-case hex.
    #[must_use]
    pub fn decode(bytes: &[u8; STAMP_SIZE]) -> Option<Self> {
        let mut both = 0_u64;
        for &byte in bytes {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            both = (both << 4) | u64::from(digit);
        }
        Some(Self { sender: (both >> 32) as u32, sequence: both as u32 })
    }
}

/// A payload of fixed size with everything but the stamp filled in.
#[derive(Clone, Debug)]
pub struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    /// A payload of `size` bytes, at least [`STAMP_SIZE`] (smaller sizes are raised to it).
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.max(STAMP_SIZE);
        Self { bytes: (0..size).map(|index| b'g' + ((index * 7 + index / 19) % 19) as u8).collect() }
    }

    /// The payload with its stamps blank.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the stamps stand: always at the start, from 32 bytes on at the end too.
    #[must_use]
    pub fn stamps(&self) -> (Range<usize>, Option<Range<usize>>) {
        let size = self.bytes.len();
        let second = (size >= 2 * STAMP_SIZE).then(|| size - STAMP_SIZE..size);
        (0..STAMP_SIZE, second)
    }

    /// The stamp of `payload`, if every other byte is what it must be. One comparison over the payload.
    #[must_use]
    pub fn check(&self, payload: &[u8]) -> Option<Stamp> {
        let size = self.bytes.len();
        if payload.len() != size {
            return None;
        }
        let (first, rest) = payload.split_first_chunk::<STAMP_SIZE>()?;
        let filler_end = if size >= 2 * STAMP_SIZE {
            if payload.last_chunk::<STAMP_SIZE>()? != first {
                return None;
            }
            size - STAMP_SIZE
        } else {
            size
        };
        let filler = &self.bytes[STAMP_SIZE..filler_end];
        if &rest[..filler.len()] != filler {
            return None;
        }
        Stamp::decode(first)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stamped(pattern: &Pattern, stamp: Stamp) -> Vec<u8> {
        let mut payload = pattern.bytes().to_vec();
        let (first, second) = pattern.stamps();
        payload[first].copy_from_slice(&stamp.encode());
        if let Some(second) = second {
            payload[second].copy_from_slice(&stamp.encode());
        }
        payload
    }

    #[test]
    fn stamp_round_trips_at_its_bounds() {
        for (sender, sequence) in [(0, 0), (1, u32::MAX), (u32::MAX, 1), (0x0123_4567, 0x89ab_cdef)] {
            let stamp = Stamp { sender, sequence };
            assert_eq!(Stamp::decode(&stamp.encode()), Some(stamp));
        }
        assert_eq!(&Stamp { sender: 0x12, sequence: 0xab }.encode(), b"00000012000000ab");
        assert_eq!(Stamp::decode(b"0000001200000G00"), None);
    }

    #[test]
    fn any_changed_byte_is_seen() {
        for size in [16, 17, 31, 32, 33, 64, 1000] {
            let pattern = Pattern::new(size);
            let stamp = Stamp { sender: 7, sequence: 99 };
            let good = stamped(&pattern, stamp);
            assert_eq!(pattern.check(&good), Some(stamp));
            for index in 0..size {
                let mut bad = good.clone();
                bad[index] ^= 1;
                assert_ne!(pattern.check(&bad), Some(stamp), "size {size}, byte {index}");
            }
            assert_eq!(pattern.check(&good[..size - 1]), None);
        }
    }

    #[test]
    fn payload_needs_no_json_escape() {
        assert!(Pattern::new(5000).bytes().iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    }
}
