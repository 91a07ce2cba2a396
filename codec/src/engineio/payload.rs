//! Polling bodies: packets joined by U+001E.
//!
//! The separator cannot occur inside a packet, because JSON escapes it. Binary messages travel as `b<base64>`.
//! Decoding stops at the first text that is no packet; what stood before it counts. An empty body is one empty
//! packet, thus an error, as in the official server.

use super::base64;
use super::packet::{Packet, PacketError, TextPacket, decode_text};

/// What stands between two packets.
pub const SEPARATOR: u8 = 0x1e;

/// One packet of a polling body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolledPacket<'a> {
    /// A packet, borrowed from the body.
    Text(Packet<'a>),
    /// A binary message.
    Binary(Vec<u8>),
}

/// The packets of a polling body, in order. The first error is the last item.
///
/// Cost: one pass; only binary messages allocate, at most three quarters of their text.
pub fn decode(body: &str) -> PolledPackets<'_> {
    PolledPackets { rest: Some(body) }
}

/// Iterator of [`decode`].
#[derive(Clone, Debug)]
pub struct PolledPackets<'a> {
    /// `None` after the last packet or the first error.
    rest: Option<&'a str>,
}

impl<'a> Iterator for PolledPackets<'a> {
    type Item = Result<PolledPacket<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let text = match memchr::memchr(SEPARATOR, rest.as_bytes()) {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => rest,
        };
        Some(match decode_text(text) {
            Ok(TextPacket::Packet(packet)) => Ok(PolledPacket::Text(packet)),
            Ok(TextPacket::Base64(text)) => Ok(PolledPacket::Binary(base64::decode(text))),
            Err(error) => {
                self.rest = None;
                Err(error)
            }
        })
    }
}

/// Appends packets to a polling body and puts the separators between them.
#[derive(Debug)]
pub struct PayloadEncoder<'a> {
    out: &'a mut Vec<u8>,
    packet_count: usize,
}

impl<'a> PayloadEncoder<'a> {
    /// A body that begins at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, packet_count: 0 }
    }

    /// Appends a packet: its whole text, digit included.
    pub fn push_text(&mut self, packet: &[u8]) {
        self.separate();
        self.out.extend_from_slice(packet);
    }

    /// Appends a binary message: its bytes.
    pub fn push_binary(&mut self, message: &[u8]) {
        self.separate();
        self.out.push(b'b');
        base64::encode(self.out, message);
    }

    /// How many packets were appended.
    pub fn packet_count(&self) -> usize {
        self.packet_count
    }

    fn separate(&mut self) {
        if self.packet_count > 0 {
            self.out.push(SEPARATOR);
        }
        self.packet_count += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::packet::PacketKind;
    use super::*;
    use proptest::prelude::*;

    fn text(kind: PacketKind, data: &str) -> Result<PolledPacket<'_>, PacketError> {
        Ok(PolledPacket::Text(Packet { kind, data }))
    }

    fn message(data: &str) -> Result<PolledPacket<'_>, PacketError> {
        text(PacketKind::Message, data)
    }

    #[test]
    fn packets_of_the_protocol_document() {
        let packets: Vec<_> = decode("4hello\u{1e}2\u{1e}4world").collect();
        assert_eq!(packets, [message("hello"), text(PacketKind::Ping, ""), message("world")]);
        let packets: Vec<_> = decode("4hello\u{1e}bAQIDBA==").collect();
        assert_eq!(packets, [message("hello"), Ok(PolledPacket::Binary(vec![1, 2, 3, 4]))]);
    }

    #[test]
    fn decoding_stops_at_the_first_bad_packet() {
        let packets: Vec<_> = decode("4a\u{1e}x\u{1e}4b").collect();
        assert_eq!(packets, [message("a"), Err(PacketError::UnknownKind)]);
        let packets: Vec<_> = decode("4a\u{1e}\u{1e}4b").collect();
        assert_eq!(packets, [message("a"), Err(PacketError::Empty)]);
        let packets: Vec<_> = decode("4a\u{1e}").collect();
        assert_eq!(packets, [message("a"), Err(PacketError::Empty)]);
    }

    #[test]
    fn an_empty_body_is_one_error() {
        assert_eq!(decode("").collect::<Vec<_>>(), [Err(PacketError::Empty)]);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(packets in prop::collection::vec(
            prop_oneof![
                "[0-6][^\u{1e}]{0,12}".prop_map(Ok),
                prop::collection::vec(any::<u8>(), 0..20).prop_map(Err),
            ],
            1..8,
        )) {
            let mut body = b"before".to_vec();
            let mut encoder = PayloadEncoder::new(&mut body);
            for packet in &packets {
                match packet {
                    Ok(text) => encoder.push_text(text.as_bytes()),
                    Err(bytes) => encoder.push_binary(bytes),
                }
            }
            prop_assert_eq!(encoder.packet_count(), packets.len());
            let body = std::str::from_utf8(&body[6..]).unwrap();
            let decoded: Vec<_> = decode(body)
                .map(|packet| match packet.unwrap() {
                    PolledPacket::Text(packet) => {
                        let mut out = Vec::new();
                        packet.encode(&mut out);
                        Ok(String::from_utf8(out).unwrap())
                    }
                    PolledPacket::Binary(bytes) => Err(bytes),
                })
                .collect();
            prop_assert_eq!(decoded, packets);
        }
    }
}
