//! Packets of the msgpack parser: the other encoding that a server and its clients can agree on.
//!
//! ```text
//! 83 a4 type 02 a4 data 93 a1 e 01 c4 02 01 02 a3 nsp a1 /       ["e", 1, <binary>] to /
//!                          name arguments--------
//! ```
//!
//! One binary message per packet: a map of `type` (0 to 4), `nsp`, `data` and `id`, in any order; other keys are passed
//! over (the JavaScript client adds `options` to every event). Binary lies where it belongs, so there are no
//! attachments and no types 5 and 6. [`decode`] looks through the bytes and leaves the arguments raw; [`to_json`]
//! and [`from_json`] translate between them and what the rest of the engine works with, JSON and attachments.
//!
//! What is accepted is what socket.io-msgpack-parser 3.0.2 (with notepack.io 2.2.0) accepts, but for what the default
//! parser refuses too: events whose name is missing or reserved, ids that are no whole numbers from 0 to 2^53 - 1, and
//! nesting beyond [`DEPTH_MAX`](super::json::DEPTH_MAX). A namespace that is not UTF-8 and a map key that is neither text,
//! number, `true`, `false` nor nil are refused as well.
//! Source: MessagePack specification; the two packages, whose bytes ours were compared with in Node 20.

mod encode;
mod from_json;
mod reader;
mod to_json;

pub use encode::{PacketHead, connect_error, connect_ok, disconnect, encode_json, encode_raw, unknown_namespace};
pub use from_json::from_json;
pub use to_json::to_json;

use super::decode::{ID_MAX, is_reserved_event};
use super::encode::encode_header;
use super::packet::PacketKind;
use core::fmt;
use core::ops::Range;
use reader::{Head, Reader};
use std::borrow::Cow;

/// The bounds of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsgpackLimits {
    /// Binary values in the data of one packet: each becomes an attachment. Default 1000; the official parser has no
    /// bound, and the default parser's 10 would refuse what it accepts.
    pub attachments_max: u32,
}

impl Default for MsgpackLimits {
    fn default() -> Self {
        Self { attachments_max: 1000 }
    }
}

/// Why a message is not a packet. All of them end the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsgpackError {
    /// Not one MessagePack value, or a map with a key that JSON cannot have.
    Malformed,
    /// Nested deeper than [`DEPTH_MAX`](super::json::DEPTH_MAX).
    PayloadTooDeep,
    /// Not a map, or its `type` is not one of 0 to 4.
    UnknownPacketType,
    /// `nsp` is missing or not text.
    InvalidNamespace,
    /// `data` is not what this type carries, or names a reserved event.
    InvalidPayload,
    /// `id` is not a whole number from 0 to 2^53 - 1.
    InvalidId,
    /// More binary values than the limit allows.
    TooManyAttachments,
}

impl MsgpackError {
    /// What is wrong, in words: the text of `Display`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed msgpack",
            Self::PayloadTooDeep => "payload nested too deeply",
            Self::UnknownPacketType => "invalid packet type",
            Self::InvalidNamespace => "invalid namespace",
            Self::InvalidPayload => "invalid payload",
            Self::InvalidId => "invalid packet id",
            Self::TooManyAttachments => "too many attachments",
        }
    }
}

impl fmt::Display for MsgpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for MsgpackError {}

/// What the data of a packet was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MsgpackContent {
    /// There is none.
    None,
    /// A map: of CONNECT and CONNECT_ERROR.
    Object,
    /// Text: of CONNECT_ERROR only.
    Text,
    /// An array that begins with an event name: of EVENT. Ranges of the data.
    Event {
        /// The name: the whole value, its head included.
        name: Range<usize>,
        /// The values after it, one behind the other; empty if none.
        arguments: Range<usize>,
        /// How many these are.
        argument_count: u32,
    },
    /// An array: of ACK.
    Array {
        /// Its values, one behind the other; a range of the data, empty if none.
        elements: Range<usize>,
        /// How many these are.
        element_count: u32,
    },
}

/// One decoded packet, borrowed from its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsgpackPacket<'a> {
    /// Its type, never a binary one.
    pub kind: PacketKind,
    /// The namespace as sent: unlike in the default encoding it may be any text, also one without a leading `/`.
    pub namespace: &'a str,
    /// The ack id, at most 2^53 - 1.
    pub id: Option<u64>,
    /// The data as it came: one valid value. `None` if there is none, `undefined` included.
    pub data: Option<&'a [u8]>,
    /// How many binary values the data has.
    pub attachment_count: u32,
    /// What the data was found to be.
    pub content: MsgpackContent,
}

impl<'a> MsgpackPacket<'a> {
    /// The event's name; a number as JavaScript spells it, bytes that are not UTF-8 as U+FFFD. `None` if this is no
    /// event.
    pub fn event_name(&self) -> Option<Cow<'a, str>> {
        let MsgpackContent::Event { name, .. } = &self.content else { return None };
        let value = &self.data?[name.clone()];
        match Reader::new(value).head() {
            Ok(Head::Text(range)) => Some(String::from_utf8_lossy(&value[range])),
            _ => {
                let mut text = Vec::new();
                to_json(value, &mut text, &mut Vec::new()).ok()?;
                String::from_utf8(text).ok().map(Cow::Owned)
            }
        }
    }

    /// The raw values of the arguments, one behind the other, without the event name; empty if none.
    pub fn arguments(&self) -> &'a [u8] {
        let range = match &self.content {
            MsgpackContent::Event { arguments, .. } => arguments.clone(),
            MsgpackContent::Array { elements, .. } => elements.clone(),
            _ => return &[],
        };
        self.data.map_or(&[], |data| &data[range])
    }

    /// How many arguments there are, without the event name.
    pub fn argument_count(&self) -> u32 {
        match self.content {
            MsgpackContent::Event { argument_count, .. } => argument_count,
            MsgpackContent::Array { element_count, .. } => element_count,
            _ => 0,
        }
    }

    /// Appends the same packet in the default encoding, for [`decode`](super::decode::decode), and the ranges of its
    /// attachments in [`MsgpackPacket::data`]. With attachments the kind becomes a binary one.
    ///
    /// Errors: the namespace is one that the default encoding cannot say (without a `/` in front, or with a comma), or
    /// the data of another kind than EVENT and ACK has binary values. Nothing is appended then.
    pub fn write_text(&self, out: &mut Vec<u8>, attachments: &mut Vec<Range<usize>>) -> Result<(), MsgpackError> {
        if !self.namespace.starts_with('/') || self.namespace.contains(',') {
            return Err(MsgpackError::InvalidNamespace);
        }
        let kind = match (self.kind, self.attachment_count) {
            (kind, 0) => kind,
            (PacketKind::Event, _) => PacketKind::BinaryEvent,
            (PacketKind::Ack, _) => PacketKind::BinaryAck,
            _ => return Err(MsgpackError::InvalidPayload),
        };
        let (start, attachments_start) = (out.len(), attachments.len());
        encode_header(out, kind, self.attachment_count, self.namespace, self.id);
        let Some(data) = self.data else { return Ok(()) };
        let result = to_json(data, out, attachments);
        if result.is_err() {
            out.truncate(start);
            attachments.truncate(attachments_start);
        }
        result
    }
}

/// Decodes one packet out of one binary message.
///
/// Cost: one pass; nothing is allocated.
pub fn decode<'a>(message: &'a [u8], limits: &MsgpackLimits) -> Result<MsgpackPacket<'a>, MsgpackError> {
    let mut reader = Reader::new(message);
    let Head::Map(pair_count) = reader.head()? else { return Err(MsgpackError::UnknownPacketType) };
    let (mut kind, mut id) = (None, Head::Undefined);
    let mut namespace: Option<&[u8]> = None;
    let mut data = 0..0;
    let mut attachment_count = 0;
    // A key given twice counts the last time.
    for _ in 0..pair_count {
        let key = reader.key()?;
        let start = reader.at;
        match key {
            Head::Text(range) => match &message[range] {
                b"type" => kind = reader.scalar(1)?.whole_number(),
                b"id" => id = reader.scalar(1)?,
                b"nsp" => {
                    namespace = match reader.scalar(1)? {
                        Head::Text(range) => Some(&message[range]),
                        _ => None,
                    };
                }
                b"data" => {
                    attachment_count = reader.value(1)?;
                    data = start..reader.at;
                }
                _ => {
                    reader.value(1)?;
                }
            },
            _ => {
                reader.value(1)?;
            }
        }
    }
    if reader.at < message.len() {
        return Err(MsgpackError::Malformed);
    }
    let kind = match kind {
        Some(0) => PacketKind::Connect,
        Some(1) => PacketKind::Disconnect,
        Some(2) => PacketKind::Event,
        Some(3) => PacketKind::Ack,
        Some(4) => PacketKind::ConnectError,
        _ => return Err(MsgpackError::UnknownPacketType),
    };
    let namespace =
        namespace.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(MsgpackError::InvalidNamespace)?;
    let id = match id {
        Head::Undefined => None,
        number => {
            let number = number.whole_number().and_then(|number| u64::try_from(number).ok());
            Some(number.filter(|&number| number <= ID_MAX).ok_or(MsgpackError::InvalidId)?)
        }
    };
    let data = &message[data];
    let content = decode_content(kind, data)?;
    if attachment_count > limits.attachments_max {
        return Err(MsgpackError::TooManyAttachments);
    }
    let data = (content != MsgpackContent::None).then_some(data);
    Ok(MsgpackPacket { kind, namespace, id, data, attachment_count, content })
}

/// `data` is one valid value, or nothing.
fn decode_content(kind: PacketKind, data: &[u8]) -> Result<MsgpackContent, MsgpackError> {
    let mut reader = Reader::new(data);
    let head = if data.is_empty() { Head::Undefined } else { reader.head()? };
    let first = reader.at;
    match (kind, head) {
        (PacketKind::Connect | PacketKind::Disconnect, Head::Undefined) => Ok(MsgpackContent::None),
        (PacketKind::Connect | PacketKind::ConnectError, Head::Map(_)) => Ok(MsgpackContent::Object),
        (PacketKind::ConnectError, Head::Text(_)) => Ok(MsgpackContent::Text),
        (PacketKind::Ack, Head::Array(element_count)) => {
            Ok(MsgpackContent::Array { elements: first..data.len(), element_count })
        }
        (PacketKind::Event, Head::Array(element_count @ 1..)) => {
            match reader.head()? {
                Head::Text(range) if !is_reserved_event(&String::from_utf8_lossy(&data[range.clone()])) => {}
                Head::Integer(_) | Head::Float(_) => {}
                _ => return Err(MsgpackError::InvalidPayload),
            }
            let name = first..reader.at;
            let arguments = reader.at..data.len();
            Ok(MsgpackContent::Event { name, arguments, argument_count: element_count - 1 })
        }
        _ => Err(MsgpackError::InvalidPayload),
    }
}

#[cfg(test)]
mod tests;
