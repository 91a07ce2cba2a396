//! Socket.IO packets of a server that uses the msgpack parser (`socket.io-msgpack-parser`), as texts and back.
//!
//! ```text
//! 2["echo","x"] + attachment  --encode-->  one binary message  --decode-->  2["echo","x"] + attachment
//! ```
//!
//! Only the wire differs; whoever looks at packets sees texts and attachments, whichever parser the server uses.

use crate::failure::{Class, Failure};
use ringio_codec::socketio::decode::{DecodeLimits, decode};
use ringio_codec::socketio::msgpack::{self, MsgpackLimits, PacketHead};

/// The packet with this text and attachment as one message. A text that is not a packet (a scenario's template made
/// broken JSON of it) is `None`: there is no message for it.
pub fn encode(text: &[u8], attachment: Option<&[u8]>) -> Option<Vec<u8>> {
    let packet = decode(std::str::from_utf8(text).ok()?, &DecodeLimits::default()).ok()?;
    let head = PacketHead { kind: packet.kind, namespace: packet.namespace, id: packet.id, is_broadcast: false };
    let mut out = Vec::with_capacity(text.len() + attachment.map_or(0, <[u8]>::len) + 32);
    match packet.data {
        None => msgpack::encode_raw(&mut out, &head, None),
        Some(data) => msgpack::encode_json(&mut out, &head, data, attachment.as_slice()).ok()?,
    }
    Some(out)
}

/// The text of a message, and its attachments.
///
/// # Errors
/// [`Class::Protocol`] when it is no packet.
pub fn to_text(message: &[u8]) -> Result<(String, Vec<Vec<u8>>), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Class::Protocol, format!("msgpack: {error}"));
    let packet = msgpack::decode(message, &MsgpackLimits::default()).map_err(|error| failed(&error))?;
    let (mut text, mut ranges) = (Vec::with_capacity(message.len()), Vec::new());
    packet.write_text(&mut text, &mut ranges).map_err(|error| failed(&error))?;
    let data = packet.data.unwrap_or_default();
    let attachments = ranges.into_iter().map(|range| data[range].to_vec()).collect();
    Ok((String::from_utf8(text).map_err(|error| failed(&error))?, attachments))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_packet_comes_back_as_it_was() {
        for (text, attachment) in [
            (r#"2["echo","x",{"n":1}]"#, None),
            (r#"2/admin,17["ack",1.5]"#, None),
            (r#"51-["bin",{"_placeholder":true,"num":0}]"#, Some(b"\x00\xff".as_slice())),
            (r#"0{"token":"t"}"#, None),
            ("0/~loadtest-@01,", None),
            ("1", None),
        ] {
            let message = encode(text.as_bytes(), attachment).unwrap();
            let (again, attachments) = to_text(&message).unwrap();
            assert_eq!(again, text);
            assert_eq!(attachments.first().map(Vec::as_slice), attachment);
        }
    }

    /// Bytes of socket.io-msgpack-parser 3.0.2, taken from a connection.
    #[test]
    fn the_official_bytes_are_understood() {
        let event = b"\x83\xa4type\x02\xa4data\x92\xa4echo\xa2hi\xa3nsp\xa1/";
        assert_eq!(to_text(event).unwrap().0, r#"2["echo","hi"]"#);
        let refused = b"\x83\xa4type\x04\xa3nsp\xa2/x\xa4data\x81\xa7message\xb1Invalid namespace";
        assert_eq!(to_text(refused).unwrap().0, r#"4/x,{"message":"Invalid namespace"}"#);
        assert!(to_text(b"\xc1").unwrap_err().text.contains("malformed"));
    }
}
