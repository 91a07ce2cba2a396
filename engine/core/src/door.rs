//! The door: everything that enters or leaves the core.
//!
//! ```text
//! kernel --handle_*(now, ..)--> shard --poll_event--> application --methods of Shard--> shard --poll_output--> kernel
//!                                 ^ handle_peer                                         poll_peer_message v
//!                                 +---------------------------- other shards -------------------------------+
//! ```
//! `handle_*` says that something happened, `poll_*` asks what to do about it, until `None`.

use crate::base::frame::{Compression, Encoded, Frame, WhenSlow};
use crate::base::id::{ConnectionKey, FileId, NamespaceId, ShardIndex, SocketKey};
use crate::base::kept::Kept;
use crate::base::seed::{ChosenId, Sid};
use crate::broadcast::recovery::{Offset, Return};
use crate::cluster::roll::Tally;
use crate::cluster::{ClusterMessage, ClusterPacket, NodeId, RequestId};
use crate::room::census::{RoomChange, RoomStep};
use crate::room::select::Target;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::any::Any;
use core::net::SocketAddr;
use core::ops::Range;
use ringio_codec::engineio::PacketKind;
use ringio_codec::http::EngineError;

/// What the kernel is to do.
#[derive(Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Output {
    /// Send `frame` from `offset` on; one send per connection is in flight at a time.
    Send { file: FileId, frame: Frame, offset: usize },
    /// Say FIN after what has been sent.
    ShutdownWrite { file: FileId },
    /// Close the connection.
    Close { file: FileId },
    /// Hand the connection to the shard that owns its session.
    Transfer { file: FileId, target: ShardIndex },
    /// Take over a connection that another shard handed here and receive on it.
    Adopt { file: FileId, connection: ConnectionKey },
}

/// What the application hears.
#[derive(Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Event {
    /// A client asks to join a namespace: answer with `accept_socket` or `refuse_socket`.
    ConnectRequested { socket: SocketKey },
    /// The answer to `recover_socket`: whether the socket has its former state again, and what was kept for it with
    /// `keep_data`. The application goes on with middlewares or `accept_socket`.
    RecoveryDecided { socket: SocketKey, is_recovered: bool, data: Option<Arc<dyn Any + Send + Sync>> },
    /// A client sent an event.
    Message { socket: SocketKey, message: Message },
    /// A client acknowledged; `waiter` is what `emit_with_ack` was given.
    AckReceived { waiter: u64, message: Message },
    /// An acknowledgement will not come.
    AckFailed { waiter: u64, failure: AckFailure },
    /// What became of `broadcast_with_ack`: the answers that came, and whether all that were asked have answered.
    BroadcastAcknowledged { waiter: u64, answers: Vec<Message>, is_complete: bool },
    /// `hear_outgoing`: an event was put into this socket's outbox; its first packet is the event, the others are its
    /// attachments. Comes only if it was not taken with `take_outgoing`.
    Sent { socket: SocketKey, frame: Frame },
    /// The socket is leaving; its rooms are still there.
    Disconnecting { socket: SocketKey, cause: Cause },
    /// The socket has left its rooms.
    Disconnected { socket: SocketKey, cause: Cause },
    /// Nothing will be heard of this socket any more: forget what was kept for it. Also comes for a refused socket.
    Released { socket: SocketKey },
    /// The client broke the protocol; its connection is being closed.
    ProtocolError { socket: SocketKey, error: &'static str },
    /// `Options::hooks`: a request waits for `Shard::decide`.
    RequestArrived { connection: ConnectionKey, request: Arc<HandshakeRequest>, stage: Stage },
    /// `Options::hooks`: a request was refused; `context` is Node's name for what exactly was wrong, `message` the
    /// application's own words.
    RequestRefused {
        request: Arc<HandshakeRequest>,
        error: EngineError,
        context: &'static str,
        message: Option<String>,
    },
    /// Somebody wants to know these sockets: answer with `reply_fetch`.
    FetchRequested { request: FetchRequest, sockets: Vec<SocketKey> },
    /// The answer to `fetch_sockets`: those of this server, those of `others`. `missing` shards of this server did not
    /// answer in time; `tally` says how many other servers did.
    Fetched { waiter: u64, sockets: Vec<SocketDescription>, others: Vec<SocketDescription>, missing: u16, tally: Tally },
    /// `join_cluster`: to be told to the other servers, or to one of them.
    Publish { namespace: NamespaceId, to: Option<NodeId>, message: Arc<ClusterMessage> },
    /// `join_cluster` without heartbeats: how many other servers have this namespace? Answer with `handle_members` on
    /// this shard; what is published after this reaches those that are counted.
    CountServers { namespace: NamespaceId, question: u64 },
    /// The answer to `count_servers`: how many servers have the namespace, this one included. `None` if that could not be
    /// found out in time.
    ServersCounted { waiter: u64, count: Option<u32> },
    /// Another server sent an event to servers; with `request` it waits for an answer.
    ServerSideEvent { namespace: NamespaceId, from: NodeId, request: Option<RequestId>, packet: ClusterPacket },
    /// The answers to `server_side_emit_with_ack`, in the order of arrival.
    ServerSideAnswered { waiter: u64, answers: Vec<Option<ClusterPacket>>, tally: Tally },
    /// `watch_rooms`: a room of the server was created or deleted, or a socket has joined or left it. On the first shard.
    RoomChanged { namespace: NamespaceId, change: RoomChange },
    /// What the application of another shard sent with `send_to_peer`.
    FromPeer { from: ShardIndex, message: Box<dyn Any + Send> },
    /// `Shard::hear_session`: something happened to a session.
    Session { session: crate::base::id::SessionKey, event: SessionEvent },
    /// `Shard::hear_room`: there is room again in the outbox of a session that had more than its high mark, or the session has ended.
    Relieved { session: crate::base::id::SessionKey },
    /// `Options::engine_only`, `Hooks::sessions`: a session opened.
    EngineOpened { session: crate::base::id::SessionKey },
    /// `Options::engine_only`: a message came.
    EngineMessage { session: crate::base::id::SessionKey, data: Data, is_binary: bool },
    /// `Options::engine_only`: a session ended.
    EngineClosed { session: crate::base::id::SessionKey, reason: DisconnectReason },
}

/// Where received bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In the bytes just received, which the event is handed out with.
    Received(Range<u32>),
    /// In a buffer of their own, from `start` on.
    Owned {
        /// The buffer.
        bytes: Vec<u8>,
        /// Where the data begins in it.
        start: u32,
    },
}

impl Data {
    /// Makes the data independent of the received bytes.
    pub fn own(&mut self, received: &[u8]) {
        if let Self::Received(range) = self {
            *self = Self::Owned { bytes: received[range.start as usize..range.end as usize].to_vec(), start: 0 };
        }
    }

    /// The bytes, given those that the event came with.
    #[must_use]
    pub fn bytes<'a>(&'a self, received: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Received(range) => &received[range.start as usize..range.end as usize],
            Self::Owned { bytes, start } => &bytes[*start as usize..],
        }
    }
}

/// An event or an acknowledgement from a client: raw JSON (validated), bounds within it, attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The JSON array: `["name",1,{..}]`, or the arguments alone of an acknowledgement: `[1,{..}]`.
    pub data: Data,
    /// The event's name without quotes, relative to `data`; empty for acknowledgements.
    pub name: Range<u32>,
    /// Whether the name contains JSON escapes (`\u0041`) and must be unescaped before it is compared.
    pub name_has_escapes: bool,
    /// The arguments without brackets and name, relative to `data`: `1,{..}`.
    pub arguments: Range<u32>,
    /// Number of arguments.
    pub argument_count: u32,
    /// The client wants an acknowledgement under this id.
    pub id: Option<u64>,
    /// Binary parts, referred to by placeholders.
    pub attachments: Vec<Bytes>,
}

/// One event or acknowledgement to encode: a complete JSON array and its attachments.
#[derive(Clone, Copy, Debug)]
pub struct EventParts<'a> {
    /// `["name",1,{"_placeholder":true,"num":0}]`
    pub json: &'a [u8],
    /// In the order of the placeholders.
    pub attachments: &'a [Bytes],
}

/// How to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmitFlags {
    /// Drop it for clients that cannot take it at this instant.
    pub volatile: bool,
    /// Only to sockets of this server.
    pub local: bool,
    /// Compress it where the transport can. Default true.
    pub compress: bool,
    /// What happens where there is no room for it. Default none: what the options say for its namespace.
    pub when_slow: Option<WhenSlow>,
}

impl Default for EmitFlags {
    fn default() -> Self {
        Self { volatile: false, local: false, compress: true, when_slow: None }
    }
}

impl EmitFlags {
    /// How a packet for one socket may be compressed.
    #[must_use]
    pub const fn for_one(self) -> Compression {
        if self.compress { Compression::Own } else { Compression::Off }
    }

    /// How a packet for many sockets may be compressed.
    #[must_use]
    pub const fn for_many(self) -> Compression {
        if self.compress { Compression::Shared } else { Compression::Off }
    }
}

/// Why an emit reached nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitError {
    /// The socket's client is gone.
    Disconnected,
    /// More bytes wait for this client than `outbox_bytes_max` allows, and nothing could make room.
    OutboxFull,
    /// The emit was volatile and the client could not take it at this instant.
    NotWritable,
    /// The parser cannot encode it; why.
    Encode(&'static str),
}

/// Why an acknowledgement will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckFailure {
    /// The time given has passed.
    Timeout,
    /// The client left first.
    Disconnected,
}

/// Why a socket left, with Node's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server made it leave: `disconnect`, `disconnect_sockets`.
    ServerNamespaceDisconnect,
    /// The connection was closed by the client or the network.
    TransportClose,
    /// The connection broke, or the client broke a rule of the transport.
    TransportError,
    /// The client did not answer a ping in time.
    PingTimeout,
    /// A packet of Engine.IO could not be read.
    ParseError,
    /// The server closed the connection at once: a violation over WebSocket, `conn.close()`.
    ForcedClose,
    /// The server closed a polling connection: a violation, no namespace joined in time.
    ForcedServerClose,
    /// The server is stopping.
    ServerShuttingDown,
    /// More bytes waited for the client than allowed. Ringio's own: Node queues without bound.
    OutboxFull,
}

impl DisconnectReason {
    /// The words of the Node.js server.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::ForcedServerClose => "forced server close",
            Self::ServerShuttingDown => "server shutting down",
            Self::OutboxFull => "outbox full",
        }
    }
}

impl core::fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a socket left, and in which way exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Node's word for it.
    pub reason: DisconnectReason,
    /// What exactly happened, where that is known: `overlap from client`.
    pub description: Option<&'static str>,
}

impl Cause {
    /// A reason and what exactly happened.
    #[must_use]
    pub const fn new(reason: DisconnectReason, description: &'static str) -> Self {
        Self { reason, description: Some(description) }
    }
}

impl From<DisconnectReason> for Cause {
    fn from(reason: DisconnectReason) -> Self {
        Self { reason, description: None }
    }
}

/// What happens to a session.
#[derive(Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum SessionEvent {
    /// A packet came, without its type digit.
    Packet { kind: PacketKind, data: Data, is_binary: bool },
    /// Packets were put into the outbox: the frame's.
    Created { frame: Frame },
    /// A WebSocket has probed.
    Upgrading,
    /// The WebSocket is the transport.
    Upgraded,
    /// What was queued was given to the transport.
    Flushed,
    /// The transport is done with it.
    Drained,
    /// It has ended.
    Closed(Cause),
}

/// What a session is at a moment.
#[derive(Clone, Debug)]
pub struct SessionDescription {
    /// Its id on the wire.
    pub id: String,
    /// How it talks.
    pub transport: Transport,
    /// The revision of Engine.IO: 4, or 3.
    pub protocol: u8,
    /// Whether it takes packets.
    pub is_open: bool,
    /// Whether a WebSocket has probed to become its transport.
    pub is_upgrading: bool,
    /// Its first request.
    pub request: Arc<HandshakeRequest>,
    /// Bytes that wait for the transport.
    pub outbox_bytes: usize,
}

/// How a session talks at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// `polling` or `websocket`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// What is being decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Whether it is looked at at all.
    Request,
    /// Whether it opens a session; nothing else stands against it.
    Handshake,
}

/// What the application says to a request. `fields` are header lines for the answer, each with its line end; those of
/// both stages are written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Verdict {
    /// It goes on; a session that it opens is called `sid`, unless another one is already.
    Pass { fields: Vec<u8>, sid: Option<ChosenId> },
    /// It is refused; `message` instead of the error's own, `context` for [`Event::RequestRefused`].
    Refuse { error: EngineError, message: Option<String>, context: &'static str, fields: Vec<u8> },
    /// The application answers it itself. A WebSocket handshake is answered like any other request.
    Answer { status: u16, fields: Vec<u8>, body: Vec<u8> },
}

/// The first request of a session, kept as it came.
#[derive(Debug)]
pub struct HandshakeRequest {
    /// The request head, `GET /socket.io/?EIO=4.. HTTP/1.1` and all header lines.
    pub head: Box<[u8]>,
    /// The client's address, unless the transport has none.
    pub address: Option<SocketAddr>,
    /// Unix time of the request. Milliseconds.
    pub issued_ms: u64,
    /// Whether it came over TLS.
    pub secure: bool,
    /// What the application keeps with it.
    pub kept: Kept,
}

// With the counts of its `Arc` 88 bytes, which is what malloc has for 80 too.
const _: () = assert!(size_of::<HandshakeRequest>() + 2 * size_of::<usize>() <= 88, "one for each session");

/// What `fetch_sockets` tells of a socket.
#[derive(Clone, Debug)]
pub struct SocketDescription {
    /// The socket's id.
    pub id: Sid,
    /// All its rooms, its own id first.
    pub rooms: Vec<String>,
    /// Its handshake.
    pub handshake: Arc<HandshakeRequest>,
    /// The auth payload, raw JSON; empty if there was none.
    pub auth: Box<[u8]>,
    /// Its data, raw JSON, as the application keeps it.
    pub data: Vec<u8>,
}

/// A question for sockets that the application must answer once.
#[derive(Debug)]
pub struct FetchRequest {
    pub(crate) from: Option<ShardIndex>,
    pub(crate) id: u64,
}

/// What to do with selected sockets.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Operation {
    /// Make them join rooms.
    Join(Arc<[Arc<str>]>),
    /// Make them leave rooms.
    Leave(Arc<[Arc<str>]>),
    /// Make them leave the namespace; with `close`, close their connections.
    Disconnect { close: bool },
}

/// What shards tell each other.
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum PeerMessage {
    /// An event for the sockets that the target selects, encoded once, in a tick of the sender.
    Broadcast {
        namespace: NamespaceId,
        target: Target,
        packet: Arc<Encoded>,
        flags: EmitFlags,
        offset: Option<Offset>,
        tick: u32,
    },
    /// A client of `asker` says that it was the socket with this private id, of which the receiver knows more.
    ComesBack { asker: ShardIndex, socket: SocketKey, namespace: NamespaceId, pid: Sid, offset: Offset },
    /// The socket with this private id will not come back.
    Forgotten { pid: Sid },
    /// What is known of it.
    CameBack { socket: SocketKey, found: Option<Box<Return>> },
    /// Join, leave or disconnect the sockets that the target selects.
    Operate { namespace: NamespaceId, target: Target, operation: Operation },
    /// An event that the selected sockets are to acknowledge under `id`: `question` of the asker.
    Ask {
        namespace: NamespaceId,
        target: Target,
        packet: Arc<Encoded>,
        id: u64,
        question: u64,
        timeout_ms: u64,
        flags: EmitFlags,
    },
    /// So many were asked; the answers of so many of them cannot come.
    Asked { question: u64, count: usize, lost: usize },
    /// One of them has answered, or never will.
    Answered { question: u64, answer: Option<Message> },
    /// Which sockets does the target select?
    Fetch { request: u64, namespace: NamespaceId, target: Target },
    /// They are these.
    Fetched { request: u64, sockets: Vec<SocketDescription> },
    /// The watched rooms of a shard, with the number of their members.
    RoomsAre { namespace: NamespaceId, rooms: Vec<(Arc<str>, u32)> },
    /// A socket of a shard has joined or left a watched room.
    RoomStep { namespace: NamespaceId, step: RoomStep },
    /// Another server answers a question of the receiver.
    ClusterAnswer { from: NodeId, message: Arc<ClusterMessage> },
    /// Another server has left a namespace.
    NodeGone { namespace: NamespaceId, node: NodeId },
    /// These other servers have the namespace.
    NodesAre { namespace: NamespaceId, nodes: Arc<[NodeId]> },
    /// A connection whose session lives at the receiver, with the bytes read so far; whether others behind them were too
    /// many and forgotten. The `luggage` is the runtime's, which puts in what it keeps of the connection (its TLS state) and takes it
    /// out on the other side.
    Moved {
        file: FileId,
        address: Option<SocketAddr>,
        is_secure: bool,
        bytes: Vec<u8>,
        is_cut: bool,
        luggage: Option<Box<dyn Any + Send>>,
    },
    /// The runtime's: what was said before is done, and this is behind what that said. The core never sees it.
    Settled { round: u8 },
    /// From application to application.
    Application(Box<dyn Any + Send>),
}

impl core::fmt::Debug for PeerMessage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Broadcast { .. } => "Broadcast",
            Self::ComesBack { .. } => "ComesBack",
            Self::CameBack { .. } => "CameBack",
            Self::Forgotten { .. } => "Forgotten",
            Self::Operate { .. } => "Operate",
            Self::Ask { .. } => "Ask",
            Self::Asked { .. } => "Asked",
            Self::Answered { .. } => "Answered",
            Self::Fetch { .. } => "Fetch",
            Self::Fetched { .. } => "Fetched",
            Self::RoomsAre { .. } => "RoomsAre",
            Self::RoomStep { .. } => "RoomStep",
            Self::ClusterAnswer { .. } => "ClusterAnswer",
            Self::NodeGone { .. } => "NodeGone",
            Self::NodesAre { .. } => "NodesAre",
            Self::Moved { .. } => "Moved",
            Self::Settled { .. } => "Settled",
            Self::Application(_) => "Application",
        })
    }
}

/// What the core counts; for metrics and for tests that ask how often, not how fast. What ends in `_now` is what there is at this
/// moment; everything else only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events encoded: one per emit or broadcast, however many receive it.
    pub packets_encoded: u64,
    /// Frames put into an outbox.
    pub frames_queued: u64,
    /// Sends handed to the kernel.
    pub sends: u64,
    /// Buffers made by joining queued frames.
    pub joins_made: u64,
    /// Sends that used a joined buffer which another session's send had made.
    pub joins_shared: u64,
    /// Frames compressed for WebSockets.
    pub deflates_made: u64,
    /// Sends of a frame that had been compressed for another session.
    pub deflates_shared: u64,
    /// Compressed messages received.
    pub messages_inflated: u64,
    /// Bodies of polling answers compressed.
    pub bodies_compressed: u64,
    /// Answers with a body that had been compressed for another poll.
    pub bodies_shared: u64,
    /// Volatile emits dropped.
    pub volatile_dropped: u64,
    /// Packets dropped because their receiver's outbox was full, counted for each receiver: [`WhenSlow::DropNew`], and others for which
    /// nothing could make room.
    pub slow_dropped_new: u64,
    /// Waiting packets dropped for newer ones: [`WhenSlow::DropOld`].
    pub slow_dropped_old: u64,
    /// Waiting packets that a newer one of their key replaced: [`WhenSlow::Conflate`].
    pub slow_conflated: u64,
    /// Sessions ended because their outbox was full: [`WhenSlow::Close`].
    pub slow_closed: u64,
    /// Events received.
    pub events_received: u64,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Sessions closed.
    pub sessions_closed: u64,
    /// Connections closed at once because there were too many, or because memory was short.
    pub connections_refused: u64,
    /// Requests for a session that were answered with 503.
    pub sessions_refused: u64,
    /// Of `connections_refused` those that came while the process had more memory than it may.
    pub shed_connections: u64,
    /// Of `sessions_refused` those that came while memory was short.
    pub shed_handshakes: u64,
    /// Times that unused memory was given back because memory had become short.
    pub shed_pools: u64,
    /// Packets that were kept for clients which may come back, and were given up because memory was short.
    pub shed_logged_packets: u64,
    /// Sessions closed because memory was short and they held most of it.
    pub shed_sessions: u64,
    /// Connections closed for the same reason whose request belonged to no session yet, or no more.
    pub shed_requests: u64,
    /// What was claimed by giving up those packets, sessions and connections. Bytes; as much became free, or less.
    pub shed_bytes: u64,
    /// Connections moved to another shard.
    pub connections_moved: u64,
    /// Connections that ended because what came on them was no TLS, or broke its rules.
    pub tls_failures: u64,
    /// Bytes of unfinished requests and messages held at this moment.
    pub receive_bytes_held: u64,
    /// Connections at this moment, those included that are closing.
    pub connections_now: u64,
    /// Sessions at this moment.
    pub sessions_now: u64,
    /// Sockets at this moment, those included that are entering or leaving.
    pub sockets_now: u64,
    /// Rooms at this moment that somebody has joined, without those that sockets have of their own; counted for each shard with a member.
    pub rooms_now: u64,
    /// Deadlines waited for at this moment.
    pub timers_now: u64,
    /// Questions to clients and other shards without their last answer at this moment.
    pub questions_now: u64,
}
