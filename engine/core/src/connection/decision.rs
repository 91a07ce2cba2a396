//! A request that the application decides about, and what arrives behind it meanwhile.
//!
//! It is bounded like the request it may become: a body of the largest size and pipelined bytes.

use super::backlog::Backlog;
use crate::door::Stage;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A request that waits for its verdict.
#[derive(Debug)]
pub struct Deciding {
    /// What is being decided.
    pub stage: Stage,
    /// The request's head.
    pub head: Box<[u8]>,
    /// Header lines for the answer so far.
    pub fields: Vec<u8>,
    /// What arrived behind the head.
    pub backlog: Backlog,
}

impl Deciding {
    /// Bytes reserved.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.head.len() + self.fields.capacity() + self.backlog.capacity()
    }
}
