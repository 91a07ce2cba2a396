//! Where a worker reads to, and when the kernel received what it reads.
//!
//! The kernel stamps what arrives (`SO_TIMESTAMPNS`), so that latency ends when a message is there, and not when this program gets to
//! it: a worker may look at its sockets once in a while, and may be held up, without anybody's latency having that in it. A read that
//! takes several messages has the time of the last one.

use super::link::ReadResult;
use crate::clock::{day_ahead_ns, now_ns};
use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::AsRawFd;
use std::time::Duration;

const BYTES: usize = 256 * 1024;
/// The clock of day runs as the other one does but for this much between two looks; what is more is somebody who has set it.
const DAY_DRIFT_NS: u64 = 100_000;

/// One worker's.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) bytes: Vec<u8>,
    control: Vec<u8>,
    /// When what was read last arrived, by the clock of day. Nanoseconds; 0: the kernel did not say.
    stamp_ns: u64,
    /// How far that clock is ahead of a run's, while that is certain.
    day_ahead_ns: Option<u64>,
    measured_ahead_ns: u64,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BYTES],
            control: nix::cmsg_space!(TimeSpec),
            stamp_ns: 0,
            day_ahead_ns: None,
            measured_ahead_ns: 0,
        }
    }

    /// Before sockets are looked at: what time it is for the kernel.
    pub(super) fn look_at_the_clock(&mut self) {
        if let Some(ahead_ns) = day_ahead_ns() {
            let is_steady = ahead_ns.abs_diff(self.measured_ahead_ns) < DAY_DRIFT_NS;
            self.measured_ahead_ns = ahead_ns;
            self.day_ahead_ns = is_steady.then_some(ahead_ns);
        }
    }

    /// Nothing has been read yet of the next connection.
    pub(super) fn forget_stamp(&mut self) {
        self.stamp_ns = 0;
    }

    /// When what was read last arrived; now at the latest. By [`now_ns`].
    pub(super) fn arrived_ns(&self) -> u64 {
        let now_ns = now_ns();
        match self.day_ahead_ns {
            Some(ahead_ns) if self.stamp_ns != 0 => self.stamp_ns.wrapping_sub(ahead_ns).min(now_ns),
            _ => now_ns,
        }
    }

    /// Reads what a socket has, or less.
    pub(super) fn read(&mut self, stream: &TcpStream, is_ended: bool) -> io::Result<ReadResult> {
        let room = self.bytes.len();
        let mut stamped = Stamped { stream, control: &mut self.control, stamp_ns: &mut self.stamp_ns };
        loop {
            return match stamped.read(&mut self.bytes) {
                Ok(0) => Ok(ReadResult::End),
                Ok(count) => Ok(ReadResult::Bytes(count, is_ended || count == room)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(ReadResult::Empty),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// A socket to read from, and where plain text goes.
    pub(super) fn split<'a>(&'a mut self, stream: &'a TcpStream) -> (Stamped<'a>, &'a mut [u8]) {
        (Stamped { stream, control: &mut self.control, stamp_ns: &mut self.stamp_ns }, &mut self.bytes)
    }
}

/// Reads from a socket, and keeps when it arrived.
#[derive(Debug)]
pub(super) struct Stamped<'a> {
    stream: &'a TcpStream,
    control: &'a mut [u8],
    stamp_ns: &'a mut u64,
}

impl Read for Stamped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(self.control), MsgFlags::empty())?;
        let stamp = message.cmsgs().map_err(|error: Errno| io::Error::from(error))?.find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time).as_nanos() as u64),
            _ => None,
        });
        if let Some(stamp_ns) = stamp {
            *self.stamp_ns = stamp_ns;
        }
        Ok(message.bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::ReceiveTimestampns;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream as Blocking};

    /// The pause stands for a worker that was held up, or that had something else to do.
    #[test]
    fn what_waited_to_be_read_arrived_when_it_came() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = Blocking::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        setsockopt(&receiver, ReceiveTimestampns, &true).unwrap();
        let stream = TcpStream::from_std(receiver);
        let mut scratch = Scratch::new();
        // The kernel begins to stamp a little after the first socket asks for it.
        for attempt in 0.. {
            sender.write_all(b"0").unwrap();
            std::thread::sleep(Duration::from_millis(20));
            scratch.look_at_the_clock();
            let now = now_ns();
            scratch.read(&stream, false).unwrap();
            if scratch.arrived_ns() < now {
                break;
            }
            assert!(attempt < 500, "the kernel does not stamp");
        }
        let before = now_ns();
        sender.write_all(b"first").unwrap();
        let after = now_ns();
        std::thread::sleep(Duration::from_millis(200));
        while scratch.day_ahead_ns.is_none() {
            scratch.look_at_the_clock();
        }
        assert_eq!(scratch.read(&stream, false).unwrap(), ReadResult::Bytes(5, false));
        assert_eq!(&scratch.bytes[..5], b"first");
        let arrived = scratch.arrived_ns();
        assert!((before - DAY_DRIFT_NS..=after + DAY_DRIFT_NS).contains(&arrived), "{before} {arrived} {after}");
        // Of the last of several messages, and of none before the next is read.
        sender.write_all(b"second").unwrap();
        let between = now_ns();
        sender.write_all(b"third").unwrap();
        assert_eq!(scratch.read(&stream, false).unwrap(), ReadResult::Bytes(11, false));
        assert!(scratch.arrived_ns() + DAY_DRIFT_NS >= between);
        scratch.forget_stamp();
        let now = now_ns();
        assert!(scratch.arrived_ns() >= now);
    }

    #[test]
    fn who_sets_the_clock_of_day_changes_no_arrival() {
        let mut scratch = Scratch::new();
        while scratch.day_ahead_ns.is_none() {
            scratch.look_at_the_clock();
        }
        scratch.measured_ahead_ns += 2 * DAY_DRIFT_NS;
        scratch.stamp_ns = 1;
        // Looked at again until the reading was not held up.
        while scratch.day_ahead_ns.is_some() {
            scratch.look_at_the_clock();
        }
        let now = now_ns();
        assert!(scratch.arrived_ns() >= now, "what the kernel said is not believed until the clocks agree again");
    }
}
