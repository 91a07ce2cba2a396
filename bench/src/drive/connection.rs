//! One client connection: its way to being ready, and its bytes in both directions.
//!
//! ```text
//! Opening -> Upgrading -> Greeting -> Connecting -> (Joining) -> Ready -> Leaving -> Closed
//!  TCP        101          0{..}       40{..}        room, ack
//! ```
//!
//! The raw protocol goes from Opening to Greeting (one byte) to Ready. Reading is edge-triggered: a read
//! that does not fill the scratch buffer has emptied the socket (epoll(7)), which saves a call per message.
use crate::verify::Stream;
use mio::net::TcpStream;
use std::io::{self, Write};
use std::time::Instant;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The TCP connection is being made.
    Opening,
    /// The HTTP answer is awaited.
    Upgrading,
    /// Engine.IO's handshake is awaited; in the raw protocol, the greeting.
    Greeting,
    /// The namespace's answer is awaited.
    Connecting,
    /// The ack behind the join is awaited.
    Joining,
    /// Messages flow.
    Ready,
    /// The close is sent, the server's end awaited.
    Leaving,
    /// Gone.
    Closed,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) phase: Phase,
    /// Start of a message whose end has not arrived.
    pub(crate) partial: Vec<u8>,
    /// The next binary message belongs to a packet that has arrived.
    pub(crate) attachment_next: bool,
    pub(crate) opened_at: Instant,
    /// What it has seen of each sender of its group.
    pub(crate) streams: Box<[Stream]>,
    outbox: Vec<u8>,
    written: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, opened_at: Instant, sender_count: usize) -> Self {
        Self {
            stream,
            phase: Phase::Opening,
            partial: Vec::new(),
            attachment_next: false,
            opened_at,
            streams: vec![Stream::default(); sender_count].into(),
            outbox: Vec::new(),
            written: 0,
        }
    }

    /// Where bytes to be sent are appended; `flush` sends them.
    pub(crate) fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// Whether bytes wait.
    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends what waits, as far as the socket takes it; the rest goes at the next writable event.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.outbox.len() {
            match self.stream.write(&self.outbox[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outbox.clear();
        self.written = 0;
        Ok(())
    }
}
