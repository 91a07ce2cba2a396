//! The msgpack parser: the bytes of socket.io-msgpack-parser 3.0.2, read and written by the codec.
//!
//! One binary message per packet, nothing kept between messages. What becomes of values that JSON does not know is said
//! in the codec's `msgpack/to_json`. Binary in the auth of a CONNECT, which is JSON alone, becomes a list of numbers, which `Bytes`
//! and `Vec<u8>` read as well.

use super::{DecodeError, Decoder, EncodeError, Incoming, Message, Messages, Outgoing, Parser};
use crate::door::EventParts;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt::Write;
use ringio_codec::socketio::attachment;
use ringio_codec::socketio::msgpack::{self, MsgpackError, MsgpackLimits, PacketHead, to_json};
use ringio_codec::socketio::{PacketKind, encode as default_encoding};

/// The parser.
#[derive(Clone, Copy, Debug, Default)]
pub struct Msgpack {
    /// What it takes from a client.
    pub limits: MsgpackLimits,
}

impl Parser for Msgpack {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(MsgpackDecoder(self.limits))
    }

    fn encode(&self, namespace: &str, packet: &Outgoing<'_>, messages: &mut Messages) -> Result<(), EncodeError> {
        let mut out = Vec::new();
        match *packet {
            Outgoing::Connect { sid: Some(sid), pid } => msgpack::connect_ok(&mut out, namespace, sid, pid),
            Outgoing::Connect { sid: None, .. } => {
                let head = PacketHead { kind: PacketKind::Connect, namespace, id: None, is_broadcast: false };
                msgpack::encode_raw(&mut out, &head, None);
            }
            Outgoing::UnknownNamespace { message } => msgpack::unknown_namespace(&mut out, namespace, message),
            Outgoing::ConnectErrorBare { message, data } => {
                let mut json = Vec::new();
                match data {
                    Some(data) => json.extend_from_slice(data.as_bytes()),
                    None => default_encoding::write_json_string(&mut json, message),
                }
                encode(
                    &mut out,
                    PacketKind::ConnectError,
                    namespace,
                    None,
                    EventParts { json: &json, attachments: &[] },
                )?;
            }
            Outgoing::ConnectError { message, data } => {
                msgpack::connect_error(&mut out, namespace, message, data).map_err(|_| UNENCODABLE)?;
            }
            Outgoing::Disconnect => msgpack::disconnect(&mut out, namespace),
            Outgoing::Event { parts, id, is_broadcast } => {
                out.reserve(parts.json.len() + namespace.len() + attachments_len(parts) + HEAD_BYTES);
                let head = PacketHead { kind: PacketKind::Event, namespace, id, is_broadcast };
                encode_parts(&mut out, &head, parts)?;
            }
            Outgoing::Ack { parts, id } => encode(&mut out, PacketKind::Ack, namespace, Some(id), parts)?,
        }
        messages.push_binary(&out);
        Ok(())
    }
}

/// About what the keys and heads of a packet take.
const HEAD_BYTES: usize = 48;

const UNENCODABLE: EncodeError = EncodeError("nested too deeply for msgpack, or not JSON");

fn attachments_len(parts: EventParts<'_>) -> usize {
    parts.attachments.iter().map(|bytes| bytes.len() + 5).sum()
}

fn encode(
    out: &mut Vec<u8>,
    kind: PacketKind,
    namespace: &str,
    id: Option<u64>,
    parts: EventParts<'_>,
) -> Result<(), EncodeError> {
    encode_parts(out, &PacketHead { kind, namespace, id, is_broadcast: false }, parts)
}

fn encode_parts(out: &mut Vec<u8>, head: &PacketHead<'_>, parts: EventParts<'_>) -> Result<(), EncodeError> {
    let json = core::str::from_utf8(parts.json).map_err(|_| UNENCODABLE)?;
    msgpack::encode_json(out, head, json, parts.attachments).map_err(|_| UNENCODABLE)
}

/// Its limits are all that it is made of.
#[derive(Debug)]
struct MsgpackDecoder(MsgpackLimits);

impl Decoder for MsgpackDecoder {
    fn decode(&mut self, message: Message<'_>, packets: &mut Vec<Incoming>) -> Result<(), DecodeError> {
        let Message::Binary(message) = message else { return Err(DecodeError("text where msgpack should come")) };
        let packet = msgpack::decode(message, &self.0).map_err(error)?;
        let (mut json, mut attachments) = (None, Vec::new());
        if let Some(data) = packet.data {
            let mut ranges = Vec::with_capacity(packet.attachment_count as usize);
            let mut text = Vec::with_capacity(data.len() + data.len() / 2);
            to_json(data, &mut text, &mut ranges).map_err(error)?;
            // Copied out, so that a handler that keeps a small one does not keep the whole message.
            attachments.extend(ranges.into_iter().map(|range| Bytes::copy_from_slice(&data[range])));
            json = Some(String::from_utf8(text).expect("the codec writes JSON in UTF-8"));
        }
        if !matches!(packet.kind, PacketKind::Event | PacketKind::Ack) {
            json = json.map(|json| with_numbers(json, &core::mem::take(&mut attachments)));
        }
        let (kind, namespace, id) = (packet.kind, String::from(packet.namespace), packet.id);
        packets.push(Incoming { kind, namespace, id, json, attachments });
        Ok(())
    }

    fn bytes_held(&self) -> usize {
        0
    }
}

const fn error(error: MsgpackError) -> DecodeError {
    DecodeError(error.as_str())
}

/// The JSON with lists of numbers where its placeholders stood.
fn with_numbers(json: String, attachments: &[Bytes]) -> String {
    let count = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
    let Ok(placeholders) = attachment::find_known(&json, count) else { return json };
    if placeholders.is_empty() {
        return json;
    }
    let mut text = String::with_capacity(json.len());
    let mut end = 0;
    for placeholder in placeholders {
        text.push_str(&json[end..placeholder.range.start]);
        // The list is written as Rust does: `[1, 2]` is JSON.
        let written = write!(text, "{:?}", &*attachments[placeholder.num as usize]);
        debug_assert!(written.is_ok(), "a String takes all text");
        end = placeholder.range.end;
    }
    text.push_str(&json[end..]);
    text
}
