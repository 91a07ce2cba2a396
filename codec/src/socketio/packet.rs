//! One Socket.IO packet, borrowed from the text it was decoded from.
//!
//! The payload stays raw JSON (`data`), already validated; `content` says what the decoder saw while it validated it,
//! so that nobody has to look a second time.

use super::json::{ArraySkim, EventSkim};
use std::borrow::Cow;

/// The type of a packet: its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketKind {
    /// Asks to join a namespace, or answers that it was joined.
    Connect = 0,
    /// Leaves a namespace.
    Disconnect = 1,
    /// A named message.
    Event = 2,
    /// The answer to an event that carried an id.
    Ack = 3,
    /// A namespace was refused. Only servers send it.
    ConnectError = 4,
    /// An event with attachments.
    BinaryEvent = 5,
    /// An ack with attachments.
    BinaryAck = 6,
}

impl PacketKind {
    /// The kind with this ASCII digit, if there is one.
    pub const fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }

    /// The ASCII digit on the wire.
    pub const fn digit(self) -> u8 {
        b'0' + self as u8
    }

    /// Whether the text carries an attachment count and attachments follow it.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// What the payload of a packet was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// There is no payload.
    None,
    /// An object: of CONNECT and CONNECT_ERROR.
    Object,
    /// A string: of CONNECT_ERROR only.
    Text,
    /// An array that begins with an event name: of EVENT and BINARY_EVENT.
    Event(EventSkim),
    /// An array: of ACK and BINARY_ACK.
    Array(ArraySkim),
}

/// One decoded packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its type. Unlike the JavaScript decoder's, a binary kind stays binary.
    pub kind: PacketKind,
    /// How many attachments follow: 1 to the limit for binary kinds, 0 for all others.
    pub attachment_count: u32,
    /// The namespace with its leading `/`; `/` when the text named none.
    pub namespace: &'a str,
    /// The ack id, at most 2^53 - 1.
    pub id: Option<u64>,
    /// The payload as it came: valid JSON, perhaps with white space around it.
    pub data: Option<&'a str>,
    /// What `data` was found to be; the ranges in it are ranges of `data`.
    pub content: Content,
}

impl<'a> Packet<'a> {
    /// The event's name without quotes, its escapes resolved (a copy only then). `None` if this is not an event with
    /// a payload: the bare text `2` is an event without a name.
    pub fn event_name(&self) -> Option<Cow<'a, str>> {
        match &self.content {
            Content::Event(skim) => Some(skim.name.text(self.data?)),
            _ => None,
        }
    }

    /// The raw JSON of the arguments, separated by commas, without the event name and the brackets; empty if none.
    pub fn arguments(&self) -> &'a str {
        let range = match &self.content {
            Content::Event(skim) => skim.arguments.clone(),
            Content::Array(skim) => skim.elements.clone(),
            _ => return "",
        };
        self.data.map_or("", |data| &data[range])
    }

    /// How many arguments there are, without the event name.
    pub fn argument_count(&self) -> u32 {
        match &self.content {
            Content::Event(skim) => skim.argument_count,
            Content::Array(skim) => skim.element_count,
            _ => 0,
        }
    }
}
