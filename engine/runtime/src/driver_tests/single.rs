//! A driver on the test's own thread: what a single turn does.

use super::{Driver, Sizes, on_both_drivers};
use crate::kernel::{Arrival, End, SendOutcome, Sink, Token};
use crate::mesh::doorbell::Sleeper;
use ringio_core::base::frame::Frame;
use ringio_core::base::id::FileId;
use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

on_both_drivers!(
    a_turn_that_sends_tells_so_and_does_not_wait,
    deferred_ends_of_sends_come_with_the_next_event,
    nothing_to_do_costs_no_wait,
    a_fin_never_reaches_the_next_tenant_of_its_slot,
);

/// Notes what came.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) accepted: Vec<FileId>,
    pub(super) transferred: Vec<Result<FileId, i32>>,
    pub(super) sent: usize,
}

impl<D: Driver> Sink<D> for Notes {
    fn accepted(&mut self, _: &mut D, file: FileId, _: Arrival) {
        self.accepted.push(file);
    }
    fn received(&mut self, _: &mut D, _: Token, _: &mut [u8]) {}
    fn ended(&mut self, _: &mut D, _: Token, _: End) {}
    fn sent(&mut self, _: &mut D, _: Token, _: SendOutcome) {
        self.sent += 1;
    }
    fn send_waits(&mut self, _: &mut D, _: Token) {}
    fn transferred(&mut self, _: &mut D, _: Token, remote: Result<FileId, i32>) {
        self.transferred.push(remote);
    }
}

/// A driver on this thread with one connection; shard 1 is at `other`.
pub(super) fn with_one_connection<D: Driver>(other: Option<D::Address>) -> (D, Sleeper, Notes, TcpStream) {
    let sleeper = Sleeper::new().unwrap();
    let mut driver = D::make(Sizes::default(), &sleeper);
    driver.set_peers([driver.address()].into_iter().chain(other).collect());
    let listener = crate::listener::bind("127.0.0.1:0".parse().unwrap(), 1, 1).unwrap().remove(0);
    let address = crate::listener::local_addr(&listener).unwrap();
    driver.listen(listener).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let mut notes = Notes::default();
    while notes.accepted.is_empty() {
        driver.turn(None, &mut notes);
    }
    (driver, sleeper, notes, client)
}

fn a_turn_that_sends_tells_so_and_does_not_wait<D: Driver>() {
    let (mut driver, _sleeper, mut notes, mut client) = with_one_connection::<D>(None);
    let file = notes.accepted[0];
    driver.start(file, 1);
    for count in 1..=100 {
        driver.send(file, Frame::raw(b"hello".to_vec()), 0);
        driver.turn(None, &mut notes); // Waits for ever, if it waits.
        assert_eq!(notes.sent, count);
        client.read_exact(&mut [0; 5]).unwrap();
    }
}

fn deferred_ends_of_sends_come_with_the_next_event<D: Driver>() {
    let (mut driver, sleeper, mut notes, mut client) = with_one_connection::<D>(None);
    let file = notes.accepted[0];
    driver.start(file, 1);
    driver.turn(Some(Duration::ZERO), &mut notes);
    let reader = std::thread::spawn({
        let bell = sleeper.doorbell();
        move || {
            client.read_exact(&mut [0; 5]).unwrap();
            // It was sent although nobody ended the turn; this does.
            bell.ring();
            client
        }
    });
    let mut sleeper = sleeper;
    assert!(sleeper.about_to_sleep());
    driver.send(file, Frame::raw(b"hello".to_vec()), 0);
    driver.defer_sent();
    let before = driver.counters().system_calls;
    driver.turn(None, &mut notes);
    assert_eq!(notes.sent, 1);
    assert!(driver.counters().system_calls - before <= 2, "sent, waited: one call on the ring, two with epoll");
    reader.join().unwrap();
}

fn nothing_to_do_costs_no_wait<D: Driver>() {
    let (mut driver, _sleeper, mut notes, _client) = with_one_connection::<D>(None);
    driver.start(notes.accepted[0], 1);
    driver.turn(Some(Duration::ZERO), &mut notes);
    let before = driver.counters().system_calls;
    for _ in 0..100 {
        driver.turn(Some(Duration::ZERO), &mut notes);
    }
    let calls = driver.counters().system_calls - before;
    // A ring says in memory that it has nothing; epoll has to be asked.
    let expected = if D::SYSTEM_CALLS_PER_ECHO == 1 { 0 } else { 100 };
    assert_eq!(calls, expected);
}

/// Says a word, FIN and good-bye to everyone.
#[derive(Default)]
struct Slammer {
    broken: usize,
}

impl<D: Driver> Sink<D> for Slammer {
    fn accepted(&mut self, kernel: &mut D, file: FileId, _: Arrival) {
        kernel.start(file, file.0.into());
        kernel.send(file, Frame::raw(b"word".to_vec()), 0);
    }
    fn received(&mut self, _: &mut D, _: Token, _: &mut [u8]) {}
    fn ended(&mut self, _: &mut D, _: Token, _: End) {}
    fn sent(&mut self, kernel: &mut D, token: Token, outcome: SendOutcome) {
        let file = FileId(token as u32);
        self.broken += usize::from(outcome != SendOutcome::Complete);
        kernel.shutdown_write(file);
        kernel.close(file);
    }
    fn send_waits(&mut self, _: &mut D, _: Token) {}
    fn transferred(&mut self, _: &mut D, _: Token, _: Result<FileId, i32>) {}
}

/// The kernel says FIN on a worker thread, which looks the slot up only then. A slot that had a new tenant by that time closed
/// a stranger's connection: it could not even be greeted.
fn a_fin_never_reaches_the_next_tenant_of_its_slot<D: Driver>() {
    const CLIENTS: usize = 8;
    const CONNECTIONS: usize = 250;
    let sleeper = Sleeper::new().unwrap();
    let mut driver = D::make(Sizes::default(), &sleeper);
    let listener = crate::listener::bind("127.0.0.1:0".parse().unwrap(), 1, 64).unwrap().remove(0);
    let address = crate::listener::local_addr(&listener).unwrap();
    driver.listen(listener).unwrap();
    let mut slammer = Slammer::default();
    let (done, silent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..CONNECTIONS {
                    let mut heard = Vec::new();
                    let _ = TcpStream::connect(address).unwrap().read_to_end(&mut heard);
                    if heard == b"word" { &done } else { &silent }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while done.load(Ordering::Relaxed) + silent.load(Ordering::Relaxed) < CLIENTS * CONNECTIONS {
            driver.turn(Some(Duration::from_millis(1)), &mut slammer);
        }
    });
    assert_eq!(slammer.broken, 0, "a connection that nobody had closed was closed");
    assert_eq!(silent.load(Ordering::Relaxed), 0, "a client heard FIN before its word");
}
