//! socketioxide with the events of the suite `bench`: `peer-socketioxide --port N [--threads N] [--parser msgpack] [--namespaces N] [--impatient]`.
//! With `--impatient` every deadline is 5 s, but 20 s for a pong, for `tests/attacks`.

use axum::Router;
use bytes::Bytes;
use serde_json::Value;
use socketioxide::{ParserConfig, SocketIo};
use socketioxide::extract::{AckSender, Data, SocketRef};
use std::net::{Ipv6Addr, SocketAddr};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let is_msgpack = arguments.windows(2).any(|pair| pair == ["--parser", "msgpack"]);
    let namespaces = number("--namespaces", 0);
    let port = u16::try_from(number("--port", 3000)).expect("a port is below 65,536");
    let runtime = match number("--threads", 1) {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    runtime.expect("the system gives threads").block_on(async move {
        // A queue of 128 packets per socket by default; the saturated broadcast needs more than its bursts.
        let mut builder = SocketIo::builder().max_buffer_size(4096);
        if arguments.iter().any(|argument| argument == "--impatient") {
            let patience = std::time::Duration::from_secs(5);
            // With a ping timeout as short as the interval it cuts off polite clients on a busy machine.
            builder = builder.ping_interval(patience).ping_timeout(4 * patience).connect_timeout(patience);
        }
        if is_msgpack {
            builder = builder.with_parser(ParserConfig::msgpack());
        }
        let (layer, io) = builder.build_layer();
        io.ns("/", on_connect);
        for index in 0..namespaces {
            io.ns(format!("/n{index}"), on_connect);
        }
        let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
            .await
            .expect("the port is free");
        println!("ready on {port}");
        axum::serve(
            axum::serve::ListenerExt::tap_io(listener, |stream| _ = stream.set_nodelay(true)),
            Router::new().layer(layer),
        )
        .await
        .expect("serves until it is killed");
    });
}

async fn on_connect(socket: SocketRef) {
    socket.on("echo", async |socket: SocketRef, Data(value): Data<Value>| _ = socket.emit("echo", &value));
    socket.on("ack", async |Data(value): Data<Value>, ack: AckSender| _ = ack.send(&value));
    socket.on("broadcast", async |io: SocketIo, socket: SocketRef, Data(value): Data<Value>| {
        _ = everyone(&io, &socket).emit("broadcast", &value).await
    });
    socket.on("join", async |socket: SocketRef, Data(room): Data<String>| socket.join(room));
    socket.on("room", async |io: SocketIo, socket: SocketRef, Data((room, value)): Data<(String, Value)>| {
        _ = everyone(&io, &socket).to(room).emit("room", &value).await
    });
    socket.on("bin", async |socket: SocketRef, Data(bytes): Data<Bytes>| _ = socket.emit("bin", &bytes));
}

/// All sockets of this socket's namespace.
fn everyone(io: &SocketIo, socket: &SocketRef) -> socketioxide::operators::BroadcastOperators {
    io.of(socket.ns()).expect("it is the namespace of a socket")
}
