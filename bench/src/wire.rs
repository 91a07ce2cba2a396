//! What a measured message looks like on the wire, out and back.
//!
//! A speaker of its own and not the engine's codec: a mistake shared by both sides would be invisible.
//! Only what the `bench` suite needs: unfragmented, undeflated WebSocket frames (RFC 6455, section 5.2),
//! Engine.IO 4 and Socket.IO 5 packets. A namespace is written as it stands in a packet: nothing for "/", otherwise with
//! its comma (`/n3,`).
//!
//! Outgoing frames are built once as a [`Template`]; sending patches the stamps (and the ack id) in place,
//! so a message costs the client a copy. Incoming ones are compared byte by byte with what they must be.
use crate::stamp::{Pattern, STAMP_SIZE, Stamp};

/// Every client frame is masked with this key (the one of RFC 6455, section 5.7).
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const OPCODE_TEXT: u8 = 1;
const OPCODE_BINARY: u8 = 2;
const OPCODE_CLOSE: u8 = 8;
const OPCODE_PING: u8 = 9;
const OPCODE_PONG: u8 = 10;

/// The request of a WebSocket client. One key for all: nothing here depends on its being fresh.
pub const UPGRADE_REQUEST: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// What the server must answer to that key (RFC 6455, section 1.3).
pub const UPGRADE_ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// What the raw protocol's server sends first: it has accepted and counts the connection among its receivers.
pub const RAW_GREETING: u8 = b'+';

const BINARY_ARGUMENTS: &str = r#"["bin",{"_placeholder":true,"num":0}]"#;
const ACK_ID_FIRST: u32 = 100_000;
const ACK_ID_COUNT: u32 = 900_000;

/// One kind of message and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `echo` and back.
    Echo,
    /// `ack` and its acknowledgement.
    Ack,
    /// `bin` with one attachment, and back.
    Binary,
    /// `broadcast`, to everyone.
    Broadcast,
    /// `room`, to the members of one room.
    Room,
    /// Length-prefixed bytes without any protocol, for the floor program.
    Raw,
}

/// Bytes of the WebSocket frame in which a server delivers `size` bytes of payload in this language.
///
/// The raw protocol uses the same number, so that the floor moves as many bytes as the engine.
#[must_use]
pub fn delivered_frame_size(language: Language, size: usize) -> usize {
    let (prefix, suffix) = answer_around(language);
    let payload = prefix.len() + if language == Language::Ack { 10 } else { 0 } + size + suffix.len();
    match language {
        Language::Binary => 2 + "451-".len() + BINARY_ARGUMENTS.len() + frame_header_size(size) + size,
        Language::Raw => 4 + size,
        _ => frame_header_size(payload) + payload,
    }
}

fn frame_header_size(payload_size: usize) -> usize {
    match payload_size {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    }
}

/// What stands before and after the payload in the answer of a server in "/" (for an ack: after `43` and the id).
fn answer_around(language: Language) -> (&'static [u8], &'static [u8]) {
    match language {
        Language::Echo => (br#"42["echo",""#, END),
        Language::Ack => (b"", END),
        Language::Broadcast => (br#"42["broadcast",""#, END),
        Language::Room => (br#"42["room",""#, END),
        Language::Binary | Language::Raw => (b"", b""),
    }
}

/// The packet whose one attachment follows.
fn binary_header(namespace: &str) -> Vec<u8> {
    format!("451-{namespace}{BINARY_ARGUMENTS}").into_bytes()
}

/// What stands behind the payload.
const END: &[u8] = br#""]"#;

/// Appends one masked client frame and returns where its payload starts.
fn push_client_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) -> usize {
    out.push(0x80 | opcode);
    match payload.len() {
        size @ 0..=125 => out.push(0x80 | size as u8),
        size @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        size => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    start
}

/// Appends a masked text frame.
pub fn push_text(payload: &[u8], out: &mut Vec<u8>) {
    push_client_frame(OPCODE_TEXT, payload, out);
}

/// Appends a masked WebSocket pong.
pub fn push_pong(payload: &[u8], out: &mut Vec<u8>) {
    push_client_frame(OPCODE_PONG, payload, out);
}

/// Appends a masked close frame, code 1000.
pub fn push_close(out: &mut Vec<u8>) {
    push_client_frame(OPCODE_CLOSE, &1000_u16.to_be_bytes(), out);
}

/// A message as it is sent, but for its stamps.
#[derive(Clone, Debug)]
pub struct Template {
    frame: Vec<u8>,
    stamps: Vec<Patch>,
    ack_id: Option<Patch>,
    masked: bool,
}

/// Where bytes are replaced, and which byte of the mask meets the first of them.
#[derive(Clone, Copy, Debug)]
struct Patch {
    offset: usize,
    phase: usize,
}

impl Template {
    /// The message of `language` carrying `pattern`; `room` names the room of [`Language::Room`].
    #[must_use]
    pub fn new(language: Language, pattern: &Pattern, namespace: &str, room: &str) -> Self {
        let mut frame = Vec::new();
        let (before, after): (Vec<u8>, &[u8]) = match language {
            Language::Echo => (format!("42{namespace}[\"echo\",\"").into_bytes(), END),
            Language::Ack => (format!("42{namespace}{ACK_ID_FIRST}[\"ack\",\"").into_bytes(), END),
            Language::Broadcast => (format!("42{namespace}[\"broadcast\",\"").into_bytes(), END),
            Language::Room => (format!("42{namespace}[\"room\",\"{room}\",\"").into_bytes(), END),
            Language::Binary => {
                push_client_frame(OPCODE_TEXT, &binary_header(namespace), &mut frame);
                (Vec::new(), b"")
            }
            Language::Raw => (((pattern.bytes().len() + 4) as u32).to_le_bytes().to_vec(), b""),
        };
        let payload = [&before, pattern.bytes(), after].concat();
        let start = match language {
            Language::Raw => {
                frame.extend_from_slice(&payload);
                0
            }
            Language::Binary => push_client_frame(OPCODE_BINARY, &payload, &mut frame),
            _ => push_client_frame(OPCODE_TEXT, &payload, &mut frame),
        };
        let patch = |offset: usize| Patch { offset: start + offset, phase: offset };
        let (first, second) = pattern.stamps();
        let stamps =
            [Some(first), second].into_iter().flatten().map(|range| patch(before.len() + range.start)).collect();
        let ack_id = (language == Language::Ack).then(|| patch(2 + namespace.len()));
        Self { frame, stamps, ack_id, masked: language != Language::Raw }
    }

    /// Appends the message with this stamp.
    pub fn push(&mut self, stamp: Stamp, out: &mut Vec<u8>) {
        let bytes = stamp.encode();
        for index in 0..self.stamps.len() {
            self.patch(self.stamps[index], &bytes);
        }
        if let Some(patch) = self.ack_id {
            self.patch(patch, &ack_id(stamp.sequence));
        }
        out.extend_from_slice(&self.frame);
    }

    fn patch(&mut self, patch: Patch, bytes: &[u8]) {
        let target = &mut self.frame[patch.offset..patch.offset + bytes.len()];
        for (index, (target, byte)) in target.iter_mut().zip(bytes).enumerate() {
            *target = if self.masked { byte ^ MASK[(patch.phase + index) & 3] } else { *byte };
        }
    }
}

/// Six digits whatever the sequence, so that the frame keeps its size.
fn ack_id(sequence: u32) -> [u8; 6] {
    let mut rest = ACK_ID_FIRST + sequence % ACK_ID_COUNT;
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// One frame of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole text message.
    Text(&'a [u8]),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A close frame with its code and reason.
    Close(&'a [u8]),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
}

/// A frame that this speaker does not understand: fragmented, masked, deflated, or with an unknown opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

/// The first frame of `bytes` and its size; `None` when more bytes are needed.
///
/// # Errors
/// [`BadFrame`]; nothing after it can be read.
pub fn take_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, BadFrame> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(BadFrame);
    }
    let (header, size) = match second {
        126 => match rest.first_chunk::<2>() {
            Some(size) => (4, usize::from(u16::from_be_bytes(*size))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(size) => (10, usize::try_from(u64::from_be_bytes(*size)).map_err(|_| BadFrame)?),
            None => return Ok(None),
        },
        size => (2, usize::from(size)),
    };
    let end = size.checked_add(header).ok_or(BadFrame)?;
    let Some(payload) = bytes.get(header..end) else {
        return Ok(None);
    };
    let frame = match first & 15 {
        OPCODE_TEXT => Frame::Text(payload),
        OPCODE_BINARY => Frame::Binary(payload),
        OPCODE_CLOSE => Frame::Close(payload),
        OPCODE_PING => Frame::Ping(payload),
        OPCODE_PONG => Frame::Pong,
        _ => return Err(BadFrame),
    };
    Ok(Some((frame, end)))
}

/// The payload of the first raw message of `bytes` and the message's size; `None` when more bytes are needed.
///
/// # Errors
/// [`BadFrame`] when the length is below the smallest message.
pub fn take_raw(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, BadFrame> {
    let Some(size) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let size = u32::from_le_bytes(*size) as usize;
    if size < 4 + STAMP_SIZE {
        return Err(BadFrame);
    }
    Ok(bytes.get(4..size).map(|payload| (payload, size)))
}

/// What the server's messages must be.
#[derive(Clone, Debug)]
pub struct Expected {
    language: Language,
    pattern: Pattern,
    /// What a text message begins with; of an ack what stands before its id.
    prefix: Vec<u8>,
    /// Whether an offset may stand behind the payload.
    has_offset: bool,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// A whole message of this stamp.
    Message(Stamp),
    /// The packet whose attachment comes next.
    AttachmentNext,
    /// Engine.IO's ping, to be answered with [`ENGINE_PONG`].
    EnginePing,
    /// Anything else.
    Corrupt,
}

/// The answer to Engine.IO's ping.
pub const ENGINE_PONG: &[u8] = b"3";

impl Expected {
    /// Messages of `language` carrying `pattern`, in this namespace; `has_offset`: with the offset of connection state recovery.
    #[must_use]
    pub fn new(language: Language, pattern: Pattern, namespace: &str, has_offset: bool) -> Self {
        let prefix = match language {
            Language::Ack => format!("43{namespace}").into_bytes(),
            Language::Binary => binary_header(namespace),
            _ => {
                let answer = answer_around(language).0;
                let (kind, rest) = answer.split_at(answer.len().min(2));
                [kind, namespace.as_bytes(), rest].concat()
            }
        };
        Self { language, pattern, prefix, has_offset }
    }

    /// Compares a text message with what it must be.
    #[must_use]
    pub fn check_text(&self, payload: &[u8]) -> Checked {
        if payload == b"2" {
            return Checked::EnginePing;
        }
        let rest = payload.strip_prefix(&*self.prefix);
        let stamp = match self.language {
            Language::Binary if rest == Some(b"") => return Checked::AttachmentNext,
            Language::Binary | Language::Raw => None,
            Language::Ack => rest.and_then(|rest| self.check_ack(rest)),
            _ => rest.and_then(|rest| self.check_ended(rest)),
        };
        stamp.map_or(Checked::Corrupt, Checked::Message)
    }

    fn check_ack(&self, rest: &[u8]) -> Option<Stamp> {
        let (id, rest) = rest.split_first_chunk::<6>()?;
        let stamp = self.check_ended(rest.strip_prefix(br#"[""#)?)?;
        (*id == ack_id(stamp.sequence)).then_some(stamp)
    }

    /// The payload and what ends its packet: `"]`, or the offset as a second argument.
    fn check_ended(&self, rest: &[u8]) -> Option<Stamp> {
        let (payload, end) = rest.split_at_checked(self.pattern.bytes().len())?;
        let is_offset = |end: &[u8]| {
            let offset = end.strip_prefix(br#"",""#).and_then(|rest| rest.strip_suffix(END));
            offset.is_some_and(|offset| !offset.is_empty() && !offset.contains(&b'"'))
        };
        if end == END || self.has_offset && is_offset(end) { self.pattern.check(payload) } else { None }
    }

    /// Compares an attachment, or a raw message, with what it must be.
    #[must_use]
    pub fn check_bytes(&self, payload: &[u8]) -> Checked {
        self.pattern.check(payload).map_or(Checked::Corrupt, Checked::Message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The server's frame for a payload, written here a second time and unmasked.
    fn served(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            0..=125 => frame.push(payload.len() as u8),
            126..=65_535 => {
                frame.push(126);
                frame.extend((payload.len() as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn unmask(frame: &[u8]) -> (u8, Vec<u8>, usize) {
        let (header, size) = match frame[1] & 127 {
            126 => (4, usize::from(u16::from_be_bytes([frame[2], frame[3]]))),
            127 => (10, u64::from_be_bytes(frame[2..10].try_into().unwrap()) as usize),
            size => (2, usize::from(size)),
        };
        let key = &frame[header..header + 4];
        let body = &frame[header + 4..header + 4 + size];
        (frame[0] & 15, body.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect(), header + 4 + size)
    }

    #[test]
    fn text_of_the_specification_is_read() {
        // RFC 6455, section 5.7: an unmasked text message "Hello".
        assert_eq!(take_frame(b"\x81\x05Hello!"), Ok(Some((Frame::Text(b"Hello"), 7))));
        let mut masked = Vec::new();
        push_text(b"Hello", &mut masked);
        assert_eq!(masked, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(take_frame(&masked), Err(BadFrame));
    }

    #[test]
    fn frames_are_read_whole_or_not_at_all() {
        for size in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'x'; size];
            let frame = served(OPCODE_TEXT, &payload);
            assert_eq!(take_frame(&frame), Ok(Some((Frame::Text(&payload[..]), frame.len()))));
            for split in [0, 1, 2, 3, 5, 9, frame.len() - 1] {
                assert_eq!(take_frame(&frame[..split.min(frame.len() - 1)]), Ok(None));
            }
        }
    }

    #[test]
    fn templates_ask_and_expectations_know_the_answer() {
        for size in [16, 40, 64, 200, 70_000] {
            let pattern = Pattern::new(size);
            for language in [Language::Echo, Language::Ack, Language::Broadcast, Language::Room] {
                let mut template = Template::new(language, &pattern, "", "r7");
                let expected = Expected::new(language, pattern.clone(), "", false);
                for sequence in [3, 900_001] {
                    let stamp = Stamp { sender: 5, sequence };
                    let mut frame = Vec::new();
                    template.push(stamp, &mut frame);
                    let (opcode, text, consumed) = unmask(&frame);
                    assert_eq!((opcode, consumed), (OPCODE_TEXT, frame.len()));
                    let text = String::from_utf8(text).unwrap();
                    // What the `bench` suite makes of it.
                    let answer = match language {
                        Language::Ack => text.replace("\"ack\",", "").replacen("42", "43", 1),
                        Language::Room => text.replace("\"r7\",", ""),
                        _ => text.clone(),
                    };
                    assert_eq!(expected.check_text(answer.as_bytes()), Checked::Message(stamp));
                    assert_eq!(delivered_frame_size(language, size), served(OPCODE_TEXT, answer.as_bytes()).len());
                    assert_eq!(expected.check_text(&answer.as_bytes()[1..]), Checked::Corrupt);
                    let other_id = answer.replacen("43100003", "43100004", 1).replacen("43100001", "43100002", 1);
                    if language == Language::Ack {
                        assert_eq!(expected.check_text(other_id.as_bytes()), Checked::Corrupt);
                    }
                }
            }
        }
    }

    #[test]
    fn namespaces_stand_in_front_of_what_belongs_to_them() {
        let (pattern, namespace) = (Pattern::new(40), "/n3,");
        let stamp = Stamp { sender: 5, sequence: 3 };
        for language in [Language::Echo, Language::Ack, Language::Broadcast] {
            let mut frame = Vec::new();
            Template::new(language, &pattern, namespace, "").push(stamp, &mut frame);
            let text = String::from_utf8(unmask(&frame).1).unwrap();
            assert!(text.starts_with("42/n3,"), "{text}");
            let answer =
                if language == Language::Ack { text.replace("\"ack\",", "").replacen("42", "43", 1) } else { text };
            let check = |namespace, answer: &str| {
                Expected::new(language, pattern.clone(), namespace, false).check_text(answer.as_bytes())
            };
            assert_eq!(check(namespace, &answer), Checked::Message(stamp));
            assert_eq!(check("/n4,", &answer), Checked::Corrupt);
            assert_eq!(check("", &answer), Checked::Corrupt);
        }
        let mut frames = Vec::new();
        Template::new(Language::Binary, &pattern, namespace, "").push(stamp, &mut frames);
        let expected = Expected::new(Language::Binary, pattern, namespace, false);
        assert_eq!(expected.check_text(&unmask(&frames).1), Checked::AttachmentNext);
    }

    #[test]
    fn an_offset_is_read_where_one_is_expected() {
        let pattern = Pattern::new(40);
        let stamp = Stamp { sender: 1, sequence: 1 };
        let mut frame = Vec::new();
        Template::new(Language::Broadcast, &pattern, "", "").push(stamp, &mut frame);
        let text = String::from_utf8(unmask(&frame).1).unwrap();
        let with = |end: &str| text.replace("\"]", end);
        let check = |has_offset, text: &str| {
            Expected::new(Language::Broadcast, pattern.clone(), "", has_offset).check_text(text.as_bytes())
        };
        assert_eq!(check(true, &with("\",\"zLn-3\"]")), Checked::Message(stamp));
        assert_eq!(check(true, &text), Checked::Message(stamp));
        assert_eq!(check(false, &with("\",\"zLn-3\"]")), Checked::Corrupt);
        for bad in ["\",\"\"]", "\",\"a\",\"b\"]", "\",\"a", ""] {
            assert_eq!(check(true, &with(bad)), Checked::Corrupt, "{bad}");
        }
    }

    #[test]
    fn attachments_travel_behind_their_packet() {
        let pattern = Pattern::new(1024);
        let mut template = Template::new(Language::Binary, &pattern, "", "");
        let expected = Expected::new(Language::Binary, pattern, "", false);
        let stamp = Stamp { sender: 1, sequence: 2 };
        let mut frames = Vec::new();
        template.push(stamp, &mut frames);
        let (opcode, packet, consumed) = unmask(&frames);
        assert_eq!(opcode, OPCODE_TEXT);
        assert_eq!(expected.check_text(&packet), Checked::AttachmentNext);
        let (opcode, attachment, rest) = unmask(&frames[consumed..]);
        assert_eq!((opcode, consumed + rest), (OPCODE_BINARY, frames.len()));
        assert_eq!(expected.check_bytes(&attachment), Checked::Message(stamp));
        assert_eq!(frames.len() - 8, delivered_frame_size(Language::Binary, 1024));
    }

    #[test]
    fn raw_messages_carry_their_size() {
        let pattern = Pattern::new(60);
        let mut template = Template::new(Language::Raw, &pattern, "", "");
        let stamp = Stamp { sender: 9, sequence: 1 };
        let mut bytes = Vec::new();
        template.push(stamp, &mut bytes);
        let (payload, size) = take_raw(&bytes).unwrap().unwrap();
        assert_eq!(size, bytes.len());
        assert_eq!(Expected::new(Language::Raw, pattern, "", false).check_bytes(payload), Checked::Message(stamp));
        assert_eq!(take_raw(&bytes[..63]), Ok(None));
        assert_eq!(take_raw(&[0; 8]), Err(BadFrame));
    }
}
