//! What a server says in the log when it starts: what its options allow clients to make it hold at worst.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use parking_lot::Mutex;
use ringio::{Builder, Server};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The fields of an event of the log, its level among them.
#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn number(&self, name: &str) -> u64 {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).parse().unwrap()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

/// Keeps every event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Fields>>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.0.insert("level".to_owned(), event.metadata().level().to_string());
        self.0.lock().push(fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Starts a server and ends it: what it said about its start.
fn said(builder: Builder) -> Fields {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let io = builder.pin_threads(false).build().unwrap();
        let running = io.start("127.0.0.1:0").unwrap();
        io.close();
        running.join();
    });
    let log = log.0.lock();
    let starts: Vec<&Fields> = log.iter().filter(|fields| fields.0["message"] == "starting").collect();
    assert_eq!(starts.len(), 1, "{log:?}");
    starts[0].clone()
}

#[test]
fn the_worst_case_is_said_at_start() {
    let usual = said(Server::builder().shards(2));
    assert_eq!((usual.0["level"].as_str(), usual.number("shards")), ("INFO", 2));
    let each = usual.number("connection_bytes_max") + usual.number("session_bytes_max");
    let all = 10_000 * each + 2 * usual.number("shard_bytes_max");
    assert_eq!(usual.number("bytes_max_of_10_000_clients"), all);
    assert!(usual.number("tls_bytes_max") > 0, "what TLS costs besides");
    // It is what these options allow.
    let outbox = said(Server::builder().shards(2).outbox_bytes_max(8 << 20));
    assert!(outbox.number("session_bytes_max") >= usual.number("session_bytes_max") + (4 << 20));
    assert_eq!(outbox.number("connection_bytes_max"), usual.number("connection_bytes_max"));
    let messages = said(Server::builder().shards(2).max_http_buffer_size(3_000_000));
    assert_eq!(messages.number("connection_bytes_max"), usual.number("connection_bytes_max") + 2 * 2_000_000);
}
