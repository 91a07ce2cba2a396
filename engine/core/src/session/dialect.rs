//! What a client wants otherwise than revision 4 of Engine.IO over plain polling or WebSocket: `None` for almost everyone.
//!
//! ```text
//! frame of revision 4 --translate--> frame of revision 3     only if it has binary packets; once per broadcast and form
//! packets --encode_payload--> polling body                   text, binary (revision 3), or a script (JSONP)
//! ```
//! A frame keeps its packets' bodies whole in every dialect (the 04 of revision 3 stands outside of the bounds), so that a
//! session may change its transport with frames waiting. Source: Engine.IO protocol, revision 3; engine.io 6.6.12.

use crate::base::frame::{Encoded, Frame, PacketBounds};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use ringio_codec::engineio::PayloadEncoder;
use ringio_codec::engineio::payload_v3::{self, BINARY_MESSAGE, BodyForm, PayloadV3Encoder};
use ringio_codec::http::jsonp;
use ringio_codec::http::query::EngineQuery;
use ringio_codec::websocket::{self, Opcode};

/// What a session's client wants, as its first request said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// It speaks revision 3.
    pub is_protocol_3: bool,
    /// It cannot take binary (`b64`); of meaning in revision 3 only.
    pub is_base64_only: bool,
    /// It polls by scripts (`j`): the digits of the callback's index.
    pub jsonp: Option<Box<str>>,
    /// Its OPEN and what follows wait until it had time to see that its WebSocket is open.
    pub is_held: bool,
}

impl Dialect {
    /// The dialect that a first request asks for; `None` for the usual one.
    #[must_use]
    pub fn of(query: &EngineQuery<'_>, is_polling: bool) -> Option<Box<Self>> {
        let is_protocol_3 = query.protocol != 4;
        let jsonp = query.jsonp.as_ref().filter(|_| is_polling);
        if !is_protocol_3 && jsonp.is_none() {
            return None;
        }
        let jsonp = jsonp.map(|index| index.chars().filter(char::is_ascii_digit).collect::<String>().into_boxed_str());
        Some(Box::new(Self {
            is_protocol_3,
            is_base64_only: query.base64,
            jsonp,
            is_held: is_protocol_3 && !is_polling,
        }))
    }
}

/// The last frame translated to revision 3, for the other receivers of a broadcast: one with binary frames, one in base64.
#[derive(Debug, Default)]
pub struct Translations([Option<(Frame, Frame)>; 2]);

impl Translations {
    /// `frame` as this dialect has it.
    pub fn translate(&mut self, dialect: &Dialect, frame: Frame) -> Frame {
        if !dialect.is_protocol_3 || !frame.packets().iter().any(|packet| packet.is_binary) {
            return frame;
        }
        let last = &mut self.0[usize::from(dialect.is_base64_only)];
        match last {
            Some((original, translated)) if original.is_same(&frame) => translated.clone(),
            _ => {
                let translated = to_protocol_3(&frame, dialect.is_base64_only);
                *last = Some((frame, translated.clone()));
                translated
            }
        }
    }

    /// Lets go of the frames.
    pub fn clear(&mut self) {
        self.0 = [None, None];
    }
}

fn to_protocol_3(frame: &Frame, is_base64_only: bool) -> Frame {
    let mut encoded = Encoded { compression: frame.compression(), when_slow: frame.when_slow(), ..Encoded::default() };
    let bound = |at: usize| u32::try_from(at).expect("a frame stays below 4 GiB, base64 or not");
    for packet in frame.packets() {
        let body = &frame.bytes()[packet.start as usize..packet.end as usize];
        let bytes = &mut encoded.bytes;
        let is_binary = packet.is_binary && !is_base64_only;
        if is_binary {
            websocket::encode_header(bytes, Opcode::Binary, 1 + body.len() as u64);
            bytes.push(BINARY_MESSAGE);
        } else if packet.is_binary {
            let len = 2 + body.len().div_ceil(3) * 4;
            websocket::encode_header(bytes, Opcode::Text, len as u64);
        } else {
            websocket::encode_header(bytes, Opcode::Text, body.len() as u64);
        }
        let start = bytes.len();
        if packet.is_binary && is_base64_only {
            payload_v3::encode_base64_message(bytes, body);
        } else {
            bytes.extend_from_slice(body);
        }
        let bounds = PacketBounds { start: bound(start), end: bound(bytes.len()), is_binary };
        encoded.packets.push(bounds);
    }
    Frame::new(encoded)
}

/// The body of an answer to a GET.
#[derive(Debug, PartialEq, Eq)]
pub struct Payload {
    /// The body.
    pub bytes: Vec<u8>,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Whether the application lets it be compressed.
    pub is_compressible: bool,
}

/// The packets (body, whether binary) as a polling body; `bytes` is about how long it will be.
pub fn encode_payload<'a>(
    dialect: Option<&Dialect>,
    bytes: usize,
    packets: impl Iterator<Item = (&'a [u8], bool)> + Clone,
) -> Payload {
    let mut payload = Payload {
        bytes: Vec::with_capacity(bytes + 16),
        content_type: BodyForm::Text.content_type(),
        is_compressible: false,
    };
    if let Some(dialect) = dialect.filter(|dialect| dialect.is_protocol_3) {
        let is_text_only = dialect.is_base64_only || dialect.jsonp.is_some();
        let form = BodyForm::choose(packets.clone().any(|(_, is_binary)| is_binary), is_text_only);
        payload.content_type = form.content_type();
        let mut encoder = PayloadV3Encoder::new(&mut payload.bytes, form);
        for (body, is_binary) in packets {
            if is_binary { encoder.push_binary(body) } else { encoder.push_text(body) }
        }
    } else {
        let mut encoder = PayloadEncoder::new(&mut payload.bytes);
        for (body, is_binary) in packets {
            if is_binary { encoder.push_binary(body) } else { encoder.push_text(body) }
        }
    }
    if let Some(index) = dialect.and_then(|dialect| dialect.jsonp.as_deref()) {
        let mut script = Vec::with_capacity(payload.bytes.len() + 32);
        jsonp::write_body(&mut script, index, &String::from_utf8_lossy(&payload.bytes));
        payload = Payload { bytes: script, content_type: jsonp::CONTENT_TYPE, is_compressible: false };
    }
    payload
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::broadcast::encode;
    use crate::door::EventParts;
    use bytes::Bytes;

    fn dialect(query: &str) -> Dialect {
        *Dialect::of(&EngineQuery::decode(query), true).unwrap()
    }

    fn binary_event() -> Frame {
        let attachments = [Bytes::from_static(&[1, 2, 3])];
        Frame::new(encode::event(Vec::new(), "/", None, EventParts { json: b"[\"e\"]", attachments: &attachments }))
    }

    #[test]
    fn almost_everyone_speaks_none() {
        assert_eq!(Dialect::of(&EngineQuery::decode("EIO=4&transport=polling&b64=1"), true), None);
        assert_eq!(Dialect::of(&EngineQuery::decode("EIO=4&transport=websocket&j=0"), false), None);
        assert_eq!(dialect("EIO=4&j=a1b2").jsonp.as_deref(), Some("12"));
    }

    #[test]
    fn a_broadcast_is_translated_once_per_form() {
        let (frame, mut translations) = (binary_event(), Translations::default());
        let (plain, base64) = (dialect("EIO=3"), dialect("EIO=3&b64=1"));
        let first = translations.translate(&plain, frame.clone());
        assert_eq!(first.bytes(), b"\x81\x09451-[\"e\"]\x82\x04\x04\x01\x02\x03");
        let text = translations.translate(&base64, frame.clone());
        assert_eq!(text.bytes(), b"\x81\x09451-[\"e\"]\x81\x06b4AQID");
        assert!(translations.translate(&plain, frame.clone()).is_same(&first));
        assert!(translations.translate(&base64, frame).is_same(&text));
    }

    #[test]
    fn text_is_shared_with_revision_4() {
        let frame = encode::text_frame(b"42[\"e\"]");
        assert!(Translations::default().translate(&dialect("EIO=3"), frame.clone()).is_same(&frame));
    }

    #[test]
    fn a_polling_body_is_the_same_before_and_after_translation() {
        let dialect = dialect("EIO=3");
        let frame = Translations::default().translate(&dialect, binary_event());
        let packets = frame
            .packets()
            .iter()
            .map(|packet| (&frame.bytes()[packet.start as usize..packet.end as usize], packet.is_binary));
        let payload = encode_payload(Some(&dialect), 0, packets);
        assert_eq!(payload.bytes, b"\x00\x09\xff451-[\"e\"]\x01\x04\xff\x04\x01\x02\x03");
        assert_eq!(payload.content_type, "application/octet-stream");
    }
}
