//! A server that does not take what other servers say: its inbox is bounded by number and by bytes, and at exactly these bounds. What is over
//! them is counted at both ends, told to who publishes, and kept by nobody; the others hear all of it.
//!
//! An adapter around `LocalCluster` sees what is published and how it went, and whether anybody still has it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::bare::Bare;
use client::{PATIENCE, Place, Running, until};
use parking_lot::Mutex;
use ringio::cluster::{
    Adapter, ClusterCounters, ClusterMessage, Inbox, Link, LocalCluster, MembersReply, Outgoing, PublishError,
};
use serde_json::json;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Once, Weak};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

matrix! {
    messages_over_the_number_that_may_wait_are_refused
    bytes_over_those_that_may_wait_are_refused
}

/// `INBOX_MESSAGES_MAX` of the server.
const MESSAGES_MAX: usize = 16_384;
/// `INBOX_BYTES_MAX` of the server.
const BYTES_MAX: usize = 64 << 20;

/// One message: who still has it, what it counts, how publishing it went.
type Said = (Weak<ClusterMessage>, usize, Result<(), PublishError>);

/// What one server says.
#[derive(Clone, Default)]
struct Watched {
    cluster: LocalCluster,
    said: Arc<Mutex<Vec<Said>>>,
}

struct WatchedLink {
    link: Box<dyn Link>,
    said: Arc<Mutex<Vec<Said>>>,
}

impl Adapter for Watched {
    fn connect(&self, inbox: Inbox) -> std::io::Result<Box<dyn Link>> {
        let said = Arc::clone(&self.said);
        Ok(Box::new(WatchedLink { link: self.cluster.connect(inbox)?, said }))
    }
}

impl Link for WatchedLink {
    fn open(&self, namespace: &Arc<str>) {
        self.link.open(namespace);
    }

    fn close(&self, namespace: &str) {
        self.link.close(namespace);
    }

    fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        let (message, size) = (Arc::downgrade(&outgoing.message), outgoing.message.size());
        let published = self.link.publish(outgoing);
        self.said.lock().push((message, size, published.clone()));
        published
    }

    fn members(&self, namespace: &Arc<str>, reply: MembersReply) {
        self.link.members(namespace, reply);
    }

    fn shutdown(&self) {
        self.link.shutdown();
    }
}

/// How often the log says that other servers are not told, for want of room.
static FAILURES_LOGGED: AtomicUsize = AtomicUsize::new(0);

/// The log is everybody's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Log;

struct IsFailure(bool);

impl Visit for IsFailure {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 |= field.name() == "error" && format!("{value:?}") == PublishError::Full.to_string();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut failure = IsFailure(false);
        event.record(&mut failure);
        FAILURES_LOGGED.fetch_add(usize::from(failure.0), Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A client, and the number of the event that it is to hear next.
struct Reader {
    client: Bare,
    next: usize,
}

impl Reader {
    fn of(server: &Running) -> Self {
        Self { client: server.bare(), next: 0 }
    }

    /// Hears all events to this one, each in its turn.
    fn read_to(&mut self, last: usize) {
        while self.next <= last {
            assert_eq!(self.client.expect("event")[0], json!(self.next));
            self.next += 1;
        }
    }
}

fn messages_over_the_number_that_may_wait_are_refused(place: Place) {
    assert_eq!(fill_an_inbox(place, MESSAGES_MAX + 1_000, 0), MESSAGES_MAX);
}

fn bytes_over_those_that_may_wait_are_refused(place: Place) {
    // Each counts a little more than its padding.
    assert_eq!(fill_an_inbox(place, 80, 1 << 20), 63);
}

/// Says so many events to everybody while the first shard of one of three servers is busy, looks at all of them, and lets it go on: how many
/// of them that server takes.
fn fill_an_inbox(place: Place, events: usize, padding: usize) -> usize {
    static LOGGED: Once = Once::new();
    let _alone = ONE_AT_A_TIME.lock();
    LOGGED.call_once(|| tracing::subscriber::set_global_default(Log).unwrap());
    let logged_before = FAILURES_LOGGED.load(Ordering::Relaxed);

    let watched = Watched::default();
    let builder = || place.builder().outbox_bytes_max(2 * BYTES_MAX);
    let publisher = builder().adapter(watched.clone()).build().unwrap();
    let [neighbour, busy] = [(); 2].map(|()| builder().adapter(watched.cluster.clone()).build().unwrap());
    let (tell, is_busy) = channel();
    let (let_go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    busy.on_server_side("work", move || {
        tell.send(()).unwrap();
        // An end of the channel will do, too: the test has failed.
        let _ = may_go.lock().recv_timeout(10 * PATIENCE);
    });
    let servers: Vec<Running> = [&busy, &neighbour, &publisher].map(Running::start).into();
    // Let go of before the servers, which wait for their handlers.
    let let_go = let_go;
    let (mut of_busy, mut of_neighbour) = (Reader::of(&servers[0]), Reader::of(&servers[1]));
    let (before, refused_before) = (publisher.cluster_counters(), busy.cluster_counters().refused);
    let received_before = busy.cluster_counters().received;
    watched.said.lock().clear();
    publisher.server_side_emit("work", &());
    is_busy.recv_timeout(PATIENCE).unwrap();

    // The others hear all of it, meanwhile and in order.
    let text = "x".repeat(padding);
    for number in 0..events {
        publisher.emit("event", &(number, &text));
        if padding > 0 || number % 500 == 499 || number == events - 1 {
            of_neighbour.read_to(number);
        }
    }

    // Who publishes notes it a moment after the others have heard.
    let tried = |counters: ClusterCounters| counters.published + counters.publish_failed;
    until(|| tried(publisher.cluster_counters()) - tried(before) == 1 + events as u64);

    // Told, each for itself: what may wait is what the bounds say. The message that its shard is busy with waits no longer.
    let (mut messages, mut bytes) = (0, 0);
    let mut has_room = |size: usize| {
        let has_room = messages < MESSAGES_MAX && bytes + size <= BYTES_MAX;
        (messages, bytes) = (messages + usize::from(has_room), bytes + if has_room { size } else { 0 });
        has_room
    };
    let said = watched.said.lock().split_off(1);
    assert_eq!(said.len(), events);
    for (at, (_, size, published)) in said.iter().enumerate() {
        let expected = if has_room(*size) { Ok(()) } else { Err(PublishError::Full) };
        assert_eq!(*published, expected, "message {at} of {size} bytes");
    }
    let taken = messages;
    let over = (events - taken) as u64;
    assert!(over > 0);
    // Counted, at both ends; and the log says it once.
    let counters = publisher.cluster_counters();
    assert_eq!(counters.publish_failed - before.publish_failed, over);
    assert_eq!(counters.published - before.published, 1 + taken as u64);
    assert_eq!(busy.cluster_counters().refused - refused_before, over);
    assert_eq!(FAILURES_LOGGED.load(Ordering::Relaxed) - logged_before, 1);
    // Kept by nobody: what waits is all that there is.
    let kept = || said.iter().filter(|(message, ..)| message.strong_count() > 0).count();
    until(|| kept() <= taken);
    assert_eq!(kept(), taken);

    // It takes what waits, in order and nothing else, and there is room again.
    let_go.send(()).unwrap();
    of_busy.read_to(taken - 1);
    until(|| kept() == 0);
    assert_eq!(busy.cluster_counters().received - received_before, 1 + taken as u64);
    publisher.emit("event", &(events, "again"));
    assert_eq!(of_busy.client.expect("event"), [json!(events), json!("again")]);
    of_neighbour.read_to(events);
    assert_eq!(publisher.cluster_counters().publish_failed, counters.publish_failed);
    taken
}
