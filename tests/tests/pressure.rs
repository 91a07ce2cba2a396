//! A server under pressure: clients that read slowly, more of them than may be, and an end that takes its time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::{PATIENCE, Place, Running};
use ringio::{DisconnectReason, EmitError, Server, SlowReceiver, Socket};
use ringio_tests::wire::{Polling, WebSocket, get, lets_in, until_nobody_is_let_in};

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const OUTBOX_BYTES_MAX: usize = 64 << 10;

matrix! {
    a_sender_that_waits_for_room_fills_no_outbox_and_loses_nothing
    policies_are_for_the_server_the_namespace_and_the_emit
    more_clients_than_there_is_room_for_are_turned_away
    a_server_that_drains_sends_everybody_away_in_turn
    what_is_queued_counts_until_it_is_drained
    nobody_comes_in_while_a_server_drains
    who_does_not_read_is_cut_off_when_the_time_for_that_is_over
    a_paced_end_cuts_off_who_does_not_read_at_its_deadline
}

fn address(server: &Running) -> SocketAddr {
    server.url.strip_prefix("http://").unwrap().parse().unwrap()
}

fn joined(server: &Running) -> WebSocket {
    let mut wire = WebSocket::open(address(server), WEBSOCKET).1.unwrap();
    wire.next().unwrap();
    wire.send("40");
    wire.next().unwrap();
    wire
}

fn a_sender_that_waits_for_room_fills_no_outbox_and_loses_nothing(place: Place) {
    const EVENTS: usize = 500;
    let io = place.builder().outbox_bytes_max(OUTBOX_BYTES_MAX).build().unwrap();
    let (most, drains) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, counted) = (Arc::clone(&most), Arc::clone(&drains));
    io.on_connection(move |socket: Socket| {
        let (seen, counted) = (Arc::clone(&seen), Arc::clone(&counted));
        socket.on_drain(move |socket: Socket| {
            assert!(socket.queued_bytes() <= OUTBOX_BYTES_MAX / 8);
            counted.fetch_add(1, Ordering::Relaxed);
        });
        socket.on("export", async move |socket: Socket| {
            for number in 0..EVENTS {
                let row = format!("{number}:{}", "x".repeat(4_000));
                socket.emit_when_room("row", &row).await?;
                seen.fetch_max(socket.queued_bytes(), Ordering::Relaxed);
            }
            socket.emit("end", &()).into_result()
        });
    });
    let server = Running::start(&io);
    let mut wire = joined(&server);
    wire.send("42[\"export\"]");
    for number in 0..EVENTS {
        let row = wire.next().unwrap();
        assert!(row.starts_with(&format!("42[\"row\",\"{number}:x")), "{}", &row[..30]);
    }
    assert_eq!(wire.next().unwrap(), "42[\"end\"]");
    let most = most.load(Ordering::Relaxed);
    assert!((OUTBOX_BYTES_MAX / 2..OUTBOX_BYTES_MAX).contains(&most), "{most} bytes waited");
    assert!(drains.load(Ordering::Relaxed) > 0);
    // Who waits for a client that leaves hears that it has.
    let (tell, told) = channel();
    io.on_connection(move |socket: Socket| {
        let tell = tell.clone();
        socket.on("endless", async move |socket: Socket| {
            let error = loop {
                if let Err(error) = socket.emit_when_room("row", &"x".repeat(50_000)).await {
                    break error;
                }
            };
            tell.send(error).unwrap();
        });
    });
    let mut wire = joined(&server);
    wire.send("42[\"endless\"]");
    wire.next().unwrap();
    drop(wire);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), EmitError::Disconnected);
}

/// In one turn, so that nothing leaves the outbox meanwhile.
fn policies_are_for_the_server_the_namespace_and_the_emit(place: Place) {
    const EVENTS: usize = 1_000;
    let io = place
        .builder()
        .outbox_bytes_max(OUTBOX_BYTES_MAX)
        .when_slow(SlowReceiver::DropNew)
        .when_slow_in("/latest", SlowReceiver::DropOld)
        .build()
        .unwrap();
    let text = |number: usize| format!("{number}:{}", "x".repeat(200));
    let _ = io.of("/latest");
    for name in ["/", "/latest"] {
        io.of(name).sockets_on("burst", move |socket: Socket| {
            let sent = (0..EVENTS).filter(|number| socket.emit("n", &text(*number)).is_ok()).count();
            assert_eq!(sent == EVENTS, socket.namespace().name() == "/latest");
        });
    }
    io.sockets_on("prices", |socket: Socket| {
        for number in 0..EVENTS {
            socket.conflate(if number % 2 == 0 { "even" } else { "odd" }).emit("price", &number);
        }
        assert!(socket.queued_bytes() < 100);
    });
    let server = Running::start(&io);
    let mut wire = joined(&server);
    wire.send("40/latest,");
    wire.next().unwrap();
    let mut ask = |event: &str, last: &str| {
        wire.send(event);
        let mut numbers = Vec::new();
        loop {
            let message = wire.next().unwrap();
            let digits: String = message.chars().skip_while(|c| *c != '"' && *c != ',').collect();
            let digits: String = digits.split(',').next_back().unwrap().chars().filter(char::is_ascii_digit).collect();
            numbers.push(digits.parse::<usize>().unwrap());
            if message.contains(last) {
                return numbers;
            }
        }
    };
    let latest = ask("42/latest,[\"burst\"]", "\"999:");
    assert!(latest.len() < EVENTS && latest.windows(2).all(|pair| pair[1] == pair[0] + 1), "the last ones, in order");
    assert_eq!(ask("42[\"prices\"]", ",999]"), [998, 999]);
    let counters = tokio::runtime::Runtime::new().unwrap().block_on(io.shard_counters());
    let sum = |each: fn(&ringio::Counters) -> u64| counters.iter().map(each).sum::<u64>();
    assert_eq!(sum(|counters| counters.slow_dropped_old) as usize, EVENTS - latest.len());
    assert_eq!(sum(|counters| counters.slow_conflated) as usize, EVENTS - 2);
    assert_eq!(sum(|counters| counters.slow_dropped_new + counters.slow_closed), 0);
    // The server's own policy: the first ones come, and the client stays.
    wire.send("42[\"burst\"]");
    let first = wire.next().unwrap();
    assert!(first.starts_with("42[\"n\",\"0:x"), "{first}");
    wire.send("42[\"prices\"]");
    let mut count = 1;
    while !wire.next().unwrap().contains(",998]") {
        count += 1;
    }
    assert!(count < EVENTS, "{count}");
}

fn more_clients_than_there_is_room_for_are_turned_away(place: Place) {
    // Far more connections than sessions: one that has had its answer keeps its place until the server has seen it go.
    let io = place.builder().sessions_max(2).connections_max(12).build().unwrap();
    let server = Running::start(&io);
    let address = address(&server);
    let (one, two) = (joined(&server), joined(&server));
    let (answer, wire) = WebSocket::open(address, WEBSOCKET);
    assert!(answer.status == 503 && wire.is_none());
    let seconds: Vec<u64> = answer.headers("retry-after").iter().map(|seconds| seconds.parse().unwrap()).collect();
    assert!(matches!(seconds[..], [1..=10]), "{seconds:?}");
    assert_eq!(get(address, POLLING).status, 503);
    // Its place is free as soon as the server has seen it go.
    drop(one);
    while get(address, POLLING).status != 200 {
        std::thread::yield_now();
    }
    let idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let is_closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        match stream.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    while idle.iter().filter(|stream| is_closed(stream)).count() < 9 {
        std::thread::yield_now();
    }
    assert!(idle.iter().filter(|stream| !is_closed(stream)).count() >= 1, "those with a place stay");
    drop((idle, two));
    let one_address = place.builder().connections_per_address_max(1).build().unwrap();
    let server = Running::start(&one_address);
    let mut wire = joined(&server);
    let second = TcpStream::connect(self::address(&server)).unwrap();
    while !is_closed(&second) {
        std::thread::yield_now();
    }
    one_address.emit("still here", &());
    assert_eq!(wire.next().unwrap(), "42[\"still here\"]");
}

/// A machine that stalls for all of the time sees everybody go at once: then there is more of it.
fn a_server_that_drains_sends_everybody_away_in_turn(place: Place) {
    let mut times = [2, 10, 60].map(Duration::from_secs).into_iter();
    assert!(times.any(|time| some_are_served_while_others_are_sent_away(place, time)), "all were sent away at once");
}

/// All are sent away over that time.
fn some_are_served_while_others_are_sent_away(place: Place, time: Duration) -> bool {
    let io: Server = place.builder().build().unwrap();
    let (tell, told) = channel();
    io.on_connection(move |socket: Socket| {
        let tell = tell.clone();
        socket.on_disconnect(move |reason: DisconnectReason| tell.send(reason).unwrap());
    });
    let server = Running::start(&io);
    let mut wires: Vec<WebSocket> = (0..20).map(|_| joined(&server)).collect();
    let closing = io.drain(time);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), DisconnectReason::ServerShuttingDown);
    // Some are gone, and the others are still served.
    io.emit("last words", &());
    closing.wait();
    assert_eq!(told.try_iter().count(), 19);
    let heard = wires.iter_mut().filter_map(WebSocket::next).filter(|text| text.contains("last words")).count();
    assert!(TcpStream::connect(address(&server)).is_err() || get_is_refused(&server));
    heard > 0
}

fn nobody_comes_in_while_a_server_drains(place: Place) {
    const CLIENTS: usize = 100;
    let io = place.builder().build().unwrap();
    let server = Running::start(&io);
    let mut wires: Vec<WebSocket> = (0..CLIENTS).map(|_| joined(&server)).collect();
    // Longer than the test takes: nearly all are there to the end of it.
    let closing = io.drain(60 * PATIENCE);
    // Each shard hears of it by itself.
    until_nobody_is_let_in(address(&server));
    for _ in 0..5 {
        assert!(!lets_in(address(&server)), "who comes is refused, and does not wait for nothing");
    }
    io.emit("still here", &());
    let heard = wires.iter_mut().filter_map(WebSocket::next).filter(|text| text.contains("still here")).count();
    assert!(heard > CLIENTS / 2, "{heard} are served meanwhile");
    io.close();
    closing.wait();
    for wire in &mut wires {
        while wire.next().is_some() {}
    }
}

/// More rows of a megabyte than both kernels hold on the way.
const ROWS: usize = 24;

/// Starts a server; its client has been sent the rows, and has not read them.
fn with_somebody_who_does_not_read(io: &Server) -> (Running, WebSocket) {
    let (tell, told) = channel();
    io.sockets_on("export", move |socket: Socket| {
        for _ in 0..ROWS {
            socket.emit("row", &"x".repeat(1_000_000)).into_result().unwrap();
        }
        tell.send(()).unwrap();
    });
    let server = Running::start(io);
    let mut wire = joined(&server);
    wire.send("42[\"export\"]");
    told.recv_timeout(PATIENCE).unwrap();
    (server, wire)
}

fn who_does_not_read_is_cut_off_when_the_time_for_that_is_over(place: Place) {
    let time = Duration::from_millis(200);
    let io = place.builder().outbox_bytes_max(64 << 20).drain(time).build().unwrap();
    let (_server, mut wire) = with_somebody_who_does_not_read(&io);
    let (tell, ended) = channel();
    let closing = io.close();
    std::thread::spawn(move || {
        closing.wait();
        tell.send(()).unwrap();
    });
    ended.recv_timeout(PATIENCE).expect("the server ends though somebody does not read");
    let rows = std::iter::from_fn(|| wire.next()).filter(|text| text.starts_with("42[\"row\"")).count();
    assert!(rows < ROWS, "{rows} rows arrived");
}

/// Any connection that closes has so long at most (`CLOSING_DEADLINE_MS` of the core).
const CLOSING_MAX: Duration = Duration::from_secs(2);

/// `Builder::drain` alone ends this client: the server is gone before any other deadline has come. A machine that stalls makes one round late,
/// not every one.
fn a_paced_end_cuts_off_who_does_not_read_at_its_deadline(place: Place) {
    const ROUNDS: usize = 10;
    let time = Duration::from_millis(300);
    let is_before_others = |_| {
        let (_, took) = paced_end_with_somebody_who_does_not_read(place, time);
        assert!(took >= time, "{took:?}: it was to have {time:?}");
        took < CLOSING_MAX - CLOSING_MAX / 10
    };
    assert!((0..ROUNDS).any(is_before_others), "something else ends who does not read");
    // Without it there is still the other deadline: nobody keeps a server that has ended its session.
    let (took, _) = paced_end_with_somebody_who_does_not_read(place, 60 * PATIENCE);
    assert!(took >= CLOSING_MAX, "{took:?}: a client that closes was to have {CLOSING_MAX:?}");
}

/// How long it takes from the call, and from the moment at which its only client hears that it is sent away. A clock of milliseconds may be one
/// early.
fn paced_end_with_somebody_who_does_not_read(place: Place, time: Duration) -> (Duration, Duration) {
    let io = place.builder().outbox_bytes_max(64 << 20).drain(time).build().unwrap();
    let (sent_away, is_sent_away) = channel();
    io.on_connection(move |socket: Socket| {
        let sent_away = sent_away.clone();
        socket.on_disconnect(move |reason: DisconnectReason| sent_away.send((reason, Instant::now())).unwrap());
    });
    let (_server, mut wire) = with_somebody_who_does_not_read(&io);
    let (tell, ended) = channel();
    let called = Instant::now();
    let closing = io.drain(Duration::from_millis(100));
    std::thread::spawn(move || {
        closing.wait();
        tell.send(Instant::now()).unwrap();
    });
    let (reason, sent_away) = is_sent_away.recv_timeout(PATIENCE).unwrap();
    assert_eq!(reason, DisconnectReason::ServerShuttingDown);
    let ended = ended.recv_timeout(PATIENCE).expect("the server ends though somebody does not read");
    let rows = std::iter::from_fn(|| wire.next()).filter(|text| text.starts_with("42[\"row\"")).count();
    assert!(rows < ROWS, "{rows} rows arrived");
    (ended - called + Duration::from_millis(1), ended - sent_away + Duration::from_millis(1))
}

/// Whether nobody answers there any more.
fn get_is_refused(server: &Running) -> bool {
    let Ok(mut stream) = TcpStream::connect(address(server)) else { return true };
    stream.read(&mut [0]).is_ok_and(|read| read == 0)
}

/// Over polling nothing is drained before somebody polls.
fn what_is_queued_counts_until_it_is_drained(place: Place) {
    let io = place.builder().build().unwrap();
    let (tell, told) = channel();
    io.on_connection(move |socket: Socket| {
        let (conn, tell) = (socket.conn(), tell.clone());
        socket.conn().on_drain(move || tell.send(conn.outbox_bytes()).unwrap());
    });
    io.sockets_on("say", |socket: Socket| {
        let before = socket.conn().outbox_bytes();
        for _ in 0..3 {
            socket.emit("long", &"x".repeat(1_000));
        }
        assert!(socket.conn().outbox_bytes() - before > 3_000);
        assert_eq!(socket.conn().outbox_bytes(), socket.queued_bytes());
        socket.emit("queued", &());
    });
    let server = Running::start(&io);
    let drained = || told.recv_timeout(PATIENCE).unwrap();

    let mut wire = joined(&server);
    assert_eq!(drained(), 0, "CONNECT is out");
    wire.send("42[\"say\"]");
    for _ in 0..3 {
        assert!(wire.next().unwrap().starts_with("42[\"long\""));
    }
    assert_eq!(wire.next().unwrap(), "42[\"queued\"]");
    assert_eq!(drained(), 0, "once for all of them");

    let polling = Polling::open(address(&server));
    polling.post("40");
    polling.get();
    assert_eq!(drained(), 0);
    polling.post("42[\"say\"]");
    assert!(told.try_recv().is_err(), "nobody polls");
    assert_eq!(polling.get().body.matches("xxx\"").count(), 3);
    assert_eq!(drained(), 0);
    assert!(told.try_recv().is_err(), "as often as something was sent");
}
