//! What the kernel may still read or write: nothing in here is freed before its terminal completion.
//!
//! - frames being sent: from [`InFlight::hold_send`] until the send's completion, or until the enter that submitted it has shown none;
//! - places for peers' names: from [`InFlight::hold_name`] until the completion;
//! - receives: they write into the pool of `buffers`, which is counted here and freed after the ring.
//!
//! Cancelling is only an attempt: a cancelled operation is held until it completes like any other. When the driver is dropped it waits until
//! [`InFlight::is_empty`]; if the kernel does not let go in time, the memory is leaked rather than freed under it.

use crate::epoll::system;
use ringio_core::base::frame::Frame;
use ringio_core::base::table::Table;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::Range;
use std::ptr::NonNull;

/// Largest piece of one send; the kernel's own bound is just below 2 GiB.
const SEND_SIZE_MAX: usize = 1 << 30;

/// Bytes for the kernel to read: made only here, of a frame that is held.
#[derive(Debug)]
pub struct SendBytes<'a> {
    frame: &'a Frame,
    offset: usize,
    pub(super) size: u32,
}

impl SendBytes<'_> {
    /// The frame, which stays until the send's completion.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        self.frame
    }

    /// Which of its bytes are to be sent.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.size as usize
    }

    /// The first of them. They do not move while any clone of the frame lives, and one lives in [`InFlight`].
    pub(super) fn pointer(&self) -> *const u8 {
        self.frame.bytes()[self.range()].as_ptr()
    }
}

/// Where the kernel puts a peer's name: made only here, of a place that is held.
#[derive(Debug)]
pub struct NamePlace {
    pub(super) pointer: *mut libc::sockaddr_storage,
    pub(super) size: u32,
}

struct HeldSend {
    frame: Frame,
    offset: usize,
}

/// All of it, by slot.
#[derive(Default)]
pub(super) struct InFlight {
    sends: Table<HeldSend>,
    names: Table<NonNull<libc::sockaddr_storage>>,
    /// Multishot receives that have not ended.
    pub(super) receive_count: usize,
}

impl InFlight {
    /// Whether the kernel holds nothing of ours.
    pub(super) fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.names.is_empty() && self.receive_count == 0
    }

    /// Holds `frame` for a send from `offset` on.
    pub(super) fn hold_send(&mut self, slot: u32, frame: Frame, offset: usize) {
        assert!(offset <= frame.len(), "offset {offset} of {} bytes", frame.len());
        // Another send of the same file would be found there.
        self.sends.put(slot, HeldSend { frame, offset });
    }

    /// Gives back memory in which nothing is held.
    pub(super) fn shrink(&mut self) {
        self.sends.shrink();
        self.names.shrink();
    }

    /// What is left to send, and whether it fits one operation.
    pub(super) fn send_bytes(&self, slot: u32) -> Option<(SendBytes<'_>, bool)> {
        let held = self.sends.get(slot)?;
        let rest = held.frame.len() - held.offset;
        let size = rest.min(SEND_SIZE_MAX);
        Some((SendBytes { frame: &held.frame, offset: held.offset, size: size as u32 }, size == rest))
    }

    /// The frame of a send that has not completed.
    pub(super) fn sending(&self, slot: u32) -> Option<&Frame> {
        Some(&self.sends.get(slot)?.frame)
    }

    /// `count` bytes more have gone out. Returns whether that was the last, or None when the kernel says it sent more than there was.
    pub(super) fn advance_send(&mut self, slot: u32, count: usize) -> Option<bool> {
        let held = self.sends.get_mut(slot)?;
        let offset = held.offset.checked_add(count).filter(|offset| *offset <= held.frame.len())?;
        held.offset = offset;
        Some(offset == held.frame.len())
    }

    /// The send has completed: its frame is nobody's any more.
    pub(super) fn release_send(&mut self, slot: u32) {
        self.sends.take(slot);
    }

    /// Holds a place for the name of the peer at `slot`. The kernel refuses a size other than the family's own.
    pub(super) fn hold_name(&mut self, slot: u32, is_ipv6: bool) -> NamePlace {
        let place = Box::new(MaybeUninit::<libc::sockaddr_storage>::zeroed());
        let place = NonNull::from(Box::leak(place)).cast::<libc::sockaddr_storage>();
        // A slot has one tenant, whose name is asked once.
        self.names.put(slot, place);
        let size = if is_ipv6 { size_of::<libc::sockaddr_in6>() } else { size_of::<libc::sockaddr_in>() };
        NamePlace { pointer: place.as_ptr(), size: size as u32 }
    }

    /// The request for a name has completed; `is_known` when it succeeded.
    #[allow(unsafe_code)]
    pub(super) fn release_name(&mut self, slot: u32, is_known: bool) -> Option<SocketAddr> {
        let place = self.names.take(slot)?;
        // SAFETY: leaked of a box of this layout in `hold_name`, taken back once; zeroed then, so valid; its operation has completed.
        let name = unsafe { Box::from_raw(place.as_ptr()) };
        if is_known { system::address_from(&name) } else { None }
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_frame_is_held_until_released_whatever_happens_to_its_clones() {
        let mut in_flight = InFlight::default();
        let frame = Frame::raw(vec![1, 2, 3, 4]);
        in_flight.hold_send(5, frame.clone(), 1);
        let (bytes, is_whole) = in_flight.send_bytes(5).unwrap();
        assert_eq!((bytes.pointer(), bytes.size, is_whole), (frame.bytes()[1..].as_ptr(), 3, true));
        assert_eq!(in_flight.advance_send(5, 2), Some(false));
        assert_eq!(in_flight.advance_send(5, 2), None, "more than there was");
        assert_eq!(in_flight.advance_send(5, 1), Some(true));
        assert!(!in_flight.is_empty());
        in_flight.release_send(5);
        assert!(in_flight.is_empty());
        assert!(frame.into_buffer().is_some(), "nobody else holds it");
    }

    #[test]
    fn an_unasked_completion_releases_nothing() {
        let mut in_flight = InFlight::default();
        in_flight.release_send(9);
        assert_eq!(in_flight.release_name(9, true), None);
        assert!(in_flight.is_empty());
        in_flight.hold_name(1, false);
        assert!(!in_flight.is_empty());
        assert_eq!(in_flight.release_name(1, true), None, "zeroes are no address");
        assert!(in_flight.is_empty());
    }
}
