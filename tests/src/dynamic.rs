//! The suite `dynamic` of the conformance program: namespaces that clients bring into being.

use parking_lot::Mutex;
use ringio::{Ack, Builder, Data, Handshake, RawArgs, Server, Socket};
use std::sync::Arc;

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

    let rooms = io.of_matching(|name, _| {
        assert_ne!(name, "/panic", "on purpose");
        name.strip_prefix("/room-")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    });
    rooms.with_middleware(|handshake: Socket| match handshake.handshake().auth::<Auth>() {
        Ok(Auth { refuse: Some(text) }) => Err(text),
        _ => Ok(()),
    });
    rooms.on_connection(|socket: Socket| socket.emit("welcome", socket.namespace().name()));
    let everywhere = rooms.clone();
    rooms.sockets_on("everywhere", move |Data(text): Data<String>| everywhere.emit("text", &text));
    rooms.sockets_on("here", |socket: Socket, args: RawArgs| socket.namespace().emit("text", &args));

    let secret = io.of_matching(|name, handshake: &Handshake| {
        name.starts_with("/room-") && handshake.raw_auth().contains("open sesame")
    });
    secret.on_connection(|socket: Socket| socket.emit("welcome", "a secret"));
}

#[derive(serde::Deserialize)]
struct Auth {
    refuse: Option<String>,
}
