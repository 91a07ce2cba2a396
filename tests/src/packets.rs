//! The suite `packets` of the conformance program: middlewares for the events of a socket.

use parking_lot::Mutex;
use ringio::{Ack, Data, EventName, RawArgs, Server, Socket};
use std::sync::Arc;
use std::time::Duration;

/// The handlers of the suite.
pub fn handlers(io: &Server) {
    let errors = Arc::new(Mutex::new(Vec::<(&str, String)>::new()));
    io.on_connection(move |socket: Socket| {
        let seen = Arc::clone(&errors);
        socket.on_any(move |name: EventName| seen.lock().push(("any", name.0)));
        socket.with_packet_middleware(|name: EventName, args: RawArgs| match &*name.0 {
            "blocked" => Err(format!("no {}", args.get::<String>(0).unwrap_or_default())),
            "panic" => panic!("on purpose"),
            _ => Ok(()),
        });
        socket.with_packet_middleware(async |name: EventName, args: RawArgs| {
            if name.0 != "slow" {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            if args.get::<bool>(1).unwrap_or_default() { Err("too late") } else { Ok(()) }
        });
        let raised = Arc::clone(&errors);
        socket.on("error", move |socket: Socket, Data(text): Data<String>| {
            raised.lock().push(("error", text.clone()));
            socket.emit("refused", &text)
        });
        for name in ["blocked", "panic", "slow", "echo"] {
            socket.on(name, move |socket: Socket, args: RawArgs, ack: Ack| {
                socket.emit(name, &args);
                ack.send(&args);
            });
        }
        let seen = Arc::clone(&errors);
        socket.on("seen", move |ack: Ack| ack.send(&*seen.lock()));
    });
}
