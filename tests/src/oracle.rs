//! The suites `oracle` and `oracle-..` of the conformance program: what `tests/oracle/handlers.mjs` does on Node, for scripts
//! that are played against both.

use parking_lot::Mutex;
use ringio::{
    Ack, BroadcastAckError, Builder, ConnectError, Cookie, Cors, CorsOrigin, Data, DisconnectReason, EventName,
    Handshake, HttpCompression, Namespace, PerMessageDeflate, RawArgs, Server, Socket, Transport,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Nobody answers within it: the step that asked is not over before.
const HURRY: Duration = Duration::from_millis(20);
/// No script takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Questions whose time runs.
type Hurried = Arc<AtomicUsize>;

/// What the handlers heard: `[socket id or "engine", what, ...]`.
pub type Log = Arc<Mutex<Vec<Value>>>;

/// A large emit of the suites is no larger.
const BIG_BYTES_MAX: usize = 50_000;

/// The options of all: bodies over the limit are cheap then.
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

/// Those of `oracle-msgpack` besides.
pub fn msgpack_options(builder: Builder) -> Builder {
    builder.parser(ringio::parser::MsgpackParser::new())
}

/// Those of `oracle-deflate` besides.
pub fn deflate_options(builder: Builder) -> Builder {
    builder
        .per_message_deflate(PerMessageDeflate { threshold: 64, ..PerMessageDeflate::default() })
        .http_compression(HttpCompression { threshold_bytes: 64, ..HttpCompression::default() })
        .cleanup_empty_child_namespaces(true)
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
    let hurried = Hurried::default();
    control(io, log, &hurried, move || namespaces.iter().cloned().chain(children.children()).collect());

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
        let (log, hurried) = (Arc::clone(log), Arc::clone(&hurried));
        namespace
            .on_connection(move |socket: Socket, handshake: Handshake| attach(&socket, &handshake, &log, &hurried));
    }
    let log = Arc::clone(log);
    dynamic.on_connection(move |socket: Socket, handshake: Handshake| attach(&socket, &handshake, &log, &hurried));
}

/// The namespace of the player itself.
fn control(
    io: &Server,
    log: &Log,
    hurried: &Hurried,
    namespaces: impl Fn() -> Vec<Namespace> + Clone + Send + Sync + 'static,
) {
    let control = io.of("/control");
    let all = namespaces.clone();
    let hurried = Arc::clone(hurried);
    control.sockets_on("barrier", async move |ack: Ack| {
        while hurried.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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

fn attach(socket: &Socket, handshake: &Handshake, log: &Log, hurried: &Hurried) {
    listen_to_everything(socket, handshake, log);
    back_to_the_sender(socket, log);
    rooms(socket);
    others(socket);
    questions(socket);
    deadlines(socket, log, hurried);

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
    let kept = socket.data().get::<Value>("kept");
    log.lock().push(json!([socket.id(), "connection", auth, query_of(handshake), socket.is_recovered(), kept]));

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
    socket.on("spare", |namespace: Namespace, Data((room, close)): Data<(Text, Value)>| {
        namespace.except(room.0).disconnect_sockets(close == Value::Bool(true))
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
    socket.on(
        "mixed",
        |socket: Socket, args: RawArgs, Data((a, b, c, d, event)): Data<(Text, Text, Text, Text, Text)>| {
            socket.to([a.0, b.0]).except([c.0, d.0]).emit(&event.0, &args.skip(5))
        },
    );
    socket.on("loose", |namespace: Namespace, Data((room, event)): Data<(Text, Text)>, args: RawArgs| {
        namespace.to(room.0).volatile().emit(&event.0, &args.skip(2))
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
    socket.on("keep", |socket: Socket, args: RawArgs, ack: Ack| {
        socket.data().insert("kept", &args.get::<Value>(0).unwrap_or_default())?;
        ack.send(&());
        Ok::<_, serde_json::Error>(())
    });
    socket.on("peers", async |namespace: Namespace, args: RawArgs, Data(room): Data<Text>, ack: Ack| {
        let fetched = namespace.within(room.0).fetch_sockets().await;
        let sockets = fetched.map_err(|error| error.to_string())?;
        let mut peers: Vec<Value> = sockets
            .iter()
            .map(|one| {
                let itself = |room: &String| if room == one.id() { "(itself)".to_owned() } else { room.clone() };
                let mut rooms: Vec<String> = one.rooms().iter().map(itself).collect();
                rooms.sort();
                let handshake = one.handshake();
                let auth: Map<String, Value> = handshake.auth().unwrap_or_default();
                let transport = query_of(handshake).remove("transport");
                json!([
                    rooms,
                    one.data().get::<Value>("kept"),
                    auth.keys().collect::<Vec<_>>(),
                    transport,
                    handshake.header("x-test")
                ])
            })
            .collect();
        peers.sort_by_cached_key(Value::to_string);
        ack.send(&list(&args, peers).map_err(|error| error.to_string())?);
        Ok::<_, String>(())
    });
    socket.on("whoami", |handshake: Handshake, transport: Transport, ack: Ack| {
        let mut query: Vec<_> = query_of(&handshake).into_iter().collect();
        query.sort_by(|(a, _), (b, _)| a.cmp(b));
        // A map of serde_json has its keys in order.
        let auth: Map<String, Value> = handshake.auth().unwrap_or_default();
        ack.send(&(auth.keys().collect::<Vec<_>>(), query, transport.as_str(), handshake.header("x-test")))
    });
}

fn deadlines(socket: &Socket, log: &Log, hurried: &Hurried) {
    let heard = Arc::clone(log);
    let running = Arc::clone(hurried);
    socket.on("hurry", move |socket: Socket, args: RawArgs| {
        let (log, running) = (Arc::clone(&heard), Arc::clone(&running));
        running.fetch_add(1, Ordering::Relaxed);
        socket.timeout(HURRY).emit_with_ack::<RawArgs>("question", &args).on_reply(move |answer| {
            running.fetch_sub(1, Ordering::Relaxed);
            if socket.is_connected() {
                log.lock().push(json!([socket.id(), "hurried", answer.is_err()]));
                socket.emit("hurried", &answer.is_err());
            }
        });
    });
    let log = Arc::clone(log);
    let running = Arc::clone(hurried);
    socket.on("survey", async move |socket: Socket, Data((room, patient)): Data<(Text, Value)>, args: RawArgs| {
        let is_patient = patient == Value::Bool(true);
        if !is_patient {
            running.fetch_add(1, Ordering::Relaxed);
        }
        let room = socket.namespace().to(room.0).timeout(if is_patient { PATIENCE } else { HURRY });
        let answers = room.emit_with_ack::<Value>("question", &args.skip(2)).await;
        if !is_patient {
            running.fetch_sub(1, Ordering::Relaxed);
        }
        let is_late = answers.is_err();
        if !socket.is_connected() || is_patient && is_late {
            return Ok(());
        }
        let answers = answers.unwrap_or_else(|error| match error {
            BroadcastAckError::Incomplete { responses } => responses,
            _ => Vec::new(),
        });
        log.lock().push(json!([socket.id(), "surveyed", is_late, answers.len()]));
        socket.emit("surveyed", &list(&args, std::iter::once(Value::Bool(is_late)).chain(answers))?);
        Ok::<_, serde_json::Error>(())
    });
}

/// Arguments instead of those that came.
fn list(came: &RawArgs, values: impl IntoIterator<Item = Value>) -> Result<RawArgs, serde_json::Error> {
    let mut args = came.skip(came.len());
    values.into_iter().try_for_each(|value| args.push(&value))?;
    Ok(args)
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
