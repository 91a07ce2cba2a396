//! Many connections: none forgotten, none left over, and what a wake-up costs.

use super::server::{Behaviour, Seen, Server};
use super::{Driver, Sizes, on_both_drivers, pattern};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

on_both_drivers!(
    three_hundred_clients_get_their_own_bytes,
    one_frame_reaches_everyone,
    queues_smaller_than_the_load_lose_nothing,
    an_empty_receive_pool_only_delays,
    long_messages_change_the_pool_and_lose_nothing,
    ten_thousand_connections_leave_nothing_behind,
    server_side_closes_leave_nothing_behind,
    a_wake_up_costs_what_it_must,
    a_bell_ends_the_wait,
);

fn converse<D: Driver>(server: &Server<D>, client_count: usize, rounds: usize, size: usize) {
    let clients: Vec<TcpStream> = (0..client_count).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    for round in 0..rounds {
        for (index, mut client) in clients.iter().enumerate() {
            client.write_all(&pattern((round * 1000 + index) as u32, size)).unwrap();
        }
        for (index, mut client) in clients.iter().enumerate() {
            let mut back = vec![0; size];
            client.read_exact(&mut back).unwrap();
            assert!(back == pattern((round * 1000 + index) as u32, size), "client {index} in round {round}");
        }
    }
    drop(clients);
    server.wait_for_silence();
}

fn three_hundred_clients_get_their_own_bytes<D: Driver>() {
    let server = Server::<D>::start(2, Behaviour::Echo);
    converse(&server, 300, 10, 500);
    let accepts: Vec<u64> = server.stop().iter().map(|report| report.counters.accepts).collect();
    assert_eq!(accepts.iter().sum::<u64>(), 300);
    assert!(accepts.iter().all(|count| *count > 0), "the kernel spreads connections: {accepts:?}");
}

fn one_frame_reaches_everyone<D: Driver>() {
    let frame = pattern(2, 3000);
    // Room for 8 operations at a time: a broadcast takes many system calls on the ring, from within a completion.
    let sizes = Sizes { submissions: 8, completions: 16, ..Sizes::default() };
    let server = Server::<D>::start_with(1, Behaviour::Broadcast(frame.clone()), sizes, "127.0.0.1:0".parse().unwrap());
    let clients: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    server.wait_for(|reports| reports[0].counters.accepts == 200);
    for _ in 0..5 {
        (&clients[77]).write_all(b"!").unwrap();
        for mut client in &clients {
            let mut got = vec![0; frame.len()];
            client.read_exact(&mut got).unwrap();
            assert!(got == frame);
        }
        // Everyone's `sent` before the next round, as the engine has it.
        server.reports();
    }
    drop(clients);
    server.wait_for_silence();
    server.stop();
}

fn queues_smaller_than_the_load_lose_nothing<D: Driver>() {
    let sizes = Sizes { submissions: 8, completions: 16, receive_buffers: 256, ..Sizes::default() };
    let server = Server::<D>::start_with(1, Behaviour::Echo, sizes, "127.0.0.1:0".parse().unwrap());
    converse(&server, 200, 10, 300);
    server.stop();
}

fn an_empty_receive_pool_only_delays<D: Driver>() {
    let sizes = Sizes {
        receive_buffers: 2,
        receive_buffer_bytes: 64,
        large_receive_buffers: 1,
        large_receive_buffer_bytes: 128,
        ..Sizes::default()
    };
    let server = Server::<D>::start_with(1, Behaviour::Echo, sizes, "127.0.0.1:0".parse().unwrap());
    converse(&server, 50, 5, 2000);
    let report = server.stop().remove(0);
    assert!(
        D::SYSTEM_CALLS_PER_ECHO != 1 || report.counters.receive_pool_empty > 0,
        "the ring was to run out of buffers"
    );
    assert_eq!(report.counters.receive_pool_bytes, 128 + if D::SYSTEM_CALLS_PER_ECHO == 1 { 128 } else { 0 });
}

fn long_messages_change_the_pool_and_lose_nothing<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Echo);
    for _ in 0..2 {
        converse(&server, 1, 3, 300_000);
    }
    // From small to large and, by one message long enough to speak for large buffers and 40 short ones, back.
    let mut client = TcpStream::connect(server.address).unwrap();
    for size in std::iter::once(300_000).chain(std::iter::repeat_n(50, 40)) {
        let message = pattern(size as u32, size);
        client.write_all(&message).unwrap();
        let mut back = vec![0; size];
        client.read_exact(&mut back).unwrap();
        assert!(back == message, "{size} bytes");
    }
    drop(client);
    server.wait_for_silence();
    let report = server.stop().remove(0);
    let changes = report.counters.receive_pool_changes;
    assert!(changes >= if D::SYSTEM_CALLS_PER_ECHO == 1 { 4 } else { 0 }, "{changes}: once each, and once back");
}

fn ten_thousand_connections_leave_nothing_behind<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Echo);
    for index in 0..10_000 {
        let mut client = TcpStream::connect(server.address).unwrap();
        match index % 4 {
            0 => {}
            1 => client.write_all(b"x").unwrap(), // Gone before the answer: a reset, mostly.
            _ => {
                client.write_all(b"hello").unwrap();
                client.read_exact(&mut [0; 5]).unwrap();
            }
        }
    }
    let reports = server.wait_for(|reports| reports[0].counters.accepts == 10_000 && reports[0].file_count == 0);
    assert_eq!(reports[0].seen.iter().filter(|seen| **seen == Seen::Closed).count(), 10_000);
    server.stop();
}

fn server_side_closes_leave_nothing_behind<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Echo);
    for _ in 0..40 {
        let clients: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        for mut client in &clients {
            client.write_all(b"hello").unwrap();
        }
        for mut client in &clients[..25] {
            client.read_exact(&mut [0; 5]).unwrap();
        }
        server.close_all();
        for mut client in clients {
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut rest = Vec::new();
            if client.read_to_end(&mut rest).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
                // Not accepted yet when all were closed: once more.
                server.close_all();
                client.read_to_end(&mut rest).ok();
            }
        }
        // All of this round before the next: a late command would close the next round's connections.
        server.close_all();
        server.wait_for_silence();
    }
    server.stop();
}

fn a_wake_up_costs_what_it_must<D: Driver>() {
    const MESSAGES: u64 = 200;
    let server = Server::<D>::start(1, Behaviour::Echo);
    let mut client = TcpStream::connect(server.address).unwrap();
    client.set_nodelay(true).unwrap();
    let mut ping = || {
        client.write_all(b"ping").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
    };
    ping();
    let before = server.reports()[0].counters.system_calls;
    (0..MESSAGES).for_each(|_| ping());
    let calls = server.reports()[0].counters.system_calls - before;
    // The second report itself wakes the shard, and the two turns at the edges may be split.
    assert!(calls <= MESSAGES * D::SYSTEM_CALLS_PER_ECHO + 4, "{calls} system calls for {MESSAGES} messages");
    drop(client);
    server.wait_for_silence();
    server.stop();
}

fn a_bell_ends_the_wait<D: Driver>() {
    let server = Server::<D>::start(3, Behaviour::Echo);
    // A shard without connections sleeps for ever but for its bell; a lost ring hangs here.
    for _ in 0..2_000 {
        assert_eq!(server.reports().len(), 3);
    }
    server.stop();
}
