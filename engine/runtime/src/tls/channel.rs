//! One connection's TLS: records in, plaintext out, and the other way round.
//!
//! ```text
//!   received bytes --records--> plaintext                        `receive`
//!   core's frame --pieces of PIECE_BYTES--> records to send      `fill`; what TLS itself has to say goes in front
//! ```
//! rustls is used without its buffers: records are deciphered where the kernel put them, and only an unfinished rest is kept. An idle
//! connection holds its keys and nothing else. One piece of ciphertext is in flight at a time, so a frame of any size costs
//! no more than that twice.

use ringio_core::base::frame::Frame;
use ringio_core::base::id::{ConnectionKey, ShardIndex};
use ringio_core::limits::DROPPED_BYTES;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, WriteTraffic};
use std::sync::Arc;

/// Plaintext that is enciphered at a time: four records.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// Unfinished records that one connection may make us hold. The longest message of a handshake (rustls: 64 KiB, a chain of client
/// certificates) fits in.
pub(super) const HELD_BYTES_MAX: usize = 80 << 10;

/// What TLS itself may have to say to a peer that does not listen: a certificate chain at most.
const OWN_BYTES_MAX: usize = 256 << 10;

/// What rustls keeps of a connection: its keys, and the certificates of a client that showed some. Bytes.
const STATE_BYTES_MAX: usize = (8 << 10) + HELD_BYTES_MAX;

/// What one channel may hold at worst. Bytes. Unfinished records, with the receive that showed that they are too many; what TLS has to
/// say; what it had to say before and a piece of ciphertext on their way. Each is there twice while it grows.
pub(super) const BYTES_MAX: usize = STATE_BYTES_MAX
    + 2 * (HELD_BYTES_MAX + RECEIVE_BYTES_MAX)
    + 2 * OWN_BYTES_MAX
    + 2 * (OWN_BYTES_MAX + PIECE_BYTES + RECORD_OVERHEAD * (1 + PIECE_BYTES / RECORD_BYTES_MAX));

/// The longest receive of both drivers.
const RECEIVE_BYTES_MAX: usize = 64 << 10;

/// Room for what a record is longer than its plaintext: header 5, explicit nonce 8, tag 16, type 1.
const RECORD_OVERHEAD: usize = 30;
const RECORD_BYTES_MAX: usize = 16 << 10;

/// Capacity of the buffers that unfinished records are kept in, from the first byte on: one record, as nearly all are shorter.
pub(super) const HELD_BYTES: usize = RECORD_BYTES_MAX + 1024;

/// What a client hears that speaks HTTP where TLS is spoken; the sentence ends up in front of a person.
const PLAIN_HTTP_ANSWER: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 57\r\nConnection: close\r\n\r\n\
    This port speaks TLS: use https:// or wss:// to reach it\n";

/// What became of the peer's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It goes on.
    Open,
    /// The peer said that it is done (`close_notify`).
    Finished,
    /// It is no TLS, or breaks its rules.
    Unreadable(&'static str),
}

/// Who hears of the end of the send in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// None is in flight.
    Nothing,
    /// Nobody: what TLS itself had to say, or a frame that is not at its end.
    Part,
    /// The core: the last of its frame.
    Last,
}

/// How far the end of our side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// Not asked for.
    No,
    /// After everything else: `close_notify`, then FIN.
    Due,
    /// Said, or there is nobody to say it to.
    Said,
}

/// Whether what comes is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// Nothing has come yet.
    Fresh,
    /// It is.
    Open,
    /// No more: the peer has said that it is done. We may go on.
    Deaf,
    /// No more, and rustls is not asked to encipher anything either: what it remembers of messages half read is gone.
    Broken,
}

/// What a channel is on its way to another shard.
pub(super) struct Packed {
    tls: UnbufferedServerConnection,
    held: Vec<u8>,
    own: Vec<u8>,
    goodbye: Goodbye,
    hearing: Hearing,
}

/// The TLS state of one connection.
pub(super) struct Channel {
    pub(super) key: ConnectionKey,
    tls: UnbufferedServerConnection,
    /// An unfinished record, or unfinished messages of a handshake; without memory most of the time.
    held: Vec<u8>,
    /// What TLS itself has to say.
    own: Vec<u8>,
    /// The core's frame in work, and what has been taken of it.
    frame: Option<(Frame, usize)>,
    pub(super) sending: Sending,
    pub(super) goodbye: Goodbye,
    hearing: Hearing,
    /// What came since nothing is looked at any more.
    dropped_bytes: u64,
    /// Where it is moving to.
    pub(super) leaving: Option<ShardIndex>,
}

impl Channel {
    pub(super) fn new(key: ConnectionKey, config: Arc<ServerConfig>) -> Self {
        let tls = UnbufferedServerConnection::new(config).expect("`TlsSettings` has made one of each configuration");
        Self {
            key,
            tls,
            held: Vec::new(),
            own: Vec::new(),
            frame: None,
            sending: Sending::Nothing,
            goodbye: Goodbye::No,
            hearing: Hearing::Fresh,
            dropped_bytes: 0,
            leaving: None,
        }
    }

    /// For another shard. Nothing of the core's is in work: it moves only what is idle.
    pub(super) fn pack(self) -> Packed {
        debug_assert!(self.frame.is_none());
        Packed { tls: self.tls, held: self.held, own: self.own, goodbye: self.goodbye, hearing: self.hearing }
    }

    /// From another shard. The core says later which of its connections it is.
    pub(super) fn unpack(packed: Packed) -> Self {
        let Packed { tls, held, own, goodbye, hearing } = packed;
        let (key, sending) = (ConnectionKey::from_bits(0), Sending::Nothing);
        Self { key, tls, held, own, frame: None, sending, goodbye, hearing, dropped_bytes: 0, leaving: None }
    }

    /// Takes what arrived; its plaintext goes behind `plaintext`. Memory for an unfinished rest is taken from `spare` and given back.
    pub(super) fn receive(&mut self, bytes: &mut [u8], plaintext: &mut Vec<u8>, spare: &mut Vec<u8>) -> Heard {
        match self.hearing {
            _ if bytes.is_empty() => return Heard::Open,
            Hearing::Deaf | Hearing::Broken => return self.pass_over(bytes.len()),
            Hearing::Fresh if bytes[0].is_ascii_uppercase() => {
                self.own.extend_from_slice(PLAIN_HTTP_ANSWER);
                return self.give_up("plain HTTP where TLS is spoken");
            }
            Hearing::Fresh | Hearing::Open => self.hearing = Hearing::Open,
        }
        let (rest, heard) = if self.held.is_empty() {
            let (used, heard) = self.read(bytes, plaintext);
            (&bytes[used..], heard)
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let (used, heard) = self.read(&mut held, plaintext);
            held.drain(..used);
            if held.is_empty() {
                if spare.capacity() == 0 && held.capacity() <= 2 * HELD_BYTES {
                    *spare = held;
                }
            } else {
                self.held = held;
            }
            (&[][..], heard)
        };
        match heard {
            Heard::Open => {
                if !rest.is_empty() {
                    self.held = std::mem::take(spare);
                    self.held.reserve(HELD_BYTES.max(rest.len()));
                    self.held.extend_from_slice(rest);
                }
                if self.held.len() > HELD_BYTES_MAX || self.own.len() > OWN_BYTES_MAX {
                    return self.give_up("a handshake that is too long");
                }
                Heard::Open
            }
            Heard::Finished => {
                self.be_deaf(Hearing::Deaf);
                Heard::Finished
            }
            Heard::Unreadable(description) => self.give_up(description),
        }
    }

    /// The core's frame in work.
    pub(super) fn frame(&self) -> Option<&Frame> {
        self.frame.as_ref().map(|(frame, _)| frame)
    }

    /// Whether TLS itself has something to say, or a frame goes on.
    pub(super) fn has_more(&self) -> bool {
        !self.own.is_empty() || self.frame.is_some() || self.goodbye == Goodbye::Due
    }

    /// The core has a frame to send. One at a time: it waits for the end of the one before.
    pub(super) fn begin_frame(&mut self, frame: Frame, offset: usize) {
        assert!(self.frame.is_none() && self.sending != Sending::Last, "one send per file is in flight");
        self.frame = Some((frame, offset));
    }

    /// Puts into `out` what is to be sent next, and says who is to hear of its end.
    ///
    /// # Errors
    /// The keys are used up, or there are none: the frame cannot be sent.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<Sending, ()> {
        out.append(&mut self.own);
        self.own = Vec::new();
        let mut sending = Sending::Part;
        if let Some((frame, offset)) = self.frame.take() {
            if self.hearing == Hearing::Broken {
                return Err(());
            }
            let end = frame.len().min(offset + PIECE_BYTES);
            let piece = &frame.bytes()[offset..end];
            self.write(out, piece.len() + RECORD_OVERHEAD * (1 + piece.len() / RECORD_BYTES_MAX), |traffic, room| {
                traffic.encrypt(piece, room)
            })?;
            if end < frame.len() {
                self.frame = Some((frame, end));
            } else {
                sending = Sending::Last;
            }
        }
        if self.frame.is_none() && self.goodbye == Goodbye::Due {
            self.say_goodbye(out);
        }
        Ok(sending)
    }

    /// `close_notify`, unless the peer has never understood us.
    pub(super) fn say_goodbye(&mut self, out: &mut Vec<u8>) {
        if self.goodbye != Goodbye::Said {
            self.goodbye = Goodbye::Said;
            // Without keys, in the middle of a handshake, FIN alone says it.
            let _ = self.write(out, RECORD_OVERHEAD + 2, |traffic, room| traffic.queue_close_notify(room));
        }
    }

    /// The peer is gone: nothing is to be said to it any more.
    pub(super) fn be_gone(&mut self) {
        self.be_deaf(Hearing::Broken);
        self.goodbye = Goodbye::Said;
    }

    fn be_deaf(&mut self, hearing: Hearing) {
        self.hearing = hearing;
        self.held = Vec::new();
    }

    fn give_up(&mut self, description: &'static str) -> Heard {
        self.be_gone();
        Heard::Unreadable(description)
    }

    /// Drops what nobody looks at any more: as much as the core does of a connection that is closing. Beyond it the peer's side is over,
    /// whatever it goes on to say.
    fn pass_over(&mut self, len: usize) -> Heard {
        self.dropped_bytes += len as u64;
        if self.dropped_bytes > DROPPED_BYTES { Heard::Finished } else { Heard::Open }
    }

    /// Reads records from the front of `bytes`, deciphering in place. How many bytes are done with.
    fn read(&mut self, bytes: &mut [u8], plaintext: &mut Vec<u8>) -> (usize, Heard) {
        let mut used = 0;
        let mut heard = Heard::Open;
        loop {
            let was_unreadable = heard != Heard::Open;
            let status = self.tls.process_tls_records(&mut bytes[used..]);
            let mut discard = status.discard;
            let is_done = match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        plaintext.extend_from_slice(record.payload);
                    }
                    false
                }
                // Only a configuration of the application's own allows it (`max_early_data_size`).
                Ok(ConnectionState::ReadEarlyData(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        plaintext.extend_from_slice(record.payload);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.own, 4096, |room| data.encode(room).map_err(Shortage::from)).is_err()
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    heard = Heard::Finished;
                    true
                }
                Err(error) => {
                    heard = Heard::Unreadable(describe(&error));
                    false
                }
                // What is left is unfinished.
                Ok(_) => true,
            };
            used += discard;
            // After an error rustls is asked once more, for its alert, with the bytes in their place; a third time would read the same again.
            if is_done || was_unreadable {
                return (used, heard);
            }
        }
    }

    /// Has `what` write records behind `out`, of about `size` bytes.
    fn write<F>(&mut self, out: &mut Vec<u8>, size: usize, mut what: F) -> Result<(), ()>
    where
        F: FnMut(&mut WriteTraffic<'_, rustls::server::ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    {
        loop {
            // Given what is held, because rustls remembers places in it. Nothing of it is new, so nothing is read.
            match self.tls.process_tls_records(&mut self.held).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return append(out, size, |room| what(&mut traffic, room).map_err(Shortage::from));
                }
                Ok(ConnectionState::TransmitTlsData(mut data)) => match data.may_encrypt_app_data() {
                    Some(mut traffic) => {
                        append(out, size, |room| what(&mut traffic, room).map_err(Shortage::from))?;
                        data.done();
                        return Ok(());
                    }
                    None => data.done(),
                },
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(out, 4096, |room| data.encode(room).map_err(Shortage::from))?;
                }
                _ => return Err(()),
            }
        }
    }
}

/// Why something was not written.
enum Shortage {
    /// There must be so much room.
    Room(usize),
    /// It cannot be.
    Final,
}

impl From<EncodeError> for Shortage {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Self::Room(required_size),
            EncodeError::AlreadyEncoded => Self::Final,
        }
    }
}

impl From<EncryptError> for Shortage {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Self::Room(required_size),
            EncryptError::EncryptExhausted => Self::Final,
        }
    }
}

/// Has `what` write behind `out`, which gets room for `size` bytes, or for as many as are asked for.
fn append(
    out: &mut Vec<u8>,
    mut size: usize,
    mut what: impl FnMut(&mut [u8]) -> Result<usize, Shortage>,
) -> Result<(), ()> {
    let start = out.len();
    loop {
        out.resize(start + size, 0);
        match what(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(Shortage::Room(required)) if required > size => size = required,
            Err(_) => {
                out.truncate(start);
                return Err(());
            }
        }
    }
}

/// An error of rustls in words that last: they end up in the reason of a disconnect.
fn describe(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::NoCertificatesPresented => "no client certificate",
        rustls::Error::InvalidCertificate(_) => "a client certificate that is not accepted",
        rustls::Error::DecryptError => "a TLS record that cannot be deciphered",
        rustls::Error::AlertReceived(_) => "a TLS alert from the client",
        rustls::Error::PeerIncompatible(_) => "no TLS version or cipher in common",
        rustls::Error::NoApplicationProtocol => "no protocol in common (ALPN)",
        rustls::Error::InvalidMessage(_) => "no TLS",
        _ => "a TLS error",
    }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_counts_its_own_body() {
        let text = std::str::from_utf8(PLAIN_HTTP_ANSWER).expect("it is ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("there is a body");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
