//! Bodies without a length: `Transfer-Encoding: chunked`.
//!
//! ```text
//! Size -> [Extension] -> SizeEnd -> Data -> DataEnd -> Size ... size 0 -> trailer lines -> Finished
//! ```
//!
//! Incremental: bytes go in as they arrive, ranges of data come out of them, nothing is copied or kept but a few
//! counters. Lines have to end in CR LF. What is not data is bounded: a size has at most 16 digits, extensions
//! and trailers (both passed over) have [`EXTENSION_BYTES_MAX`] and [`TRAILER_BYTES_MAX`] in the whole body, so that
//! a body cannot be mostly something else. Source: RFC 9112 section 7.1.

use core::fmt;
use core::ops::Range;

/// The most bytes of chunk extensions in a body.
pub const EXTENSION_BYTES_MAX: u32 = 4096;

/// The most bytes of trailer fields of a body.
pub const TRAILER_BYTES_MAX: u32 = 4096;

/// The most digits of a chunk's size: what 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// What one step found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkStep {
    /// How many bytes of the input are done with: data and what stood before it.
    pub consumed: usize,
    /// The range of the input that is body; may be empty. It ends at `consumed`, if it is not.
    pub data: Range<usize>,
}

/// Why a chunked body cannot be read. The connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkedError {
    /// A chunk's size is not a hexadecimal number, or has more than 16 digits.
    InvalidSize,
    /// A line, or a chunk's data, does not end in CR LF where it has to.
    InvalidLineEnd,
    /// More than [`EXTENSION_BYTES_MAX`] bytes of extensions.
    ExtensionsTooLarge,
    /// More than [`TRAILER_BYTES_MAX`] bytes of trailer fields.
    TrailersTooLarge,
}

impl fmt::Display for ChunkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidSize => "invalid chunk size",
            Self::InvalidLineEnd => "chunk line not ended by CR LF",
            Self::ExtensionsTooLarge => "chunk extensions too large",
            Self::TrailersTooLarge => "trailer fields too large",
        })
    }
}

impl core::error::Error for ChunkedError {}

/// Where the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a chunk's size, of which `digit_count` digits have been read.
    Size { size: u64, digit_count: u8 },
    /// In what stands between the size and its line's CR.
    Extension { size: u64 },
    /// Before the LF of a size's line.
    SizeEnd { size: u64 },
    /// In a chunk of which `missing` bytes, at least one, are to come.
    Data { missing: u64 },
    /// Before the CR behind a chunk's data.
    DataCr,
    /// Before the LF behind a chunk's data.
    DataLf,
    /// At the beginning of a line behind the last chunk.
    TrailerStart,
    /// In a trailer field.
    Trailer,
    /// Before the LF of a trailer field's line.
    TrailerLf,
    /// Before the LF of the empty line that ends the body.
    FinalLf,
    /// The body is complete.
    Finished,
}

/// A chunked body that is being read.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    extension_bytes: u32,
    trailer_bytes: u32,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    /// A decoder before the first chunk.
    pub const fn new() -> Self {
        Self { state: State::Size { size: 0, digit_count: 0 }, extension_bytes: 0, trailer_bytes: 0 }
    }

    /// Whether the body is complete. Bytes behind it belong to the next request and are not consumed.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// Reads on until data was found or the input is used up. Call it again with the rest of the input, until all of
    /// it is consumed or [`is_finished`](Self::is_finished).
    pub fn decode(&mut self, input: &[u8]) -> Result<ChunkStep, ChunkedError> {
        let mut index = 0;
        while let Some(&byte) = input.get(index) {
            self.state = match self.state {
                State::Finished => break,
                State::Data { missing } => {
                    let available = input.len() - index;
                    let taken = usize::try_from(missing).map_or(available, |missing| missing.min(available));
                    self.state = match missing - taken as u64 {
                        0 => State::DataCr,
                        missing => State::Data { missing },
                    };
                    return Ok(ChunkStep { consumed: index + taken, data: index..index + taken });
                }
                state => self.step(state, byte)?,
            };
            index += 1;
        }
        Ok(ChunkStep { consumed: index, data: index..index })
    }

    /// Passes one byte that is not data.
    fn step(&mut self, state: State, byte: u8) -> Result<State, ChunkedError> {
        Ok(match (state, byte) {
            (State::Size { size, digit_count }, byte) => match (char::from(byte).to_digit(16), byte) {
                (Some(_), _) if digit_count == SIZE_DIGITS_MAX => {
                    return Err(ChunkedError::InvalidSize);
                }
                (Some(digit), _) => State::Size { size: size << 4 | u64::from(digit), digit_count: digit_count + 1 },
                (None, _) if digit_count == 0 => return Err(ChunkedError::InvalidSize),
                (None, b'\r') => State::SizeEnd { size },
                (None, b';') => self.extension(size)?,
                (None, _) => return Err(ChunkedError::InvalidSize),
            },
            (State::Extension { size }, b'\r') => State::SizeEnd { size },
            (State::Extension { .. }, b'\n') => return Err(ChunkedError::InvalidLineEnd),
            (State::Extension { size }, _) => self.extension(size)?,
            (State::SizeEnd { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeEnd { size }, b'\n') => State::Data { missing: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digit_count: 0 },
            (State::TrailerStart, b'\r') => State::FinalLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, b'\n') => {
                return Err(ChunkedError::InvalidLineEnd);
            }
            (State::TrailerStart | State::Trailer, _) => self.trailer()?,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::FinalLf, b'\n') => State::Finished,
            _ => return Err(ChunkedError::InvalidLineEnd),
        })
    }

    fn extension(&mut self, size: u64) -> Result<State, ChunkedError> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(ChunkedError::ExtensionsTooLarge);
        }
        Ok(State::Extension { size })
    }

    fn trailer(&mut self) -> Result<State, ChunkedError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(ChunkedError::TrailersTooLarge);
        }
        Ok(State::Trailer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Feeds pieces of at most `piece_len` bytes; returns the body and how many bytes of the input were consumed.
    fn decode_in_pieces(input: &[u8], piece_len: usize) -> Result<(Vec<u8>, usize, bool), ChunkedError> {
        let mut decoder = ChunkedDecoder::new();
        let mut body = Vec::new();
        let mut consumed = 0;
        for piece in input.chunks(piece_len) {
            let mut rest = piece;
            while !rest.is_empty() && !decoder.is_finished() {
                let step = decoder.decode(rest)?;
                assert!(step.consumed > 0, "a step that is not the last makes progress");
                body.extend_from_slice(&rest[step.data]);
                consumed += step.consumed;
                rest = &rest[step.consumed..];
            }
        }
        Ok((body, consumed, decoder.is_finished()))
    }

    fn decode_all(input: &[u8]) -> Result<(Vec<u8>, usize, bool), ChunkedError> {
        decode_in_pieces(input, usize::MAX)
    }

    const BODY: &[u8] =
        b"4\r\nWiki\r\n6;name=\"v\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n000\r\nA: b\r\nC: d\r\n\r\n";

    #[test]
    fn data_comes_out_whatever_the_pieces() {
        for piece_len in 1..=BODY.len() {
            let (body, consumed, finished) = decode_in_pieces(BODY, piece_len).unwrap();
            assert_eq!(body, b"Wikipedia in \r\n\r\nchunks.", "{piece_len}");
            assert_eq!((consumed, finished), (BODY.len(), true));
        }
    }

    #[test]
    fn every_split_in_two_gives_the_same() {
        for split in 0..=BODY.len() {
            let mut decoder = ChunkedDecoder::new();
            let mut body = Vec::new();
            for mut rest in [&BODY[..split], &BODY[split..]] {
                while !rest.is_empty() {
                    let step = decoder.decode(rest).unwrap();
                    assert!(step.consumed > 0, "a step that is not the last makes progress");
                    body.extend_from_slice(&rest[step.data]);
                    rest = &rest[step.consumed..];
                }
            }
            assert!(decoder.is_finished());
            assert_eq!(body, b"Wikipedia in \r\n\r\nchunks.", "{split}");
        }
    }

    #[test]
    fn what_follows_the_body_is_left() {
        assert_eq!(decode_all(b"1\r\na\r\n0\r\n\r\nGET /").unwrap(), (b"a".to_vec(), 11, true));
        let mut decoder = ChunkedDecoder::new();
        decoder.decode(b"0\r\n\r\n").unwrap();
        assert_eq!(decoder.decode(b"GET").unwrap(), ChunkStep { consumed: 0, data: 0..0 });
    }

    #[test]
    fn every_prefix_is_unfinished() {
        for end in 0..BODY.len() {
            let (_, consumed, finished) = decode_all(&BODY[..end]).unwrap();
            assert_eq!((consumed, finished), (end, false));
        }
    }

    #[test]
    fn bad_bodies_are_refused() {
        let cases: [(&[u8], ChunkedError); 16] = [
            (b"\r\n", ChunkedError::InvalidSize),
            (b";a\r\n", ChunkedError::InvalidSize),
            (b"g\r\n", ChunkedError::InvalidSize),
            (b"-1\r\n", ChunkedError::InvalidSize),
            (b"0x1\r\n", ChunkedError::InvalidSize),
            (b"1 \r\n", ChunkedError::InvalidSize),
            (b"1\n", ChunkedError::InvalidSize),
            (b"00000000000000001\r\n", ChunkedError::InvalidSize),
            (b"1\ra", ChunkedError::InvalidLineEnd),
            (b"1;a\n", ChunkedError::InvalidLineEnd),
            (b"1\r\naX", ChunkedError::InvalidLineEnd),
            (b"1\r\na\n", ChunkedError::InvalidLineEnd),
            (b"1\r\na\r\r", ChunkedError::InvalidLineEnd),
            (b"0\r\n\n", ChunkedError::InvalidLineEnd),
            (b"0\r\nA: b\n", ChunkedError::InvalidLineEnd),
            (b"0\r\n\rX", ChunkedError::InvalidLineEnd),
        ];
        for (input, error) in cases {
            for piece_len in [1, usize::MAX] {
                let decoded = decode_in_pieces(input, piece_len);
                assert_eq!(decoded, Err(error), "{:?}", String::from_utf8_lossy(input));
            }
        }
    }

    #[test]
    fn greatest_size_does_not_overflow() {
        let mut decoder = ChunkedDecoder::new();
        let step = decoder.decode(b"ffffffffffffffff\r\nabc").unwrap();
        assert_eq!(step, ChunkStep { consumed: 21, data: 18..21 });
        assert_eq!(decoder.state, State::Data { missing: u64::MAX - 3 });
    }

    #[test]
    fn extensions_and_trailers_are_bounded_over_the_whole_body() {
        // Half of the extensions at the first chunk, the other half at the second.
        let extended = |count: u32| {
            let half = count as usize / 2;
            let (first, second) = (";".repeat(half), ";".repeat(count as usize - half));
            format!("1{first}\r\nx\r\n0{second}\r\n\r\n")
        };
        assert!(decode_all(extended(EXTENSION_BYTES_MAX).as_bytes()).unwrap().2);
        assert_eq!(decode_all(extended(EXTENSION_BYTES_MAX + 1).as_bytes()), Err(ChunkedError::ExtensionsTooLarge));
        let trailed = |count: u32| format!("0\r\na:b\r\n{}\r\n\r\n", "c".repeat(count as usize - 3));
        assert!(decode_all(trailed(TRAILER_BYTES_MAX).as_bytes()).unwrap().2);
        assert_eq!(decode_all(trailed(TRAILER_BYTES_MAX + 1).as_bytes()), Err(ChunkedError::TrailersTooLarge));
    }

    proptest! {
        #[test]
        fn chunks_go_round(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            piece_len in 1usize..20,
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\n\r\nrest");
            let (body, consumed, finished) = decode_in_pieces(&input, piece_len).unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert_eq!((consumed, finished), (input.len() - 4, true));
        }

        #[test]
        fn pieces_never_change_the_outcome(input in "[01a;\r\nx:]{0,24}", piece_len in 1usize..5) {
            prop_assert_eq!(decode_in_pieces(input.as_bytes(), piece_len), decode_all(input.as_bytes()));
        }
    }
}
