//! A server program and the signals that end it: the first one closes or drains, and the program ends with 0; the second one ends it at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use ringio_tests::wire::{WebSocket, until_nobody_is_let_in};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A server in a process of its own; killed with the test.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    /// Somebody else may take the port before the program does: then it ends, and another is tried.
    fn start(parameters: &[&str]) -> Self {
        loop {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut child = Command::new(env!("CARGO_BIN_EXE_conformance"))
                .args(["clients", "--shards", "2", "--ping-interval", "3600000", "--port", &port.to_string()])
                .args(parameters)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let program = Self { child, address: (Ipv4Addr::LOCALHOST, port).into() };
            if line == "ready\n" {
                return program;
            }
        }
    }

    fn joined(&self) -> WebSocket {
        let mut wire = WebSocket::open(self.address, WEBSOCKET).1.unwrap();
        wire.next().unwrap();
        wire.send("40");
        assert!(wire.next().unwrap().starts_with("40"));
        wire
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -s {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(status.success());
    }

    /// Its exit code; `None` if a signal has ended it.
    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Until nobody is let in any more: the signal has arrived.
    fn wait_until_closed_to_others(&self) {
        until_nobody_is_let_in(self.address);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_signal_closes_the_server_and_the_program_ends_with_0() {
    for signal in ["INT", "TERM"] {
        let program = Program::start(&[]);
        let mut wires = [program.joined(), program.joined()];
        program.signal(signal);
        for wire in &mut wires {
            while wire.next().is_some() {}
        }
        assert_eq!(program.code(), Some(0), "{signal}");
    }
}

#[test]
fn the_first_signal_drains_the_server_and_the_program_ends_with_0() {
    for signal in ["INT", "TERM"] {
        let program = Program::start(&["--drain", "1000"]);
        let mut wires: Vec<WebSocket> = (0..20).map(|_| program.joined()).collect();
        program.signal(signal);
        for wire in &mut wires {
            while wire.next().is_some() {}
        }
        assert_eq!(program.code(), Some(0), "{signal}");
    }
}

#[test]
fn the_second_signal_ends_the_program_at_once_with_130() {
    for (first, second) in [("INT", "INT"), ("TERM", "INT"), ("INT", "TERM")] {
        // As long as nobody would wait: who is there is still served meanwhile.
        let program = Program::start(&["--drain", "86400000"]);
        let mut wire = program.joined();
        program.signal(first);
        program.wait_until_closed_to_others();
        wire.send("427[\"ack\",1]");
        assert!(wire.next().unwrap().starts_with("437["), "{first}: served while it drains");
        program.signal(second);
        assert_eq!(program.code(), Some(130), "{first}, {second}");
        assert_eq!(wire.next(), None);
    }
}
