//! TLS: a stage between driver and core, for the connections of the listeners that ask for it.
//!
//! ```text
//!   driver --records--> Stage: Channel of the file --plaintext--> core --frames--> Channel --records--> driver
//! ```
//! The drivers carry bytes and the core sees plaintext; neither knows of TLS, and the core stays deterministic. What the drivers
//! tell apart connections by, the token, says whether the stage is meant: a plain connection costs one test of a bit on the way up, one look at
//! an empty list on the way down, and a null pointer only where others of the same shard are encrypted.
//!
//! A moving connection takes its channel along in [`PeerMessage::Moved`]. A handshake that takes too long is a connection that takes too
//! long for its first request: the core's deadline ends both.

mod channel;
mod settings;
#[cfg(all(test, not(ringio_loom)))]
mod tests;

pub use settings::TlsSettings;

use crate::kernel::{Kernel, SendOutcome, Token};
use channel::{Channel, Goodbye, Heard, Packed, Sending};
use ringio_core::base::frame::Frame;
use ringio_core::base::frame_pool::{FramePool, POOL_BYTES_MAX, POOL_FRAMES_MAX};
use ringio_core::base::id::{ConnectionKey, FileId, ShardIndex};
use ringio_core::base::table::Table;
use ringio_core::door::PeerMessage;
use ringio_core::limits::FRAME_BYTES;
use std::any::Any;

/// In a token: the rest is a file of the stage's. Indexes of connections stay below it, as do the numbers of files.
const MARK: Token = 1 << 31;

/// Plaintext buffer that is kept from one receive to the next; a receive of the drivers' own size fits.
const PLAINTEXT_BYTES_KEPT: usize = 128 << 10;

/// What TLS may hold of one connection at worst. Bytes.
pub(crate) const CONNECTION_BYTES_MAX: u64 = channel::BYTES_MAX as u64;

/// What a shard holds for all its encrypted connections. Bytes: the pool of records, the last plaintext, spare memory.
pub(crate) const SHARD_BYTES_MAX: u64 =
    (POOL_BYTES_MAX + PLAINTEXT_BYTES_KEPT + 2 * channel::HELD_BYTES) as u64 + POOL_FRAMES_MAX as u64 * FRAME_BYTES;

/// What was received on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) key: ConnectionKey,
    pub(crate) end: Option<Ended>,
}

/// Why nothing more will be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The peer has said so.
    Finished,
    /// It does not speak TLS, or breaks its rules.
    Unreadable(&'static str),
}

/// The channel of a connection that has left this shard, until its message leaves.
struct Departed {
    target: ShardIndex,
    file: FileId,
    channel: Box<Channel>,
}

/// What a shard keeps of its encrypted connections.
#[derive(Default)]
pub(crate) struct Stage {
    /// What each listener speaks.
    listeners: Vec<Option<TlsSettings>>,
    /// By the number of the file.
    channels: Table<Box<Channel>>,
    departed: Vec<Departed>,
    pool: FramePool,
    /// What was received last, deciphered.
    pub(crate) plaintext: Vec<u8>,
    /// Memory for the next unfinished record.
    spare: Vec<u8>,
    awaits_sent: bool,
}

/// The file that a token of the stage means.
pub(crate) fn file_of(token: Token) -> Option<FileId> {
    (token & MARK != 0).then_some(FileId((token & !MARK) as u32))
}

fn token_of(file: FileId) -> Token {
    debug_assert!(Token::from(file.0) < MARK);
    MARK | Token::from(file.0)
}

impl Stage {
    /// The listeners, in the order in which the kernel was given them.
    pub(crate) fn new(listeners: Vec<Option<TlsSettings>>) -> Self {
        Self { listeners, ..Self::default() }
    }

    /// Whether connections of this listener are encrypted.
    pub(crate) fn is_for(&self, listener: u16) -> bool {
        self.listeners.get(usize::from(listener)).is_some_and(Option::is_some)
    }

    /// Whether the file is an encrypted connection.
    #[inline]
    pub(crate) fn has(&self, file: FileId) -> bool {
        self.channels.get(file.0).is_some()
    }

    fn channel(&mut self, file: FileId) -> Option<&mut Channel> {
        self.channels.get_mut(file.0).map(|channel| &mut **channel)
    }

    /// A connection begins on a listener that [`Self::is_for`]. Its token.
    pub(crate) fn accept(&mut self, file: FileId, key: ConnectionKey, listener: u16) -> Token {
        if let Some(Some(settings)) = self.listeners.get(usize::from(listener)) {
            let channel = Box::new(Channel::new(key, settings.current()));
            self.channels.put(file.0, channel);
        }
        token_of(file)
    }

    /// Bytes came; `plaintext` holds what they say.
    pub(crate) fn receive<K: Kernel>(&mut self, kernel: &mut K, file: FileId, bytes: &mut [u8]) -> Option<Received> {
        let channel = self.channels.get_mut(file.0)?;
        self.plaintext.clear();
        let heard = channel.receive(bytes, &mut self.plaintext, &mut self.spare);
        let key = channel.key;
        let end = match heard {
            Heard::Open => None,
            Heard::Finished => Some(Ended::Finished),
            Heard::Unreadable(description) => Some(Ended::Unreadable(description)),
        };
        // Only a frame can be refused, and one that has begun has something in flight.
        let _ = self.pump(kernel, file);
        Some(Received { key, end })
    }

    /// Gives back the memory of a large receive.
    pub(crate) fn trim(&mut self) {
        if self.plaintext.capacity() > PLAINTEXT_BYTES_KEPT {
            self.plaintext = Vec::new();
        }
    }

    /// Gives back memory that the connections there are do not need.
    pub(crate) fn shrink(&mut self) {
        self.channels.shrink();
        self.departed.shrink_to_fit();
        self.pool.clear();
        self.plaintext = Vec::new();
        self.spare = Vec::new();
    }

    /// The frame of the core's that is being enciphered, piece by piece.
    pub(crate) fn sending(&self, file: FileId) -> Option<&Frame> {
        self.channels.get(file.0)?.frame()
    }

    /// Nothing more will be received.
    pub(crate) fn end(&mut self, file: FileId) -> Option<ConnectionKey> {
        let channel = self.channel(file)?;
        channel.be_gone();
        Some(channel.key)
    }

    /// A send has ended. If the core is to hear of it: whose it was, and whether the connection is broken.
    pub(crate) fn sent<K: Kernel>(
        &mut self,
        kernel: &mut K,
        file: FileId,
        outcome: SendOutcome,
    ) -> Option<(ConnectionKey, bool)> {
        let channel = self.channel(file)?;
        let key = channel.key;
        let was = std::mem::replace(&mut channel.sending, Sending::Nothing);
        if matches!(outcome, SendOutcome::Broken(_)) {
            channel.be_gone();
            return Some((key, true));
        }
        let is_broken = self.pump(kernel, file).is_err();
        // The core has said long ago whether something stands behind its frame, of which this was one piece or which waited for it.
        let channel = self.channel(file)?;
        let is_last = channel.sending == Sending::Last;
        self.awaits_sent |= is_last;
        (is_broken || was == Sending::Last).then_some((key, is_broken))
    }

    /// The core sends a frame on a file that [`Self::has`].
    ///
    /// # Errors
    /// It cannot be enciphered: whose connection is broken.
    pub(crate) fn send<K: Kernel>(
        &mut self,
        kernel: &mut K,
        file: FileId,
        frame: Frame,
        offset: usize,
    ) -> Result<(), ConnectionKey> {
        let Some(channel) = self.channel(file) else { return Ok(()) };
        let key = channel.key;
        channel.begin_frame(frame, offset);
        self.pump(kernel, file).map_err(|()| key)
    }

    /// Sends the next piece, if nothing is in flight and there is one.
    fn pump<K: Kernel>(&mut self, kernel: &mut K, file: FileId) -> Result<(), ()> {
        let Some(channel) = self.channels.get_mut(file.0) else {
            return Ok(());
        };
        if !channel.has_more() || channel.leaving.is_some() {
            return Ok(());
        }
        if channel.sending != Sending::Nothing {
            self.awaits_sent = true;
            return Ok(());
        }
        let was_due = channel.goodbye == Goodbye::Due;
        let mut out = self.pool.buffer();
        let filled = channel.fill(&mut out);
        let records = self.pool.raw(out);
        let sending = filled?;
        if !records.is_empty() || sending == Sending::Last {
            channel.sending = sending;
            self.awaits_sent |= channel.has_more();
            kernel.send(file, records, 0);
        }
        if was_due && channel.goodbye == Goodbye::Said {
            kernel.shutdown_write(file);
        }
        Ok(())
    }

    /// The core says FIN after what was sent: `close_notify` goes before it.
    pub(crate) fn shutdown_write<K: Kernel>(&mut self, kernel: &mut K, file: FileId) {
        let Some(channel) = self.channel(file) else { return };
        if channel.goodbye == Goodbye::Said {
            return kernel.shutdown_write(file);
        }
        channel.goodbye = Goodbye::Due;
        // Nothing of the core's is in work, so nothing can be refused.
        let _ = self.pump(kernel, file);
    }

    /// The core closes the connection; who still listens is told that nothing was cut off.
    pub(crate) fn close<K: Kernel>(&mut self, kernel: &mut K, file: FileId) {
        let Some(mut channel) = self.channels.take(file.0) else { return };
        if channel.sending == Sending::Nothing && channel.leaving.is_none() {
            let mut out = self.pool.buffer();
            channel.say_goodbye(&mut out);
            let records = self.pool.raw(out);
            if !records.is_empty() {
                kernel.send(file, records, 0);
            }
        }
    }

    /// The connection is about to be handed to another shard.
    pub(crate) fn leave(&mut self, file: FileId, target: ShardIndex) {
        if let Some(channel) = self.channel(file) {
            channel.leaving = Some(target);
        }
    }

    /// It was handed over, or could not be. Whose it was.
    pub(crate) fn transferred(&mut self, file: FileId, remote: Option<FileId>) -> Option<ConnectionKey> {
        let key = self.channel(file)?.key;
        if let Some(remote) = remote
            && let Some(mut channel) = self.channels.take(file.0)
            && let Some(target) = channel.leaving.take()
        {
            self.departed.push(Departed { target, file: remote, channel });
        }
        Some(key)
    }

    /// Puts the channel of a connection that leaves into its message.
    pub(crate) fn pack(&mut self, target: ShardIndex, message: &mut PeerMessage) {
        if self.departed.is_empty() {
            return;
        }
        if let PeerMessage::Moved { file, luggage, .. } = message {
            let is_it = |departed: &Departed| departed.target == target && departed.file == *file;
            if let Some(index) = self.departed.iter().position(is_it) {
                let packed: Box<dyn Any + Send> = Box::new(self.departed.swap_remove(index).channel.pack());
                *luggage = Some(packed);
            }
        }
    }

    /// Takes the channel of a connection that arrives out of its message.
    pub(crate) fn unpack(&mut self, message: &mut PeerMessage) {
        if let PeerMessage::Moved { file, luggage, .. } = message
            && let Some(luggage) = luggage.take()
            && let Ok(packed) = luggage.downcast::<Packed>()
        {
            self.channels.put(file.0, Box::new(Channel::unpack(*packed)));
        }
    }

    /// The connection that arrived is the core's `key` from now on. Its token.
    pub(crate) fn adopt(&mut self, file: FileId, key: ConnectionKey) -> Token {
        match self.channel(file) {
            Some(channel) => {
                channel.key = key;
                token_of(file)
            }
            None => key.to_bits(),
        }
    }

    /// What TLS itself had to say when the connection left its former shard.
    pub(crate) fn resume<K: Kernel>(&mut self, kernel: &mut K, file: FileId) {
        let _ = self.pump(kernel, file); // There is no frame yet that could be refused.
    }

    /// Whether something stands behind a send that was handed out; asked once per flush.
    pub(crate) fn take_awaits_sent(&mut self) -> bool {
        std::mem::take(&mut self.awaits_sent)
    }
}
