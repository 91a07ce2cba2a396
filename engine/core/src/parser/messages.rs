//! The messages of one packet, collected into one frame: they are adjacent on the wire, whatever else waits.

use crate::base::frame::{Encoded, PacketBounds};
use ringio_codec::websocket::{self, Opcode};

/// Messages in the order in which they are sent.
#[derive(Debug, Default)]
pub struct Messages(Encoded);

impl Messages {
    /// Appends a text message.
    pub fn push_text(&mut self, text: &str) {
        websocket::encode_header(&mut self.0.bytes, Opcode::Text, 1 + text.len() as u64);
        let start = self.0.bytes.len();
        self.0.bytes.push(b'4');
        self.0.bytes.extend_from_slice(text.as_bytes());
        self.push_bounds(start, false);
    }

    /// Appends a binary message.
    pub fn push_binary(&mut self, bytes: &[u8]) {
        websocket::encode_header(&mut self.0.bytes, Opcode::Binary, bytes.len() as u64);
        let start = self.0.bytes.len();
        self.0.bytes.extend_from_slice(bytes);
        self.push_bounds(start, true);
    }

    fn push_bounds(&mut self, start: usize, is_binary: bool) {
        let bound = |at: usize| u32::try_from(at).expect("a packet stays below 4 GiB: emits are bounded by memory");
        let bounds = PacketBounds { start: bound(start), end: bound(self.0.bytes.len()), is_binary };
        self.0.packets.push(bounds);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.packets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.packets.is_empty()
    }

    /// The bytes for a WebSocket, and the bounds for polling.
    #[must_use]
    pub fn into_encoded(self) -> Encoded {
        self.0
    }
}
