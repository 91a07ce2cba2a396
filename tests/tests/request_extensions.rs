//! What hooks leave with a request: the sockets of the session that it opens read it, by whatever transport, on whatever shard.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::{Place, Running};
use parking_lot::Mutex;
use ringio::{Ack, Builder, HttpExtension, Refusal, Request, Response, Server, Socket};
use ringio_tests::wire::{WebSocket, get, request};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// More than the shards have: some of their later connections come to another shard than the first one.
const CLIENTS: usize = 24;

matrix! {
    what_hooks_leave_with_a_request_its_sockets_read
    a_connection_that_moves_to_its_session_finds_what_the_first_request_was_given
    without_hooks_a_request_carries_nothing_until_somebody_gives_it_something
    what_was_left_may_use_the_server_when_it_is_dropped
}

/// Left by the middleware, taken by `allow_request`.
struct Seen(String);

/// Left by `allow_request`.
#[derive(Clone)]
struct User(String);

fn builder(place: Place, refused: &Arc<Mutex<Vec<String>>>) -> Builder {
    let refused = Arc::clone(refused);
    place
        .builder()
        .request_middleware(async |request: Request| {
            tokio::task::yield_now().await;
            let name = request.query("name").map(std::borrow::Cow::into_owned).unwrap_or_default();
            assert!(request.extensions().insert(Seen(name)).is_none(), "each request has its own");
            Ok::<_, Response>(())
        })
        .allow_request(|request: Request| {
            let Seen(name) = request.extensions().remove().ok_or("nobody has looked")?;
            request.extensions().insert(User(name.clone()));
            if name == "eve" { Err("not you") } else { Ok(()) }
        })
        .on_connection_error(move |refusal: &Refusal| {
            refused.lock().extend(refusal.request().extensions().get().map(|User(name)| name));
        })
}

fn start(builder: Builder) -> (Running, SocketAddr) {
    let io = builder.build().unwrap();
    for namespace in [io.of("/"), io.of("/other")] {
        namespace.with_middleware(|socket: Socket| match socket.handshake().extensions().get() {
            Some(User(name)) if name != "mallory" => Ok(()),
            _ => Err("nobody knows you"),
        });
        namespace.on_connection(|socket: Socket, HttpExtension(User(name)): HttpExtension<User>| {
            assert!(!socket.handshake().extensions().contains::<Seen>(), "it was taken out");
            socket.emit("you", &name)
        });
        namespace.sockets_on("who", async |socket: Socket, HttpExtension(user): HttpExtension<User>, ack: Ack| {
            tokio::task::yield_now().await;
            let request = socket.conn().request().ok_or("gone")?;
            let below = request.extensions().get().map(|User(name)| name);
            ack.send(&(user.0, below));
            Ok::<_, &str>(())
        });
    }
    io.sockets_on("all", async |io: Server, ack: Ack| {
        let sockets = io.fetch_sockets().await?;
        let name = |User(name): User| name;
        let mut names: Vec<_> =
            sockets.iter().filter_map(|socket| socket.handshake().extensions().get().map(name)).collect();
        names.sort();
        ack.send(&names);
        Ok::<_, ringio::FetchError>(())
    });
    running(&io)
}

fn running(io: &Server) -> (Running, SocketAddr) {
    let server = Running::start(io);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    (server, address)
}

/// A WebSocket that has joined `/`, and what was said behind its CONNECT.
fn join(address: SocketAddr, name: &str) -> (WebSocket, String) {
    let mut socket = WebSocket::open(address, &format!("{WEBSOCKET}&name={name}")).1.unwrap();
    assert!(socket.next().unwrap().starts_with('0'));
    socket.send("40");
    let connect = socket.next().unwrap();
    if connect.starts_with("44") {
        return (socket, connect);
    }
    let said = socket.next().unwrap();
    (socket, said)
}

fn what_hooks_leave_with_a_request_its_sockets_read(place: Place) {
    let refused = Arc::default();
    let (_server, address) = start(builder(place, &refused));

    let answer = get(address, &format!("{POLLING}&name=eve"));
    assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"code":4,"message":"not you"}"#));
    assert_eq!(*refused.lock(), ["eve"], "who hears of refusals sees it too");
    assert_eq!(join(address, "mallory").1, r#"44{"message":"nobody knows you"}"#);

    let mut sockets: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let (socket, said) = join(address, &format!("u{index:02}"));
            assert_eq!(said, format!(r#"42["you","u{index:02}"]"#));
            socket
        })
        .collect();
    let (socket, last) = (&mut sockets[3], CLIENTS - 1);
    socket.send(r#"421["who"]"#);
    assert_eq!(socket.next().unwrap(), r#"431["u03","u03"]"#);
    socket.send("40/other,");
    assert!(socket.next().unwrap().starts_with("40/other,{"));
    assert_eq!(socket.next().unwrap(), r#"42/other,["you","u03"]"#, "the sockets of a client share its request");
    socket.send(r#"422["all"]"#);
    let all = socket.next().unwrap();
    assert!(all.starts_with(r#"432[["u00","u01","#) && all.ends_with(&format!(r#""u{last}"]]"#)), "{all}");
}

fn a_connection_that_moves_to_its_session_finds_what_the_first_request_was_given(place: Place) {
    let (_server, address) = start(builder(place, &Arc::default()));
    for index in 0..CLIENTS {
        let open = get(address, &format!("{POLLING}&name=u{index}")).open();
        let sid = format!("sid={}", open["sid"].as_str().unwrap());
        // What is left with a later request of the session is not the session's.
        let polling = format!("{POLLING}&{sid}&name=other");
        assert_eq!(request(address, "POST", &polling, "", "40").body, "ok");
        let heard = get(address, &polling).body;
        assert!(heard.starts_with("40") && heard.ends_with(&format!("\u{1e}42[\"you\",\"u{index}\"]")), "{heard}");

        let mut socket = WebSocket::open(address, &format!("{WEBSOCKET}&{sid}&name=other")).1.unwrap();
        socket.send("2probe");
        assert_eq!(socket.next().unwrap(), "3probe");
        socket.send("5");
        socket.send(r#"421["who"]"#);
        assert_eq!(socket.next().unwrap(), format!(r#"431["u{index}","u{index}"]"#));
    }
}

fn without_hooks_a_request_carries_nothing_until_somebody_gives_it_something(place: Place) {
    let io = place.builder().build().unwrap();
    io.on_connection(|socket: Socket| {
        let handshake = socket.handshake();
        let before = (handshake.extensions().contains::<u8>(), handshake.extensions().remove::<u8>());
        let (first, second) = (handshake.extensions().insert(1_u8), handshake.extensions().insert(2_u8));
        socket.emit("before", &(before, first, second));
    });
    io.sockets_on("after", |HttpExtension(number): HttpExtension<u8>, ack: Ack| ack.send(&number));
    let (_server, address) = running(&io);
    let (mut socket, said) = join(address, "");
    assert_eq!(said, r#"42["before",[false,null],null,1]"#);
    socket.send(r#"421["after"]"#);
    assert_eq!(socket.next().unwrap(), "431[2]");
}

/// Says so when it is dropped, which the core does.
struct Farewell(Arc<OnceLock<Server>>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(io) = self.0.get() {
            io.emit("gone", &());
        }
    }
}

fn what_was_left_may_use_the_server_when_it_is_dropped(place: Place) {
    let server = Arc::new(OnceLock::new());
    let of_hook = Arc::clone(&server);
    let builder = place.builder().allow_request(move |request: Request| {
        if request.query("name").is_some_and(|name| name == "guest") {
            request.extensions().insert(Farewell(Arc::clone(&of_hook)));
        }
        Ok::<_, &str>(())
    });
    let io = builder.build().unwrap();
    io.on_connection(|socket: Socket| socket.emit("you", &()));
    let (_server, address) = running(&io);
    assert!(server.set(io).is_ok());
    let (mut listener, _) = join(address, "host");
    for _ in 0..3 {
        let (guest, _) = join(address, "guest");
        drop(guest);
        assert_eq!(listener.next().unwrap(), r#"42["gone"]"#);
    }
}
