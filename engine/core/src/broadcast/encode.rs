//! Events, acknowledgements and control packets to frames; the only place where
//! outgoing bytes are made, but for those of another parser (`packets`).
//!
//! ```text
//!   [ws header|'4' '2' /nsp, id [json]]                          without attachments
//!   [ws header|'4' '5' n- /nsp, id [json]][ws header|attachment]..   with them: one frame, never interleaved
//! ```
//! Cost: one copy of the JSON, whatever the number of receivers, into the buffer that is handed in.

use crate::base::frame::{Compression, Encoded, Frame, PacketBounds};
use crate::base::frame_pool::POOL_BUFFER_BYTES_MIN;
use crate::door::EventParts;
use alloc::vec::Vec;
use ringio_codec::socketio::PacketKind;
use ringio_codec::socketio::encode as socketio;
use ringio_codec::websocket::{self as websocket, Opcode};

/// An event, with the id under which it is to be acknowledged.
#[must_use]
pub fn event(buffer: Vec<u8>, namespace: &str, id: Option<u64>, parts: EventParts<'_>) -> Encoded {
    packet(buffer, PacketKind::Event, PacketKind::BinaryEvent, namespace, id, parts, None)
}

/// An event that can be recovered: its offset is one more argument, the last.
#[must_use]
pub fn recoverable_event(buffer: Vec<u8>, namespace: &str, parts: EventParts<'_>, offset: u64) -> Encoded {
    let suffix = alloc::format!(",\"{offset}\"]");
    packet(buffer, PacketKind::Event, PacketKind::BinaryEvent, namespace, None, parts, Some(&suffix))
}

/// The acknowledgement of the client's event `id`.
#[must_use]
pub fn acknowledgement(buffer: Vec<u8>, namespace: &str, id: u64, parts: EventParts<'_>) -> Encoded {
    packet(buffer, PacketKind::Ack, PacketKind::BinaryAck, namespace, Some(id), parts, None)
}

#[inline(always)]
fn packet(
    buffer: Vec<u8>,
    plain: PacketKind,
    binary: PacketKind,
    namespace: &str,
    id: Option<u64>,
    parts: EventParts<'_>,
    suffix: Option<&str>,
) -> Encoded {
    // A suffix takes the place of the closing bracket.
    let json = if suffix.is_some() { parts.json.strip_suffix(b"]").unwrap_or(parts.json) } else { parts.json };
    let suffix = suffix.unwrap_or_default().as_bytes();
    let count = u32::try_from(parts.attachments.len()).unwrap_or(u32::MAX);
    let kind = if count == 0 { plain } else { binary };
    let text_len = 1 + socketio::header_len(kind, count, namespace, id) + json.len() + suffix.len();
    let attachments_len: usize =
        parts.attachments.iter().map(|bytes| websocket::header_len(bytes.len() as u64) + bytes.len()).sum();
    let mut encoded = Encoded { bytes: buffer, ..Encoded::default() };
    let len = websocket::header_len(text_len as u64) + text_len + attachments_len;
    encoded.bytes.reserve_exact(len.max(POOL_BUFFER_BYTES_MIN));
    websocket::encode_header(&mut encoded.bytes, Opcode::Text, text_len as u64);
    let start = encoded.bytes.len();
    encoded.bytes.push(b'4');
    socketio::encode_header(&mut encoded.bytes, kind, count, namespace, id);
    encoded.bytes.extend_from_slice(json);
    encoded.bytes.extend_from_slice(suffix);
    debug_assert_eq!(encoded.bytes.len(), start + text_len, "the header's length was foretold");
    push_bounds(&mut encoded, start, false);
    for attachment in parts.attachments {
        websocket::encode_header(&mut encoded.bytes, Opcode::Binary, attachment.len() as u64);
        let start = encoded.bytes.len();
        encoded.bytes.extend_from_slice(attachment);
        push_bounds(&mut encoded, start, true);
    }
    encoded
}

/// One engine message of the application's own (Engine.IO without Socket.IO); a plain one is of WebSocket alone.
#[must_use]
pub fn engine_message(data: &[u8], is_binary: bool, is_plain: bool) -> Encoded {
    let mut encoded = Encoded::default();
    let has_digit = !is_binary && !is_plain;
    let len = data.len() + usize::from(has_digit);
    websocket::encode_header(&mut encoded.bytes, if is_binary { Opcode::Binary } else { Opcode::Text }, len as u64);
    let start = encoded.bytes.len();
    if has_digit {
        encoded.bytes.push(b'4');
    }
    encoded.bytes.extend_from_slice(data);
    push_bounds(&mut encoded, start, is_binary);
    encoded
}

/// A text packet as it is, for one session: `3probe`, `40{"sid":..}`.
#[must_use]
pub fn text_frame(text: &[u8]) -> Frame {
    Frame::new(text_for(Compression::Own, text))
}

/// The same, not yet a frame.
#[must_use]
pub fn text(text: &[u8]) -> Encoded {
    text_for(Compression::Own, text)
}

/// A text packet as it is, for many sessions: `2`.
#[must_use]
pub fn shared_text_frame(text: &[u8]) -> Frame {
    Frame::new(text_for(Compression::Shared, text))
}

fn text_for(compression: Compression, text: &[u8]) -> Encoded {
    let mut encoded = Encoded { compression, ..Encoded::default() };
    encoded.bytes.reserve_exact(websocket::header_len(text.len() as u64) + text.len());
    websocket::encode_header(&mut encoded.bytes, Opcode::Text, text.len() as u64);
    let start = encoded.bytes.len();
    encoded.bytes.extend_from_slice(text);
    push_bounds(&mut encoded, start, false);
    encoded
}

/// A WebSocket control frame.
#[must_use]
pub fn control_frame(opcode: Opcode, payload: &[u8]) -> Frame {
    let mut bytes = Vec::with_capacity(websocket::header_len(payload.len() as u64) + payload.len());
    websocket::encode_header(&mut bytes, opcode, payload.len() as u64);
    bytes.extend_from_slice(payload);
    Frame::raw(bytes)
}

fn push_bounds(encoded: &mut Encoded, start: usize, is_binary: bool) {
    let bound =
        |at: usize| u32::try_from(at).expect("a frame stays below 4 GiB: emits are bounded by memory long before");
    let bounds = PacketBounds { start: bound(start), end: bound(encoded.bytes.len()), is_binary };
    encoded.packets.push(bounds);
}
