//! A Socket.IO server engine for Linux: thread-per-core on io_uring, a peer for every official Socket.IO client, with
//! the API of the Node.js server in Rust.
//!
//! ```no_run
//! use ringio::{Data, Server, Socket};
//!
//! fn main() -> ringio::Result<()> {
//!     let io = Server::new();
//!     io.on_connection(|socket: Socket| {
//!         socket.on("chat message", |socket: Socket, Data(text): Data<String>| {
//!             socket.broadcast().emit("chat message", &text)
//!         });
//!     });
//!     io.listen(3000) // one shard per core; blocks until stopped
//! }
//! ```
//!
//! # Handlers
//! Closures with up to eight [extractors](extract) in any order, sync or async, for one socket ([`Socket::on`]) or for
//! all sockets of a namespace ([`Namespace::sockets_on`]). Sync ones run inline on the shard: they must not block.
//! Async ones run on the shard too, with a Tokio runtime around them, so that `tokio::time`, database and HTTP clients
//! work while the shard goes on.
//!
//! ```no_run
//! # use ringio::{Ack, Data, DisconnectReason, Server, Socket};
//! # async fn load_profile(id: u64) -> String { String::new() }
//! # let io = Server::new();
//! io.on_connection(|socket: Socket| {
//!     socket.on("join", |socket: Socket, Data(room): Data<String>, ack: Ack| {
//!         socket.join(&room); // visible at once
//!         ack.send(&socket.rooms().len())
//!     });
//!     socket.on("profile", async |Data(id): Data<u64>, ack: Ack| {
//!         ack.send(&load_profile(id).await)
//!     });
//!     socket.on_disconnect(|socket: Socket, reason: DisconnectReason| {
//!         println!("{} left: {reason}", socket.id());
//!     });
//! });
//! ```
//!
//! # Handles
//! | handle | where | what it does |
//! |---|---|---|
//! | [`Socket`] | its shard (not `Send`) | takes effect at once, reads are current |
//! | [`RemoteSocket`] | everywhere | a message to the socket's shard, reads are a snapshot |
//! | [`Server`], [`Namespace`], [`BroadcastOperator`] | everywhere | at once on a shard, by a message elsewhere |
//!
//! ```no_run
//! # async fn elsewhere(io: ringio::Server) -> Result<(), Box<dyn std::error::Error>> {
//! io.to("room1").except("room2").emit("news", &("two", "arguments")).await?;
//! for s in io.of("/admin").within("room1").fetch_sockets().await? {
//!     s.emit("hello", s.id()).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Values
//! Whatever serde writes and reads as JSON. A tuple is several arguments, everything else is one; [`Bytes`] anywhere in a
//! value is sent as a binary attachment and comes back as one.
//!
//! # Several servers
//! With [`Builder::adapter`] servers act as one: broadcasts, acknowledgements, rooms, `fetch_sockets` and remote sockets reach the
//! clients of all of them, and [`Namespace::server_side_emit`] the servers themselves. [`cluster`] says what an adapter is.
//!
//! # What can go wrong
//! An emit never waits and never panics: it gives an [`Emitted`], which may be ignored, or says why nobody will hear it. A handler that fails,
//! panics, or gets arguments that do not fit costs its own event and nothing else; [`Server::on_handler_error`] hears of it. Everything
//! that waits is bounded (bytes for a slow client, acknowledgements, async handlers, namespaces made for clients), and [`Builder`] says how.
//!
//! ```no_run
//! # let io = ringio::Server::new();
//! io.on_handler_error(|socket, event, error| eprintln!("{event} of {}: {error}", socket.id()));
//! if let Err(error) = io.emit("news", "Rust wins").into_result() {
//!     eprintln!("nobody hears it: {error}");
//! }
//! ```
//!
//! # Read on
//! From Node: the guide [`guides::from_node`], which begins with the official tutorial, and [`node_api`], where each method of Node and each
//! misuse has a row. From socketioxide: [`guides::from_socketioxide`]. Options: [`Builder`]. Parameters of handlers: [`extract`].
//!
//! # Where is ...?
//! events to handlers: `application`; handlers' types: `handler`, [`extract`]; JSON: `encode`, `decode`; options:
//! `options`; what each operation does on the wire: the crate `ringio-core`.

#![forbid(unsafe_code)]

mod ack;
mod address;
mod application;
mod attachments;
mod background;
mod broadcast_ack;
mod broadcast_operator;
mod budgets;
mod busy_poll;
mod by_type;
mod client_files;
mod closing;
pub mod cluster;
mod compression;
mod connection;
mod data;
mod decision;
mod decode;
mod dynamic;
mod emitted;
mod encode;
pub mod engine;
mod error;
mod event;
pub mod extract;
pub mod guides;
mod handler;
mod handshake;
mod hooks;
mod listener;
mod middleware;
mod namespace;
mod namespace_handles;
mod namespace_listeners;
mod namespaces;
mod options;
mod outgoing;
mod packet_middleware;
mod parent_namespace;
pub mod parser;
mod population;
mod raw_args;
mod recovery_options;
mod registry;
mod remote_socket;
mod request;
mod request_extensions;
mod request_options;
mod rooms;
mod server;
mod server_settings;
mod shared;
mod slow;
mod socket;
mod socket_listeners;
mod socket_table;
mod tls;
mod tokio_context;
mod waiter;

#[doc = include_str!("../docs/node-api.md")]
pub mod node_api {}

pub use ack::{Ack, AckReply, FromReply, RemoteAckReply, Reply};
pub use address::{Address, IntoAddresses};
pub use broadcast_ack::{BroadcastAckError, BroadcastAcks};
pub use broadcast_operator::{BroadcastOperator, FetchSockets};
pub use budgets::drain_on_signals;
pub use bytes::Bytes;
pub use closing::Closing;
pub use cluster::{ServerSideAck, ServerSideHandler};
pub use compression::{HttpCompression, PerMessageDeflate};
pub use connection::{Connection, EnginePacket, ReadyState};
pub use data::{Extensions, SocketData};
pub use emitted::Emitted;
pub use encode::{ArgumentWriter, EmitArgs};
pub use error::{AckError, ArgumentError, EmitError, Error, FetchError, HandlerError, Result};
pub use event::{AskTarget, EmitTarget, Event, ListenTarget, ListenerOutput, TypedAck};
pub use extract::{
    Args, Attachments, Data, DisconnectDescription, EventContext, EventName, Extension, FromEvent, HttpExtension,
    State, TryData,
};
pub use handler::{Handler, HandlerOutput};
pub use handshake::Handshake;
#[doc(hidden)]
pub use hooks::HookFuture;
pub use hooks::{Refusal, RequestHook};
pub use listener::{ListenerId, ListenerKey};
pub use middleware::{ConnectError, Middleware};
pub use namespace::Namespace;
pub use options::Builder;
pub use packet_middleware::PassedEvent;
pub use parent_namespace::{ParentBroadcastOperator, ParentNamespace};
pub use raw_args::RawArgs;
pub use regex::Regex;
pub use remote_socket::{DataSnapshot, RemoteSocket, RemoteSocketOperator};
pub use request::{Headers, Request, Response};
pub use request_extensions::RequestExtensions;
pub use ringio_codec::engineio::PacketKind as EnginePacketKind;
pub use ringio_codec::http::{Cookie, CookiePriority, CorsOptions as Cors, CorsOrigin, SameSite};
pub use ringio_core::door::{Counters, DisconnectReason, Transport};
pub use ringio_core::limits::WorstCase;
pub use ringio_runtime::shard_thread::DriverChoice as Driver;
pub use rooms::IntoRooms;
pub use rustls;
pub use server::{Server, ServerHandle, stop_on_signals};
pub use server_settings::Engine;
pub use shared::HandlerCounters;
pub use slow::SlowReceiver;
pub use socket::{Socket, SocketOperator};
pub use tls::{OverTls, Tls};
