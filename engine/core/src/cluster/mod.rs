//! Floor 6, the same on other servers: what servers of a cluster tell each other, as values.
//!
//! ```text
//!   operation --> Event::Publish --> the application's link --> broker --> other servers' links --> handle_cluster
//! ```
//! One message is one of the thirteen of the official adapters' envelope `{type, data, uid, nsp}`; who carries it (the same
//! process, a broker) and how it is written is the link's business. Values travel as JSON and attachments, never as
//! frames, so each server encodes them for its own clients, whatever their parser.
//!
//! A message is for one namespace. Nobody hears his own. Messages of one sender arrive in the order in which they were sent.
//! Source: socket.io-adapter 2.5, `ClusterAdapter` and `ClusterAdapterWithHeartbeat`.

pub mod nodes;
pub mod roll;

use crate::door::{EmitFlags, EventParts, SocketDescription};
use crate::room::select::Target;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// A server of the cluster, as it names itself: Ringio and the official adapters take 16 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The node of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The node named by a number: 16 hexadecimal digits.
    #[must_use]
    pub fn of_number(number: u64) -> Self {
        Self(Arc::from(alloc::format!("{number:016x}")))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for NodeId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the asker calls a question; who answers repeats it and need not understand it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The request of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// JSON and the attachments that its placeholders stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterPacket {
    /// An event `["name",1,{"_placeholder":true,"num":0}]`, or the one value of an answer.
    pub json: Bytes,
    /// In the order of the placeholders.
    pub attachments: Vec<Bytes>,
}

impl ClusterPacket {
    /// A copy of an event.
    #[must_use]
    pub fn new(parts: EventParts<'_>) -> Self {
        Self { json: Bytes::copy_from_slice(parts.json), attachments: parts.attachments.to_vec() }
    }

    /// It as it is encoded for clients.
    #[must_use]
    pub fn parts(&self) -> EventParts<'_> {
        EventParts { json: &self.json, attachments: &self.attachments }
    }

    /// Bytes of JSON and attachments.
    #[must_use]
    pub fn size(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What servers tell each other about one namespace.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum ClusterMessage {
    /// A server is here and wants to know who else is.
    InitialHeartbeat,
    /// A server is still here.
    Heartbeat,
    /// An event for the sockets that the target selects; with `request` they are to acknowledge it within the time.
    Broadcast {
        packet: ClusterPacket,
        target: Target,
        flags: EmitFlags,
        timeout_ms: Option<u64>,
        request: Option<RequestId>,
    },
    /// The selected sockets join rooms.
    SocketsJoin { target: Target, rooms: Arc<[Arc<str>]> },
    /// The selected sockets leave rooms.
    SocketsLeave { target: Target, rooms: Arc<[Arc<str>]> },
    /// The selected sockets leave the namespace; with `close` their connections end.
    DisconnectSockets { target: Target, close: bool },
    /// Which sockets does the target select?
    FetchSockets { target: Target, request: RequestId },
    /// They are these.
    FetchSocketsResponse { request: RequestId, sockets: Vec<SocketDescription> },
    /// An event for the servers themselves; with `request` they are to answer.
    ServerSideEmit { packet: ClusterPacket, request: Option<RequestId> },
    /// The answer of a server, one value; none stands for `undefined`.
    ServerSideEmitResponse { request: RequestId, answer: Option<ClusterPacket> },
    /// So many clients were asked to acknowledge.
    BroadcastClientCount { request: RequestId, count: u64 },
    /// The acknowledgement of one of them, its first argument; none stands for `undefined`.
    BroadcastAck { request: RequestId, answer: Option<ClusterPacket> },
    /// A server leaves.
    AdapterClose,
}

impl ClusterMessage {
    /// The number that the official adapters give it.
    #[must_use]
    pub const fn number(&self) -> u8 {
        match self {
            Self::InitialHeartbeat => 1,
            Self::Heartbeat => 2,
            Self::Broadcast { .. } => 3,
            Self::SocketsJoin { .. } => 4,
            Self::SocketsLeave { .. } => 5,
            Self::DisconnectSockets { .. } => 6,
            Self::FetchSockets { .. } => 7,
            Self::FetchSocketsResponse { .. } => 8,
            Self::ServerSideEmit { .. } => 9,
            Self::ServerSideEmitResponse { .. } => 10,
            Self::BroadcastClientCount { .. } => 11,
            Self::BroadcastAck { .. } => 12,
            Self::AdapterClose => 13,
        }
    }

    /// The question that it answers.
    #[must_use]
    pub const fn answers(&self) -> Option<&RequestId> {
        match self {
            Self::FetchSocketsResponse { request, .. }
            | Self::ServerSideEmitResponse { request, .. }
            | Self::BroadcastClientCount { request, .. }
            | Self::BroadcastAck { request, .. } => Some(request),
            _ => None,
        }
    }

    /// About how much memory it holds. Bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let names = |names: &[Arc<str>]| names.iter().map(|name| name.len() + 32).sum::<usize>();
        let target = |target: &Target| names(&target.rooms) + names(&target.except);
        let answer = |answer: &Option<ClusterPacket>| answer.as_ref().map_or(0, ClusterPacket::size);
        size_of::<Self>()
            + match self {
                Self::Broadcast { packet, target: whom, .. } => packet.size() + target(whom),
                Self::SocketsJoin { target: whom, rooms } | Self::SocketsLeave { target: whom, rooms } => {
                    target(whom) + names(rooms)
                }
                Self::DisconnectSockets { target: whom, .. } | Self::FetchSockets { target: whom, .. } => target(whom),
                Self::FetchSocketsResponse { sockets, .. } => sockets.iter().map(description_size).sum(),
                Self::ServerSideEmit { packet, .. } => packet.size(),
                Self::ServerSideEmitResponse { answer: value, .. } | Self::BroadcastAck { answer: value, .. } => {
                    answer(value)
                }
                _ => 0,
            }
    }
}

fn description_size(socket: &SocketDescription) -> usize {
    let rooms: usize = socket.rooms.iter().map(|room| room.len() + size_of::<alloc::string::String>()).sum();
    size_of::<SocketDescription>() + rooms + socket.handshake.head.len() + socket.auth.len() + socket.data.len()
}
