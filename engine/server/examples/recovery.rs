//! Connection state recovery: a client that was cut off comes back to its socket, with its id, rooms and data, and gets what
//! it missed. Nothing is needed at the client; `socket.recovered` says whether it worked.
//!
//! ```text
//! cargo run --release -p ringio --example recovery [port]
//! ```
//! | event | what happens |
//! |---|---|
//! | on connection | `hello` (number of the visit, whether recovered); a recovered socket goes on counting |
//! | every second | `tick` (number) to everybody: a client that was away hears the ticks it missed, once, in order |
//! | `cut` | the server drops the sender's connection, as a tunnel would |

use ringio::{Server, Socket};
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().skip(1).last().map_or(Ok(3000), |port| port.parse())?;
    // Two minutes away at most; middlewares are not asked again for who comes back.
    let io = Server::builder().connection_state_recovery(Duration::from_secs(120), true).build()?;

    io.on_connection(|socket: Socket| {
        let data = socket.data();
        let visit = data.get::<u32>("visit").unwrap_or(0) + 1;
        data.insert("visit", &visit)?;
        socket.emit("hello", &(visit, socket.is_recovered()));
        Ok::<_, serde_json::Error>(())
    });
    // A broken connection, not a goodbye: only that can be recovered.
    io.sockets_on("cut", |socket: Socket| socket.conn().close(false));

    let ticking = io.clone();
    thread::spawn(move || {
        for number in 0_u64.. {
            ticking.emit("tick", &number);
            thread::sleep(Duration::from_secs(1));
        }
    });

    ringio::stop_on_signals(&io)?;
    let running = io.start(port)?;
    println!("ready on http://localhost:{port}");
    running.join();
    Ok(())
}
