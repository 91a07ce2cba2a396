//! Text to [`Packet`]: every rule that a Socket.IO packet has to keep, in one pass over its bytes.
//!
//! ```text
//! type -> attachments (binary kinds) -> namespace (starts with '/') -> id (digits) -> JSON, valid for the type
//! ```
//!
//! What it accepts is what the JavaScript decoder (socket.io-parser 4.2.7) accepts, quirks included: the empty text is
//! CONNECT to `/`, a namespace without a comma reaches to the end of the text, an event may have no payload at all.
//! Where that one leans on JavaScript's `Number(x) == x`, this one wants plain digits: `51e0-["a"]` is refused, a
//! space is never part of an id (it may stand before the JSON), and an id above 2^53 - 1, which JavaScript could
//! not hold exactly, is refused instead of being rounded and answered under another number.
//! JSON nested deeper than [`json::DEPTH_MAX`] is refused as well.

use super::json::{self, JsonError};
use super::packet::{Content, Packet, PacketKind};
use core::fmt;

/// The bounds of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Attachments that one packet may announce. Default 10 (socket.io-parser 4.2.7).
    pub attachments_max: u32,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { attachments_max: 10 }
    }
}

/// Why a text is not a packet. All of them end the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The first character is not one of `0` to `6`.
    UnknownPacketType,
    /// A binary kind without a count, with a count that is not plain digits before a `-`, or with the count 0.
    IllegalAttachments,
    /// More attachments announced than the limit allows.
    TooManyAttachments,
    /// The id is greater than 2^53 - 1.
    IdTooLarge,
    /// The payload is not JSON, not what this type carries, or names a reserved event.
    InvalidPayload,
    /// The payload is nested deeper than [`json::DEPTH_MAX`].
    PayloadTooDeep,
}

impl DecodeError {
    /// What is wrong, in words: the text of `Display`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownPacketType => "unknown packet type",
            Self::IllegalAttachments => "illegal attachments",
            Self::TooManyAttachments => "too many attachments",
            Self::IdTooLarge => "id greater than 2^53 - 1",
            Self::InvalidPayload => "invalid payload",
            Self::PayloadTooDeep => "payload nested too deeply",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for DecodeError {}

impl From<JsonError> for DecodeError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooDeep => Self::PayloadTooDeep,
            _ => Self::InvalidPayload,
        }
    }
}

/// The greatest ack id: 2^53 - 1, the greatest integer that JavaScript holds exactly.
pub const ID_MAX: u64 = (1 << 53) - 1;

/// Whether an event of this name is the library's own and may not be sent.
///
/// The names are those that Socket.IO emits locally on either side, and the two of Node's event emitter.
pub fn is_reserved_event(name: &str) -> bool {
    matches!(name, "connect" | "connect_error" | "disconnect" | "disconnecting" | "newListener" | "removeListener")
}

/// Decodes one packet.
///
/// Cost: one pass; nothing is allocated unless the event name contains escapes.
pub fn decode<'a>(text: &'a str, limits: &DecodeLimits) -> Result<Packet<'a>, DecodeError> {
    let Some(&digit) = text.as_bytes().first() else {
        return Ok(Packet {
            kind: PacketKind::Connect,
            attachment_count: 0,
            namespace: "/",
            id: None,
            data: None,
            content: Content::None,
        });
    };
    let kind = PacketKind::from_digit(digit).ok_or(DecodeError::UnknownPacketType)?;
    let rest = &text[1..];
    let (attachment_count, rest) = if kind.is_binary() { split_attachment_count(rest, limits)? } else { (0, rest) };
    let (namespace, rest) = split_namespace(rest);
    let (id, rest) = split_id(rest)?;
    let data = if rest.is_empty() { None } else { Some(rest) };
    let content = match data {
        None => Content::None,
        Some(data) => decode_content(kind, data)?,
    };
    Ok(Packet { kind, attachment_count, namespace, id, data, content })
}

fn split_attachment_count<'a>(rest: &'a str, limits: &DecodeLimits) -> Result<(u32, &'a str), DecodeError> {
    let dash = rest.bytes().position(|byte| !byte.is_ascii_digit()).ok_or(DecodeError::IllegalAttachments)?;
    if rest.as_bytes()[dash] != b'-' {
        return Err(DecodeError::IllegalAttachments);
    }
    let count = rest[..dash]
        .bytes()
        .fold(0u32, |count, digit| count.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    match count {
        0 => Err(DecodeError::IllegalAttachments),
        count if count > limits.attachments_max => Err(DecodeError::TooManyAttachments),
        count => Ok((count, &rest[dash + 1..])),
    }
}

fn split_namespace(rest: &str) -> (&str, &str) {
    if !rest.starts_with('/') {
        return ("/", rest);
    }
    match memchr::memchr(b',', rest.as_bytes()) {
        Some(comma) => (&rest[..comma], &rest[comma + 1..]),
        None => (rest, ""),
    }
}

fn split_id(rest: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let mut id = 0u64;
    let mut digit_count = 0;
    for byte in rest.bytes().take_while(u8::is_ascii_digit) {
        id = id * 10 + u64::from(byte - b'0');
        if id > ID_MAX {
            return Err(DecodeError::IdTooLarge);
        }
        digit_count += 1;
    }
    Ok(if digit_count == 0 { (None, rest) } else { (Some(id), &rest[digit_count..]) })
}

/// Looks through a payload: whether it is valid JSON and what a packet of this kind carries.
pub fn decode_content(kind: PacketKind, data: &str) -> Result<Content, DecodeError> {
    Ok(match kind {
        PacketKind::Connect => {
            json::validate_object(data)?;
            Content::Object
        }
        PacketKind::Disconnect => return Err(DecodeError::InvalidPayload),
        PacketKind::Event | PacketKind::BinaryEvent => {
            let skim = json::skim_event(data)?;
            if is_reserved_event(&skim.name.text(data)) {
                return Err(DecodeError::InvalidPayload);
            }
            Content::Event(skim)
        }
        PacketKind::Ack | PacketKind::BinaryAck => Content::Array(json::validate_array(data)?),
        PacketKind::ConnectError => {
            if json::is_string(data)? {
                Content::Text
            } else {
                json::validate_object(data)?;
                Content::Object
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::socketio::encode::encode_header;
    use proptest::prelude::*;

    fn decode_default(text: &str) -> Result<Packet<'_>, DecodeError> {
        decode(text, &DecodeLimits::default())
    }

    /// Kind digit, attachment count, namespace, id, payload.
    type Fields<'a> = (char, u32, &'a str, Option<u64>, Option<&'a str>);

    fn fields(text: &str) -> Fields<'_> {
        let packet = decode_default(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let kind = char::from(packet.kind.digit());
        (kind, packet.attachment_count, packet.namespace, packet.id, packet.data)
    }

    /// The examples of the protocol document.
    #[test]
    fn packets_of_the_protocol_document() {
        let placeholder = r#"["baz",{"_placeholder":true,"num":0}]"#;
        let cases: [(&str, Fields<'_>); 12] = [
            ("0", ('0', 0, "/", None, None)),
            (r#"0{"token":"123"}"#, ('0', 0, "/", None, Some(r#"{"token":"123"}"#))),
            (r#"0/admin,{"sid":"oSO"}"#, ('0', 0, "/admin", None, Some(r#"{"sid":"oSO"}"#))),
            (r#"4{"message":"Not authorized"}"#, ('4', 0, "/", None, Some(r#"{"message":"Not authorized"}"#))),
            ("1/admin,", ('1', 0, "/admin", None, None)),
            (r#"2["foo"]"#, ('2', 0, "/", None, Some(r#"["foo"]"#))),
            (r#"2/admin,["bar"]"#, ('2', 0, "/admin", None, Some(r#"["bar"]"#))),
            (r#"212["foo"]"#, ('2', 0, "/", Some(12), Some(r#"["foo"]"#))),
            (r#"3/admin,13["bar"]"#, ('3', 0, "/admin", Some(13), Some(r#"["bar"]"#))),
            (&format!("51-{placeholder}"), ('5', 1, "/", None, Some(placeholder))),
            (&format!("51-/admin,456{placeholder}"), ('5', 1, "/admin", Some(456), Some(placeholder))),
            (&format!("61-15{placeholder}"), ('6', 1, "/", Some(15), Some(placeholder))),
        ];
        for (text, expected) in cases {
            assert_eq!(fields(text), expected);
        }
    }

    #[test]
    fn quirks_of_the_javascript_decoder_are_kept() {
        assert_eq!(fields(""), ('0', 0, "/", None, None));
        assert_eq!(fields("0/admin"), ('0', 0, "/admin", None, None));
        assert_eq!(fields("4/random"), ('4', 0, "/random", None, None));
        assert_eq!(fields(r#"2/a["e"]"#), ('2', 0, r#"/a["e"]"#, None, None));
        assert_eq!(fields("2"), ('2', 0, "/", None, None));
        assert_eq!(fields("2123"), ('2', 0, "/", Some(123), None));
        assert_eq!(fields("51-"), ('5', 1, "/", None, None));
        assert_eq!(fields("3[]"), ('3', 0, "/", None, Some("[]")));
        assert_eq!(fields("1"), ('1', 0, "/", None, None));
        assert_eq!(fields("10007"), ('1', 0, "/", Some(7), None));
        assert_eq!(fields("2 [\"a\"] \n"), ('2', 0, "/", None, Some(" [\"a\"] \n")));
        assert_eq!(fields("0/a?x=1,"), ('0', 0, "/a?x=1", None, None));
        assert_eq!(fields("0/\u{e9},{}"), ('0', 0, "/\u{e9}", None, Some("{}")));
    }

    #[test]
    fn unknown_types_are_refused() {
        for text in ["7", "9[]", "a", " 2[\"a\"]", "-1", "\u{e9}", "[\"a\"]", "\0"] {
            assert_eq!(decode_default(text), Err(DecodeError::UnknownPacketType), "{text:?}");
        }
    }

    #[test]
    fn attachment_counts_are_plain_digits_from_one_to_the_limit() {
        for text in [
            "5",
            "5[\"a\"]",
            "5woooot",
            "5x-",
            "5-",
            "5-[\"a\"]",
            "50-[\"a\"]",
            "600-[]",
            "51e0-[\"a\"]",
            "51.0-[\"a\"]",
            "5-1-[\"a\"]",
            "5 1-[\"a\"]",
            "51",
            "51[\"a\"]",
            "5\u{661}-[\"a\"]",
        ] {
            assert_eq!(decode_default(text), Err(DecodeError::IllegalAttachments), "{text:?}");
        }
        for text in ["511-[\"a\"]", "54294967301-[\"a\"]", "6999999999999999999999-[]"] {
            assert_eq!(decode_default(text), Err(DecodeError::TooManyAttachments), "{text:?}");
        }
        assert_eq!(fields("510-[\"a\"]").1, 10);
        assert_eq!(fields("501-[\"a\"]").1, 1);
        let wide = DecodeLimits { attachments_max: u32::MAX };
        assert_eq!(decode("54294967295-", &wide).unwrap().attachment_count, u32::MAX);
        assert_eq!(decode("511-[\"a\"]", &wide).unwrap().attachment_count, 11);
    }

    #[test]
    fn ids_are_whole_numbers_that_javascript_can_hold() {
        assert_eq!(fields("29007199254740991[\"a\"]").3, Some(ID_MAX));
        assert_eq!(fields("30[]").3, Some(0));
        for text in ["29007199254740992[\"a\"]", "299999999999999999999[\"a\"]"] {
            assert_eq!(decode_default(text), Err(DecodeError::IdTooLarge));
        }
        for text in ["2-1[\"a\"]", "21.5[\"a\"]", "21e1[\"a\"]", "2 1[\"a\"]", "2+1[\"a\"]"] {
            assert_eq!(decode_default(text), Err(DecodeError::InvalidPayload), "{text:?}");
        }
    }

    #[test]
    fn payload_fits_the_type() {
        let invalid = [
            "0[]",
            "0\"a\"",
            "0null",
            "0{",
            "0{}x",
            "0true",
            "1{}",
            "1[]",
            "1/x,null",
            "1\"\"",
            "2[]",
            "2[null]",
            "2[{}]",
            "2[[]]",
            "2[true]",
            "2{}",
            "2\"a\"",
            "2null",
            "2woooot",
            "2[\"a\"",
            "2[\"a\"]]",
            "2[\"a\",]",
            "2[\"a\",\"\n\"]",
            "3{}",
            "3\"a\"",
            "3null",
            "3[1,]",
            "4[]",
            "4null",
            "4\"a",
            "4\"a\"b",
            "4{]",
            "41{}x",
            "51-[]",
            "51-{}",
            "61-{}",
            "61-null",
        ];
        for text in invalid {
            assert_eq!(decode_default(text), Err(DecodeError::InvalidPayload), "{text:?}");
        }
        for text in ["0{}", "2[\"\"]", "2[0]", "2[-1.5,{}]", "3[null]", "4\"\"", "4 \"a\" ", "4{}", "61-[]"] {
            assert!(decode_default(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn content_says_what_the_payload_is() {
        assert_eq!(decode_default("0{}").unwrap().content, Content::Object);
        assert_eq!(decode_default("4{}").unwrap().content, Content::Object);
        assert_eq!(decode_default("4\"a\"").unwrap().content, Content::Text);
        assert_eq!(decode_default("2").unwrap().content, Content::None);
        let event = decode_default(r#"2/admin,7["say",1,{"a":[2]}]"#).unwrap();
        assert_eq!(event.event_name().as_deref(), Some("say"));
        assert_eq!((event.arguments(), event.argument_count()), (r#"1,{"a":[2]}"#, 2));
        let ack = decode_default(r#"37[1, 2]"#).unwrap();
        assert_eq!(ack.event_name(), None);
        assert_eq!((ack.arguments(), ack.argument_count()), ("1, 2", 2));
        let nameless = decode_default("2").unwrap();
        assert_eq!((nameless.event_name(), nameless.arguments(), nameless.argument_count()), (None, "", 0));
    }

    #[test]
    fn reserved_events_are_refused_however_they_are_spelled() {
        for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
            for kind in ["2", "51-"] {
                let text = format!("{kind}[\"{name}\",1]");
                assert_eq!(decode_default(&text), Err(DecodeError::InvalidPayload));
            }
        }
        assert_eq!(decode_default(r#"2["\u0063onnect"]"#), Err(DecodeError::InvalidPayload));
        assert!(decode_default(r#"2["connected"]"#).is_ok());
        assert!(decode_default(r#"2["error"]"#).is_ok());
        assert!(decode_default(r#"3["connect"]"#).is_ok());
    }

    #[test]
    fn errors_are_told_apart_by_their_words() {
        let errors = [
            DecodeError::UnknownPacketType,
            DecodeError::IllegalAttachments,
            DecodeError::TooManyAttachments,
            DecodeError::IdTooLarge,
            DecodeError::InvalidPayload,
            DecodeError::PayloadTooDeep,
        ];
        for (index, error) in errors.into_iter().enumerate() {
            assert_eq!(error.as_str(), error.to_string());
            assert!(errors[..index].iter().all(|other| other.as_str() != error.as_str()));
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("2[\"a\",{}{}]", "[".repeat(200), "]".repeat(200));
        assert_eq!(decode_default(&text), Err(DecodeError::PayloadTooDeep));
    }

    /// No prefix of a packet is mistaken for something else than what stands in it.
    #[test]
    fn every_prefix_is_a_packet_or_an_error_but_never_a_panic() {
        let text = "51-/adm\u{e9}n,456[\"e\\u00e9\",{\"_placeholder\":true,\"num\":0}]";
        for (end, _) in text.char_indices() {
            if let Ok(packet) = decode_default(&text[..end]) {
                assert_eq!(packet.data, None, "{end}");
            }
        }
    }

    fn kinds() -> impl Strategy<Value = (PacketKind, &'static str)> {
        prop::sample::select(vec![
            (PacketKind::Connect, "{\"token\":\"\u{e9}\"}"),
            (PacketKind::Connect, ""),
            (PacketKind::Disconnect, ""),
            (PacketKind::Event, "[\"e\",[1,2],{}]"),
            (PacketKind::Ack, "[]"),
            (PacketKind::ConnectError, "\"no\""),
            (PacketKind::BinaryEvent, "[\"e\",{\"_placeholder\":true,\"num\":0}]"),
            (PacketKind::BinaryAck, "[{\"_placeholder\":true,\"num\":0}]"),
        ])
    }

    proptest! {
        #[test]
        fn packets_go_round(
            (kind, payload) in kinds(),
            attachment_count in 1u32..=10,
            namespace in "/[^,\u{1e}]{0,10}",
            id in prop::option::of(0..=ID_MAX),
        ) {
            let mut out = Vec::new();
            encode_header(&mut out, kind, attachment_count, &namespace, id);
            out.extend_from_slice(payload.as_bytes());
            let text = String::from_utf8(out).unwrap();
            let packet = decode_default(&text).unwrap();
            let attachment_count = if kind.is_binary() { attachment_count } else { 0 };
            prop_assert_eq!((packet.kind, packet.attachment_count), (kind, attachment_count));
            prop_assert_eq!((packet.namespace, packet.id), (&*namespace, id));
            prop_assert_eq!(packet.data, Some(payload).filter(|payload| !payload.is_empty()));
        }

        #[test]
        fn no_text_panics(
            text in prop_oneof!["[0-6]([0-9]{1,2}-)?(/[a-z,]{0,3})?[0-9]{0,3}[\\[\\]{}\"a,:0-9]{0,8}", any::<String>()],
        ) {
            if let Ok(packet) = decode_default(&text) {
                prop_assert!(packet.namespace.starts_with('/'));
                prop_assert!(packet.data.is_none_or(|data| serde_json::from_str::<serde_json::Value>(data).is_ok()));
            }
        }
    }
}
