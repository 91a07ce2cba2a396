//! What both drivers must do, said once and run for each.
//!
//! ```text
//!   test thread: std sockets as clients, commands  --->  one thread per shard: driver + `Server` (a small sink)
//!                                                  <---  reports: counters, files still open, what was seen
//! ```
//! A refused io_uring fails these tests, with the remedy; only `RINGIO_TEST_WITHOUT_URING=1` turns that into a printed note, for machines
//! where it cannot be had. Nothing here waits for a time to pass: tests wait for something that was seen, and hang if it never is.

#![allow(clippy::unwrap_used)]

mod busy;
mod fair;
mod limits;
mod load;
mod moving;
mod server;
mod single;
mod streams;

use crate::epoll::{Epoll, EpollOptions};
use crate::kernel::Kernel;
use crate::uring::probe::probe;
use crate::uring::{Uring, UringOptions};
use std::os::fd::AsFd;

/// Sizes that tests choose.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    files_max: u32,
    receive_buffers: u16,
    receive_buffer_bytes: u32,
    large_receive_buffers: u16,
    large_receive_buffer_bytes: u32,
    submissions: u32,
    completions: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        let uring = UringOptions::default();
        Self {
            files_max: uring.files_max,
            receive_buffers: uring.receive_buffers,
            receive_buffer_bytes: uring.receive_buffer_bytes,
            large_receive_buffers: uring.large_receive_buffers,
            large_receive_buffer_bytes: uring.large_receive_buffer_bytes,
            submissions: uring.submissions,
            completions: uring.completions,
        }
    }
}

/// A driver under test.
trait Driver: Kernel + Sized + 'static {
    /// Whether an isolated wake-up costs one system call and no more.
    const SYSTEM_CALLS_PER_ECHO: u64;
    fn is_available() -> bool;
    fn make(sizes: Sizes, bell: &impl AsFd) -> Self;
    fn file_count(&self) -> u32;
    fn unexpected(&self) -> u64;
}

impl Driver for Uring {
    const SYSTEM_CALLS_PER_ECHO: u64 = 1;

    fn is_available() -> bool {
        match probe() {
            Ok(()) => true,
            Err(refused) if std::env::var_os("RINGIO_TEST_WITHOUT_URING").is_some() => {
                eprintln!("NOT TESTED on io_uring: {refused}");
                false
            }
            Err(refused) => panic!("{refused} (RINGIO_TEST_WITHOUT_URING=1 leaves these tests out)"),
        }
    }

    fn make(sizes: Sizes, bell: &impl AsFd) -> Self {
        let options = UringOptions {
            files_max: sizes.files_max,
            receive_buffers: sizes.receive_buffers,
            receive_buffer_bytes: sizes.receive_buffer_bytes,
            large_receive_buffers: sizes.large_receive_buffers,
            large_receive_buffer_bytes: sizes.large_receive_buffer_bytes,
            submissions: sizes.submissions,
            completions: sizes.completions,
            ..UringOptions::default()
        };
        Self::new(&options, bell).unwrap()
    }

    fn file_count(&self) -> u32 {
        self.file_count()
    }

    fn unexpected(&self) -> u64 {
        self.unexpected()
    }
}

impl Driver for Epoll {
    const SYSTEM_CALLS_PER_ECHO: u64 = 3;

    fn is_available() -> bool {
        true
    }

    fn make(sizes: Sizes, bell: &impl AsFd) -> Self {
        let scratch_bytes = (sizes.receive_buffer_bytes as usize * usize::from(sizes.receive_buffers)).min(65_536);
        Self::new(&EpollOptions { scratch_bytes, files_max: sizes.files_max }, bell).unwrap()
    }

    fn file_count(&self) -> u32 {
        self.file_count()
    }

    fn unexpected(&self) -> u64 {
        0
    }
}

/// Makes one test per driver of each `fn name<D: Driver>()`.
macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod uring {
            $(#[test]
            fn $name() {
                use crate::driver_tests::Driver;
                if crate::uring::Uring::is_available() {
                    super::$name::<crate::uring::Uring>();
                }
            })+
        }
        mod epoll {
            $(#[test]
            fn $name() {
                super::$name::<crate::epoll::Epoll>();
            })+
        }
    };
}
use on_both_drivers;

/// Bytes that differ everywhere: a wrong order, a gap or a repetition shows.
fn pattern(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// Cuts `bytes` into pieces of 1 to `largest` bytes.
fn pieces(bytes: &[u8], largest: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut state = bytes.len() as u32 | 1;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = (1 + (state >> 8) as usize % largest).min(rest.len());
        let (piece, after) = rest.split_at(size);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
