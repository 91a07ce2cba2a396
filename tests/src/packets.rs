//! The suite `packets` of the conformance program: middlewares for the events of a socket.

use crate::gates::Gates;
use parking_lot::Mutex;
use ringio::{Ack, Data, EventName, PassedEvent, RawArgs, Server, Socket};
use std::sync::Arc;
use std::time::Duration;

/// The handlers of the suite.
pub fn handlers(io: &Server) {
    let errors = Arc::new(Mutex::new(Vec::<(&str, String)>::new()));
    let gates = Gates::default();
    gates.handlers(io.sockets());
    io.on_connection(move |socket: Socket| {
        let seen = Arc::clone(&errors);
        socket.on_any(move |name: EventName| seen.lock().push(("any", name.0)));
        socket.with_packet_middleware(|name: EventName, args: RawArgs| match &*name.0 {
            "blocked" => Err(format!("no {}", args.get::<String>(0).unwrap_or_default())),
            "panic" => panic!("on purpose"),
            _ => Ok(()),
        });
        let gates = gates.clone();
        socket.with_packet_middleware(async move |name: EventName, args: RawArgs| match &*name.0 {
            "slow" => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                if args.get::<bool>(1).unwrap_or_default() { Err("too late") } else { Ok(()) }
            }
            "held" => {
                gates.pass(&args.get::<String>(0).unwrap_or_default()).await;
                Ok(())
            }
            _ => Ok(()),
        });
        // "wrapped" becomes "wrap" with its own name in front, once at once and once later.
        socket.with_packet_middleware(|name: EventName, args: RawArgs, event: PassedEvent| match &*name.0 {
            "wrapped" => become_another(&event, "wrap", "wrapped", args),
            _ => Ok(()),
        });
        socket.with_packet_middleware(async |name: EventName, args: RawArgs, event: PassedEvent| {
            if name.0 != "wrap" {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            become_another(&event, "unwrapped", "wrap", args)
        });
        let raised = Arc::clone(&errors);
        socket.on("error", move |socket: Socket, Data(text): Data<String>| {
            raised.lock().push(("error", text.clone()));
            socket.emit("refused", &text)
        });
        for name in ["blocked", "panic", "slow", "held", "echo", "wrapped", "wrap", "unwrapped"] {
            socket.on(name, move |socket: Socket, args: RawArgs, ack: Ack| {
                socket.emit(name, &args);
                ack.send(&args);
            });
        }
        let seen = Arc::clone(&errors);
        socket.on("seen", move |ack: Ack| ack.send(&*seen.lock()));
    });
}

fn become_another(event: &PassedEvent, name: &str, first: &str, mut args: RawArgs) -> Result<(), String> {
    args.push_front(first).map_err(|error| error.to_string())?;
    event.replace(name, &args).map_err(|error| error.to_string())
}
