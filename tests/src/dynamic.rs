//! The suites `dynamic` and `dynamic-cleanup` of the conformance program: namespaces that clients bring into being.

use crate::gates::Gates;
use parking_lot::Mutex;
use ringio::{Ack, Builder, Data, Handshake, RawArgs, Regex, Server, Socket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Clients may make so many.
const NAMESPACES_MAX: usize = 200;

/// The options of the suite.
pub fn options(builder: Builder) -> Builder {
    builder.dynamic_namespaces_max(NAMESPACES_MAX)
}

/// The handlers of the suite.
pub fn handlers(io: &Server) {
    let made = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::clone(&made);
    io.on_new_namespace(move |namespace| names.lock().push(namespace.name().to_owned()));
    io.sockets_on("made", move |ack: Ack| ack.send(&*made.lock()));
    let server = io.clone();
    io.sockets_on("there", move |ack: Ack| {
        let names: Vec<String> = server.namespaces().iter().map(|namespace| namespace.name().to_owned()).collect();
        ack.send(&names)
    });
    let server = io.clone();
    io.sockets_on("by hand", move |Data(name): Data<String>, ack: Ack| {
        let namespace = server.of(&name);
        namespace.on_connection(|socket: Socket| socket.emit("welcome", "by hand"));
        ack.send(namespace.name())
    });

    io.of_matching(|name, _| {
        assert_ne!(name, "/panic", "on purpose");
        false
    });
    let rooms = io.of_regex(Regex::new(r"^/room-\d+$").expect("a fixed pattern"));
    rooms.with_middleware(|handshake: Socket| match handshake.handshake().auth::<Auth>() {
        Ok(Auth { refuse: Some(text) }) => Err(text),
        _ => Ok(()),
    });
    rooms.on_connection(|socket: Socket| socket.emit("welcome", socket.namespace().name()));
    let everywhere = rooms.clone();
    rooms.sockets_on("everywhere", move |Data(text): Data<String>| everywhere.emit("text", &text));
    rooms.sockets_on("here", |socket: Socket, args: RawArgs| socket.namespace().emit("text", &args));
    rooms.sockets_on("join", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.join(room);
        ack.send(&())
    });
    let some = rooms.clone();
    rooms.sockets_on("some", move |Data((room, except, text)): Data<(String, String, String)>| {
        some.to(room).except(except).emit("text", &text)
    });
    rooms.sockets_on("survey", async |socket: Socket, ack: Ack| {
        let answers = socket.namespace().timeout(Duration::from_secs(10)).emit_with_ack::<u32>("number?", &()).await?;
        ack.send(&answers.iter().sum::<u32>());
        Ok::<_, ringio::BroadcastAckError<u32>>(())
    });

    let secret = io.of_matching(|name, handshake: &Handshake| {
        name.starts_with("/room-") && handshake.raw_auth().contains("open sesame")
    });
    secret.on_connection(|socket: Socket| socket.emit("welcome", "a secret"));

    later(io);
    grown(io);
}

/// A predicate that takes its time; for one name until it is told to decide, so that a client can be gone before.
fn later(io: &Server) {
    let (gates, asked) = (Gates::default(), Arc::new(Notify::new()));
    gates.handlers(io.sockets());
    let asks = Arc::clone(&asked);
    let later = io.of_matching_async(async move |name, handshake| {
        if name == "/later-told" {
            asks.notify_one();
            gates.pass(&name).await;
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        name.starts_with("/later-") && !handshake.raw_auth().contains("refuse")
    });
    later.on_connection(|socket: Socket| socket.emit("welcome", "later"));
    io.sockets_on("asked", async move |ack: Ack| {
        asked.notified().await;
        ack.send(&())
    });
    let server = io.clone();
    io.sockets_on("clients", async move |ack: Ack| ack.send(&server.engine().clients_count().await));
}

/// A parent that gets more, and less, when it has children already.
fn grown(io: &Server) {
    let grown = io.of_regex(Regex::new(r"^/grown-\d+$").expect("a fixed pattern"));
    grown.on_connection(|socket: Socket| socket.emit("welcome", "first"));
    grown.sockets_on("fence", |ack: Ack| ack.send(&()));
    let added = Arc::new(Mutex::new(None));
    let (parent, listener) = (grown.clone(), Arc::clone(&added));
    io.sockets_on("grow", move |ack: Ack| {
        parent.with_middleware(|socket: Socket| match socket.handshake().auth::<Auth>() {
            Ok(Auth { refuse: Some(_) }) => Err("the added middleware"),
            _ => Ok(()),
        });
        *listener.lock() = Some(parent.on_connection(|socket: Socket| socket.emit("welcome", "added")));
        ack.send(&())
    });
    io.sockets_on("shrink", move |ack: Ack| {
        if let Some(listener) = added.lock().take() {
            grown.sockets_off(listener);
        }
        ack.send(&())
    });
}

#[derive(serde::Deserialize)]
struct Auth {
    refuse: Option<String>,
}
