//! The parser: which bytes stand for a packet of Socket.IO.
//!
//! ```text
//! engine messages --Decoder (one per client)--> Incoming --> checked as every packet --> namespace
//! namespace --> Outgoing --Parser--> Messages, encoded once --> frame --> outboxes
//! ```
//! Without one (`Options::parser` is `None`) the default encoding is read and written where it lies, in `shard/inbound` and
//! `broadcast/encode`, and nothing here is called. A parser translates between its own bytes and what the engine works
//! with: JSON, and attachments that placeholders refer to. What it hands up is not trusted: JSON, names, ids and namespaces
//! are checked like those of the default encoding.
//! Source: the `parser` option of socket.io 4 (`Encoder`, `Decoder`).

mod messages;
pub mod msgpack;

pub use messages::Messages;

use crate::door::EventParts;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt::{self, Debug};
pub use ringio_codec::socketio::PacketKind;

/// How packets are put into messages of Engine.IO, and found in them. One for all shards of a server.
pub trait Parser: Debug + Send + Sync {
    /// A decoder for one client that has said nothing so far.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// Appends the messages for one packet: at least one.
    ///
    /// # Errors
    /// The packet cannot be encoded; it is not sent then.
    fn encode(&self, namespace: &str, packet: &Outgoing<'_>, messages: &mut Messages) -> Result<(), EncodeError>;
}

/// What has come of one client's messages so far.
pub trait Decoder {
    /// Takes the client's next message and appends the packets that it completes.
    ///
    /// # Errors
    /// The client broke the rules: its connection is closed. Packets that were appended before are delivered.
    fn decode(&mut self, message: Message<'_>, packets: &mut Vec<Incoming>) -> Result<(), DecodeError>;

    /// Bytes of unfinished packets. With 0 it remembers nothing and may be dropped: the next message finds a fresh one.
    fn bytes_held(&self) -> usize;
}

impl Debug for dyn Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("bytes_held", &self.bytes_held()).finish_non_exhaustive()
    }
}

/// One message of Engine.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, without the type digit before it.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

/// A packet to encode. JSON is valid, if the application's own serializers are.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Outgoing<'a> {
    /// The client is in the namespace: its socket's id and, with recovery, private id. A client of Socket.IO 2 is told neither.
    Connect { sid: Option<&'a str>, pid: Option<&'a str> },
    /// A middleware refused the client, with its message and data (JSON).
    ConnectError { message: &'a str, data: Option<&'a str> },
    /// The same for a client of Socket.IO 2: it is told the data alone, or the message alone if there is none.
    ConnectErrorBare { message: &'a str, data: Option<&'a str> },
    /// There is no such namespace: `message` says it in Node's words.
    UnknownNamespace { message: &'a str },
    /// The client's socket leaves the namespace.
    Disconnect,
    /// An event, acknowledged under `id`. `is_broadcast` if it may go to several clients.
    Event { parts: EventParts<'a>, id: Option<u64>, is_broadcast: bool },
    /// The acknowledgement of the client's event `id`.
    Ack { parts: EventParts<'a>, id: u64 },
}

/// A packet as decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Its type; the binary types stand for those without.
    pub kind: PacketKind,
    /// The namespace, as the client named it.
    pub namespace: String,
    /// The ack id.
    pub id: Option<u64>,
    /// The payload as JSON.
    pub json: Option<String>,
    /// What placeholders in it refer to.
    pub attachments: Vec<Bytes>,
}

/// Why a message is refused, in words. Ends the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError(pub &'static str);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for DecodeError {}

/// Why a packet cannot be encoded, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError(pub &'static str);

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for EncodeError {}
