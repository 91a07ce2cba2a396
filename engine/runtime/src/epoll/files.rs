//! The open files of one shard, by descriptor number, and what is known of each.
//!
//! The system gives out the lowest free number, so a closed file's number soon belongs to the next. The generation tells them apart: events
//! and news carry it, and find nobody when their file has gone. Numbers are the whole process'; a shard's table has gaps where others' are.

use super::Epoll;
use crate::kernel::Token;
use ringio_core::base::frame::Frame;
use ringio_core::base::id::{FileId, ShardIndex};
use ringio_core::base::table::Table;
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
    /// Which file of this number it is.
    generation: u32,
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

/// The open files by number.
#[derive(Default)]
pub(super) struct Files {
    table: Table<File>,
    /// Of the file that is opened next.
    next_generation: u32,
}

impl Files {
    /// Files there are.
    pub(super) fn count(&self) -> u32 {
        self.table.len() as u32
    }

    /// The file that was meant, if it is still open.
    pub(super) fn find(&mut self, key: Key) -> Option<&mut File> {
        self.table.get_mut(key.fd).filter(|file| file.generation == key.generation)
    }

    /// The file of this number, if one is open.
    pub(super) fn get(&self, number: u32) -> Option<&File> {
        self.table.get(number)
    }

    /// Gives back memory that no file needs.
    pub(super) fn shrink(&mut self) {
        self.table.shrink();
    }
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
        let generation = self.files.next_generation;
        self.files.next_generation = if generation == GENERATION_MAX { 0 } else { generation + 1 };
        let file = File {
            fd,
            generation,
            token: 0,
            state: State::Silent,
            send: SendState::Idle,
            is_shutdown_due: false,
            registered: 0,
            is_unsettled: false,
        };
        // The system gives out no descriptor that is open.
        self.files.table.put(number, file);
        FileId(number)
    }

    /// Takes a file out; what is still reported of it finds nobody.
    pub(super) fn remove(&mut self, number: u32) -> Option<File> {
        self.files.table.take(number)
    }

    pub(super) fn find(&mut self, key: Key) -> Option<&mut File> {
        self.files.find(key)
    }

    /// The key of an open file.
    pub(super) fn key(&self, file: FileId) -> Key {
        match self.files.table.get(file.0) {
            Some(open) => Key { fd: file.0, generation: open.generation },
            None => panic!("{file:?} is not open"),
        }
    }

    pub(super) fn open_file(&mut self, file: FileId) -> &mut File {
        match self.files.table.get_mut(file.0) {
            Some(open) => open,
            None => panic!("{file:?} is not open"),
        }
    }
}
