//! A client's bytes: its WebSocket handshake and its masked frames.

use ringio_codec::websocket::{Opcode, apply_mask, encode_header_masked};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The request that opens a session on a WebSocket, as a browser sends it.
pub const HANDSHAKE: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n\
Host: localhost:3000\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: */*\r\n\
Accept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br\r\n\
Sec-WebSocket-Version: 13\r\n\
Origin: http://localhost:3000\r\n\
Sec-WebSocket-Extensions: permessage-deflate\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
Connection: keep-alive, Upgrade\r\n\
Pragma: no-cache\r\n\
Cache-Control: no-cache\r\n\
Upgrade: websocket\r\n\r\n";

/// One masked frame.
#[must_use]
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_header_masked(&mut bytes, opcode, payload.len() as u64, KEY);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[start..], KEY, 0);
    bytes
}

/// One masked text frame.
#[must_use]
pub fn text(payload: &str) -> Vec<u8> {
    masked(Opcode::Text, payload.as_bytes())
}

/// An event `name` with one string of `size` bytes.
#[must_use]
pub fn event(name: &str, size: usize) -> String {
    format!("42[\"{name}\",\"{}\"]", "x".repeat(size))
}
