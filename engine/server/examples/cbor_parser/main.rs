//! A server that speaks CBOR instead of the default encoding: `cargo run -p ringio --example cbor_parser`.
//!
//! Its clients need the same parser; `tests/conformance/harness/cbor-parser.mjs` is one for the official JavaScript client:
//! `io("http://localhost:3000", { parser: cborParser })`.

mod parser;

use parser::CborParser;
use ringio::{Ack, RawArgs, Server, Socket, stop_on_signals};

fn main() -> ringio::Result<()> {
    let io = Server::builder().parser(CborParser { part_bytes_max: 16 << 10 }).build()?;
    io.on_connection(|socket: Socket| {
        socket.on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", &args));
        socket.on("ack", |args: RawArgs, ack: Ack| ack.send(&args));
    });
    stop_on_signals(&io)?;
    io.listen(3000)
}
