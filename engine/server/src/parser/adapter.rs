//! A parser of the user's for the core: with packets instead of their parts, and a wall against panics.

use super::{Decoder, Messages, Packet, PacketKind, Packets, Parser, Payload};
use ringio_codec::socketio::encode::write_json_string;
use ringio_core::door::EventParts;
use ringio_core::parser::{self as core_parser, DecodeError, EncodeError, Incoming, Message, Outgoing};
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) struct Adapter<P>(pub(super) P);

impl<P> fmt::Debug for Adapter<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<P>())
    }
}

impl<P: Parser> core_parser::Parser for Adapter<P> {
    fn decoder(&self) -> Box<dyn core_parser::Decoder> {
        match catch_unwind(AssertUnwindSafe(|| self.0.decoder())) {
            Ok(decoder) => Box::new(DecoderAdapter(decoder)),
            Err(_) => Box::new(Broken),
        }
    }

    fn encode(
        &self,
        namespace: &str,
        packet: &Outgoing<'_>,
        messages: &mut core_parser::Messages,
    ) -> Result<(), EncodeError> {
        let packet = outgoing(namespace, packet)?;
        catch_unwind(AssertUnwindSafe(|| self.0.encode(&packet, &mut Messages(messages))))
            .unwrap_or(Err(EncodeError("the parser panicked")))
    }
}

struct DecoderAdapter<D>(D);

impl<D: Decoder> core_parser::Decoder for DecoderAdapter<D> {
    fn decode(&mut self, message: Message<'_>, packets: &mut Vec<Incoming>) -> Result<(), DecodeError> {
        catch_unwind(AssertUnwindSafe(|| self.0.decode(message, &mut Packets(packets)))).unwrap_or(Err(PANICKED))
    }

    fn bytes_held(&self) -> usize {
        catch_unwind(AssertUnwindSafe(|| self.0.bytes_held())).unwrap_or(usize::MAX)
    }
}

/// Stands for a decoder that could not be made.
struct Broken;

impl core_parser::Decoder for Broken {
    fn decode(&mut self, _: Message<'_>, _: &mut Vec<Incoming>) -> Result<(), DecodeError> {
        Err(PANICKED)
    }

    fn bytes_held(&self) -> usize {
        0
    }
}

const PANICKED: DecodeError = DecodeError("the parser panicked");

fn outgoing<'a>(namespace: &'a str, packet: &Outgoing<'a>) -> Result<Packet<'a>, EncodeError> {
    let (kind, id, payload) = match *packet {
        Outgoing::Connect { sid, pid } => {
            let payload = sid.map(|sid| object(&[("sid", sid), ("pid", pid.unwrap_or_default())], None));
            (PacketKind::Connect, None, payload)
        }
        Outgoing::ConnectError { message, data } => {
            (PacketKind::ConnectError, None, Some(object(&[("message", message)], data)))
        }
        Outgoing::UnknownNamespace { message } => {
            (PacketKind::ConnectError, None, Some(object(&[("message", message)], None)))
        }
        Outgoing::ConnectErrorBare { data: Some(data), .. } => {
            (PacketKind::ConnectError, None, Some(Payload::from_json(data, &[])))
        }
        Outgoing::ConnectErrorBare { message, data: None } => {
            let mut json = Vec::new();
            write_json_string(&mut json, message);
            (PacketKind::ConnectError, None, Some(text(json)))
        }
        Outgoing::Disconnect => (PacketKind::Disconnect, None, None),
        Outgoing::Event { parts, id, .. } => (PacketKind::Event, id, Some(borrowed(parts)?)),
        Outgoing::Ack { parts, id } => (PacketKind::Ack, Some(id), Some(borrowed(parts)?)),
    };
    Ok(Packet { kind, namespace: Cow::Borrowed(namespace), id, payload })
}

fn borrowed(parts: EventParts<'_>) -> Result<Payload<'_>, EncodeError> {
    let json = std::str::from_utf8(parts.json).map_err(|_| EncodeError("not JSON"))?;
    Ok(Payload::from_json(json, parts.attachments))
}

/// An object of texts, without the empty ones, and with `data`, which is JSON.
fn object(texts: &[(&str, &str)], data: Option<&str>) -> Payload<'static> {
    let mut json = Vec::new();
    for (name, value) in texts.iter().filter(|(name, value)| *name == "message" || !value.is_empty()) {
        json.push(if json.is_empty() { b'{' } else { b',' });
        write_json_string(&mut json, name);
        json.push(b':');
        write_json_string(&mut json, value);
    }
    if let Some(data) = data {
        json.extend_from_slice(b",\"data\":");
        json.extend_from_slice(data.as_bytes());
    }
    json.push(b'}');
    text(json)
}

fn text(json: Vec<u8>) -> Payload<'static> {
    Payload::from_json(String::from_utf8(json).expect("made of texts"), &[])
}

pub(super) fn incoming(packet: Packet<'_>) -> Incoming {
    let Packet { kind, namespace, id, payload } = packet;
    let kind = match kind {
        PacketKind::Connect => core_parser::PacketKind::Connect,
        PacketKind::Disconnect => core_parser::PacketKind::Disconnect,
        PacketKind::Event => core_parser::PacketKind::Event,
        PacketKind::Ack => core_parser::PacketKind::Ack,
        PacketKind::ConnectError => core_parser::PacketKind::ConnectError,
    };
    let (json, attachments) = payload.map(Payload::into_parts).unzip();
    Incoming { kind, namespace: namespace.into_owned(), id, json, attachments: attachments.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn payload(packet: &Outgoing<'_>) -> String {
        outgoing("/a", packet).unwrap().payload.map_or_else(String::new, |payload| payload.json().to_owned())
    }

    #[test]
    fn packets_of_the_protocol_are_objects() {
        let (sid, pid) = (Some("s\""), Some("p"));
        assert_eq!(payload(&Outgoing::Connect { sid, pid }), r#"{"sid":"s\"","pid":"p"}"#);
        assert_eq!(payload(&Outgoing::Connect { sid, pid: None }), r#"{"sid":"s\""}"#);
        assert_eq!(payload(&Outgoing::Connect { sid: None, pid: None }), "");
        let (message, data) = ("no", Some("[1]"));
        assert_eq!(payload(&Outgoing::ConnectError { message, data }), r#"{"message":"no","data":[1]}"#);
        assert_eq!(payload(&Outgoing::ConnectError { message: "", data: None }), r#"{"message":""}"#);
        assert_eq!(payload(&Outgoing::UnknownNamespace { message }), r#"{"message":"no"}"#);
        assert_eq!(payload(&Outgoing::ConnectErrorBare { message, data }), "[1]");
        assert_eq!(payload(&Outgoing::ConnectErrorBare { message, data: None }), "\"no\"");
        assert_eq!(payload(&Outgoing::Disconnect), "");
    }

    #[test]
    fn a_panic_is_an_error() {
        struct Panics;
        impl Parser for Panics {
            type Decoder = Self;
            fn decoder(&self) -> Self {
                Self
            }
            fn encode(&self, _: &Packet<'_>, _: &mut Messages<'_>) -> Result<(), EncodeError> {
                panic!("on purpose")
            }
        }
        impl Decoder for Panics {
            fn decode(&mut self, _: Message<'_>, _: &mut Packets<'_>) -> Result<(), DecodeError> {
                panic!("on purpose")
            }
            fn bytes_held(&self) -> usize {
                panic!("on purpose")
            }
        }
        let parser = Panics.into_core();
        let mut messages = core_parser::Messages::default();
        assert_eq!(parser.encode("/", &Outgoing::Disconnect, &mut messages), Err(EncodeError("the parser panicked")));
        let mut decoder = parser.decoder();
        assert_eq!(decoder.decode(Message::Text(""), &mut Vec::new()), Err(PANICKED));
        assert_eq!(decoder.bytes_held(), usize::MAX, "more than any bound");
    }
}
