//! The servers that the conformance tests talk to, one per suite, written with the public API as a user would.
//!
//! ```text
//! conformance SUITE --port N [--shards N] [--driver auto|uring|epoll] [--path /socket.io] [--parser default|msgpack|cbor]
//!                   [--busy-poll MICROSECONDS] [--memory-max BYTES] [--drain MILLISECONDS]
//!                   [--deflate] [--recovery] [--namespaces N]      the measured variants of `bench`
//! ```
//! Prints `ready` when it listens; ends at SIGTERM with code 0. `tests/conformance/README.md` describes the suites.

#[path = "../../../engine/server/examples/cbor_parser/parser.rs"]
mod cbor_parser;

use cbor_parser::CborParser;
use clap::{Parser, ValueEnum};
use parking_lot::Mutex;
use ringio::engine::EngineServer;
use ringio::parser::MsgpackParser;
use ringio::{
    Ack, Address, BroadcastAckError, Builder, ConnectError, Cors, CorsOrigin, Data, DisconnectReason, Driver,
    EventName, Handshake, Namespace, PerMessageDeflate, RawArgs, Server, Socket, Transport, drain_on_signals,
    stop_on_signals,
};
use ringio_tests::gates::Gates;
use ringio_tests::oracle;
use ringio_tests::tls::{self, ClientCertificates};
use ringio_tests::{client, cluster, compression, connections, dynamic, emits, listeners, packets, requests};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The bundles that the Node server would serve.
const CLIENT_FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/node_modules/socket.io/client-dist");

#[derive(Parser)]
struct Options {
    suite: Suite,
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// One per core by default.
    #[arg(long)]
    shards: Option<usize>,
    #[arg(long, default_value = "auto")]
    driver: DriverName,
    #[arg(long)]
    path: Option<String>,
    #[arg(long, default_value = "default")]
    parser: ParserName,
    /// Listen on the Unix socket of this path instead of a port.
    #[arg(long)]
    unix: Option<PathBuf>,
    /// Listen on the sockets that were passed to the process, instead of a port.
    #[arg(long)]
    inherited: bool,
    /// Speak TLS, with `chain.pem` and `key.pem` of this folder; what `ca.pem` has signed is a client certificate that is accepted.
    #[arg(long)]
    tls: Option<PathBuf>,
    /// Whether clients are asked for certificates.
    #[arg(long, default_value = "none")]
    client_certificates: ClientCertificates,
    /// Compresses messages of any length, where clients offer it.
    #[arg(long)]
    deflate: bool,
    /// Clients that lost their connection come back to what they missed.
    #[arg(long)]
    recovery: bool,
    /// How long a client is silent before it is pinged, where no ping may come between. Milliseconds.
    #[arg(long)]
    ping_interval: Option<u64>,
    /// How long a pong is waited for. Milliseconds. Longer than the suite's, nobody is sent away because a busy machine lets its pong wait.
    #[arg(long)]
    ping_timeout: Option<u64>,
    /// How long a client may join nothing. Milliseconds.
    #[arg(long)]
    connect_timeout: Option<u64>,
    /// Resident bytes that the process may have. No heartbeat ends clients that are stuck, so that whatever ends them is this.
    #[arg(long)]
    memory_max: Option<u64>,
    /// Shards look on for so many microseconds before they sleep.
    #[arg(long, default_value_t = 0)]
    busy_poll: u64,
    /// At a signal clients are sent away over this time. Milliseconds. Without it all go at once.
    #[arg(long)]
    drain: Option<u64>,
    /// `bench` serves the namespaces /n0, /n1, ... too.
    #[arg(long, default_value_t = 0)]
    namespaces: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum ParserName {
    Default,
    Msgpack,
    Cbor,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    EngineV4,
    Attacked,
    Budgeted,
    Compression,
    CompressionContext,
    Websocket,
    WebsocketContext,
    SocketioV5,
    Bench,
    Client,
    Emits,
    Files,
    Clients,
    Guarded,
    Recovery,
    Requests,
    Cookies,
    Packets,
    Connections,
    Dynamic,
    DynamicCleanup,
    Listeners,
    Cluster,
    Cors,
    EngineV3,
    ClientsV2,
    ClientsV2Recovery,
    Oracle,
    OracleOld,
    OracleRecovery,
    OracleMsgpack,
    OracleDeflate,
}

#[derive(Clone, Copy, ValueEnum)]
enum DriverName {
    Auto,
    Uring,
    Epoll,
}

impl Options {
    fn apply(&self, mut builder: Builder) -> Builder {
        builder = builder.driver(match self.driver {
            DriverName::Auto => Driver::Auto,
            DriverName::Uring => Driver::Uring,
            DriverName::Epoll => Driver::Epoll,
        });
        builder = match self.parser {
            ParserName::Default => builder,
            ParserName::Msgpack => builder.parser(MsgpackParser::new()),
            ParserName::Cbor => builder.parser(CborParser { part_bytes_max: 1000 }),
        };
        builder = builder.busy_poll(Duration::from_micros(self.busy_poll));
        if let Some(shards) = self.shards {
            builder = builder.shards(shards);
        }
        if let Some(path) = &self.path {
            builder = builder.path(path);
        }
        if let Some(bytes) = self.memory_max {
            builder = builder.memory_max(bytes).ping_interval(Duration::from_secs(3600));
        }
        if self.deflate {
            builder = builder.per_message_deflate(PerMessageDeflate { threshold: 0, ..PerMessageDeflate::default() });
        }
        if let Some(ms) = self.ping_interval {
            builder = builder.ping_interval(Duration::from_millis(ms));
        }
        if let Some(ms) = self.ping_timeout {
            builder = builder.ping_timeout(Duration::from_millis(ms));
        }
        if let Some(ms) = self.connect_timeout {
            builder = builder.connect_timeout(Duration::from_millis(ms));
        }
        if self.recovery {
            builder = builder.connection_state_recovery(Duration::from_secs(120), true);
        }
        builder
    }
}

fn main() -> ringio::Result<()> {
    let options = Options::parse();
    match options.suite {
        Suite::Compression | Suite::CompressionContext => {
            let keeps_context = matches!(options.suite, Suite::CompressionContext);
            serve(&options, compression::options(Server::builder(), keeps_context), |io| {
                clients(io);
                compression::handlers(io);
            })
        }
        Suite::Websocket => websocket_echo(&options, true),
        Suite::WebsocketContext => websocket_echo(&options, false),
        Suite::EngineV4 => engine_echo(&options, false),
        Suite::EngineV3 => engine_echo(&options, true),
        Suite::ClientsV2 => serve(&options, Server::builder().allow_eio3(true), clients_v2),
        Suite::ClientsV2Recovery => {
            let builder = Server::builder().connection_state_recovery(Duration::from_secs(60), true);
            serve(&options, builder.allow_eio3(true), clients_v2)
        }
        Suite::SocketioV5 => serve(&options, short_heartbeats(Server::builder()), socketio_v5),
        Suite::Bench => serve(&options, Server::builder(), |io| {
            bench(io, "/");
            (0..options.namespaces).for_each(|index| bench(io, &format!("/n{index}")));
        }),
        Suite::Attacked => serve(&options, impatient(Server::builder()), |io| bench(io, "/")),
        Suite::Budgeted => {
            let builder = impatient(Server::builder()).connections_per_address_max(40);
            serve(&options, builder.handshakes_per_address_per_second(20), |io| bench(io, "/"))
        }
        Suite::Emits => serve(&options, Server::builder(), emits::handlers),
        Suite::Files => serve(&options, Server::builder().serve_client(CLIENT_FILES), clients),
        Suite::Client => serve(&options, client::options(Server::builder()), client::handlers),
        Suite::Clients => serve(&options, Server::builder(), clients),
        Suite::Guarded => serve(&options, Server::builder(), guarded),
        Suite::Recovery => {
            let builder = Server::builder().connection_state_recovery(Duration::from_secs(60), true);
            serve(&options, builder, recovery)
        }
        Suite::Dynamic => serve(&options, dynamic::options(Server::builder()), dynamic::handlers),
        Suite::Connections => {
            let sessions = connections::Sessions::default();
            serve(&options, connections::options(Server::builder(), &sessions), |io| {
                connections::handlers(io, &sessions);
            })
        }
        Suite::DynamicCleanup => {
            serve(&options, Server::builder().cleanup_empty_child_namespaces(true), dynamic::handlers)
        }
        Suite::Cluster => serve_cluster(&options),
        Suite::Listeners => serve(&options, Server::builder(), listeners::handlers),
        Suite::Packets => serve(&options, Server::builder(), packets::handlers),
        Suite::Requests => {
            let refusals = requests::Refusals::default();
            let builder = requests::options(Server::builder(), &refusals);
            serve(&options, builder, |io| requests::handlers(io, &refusals))
        }
        Suite::Cookies => serve(&options, requests::cookies(Server::builder()), |_| ()),
        Suite::Oracle => serve_oracle(&options, Server::builder()),
        Suite::OracleOld => serve_oracle(&options, oracle::old_options(Server::builder())),
        Suite::OracleRecovery => serve_oracle(&options, oracle::recovery_options(Server::builder())),
        Suite::OracleMsgpack => serve_oracle(&options, oracle::msgpack_options(Server::builder())),
        Suite::OracleDeflate => serve_oracle(&options, oracle::deflate_options(Server::builder())),
        Suite::Cors => {
            let origin = CorsOrigin::List(vec!["http://a.test".to_owned()]);
            let exposed_headers = vec!["X-Shown".to_owned()];
            let builder =
                Server::builder().serve_client(CLIENT_FILES).cors(Cors { origin, exposed_headers, ..Cors::default() });
            serve(&options, builder, clients)
        }
    }
}

fn serve(options: &Options, builder: Builder, suite: impl Fn(&Server)) -> ringio::Result<()> {
    let io = options.apply(builder).build()?;
    suite(&io);
    match options.drain {
        Some(millis) => drain_on_signals(&io, Duration::from_millis(millis))?,
        None => stop_on_signals(&io)?,
    }
    let running = match &options.tls {
        None if options.inherited => io.start(Address::inherited()?)?,
        None if options.unix.is_some() => {
            io.start(options.unix.clone().map(Address::unix).into_iter().collect::<Vec<_>>())?
        }
        None => io.start(options.port)?,
        Some(folder) => {
            let tls = tls::from_folder(folder, options.client_certificates)?;
            tls::handlers(&io, &tls, folder, options.client_certificates);
            io.start(tls.on(options.port))?
        }
    };
    say_ready();
    running.join();
    Ok(())
}

fn serve_oracle(options: &Options, builder: Builder) -> ringio::Result<()> {
    let log = oracle::Log::default();
    serve(options, oracle::options(builder, &log), |io| oracle::handlers(io, &log))
}

fn serve_cluster(options: &Options) -> ringio::Result<()> {
    let servers = cluster::start(|builder| options.apply(builder), options.port)?;
    say_ready();
    servers.iter().for_each(ringio::ServerHandle::join);
    Ok(())
}

fn say_ready() {
    let mut out = std::io::stdout();
    // Whoever started us may read no further than this line, or not at all.
    let _ = writeln!(out, "ready").and_then(|()| out.flush());
}

/// What the official suites of the protocols ask for; they wait for heartbeats.
fn short_heartbeats(builder: Builder) -> Builder {
    builder
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200))
        .max_http_buffer_size(1_000_000)
        .connect_timeout(Duration::from_secs(1))
}

/// Every deadline that can be set, short: attacks wait for them.
fn impatient(builder: Builder) -> Builder {
    let patience = Duration::from_secs(5);
    builder.ping_interval(patience).ping_timeout(patience).upgrade_timeout(patience).connect_timeout(patience)
}

/// Plain WebSocket for the fuzzing suite: messages up to 16 MiB, compressed whatever their length.
fn websocket_echo(options: &Options, forgets: bool) -> ringio::Result<()> {
    let deflate = PerMessageDeflate {
        threshold: 0,
        server_no_context_takeover: forgets,
        client_no_context_takeover: forgets,
        ..PerMessageDeflate::default()
    };
    // The suite takes a ping that it did not ask for as the end of a long case.
    let builder = EngineServer::builder().path("/").ping_interval(Duration::from_secs(24 * 3600));
    let builder = builder.max_http_buffer_size(16 << 20).outbox_bytes_max(64 << 20);
    echo(options, &options.apply(builder.per_message_deflate(deflate)).build_websocket()?)
}

/// Echoes every message of Engine.IO.
fn engine_echo(options: &Options, allow_eio3: bool) -> ringio::Result<()> {
    echo(options, &options.apply(short_heartbeats(EngineServer::builder()).allow_eio3(allow_eio3)).build_engine()?)
}

fn echo(options: &Options, engine: &EngineServer) -> ringio::Result<()> {
    engine.on_message(|session, message| {
        session.send(message);
    });
    engine.stop_on_signals()?;
    engine.start(options.port)?;
    say_ready();
    engine.join();
    Ok(())
}

fn socketio_v5(io: &Server) {
    for name in ["/", "/custom"] {
        io.of(name).on_connection(|socket: Socket, handshake: Handshake| {
            // As it came: a `Value` would sort its keys.
            if let Ok(auth) = handshake.auth::<Box<RawValue>>() {
                socket.emit("auth", &auth);
            }
            socket.on("message", |socket: Socket, args: RawArgs| socket.emit("message-back", &args));
            socket.on("message-with-ack", |args: RawArgs, ack: Ack| ack.send(&args));
        });
    }
}

fn bench(server: &Server, namespace: &str) {
    let io = server.of(namespace);
    let everyone = io.clone();
    io.sockets_on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", &args));
    io.sockets_on("ack", |args: RawArgs, ack: Ack| ack.send(&args));
    io.sockets_on("broadcast", move |args: RawArgs| everyone.emit("broadcast", &args));
    io.sockets_on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
    let everyone = io.clone();
    io.sockets_on("room", move |Data(room): Data<String>, args: RawArgs| everyone.to(room).emit("room", &args.skip(1)));
    io.sockets_on("bin", |socket: Socket, args: RawArgs| socket.emit("bin", &args));
    let counted = server.clone();
    io.sockets_on("shed", async move |ack: Ack| {
        let counters = counted.shard_counters().await;
        let sum = |each: fn(&ringio::Counters) -> u64| counters.iter().map(each).sum::<u64>();
        ack.send(&(sum(|counters| counters.shed_sessions), sum(|counters| counters.shed_handshakes)))
    });
    let counted = server.clone();
    io.sockets_on("holdings", async move |ack: Ack| {
        let counters = counted.shard_counters().await;
        let sum = |each: fn(&ringio::Counters) -> u64| counters.iter().map(each).sum::<u64>();
        ack.send(&[
            sum(|counters| counters.connections_now),
            sum(|counters| counters.sessions_now),
            sum(|counters| counters.sockets_now),
            sum(|counters| counters.rooms_now),
            sum(|counters| counters.timers_now),
            sum(|counters| counters.questions_now),
            sum(|counters| counters.receive_bytes_held),
            sum(|counters| counters.sessions_opened),
            sum(|counters| counters.sessions_closed),
        ])
    });
    let server = server.clone();
    io.sockets_on("clients", async move |ack: Ack| ack.send(&server.engine().clients_count().await));
}

fn clients(io: &Server) {
    for name in ["/", "/admin"] {
        let namespace = io.of(name);
        back_to_the_sender(&namespace);
        rooms(&namespace);
        questions(&namespace);
        ends(&namespace);
    }
}

/// `clients`, and `/guarded`, whose middleware refuses.
fn clients_v2(io: &Server) {
    clients(io);
    let guarded = io.of("/guarded");
    back_to_the_sender(&guarded);
    guarded.with_middleware(|socket: Socket| {
        let auth: Value = socket.handshake().auth().unwrap_or_default();
        match auth.get("why") {
            Some(why) => {
                Err(ConnectError::new("refused").with_data(&json!({ "why": why })).unwrap_or_else(|_| "?".into()))
            }
            None => Err(ConnectError::new("refused")),
        }
    });
}

fn back_to_the_sender(namespace: &Namespace) {
    namespace.sockets_on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", &args));
    namespace.sockets_on("bin", |socket: Socket, args: RawArgs| socket.emit("bin", &args));
    namespace.sockets_on("ack", |args: RawArgs, ack: Ack| ack.send(&args));
    namespace.sockets_on("slow", async |Data((ms, value)): Data<(u64, Value)>, ack: Ack| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ack.send(&value)
    });
    let gates = Gates::default();
    gates.handlers(namespace);
    namespace.sockets_on("hold", async move |Data(name): Data<String>, ack: Ack| {
        gates.pass(&name).await;
        ack.send(&name)
    });
    namespace.sockets_on("survey", async |socket: Socket, args: RawArgs| survey(&socket, LONG, &args).await);
    namespace.sockets_on("survey_within", async |socket: Socket, Data(ms): Data<u64>, args: RawArgs| {
        survey(&socket, Duration::from_millis(ms), &args.skip(1)).await
    });
    namespace.sockets_on("askme", async |socket: Socket, args: RawArgs| ask(&socket, LONG, &args).await);
    namespace.sockets_on("askme_within", async |socket: Socket, Data(ms): Data<u64>, args: RawArgs| {
        ask(&socket, Duration::from_millis(ms), &args.skip(1)).await
    });
}

/// Longer than a busy machine lets an answer wait.
const LONG: Duration = Duration::from_secs(20);

async fn survey(socket: &Socket, timeout: Duration, args: &RawArgs) -> Result<(), ringio::ArgumentError> {
    let room: String = args.get(0)?;
    let room = socket.namespace().to(room).timeout(timeout);
    match room.emit_with_ack::<Value>("question", &args.skip(1)).await {
        Ok(answers) => socket.emit("surveyed", &(true, answers)),
        Err(BroadcastAckError::Incomplete { responses }) => socket.emit("surveyed", &(false, responses)),
        Err(error) => socket.emit("surveyed", &(false, error.to_string())),
    };
    Ok(())
}

async fn ask(socket: &Socket, timeout: Duration, args: &RawArgs) -> Result<(), serde_json::Error> {
    match socket.timeout(timeout).emit_with_ack::<RawArgs>("question", args).await {
        Ok(mut answer) => {
            answer.push_front(&true)?;
            socket.emit("answer", &answer);
        }
        Err(_) => {
            socket.emit("answer", &(false, ()));
        }
    }
    Ok(())
}

/// Who is where and who hears what.
fn rooms(namespace: &Namespace) {
    namespace.sockets_on("join", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.join(room);
        ack.send(&())
    });
    namespace.sockets_on("leave", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.leave(room);
        ack.send(&())
    });
    namespace.sockets_on("rooms", |socket: Socket, ack: Ack| {
        let mut rooms = socket.rooms();
        rooms.sort();
        ack.send(&rooms)
    });
    namespace.sockets_on("all", |namespace: Namespace, Data(event): Data<String>, args: RawArgs| {
        namespace.emit(&event, &args.skip(1))
    });
    namespace.sockets_on("broadcast", |socket: Socket, Data(event): Data<String>, args: RawArgs| {
        socket.broadcast().emit(&event, &args.skip(1))
    });
    namespace.sockets_on("room", |namespace: Namespace, Data((room, event)): Data<(String, String)>, args: RawArgs| {
        namespace.to(room).emit(&event, &args.skip(2))
    });
    namespace.sockets_on("others", |socket: Socket, Data((room, event)): Data<(String, String)>, args: RawArgs| {
        socket.to(room).emit(&event, &args.skip(2))
    });
    namespace.sockets_on(
        "two_rooms",
        |namespace: Namespace, args: RawArgs, Data((first, second, event)): Data<(String, String, String)>| {
            namespace.to(first).to(second).emit(&event, &args.skip(3))
        },
    );
    namespace.sockets_on(
        "except",
        |namespace: Namespace, args: RawArgs, Data((room, except, event)): Data<(String, String, String)>| {
            namespace.to(room).except(except).emit(&event, &args.skip(3))
        },
    );
}

/// About the namespace, on whichever shards its sockets live.
fn questions(namespace: &Namespace) {
    namespace.sockets_on("whoami", |socket: Socket, handshake: Handshake, transport: Transport, ack: Ack| {
        let auth: Value = handshake.auth().unwrap_or_default();
        let query: Map<String, Value> =
            handshake.queries().map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect();
        ack.send(&json!({ "id": socket.id(), "auth": auth, "query": query, "transport": transport.as_str() }))
    });
    namespace.sockets_on("count", async |namespace: Namespace, ack: Ack| {
        let sockets = namespace.fetch_sockets().await?;
        ack.send(&sockets.len());
        Ok::<_, ringio::FetchError>(())
    });
    namespace.sockets_on("peers", async |namespace: Namespace, Data(room): Data<String>, ack: Ack| {
        let sockets = namespace.within(room).fetch_sockets().await?;
        let mut ids: Vec<&str> = sockets.iter().map(|socket| socket.id()).collect();
        ids.sort_unstable();
        ack.send(&ids);
        Ok::<_, ringio::FetchError>(())
    });
    namespace.sockets_on("sockets_join", |namespace: Namespace, Data((from, to)): Data<(String, String)>, ack: Ack| {
        namespace.within(from).sockets_join(to);
        ack.send(&())
    });
    namespace.sockets_on(
        "sockets_leave",
        |namespace: Namespace, Data((from, room)): Data<(String, String)>, ack: Ack| {
            namespace.within(from).sockets_leave(room);
            ack.send(&())
        },
    );
}

type Ended = (&'static str, String, &'static str, usize, bool);

/// How sockets end, and what the server heard of it.
fn ends(namespace: &Namespace) {
    namespace.sockets_on("kickme", |socket: Socket, Data(close): Data<Option<bool>>| {
        socket.disconnect(close.unwrap_or(false));
    });
    namespace.sockets_on(
        "disconnect_room",
        |namespace: Namespace, Data((room, close)): Data<(String, Option<bool>)>| {
            namespace.within(room).disconnect_sockets(close.unwrap_or(false))
        },
    );
    let ended: Arc<Mutex<Vec<Ended>>> = Arc::default();
    let note = |event: &'static str| {
        let log = Arc::clone(&ended);
        move |socket: Socket, reason: DisconnectReason| {
            let rooms = socket.rooms().len();
            log.lock().push((event, socket.id().to_owned(), reason.as_str(), rooms, socket.is_connected()));
        }
    };
    namespace.on_disconnecting(note("disconnecting"));
    namespace.on_disconnect(note("disconnect"));
    namespace.sockets_on("reasons", move |ack: Ack| ack.send(&*ended.lock()));
    namespace.sockets_on("panic", panic_as_asked);
}

/// Middlewares of `/`, as the auth payload asks for; `/open` has none.
fn guarded(io: &Server) {
    io.with_middleware(|socket: Socket| {
        socket.join("from middleware");
        socket.emit("early", &socket.is_connected());
        let auth: Value = socket.handshake().auth().unwrap_or_default();
        match auth.get("refuse") {
            Some(why) => {
                Err(ConnectError::new("refused").with_data(&json!({ "why": why })).unwrap_or_else(|_| "?".into()))
            }
            None => Ok(()),
        }
    });
    let gates = Gates::default();
    gates.handlers(&io.of("/open"));
    io.with_middleware(async move |socket: Socket| {
        let auth: Value = socket.handshake().auth().unwrap_or_default();
        if let Some(name) = auth.get("hold").and_then(Value::as_str) {
            gates.pass(name).await;
        }
        if let Some(ms) = auth.get("wait").and_then(Value::as_u64) {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        assert!(auth.get("panic").is_none(), "a client asked for a panic: it costs its connection to the namespace");
        let _ = socket.data().insert("waited", &auth.get("wait"));
        if auth.get("late").is_some() { Err("refused late") } else { Ok(()) }
    });
    io.on_connection(|socket: Socket| {
        let rooms: Vec<String> = socket.rooms().into_iter().filter(|room| room != socket.id()).collect();
        socket.emit("welcome", &(socket.is_connected(), rooms, socket.data().get::<Value>("waited")));
    });
    for name in ["/", "/open"] {
        io.of(name).sockets_on("members", async |namespace: Namespace, ack: Ack| {
            let members = namespace.server().within("from middleware").fetch_sockets().await?;
            ack.send(&members.len());
            Ok::<_, ringio::FetchError>(())
        });
    }
}

/// State that outlives a connection.
fn recovery(io: &Server) {
    io.with_middleware(|socket: Socket| {
        socket.extensions().insert(Guarded);
        Ok::<_, ConnectError>(())
    });
    io.on_connection(|socket: Socket| {
        if !socket.is_recovered() {
            socket.emit("welcome", &());
        }
        socket.on_any(|socket: Socket, name: EventName| {
            if &*name.0 == "seen by any" {
                socket.send(&name.0);
            }
        });
    });
    rooms(io);
    questions(io);
    io.sockets_on("set", |socket: Socket, Data((name, value)): Data<(String, Value)>, ack: Ack| {
        let _ = socket.data().insert(name, &value);
        ack.send(&())
    });
    io.sockets_on("state", |socket: Socket, ack: Ack| {
        let mut rooms = socket.rooms();
        rooms.sort();
        let guarded = socket.extensions().contains::<Guarded>();
        let (recovered, data) = (socket.is_recovered(), socket.data().to_json());
        ack.send(&json!({ "recovered": recovered, "guarded": guarded, "rooms": rooms, "data": data }))
    });
    io.sockets_on("poke", async |namespace: Namespace, Data((id, text)): Data<(String, String)>| {
        for socket in namespace.within(id).fetch_sockets().await? {
            socket.emit("poked", &text);
        }
        Ok::<_, ringio::FetchError>(())
    });
}

/// Left by the middleware.
#[derive(Clone)]
struct Guarded;

fn panic_as_asked() {
    panic!("a client asked for a panic: it costs this event and nothing else");
}
