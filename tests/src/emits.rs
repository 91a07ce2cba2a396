//! The suite `emits` of the conformance program: what one handler sends in one go, as its client asks.

use ringio::{Ack, Args, Data, Namespace, RawArgs, Server, Socket};
use serde_json::Value;

/// One thing to send.
#[derive(serde::Deserialize)]
struct Step {
    /// `me`, `others` or `all`.
    to: String,
    #[serde(default)]
    volatile: bool,
    event: String,
    argument: Value,
}

/// The handlers of the suite.
pub fn handlers(io: &Server) {
    io.sockets_on("script", |socket: Socket, Data(steps): Data<Vec<Step>>, args: RawArgs, ack: Ack| {
        // The bytes behind the steps, if there are any, go with every event.
        for step in steps {
            let mut arguments = args.skip(1);
            arguments.push_front(&step.argument)?;
            send(&socket, &step, &arguments);
        }
        ack.send(&());
        Ok::<_, serde_json::Error>(())
    });
    io.sockets_on("join", |socket: Socket, Args(rooms): Args<Vec<String>>, ack: Ack| {
        socket.join(&rooms);
        ack.send(&())
    });
    io.sockets_on("leave", |socket: Socket, Args(rooms): Args<Vec<String>>, ack: Ack| {
        socket.leave(&rooms);
        ack.send(&())
    });
    io.sockets_on("rooms", |socket: Socket, ack: Ack| {
        let mut rooms = socket.rooms();
        rooms.sort();
        ack.send(&rooms)
    });
    io.sockets_on("to", |namespace: Namespace, Data((rooms, except)): Data<(Vec<String>, Vec<String>)>| {
        namespace.to(&rooms).except(&except).emit("told", &rooms)
    });
    io.sockets_on("message", |socket: Socket, args: RawArgs| socket.send(&args));
}

fn send(socket: &Socket, step: &Step, arguments: &RawArgs) {
    let (everyone, others) = (socket.namespace(), socket.broadcast());
    match (step.to.as_str(), step.volatile) {
        ("me", false) => socket.emit(&step.event, arguments),
        ("me", true) => socket.volatile().emit(&step.event, arguments),
        ("others", false) => others.emit(&step.event, arguments),
        ("others", true) => others.volatile().emit(&step.event, arguments),
        (_, false) => everyone.emit(&step.event, arguments),
        (_, true) => everyone.volatile().emit(&step.event, arguments),
    };
}
