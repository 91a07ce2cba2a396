//! Bodies of revision 3. Bytes and outcomes were printed by engine.io 6.6.12's parser for this revision, in Node 20;
//! where this decoder is stricter, a test of its own says so.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
}

fn text(packet: &str) -> Sent {
    Sent::Text(packet.to_owned())
}

fn binary(message: &[u8]) -> Sent {
    Sent::Binary(message.to_vec())
}

type Outcome = (Vec<Sent>, Option<PayloadV3Error>);

/// The packets up to the first error, and that.
fn outcome<'a>(packets: impl Iterator<Item = Result<PolledPacket<'a>, PayloadV3Error>>) -> Outcome {
    let mut sent = Vec::new();
    for packet in packets {
        match packet {
            Ok(PolledPacket::Text(packet)) => {
                let mut text = Vec::new();
                packet.encode(&mut text);
                sent.push(Sent::Text(String::from_utf8(text).unwrap()));
            }
            Ok(PolledPacket::Binary(message)) => sent.push(Sent::Binary(message)),
            Err(error) => return (sent, Some(error)),
        }
    }
    (sent, None)
}

fn encode(packets: &[Sent], form: BodyForm) -> Vec<u8> {
    let mut body = b"before".to_vec();
    let mut encoder = PayloadV3Encoder::new(&mut body, form);
    for packet in packets {
        match packet {
            Sent::Text(packet) => encoder.push_text(packet.as_bytes()),
            Sent::Binary(message) => encoder.push_binary(message),
        }
    }
    assert_eq!(encoder.packet_count(), packets.len());
    body.split_off(6)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn written_bodies_are_those_of_the_official_encoder() {
    let packets = [text("0{\"a\":1}"), text("4h\u{e9}\u{20ac}\u{1f600}"), text("6")];
    assert_eq!(
        String::from_utf8(encode(&packets, BodyForm::Text)).unwrap(),
        "8:0{\"a\":1}6:4h\u{e9}\u{20ac}\u{1f600}1:6"
    );
    let packets = [text("4hi"), binary(&[1, 2, 3]), text("4\u{20ac}\u{1f600}")];
    assert_eq!(String::from_utf8(encode(&packets, BodyForm::Text)).unwrap(), "3:4hi6:b4AQID4:4\u{20ac}\u{1f600}");
    assert_eq!(encode(&packets, BodyForm::Binary), hex("0003ff3468690104ff040102030008ff34e282acf09f9880"));
    let packets = [binary(b"xxxxxxxxxxxx")];
    assert_eq!(encode(&packets, BodyForm::Text), b"18:b4eHh4eHh4eHh4eHh4");
    assert_eq!(encode(&packets, BodyForm::Binary), hex("010103ff04787878787878787878787878"));
    let long = format!("4{}", "a".repeat(123));
    let packets = [text(&long), binary(b"")];
    assert_eq!(encode(&packets, BodyForm::Text), format!("124:{long}2:b4").as_bytes());
    let expected = [b"\x00\x01\x02\x04\xff", long.as_bytes(), b"\x01\x01\xff\x04"].concat();
    assert_eq!(encode(&packets, BodyForm::Binary), expected);
}

#[test]
fn form_depends_on_binary_packets_and_on_b64() {
    assert_eq!(BodyForm::choose(false, false), BodyForm::Text);
    assert_eq!(BodyForm::choose(true, false), BodyForm::Binary);
    assert_eq!(BodyForm::choose(true, true), BodyForm::Text);
    assert_eq!(BodyForm::Text.content_type(), "text/plain; charset=UTF-8");
    assert_eq!(BodyForm::Binary.content_type(), "application/octet-stream");
}

#[test]
fn text_bodies_decode_as_by_the_official_decoder() {
    let unknown = PayloadV3Error::Packet(PacketError::UnknownKind);
    let cases: [(&str, &[Sent], Option<PayloadV3Error>); 17] = [
        ("", &[], Some(PayloadV3Error::Empty)),
        ("0:", &[], None),
        ("0:0:", &[], None),
        ("4:4abc", &[text("4abc")], None),
        ("4:4abc0:2:4d", &[text("4abc"), text("4d")], None),
        ("5:4abc", &[], Some(PayloadV3Error::Truncated)),
        ("3:4abc", &[text("4ab")], Some(PayloadV3Error::InvalidLength)),
        ("6:4\u{20ac}\u{1f600}ab", &[text("4\u{20ac}\u{1f600}ab")], None),
        ("3:4\u{1f600}", &[text("4\u{1f600}")], None),
        (":4a", &[], Some(PayloadV3Error::InvalidLength)),
        ("x:4a", &[], Some(PayloadV3Error::InvalidLength)),
        ("03:4ab", &[text("4ab")], None),
        ("2:4a3", &[text("4a")], Some(PayloadV3Error::InvalidLength)),
        ("1:7", &[], Some(unknown)),
        ("6:b4AQID", &[binary(&[1, 2, 3])], None),
        ("2:b4", &[binary(b"")], None),
        ("2:4a1:92:4b", &[text("4a")], Some(unknown)),
    ];
    for (body, sent, error) in cases {
        assert_eq!(outcome(decode_text_body(body)), (sent.to_vec(), error), "{body:?}");
    }
}

#[test]
fn binary_bodies_decode_as_by_the_official_decoder() {
    let cases: [(&str, &[Sent], Option<PayloadV3Error>); 9] = [
        ("", &[], None),
        ("0002ff3430", &[text("40")], None),
        ("0003ff34325b0104ff04010203", &[text("42["), binary(&[1, 2, 3])], None),
        ("0104ff04010203", &[binary(&[1, 2, 3])], None),
        ("0004ff34e282ac", &[text("4\u{20ac}")], None),
        ("0006ff6234415149440002ff3461", &[binary(&[1, 2, 3]), text("4a")], None),
        ("0001ff", &[], Some(PayloadV3Error::Truncated)),
        ("0002ff34e2", &[], Some(PayloadV3Error::InvalidUtf8)),
        ("0002ff37ff", &[], Some(PayloadV3Error::InvalidUtf8)),
    ];
    for (body, sent, error) in cases {
        assert_eq!(outcome(decode_binary_body(&hex(body))), (sent.to_vec(), error), "{body}");
    }
}

#[test]
fn what_the_official_decoder_guesses_about_is_refused() {
    let unknown = PayloadV3Error::Packet(PacketError::UnknownKind);
    let empty = PayloadV3Error::Packet(PacketError::Empty);
    for (body, error) in [
        // Half of a surrogate pair, and lengths that only JavaScript's `Number` reads.
        ("2:4\u{1f600}", PayloadV3Error::InvalidLength),
        (" 2:4a", PayloadV3Error::InvalidLength),
        ("+2:4a", PayloadV3Error::InvalidLength),
        ("2e0:4a", PayloadV3Error::InvalidLength),
        ("2.0:4a", PayloadV3Error::InvalidLength),
        ("999999999999999999999:4a", PayloadV3Error::InvalidLength),
        ("99999999999999999999:4a", PayloadV3Error::Truncated),
        ("2", PayloadV3Error::InvalidLength),
        // Binary, but no message.
        ("1:b", empty),
        ("2:b2", unknown),
        ("2:b7", unknown),
        ("7:bb4AQID", unknown),
    ] {
        assert_eq!(outcome(decode_text_body(body)), (vec![], Some(error)), "{body:?}");
    }
    for (body, error) in [
        ("0002ff34", PayloadV3Error::Truncated),
        ("000106ff34325b", PayloadV3Error::Truncated),
        ("0104ff0401", PayloadV3Error::Truncated),
        ("0202ff0403", PayloadV3Error::UnknownMark),
        ("0000ff", empty),
        ("0100ff", empty),
        ("0101ff05", unknown),
        ("0101ff34", unknown),
        ("00ff", PayloadV3Error::InvalidLength),
        ("ff", PayloadV3Error::InvalidLength),
        ("0002", PayloadV3Error::InvalidLength),
        ("000aff3430", PayloadV3Error::InvalidLength),
        ("0032ff3430", PayloadV3Error::InvalidLength),
    ] {
        assert_eq!(outcome(decode_binary_body(&hex(body))), (vec![], Some(error)), "{body}");
    }
    let long_length = [vec![0; 22], vec![2, 0xff, b'4', b'a']].concat();
    assert_eq!(outcome(decode_binary_body(&long_length)), (vec![], Some(PayloadV3Error::InvalidLength)));
    assert_eq!(outcome(decode_binary_body(&long_length[3..])).0, [text("4a")]);
}

#[test]
fn nothing_follows_an_error() {
    let mut body = decode_text_body("1:71:6");
    assert!(body.next().unwrap().is_err());
    assert_eq!(body.next(), None);
    let bytes = hex("0001ff370001ff36");
    let mut body = decode_binary_body(&bytes);
    assert!(body.next().unwrap().is_err());
    assert_eq!(body.next(), None);
}

#[test]
fn frames_carry_their_type_too() {
    let mut frame = Vec::new();
    encode_websocket_binary(&mut frame, &[1, 2]);
    assert_eq!(frame, [4, 1, 2]);
    assert_eq!(decode_websocket_binary(&frame), Ok([1, 2].as_slice()));
    assert_eq!(decode_websocket_binary(&[4]), Ok([].as_slice()));
    assert_eq!(decode_websocket_binary(&[]), Err(PayloadV3Error::Packet(PacketError::Empty)));
    for kind in (0..=255).filter(|&kind| kind != 4) {
        let frame = [kind, 1];
        let refused = decode_websocket_binary(&frame);
        assert_eq!(refused, Err(PayloadV3Error::Packet(PacketError::UnknownKind)), "{kind}");
    }
    let mut frame = Vec::new();
    encode_base64_message(&mut frame, &[1, 2, 3]);
    assert_eq!(frame, b"b4AQID");
    assert_eq!(decode_websocket_text("b4AQID"), Ok(PolledPacket::Binary(vec![1, 2, 3])));
}

fn packets() -> impl Strategy<Value = Vec<Sent>> {
    let packet = prop_oneof![
        "[0-6][a-z\u{e9}\u{20ac}\u{1f600}:0-9]{0,12}".prop_map(Sent::Text),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Sent::Binary),
    ];
    prop::collection::vec(packet, 1..8)
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(packets in packets()) {
        let body = String::from_utf8(encode(&packets, BodyForm::Text)).unwrap();
        prop_assert_eq!(outcome(decode_text_body(&body)), (packets.clone(), None));
        let body = encode(&packets, BodyForm::Binary);
        prop_assert_eq!(outcome(decode_binary_body(&body)), (packets, None));
    }

    /// A body cut anywhere gives the packets before the cut, and an error unless it was cut between two packets.
    #[test]
    fn every_prefix_gives_whole_packets_only(packets in packets()) {
        for form in [BodyForm::Text, BodyForm::Binary] {
            let body = encode(&packets, form);
            let ends: Vec<_> = (0..=packets.len()).map(|count| encode(&packets[..count], form).len()).collect();
            for end in 0..body.len() {
                let prefix = &body[..end];
                let (sent, error) = match form {
                    BodyForm::Binary => outcome(decode_binary_body(prefix)),
                    BodyForm::Text => match std::str::from_utf8(prefix) {
                        Ok(prefix) => outcome(decode_text_body(prefix)),
                        Err(_) => continue,
                    },
                };
                let whole_count = ends.iter().filter(|&&packet_end| packet_end <= end).count() - 1;
                prop_assert_eq!(&sent, &packets[..whole_count]);
                let is_clean = ends.contains(&end) && (end > 0 || form == BodyForm::Binary);
                prop_assert_eq!(error.is_none(), is_clean);
            }
        }
    }

    #[test]
    fn units_are_those_of_utf_16(text in any::<String>()) {
        let units = text.encode_utf16().count() as u64;
        prop_assert_eq!(utf16_len(text.as_bytes()), units);
        prop_assert_eq!(utf16_prefix_len(&text, units), Ok(text.len()));
        prop_assert_eq!(utf16_prefix_len(&text, units + 1), Err(PayloadV3Error::Truncated));
    }

    #[test]
    fn nothing_panics(
        text in prop_oneof!["([0-9]{0,3}:[0-9b]{0,4}){0,4}", any::<String>()],
        bytes in prop::collection::vec(prop_oneof![0u8..3, Just(0xff), Just(b'4'), any::<u8>()], 0..20),
    ) {
        let _ = outcome(decode_text_body(&text));
        let _ = outcome(decode_binary_body(&bytes));
    }
}
