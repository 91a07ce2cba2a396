//! What goes wrong, and what then happens: the rows of the misuse table in `engine/server/docs/node-api.md` that no other
//! test shows. Each test says whose mistake it is and that nobody else pays for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::bare::{Bare, Heard};
use client::{PATIENCE, Place, Running};
use ringio::parser::{
    DecodeError, Decoder, EncodeError, Message, Messages, Packet, PacketKind, Packets, Parser, Payload,
};
use ringio::{Ack, AckError, BroadcastAckError, Data, DisconnectReason, EmitError, HandlerError, Request, Socket};
use ringio_tests::wire;
use serde_json::{Value, json};
use std::future::IntoFuture;
use std::sync::mpsc::channel;
use std::time::Duration;

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

matrix! {
    what_the_parser_cannot_encode_is_told_on_every_thread
    handlers_that_never_finish_fill_the_places_of_their_client_alone
    a_shard_that_is_full_of_waiting_handlers_lets_nothing_more_wait
    who_does_not_read_costs_its_bound_and_no_more
    acknowledgements_owed_are_bounded
    acknowledgements_that_nobody_asked_for_are_ignored
    a_middleware_that_never_finishes_costs_its_client_the_connection
    behind_a_goodbye_events_are_sent_while_the_connection_lives
    other_threads_are_told_when_the_shards_cannot_follow
    what_is_out_of_bounds_ends_the_connection
}

fn wait<F: IntoFuture>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future.into_future())
}

/// The default encoding in `/`, without binary, and without what says `unspeakable`.
struct Prude;

impl Parser for Prude {
    type Decoder = Self;

    fn decoder(&self) -> Self {
        Self
    }

    fn encode(&self, packet: &Packet<'_>, messages: &mut Messages<'_>) -> Result<(), EncodeError> {
        let json = packet.payload.as_ref().map_or("", Payload::json);
        if json.contains("unspeakable") {
            return Err(EncodeError("unspeakable"));
        }
        let id = packet.id.map(|id| id.to_string()).unwrap_or_default();
        messages.push_text(&format!("{}{id}{json}", packet.kind.number()));
        Ok(())
    }
}

impl Decoder for Prude {
    fn decode(&mut self, message: Message<'_>, packets: &mut Packets<'_>) -> Result<(), DecodeError> {
        let Message::Text(text) = message else { return Err(DecodeError("text expected")) };
        let kind = text.bytes().next().and_then(|digit| PacketKind::from_number(digit.wrapping_sub(b'0')));
        let kind = kind.ok_or(DecodeError("unknown packet type"))?;
        let (id, json) = text[1..].split_at(text[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - 1));
        let payload = (!json.is_empty()).then(|| Payload::from_json(json, &[]));
        packets.push(Packet { kind, namespace: "/".into(), id: id.parse().ok(), payload });
        Ok(())
    }

    fn bytes_held(&self) -> usize {
        0
    }
}

fn what_the_parser_cannot_encode_is_told_on_every_thread(place: Place) {
    let io = place.builder().parser(Prude).build().unwrap();
    let refused = EmitError::Encode("unspeakable".to_owned());
    let (said, results) = channel();
    let everyone = io.clone();
    io.sockets_on("say it", async move |socket: Socket| {
        let direct = socket.emit("unspeakable", &()).into_result();
        let broadcast = everyone.emit("unspeakable", &()).into_result();
        let asked = socket.emit_with_ack::<Value>("unspeakable", &()).await;
        said.send((direct, broadcast, asked)).unwrap();
    });
    let server = Running::start(&io);
    let mut client = server.bare();

    // On the shard, and on a thread that is none: the caller is told, nobody hears a thing.
    client.emit("say it", &[]);
    let on_shard = results.recv_timeout(PATIENCE).unwrap();
    assert_eq!(on_shard, (Err(refused.clone()), Err(refused.clone()), Err(AckError::Emit(refused.clone()))));
    assert_eq!(io.emit("unspeakable", &()).into_result(), Err(refused.clone()));
    assert_eq!(io.to("nobody").except("anybody").emit("unspeakable", &()).into_result(), Err(refused.clone()));
    let asked = wait(io.to("nobody").emit_with_ack::<Value>("unspeakable", &()));
    assert!(matches!(asked, Err(BroadcastAckError::Emit(ref error)) if *error == refused), "{asked:?}");
    let remote = wait(io.fetch_sockets()).unwrap().pop().unwrap();
    assert_eq!(remote.emit("unspeakable", &()).into_result(), Err(refused.clone()));
    assert_eq!(wait(remote.emit_with_ack::<Value>("unspeakable", &())), Err(AckError::Emit(refused)));

    io.emit("news", &1);
    assert_eq!(client.next(), Heard::Event("news".to_owned(), vec![json!(1)], vec![]));
}

fn handlers_that_never_finish_fill_the_places_of_their_client_alone(place: Place) {
    let io = place.builder().waiting_handlers_max(3, 1_000).build().unwrap();
    let (hook, errors) = channel();
    io.on_handler_error(move |socket, event, error| {
        hook.send((socket.id().to_owned(), event.to_owned(), error.clone())).unwrap();
    });
    let (begin, begun) = channel();
    io.sockets_on("for ever", async move |number: Data<u64>| {
        begin.send(number.0).unwrap();
        std::future::pending::<()>().await;
    });
    let (go, went) = tokio::sync::watch::channel(false);
    io.sockets_on("wait", async move |ack: Ack| {
        let _ = went.clone().wait_for(|is_time| *is_time).await;
        ack.send(&"waited")
    });
    io.sockets_on("sync", |ack: Ack| ack.send(&"sync"));
    io.sockets_on("quick", async |ack: Ack| ack.send(&"quick"));
    let server = Running::start(&io);
    let (mut greedy, mut modest) = (server.bare(), server.bare());

    for number in 0..5 {
        greedy.emit("for ever", &[json!(number)]);
    }
    // What does not wait goes on as before; what is async does not begin, and its client is not told.
    assert_eq!(greedy.ask("sync", &[]), [json!("sync")]);
    assert_eq!([(); 3].map(|()| begun.recv_timeout(PATIENCE).unwrap()), [0, 1, 2]);
    for _ in 3..5 {
        let error = errors.recv_timeout(PATIENCE).unwrap();
        assert_eq!(error, (greedy.id.clone(), "for ever".to_owned(), HandlerError::Overloaded));
    }
    greedy.emit("quick", &[]);
    assert_eq!(errors.recv_timeout(PATIENCE).unwrap().1, "quick");
    assert_eq!((begun.try_recv().is_err(), io.handler_counters().overloaded), (true, 3));
    // Another client has places of its own, and gets them back.
    for _ in 0..4 {
        assert_eq!(modest.ask("quick", &[]), [json!("quick")]);
    }
    go.send_replace(true);
    for _ in 0..4 {
        assert_eq!(modest.ask("wait", &[]), [json!("waited")]);
    }
}

fn a_shard_that_is_full_of_waiting_handlers_lets_nothing_more_wait(place: Place) {
    // One shard, so that everybody meets there.
    let io = place
        .builder()
        .shards(1)
        .waiting_handlers_max(10, 2)
        .allow_request(async move |request: Request| {
            if request.query("slow").is_some() {
                std::future::pending::<()>().await;
            }
            Ok::<_, String>(())
        })
        .build()
        .unwrap();
    io.sockets_on("for ever", async || std::future::pending::<()>().await);
    io.sockets_on("sync", |ack: Ack| ack.send(&"sync"));
    io.of("/slow").with_middleware(async |_: Socket| std::future::pending::<Result<(), &str>>().await);
    io.of("/quick").with_middleware(async |_: Socket| Ok::<_, &str>(()));
    let _made = io.of_matching_async(async |_, _| std::future::pending::<bool>().await);
    io.on_connection(|socket: Socket| {
        socket.with_packet_middleware(async |Data(is_slow): Data<Option<bool>>| {
            if is_slow == Some(true) {
                std::future::pending::<()>().await;
            }
        });
        socket.on("error", |socket: Socket, Data(text): Data<String>| socket.emit("refused", &text));
    });
    let server = Running::start(&io);
    let mut client = server.bare();
    client.emit("for ever", &[]);
    client.emit("for ever", &[]);
    assert_eq!(client.ask("sync", &[]), [json!("sync")]);

    // Full: what waits is refused, what does not wait is served.
    client.emit("sync", &[json!(true)]);
    assert_eq!(client.expect("refused"), [json!("too many async handlers wait (waiting_handlers_max)")]);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let answer = wire::get(address, "/socket.io/?EIO=4&transport=polling&slow=1");
    assert_eq!((answer.status, answer.headers("retry-after")), (503, vec!["1"]));
    assert_eq!(Bare::refused(&server.url, "/slow"), json!({ "message": "internal server error" }));
    assert_eq!(Bare::refused(&server.url, "/made"), json!({ "message": "Invalid namespace" }));
    let mut other = Bare::connect(&server.url, "/quick", &json!({}));
    io.of("/quick").emit("hello", &1);
    assert_eq!(other.expect("hello"), [json!(1)]);
}

fn who_does_not_read_costs_its_bound_and_no_more(place: Place) {
    let io = place.builder().outbox_bytes_max(100_000).build().unwrap();
    let (tell, told) = channel();
    io.on_disconnect(move |reason: DisconnectReason| tell.send(reason.as_str()).unwrap());
    let long = "x".repeat(10_000);
    // Who emits to this client alone is told and decides; what is queued arrives.
    let text = long.clone();
    io.sockets_on("flood", move |socket: Socket, ack: Ack| {
        let sent: Vec<_> = (0..100).map(|_| socket.emit("flood", &text).into_result()).collect();
        let taken = sent.iter().filter(|sent| sent.is_ok()).count();
        assert!(sent[taken..].iter().all(|sent| *sent == Err(EmitError::OutboxFull)));
        ack.send(&taken)
    });
    // Of a broadcast nobody can be told: the client ends, so that it does not go on without having heard.
    io.sockets_on("broadcast", move |socket: Socket| {
        for _ in 0..100 {
            socket.namespace().to(socket.id()).emit("flood", &long).into_result().unwrap();
        }
    });
    let server = Running::start(&io);
    let (mut slow, mut other) = (server.bare(), server.bare());
    let taken = slow.ask("flood", &[])[0].as_u64().unwrap();
    assert!((1..100).contains(&taken), "{taken}");
    assert_eq!(slow.ask("flood", &[]), [json!(taken)], "there is room again");
    slow.emit("broadcast", &[]);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "outbox full");
    io.emit("hello", &1);
    assert_eq!(other.expect("hello"), [json!(1)], "nobody else is concerned");
}

fn acknowledgements_owed_are_bounded(place: Place) {
    let io = place.builder().outbox_bytes_max(64 << 20).build().unwrap();
    let (tell, told) = channel();
    io.sockets_on("owe", move |socket: Socket| {
        for _ in 0..65_536 {
            drop(socket.emit_with_ack::<Value>("q", &()));
        }
        let tell = tell.clone();
        socket.emit_with_ack::<Value>("q", &()).on_reply(move |answer| tell.send(answer).unwrap());
        socket.emit("after", &())
    });
    let server = Running::start(&io);
    let mut client = server.bare();
    client.emit("owe", &[]);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(AckError::Emit(EmitError::OutboxFull)));
    for _ in 0..65_536 {
        client.expect("q");
    }
    client.expect("after");
}

fn acknowledgements_that_nobody_asked_for_are_ignored(place: Place) {
    let io = place.builder().build().unwrap();
    let (tell, told) = channel();
    io.sockets_on("ask me", move |socket: Socket| {
        let tell = tell.clone();
        socket.emit_with_ack::<u8>("q", &()).on_reply(move |answer| tell.send(answer).unwrap());
    });
    io.sockets_on("alive", |ack: Ack| ack.send(&true));
    let server = Running::start(&io);
    let mut client = server.bare();
    client.emit("ask me", &[]);
    client.expect("q");
    let (id, _) = client.questions[0].clone();
    client.questions =
        vec![(id + 1, String::new()), (id, String::new()), (id, String::new()), (1 << 53, String::new())];
    for answer in 0..3 {
        client.answer(&json!([answer]));
    }
    assert_eq!(client.ask("alive", &[]), [json!(true)]);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Ok(1), "the first with its id counts");
    assert!(told.try_recv().is_err());
}

fn a_middleware_that_never_finishes_costs_its_client_the_connection(place: Place) {
    let io = place.builder().connect_timeout(Duration::from_millis(100)).build().unwrap();
    io.of("/slow").with_middleware(async |_: Socket| std::future::pending::<Result<(), &str>>().await);
    let server = Running::start(&io);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    // Whose thread stands still for so long that it is closed comes again.
    let mut other = std::iter::repeat_with(|| wire::WebSocket::open(address, WEBSOCKET).1.unwrap())
        .take(100)
        .find_map(|mut other| {
            other.send("40");
            assert!(other.next().unwrap().starts_with("0{"));
            let connect = other.next()?;
            assert!(connect.starts_with("40"), "{connect}");
            Some(other)
        })
        .unwrap();
    let mut waiting = wire::WebSocket::open(address, WEBSOCKET).1.unwrap();
    assert!(waiting.next().unwrap().starts_with("0{"));
    waiting.send("40/slow,");
    assert_eq!(std::iter::from_fn(|| waiting.next()).find(|text| text != "2"), None, "unanswered, and closed");
    io.emit("hello", &1);
    assert_eq!(other.next().as_deref(), Some("42[\"hello\",1]"));
}

fn behind_a_goodbye_events_are_sent_while_the_connection_lives(place: Place) {
    let io = place.builder().build().unwrap();
    let (tell, told) = channel();
    io.sockets_on("bye", move |socket: Socket| {
        socket.disconnect(false);
        let tell = tell.clone();
        let sent = socket.emit("behind", &1).into_result();
        socket.emit_with_ack::<u8>("question", &()).on_reply(move |answer| tell.send((sent, answer)).unwrap());
    });
    let server = Running::start(&io);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut client = wire::WebSocket::open(address, WEBSOCKET).1.unwrap();
    client.next().unwrap();
    client.send("40");
    client.next().unwrap();
    client.send("42[\"bye\"]");
    let heard: Vec<_> = std::iter::from_fn(|| client.next()).filter(|text| text != "2").take(2).collect();
    assert_eq!(heard, ["41", "42[\"behind\",1]"], "as in Node");
    // Nobody is left who could answer.
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (Ok(()), Err(AckError::Emit(EmitError::Disconnected))));
}

fn other_threads_are_told_when_the_shards_cannot_follow(place: Place) {
    let io = place.builder().build().unwrap();
    let (go, went) = channel::<()>();
    let went = parking_lot::Mutex::new(went);
    let (begin, begun) = channel();
    io.on_connection(move |_: Socket| {
        begin.send(()).unwrap();
        let _ = went.lock().recv();
    });
    let server = Running::start(&io);
    // Until each shard is held by a handler that blocks; who else comes there waits with it.
    let url = server.url.clone();
    let stuck: Vec<_> = (0..place.shards * 16)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || Bare::connect(&url, "/", &json!({})))
        })
        .collect();
    for _ in 0..place.shards {
        begun.recv_timeout(PATIENCE).unwrap();
    }
    let refused = (0..100_000).find_map(|n| io.to("nobody").emit("n", &n).into_result().err().map(|error| (n, error)));
    let (taken, error) = refused.expect("it is bounded");
    assert_eq!((taken, error), (65_536, EmitError::Overloaded));
    drop(go);
    drop(stuck);
}

/// Bounds that end a connection: at each the client is served, one beyond it is cut off, and its neighbours are not.
fn what_is_out_of_bounds_ends_the_connection(place: Place) {
    const AUTH_BYTES_MAX: usize = 10_000;
    let io = place.builder().max_http_buffer_size(AUTH_BYTES_MAX as u64).build().unwrap();
    let _ = io.of_matching(|name, _| name.starts_with("/n"));
    io.sockets_on("echo", |args: ringio::RawArgs, ack: Ack| ack.send(&args));
    let server = Running::start(&io);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut neighbour = server.bare();

    let is_alive_after = |packets: &[String]| {
        let mut wire = wire::WebSocket::open(address, WEBSOCKET).1.unwrap();
        wire.next().unwrap();
        wire.send("40");
        assert!(wire.next().unwrap().starts_with("40"));
        for packet in packets {
            wire.send(packet);
        }
        wire.send("427[\"echo\",\"alive\"]");
        while let Some(text) = wire.next() {
            if text == "437[\"alive\"]" {
                return true;
            }
        }
        false
    };
    let deep = |depth: usize| vec![format!("42[\"echo\",{}1{}]", "[".repeat(depth - 1), "]".repeat(depth - 1))];
    let id = |id: u64| vec![format!("42{id}[\"echo\"]")];
    let named = |bytes: usize| vec![format!("40/{},", "x".repeat(bytes - 1))];
    let joined = |count: usize| (1..count).map(|index| format!("40/n{index},")).collect::<Vec<_>>();
    let auth = |bytes: usize| {
        let half = |index: usize, bytes: usize| format!("40/n{index},{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        vec![half(1, AUTH_BYTES_MAX / 2), half(2, bytes - AUTH_BYTES_MAX / 2)]
    };
    let cases = [
        ("depth", deep(128), deep(129)),
        ("ack id", id((1 << 53) - 1), id(1 << 53)),
        ("length of a namespace's name", named(1_024), named(1_025)),
        ("number of namespaces", joined(256), joined(257)),
        ("bytes of auth", auth(AUTH_BYTES_MAX), auth(AUTH_BYTES_MAX + 1)),
    ];
    for (bound, within, beyond) in cases {
        assert!(is_alive_after(&within), "{bound}: at the bound");
        assert!(!is_alive_after(&beyond), "{bound}: beyond it");
    }
    assert_eq!(neighbour.ask("echo", &[json!("still here")]), [json!("still here")]);
}
