//! The suite `client` of the conformance program: what the official client's own tests ask of their server.
//!
//! Its handlers check what they got, and answer only if it was right.

use ringio::{Ack, Attachments, Builder, Bytes, ConnectError, Data, Handshake, RawArgs, Request, Server, Socket};
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A day that exists in leap years only.
const DATE: &str = "2024-02-29T12:30:45.678Z";

/// The options of the suite: handshakes take a moment, so that clients can lose patience.
pub fn options(builder: Builder) -> Builder {
    builder
        .ping_interval(Duration::from_secs(2))
        .connection_state_recovery(Duration::from_secs(120), true)
        .allow_request(async |_: Request| {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, String>(())
        })
}

/// The handlers of the suite.
pub fn handlers(io: &Server) {
    for name in ["/timeout_socket", "/valid", "/asd"] {
        let _ = io.of(name); // exists from here on
    }
    io.of("/foo").sockets_on("getId", |socket: Socket, ack: Ack| ack.send(socket.id()));
    io.of("/abc")
        .on_connection(|socket: Socket, handshake: Handshake| socket.emit("handshake", &as_node_shows(&handshake)));
    io.of("/no").with_middleware(|_: Socket| Err::<(), _>(ConnectError::new("Auth failed (custom namespace)")));
    io.with_middleware(|socket: Socket| match socket.handshake().query("fail") {
        Some(fail) if !fail.is_empty() => Err("Auth failed (main namespace)"),
        _ => Ok(()),
    });
    io.on_connection(|socket: Socket| {
        back_and_forth(&socket);
        binary(&socket);
    });
}

/// The handshake as the Node server sends one that is emitted.
fn as_node_shows(handshake: &Handshake) -> Value {
    let query: Map<String, Value> =
        handshake.queries().map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect();
    let headers: Map<String, Value> = handshake
        .headers()
        .map(|(name, value)| (name.to_ascii_lowercase(), Value::from(String::from_utf8_lossy(value))))
        .collect();
    json!({
        "headers": headers,
        "address": handshake.address(),
        "xdomain": handshake.is_cross_domain(),
        "secure": handshake.is_secure(),
        "issued": handshake.issued_ms(),
        "url": handshake.url(),
        "query": query,
        "auth": handshake.auth::<Value>().unwrap_or_default(),
    })
}

fn back_and_forth(socket: &Socket) {
    socket.on("hi", |socket: Socket| socket.emit("hi", &()));
    socket.on("echo", |args: RawArgs, ack: Ack| ack.send(&args));
    socket.on("ack", async |socket: Socket| {
        if let Ok((5, answer)) = socket.emit_with_ack::<(u32, Value)>("ack", &()).await
            && answer["test"] == true
        {
            socket.emit("got it", &());
        }
    });
    socket.on("getId", |socket: Socket, ack: Ack| ack.send(socket.id()));
    socket.on("getHandshake", |handshake: Handshake, ack: Ack| ack.send(&as_node_shows(&handshake)));
    socket.on("getAckDate", |ack: Ack| ack.send(DATE));
    socket.on("getDate", |socket: Socket| socket.emit("takeDate", DATE));
    socket.on("getDateObj", |socket: Socket| socket.emit("takeDateObj", &json!({ "date": DATE })));
    socket.on("getUtf8", |socket: Socket| {
        for text in ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"] {
            socket.emit("takeUtf8", text);
        }
    });
    socket.on("false", |socket: Socket| socket.emit("false", &false));
}

fn binary(socket: &Socket) {
    for (question, answer) in [("doge", "doge"), ("getbin", "takebin")] {
        socket.on(question, move |socket: Socket| socket.emit(answer, &Bytes::from_static(b"asdfasdf")));
    }
    for (question, answer) in [("buffa", "buffack"), ("blob", "back")] {
        socket.on(question, move |socket: Socket, Data(_): Data<Bytes>| socket.emit(answer, &()));
    }
    for (question, answer) in [("jsonbuff", "jsonbuff-ack"), ("jsonblob", "jsonblob-ack")] {
        socket.on(question, move |socket: Socket, Data(mixed): Data<Mixed>| {
            if mixed.hello == "lol" && mixed.goodbye == "gotcha" && !mixed.message.is_empty() {
                socket.emit(answer, &());
            }
        });
    }
    in_order(socket, &["abuff1", "abuff2"], "abuff2-ack");
    in_order(socket, &["blob1", "blob2", "blob3"], "blob3-ack");
}

#[derive(serde::Deserialize)]
struct Mixed {
    hello: String,
    message: Bytes,
    goodbye: String,
}

/// The last of `events` is answered if they came one after the other, every other one of them binary.
fn in_order(socket: &Socket, events: &'static [&'static str], answer: &'static str) {
    let count = Rc::new(Cell::new(0));
    for (index, event) in events.iter().enumerate() {
        let count = Rc::clone(&count);
        socket.on(*event, move |socket: Socket, attachments: Attachments| {
            let is_binary = !attachments.0.is_empty();
            if count.get() == index && is_binary == (index % 2 == 0) {
                count.set(index + 1);
            }
            if count.get() == events.len() {
                socket.emit(answer, &());
            }
        });
    }
}
