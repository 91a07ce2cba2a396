//! The chat of the official "Get started" tutorial with all its steps: what a client missed while it was away is sent again, and what it sends
//! arrives exactly once.
//!
//! `cargo run --release -p ringio --example tutorial`, with a client of `{ auth: { serverOffset: 0 }, ackTimeout: 10000, retries: 3 }`.

use parking_lot::Mutex;
use ringio::{Ack, Data, Server, Socket, State, stop_on_signals};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Messages kept for clients that come later.
const MESSAGES_MAX: usize = 10_000;

/// Stands for a database. `INSERT`, the unique `client_offset` and `SELECT .. WHERE id > ?` are its two methods.
#[derive(Default)]
struct Messages(Mutex<Table>);

#[derive(Default)]
struct Table {
    rows: VecDeque<(u64, String)>,
    /// The id under which the message with this offset was stored.
    client_offsets: HashMap<String, u64>,
    last_id: u64,
}

impl Messages {
    /// The message's id; `None` if it has been stored before: the client did not hear so, and has sent it again.
    fn insert(&self, text: &str, client_offset: String) -> Option<u64> {
        let mut table = self.0.lock();
        if table.client_offsets.contains_key(&client_offset) {
            return None;
        }
        table.last_id += 1;
        let id = table.last_id;
        table.client_offsets.insert(client_offset, id);
        table.rows.push_back((id, text.to_owned()));
        if table.rows.len() > MESSAGES_MAX
            && let Some((oldest, _)) = table.rows.pop_front()
        {
            table.client_offsets.retain(|_, id| *id > oldest);
        }
        Some(id)
    }

    fn after(&self, id: u64) -> Vec<(u64, String)> {
        self.0.lock().rows.iter().filter(|(other, _)| *other > id).cloned().collect()
    }
}

/// What the client says when it connects: `auth: { serverOffset: 7 }`.
#[derive(Deserialize)]
struct Auth {
    #[serde(rename = "serverOffset", default)]
    server_offset: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().skip(1).last().map_or(Ok(3000), |port| port.parse())?;
    let io = Server::builder()
        .connection_state_recovery(Duration::from_secs(120), true)
        .state(Messages::default())
        .build()?;
    stop_on_signals(&io)?;

    io.on_connection(|socket: Socket, messages: State<Messages>| {
        if socket.is_recovered() {
            return; // it has heard what it missed
        }
        let seen = socket.handshake().auth::<Auth>().map_or(0, |auth| auth.server_offset);
        for (id, text) in messages.after(seen) {
            socket.emit("chat message", &(text, id));
        }
    });

    let everyone = io.clone();
    io.sockets_on(
        "chat message",
        move |Data((text, client_offset)): Data<(String, String)>, ack: Ack, messages: State<Messages>| {
            if let Some(id) = messages.insert(&text, client_offset) {
                everyone.emit("chat message", &(text, id));
            }
            ack.send(&()) // the client need not send it again
        },
    );

    let running = io.start(port)?;
    println!("ready on http://localhost:{port}");
    running.join();
    Ok(())
}
