//! Async handlers with the Tokio ecosystem: a timer and a TCP client inside of handlers, while the shard goes on.
//!
//! ```text
//! cargo run --release -p ringio --example async_handler
//! ```
//! | event | answer |
//! |---|---|
//! | `sleep` ms | acknowledged after that time |
//! | `whois` name | what the line-based TCP service on port 4000 says of that name; this program brings one along |

use ringio::{Ack, Data, Server, State, stop_on_signals};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Where the directory service listens.
struct Directory {
    address: &'static str,
}

impl Directory {
    /// Asks the service: one line to it, one line back.
    async fn describe(&self, name: &str) -> io::Result<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await?);
        stream.write_all(format!("{name}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        Ok(answer.trim_end().to_owned())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The program's own Tokio runtime. Without `.tokio(..)` the server brings one worker thread of its own.
    let tokio = tokio::runtime::Runtime::new()?;
    let directory = Directory { address: "127.0.0.1:4000" };
    let listener = tokio.block_on(TcpListener::bind(directory.address))?;
    tokio.spawn(serve_directory(listener));

    let io = Server::builder().tokio(tokio.handle().clone()).state(directory).build()?;

    io.sockets_on("sleep", async |Data(ms): Data<u64>, ack: Ack| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ack.send(&ms)
    });

    // An error ends this event only: it is logged and counted, and the client's own timeout applies.
    io.sockets_on("whois", async |Data(name): Data<String>, directory: State<Directory>, ack: Ack| {
        let answer = directory.describe(&name).await?;
        ack.send(&answer);
        Ok::<_, io::Error>(())
    });

    stop_on_signals(&io)?;
    println!("on http://localhost:3000");
    io.listen(3000)?;
    Ok(())
}

/// Stands for a database: answers every line with a description.
async fn serve_directory(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut name = String::new();
            if stream.read_line(&mut name).await.is_ok() {
                let answer = format!("{} is somebody\n", name.trim_end());
                // A client that has gone needs no answer.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
    }
}
