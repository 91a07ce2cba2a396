//! Rooms: join, leave, send to some and to others, and what the server itself can do with all members.
//!
//! ```text
//! cargo run --release -p ringio --example rooms [port]
//! ```
//! | event | what happens |
//! |---|---|
//! | `join` room, ack | the sender joins; ack(the rooms it is in now) |
//! | `leave` room, ack | it leaves; ack(the rooms that are left) |
//! | `say` room, text | `said` (id, text) to the room but the sender |
//! | `shout` rooms, text | `said` to the union of several rooms, everyone once, the sender too if it is in one |
//! | `members` room, ack | ack(ids of the members, on whatever core they are) |
//! | `close room` room | all members leave it and are told `room closed` |

use ringio::{Ack, Data, Server, Socket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().skip(1).last().map_or(Ok(3000), |port| port.parse())?;
    let io = Server::new();

    io.sockets_on("join", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.join(room); // takes effect at once: `rooms` has it
        ack.send(&socket.rooms())
    });
    io.sockets_on("leave", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.leave(room);
        ack.send(&socket.rooms())
    });

    io.sockets_on("say", |socket: Socket, Data((room, text)): Data<(String, String)>| {
        socket.to(room).emit("said", &(socket.id(), text)) // `to` on a socket leaves the sender out
    });
    let everyone = io.clone();
    io.sockets_on("shout", move |socket: Socket, Data((rooms, text)): Data<(Vec<String>, String)>| {
        everyone.to(rooms).emit("said", &(socket.id(), text)) // `to` on the server does not
    });

    // Members may be on other cores, so their list is awaited.
    let everyone = io.clone();
    io.sockets_on("members", async move |Data(room): Data<String>, ack: Ack| {
        let sockets = everyone.within(room).fetch_sockets().await?;
        let mut ids: Vec<&str> = sockets.iter().map(|socket| socket.id()).collect();
        ids.sort_unstable();
        ack.send(&ids);
        Ok::<_, ringio::FetchError>(())
    });

    let everyone = io.clone();
    io.sockets_on("close room", move |Data(room): Data<String>| {
        everyone.to(&room).emit("room closed", &room);
        everyone.within(&room).sockets_leave(room)
    });

    // Rooms are still there while a socket is disconnecting.
    io.on_disconnecting(|socket: Socket| {
        for room in socket.rooms().iter().filter(|room| *room != socket.id()) {
            socket.to(room).emit("left", &(socket.id(), room));
        }
    });

    ringio::stop_on_signals(&io)?;
    let running = io.start(port)?;
    println!("ready on http://localhost:{port}");
    running.join();
    Ok(())
}
