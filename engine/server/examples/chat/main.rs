//! A chat in the browser: rooms, who is here, who is typing, the last messages.
//!
//! ```text
//! cargo run --release -p ringio --example chat            then open http://localhost:3000 in two windows
//!
//! handlers, on every shard --news--> herald, one thread --io.to(room).emit--> all shards
//! ```
//! The page and the events are described at the top of `index.html`. The official client is served from an installed npm
//! package: `npm ci` in `tests/conformance`, or another directory by `--client-dir`.
//!
//! Two shards that emit to a room at the same time are heard in either order, as two servers would be. What everyone
//! must hear in one order (messages, who is here) therefore goes through one thread.

#![expect(clippy::needless_pass_by_value, reason = "handlers take what they ask for by value")]

mod rooms;

use clap::{Parser, ValueEnum};
use ringio::{Ack, Data, Driver, Server, Socket, State, drain_on_signals};
use rooms::{Message, Rooms};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

const PAGE: &str = include_str!("index.html");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/node_modules/socket.io-client/dist");

/// Longest name of a person or room. Characters.
const NAME_CHARS_MAX: usize = 24;
/// Longest message. Characters.
const TEXT_CHARS_MAX: usize = 2000;

/// Over how long clients are sent away at Ctrl-C or SIGTERM.
const DRAIN: Duration = Duration::from_secs(2);

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// One per core by default.
    #[arg(long)]
    shards: Option<usize>,
    #[arg(long, default_value = "auto")]
    driver: DriverName,
    /// Where socket.io.js lies.
    #[arg(long, default_value = CLIENT)]
    client_dir: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum DriverName {
    Auto,
    Uring,
    Epoll,
}

#[derive(Deserialize)]
struct Join {
    name: String,
    room: String,
}

#[derive(Serialize)]
struct Joined {
    members: Vec<String>,
    history: Vec<Message>,
}

#[derive(Serialize)]
struct Typing {
    from: String,
    typing: bool,
}

/// Who a socket is and where it sits.
#[derive(Clone)]
struct Seat {
    name: String,
    room: String,
}

/// What a whole room hears in one order.
enum News {
    Members { room: String },
    Said { room: String, message: Message },
}

struct Chat {
    rooms: Arc<Rooms>,
    news: Sender<News>,
}

fn main() -> ringio::Result<()> {
    let options = Options::parse();
    let rooms = Arc::new(Rooms::default());
    let (news, heard) = channel();
    let mut builder = Server::builder()
        .page("/", "text/html; charset=utf-8", PAGE)
        .serve_client(options.client_dir)
        .state(Chat { rooms: Arc::clone(&rooms), news })
        .driver(match options.driver {
            DriverName::Auto => Driver::Auto,
            DriverName::Uring => Driver::Uring,
            DriverName::Epoll => Driver::Epoll,
        });
    if let Some(shards) = options.shards {
        builder = builder.shards(shards);
    }
    let io = builder.build()?;

    io.sockets_on("join", join);
    io.sockets_on("chat message", say);
    io.sockets_on("typing", |socket: Socket, Data(typing): Data<bool>| {
        if let Some(Seat { name: from, room }) = socket.extensions().get() {
            socket.to(room).emit("typing", &Typing { from, typing });
        }
    });
    io.on_disconnect(leave);

    let herald = io.clone();
    thread::spawn(move || spread(&herald, &rooms, &heard));

    // Whoever is in the chat comes back to the next server of it, and not all in one instant.
    drain_on_signals(&io, DRAIN)?;
    let running = io.start(options.port)?;
    println!("ready: the chat is on http://localhost:{}", running.local_addr().port());
    running.join();
    Ok(())
}

fn join(socket: Socket, Data(wish): Data<Join>, chat: State<Chat>, ack: Ack) {
    leave(socket.clone(), chat.clone());
    let name = cut(&wish.name, NAME_CHARS_MAX);
    // Not the bare name: a room called like somebody's id would be that somebody.
    let room = format!("room:{}", cut(&wish.room, NAME_CHARS_MAX));
    socket.join(&room);
    chat.rooms.enter(&room, socket.id(), &name);
    socket.to(&room).emit("notice", &format!("{name} came in"));
    ack.send(&Joined { members: chat.rooms.members(&room), history: chat.rooms.history(&room) });
    // After the answer, so that nobody's list is older than it.
    chat.tell(News::Members { room: room.clone() });
    socket.extensions().insert(Seat { name, room });
}

fn say(socket: Socket, Data(text): Data<String>, chat: State<Chat>) {
    let Some(Seat { name, room }) = socket.extensions().get() else { return };
    if !text.trim().is_empty() {
        chat.tell(News::Said { room, message: Message::new(name, cut(&text, TEXT_CHARS_MAX)) });
    }
}

/// Leaves the room, if the socket sits in one, and tells the others.
fn leave(socket: Socket, chat: State<Chat>) {
    let Some(Seat { name, room }) = socket.extensions().remove() else { return };
    socket.leave(&room);
    chat.rooms.leave(&room, socket.id());
    socket.to(&room).emit("notice", &format!("{name} left"));
    chat.tell(News::Members { room });
}

impl Chat {
    fn tell(&self, news: News) {
        // The herald ends with the process only.
        let _ = self.news.send(news);
    }
}

/// The herald: says everything to whole rooms, one after the other.
fn spread(io: &Server, rooms: &Rooms, heard: &Receiver<News>) {
    for news in heard {
        match news {
            News::Members { room } => io.to(&room).emit("members", &rooms.members(&room)),
            News::Said { room, message } => {
                rooms.say(&room, &message);
                io.to(&room).emit("chat message", &message)
            }
        };
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}
