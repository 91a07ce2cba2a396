//! One trivial protocol on several I/O layers: `io-layer LAYER echo|broadcast --port N`.
//!
//! The protocol is that of `bench/src/bin/floor.rs`: `+` when a client is accepted, then messages that begin with their size
//! (four bytes, little-endian, themselves included). `echo` returns bytes as they come; `broadcast` sends each whole message to
//! everyone, one send per message and receiver. `drive --protocol raw` loads it, `make io-layer` measures all of them.
//!
//! | layer | how |
//! |---|---|
//! | ring, epoll | Ringio's two drivers under their common trait: one loop, no tasks |
//! | tokio-direct | tokio; whoever receives a message writes it to everyone at once |
//! | tokio, tokio-uring, monoio, monoio-epoll | one task reads and one writes per connection, a queue between: the usual shape |
//!
//! A queue holds at most what `drive` has in flight. Every layer has one thread.
#![forbid(unsafe_code)]

mod driver;
mod messages;
mod on_monoio;
mod on_tokio;
mod on_tokio_uring;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// What to do with what arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Echo,
    Broadcast,
}

const GREETING: &[u8] = b"+";
/// Bytes of one read, as the ring's receive buffers have.
const READ_SIZE: usize = 4096;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let usage = "usage: io-layer ring|epoll|tokio|tokio-direct|tokio-uring|monoio|monoio-epoll echo|broadcast --port N";
    let [_, layer, mode, flag, port] = &*arguments else { return Err(io::Error::other(usage)) };
    let mode = match mode.as_str() {
        "echo" => Mode::Echo,
        "broadcast" => Mode::Broadcast,
        _ => return Err(io::Error::other(usage)),
    };
    let port: u16 = port.parse().map_err(io::Error::other)?;
    if flag != "--port" {
        return Err(io::Error::other(usage));
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match layer.as_str() {
        "ring" => driver::ring(TcpListener::bind(address)?, mode),
        "epoll" => driver::epoll(TcpListener::bind(address)?, mode),
        "tokio" => on_tokio::serve(address, mode, false),
        "tokio-direct" => on_tokio::serve(address, mode, true),
        "tokio-uring" => on_tokio_uring::serve(address, mode),
        "monoio" => on_monoio::ring(address, mode),
        "monoio-epoll" => on_monoio::epoll(address, mode),
        _ => Err(io::Error::other(usage)),
    }
}
