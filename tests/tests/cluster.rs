//! Several servers of one cluster in this process, with real clients on each: on both drivers, with one shard each and
//! with several.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::bare::{Bare, Heard};
use client::{PATIENCE, Place, Running, until};
use ringio::cluster::{
    Adapter, HeartbeatOptions, Inbox, Link, LocalCluster, Members, MembersReply, Outgoing, PublishError,
    ServerSideError,
};
use ringio::{
    AckError, Args, BroadcastAckError, Bytes, Data, EmitError, Event, EventName, FetchError, Namespace, RawArgs,
    RemoteSocket, Server, ServerSideAck, Socket, State,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

matrix! {
    broadcasts_reach_the_clients_of_all_servers_in_order
    values_travel_whole
    sockets_of_all_servers_are_fetched_and_operated
    rooms_are_joined_and_left_across_servers
    clients_of_other_servers_acknowledge
    servers_ask_each_other
    typed_events_go_from_server_to_server
    a_silent_server_is_reported_with_what_came
    alone_there_is_nobody_to_wait_for
    who_closes_is_waited_for_no_longer
    namespaces_that_others_have_not
    servers_come_and_go_by_heartbeats
    a_server_that_does_not_read_costs_the_others_nothing
    a_link_that_fails_costs_nobody_here
    a_child_that_goes_on_one_server_is_told_to_the_others
}

/// A time that is over soon, where the test is that it ends.
const SOON: Duration = Duration::from_millis(300);

/// A time ends, and who answers has done so before: on a machine that stalls only in a longer one. `Err` says that it was too short.
fn in_a_time_that_ends(mut attempt: impl FnMut(Duration) -> Result<(), String>) {
    let attempts: Vec<_> = [1, 10, 100].iter().map_while(|times| attempt(*times * SOON).err()).collect();
    assert!(attempts.len() < 3, "not even the others answer in time: {attempts:?}");
}

fn wait<F: IntoFuture>(future: F) -> F::Output {
    // One runtime for all tests of the process would let a stuck one stop the others.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future.into_future())
}

/// Linked servers, not yet started.
fn servers(place: Place, cluster: &LocalCluster, count: usize) -> Vec<Server> {
    (0..count)
        .map(|number| {
            let io = place.builder().adapter(cluster.clone()).requests_timeout(PATIENCE).state(number).build().unwrap();
            io.sockets_on("join", |socket: Socket, Data(room): Data<String>, ack: ringio::Ack| {
                socket.join(&room);
                ack.send(&true)
            });
            io
        })
        .collect()
}

struct Cluster {
    running: Vec<Running>,
}

impl Cluster {
    fn start(place: Place, count: usize) -> Self {
        Self::of(&servers(place, &LocalCluster::new(), count))
    }

    fn of(servers: &[Server]) -> Self {
        Self { running: servers.iter().map(Running::start).collect() }
    }

    fn io(&self, at: usize) -> &Server {
        &self.running[at].io
    }

    /// Three clients on each server.
    fn clients(&self) -> Vec<Bare> {
        (0..self.running.len() * 3).map(|at| self.running[at / 3].bare()).collect()
    }
}

fn count(io: &Server) -> u32 {
    wait(io.server_count()).unwrap()
}

fn heard<T>(channel: &Receiver<T>) -> T {
    channel.recv_timeout(PATIENCE).expect("something is heard")
}

fn broadcasts_reach_the_clients_of_all_servers_in_order(place: Place) {
    let cluster = Cluster::start(place, 3);
    assert_eq!(count(cluster.io(1)), 3);
    let mut clients = cluster.clients();
    for number in 0..50 {
        cluster.io(number % 2).emit(if number % 2 == 0 { "even" } else { "odd" }, &number);
        cluster.io(2).local().emit("local", &number);
    }
    cluster.io(0).emit("end", &0);
    cluster.io(1).emit("end", &1);
    for (at, client) in clients.iter_mut().enumerate() {
        let (mut even, mut odd, mut local, mut ends) = (vec![], vec![], vec![], 0);
        while ends < 2 || (at >= 6 && local.len() < 50) {
            let Heard::Event(event, arguments, _) = client.next() else { panic!("it stays") };
            let number = arguments[0].as_u64().unwrap();
            match &*event {
                "even" => even.push(number),
                "odd" => odd.push(number),
                "local" => local.push(number),
                "end" => ends += 1,
                other => panic!("{other}"),
            }
        }
        assert_eq!(even, (0..50).filter(|number| number % 2 == 0).collect::<Vec<_>>(), "in the order of one sender");
        assert_eq!(odd, (0..50).filter(|number| number % 2 == 1).collect::<Vec<_>>());
        assert_eq!(local, if at >= 6 { (0..50).collect::<Vec<_>>() } else { vec![] }, "local stays on its server");
    }
    let counters: Vec<_> = (0..3).map(|at| cluster.io(at).cluster_counters()).collect();
    assert!(counters.iter().all(|counters| counters.publish_failed + counters.refused + counters.foreign == 0));
    assert_eq!(counters[2].published, 0, "local publishes nothing");
}

fn values_travel_whole(place: Place) {
    let cluster = Cluster::start(place, 2);
    let mut client = cluster.running[1].bare();
    // There from the beginning: whoever comes while an emit is on its way may still hear it.
    let mut sender = cluster.running[0].bare();
    let bytes = Bytes::from_static(&[0, 255, 7]);
    cluster.io(0).emit("two", &("Grüße 👋", json!({ "a": [null, 1.5, true], "b": {} })));
    assert_eq!(client.expect("two"), [json!("Grüße 👋"), json!({ "a": [null, 1.5, true], "b": {} })]);
    cluster.io(0).emit("binary", &bytes);
    let placeholder = json!({ "_placeholder": true, "num": 0 });
    assert_eq!(client.next(), Heard::Event("binary".into(), vec![placeholder], vec![bytes.to_vec()]));
    sender.expect("two");
    assert!(matches!(sender.next(), Heard::Event(name, ..) if name == "binary"));
    // Chosen by room and by id; the sender's own socket is left out on its own server.
    cluster.io(0).sockets_on("say", |socket: Socket, args: RawArgs| socket.broadcast().emit("said", &args));
    sender.emit("say", &[json!(1), json!("x")]);
    assert_eq!(client.expect("said"), [json!(1), json!("x")]);
    cluster.io(1).emit("end", &1);
    assert_eq!(sender.expect("end"), [json!(1)]);
}

fn sockets_of_all_servers_are_fetched_and_operated(place: Place) {
    let ios = servers(place, &LocalCluster::new(), 2);
    for (number, io) in ios.iter().enumerate() {
        io.on_connection(move |socket: Socket| {
            socket.data().insert("server", &number).unwrap();
            socket.join(["b", "a"]);
        });
    }
    let cluster = Cluster::of(&ios);
    let auth = json!({ "token": "x" });
    let mut theirs = Bare::connect(&cluster.running[1].url, "/", &auth);
    let mut ours = cluster.running[0].bare();
    until(|| wait(cluster.io(0).to("a").fetch_sockets()).unwrap().len() == 2);

    let mut sockets = wait(cluster.io(0).fetch_sockets()).unwrap();
    assert_eq!(sockets.len(), 2);
    assert_eq!(wait(cluster.io(0).local().fetch_sockets()).unwrap().len(), 1);
    sockets.sort_by_key(RemoteSocket::is_elsewhere);
    let [mine, other] = &sockets[..] else { panic!("two") };
    assert!(!mine.is_elsewhere() && mine.data().get::<usize>("server") == Some(0));
    assert_eq!(other.data().get::<usize>("server"), Some(1), "data of another server");
    assert_eq!(other.rooms().iter().map(String::as_str).collect::<BTreeSet<_>>(), [other.id(), "a", "b"].into());
    assert_eq!(other.handshake().auth::<Value>().unwrap(), auth);
    assert_eq!(other.handshake().query("transport").as_deref(), Some("websocket"));
    assert!(other.handshake().address().is_some());

    other.emit("hello", &("you", 1));
    assert_eq!(theirs.expect("hello"), [json!("you"), json!(1)]);
    other.join("c");
    until(|| wait(cluster.io(0).to("c").fetch_sockets()).unwrap() == [other.clone()]);
    other.leave(["a", "b"]);
    until(|| wait(cluster.io(0).to("a").fetch_sockets()).unwrap() == [mine.clone()]);
    assert_eq!(other.rooms().len(), 3, "a snapshot does not change");
    other.disconnect(true);
    assert_eq!(theirs.next(), Heard::Gone);
    until(|| wait(cluster.io(0).fetch_sockets()).unwrap().len() == 1);
    cluster.io(1).emit("still", &"here");
    assert_eq!(ours.expect("still"), [json!("here")]);
}

fn rooms_are_joined_and_left_across_servers(place: Place) {
    let cluster = Cluster::start(place, 3);
    let mut clients = cluster.clients();
    assert_eq!(clients[3].ask("join", &[json!("chosen")]), [json!(true)]);
    assert_eq!(clients[8].ask("join", &[json!("chosen")]), [json!(true)]);
    cluster.io(0).to("chosen").sockets_join(["x", "y"]);
    cluster.io(0).to("x").sockets_leave("y");
    cluster.io(0).to("y").emit("nobody", &1);
    cluster.io(0).to("x").except("none").emit("both", &2);
    cluster.io(0).except("x").emit("others", &3);
    cluster.io(0).to("x").disconnect_sockets(false);
    cluster.io(0).emit("end", &4);
    for (at, client) in clients.iter_mut().enumerate() {
        if [3, 8].contains(&at) {
            assert_eq!(client.expect("both"), [json!(2)]);
            assert_eq!(client.next(), Heard::Gone, "and no end");
        } else {
            assert_eq!(client.expect("others"), [json!(3)]);
            assert_eq!(client.expect("end"), [json!(4)]);
        }
    }
}

fn clients_of_other_servers_acknowledge(place: Place) {
    let cluster = Cluster::start(place, 2);
    let (mut ours, mut theirs) = (cluster.running[0].bare(), cluster.running[1].bare());
    let asked = cluster.io(0).timeout(PATIENCE).emit_with_ack::<Value>("all", &1);
    for client in [&mut ours, &mut theirs] {
        assert_eq!(client.expect("all"), [json!(1)]);
        client.answer(&json!([client.id, "second"]));
    }
    let answers: BTreeSet<String> = wait(asked).unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    assert_eq!(answers, [ours.id.clone(), theirs.id.clone()].into());

    let sockets = wait(cluster.io(0).fetch_sockets()).unwrap();
    let other = sockets.into_iter().find(RemoteSocket::is_elsewhere).unwrap();
    let asked = other.timeout(PATIENCE).emit_with_ack::<Value>("you", &2);
    assert_eq!(theirs.expect("you"), [json!(2)]);
    theirs.answer(&json!([{ "an": "answer" }, "second"]));
    assert_eq!(wait(asked), Ok(json!({ "an": "answer" })), "one value, not a list");

    let asked = wait(other.timeout(SOON).emit_with_ack::<Value>("silence", &3));
    assert_eq!(asked, Err(AckError::Timeout));
    let asked = wait(cluster.io(0).timeout(SOON).emit_with_ack::<Value>("silence", &3));
    assert!(matches!(asked, Err(BroadcastAckError::Incomplete { responses }) if responses.is_empty()));
    let asked = wait(cluster.io(0).to("nobody").timeout(PATIENCE).emit_with_ack::<Value>("none", &4));
    assert!(matches!(asked, Ok(responses) if responses.is_empty()), "nobody was asked");
    other.disconnect(true);
    assert_eq!(theirs.expect("silence"), [json!(3)]);
    assert_eq!(theirs.expect("silence"), [json!(3)]);
    assert_eq!(theirs.next(), Heard::Gone);
    until(|| wait(cluster.io(0).fetch_sockets()).unwrap().len() == 1);
    let asked = wait(other.timeout(PATIENCE).emit_with_ack::<Value>("gone", &5));
    assert_eq!(asked, Err(AckError::Disconnected), "no server knows it");
}

const LOAD: Event<(String, u32), f64> = Event::new("load");

fn typed_events_go_from_server_to_server(place: Place) {
    let ios = servers(place, &LocalCluster::new(), 2);
    let (tell, told) = channel();
    let reply = tell.clone();
    LOAD.on_server_side(&ios[1], move |namespace, (of, minutes), ack| {
        let _ = reply.send((namespace.name().to_owned(), of, ack.is_wanted()));
        ack.send(&(f64::from(minutes) / 2.0));
    });
    // What does not fit the types reaches no listener, and is answered by none.
    ios[1].on_server_side("last", move |_: Namespace| {
        let _ = tell.send(("last".to_owned(), String::new(), false));
    });
    let cluster = Cluster::of(&ios);
    assert!(LOAD.server_side_emit(cluster.io(0), &("cpu".to_owned(), 5)).is_ok());
    assert_eq!(heard(&told), ("/".to_owned(), "cpu".to_owned(), false));
    let answers = wait(LOAD.server_side_emit_with_ack(cluster.io(0), &("disk".to_owned(), 3)));
    assert_eq!((answers.unwrap(), heard(&told)), (vec![1.5], ("/".to_owned(), "disk".to_owned(), true)));
    cluster.io(0).server_side_emit("load", &7);
    cluster.io(0).server_side_emit("last", &());
    assert_eq!(heard(&told).0, "last");
    let reserved: Event<u8> = Event::new("connection");
    let refused = reserved.server_side_emit(cluster.io(0), &1).into_result();
    assert_eq!(refused, Err(EmitError::ReservedName("connection".to_owned())));
}

fn servers_ask_each_other(place: Place) {
    let ios = servers(place, &LocalCluster::new(), 3);
    let (tell, told) = channel();
    for io in &ios {
        let tell: Sender<(usize, String, Vec<Value>)> = tell.clone();
        io.on_server_side(
            "hello",
            move |State(number): State<usize>, name: EventName, Args(args): Args<Vec<Value>>| {
                let _ = tell.send((*number, name.0, args));
            },
        );
        io.on_server_side("number", |State(number): State<usize>, ack: ServerSideAck| {
            assert!(ack.is_wanted());
            ack.send(&(*number, "only the first counts"))
        });
        io.on_server_side("number", |ack: ServerSideAck| ack.send(&"too late: answered once"));
        io.on_server_side("sockets", async |namespace: Namespace, ack: ServerSideAck| {
            let sockets = namespace.local().fetch_sockets().await.unwrap();
            ack.send(&sockets.len())
        });
        io.on_server_side("binary", |Data(bytes): Data<Bytes>, ack: ServerSideAck| {
            ack.send(&Bytes::from([&bytes[..], &bytes[..]].concat()))
        });
        io.on_server_side("panic", |args: RawArgs| assert!(!args.is_empty(), "on purpose"));
    }
    let cluster = Cluster::of(&ios);
    let mut clients = cluster.clients();

    cluster.io(1).server_side_emit("panic", &());
    cluster.io(1).server_side_emit("hello", &("a", 1));
    let mut hearers = vec![heard(&told), heard(&told)];
    hearers.sort_by_key(|(number, ..)| *number);
    let expected = |number| (number, "hello".to_owned(), vec![json!("a"), json!(1)]);
    assert_eq!(hearers, [expected(0), expected(2)], "not the sender");

    let mut numbers = wait(cluster.io(0).server_side_emit_with_ack::<usize>("number", &())).unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(wait(cluster.io(2).server_side_emit_with_ack::<usize>("sockets", &())).unwrap(), [3, 3]);
    let bytes = wait(cluster.io(2).server_side_emit_with_ack::<Bytes>("binary", &Bytes::from_static(b"\0a"))).unwrap();
    assert_eq!(bytes, [&b"\0a\0a"[..], &b"\0a\0a"[..]]);

    // From within a handler, which waits for it on its own shard.
    cluster.io(0).sockets_on("ask", async |namespace: Namespace, ack: ringio::Ack| {
        let answers = namespace.server_side_emit_with_ack::<usize>("sockets", &()).await.unwrap();
        ack.send(&answers.iter().sum::<usize>())
    });
    for client in &mut clients[..3] {
        assert_eq!(client.ask("ask", &[]), [json!(6)]);
    }

    for name in ["connect", "connection", "new_namespace"] {
        let refused = cluster.io(0).server_side_emit(name, &()).into_result();
        assert_eq!(refused, Err(EmitError::ReservedName(name.to_owned())));
        let refused = wait(cluster.io(0).server_side_emit_with_ack::<Value>(name, &()));
        assert!(matches!(refused, Err(ServerSideError::Emit(EmitError::ReservedName(_)))));
    }
    ios[0].off_server_side("hello");
    cluster.io(1).server_side_emit("hello", &"again");
    assert_eq!(heard(&told).0, 2);
    assert!(told.try_recv().is_err());
}

fn a_silent_server_is_reported_with_what_came(place: Place) {
    in_a_time_that_ends(|time| report_of_a_silent_server(place, time));
}

fn report_of_a_silent_server(place: Place, time: Duration) -> Result<(), String> {
    let cluster = LocalCluster::new();
    let ios: Vec<Server> =
        (0..3).map(|_| place.builder().adapter(cluster.clone()).requests_timeout(time).build().unwrap()).collect();
    ios[1].on_server_side("value", |ack: ServerSideAck| ack.send(&"one"));
    // A handler that never answers is as silent as none.
    ios[2].on_server_side("value", |ack: ServerSideAck| drop(ack));
    let cluster = Cluster::of(&ios);
    let error = wait(cluster.io(0).server_side_emit_with_ack::<String>("value", &())).unwrap_err();
    if matches!(&error, ServerSideError::Timeout { responses, .. } if responses.is_empty()) {
        return Err(error.to_string());
    }
    assert_eq!(error.to_string(), "timeout reached: only 1 responses received out of 2");
    assert!(matches!(error, ServerSideError::Timeout { responses, expected: Some(2) } if responses == ["one"]));

    // A shard that is busy for longer than the question waits.
    let clients = cluster.clients();
    let (release, busy) = channel::<()>();
    let busy = parking_lot::Mutex::new(busy);
    cluster.io(2).on_server_side("sleep", move || {
        let _ = busy.lock().recv_timeout(PATIENCE);
    });
    cluster.io(0).server_side_emit("sleep", &());
    let error = wait(cluster.io(0).fetch_sockets()).unwrap_err();
    if matches!(error, FetchError::Timeout { missing: 1.., .. } | FetchError::Timeout { answered: 0, .. }) {
        return Err(error.to_string());
    }
    assert_eq!(error.to_string(), "timeout reached: only 1 responses received out of 2");
    let FetchError::Timeout { sockets, missing: 0, answered: 1, expected: Some(2) } = error else { panic!("{error}") };
    assert_eq!(sockets.len(), 6, "those of the two others");
    release.send(()).unwrap();
    until(|| wait(cluster.io(0).fetch_sockets()).is_ok_and(|sockets| sockets.len() == clients.len()));
    Ok(())
}

fn alone_there_is_nobody_to_wait_for(place: Place) {
    let without = place.builder().build().unwrap();
    let with = servers(place, &LocalCluster::new(), 1).remove(0);
    for io in [without, with] {
        let running = Running::start(&io);
        let mut client = running.bare();
        assert_eq!(count(&io), 1);
        assert!(wait(io.server_side_emit_with_ack::<Value>("x", &())).unwrap().is_empty());
        assert!(io.server_side_emit("x", &()).is_ok());
        assert_eq!(wait(io.fetch_sockets()).unwrap().len(), 1);
        io.emit("hello", &1);
        assert_eq!(client.expect("hello"), [json!(1)]);
    }
}

/// All in one turn, so that none is answered meanwhile.
#[test]
fn a_shard_has_so_many_questions_open_and_no_more() {
    const OPEN_MAX: usize = 65_536;
    let place = Place { driver: ringio::Driver::Epoll, shards: 1 };
    let io = servers(place, &LocalCluster::new(), 1).remove(0);
    let (everybody, (tell, told)) = (io.of("/"), channel());
    io.sockets_on("flood", async move || {
        let mut asked: Vec<_> = (0..=OPEN_MAX).map(|_| everybody.local().fetch_sockets()).collect();
        let (servers, count) = (everybody.server_side_emit_with_ack::<u8>("load", &()), everybody.server_count());
        let clients = everybody.to("nobody").emit_with_ack::<u8>("load", &());
        let refused = matches!(asked.pop().unwrap().await, Err(FetchError::Overloaded))
            && matches!(servers.await, Err(ServerSideError::Emit(EmitError::Overloaded)))
            && matches!(count.await, Err(ServerSideError::Emit(EmitError::Overloaded)))
            && matches!(clients.await, Err(BroadcastAckError::Emit(EmitError::Overloaded)));
        let mut answered = 0;
        for sockets in asked {
            answered += sockets.await.unwrap().len();
        }
        tell.send((refused, answered, everybody.server_count().await.unwrap())).unwrap();
    });
    let running = Running::start(&io);
    let mut client = running.bare();
    client.emit("flood", &[]);
    assert_eq!(heard(&told), (true, OPEN_MAX, 1));
}

fn who_closes_is_waited_for_no_longer(place: Place) {
    let ios = servers(place, &LocalCluster::new(), 3);
    let (tell, told) = channel();
    // Keeps its answers, so both are waited for until one of them closes.
    for io in &ios[1..] {
        let tell = tell.clone();
        io.on_server_side("keep", move |State(number): State<usize>, ack: ServerSideAck| {
            let _ = tell.send((*number, ack));
        });
    }
    let mut cluster = Cluster::of(&ios);
    let asked = cluster.io(0).server_side_emit_with_ack::<usize>("keep", &());
    let mut acks = vec![heard(&told), heard(&told)];
    acks.sort_by_key(|(number, _)| *number);
    let (_, ack) = acks.remove(0);
    assert!(ack.send(&1).is_ok());
    cluster.running.pop().unwrap().stop();
    assert_eq!(wait(asked).unwrap(), [1]);
    assert_eq!(count(cluster.io(0)), 2);
    let mut client = cluster.running[1].bare();
    cluster.io(0).emit("hello", &1);
    assert_eq!(client.expect("hello"), [json!(1)]);
}

fn namespaces_that_others_have_not(place: Place) {
    let ios = servers(place, &LocalCluster::new(), 2);
    let ours = ios[0].of("/ours");
    let cluster = Cluster::of(&ios);
    assert_eq!(wait(ours.server_count()).unwrap(), 1, "the other has no such namespace");
    assert!(wait(ours.server_side_emit_with_ack::<Value>("x", &())).unwrap().is_empty());
    ours.emit("to", &"ours");
    // What one server says keeps its order, so the other has heard it when it has answered this.
    wait(cluster.io(0).fetch_sockets()).unwrap();
    let theirs = ios[1].of("/ours");
    assert_eq!(wait(ours.server_count()).unwrap(), 2, "as soon as it has");
    let mut client = Bare::connect(&cluster.running[1].url, "/ours", &json!({}));
    let mut main = cluster.running[1].bare();
    ours.emit("hello", &1);
    theirs.emit("hello", &2);
    let mut heard = [client.expect("hello"), client.expect("hello")];
    heard.sort_by_key(|arguments: &Vec<Value>| arguments[0].as_u64());
    assert_eq!(heard, [[json!(1)], [json!(2)]]);
    cluster.io(0).emit("main", &3);
    assert_eq!(main.expect("main"), [json!(3)], "namespaces are apart");
}

fn servers_come_and_go_by_heartbeats(place: Place) {
    let heartbeat = HeartbeatOptions { interval_ms: 50, timeout_ms: 60_000 };
    let mut cluster = Cluster::of(&servers(place, &LocalCluster::with_heartbeat(heartbeat), 3));
    for at in 0..3 {
        until(|| count(cluster.io(at)) == 3);
    }
    let clients = cluster.clients();
    assert_eq!(wait(cluster.io(1).fetch_sockets()).unwrap().len(), clients.len());
    cluster.running.pop().unwrap().stop();
    until(|| count(cluster.io(0)) == 2 && count(cluster.io(1)) == 2);
    assert_eq!(wait(cluster.io(1).fetch_sockets()).unwrap().len(), 6);
}

fn a_server_that_does_not_read_costs_the_others_nothing(place: Place) {
    let ios = servers(place, &LocalCluster::new(), 3);
    let (release, busy) = channel::<()>();
    let busy = parking_lot::Mutex::new(busy);
    let (tell, told) = channel();
    ios[2].on_server_side("sleep", move || {
        let _ = tell.send(());
        let _ = busy.lock().recv_timeout(PATIENCE);
    });
    let cluster = Cluster::of(&ios);
    let mut client = cluster.running[1].bare();
    cluster.io(0).server_side_emit("sleep", &());
    heard(&told);
    // More bytes than the inbox of one server holds.
    let large = Bytes::from(vec![7; 1 << 20]);
    for number in 0..80 {
        cluster.io(0).to("nobody").emit("large", &large);
        cluster.io(0).emit("small", &number);
        assert_eq!(client.expect("small"), [json!(number)], "the other server hears all");
    }
    let counters = cluster.io(0).cluster_counters();
    assert!(counters.publish_failed > 0, "the publisher is told: {counters:?}");
    assert!(cluster.io(2).cluster_counters().refused > 0);
    release.send(()).unwrap();
    until(|| {
        cluster.io(0).emit("end", &1);
        cluster.io(0).cluster_counters().publish_failed == counters.publish_failed
            || cluster.io(2).cluster_counters().received > 40
    });
    let mut late = cluster.running[2].bare();
    cluster.io(0).emit("late", &2);
    while !matches!(late.next(), Heard::Event(event, ..) if event == "late") {}
}

/// An adapter as somebody else would write one, and which has a bad day.
struct Broken {
    connects: bool,
}

struct BrokenLink;

impl Adapter for Broken {
    fn connect(&self, inbox: Inbox) -> std::io::Result<Box<dyn Link>> {
        assert_eq!(inbox.node().as_str().len(), 16);
        if self.connects { Ok(Box::new(BrokenLink)) } else { Err(std::io::Error::other("no broker at port 6379")) }
    }
}

impl Link for BrokenLink {
    fn open(&self, _: &Arc<str>) {}

    fn close(&self, _: &str) {}

    fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        assert_eq!(&*outgoing.namespace, "/");
        match outgoing.message.number() {
            3 => Err(PublishError::Disconnected("on purpose".to_owned())),
            _ => panic!("on purpose"),
        }
    }

    fn members(&self, _: &Arc<str>, reply: MembersReply) {
        // Later, from another thread.
        std::thread::spawn(move || reply.send(Members::Count(1)));
    }
}

fn a_link_that_fails_costs_nobody_here(place: Place) {
    let refused = place.builder().adapter(Broken { connects: false }).build().unwrap();
    let error = refused.start("127.0.0.1:0").unwrap_err();
    assert_eq!(error.to_string(), "the adapter cannot connect to other servers: no broker at port 6379");

    in_a_time_that_ends(|time| with_a_link_that_fails(place, time));
}

fn with_a_link_that_fails(place: Place, time: Duration) -> Result<(), String> {
    let io = place.builder().adapter(Broken { connects: true }).requests_timeout(time).build().unwrap();
    let running = Running::start(&io);
    let mut client = running.bare();
    // Another thread says how many servers there are.
    let too_short = |error: &dyn std::fmt::Display| Err(error.to_string());
    match wait(io.server_count()) {
        Ok(count) => assert_eq!(count, 2),
        Err(error) => return too_short(&error),
    }
    io.emit("hello", &1);
    io.sockets_join("room");
    io.to("room").emit("hello", &2);
    assert_eq!(client.expect("hello"), [json!(1)], "the local part happens");
    assert_eq!(client.expect("hello"), [json!(2)]);
    let error = wait(io.fetch_sockets()).unwrap_err();
    if matches!(error, FetchError::Timeout { missing: 1.., .. } | FetchError::Timeout { expected: None, .. }) {
        return too_short(&error);
    }
    assert!(matches!(error, FetchError::Timeout { sockets, answered: 0, expected: Some(1), .. } if sockets.len() == 1));
    let error = wait(io.server_side_emit_with_ack::<Value>("x", &())).unwrap_err();
    if matches!(error, ServerSideError::Timeout { expected: None, .. }) {
        return too_short(&error);
    }
    assert_eq!(error.to_string(), "timeout reached: only 0 responses received out of 1");
    assert!(io.cluster_counters().publish_failed >= 5, "{:?}", io.cluster_counters());
    assert_eq!(io.cluster_counters().published, 0);
    Ok(())
}

/// With heartbeats nobody but the server itself can say that it has a namespace no longer, short of a minute of silence.
fn a_child_that_goes_on_one_server_is_told_to_the_others(place: Place) {
    let heartbeat = HeartbeatOptions { interval_ms: 50, timeout_ms: 60_000 };
    let cluster = LocalCluster::with_heartbeat(heartbeat);
    let ios: Vec<Server> = (0..2)
        .map(|_| {
            let builder = place.builder().adapter(cluster.clone()).requests_timeout(PATIENCE);
            let io = builder.cleanup_empty_child_namespaces(true).build().unwrap();
            drop(io.of_matching(|name, _| name == "/made"));
            io
        })
        .collect();
    let cluster = Cluster::of(&ios);
    let join = |at: usize| Bare::connect(&cluster.running[at].url, "/made", &json!({}));
    let has_child = |at: usize| ios[at].namespaces().iter().any(|namespace| namespace.name() == "/made");
    let mut stays = join(0);
    for _ in 0..2 {
        let goes = join(1);
        let ours = ios[0].namespaces().into_iter().find(|namespace| namespace.name() == "/made").unwrap();
        let count = || wait(ours.server_count()).unwrap();
        until(|| count() == 2);
        drop(goes);
        until(|| !has_child(1));
        until(|| count() == 1);
        assert_eq!(wait(ours.fetch_sockets()).unwrap().len(), 1, "nobody is waited for who has it no longer");
    }
    assert!(has_child(0));
    ios[0].of("/made").emit("hello", &1);
    assert_eq!(stays.expect("hello"), [json!(1)]);
}
