//! What the API promises, seen by a client: typed events, the end of a server, and what misuse leads to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::{PATIENCE, Place, Running, texts};
use ringio::{Ack, Data, DisconnectReason, EmitError, Error, Event, Server, Socket};
use rust_socketio::TransportType;
use serde_json::json;
use std::sync::mpsc::channel;

matrix! {
    a_typed_event_goes_both_ways
    the_end_can_be_awaited
    misuse_has_an_outcome
}

const CHAT: Event<(String, u32), u32> = Event::new("chat");
const OWN: Event<String> = Event::new("own");

fn a_typed_event_goes_both_ways(place: Place) {
    let io = place.builder().build().unwrap();
    let everyone = io.clone();
    CHAT.sockets_on(&io, move |_, (text, number), ack| {
        CHAT.emit(&everyone, &(text, number + 1));
        ack.send(&(number + 2));
    });
    io.on_connection(|socket: Socket| OWN.on(&socket, |socket, text, _| drop(OWN.emit(&socket, &text))));
    let server = Running::start(&io);
    let client = server.client(TransportType::Websocket);
    assert_eq!(texts(client.ask("chat", vec![json!("hello"), json!(4)])), [json!([6])]);
    assert_eq!(client.expect("chat"), [json!("hello"), json!(5)]);
    client.emit("own", json!("mine"));
    assert_eq!(client.expect("own"), [json!("mine")]);
}

fn the_end_can_be_awaited(place: Place) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let never_started = place.builder().build().unwrap();
    runtime.block_on(never_started.close());
    assert_eq!(never_started.emit("x", &()).error(), Some(&EmitError::NotRunning));

    let io = place.builder().build().unwrap();
    let (heard, reasons) = channel();
    io.on_disconnect(move |reason: DisconnectReason| heard.send(reason).unwrap());
    let server = Running::start(&io);
    assert!(io.is_running() && matches!(io.start(0), Err(Error::AlreadyStarted)));
    let _clients = server.clients(3);
    runtime.block_on(async { while io.engine().clients_count().await != 3 {} });
    let first = io.close();
    runtime.block_on(first);
    for _ in 0..3 {
        assert_eq!(reasons.recv_timeout(PATIENCE).unwrap(), DisconnectReason::ServerShuttingDown);
    }
    assert!(reasons.recv().is_err(), "the handlers are gone with the server");
    assert!(!io.is_running());
    runtime.block_on(io.close());
    assert_eq!(runtime.block_on(io.engine().clients_count()), 0);
    assert_eq!(io.emit("x", &()).error(), Some(&EmitError::NotRunning));
}

fn misuse_has_an_outcome(place: Place) {
    let io: Server = place.builder().build().unwrap();
    let (heard, left) = channel();
    io.on_connection(|socket: Socket| {
        socket.on("twice", |ack: Ack| ack.send(&"first"));
        socket.on("twice", |ack: Ack| ack.send(&"second"));
        socket.on("alone", |socket: Socket, ack: Ack| {
            socket.join(["a", "b"]);
            socket.leave_all();
            ack.send(&socket.rooms().len())
        });
        socket.on("for ever", async |Data(_): Data<u8>| std::future::pending::<()>().await);
    });
    io.on_disconnect(move |socket: Socket| {
        socket.join("too late");
        socket.leave_all();
        socket.disconnect(true);
        let listener = socket.on("x", || {});
        socket.off(listener);
        heard.send((socket.rooms(), socket.is_disconnected(), socket.handshake().raw_auth().to_owned())).unwrap();
    });
    let everyone = io.clone();
    io.sockets_on("all", move |Data(text): Data<String>| everyone.emit("all", &text));
    let server = Running::start(&io);
    let client = server.client(TransportType::Websocket);
    assert_eq!(texts(client.ask("twice", vec![])), [json!(["first"])]);
    assert_eq!(texts(client.ask("alone", vec![])), [json!([0])]);
    for _ in 0..10 {
        client.emit("for ever", json!(1));
    }
    client.emit("all", json!("still heard, in no room"));
    assert_eq!(client.expect("all"), [json!("still heard, in no room")]);
    client.disconnect();
    assert_eq!(left.recv_timeout(PATIENCE).unwrap(), (Vec::new(), true, "{}".to_owned()));
}
