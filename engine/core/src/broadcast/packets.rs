//! Packets to frames, by the default encoding or by the server's parser.
//!
//! ```text
//! Outgoing --+-- no parser --> encode.rs: text and attachments, written in place
//!            +-- parser -----> Messages
//! ```
//! Encoded once per emit or broadcast, whatever the number of receivers.

use super::encode;
use crate::base::frame::Encoded;
use crate::door::{EmitError, EventParts};
use crate::parser::{Messages, Outgoing, Parser};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ringio_codec::socketio::{PacketKind, encode as socketio};

/// The parser of `Options`.
pub type Chosen = Option<Arc<dyn Parser>>;

/// A packet to `namespace`, written into `buffer`, which is empty and may come with memory.
///
/// # Errors
/// [`EmitError::Encode`]: the parser cannot encode it. Never without a parser.
#[inline]
pub fn encode(buffer: Vec<u8>, parser: &Chosen, namespace: &str, packet: &Outgoing<'_>) -> Result<Encoded, EmitError> {
    match (parser, *packet) {
        (None, Outgoing::Event { parts, id, .. }) => Ok(encode::event(buffer, namespace, id, parts)),
        (None, Outgoing::Ack { parts, id }) => Ok(encode::acknowledgement(buffer, namespace, id, parts)),
        (None, _) => Ok(control_packet(namespace, packet)),
        (Some(parser), _) => by_parser(&**parser, namespace, packet),
    }
}

fn by_parser(parser: &dyn Parser, namespace: &str, packet: &Outgoing<'_>) -> Result<Encoded, EmitError> {
    let mut messages = Messages::default();
    parser.encode(namespace, packet, &mut messages).map_err(|error| EmitError::Encode(error.0))?;
    if messages.is_empty() {
        return Err(EmitError::Encode("the parser made no message of the packet"));
    }
    Ok(messages.into_encoded())
}

/// An event that can be recovered: its offset is one more argument, the last.
///
/// # Errors
/// As [`encode()`].
pub fn encode_recoverable(
    buffer: Vec<u8>,
    parser: &Chosen,
    namespace: &str,
    parts: EventParts<'_>,
    offset: u64,
) -> Result<Encoded, EmitError> {
    if parser.is_none() {
        return Ok(encode::recoverable_event(buffer, namespace, parts, offset));
    }
    let mut json = Vec::with_capacity(parts.json.len() + 24);
    json.extend_from_slice(parts.json.strip_suffix(b"]").unwrap_or(parts.json));
    json.extend_from_slice(alloc::format!(",\"{offset}\"]").as_bytes());
    let parts = EventParts { json: &json, attachments: parts.attachments };
    encode(buffer, parser, namespace, &Outgoing::Event { parts, id: None, is_broadcast: true })
}

/// What the protocol itself says: text.
fn control_packet(namespace: &str, packet: &Outgoing<'_>) -> Encoded {
    let mut text = alloc::vec![b'4'];
    match *packet {
        // Revision 4 of Socket.IO has neither: the client knows its id.
        Outgoing::Connect { sid: None, .. } => {
            socketio::encode_header(&mut text, PacketKind::Connect, 0, namespace, None);
        }
        Outgoing::Connect { sid: Some(sid), pid: None } => socketio::connect_ok(&mut text, namespace, sid),
        Outgoing::Connect { sid: Some(sid), pid: Some(pid) } => {
            socketio::encode_header(&mut text, PacketKind::Connect, 0, namespace, None);
            text.extend_from_slice(alloc::format!("{{\"sid\":\"{sid}\",\"pid\":\"{pid}\"}}").as_bytes());
        }
        Outgoing::ConnectError { message, data } => socketio::connect_error(&mut text, namespace, message, data),
        Outgoing::UnknownNamespace { message } => socketio::connect_error(&mut text, namespace, message, None),
        Outgoing::ConnectErrorBare { message, data } => {
            socketio::encode_header(&mut text, PacketKind::ConnectError, 0, namespace, None);
            match data {
                Some(data) => text.extend_from_slice(data.as_bytes()),
                None => socketio::write_json_string(&mut text, message),
            }
        }
        Outgoing::Disconnect => socketio::disconnect(&mut text, namespace),
        Outgoing::Event { .. } | Outgoing::Ack { .. } => {}
    }
    encode::text(&text)
}
