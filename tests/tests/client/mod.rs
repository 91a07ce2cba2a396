//! A client of `rust_socketio` and a server in this process, for tests that read as stories.
//!
//! The client has its own ideas: an event without arguments is handed out as `message`, a binary WebSocket message is
//! cut at a byte 0x1e, and it cannot acknowledge. Events here avoid that; the official clients' tests show the rest.

#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub(crate) mod bare;

use ringio::{Driver, Server, ServerHandle};
use rust_socketio::client::Client as Inner;
use rust_socketio::{ClientBuilder, Event, Payload, TransportType};
use serde_json::Value;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

pub(crate) use ringio_tests::wire::PATIENCE;

/// Declares each test once per driver and number of shards.
#[macro_export]
macro_rules! matrix {
    ($($test:ident)*) => {
        $crate::matrix!(@ uring_1, Uring, 1, $($test)*);
        $crate::matrix!(@ uring_3, Uring, 3, $($test)*);
        $crate::matrix!(@ epoll_1, Epoll, 1, $($test)*);
        $crate::matrix!(@ epoll_3, Epoll, 3, $($test)*);
    };
    (@ $name:ident, $driver:ident, $shards:literal, $($test:ident)*) => {
        mod $name {
            $(#[test]
            fn $test() {
                super::$test($crate::client::Place { driver: ringio::Driver::$driver, shards: $shards });
            })*
        }
    };
}

/// Where a test runs.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) driver: Driver,
    pub(crate) shards: usize,
}

impl Place {
    /// Without pings, which would be heard between what is looked at when a machine stands still for a while.
    pub(crate) fn builder(self) -> ringio::Builder {
        let (driver, shards) = (self.driver, self.shards);
        let builder = Server::builder().driver(driver).shards(shards).pin_threads(false);
        builder.ping_interval(Duration::from_secs(3_600)).ping_timeout(PATIENCE)
    }

    /// `rust_socketio` leaves a poll only when something is heard: pings let it end soon.
    pub(crate) fn pinging(self) -> ringio::Builder {
        self.builder().ping_interval(Duration::from_millis(500))
    }
}

/// A server that ends with the test.
pub(crate) struct Running {
    pub(crate) io: Server,
    handle: ServerHandle,
    pub(crate) url: String,
}

impl Running {
    pub(crate) fn start(io: &Server) -> Self {
        let handle = io.start("127.0.0.1:0").unwrap();
        let url = format!("http://{}", handle.local_addr());
        Self { io: io.clone(), handle, url }
    }

    /// A client on the thread of the test.
    pub(crate) fn bare(&self) -> bare::Bare {
        bare::Bare::connect(&self.url, "/", &serde_json::json!({}))
    }

    pub(crate) fn client(&self, transport: TransportType) -> Client {
        Client::connect(&self.url, "/", transport, None)
    }

    pub(crate) fn clients(&self, count: usize) -> Vec<Client> {
        let transports = [TransportType::Websocket, TransportType::Polling, TransportType::WebsocketUpgrade];
        (0..count).map(|index| self.client(transports[index % transports.len()].clone())).collect()
    }

    pub(crate) fn stop(self) {
        self.io.close();
        self.handle.join();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.io.close();
        self.handle.join();
    }
}

/// A connected client that keeps what it hears.
pub(crate) struct Client {
    inner: Inner,
    heard: Receiver<(String, Payload)>,
}

impl Client {
    pub(crate) fn connect(url: &str, namespace: &str, transport: TransportType, auth: Option<Value>) -> Self {
        let client = Self::open(url, namespace, transport, auth);
        let (event, _) = client.next();
        assert_eq!(event, "open", "the client is let in");
        client
    }

    /// Without waiting for the namespace.
    pub(crate) fn open(url: &str, namespace: &str, transport: TransportType, auth: Option<Value>) -> Self {
        let (sender, heard) = channel();
        let mut builder = ClientBuilder::new(url).namespace(namespace).transport_type(transport).reconnect(false);
        if let Some(auth) = auth {
            builder = builder.auth(auth);
        }
        let inner = builder
            .on(Event::Connect, keep(&sender, "open"))
            .on(Event::Error, keep(&sender, "error"))
            .on(Event::Close, keep(&sender, "close"))
            .on_any({
                let sender = sender.clone();
                move |event, payload, _| {
                    let _ = sender.send((String::from(event), payload));
                }
            })
            .connect()
            .unwrap();
        Self { inner, heard }
    }

    pub(crate) fn emit(&self, event: &str, payload: impl Into<Payload>) {
        self.inner.emit(event, payload).unwrap();
    }

    /// Emits several arguments.
    pub(crate) fn emit_all(&self, event: &str, arguments: Vec<Value>) {
        self.inner.emit(event, Payload::Text(arguments)).unwrap();
    }

    /// Emits, and waits for the acknowledgement.
    pub(crate) fn ask(&self, event: &str, arguments: Vec<Value>) -> Payload {
        let (sender, answer) = channel();
        let keep = move |payload: Payload, _: rust_socketio::RawClient| {
            let _ = sender.send(payload);
        };
        self.inner.emit_with_ack(event, Payload::Text(arguments), PATIENCE, keep).unwrap();
        answer.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{event} is acknowledged"))
    }

    pub(crate) fn next(&self) -> (String, Payload) {
        self.heard.recv_timeout(PATIENCE).expect("something is heard")
    }

    /// The arguments of the next event, which must be this one.
    pub(crate) fn expect(&self, event: &str) -> Vec<Value> {
        let (heard, payload) = self.next();
        assert_eq!(heard, event);
        texts(payload)
    }

    pub(crate) fn disconnect(&self) {
        self.inner.disconnect().unwrap();
    }
}

/// Until something has happened that another thread does.
pub(crate) fn until(mut has_happened: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 5 {
        if has_happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it does not happen");
}

pub(crate) fn texts(payload: Payload) -> Vec<Value> {
    match payload {
        Payload::Text(values) => values,
        other => panic!("text, not {other:?}"),
    }
}

fn keep(
    sender: &Sender<(String, Payload)>,
    name: &'static str,
) -> impl FnMut(Payload, rust_socketio::RawClient) + Send + 'static {
    let sender = sender.clone();
    move |payload, _| {
        let _ = sender.send((name.to_owned(), payload));
    }
}
