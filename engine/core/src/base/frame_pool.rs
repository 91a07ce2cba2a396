//! Frames that nobody holds any more, made over into the next ones: in the steady state a send allocates nothing.
//!
//! ```text
//!   frame(encoded) --clone--> [oldest .. newest] --nobody else holds it--> buffer() : its bytes, empty
//! ```
//! Frames are made and released in nearly the same order, so the oldest is the first to be free; one that a slow client
//! holds is passed over and goes to the back. Bound: `POOL_BYTES_MAX` of memory and `POOL_FRAMES_MAX` frames per shard;
//! what does not fit is freed as usual.

use super::frame::{Encoded, Frame};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes that all frames of a pool may own. A burst of small messages needs far less; it lets a hundred attachments of
/// 64 KiB wait for their sends.
pub const POOL_BYTES_MAX: usize = 4 << 20;

/// The largest buffer that is kept. Larger ones are rare, and would push out many others.
pub const POOL_BUFFER_BYTES_MAX: usize = 256 << 10;

/// The smallest buffer that is kept: smaller ones (what a handshake leaves) would have to grow for almost every event.
pub const POOL_BUFFER_BYTES_MIN: usize = 128;

/// Frames that a pool remembers.
pub const POOL_FRAMES_MAX: usize = 1_024;

/// Frames looked at for one buffer: more would cost more than an allocation.
const TRIES: usize = 4;

/// The frames of one shard that can be used again.
#[derive(Debug, Default)]
pub struct FramePool {
    /// Oldest first.
    made: VecDeque<Frame>,
    /// Their buffers were taken; they wait for the bytes of the next frame.
    hulls: Vec<Frame>,
    bytes: usize,
}

impl FramePool {
    /// An empty buffer, with the memory of a frame that nobody holds if there is one.
    pub fn buffer(&mut self) -> Vec<u8> {
        for _ in 0..TRIES.min(self.made.len()) {
            let Some(mut frame) = self.made.pop_front() else { break };
            match frame.take_unshared() {
                Some(mut bytes) => {
                    self.bytes -= bytes.capacity();
                    bytes.clear();
                    self.hulls.push(frame);
                    return bytes;
                }
                None => self.made.push_back(frame),
            }
        }
        Vec::new()
    }

    /// A frame of these bytes.
    pub fn frame(&mut self, encoded: Encoded) -> Frame {
        let capacity = encoded.bytes.capacity();
        let frame = match self.hulls.pop() {
            Some(hull) => hull.filled(encoded),
            None => Frame::new(encoded),
        };
        let has_room = self.made.len() < POOL_FRAMES_MAX
            && (POOL_BUFFER_BYTES_MIN..=POOL_BUFFER_BYTES_MAX).contains(&capacity)
            && self.bytes + capacity <= POOL_BYTES_MAX;
        frame.set_pooled(has_room);
        if has_room {
            self.bytes += capacity;
            self.made.push_back(frame.clone());
        }
        frame
    }

    /// Lets go of everything; what somebody holds lives on as a frame of its own.
    pub fn clear(&mut self) {
        for frame in self.made.drain(..) {
            frame.set_pooled(false);
        }
        self.made.shrink_to_fit();
        self.hulls = Vec::new();
        self.bytes = 0;
    }

    /// A frame of raw bytes: joined frames.
    pub fn raw(&mut self, bytes: Vec<u8>) -> Frame {
        self.frame(Encoded { bytes, ..Encoded::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn encoded(bytes: &[u8]) -> Encoded {
        let mut buffer = Vec::with_capacity(POOL_BUFFER_BYTES_MIN);
        buffer.extend_from_slice(bytes);
        Encoded { bytes: buffer, ..Encoded::default() }
    }

    #[test]
    fn a_released_frame_is_made_over() {
        let mut pool = FramePool::default();
        let frame = pool.frame(encoded(b"first"));
        let place = frame.bytes().as_ptr();
        assert_eq!(pool.buffer().capacity(), 0, "somebody holds it");
        drop(frame);
        let mut buffer = pool.buffer();
        assert!(buffer.is_empty());
        buffer.extend_from_slice(b"other");
        let next = pool.frame(Encoded { bytes: buffer, ..Encoded::default() });
        assert_eq!((next.bytes(), next.bytes().as_ptr()), (&b"other"[..], place));
    }

    #[test]
    fn a_held_frame_does_not_stand_in_the_way() {
        let mut pool = FramePool::default();
        let held = pool.frame(encoded(b"slow"));
        drop(pool.frame(encoded(b"quick")));
        assert!(pool.buffer().capacity() >= 5);
        assert_eq!(held.bytes(), b"slow");
    }

    #[test]
    fn a_watched_frame_is_left_alone_and_released_frames_are_dead() {
        let mut pool = FramePool::default();
        let frame = pool.frame(encoded(b"watched"));
        let watch = frame.watch();
        assert!(watch.frame().is_some());
        drop(frame);
        assert!(watch.frame().is_none(), "only the pool holds it");
        assert_eq!(pool.buffer().capacity(), 0, "who watches it could still read it");
    }

    #[test]
    fn the_bounds_hold() {
        let mut pool = FramePool::default();
        drop(pool.frame(Encoded { bytes: Vec::with_capacity(POOL_BUFFER_BYTES_MAX + 1), ..Encoded::default() }));
        drop(pool.frame(Encoded { bytes: Vec::with_capacity(POOL_BUFFER_BYTES_MIN - 1), ..Encoded::default() }));
        assert_eq!(pool.made.len(), 0, "too large, too small");
        let frames: Vec<Frame> = (0..40).map(|_| pool.raw(vec![0; POOL_BUFFER_BYTES_MAX])).collect();
        assert_eq!((pool.made.len(), pool.bytes), (POOL_BYTES_MAX / POOL_BUFFER_BYTES_MAX, POOL_BYTES_MAX));
        drop(frames);
        while pool.buffer().capacity() > 0 {}
        assert_eq!(pool.bytes, 0);
        let frames: Vec<Frame> = (0..2 * POOL_FRAMES_MAX).map(|_| pool.raw(vec![0; POOL_BUFFER_BYTES_MIN])).collect();
        assert_eq!(pool.made.len(), POOL_FRAMES_MAX);
        drop(frames);
    }
}
