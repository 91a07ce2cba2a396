//! A binary event in pieces: the packet first, then its attachments, in order and without anything between.
//!
//! With another parser than the default one, its decoder knows what is unfinished.
//!
//! Source: socket.io-parser 4.2.7, `BinaryReconstructor`. The number of attachments is bounded by the decoder, their bytes by
//! the size of a message each.

use crate::base::id::{SocketKey, TimerKey};
use crate::door::{Data, Message};
use crate::parser::Decoder;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;

/// What of a packet has come.
#[derive(Debug)]
pub enum Unfinished {
    /// It, and some of its attachments.
    Attachments(Assembly),
    /// Some of the attachments of a packet that nobody will hear.
    Unwanted(Unwanted),
    /// What this decoder holds.
    Decoder(Box<dyn Decoder>),
}

impl Unfinished {
    /// Bytes that are kept of it.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        match self {
            Self::Attachments(Assembly { message, .. }) => {
                let packet = if let Data::Owned { bytes, .. } = &message.data { bytes.capacity() } else { 0 };
                packet + message.attachments.iter().map(Bytes::len).sum::<usize>()
            }
            Self::Unwanted(_) => 0,
            Self::Decoder(decoder) => decoder.bytes_held(),
        }
    }

    /// When the rest is not waited for any longer.
    #[must_use]
    pub const fn timer(&self) -> Option<TimerKey> {
        match self {
            Self::Attachments(Assembly { timer, .. }) | Self::Unwanted(Unwanted { timer, .. }) => Some(*timer),
            Self::Decoder(_) => None,
        }
    }
}

/// A packet for a namespace that its client is not in. As in Node, the session ends when its attachments are here; who has not been let in cannot make
/// the server hold them, so they are only counted.
#[derive(Debug)]
pub struct Unwanted {
    /// How many attachments are still to come.
    pub left: u32,
    /// Whether its placeholders name those that were announced.
    pub is_legal: bool,
    /// When the rest is not waited for any longer.
    pub timer: TimerKey,
}

/// A packet whose attachments are arriving.
#[derive(Debug)]
pub struct Assembly {
    /// Whose it is, as found when the packet came.
    pub socket: SocketKey,
    /// Whether it is an acknowledgement.
    pub is_ack: bool,
    /// The packet.
    pub message: Message,
    /// How many attachments it announced.
    pub attachment_count: u32,
    /// When the rest is not waited for any longer.
    pub timer: TimerKey,
}

impl Assembly {
    /// Takes the next attachment; true when it was the last.
    pub fn push(&mut self, attachment: Vec<u8>) -> bool {
        self.message.attachments.push(Bytes::from(attachment));
        self.message.attachments.len() >= self.attachment_count as usize
    }
}
