//! Stories of frames, told to a receiver whole, byte by byte and split at each point.
//!
//! The reference is the list of messages that the story was made from: what a receiver says must not depend on where
//! buffers end.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::websocket::frame::{encode_header, encode_header_masked};
use proptest::prelude::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMITS: MessageLimits = MessageLimits { message_bytes_max: 1000, role: Role::Server, allow_rsv1: false };

/// Something received, with its bytes taken out of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    /// Whether it is text, and the bytes as they came.
    Deflated(bool, Vec<u8>),
}

fn seen(received: &Received, buffer: &[u8]) -> Seen {
    let bytes = |payload: &Payload| payload.bytes(buffer).to_vec();
    let text = |payload: &Payload| String::from_utf8(bytes(payload)).unwrap();
    match received {
        Received::Text(payload) => Seen::Text(text(payload)),
        Received::Binary(payload) => Seen::Binary(bytes(payload)),
        Received::Ping(payload) => Seen::Ping(bytes(payload)),
        Received::Pong(payload) => Seen::Pong(bytes(payload)),
        Received::Close { code, reason } => Seen::Close(*code, text(reason)),
    }
}

/// The next thing, by the function for connections with permessage-deflate if the limits allow it.
fn next(
    receiver: &mut Receiver,
    buffer: &mut [u8],
    cursor: &mut usize,
    limits: &MessageLimits,
) -> Result<Option<Seen>, MessageError> {
    if !limits.allow_rsv1 {
        let received = receiver.next(buffer, cursor, limits)?;
        return Ok(received.map(|received| seen(&received, buffer)));
    }
    let incoming = receiver.next_with_deflate(buffer, cursor, limits)?;
    Ok(incoming.map(|incoming| match incoming {
        Incoming::Plain(received) => seen(&received, buffer),
        Incoming::Deflated(Deflated { is_text, payload }) => Seen::Deflated(is_text, payload.bytes(buffer).to_vec()),
    }))
}

/// Feeds one buffer until it is used up; what was seen is appended.
fn feed(
    receiver: &mut Receiver,
    bytes: &[u8],
    limits: &MessageLimits,
    out: &mut Vec<Seen>,
) -> Result<(), MessageError> {
    let mut buffer = bytes.to_vec();
    let mut cursor = 0;
    while let Some(seen) = next(receiver, &mut buffer, &mut cursor, limits)? {
        out.push(seen);
    }
    assert_eq!(cursor, buffer.len(), "without an error, all of the buffer is taken");
    Ok(())
}

/// What a receiver says to these buffers, up to its first error.
fn receive<'a>(
    buffers: impl IntoIterator<Item = &'a [u8]>,
    limits: &MessageLimits,
) -> (Vec<Seen>, Result<bool, MessageError>) {
    let mut receiver = Receiver::new();
    let mut out = Vec::new();
    for buffer in buffers {
        if let Err(error) = feed(&mut receiver, buffer, limits, &mut out) {
            return (out, Err(error));
        }
    }
    (out, Ok(receiver.is_idle()))
}

/// Feeds the bytes whole, byte by byte and split at each point; all have to agree.
fn receive_all_ways(bytes: &[u8], limits: &MessageLimits) -> (Vec<Seen>, Result<bool, MessageError>) {
    let whole = receive([bytes], limits);
    assert_eq!(receive(bytes.chunks(1), limits), whole, "byte by byte");
    for split in 0..=bytes.len() {
        let (left, right) = bytes.split_at(split);
        assert_eq!(receive([left, right], limits), whole, "split at {split}");
    }
    whole
}

/// A masked frame. `first` is its first byte: bits and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_header_masked(&mut out, Opcode::Binary, payload.len() as u64, KEY);
    out[0] = first;
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], KEY, 0);
    out
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

fn error_of(bytes: &[u8]) -> MessageError {
    receive_all_ways(bytes, &LIMITS).1.unwrap_err()
}

/// RFC 6455 section 5.7, as a server and as a client.
#[test]
fn messages_of_the_specification() {
    let (seen, idle) = receive_all_ways(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &LIMITS);
    assert_eq!((seen, idle), (vec![Seen::Text("Hello".into())], Ok(true)));
    let client = MessageLimits { role: Role::Client, ..LIMITS };
    let bytes = b"\x81\x05Hello\x01\x03Hel\x80\x02lo\x89\x05Hello\x8a\x05Hello";
    let (seen, idle) = receive_all_ways(bytes, &client);
    let hello = || "Hello".to_owned();
    let bytes = || b"Hello".to_vec();
    let expected = vec![Seen::Text(hello()), Seen::Text(hello()), Seen::Ping(bytes()), Seen::Pong(bytes())];
    assert_eq!((seen, idle), (expected, Ok(true)));
}

#[test]
fn whole_messages_stay_in_place_and_need_no_memory() {
    let mut buffer = [text("one"), frame(0x82, b"two"), frame(0x89, b""), frame(0x88, b"\x03\xe8bye")].concat();
    let mut receiver = Receiver::new();
    let mut cursor = 0;
    let mut expected = [6..9, 15..18, 24..24, 32..35].into_iter();
    while let Some(received) = receiver.next(&mut buffer, &mut cursor, &LIMITS).unwrap() {
        assert!(receiver.is_idle());
        assert_eq!(receiver.held_bytes(), 0);
        let (Received::Text(payload)
        | Received::Binary(payload)
        | Received::Ping(payload)
        | Received::Pong(payload)
        | Received::Close { reason: payload, .. }) = received;
        assert_eq!(payload, Payload::InPlace(expected.next().unwrap()));
    }
    assert_eq!(&buffer[6..9], b"one");
    assert_eq!(expected.next(), None);
}

#[test]
fn header_cut_by_the_buffer_leaves_the_payload_in_place() {
    let bytes = text("payload");
    let mut receiver = Receiver::new();
    let mut out = Vec::new();
    feed(&mut receiver, &bytes[..3], &LIMITS, &mut out).unwrap();
    assert!(out.is_empty() && !receiver.is_idle());
    let mut rest = bytes[3..].to_vec();
    let received = receiver.next(&mut rest, &mut 0, &LIMITS).unwrap().unwrap();
    assert_eq!(received, Received::Text(Payload::InPlace(3..10)));
    assert!(receiver.is_idle());
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let bytes = [
        frame(0x01, "\u{e9}t".as_bytes()),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x8a, b""),
        frame(0x80, "\u{e9}".as_bytes()),
        text("next"),
    ]
    .concat();
    let (seen, idle) = receive_all_ways(&bytes, &LIMITS);
    let expected = vec![
        Seen::Ping(b"ping".to_vec()),
        Seen::Pong(vec![]),
        Seen::Text("\u{e9}t\u{e9}".into()),
        Seen::Text("next".into()),
    ];
    assert_eq!((seen, idle), (expected, Ok(true)));
}

#[test]
fn messages_may_be_empty() {
    let bytes = [text(""), frame(0x02, b""), frame(0x80, b""), frame(0x88, b"")].concat();
    let (seen, _) = receive_all_ways(&bytes, &LIMITS);
    let expected = [Seen::Text(String::new()), Seen::Binary(vec![]), Seen::Close(None, String::new())];
    assert_eq!(seen, expected);
}

#[test]
fn close_says_its_code_and_reason() {
    let (seen, _) = receive_all_ways(&frame(0x88, b"\x0f\xa0over"), &LIMITS);
    assert_eq!(seen, [Seen::Close(Some(4000), "over".into())]);
    assert_eq!(error_of(&frame(0x88, b"\x03")), MessageError::Close(CloseError::Truncated));
    assert_eq!(error_of(&frame(0x88, b"\x03\xee")), MessageError::Close(CloseError::InvalidCode));
    let error = error_of(&frame(0x88, b"\x03\xe8\xc3"));
    assert_eq!((error, error.close_code()), (MessageError::Close(CloseError::InvalidUtf8), 1007));
}

#[test]
fn broken_rules_have_their_error_and_code() {
    let cases: [(Vec<u8>, MessageError, u16); 9] = [
        (b"\x81\x05Hello".to_vec(), MessageError::MaskMissing, 1002),
        (frame(0xc1, b"a"), MessageError::ReservedBit, 1002),
        (frame(0xa1, b"a"), MessageError::ReservedBit, 1002),
        (frame(0x99, b"a"), MessageError::ReservedBit, 1002),
        (frame(0x83, b"a"), MessageError::Frame(FrameError::ReservedOpcode), 1002),
        (frame(0x09, b"a"), MessageError::Frame(FrameError::ControlFragmented), 1002),
        (frame(0x80, b"a"), MessageError::ContinuationUnexpected, 1002),
        ([frame(0x01, b"a"), text("b")].concat(), MessageError::ContinuationMissing, 1002),
        (frame(0x81, b"\xff"), MessageError::InvalidUtf8, 1007),
    ];
    for (bytes, error, code) in cases {
        assert_eq!(error_of(&bytes), error);
        assert_eq!(error.close_code(), code);
    }
    let client = MessageLimits { role: Role::Client, ..LIMITS };
    assert_eq!(receive_all_ways(&text("a"), &client).1, Err(MessageError::MaskUnexpected));
}

#[test]
fn first_reserved_bit_is_for_the_first_frame_of_a_message_only() {
    let limits = MessageLimits { allow_rsv1: true, ..LIMITS };
    let (seen, _) = receive_all_ways(&frame(0xc2, b"a"), &limits);
    assert_eq!(seen, [Seen::Deflated(false, b"a".to_vec())]);
    let (seen, _) = receive_all_ways(&[frame(0x41, b"a\xff"), frame(0x80, b"\xff")].concat(), &limits);
    assert_eq!(seen, [Seen::Deflated(true, b"a\xff\xff".to_vec())], "compressed text is no text yet");
    let bytes = [frame(0x42, b"a"), frame(0xc0, b"b")].concat();
    assert_eq!(receive_all_ways(&bytes, &limits).1, Err(MessageError::ReservedBit));
    assert_eq!(receive_all_ways(&frame(0xc9, b"a"), &limits).1, Err(MessageError::ReservedBit));
}

#[test]
fn first_reserved_bit_is_refused_unless_it_was_agreed_on() {
    let bytes = frame(0xc1, b"a");
    assert_eq!(error_of(&bytes), MessageError::ReservedBit);
    let allowing = MessageLimits { allow_rsv1: true, ..LIMITS };
    let refused = Receiver::new().next(&mut bytes.clone(), &mut 0, &allowing);
    assert_eq!(refused, Err(MessageError::ReservedBit), "by the function that cannot report it");
    let refused = Receiver::new().next_with_deflate(&mut bytes.clone(), &mut 0, &LIMITS);
    assert_eq!(refused, Err(MessageError::ReservedBit), "by the limits");
}

#[test]
fn limit_counts_the_declared_length_and_all_fragments() {
    let exact = frame(0x82, &[7; 1000]);
    assert_eq!(receive([&exact[..]], &LIMITS).0, [Seen::Binary(vec![7; 1000])]);
    // The header alone is enough.
    let mut header = Vec::new();
    encode_header_masked(&mut header, Opcode::Binary, 1001, KEY);
    assert_eq!(error_of(&header), MessageError::MessageTooBig);
    assert_eq!(MessageError::MessageTooBig.close_code(), 1009);
    let fragments = [frame(0x02, &[7; 600]), frame(0x00, &[7; 400])].concat();
    assert_eq!(receive([&fragments[..]], &LIMITS).1, Ok(false));
    let over = [fragments, frame(0x80, b"x")].concat();
    assert_eq!(receive([&over[..]], &LIMITS).1, Err(MessageError::MessageTooBig));
    // Also with the greatest length that a frame can declare.
    let mut huge = frame(0x02, b"a");
    huge.extend_from_slice(b"\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
    let limits = MessageLimits { message_bytes_max: (1 << 63) - 1, ..LIMITS };
    assert_eq!(receive([&huge[..]], &limits).1, Err(MessageError::MessageTooBig));
}

#[test]
fn memory_grows_with_what_arrives_not_with_what_is_declared() {
    let limits = MessageLimits { message_bytes_max: 1 << 40, ..LIMITS };
    let mut receiver = Receiver::new();
    let mut header = Vec::new();
    encode_header_masked(&mut header, Opcode::Binary, 1 << 39, KEY);
    feed(&mut receiver, &header, &limits, &mut Vec::new()).unwrap();
    assert!(receiver.held_bytes() <= 65_536 + 256, "{}", receiver.held_bytes());
    for arrived in (10_000..1_000_000).step_by(10_000) {
        feed(&mut receiver, &[1; 10_000], &limits, &mut Vec::new()).unwrap();
        assert!(receiver.held_bytes() <= 65_536.max(2 * arrived) + 256, "{}", receiver.held_bytes());
    }
}

#[test]
fn a_message_that_ends_with_its_frame_takes_no_more_than_its_length() {
    let limits = MessageLimits { message_bytes_max: 1 << 20, ..LIMITS };
    let bytes = frame(0x82, &[9; 300_000]);
    let mut receiver = Receiver::new();
    let mut out = Vec::new();
    for piece in bytes.chunks(16_384) {
        assert!(out.is_empty());
        feed(&mut receiver, piece, &limits, &mut out).unwrap();
        assert!(receiver.held_bytes() <= 300_000 + 256);
    }
    assert_eq!(out, [Seen::Binary(vec![9; 300_000])]);
}

/// One reallocation per fragment would copy 400 MB here; doubling copies less than 100 KB.
#[test]
fn tiny_fragments_reallocate_rarely() {
    let limits = MessageLimits { message_bytes_max: 1 << 20, ..LIMITS };
    let mut receiver = Receiver::new();
    feed(&mut receiver, &frame(0x02, b"x"), &limits, &mut Vec::new()).unwrap();
    let mut capacities = vec![receiver.held_bytes()];
    for _ in 0..30_000 {
        feed(&mut receiver, &frame(0x00, b"x"), &limits, &mut Vec::new()).unwrap();
        if capacities.last() != Some(&receiver.held_bytes()) {
            capacities.push(receiver.held_bytes());
        }
    }
    assert!(capacities.len() < 20, "{capacities:?}");
}

#[test]
fn bad_text_fails_at_its_first_bad_byte() {
    let mut bytes = frame(0x01, b"ok\xc3");
    let good = bytes.len();
    bytes.extend(frame(0x00, b"\xa9\xed"));
    // U+D800 would be ed a0 80: the second byte already cannot follow.
    let still_good = bytes.len();
    bytes.extend(frame(0x80, b"\xa0\x80"));
    for end in good..=bytes.len() {
        let outcome = receive(bytes[..end].chunks(1), &LIMITS).1;
        if end <= still_good + 6 {
            assert_eq!(outcome, Ok(false), "{end}");
        } else {
            assert_eq!(outcome, Err(MessageError::InvalidUtf8), "{end}");
        }
    }
}

#[test]
fn text_that_ends_inside_a_character_is_refused_at_its_end() {
    assert_eq!(error_of(&frame(0x81, b"a\xe2\x82")), MessageError::InvalidUtf8);
    let bytes = [frame(0x01, b"a\xe2"), frame(0x80, b"\x82")].concat();
    assert_eq!(error_of(&bytes), MessageError::InvalidUtf8);
    let bytes = [frame(0x01, b"a\xe2"), frame(0x80, b"\x82\xac")].concat();
    assert_eq!(receive_all_ways(&bytes, &LIMITS).0, [Seen::Text("a\u{20ac}".into())]);
}

#[test]
fn what_was_received_is_released() {
    let bytes = [frame(0x01, b"a"), frame(0x80, b"b")].concat();
    let mut receiver = Receiver::new();
    let mut out = Vec::new();
    for &byte in &bytes {
        assert_eq!(receiver.held_bytes() == 0, receiver.is_idle());
        feed(&mut receiver, &[byte], &LIMITS, &mut out).unwrap();
    }
    assert_eq!(out.len(), 1);
    assert_eq!((receiver.is_idle(), receiver.held_bytes()), (true, 0));
}

/// A ping (`true`) or a pong, and its payload.
type ToldControl = (bool, Vec<u8>);

/// A message and how it is cut into fragments, each with control frames before it.
#[derive(Clone, Debug)]
struct Told {
    text: bool,
    /// Marked as compressed; the bytes are what they are.
    deflated: bool,
    fragments: Vec<(Vec<ToldControl>, Vec<u8>)>,
}

fn told() -> impl Strategy<Value = Told> {
    let control = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..=125));
    let controls = prop::collection::vec(control, 0..2);
    let cuts = prop::collection::vec((controls, 0usize..400), 0..4);
    let body = "[a-z\u{e9}\u{20ac}\u{1f600}]{0,150}";
    (any::<bool>(), any::<bool>(), body, cuts).prop_map(|(text, deflated, body, cuts)| {
        let mut rest = body.as_bytes();
        let mut fragments = Vec::new();
        for (controls, cut) in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            fragments.push((controls, piece.to_vec()));
            rest = after;
        }
        fragments.push((vec![], rest.to_vec()));
        Told { text, deflated, fragments }
    })
}

/// The bytes of a story, and what is to be seen of it.
fn tell(story: &[Told], masked: bool) -> (Vec<u8>, Vec<Seen>) {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    let mut push = |first: u8, payload: &[u8]| {
        if masked {
            bytes.extend(frame(first, payload));
        } else {
            let start = bytes.len();
            encode_header(&mut bytes, Opcode::Binary, payload.len() as u64);
            bytes[start] = first;
            bytes.extend_from_slice(payload);
        }
    };
    for told in story {
        let mut message = Vec::new();
        for (index, (controls, piece)) in told.fragments.iter().enumerate() {
            for (is_ping, payload) in controls {
                push(if *is_ping { 0x89 } else { 0x8a }, payload);
                let payload = payload.clone();
                expected.push(if *is_ping { Seen::Ping(payload) } else { Seen::Pong(payload) });
            }
            let opcode = match (index, told.text) {
                (0, true) => 0x1,
                (0, false) => 0x2,
                _ => 0x0,
            };
            let fin = if index + 1 == told.fragments.len() { 0x80 } else { 0 };
            let rsv1 = if told.deflated && index == 0 { 0x40 } else { 0 };
            push(fin | rsv1 | opcode, piece);
            message.extend_from_slice(piece);
        }
        expected.push(if told.deflated {
            Seen::Deflated(told.text, message)
        } else if told.text {
            Seen::Text(String::from_utf8(message).unwrap())
        } else {
            Seen::Binary(message)
        });
    }
    (bytes, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_story_is_understood_wherever_buffers_end(
        mut story in prop::collection::vec(told(), 1..4),
        allow_rsv1 in any::<bool>(),
        masked in any::<bool>(),
        piece_lens in prop::collection::vec(1usize..200, 1..10),
    ) {
        let role = if masked { Role::Server } else { Role::Client };
        let limits = MessageLimits { role, allow_rsv1, ..LIMITS };
        story.iter_mut().for_each(|told| told.deflated &= allow_rsv1);
        let (bytes, expected) = tell(&story, masked);
        prop_assert_eq!(receive([&bytes[..]], &limits), (expected.clone(), Ok(true)));
        prop_assert_eq!(receive(bytes.chunks(1), &limits), (expected.clone(), Ok(true)));
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for len in piece_lens.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*len).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(receive(pieces, &limits), (expected, Ok(true)));
    }

    #[test]
    fn any_bytes_give_the_same_outcome_in_any_pieces(
        frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..6)), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        bytes.extend_from_slice(&noise);
        let whole = receive([&bytes[..]], &LIMITS);
        let by_byte = receive(bytes.chunks(1), &LIMITS);
        prop_assert_eq!(&whole.0, &by_byte.0);
        prop_assert_eq!(whole.1.is_err(), by_byte.1.is_err());
    }
}
