//! The Rust client that people use, `rust_socketio`, against a server in this process: on both drivers, with one shard
//! and with several.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::{Client, Place, Running, texts};
use ringio::{Ack, Bytes, Data, DisconnectReason, Handshake, RawArgs, Server, Socket};
use rust_socketio::{Payload, TransportType};
use serde_json::{Value, json};
use std::sync::mpsc::channel;

const TRANSPORTS: [TransportType; 4] =
    [TransportType::Polling, TransportType::Websocket, TransportType::WebsocketUpgrade, TransportType::Any];

matrix! {
    text_comes_back
    binary_comes_back
    events_are_acknowledged
    a_room_is_heard_once_by_each_member_in_order
    namespaces_and_auth
    an_unknown_namespace_is_refused
    both_sides_can_leave
}

fn echo_server(place: Place) -> Server {
    let io = place.pinging().build().unwrap();
    io.on_connection(|socket: Socket| {
        socket.on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", &args));
        socket.on("double", |socket: Socket, Data(bytes): Data<Bytes>| {
            socket.emit("doubled", &Bytes::from([&bytes[..], &bytes[..]].concat()))
        });
        socket.on("ack", |args: RawArgs, ack: Ack| ack.send(&args));
    });
    io
}

fn text_comes_back(place: Place) {
    let server = Running::start(&echo_server(place));
    for transport in TRANSPORTS {
        let client = server.client(transport);
        for arguments in
            [vec![json!("Grüße 👋")], vec![json!(1), json!({ "a": [null, true] })], vec![json!("x".repeat(100_000))]]
        {
            client.emit_all("echo", arguments.clone());
            assert_eq!(client.expect("echo"), arguments);
        }
    }
}

fn binary_comes_back(place: Place) {
    let server = Running::start(&echo_server(place));
    for transport in TRANSPORTS {
        let client = server.client(transport);
        for bytes in [vec![0, 255, 31, 98], vec![7; 50_000]] {
            client.emit("echo", bytes.clone());
            assert_eq!(client.next(), ("echo".to_owned(), Payload::Binary(Bytes::from(bytes.clone()))));
            client.emit("double", bytes.clone());
            assert_eq!(client.next(), ("doubled".to_owned(), Payload::Binary(Bytes::from(bytes.repeat(2)))));
        }
    }
}

fn events_are_acknowledged(place: Place) {
    let server = Running::start(&echo_server(place));
    for transport in TRANSPORTS {
        let client = server.client(transport);
        for number in 0..20 {
            let answer = texts(client.ask("ack", vec![json!(number), json!("two")]));
            // This client hands an acknowledgement out as one array of its arguments.
            assert_eq!(answer, [json!([number, "two"])]);
        }
    }
}

fn a_room_is_heard_once_by_each_member_in_order(place: Place) {
    let io = place.pinging().build().unwrap();
    io.sockets_on("join", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.join(&room);
        ack.send(&socket.rooms().len())
    });
    let everyone = io.clone();
    io.sockets_on("say", move |Data(text): Data<Value>| everyone.to(["room", "second"]).emit("said", &text));
    let server = Running::start(&io);

    let clients = server.clients(9);
    let (members, others) = clients.split_at(6);
    for (index, member) in members.iter().enumerate() {
        assert_eq!(texts(member.ask("join", vec![json!("room")])), [json!([2])]);
        if index % 2 == 0 {
            assert_eq!(texts(member.ask("join", vec![json!("second")])), [json!([3])]);
        }
    }
    for number in 0..50 {
        others[0].emit("say", json!(number));
    }
    for member in members {
        for number in 0..50 {
            assert_eq!(member.expect("said"), [json!(number)]);
        }
    }
    // Nothing more and nothing else: the next thing anybody hears is this.
    io.emit("end", &"of the story");
    for client in &clients {
        assert_eq!(client.expect("end"), [json!("of the story")]);
    }
}

fn namespaces_and_auth(place: Place) {
    let io = place.pinging().build().unwrap();
    io.of("admin").on_connection(|socket: Socket, handshake: Handshake| {
        let auth: Value = handshake.auth().unwrap();
        socket.emit("welcome", &(socket.namespace().name(), auth, handshake.query("EIO").as_deref()))
    });
    let server = Running::start(&io);
    let auth = json!({ "token": "s3cret" });
    let admin = Client::connect(&server.url, "/admin", TransportType::Websocket, Some(auth.clone()));
    assert_eq!(admin.expect("welcome"), [json!("/admin"), auth, json!("4")]);
    let main = server.client(TransportType::Websocket);
    io.of("/admin").emit("admins", &1);
    io.emit("all", &2);
    assert_eq!(admin.expect("admins"), [json!(1)]);
    assert_eq!(main.expect("all"), [json!(2)]);
}

fn an_unknown_namespace_is_refused(place: Place) {
    let server = Running::start(&echo_server(place));
    let client = Client::open(&server.url, "/nowhere", TransportType::Websocket, None);
    let (event, payload) = client.next();
    assert_eq!(event, "error");
    assert!(format!("{payload:?}").contains("Invalid namespace"), "{payload:?}");
}

fn both_sides_can_leave(place: Place) {
    let io = place.pinging().build().unwrap();
    let (heard, reasons) = channel();
    io.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
        heard.send((reason, socket.is_connected(), socket.rooms().len())).unwrap();
    });
    io.sockets_on("kick", |socket: Socket, Data(close): Data<bool>| socket.disconnect(close));
    let server = Running::start(&io);
    let next = || reasons.recv_timeout(client::PATIENCE).unwrap();

    let leaver = server.client(TransportType::Websocket);
    leaver.disconnect();
    assert_eq!(next(), (DisconnectReason::ClientNamespaceDisconnect, false, 0));
    for close in [false, true] {
        let kicked = server.client(TransportType::Websocket);
        kicked.emit("kick", json!(close));
        assert_eq!(next(), (DisconnectReason::ServerNamespaceDisconnect, false, 0));
    }
    let stayed = server.client(TransportType::Websocket);
    server.stop();
    assert_eq!(next(), (DisconnectReason::ServerShuttingDown, false, 0));
    drop(stayed);
}
