//! One connection at a time: addresses, content, ends, backpressure.

use super::server::{Behaviour, Seen, Server};
use super::{Driver, Sizes, on_both_drivers, pattern, pieces};
use crate::kernel::{End, SendOutcome};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

on_both_drivers!(
    accepted_says_who_it_is,
    accepted_knows_both_families,
    echoes_any_size_in_any_pieces,
    half_close_still_gets_the_answer,
    fin_comes_after_the_bytes_and_receiving_goes_on,
    send_and_close_in_one_turn_delivers,
    slow_reader_is_waited_for_and_gets_every_byte,
    reset_while_sending_is_told_once,
    close_while_sending_ends_it,
    stopped_listener_refuses_and_keeps_its_connections,
    dropping_the_driver_closes_everything,
    dropping_the_driver_closes_idle_connections_at_once,
);

/// More than the buffers of both ends of a loopback connection take.
const MORE_THAN_BUFFERS: usize = 24 << 20;

fn echo(stream: &TcpStream, bytes: &[u8], largest_piece: usize) {
    let (mut reader, mut writer) = (stream, stream);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in pieces(bytes, largest_piece) {
                writer.write_all(piece).unwrap();
            }
        });
        let mut back = vec![0; bytes.len()];
        reader.read_exact(&mut back).unwrap();
        assert!(back == bytes, "{} bytes came back changed", bytes.len());
    });
}

fn read_to_end(mut stream: &TcpStream) -> (Vec<u8>, std::io::Result<usize>) {
    let mut bytes = Vec::new();
    let outcome = stream.read_to_end(&mut bytes);
    (bytes, outcome)
}

fn accepted_says_who_it_is<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Echo);
    for _ in 0..5 {
        let client = TcpStream::connect(server.address).unwrap();
        let seen = server.wait_for_seen(|seen| matches!(seen, Seen::Accepted(_)));
        assert_eq!(seen, Seen::Accepted(Some(client.local_addr().unwrap())));
    }
    server.stop();
}

fn accepted_knows_both_families<D: Driver>() {
    let Ok(_) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("NOT TESTED: no IPv6 here");
        return;
    };
    let server = Server::<D>::start_with(1, Behaviour::Echo, Sizes::default(), "[::]:0".parse().unwrap());
    for host in ["127.0.0.1", "::1"] {
        let client = TcpStream::connect((host, server.address.port())).unwrap();
        let seen = server.wait_for_seen(|seen| matches!(seen, Seen::Accepted(_)));
        assert_eq!(seen, Seen::Accepted(Some(client.local_addr().unwrap())), "IPv4 peers are IPv4, not mapped");
    }
    server.stop();
}

fn echoes_any_size_in_any_pieces<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Echo);
    let client = TcpStream::connect(server.address).unwrap();
    client.set_nodelay(true).unwrap();
    for (index, size) in [1, 2, 3, 100, 4095, 4096, 4097, 65_535, 65_537, 300_000, 1 << 20].into_iter().enumerate() {
        echo(&client, &pattern(index as u32, size), size);
        if size <= 5_000 {
            echo(&client, &pattern(index as u32, size), 7);
        } else {
            echo(&client, &pattern(index as u32, size), 20_000);
        }
    }
    drop(client);
    server.wait_for_silence();
    server.stop();
}

fn half_close_still_gets_the_answer<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Echo);
    for size in [0, 1, 5_000_000] {
        let client = TcpStream::connect(server.address).unwrap();
        let sent = pattern(9, size);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&client).write_all(&sent).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            let (back, outcome) = read_to_end(&client);
            outcome.unwrap();
            assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
        });
    }
    let reports = server.wait_for_silence();
    let ends = reports[0].seen.iter().filter(|seen| **seen == Seen::Ended(End::Finished)).count();
    assert_eq!(ends, 3);
    server.stop();
}

fn fin_comes_after_the_bytes_and_receiving_goes_on<D: Driver>() {
    for size in [10, MORE_THAN_BUFFERS] {
        let greeting = pattern(3, size);
        let server = Server::<D>::start(1, Behaviour::Greet { greeting: greeting.clone(), with_fin: true });
        let client = TcpStream::connect(server.address).unwrap();
        if size > 1000 {
            server.wait_for_seen(|seen| seen == Seen::Waits);
        }
        let (got, outcome) = read_to_end(&client);
        outcome.unwrap();
        assert!(got == greeting, "FIN after {} of {size} bytes", got.len());
        let late = pattern(4, 100_000);
        (&client).write_all(&late).unwrap();
        drop(client);
        let reports = server.wait_for_silence();
        assert!(reports[0].received == late, "{} bytes after FIN was said", reports[0].received.len());
        server.stop();
    }
}

fn send_and_close_in_one_turn_delivers<D: Driver>() {
    let greeting = pattern(5, 20_000);
    let server = Server::<D>::start(1, Behaviour::GreetAndClose(greeting.clone()));
    for _ in 0..50 {
        let client = TcpStream::connect(server.address).unwrap();
        let (got, outcome) = read_to_end(&client);
        outcome.unwrap();
        assert!(got == greeting, "{} bytes", got.len());
    }
    let reports = server.wait_for_silence();
    assert!(!reports[0].seen.iter().any(|seen| matches!(seen, Seen::Sent(_))), "closed files have no completions");
    server.stop();
}

fn slow_reader_is_waited_for_and_gets_every_byte<D: Driver>() {
    let greeting = pattern(6, MORE_THAN_BUFFERS);
    let server = Server::<D>::start(1, Behaviour::Greet { greeting: greeting.clone(), with_fin: false });
    let client = TcpStream::connect(server.address).unwrap();
    server.wait_for_seen(|seen| seen == Seen::Waits);
    let mut got = vec![0; greeting.len()];
    let mut reader = &client;
    let mut filled = 0;
    let mut size = 1;
    while filled < got.len() {
        let end = (filled + size).min(got.len());
        filled += reader.read(&mut got[filled..end]).unwrap();
        size = if size > 100_000 { 1 } else { size * 3 };
    }
    assert!(got == greeting, "the rest of a short send went wrong");
    server.wait_for_seen(|seen| seen == Seen::Sent(SendOutcome::Complete));
    drop(client);
    let reports = server.wait_for_silence();
    let about_sending: Vec<Seen> =
        reports[0].seen.iter().copied().filter(|seen| matches!(seen, Seen::Waits | Seen::Sent(_))).collect();
    assert_eq!(about_sending, [Seen::Waits, Seen::Sent(SendOutcome::Complete)], "each said once, in this order");
    assert_eq!((reports[0].counters.sends, reports[0].counters.send_waits), (1, 1));
    server.stop();
}

fn reset_while_sending_is_told_once<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Greet { greeting: pattern(7, MORE_THAN_BUFFERS), with_fin: false });
    for _ in 0..5 {
        let client = TcpStream::connect(server.address).unwrap();
        server.wait_for_seen(|seen| seen == Seen::Waits);
        (&client).read_exact(&mut [0; 1000]).unwrap();
        drop(client); // With bytes unread: the kernel answers with a reset.
        server.wait_for_seen(|seen| seen == Seen::Closed);
    }
    let reports = server.wait_for_silence();
    let is_broken = |seen: &&Seen| matches!(seen, Seen::Sent(SendOutcome::Broken(_)) | Seen::Ended(End::Broken(_)));
    assert_eq!(reports[0].seen.iter().filter(is_broken).count(), 5, "{:?}", reports[0].seen);
    server.stop();
}

fn close_while_sending_ends_it<D: Driver>() {
    let greeting = pattern(8, MORE_THAN_BUFFERS);
    let server = Server::<D>::start(1, Behaviour::Greet { greeting: greeting.clone(), with_fin: false });
    let client = TcpStream::connect(server.address).unwrap();
    server.wait_for_seen(|seen| seen == Seen::Waits);
    server.close_all();
    let reports = server.wait_for_silence();
    assert!(!reports[0].seen.iter().any(|seen| matches!(seen, Seen::Sent(_))), "closed files have no completions");
    let (got, _) = read_to_end(&client);
    assert!(!got.is_empty() && got.len() < greeting.len() && greeting.starts_with(&got), "{} bytes", got.len());
    server.stop();
}

fn stopped_listener_refuses_and_keeps_its_connections<D: Driver>() {
    let server = Server::<D>::start(2, Behaviour::Echo);
    let client = TcpStream::connect(server.address).unwrap();
    echo(&client, b"before", 6);
    server.stop_listening();
    // A ring lets go of its listener a few turns later; whoever slipped in until then is served or reset.
    while TcpStream::connect(server.address).is_ok() {
        server.reports();
    }
    echo(&client, b"after", 5);
    drop(client);
    server.wait_for_silence();
    server.stop();
}

fn dropping_the_driver_closes_idle_connections_at_once<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Echo);
    let client = TcpStream::connect(server.address).unwrap();
    echo(&client, b"hello", 5);
    server.stop();
    // Not "soon", when the kernel has torn down the ring.
    client.set_nonblocking(true).unwrap();
    assert_eq!((&client).read(&mut [0; 8]).unwrap(), 0);
}

fn dropping_the_driver_closes_everything<D: Driver>() {
    let server = Server::<D>::start(1, Behaviour::Greet { greeting: pattern(1, MORE_THAN_BUFFERS), with_fin: false });
    let address = server.address;
    let client = TcpStream::connect(address).unwrap();
    server.wait_for_seen(|seen| seen == Seen::Waits);
    let reports = server.stop(); // Asserts that the frame in flight was let go of.
    assert_eq!(reports[0].file_count, 1);
    read_to_end(&client).1.ok(); // Ends: the connection is closed.
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
    assert_eq!(crate::listener::bind(address, 1, 1).map(|listeners| listeners.len()).unwrap(), 1);
}
