//! What a client says and hears: HTTP requests and answers, WebSocket frames. Written by hand, apart from the engine's codec, so
//! that both do not err alike.

/// A HTTP answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200, 101, ...
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the connection can be used again.
    pub keep_alive: bool,
}

/// Takes a whole answer off the front of `bytes`; `None` while it is not whole.
///
/// # Panics
/// If it is no answer, which is a violation.
pub fn take_answer(bytes: &mut Vec<u8>) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).expect("violation: a head that is no text");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status: u16 = status.unwrap_or_else(|| panic!("violation: {status_line:?} is no status line"));
    let (mut length, mut keep_alive) = (0, true);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().expect("violation: a length that is no number"),
            "connection" => keep_alive = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    if bytes.len() < end + length {
        return None;
    }
    let body = bytes[end..end + length].to_vec();
    bytes.drain(..end + length);
    Some(Answer { status, body, keep_alive })
}

/// A WebSocket frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// The server closes.
    Close,
    /// A pong.
    Pong,
}

/// Takes a whole frame off the front of `bytes`.
///
/// # Panics
/// If it is no frame that a server may send, which is a violation: this is where lost or doubled bytes show.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert!(second & 0x80 == 0, "violation: a masked frame of the server, or bytes that are no frame");
    let (length, head) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    assert!(length < 1 << 24, "violation: a frame of {length} bytes, or bytes that are no frame");
    let payload = bytes.get(head..head + length)?.to_vec();
    bytes.drain(..head + length);
    Some(match first {
        0x81 => Frame::Text(String::from_utf8(payload).expect("violation: a text that is none")),
        0x82 => Frame::Binary(payload),
        0x88 => Frame::Close,
        0x8a => Frame::Pong,
        other => panic!("violation: a frame that begins with {other:#x}"),
    })
}

/// A masked frame of the client.
pub fn write_frame(out: &mut Vec<u8>, first: u8, payload: &[u8], key: [u8; 4]) {
    out.push(first);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Base64 with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63];
            text.push(if digit <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// What base64 stands for.
#[must_use]
pub fn from_base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let digit = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("violation: {other} is no letter of base64"),
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_frames_are_taken_when_they_are_whole() {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok\x81\x01".to_vec();
        let expected = Answer { status: 200, body: b"ok".to_vec(), keep_alive: false };
        assert_eq!(take_answer(&mut bytes), Some(expected));
        assert_eq!(take_frame(&mut bytes), None);
        bytes.push(b'x');
        assert_eq!(take_frame(&mut bytes), Some(Frame::Text("x".into())));
        assert!(bytes.is_empty());
    }

    #[test]
    fn base64_goes_there_and_back() {
        for size in 0..20 {
            let bytes: Vec<u8> = (0..size).map(|byte: u8| byte.wrapping_mul(37)).collect();
            assert_eq!(from_base64(&base64(&bytes)), bytes);
        }
        assert_eq!(base64(b"abcd"), "YWJjZA==");
    }
}
