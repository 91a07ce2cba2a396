//! What the API promises, seen by a client: typed events, the end of a server, and what misuse leads to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::bare::{Bare, Heard};
use client::{PATIENCE, Place, Running, texts};
use parking_lot::Mutex;
use ringio::{Ack, Data, DisconnectReason, EmitError, Error, Event, HandlerError, Server, Socket, TypedAck};
use rust_socketio::TransportType;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, ThreadId};
use std::time::Duration;

matrix! {
    a_typed_event_goes_both_ways
    listeners_of_typed_events_may_be_async_fail_and_be_for_once_or_for_a_pattern
    the_end_can_be_awaited
    misuse_has_an_outcome
    what_a_thread_says_before_the_end_is_heard
    what_a_handler_says_before_the_end_is_heard
    what_is_said_before_a_drain_is_heard
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

const HALVE: Event<u32, u32> = Event::new("halve");

async fn halve(socket: Socket, number: u32, ack: TypedAck<u32>) -> Result<(), String> {
    tokio::task::yield_now().await;
    if number % 2 == 1 {
        return Err(format!("{number} is odd"));
    }
    ack.send(&(number / 2));
    OWN.emit(&socket, &"halved".to_owned());
    Ok(())
}

fn listeners_of_typed_events_may_be_async_fail_and_be_for_once_or_for_a_pattern(place: Place) {
    let io = place.builder().build().unwrap();
    let (tell, told) = channel();
    io.on_handler_error(move |_, event, error| tell.send((event.to_owned(), error.clone())).unwrap());
    HALVE.sockets_on(&io, halve);
    let rooms = io.of_matching(|name, _| name.starts_with("/room"));
    HALVE.sockets_on(&rooms, |socket, number, ack| async move {
        tokio::task::yield_now().await;
        ack.send(&(number / 2 + u32::from(socket.namespace().name() == "/room1")))
    });
    let greeting = String::from("you");
    CHAT.sockets_on(&io, move |socket, (text, number), ack| {
        let greeting = greeting.clone();
        async move {
            ack.send(&number);
            OWN.emit(&socket, &format!("{text}, {greeting}"))
        }
    });
    io.on_connection(|socket: Socket| {
        OWN.once(&socket, |socket, text, _| OWN.emit(&socket, &text));
        OWN.on(&socket, |_, text, _| if text.is_empty() { Err("nothing") } else { Ok(()) });
    });
    let server = Running::start(&io);
    let mut client = server.bare();
    assert_eq!(client.ask("halve", &[json!(4)]), [json!(2)]);
    assert_eq!(client.expect("own"), [json!("halved")]);
    client.emit("halve", &[json!(5)]);
    let failed = |event: &str, text: &str| (event.to_owned(), HandlerError::Failed(text.to_owned()));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), failed("halve", "5 is odd"));
    assert_eq!(client.ask("chat", &[json!("hello"), json!(7)]), [json!(7)]);
    assert_eq!(client.expect("own"), [json!("hello, you")]);
    client.emit("own", &[json!("first")]);
    client.emit("own", &[json!("second")]);
    client.emit("own", &[json!("")]);
    client.emit("halve", &[json!(8)]);
    assert_eq!(client.expect("own"), [json!("first")]);
    assert_eq!(client.expect("own"), [json!("halved")], "nothing else was sent back");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), failed("own", "nothing"));
    assert!(told.try_recv().is_err());
    let mut other = Bare::connect(&server.url, "/room1", &json!({}));
    assert_eq!(other.ask("halve", &[json!(8)]), [json!(5)]);
}

fn the_end_can_be_awaited(place: Place) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let never_started = place.builder().build().unwrap();
    runtime.block_on(never_started.close());
    assert_eq!(never_started.emit("x", &()).error(), Some(&EmitError::NotRunning));

    let io = place.pinging().build().unwrap();
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

/// Clients on every shard, all of which are kept from their work until they are let go.
struct Held {
    server: Running,
    clients: Vec<Bare>,
    let_go: Sender<()>,
}

impl Held {
    fn new(io: &Server) -> Self {
        let shards: Arc<Mutex<HashSet<ThreadId>>> = Arc::default();
        let seen = Arc::clone(&shards);
        io.on_connection(move || {
            seen.lock().insert(thread::current().id());
        });
        let ((tell, told), (let_go, wait)) = (channel(), channel::<()>());
        let wait = Mutex::new(wait);
        io.sockets_on("hold", move || {
            let _ = tell.send(thread::current().id());
            // Until the other end is dropped.
            while wait.lock().recv().is_ok() {}
        });
        let server = Running::start(io);
        let mut clients: Vec<Bare> = (0..12).map(|_| server.bare()).collect();
        clients.iter_mut().for_each(|client| client.emit("hold", &[]));
        let mut held = HashSet::new();
        while held.len() < shards.lock().len() {
            held.insert(told.recv_timeout(PATIENCE).unwrap());
        }
        Self { server, clients, let_go }
    }

    fn let_go(self) -> (Running, Vec<Bare>) {
        drop(self.let_go);
        (self.server, self.clients)
    }
}

/// As Node's `io.emit("bye"); io.close()`: who can take it at once hears it.
fn what_a_thread_says_before_the_end_is_heard(place: Place) {
    let io = place.builder().build().unwrap();
    let held = Held::new(&io);
    // More than the shards do in one turn.
    for _ in 0..3_000 {
        io.sockets_join("everybody").into_result().unwrap();
    }
    io.to("everybody").emit("bye", &1).into_result().unwrap();
    let closing = io.close();
    let (_server, clients) = held.let_go();
    for mut client in clients {
        assert_eq!(client.expect("bye"), [json!(1)]);
        assert_eq!(client.next(), Heard::Gone);
    }
    closing.wait();
}

fn what_a_handler_says_before_the_end_is_heard(place: Place) {
    let io = place.builder().build().unwrap();
    let everyone = io.clone();
    io.sockets_on("end", move || {
        everyone.emit("bye", &2);
        drop(everyone.close());
        // All other shards have been told to stop, and this one has not got round to telling them anything else.
        thread::sleep(Duration::from_millis(20));
    });
    let server = Running::start(&io);
    let mut clients: Vec<Bare> = (0..12).map(|_| server.bare()).collect();
    clients[0].emit("end", &[]);
    for mut client in clients {
        assert_eq!(client.expect("bye"), [json!(2)]);
        assert_eq!(client.next(), Heard::Gone);
    }
}

fn what_is_said_before_a_drain_is_heard(place: Place) {
    let io = place.builder().build().unwrap();
    let held = Held::new(&io);
    for _ in 0..3_000 {
        io.sockets_join("everybody").into_result().unwrap();
    }
    io.to("everybody").emit("moving", &3).into_result().unwrap();
    let closing = io.drain(Duration::from_millis(300));
    let (_server, clients) = held.let_go();
    for mut client in clients {
        assert_eq!(client.expect("moving"), [json!(3)]);
        assert_eq!(client.next(), Heard::Gone);
    }
    closing.wait();
}
