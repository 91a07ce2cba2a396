//! Socket.IO packets: what travels inside an Engine.IO `message`, without its leading `4`.
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<id>][<JSON>]        e.g.  51-/admin,7["upload",{"_placeholder":true,"num":0}]
//! ```
//!
//! [`decode`] checks the whole text, JSON included, and leaves the JSON as it came: names and arguments are ranges of
//! it ([`json`]), so that an event can be relayed untouched or deserialized once, into the type its handler wants.
//! Binary parts follow their packet as messages of their own; [`attachment`] finds the places they belong to.
//! [`msgpack`] is the other encoding of the same packets. Source: Socket.IO protocol, revision 5.

pub mod attachment;
pub mod decode;
pub mod encode;
pub mod json;
pub mod msgpack;
mod packet;

pub use packet::{Content, Packet, PacketKind};
