//! The suite `connections` of the conformance program: the session below a socket, what happens to it and how it ends.

use parking_lot::Mutex;
use ringio::engine::Message;
use ringio::{
    Ack, Builder, Connection, Data, DisconnectDescription, DisconnectReason, EnginePacketKind, Namespace, Server,
    Socket,
};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

type Log = Arc<Mutex<Vec<String>>>;
type Upgrades = Arc<Mutex<Vec<(String, &'static str, &'static str)>>>;
type Ends = Arc<Mutex<Vec<(String, &'static str, Option<&'static str>)>>>;

/// How the sessions of the suite ended, and how they came to their transport.
#[derive(Clone, Default)]
pub struct Sessions {
    ends: Ends,
    upgrades: Upgrades,
}

/// The options of the suite.
pub fn options(builder: Builder, sessions: &Sessions) -> Builder {
    let Sessions { ends, upgrades } = sessions.clone();
    builder.ping_interval(Duration::from_millis(300)).ping_timeout(Duration::from_secs(20)).on_engine_connection(
        move |conn: &Connection| {
            let (id, ends) = (conn.id(), Arc::clone(&ends));
            conn.on_close(move |reason, description| ends.lock().push((id.clone(), reason.as_str(), description)));
            let (id, log) = (conn.id(), Arc::clone(&upgrades));
            conn.on_upgrading(move |transport| log.lock().push((id.clone(), "upgrading", transport.as_str())));
            let (id, log) = (conn.id(), Arc::clone(&upgrades));
            conn.on_upgrade(move |transport| log.lock().push((id.clone(), "upgrade", transport.as_str())));
        },
    )
}

/// The handlers of the suite.
pub fn handlers(io: &Server, sessions: &Sessions) {
    let ends = Ends::default();
    for name in ["/", "/second"] {
        listen(&io.of(name));
        let ends = Arc::clone(&ends);
        io.of(name).on_disconnect(
            move |socket: Socket, reason: DisconnectReason, DisconnectDescription(text): DisconnectDescription| {
                ends.lock().push((socket.id().to_owned(), reason.as_str(), text));
            },
        );
    }
    io.sockets_on("ends", move |ack: Ack| ack.send(&*ends.lock()));
    let Sessions { ends: closed, upgrades } = sessions.clone();
    io.sockets_on("closed", move |ack: Ack| ack.send(&*closed.lock()));
    io.sockets_on("upgrades", move |ack: Ack| ack.send(&*upgrades.lock()));
    let server = io.clone();
    io.sockets_on("clients", async move |ack: Ack| ack.send(&server.engine().clients_count().await));
}

/// What the session below is.
fn describe(socket: &Socket) -> serde_json::Value {
    let conn = socket.conn();
    let names: Vec<String> = conn.sockets().iter().map(|socket| socket.namespace().name().to_owned()).collect();
    json!({
        "id": conn.id(),
        "transport": conn.transport().as_str(),
        "protocol": conn.protocol(),
        "state": conn.ready_state().as_str(),
        "query": conn.request().and_then(|request| request.query("EIO").map(std::borrow::Cow::into_owned)),
        "address": conn.remote_address().map(|address| address.ip().is_loopback()),
        "sockets": names,
    })
}

fn listen(namespace: &Namespace) {
    namespace.sockets_on("about", |socket: Socket, ack: Ack| ack.send(&describe(&socket)));
    namespace.sockets_on("close", |socket: Socket, Data(discard): Data<bool>| {
        socket.emit("before", &"the end");
        socket.conn().close(discard);
    });
    namespace.sockets_on("raw", |socket: Socket, Data(text): Data<String>| socket.conn().send(Message::Text(&text)));
    namespace.sockets_on("siblings", |socket: Socket, Data(text): Data<String>| {
        for sibling in socket.conn().sockets() {
            sibling.emit("sibling", &text);
        }
    });
    namespace.on_connection(|socket: Socket| {
        let log = Log::default();
        let (packets, answered) = (Arc::clone(&log), Arc::clone(&log));
        socket.on("watch", move |socket: Socket, ack: Ack| {
            watch(&socket.conn(), &packets);
            ack.send(&())
        });
        socket.on("log", move |ack: Ack| ack.send(&std::mem::take(&mut *answered.lock())));
    });
}

/// Writes down what passes through a session, until a packet with `enough` comes.
fn watch(conn: &Connection, log: &Log) {
    let mut listeners = Vec::new();
    let heard = Arc::clone(log);
    listeners.push(conn.on_packet(move |packet| {
        if packet.kind == EnginePacketKind::Message {
            heard.lock().push(format!("packet {}", text(packet.data)));
        }
    }));
    let heard = Arc::clone(log);
    listeners.push(conn.on_packet_create(move |packet| {
        if packet.kind == EnginePacketKind::Message {
            heard.lock().push(format!("create {}", text(packet.data)));
        }
    }));
    for name in ["flush", "drain", "heartbeat"] {
        let heard = Arc::clone(log);
        let note = move || {
            let mut heard = heard.lock();
            if heard.last().is_none_or(|last| last != name) {
                heard.push(name.to_owned());
            }
        };
        listeners.push(match name {
            "flush" => conn.on_flush(note),
            "drain" => conn.on_drain(note),
            _ => conn.on_heartbeat(note),
        });
    }
    let (heard, connection) = (Arc::clone(log), conn.clone());
    conn.on_message(move |message| {
        heard.lock().push(format!("message {}", text(message)));
        if text(message).contains("enough") {
            listeners.iter().for_each(|listener| connection.off(*listener));
        }
    });
}

/// Cut off, because an answer that quotes the answer before it, which quotes another one, doubles with each question.
fn text(message: Message<'_>) -> String {
    match message {
        Message::Text(text) => text.chars().take(400).collect(),
        Message::Binary(bytes) => format!("{} bytes", bytes.len()),
    }
}
