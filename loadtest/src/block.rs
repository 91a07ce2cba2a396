//! What a measured message carries: who sent it, which one it is, when it was due, and a checksum over all of it.
//!
//! ```text
//! '@' | sender 8 | action 2 | sequence 8 | due, ns 12 | size 6 | filler ... | CRC-32 8        (hexadecimal digits)
//! ```
//!
//! Lower-case letters, digits and `@` only, so that the same bytes serve as JSON text, attachment and namespace name.
//! A block is found wherever the server puts it: nothing around it needs to be known. The time it was due travels with
//! it, so every receiver computes latency by itself and no table of messages in flight is needed.

/// The smallest block. Bytes.
pub const BLOCK_BYTES_MIN: usize = HEADER_BYTES + CRC_BYTES;
/// The greatest block: what six hexadecimal digits say. Bytes.
pub const BLOCK_BYTES_MAX: usize = 0xff_ffff;

const MARK: u8 = b'@';
const HEADER_BYTES: usize = 1 + 8 + 2 + 8 + 12 + 6;
const CRC_BYTES: usize = 8;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// What a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Index of the sending client over the whole run.
    pub sender: u32,
    /// Index of the action in the plan, so that every action has its own sequence.
    pub action: u8,
    /// Number of the message among those of this sender and action, from 0.
    pub sequence: u32,
    /// When it was to be sent, whatever happened then. Nanoseconds since the run began, below 2^48 (78 hours).
    pub due_ns: u64,
}

/// What was found in received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole, unchanged block: its stamp, and where it lies.
    Block {
        /// What it says.
        stamp: Stamp,
        /// Index of its first byte.
        start: usize,
        /// Index behind its last byte.
        end: usize,
    },
    /// Something that begins like a block and is none.
    Corrupt,
    /// No block.
    Nothing,
}

/// Appends a block of `size` bytes, at least [`BLOCK_BYTES_MIN`]; sizes beyond the bounds are moved to them.
pub fn encode(out: &mut Vec<u8>, stamp: Stamp, size: usize) {
    let size = size.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
    let start = out.len();
    out.push(MARK);
    push_hex(out, u64::from(stamp.sender), 8);
    push_hex(out, u64::from(stamp.action), 2);
    push_hex(out, u64::from(stamp.sequence), 8);
    push_hex(out, stamp.due_ns, 12);
    push_hex(out, size as u64, 6);
    // Depends on its position, so that a shift shows, and on the sequence, so that two messages mixed into one do.
    let turn = stamp.sequence as usize;
    out.extend((0..size - BLOCK_BYTES_MIN).map(|index| b'g' + ((index * 7 + index / 19 + turn) % 19) as u8));
    let crc = crc32fast::hash(&out[start..]);
    push_hex(out, u64::from(crc), CRC_BYTES);
}

/// Looks for the first block. Cost: one search for its mark and one checksum over it.
pub fn find(bytes: &[u8]) -> Found {
    let mut from = 0;
    let mut seen_mark = false;
    while let Some(offset) = memchr::memchr(MARK, &bytes[from..]) {
        let start = from + offset;
        if let Some((stamp, size)) = decode_at(&bytes[start..]) {
            return Found::Block { stamp, start, end: start + size };
        }
        // Text around a block may hold the mark, in a mail address for one.
        seen_mark = true;
        from = start + 1;
    }
    if seen_mark { Found::Corrupt } else { Found::Nothing }
}

fn decode_at(bytes: &[u8]) -> Option<(Stamp, usize)> {
    let mut rest = bytes.get(1..HEADER_BYTES)?;
    let mut take = |digits: usize| {
        let (field, after) = rest.split_at(digits);
        rest = after;
        parse_hex(field)
    };
    let stamp = Stamp { sender: take(8)? as u32, action: take(2)? as u8, sequence: take(8)? as u32, due_ns: take(12)? };
    let size = take(6)? as usize;
    let block = bytes.get(..size).filter(|_| size >= BLOCK_BYTES_MIN)?;
    let (covered, crc) = block.split_at(size - CRC_BYTES);
    (parse_hex(crc)? == u64::from(crc32fast::hash(covered))).then_some((stamp, size))
}

fn push_hex(out: &mut Vec<u8>, value: u64, digits: usize) {
    out.extend((0..digits).rev().map(|digit| HEX[(value >> (4 * digit)) as usize & 15]));
}

fn parse_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sender: 0x0123_4567, action: 0xab, sequence: u32::MAX, due_ns: (1 << 48) - 1 };

    fn block(size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, STAMP, size);
        out
    }

    #[test]
    fn a_block_is_found_wherever_it_stands() {
        for size in [0, BLOCK_BYTES_MIN, 64, 1000, 70_000] {
            let block = block(size);
            assert_eq!(block.len(), size.max(BLOCK_BYTES_MIN));
            let text = [b"42[\"a@b.example\",\"".as_slice(), &block, b"\"]"].concat();
            let start = 18;
            assert_eq!(find(&text), Found::Block { stamp: STAMP, start, end: start + block.len() });
        }
    }

    #[test]
    fn every_changed_byte_is_seen() {
        let good = block(100);
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert!(matches!(find(&bad), Found::Corrupt | Found::Nothing), "byte {index}");
        }
        assert_eq!(find(&good[..99]), Found::Corrupt);
        assert_eq!(find(b"no mark"), Found::Nothing);
    }

    #[test]
    fn needs_no_escape() {
        assert!(block(5000).iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'@'));
    }
}
