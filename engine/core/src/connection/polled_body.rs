//! Compressed bodies for the answers to polls, made once for all polls that get the same.
//!
//! ```text
//! body + encoding --> one of the last few of this flush? --> its compressed form, or one made here
//! ```
//! A broadcast to many polling clients gives each the same body. Comparing bodies costs a hundredth of compressing them,
//! so nothing has to be known about what they are made of. Source: engine.io 6.6, `polling.ts` (`doWrite`).

use crate::limits::BODIES_REMEMBERED;
use alloc::rc::Rc;
use alloc::vec::Vec;
use ringio_codec::http::ContentEncoding;
use ringio_codec::http::content_encoding::ContentEncoder;

/// The encodings that polls are answered in, the preferred one first.
pub const ENCODINGS: [ContentEncoding; 2] = [ContentEncoding::Gzip, ContentEncoding::Deflate];

/// What a shard compresses answers with.
#[derive(Debug)]
pub struct BodyCompressor {
    /// `None`: nothing is compressed.
    threshold_bytes: Option<usize>,
    encoder: ContentEncoder,
    recent: Vec<Recent>,
    next: usize,
    /// Bodies compressed.
    pub made: u64,
    /// Times a body that was compressed for another poll was used.
    pub shared: u64,
}

#[derive(Debug)]
struct Recent {
    encoding: ContentEncoding,
    plain: Vec<u8>,
    compressed: Rc<[u8]>,
}

impl BodyCompressor {
    /// Compresses bodies of `threshold_bytes` and more.
    #[must_use]
    pub fn new(threshold_bytes: Option<usize>, level: u8) -> Self {
        let (recent, encoder) = (Vec::new(), ContentEncoder::new(level));
        Self { threshold_bytes, encoder, recent, next: 0, made: 0, shared: 0 }
    }

    /// Whether anything is compressed at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.threshold_bytes.is_some()
    }

    /// The body compressed; `None` if it is too short, or does not get shorter.
    pub fn compress(&mut self, encoding: ContentEncoding, plain: &[u8]) -> Option<Rc<[u8]>> {
        if self.threshold_bytes.is_none_or(|threshold| plain.len() < threshold) {
            return None;
        }
        let known = self.recent.iter().find(|recent| recent.encoding == encoding && recent.plain == plain);
        let compressed = match known {
            Some(recent) => {
                self.shared += 1;
                Rc::clone(&recent.compressed)
            }
            None => self.make(encoding, plain)?,
        };
        (compressed.len() < plain.len()).then_some(compressed)
    }

    fn make(&mut self, encoding: ContentEncoding, plain: &[u8]) -> Option<Rc<[u8]>> {
        let mut bytes = Vec::new();
        if !self.encoder.encode(encoding, plain, &mut bytes) {
            return None;
        }
        self.made += 1;
        let compressed: Rc<[u8]> = bytes.into();
        let recent = Recent { encoding, plain: plain.to_vec(), compressed: Rc::clone(&compressed) };
        if self.recent.len() < BODIES_REMEMBERED {
            self.recent.push(recent);
        } else {
            self.recent[self.next] = recent;
            self.next = (self.next + 1) % BODIES_REMEMBERED;
        }
        Some(compressed)
    }

    /// Forgets the bodies of this flush.
    pub fn clear(&mut self) {
        self.recent.clear();
        self.next = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ContentEncoding::{Deflate, Gzip};

    #[test]
    fn one_body_is_compressed_once_per_encoding() {
        let mut compressor = BodyCompressor::new(Some(100), 6);
        let body = [b'x'; 1_000];
        for _ in 0..50 {
            let gzip = compressor.compress(Gzip, &body).unwrap();
            let deflate = compressor.compress(Deflate, &body).unwrap();
            assert_ne!(gzip, deflate);
        }
        assert_eq!((compressor.made, compressor.shared), (2, 98));
        compressor.clear();
        assert!(compressor.compress(Gzip, &body).is_some());
        assert_eq!(compressor.made, 3);
    }

    #[test]
    fn short_bodies_and_those_that_do_not_get_shorter_stay_as_they_are() {
        let mut compressor = BodyCompressor::new(Some(10), 6);
        assert_eq!(compressor.compress(Gzip, b"123456789"), None);
        assert_eq!(compressor.made, 0);
        assert_eq!(compressor.compress(Gzip, b"1234567890"), None);
        assert_eq!(compressor.compress(Gzip, b"1234567890"), None);
        assert_eq!((compressor.made, compressor.shared), (1, 1));
        assert_eq!(BodyCompressor::new(None, 6).compress(Gzip, &[0; 1_000]), None);
    }

    #[test]
    fn the_oldest_of_too_many_bodies_is_forgotten() {
        let mut compressor = BodyCompressor::new(Some(0), 6);
        for round in 0..BODIES_REMEMBERED + 1 {
            compressor.compress(Gzip, &[round as u8; 100]);
        }
        compressor.compress(Gzip, &[1; 100]);
        assert_eq!(compressor.shared, 1);
        compressor.compress(Gzip, &[0; 100]);
        assert_eq!(compressor.made, BODIES_REMEMBERED as u64 + 2);
    }
}
