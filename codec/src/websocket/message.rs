//! Messages out of received bytes: fragments joined, control frames taken out from between them.
//!
//! ```text
//! buffer   [frame][frame][fra            next buffer   me][frame]
//!           in place: unmasked             copied: what the buffer's end cut off, and fragments
//!           where it arrived
//! ```
//!
//! An idle receiver owns no memory: a message that lies whole in one buffer is handed out as a range of it. What has
//! to wait is copied into an allocation that grows with what has arrived, never with what was declared; the declared
//! length, and the sum over all fragments, is checked against the limit before anything is allocated.
//! Text is checked as it arrives, so that a long message fails at its first bad byte; compressed text is not, because it
//! is no text yet. Source: RFC 6455 sections 5.1, 5.4, 5.5, 8.1; RFC 7692 section 6.2.

use super::close::{self, CloseError};
use super::frame::{self, FrameError, FrameHeader, HEADER_BYTES_MAX, Opcode};
use super::mask;
use core::fmt;
use core::ops::Range;

/// The most that is reserved for a message before more of it has arrived. Bytes.
const FIRST_RESERVE_BYTES_MAX: u64 = 64 * 1024;

/// Which side is receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Frames have to be masked.
    Server,
    /// Frames must not be masked.
    Client,
}

/// What a receiver accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// The longest message, summed over its fragments. Bytes, default 1_000_000 (Socket.IO's `maxHttpBufferSize`).
    pub message_bytes_max: u64,
    /// Which side is receiving. Default [`Role::Server`].
    pub role: Role,
    /// Whether the first frame of a message may have `rsv1`, which marks a compressed message where permessage-deflate
    /// was agreed on. Default `false`. [`Receiver::next`] never allows it.
    pub allow_rsv1: bool,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self { message_bytes_max: 1_000_000, role: Role::Server, allow_rsv1: false }
    }
}

/// Where the bytes of something received are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Unmasked, in this range of the buffer that was passed in.
    InPlace(Range<usize>),
    /// Put together from several buffers or fragments.
    Owned(Vec<u8>),
}

impl Payload {
    /// The bytes. `buffer` is the one that was passed to [`Receiver::next`].
    pub fn bytes<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        match self {
            Self::InPlace(range) => &buffer[range.clone()],
            Self::Owned(bytes) => bytes,
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        match self {
            Self::InPlace(range) => range.len(),
            Self::Owned(bytes) => bytes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Something received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message of text: valid UTF-8.
    Text(Payload),
    /// A message of bytes.
    Binary(Payload),
    /// To be answered with a pong of the same payload.
    Ping(Payload),
    /// The answer to a ping, or nobody's.
    Pong(Payload),
    /// The peer ends the connection. What comes after it is not to be read.
    Close {
        /// The peer's code, if it sent one: one that may be sent.
        code: Option<u16>,
        /// Why, in words: valid UTF-8, at most 123 bytes.
        reason: Payload,
    },
}

/// A message that permessage-deflate compressed, as it came: for [`Inflater::receive`](super::Inflater::receive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflated {
    /// Whether it is text when inflated. Whether that is UTF-8 can be seen only then.
    pub is_text: bool,
    /// The compressed bytes, at most [`MessageLimits::message_bytes_max`].
    pub payload: Payload,
}

/// What a connection with permessage-deflate receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message that is not compressed, or a control frame.
    Plain(Received),
    /// A compressed message.
    Deflated(Deflated),
}

/// What one of the receiver's two functions returns. A type parameter rather than a conversion afterwards: the plain
/// path costs nothing for the other.
trait Outcome: Sized {
    /// Whether compressed messages may be reported, if the limits allow them.
    const MAY_BE_DEFLATED: bool;

    fn plain(received: Received) -> Self;

    fn deflated(deflated: Deflated) -> Result<Self, MessageError>;
}

impl Outcome for Received {
    const MAY_BE_DEFLATED: bool = false;

    fn plain(received: Received) -> Self {
        received
    }

    /// Cannot happen: a frame with `rsv1` was refused.
    fn deflated(_: Deflated) -> Result<Self, MessageError> {
        Err(MessageError::ReservedBit)
    }
}

impl Outcome for Incoming {
    const MAY_BE_DEFLATED: bool = true;

    fn plain(received: Received) -> Self {
        Self::Plain(received)
    }

    fn deflated(deflated: Deflated) -> Result<Self, MessageError> {
        Ok(Self::Deflated(deflated))
    }
}

/// Why a connection has to be failed. The receiver is not to be used after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Not a frame.
    Frame(FrameError),
    /// A reserved bit that no extension asked for.
    ReservedBit,
    /// An unmasked frame from a client.
    MaskMissing,
    /// A masked frame from a server.
    MaskUnexpected,
    /// A continuation of nothing.
    ContinuationUnexpected,
    /// A text or binary frame while the message before it is incomplete.
    ContinuationMissing,
    /// The declared length, added to the fragments before it, is beyond the limit.
    MessageTooBig,
    /// A text message is not UTF-8.
    InvalidUtf8,
    /// A close frame with a bad payload.
    Close(CloseError),
}

impl MessageError {
    /// The code to close with.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::MessageTooBig => close::MESSAGE_TOO_BIG,
            Self::InvalidUtf8 => close::INVALID_TEXT,
            Self::Close(error) => error.close_code(),
            _ => close::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frame(error) => return error.fmt(f),
            Self::Close(error) => return error.fmt(f),
            Self::ReservedBit => "reserved bit set",
            Self::MaskMissing => "unmasked frame from a client",
            Self::MaskUnexpected => "masked frame from a server",
            Self::ContinuationUnexpected => "continuation without a message",
            Self::ContinuationMissing => "new message inside a fragmented one",
            Self::MessageTooBig => "message too big",
            Self::InvalidUtf8 => "text message is not UTF-8",
        })
    }
}

impl core::error::Error for MessageError {}

impl From<FrameError> for MessageError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<CloseError> for MessageError {
    fn from(error: CloseError) -> Self {
        Self::Close(error)
    }
}

/// The receiving half of a connection: one pointer, null while nothing is unfinished.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    unfinished: Option<Box<Unfinished>>,
}

const _: () = assert!(size_of::<Receiver>() == size_of::<usize>());

/// What waits for more bytes. At least one part of it is present.
#[derive(Clone, Debug, Default)]
struct Unfinished {
    /// The header that the buffer's end cut.
    head: [u8; HEADER_BYTES_MAX],
    head_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<OpenFrame>,
    /// The payload of a control frame that is arriving.
    control: Vec<u8>,
    /// The message that is arriving, or whose next fragment is.
    message: Option<OpenMessage>,
}

impl Unfinished {
    fn is_idle(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }
}

#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    header: FrameHeader,
    arrived_len: u64,
}

#[derive(Clone, Debug)]
struct OpenMessage {
    is_text: bool,
    /// Its first frame had `rsv1`.
    is_deflated: bool,
    bytes: Vec<u8>,
    /// For text: everything before this index is whole, valid characters.
    valid_len: usize,
}

impl Receiver {
    /// A receiver at the beginning of a connection.
    pub const fn new() -> Self {
        Self { unfinished: None }
    }

    /// Whether nothing is unfinished: the receiver owns no memory then.
    pub fn is_idle(&self) -> bool {
        self.unfinished.is_none()
    }

    /// The bytes of an unfinished message held at present, allocated but unused ones included.
    pub fn held_bytes(&self) -> usize {
        self.unfinished.as_deref().map_or(0, |unfinished| {
            let message = unfinished.message.as_ref().map_or(0, |message| message.bytes.capacity());
            size_of::<Unfinished>() + unfinished.control.capacity() + message
        })
    }

    /// Takes the next thing out of `buffer`, from `cursor` on, and moves the cursor behind it.
    ///
    /// Call it until it returns `Ok(None)`: then the cursor stands at the buffer's end, what is unfinished has been
    /// copied, and the buffer is free. Bytes before the cursor may have been changed (unmasked).
    ///
    /// For connections without extensions: a frame with `rsv1` is an error, whatever the limits say.
    pub fn next(
        &mut self,
        buffer: &mut [u8],
        cursor: &mut usize,
        limits: &MessageLimits,
    ) -> Result<Option<Received>, MessageError> {
        self.next_as(buffer, cursor, limits)
    }

    /// As [`Receiver::next`], where permessage-deflate may have been agreed on: if the limits allow `rsv1`, a message
    /// whose first frame has it comes as [`Incoming::Deflated`].
    pub fn next_with_deflate(
        &mut self,
        buffer: &mut [u8],
        cursor: &mut usize,
        limits: &MessageLimits,
    ) -> Result<Option<Incoming>, MessageError> {
        self.next_as(buffer, cursor, limits)
    }

    fn next_as<O: Outcome>(
        &mut self,
        buffer: &mut [u8],
        cursor: &mut usize,
        limits: &MessageLimits,
    ) -> Result<Option<O>, MessageError> {
        loop {
            if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.frame.is_some()) {
                let Some(seen) = self.continue_frame(buffer, cursor)? else {
                    if *cursor < buffer.len() {
                        continue;
                    }
                    return Ok(None);
                };
                return Ok(Some(seen));
            }
            let Some(header) = self.take_header(buffer, cursor)? else {
                return Ok(None);
            };
            self.check(&header, limits, O::MAY_BE_DEFLATED && limits.allow_rsv1)?;
            if let Some(range) = self.whole_payload(&header, buffer.len(), *cursor) {
                *cursor = range.end;
                if O::MAY_BE_DEFLATED && header.rsv1 {
                    return O::deflated(deflated_in_place(&header, buffer, range)).map(Some);
                }
                return receive_in_place(&header, buffer, range).map(|received| Some(O::plain(received)));
            }
            self.open_frame(header);
        }
    }

    /// Decodes a header and moves the cursor behind it; without enough bytes, keeps what there is.
    #[inline]
    fn take_header(&mut self, buffer: &[u8], cursor: &mut usize) -> Result<Option<FrameHeader>, MessageError> {
        let arrived = &buffer[*cursor..];
        let kept_len = self.unfinished.as_ref().map_or(0, |unfinished| unfinished.head_len);
        if kept_len == 0 {
            if arrived.is_empty() {
                return Ok(None);
            }
            if let Some(header) = frame::decode_header(arrived)? {
                *cursor += header.header_len;
                return Ok(Some(header));
            }
        }
        let unfinished = self.unfinished.get_or_insert_default();
        let taken = arrived.len().min(HEADER_BYTES_MAX - kept_len);
        unfinished.head[kept_len..kept_len + taken].copy_from_slice(&arrived[..taken]);
        let head_len = kept_len + taken;
        match frame::decode_header(&unfinished.head[..head_len])? {
            Some(header) => {
                // The header ends inside these bytes: it was incomplete without them.
                *cursor += header.header_len - kept_len;
                unfinished.head_len = 0;
                self.release_if_idle();
                Ok(Some(header))
            }
            None => {
                *cursor += taken;
                unfinished.head_len = head_len;
                Ok(None)
            }
        }
    }

    #[inline]
    fn check(&self, header: &FrameHeader, limits: &MessageLimits, allow_rsv1: bool) -> Result<(), MessageError> {
        let begins_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv2 || header.rsv3 || (header.rsv1 && !(allow_rsv1 && begins_message)) {
            return Err(MessageError::ReservedBit);
        }
        match (limits.role, header.mask) {
            (Role::Server, None) => return Err(MessageError::MaskMissing),
            (Role::Client, Some(_)) => return Err(MessageError::MaskUnexpected),
            _ => {}
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        let message = self.unfinished.as_ref().and_then(|unfinished| unfinished.message.as_ref());
        match message {
            Some(_) if begins_message => return Err(MessageError::ContinuationMissing),
            None if !begins_message => return Err(MessageError::ContinuationUnexpected),
            _ => {}
        }
        let arrived_len = message.map_or(0, |message| message.bytes.len() as u64);
        if arrived_len.saturating_add(header.payload_len) > limits.message_bytes_max {
            return Err(MessageError::MessageTooBig);
        }
        Ok(())
    }

    /// The payload's range if nothing of it has to be copied: it is all here, and not a fragment.
    #[inline]
    fn whole_payload(&self, header: &FrameHeader, buffer_len: usize, cursor: usize) -> Option<Range<usize>> {
        if !header.fin || header.opcode == Opcode::Continuation {
            return None;
        }
        let payload_len = usize::try_from(header.payload_len).ok()?;
        (payload_len <= buffer_len - cursor).then(|| cursor..cursor + payload_len)
    }

    fn open_frame(&mut self, header: FrameHeader) {
        let unfinished = self.unfinished.get_or_insert_default();
        unfinished.frame = Some(OpenFrame { header, arrived_len: 0 });
        if let Opcode::Text | Opcode::Binary = header.opcode {
            let is_text = header.opcode == Opcode::Text;
            unfinished.message =
                Some(OpenMessage { is_text, is_deflated: header.rsv1, bytes: Vec::new(), valid_len: 0 });
        }
    }

    /// Copies what has arrived of the open frame's payload; `Some` if that completed something.
    fn continue_frame<O: Outcome>(&mut self, buffer: &mut [u8], cursor: &mut usize) -> Result<Option<O>, MessageError> {
        let Some(unfinished) = &mut self.unfinished else {
            return Ok(None);
        };
        let Some(OpenFrame { header, arrived_len }) = unfinished.frame else {
            return Ok(None);
        };
        let missing_len = header.payload_len - arrived_len;
        let available_len = buffer.len() - *cursor;
        let taken = usize::try_from(missing_len).map_or(available_len, |missing| missing.min(available_len));
        let piece = &mut buffer[*cursor..*cursor + taken];
        if let Some(key) = header.mask {
            mask::apply(piece, key, (arrived_len % 4) as usize);
        }
        *cursor += taken;
        if header.opcode.is_control() {
            unfinished.control.extend_from_slice(piece);
        } else if let Some(message) = &mut unfinished.message {
            message.append(piece, missing_len, header.fin)?;
        }
        if (taken as u64) < missing_len {
            unfinished.frame = Some(OpenFrame { header, arrived_len: arrived_len + taken as u64 });
            return Ok(None);
        }
        unfinished.frame = None;
        let seen = if header.opcode.is_control() {
            let payload = Payload::Owned(std::mem::take(&mut unfinished.control));
            Some(O::plain(control(header.opcode, payload, &[])?))
        } else if header.fin {
            unfinished.message.take().map(OpenMessage::finish).transpose()?
        } else {
            None
        };
        self.release_if_idle();
        Ok(seen)
    }

    fn release_if_idle(&mut self) {
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.is_idle()) {
            self.unfinished = None;
        }
    }
}

impl OpenMessage {
    /// Appends a piece of a frame of which `missing_len` bytes were missing before it.
    fn append(&mut self, piece: &[u8], missing_len: u64, fin: bool) -> Result<(), MessageError> {
        self.reserve(piece.len(), missing_len, fin);
        self.bytes.extend_from_slice(piece);
        if self.is_text && !self.is_deflated {
            match simdutf8::compat::from_utf8(&self.bytes[self.valid_len..]) {
                Ok(_) => self.valid_len = self.bytes.len(),
                // Cut inside a character: the rest of it may still come.
                Err(error) if error.error_len().is_none() => self.valid_len += error.valid_up_to(),
                Err(_) => return Err(MessageError::InvalidUtf8),
            }
        }
        Ok(())
    }

    /// Makes room for a piece. Doubles what has arrived, so that many pieces cost amortised constant time each, but
    /// never beyond the end of a message whose last frame this is.
    fn reserve(&mut self, piece_len: usize, missing_len: u64, fin: bool) {
        let len = self.bytes.len();
        let needed = len + piece_len;
        if needed <= self.bytes.capacity() {
            return;
        }
        let capacity = if len == 0 {
            let first = missing_len.min(FIRST_RESERVE_BYTES_MAX) as usize;
            first.max(needed)
        } else {
            let doubled = needed.max(len * 2);
            let end = usize::try_from(missing_len).map_or(usize::MAX, |missing| len.saturating_add(missing));
            if fin { doubled.min(end) } else { doubled }
        };
        self.bytes.reserve_exact(capacity - len);
    }

    fn finish<O: Outcome>(self) -> Result<O, MessageError> {
        let payload = Payload::Owned(self.bytes);
        if self.is_deflated {
            return O::deflated(Deflated { is_text: self.is_text, payload });
        }
        if !self.is_text {
            return Ok(O::plain(Received::Binary(payload)));
        }
        if self.valid_len < payload.len() {
            return Err(MessageError::InvalidUtf8);
        }
        Ok(O::plain(Received::Text(payload)))
    }
}

/// A frame that is a whole message, or a control frame, and lies whole in the buffer.
#[inline]
fn receive_in_place(header: &FrameHeader, buffer: &mut [u8], range: Range<usize>) -> Result<Received, MessageError> {
    let bytes = &mut buffer[range.clone()];
    if let Some(key) = header.mask {
        mask::apply(bytes, key, 0);
    }
    match header.opcode {
        Opcode::Text if simdutf8::basic::from_utf8(bytes).is_err() => Err(MessageError::InvalidUtf8),
        Opcode::Text => Ok(Received::Text(Payload::InPlace(range))),
        Opcode::Close | Opcode::Ping | Opcode::Pong => control(header.opcode, Payload::InPlace(range), buffer),
        Opcode::Binary | Opcode::Continuation => Ok(Received::Binary(Payload::InPlace(range))),
    }
}

/// A compressed frame that is a whole message and lies whole in the buffer.
fn deflated_in_place(header: &FrameHeader, buffer: &mut [u8], range: Range<usize>) -> Deflated {
    if let Some(key) = header.mask {
        mask::apply(&mut buffer[range.clone()], key, 0);
    }
    Deflated { is_text: header.opcode == Opcode::Text, payload: Payload::InPlace(range) }
}

fn control(opcode: Opcode, payload: Payload, buffer: &[u8]) -> Result<Received, MessageError> {
    match opcode {
        Opcode::Ping => Ok(Received::Ping(payload)),
        Opcode::Pong => Ok(Received::Pong(payload)),
        _ => {
            let code = close::decode(payload.bytes(buffer))?.code;
            let code_len = if code.is_some() { 2 } else { 0 };
            let reason = match payload {
                Payload::InPlace(range) => Payload::InPlace(range.start + code_len..range.end),
                Payload::Owned(mut bytes) => {
                    bytes.drain(..code_len);
                    Payload::Owned(bytes)
                }
            };
            Ok(Received::Close { code, reason })
        }
    }
}

#[cfg(test)]
mod tests;
