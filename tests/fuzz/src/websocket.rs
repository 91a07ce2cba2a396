//! WebSocket: frames to messages, and their compression.

use ringio_codec::websocket::{Deflater, Inflater, MessageLimits, Payload, Received, Receiver, Role, WindowBits};

/// Masked frames to begin with.
pub const FRAMES: &[&[u8]] = &[
    b"\x81\x83\x00\x00\x00\x00abc",
    b"\x01\x82\x01\x02\x03\x04ac\x89\x80\x00\x00\x00\x00\x80\x81\x00\x00\x00\x00c",
    b"\x82\xfe\x00\x80\x00\x00\x00\x00",
    b"\x88\x82\x00\x00\x00\x00\x03\xe8",
    b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05\x11\x22\x33\x44hello",
    b"\x01\x81\x00\x00\x00\x00\xe2\x80\x82\x00\x00\x00\x00\x82\xac",
];

const BYTES_MAX: u64 = 2_000;
const LIMITS: MessageLimits = MessageLimits { message_bytes_max: BYTES_MAX, role: Role::Server, allow_rsv1: false };

/// What came, in words; the last word is the error that ended it.
fn receive(bytes: &[u8], size: usize) -> Vec<String> {
    let mut receiver = Receiver::new();
    let mut seen = Vec::new();
    for piece in bytes.chunks(size) {
        let (mut piece, mut cursor) = (piece.to_vec(), 0);
        loop {
            match receiver.next(&mut piece, &mut cursor, &LIMITS) {
                Ok(None) => break,
                Ok(Some(received)) => seen.push(words(&received, &piece)),
                Err(error) => {
                    seen.push(format!("{error:?}"));
                    return seen;
                }
            }
            assert!(cursor <= piece.len());
        }
        assert_eq!(cursor, piece.len(), "what is not whole is kept");
        assert!(receiver.held_bytes() <= 4 * BYTES_MAX as usize + 1_024, "{} bytes held", receiver.held_bytes());
    }
    seen
}

fn words(received: &Received, buffer: &[u8]) -> String {
    let payload = |payload: &Payload| {
        assert!(payload.len() as u64 <= BYTES_MAX);
        format!("{:?}", payload.bytes(buffer))
    };
    match received {
        Received::Text(text) => {
            assert!(std::str::from_utf8(text.bytes(buffer)).is_ok(), "a text is text");
            format!("text {}", payload(text))
        }
        Received::Binary(bytes) => format!("binary {}", payload(bytes)),
        Received::Ping(bytes) => format!("ping {}", payload(bytes)),
        Received::Pong(bytes) => format!("pong {}", payload(bytes)),
        Received::Close { code, reason } => format!("close {code:?} {}", payload(reason)),
    }
}

/// The same messages whether the bytes come at once, one by one or in threes.
pub fn message(bytes: &[u8]) {
    let whole = receive(bytes, bytes.len().max(1));
    // Text that is wrong may be noticed at an earlier fragment, never another message.
    for size in [1, 3, 7] {
        assert_eq!(receive(bytes, size), whole, "in pieces of {size}");
    }
}

/// Whatever inflates stays within its bound, and what we deflate comes back.
pub fn deflate(bytes: &[u8]) {
    let mut inflater = Inflater::new(false);
    for _ in 0..2 {
        let mut out = Vec::new();
        let _ = inflater.inflate(bytes, BYTES_MAX, &mut out);
        assert!(out.len() as u64 <= BYTES_MAX + 1, "{} bytes", out.len());
    }
    for forgets in [false, true] {
        let mut deflater = Deflater::new(6, WindowBits::MAX, forgets);
        let mut inflater = Inflater::new(forgets);
        for _ in 0..2 {
            let (mut deflated, mut back) = (Vec::new(), Vec::new());
            deflater.compress(bytes, &mut deflated);
            inflater.inflate(&deflated, bytes.len() as u64, &mut back).expect("what we deflate can be inflated");
            assert_eq!(back, bytes);
        }
    }
}
