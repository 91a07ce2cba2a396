//! Encrypted: https and wss on one port, plain on the other, and a renewed certificate without a restart.
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
//!     -keyout key.pem -out chain.pem
//! cargo run --release -p ringio --example https -- --chain chain.pem --key key.pem
//! ```
//! The files are looked at once a minute; whoever connects from then on is shown what they hold. `hello` is answered with how the
//! client came.

use clap::Parser;
use ringio::{Ack, Handshake, Server, Socket, Tls, stop_on_signals};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Parser)]
struct Options {
    /// The certificate chain, the server's own first. PEM.
    #[arg(long)]
    chain: PathBuf,
    /// Its private key. PEM.
    #[arg(long)]
    key: PathBuf,
    /// Where https and wss are spoken.
    #[arg(long, default_value_t = 3443)]
    port: u16,
    /// Where http and ws are.
    #[arg(long, default_value_t = 3000)]
    plain_port: u16,
}

fn main() -> ringio::Result<()> {
    let Options { chain, key, port, plain_port } = Options::parse();
    let tls = Tls::from_pem_files(&chain, &key)?;
    let io = Server::new();

    io.on_connection(|socket: Socket| {
        socket.on("hello", |handshake: Handshake, ack: Ack| {
            ack.send(if handshake.is_secure() { "encrypted" } else { "in plain sight" })
        });
    });

    let renewed = tls.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(60));
            match Tls::from_pem_files(&chain, &key) {
                Ok(tls) => renewed.replace(&tls),
                // Half written, perhaps: the one before goes on.
                Err(error) => eprintln!("{error}"),
            }
        }
    });

    stop_on_signals(&io)?;
    let running = io.start((plain_port, tls.on(port)))?;
    println!("ready: https on port {port}, http on port {plain_port}");
    running.join();
    Ok(())
}
