//! HTTP: a request's head, what is in its fields, a body in chunks.

use ringio_codec::http::chunked::ChunkedDecoder;
use ringio_codec::http::query::{EngineQuery, pairs};
use ringio_codec::http::request::{Request, RequestLimits, decode};
use ringio_codec::http::{jsonp, response};
use ringio_codec::websocket::{extensions, validate};

/// Heads to begin with.
pub const REQUESTS: &[&[u8]] = &[
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nContent-Length: 3\r\n\r\n2ab",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, x\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nOrigin: http://a.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
];

/// Fields to begin with.
pub const FIELDS: &[&[u8]] = &[
    b"EIO=4&transport=polling&sid=%41+b&b64=1&j=0",
    b"permessage-deflate; client_max_window_bits; server_max_window_bits=10, x; y=\"z\"",
    b"d=4%7B%22a%22%3A1%7D%5C%5Cn",
    b"gzip;q=0.5, br, *;q=0",
];

const LIMITS: RequestLimits = RequestLimits { head_bytes_max: 4_096 };

/// What must be the same however much of the body is there already.
fn outline(request: &Request<'_>) -> String {
    format!(
        "{:?} {} {} {:?} {}",
        request.method,
        request.target,
        request.keep_alive,
        request.body,
        request.is_websocket_upgrade()
    )
}

/// A head is the same whether or not more bytes follow; a part of it is incomplete, never something else that is whole.
pub fn request(bytes: &[u8]) {
    let whole = decode(bytes, &LIMITS);
    let Ok(Some((request, len))) = whole else { return };
    assert!(len <= bytes.len() && len <= LIMITS.head_bytes_max, "a head of {len} bytes");
    let before = bytes[..len].strip_suffix(request.head).expect("the head is the end of what was taken");
    assert!(before.iter().all(|byte| b"\r\n".contains(byte)), "only empty lines may stand before it: {before:?}");
    let (alone, alone_len) = decode(&bytes[..len], &LIMITS).expect("it was good").expect("it was whole");
    assert_eq!((outline(&alone), alone_len), (outline(&request), len));
    for end in [0, len / 2, len - 1] {
        assert!(matches!(decode(&bytes[..end], &LIMITS), Ok(None)), "{end} of {len} bytes are a request already");
    }
    for (name, value) in request.headers.iter() {
        assert!(request.headers.get(name).is_some(), "{name} is found: {value:?}");
    }
    let _ = validate(&request);
    let _ = EngineQuery::decode(request.query());
    let mut answer = Vec::new();
    response::write(&mut answer, 200, &[], b"ok", request.keep_alive);
    assert!(answer.ends_with(b"\r\n\r\nok"));
}

/// Query, form, extensions: any text is fine, and none makes anything large.
pub fn fields(bytes: &[u8]) {
    let _ = extensions::decode(bytes);
    let _ = extensions::negotiate(std::iter::once(bytes), &extensions::DeflateOptions::default());
    let _ = jsonp::decode_body(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let decoded: usize = pairs(text).map(|(name, value)| name.len() + value.len()).sum();
    assert!(decoded <= 3 * text.len(), "{decoded} bytes out of {}", text.len());
    let _ = EngineQuery::decode(text);
}

/// The same body and the same end whether the bytes come at once or one by one.
pub fn chunked(bytes: &[u8]) {
    let whole = dechunk(bytes, bytes.len().max(1));
    for size in [1, 3] {
        assert_eq!(dechunk(bytes, size), whole, "in pieces of {size}");
    }
}

/// The body, and how many bytes it took if it is whole; None if it is not in chunks at all.
fn dechunk(bytes: &[u8], size: usize) -> Option<(Vec<u8>, Option<usize>)> {
    let mut decoder = ChunkedDecoder::new();
    let (mut body, mut consumed) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        let mut at = 0;
        while at < piece.len() && !decoder.is_finished() {
            let step = decoder.decode(&piece[at..]).ok()?;
            assert!(step.consumed > 0 && step.data.end <= step.consumed, "it goes on: {step:?}");
            body.extend_from_slice(&piece[at + step.data.start..at + step.data.end]);
            at += step.consumed;
        }
        consumed += at;
    }
    Some((body, decoder.is_finished().then_some(consumed)))
}
