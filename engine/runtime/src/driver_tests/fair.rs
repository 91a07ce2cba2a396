//! A client that always has more to say, and those who say one word: what a turn takes of each.
//!
//! The driver and its clients live on one thread: between two turns the greedy ones write as much as fits, and the polite ones a byte each.
//! Counted are bytes per turn, whatever they were received for.

use super::{Driver, Sizes, on_both_drivers};
use crate::kernel::{Arrival, End, SendOutcome, Sink, Token};
use crate::limits::{CONNECTION_BYTES_PER_TURN, RECEIVED_BYTES_PER_TURN, SURPLUS_BYTES_PER_TURN};
use crate::listener;
use crate::mesh::doorbell::Sleeper;
use ringio_core::base::id::FileId;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

on_both_drivers!(
    a_greedy_client_is_ahead_of_the_polite_by_its_share,
    many_greedy_clients_do_not_make_a_turn_long,
    what_was_put_off_comes_whole_and_in_order,
);

const BUFFER: usize = 65_536;
const POLITE: u8 = b'p';
const GREEDY: u8 = b'g';

/// Notes who was received in this turn: the first byte, and how many.
#[derive(Default)]
struct Ledger {
    accepted: usize,
    turn: Vec<(Token, u8, usize)>,
    kept: BTreeMap<Token, Vec<u8>>,
    keeps: bool,
    ended: usize,
}

impl<D: Driver> Sink<D> for Ledger {
    fn accepted(&mut self, kernel: &mut D, file: FileId, _: Arrival) {
        self.accepted += 1;
        kernel.start(file, file.0.into());
    }
    fn received(&mut self, _: &mut D, token: Token, bytes: &mut [u8]) {
        self.turn.push((token, bytes[0], bytes.len()));
        if self.keeps {
            self.kept.entry(token).or_default().extend_from_slice(bytes);
        }
    }
    fn ended(&mut self, _: &mut D, _: Token, _: End) {
        self.ended += 1;
    }
    fn sent(&mut self, _: &mut D, _: Token, _: SendOutcome) {}
    fn send_waits(&mut self, _: &mut D, _: Token) {}
    fn transferred(&mut self, _: &mut D, _: Token, _: Result<FileId, i32>) {}
}

struct Stage<D> {
    driver: D,
    ledger: Ledger,
    address: SocketAddr,
    _sleeper: Sleeper,
}

impl<D: Driver> Stage<D> {
    fn new() -> Self {
        let sleeper = Sleeper::new().unwrap();
        let mut driver = D::make(Sizes::default(), &sleeper);
        let listener = listener::bind("127.0.0.1:0".parse().unwrap(), 1, 1024).unwrap().remove(0);
        let address = listener::local_addr(&listener).unwrap();
        driver.listen(listener).unwrap();
        Self { driver, ledger: Ledger::default(), address, _sleeper: sleeper }
    }

    fn connect(&mut self, count: usize) -> Vec<TcpStream> {
        let clients: Vec<TcpStream> = (0..count).map(|_| TcpStream::connect(self.address).unwrap()).collect();
        let expected = self.ledger.accepted + count;
        while self.ledger.accepted < expected {
            self.driver.turn(None, &mut self.ledger);
        }
        for client in &clients {
            client.set_nonblocking(true).unwrap();
            client.set_nodelay(true).unwrap();
        }
        clients
    }

    /// One turn that does not wait, and what it received: bytes of the greedy, words of the polite, bytes of the greedy before the last of those.
    fn turn(&mut self) -> (usize, usize, usize) {
        self.ledger.turn.clear();
        self.driver.turn(Some(Duration::ZERO), &mut self.ledger);
        let (mut greedy, mut polite, mut before) = (0, 0, 0);
        for (_, first, size) in &self.ledger.turn {
            if *first == POLITE {
                polite += size;
                before = greedy;
            } else {
                greedy += size;
            }
        }
        (greedy, polite, before)
    }
}

/// Writes as much as there is room for.
fn fill(mut client: &TcpStream) {
    static BYTES: [u8; 1 << 20] = [GREEDY; 1 << 20];
    loop {
        match client.write(&BYTES) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// How much more one turn may take than its share: the buffer that reaches it.
const OVER: usize = BUFFER - 1;

fn a_greedy_client_is_ahead_of_the_polite_by_its_share<D: Driver>() {
    const POLITE_COUNT: usize = 50;
    const TURNS_MAX: usize = 16;
    let mut stage = Stage::<D>::new();
    let greedy = stage.connect(1).remove(0);
    let polite = stage.connect(POLITE_COUNT);
    let mut most = 0;
    for round in 0..100 {
        let (mut heard, mut turns) = (0, 0);
        fill(&greedy);
        for mut client in &polite {
            client.write_all(&[POLITE]).unwrap();
        }
        while heard < POLITE_COUNT {
            let (greedy_bytes, polite_bytes, before) = stage.turn();
            assert!(before <= CONNECTION_BYTES_PER_TURN + OVER, "round {round}: {before} bytes before the polite");
            let share = CONNECTION_BYTES_PER_TURN.max(SURPLUS_BYTES_PER_TURN) + OVER;
            assert!(
                greedy_bytes <= share + CONNECTION_BYTES_PER_TURN + OVER,
                "round {round}: {greedy_bytes} in a turn"
            );
            most = most.max(greedy_bytes);
            heard += polite_bytes;
            turns += 1;
            assert!(turns <= TURNS_MAX, "round {round}: {heard} of {POLITE_COUNT} were heard in {turns} turns");
            fill(&greedy);
        }
    }
    // The system may take a while until it believes in so large a window; then it is one that has more than its share.
    assert!(most >= BUFFER, "the greedy client did not bring much: {most} bytes in a turn");
    if D::SYSTEM_CALLS_PER_ECHO == 1 {
        assert!(stage.driver.counters().receives_put_off > 0, "it never had more than its share");
    }
}

fn many_greedy_clients_do_not_make_a_turn_long<D: Driver>() {
    const GREEDY_COUNT: usize = 100;
    let mut stage = Stage::<D>::new();
    let greedy = stage.connect(GREEDY_COUNT);
    let polite = stage.connect(1).remove(0);
    let mut most = 0;
    for round in 0..10 {
        let mut heard = BTreeMap::<Token, usize>::new();
        let (mut polite_bytes, mut turns) = (0, 0);
        greedy.iter().for_each(fill);
        (&polite).write_all(&[POLITE]).unwrap();
        // Everybody is heard, the polite one and every greedy one.
        while polite_bytes == 0 || heard.len() < GREEDY_COUNT {
            let (greedy_bytes, words, _) = stage.turn();
            let bound = RECEIVED_BYTES_PER_TURN + SURPLUS_BYTES_PER_TURN + 2 * OVER;
            assert!(greedy_bytes <= bound, "round {round}: {greedy_bytes} bytes in a turn");
            most = most.max(greedy_bytes);
            polite_bytes += words;
            for (token, first, size) in &stage.ledger.turn {
                if *first == GREEDY {
                    *heard.entry(*token).or_default() += size;
                }
            }
            turns += 1;
            assert!(turns <= 1_000, "round {round}: {} of {GREEDY_COUNT} were heard in {turns} turns", heard.len());
            greedy.iter().for_each(fill);
        }
    }
    assert!(most > RECEIVED_BYTES_PER_TURN / 2, "they did not bring much: {most} bytes in a turn");
}

fn what_was_put_off_comes_whole_and_in_order<D: Driver>() {
    const BYTES: usize = 16 << 20;
    let mut stage = Stage::<D>::new();
    stage.ledger.keeps = true;
    let mut greedy = stage.connect(1).remove(0);
    let sent = super::pattern(1, BYTES);
    let mut at = 0;
    while at < BYTES {
        match greedy.write(&sent[at..]) {
            Ok(count) => at += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => drop(stage.turn()),
            Err(error) => panic!("{error}"),
        }
    }
    drop(greedy);
    // Turns that wait for as long as it takes: one that has left something is followed by one that does not wait, or this never ends.
    while stage.ledger.ended == 0 {
        stage.driver.turn(None, &mut stage.ledger);
    }
    let kept = stage.ledger.kept.into_values().next().unwrap();
    assert!(kept == sent, "{} of {BYTES} bytes, or changed", kept.len());
    if D::SYSTEM_CALLS_PER_ECHO == 1 {
        assert!(stage.driver.counters().receives_put_off > 0, "it never had more than its share");
    }
}
