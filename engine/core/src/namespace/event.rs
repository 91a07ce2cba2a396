//! Received packets as messages: raw JSON and bounds, without a copy where the bytes lie in the received buffer.

use crate::door::{Data, Message};
use alloc::vec::Vec;
use core::ops::Range;
use ringio_codec::socketio::{Content, Packet};

/// Where the text of a packet is.
#[derive(Debug)]
pub enum Carrier {
    /// In the received buffer, at this range.
    Received(Range<usize>),
    /// In a buffer of its own, from this position to its end.
    Owned(Vec<u8>, usize),
}

impl Carrier {
    /// The text's bytes, given the received buffer.
    #[must_use]
    pub fn bytes<'a>(&'a self, received: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Received(range) => &received[range.clone()],
            Self::Owned(bytes, start) => &bytes[*start..],
        }
    }

    /// The text without its first byte, which must exist.
    #[must_use]
    pub fn without_first(self) -> Self {
        match self {
            Self::Received(range) => Self::Received(range.start + 1..range.end),
            Self::Owned(bytes, start) => Self::Owned(bytes, start + 1),
        }
    }

    /// The text as data of an event.
    #[must_use]
    pub fn into_data(self) -> Data {
        match self {
            Self::Received(range) => Data::Received(bound(range.start)..bound(range.end)),
            Self::Owned(bytes, start) => Data::Owned { bytes, start: bound(start) },
        }
    }
}

fn bound(at: usize) -> u32 {
    u32::try_from(at).expect("a message is at most max_http_buffer_size, which stays below 4 GiB")
}

fn range(of: &Range<usize>) -> Range<u32> {
    bound(of.start)..bound(of.end)
}

/// The bounds of a packet's payload: what is left when the packet's borrow of its text has ended.
#[derive(Clone, Debug)]
pub struct Bounds {
    data: Range<usize>,
    name: Range<usize>,
    name_has_escapes: bool,
    arguments: Range<usize>,
    argument_count: u32,
    id: Option<u64>,
}

impl Bounds {
    /// The bounds in `text`, of which `packet` was decoded. `None` if the packet carries no arguments at all.
    #[must_use]
    pub fn of(text: &str, packet: &Packet<'_>) -> Option<Self> {
        let data = packet.data?;
        let start = data.as_ptr() as usize - text.as_ptr() as usize;
        debug_assert!(start + data.len() <= text.len());
        let (name, name_has_escapes, arguments, argument_count) = match &packet.content {
            Content::Event(skim) => {
                (skim.name.range.clone(), skim.name.has_escapes, skim.arguments.clone(), skim.argument_count)
            }
            Content::Array(skim) => (0..0, false, skim.elements.clone(), skim.element_count),
            Content::None | Content::Object | Content::Text => return None,
        };
        Some(Self { data: start..start + data.len(), name, name_has_escapes, arguments, argument_count, id: packet.id })
    }

    /// The message, given where the text is.
    #[must_use]
    pub fn into_message(self, carrier: Carrier) -> Message {
        let data = match carrier {
            Carrier::Received(at) => Data::Received(bound(at.start + self.data.start)..bound(at.start + self.data.end)),
            Carrier::Owned(mut bytes, at) => {
                bytes.truncate(at + self.data.end);
                Data::Owned { bytes, start: bound(at + self.data.start) }
            }
        };
        Message {
            data,
            name: range(&self.name),
            name_has_escapes: self.name_has_escapes,
            arguments: range(&self.arguments),
            argument_count: self.argument_count,
            id: self.id,
            attachments: Vec::new(),
        }
    }
}
