//! A process with a bound for its memory, under clients that make it keep more: it sheds load in its stated order, and lives.
//!
//! ```text
//! 40 receivers that never read, owed 4 MiB each ---> conformance bench --memory-max ---> a neighbour, whose every echo comes in order
//! ```
//! It is a process of its own, because its resident memory is what is measured. The test waits for what it waits for by asking the neighbour's
//! questions, so nothing in it depends on time.

#![allow(clippy::unwrap_used, missing_docs)]

use ringio_codec::websocket::Opcode;
use ringio_tests::wire::{Answer, Stream, WebSocket, upgrade_head, write_frame};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const MIB: u64 = 1 << 20;
/// 48 MiB are the least for two shards.
const MEMORY_MAX: u64 = 96 * MIB;
/// What may be seen above it: a round of all receivers, and what the process' threads do meanwhile.
const SLACK: u64 = 16 * MIB;

const RECEIVERS: usize = 40;
/// So many of them must be closed: the full outboxes of the others are still more than the bound.
const CLOSED_MIN: usize = 12;
const _: () = assert!((RECEIVERS - CLOSED_MIN) as u64 * 4 * MIB > MEMORY_MAX);
/// Long enough that a few dozen fill an outbox, short enough that a round of all receivers is a small part of the bound.
const MESSAGE_BYTES: usize = 64 << 10;
/// Those that a socket buffer takes, and those that fill an outbox, twice.
const ROUNDS_MAX: usize = 400;
/// Questions to the neighbour that a server which sheds nothing has time for.
const PATIENCE: usize = 20_000;

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A server of its own, killed with the test.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(driver: &str, shards: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = format!(
            "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" bench --inherited \
             --driver {driver} --shards {shards} --memory-max {MEMORY_MAX}"
        );
        let child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_conformance")])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address }
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the process is alive");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Somebody new: the answer, unless the connection was closed at once.
    fn newcomer(&self) -> io::Result<Answer> {
        let mut stream = Stream::connect(self.address, Arc::default())?;
        stream.send(format!("GET {POLLING} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())?;
        stream.answer()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who pays for nobody else: asks, and counts that every echo comes in its order.
struct Neighbour {
    wire: WebSocket,
    echoed: usize,
}

impl Neighbour {
    fn join(address: SocketAddr) -> Self {
        let mut wire = WebSocket::open(address, WEBSOCKET).1.unwrap();
        wire.next().unwrap();
        wire.send("40");
        wire.next().unwrap();
        Self { wire, echoed: 0 }
    }

    /// Some echoes, and a question that every shard takes part in. How many sessions there are.
    fn ask(&mut self) -> usize {
        for number in self.echoed..self.echoed + 3 {
            self.wire.send(&format!("42[\"echo\",{number}]"));
        }
        self.wire.send("420[\"clients\"]");
        let mut count = None;
        let end = self.echoed + 3;
        while self.echoed < end || count.is_none() {
            let message = self.wire.next().expect("the neighbour is still served");
            match message.strip_prefix("430[") {
                Some(answer) => count = answer.trim_end_matches(']').parse().ok(),
                None => {
                    assert_eq!(message, format!("42[\"echo\",{}]", self.echoed));
                    self.echoed += 1;
                }
            }
        }
        count.unwrap()
    }

    /// How many sessions the server has closed, and how many it has refused, because memory was short.
    fn shed(&mut self) -> (usize, usize) {
        self.wire.send("421[\"shed\"]");
        let message = self.wire.next().expect("the neighbour is still served");
        let counts =
            message.strip_prefix("431[").and_then(|rest| rest.strip_suffix(']')).and_then(|rest| rest.split_once(','));
        let (sessions, handshakes) = counts.expect("two numbers");
        (sessions.parse().unwrap(), handshakes.parse().unwrap())
    }
}

/// A client that sends for echoes and never reads one; none once the server has closed it.
struct Receiver(Option<Stream>);

impl Receiver {
    fn join(address: SocketAddr) -> Self {
        let mut stream = Stream::connect(address, Arc::default()).unwrap();
        stream.send(upgrade_head(WEBSOCKET, "").as_bytes()).unwrap();
        assert_eq!(stream.answer().unwrap().status, 101);
        stream.text().unwrap();
        stream.send_frame(Opcode::Text, b"40").unwrap();
        stream.text().unwrap();
        Self(Some(stream))
    }

    /// Whether it is still there.
    fn send(&mut self, bytes: &[u8]) -> bool {
        if self.0.as_mut().is_some_and(|stream| stream.send(bytes).is_err()) {
            self.0 = None;
        }
        self.0.is_some()
    }
}

fn load_is_shed_in_order(driver: &str, shards: &str) {
    let program = Program::start(driver, shards);
    let mut neighbour = Neighbour::join(program.address);
    let mut receivers: Vec<Receiver> = (0..RECEIVERS).map(|_| Receiver::join(program.address)).collect();
    assert_eq!(neighbour.ask(), RECEIVERS + 1);
    let mut message = Vec::new();
    let text = format!("42[\"echo\",\"{}\"]", "x".repeat(MESSAGE_BYTES));
    write_frame(&mut message, true, Opcode::Text, text.as_bytes());
    let (mut most, mut refused, mut rounds, mut left) = (0, 0, 0, RECEIVERS);
    while left > RECEIVERS - CLOSED_MIN {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "{left} receivers are left, {} MiB at most were resident", most / MIB);
        left = receivers.iter_mut().map(|receiver| usize::from(receiver.send(&message))).sum();
        // Whatever arrived is taken before the next round: each shard has had a turn or two since.
        neighbour.ask();
        neighbour.ask();
        let mut patience = PATIENCE;
        loop {
            let resident = program.resident_bytes();
            most = most.max(resident);
            if resident > MEMORY_MAX * 80 / 100 {
                match program.newcomer() {
                    Ok(answer) if answer.status == 503 => {
                        assert_eq!(answer.headers("retry-after").len(), 1);
                        refused += 1;
                    }
                    // Not yet seen, or closed at once because it is over its bound.
                    Ok(answer) => assert_eq!(answer.status, 200),
                    Err(_) => {}
                }
            }
            if resident <= MEMORY_MAX {
                break;
            }
            neighbour.ask();
            patience -= 1;
            assert!(patience > 0, "{} MiB stay resident", resident / MIB);
        }
    }
    assert!(most <= MEMORY_MAX + SLACK, "{} MiB were resident", most / MIB);
    assert!(refused > 0, "nobody was told to come back later");
    // Nothing else ends anybody here, and nothing else refuses.
    let (sessions, handshakes) = neighbour.shed();
    assert!(sessions >= CLOSED_MIN, "{sessions} were closed");
    assert!(handshakes >= refused, "{handshakes} were refused for it, {refused} heard so");
    drop(receivers);
    let mut patience = PATIENCE;
    while !program.newcomer().is_ok_and(|answer| answer.status == 200) {
        neighbour.ask();
        patience -= 1;
        assert!(patience > 0, "nobody is let in though {} MiB are resident", program.resident_bytes() / MIB);
    }
    let mut last = Receiver::join(program.address).0.unwrap();
    last.send_frame(Opcode::Text, b"42[\"echo\",\"back\"]").unwrap();
    assert_eq!(last.text().unwrap(), "42[\"echo\",\"back\"]");
    assert!(neighbour.echoed > 6 * rounds);
}

#[test]
fn load_is_shed_in_its_stated_order_on_io_uring() {
    load_is_shed_in_order("uring", "2");
}

#[test]
fn load_is_shed_in_its_stated_order_on_epoll() {
    load_is_shed_in_order("epoll", "1");
}
