//! Whole messages out of what was read, and who gets them.

use bytes::{Buf, Bytes, BytesMut};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The start of a message that a read has cut.
#[derive(Default)]
pub(crate) struct Partial(BytesMut);

impl Partial {
    /// Takes what was read, and gives every message that is whole.
    pub(crate) fn take(&mut self, read: &[u8], mut each: impl FnMut(Bytes)) {
        self.0.extend_from_slice(read);
        while let Some(size) = self.0.first_chunk::<4>() {
            let size = u32::from_le_bytes(*size) as usize;
            assert!(size >= 4, "a message contains its size");
            if self.0.remaining() < size {
                return;
            }
            each(self.0.split_to(size).freeze());
        }
    }
}

/// The queues of everyone, for the layers in which a task writes for each connection. A queue whose receiver has gone is dropped
/// with the next message.
#[derive(Clone, Default)]
pub(crate) struct Hub(Rc<RefCell<Vec<UnboundedSender<Bytes>>>>);

impl Hub {
    /// A queue of one's own; for a broadcast also everyone's messages come into it.
    pub(crate) fn queue(&self, is_member: bool) -> (UnboundedSender<Bytes>, UnboundedReceiver<Bytes>) {
        let (sender, receiver) = unbounded_channel();
        if is_member {
            self.0.borrow_mut().push(sender.clone());
        }
        (sender, receiver)
    }

    pub(crate) fn send_all(&self, message: &Bytes) {
        self.0.borrow_mut().retain(|queue| queue.send(message.clone()).is_ok());
    }
}
