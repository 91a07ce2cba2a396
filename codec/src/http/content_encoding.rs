//! Bodies of answers compressed: gzip, and zlib's format, which HTTP calls deflate.
//!
//! ```text
//! body -> whole, at once -> Content-Encoding: gzip | deflate, with a Content-Length
//! ```
//! Which of them a client takes is `accept_encoding`'s to say. An encoder is made once and used for every answer, one
//! after the other. Source: RFC 1950, RFC 1952, RFC 9110 section 8.4.1.

use super::ContentEncoding;
use flate2::{Compress, Compression, FlushCompress, Status};

/// The window of both formats, as its base-2 logarithm.
const WINDOW_BITS: u8 = 15;

/// The least room for output per step. Bytes.
const OUTPUT_STEP_BYTES_MIN: usize = 64;

/// Compresses bodies.
///
/// Memory: 380 KB for each of the two formats that has been used.
#[derive(Debug)]
pub struct ContentEncoder {
    level: Compression,
    gzip: Option<Compress>,
    zlib: Option<Compress>,
}

impl ContentEncoder {
    /// `level` is 1 (fastest) to 9 (smallest), 6 being zlib's default; less or more means these.
    pub fn new(level: u8) -> Self {
        Self { level: Compression::new(u32::from(level.clamp(1, 9))), gzip: None, zlib: None }
    }

    /// Appends the compressed body; false, and nothing is appended, for Brotli, which is not made here.
    pub fn encode(&mut self, encoding: ContentEncoding, body: &[u8], out: &mut Vec<u8>) -> bool {
        let level = self.level;
        let compress = match encoding {
            ContentEncoding::Brotli => return false,
            ContentEncoding::Gzip => self.gzip.get_or_insert_with(|| Compress::new_gzip(level, WINDOW_BITS)),
            ContentEncoding::Deflate => self.zlib.get_or_insert_with(|| Compress::new(level, true)),
        };
        out.reserve(body.len() / 4 + OUTPUT_STEP_BYTES_MIN);
        loop {
            let taken = usize::try_from(compress.total_in()).unwrap_or(body.len());
            // Cannot fail: the stream was at its beginning and is finished once.
            match compress.compress_vec(&body[taken..], out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                result => assert!(result.is_ok(), "a stream from its beginning to its end compresses"),
            }
            out.reserve(body.len() / 4 + OUTPUT_STEP_BYTES_MIN);
        }
        compress.reset();
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use flate2::read::{GzDecoder, ZlibDecoder};
    use proptest::prelude::*;
    use std::io::Read;

    fn decode(encoding: ContentEncoding, bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        match encoding {
            ContentEncoding::Gzip => GzDecoder::new(bytes).read_to_end(&mut body).unwrap(),
            _ => ZlibDecoder::new(bytes).read_to_end(&mut body).unwrap(),
        };
        body
    }

    #[test]
    fn the_formats_are_those_of_their_names() {
        let mut encoder = ContentEncoder::new(6);
        let (mut gzip, mut zlib) = (Vec::new(), b"before".to_vec());
        assert!(encoder.encode(ContentEncoding::Gzip, &[b'x'; 2_000], &mut gzip));
        assert!(encoder.encode(ContentEncoding::Deflate, &[b'x'; 2_000], &mut zlib));
        assert_eq!(gzip[..3], [0x1f, 0x8b, 8]);
        assert_eq!(zlib[..8], *b"before\x78\x9c");
        assert!(gzip.len() < 50 && zlib.len() < 50);
        assert!(!encoder.encode(ContentEncoding::Brotli, b"x", &mut gzip));
    }

    proptest! {
        #[test]
        fn bodies_go_round_one_after_the_other(
            bodies in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..20_000), 1..4),
            level in 0_u8..12,
        ) {
            let mut encoder = ContentEncoder::new(level);
            for body in &bodies {
                for encoding in [ContentEncoding::Gzip, ContentEncoding::Deflate] {
                    let mut out = Vec::new();
                    prop_assert!(encoder.encode(encoding, body, &mut out));
                    prop_assert_eq!(&decode(encoding, &out), body);
                }
            }
        }
    }
}
