//! The body of a POST, by Content-Length or in chunks, up to `max_http_buffer_size`.
//!
//! Memory grows with what has arrived, never with what was announced; what is announced too large is refused
//! before a byte of it is kept.

use crate::base::id::SessionKey;
use alloc::vec::Vec;
use ringio_codec::http::chunked::ChunkedDecoder;

/// A body on its way.
#[derive(Debug)]
pub struct Body {
    /// The session it is for.
    pub session: SessionKey,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
    /// Header lines for the answer.
    pub fields: Vec<u8>,
    /// Revision 3: the body is a binary payload.
    pub is_binary: bool,
    /// Its sender needs the header that old Internet Explorers need with every answer but a refusal.
    pub is_old_browser: bool,
    /// What has arrived.
    bytes: Vec<u8>,
    framing: Framing,
    bytes_max: u64,
}

#[derive(Debug)]
enum Framing {
    Fixed { remaining: u64 },
    Chunked(ChunkedDecoder),
}

/// What a piece of the body led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come; everything was taken.
    More,
    /// The body is whole; so many bytes of the piece were taken.
    Complete(usize),
    /// Larger than allowed.
    TooLarge,
    /// Not readable as chunks.
    Invalid,
}

impl Body {
    /// A body of `length` bytes.
    #[must_use]
    pub fn fixed(session: SessionKey, keep_alive: bool, length: u64, bytes_max: u64) -> Self {
        let framing = Framing::Fixed { remaining: length };
        Self {
            session,
            keep_alive,
            fields: Vec::new(),
            is_binary: false,
            is_old_browser: false,
            bytes: Vec::new(),
            framing,
            bytes_max,
        }
    }

    /// A body in chunks.
    #[must_use]
    pub fn chunked(session: SessionKey, keep_alive: bool, bytes_max: u64) -> Self {
        let framing = Framing::Chunked(ChunkedDecoder::default());
        Self {
            session,
            keep_alive,
            fields: Vec::new(),
            is_binary: false,
            is_old_browser: false,
            bytes: Vec::new(),
            framing,
            bytes_max,
        }
    }

    /// Takes a piece.
    pub fn take(&mut self, piece: &[u8]) -> Progress {
        match &mut self.framing {
            Framing::Fixed { remaining } => {
                if *remaining > self.bytes_max {
                    return Progress::TooLarge;
                }
                let taken = piece.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                self.bytes.extend_from_slice(&piece[..taken]);
                *remaining -= taken as u64;
                if *remaining == 0 { Progress::Complete(taken) } else { Progress::More }
            }
            Framing::Chunked(decoder) => {
                let mut at = 0;
                while at < piece.len() {
                    let Ok(step) = decoder.decode(&piece[at..]) else { return Progress::Invalid };
                    let data = &piece[at + step.data.start..at + step.data.end];
                    if (self.bytes.len() + data.len()) as u64 > self.bytes_max {
                        return Progress::TooLarge;
                    }
                    self.bytes.extend_from_slice(data);
                    at += step.consumed;
                    if decoder.is_finished() {
                        return Progress::Complete(at);
                    }
                }
                Progress::More
            }
        }
    }

    /// The whole body, moved out.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    /// Bytes reserved.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionKey {
        SessionKey::from_bits(1 << 32)
    }

    #[test]
    fn a_fixed_body_ends_where_announced() {
        let mut body = Body::fixed(session(), true, 5, 100);
        assert_eq!(body.take(b"hel"), Progress::More);
        assert_eq!(body.take(b"loGET"), Progress::Complete(2));
        assert_eq!(body.take_bytes(), b"hello");
    }

    #[test]
    fn what_is_announced_too_large_is_refused_before_it_is_kept() {
        let mut body = Body::fixed(session(), true, 101, 100);
        assert_eq!(body.take(b""), Progress::TooLarge);
        assert_eq!(body.capacity(), 0);
    }

    #[test]
    fn chunks_are_counted_as_they_arrive() {
        let mut body = Body::chunked(session(), true, 6);
        assert_eq!(body.take(b"3\r\nabc\r\n"), Progress::More);
        assert_eq!(body.take(b"3\r\ndef\r\n0\r\n\r\nGET"), Progress::Complete(13));
        assert_eq!(body.take_bytes(), b"abcdef");
        let mut body = Body::chunked(session(), true, 5);
        assert_eq!(body.take(b"3\r\nabc\r\n3\r\ndef\r\n"), Progress::TooLarge);
    }
}
