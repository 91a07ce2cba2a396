//! Messages compressed and inflated: the specification's own, those that zlib in Node 20 made, and any others.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::websocket::{MessageLimits, Receiver};
use proptest::prelude::*;

const LIMIT: u64 = 1_000_000;
const MAX: WindowBits = WindowBits::MAX;

fn inflated(inflater: &mut Inflater, compressed: &[u8], limit: u64) -> Result<Vec<u8>, InflateError> {
    let mut out = b"before".to_vec();
    inflater.inflate(compressed, limit, &mut out)?;
    Ok(out.split_off(6))
}

fn compressed(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    deflater.compress(message, &mut out);
    out.split_off(6)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Bytes that do not compress, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// RFC 7692 section 7.2.3.
#[test]
fn messages_of_the_specification() {
    let mut inflater = Inflater::new(false);
    assert_eq!(inflated(&mut inflater, &hex("f248cdc9c90700"), LIMIT).unwrap(), b"Hello");
    assert_eq!(inflated(&mut inflater, &hex("f200110000"), LIMIT).unwrap(), b"Hello", "out of the message before");
    for (what, bytes) in [
        ("a stored block", "000500faff48656c6c6f00"),
        ("a stream that ends", "f348cdc9c9070000"),
        ("a stream that ends, without the byte after it", "f348cdc9c90700"),
        ("two blocks", "f24805000000ffffcac9c90700"),
    ] {
        assert_eq!(inflated(&mut Inflater::new(true), &hex(bytes), LIMIT).unwrap(), b"Hello", "{what}");
    }
    assert_eq!(inflated(&mut inflater, &[EMPTY_MESSAGE], LIMIT).unwrap(), b"");
    assert_eq!(inflated(&mut inflater, &[], LIMIT).unwrap(), b"");
}

#[test]
fn hello_is_compressed_as_in_the_specification() {
    let mut deflater = Deflater::new(6, MAX, false);
    assert_eq!(compressed(&mut deflater, b"Hello"), hex("f248cdc9c90700"));
    assert_eq!(compressed(&mut deflater, b"Hello"), hex("f200110000"));
    assert_eq!(compressed(&mut deflater, b""), [EMPTY_MESSAGE]);
    deflater.reset();
    assert_eq!(compressed(&mut deflater, b"Hello"), hex("f248cdc9c90700"));
    let mut forgetful = Deflater::new(6, MAX, true);
    for _ in 0..2 {
        assert_eq!(compressed(&mut forgetful, b"Hello"), hex("f248cdc9c90700"));
    }
}

#[test]
fn a_forgetful_inflater_knows_no_message_before() {
    let mut inflater = Inflater::new(true);
    inflated(&mut inflater, &hex("f248cdc9c90700"), LIMIT).unwrap();
    assert_eq!(inflated(&mut inflater, &hex("f200110000"), LIMIT), Err(InflateError::InvalidData));
    assert_eq!(inflated(&mut inflater, &hex("f248cdc9c90700"), LIMIT).unwrap(), b"Hello", "and begins anew");
}

/// A thousand times smaller than what it holds.
#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = compressed(&mut Deflater::new(9, MAX, true), &vec![0; 50_000_000]);
    assert!(bomb.len() < 60_000, "{}", bomb.len());
    for limit in [0, 1, 63, 64, 65, 1000, 100_000] {
        let mut out = Vec::new();
        let refused = Inflater::new(true).inflate(&bomb, limit, &mut out);
        assert_eq!(refused, Err(InflateError::MessageTooBig));
        assert_eq!(out.len() as u64, limit + 1);
        assert_eq!(out.capacity() as u64, limit + 1, "no memory beyond the limit");
    }
    assert_eq!(InflateError::MessageTooBig.close_code(), 1009);
}

#[test]
fn limit_is_the_longest_message_that_passes() {
    for len in [0, 1, 63, 64, 65, 4096, 65_537] {
        for message in [vec![7; len], noise(len)] {
            let bytes = compressed(&mut Deflater::new(6, MAX, true), &message);
            let mut inflater = Inflater::new(true);
            assert_eq!(inflated(&mut inflater, &bytes, len as u64).unwrap(), message);
            if len > 0 {
                let refused = inflated(&mut inflater, &bytes, len as u64 - 1);
                assert_eq!(refused, Err(InflateError::MessageTooBig));
            }
        }
    }
}

#[test]
fn a_stream_that_ends_within_the_tail_is_whole() {
    // 0x33: the last block, with fixed codes, "0" and the first bits of its end.
    let mut inflater = Inflater::new(false);
    assert_eq!(inflated(&mut inflater, &hex("33"), LIMIT).unwrap(), b"0");
    assert_eq!(
        inflated(&mut inflater, &hex("f248cdc9c90700"), LIMIT).unwrap(),
        b"Hello",
        "the next one is no part of it"
    );
}

#[test]
fn streams_that_end_and_begin_are_few() {
    let streams = |count| [b"\x03\x00".repeat(count), hex("f248cdc9c90700")].concat();
    let most = STREAM_COUNT_MAX as usize - 1;
    assert_eq!(inflated(&mut Inflater::new(false), &streams(most), LIMIT).unwrap(), b"Hello");
    assert_eq!(inflated(&mut Inflater::new(false), &streams(most + 1), LIMIT), Err(InflateError::InvalidData));
}

#[test]
fn what_is_not_deflate_is_refused() {
    for bytes in ["07", "ff", "000500fafe48", "f20011"] {
        assert_eq!(inflated(&mut Inflater::new(false), &hex(bytes), LIMIT), Err(InflateError::InvalidData), "{bytes}");
    }
    assert_eq!(InflateError::InvalidData.close_code(), 1007);
}

#[test]
fn noise_grows_a_little_only() {
    let message = noise(100_000);
    for level in [0, 1, 6, 9] {
        let bytes = compressed(&mut Deflater::new(level, MAX, true), &message);
        // Level 1 writes no code table of its own: a byte of noise costs it half a bit more.
        let overhead = if level == 1 { message.len() / 16 } else { 100 };
        assert!(bytes.len() < message.len() + overhead, "level {level}: {}", bytes.len());
        assert_eq!(inflated(&mut Inflater::new(true), &bytes, LIMIT).unwrap(), message);
    }
}

/// A repetition that lies outside the window is not referred to: the compressed length shows it.
#[test]
fn windows_are_kept_to() {
    for bits in 8..=15 {
        let window = 1usize << bits;
        let block = noise(window);
        let far = [&block[..], &block[..]].concat();
        let len = |bits| compressed(&mut Deflater::new(9, WindowBits::new(bits).unwrap(), true), &far).len();
        assert!(len(bits) > window * 2, "{bits}: a repetition at the distance of the window and more");
        if bits < 15 {
            assert!(len(15) < window * 2, "{bits}: which a larger window sees");
        }
    }
}

/// A frame as a client sends it, through the receiver: whole, and in two fragments.
#[test]
fn received_messages_are_inflated_and_text_is_checked_then() {
    let limits = MessageLimits { allow_rsv1: true, ..MessageLimits::default() };
    let receive = |frames: &[(u8, &[u8])], max| {
        let mut buffer = Vec::new();
        for (first, payload) in frames {
            buffer.extend_from_slice(&[*first, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
            buffer.extend_from_slice(payload);
        }
        let incoming = Receiver::new().next_with_deflate(&mut buffer, &mut 0, &limits).unwrap().unwrap();
        let crate::websocket::Incoming::Deflated(deflated) = incoming else { panic!("not compressed") };
        Inflater::new(true).receive(&deflated, &buffer, max)
    };
    let hello = hex("f248cdc9c90700");
    let expected = |bytes: &[u8]| Payload::Owned(bytes.to_vec());
    assert_eq!(receive(&[(0xc1, &hello)], 5), Ok(Received::Text(expected(b"Hello"))));
    assert_eq!(receive(&[(0x41, &hello[..3]), (0x80, &hello[3..])], 5), Ok(Received::Text(expected(b"Hello"))));
    assert_eq!(receive(&[(0xc2, &hello)], 5), Ok(Received::Binary(expected(b"Hello"))));
    assert_eq!(receive(&[(0xc2, &hello)], 4), Err(InflateError::MessageTooBig));
    let stored = b"\x00\x02\x00\xfd\xff\xc3\xa9\x00";
    assert_eq!(receive(&[(0xc1, stored)], 5), Ok(Received::Text(expected("\u{e9}".as_bytes()))));
    let half = b"\x00\x01\x00\xfe\xff\xc3\x00";
    assert_eq!(receive(&[(0xc1, half)], 5), Err(InflateError::InvalidUtf8));
    assert_eq!(receive(&[(0xc2, half)], 5), Ok(Received::Binary(expected(b"\xc3"))));
    assert_eq!(InflateError::InvalidUtf8.close_code(), 1007);
}

fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let message = prop_oneof![
        "[a-c]{0,300}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300),
        (0u8..4, 0usize..100_000).prop_map(|(byte, len)| vec![byte; len]),
        (0usize..40_000).prop_map(noise),
    ];
    prop::collection::vec(message, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn messages_go_round_in_their_order(
        messages in messages(),
        level in 0u8..=10,
        bits in 8u8..=15,
        forgets in any::<bool>(),
    ) {
        let mut deflater = Deflater::new(level, WindowBits::new(bits).unwrap(), forgets);
        let mut inflater = Inflater::new(forgets);
        for message in &messages {
            let bytes = compressed(&mut deflater, message);
            prop_assert_eq!(&inflated(&mut inflater, &bytes, LIMIT).unwrap(), message);
        }
    }

    /// One broadcast, compressed once, between messages of a connection's own.
    #[test]
    fn a_shared_message_fits_between_others(messages in messages(), shared_index in 0usize..6) {
        let mut own = Deflater::new(6, MAX, false);
        let mut shared = Deflater::new(6, MAX, true);
        let mut inflater = Inflater::new(false);
        for (index, message) in messages.iter().enumerate() {
            let bytes = if index == shared_index % messages.len() {
                own.reset();
                compressed(&mut shared, message)
            } else {
                compressed(&mut own, message)
            };
            prop_assert_eq!(&inflated(&mut inflater, &bytes, LIMIT).unwrap(), message);
        }
    }

    #[test]
    fn any_bytes_are_inflated_within_the_limit_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        limit in 0u64..500,
    ) {
        let mut inflater = Inflater::new(false);
        for _ in 0..2 {
            let mut out = Vec::new();
            let result = inflater.inflate(&bytes, limit, &mut out);
            prop_assert!(out.capacity() as u64 <= limit + 1);
            prop_assert_eq!(out.len() as u64 > limit, result == Err(InflateError::MessageTooBig));
        }
    }
}
