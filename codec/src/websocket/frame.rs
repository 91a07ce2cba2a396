//! The header of a WebSocket frame.
//!
//! ```text
//! byte 0   fin rsv1 rsv2 rsv3 | opcode        payload length: 0..=125 in the 7 bits; 126: two bytes follow;
//! byte 1   mask | length (7 bits)             127: eight bytes follow (big endian, shortest form only)
//! then     [length]  [mask key, 4 bytes]
//! ```
//!
//! Whether reserved bits and masks are in order depends on extensions and on who listens; that is `message`'s to say.
//! Source: RFC 6455 section 5.2.

use core::fmt;

/// The longest header: two bytes, eight of length, four of key.
pub const HEADER_BYTES_MAX: usize = 2 + 8 + 4;

/// The longest payload of a ping, pong or close. RFC 6455 section 5.5.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with the message that an earlier frame began.
    Continuation = 0x0,
    /// Begins a message of UTF-8 text.
    Text = 0x1,
    /// Begins a message of bytes.
    Binary = 0x2,
    /// Ends the connection.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xa,
}

impl Opcode {
    /// Whether the frame may stand between the fragments of a message and is bounded by
    /// [`CONTROL_PAYLOAD_BYTES_MAX`].
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// First reserved bit.
    pub rsv1: bool,
    /// Second reserved bit.
    pub rsv2: bool,
    /// Third reserved bit.
    pub rsv3: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// The declared length of the payload. Bytes, below 2^63.
    pub payload_len: u64,
    /// How many bytes the header itself took.
    pub header_len: usize,
}

/// Why bytes are not a frame header. All of them close with 1002.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The opcode is none of the six.
    ReservedOpcode,
    /// A control frame with more than [`CONTROL_PAYLOAD_BYTES_MAX`] bytes.
    ControlTooLong,
    /// A control frame without `fin`.
    ControlFragmented,
    /// The length would have fitted a shorter form.
    LengthNotMinimal,
    /// The 64-bit length has its highest bit set.
    LengthTooLarge,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedOpcode => "reserved opcode",
            Self::ControlTooLong => "control frame longer than 125 bytes",
            Self::ControlFragmented => "fragmented control frame",
            Self::LengthNotMinimal => "payload length not in its shortest form",
            Self::LengthTooLarge => "payload length of 2^63 or more",
        })
    }
}

impl core::error::Error for FrameError {}

/// Decodes a frame header; `Ok(None)` if bytes are missing. Two bytes are enough to see most errors.
#[inline]
pub fn decode_header(bytes: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
    let &[first, second, ref rest @ ..] = bytes else {
        return match bytes.first() {
            Some(first) if Opcode::from_bits(first & 0x0f).is_none() => Err(FrameError::ReservedOpcode),
            _ => Ok(None),
        };
    };
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::ReservedOpcode)?;
    let fin = first & 0x80 != 0;
    let short_len = second & 0x7f;
    if opcode.is_control() {
        if usize::from(short_len) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(FrameError::ControlTooLong);
        }
        if !fin {
            return Err(FrameError::ControlFragmented);
        }
    }
    let (payload_len, rest) = match short_len {
        126 => {
            let Some((len, rest)) = rest.split_first_chunk::<2>() else {
                return Ok(None);
            };
            let len = u64::from(u16::from_be_bytes(*len));
            if len < 126 {
                return Err(FrameError::LengthNotMinimal);
            }
            (len, rest)
        }
        127 => {
            let Some((len, rest)) = rest.split_first_chunk::<8>() else {
                return Ok(None);
            };
            let len = u64::from_be_bytes(*len);
            if len >> 63 != 0 {
                return Err(FrameError::LengthTooLarge);
            }
            if len <= u64::from(u16::MAX) {
                return Err(FrameError::LengthNotMinimal);
            }
            (len, rest)
        }
        len => (u64::from(len), rest),
    };
    let (mask, rest) = if second & 0x80 == 0 {
        (None, rest)
    } else {
        let Some((key, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        (Some(*key), rest)
    };
    Ok(Some(FrameHeader {
        fin,
        rsv1: first & RSV1 != 0,
        rsv2: first & 0x20 != 0,
        rsv3: first & 0x10 != 0,
        opcode,
        mask,
        payload_len,
        header_len: bytes.len() - rest.len(),
    }))
}

/// How many bytes [`encode_header`] appends for a payload of this length: 2, 4 or 10.
pub const fn header_len(payload_len: u64) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Appends the header of an unmasked frame that is a whole message: what a server sends.
pub fn encode_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: u64) {
    push_header(out, opcode, payload_len, 0);
}

/// Appends the header of an unmasked frame that is a whole message compressed by permessage-deflate: with `rsv1`.
///
/// `payload_len` is the length of the compressed message. Control frames are never compressed.
pub fn encode_header_deflated(out: &mut Vec<u8>, opcode: Opcode, payload_len: u64) {
    let start = out.len();
    push_header(out, opcode, payload_len, 0);
    out[start] |= RSV1;
}

/// Appends the header of a masked frame that is a whole message: what a client sends.
pub fn encode_header_masked(out: &mut Vec<u8>, opcode: Opcode, payload_len: u64, key: [u8; 4]) {
    push_header(out, opcode, payload_len, 0x80);
    out.extend_from_slice(&key);
}

/// The first reserved bit of a frame's first byte.
const RSV1: u8 = 0x40;

fn push_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: u64, mask_bit: u8) {
    out.push(0x80 | opcode as u8);
    match payload_len {
        0..=125 => out.push(mask_bit | payload_len as u8),
        126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&payload_len.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const OPCODES: [Opcode; 6] =
        [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];

    fn decode_whole(bytes: &[u8]) -> FrameHeader {
        decode_header(bytes).unwrap().unwrap()
    }

    /// RFC 6455 section 5.7.
    #[test]
    fn headers_of_the_specification() {
        let header = decode_whole(b"\x81\x05Hello");
        let text = FrameHeader {
            fin: true,
            rsv1: false,
            rsv2: false,
            rsv3: false,
            opcode: Opcode::Text,
            mask: None,
            payload_len: 5,
            header_len: 2,
        };
        assert_eq!(header, text);
        let masked = decode_whole(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(masked, FrameHeader { mask: Some([0x37, 0xfa, 0x21, 0x3d]), header_len: 6, ..text });
        let first = decode_whole(b"\x01\x03Hel");
        assert_eq!(first, FrameHeader { fin: false, payload_len: 3, ..text });
        let last = decode_whole(b"\x80\x02lo");
        assert_eq!(last, FrameHeader { opcode: Opcode::Continuation, payload_len: 2, ..text });
        let medium = decode_whole(b"\x82\x7e\x01\x00");
        assert_eq!(medium, FrameHeader { opcode: Opcode::Binary, payload_len: 256, header_len: 4, ..text });
        let long = decode_whole(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
        assert_eq!(long, FrameHeader { opcode: Opcode::Binary, payload_len: 65_536, header_len: 10, ..text });
    }

    #[test]
    fn lengths_use_the_shortest_form() {
        for (payload_len, expected) in
            [(0, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10), (u64::MAX >> 1, 10)]
        {
            let mut out = Vec::new();
            encode_header(&mut out, Opcode::Binary, payload_len);
            assert_eq!((out.len(), header_len(payload_len)), (expected, expected), "{payload_len}");
            assert_eq!(decode_whole(&out).payload_len, payload_len);
        }
    }

    #[test]
    fn longer_forms_are_refused() {
        for len in 0u16..126 {
            let [high, low] = len.to_be_bytes();
            assert_eq!(decode_header(&[0x82, 126, high, low]), Err(FrameError::LengthNotMinimal));
        }
        for len in [0u64, 1, 125, 126, 65_535] {
            let bytes = [&[0x82, 127], len.to_be_bytes().as_slice()].concat();
            assert_eq!(decode_header(&bytes), Err(FrameError::LengthNotMinimal));
        }
        for len in [1u64 << 63, u64::MAX] {
            let bytes = [&[0x82, 0xff], len.to_be_bytes().as_slice()].concat();
            assert_eq!(decode_header(&bytes), Err(FrameError::LengthTooLarge));
        }
    }

    #[test]
    fn reserved_opcodes_are_refused_at_the_first_byte() {
        for bits in 0u8..=15 {
            let known = OPCODES.iter().any(|&opcode| opcode as u8 == bits);
            let expected = if known { Ok(None) } else { Err(FrameError::ReservedOpcode) };
            assert_eq!(decode_header(&[0x80 | bits]), expected);
        }
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
            let first = 0x80 | opcode as u8;
            assert_eq!(decode_whole(&[first, 125]).payload_len, 125);
            assert_eq!(decode_header(&[first, 126]), Err(FrameError::ControlTooLong));
            assert_eq!(decode_header(&[first, 0xff]), Err(FrameError::ControlTooLong));
            assert_eq!(decode_header(&[opcode as u8, 0]), Err(FrameError::ControlFragmented));
        }
    }

    #[test]
    fn compressed_frames_are_marked() {
        for payload_len in [0, 125, 126, 65_536] {
            let mut plain = b"x".to_vec();
            let mut deflated = b"x".to_vec();
            encode_header(&mut plain, Opcode::Text, payload_len);
            encode_header_deflated(&mut deflated, Opcode::Text, payload_len);
            let expected = FrameHeader { rsv1: true, ..decode_whole(&plain[1..]) };
            assert_eq!(decode_whole(&deflated[1..]), expected);
            assert_eq!(deflated[2..], plain[2..]);
        }
    }

    #[test]
    fn reserved_bits_are_reported() {
        let header = decode_whole(&[0xc1, 0]);
        assert_eq!((header.rsv1, header.rsv2, header.rsv3), (true, false, false));
        let header = decode_whole(&[0xa1, 0]);
        assert_eq!((header.rsv1, header.rsv2, header.rsv3), (false, true, false));
        let header = decode_whole(&[0x91, 0]);
        assert_eq!((header.rsv1, header.rsv2, header.rsv3), (false, false, true));
    }

    proptest! {
        #[test]
        fn headers_go_round_and_every_prefix_is_incomplete(
            opcode in prop::sample::select(OPCODES.as_slice()),
            payload_len in prop_oneof![0u64..200, 65_000u64..66_000, 0u64..=u64::MAX >> 1],
            mask in any::<Option<[u8; 4]>>(),
        ) {
            let payload_len = if opcode.is_control() { payload_len % 126 } else { payload_len };
            let mut out = Vec::new();
            match mask {
                None => encode_header(&mut out, opcode, payload_len),
                Some(key) => encode_header_masked(&mut out, opcode, payload_len, key),
            }
            for end in 0..out.len() {
                prop_assert_eq!(decode_header(&out[..end]), Ok(None));
            }
            let header = decode_whole(&out);
            prop_assert!(header.fin && !header.rsv1 && !header.rsv2 && !header.rsv3);
            prop_assert_eq!((header.opcode, header.mask), (opcode, mask));
            prop_assert_eq!((header.payload_len, header.header_len), (payload_len, out.len()));
        }

        #[test]
        fn more_bytes_never_undo_an_error(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut earlier = Ok(None);
            for end in 0..=bytes.len() {
                let now = decode_header(&bytes[..end]);
                if earlier != Ok(None) {
                    prop_assert_eq!(now, earlier);
                }
                earlier = now;
            }
        }
    }
}
