//! A binary upload in pieces, with progress for the sender: each piece is acknowledged, so that a client sends the next
//! one when the one before has been taken, and nothing piles up on either side.
//!
//! ```text
//! cargo run --release -p ringio --example upload [port]
//! ```
//! | event | answer |
//! |---|---|
//! | `upload` { name, size } | the upload's number; `{ error }` if it is too large |
//! | `piece` number, bytes | { received, size }; `{ error }` if it is unknown or longer than announced |
//! | when all is there | `uploaded` { name, size, sum } to the sender: the sum of all bytes stands for storing them |
//!
//! A socket's uploads go with it.

use ringio::{Ack, Bytes, Data, Extension, Server, Socket};
use serde::Deserialize;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Largest file. Bytes.
const SIZE_MAX: u64 = 1 << 30;
/// Uploads of one socket at a time.
const UPLOADS_MAX: usize = 8;

#[derive(Deserialize)]
struct Announcement {
    name: String,
    size: u64,
}

struct Upload {
    name: String,
    size: u64,
    received: u64,
    sum: u64,
}

/// The uploads of one socket. It lives on one shard, so nothing has to be locked.
type Uploads = Rc<RefCell<BTreeMap<u32, Upload>>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().skip(1).last().map_or(Ok(3000), |port| port.parse())?;
    // A piece and the words around it must fit into one message.
    let io = Server::builder().max_http_buffer_size(1 << 20).build()?;

    io.on_connection(|socket: Socket| {
        socket.extensions().insert(Uploads::default());
    });

    io.sockets_on("upload", |Data(file): Data<Announcement>, Extension(uploads): Extension<Uploads>, ack: Ack| {
        let mut uploads = uploads.borrow_mut();
        if file.size > SIZE_MAX || uploads.len() == UPLOADS_MAX {
            return ack.send(&json!({ "error": "too large, or too many at a time" }));
        }
        let number = uploads.last_key_value().map_or(0, |(number, _)| number + 1);
        uploads.insert(number, Upload { name: file.name, size: file.size, received: 0, sum: 0 });
        ack.send(&number)
    });

    io.sockets_on(
        "piece",
        |socket: Socket,
         Data((number, bytes)): Data<(u32, Bytes)>,
         Extension(uploads): Extension<Uploads>,
         ack: Ack| {
            let mut uploads = uploads.borrow_mut();
            let Some(upload) = uploads.get_mut(&number) else {
                return ack.send(&json!({ "error": "no such upload" }));
            };
            if upload.received + bytes.len() as u64 > upload.size {
                uploads.remove(&number);
                return ack.send(&json!({ "error": "longer than announced" }));
            }
            upload.received += bytes.len() as u64;
            upload.sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            let is_whole = upload.received == upload.size;
            let answered = ack.send(&json!({ "received": upload.received, "size": upload.size }));
            match is_whole.then(|| uploads.remove(&number)).flatten() {
                Some(Upload { name, size, sum, .. }) => {
                    socket.emit("uploaded", &json!({ "name": name, "size": size, "sum": sum }))
                }
                None => answered,
            }
        },
    );

    ringio::stop_on_signals(&io)?;
    let running = io.start(port)?;
    println!("ready on http://localhost:{port}");
    running.join();
    Ok(())
}
