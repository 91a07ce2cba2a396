//! Packets as the official server and client write them (captured, socket.io 4.8.3 with socket.io-msgpack-parser 3.0.2
//! in Node 20), and the values of JavaScript in both encodings.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::socketio::attachment::AttachmentError;
use crate::socketio::json::DEPTH_MAX;

mod trees;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn decode_default(message: &[u8]) -> Result<MsgpackPacket<'_>, MsgpackError> {
    decode(message, &MsgpackLimits::default())
}

/// The packet in the default encoding, and its attachments.
fn text_of(message: &[u8]) -> Result<(String, Vec<Vec<u8>>), MsgpackError> {
    let packet = decode_default(message)?;
    let (mut out, mut ranges) = (b"before".to_vec(), vec![]);
    packet.write_text(&mut out, &mut ranges)?;
    assert_eq!(ranges.len(), packet.attachment_count as usize);
    let attachments = ranges.into_iter().map(|range| packet.data.unwrap()[range].to_vec()).collect();
    Ok((String::from_utf8(out.split_off(6)).unwrap(), attachments))
}

fn json_of(value: &[u8]) -> Result<String, MsgpackError> {
    let mut out = Vec::new();
    to_json(value, &mut out, &mut Vec::new())?;
    Ok(String::from_utf8(out).unwrap())
}

fn msgpack_of(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    from_json::<&[u8]>(json, &[], &mut out).unwrap();
    out
}

fn appended(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    write(&mut out);
    out.split_off(6)
}

const TYPE: &str = "a474797065";
const DATA: &str = "a464617461";
const NSP: &str = "a36e7370";
const ROOT: &str = "a36e7370a12f";
const ID: &str = "a26964";

#[test]
fn captured_packets_are_decoded() {
    let cases: [(&str, &str, &[&[u8]]); 12] = [
        ("83 a47479706500 a464617461 81a17401 a36e7370a12f", r#"0{"t":1}"#, &[]),
        (
            "83a47479706500a46461746182a3736964b46d49475462384f5963467751537a507941414141a3706964d40000a36e7370a12f",
            r#"0{"sid":"mIGTb8OYcFwQSzPyAAAA"}"#,
            &[],
        ),
        (
            "84a47479706502a46461746193a173c402010281a161d40000a2696400a36e7370a12f",
            r#"51-0["s",{"_placeholder":true,"num":0},{}]"#,
            &[&[1, 2]],
        ),
        ("84a47479706503a2696400a4646174619107a36e7370a12f", "30[7]", &[]),
        (
            "84a47479706502a46461746192a16581a178cb3ff8000000000000a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f",
            r#"2["e",{"x":1.5}]"#,
            &[],
        ),
        (
            "85a47479706502a46461746192a165a171a76f7074696f6e7381a8636f6d7072657373c3a2696400a36e7370a12f",
            r#"20["e","q"]"#,
            &[],
        ),
        ("84a2696400a47479706503a4646174619101a36e7370a12f", "30[1]", &[]),
        ("82a47479706501a36e7370a12f", "1", &[]),
        (
            "83a47479706504a36e7370a52f6e6f7065a46461746181a76d657373616765b1496e76616c6964206e616d657370616365",
            r#"4/nope,{"message":"Invalid namespace"}"#,
            &[],
        ),
        (
            "83a47479706502a46461746196a5706c61696e01a178c0d4000082a175d40000a164d7000000000000000005a36e7370a12f",
            r#"2["plain",1,"x",null,null,{"d":"1970-01-01T00:00:00.005Z"}]"#,
            &[],
        ),
        (
            "83a47479706502a46461746197a26263cb3ff8000000000000ffcd012cce00011170cf000000e8d4a51000d3ffffff172b5af000\
             a36e7370a12f",
            r#"2["bc",1.5,-1,300,70000,1000000000000,-1000000000000]"#,
            &[],
        ),
        (
            "84a47479706502a46461746192a3626361c702000102a36e7370a12fa2696401",
            r#"51-1["bca",{"_placeholder":true,"num":0}]"#,
            &[&[1, 2]],
        ),
    ];
    for (bytes, text, attachments) in cases {
        let (found, found_attachments) = text_of(&hex(bytes)).unwrap();
        assert_eq!(found, text);
        assert_eq!(found_attachments, attachments, "{text}");
        // And what the default decoder makes of the text is the same packet.
        let limits = crate::socketio::decode::DecodeLimits::default();
        let packet = crate::socketio::decode::decode(&found, &limits).unwrap();
        assert_eq!(packet.attachment_count as usize, attachments.len());
    }
}

#[test]
fn captured_packets_are_written() {
    let head = |kind, namespace, id| PacketHead { kind, namespace, id, is_broadcast: false };
    let json = |head: PacketHead<'_>, data: &str, attachments: &[&[u8]]| {
        appended(|out| encode_json(out, &head, data, attachments).unwrap())
    };
    let sid = "pDx0mYJGHY_CFL_NAAAA";
    assert_eq!(
        appended(|out| connect_ok(out, "/", sid, None)),
        hex("83a47479706500a46461746182a3736964b4704478306d594a4748595f43464c5f4e41414141a3706964d40000a36e7370a12f")
    );
    assert_eq!(
        appended(|out| connect_ok(out, "/a", "s", Some("p"))),
        hex("83a47479706500a46461746182a3736964a173a3706964a170a36e7370a22f61")
    );
    assert_eq!(
        appended(|out| unknown_namespace(out, "/nope", "Invalid namespace")),
        hex("83a47479706504a36e7370a52f6e6f7065a46461746181a76d657373616765b1496e76616c6964206e616d657370616365")
    );
    assert_eq!(
        appended(|out| connect_error(out, "/deny", "no", None).unwrap()),
        hex("83a47479706504a46461746182a76d657373616765a26e6fa464617461d40000a36e7370a52f64656e79")
    );
    assert_eq!(
        appended(|out| connect_error(out, "/deny2", "no", Some(r#"{"why":1}"#)).unwrap()),
        hex("83a47479706504a46461746182a76d657373616765a26e6fa46461746181a377687901a36e7370a62f64656e7932")
    );
    assert_eq!(appended(|out| disconnect(out, "/")), hex("82a47479706501a36e7370a12f"));
    let mark = r#"{"_placeholder":true,"num":0}"#;
    assert_eq!(
        json(head(PacketKind::BinaryEvent, "/", Some(0)), &format!(r#"["ack",{mark}]"#), &[&[1]]),
        hex("84a47479706502a46461746192a361636bc40101a2696400a36e7370a12f")
    );
    assert_eq!(
        json(head(PacketKind::Event, "/", None), r#"["bc",1.5,-1,300,70000,1000000000000,-1000000000000]"#, &[]),
        hex("83a47479706502a46461746197a26263cb3ff8000000000000ffcd012cce00011170cf000000e8d4a51000d3ffffff172b5af000\
             a36e7370a12f")
    );
    let broadcast = PacketHead { is_broadcast: true, ..head(PacketKind::Event, "/", Some(1)) };
    let data = hex("92a3626361c702000102");
    assert_eq!(
        appended(|out| encode_raw(out, &broadcast, Some(&data))),
        hex("84a47479706502a46461746192a3626361c702000102a36e7370a12fa2696401")
    );
    assert_eq!(
        json(head(PacketKind::Ack, "/", Some(9)), r#"[1,"two"]"#, &[]),
        hex("84a2696409a47479706503a4646174619201a374776fa36e7370a12f")
    );
    let binary_ack = json(head(PacketKind::BinaryAck, "/", Some(9)), &format!("[{mark}]"), &[&[7]]);
    assert_eq!(binary_ack, hex("84a2696409a47479706503a46461746191c40107a36e7370a12f"));
}

#[test]
fn nothing_is_appended_of_a_packet_that_cannot_be_written() {
    let head = PacketHead { kind: PacketKind::Event, namespace: "/", id: None, is_broadcast: false };
    for data in ["", "[1", "[1],[2]"] {
        let mut out = b"before".to_vec();
        assert_eq!(encode_json(&mut out, &head, data, &[[0u8]]), Err(AttachmentError::InvalidJson), "{data}");
        assert_eq!(out, b"before");
    }
    let mut out = b"before".to_vec();
    assert_eq!(connect_error(&mut out, "/", "no", Some("{")), Err(AttachmentError::InvalidJson));
    assert_eq!(out, b"before");
}

#[test]
fn keys_come_in_any_order_and_the_last_of_a_name_counts() {
    let message = hex(&format!("85 {ID} 07 {NSP} a22f61 {DATA} 91a165 {TYPE} 03 {TYPE} 02"));
    let packet = decode_default(&message).unwrap();
    assert_eq!((packet.kind, packet.namespace, packet.id), (PacketKind::Event, "/a", Some(7)));
    assert_eq!(packet.event_name().as_deref(), Some("e"));
    let message = hex(&format!("85 01 02 c0 91c0 {NSP} a12f {DATA} d40000 {TYPE} 00"));
    let packet = decode_default(&message).unwrap();
    assert_eq!((packet.kind, packet.data, packet.content), (PacketKind::Connect, None, MsgpackContent::None));
}

#[test]
fn whole_numbers_may_come_in_any_form() {
    for number in ["02", "cc02", "cd0002", "cf0000000000000002", "d002", "cb4000000000000000", "ca40000000"] {
        let message = hex(&format!("84 {TYPE} {number} {DATA} 91a165 {ID} {number} {ROOT}"));
        let packet = decode_default(&message).unwrap();
        assert_eq!((packet.kind, packet.id), (PacketKind::Event, Some(2)), "{number}");
    }
}

#[test]
fn names_and_arguments_are_found() {
    let message = hex(&format!("83 {TYPE} 02 {DATA} 94 a3736179 01 9202c3 a178 {ROOT}"));
    let packet = decode_default(&message).unwrap();
    assert_eq!(packet.event_name().as_deref(), Some("say"));
    assert_eq!((packet.arguments(), packet.argument_count()), (&hex("01 9202c3 a178")[..], 3));
    assert_eq!(json_of(packet.arguments()).unwrap(), r#"1,[2,true],"x""#);
    for (name, expected) in [
        ("07", "7"),
        ("cbbff8000000000000", "-1.5"),
        ("a2c3a9", "\u{e9}"),
        ("a1ff", "\u{fffd}"),
        ("a0", ""),
        ("d90165", "e"),
    ] {
        let message = hex(&format!("83 {TYPE} 02 {DATA} 91 {name} {ROOT}"));
        let packet = decode_default(&message).unwrap();
        assert_eq!(packet.event_name().as_deref(), Some(expected));
        assert_eq!((packet.arguments(), packet.argument_count()), (&[][..], 0));
    }
    let message = hex(&format!("83 {TYPE} 03 {DATA} 920102 {ROOT}"));
    let packet = decode_default(&message).unwrap();
    assert_eq!((packet.event_name(), packet.arguments(), packet.argument_count()), (None, &[1u8, 2][..], 2));
}

#[test]
fn what_is_no_packet_is_refused() {
    use MsgpackError::{InvalidId, InvalidNamespace, InvalidPayload, Malformed, UnknownPacketType};
    let cases = [
        ("", Malformed),
        ("c1", Malformed),
        ("80", UnknownPacketType),
        ("90", UnknownPacketType),
        ("02", UnknownPacketType),
        (&format!("81 {ROOT}"), UnknownPacketType),
        (&format!("82 {TYPE} 05 {ROOT}"), UnknownPacketType),
        (&format!("82 {TYPE} ff {ROOT}"), UnknownPacketType),
        (&format!("82 {TYPE} a132 {ROOT}"), UnknownPacketType),
        (&format!("82 {TYPE} cb3ff8000000000000 {ROOT}"), UnknownPacketType),
        (&format!("82 {TYPE} cb7ff8000000000000 {ROOT}"), UnknownPacketType),
        (&format!("81 {TYPE} 00"), InvalidNamespace),
        (&format!("82 {TYPE} 00 {NSP} c0"), InvalidNamespace),
        (&format!("82 {TYPE} 00 {NSP} 01"), InvalidNamespace),
        (&format!("82 {TYPE} 00 {NSP} a2ff2f"), InvalidNamespace),
        (&format!("83 {TYPE} 00 {DATA} 90 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 00 {DATA} c0 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 00 {DATA} a161 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 01 {DATA} 80 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 02 {DATA} 80 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 02 {DATA} d40000 {ROOT}"), InvalidPayload),
        (&format!("82 {TYPE} 02 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 02 {DATA} 90 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 02 {DATA} 91c0 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 02 {DATA} 9190 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 02 {DATA} 91a7636f6e6e656374 {ROOT}"), InvalidPayload),
        (&format!("82 {TYPE} 03 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 03 {DATA} 80 {ROOT}"), InvalidPayload),
        (&format!("82 {TYPE} 04 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 04 {DATA} 90 {ROOT}"), InvalidPayload),
        (&format!("83 {TYPE} 00 {ID} ff {ROOT}"), InvalidId),
        (&format!("83 {TYPE} 00 {ID} c0 {ROOT}"), InvalidId),
        (&format!("83 {TYPE} 00 {ID} a130 {ROOT}"), InvalidId),
        (&format!("83 {TYPE} 00 {ID} cb3ff8000000000000 {ROOT}"), InvalidId),
        (&format!("83 {TYPE} 00 {ID} cf0020000000000000 {ROOT}"), InvalidId),
        (&format!("83 {TYPE} 00 {ID} cb43e0000000000000 {ROOT}"), InvalidId),
        (&format!("82 {TYPE} 00 {ROOT} 00"), Malformed),
        (&format!("83 {TYPE} 00 {ROOT} 90 00"), Malformed),
        (&format!("83 {TYPE} 00 {ROOT} cb3ff8000000000000 00"), Malformed),
        (&format!("83 {TYPE} 00 {DATA} df00000000 {NSP} c1"), Malformed),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode_default(&hex(bytes)), Err(error), "{bytes}");
    }
    let id = hex(&format!("83 {TYPE} 00 {ID} cf001fffffffffffff {ROOT}"));
    assert_eq!(decode_default(&id).unwrap().id, Some(ID_MAX));
    let text = hex(&format!("83 {TYPE} 04 {DATA} a26e6f {ROOT}"));
    assert_eq!(decode_default(&text).unwrap().content, MsgpackContent::Text);
}

#[test]
fn every_prefix_of_a_packet_is_refused() {
    let message =
        hex(&format!("84 {TYPE} 02 {DATA} 94 a165 c4020102 81a16bd700ffffffffffffffff c7020a0102 {ID} 07 {ROOT}"));
    assert!(decode_default(&message).is_ok());
    for end in 0..message.len() {
        assert_eq!(decode_default(&message[..end]), Err(MsgpackError::Malformed), "{end}");
    }
}

/// Counts and lengths that are declared cost nothing.
#[test]
fn declared_sizes_are_not_believed() {
    for value in
        ["dd ffffffff", "df ffffffff", "c6 ffffffff 00", "db ffffffff 00", "c9 ffffffff 00 00", "c9 ffffffff 05"]
    {
        let message = hex(&format!("83 {TYPE} 02 {ROOT} {DATA} {value}"));
        assert_eq!(decode_default(&message), Err(MsgpackError::Malformed));
        assert_eq!(json_of(&hex(value)), Err(MsgpackError::Malformed));
    }
}

#[test]
fn words_of_an_error_are_its_display() {
    assert_eq!(MsgpackError::InvalidId.to_string(), MsgpackError::InvalidId.as_str());
    assert_eq!(MsgpackError::InvalidPayload.as_str(), "invalid payload");
}

#[test]
fn binary_values_are_counted_against_the_limit() {
    let event = |binary: &str| hex(&format!("83 {TYPE} 02 {DATA} 94 a165 {binary} 91{binary} 81a16b{binary} {ROOT}"));
    for binary in ["c400", "c70000", "d50100ff", "c4020102", "d6ff00000001"] {
        let message = event(binary);
        assert_eq!(decode(&message, &MsgpackLimits { attachments_max: 3 }).unwrap().attachment_count, 3, "{binary}");
        let refused = decode(&message, &MsgpackLimits { attachments_max: 2 });
        assert_eq!(refused, Err(MsgpackError::TooManyAttachments));
    }
    for other in ["d40000", "d7000000000000000000", "a0", "80"] {
        assert_eq!(decode(&event(other), &MsgpackLimits { attachments_max: 0 }).unwrap().attachment_count, 0);
    }
}

#[test]
fn nesting_is_bounded_as_in_json() {
    let depth_max = DEPTH_MAX as usize;
    let nested = |depth: usize, innermost: &str| {
        hex(&format!("83 {TYPE} 02 {DATA} 92 a165 {}{innermost} {ROOT}", "91".repeat(depth - 1)))
    };
    for (depth, innermost) in
        [(depth_max, "c0"), (depth_max - 1, "c400"), (depth_max - 2, "d50100ff"), (depth_max - 1, "80")]
    {
        let (text, _) = text_of(&nested(depth, innermost)).unwrap();
        let decoded = crate::socketio::decode::decode(&text, &crate::socketio::decode::DecodeLimits::default());
        assert!(decoded.is_ok(), "{innermost}: what is as deep as allowed is as deep as JSON may be");
        let refused = decode_default(&nested(depth + 1, innermost)).map(|_| ());
        assert_eq!(refused, Err(MsgpackError::PayloadTooDeep), "{innermost}");
    }
    assert_eq!(json_of(&vec![0x91; 100_000]), Err(MsgpackError::PayloadTooDeep));
    let deep = "[".repeat(100_000);
    let mut out = Vec::new();
    assert_eq!(from_json::<&[u8]>(&deep, &[], &mut out), Err(AttachmentError::InvalidJson));
}

#[test]
fn text_that_the_default_encoding_cannot_say_is_refused() {
    for namespace in ["a161", "a0", "a42f612c62"] {
        let message = hex(&format!("82 {TYPE} 00 {NSP} {namespace}"));
        assert!(decode_default(&message).is_ok());
        assert_eq!(text_of(&message), Err(MsgpackError::InvalidNamespace), "{namespace}");
    }
    let message = hex(&format!("83 {TYPE} 00 {DATA} 81a16bc40101 {ROOT}"));
    assert_eq!(text_of(&message), Err(MsgpackError::InvalidPayload));
}

/// Each right side is what `JSON.stringify` made of the value that notepack.io 2.2.0 decoded, in Node 20.
#[test]
fn values_become_the_json_of_javascript() {
    let cases = [
        ("c0", "null"),
        ("c2", "false"),
        ("7f", "127"),
        ("e0", "-32"),
        ("ccff", "255"),
        ("d080", "-128"),
        ("d18000", "-32768"),
        ("d280000000", "-2147483648"),
        ("ca3dcccccd", "0.10000000149011612"),
        ("cb3ff0000000000000", "1"),
        ("cb8000000000000000", "0"),
        ("cb7ff0000000000000", "null"),
        ("cb7ff8000000000000", "null"),
        ("cb3f1a36e2eb1c432d", "0.0001"),
        ("a46122620a", r#""a\"b\n""#),
        ("a1ff", "\"\u{fffd}\""),
        ("93d40000c001", "[null,null,1]"),
        ("82a161d40000a16201", r#"{"b":1}"#),
        ("82a16101a162d40000", r#"{"a":1}"#),
        ("81a161d40000", "{}"),
        ("8201a162c001", r#"{"1":"b","null":1}"#),
        ("82c3ffc2e0", r#"{"true":-1,"false":-32}"#),
        ("d700 0000000000000005", r#""1970-01-01T00:00:00.005Z""#),
        ("d700 001eb208c2dc0000", r#""+275760-09-13T00:00:00.000Z""#),
        ("d700 001eb208c2dc0001", "null"),
        ("9201c3", "[1,true]"),
    ];
    for (bytes, json) in cases {
        assert_eq!(json_of(&hex(bytes)).unwrap(), json, "{bytes}");
    }
    // Where JavaScript rounds, or spells another way.
    assert_eq!(json_of(&hex("cfffffffffffffffff")).unwrap(), "18446744073709551615");
    assert_eq!(json_of(&hex("d38000000000000000")).unwrap(), "-9223372036854775808");
    assert_eq!(json_of(&hex("cb7fe1ccf385ebc8a0")).unwrap(), "1e308");
    assert_eq!(json_of(&hex("cb3e7ad7f29abcaf48")).unwrap(), "1e-7");
    assert_eq!(json_of(&hex("cb3eb0c6f7a0b5ed8d")).unwrap(), "1e-6");
    // Extensions that notepack.io does not know are a pair of its type and its bytes there too.
    let (mut out, mut attachments) = (Vec::new(), std::iter::once(0..0).collect::<Vec<_>>());
    to_json(&hex("d6ff00000001"), &mut out, &mut attachments).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), r#"[-1,{"_placeholder":true,"num":1}]"#);
    assert_eq!(attachments, [0..0, 2..6]);
}

/// Each right side is what notepack.io 2.2.0 made of the parsed left side, in Node 20.
#[test]
fn json_becomes_the_bytes_of_notepack() {
    let long_text = "x".repeat(32);
    let text_256 = "x".repeat(256);
    let cases = [
        ("null", "c0"),
        ("true", "c3"),
        ("0", "00"),
        ("-0", "00"),
        ("-0.0", "00"),
        ("1.0", "01"),
        ("1e2", "64"),
        ("127", "7f"),
        ("128", "cc80"),
        ("255", "ccff"),
        ("256", "cd0100"),
        ("65535", "cdffff"),
        ("65536", "ce00010000"),
        ("4294967295", "ceffffffff"),
        ("4294967296", "cf0000000100000000"),
        ("9007199254740991", "cf001fffffffffffff"),
        ("-1", "ff"),
        ("-32", "e0"),
        ("-33", "d0df"),
        ("-128", "d080"),
        ("-129", "d1ff7f"),
        ("-32768", "d18000"),
        ("-32769", "d2ffff7fff"),
        ("-2147483648", "d280000000"),
        ("-2147483649", "d3ffffffff7fffffff"),
        ("-9007199254740991", "d3ffe0000000000001"),
        ("1e15", "cf00038d7ea4c68000"),
        ("-1e3", "d1fc18"),
        ("1.5", "cb3ff8000000000000"),
        ("0.1", "cb3fb999999999999a"),
        ("1e400", "cb7ff0000000000000"),
        ("-1e400", "cbfff0000000000000"),
        (r#""""#, "a0"),
        (r#""a\u00e9\n\ud83d\ude00""#, "a861c3a90af09f9880"),
        (&format!("\"{}\"", &long_text[1..]), &format!("bf{}", "78".repeat(31))),
        (&format!("\"{long_text}\""), &format!("d920{}", "78".repeat(32))),
        (&format!("\"{text_256}\""), &format!("da0100{}", "78".repeat(256))),
        ("[]", "90"),
        ("{}", "80"),
        (r#" { "a" : [ 1 , { } ] } "#, "81a161920180"),
        (&format!("[{}0]", "0,".repeat(14)), &format!("9f{}", "00".repeat(15))),
        (&format!("[{}0]", "0,".repeat(15)), &format!("dc0010{}", "00".repeat(16))),
        (&format!("[[{}0],1]", "0,".repeat(15)), &format!("92dc0010{}01", "00".repeat(16))),
    ];
    for (json, bytes) in cases {
        assert_eq!(msgpack_of(json), hex(bytes), "{json}");
    }
    // Where JavaScript rounds, or notepack.io cuts off.
    assert_eq!(msgpack_of("18446744073709551615"), hex("cfffffffffffffffff"));
    assert_eq!(msgpack_of("-9223372036854775808"), hex("d38000000000000000"));
    assert_eq!(msgpack_of("18446744073709551616"), hex("cb43f0000000000000"));
    assert_eq!(msgpack_of("-18446744073709551616"), hex("cbc3f0000000000000"));
    assert_eq!(msgpack_of("1e300"), hex("cb7e37e43c8800759c"));
    // Arguments: several values, none, and their count.
    let mut out = Vec::new();
    assert_eq!(from_json::<&[u8]>(r#"1, "a" ,[2]"#, &[], &mut out), Ok(3));
    assert_eq!(out, hex("01a1619102"));
    assert_eq!(from_json::<&[u8]>(" ", &[], &mut out), Ok(0));
}

#[test]
fn attachments_return_to_their_places() {
    let mark = |num: u32| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
    let json = format!(r#"{},[{{"k":{}}}],{}"#, mark(1), mark(0), mark(1));
    let attachments = [vec![1u8], vec![2u8; 300]];
    let mut out = Vec::new();
    assert_eq!(from_json(&json, &attachments, &mut out), Ok(3));
    let long = format!("c5012c{}", "02".repeat(300));
    assert_eq!(out, hex(&format!("{long} 91 81a16b c40101 {long}")));
    let mut ranges = Vec::new();
    let mut back = Vec::new();
    to_json(&out, &mut back, &mut ranges).unwrap();
    assert_eq!(ranges.into_iter().map(|range| out[range].len()).collect::<Vec<_>>(), [300, 1, 300]);
    // Without attachments an object is an object.
    assert_eq!(msgpack_of(&mark(7)), hex("82ac5f706c616365686f6c646572c3a36e756d07"));
    // One that names no attachment is an object, and what lies in it keeps its place.
    let json = format!(r#"{{"_placeholder":true,"num":7,"k":{}}}"#, mark(0));
    let mut out = Vec::new();
    assert_eq!(from_json(&json, &attachments, &mut out), Ok(1));
    assert_eq!(out, hex("83ac5f706c616365686f6c646572c3a36e756d07a16b c40101"));
}

#[test]
fn broken_json_is_an_error() {
    let json = r#"["e",{"k":1,"x":[1,{}]},"\u00e9",true,-1.5e3]"#;
    for end in 1..json.len() {
        let mut out = Vec::new();
        assert_eq!(from_json::<&[u8]>(&json[..end], &[], &mut out), Err(AttachmentError::InvalidJson), "{end}");
    }
    for json in ["[1,]", "{\"a\"}", "{1:2}", "1 2", "]", "[1}", "{\"a\":1]", "nul", "01", ","] {
        assert_eq!(from_json::<&[u8]>(json, &[], &mut Vec::new()), Err(AttachmentError::InvalidJson), "{json}");
    }
}
