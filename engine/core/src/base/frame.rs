//! Encoded bytes that many receivers share.
//!
//! ```text
//! bytes    [ws header|'4' packet][ws header|attachment] ...     exactly what a WebSocket client gets
//! packets  [ text 2..40        ][ binary 42..1066     ]         where the bodies are, for polling
//! ```
//! A frame is one unit of an outbox: its packets are adjacent on the wire (header and attachments of a binary
//! event must be). Within a shard it is counted without atomics; `Encoded` is what crosses shards, so a
//! broadcast costs one atomic count per shard and plain counts per session. The compressed form of a frame is kept with
//! it, so that a shard makes it once, whenever each receiver is ready for it.

use alloc::rc::{Rc, Weak};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use smallvec::SmallVec;

/// Where the body of one Engine.IO packet lies within a frame's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketBounds {
    /// First byte of the body (the packet's type digit for text).
    pub start: u32,
    /// One past its last byte.
    pub end: u32,
    /// A binary message, which polling sends as base64.
    pub is_binary: bool,
}

/// How a frame may be compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// For one receiver: it may refer to what that receiver got before, where that was agreed on.
    #[default]
    Own,
    /// For many receivers: by itself, so that all get the same bytes.
    Shared,
    /// Not at all: the application said so.
    Off,
}

/// What happens to a packet when its receiver's outbox is full. It goes or stays whole, its attachments with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenSlow {
    /// The receiver of a broadcast is disconnected; an emit to one socket fails. What the protocol itself says is always sent so.
    #[default]
    Close,
    /// The packet is dropped.
    DropNew,
    /// Older packets that may be dropped make room for it.
    DropOld,
    /// It takes the place of a waiting packet of this key at any time, full or not; when full, as [`Self::DropOld`].
    Conflate(u64),
}

impl WhenSlow {
    /// Whether a waiting packet may make room for a newer one.
    #[must_use]
    pub const fn is_droppable(self) -> bool {
        matches!(self, Self::DropOld | Self::Conflate(_))
    }
}

/// Finished bytes and the packets in them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// What goes to a WebSocket.
    pub bytes: Vec<u8>,
    /// The packets in `bytes`, in order; empty for raw bytes such as an HTTP answer.
    pub packets: SmallVec<[PacketBounds; 1]>,
    /// How they may be compressed.
    pub compression: Compression,
    /// What happens to them when there is no room.
    pub when_slow: WhenSlow,
}

impl Encoded {
    /// To be compressed in this way.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// To be treated so when there is no room.
    #[must_use]
    pub fn with_when_slow(self, when_slow: WhenSlow) -> Self {
        Self { when_slow, ..self }
    }
}

#[derive(Debug)]
enum Storage {
    Own(Encoded),
    Shared(Arc<Encoded>),
}

#[derive(Debug)]
struct Inner {
    storage: Storage,
    /// Its compressed form, and within which window it was made (`window_bits`).
    deflated: RefCell<Option<(u8, Frame)>>,
    /// The pool holds it too, to make it over when nobody else does.
    is_pooled: Cell<bool>,
}

/// A counted reference to encoded bytes. Cloning costs one plain increment.
#[derive(Clone, Debug)]
pub struct Frame(Rc<Inner>);

impl Frame {
    /// Bytes for receivers of this shard only.
    #[must_use]
    pub fn new(encoded: Encoded) -> Self {
        Self::of(Storage::Own(encoded))
    }

    /// Raw bytes without packets: an HTTP answer, joined frames.
    #[must_use]
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self::new(Encoded { bytes, ..Encoded::default() })
    }

    /// Bytes that other shards hold as well.
    #[must_use]
    pub fn shared(encoded: Arc<Encoded>) -> Self {
        Self::of(Storage::Shared(encoded))
    }

    fn of(storage: Storage) -> Self {
        Self(Rc::new(Inner { storage, deflated: RefCell::new(None), is_pooled: Cell::new(false) }))
    }

    /// All bytes; they do not move while any clone of this frame lives.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.encoded().bytes
    }

    /// The packets within [`Self::bytes`].
    #[must_use]
    pub fn packets(&self) -> &[PacketBounds] {
        &self.encoded().packets
    }

    /// How it may be compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.encoded().compression
    }

    /// What happens to it when there is no room.
    #[inline]
    #[must_use]
    pub fn when_slow(&self) -> WhenSlow {
        self.encoded().when_slow
    }

    /// The compressed form, if there is one that a receiver with this window can read.
    #[must_use]
    pub fn deflated(&self, window_bits: u8) -> Option<Self> {
        let deflated = self.0.deflated.borrow();
        deflated.as_ref().filter(|(bits, _)| *bits <= window_bits).map(|(_, frame)| frame.clone())
    }

    /// Keeps a compressed form for the other receivers. One of a smaller window replaces another: it serves more.
    pub fn keep_deflated(&self, window_bits: u8, frame: &Self) {
        *self.0.deflated.borrow_mut() = Some((window_bits, frame.clone()));
    }

    #[inline]
    fn encoded(&self) -> &Encoded {
        match &self.0.storage {
            Storage::Own(encoded) => encoded,
            Storage::Shared(encoded) => encoded,
        }
    }

    /// Number of bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Its bytes, divided among those of this shard who hold it, its pool not counted.
    #[must_use]
    pub fn share_bytes(&self) -> usize {
        let holders = Rc::strong_count(&self.0) - usize::from(self.0.is_pooled.get());
        self.len() / holders.max(1)
    }

    /// Whether both are the very same frame.
    #[inline]
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn set_pooled(&self, is_pooled: bool) {
        self.0.is_pooled.set(is_pooled);
    }

    /// Its bytes, if nobody else holds or watches it: what is left is a hull for [`Self::filled`].
    pub(super) fn take_unshared(&mut self) -> Option<Vec<u8>> {
        let inner = Rc::get_mut(&mut self.0)?;
        inner.deflated.get_mut().take();
        match &mut inner.storage {
            Storage::Own(encoded) => Some(core::mem::take(&mut encoded.bytes)),
            Storage::Shared(_) => None,
        }
    }

    /// The frame with other bytes. Somebody else's hull is left alone.
    pub(super) fn filled(mut self, encoded: Encoded) -> Self {
        match Rc::get_mut(&mut self.0) {
            Some(inner) => {
                inner.storage = Storage::Own(encoded);
                self
            }
            None => Self::new(encoded),
        }
    }

    /// Who wants to know later whether the frame still lives.
    #[must_use]
    pub fn watch(&self) -> FrameWatch {
        FrameWatch(Rc::downgrade(&self.0))
    }

    /// The buffer back, if nobody else holds the frame and it was not shared with other shards.
    #[must_use]
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        match Rc::into_inner(self.0)?.storage {
            Storage::Own(encoded) => Some(encoded.bytes),
            Storage::Shared(_) => None,
        }
    }
}

/// Knows whether a frame still lives, without keeping it alive: what a kernel knows of a buffer it was given.
#[derive(Clone, Debug)]
pub struct FrameWatch(Weak<Inner>);

impl FrameWatch {
    /// The frame; `None` once nobody holds it (but its pool) and its bytes are somebody else's.
    #[must_use]
    pub fn frame(&self) -> Option<Frame> {
        let inner = self.0.upgrade()?;
        let holders = Rc::strong_count(&inner) - 1;
        (holders > usize::from(inner.is_pooled.get())).then_some(Frame(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_watch_keeps_nothing_alive() {
        let frame = Frame::raw(vec![1, 2]);
        let watch = frame.watch();
        let clone = frame.clone();
        assert!(watch.frame().is_some_and(|seen| seen.is_same(&frame)));
        assert_eq!(frame.into_buffer(), None, "a clone lives");
        assert_eq!(clone.into_buffer(), Some(vec![1, 2]));
        assert!(watch.frame().is_none(), "its bytes are somebody else's");
    }

    #[test]
    fn holders_share_the_bytes_and_the_pool_is_none_of_them() {
        let frame = Frame::raw(vec![0; 100]);
        assert_eq!(frame.share_bytes(), 100);
        let (pool, other) = (frame.clone(), frame.clone());
        assert_eq!(frame.share_bytes(), 33);
        pool.set_pooled(true);
        assert_eq!(frame.share_bytes(), 50);
        drop(other);
        assert_eq!(frame.share_bytes(), 100);
    }
}
