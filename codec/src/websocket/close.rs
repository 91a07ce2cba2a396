//! The payload of a close frame: nothing, or a code and a reason.
//!
//! Source: RFC 6455 sections 5.5.1 and 7.4, and the IANA registry of close codes (1012 to 1014).

use super::frame::CONTROL_PAYLOAD_BYTES_MAX;
use core::fmt;

/// The purpose was fulfilled.
pub const NORMAL: u16 = 1000;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A text was not UTF-8.
pub const INVALID_TEXT: u16 = 1007;
/// A message was longer than we accept.
pub const MESSAGE_TOO_BIG: u16 = 1009;

/// The longest reason. Bytes.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// A decoded close payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosePayload<'a> {
    /// The code, `None` if the payload was empty (an API would say 1005 then).
    pub code: Option<u16>,
    /// Why, in words; may be empty.
    pub reason: &'a str,
}

/// Why a close payload is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseError {
    /// One byte: half a code.
    Truncated,
    /// A code that may not be sent: see [`is_valid_code`].
    InvalidCode,
    /// The reason is not UTF-8.
    InvalidUtf8,
}

impl CloseError {
    /// The code to answer with.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Truncated | Self::InvalidCode => PROTOCOL_ERROR,
            Self::InvalidUtf8 => INVALID_TEXT,
        }
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "close payload of one byte",
            Self::InvalidCode => "close code that may not be sent",
            Self::InvalidUtf8 => "close reason is not UTF-8",
        })
    }
}

impl core::error::Error for CloseError {}

/// Whether a peer may send this code: 1000 to 1003, 1007 to 1014, 3000 to 4999. The rest is reserved, or made for APIs
/// to report what never was on the wire (1005, 1006, 1015).
pub const fn is_valid_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Decodes an unmasked close payload.
pub fn decode(payload: &[u8]) -> Result<ClosePayload<'_>, CloseError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(ClosePayload { code: None, reason: "" })
        } else {
            Err(CloseError::Truncated)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_valid_code(code) {
        return Err(CloseError::InvalidCode);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| CloseError::InvalidUtf8)?;
    Ok(ClosePayload { code: Some(code), reason })
}

/// Appends a close payload. A reason longer than [`REASON_BYTES_MAX`] is cut at a character.
pub fn encode(out: &mut Vec<u8>, code: u16, reason: &str) {
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(REASON_BYTES_MAX)]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn codes_are_those_that_may_be_sent() {
        let valid: Vec<u16> = (0..=u16::MAX).filter(|&code| is_valid_code(code)).collect();
        let mut expected = vec![1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        expected.extend(3000..=4999);
        assert_eq!(valid, expected);
    }

    #[test]
    fn payloads_go_round() {
        assert_eq!(decode(b""), Ok(ClosePayload { code: None, reason: "" }));
        for (code, reason) in [(1000, ""), (1001, "bye"), (4999, "sch\u{f6}n")] {
            let mut out = Vec::new();
            encode(&mut out, code, reason);
            assert_eq!(decode(&out), Ok(ClosePayload { code: Some(code), reason }));
        }
    }

    #[test]
    fn bad_payloads_are_refused_with_their_code() {
        assert_eq!(decode(b"\x03"), Err(CloseError::Truncated));
        assert_eq!(decode(b"\x03\xed"), Err(CloseError::InvalidCode));
        assert_eq!(decode(b"\x03\xe8\xff"), Err(CloseError::InvalidUtf8));
        assert_eq!(CloseError::Truncated.close_code(), 1002);
        assert_eq!(CloseError::InvalidCode.close_code(), 1002);
        assert_eq!(CloseError::InvalidUtf8.close_code(), 1007);
    }

    #[test]
    fn long_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        encode(&mut out, 1000, &"\u{20ac}".repeat(60));
        assert_eq!(out.len(), 2 + 123);
        assert_eq!(decode(&out).unwrap().reason, "\u{20ac}".repeat(41));
        out.clear();
        encode(&mut out, 1000, &format!("a{}", "\u{20ac}".repeat(60)));
        assert_eq!(out.len(), 2 + 121);
    }
}
