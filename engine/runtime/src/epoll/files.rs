//! The open files of one shard, by descriptor number, and what is known of each.
//!
//! The system gives out the lowest free number, so a closed file's number soon belongs to the next. The generation tells them apart: events
//! and news carry it, and find nobody when their file has gone. Numbers are the whole process'; a shard's list has gaps where others' are.

use super::Epoll;
use crate::kernel::Token;
use ringio_core::base::frame::Frame;
use ringio_core::base::id::{FileId, ShardIndex};
use std::os::fd::{AsRawFd, OwnedFd};

/// Largest generation of a file; those above mark what is no file.
pub(super) const GENERATION_MAX: u32 = u32::MAX - 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody listens yet, or a transfer was refused.
    Silent,
    /// In use. False: the peer has ended, or the connection is broken.
    Open { is_receiving: bool },
    /// To be handed over when the send in flight has ended.
    Leaving(ShardIndex),
    /// The handing over is news.
    Moving(Result<(), i32>),
}

pub(super) enum SendState {
    Idle,
    /// In the batch.
    Queued(Frame, usize),
    /// The peer has to make room.
    Waiting(Frame, usize),
    /// Ended, which is news.
    Ended,
}

pub(super) struct File {
    pub(super) fd: OwnedFd,
    pub(super) token: Token,
    pub(super) state: State,
    pub(super) send: SendState,
    /// FIN is to be said when the send in flight has ended.
    pub(super) is_shutdown_due: bool,
    /// The interest the system knows; 0: it does not know the file at all.
    pub(super) registered: u32,
    /// In `unsettled`.
    pub(super) is_unsettled: bool,
}

#[derive(Default)]
pub(super) struct Entry {
    pub(super) generation: u32,
    pub(super) file: Option<File>,
}

/// A file at a time: its number and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) fd: u32,
    pub(super) generation: u32,
}

impl Key {
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.fd)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self { fd: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl Epoll {
    pub(super) fn insert(&mut self, fd: OwnedFd) -> FileId {
        let number = fd.as_raw_fd() as u32;
        let index = number as usize;
        if self.files.len() <= index {
            self.files.resize_with(index + 1, Entry::default);
        }
        let entry = &mut self.files[index];
        assert!(entry.file.is_none(), "the system gave out descriptor {index}, which is open here");
        entry.file = Some(File {
            fd,
            token: 0,
            state: State::Silent,
            send: SendState::Idle,
            is_shutdown_due: false,
            registered: 0,
            is_unsettled: false,
        });
        self.open_count += 1;
        FileId(number)
    }

    /// Takes a file out; what is still reported of it finds nobody.
    pub(super) fn remove(&mut self, number: u32) -> Option<File> {
        let entry = self.files.get_mut(number as usize)?;
        let file = entry.file.take()?;
        entry.generation = if entry.generation == GENERATION_MAX { 0 } else { entry.generation + 1 };
        self.open_count -= 1;
        Some(file)
    }

    pub(super) fn find(&mut self, key: Key) -> Option<&mut File> {
        let entry = self.files.get_mut(key.fd as usize).filter(|entry| entry.generation == key.generation)?;
        entry.file.as_mut()
    }

    pub(super) fn key(&self, file: FileId) -> Key {
        let generation = self.files.get(file.0 as usize).map_or(0, |entry| entry.generation);
        Key { fd: file.0, generation }
    }

    pub(super) fn open_file(&mut self, file: FileId) -> &mut File {
        match self.files.get_mut(file.0 as usize).and_then(|entry| entry.file.as_mut()) {
            Some(open) => open,
            None => panic!("{file:?} is not open"),
        }
    }
}
