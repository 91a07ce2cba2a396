//! Other encodings of packets than the default one: msgpack, and one's own.
//!
//! Client and server must use the same parser: Node's `parser` option, on both sides. Without one the default encoding is
//! used, JSON and attachments; choosing it costs nothing, because then nothing of this module is called.
//!
//! ```
//! use ringio::Server;
//! use ringio::parser::MsgpackParser;
//!
//! # fn main() -> ringio::Result<()> {
//! // new Server({ parser: require("socket.io-msgpack-parser") })
//! let io = Server::builder().parser(MsgpackParser::new()).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # A parser of one's own
//!
//! [`Parser::encode`] puts a [`Packet`] into one or more messages, which are sent one behind the other with nothing
//! between them. A [`Decoder`], one per client, gets each message of that client and pushes the packets that it completes.
//! Handlers see no difference: a [`Payload`] is JSON and attachments on its way from and to them, and it is
//! `Serialize`, with attachments as bytes, so that any format of serde can write it; [`Payload::from_value`] makes one of any
//! `Serialize`. `examples/cbor_parser.rs` speaks CBOR that way, large packets in several messages.
//!
//! Here a packet is one text message, a list in JSON; binary is not supported, so it is refused:
//!
//! ```
//! use ringio::parser::{DecodeError, Decoder, EncodeError, Message, Messages, Packet, PacketKind, Packets, Parser, Payload};
//! use serde_json::value::RawValue;
//!
//! struct Lists;
//!
//! impl Parser for Lists {
//!     type Decoder = Self;
//!
//!     fn decoder(&self) -> Self {
//!         Self
//!     }
//!
//!     fn encode(&self, packet: &Packet<'_>, messages: &mut Messages<'_>) -> Result<(), EncodeError> {
//!         let payload = packet.payload.as_ref();
//!         if payload.is_some_and(|payload| !payload.attachments().is_empty()) {
//!             return Err(EncodeError("binary is not supported"));
//!         }
//!         let list = (packet.kind.number(), &packet.namespace, packet.id, payload);
//!         messages.push_text(&serde_json::to_string(&list).map_err(|_| EncodeError("not JSON"))?);
//!         Ok(())
//!     }
//! }
//!
//! impl Decoder for Lists {
//!     fn decode(&mut self, message: Message<'_>, packets: &mut Packets<'_>) -> Result<(), DecodeError> {
//!         let Message::Text(text) = message else { return Err(DecodeError("text expected")) };
//!         let (kind, namespace, id, payload): (u8, String, Option<u64>, Option<Box<RawValue>>) =
//!             serde_json::from_str(text).map_err(|_| DecodeError("not a packet"))?;
//!         let kind = PacketKind::from_number(kind).ok_or(DecodeError("unknown packet type"))?;
//!         let payload = payload.as_deref().map(|json| Payload::from_json(json.get(), &[]));
//!         packets.push(Packet { kind, namespace: namespace.into(), id, payload });
//!         Ok(())
//!     }
//!
//!     // Nothing is kept between messages.
//!     fn bytes_held(&self) -> usize {
//!         0
//!     }
//! }
//!
//! # fn main() -> ringio::Result<()> {
//! let io = ringio::Server::builder().parser(Lists).build()?;
//! # Ok(())
//! # }
//! ```

mod adapter;
mod msgpack;
mod payload;

pub use msgpack::{MsgpackDecoder, MsgpackParser};
pub use payload::Payload;
pub use ringio_core::parser::{DecodeError, EncodeError, Message};

use ringio_core::parser::{self as core_parser, Incoming};
use std::borrow::Cow;
use std::sync::Arc;

/// How packets are put into messages, and found in them: Node's `Encoder` and `Decoder`. One for all shards of a server.
///
/// It is called by the shards while they work: it should be quick, and must not call the server, which would end as a panic.
/// A panic counts as an error of the packet or message at hand.
pub trait Parser: Send + Sync + 'static {
    /// Finds packets in the messages of one client.
    type Decoder: Decoder;

    /// A decoder for a client that has said nothing so far.
    fn decoder(&self) -> Self::Decoder;

    /// Pushes the messages for one packet: at least one. Called once per broadcast, whatever the number of receivers.
    ///
    /// # Errors
    /// The packet cannot be encoded. Whoever emitted it gets [`EmitError::Encode`](crate::EmitError::Encode). A client that cannot be
    /// told that it is connected, refused or disconnected is closed.
    fn encode(&self, packet: &Packet<'_>, messages: &mut Messages<'_>) -> Result<(), EncodeError>;

    #[doc(hidden)]
    fn into_core(self) -> Arc<dyn core_parser::Parser>
    where
        Self: Sized,
    {
        Arc::new(adapter::Adapter(self))
    }
}

/// Finds packets in the messages of one client.
pub trait Decoder: 'static {
    /// Takes the client's next message, at most `max_http_buffer_size` long, and pushes the packets that it completes.
    ///
    /// What is pushed is checked as in the default encoding: a payload that is no JSON or does not fit the packet, an event without a
    /// name or with a reserved one, an id above 2^53 - 1 close the connection. Listeners of
    /// [`Socket::on_any_outgoing`](crate::Socket::on_any_outgoing) are told what a decoder makes of the messages of [`Parser::encode`].
    ///
    /// # Errors
    /// The message breaks the rules: the client's connection is closed as with the default parser. Packets pushed before are delivered.
    fn decode(&mut self, message: Message<'_>, packets: &mut Packets<'_>) -> Result<(), DecodeError>;

    /// Bytes of unfinished packets. More than a packet of the default encoding may have, `max_http_buffer_size` times one and
    /// `attachments_max`, close the connection. 0 means that nothing at all is remembered: the decoder may be dropped, and
    /// a fresh one takes the next message, so that idle clients cost nothing.
    fn bytes_held(&self) -> usize;
}

/// The type of a packet.
///
/// ```
/// # use ringio::parser::PacketKind;
/// assert_eq!(PacketKind::Event.number(), 2);
/// assert_eq!(PacketKind::from_number(2), Some(PacketKind::Event));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketKind {
    /// Asks to join a namespace (payload: an object, or none), or answers that it was joined.
    Connect = 0,
    /// Leaves a namespace; no payload.
    Disconnect = 1,
    /// An event; its payload is a list that begins with its name.
    Event = 2,
    /// The answer to an event with an id; its payload is a list.
    Ack = 3,
    /// A namespace was refused: an object with `message` and perhaps `data`. Only servers send it.
    ConnectError = 4,
}

impl PacketKind {
    /// The number that Socket.IO gives it, 0 to 4.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Connect,
            1 => Self::Disconnect,
            2 => Self::Event,
            3 => Self::Ack,
            4 => Self::ConnectError,
            _ => return None,
        })
    }
}

/// A packet of Socket.IO.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet<'a> {
    /// Its type.
    pub kind: PacketKind,
    /// The namespace, with its leading slash.
    pub namespace: Cow<'a, str>,
    /// The id of an event that wants an acknowledgement, or of the acknowledgement. At most 2^53 - 1.
    pub id: Option<u64>,
    /// What it carries.
    pub payload: Option<Payload<'a>>,
}

/// Where [`Parser::encode`] puts messages. All of one packet are sent one behind the other.
#[derive(Debug)]
pub struct Messages<'a>(&'a mut core_parser::Messages);

impl Messages<'_> {
    /// A text message.
    pub fn push_text(&mut self, text: &str) {
        self.0.push_text(text);
    }

    /// A binary message; base64 where the transport is polling.
    ///
    /// ```
    /// # use ringio::parser::{EncodeError, Messages, Packet};
    /// fn encode(packet: &Packet<'_>, messages: &mut Messages<'_>) -> Result<(), EncodeError> {
    ///     messages.push_binary(&[packet.kind.number()]);
    ///     Ok(())
    /// }
    /// ```
    pub fn push_binary(&mut self, bytes: &[u8]) {
        self.0.push_binary(bytes);
    }
}

/// Where [`Decoder::decode`] puts packets.
#[derive(Debug)]
pub struct Packets<'a>(&'a mut Vec<Incoming>);

impl Packets<'_> {
    /// The next packet, in the order in which the client sent them.
    pub fn push(&mut self, packet: Packet<'_>) {
        self.0.push(adapter::incoming(packet));
    }
}
