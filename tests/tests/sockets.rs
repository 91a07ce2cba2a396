//! Whom operators reach, from outside of every shard, and what sockets that are gone do: nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::{Place, Running};
use ringio::{Ack, AckError, Bytes, Data, DisconnectReason, EnginePacketKind, Namespace, Server, Socket};
use ringio_tests::wire::{Polling, WebSocket};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

matrix! {
    an_operator_is_not_changed_by_those_made_of_it
    a_question_to_nobody_is_answered_by_nobody_at_once
    sockets_are_found_by_several_rooms_once_and_exclusion
    sockets_and_rooms_are_left_out_in_any_namespace
    everybody_joins_leaves_and_is_sent_away
    who_is_gone_joins_nothing_and_hears_nothing
    what_breaks_the_protocol_reaches_error_before_disconnect
    what_came_with_it_by_polling_is_handled_first
    only_the_first_of_several_handlers_answers
    a_middleware_is_for_those_who_come_after_it
    heartbeats_are_told_packet_by_packet
    volatile_events_of_several_tasks_that_go_on_at_once_are_all_heard
    a_middleware_asks_before_its_client_is_in
    an_attachment_may_come_as_text_over_a_websocket
}

/// A client in one namespace and in the rooms that it asks for.
struct Member {
    wire: WebSocket,
    id: String,
    prefix: String,
}

impl Member {
    /// What follows the prefix in the next packet; pings are answered on the way.
    fn next(&mut self) -> Option<String> {
        loop {
            let text = self.wire.next()?;
            if text == "2" {
                self.wire.send("3");
            } else {
                return Some(text[text.find(&self.prefix).unwrap() + self.prefix.len()..].to_owned());
            }
        }
    }

    /// The next event says this.
    fn hears(&mut self, event: &str) {
        assert_eq!(self.next().as_deref(), Some(&*format!("[\"{event}\"]")));
    }
}

fn server(place: Place) -> (Server, Running) {
    let io = place.builder().build().unwrap();
    for name in ["/", "/other"] {
        io.of(name).sockets_on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(room);
            socket.emit("joined", &())
        });
    }
    let server = Running::start(&io);
    (io, server)
}

/// One client per list of rooms.
fn members(server: &Running, namespace: &str, rooms: &[&[&str]]) -> Vec<Member> {
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let prefix = if namespace == "/" { String::new() } else { format!("{namespace},") };
    let join = |rooms: &&[&str]| {
        let mut wire = WebSocket::open(address, WEBSOCKET).1.unwrap();
        wire.next().unwrap();
        wire.send(&format!("40{prefix}"));
        let mut member = Member { wire, id: String::new(), prefix: format!("40{prefix}") };
        let connect: serde_json::Value = serde_json::from_str(&member.next().unwrap()).unwrap();
        connect["sid"].as_str().unwrap().clone_into(&mut member.id);
        // Behind the type and the namespace of an event.
        member.prefix = format!("42{prefix}");
        for room in *rooms {
            member.wire.send(&format!("42{prefix}[\"join\",\"{room}\"]"));
            member.hears("joined");
        }
        member
    };
    rooms.iter().map(join).collect()
}

fn an_operator_is_not_changed_by_those_made_of_it(place: Place) {
    let (io, server) = server(place);
    let mut members = members(&server, "/", &[&["a"], &["b"], &["a", "c"], &[]]);
    let to_a = io.to("a");
    let others = [to_a.clone().to("b"), to_a.clone().except("c"), to_a.clone().volatile()];
    to_a.emit("a", &()).into_result().unwrap();
    let [with_b, without_c, _] = others;
    with_b.emit("a or b", &()).into_result().unwrap();
    without_c.emit("a without c", &()).into_result().unwrap();
    to_a.emit("a again", &()).into_result().unwrap();
    io.emit("end", &()).into_result().unwrap();
    for (member, heard) in members.iter_mut().zip([
        &["a", "a or b", "a without c", "a again", "end"][..],
        &["a or b", "end"],
        &["a", "a or b", "a again", "end"],
        &["end"],
    ]) {
        heard.iter().for_each(|event| member.hears(event));
    }
}

fn a_question_to_nobody_is_answered_by_nobody_at_once(place: Place) {
    let (io, server) = server(place);
    let _members = members(&server, "/", &[&["a"], &[]]);
    // An hour is not waited for.
    let ask = io.to("nobody's").timeout(Duration::from_secs(3600)).emit_with_ack::<u8>("question", &());
    assert_eq!(Runtime::new().unwrap().block_on(ask).unwrap(), Vec::<u8>::new());
    let ask = io.of("/other").timeout(Duration::from_secs(3600)).emit_with_ack::<u8>("question", &());
    assert_eq!(Runtime::new().unwrap().block_on(ask).unwrap(), Vec::<u8>::new());
}

fn sockets_are_found_by_several_rooms_once_and_exclusion(place: Place) {
    let (io, server) = server(place);
    let members = members(&server, "/", &[&["a"], &["b"], &["a", "b"], &["c"], &[]]);
    let runtime = Runtime::new().unwrap();
    let find = |operator: ringio::BroadcastOperator| {
        let found = runtime.block_on(operator.fetch_sockets()).unwrap();
        let mut found: Vec<usize> =
            found.iter().map(|socket| members.iter().position(|member| member.id == socket.id()).unwrap()).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(find(io.to("a").to("b")), [0, 1, 2]);
    assert_eq!(find(io.to(["a", "c"])), [0, 2, 3]);
    assert_eq!(find(io.to("a").except("b")), [0]);
    assert_eq!(find(io.except(&members[2].id)), [0, 1, 3, 4]);
    assert_eq!(find(io.to(&members[4].id)), [4]);
    assert_eq!(find(io.to("nobody's")), [0; 0]);
}

fn sockets_and_rooms_are_left_out_in_any_namespace(place: Place) {
    let (io, server) = server(place);
    for namespace in ["/", "/other"] {
        let mut members = members(&server, namespace, &[&["a"], &["b"], &["a", "b"], &[]]);
        let here: Namespace = io.of(namespace);
        here.except(&members[0].id).emit("but one", &()).into_result().unwrap();
        here.except("b").except(&members[3].id).emit("but b and one", &()).into_result().unwrap();
        here.emit("end", &()).into_result().unwrap();
        let elsewhere = if namespace == "/" { "/other" } else { "/" };
        io.of(elsewhere).emit("elsewhere", &()).into_result().unwrap();
        here.emit("last", &()).into_result().unwrap();
        for (member, heard) in
            members.iter_mut().zip([&["but b and one"][..], &["but one"], &["but one"], &["but one"]])
        {
            heard.iter().chain(&["end", "last"]).for_each(|event| member.hears(event));
        }
    }
}

fn everybody_joins_leaves_and_is_sent_away(place: Place) {
    let (io, server) = server(place);
    let mut members = members(&server, "/", &[&[], &["a"], &[], &[]]);
    let mut others = self::members(&server, "/other", &[&[]]);
    io.sockets_join(["hall", "yard"]).into_result().unwrap();
    io.to("hall").emit("hall", &()).into_result().unwrap();
    io.sockets_leave("hall").into_result().unwrap();
    io.to("hall").emit("nobody", &()).into_result().unwrap();
    io.to("yard").emit("yard", &()).into_result().unwrap();
    for member in &mut members {
        member.hears("hall");
        member.hears("yard");
    }
    io.disconnect_sockets(false).into_result().unwrap();
    for member in &mut members {
        assert_eq!(member.wire.next().as_deref(), Some("41"), "the connection stays");
        member.wire.send("40");
        assert!(member.wire.next().unwrap().starts_with("40{"));
    }
    io.disconnect_sockets(true).into_result().unwrap();
    for member in &mut members {
        let heard: Vec<_> = std::iter::from_fn(|| member.wire.next()).filter(|text| text != "2").collect();
        assert_eq!(heard, ["41"], "and now it does not");
    }
    io.of("/other").emit("still here", &()).into_result().unwrap();
    others[0].hears("still here");
}

/// As in Node, where each of them writes when it goes on.
fn volatile_events_of_several_tasks_that_go_on_at_once_are_all_heard(place: Place) {
    let (io, server) = server(place);
    let signal = Arc::new(Notify::new());
    let go = Arc::clone(&signal);
    io.sockets_on("wait", async move |socket: Socket| {
        let going = signal.notified();
        socket.emit("waits", &()).into_result().unwrap();
        going.await;
        socket.volatile().to("hall").emit("moved", &()).into_result().unwrap();
    });
    io.sockets_on("go", move || go.notify_waiters());
    let mut members = members(&server, "/", &[&["hall"], &[], &[], &[], &[]]);
    for member in &mut members[1..] {
        member.wire.send("42[\"wait\"]");
        member.hears("waits");
    }
    members[0].wire.send("42[\"go\"]");
    for _ in 1..members.len() {
        members[0].hears("moved");
    }
}

/// The socket of a polling client stays in Node until the client is told; a GET that waits tells it at once.
fn what_came_with_it_by_polling_is_handled_first(place: Place) {
    let io = place.builder().build().unwrap();
    let (sender, said) = channel();
    let events = sender.clone();
    io.on_connection(move |socket: Socket| {
        socket.with_packet_middleware(|| {});
        let (events, ends) = (events.clone(), sender.clone());
        socket.on("last", move |Data(number): Data<u32>| events.send(number.to_string()).unwrap());
        socket.on_disconnect(move |reason: DisconnectReason| ends.send(reason.to_string()).unwrap());
    });
    let server = Running::start(&io);
    let client = Polling::open(server.url.strip_prefix("http://").unwrap().parse().unwrap());
    client.post("40");
    assert!(client.get().body.starts_with("40"));
    client.post("42[\"last\",1]\x1e42{}\x1e42[\"last\",2]");
    for expected in ["1", "forced close"] {
        assert_eq!(said.recv_timeout(client::PATIENCE).unwrap(), expected);
    }
    assert_eq!(client.get().body, "6\u{1e}1");
    assert!(said.try_recv().is_err(), "what came behind it is not read");
}

fn who_is_gone_joins_nothing_and_hears_nothing(place: Place) {
    let io = place.builder().build().unwrap();
    let (sender, said) = channel();
    io.on_connection(move |socket: Socket| {
        let sender = sender.clone();
        socket.join("before");
        socket.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            socket.join("in its handler");
            sender.send((socket.is_connected(), socket.rooms(), reason.as_str())).unwrap();
        });
        socket.disconnect(false);
        socket.join("after");
        socket.disconnect(false);
        socket.disconnect(true);
        assert!(!socket.is_connected());
        socket.emit("too late", &());
    });
    let server = Running::start(&io);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut wire = WebSocket::open(address, WEBSOCKET).1.unwrap();
    wire.next().unwrap();
    wire.send("40");
    assert!(wire.next().unwrap().starts_with("40{"));
    assert_eq!(wire.next().as_deref(), Some("41"));
    let (is_connected, rooms, reason) = said.recv_timeout(client::PATIENCE).unwrap();
    assert_eq!((is_connected, rooms, reason), (false, Vec::<String>::new(), "server namespace disconnect"));
    let runtime = Runtime::new().unwrap();
    for room in ["before", "after", "in its handler"] {
        assert!(runtime.block_on(io.to(room).fetch_sockets()).unwrap().is_empty());
    }
    assert!(said.try_recv().is_err(), "told once");
}

fn what_breaks_the_protocol_reaches_error_before_disconnect(place: Place) {
    for broken in ["42[\"connect\"]", "42[null]", "45woooot", "45"] {
        let io = place.builder().build().unwrap();
        let (sender, said) = channel();
        io.on_connection(move |socket: Socket| {
            let (errors, ends) = (sender.clone(), sender.clone());
            socket.on("error", move |Data(text): Data<String>| errors.send(format!("error: {text}")).unwrap());
            socket.on_disconnect(move |reason: DisconnectReason| ends.send(reason.as_str().to_owned()).unwrap());
        });
        let server = Running::start(&io);
        let mut member = members(&server, "/", &[&[]]).remove(0);
        member.wire.send(broken);
        assert_eq!(member.next(), None);
        let first = said.recv_timeout(client::PATIENCE).unwrap();
        assert!(first.starts_with("error: "), "{first}");
        assert_eq!(said.recv_timeout(client::PATIENCE).unwrap(), "forced close");
    }
}

fn only_the_first_of_several_handlers_answers(place: Place) {
    let io = place.builder().build().unwrap();
    io.on_connection(|socket: Socket| {
        for number in 1..=3 {
            socket.on("ask", move |ack: Ack| ack.send(&number));
        }
        socket.on("end", |ack: Ack| ack.send(&()));
    });
    let server = Running::start(&io);
    let mut member = members(&server, "/", &[&[]]).remove(0);
    member.wire.send("427[\"ask\"]");
    member.wire.send("428[\"end\"]");
    assert_eq!(member.wire.next().as_deref(), Some("437[1]"));
    assert_eq!(member.wire.next().as_deref(), Some("438[]"));
}

fn a_middleware_is_for_those_who_come_after_it(place: Place) {
    let (io, server) = server(place);
    let mut early = members(&server, "/", &[&["a"], &[]]);
    io.with_middleware(|_: Socket| Err::<(), _>("closed"));
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut late = WebSocket::open(address, WEBSOCKET).1.unwrap();
    late.next().unwrap();
    late.send("40");
    assert_eq!(late.next().as_deref(), Some("44{\"message\":\"closed\"}"));
    io.emit("still here", &()).into_result().unwrap();
    early.iter_mut().for_each(|member| member.hears("still here"));
}

/// `on_packet` and `on_packet_create` hear pongs and pings too, in their order.
fn heartbeats_are_told_packet_by_packet(place: Place) {
    let io = place.builder().ping_interval(Duration::from_millis(500)).build().unwrap();
    let (log, heard) = channel();
    io.on_connection(move |socket: Socket| {
        let (came, goes) = (log.clone(), log.clone());
        let conn = socket.conn();
        conn.on_packet(move |packet| came.send(("came", packet.kind)).unwrap_or(()));
        conn.on_packet_create(move |packet| goes.send(("goes", packet.kind)).unwrap_or(()));
    });
    let server = Running::start(&io);
    let mut member = members(&server, "/", &[&[]]).remove(0);
    for _ in 0..2 {
        assert_eq!(member.wire.next().as_deref(), Some("2"));
        member.wire.send("3");
    }
    assert_eq!(member.wire.next().as_deref(), Some("2"));
    let ping = ("goes", EnginePacketKind::Ping);
    // That of a machine which stands still may be of a ping that went before anybody listened.
    let heard = heard.try_iter().skip_while(|packet| *packet != ping);
    let heartbeats = heard.filter(|packet| *packet == ping || packet.1 == EnginePacketKind::Pong);
    let pong = ("came", EnginePacketKind::Pong);
    assert_eq!(heartbeats.take(5).collect::<Vec<_>>(), [ping, pong, ping, pong, ping]);
    server.stop();
}

/// As in Node, where the question goes out at once and the client answers when it is connected.
fn a_middleware_asks_before_its_client_is_in(place: Place) {
    let io = place.builder().build().unwrap();
    let (tell, told) = channel();
    io.with_middleware(move |socket: Socket| {
        let tell = tell.clone();
        socket.emit_with_ack::<String>("who?", &()).on_reply(move |answer| tell.send(answer).unwrap());
        if socket.handshake().raw_auth().contains("refused") { Err("no") } else { Ok(()) }
    });
    let server = Running::start(&io);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let ask = |connect| {
        let mut wire = WebSocket::open(address, WEBSOCKET).1.unwrap();
        wire.next().unwrap();
        wire.send(connect);
        let question = wire.next().unwrap();
        let id = question.strip_prefix("42").and_then(|rest| rest.strip_suffix("[\"who?\"]")).unwrap().to_owned();
        let verdict = wire.next().unwrap();
        (wire, id, verdict)
    };
    let (mut wire, id, verdict) = ask("40");
    assert!(verdict.starts_with("40{"), "{verdict}");
    wire.send(&format!("43{id}[\"me\"]"));
    assert_eq!(told.recv_timeout(client::PATIENCE).unwrap().as_deref(), Ok("me"));
    let (_wire, _, verdict) = ask("40{\"refused\":true}");
    assert_eq!(verdict, "44{\"message\":\"no\"}");
    assert_eq!(told.recv_timeout(client::PATIENCE).unwrap(), Err(AckError::Disconnected), "nobody is left to answer");
}

/// `b..`, as over polling: Node's decoder takes it from a text frame, too.
fn an_attachment_may_come_as_text_over_a_websocket(place: Place) {
    let io = place.builder().build().unwrap();
    io.sockets_on("bytes", |Data(bytes): Data<Bytes>, ack: Ack| ack.send(&bytes.to_vec()));
    let server = Running::start(&io);
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut wire = WebSocket::open(address, WEBSOCKET).1.unwrap();
    wire.next().unwrap();
    wire.send("40");
    wire.next().unwrap();
    wire.send("451-7[\"bytes\",{\"_placeholder\":true,\"num\":0}]");
    wire.send("bAQL/");
    assert_eq!(wire.next().as_deref(), Some("437[[1,2,255]]"));
}
