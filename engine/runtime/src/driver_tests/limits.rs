//! At the bounds: tables that are full, descriptors that have run out.

use super::server::{Behaviour, Server};
use super::{Driver, Sizes, on_both_drivers};
use std::io::{Read, Write};
use std::net::TcpStream;

on_both_drivers!(a_full_table_pauses_accepting_until_there_is_room, out_of_descriptors_peers_wait_and_are_served_later);

fn greet(mut client: &TcpStream) {
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
}

fn a_full_table_pauses_accepting_until_there_is_room<D: Driver>() {
    let sizes = Sizes { files_max: 64, ..Sizes::default() };
    let server = Server::<D>::start_with(1, Behaviour::Echo, sizes, "127.0.0.1:0".parse().unwrap());
    let mut inside = Vec::new();
    // One at a time, until one is not taken. It waits in the backlog, untouched.
    while server.reports()[0].counters.accept_pauses == 0 {
        let client = TcpStream::connect(server.address).unwrap();
        inside.push(client);
        let count = inside.len() as u64;
        server.wait_for(|reports| reports[0].counters.accepts == count || reports[0].counters.accept_pauses > 0);
        assert!(inside.len() <= 65);
    }
    assert!(inside.len() >= 48, "paused at {}", inside.len());
    let outside: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    for client in &outside {
        let mut client = client;
        client.write_all(b"hello").unwrap();
    }
    // Everyone who was refused nothing is served, in whatever order, as others leave.
    inside.iter().take(40).for_each(greet);
    inside.drain(..20);
    for client in &outside {
        let mut client = client;
        client.read_exact(&mut [0; 5]).unwrap();
    }
    inside.iter().for_each(greet);
    drop((inside, outside));
    server.wait_for_silence();
    server.stop();
}

/// Set in the process that may have few descriptors.
const CHILD: &str = "RINGIO_TEST_FEW_DESCRIPTORS";

/// The limit is the whole process', so this test runs itself again in a process of its own.
fn out_of_descriptors_peers_wait_and_are_served_later<D: Driver>() {
    if std::env::var_os(CHILD).is_some() {
        return run_out_of_descriptors::<D>();
    }
    let thread = std::thread::current();
    let status = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(thread.name().unwrap())
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

fn run_out_of_descriptors<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Echo);
    let mut clients = Vec::new();
    // Both ends are in this process and share the limit. The driver is the one who finds nothing left: each client is awaited on its side.
    while server.reports()[0].counters.accept_pauses == 0 {
        clients.push(TcpStream::connect(server.address).unwrap());
        let count = clients.len() as u64;
        server.wait_for(|reports| reports[0].counters.accepts == count || reports[0].counters.accept_pauses > 0);
    }
    assert!(clients.len() > 10, "paused at {}", clients.len());
    clients.drain(..8);
    for _ in 0..4 {
        clients.push(TcpStream::connect(server.address).unwrap());
    }
    clients.iter().for_each(greet);
    drop(clients);
    server.wait_for_silence();
    server.stop();
}
