//! Every form of a call on every handle that has it: what Node's chains of flags may look like here, and where they arrive.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::bare::Bare;
use client::{Place, Running};
use ringio::{
    AckReply, BroadcastAcks, BroadcastOperator, Data, Emitted, Event, Namespace, ParentNamespace, RemoteAckReply,
    RemoteSocket, Socket,
};
use serde_json::json;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

matrix! {
    every_form_of_emit_arrives_where_it_is_meant_to
    every_form_of_a_question_is_answered
    operations_reach_all_a_room_the_others_and_one
}

/// Long enough for every answer on a busy machine.
const LONG: Duration = Duration::from_secs(600);

/// The event of all forms but `send` and `write`, whose event is `message`.
const N: Event<usize> = Event::new("n");

fn wait<F: IntoFuture>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future.into_future())
}

/// Who hears it.
#[derive(Clone, Copy, PartialEq)]
enum To {
    Me,
    Others,
    All,
}

/// What a form is called on.
struct Handles<'a> {
    socket: Option<&'a Socket>,
    remote: &'a RemoteSocket,
    namespace: &'a Namespace,
    parent: &'a ParentNamespace,
}

type Form = fn(&Handles<'_>, &usize) -> Emitted;

/// On the shard of the socket alone.
const OF_SOCKETS: &[(To, &str, Form)] = &[
    (To::Me, "n", |at, n| at.socket.unwrap().emit("n", n)),
    (To::Me, "message", |at, n| at.socket.unwrap().send(n)),
    (To::Me, "message", |at, n| at.socket.unwrap().write(n)),
    (To::Me, "n", |at, n| at.socket.unwrap().volatile().emit("n", n)),
    (To::Me, "message", |at, n| at.socket.unwrap().volatile().send(n)),
    (To::Me, "message", |at, n| at.socket.unwrap().volatile().write(n)),
    (To::Me, "n", |at, n| at.socket.unwrap().compress(false).emit("n", n)),
    (To::Me, "n", |at, n| at.socket.unwrap().timeout(LONG).emit("n", n)),
    (To::Me, "n", |at, n| at.socket.unwrap().compress(true).timeout(LONG).volatile().emit("n", n)),
    (To::Me, "n", |at, n| N.emit(at.socket.unwrap(), n)),
    (To::Me, "n", |at, n| N.emit(&at.socket.unwrap().volatile(), n)),
    (To::Others, "n", |at, n| at.socket.unwrap().broadcast().emit("n", n)),
    (To::Others, "message", |at, n| at.socket.unwrap().broadcast().send(n)),
    (To::Others, "n", |at, n| at.socket.unwrap().to("room").emit("n", n)),
    (To::Others, "n", |at, n| at.socket.unwrap().within(["room", "other"]).emit("n", n)),
    (To::Others, "n", |at, n| at.socket.unwrap().except("nobody's").emit("n", n)),
    (To::Others, "n", |at, n| at.socket.unwrap().local().emit("n", n)),
    (To::Others, "n", |at, n| at.socket.unwrap().volatile().broadcast().emit("n", n)),
    (To::Others, "n", |at, n| at.socket.unwrap().volatile().to("room").emit("n", n)),
    (To::Others, "n", |at, n| at.socket.unwrap().compress(false).within("room").emit("n", n)),
    (To::Others, "n", |at, n| at.socket.unwrap().timeout(LONG).except("nobody's").emit("n", n)),
    (To::Others, "n", |at, n| at.socket.unwrap().volatile().local().emit("n", n)),
    (To::Others, "n", |at, n| N.emit(&at.socket.unwrap().broadcast(), n)),
];

/// On any thread.
const OF_ALL: &[(To, &str, Form)] = &[
    (To::Me, "n", |at, n| at.remote.emit("n", n)),
    (To::Me, "n", |at, n| at.remote.volatile().emit("n", n)),
    (To::Me, "n", |at, n| at.remote.compress(false).emit("n", n)),
    (To::Me, "n", |at, n| at.remote.timeout(LONG).emit("n", n)),
    (To::Me, "n", |at, n| N.emit(at.remote, n)),
    (To::Me, "n", |at, n| N.emit(&at.remote.volatile(), n)),
    (To::Me, "n", |at, n| at.namespace.to(at.remote.id()).emit("n", n)),
    (To::Others, "n", |at, n| at.namespace.except(at.remote.id()).emit("n", n)),
    (To::All, "n", |at, n| at.namespace.emit("n", n)),
    (To::All, "message", |at, n| at.namespace.send(n)),
    (To::All, "message", |at, n| at.namespace.write(n)),
    (To::All, "n", |at, n| at.namespace.to("room").emit("n", n)),
    (To::All, "message", |at, n| at.namespace.to("room").send(n)),
    (To::All, "n", |at, n| at.namespace.within("room").to("other").emit("n", n)),
    (To::All, "n", |at, n| at.namespace.except("nobody's").emit("n", n)),
    (To::All, "n", |at, n| at.namespace.local().emit("n", n)),
    (To::All, "n", |at, n| at.namespace.volatile().emit("n", n)),
    (To::All, "n", |at, n| at.namespace.compress(false).emit("n", n)),
    (To::All, "n", |at, n| at.namespace.timeout(LONG).emit("n", n)),
    (To::All, "n", |at, n| at.namespace.to("room").except("x").local().volatile().compress(false).emit("n", n)),
    (To::All, "n", |at, n| N.emit(at.namespace, n)),
    (To::All, "n", |at, n| N.emit(&at.namespace.to("room"), n)),
    (To::All, "n", |at, n| at.parent.emit("n", n)),
    (To::All, "message", |at, n| at.parent.send(n)),
    (To::All, "message", |at, n| at.parent.write(n)),
    (To::All, "n", |at, n| at.parent.to("room").emit("n", n)),
    (To::All, "n", |at, n| at.parent.within("room").except("nobody's").emit("n", n)),
    (To::Others, "message", |at, n| at.parent.except(at.remote.id()).send(n)),
    (To::All, "n", |at, n| at.parent.local().to("room").emit("n", n)),
    (To::All, "n", |at, n| at.parent.volatile().emit("n", n)),
    (To::All, "n", |at, n| at.parent.compress(false).volatile().within("room").local().emit("n", n)),
    (To::All, "n", |at, n| N.emit(at.parent, n)),
    (To::All, "n", |at, n| N.emit(&at.parent.to("room"), n)),
];

/// A namespace made on demand, and two clients there.
struct Scene {
    server: Running,
    namespace: Namespace,
    parent: ParentNamespace,
    me: Bare,
    other: Bare,
}

impl Scene {
    fn new(place: Place, prepare: impl FnOnce(&ParentNamespace)) -> Self {
        let io = place.builder().build().unwrap();
        let parent = io.of_matching(|name, _| name == "/made");
        parent.on_connection(|socket: Socket| socket.join("room"));
        prepare(&parent);
        let server = Running::start(&io);
        let [me, other] = [(); 2].map(|()| Bare::connect(&server.url, "/made", &json!({})));
        Self { server, namespace: io.of("/made"), parent, me, other }
    }

    /// Me, seen from this thread.
    fn remote(&self) -> RemoteSocket {
        let sockets = wait(self.namespace.fetch_sockets()).unwrap();
        sockets.into_iter().find(|socket| socket.id() == self.me.id).unwrap()
    }

    fn hear(&mut self, to: To, event: &str, n: usize) {
        if to != To::Others {
            assert_eq!(self.me.expect(event), [json!(n)]);
        }
        if to != To::Me {
            assert_eq!(self.other.expect(event), [json!(n)]);
        }
    }
}

// Each form waits until the one before has arrived: a volatile event behind another one would be dropped. What arrived where it is not
// meant to would be heard in place of the next one.
fn every_form_of_emit_arrives_where_it_is_meant_to(place: Place) {
    let forms = || OF_SOCKETS.iter().chain(OF_ALL);
    let mut scene = Scene::new(place, |parent| {
        let everybody = parent.clone();
        parent.sockets_on("form", move |socket: Socket, Data(n): Data<usize>| {
            let (_, _, form) = forms().nth(n).unwrap();
            let (remote, namespace) = (&socket.to_remote().unwrap(), &socket.namespace());
            form(&Handles { socket: Some(&socket), remote, namespace, parent: &everybody }, &n)
        });
    });
    for (n, (to, event, _)) in forms().enumerate() {
        scene.me.emit("form", &[json!(n)]);
        scene.hear(*to, event, n);
    }
    let (remote, namespace, parent) = (scene.remote(), scene.namespace.clone(), scene.parent.clone());
    for (n, (to, event, form)) in OF_ALL.iter().enumerate() {
        let handles = Handles { socket: None, remote: &remote, namespace: &namespace, parent: &parent };
        assert_eq!(form(&handles, &n).into_result(), Ok(()));
        scene.hear(*to, event, n);
    }
}

type Answers = Pin<Box<dyn Future<Output = Vec<u8>>>>;

fn one(reply: AckReply<u8>) -> Answers {
    Box::pin(async { vec![reply.await.unwrap()] })
}

fn remote_one(reply: RemoteAckReply<u8>) -> Answers {
    Box::pin(async { vec![reply.await.unwrap()] })
}

fn many(replies: BroadcastAcks<u8>) -> Answers {
    Box::pin(async { replies.await.unwrap() })
}

const ASK: Event<(), u8> = Event::new("ask");

type Question = fn(&Handles<'_>) -> Answers;

const QUESTIONS_OF_SOCKETS: &[(To, Question)] = &[
    (To::Me, |at| one(at.socket.unwrap().emit_with_ack("ask", &()))),
    (To::Me, |at| one(at.socket.unwrap().timeout(LONG).emit_with_ack("ask", &()))),
    (To::Me, |at| one(at.socket.unwrap().volatile().compress(false).emit_with_ack("ask", &()))),
    (To::Me, |at| one(ASK.emit_with_ack(at.socket.unwrap(), &()))),
    (To::Me, |at| one(ASK.emit_with_ack(&at.socket.unwrap().timeout(LONG), &()))),
    (To::Others, |at| many(at.socket.unwrap().broadcast().timeout(LONG).emit_with_ack("ask", &()))),
    (To::Others, |at| many(at.socket.unwrap().timeout(LONG).to("room").emit_with_ack("ask", &()))),
];

const QUESTIONS_OF_ALL: &[(To, Question)] = &[
    (To::Me, |at| remote_one(at.remote.emit_with_ack("ask", &()))),
    (To::Me, |at| remote_one(at.remote.timeout(LONG).emit_with_ack("ask", &()))),
    (To::Me, |at| remote_one(at.remote.compress(false).volatile().emit_with_ack("ask", &()))),
    (To::Me, |at| remote_one(ASK.emit_with_ack(at.remote, &()))),
    (To::Me, |at| many(at.namespace.to(at.remote.id()).timeout(LONG).emit_with_ack("ask", &()))),
    (To::Others, |at| many(at.namespace.except(at.remote.id()).timeout(LONG).emit_with_ack("ask", &()))),
    (To::All, |at| many(at.namespace.timeout(LONG).emit_with_ack("ask", &()))),
    (To::All, |at| many(at.namespace.within("room").local().timeout(LONG).emit_with_ack("ask", &()))),
    (To::All, |at| many(ASK.emit_with_ack(&at.namespace.timeout(LONG), &()))),
];

fn every_form_of_a_question_is_answered(place: Place) {
    let questions = || QUESTIONS_OF_SOCKETS.iter().chain(QUESTIONS_OF_ALL);
    let mut scene = Scene::new(place, |parent| {
        let everybody = parent.clone();
        parent.sockets_on("question", async move |socket: Socket, Data(n): Data<usize>| {
            let (_, question) = questions().nth(n).unwrap();
            let (remote, namespace) = (&socket.to_remote().unwrap(), &socket.namespace());
            let answers = question(&Handles { socket: Some(&socket), remote, namespace, parent: &everybody });
            socket.emit("answers", &(answers.await,))
        });
    });
    fn answer(scene: &mut Scene, to: To) -> usize {
        let clients = [(&mut scene.me, to != To::Others), (&mut scene.other, to != To::Me)];
        let asked = clients.into_iter().filter(|(_, is_asked)| *is_asked);
        asked.fold(0, |count, (client, _)| {
            assert_eq!(client.expect("ask"), [json!(null); 0]);
            client.answer(&json!([7, "only the first counts"]));
            count + 1
        })
    }
    for (n, (to, _)) in questions().enumerate() {
        scene.me.emit("question", &[json!(n)]);
        let count = answer(&mut scene, *to);
        assert_eq!(scene.me.expect("answers"), [json!(vec![7; count])]);
    }
    let (remote, namespace, parent) = (scene.remote(), scene.namespace.clone(), scene.parent.clone());
    for (to, question) in QUESTIONS_OF_ALL {
        let answers = question(&Handles { socket: None, remote: &remote, namespace: &namespace, parent: &parent });
        let count = answer(&mut scene, *to);
        assert_eq!(wait(answers), vec![7; count]);
    }
}

fn operations_reach_all_a_room_the_others_and_one(place: Place) {
    let mut scene = Scene::new(place, |parent| {
        parent.sockets_on("others join", |socket: Socket| {
            let others = [socket.broadcast(), socket.to("room"), socket.local(), socket.volatile().except("nobody's")];
            for (at, others) in others.iter().enumerate() {
                others.sockets_join(format!("others {at}"));
            }
            socket.emit("done", &())
        });
    });
    let (namespace, remote) = (scene.namespace.clone(), scene.remote());
    let (me, other) = (scene.me.id.clone(), scene.other.id.clone());
    let inside = |room: &str| {
        let mut ids: Vec<String> =
            wait(namespace.to(room).fetch_sockets()).unwrap().iter().map(|socket| socket.id().to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    let mut both = vec![me.clone(), other.clone()];
    both.sort_unstable();

    scene.me.emit("others join", &[]);
    scene.me.expect("done");
    for at in 0..4 {
        assert_eq!(inside(&format!("others {at}")), std::slice::from_ref(&other));
    }
    let selections: [(&BroadcastOperator, &[String]); 5] = [
        (&namespace.compress(true), &both),
        (&namespace.to("room").local(), &both),
        (&namespace.to(&me), std::slice::from_ref(&me)),
        (&namespace.except(&me), std::slice::from_ref(&other)),
        (&namespace.to(["room", "x"]).except(&other), std::slice::from_ref(&me)),
    ];
    for (selected, expected) in selections {
        selected.sockets_join(["in", "and out"]).into_result().unwrap();
        assert_eq!((inside("in"), inside("and out")), (expected.to_vec(), expected.to_vec()));
        selected.sockets_leave("in").into_result().unwrap();
        assert_eq!((inside("in"), inside("and out")), (vec![], expected.to_vec()));
        namespace.sockets_leave("and out").into_result().unwrap();
    }
    let mut third = Bare::connect(&scene.server.url, "/made", &json!({}));
    namespace.except([me.as_str(), other.as_str()]).disconnect_sockets(false).into_result().unwrap();
    assert_eq!(third.next(), client::bare::Heard::Gone);
    assert_eq!(inside("room"), both, "those who were left out stay");
    remote.join(["in", "out"]).into_result().unwrap();
    remote.leave("out").into_result().unwrap();
    assert_eq!((inside("in"), inside("out")), (vec![me.clone()], vec![]));
    remote.disconnect(false).into_result().unwrap();
    assert_eq!(scene.me.next(), client::bare::Heard::Gone);
    namespace.to(&other).disconnect_sockets(true).into_result().unwrap();
    assert_eq!(scene.other.next(), client::bare::Heard::Gone);
    while !wait(namespace.fetch_sockets()).unwrap().is_empty() {}
    scene.server.stop();
}
