//! What handlers may do and what they may do wrong, seen by a client and by other threads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::bare::Heard;
use client::{PATIENCE, Place, Running, texts};
use ringio::{
    Ack, AckError, Args, ArgumentError, Data, EmitError, Extension, HandlerError, Server, Socket, State, TryData,
};
use ringio_tests::wire::WebSocket;
use rust_socketio::TransportType;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

matrix! {
    tokio_timers_and_sockets_work_in_async_handlers
    a_panic_costs_one_event
    arguments_that_do_not_fit_never_reach_the_handler
    handlers_may_change_handlers_while_they_run
    once_is_for_the_first_connection_on_whatever_shard
    what_the_server_asks_ends_in_time_or_with_the_client
    other_threads_are_heard_in_their_order
    fetched_sockets_act_from_anywhere
    a_broadcast_is_encoded_once
    what_there_is_is_counted_and_gone_with_the_last_client
    nothing_is_left_after_the_end
    who_is_let_go_by_a_listener_of_every_event_reaches_no_handler
    a_listener_of_every_event_may_change_handlers_and_answer
    a_name_that_is_a_number_is_heard_as_text
}

fn joined(server: &Running) -> WebSocket {
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut wire = WebSocket::open(address, "/socket.io/?EIO=4&transport=websocket").1.unwrap();
    wire.next().unwrap();
    wire.send("40");
    wire.next().unwrap();
    wire
}

fn tokio_timers_and_sockets_work_in_async_handlers(place: Place) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut question = [0; 4];
            stream.read_exact(&mut question).await.unwrap();
            question.reverse();
            stream.write_all(&question).await.unwrap();
        }
    });

    let io = place.builder().build().unwrap();
    io.sockets_on("sleep", async |Data(ms): Data<u64>, ack: Ack| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ack.send(&"slept")
    });
    io.sockets_on("reverse", async move |Data(word): Data<String>, ack: Ack| {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(word.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ack.send(&answer);
        Ok::<_, std::io::Error>(())
    });
    // What stands before the first `await` happens at once, before the next handler of the same event; then the shard
    // goes on while the handler waits: what is asked later is answered first.
    io.sockets_on("late", |socket: Socket| socket.emit("order", &"beside"));
    let first = Arc::new(Notify::new());
    let is_over = Arc::clone(&first);
    io.sockets_on("first", move |socket: Socket| {
        socket.emit("order", &"first");
        first.notify_one();
    });
    io.on_connection(move |socket: Socket| {
        let is_over = Arc::clone(&is_over);
        socket.on("late", async move |socket: Socket| {
            socket.emit("order", &"begun");
            is_over.notified().await;
            socket.emit("order", &"late");
        });
    });
    let server = Running::start(&io);
    let client = server.client(TransportType::Websocket);
    assert_eq!(texts(client.ask("sleep", vec![json!(20)])), [json!(["slept"])]);
    assert_eq!(texts(client.ask("reverse", vec![json!("abcd")])), [json!(["dcba"])]);
    client.emit("late", json!(null));
    client.emit("first", json!(null));
    for expected in ["begun", "beside", "first", "late"] {
        assert_eq!(client.expect("order"), [json!(expected)]);
    }
}

fn a_panic_costs_one_event(place: Place) {
    let io = place.builder().build().unwrap();
    let (hook, errors) = channel();
    io.on_handler_error(move |_, event, error| hook.send((event.to_owned(), error.clone())).unwrap());
    io.sockets_on("panic", |Data(text): Data<String>| -> Result<(), String> { panic!("{text}") });
    io.sockets_on("late panic", async |Data(text): Data<String>| {
        tokio::task::yield_now().await;
        if !text.is_empty() {
            panic!("{text}");
        }
    });
    io.sockets_on("fail", |Data(text): Data<String>| Err::<(), _>(text));
    io.sockets_on("echo", |socket: Socket, Data(value): Data<Value>| socket.emit("echo", &value));
    let server = Running::start(&io);
    let client = server.client(TransportType::Websocket);
    let cases = [
        ("panic", HandlerError::Panicked("oh".to_owned())),
        ("late panic", HandlerError::Panicked("oh".to_owned())),
        ("fail", HandlerError::Failed("oh".to_owned())),
    ];
    for (event, error) in cases {
        client.emit(event, json!("oh"));
        client.emit("echo", json!(event));
        assert_eq!(client.expect("echo"), [json!(event)], "the connection lives on");
        assert_eq!(errors.recv_timeout(PATIENCE).unwrap(), (event.to_owned(), error));
    }
    let counters = io.handler_counters();
    assert_eq!((counters.panicked, counters.failed, counters.arguments_refused), (2, 1, 0));
}

fn arguments_that_do_not_fit_never_reach_the_handler(place: Place) {
    struct Words(Vec<&'static str>);
    let io = place.builder().state(Words(vec!["a", "b"])).build().unwrap();
    let (hook, errors) = channel();
    io.on_handler_error(move |_, event, error| hook.send((event.to_owned(), error.clone())).unwrap());
    io.on_connection(|socket: Socket| {
        socket.extensions().insert(7_u8);
    });
    io.sockets_on("number", |Data(_): Data<u64>, ack: Ack| ack.send(&"a number"));
    io.sockets_on("try", |TryData(number): TryData<u64>, ack: Ack| ack.send(&number.is_ok()));
    io.sockets_on("several", |Args((a, b)): Args<(u64, Option<String>)>, ack: Ack| ack.send(&(a, b)));
    io.sockets_on("list", |Args(all): Args<Vec<u64>>, ack: Ack| ack.send(&all.len()));
    io.sockets_on("given", |words: State<Words>, Extension(seven): Extension<u8>, ack: Ack| {
        ack.send(&(words.0.0.len(), seven))
    });
    io.sockets_on("missing state", |_: State<String>| {});
    io.sockets_on("missing extension", |_: Extension<u64>| {});
    let server = Running::start(&io);
    let client = server.client(TransportType::Websocket);
    let ask = |event, arguments| texts(client.ask(event, arguments));
    assert_eq!(ask("number", vec![json!(1), json!("surplus")]), [json!(["a number"])]);
    assert_eq!(ask("try", vec![json!("x")]), [json!([false])]);
    assert_eq!(ask("several", vec![json!(1)]), [json!([1, null])]);
    assert_eq!(ask("list", vec![json!(1), json!(2), json!(3)]), [json!([3])]);
    assert_eq!(ask("given", vec![]), [json!([2, 7])]);
    let next = || errors.recv_timeout(PATIENCE).unwrap();
    client.emit("number", json!("no number"));
    assert!(matches!(next(), (event, HandlerError::Argument(ArgumentError::Mismatch { .. })) if event == "number"));
    client.emit("missing state", json!(null));
    assert!(matches!(next().1, HandlerError::Argument(ArgumentError::MissingState(_))));
    client.emit("missing extension", json!(null));
    assert!(matches!(next().1, HandlerError::Argument(ArgumentError::MissingExtension(_))));
    assert_eq!(io.handler_counters().arguments_refused, 3);
}

fn handlers_may_change_handlers_while_they_run(place: Place) {
    let io = place.builder().build().unwrap();
    io.on_connection(|socket: Socket| {
        let count = Rc::new(Cell::new(0));
        socket.on("change", move |socket: Socket, ack: Ack| {
            count.set(count.get() + 1);
            socket.off("change");
            let count = Rc::clone(&count);
            socket.on("change", move |ack: Ack| ack.send(&("second", count.get())));
            ack.send(&"first")
        });
        socket.once("once", |socket: Socket| socket.emit("heard", &"once"));
        socket.on("once", |socket: Socket| socket.emit("heard", &"always"));
    });
    let server = Running::start(&io);
    let client = server.client(TransportType::Websocket);
    assert_eq!(texts(client.ask("change", vec![])), [json!(["first"])]);
    assert_eq!(texts(client.ask("change", vec![])), [json!(["second", 1])]);
    client.emit("once", json!(null));
    client.emit("once", json!(null));
    for expected in ["once", "always", "always"] {
        assert_eq!(client.expect("heard"), [json!(expected)]);
    }
    // Added while the server runs, on another thread, and seen by the shards from then on.
    io.sockets_on("later", |ack: Ack| ack.send(&"seen"));
    assert_eq!(texts(client.ask("later", vec![])), [json!(["seen"])]);
}

fn once_is_for_the_first_connection_on_whatever_shard(place: Place) {
    let io = place.builder().build().unwrap();
    let (tell, told) = channel();
    let removed = tell.clone();
    let never = io.once_connection(move || removed.send(("removed", String::new())).unwrap());
    io.sockets_off(never);
    let tell_async = tell.clone();
    io.once_connection(async move |socket: Socket| {
        tokio::task::yield_now().await;
        tell_async.send(("async", socket.id().to_owned())).unwrap();
    });
    let first = tell.clone();
    io.once_connection(move |socket: Socket| first.send(("once", socket.id().to_owned())).unwrap());
    let every = tell.clone();
    io.on_connection(move |socket: Socket| every.send(("always", socket.id().to_owned())).unwrap());
    let server = Running::start(&io);
    let clients: Vec<_> = (0..9).map(|_| server.bare()).collect();
    let mut heard: Vec<_> = (0..clients.len() + 2).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    heard.retain(|(what, _)| *what != "always");
    heard.sort();
    let first = clients[0].id.clone();
    assert_eq!(heard, [("async", first.clone()), ("once", first)], "it was there before the next one came");
}

fn what_the_server_asks_ends_in_time_or_with_the_client(place: Place) {
    let io = place.builder().build().unwrap();
    let (sender, ends) = channel();
    // This client never acknowledges.
    let end = sender.clone();
    io.sockets_on("ask in time", async move |socket: Socket| {
        let answer = socket.timeout(Duration::from_millis(20)).emit_with_ack::<Value>("question", &1).await;
        end.send(answer).unwrap();
    });
    io.sockets_on("ask", move |socket: Socket| {
        let end = sender.clone();
        socket.emit_with_ack::<Value>("question", &2).on_reply(move |answer| end.send(answer).unwrap());
    });
    io.sockets_on("reserved", |socket: Socket, ack: Ack| {
        let error = socket.emit("disconnect", &()).into_result();
        assert_eq!(error, Err(EmitError::ReservedName("disconnect".to_owned())));
        ack.send(&"refused")
    });
    let server = Running::start(&io);
    let client = server.client(TransportType::Websocket);
    let next = || ends.recv_timeout(PATIENCE).unwrap();
    client.emit("ask in time", json!(null));
    assert_eq!(client.expect("question"), [json!(1)]);
    assert_eq!(next(), Err(AckError::Timeout));
    client.emit("ask", json!(null));
    assert_eq!(client.expect("question"), [json!(2)]);
    assert_eq!(texts(client.ask("reserved", vec![])), [json!(["refused"])]);
    client.disconnect();
    assert_eq!(next(), Err(AckError::Disconnected));
}

fn other_threads_are_heard_in_their_order(place: Place) {
    let io = place.pinging().build().unwrap();
    assert_eq!(io.emit("early", &()).error(), Some(&EmitError::NotRunning));
    let server = Running::start(&io);
    let clients = server.clients(6);
    let from_thread = io.clone();
    thread::spawn(move || {
        for number in 0..500 {
            from_thread.emit("count", &number).into_result().unwrap();
        }
    });
    for client in &clients {
        for number in 0..500 {
            assert_eq!(client.expect("count"), [json!(number)]);
        }
    }
}

fn fetched_sockets_act_from_anywhere(place: Place) {
    let io = place.pinging().build().unwrap();
    io.on_connection(|socket: Socket| {
        socket.data().insert("shoe size", &42).unwrap();
        socket.join("everyone");
    });
    io.sockets_on("count", async |socket: Socket, ack: Ack| {
        let sockets = socket.namespace().within("everyone").fetch_sockets().await?;
        assert!(sockets.iter().any(|other| other.id() == socket.id()));
        ack.send(&sockets.len());
        Ok::<_, ringio::FetchError>(())
    });
    let server = Running::start(&io);
    let clients = server.clients(6);
    for client in &clients {
        assert_eq!(texts(client.ask("count", vec![])), [json!([6])]);
    }

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sockets = runtime.block_on(io.fetch_sockets().into_future()).unwrap();
    assert_eq!(sockets.len(), 6);
    for socket in &sockets {
        assert_eq!(socket.data().get::<u8>("shoe size"), Some(42));
        assert_eq!(socket.rooms(), [socket.id(), "everyone"]);
        assert_eq!(socket.handshake().query("EIO").as_deref(), Some("4"));
        socket.join(["chosen", "few"]);
        socket.leave("few");
        socket.emit("you", socket.id()).into_result().unwrap();
    }
    for client in &clients {
        assert_eq!(client.expect("you").len(), 1);
    }
    let chosen = runtime.block_on(io.to("chosen").fetch_sockets()).unwrap();
    assert_eq!(chosen.len(), 6);
    assert!(runtime.block_on(io.to("few").fetch_sockets()).unwrap().is_empty());
    // Nobody answers: the time ends it. And who has gone answers at once.
    let answer =
        runtime.block_on(sockets[0].timeout(Duration::from_millis(20)).emit_with_ack::<Value>("question", &()));
    assert_eq!(answer, Err(AckError::Timeout));
    io.disconnect_sockets(true).into_result().unwrap();
    while !runtime.block_on(io.fetch_sockets()).unwrap().is_empty() {}
    let answer = runtime.block_on(sockets[0].emit_with_ack::<Value>("question", &()));
    assert_eq!(answer, Err(AckError::Disconnected));
}

fn a_broadcast_is_encoded_once(place: Place) {
    let io = place.pinging().build().unwrap();
    let server = Running::start(&io);
    let clients = server.clients(8);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let encoded = || runtime.block_on(io.shard_counters()).iter().map(|shard| shard.packets_encoded).sum::<u64>();
    let before = encoded();
    for number in 0..10 {
        io.emit("news", &number);
    }
    for client in &clients {
        for number in 0..10 {
            assert_eq!(client.expect("news"), [json!(number)]);
        }
    }
    assert_eq!(encoded() - before, 10, "whatever the number of receivers");
}

fn what_there_is_is_counted_and_gone_with_the_last_client(place: Place) {
    let io = place.builder().build().unwrap();
    let server = Running::start(&io);
    let clients: Vec<WebSocket> = (0..6).map(|_| joined(&server)).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    io.sockets_join("all").into_result().unwrap();
    let now = || {
        let shards = runtime.block_on(io.shard_counters());
        let sum = |each: fn(&ringio::Counters) -> u64| shards.iter().map(each).sum::<u64>();
        let rooms = shards.iter().filter(|shard| shard.rooms_now > 0).count() as u64;
        assert_eq!(rooms, sum(|shard| shard.rooms_now), "one room on each shard with a member");
        (
            [
                sum(|shard| shard.connections_now),
                sum(|shard| shard.sessions_now),
                sum(|shard| shard.sockets_now),
                rooms,
            ],
            [sum(|shard| shard.timers_now), sum(|shard| shard.questions_now), sum(|shard| shard.receive_bytes_held)],
            sum(|shard| shard.sessions_opened) - sum(|shard| shard.sessions_closed),
        )
    };
    let (held, waits, open) = now();
    assert!(held[..3] == [6, 6, 6] && (1..=6).contains(&held[3]), "{held:?}");
    assert!(waits[0] >= 6 && open == 6, "{waits:?}, {open}");
    io.disconnect_sockets(true).into_result().unwrap();
    drop(clients);
    let patience = Instant::now();
    while now() != ([0; 4], [0; 3], 0) {
        assert!(patience.elapsed() < PATIENCE, "{:?}", now());
    }
}

fn nothing_is_left_after_the_end(place: Place) {
    // This test's own: the same test runs for other drivers beside it.
    struct Counted(Arc<AtomicUsize>);
    impl Counted {
        fn new(alive: &Arc<AtomicUsize>) -> Self {
            alive.fetch_add(1, Ordering::SeqCst);
            Self(Arc::clone(alive))
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    let alive = Arc::new(AtomicUsize::new(0));
    let state = Arc::new(());
    let weak: Weak<()> = Arc::downgrade(&state);
    let io: Server = place.pinging().state(state).build().unwrap();
    // Cycles on purpose: handlers own the server and their socket, an extension owns its socket, a task waits for ever.
    let owned = io.clone();
    let (shared, count) = (Counted::new(&alive), Arc::clone(&alive));
    io.on_connection(move |socket: Socket, _: State<Arc<()>>| {
        let _ = (&owned, &shared);
        let (own, counted) = (socket.clone(), Counted::new(&count));
        socket.on("x", move || {
            let _ = (&own, &counted);
        });
        socket.extensions().insert((socket.clone(), Counted::new(&count)));
        let count = Arc::clone(&count);
        socket.on("wait", async move |socket: Socket| {
            let _counted = Counted::new(&count);
            socket.emit("waiting", &true);
            std::future::pending::<()>().await;
        });
    });
    let server = Running::start(&io);
    let clients = server.clients(3);
    for client in &clients {
        client.emit("wait", json!(null));
        client.expect("waiting");
    }
    assert!(alive.load(Ordering::SeqCst) >= 10);
    server.stop();
    drop(io);
    assert_eq!(alive.load(Ordering::SeqCst), 0, "nothing that handlers, extensions and tasks own is left");
    assert!(weak.upgrade().is_none(), "the server and everything in it is freed");
}

/// As in Node, where handlers run a moment after those of every event, if the client is still connected.
fn who_is_let_go_by_a_listener_of_every_event_reaches_no_handler(place: Place) {
    let io = place.builder().build().unwrap();
    let (tell, told) = channel();
    let shared = tell.clone();
    io.on_connection(move |socket: Socket| {
        let (first, second, handler) = (tell.clone(), tell.clone(), tell.clone());
        socket.on_any(move |socket: Socket| {
            first.send("first of every event").unwrap();
            socket.disconnect(false);
        });
        socket.on_any(move || second.send("second of every event").unwrap_or(()));
        socket.on("x", move || handler.send("handler of the socket").unwrap_or(()));
    });
    io.sockets_on("x", move || shared.send("handler of the namespace").unwrap_or(()));
    let server = Running::start(&io);
    let mut client = server.bare();
    client.emit("x", &[]);
    assert_eq!(client.next(), Heard::Gone);
    server.stop();
    drop(io);
    assert_eq!(told.iter().collect::<Vec<_>>(), ["first of every event", "second of every event"]);
}

fn a_listener_of_every_event_may_change_handlers_and_answer(place: Place) {
    let io = place.builder().build().unwrap();
    io.on_connection(|socket: Socket| {
        socket.on("known", |ack: Ack| ack.send(&"too late"));
        socket.on("goes", |ack: Ack| ack.send(&"still there"));
        socket.on_any(|socket: Socket, name: ringio::EventName, ack: Ack| match &*name.0 {
            "comes" => drop(socket.on("comes", |ack: Ack| ack.send(&"there already"))),
            "goes" => {
                socket.off("goes");
                socket.on("goes", |ack: Ack| ack.send(&"its successor"));
            }
            "guarded" => {
                socket.with_packet_middleware(|| Err::<(), _>("refused"));
                socket.on("error", |socket: Socket, Data(text): Data<String>| socket.emit("refused", &text));
            }
            _ => drop(ack.send(&name.0)),
        });
    });
    let server = Running::start(&io);
    let mut client = server.bare();
    assert_eq!(client.ask("unknown", &[]), [json!("unknown")], "nobody else listens to it");
    assert_eq!(client.ask("known", &[]), [json!("known")], "the first answer counts");
    assert_eq!(client.ask("comes", &[]), [json!("there already")]);
    assert_eq!(client.ask("goes", &[]), [json!("its successor")]);
    client.emit("guarded", &[]);
    assert_eq!(client.expect("refused"), [json!("refused")]);
}

/// `42[1]`: in JavaScript the listener of 1 is that of "1".
fn a_name_that_is_a_number_is_heard_as_text(place: Place) {
    let io = place.builder().build().unwrap();
    io.sockets_on("1", |Data(text): Data<String>, ack: Ack| ack.send(&("one", text)));
    let server = Running::start(&io);
    let mut wire = joined(&server);
    wire.send("427[1,\"x\"]");
    assert_eq!(wire.next().as_deref(), Some("437[\"one\",\"x\"]"));
}
