//! Echoes on the console and to the client: the smallest complete server.
//!
//! ```text
//! cargo run --release -p ringio --example echo            then connect any Socket.IO client to http://localhost:3000
//! ```
//! Every `echo` comes back with all its arguments, binary ones included, and is acknowledged if the client asks for it.

use ringio::{Ack, DisconnectReason, RawArgs, Server, Socket, Transport, stop_on_signals};

fn main() -> ringio::Result<()> {
    let io = Server::new();

    io.on_connection(|socket: Socket, transport: Transport| {
        println!("{} came by {}", socket.id(), transport.as_str());

        socket.on("echo", |socket: Socket, args: RawArgs, ack: Ack| {
            println!("{} says {}", socket.id(), args.json());
            socket.emit("echo", &args);
            ack.send(&args)
        });

        socket.on_disconnect(|socket: Socket, reason: DisconnectReason| {
            println!("{} left: {reason}", socket.id());
        });
    });

    stop_on_signals(&io)?;
    println!("echo server on http://localhost:3000");
    io.listen(3000)
}
