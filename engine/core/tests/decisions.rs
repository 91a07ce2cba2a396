//! Requests that the application decides about: what the connection does meanwhile, and what becomes of it.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use ringio_core::base::id::ConnectionKey;
use ringio_core::base::time::Time;
use ringio_core::door::{Event, Output, Stage, Verdict};
use ringio_core::limits::{DECISION_DEADLINE_MS, PIPELINED_BYTES_MAX};
use ringio_core::options::{Hooks, Options};
use ringio_core::shard::Shard;
use world::shard_with;

const OPEN: &str = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n";

fn shard(hooks: Hooks) -> Shard {
    shard_with(Options { hooks, max_http_buffer_size: 100, ..Options::default() })
}

fn accept(shard: &mut Shard) -> ConnectionKey {
    shard.handle_accepted(Time::ZERO, ringio_core::base::id::FileId(7), None, false)
}

/// The request that waits for a verdict.
fn asked(shard: &mut Shard) -> Option<(ConnectionKey, Stage)> {
    match shard.poll_event()? {
        Event::RequestArrived { connection, stage, .. } => Some((connection, stage)),
        other => panic!("{other:?}"),
    }
}

fn pass() -> Verdict {
    Verdict::Pass { fields: b"X-Hook: yes\r\n".to_vec(), sid: None }
}

/// What is sent, as text; `<close>` and `<fin>` for the rest.
fn said(shard: &mut Shard) -> String {
    let mut text = String::new();
    while let Some(output) = shard.poll_output() {
        match output {
            Output::Send { frame, .. } => text.push_str(&String::from_utf8_lossy(frame.bytes())),
            Output::Close { .. } => text.push_str("<close>"),
            Output::ShutdownWrite { .. } => text.push_str("<fin>"),
            other => panic!("{other:?}"),
        }
    }
    text
}

#[test]
fn both_stages_are_asked_and_their_header_lines_are_written() {
    let mut shard = shard(Hooks { requests: true, handshakes: true, ..Hooks::default() });
    let key = accept(&mut shard);
    shard.handle_received(Time::ZERO, key, &mut OPEN.as_bytes().to_vec());
    assert_eq!(said(&mut shard), "", "nothing is said before the verdict");
    assert_eq!(asked(&mut shard), Some((key, Stage::Request)));
    shard.decide(key, pass());
    assert_eq!(asked(&mut shard), Some((key, Stage::Handshake)));
    shard.decide(key, pass());
    let answer = said(&mut shard);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(answer.matches("X-Hook: yes\r\n").count(), 2, "{answer}");
    shard.invariants();
}

#[test]
fn a_verdict_that_does_not_come_is_answered_with_503_and_one_that_comes_later_changes_nothing() {
    let mut shard = shard(Hooks { requests: true, ..Hooks::default() });
    let key = accept(&mut shard);
    shard.handle_received(Time::ZERO, key, &mut OPEN.as_bytes().to_vec());
    shard.handle_deadlines(Time::ZERO.after(DECISION_DEADLINE_MS - 1));
    assert_eq!(said(&mut shard), "");
    shard.handle_deadlines(Time::ZERO.after(DECISION_DEADLINE_MS));
    assert!(said(&mut shard).starts_with("HTTP/1.1 503 "));
    assert!(asked(&mut shard).is_some());
    shard.decide(key, pass());
    assert_eq!(said(&mut shard), "");
}

#[test]
fn a_client_that_leaves_while_it_waits_leaves_nothing_behind() {
    let mut shard = shard(Hooks { handshakes: true, ..Hooks::default() });
    let key = accept(&mut shard);
    shard.handle_received(Time::ZERO, key, &mut OPEN.as_bytes().to_vec());
    assert_eq!(asked(&mut shard), Some((key, Stage::Handshake)));
    shard.handle_ended(Time::ZERO, key);
    assert_eq!(said(&mut shard), "<close>");
    shard.decide(key, pass());
    assert!(shard.is_vacant());
}

#[test]
fn what_arrives_meanwhile_is_kept_in_order_and_bounded() {
    let mut shard = shard(Hooks { requests: true, ..Hooks::default() });
    let key = accept(&mut shard);
    let unknown = "GET /socket.io/?EIO=4&transport=pigeon HTTP/1.1\r\nHost: h\r\n\r\n";
    shard.handle_received(Time::ZERO, key, &mut unknown.repeat(2).into_bytes());
    for _ in 0..2 {
        assert_eq!(asked(&mut shard), Some((key, Stage::Request)));
        assert_eq!(asked(&mut shard), None, "one at a time");
        shard.decide(key, pass());
    }
    assert_eq!(said(&mut shard).matches("Transport unknown").count(), 2);
}

#[test]
fn what_is_too_much_meanwhile_is_forgotten_and_refused_after_the_verdict() {
    let mut shard = shard(Hooks { requests: true, ..Hooks::default() });
    let key = accept(&mut shard);
    let unknown = "GET /socket.io/?EIO=4&transport=pigeon HTTP/1.1\r\nHost: h\r\n\r\n";
    shard.handle_received(Time::ZERO, key, &mut unknown.as_bytes().to_vec());
    assert_eq!(asked(&mut shard), Some((key, Stage::Request)));
    // The beginning of a second request, of which more than a body and pipelined requests may have is forgotten.
    shard.handle_received(Time::ZERO, key, &mut b"GET /elsewhere HTTP/1.1\r\nName: ".to_vec());
    for _ in 0..=(PIPELINED_BYTES_MAX + 100) / 1_000 {
        shard.handle_received(Time::ZERO, key, &mut vec![b'x'; 1_000]);
    }
    assert_eq!(said(&mut shard), "");
    shard.decide(key, pass());
    let answer = said(&mut shard);
    assert!(answer.contains("Transport unknown") && answer.contains("HTTP/1.1 431 "), "{answer}");
}
