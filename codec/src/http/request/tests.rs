//! Heads whole, at every prefix, and damaged; header fields against httparse's own table.
//!
//! A head that was refused, or read, stays so whatever follows it.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const POLL: &str = "GET /socket.io/?EIO=4&transport=polling&x=? HTTP/1.1\r\nHost: localhost:35123\r\n\
                    Origin:  http://a.com \r\nX-Empty:\r\n\r\n";

fn decode_default(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, RequestError> {
    decode(bytes, &RequestLimits::default())
}

fn decode_one(head: &str) -> Request<'_> {
    let (request, len) = decode_default(head.as_bytes()).unwrap().unwrap();
    assert_eq!(len, head.len());
    request
}

fn with_fields(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn body_of(fields: &str) -> Result<BodyLength, RequestError> {
    let head = with_fields(fields);
    decode_default(head.as_bytes()).map(|decoded| decoded.unwrap().0.body)
}

#[test]
fn a_head_is_taken_apart() {
    let request = decode_one(POLL);
    assert_eq!(request.method, Method::Get);
    assert_eq!(request.path(), "/socket.io/");
    assert_eq!(request.query(), "EIO=4&transport=polling&x=?");
    assert_eq!(request.version_minor, 1);
    assert_eq!(request.headers.get("origin"), Some(b"http://a.com".as_slice()));
    assert_eq!(request.headers.iter().count(), 3);
    assert_eq!((request.body, request.keep_alive), (BodyLength::None, true));
    assert!(!request.is_websocket_upgrade());
}

#[test]
fn every_prefix_is_incomplete_and_every_suffix_is_left() {
    for end in 0..POLL.len() {
        assert_eq!(decode_default(&POLL.as_bytes()[..end]), Ok(None), "{end}");
    }
    let pipelined = format!("{POLL}{POLL}\n\n\0");
    let (request, len) = decode_default(pipelined.as_bytes()).unwrap().unwrap();
    assert_eq!((request, len), (decode_one(POLL), POLL.len()));
}

#[test]
fn empty_lines_before_a_head_are_passed_over() {
    let head = format!("\r\n\r\n{POLL}");
    for end in 0..head.len() {
        assert_eq!(decode_default(&head.as_bytes()[..end]), Ok(None), "{end}");
    }
    assert_eq!(decode_one(&head), decode_one(POLL));
}

#[test]
fn a_head_may_have_no_fields() {
    let request = decode_one("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(request.headers.iter().count(), 0);
    assert_eq!((request.path(), request.query()), ("/", ""));
}

#[test]
fn methods_are_told_apart() {
    for (token, method) in [
        ("GET", Method::Get),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("HEAD", Method::Head),
        ("OPTIONS", Method::Options),
        ("PATCH", Method::Patch),
        ("get", Method::Other),
        ("PROPFIND", Method::Other),
    ] {
        assert_eq!(decode_one(&format!("{token} / HTTP/1.1\r\n\r\n")).method, method);
    }
}

#[test]
fn keep_alive_follows_version_and_connection() {
    for (version, fields, keep_alive) in [
        (1, "", true),
        (1, "Connection: close\r\n", false),
        (1, "Connection: Upgrade, CLOSE\r\n", false),
        (1, "Connection: keep-alive\r\n", true),
        (0, "", false),
        (0, "Connection: Keep-Alive\r\n", true),
        (0, "Connection: keep-alive, close\r\n", false),
    ] {
        let head = format!("GET / HTTP/1.{version}\r\n{fields}\r\n");
        assert_eq!(decode_one(&head).keep_alive, keep_alive, "{head}");
    }
}

#[test]
fn an_upgrade_needs_both_fields() {
    for (fields, is_upgrade) in [
        ("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n", true),
        ("Upgrade: h2c, WebSocket\r\nConnection: upgrade\r\n", true),
        ("Upgrade: websocket\r\n", false),
        ("Connection: upgrade\r\n", false),
        ("Upgrade: websockets\r\nConnection: upgrade\r\n", false),
    ] {
        let head = with_fields(fields);
        assert_eq!(decode_one(&head).is_websocket_upgrade(), is_upgrade, "{fields}");
    }
}

#[test]
fn body_length_is_unambiguous_or_refused() {
    assert_eq!(body_of(""), Ok(BodyLength::None));
    assert_eq!(body_of("Content-Length: 0\r\n"), Ok(BodyLength::Fixed(0)));
    assert_eq!(body_of("content-length: 018446744073709551615\r\n"), Ok(BodyLength::Fixed(u64::MAX)));
    assert_eq!(body_of("Content-Length: 7\r\nContent-Length: 7\r\n"), Ok(BodyLength::Fixed(7)));
    assert_eq!(body_of("Transfer-Encoding: Chunked\r\n"), Ok(BodyLength::Chunked));
    for bad in ["", "-1", "+1", "0x5", "5, 5", "5 5", "1.0", "18446744073709551616", "99999999999999999999", "\u{665}"]
    {
        let fields = format!("Content-Length: {bad}\r\n");
        assert_eq!(body_of(&fields), Err(RequestError::InvalidContentLength), "{bad:?}");
    }
    let cases = [
        ("Content-Length: 7\r\nContent-Length: 8\r\n", RequestError::ConflictingContentLength),
        ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", RequestError::AmbiguousBodyLength),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", RequestError::AmbiguousBodyLength),
        ("Transfer-Encoding: gzip\r\n", RequestError::UnsupportedTransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", RequestError::UnsupportedTransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", RequestError::UnsupportedTransferEncoding),
        ("Transfer-Encoding:\r\n", RequestError::UnsupportedTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", RequestError::UnsupportedTransferEncoding),
    ];
    for (fields, error) in cases {
        assert_eq!(body_of(fields), Err(error), "{fields}");
    }
    assert_eq!(
        decode_default(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(RequestError::UnsupportedTransferEncoding)
    );
}

#[test]
fn malformed_heads_are_refused() {
    let cases: [(&[u8], RequestError); 12] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", RequestError::Malformed),
        (b"GET  / HTTP/1.1\r\n\r\n", RequestError::Malformed),
        (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", RequestError::Malformed),
        (b"GET / HTTP/1.1\r\nA : c\r\n\r\n", RequestError::Malformed),
        (b"GET / HTTP/1.1\r\nA: c\r\n d\r\n\r\n", RequestError::Malformed),
        (b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", RequestError::Malformed),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", RequestError::Malformed),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", RequestError::Malformed),
        (b"GET / HTTP/2.0\r\n\r\n", RequestError::UnsupportedVersion),
        (b"GET / HTTP/1.1\n\n", RequestError::BareLineFeed),
        (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", RequestError::BareLineFeed),
        (b"\nGET / HTTP/1.1\r\n\r\n", RequestError::BareLineFeed),
    ];
    for (head, error) in cases {
        assert_eq!(decode_default(head), Err(error), "{:?}", String::from_utf8_lossy(head));
    }
}

#[test]
fn head_limit_counts_every_byte_of_the_head_and_none_behind_it() {
    let exact = RequestLimits { head_bytes_max: POLL.len() };
    let with_body = format!("{POLL}body\nbody");
    assert!(decode(with_body.as_bytes(), &exact).unwrap().is_some());
    let short = RequestLimits { head_bytes_max: POLL.len() - 1 };
    assert_eq!(decode(POLL.as_bytes(), &short), Err(RequestError::HeadTooLarge));
    // Refused as soon as it is certain, though the head never ended.
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(20_000));
    assert_eq!(decode_default(&endless.as_bytes()[..16_383]), Ok(None));
    assert_eq!(decode_default(&endless.as_bytes()[..16_384]), Err(RequestError::HeadTooLarge));
    assert_eq!(decode_default(&b"\r\n".repeat(10_000)), Err(RequestError::HeadTooLarge));
}

#[test]
fn field_limit_is_exact() {
    let fields = |count: usize| with_fields(&"A: b\r\n".repeat(count - 1));
    assert_eq!(decode_one(&fields(HEADER_COUNT_MAX)).headers.iter().count(), HEADER_COUNT_MAX);
    let many = fields(HEADER_COUNT_MAX + 1);
    assert_eq!(decode_default(many.as_bytes()), Err(RequestError::TooManyHeaders));
}

#[test]
fn errors_have_a_status() {
    assert_eq!(RequestError::Malformed.status(), 400);
    assert_eq!(RequestError::HeadTooLarge.status(), 431);
    assert_eq!(RequestError::UnsupportedVersion.status(), 505);
}

proptest! {
    /// The reference is httparse's own table of fields, which `Headers` does without.
    #[test]
    fn fields_are_those_that_the_parser_saw(
        fields in prop::collection::vec(("[A-Za-z0-9!#$_-]{1,8}", "[ -~\u{e9}\t]{0,12}"), 0..12),
    ) {
        let lines: String = fields.iter().map(|(name, value)| format!("H{name}:{value}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        let mut table = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
        let mut parsed = httparse::Request::new(&mut table);
        prop_assert!(parsed.parse(head.as_bytes()).unwrap().is_complete());
        let expected: Vec<_> = parsed.headers.iter().map(|field| (field.name, field.value)).collect();
        prop_assert_eq!(decode_one(&head).headers.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_bytes_panic_and_more_bytes_never_undo_an_outcome(
        bytes in prop::collection::vec(prop_oneof![
            Just(b"\r\n".to_vec()), Just(b"GET / HTTP/1.1".to_vec()), Just(b"A: b".to_vec()),
            Just(b"Content-Length: 1".to_vec()), prop::collection::vec(any::<u8>(), 0..4),
        ], 0..8),
    ) {
        let bytes = bytes.concat();
        let mut earlier = Ok(None);
        for end in 0..=bytes.len() {
            let now = decode_default(&bytes[..end]);
            match earlier {
                Err(_) => prop_assert!(now.is_err()),
                Ok(Some(_)) => prop_assert_eq!(&now, &earlier),
                Ok(None) => {}
            }
            earlier = now;
        }
    }
}
