//! Events that are declared once, seen by a client: the same bytes as untyped ones, both ways.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::{Place, Running, texts};
use ringio::{Event, Socket};
use rust_socketio::TransportType;
use serde_json::json;

matrix! {
    a_typed_event_goes_both_ways
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
