//! The parser of socket.io-msgpack-parser, which the core has built in.

use super::{DecodeError, Decoder, EncodeError, Message, Messages, Packet, PacketKind, Packets, Parser};
use ringio_codec::socketio::PacketKind as CorePacketKind;
use ringio_codec::socketio::msgpack::{PacketHead, encode_json, encode_raw};
use ringio_core::parser::msgpack::Msgpack;
use ringio_core::parser::{self as core_parser, Parser as _};
use std::fmt;
use std::sync::Arc;

/// MessagePack, byte for byte as npm's socket.io-msgpack-parser 3.0.2 writes it: one binary message per packet, binary in its
/// place. The client is `socket.io.msgpack.min.js`, or `io(url, { parser: require("socket.io-msgpack-parser") })`.
///
/// Handlers see what they see with the default parser; binary comes as [`Bytes`](crate::Bytes) and is sent as such. Values of
/// JavaScript that JSON does not know arrive as `JSON.stringify` would make them:
///
/// | from the client | the handler gets | | from the handler | the client gets |
/// |---|---|---|---|---|
/// | `undefined` | `null`; left out of objects | | `()`, `None` | `null` |
/// | `Date` | text, `2026-11-23T16:14:33.005Z` | | a whole number, also as `f64` | a number, in the shortest form |
/// | `Buffer`, `ArrayBuffer`, typed array | `Bytes` | | another number | a number, in 8 bytes |
/// | `NaN`, `Infinity` | `null` | | NaN, infinity | `null` |
/// | another extension | `[type, Bytes]` | | `Bytes` | a `Buffer`, in the browser an `ArrayBuffer` view |
/// | a key that is no text | text: `"1"`, `"true"`, `"null"`; a list or binary closes the connection | | | |
/// | binary in `auth` | a list of numbers, which `Bytes` and `Vec<u8>` read | | | |
///
/// Whole numbers beyond 2^53 stay exact. An event of a reserved name, an id that is no whole number, and nesting beyond 128
/// levels close the connection (Node lets them in), as does everything that is no packet. A packet is bounded by
/// `max_http_buffer_size`; as JSON it may take up to six times that while its handler runs.
///
/// ```
/// use ringio::parser::MsgpackParser;
///
/// let io = ringio::Server::builder().parser(MsgpackParser::new().attachments_max(100)).build()?;
/// # Ok::<(), ringio::Error>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct MsgpackParser(Msgpack);

impl MsgpackParser {
    /// The parser with its defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Most binary values in one packet from a client. Default 1000; Node has no bound.
    #[must_use]
    pub fn attachments_max(mut self, count: u32) -> Self {
        self.0.limits.attachments_max = count;
        self
    }
}

impl fmt::Debug for MsgpackParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MsgpackParser").field(&self.0.limits).finish()
    }
}

/// For parsers around this one; the server itself takes a shorter way.
impl Parser for MsgpackParser {
    type Decoder = MsgpackDecoder;

    fn decoder(&self) -> MsgpackDecoder {
        MsgpackDecoder(self.0)
    }

    fn encode(&self, packet: &Packet<'_>, messages: &mut Messages<'_>) -> Result<(), EncodeError> {
        let kind = match packet.kind {
            PacketKind::Connect => CorePacketKind::Connect,
            PacketKind::Disconnect => CorePacketKind::Disconnect,
            PacketKind::Event => CorePacketKind::Event,
            PacketKind::Ack => CorePacketKind::Ack,
            PacketKind::ConnectError => CorePacketKind::ConnectError,
        };
        let head = PacketHead { kind, namespace: &packet.namespace, id: packet.id, is_broadcast: false };
        let mut out = Vec::new();
        match &packet.payload {
            None => encode_raw(&mut out, &head, None),
            Some(payload) => encode_json(&mut out, &head, payload.json(), payload.attachments())
                .map_err(|_| EncodeError("nested too deeply for msgpack, or not JSON"))?,
        }
        messages.push_binary(&out);
        Ok(())
    }

    fn into_core(self) -> Arc<dyn core_parser::Parser> {
        Arc::new(self.0)
    }
}

/// The decoder of [`MsgpackParser`].
///
/// ```
/// use ringio::parser::{Decoder, MsgpackParser, Parser};
///
/// assert_eq!(MsgpackParser::new().decoder().bytes_held(), 0); // a message is a packet
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MsgpackDecoder(Msgpack);

impl Decoder for MsgpackDecoder {
    fn decode(&mut self, message: Message<'_>, packets: &mut Packets<'_>) -> Result<(), DecodeError> {
        self.0.decoder().decode(message, packets.0)
    }

    fn bytes_held(&self) -> usize {
        0
    }
}
