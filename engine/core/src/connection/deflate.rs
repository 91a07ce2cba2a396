//! permessage-deflate of one WebSocket, and what all WebSockets of a shard share for it.
//!
//! ```text
//! frame for many --> shared compressor --> kept with the frame, for every receiver with as large a window
//! frame for one  --> the connection's own, if the server keeps its context; otherwise the shared one
//! message        <-- the connection's own inflater, if the client keeps its context; otherwise the shared one
//! ```
//! Frames wait uncompressed and are compressed when they are sent: in the order of the wire, which a kept context needs,
//! and never for a client that polls. A connection that keeps no context owns nothing but what was agreed on.
//! Uncompressed frames between compressed ones do not touch the peer's window; a shared one does, hence the own
//! compressor forgets then. Source: RFC 7692 section 7.2.

use crate::base::frame::{Compression, Frame};
use crate::limits::{DEFLATER_BYTES_MAX, INFLATER_BYTES_MAX};
use crate::options::PerMessageDeflate;
use alloc::vec::Vec;
use ringio_codec::websocket::{
    self as websocket, DeflateParameters, Deflated, Deflater, InflateError, Inflater, Received, WindowBits,
};

/// What was agreed on for one WebSocket, and its contexts.
#[derive(Debug)]
pub struct Deflate {
    parameters: DeflateParameters,
    /// What the server has sent; made when a message is first compressed in it.
    deflater: Option<Deflater>,
    /// What the client has sent; made when its first compressed message comes.
    inflater: Option<Inflater>,
}

/// The compressors and the inflater of a shard.
#[derive(Debug, Default)]
pub struct SharedDeflate {
    options: PerMessageDeflate,
    /// By window, from the smallest; made when they are needed.
    deflaters: [Option<Deflater>; WINDOW_COUNT],
    inflater: Option<Inflater>,
    /// Frames compressed.
    pub made: u64,
    /// Times a frame that was compressed before was sent to another connection.
    pub shared: u64,
    /// Messages inflated.
    pub inflated: u64,
}

/// Windows of 2^8 to 2^15 bytes.
const WINDOW_COUNT: usize = 8;

impl SharedDeflate {
    /// For a shard with these options.
    #[must_use]
    pub fn new(options: PerMessageDeflate) -> Self {
        Self { options, ..Self::default() }
    }

    fn deflater(&mut self, window: WindowBits) -> &mut Deflater {
        let level = self.options.level;
        self.deflaters[usize::from(window.get()) - 8].get_or_insert_with(|| Deflater::new(level, window, true))
    }
}

impl Deflate {
    /// At the beginning of a connection.
    #[must_use]
    pub const fn new(parameters: DeflateParameters) -> Self {
        Self { parameters, deflater: None, inflater: None }
    }

    /// Bytes that its kept contexts take, at most.
    #[must_use]
    pub fn context_bytes(&self) -> usize {
        self.deflater.as_ref().map_or(0, |_| DEFLATER_BYTES_MAX)
            + self.inflater.as_ref().map_or(0, |_| INFLATER_BYTES_MAX)
    }

    /// Inflates a message of the client; `buffer` is the one that it was received from.
    ///
    /// # Errors
    /// Those of [`Inflater::receive`]: the connection is to be failed.
    pub fn inflate(
        &mut self,
        shared: &mut SharedDeflate,
        message: &Deflated,
        buffer: &[u8],
        message_bytes_max: u64,
    ) -> Result<Received, InflateError> {
        shared.inflated += 1;
        let (kept, forgets) = if self.parameters.client_no_context_takeover {
            (&mut shared.inflater, true)
        } else {
            (&mut self.inflater, false)
        };
        kept.get_or_insert_with(|| Inflater::new(forgets)).receive(message, buffer, message_bytes_max)
    }

    /// `frame` as this connection is to get it, which is next to be sent on it.
    pub fn deflate(&mut self, shared: &mut SharedDeflate, frame: &Frame) -> Frame {
        if frame.compression() == Compression::Off || frame.packets().is_empty() {
            return frame.clone();
        }
        let window = self.parameters.server_max_window_bits.unwrap_or(WindowBits::MAX);
        if frame.compression() == Compression::Own && !self.parameters.server_no_context_takeover {
            let level = shared.options.level;
            let own = self.deflater.get_or_insert_with(|| Deflater::new(level, window, false));
            shared.made += 1;
            return Frame::raw(compress(own, frame, &Threshold::None));
        }
        let deflated = match frame.deflated(window.get()) {
            Some(deflated) => {
                shared.shared += 1;
                deflated
            }
            None if !has_message_of(frame, shared.options.threshold_bytes) => return frame.clone(),
            None => {
                shared.made += 1;
                let threshold = match shared.options.threshold_bytes {
                    0 => Threshold::None,
                    bytes => Threshold::Bytes(bytes),
                };
                let deflated = Frame::raw(compress(shared.deflater(window), frame, &threshold));
                frame.keep_deflated(window.get(), &deflated);
                deflated
            }
        };
        if let Some(own) = &mut self.deflater {
            own.reset();
        }
        deflated
    }
}

/// Which messages are worth it.
enum Threshold {
    /// All, and each is sent as it was compressed, even if it got longer: it is part of the context, or wanted so.
    None,
    /// Those of so many bytes, if they get shorter.
    Bytes(usize),
}

/// The messages of a frame, compressed.
fn compress(deflater: &mut Deflater, frame: &Frame, threshold: &Threshold) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.len() / 2);
    let mut message = Vec::new();
    for (header, payload) in messages(frame) {
        let is_worth_it = match threshold {
            Threshold::None => true,
            Threshold::Bytes(bytes) => payload.len() >= *bytes,
        };
        if is_worth_it {
            message.clear();
            deflater.compress(payload, &mut message);
            if matches!(threshold, Threshold::None) || message.len() < payload.len() {
                websocket::encode_header_deflated(&mut out, header.opcode, message.len() as u64);
                out.extend_from_slice(&message);
                continue;
            }
        }
        websocket::encode_header(&mut out, header.opcode, payload.len() as u64);
        out.extend_from_slice(payload);
    }
    out
}

fn has_message_of(frame: &Frame, bytes: usize) -> bool {
    frame.len() >= bytes && messages(frame).any(|(_, payload)| payload.len() >= bytes)
}

/// The WebSocket messages in a frame of packets. Their bounds would not do: revision 3 of Engine.IO has a byte before
/// them.
fn messages(frame: &Frame) -> impl Iterator<Item = (websocket::FrameHeader, &[u8])> {
    let mut rest = frame.bytes();
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let header = websocket::decode_header(rest).ok().flatten().expect("a frame of packets is made of whole frames");
        let end = header.header_len + usize::try_from(header.payload_len).expect("it lies in memory");
        let (message, behind) = rest.split_at(end);
        rest = behind;
        Some((header, &message[header.header_len..]))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::frame::Encoded;
    use crate::broadcast::encode;
    use crate::door::EventParts;
    use alloc::string::String;
    use bytes::Bytes;
    use ringio_codec::websocket::{Incoming, MessageLimits, Payload, Receiver, Role};

    fn parameters(server_no_context_takeover: bool, window: u8) -> DeflateParameters {
        let server_max_window_bits = Some(WindowBits::new(window).unwrap());
        DeflateParameters { server_no_context_takeover, server_max_window_bits, ..DeflateParameters::default() }
    }

    fn event(text: &str, compression: Compression) -> Frame {
        let json = alloc::format!("[\"e\",\"{text}\"]");
        let encoded = encode::event(Vec::new(), "/", None, EventParts { json: json.as_bytes(), attachments: &[] });
        Frame::new(Encoded { compression, ..encoded })
    }

    fn long(compression: Compression) -> Frame {
        event(&"some words ".repeat(200), compression)
    }

    /// A client that reads what it gets.
    struct Client {
        inflater: Inflater,
        receiver: Receiver,
    }

    impl Client {
        fn new(server_forgets: bool) -> Self {
            Self { inflater: Inflater::new(server_forgets), receiver: Receiver::new() }
        }

        /// The messages, and whether each was compressed.
        fn read(&mut self, frame: &Frame) -> Vec<(Vec<u8>, bool)> {
            let limits = MessageLimits { role: Role::Client, allow_rsv1: true, ..MessageLimits::default() };
            let (mut bytes, mut cursor, mut messages) = (frame.bytes().to_vec(), 0, Vec::new());
            while let Some(incoming) = self.receiver.next_with_deflate(&mut bytes, &mut cursor, &limits).unwrap() {
                let (received, is_deflated) = match incoming {
                    Incoming::Plain(received) => (received, false),
                    Incoming::Deflated(message) => (self.inflater.receive(&message, &bytes, 1 << 20).unwrap(), true),
                };
                let (Received::Text(payload) | Received::Binary(payload)) = received else { panic!("{received:?}") };
                let message = match payload {
                    Payload::InPlace(range) => bytes[range].to_vec(),
                    Payload::Owned(message) => message,
                };
                messages.push((message, is_deflated));
            }
            messages
        }
    }

    #[test]
    fn a_frame_for_many_is_compressed_once_for_all_windows_that_hold_it() {
        let mut shared = SharedDeflate::default();
        let frame = long(Compression::Shared);
        let mut sent = Vec::new();
        for (forgets, window) in [(true, 15), (true, 15), (true, 10), (true, 12), (true, 15), (false, 15)] {
            let deflated = Deflate::new(parameters(forgets, window)).deflate(&mut shared, &frame);
            assert_eq!(Client::new(forgets).read(&deflated), [(frame.bytes()[4..].to_vec(), true)]);
            sent.push(deflated);
        }
        assert_eq!((shared.made, shared.shared), (2, 4));
        assert!(sent[1].is_same(&sent[0]) && sent[5].is_same(&sent[2]) && sent[3].is_same(&sent[2]));
    }

    #[test]
    fn short_messages_and_those_that_must_not_be_are_sent_as_they_are() {
        let mut shared = SharedDeflate::default();
        for forgets in [true, false] {
            let mut deflate = Deflate::new(parameters(forgets, 15));
            for frame in [event("short", Compression::Shared), long(Compression::Off), Frame::raw(b"pong".to_vec())] {
                assert!(deflate.deflate(&mut shared, &frame).is_same(&frame));
            }
        }
        assert_eq!(shared.made, 0);
    }

    #[test]
    fn what_does_not_get_shorter_is_sent_as_it_is() {
        let noise: String = (0_u32..2_000)
            .map(|index| char::from(b' ' + 2 + (index.wrapping_mul(2_654_435_761) >> 9) as u8 % 56))
            .collect();
        let attachment: Vec<u8> = (0_u32..3_000).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let attachments = [Bytes::from(attachment.clone()), Bytes::from(alloc::vec![7; 5_000])];
        let json = alloc::format!("[\"e\",\"{}\"]", noise.replace('"', "'"));
        let frame = Frame::new(encode::event(
            Vec::new(),
            "/",
            None,
            EventParts { json: json.as_bytes(), attachments: &attachments },
        ));
        let mut shared = SharedDeflate::default();
        let deflated = Deflate::new(parameters(true, 15)).deflate(&mut shared, &frame);
        let messages = Client::new(true).read(&deflated);
        assert_eq!(messages[1].0, attachment);
        assert_eq!(messages[2], (alloc::vec![7; 5_000], true));
        assert!(deflated.len() < frame.len());
    }

    #[test]
    fn a_kept_context_makes_the_second_message_shorter_and_survives_shared_ones() {
        let mut shared = SharedDeflate::default();
        let mut deflate = Deflate::new(parameters(false, 15));
        let mut client = Client::new(false);
        let mut lengths = Vec::new();
        for frame in [
            event("a rare and wonderful sentence", Compression::Own),
            event("a rare and wonderful sentence", Compression::Own),
            long(Compression::Shared),
            event("a rare and wonderful sentence", Compression::Own),
            event("plain", Compression::Off),
            event("a rare and wonderful sentence", Compression::Own),
        ] {
            let sent = deflate.deflate(&mut shared, &frame);
            assert_eq!(client.read(&sent)[0].0, frame.bytes()[frame.packets()[0].start as usize..].to_vec());
            lengths.push(sent.len());
        }
        assert!(lengths[1] < lengths[0] / 2, "{lengths:?}");
        assert_eq!(lengths[3], lengths[0], "the shared message has moved the client's window on");
        assert_eq!(lengths[5], lengths[1], "a plain one has not");
    }

    #[test]
    fn only_kept_contexts_take_memory() {
        let mut shared = SharedDeflate::default();
        let mut forgetful = Deflate::new(parameters(true, 15));
        forgetful.deflate(&mut shared, &long(Compression::Own));
        assert_eq!(forgetful.context_bytes(), 0);
        let mut keeping = Deflate::new(parameters(false, 15));
        assert_eq!(keeping.context_bytes(), 0);
        keeping.deflate(&mut shared, &long(Compression::Shared));
        assert_eq!(keeping.context_bytes(), 0, "nothing was compressed for it alone");
        keeping.deflate(&mut shared, &long(Compression::Own));
        assert_eq!(keeping.context_bytes(), DEFLATER_BYTES_MAX);
    }
}
