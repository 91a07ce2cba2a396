//! The suite `cluster` of the conformance program: three servers in one process that act as one.

use parking_lot::Mutex;
use ringio::cluster::{LocalCluster, ServerSideError};
use ringio::{
    Ack, BroadcastAckError, Builder, Bytes, Data, IntoRooms, Namespace, RawArgs, Server, ServerSideAck, Socket,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What happened to rooms, as the Node server's adapter names it.
type Changes = Arc<Mutex<Vec<Value>>>;

/// The servers: the first one listens where the caller says, the others on ports that the kernel chooses.
///
/// # Errors
/// One of them cannot be built or started.
pub fn start(apply: impl Fn(Builder) -> Builder, port: u16) -> ringio::Result<Vec<ringio::ServerHandle>> {
    let (cluster, ports) = (LocalCluster::new(), Arc::<Mutex<Vec<u16>>>::default());
    let mut running = Vec::new();
    for number in 0..3 {
        let builder = Server::builder().adapter(cluster.clone()).requests_timeout(Duration::from_secs(5));
        let io = apply(builder).build()?;
        handlers(&io, number, &ports);
        let handle = io.start(if number == 0 { port } else { 0 })?;
        ports.lock().push(handle.local_addr().port());
        running.push(handle);
    }
    Ok(running)
}

fn sorted<T: Into<Value>>(list: impl IntoIterator<Item = T>) -> Value {
    let mut list: Vec<Value> = list.into_iter().map(Into::into).collect();
    list.sort_by_key(Value::to_string);
    Value::Array(list)
}

fn handlers(io: &Server, number: usize, ports: &Arc<Mutex<Vec<u16>>>) {
    let ports = Arc::clone(ports);
    io.sockets_on("ports", move |ack: Ack| ack.send(&*ports.lock()));
    io.on_connection(move |socket: Socket| socket.data().insert("server", &number).map_err(|error| error.to_string()));
    io.sockets_on("number", move |ack: Ack| ack.send(&number));
    io.sockets_on("ack", |args: RawArgs, ack: Ack| ack.send(&args));
    io.sockets_on("join", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.join(room);
        ack.send(&())
    });
    broadcasts(io);
    sockets(io);
    servers(io, number);
    rooms(io);
}

fn broadcasts(io: &Server) {
    io.sockets_on("all", |namespace: Namespace, Data(event): Data<String>, args: RawArgs| {
        namespace.emit(&event, &args.skip(1))
    });
    io.sockets_on("local", |namespace: Namespace, Data(event): Data<String>, args: RawArgs| {
        namespace.local().emit(&event, &args.skip(1))
    });
    io.sockets_on("broadcast", |socket: Socket, Data(event): Data<String>, args: RawArgs| {
        socket.broadcast().emit(&event, &args.skip(1))
    });
    io.sockets_on("room", |namespace: Namespace, args: RawArgs| {
        let (room, except, event): (Rooms, Rooms, String) = (args.get(0)?, args.get(1)?, args.get(2)?);
        namespace.to(room).except(except).emit(&event, &args.skip(3));
        Ok::<_, ringio::ArgumentError>(())
    });
    io.sockets_on("sockets_join", |namespace: Namespace, Data((from, room)): Data<(Rooms, String)>| {
        namespace.to(from).sockets_join(room)
    });
    io.sockets_on("sockets_leave", |namespace: Namespace, Data((from, room)): Data<(Rooms, String)>| {
        namespace.to(from).sockets_leave(room)
    });
    io.sockets_on("disconnect_room", |namespace: Namespace, Data((room, close)): Data<(String, bool)>| {
        namespace.to(room).disconnect_sockets(close)
    });
    io.sockets_on("survey", async |namespace: Namespace, Data((room, ms)): Data<(Rooms, u64)>, ack: Ack| {
        let whom = namespace.to(room.clone()).timeout(Duration::from_millis(ms));
        match whom.emit_with_ack::<Value>("question", &room.0).await {
            Ok(answers) => ack.send(&((true, sorted(answers)),)),
            Err(BroadcastAckError::Incomplete { responses }) => ack.send(&((false, sorted(responses)),)),
            Err(error) => ack.send(&((false, error.to_string()),)),
        }
    });
}

/// One room, or several as a list.
#[derive(Clone, serde::Deserialize)]
struct Rooms(Value);

impl IntoRooms for Rooms {
    fn for_each_room(self, each: &mut dyn FnMut(&str)) {
        match &self.0 {
            Value::Array(rooms) => rooms.iter().filter_map(Value::as_str).for_each(each),
            room => room.as_str().into_iter().for_each(each),
        }
    }
}

fn sockets(io: &Server) {
    io.sockets_on("fetch", async |namespace: Namespace, Data(room): Data<Rooms>, ack: Ack| {
        let found = namespace.to(room).fetch_sockets().await?;
        let described = found.iter().map(|socket| {
            json!({
                "id": socket.id(),
                "rooms": sorted(socket.rooms().iter().map(String::as_str)),
                "data": socket.data().to_json(),
                "auth": socket.handshake().auth::<Value>().unwrap_or_default(),
                "transport": socket.handshake().query("transport"),
            })
        });
        ack.send(&sorted(described));
        Ok::<_, ringio::FetchError>(())
    });
    io.sockets_on("remote", async |namespace: Namespace, args: RawArgs, ack: Ack| {
        let part = |at| args.get::<Value>(at).map_err(|error| error.to_string());
        let (id, what, value) = (part(0)?, part(1)?, part(2)?);
        let (id, what) = (id.as_str().unwrap_or_default(), what.as_str().unwrap_or_default());
        let found = namespace.to(id).fetch_sockets().await.map_err(|error| error.to_string())?;
        let [other] = &found[..] else { return Err(format!("{} sockets", found.len())) };
        match what {
            "emit" => other.emit("poked", &value),
            "join" => other.join(value.as_str().unwrap_or_default()),
            "leave" => other.leave(value.as_str().unwrap_or_default()),
            "disconnect" => other.disconnect(value == json!(true)),
            _ => {
                let timeout = Duration::from_millis(value.as_u64().unwrap_or_default());
                let answer = other.timeout(timeout).emit_with_ack::<Value>("question", "remote").await;
                return Ok(match answer {
                    Ok(answer) => ack.send(&((true, answer),)),
                    Err(_) => ack.send(&((false, ()),)),
                });
            }
        };
        Ok(ack.send(&()))
    });
}

fn servers(io: &Server, number: usize) {
    let here = io.clone();
    io.on_server_side("heard", move |mut args: RawArgs| {
        args.push_front(&number)?;
        here.local().emit("heard", &args);
        Ok::<_, serde_json::Error>(())
    });
    io.on_server_side("number", move |ack: ServerSideAck| ack.send(&(number, "ignored")));
    io.on_server_side("number", |ack: ServerSideAck| ack.send("too late"));
    io.on_server_side("double", |Data(bytes): Data<Bytes>, ack: ServerSideAck| {
        ack.send(&Bytes::from([&bytes[..], &bytes[..]].concat()))
    });
    if number == 2 {
        io.on_server_side("of the last", |ack: ServerSideAck| ack.send("last"));
    }
    io.sockets_on("servers", |namespace: Namespace, args: RawArgs| namespace.server_side_emit("heard", &args));
    io.sockets_on("ask servers", async |namespace: Namespace, args: RawArgs, ack: Ack| {
        let event: String = args.get(0)?;
        if event == "double" {
            let answers = namespace.server_side_emit_with_ack::<Bytes>(&event, &args.skip(1)).await;
            ack.send(&((answers.is_ok(), answers.unwrap_or_default(), ()),));
            return Ok(());
        }
        match namespace.server_side_emit_with_ack::<Value>(&event, &args.skip(1)).await {
            Ok(answers) => ack.send(&((true, sorted(answers), ()),)),
            Err(error) => {
                let text = error.to_string();
                let ServerSideError::Timeout { responses, .. } = error else { return Ok(()) };
                ack.send(&((false, sorted(responses), text),))
            }
        };
        Ok::<_, ringio::ArgumentError>(())
    });
    io.sockets_on("reserved", |namespace: Namespace, Data(event): Data<String>, ack: Ack| {
        let is_refused = !namespace.server_side_emit(&event, &()).is_ok();
        ack.send(&is_refused)
    });
    io.sockets_on("server count", async |namespace: Namespace, ack: Ack| {
        ack.send(&namespace.server_count().await.unwrap_or_default())
    });
}

fn rooms(io: &Server) {
    let changes = Changes::default();
    let note = |mark: &'static str| {
        let changes = Arc::clone(&changes);
        move |room: &str, id: Option<&str>| {
            changes.lock().push(match id {
                Some(id) => json!([mark, room, id]),
                None => json!([mark, room]),
            });
        }
    };
    let [create, join, leave, delete] = ["create", "join", "leave", "delete"].map(note);
    io.on_create_room(move |room| create(room, None));
    io.on_join_room(move |room, id| join(room, Some(id)));
    io.on_leave_room(move |room, id| leave(room, Some(id)));
    io.on_delete_room(move |room| delete(room, None));
    io.sockets_on("changes", move |ack: Ack| ack.send(&std::mem::take(&mut *changes.lock())));
}
