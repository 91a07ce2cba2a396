//! A parser of one's own: packets in CBOR, large ones in several messages.
//!
//! ```text
//! message   00 bytes    the last part of a packet
//!           01 bytes    a part that others follow
//! packet    {"type":2,"nsp":"/","id":7,"data":["name",..]}     in CBOR, binary in its place
//! ```
//! Between its parts a packet waits in the decoder: [`Decoder::bytes_held`] says how much that is, so that the server bounds it.

use ciborium::Value;
use ringio::parser::{
    DecodeError, Decoder, EncodeError, Message, Messages, Packet, PacketKind, Packets, Parser, Payload,
};
use serde::{Deserialize, Serialize};

/// CBOR, in parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CborParser {
    /// Longest part. Bytes.
    pub part_bytes_max: usize,
}

/// A packet as it is written.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: u8,
    nsp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Payload<'a>>,
}

/// A packet as it is read.
#[derive(Deserialize)]
struct Read {
    #[serde(rename = "type")]
    kind: u8,
    nsp: String,
    id: Option<u64>,
    data: Option<Value>,
}

impl Parser for CborParser {
    type Decoder = CborDecoder;

    fn decoder(&self) -> CborDecoder {
        CborDecoder::default()
    }

    fn encode(&self, packet: &Packet<'_>, messages: &mut Messages<'_>) -> Result<(), EncodeError> {
        let (kind, nsp, id) = (packet.kind.number(), &*packet.namespace, packet.id);
        let mut bytes = Vec::new();
        ciborium::into_writer(&Written { kind, nsp, id, data: packet.payload.as_ref() }, &mut bytes)
            .map_err(|_| EncodeError("not a value of CBOR"))?;
        let mut parts = bytes.chunks(self.part_bytes_max.max(1)).peekable();
        while let Some(part) = parts.next() {
            let has_more = u8::from(parts.peek().is_some());
            messages.push_binary(&[&[has_more], part].concat());
        }
        Ok(())
    }
}

/// The parts of a packet that have come.
#[derive(Debug, Default)]
pub(crate) struct CborDecoder {
    bytes: Vec<u8>,
}

impl Decoder for CborDecoder {
    fn decode(&mut self, message: Message<'_>, packets: &mut Packets<'_>) -> Result<(), DecodeError> {
        let Message::Binary(message) = message else { return Err(DecodeError("a text message")) };
        let (has_more, part) = match message {
            [flag @ (0 | 1), part @ ..] => (*flag == 1, part),
            _ => return Err(DecodeError("a message is 0 or 1 and a part of a packet")),
        };
        self.bytes.extend_from_slice(part);
        if has_more {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = &bytes[..];
        let packet: Read = ciborium::from_reader(&mut rest).map_err(|_| DecodeError("no packet in CBOR"))?;
        if !rest.is_empty() {
            return Err(DecodeError("bytes behind the packet"));
        }
        let kind = PacketKind::from_number(packet.kind).ok_or(DecodeError("unknown packet type"))?;
        // Whatever CBOR knows and JSON does not becomes what serde_json makes of it; maps by other things than text are refused.
        let payload = packet.data.map(|data| Payload::from_value(&data)).transpose();
        let payload = payload.map_err(|_| DecodeError("a payload that cannot be JSON"))?;
        packets.push(Packet { kind, namespace: packet.nsp.into(), id: packet.id, payload });
        Ok(())
    }

    fn bytes_held(&self) -> usize {
        self.bytes.capacity()
    }
}
