//! Memory goes back: when a wave of clients has come and gone, the server's resident memory is within a tenth of where it was.
//!
//! ```text
//! neighbours talk, a small wave comes and goes ----> where it was
//! 5,000 come, join rooms, talk, and go; some come at the height of it and stay ----> within a tenth of that
//! ```
//! Where it was: code, receive pools and rings have been touched by then, as in any server that has been in service. Those who stay must
//! not hold the memory of those who have gone. Nothing is asserted about how long it takes, but that it happens within patience.
//! `RINGIO_WAVE=n` makes it a larger wave.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use ringio_bench::measure::server::Server;
use ringio_bench::process::{raise_open_files_limit, resident_bytes};
use ringio_tests::wire::{PATIENCE, Polling, WebSocket};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How far above where it was memory may stay.
const BOUND: f64 = 1.10;
const NEIGHBOURS: usize = 50;
/// What each of them says before: enough that every receive buffer of both shards has been used.
const ECHOES: usize = 80;
const SMALL_WAVE: usize = 300;
const WAVE: usize = 5_000;
/// Who comes at the height of the wave and stays.
const NEWCOMERS: usize = 10;
/// How long memory is looked at: longer than a shard and the allocator take until they give back.
const LOOK: Duration = Duration::from_secs(8);

#[test]
fn a_wave_leaves_no_memory_behind_with_uring() {
    a_wave_leaves_no_memory_behind("uring");
}

#[test]
fn a_wave_leaves_no_memory_behind_with_epoll() {
    a_wave_leaves_no_memory_behind("epoll");
}

fn a_wave_leaves_no_memory_behind(driver: &str) {
    raise_open_files_limit().unwrap();
    let log = File::create(format!("{}/waves-{driver}.log", env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let program = env!("CARGO_BIN_EXE_conformance");
    // A crowd that does not read stays for as long as it takes to come and go.
    let command = format!("'{program}' bench --port {{port}} --shards 2 --driver {driver} --ping-timeout 3600000");
    let server = Server::start(&command, "0-1", log).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let mut neighbours: Vec<Client> = (0..NEIGHBOURS).map(|number| Client::live(address, number)).collect();
    for _ in 0..ECHOES {
        talk(&mut neighbours);
    }
    Wave::comes(address, SMALL_WAVE, &mut neighbours).goes(&mut neighbours);
    let before = lowest(&server, &mut neighbours);

    let size = std::env::var("RINGIO_WAVE").map_or(WAVE, |size| size.parse().unwrap());
    let wave = Wave::comes(address, size, &mut neighbours);
    neighbours.extend((0..NEWCOMERS).map(|number| Client::live(address, number)));
    let height = resident_bytes(server.pid()).unwrap();
    wave.goes(&mut neighbours);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let after = lowest(&server, &mut neighbours);
        let ratio = after as f64 / before as f64;
        let figures =
            format!("{driver}: {} KiB, with {size} more {}, then {}", before >> 10, height >> 10, after >> 10);
        println!("{figures}: {ratio:.3}");
        if ratio <= BOUND {
            return;
        }
        assert!(Instant::now() < deadline, "memory does not go back. {figures}: {ratio:.3} of where it was");
    }
}

/// The least memory that the server has while it is looked at. Bytes.
fn lowest(server: &Server, neighbours: &mut [Client]) -> u64 {
    let end = Instant::now() + LOOK;
    let mut lowest = u64::MAX;
    while Instant::now() < end {
        sleep(Duration::from_millis(250));
        talk(neighbours);
        lowest = lowest.min(resident_bytes(server.pid()).unwrap());
    }
    lowest
}

/// Each says something and hears it back.
fn talk(clients: &mut [Client]) {
    for client in clients {
        client.ask("42[\"echo\",\"nothing in particular\"]", "42[\"echo\"");
    }
}

/// A client over WebSocket.
struct Client(WebSocket);

impl Client {
    /// Comes, joins two rooms, and has been heard.
    fn live(address: SocketAddr, number: usize) -> Self {
        let mut client = Self(WebSocket::open(address, "/socket.io/?EIO=4&transport=websocket").1.unwrap());
        client.ask("40", "40");
        client.0.send(&format!("42[\"join\",\"room {}\"]", number / 10));
        client.0.send("42[\"join\",\"lobby\"]");
        client.ask("42[\"echo\",\"here I am\"]", "42[\"echo\"");
        client
    }

    /// Says something and waits for the answer that begins so.
    fn ask(&mut self, question: &str, answer: &str) -> String {
        self.0.send(question);
        loop {
            let text = self.0.next().expect("the server ends nobody's connection");
            if text.starts_with(answer) {
                return text;
            }
            if text == "2" {
                self.0.send("3");
            }
        }
    }
}

/// A crowd; one of twenty polls.
struct Wave {
    talking: Vec<Client>,
    polling: Vec<Polling>,
}

impl Wave {
    fn comes(address: SocketAddr, size: usize, neighbours: &mut [Client]) -> Self {
        let mut wave = Self { talking: Vec::new(), polling: Vec::new() };
        for number in 0..size {
            if number % 20 == 0 {
                let client = Polling::open(address);
                assert_eq!(client.post("40").status, 200);
                wave.polling.push(client);
            } else {
                let mut client = Client::live(address, number);
                if number % 10 == 1 {
                    let text = "x".repeat(200);
                    client.0.send(&format!("42[\"room\",\"room {}\",\"{text}\"]", number / 10));
                }
                wave.talking.push(client);
            }
            if number % 500 == 499 {
                talk(neighbours); // Their heartbeats go on.
            }
        }
        for text in ["one", "two", "three"] {
            let everybody = format!("42[\"broadcast\",\"{text}\"]");
            neighbours[0].ask(&everybody, &everybody);
        }
        wave
    }

    /// Half say goodbye, half are cut off. Returns when the server has noticed.
    fn goes(self, neighbours: &mut [Client]) {
        for (number, mut client) in self.talking.into_iter().enumerate() {
            if number % 2 == 0 {
                client.0.send("41");
            }
        }
        for client in self.polling {
            client.post("1");
        }
        let left = format!("430[{}]", neighbours.len());
        while neighbours[0].ask("420[\"clients\"]", "430[") != left {
            talk(neighbours);
        }
    }
}
