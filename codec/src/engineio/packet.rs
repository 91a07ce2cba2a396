//! One Engine.IO packet as text: a digit, then its data.
//!
//! A text that begins with `b` is a binary message in base64, on polling and, as the official server does it, also in
//! a WebSocket text frame.

use core::fmt;

/// The type of a packet: its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketKind {
    /// The server's handshake.
    Open = 0,
    /// The session ends.
    Close = 1,
    /// Asks for a pong; from the server, or `2probe` from an upgrading client.
    Ping = 2,
    /// Answers a ping.
    Pong = 3,
    /// Carries a Socket.IO packet.
    Message = 4,
    /// The client has moved to the other transport.
    Upgrade = 5,
    /// Nothing; ends a waiting poll.
    Noop = 6,
}

impl PacketKind {
    /// The kind with this ASCII digit, if there is one.
    pub const fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping,
            b'3' => Self::Pong,
            b'4' => Self::Message,
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            _ => return None,
        })
    }

    /// The ASCII digit on the wire.
    pub const fn digit(self) -> u8 {
        b'0' + self as u8
    }
}

/// A packet, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its type.
    pub kind: PacketKind,
    /// Everything after the digit; may be empty.
    pub data: &'a str,
}

impl Packet<'_> {
    /// Appends the packet's text.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind.digit());
        out.extend_from_slice(self.data.as_bytes());
    }
}

/// What one text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPacket<'a> {
    /// A packet of any type.
    Packet(Packet<'a>),
    /// A binary message: its base64 text without the `b`, for [`base64::decode`](super::base64::decode).
    Base64(&'a str),
}

/// Why a text is not a packet. Ends the session with a parse error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// There is no first character.
    Empty,
    /// The first character is neither a digit from 0 to 6 nor `b`.
    UnknownKind,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty packet",
            Self::UnknownKind => "unknown packet type",
        })
    }
}

impl core::error::Error for PacketError {}

/// Decodes one packet out of one text frame, or out of one part of a polling body.
pub fn decode_text(text: &str) -> Result<TextPacket<'_>, PacketError> {
    let first = *text.as_bytes().first().ok_or(PacketError::Empty)?;
    if first == b'b' {
        return Ok(TextPacket::Base64(&text[1..]));
    }
    let kind = PacketKind::from_digit(first).ok_or(PacketError::UnknownKind)?;
    Ok(TextPacket::Packet(Packet { kind, data: &text[1..] }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_kind_goes_round() {
        for digit in b'0'..=b'6' {
            let text = format!("{}data", char::from(digit));
            let TextPacket::Packet(packet) = decode_text(&text).unwrap() else { panic!("not a packet") };
            assert_eq!((packet.kind.digit(), packet.data), (digit, "data"));
            let mut out = Vec::new();
            packet.encode(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn data_may_be_empty_and_may_be_any_text() {
        assert_eq!(decode_text("4"), Ok(TextPacket::Packet(Packet { kind: PacketKind::Message, data: "" })));
        assert_eq!(decode_text("2probe"), Ok(TextPacket::Packet(Packet { kind: PacketKind::Ping, data: "probe" })));
        assert_eq!(
            decode_text("4\u{20ac}\u{1f600}"),
            Ok(TextPacket::Packet(Packet { kind: PacketKind::Message, data: "\u{20ac}\u{1f600}" }))
        );
    }

    #[test]
    fn b_is_a_binary_message() {
        assert_eq!(decode_text("bAQIDBA=="), Ok(TextPacket::Base64("AQIDBA==")));
        assert_eq!(decode_text("b"), Ok(TextPacket::Base64("")));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(decode_text(""), Err(PacketError::Empty));
        for text in ["7", "9x", "a", "B", " 4", "\u{e9}", "-", "\0", "\u{1e}"] {
            assert_eq!(decode_text(text), Err(PacketError::UnknownKind), "{text:?}");
        }
    }
}
