//! Engine.IO packets: what keeps a session alive, and the envelope of every Socket.IO packet.
//!
//! ```text
//! WebSocket text frame     <digit><data>               WebSocket binary frame    <data>, always a message
//! polling body             <packet> 1e <packet> ...    binary in a polling body  b<base64>
//! ```
//!
//! Revision 3, which the clients of Socket.IO 2 speak, differs in its bodies and in how it marks binary messages:
//! [`payload_v3`]. Source: Engine.IO protocol, revisions 4 and 3.

pub mod base64;
mod open;
mod packet;
pub mod payload;
pub mod payload_v3;

pub use open::Open;
pub use packet::{Packet, PacketError, PacketKind, TextPacket, decode_text};
pub use payload::{PayloadEncoder, PolledPacket};
