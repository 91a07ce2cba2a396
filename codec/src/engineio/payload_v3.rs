//! What revision 3 of Engine.IO does differently: how packets lie in polling bodies, and how binary ones are marked.
//!
//! ```text
//! text body     <length>:<packet> ...            length in UTF-16 code units; binary packets as b4<base64>
//! binary body   00 <digits> ff <packet> ...      text: length in bytes, one byte per decimal digit
//!               01 <digits> ff 04 <message> ...  binary: the length counts the type's byte too
//! WebSocket     <digit><data> | b4<base64>       binary frame: 04 <message>
//! ```
//!
//! Packets are those of revision 4 otherwise, so the same types carry them. Only messages may be binary: the official
//! decoder also lets other types through as binary and then does nothing sensible with them. It reads lengths with
//! JavaScript's `Number` and cuts a binary body's last packet short without a word; here lengths are plain digits and have
//! to be met. As there, decoding stops at the first error, and an empty packet in a text body is passed over.
//! Source: Engine.IO protocol, revision 3; the bytes were compared with those of engine.io 6.6.12.

use super::base64;
use super::packet::{Packet, PacketError, PacketKind, TextPacket, decode_text};
use super::payload::PolledPacket;
use crate::json_string::write_decimal;
use core::fmt;

/// The type of a message as a byte of its own: what stands before the data of every binary packet.
pub const BINARY_MESSAGE: u8 = PacketKind::Message as u8;

/// Begins a text packet of a binary body.
const TEXT_MARK: u8 = 0;
/// Begins a binary packet of a binary body.
const BINARY_MARK: u8 = 1;
/// Ends the digits of a length in a binary body.
const LENGTH_END: u8 = 0xff;

/// Why a body is not a payload, or a frame not a packet. Ends the session with a parse error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadV3Error {
    /// The body is empty (a text body only: an empty binary one is no packets).
    Empty,
    /// A length is missing, is not plain digits, or ends inside a character.
    InvalidLength,
    /// The body ends inside a packet.
    Truncated,
    /// A packet of a binary body is marked neither as text nor as binary.
    UnknownMark,
    /// A text packet of a binary body is not UTF-8.
    InvalidUtf8,
    /// A packet is none, or binary without being a message.
    Packet(PacketError),
}

impl fmt::Display for PayloadV3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty payload",
            Self::InvalidLength => "invalid packet length",
            Self::Truncated => "payload ends inside a packet",
            Self::UnknownMark => "packet neither text nor binary",
            Self::InvalidUtf8 => "text packet is not UTF-8",
            Self::Packet(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for PayloadV3Error {}

impl From<PacketError> for PayloadV3Error {
    fn from(error: PacketError) -> Self {
        Self::Packet(error)
    }
}

/// The packets of a text body, in order. The first error is the last item.
///
/// Cost: one pass; only binary messages allocate, at most three quarters of their text.
pub fn decode_text_body(body: &str) -> TextBody<'_> {
    TextBody { rest: body, is_first: true, is_done: false }
}

/// Iterator of [`decode_text_body`].
#[derive(Clone, Debug)]
pub struct TextBody<'a> {
    rest: &'a str,
    is_first: bool,
    /// After the last packet or the first error.
    is_done: bool,
}

impl<'a> TextBody<'a> {
    /// The next packet's text, which may be empty; `None` at the end.
    fn next_text(&mut self) -> Result<Option<&'a str>, PayloadV3Error> {
        if self.rest.is_empty() {
            return if self.is_first { Err(PayloadV3Error::Empty) } else { Ok(None) };
        }
        self.is_first = false;
        let colon = memchr::memchr(b':', self.rest.as_bytes()).ok_or(PayloadV3Error::InvalidLength)?;
        let unit_count = decimal(self.rest[..colon].bytes().map(|byte| byte.wrapping_sub(b'0')))?;
        let after = &self.rest[colon + 1..];
        let (text, rest) = after.split_at(utf16_prefix_len(after, unit_count)?);
        self.rest = rest;
        Ok(Some(text))
    }
}

impl<'a> Iterator for TextBody<'a> {
    type Item = Result<PolledPacket<'a>, PayloadV3Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            let decoded = match self.next_text() {
                Ok(Some("")) => continue,
                Ok(Some(text)) => decode_websocket_text(text),
                Ok(None) => {
                    self.is_done = true;
                    return None;
                }
                Err(error) => Err(error),
            };
            self.is_done = decoded.is_err();
            return Some(decoded);
        }
        None
    }
}

/// The packets of a binary body (`Content-Type: application/octet-stream`), in order. The first error is the last item.
///
/// Cost: one pass; binary messages are copied.
pub fn decode_binary_body(body: &[u8]) -> BinaryBody<'_> {
    BinaryBody { rest: body }
}

/// Iterator of [`decode_binary_body`].
#[derive(Clone, Debug)]
pub struct BinaryBody<'a> {
    /// Empty after the last packet or the first error.
    rest: &'a [u8],
}

impl<'a> BinaryBody<'a> {
    fn next_packet(&mut self) -> Result<PolledPacket<'a>, PayloadV3Error> {
        // Looked for among the digits a length can have at most, so that a body without it costs one look only.
        let digits_end = self.rest.iter().take(1 + LENGTH_DIGITS_MAX + 1).position(|&byte| byte == LENGTH_END);
        let Some(digits_end @ 1..) = digits_end else {
            return Err(PayloadV3Error::InvalidLength);
        };
        let mark = self.rest[0];
        let len = decimal(self.rest[1..digits_end].iter().copied())?;
        let after = &self.rest[digits_end + 1..];
        let len = usize::try_from(len).ok().filter(|&len| len <= after.len()).ok_or(PayloadV3Error::Truncated)?;
        let (bytes, rest) = after.split_at(len);
        self.rest = rest;
        match mark {
            TEXT_MARK => {
                let text = std::str::from_utf8(bytes).map_err(|_| PayloadV3Error::InvalidUtf8)?;
                decode_websocket_text(text)
            }
            BINARY_MARK => Ok(PolledPacket::Binary(decode_websocket_binary(bytes)?.to_vec())),
            _ => Err(PayloadV3Error::UnknownMark),
        }
    }
}

impl<'a> Iterator for BinaryBody<'a> {
    type Item = Result<PolledPacket<'a>, PayloadV3Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let decoded = self.next_packet();
        if decoded.is_err() {
            self.rest = &[];
        }
        Some(decoded)
    }
}

/// Decodes a WebSocket text frame, or one packet of a text body: `b4<base64>` is a binary message.
pub fn decode_websocket_text(text: &str) -> Result<PolledPacket<'_>, PayloadV3Error> {
    match decode_text(text)? {
        TextPacket::Packet(packet) => Ok(PolledPacket::Text(packet)),
        TextPacket::Base64(typed) => match decode_text(typed)? {
            TextPacket::Packet(Packet { kind: PacketKind::Message, data }) => {
                Ok(PolledPacket::Binary(base64::decode(data)))
            }
            _ => Err(PacketError::UnknownKind.into()),
        },
    }
}

/// The message of a WebSocket binary frame: what stands behind its type byte.
pub fn decode_websocket_binary(frame: &[u8]) -> Result<&[u8], PayloadV3Error> {
    match frame {
        [] => Err(PacketError::Empty.into()),
        [BINARY_MESSAGE, message @ ..] => Ok(message),
        _ => Err(PacketError::UnknownKind.into()),
    }
}

/// Appends the payload of a WebSocket binary frame: the type byte and the message.
pub fn encode_websocket_binary(out: &mut Vec<u8>, message: &[u8]) {
    out.reserve(1 + message.len());
    out.push(BINARY_MESSAGE);
    out.extend_from_slice(message);
}

/// Appends a binary message as text, `b4<base64>`: the payload of a text frame to a client that said `b64`.
pub fn encode_base64_message(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(b"b4");
    base64::encode(out, message);
}

/// The two forms of a polling body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// `<length>:<packet>`. Binary messages in base64.
    Text,
    /// Lengths in bytes, binary messages as they are.
    Binary,
}

impl BodyForm {
    /// The form that the official server takes: binary if a packet is, unless the client said `b64`.
    pub const fn choose(has_binary_message: bool, is_base64_only: bool) -> Self {
        if has_binary_message && !is_base64_only { Self::Binary } else { Self::Text }
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=UTF-8",
            Self::Binary => "application/octet-stream",
        }
    }
}

/// Appends packets to a polling body of revision 3.
#[derive(Debug)]
pub struct PayloadV3Encoder<'a> {
    out: &'a mut Vec<u8>,
    form: BodyForm,
    packet_count: usize,
}

impl<'a> PayloadV3Encoder<'a> {
    /// A body that begins at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, form: BodyForm) -> Self {
        Self { out, form, packet_count: 0 }
    }

    /// Appends a packet: its whole text, digit included, which has to be UTF-8.
    pub fn push_text(&mut self, packet: &[u8]) {
        self.packet_count += 1;
        match self.form {
            BodyForm::Text => {
                write_decimal(self.out, utf16_len(packet));
                self.out.push(b':');
            }
            BodyForm::Binary => self.push_binary_head(TEXT_MARK, packet.len()),
        }
        self.out.extend_from_slice(packet);
    }

    /// Appends a binary message: its bytes.
    pub fn push_binary(&mut self, message: &[u8]) {
        self.packet_count += 1;
        match self.form {
            BodyForm::Text => {
                let base64_len = message.len().div_ceil(3) * 4;
                write_decimal(self.out, (2 + base64_len) as u64);
                self.out.push(b':');
                encode_base64_message(self.out, message);
            }
            BodyForm::Binary => {
                self.push_binary_head(BINARY_MARK, 1 + message.len());
                encode_websocket_binary(self.out, message);
            }
        }
    }

    /// How many packets were appended.
    pub fn packet_count(&self) -> usize {
        self.packet_count
    }

    fn push_binary_head(&mut self, mark: u8, len: usize) {
        self.out.push(mark);
        let digits_start = self.out.len();
        write_decimal(self.out, len as u64);
        for digit in &mut self.out[digits_start..] {
            *digit -= b'0';
        }
        self.out.push(LENGTH_END);
    }
}

/// More digits than any length that fits a body has; leading zeros are allowed.
const LENGTH_DIGITS_MAX: usize = 20;

/// The number with these digits, each from 0 to 9.
fn decimal(digits: impl ExactSizeIterator<Item = u8>) -> Result<u64, PayloadV3Error> {
    if digits.len() == 0 || digits.len() > LENGTH_DIGITS_MAX {
        return Err(PayloadV3Error::InvalidLength);
    }
    let mut number = 0u64;
    for digit in digits {
        if digit > 9 {
            return Err(PayloadV3Error::InvalidLength);
        }
        number = number.saturating_mul(10).saturating_add(u64::from(digit));
    }
    Ok(number)
}

/// How many bytes of `text` are its first `unit_count` UTF-16 code units.
fn utf16_prefix_len(text: &str, unit_count: u64) -> Result<usize, PayloadV3Error> {
    let mut units = 0u64;
    for (at, character) in text.char_indices() {
        if units == unit_count {
            return Ok(at);
        }
        units += character.len_utf16() as u64;
        if units > unit_count {
            return Err(PayloadV3Error::InvalidLength);
        }
    }
    if units == unit_count { Ok(text.len()) } else { Err(PayloadV3Error::Truncated) }
}

/// How many UTF-16 code units these bytes of UTF-8 are: one per character, two per character of four bytes.
fn utf16_len(utf8: &[u8]) -> u64 {
    let unit_count = |&byte: &u8| u64::from(byte & 0xc0 != 0x80) + u64::from(byte >= 0xf0);
    utf8.iter().map(unit_count).sum()
}

#[cfg(test)]
mod tests;
