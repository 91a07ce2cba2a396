//! permessage-deflate's work: one message compressed, one message inflated.
//!
//! ```text
//! message -> DEFLATE blocks, flushed -> without the last 00 00 ff ff -> frame with rsv1
//! ```
//!
//! A compressor or inflater whose side keeps its context belongs to one connection and sees all its messages in order;
//! otherwise any message may go through any of them, so that a shard needs one of each. Inflating stops at the message
//! limit: output is made in pieces, and no more than one byte beyond the limit is ever asked for.
//! The backend of flate2 is zlib-rs: unlike miniz_oxide it can keep to a window smaller than the largest.
//! Source: RFC 7692 section 7.2.

use super::extensions::WindowBits;
use super::message::{Deflated, Payload, Received};
use core::fmt;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What the end of a flushed message is, and what is not sent.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A message of nothing: the head of an empty stored block, whose rest is the tail.
const EMPTY_MESSAGE: u8 = 0x00;

/// The least room for output per step. Bytes; more than a flush may leave behind, so that none is cut and made twice.
const OUTPUT_STEP_BYTES_MIN: usize = 64;

/// The most room for output before any has been made. Bytes.
const OUTPUT_FIRST_BYTES_MAX: usize = 16 * 1024;

/// How often a message may end a DEFLATE stream and begin another (RFC 7692 section 7.2.3.4 shows one such end). Each
/// beginning costs far more than the two bytes that it takes.
const STREAM_COUNT_MAX: u32 = 16;

/// The smallest window that zlib has.
const ZLIB_WINDOW_BITS_MIN: u8 = 9;

/// Compresses a server's, or a client's, messages.
///
/// Memory: 380 KB with the largest window, 250 KB with the smallest. Forgetting clears most of it: about 4 microseconds
/// per message, so that short ones are better sent as they are.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
    has_context: bool,
}

impl Deflater {
    /// `level` is 0 (stored) to 9 (smallest), 6 being zlib's default, more meaning 9. `no_context_takeover`
    /// and `window_bits` are those agreed on for the sending side.
    pub fn new(level: u8, window_bits: WindowBits, no_context_takeover: bool) -> Self {
        let level = Compression::new(u32::from(level.min(9)));
        // With a window of 512 bytes zlib looks back 250 at most (its size less the longest match and a little), which
        // the peer's window of 256 still holds.
        let window_bits = window_bits.get().max(ZLIB_WINDOW_BITS_MIN);
        Self { compress: Compress::new_with_window_bits(level, false, window_bits), has_context: !no_context_takeover }
    }

    /// Appends the compressed message, without its tail: what a frame with `rsv1` carries.
    pub fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) {
        if message.is_empty() {
            out.push(EMPTY_MESSAGE);
            return;
        }
        let start = out.len();
        let mut rest = message;
        out.reserve(message.len() / 2 + OUTPUT_STEP_BYTES_MIN);
        loop {
            let total_in = self.compress.total_in();
            // Cannot fail: a flush on a stream that nobody has finished.
            let status = self.compress.compress_vec(rest, out, FlushCompress::Sync);
            assert!(matches!(status, Ok(Status::Ok | Status::BufError)), "a stream that is never finished compresses");
            rest = &rest[(self.compress.total_in() - total_in) as usize..];
            if out.len() < out.capacity() {
                break;
            }
            out.reserve(rest.len() / 2 + OUTPUT_STEP_BYTES_MIN);
        }
        assert!(rest.is_empty() && out[start..].ends_with(&TAIL), "a flush takes all input and ends in its mark");
        out.truncate(out.len() - TAIL.len());
        if !self.has_context {
            self.compress.reset();
        }
    }

    /// Forgets the messages before. To be called on a connection's own compressor when a message that another one
    /// compressed is sent there: the peer's window moved on without it.
    pub fn reset(&mut self) {
        self.compress.reset();
    }
}

/// Why a message cannot be inflated. The inflater is not to be used after it, unless its side keeps no context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InflateError {
    /// Not DEFLATE.
    InvalidData,
    /// The message is longer than the limit.
    MessageTooBig,
    /// A text message is not UTF-8.
    InvalidUtf8,
}

impl InflateError {
    /// The code to close with: that of `ws`.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::MessageTooBig => super::close::MESSAGE_TOO_BIG,
            Self::InvalidData | Self::InvalidUtf8 => super::close::INVALID_TEXT,
        }
    }
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidData => "invalid compressed data",
            Self::MessageTooBig => "message too big",
            Self::InvalidUtf8 => "text message is not UTF-8",
        })
    }
}

impl core::error::Error for InflateError {}

/// Inflates the peer's messages.
///
/// Memory: 48 KB, which a connection has to keep only if its peer keeps its context.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    has_context: bool,
}

impl Inflater {
    /// `no_context_takeover` is the one agreed on for the receiving side. Windows of all sizes are understood.
    pub fn new(no_context_takeover: bool) -> Self {
        Self { decompress: Decompress::new(false), has_context: !no_context_takeover }
    }

    /// Inflates a message as it was received and, if it is text, checks that it is UTF-8. `buffer` is the one that was
    /// passed to [`Receiver::next_with_deflate`](super::Receiver::next_with_deflate).
    pub fn receive(
        &mut self,
        deflated: &Deflated,
        buffer: &[u8],
        message_bytes_max: u64,
    ) -> Result<Received, InflateError> {
        let mut message = Vec::new();
        self.inflate(deflated.payload.bytes(buffer), message_bytes_max, &mut message)?;
        if !deflated.is_text {
            return Ok(Received::Binary(Payload::Owned(message)));
        }
        if simdutf8::basic::from_utf8(&message).is_err() {
            return Err(InflateError::InvalidUtf8);
        }
        Ok(Received::Text(Payload::Owned(message)))
    }

    /// Appends the inflated message: at most `message_bytes_max` bytes.
    ///
    /// Errors: [`InflateError::InvalidData`], [`InflateError::MessageTooBig`]; then a part of the message was
    /// appended, not more than the limit and one byte.
    pub fn inflate(
        &mut self,
        compressed: &[u8],
        message_bytes_max: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        let result = self.inflate_pieces(compressed, message_bytes_max, out);
        if !self.has_context || result.is_err() {
            self.decompress.reset(false);
        }
        result
    }

    fn inflate_pieces(
        &mut self,
        compressed: &[u8],
        message_bytes_max: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        let start = out.len();
        let limit = usize::try_from(message_bytes_max).unwrap_or(usize::MAX);
        let mut stream_count = 1;
        let mut is_between_streams = false;
        for (mut rest, is_tail) in [(compressed, false), (&TAIL[..], true)] {
            // A stream that ended with the message is complete without the tail.
            if rest.is_empty() || (is_between_streams && is_tail) {
                continue;
            }
            loop {
                out.reserve_exact(output_room(out.len() - start, rest.len(), limit));
                let (total_in, total_out) = (self.decompress.total_in(), self.decompress.total_out());
                let status = self
                    .decompress
                    .decompress_vec(rest, out, FlushDecompress::Sync)
                    .map_err(|_| InflateError::InvalidData)?;
                let taken = (self.decompress.total_in() - total_in) as usize;
                let has_made = self.decompress.total_out() > total_out;
                rest = &rest[taken..];
                if out.len() - start > limit {
                    return Err(InflateError::MessageTooBig);
                }
                is_between_streams = status == Status::StreamEnd;
                if is_between_streams {
                    if stream_count == STREAM_COUNT_MAX {
                        return Err(InflateError::InvalidData);
                    }
                    stream_count += 1;
                    self.decompress.reset(false);
                    if is_tail {
                        // Its last bytes were zeros, which a sender may have left out. Node takes such messages.
                        break;
                    }
                } else if taken == 0 && !has_made && !rest.is_empty() {
                    return Err(InflateError::InvalidData);
                }
                // With room left, whatever could be made of the input has been.
                if rest.is_empty() && (is_between_streams || out.len() < out.capacity()) {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// How much room to make for output after `made` bytes of it: as much again, but never beyond one byte more than the
/// limit, which is enough to see that the limit is passed.
fn output_room(made: usize, input_len: usize, limit: usize) -> usize {
    let first = input_len.saturating_mul(4).clamp(OUTPUT_STEP_BYTES_MIN, OUTPUT_FIRST_BYTES_MAX);
    made.max(first).min((limit - made).saturating_add(1))
}

#[cfg(test)]
mod tests;
