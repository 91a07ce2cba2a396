//! The core of Ringio: decides what a Socket.IO server does, and does nothing itself.
//!
//! ```text
//!   bytes in                                                       bytes out
//!      v                                                               ^
//!   1 connection   bytes -> requests, messages     session.outbox  2   |
//!   2 session      heartbeat, upgrade              encode once     5   |
//!   3 namespace    sockets, events, acks                               |
//!        +--> application --> operations --> 4 room: who? -------------+
//! ```
//! Floors never call each other. Each returns what it found, and [`shard`], the only folder that sees all floors, carries
//! it on. Nothing here reads a clock or a random source: time and the seed are arguments, so the same inputs give the
//! same outputs. What holds everywhere:
//! - a socket is in `everyone` of its namespace exactly while it is joined or leaving;
//! - a frame that was queued is sent, or its session ends, with a reason that the application hears;
//! - every state of a connection, session or socket has a deadline ([`shard::deadlines`]) and a bound ([`limits`]);
//! - events of one connection are handed out in the order they came.
//!
//! | behaviour | file | behaviour | file |
//! |---|---|---|---|
//! | everything that enters or leaves | [`door`] | which timers exist | [`shard::deadlines`] |
//! | the whole way up | [`shard::inbound`] | the whole way down | [`shard::outbound`] |
//! | a request's head, which refusal | [`connection::request`], [`shard::requests`] | second GET while one waits | [`shard::requests`] |
//! | body of a POST | [`connection::body`] | polling to WebSocket | [`session::upgrade`], [`shard::websocket`] |
//! | heartbeat timeout | [`session::heartbeat`] | why and how a session ends | [`shard::closing`] |
//! | a socket comes and goes | [`shard::lifecycle`] | slow client, joined sends | [`session::outbox`] |
//! | attachments missing or too many | [`namespace::assembly`] | who owes an acknowledgement | [`namespace::ack`] |
//! | a room is selected | [`room::select`] | a socket joins twice | [`room`] |
//! | same bytes to 10,000 sockets | [`broadcast::encode`] | message from another shard | [`shard::peers`] |
//! | clients of Engine.IO 3, JSONP | [`session::dialect`] | a frame for both protocols | [`session::dialect`] |
//! | CORS, cookie, the application decides about a request | [`shard::decisions`] | bounds and deadlines | [`limits`] |
//! | permessage-deflate, a broadcast compressed once | [`connection::deflate`] | compressed answers to polls | [`connection::polled_body`] |
//! | what servers tell each other | [`cluster`] | what leaves, what arrives, who is waited for | [`shard::cluster`] |
//! | sids | [`base::seed`] | what an operator may set | [`options`] |
//!
//! Absent on purpose: sockets of the operating system, threads, TLS, handlers.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod base;
pub mod broadcast;
pub mod cluster;
pub mod connection;
pub mod door;
pub mod gate;
pub mod limits;
pub mod namespace;
pub mod options;
pub mod parser;
pub mod room;
pub mod session;
pub mod shard;
