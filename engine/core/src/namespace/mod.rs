//! Floor 3: Socket.IO packets to connects, events and acknowledgements.
//!
//! A namespace is a named channel with its own sockets and rooms; a socket is one session's presence in it. The
//! state of one namespace on one shard is here; which sockets it consists of is in the shard's slab, by slot.

pub mod ack;
pub mod assembly;
pub mod directory;
pub mod event;
pub mod socket;

use crate::base::id::NamespaceId;
use crate::room::Rooms;
use crate::room::members::Members;
use alloc::sync::Arc;

/// One namespace on one shard.
#[derive(Debug)]
pub struct Namespace {
    /// The server's number for it.
    pub id: NamespaceId,
    /// With its leading slash.
    pub name: Arc<str>,
    /// The slots of all sockets that have joined.
    pub everyone: Members,
    /// Who is in which room.
    pub rooms: Rooms,
    ack_ids: ack::AckIds,
    /// Sockets of this shard that have entered and are not gone altogether.
    tenants: u32,
}

impl Namespace {
    /// A namespace without sockets.
    #[must_use]
    pub fn new(id: NamespaceId, name: Arc<str>, hash_seed: u64, ack_ids: ack::AckIds) -> Self {
        Self { id, name, everyone: Members::default(), rooms: Rooms::new(hash_seed), ack_ids, tenants: 0 }
    }
}
