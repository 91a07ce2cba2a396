//! The suites `oracle`, `oracle-old` and `oracle-recovery` of the conformance program: what `tests/oracle/handlers.mjs`
//! does on Node, for scripts that are played against both.

use parking_lot::Mutex;
use ringio::{
    Ack, Builder, ConnectError, Cookie, Cors, CorsOrigin, Data, DisconnectReason, EventName, Handshake, Namespace,
    RawArgs, Server, Socket, Transport,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the handlers heard: `[socket id or "engine", what, ...]`.
pub type Log = Arc<Mutex<Vec<Value>>>;

/// A large emit of the suites is no larger.
const BIG_BYTES_MAX: usize = 50_000;

/// The options of all three: bodies over the limit are cheap then.
pub fn options(builder: Builder, log: &Log) -> Builder {
    let log = Arc::clone(log);
    builder.max_http_buffer_size(20_000).on_connection_error(move |refusal| {
        log.lock().push(json!(["engine", "refused", refusal.code(), refusal.message()]));
    })
}

/// Those of `oracle-old` besides.
pub fn old_options(builder: Builder) -> Builder {
    let origin = CorsOrigin::List(vec!["http://a.test".to_owned()]);
    let exposed_headers = vec!["X-Shown".to_owned()];
    builder
        .allow_eio3(true)
        .cors(Cors { origin, exposed_headers, credentials: true, ..Cors::default() })
        .cookie(Cookie { max_age_seconds: Some(60), ..Cookie::default() })
}

/// Those of `oracle-recovery` besides.
pub fn recovery_options(builder: Builder) -> Builder {
    builder.connection_state_recovery(Duration::from_secs(60), true)
}

/// The handlers of the suites.
pub fn handlers(io: &Server, log: &Log) {
    let served: Vec<Namespace> = ["/", "/chat", "/guarded"].iter().map(|name| io.of(name)).collect();
    let dynamic = io.of_matching(|name, _| {
        name.strip_prefix("/dyn-")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    });
    let children = dynamic.clone();
    let namespaces = served.clone();
    control(io, log, move || namespaces.iter().cloned().chain(children.children()).collect());

    io.of("/guarded").with_middleware(|socket: Socket| {
        let auth: Value = socket.handshake().auth().unwrap_or_default();
        let Some(message) = auth.get("refuse").and_then(Value::as_str) else { return Ok(()) };
        let error = ConnectError::new(message);
        Err(match auth.get("why") {
            Some(why) => error.with_data(&json!({ "why": why })).unwrap_or_else(|_| "?".into()),
            None => error,
        })
    });
    for namespace in &served {
        let log = Arc::clone(log);
        namespace.on_connection(move |socket: Socket, handshake: Handshake| attach(&socket, &handshake, &log));
    }
    let log = Arc::clone(log);
    dynamic.on_connection(move |socket: Socket, handshake: Handshake| attach(&socket, &handshake, &log));
}

/// The namespace of the player itself.
fn control(io: &Server, log: &Log, namespaces: impl Fn() -> Vec<Namespace> + Clone + Send + Sync + 'static) {
    let control = io.of("/control");
    let all = namespaces.clone();
    control.sockets_on("barrier", async move |ack: Ack| {
        for namespace in all() {
            namespace.fetch_sockets().await?;
        }
        ack.send(&());
        Ok::<_, ringio::FetchError>(())
    });
    let log = Arc::clone(log);
    control.sockets_on("log", move |ack: Ack| ack.send(&std::mem::take(&mut *log.lock())));
    control.sockets_on("sockets", async move |ack: Ack| {
        let mut count = 0;
        for namespace in namespaces() {
            count += namespace.fetch_sockets().await?.len();
        }
        ack.send(&count);
        Ok::<_, ringio::FetchError>(())
    });
}

fn attach(socket: &Socket, handshake: &Handshake, log: &Log) {
    listen_to_everything(socket, handshake, log);
    back_to_the_sender(socket, log);
    rooms(socket);
    others(socket);
    questions(socket);

    let auth: Value = handshake.auth().unwrap_or_default();
    if let Some(greeting) = auth.get("greet") {
        socket.emit("hello", greeting);
    }
    if let Some(room) = auth.get("join").and_then(Value::as_str) {
        socket.join(room);
    }
    if let Some(close) = auth.get("bye").and_then(Value::as_bool) {
        socket.disconnect(close);
    }
}

fn listen_to_everything(socket: &Socket, handshake: &Handshake, log: &Log) {
    let auth: Value = handshake.auth().unwrap_or_default();
    log.lock().push(json!([socket.id(), "connection", auth, query_of(handshake), socket.is_recovered()]));

    let seen = Arc::clone(log);
    socket.on_any(move |socket: Socket, name: EventName, args: RawArgs| {
        seen.lock().push(json!([socket.id(), "any", name.0, args.len()]));
    });
    let seen = Arc::clone(log);
    socket.on("error", move |socket: Socket, Data(text): Data<String>| {
        seen.lock().push(json!([socket.id(), "error", text]));
    });
    let seen = Arc::clone(log);
    socket.on_disconnecting(move |socket: Socket, reason: DisconnectReason| {
        seen.lock().push(json!([socket.id(), "disconnecting", reason.as_str(), sorted_rooms(&socket)]));
    });
    let seen = Arc::clone(log);
    socket.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
        seen.lock().push(json!([socket.id(), "disconnect", reason.as_str(), socket.rooms().len()]));
    });
    socket.with_packet_middleware(|name: EventName, args: RawArgs| match &*name.0 {
        "blocked" => Err(format!("blocked: {}", args.get::<String>(0).unwrap_or_default())),
        _ => Ok(()),
    });
}

fn back_to_the_sender(socket: &Socket, log: &Log) {
    socket.on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", &args));
    socket.on("ack", |args: RawArgs, ack: Ack| ack.send(&args));
    socket.on("three", |socket: Socket| {
        for (index, name) in ["one", "two", "three"].into_iter().enumerate() {
            socket.emit(name, &index);
        }
    });
    socket.on("blob", |socket: Socket, Data(size): Data<usize>| {
        let bytes = ringio::Bytes::from(vec![7; size]);
        let list = (ringio::Bytes::from_static(&[1, 2, 3]), "x");
        socket.emit("blob", &Blob { a: bytes, list })
    });
    socket
        .on("big", |socket: Socket, Data(size): Data<usize>| socket.emit("big", &"x".repeat(size.min(BIG_BYTES_MAX))));
    socket.on("fleeting", |socket: Socket, args: RawArgs| {
        socket.volatile().emit("fleeting", &args);
        socket.emit("lasting", &());
    });
    let log = Arc::clone(log);
    socket.on("ask", move |socket: Socket, args: RawArgs| {
        let log = Arc::clone(&log);
        socket.emit_with_ack::<RawArgs>("question", &args).on_reply(move |answer| {
            let Ok(answer) = answer else { return };
            log.lock().push(json!([socket.id(), "answered", answer.len()]));
            socket.emit("answered", &answer);
        });
    });
}

#[derive(serde::Serialize)]
struct Blob {
    a: ringio::Bytes,
    list: (ringio::Bytes, &'static str),
}

fn rooms(socket: &Socket) {
    socket.on("join", |socket: Socket, Data(room): Data<Text>, ack: Ack| {
        socket.join(room.0);
        ack.send(&sorted_rooms(&socket))
    });
    socket.on("leave", |socket: Socket, Data(room): Data<Text>, ack: Ack| {
        socket.leave(room.0);
        ack.send(&sorted_rooms(&socket))
    });
    socket.on("rooms", |socket: Socket, ack: Ack| ack.send(&sorted_rooms(&socket)));
    socket.on("move", |namespace: Namespace, Data((from, to)): Data<(Text, Text)>, ack: Ack| {
        namespace.within(from.0).sockets_join(to.0);
        ack.send(&())
    });
    socket.on("out", |namespace: Namespace, Data((from, room)): Data<(Text, Text)>, ack: Ack| {
        namespace.within(from.0).sockets_leave(room.0);
        ack.send(&())
    });
    socket.on("bye", |socket: Socket, Data(close): Data<Value>| {
        socket.emit("last", &());
        socket.disconnect(close == Value::Bool(true));
    });
    socket.on("kick", |namespace: Namespace, Data((room, close)): Data<(Text, Value)>| {
        namespace.within(room.0).disconnect_sockets(close == Value::Bool(true))
    });
}

fn others(socket: &Socket) {
    socket.on("all", |namespace: Namespace, Data(event): Data<Text>, args: RawArgs| {
        namespace.emit(&event.0, &args.skip(1))
    });
    socket.on("broadcast", |socket: Socket, Data(event): Data<Text>, args: RawArgs| {
        socket.broadcast().emit(&event.0, &args.skip(1))
    });
    socket.on("room", |namespace: Namespace, Data((room, event)): Data<(Text, Text)>, args: RawArgs| {
        namespace.to(room.0).emit(&event.0, &args.skip(2))
    });
    socket.on("others", |socket: Socket, Data((room, event)): Data<(Text, Text)>, args: RawArgs| {
        socket.to(room.0).emit(&event.0, &args.skip(2))
    });
    socket.on("except", |namespace: Namespace, args: RawArgs, Data((room, but, event)): Data<(Text, Text, Text)>| {
        namespace.to(room.0).except(but.0).emit(&event.0, &args.skip(3))
    });
    socket.on("two", |namespace: Namespace, args: RawArgs, Data((first, second, event)): Data<(Text, Text, Text)>| {
        namespace.to(first.0).to(second.0).emit(&event.0, &args.skip(3))
    });
}

fn questions(socket: &Socket) {
    socket.on("count", async |namespace: Namespace, Data(room): Data<Text>, ack: Ack| {
        let sockets = namespace.within(room.0).fetch_sockets().await?;
        ack.send(&sockets.len());
        Ok::<_, ringio::FetchError>(())
    });
    socket.on("whoami", |handshake: Handshake, transport: Transport, ack: Ack| {
        let mut query: Vec<_> = query_of(&handshake).into_iter().collect();
        query.sort_by(|(a, _), (b, _)| a.cmp(b));
        // A map of serde_json has its keys in order.
        let auth: Map<String, Value> = handshake.auth().unwrap_or_default();
        ack.send(&(auth.keys().collect::<Vec<_>>(), query, transport.as_str(), handshake.header("x-test")))
    });
}

fn query_of(handshake: &Handshake) -> Map<String, Value> {
    handshake.queries().map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect()
}

/// With the socket's own id under another name, because its place among the others would be another on each server.
fn sorted_rooms(socket: &Socket) -> Vec<String> {
    let itself = |room: String| if room == socket.id() { "(itself)".to_owned() } else { room };
    let mut rooms: Vec<String> = socket.rooms().into_iter().map(itself).collect();
    rooms.sort();
    rooms
}

/// What JavaScript's `String(value)` makes of an argument.
struct Text(String);

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Null => "undefined".to_owned(),
            other => other.to_string(),
        }))
    }
}
