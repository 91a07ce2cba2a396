//! The suite `listeners` of the conformance program: listeners of what comes and of what is sent, added and removed.

use parking_lot::Mutex;
use ringio::{Ack, Data, EventName, ListenerId, RawArgs, Server, Socket};
use serde_json::value::RawValue;
use std::sync::Arc;

type Log = Arc<Mutex<Vec<(&'static str, String, Box<RawValue>)>>>;

/// The handlers of the suite.
pub fn handlers(io: &Server) {
    let everyone = io.clone();
    io.sockets_on("all", move |args: RawArgs| everyone.emit("news", &args));
    io.sockets_on("me", |socket: Socket, args: RawArgs| socket.emit("mine", &args));
    io.sockets_on("ask me", async |socket: Socket, args: RawArgs, ack: Ack| {
        let answer = socket.emit_with_ack::<RawArgs>("question", &args).await?;
        ack.send(&answer);
        Ok::<_, ringio::AckError>(())
    });
    io.on_connection(|socket: Socket| {
        let log = Log::default();
        outgoing(&socket, &log);
        incoming(&socket, &log);
        socket.on("log", move |ack: Ack| ack.send(&std::mem::take(&mut *log.lock())));
    });
}

/// Writes down what a listener of everything heard.
fn note(log: &Log, who: &'static str) -> impl Fn(EventName, RawArgs) + 'static {
    let log = Arc::clone(log);
    move |name, args| {
        let args = RawValue::from_string(format!("[{}]", args.json())).expect("arguments are JSON");
        log.lock().push((who, name.0, args));
    }
}

fn outgoing(socket: &Socket, log: &Log) {
    let first: Arc<Mutex<Option<ListenerId>>> = Arc::default();
    let (heard, added) = (Arc::clone(log), Arc::clone(&first));
    socket.on("watch", move |socket: Socket, ack: Ack| {
        *added.lock() = Some(socket.on_any_outgoing(note(&heard, "first")));
        socket.prepend_any_outgoing(note(&heard, "before"));
        ack.send(&socket.listeners_any_outgoing().len())
    });
    socket.on("unwatch", move |socket: Socket, Data(all): Data<bool>, ack: Ack| {
        let which = first.lock().take();
        socket.off_any_outgoing(if all { None } else { which });
        ack.send(&socket.listeners_any_outgoing().len())
    });
}

fn incoming(socket: &Socket, log: &Log) {
    let (ticks, any) = (Arc::clone(log), Arc::clone(log));
    socket.on("listen", move |socket: Socket, ack: Ack| {
        let first = socket.on("tick", note(&ticks, "first"));
        socket.on("tick", note(&ticks, "second"));
        socket.once("tick", note(&ticks, "once"));
        socket.prepend("tick", note(&ticks, "before"));
        socket.on("less", move |socket: Socket, ack: Ack| {
            socket.off(first);
            ack.send(&socket.listeners("tick").len())
        });
        socket.on("none", |socket: Socket, ack: Ack| {
            socket.off("tick");
            ack.send(&socket.listeners("tick").len())
        });
        socket.on("forget", |socket: Socket, ack: Ack| {
            socket.remove_all_listeners();
            ack.send(&socket.event_names())
        });
        ack.send(&socket.listeners("tick").len())
    });
    socket.on("any", move |socket: Socket, ack: Ack| {
        let listener = socket.on_any(note(&any, "any"));
        socket.prepend_any(note(&any, "first any"));
        socket.on("one any", move |socket: Socket, ack: Ack| {
            socket.off_any(listener);
            ack.send(&socket.listeners_any().len())
        });
        socket.on("no any", |socket: Socket, ack: Ack| {
            socket.off_any(None);
            ack.send(&socket.listeners_any().len())
        });
        ack.send(&socket.listeners_any().len())
    });
}
