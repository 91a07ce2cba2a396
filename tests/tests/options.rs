//! What operators set, seen on the wire: transports, path, OPEN, cookie, recovery, middlewares, namespaces.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::{Place, Running};
use parking_lot::Mutex;
use ringio::engine::{EngineServer, Message};
use ringio::{Ack, Builder, Cookie, Data, SameSite, Server, Socket, Transport};
use ringio_tests::wire::{Polling, WebSocket, get, request, until_the_end};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const UNKNOWN_TRANSPORT: &str = r#"{"code":0,"message":"Transport unknown"}"#;

matrix! {
    transports_decide_what_is_offered_and_what_is_taken
    open_says_what_was_set
    the_initial_packet_follows_open_at_once
    the_path_and_its_slash
    an_upgrade_elsewhere_is_answered_and_ended
    an_upgrade_elsewhere_stays_if_it_is_not_to_be_destroyed
    an_upgrade_elsewhere_ends_unanswered_after_a_timeout
    the_cookie_is_written_as_set_and_only_if_set
    without_recovery_connect_says_sid_alone
    middlewares_run_on_recovery_if_they_are_not_to_be_skipped
    what_no_longer_fits_the_log_cannot_be_recovered
    middlewares_run_in_their_order_and_a_refusal_stops_the_rest
    static_namespaces_are_announced_once_except_the_main_one
    a_server_closes_a_client_that_joins_nothing_but_not_one_that_left_everything
    what_was_set_can_be_read
    an_upgrade_that_is_not_finished_in_time_is_given_up
    attachments_are_counted_before_they_come
    polls_are_compressed_unless_that_is_off
    async_handlers_run_with_the_runtime_that_was_given
}

fn start(builder: Builder) -> (Running, SocketAddr) {
    running(&builder.build().unwrap())
}

fn running(io: &Server) -> (Running, SocketAddr) {
    let server = Running::start(io);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    (server, address)
}

/// Joins the main namespace of a server that greets with an event: the JSON of both packets.
fn joined(client: &Polling) -> (serde_json::Value, serde_json::Value) {
    client.post("40");
    let body = client.get().body;
    let (connect, event) = body.split_once('\u{1e}').unwrap_or_else(|| panic!("{body}"));
    (serde_json::from_str(&connect[2..]).unwrap(), serde_json::from_str(&event[2..]).unwrap())
}

fn transports_decide_what_is_offered_and_what_is_taken(place: Place) {
    let (_both, address) = start(place.builder());
    assert_eq!(get(address, POLLING).open()["upgrades"], serde_json::json!(["websocket"]));
    let (_, websocket) = WebSocket::open(address, WEBSOCKET);
    assert!(websocket.unwrap().next().unwrap().contains(r#""upgrades":[]"#), "a WebSocket is the best there is");

    let (_polling, address) = start(place.builder().transports(&[Transport::Polling]));
    assert_eq!(get(address, POLLING).open()["upgrades"], serde_json::json!([]));
    let (answer, _) = WebSocket::open(address, WEBSOCKET);
    assert_eq!((answer.status, answer.body.as_str()), (400, "Transport unknown"));

    let (_websocket, address) = start(place.builder().transports(&[Transport::WebSocket]));
    assert_eq!(get(address, POLLING).body, UNKNOWN_TRANSPORT);
    assert!(WebSocket::open(address, WEBSOCKET).1.unwrap().next().unwrap().starts_with('0'));

    let (_no_upgrades, address) = start(place.builder().allow_upgrades(false));
    let open = get(address, POLLING).open();
    assert_eq!(open["upgrades"], serde_json::json!([]));
    // Who tries it nevertheless is told no on the WebSocket, and goes on polling.
    let sid = open["sid"].as_str().unwrap();
    assert_eq!(WebSocket::open(address, &format!("{WEBSOCKET}&sid={sid}")).1.unwrap().next(), None);
    assert_eq!(request(address, "POST", &format!("{POLLING}&sid={sid}"), "", "40").body, "ok");
    assert!(WebSocket::open(address, WEBSOCKET).1.unwrap().next().unwrap().starts_with('0'));
}

fn open_says_what_was_set(place: Place) {
    let builder = place.builder().ping_interval(Duration::from_millis(1234)).ping_timeout(Duration::from_millis(5678));
    let (_server, address) = start(builder.max_http_buffer_size(4321));
    let open = get(address, POLLING).open();
    assert_eq!(
        (&open["pingInterval"], &open["pingTimeout"], &open["maxPayload"]),
        (&1234.into(), &5678.into(), &4321.into())
    );
    let (_defaults, address) = start(Server::builder().driver(place.driver).shards(place.shards).pin_threads(false));
    let open = get(address, POLLING).open();
    let expected = (&25_000.into(), &20_000.into(), &1_000_000.into());
    assert_eq!((&open["pingInterval"], &open["pingTimeout"], &open["maxPayload"]), expected);
}

fn the_initial_packet_follows_open_at_once(place: Place) {
    let builder = EngineServer::builder().driver(place.driver).shards(place.shards).pin_threads(false);
    let engine = builder.path("/socket.io").initial_packet(Message::Text("faster!")).build_engine().unwrap();
    let address = engine.start("127.0.0.1:0").unwrap()[0];
    let body = get(address, POLLING).body;
    let (open, first) = body.split_once('\u{1e}').unwrap_or_else(|| panic!("{body}"));
    assert!(open.starts_with('0') && first == "4faster!", "{body}");
    let mut websocket = WebSocket::open(address, WEBSOCKET).1.unwrap();
    assert!(websocket.next().unwrap().starts_with('0'));
    assert_eq!(websocket.next().as_deref(), Some("4faster!"));
    engine.close();
    engine.join();
}

fn the_path_and_its_slash(place: Place) {
    let query = "?EIO=4&transport=polling";
    for path in ["/elsewhere", "/elsewhere/"] {
        let (_server, address) = start(place.builder().path(path));
        get(address, &format!("/elsewhere/{query}")).open();
        assert_eq!(get(address, &format!("/elsewhere{query}")).status, 404);
        assert_eq!(get(address, POLLING).status, 404);
    }
    let (_server, address) = start(place.builder().path("/elsewhere").add_trailing_slash(false));
    get(address, &format!("/elsewhere{query}")).open();
    get(address, &format!("/elsewhere/{query}")).open();
}

fn an_upgrade_elsewhere_is_answered_and_ended(place: Place) {
    let (_server, address) = start(place.builder());
    let (answer, _) = WebSocket::open(address, "/somewhere/?EIO=4&transport=websocket");
    assert_eq!(answer.status, 404);
    let heard = upgrade_elsewhere(address);
    assert!(heard.starts_with("HTTP/1.1 404") && heard.matches("HTTP/1.1").count() == 1, "{heard}");
    // Without what belongs to a WebSocket handshake it is a bad request.
    let answer = request(address, "GET", WEBSOCKET, "Upgrade: websocket\r\n", "");
    assert_eq!(answer.status, 400);
}

/// All that is heard of an upgrade at a path of nobody, and of a request behind it on the same connection.
fn upgrade_elsewhere(address: SocketAddr) -> String {
    until_the_end(
        address,
        "GET /elsewhere HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\
         GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
}

fn an_upgrade_elsewhere_stays_if_it_is_not_to_be_destroyed(place: Place) {
    let (_server, address) = start(place.builder().destroy_upgrade(false).page("/page", "text/plain", "still here"));
    let heard = upgrade_elsewhere(address);
    assert!(heard.starts_with("HTTP/1.1 404") && heard.ends_with("still here"), "{heard}");
}

fn an_upgrade_elsewhere_ends_unanswered_after_a_timeout(place: Place) {
    let (_server, address) = start(place.builder().destroy_upgrade_timeout(Duration::from_millis(50)));
    assert_eq!(upgrade_elsewhere(address), "");
    // It is about WebSockets elsewhere alone.
    assert_eq!(get(address, "/elsewhere").status, 404);
    assert!(WebSocket::open(address, WEBSOCKET).1.is_some());
}

fn the_cookie_is_written_as_set_and_only_if_set(place: Place) {
    let rows = [
        (Some(Cookie::default()), "io=SID; Path=/; HttpOnly; SameSite=Lax"),
        (Some(Cookie { name: "woot".into(), ..Cookie::default() }), "woot=SID; Path=/; HttpOnly; SameSite=Lax"),
        (
            Some(Cookie { path: Some("/custom".into()), ..Cookie::default() }),
            "io=SID; Path=/custom; HttpOnly; SameSite=Lax",
        ),
        (Some(Cookie { path: None, ..Cookie::default() }), "io=SID; HttpOnly; SameSite=Lax"),
        (Some(Cookie { http_only: false, ..Cookie::default() }), "io=SID; Path=/; SameSite=Lax"),
        (
            Some(Cookie { same_site: Some(SameSite::Strict), ..Cookie::default() }),
            "io=SID; Path=/; HttpOnly; SameSite=Strict",
        ),
        (None, ""),
    ];
    for (cookie, expected) in rows {
        let builder = place.builder();
        let (_server, address) = start(match cookie {
            Some(cookie) => builder.cookie(cookie),
            None => builder,
        });
        let answer = get(address, POLLING);
        let sid = answer.open()["sid"].as_str().unwrap().to_owned();
        let expected = expected.replace("SID", &sid);
        assert_eq!(answer.headers("set-cookie").concat(), expected);
        let target = format!("{POLLING}&sid={sid}");
        let later = request(address, "POST", &target, "", "40");
        assert_eq!(later.headers("set-cookie"), Vec::<&str>::new(), "only the first answer has it");
        let (answer, _) = WebSocket::open(address, WEBSOCKET);
        assert_eq!(answer.headers("set-cookie"), Vec::<&str>::new(), "a WebSocket has none");
    }
}

fn without_recovery_connect_says_sid_alone(place: Place) {
    let (_server, address) = start(place.builder());
    let client = Polling::open(address);
    client.post("40");
    let connect: serde_json::Value = serde_json::from_str(&client.get().body[2..]).unwrap();
    assert_eq!(connect.as_object().unwrap().keys().collect::<Vec<_>>(), ["sid"]);
    // What a client of a server with recovery would send is its auth, and changes nothing.
    let client = Polling::open(address);
    client.post(r#"40{"pid":"AAAAAAAAAAAAAAAAAAAA","offset":"x"}"#);
    assert!(client.get().body.starts_with(r#"40{"sid":""#));
}

fn middlewares_run_on_recovery_if_they_are_not_to_be_skipped(place: Place) {
    for is_skipped in [false, true] {
        let recovery = place.builder().connection_state_recovery(Duration::from_secs(60), is_skipped);
        let io = recovery.build().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        io.with_middleware(move |_: Socket| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, String>(())
        });
        io.on_connection(|socket: Socket| {
            socket.join("a room");
            let mut rooms = socket.rooms();
            rooms.retain(|room| room != socket.id());
            socket.emit("here", &(socket.is_recovered(), rooms))
        });
        let (_server, address) = running(&io);
        let client = Polling::open(address);
        let (connect, event) = joined(&client);
        assert_eq!(event[1], false);
        client.cut();

        let again = Polling::open(address);
        let (pid, offset) = (connect["pid"].as_str().unwrap(), event[3].as_str().unwrap());
        again.post(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#));
        let body = again.get().body;
        assert!(body.starts_with(&format!(r#"40{{"sid":{},"pid":"{pid}"}}"#, connect["sid"])), "{body}");
        assert!(body.contains(r#"["here",true,["a room"]"#), "{body}");
        assert_eq!(runs.load(Ordering::Relaxed), if is_skipped { 1 } else { 2 });
    }
}

fn what_no_longer_fits_the_log_cannot_be_recovered(place: Place) {
    let minute = Duration::from_secs(60);
    let builder = || place.builder().connection_state_recovery(minute, true);
    let cases = [
        (builder(), true),
        (builder().recovery_packets_max(10), true),
        (builder().recovery_packets_max(2), false),
        (builder().recovery_bytes_max(8_192), true),
        (builder().recovery_bytes_max(2_048), false),
    ];
    for (case, (builder, is_recovered)) in cases.into_iter().enumerate() {
        let io = builder.build().unwrap();
        io.on_connection(|socket: Socket| socket.emit("here", &socket.is_recovered()));
        io.sockets_on("say", |io: Server, Data(text): Data<String>| io.to("all").emit("said", &text));
        io.sockets_on("listen", |socket: Socket, ack: Ack| {
            socket.join("all");
            ack.send(&())
        });
        let (_server, address) = running(&io);
        let client = Polling::open(address);
        let (connect, event) = joined(&client);
        client.post("420[\"listen\"]");
        assert_eq!(client.get().body, "430[]");
        client.cut();

        // Three packets of a thousand bytes are missed.
        let (_, other) = WebSocket::open(address, WEBSOCKET);
        let mut other = other.unwrap();
        other.next().unwrap();
        other.send("40");
        assert!(other.next().unwrap().starts_with("40"));
        other.send("420[\"listen\"]");
        for _ in 0..3 {
            other.send(&format!("42[\"say\",\"{}\"]", "x".repeat(1_000)));
        }
        let mut said = 0;
        while said < 3 {
            said += usize::from(other.next().unwrap().contains("said"));
        }

        let again = Polling::open(address);
        let (pid, offset) = (connect["pid"].as_str().unwrap(), event[2].as_str().unwrap());
        again.post(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#));
        let body = again.get().body;
        assert_eq!(body.contains(&format!(r#""pid":"{pid}""#)), is_recovered, "case {case}: {body}");
    }
}

fn middlewares_run_in_their_order_and_a_refusal_stops_the_rest(place: Place) {
    let io = place.builder().build().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for (name, place) in [("first", "/"), ("second", "/"), ("refuses", "/"), ("never", "/"), ("other", "/other")] {
        let seen = Arc::clone(&seen);
        io.of(place).with_middleware(async move |socket: Socket| {
            tokio::task::yield_now().await;
            assert!(!socket.is_connected());
            seen.lock().push(name);
            if name == "refuses" { Err("no") } else { Ok(()) }
        });
    }
    let (_server, address) = running(&io);
    let client = Polling::open(address);
    client.post("40");
    assert_eq!(client.get().body, r#"44{"message":"no"}"#);
    client.post("40/other,");
    assert!(client.get().body.starts_with(r#"40/other,{"sid":""#));
    assert_eq!(*seen.lock(), ["first", "second", "refuses", "other"]);
}

fn static_namespaces_are_announced_once_except_the_main_one(place: Place) {
    let io = place.builder().build().unwrap();
    let names = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&names);
    io.on_new_namespace(move |namespace| log.lock().push(namespace.name().to_owned()));
    for name in ["/", "", "/nsp", "nsp", "/other"] {
        let _ = io.of(name);
    }
    assert_eq!(*names.lock(), ["/nsp", "/other"]);
    let (_server, address) = running(&io);
    for name in ["/nsp", "/other"] {
        // They are there without anybody listening, and stay when they are empty.
        for _ in 0..2 {
            let client = Polling::open(address);
            client.post(&format!("40{name},"));
            assert!(client.get().body.starts_with(&format!("40{name},")));
            client.post(&format!("41{name},\u{1e}40{name},"));
            assert!(client.get().body.starts_with(&format!("40{name},")), "left and joined again");
            client.post("1");
        }
    }
    assert_eq!(names.lock().len(), 2);
}

fn a_server_closes_a_client_that_joins_nothing_but_not_one_that_left_everything(place: Place) {
    let (timeout, interval) = (Duration::from_millis(400), Duration::from_millis(900));
    let (_server, address) = start(place.builder().connect_timeout(timeout).ping_interval(interval));
    // Whose thread stands still for so long that it is closed, or pinged, before it has said a thing, comes again.
    let mut left = std::iter::repeat_with(|| WebSocket::open(address, WEBSOCKET).1.unwrap())
        .take(100)
        .find_map(|mut left| {
            left.send("40");
            assert!(left.next().unwrap().starts_with('0'));
            left.next().is_some_and(|connect| connect.starts_with("40")).then_some(left)
        })
        .unwrap();
    // Not before: who leaves what it has not joined breaks the protocol.
    left.send("41");
    let (_, idle) = WebSocket::open(address, WEBSOCKET);
    let mut idle = idle.unwrap();
    // A namespace that does not exist does not count.
    let refused = std::iter::repeat_with(|| Polling::open(address))
        .take(100)
        .find(|refused| refused.post("40/nowhere,").status == 200)
        .unwrap();
    let answers: Vec<String> = std::iter::repeat_with(|| refused.get())
        .map_while(|answer| (answer.status == 200).then_some(answer.body))
        .collect();
    let packets: Vec<_> =
        answers.iter().flat_map(|body| body.split('\u{1e}')).filter(|packet| *packet != "2").collect();
    assert_eq!(packets, [r#"44/nowhere,{"message":"Invalid namespace"}"#, "1"], "refused, and closed after that");
    let idle: Vec<_> = std::iter::from_fn(|| idle.next()).filter(|text| text != "2").collect();
    assert!(idle.len() == 1 && idle[0].starts_with('0'), "{idle:?}");
    // A ping shows that it lives longer than it would have been waited for.
    assert_eq!(left.next().unwrap(), "2");
    left.send("3");
    left.send("40");
    let answer = std::iter::from_fn(|| left.next()).find(|text| text != "2");
    assert!(answer.unwrap().starts_with("40"));
}

fn what_was_set_can_be_read(place: Place) {
    let second = Duration::from_secs;
    let builder = place.builder().path("/chat").connect_timeout(second(1)).upgrade_timeout(second(2));
    let builder = builder.ping_interval(second(3)).ping_timeout(second(4)).max_http_buffer_size(5);
    let io = builder.transports(&[Transport::WebSocket]).build().unwrap();
    assert_eq!((io.path(), io.engine().path(), io.shards()), ("/chat/", "/chat/", place.shards));
    assert_eq!((io.connect_timeout(), io.upgrade_timeout()), (second(1), second(2)));
    assert_eq!((io.ping_interval(), io.ping_timeout(), io.max_http_buffer_size()), (second(3), second(4), 5));
    assert_eq!((io.transports(), io.serve_client()), (vec![Transport::WebSocket], false));
    assert_eq!(io.sockets().name(), "/");
}

fn an_upgrade_that_is_not_finished_in_time_is_given_up(place: Place) {
    let (_server, address) = start(place.builder().upgrade_timeout(Duration::from_millis(50)));
    let polling = Polling::open(address);
    let target = format!("{WEBSOCKET}&sid={}", polling.sid());
    // Whose thread stands still for so long before its probe tries again.
    let mut websocket = std::iter::repeat_with(|| WebSocket::open(address, &target).1.unwrap())
        .take(100)
        .find_map(|mut websocket| {
            websocket.send("2probe");
            assert_eq!(websocket.next()?, "3probe");
            Some(websocket)
        })
        .unwrap();
    assert_eq!(websocket.next(), None, "the WebSocket is closed");
    assert_eq!(polling.post("40").body, "ok", "and polling goes on");
}

fn attachments_are_counted_before_they_come(place: Place) {
    let io = place.builder().attachments_max(2).build().unwrap();
    io.sockets_on("e", |attachments: ringio::Attachments, ack: Ack| ack.send(&attachments.0.len()));
    let (_server, address) = running(&io);
    for (count, answer) in [(2, Some("431[2]")), (3, None)] {
        let mut websocket = WebSocket::open(address, WEBSOCKET).1.unwrap();
        websocket.next().unwrap();
        websocket.send("40");
        assert!(websocket.next().unwrap().starts_with("40"));
        websocket.send(&format!("45{count}-1[\"e\"]"));
        for _ in 0..count {
            websocket.send_binary(b"x");
        }
        let heard = std::iter::from_fn(|| websocket.next()).find(|text| text != "2");
        assert_eq!(heard.as_deref(), answer);
    }
}

fn polls_are_compressed_unless_that_is_off(place: Place) {
    let long = "a".repeat(10_000);
    for (is_on, expected) in [(true, vec!["gzip"]), (false, vec![])] {
        let builder = place.builder().initial_packet(Message::Text(&long));
        let (_server, address) = start(if is_on { builder } else { builder.http_compression(None) });
        let answer = request(address, "GET", POLLING, "Accept-Encoding: gzip\r\n", "");
        assert_eq!((answer.status, answer.headers("content-encoding")), (200, expected));
    }
}

fn async_handlers_run_with_the_runtime_that_was_given(place: Place) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let given = runtime.handle().id();
    let io = place.builder().tokio(runtime.handle().clone()).build().unwrap();
    io.sockets_on("where", async move |ack: Ack| {
        let is_there = tokio::runtime::Handle::current().id() == given;
        // On another thread of that runtime, and back.
        let also_there = tokio::spawn(async { tokio::runtime::Handle::current().id() }).await.unwrap() == given;
        ack.send(&(is_there && also_there))
    });
    let server = Running::start(&io);
    assert_eq!(server.bare().ask("where", &[]), [serde_json::json!(true)]);
}
