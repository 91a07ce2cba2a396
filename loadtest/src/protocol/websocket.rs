//! WebSocket frames as a client sends and receives them, with or without permessage-deflate.
//!
//! A reader owns no memory while nothing is unfinished. Deflate is negotiated without context takeover on both sides, so
//! that one compressor and one decompressor serve all clients of a worker.
//! Source: RFC 6455 section 5, RFC 7692 section 7.2.

use crate::failure::{Class, Failure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use ringio_codec::websocket::{Opcode, apply_mask, decode_header, encode_header_masked};

/// The longest message that is read. Bytes.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Shorter messages are sent as they are: `ws` has the same threshold. Bytes.
const DEFLATE_BYTES_MIN: usize = 1024;
const RSV1: u8 = 0x40;
/// What a sender cuts off a deflated message, and a receiver puts back.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What all connections of a worker share.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
    decompress: Decompress,
    scratch: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self {
            compress: Compress::new(Compression::fast(), false),
            decompress: Decompress::new(false),
            scratch: Vec::new(),
        }
    }
}

impl Deflater {
    fn deflate(&mut self, bytes: &[u8]) -> &[u8] {
        self.compress.reset();
        self.scratch.clear();
        self.scratch.reserve(bytes.len() + 64);
        loop {
            let consumed = self.compress.total_in() as usize;
            // Cannot fail: the stream was reset, and room is made until all of it fits.
            let _ = self.compress.compress_vec(&bytes[consumed..], &mut self.scratch, FlushCompress::Sync);
            if self.scratch.len() < self.scratch.capacity() {
                break;
            }
            self.scratch.reserve(self.scratch.capacity());
        }
        let len = self.scratch.strip_suffix(&TAIL).map_or(self.scratch.len(), <[u8]>::len);
        &self.scratch[..len]
    }

    fn inflate(&mut self, bytes: &[u8]) -> Result<&[u8], Failure> {
        self.decompress.reset(false);
        self.scratch.clear();
        self.scratch.reserve(bytes.len() * 4 + 64);
        for (part, is_last) in [(bytes, false), (&TAIL, true)] {
            let start = self.decompress.total_in() as usize;
            loop {
                let consumed = self.decompress.total_in() as usize - start;
                let status = self
                    .decompress
                    .decompress_vec(&part[consumed..], &mut self.scratch, FlushDecompress::Sync)
                    .map_err(|error| protocol(&format!("a message that cannot be inflated: {error}")))?;
                let is_full = self.scratch.len() == self.scratch.capacity();
                if self.scratch.len() > MESSAGE_BYTES_MAX {
                    return Err(protocol("a message of more than 256 MiB, inflated"));
                }
                let all_read = self.decompress.total_in() as usize - start == part.len();
                if status == Status::StreamEnd || (!is_full && (all_read || is_last)) {
                    break;
                }
                self.scratch.reserve(self.scratch.capacity().max(64));
            }
        }
        Ok(&self.scratch)
    }
}

/// Appends one masked message.
pub fn push_message(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], deflater: Option<&mut Deflater>) {
    let start = out.len();
    let deflater = deflater.filter(|_| payload.len() >= DEFLATE_BYTES_MIN && !opcode.is_control());
    match deflater {
        None => push_masked(out, opcode, payload),
        Some(deflater) => {
            push_masked(out, opcode, deflater.deflate(payload));
            out[start] |= RSV1;
        }
    }
}

/// Appends one masked text message: a packet's digit and its data, without putting them together first.
pub fn push_text(out: &mut Vec<u8>, digit: u8, data: &[u8]) {
    let key = fastrand::u32(..).to_ne_bytes();
    encode_header_masked(out, Opcode::Text, data.len() as u64 + 1, key);
    let start = out.len();
    out.push(digit);
    out.extend_from_slice(data);
    apply_mask(&mut out[start..], key, 0);
}

fn push_masked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let key = fastrand::u32(..).to_ne_bytes();
    encode_header_masked(out, opcode, payload.len() as u64, key);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], key, 0);
}

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, not yet checked for UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Binary(&'a [u8]),
    /// To be answered with the same bytes.
    Ping(&'a [u8]),
    /// The server ends the connection: code and reason.
    Close(&'a [u8]),
}

/// The receiving half of a connection.
#[derive(Debug, Default)]
pub struct Reader {
    /// Bytes of a frame whose end has not arrived.
    partial: Vec<u8>,
    /// Fragments of a message whose end has not arrived.
    fragments: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    opcode: Opcode,
    is_deflated: bool,
    bytes: Vec<u8>,
}

impl Reader {
    /// Takes bytes in and hands out every message that is whole.
    ///
    /// # Errors
    /// [`Class::Protocol`] when the bytes are not frames of a server, and whatever `handle` returns.
    pub fn read(
        &mut self,
        input: &[u8],
        deflater: &mut Deflater,
        handle: &mut dyn FnMut(Message<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.partial.is_empty() {
            let used = self.read_frames(input, deflater, handle)?;
            self.partial.extend_from_slice(&input[used..]);
        } else {
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend_from_slice(input);
            let used = self.read_frames(&bytes, deflater, handle)?;
            bytes.drain(..used);
            if !bytes.is_empty() {
                self.partial = bytes;
            }
        }
        Ok(())
    }

    fn read_frames(
        &mut self,
        input: &[u8],
        deflater: &mut Deflater,
        handle: &mut dyn FnMut(Message<'_>) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        loop {
            let header = decode_header(&input[used..]).map_err(|error| protocol(&error.to_string()))?;
            let Some(header) = header else { return Ok(used) };
            if header.mask.is_some() {
                return Err(protocol("a masked frame from the server"));
            }
            if header.rsv2 || header.rsv3 {
                return Err(protocol("a reserved bit in a frame"));
            }
            let held = self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.len() as u64);
            if header.payload_len + held > MESSAGE_BYTES_MAX as u64 {
                return Err(protocol("a message of more than 256 MiB"));
            }
            let start = used + header.header_len;
            let Some(payload) = input.get(start..start + header.payload_len as usize) else {
                return Ok(used);
            };
            used = start + payload.len();
            match header.opcode {
                Opcode::Ping => handle(Message::Ping(payload))?,
                Opcode::Close => handle(Message::Close(payload))?,
                Opcode::Pong => {}
                Opcode::Continuation => {
                    let mut fragments = self.fragments.take().ok_or_else(|| protocol("a continuation of nothing"))?;
                    fragments.bytes.extend_from_slice(payload);
                    if header.fin {
                        finish(fragments.opcode, fragments.is_deflated, &fragments.bytes, deflater, handle)?;
                    } else {
                        self.fragments = Some(fragments);
                    }
                }
                opcode if self.fragments.is_some() => {
                    return Err(protocol(&format!("a {opcode:?} frame inside a fragmented message")));
                }
                opcode if header.fin => finish(opcode, header.rsv1, payload, deflater, handle)?,
                opcode => {
                    let bytes = payload.to_vec();
                    self.fragments = Some(Box::new(Fragments { opcode, is_deflated: header.rsv1, bytes }));
                }
            }
        }
    }
}

fn finish(
    opcode: Opcode,
    is_deflated: bool,
    payload: &[u8],
    deflater: &mut Deflater,
    handle: &mut dyn FnMut(Message<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let payload = if is_deflated { deflater.inflate(payload)? } else { payload };
    handle(if opcode == Opcode::Text { Message::Text(payload) } else { Message::Binary(payload) })
}

fn protocol(what: &str) -> Failure {
    Failure::new(Class::Protocol, format!("WebSocket: {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What the reader makes of bytes: kind and payload of each message.
    fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<Vec<(char, Vec<u8>)>, Failure> {
        let mut reader = Reader::default();
        let mut deflater = Deflater::default();
        let mut messages = Vec::new();
        for part in bytes.chunks(piece) {
            reader.read(part, &mut deflater, &mut |message| {
                messages.push(match message {
                    Message::Text(bytes) => ('t', bytes.to_vec()),
                    Message::Binary(bytes) => ('b', bytes.to_vec()),
                    Message::Ping(bytes) => ('p', bytes.to_vec()),
                    Message::Close(bytes) => ('c', bytes.to_vec()),
                });
                Ok(())
            })?;
        }
        Ok(messages)
    }

    /// RFC 6455 section 5.7, with a ping between two fragments, then RFC 7692 section 7.2.3.1.
    #[test]
    fn frames_of_the_specifications_in_pieces_of_any_size() {
        let bytes =
            b"\x81\x05Hello\x01\x03Hel\x89\x01!\x80\x02lo\x82\x01x\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x88\x02\x03\xe8";
        let expected = [('t', "Hello"), ('p', "!"), ('t', "Hello"), ('b', "x"), ('t', "Hello")];
        for piece in 1..=bytes.len() {
            let messages = read_in_pieces(bytes, piece).unwrap();
            let (close, before) = messages.split_last().unwrap();
            assert_eq!(close, &('c', vec![3, 0xe8]));
            let before: Vec<(char, &str)> =
                before.iter().map(|(kind, bytes)| (*kind, std::str::from_utf8(bytes).unwrap())).collect();
            assert_eq!(before, expected, "pieces of {piece}");
        }
    }

    #[test]
    fn what_was_deflated_is_inflated() {
        let mut deflater = Deflater::default();
        for text in ["x".repeat(5_000), (0..50_000).map(|_| fastrand::alphanumeric()).collect()] {
            let mut out = Vec::new();
            push_message(&mut out, Opcode::Text, text.as_bytes(), Some(&mut deflater));
            let header = decode_header(&out).unwrap().unwrap();
            assert!(header.rsv1 && header.mask.is_some());
            let mut payload = out[header.header_len..].to_vec();
            apply_mask(&mut payload, header.mask.unwrap(), 0);
            assert!(payload.len() < text.len());
            assert!(deflater.inflate(&payload).unwrap() == text.as_bytes());
        }
        assert!(deflater.inflate(b"\xff\xff\xff").is_err());
    }

    #[test]
    fn short_messages_are_not_deflated() {
        let mut out = Vec::new();
        push_message(&mut out, Opcode::Text, b"Hello", Some(&mut Deflater::default()));
        assert!(!decode_header(&out).unwrap().unwrap().rsv1);
    }

    #[test]
    fn broken_frames_are_told() {
        for (bytes, word) in [
            (b"\x81\x85abcdHello".as_slice(), "masked"),
            (b"\x80\x01x", "continuation"),
            (b"\x01\x01a\x81\x01b", "inside"),
            (b"\xa1\x00", "reserved"),
            (b"\x83\x00", "opcode"),
        ] {
            let failure = read_in_pieces(bytes, bytes.len()).unwrap_err();
            assert!(failure.class == Class::Protocol && failure.text.contains(word), "{failure}");
        }
    }
}
