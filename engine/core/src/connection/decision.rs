//! A request that the application decides about, and what arrives behind it meanwhile.
//!
//! It is bounded like the request it may become: a body of the largest size and pipelined bytes.

use super::backlog::Backlog;
use crate::door::{HandshakeRequest, Stage};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A request that waits for its verdict.
#[derive(Debug)]
pub struct Deciding {
    /// What is being decided.
    pub stage: Stage,
    /// The request: the handshake of the session that it opens, if it does.
    pub request: Arc<HandshakeRequest>,
    /// Header lines for the answer so far.
    pub fields: Vec<u8>,
    /// What arrived behind the head.
    pub backlog: Backlog,
}

impl Deciding {
    /// Bytes reserved.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.request.head.len() + self.fields.capacity() + self.backlog.capacity()
    }
}
