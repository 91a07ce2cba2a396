//! Namespaces that come into being when somebody asks for them, and go with their last socket: one per workspace.
//!
//! ```text
//! cargo run --release -p ringio --example dynamic_namespaces [port]
//!
//! client: io(URL + "/workspace-42", { auth: { member: true } })
//! ```
//! | event | what happens |
//! |---|---|
//! | on connection | `welcome` (the namespace's name, sockets in it) |
//! | `post` text | `post` (text) to everybody in the same workspace |
//! | `announce` text, in `/` | `announcement` (text) to every workspace there is |
//! | `workspaces` ack, in `/` | ack(names of the workspaces there are) |

use ringio::{Ack, ConnectError, Data, Regex, Server, Socket};
use serde::Deserialize;

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    member: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().skip(1).last().map_or(Ok(3000), |port| port.parse())?;
    let io = Server::builder().cleanup_empty_child_namespaces(true).dynamic_namespaces_max(1_000).build()?;

    // What is added here holds for every workspace.
    let workspaces = io.of_regex(Regex::new(r"^/workspace-\d+$")?);
    workspaces.with_middleware(|socket: Socket| {
        let credentials = socket.handshake().auth::<Credentials>();
        if credentials.is_ok_and(|credentials| credentials.member) {
            Ok(())
        } else {
            Err(ConnectError::new("members only"))
        }
    });
    workspaces.on_connection(async |socket: Socket| {
        let namespace = socket.namespace();
        let count = namespace.fetch_sockets().await?.len();
        socket.emit("welcome", &(namespace.name(), count));
        Ok::<_, ringio::FetchError>(())
    });
    workspaces.sockets_on("post", |socket: Socket, Data(text): Data<String>| socket.namespace().emit("post", &text));

    let all = workspaces.clone();
    io.sockets_on("announce", move |Data(text): Data<String>| all.emit("announcement", &text));
    io.sockets_on("workspaces", move |ack: Ack| {
        let mut names: Vec<String> = workspaces.children().iter().map(|child| child.name().to_owned()).collect();
        names.sort();
        ack.send(&names)
    });

    ringio::stop_on_signals(&io)?;
    let running = io.start(port)?;
    println!("ready on http://localhost:{port}");
    running.join();
    Ok(())
}
