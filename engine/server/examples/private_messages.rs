//! Private messages between named users: a user may have several tabs, a message reaches all of them, on whatever core.
//!
//! ```text
//! cargo run --release -p ringio --example private_messages [port]
//!
//! client: io(URL, { auth: { username: "ada" } })          refused without a name
//! ```
//! | event | what happens |
//! |---|---|
//! | on connection | `users` (names that are here) to the client, `user connected` (name) to the others, if it is the user's first tab |
//! | `private message` to, text, ack | `private message` (from, text) to all tabs of both users but the sending one; ack(whether the user is here) |
//! | the last tab closes | `user disconnected` (name) to everybody |
//!
//! A user's tabs share a room, `user:` and the name. Rooms and events cross cores by themselves; who is here is kept in
//! a table of the program's own, because a question over cores would be answered late.

use parking_lot::Mutex;
use ringio::{Ack, ConnectError, Data, Server, Socket, State};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Credentials {
    username: String,
}

/// How many tabs each user has open.
#[derive(Default)]
struct Users(Mutex<BTreeMap<String, usize>>);

impl Users {
    /// Whether this is the user's first tab.
    fn enter(&self, name: &str) -> bool {
        let mut users = self.0.lock();
        let tabs = users.entry(name.to_owned()).or_default();
        *tabs += 1;
        *tabs == 1
    }

    /// Whether this was the user's last tab.
    fn leave(&self, name: &str) -> bool {
        let mut users = self.0.lock();
        let Some(tabs) = users.get_mut(name) else { return false };
        *tabs -= 1;
        let was_last = *tabs == 0;
        if was_last {
            users.remove(name);
        }
        was_last
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    fn is_here(&self, name: &str) -> bool {
        self.0.lock().contains_key(name)
    }
}

/// Who a socket belongs to.
#[derive(Clone)]
struct Username(String);

fn room_of(name: &str) -> String {
    format!("user:{name}")
}

fn name_of(socket: &Socket) -> String {
    // The middleware gives every socket one.
    socket.extensions().get().map_or_else(String::new, |Username(name)| name)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().skip(1).last().map_or(Ok(3000), |port| port.parse())?;
    let io = Server::builder().state(Users::default()).build()?;

    io.with_middleware(|socket: Socket| {
        let credentials = socket.handshake().auth::<Credentials>();
        let name = credentials.map(|credentials| credentials.username).unwrap_or_default();
        if name.is_empty() {
            return Err(ConnectError::new("invalid username"));
        }
        socket.extensions().insert(Username(name));
        Ok(())
    });

    io.on_connection(|socket: Socket, users: State<Users>| {
        let name = name_of(&socket);
        socket.join(room_of(&name));
        if users.enter(&name) {
            socket.broadcast().emit("user connected", &name);
        }
        socket.emit("users", &users.names())
    });

    io.sockets_on(
        "private message",
        |socket: Socket, Data((to, text)): Data<(String, String)>, users: State<Users>, ack: Ack| {
            let from = name_of(&socket);
            socket.to([room_of(&to), room_of(&from)]).emit("private message", &(&from, &text));
            ack.send(&users.is_here(&to))
        },
    );

    io.on_disconnect(|socket: Socket, users: State<Users>| {
        let name = name_of(&socket);
        if users.leave(&name) {
            socket.broadcast().emit("user disconnected", &name);
        }
    });

    ringio::stop_on_signals(&io)?;
    let running = io.start(port)?;
    println!("ready on http://localhost:{port}");
    running.join();
    Ok(())
}
