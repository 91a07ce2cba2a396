//! Connections that change shards while bytes arrive.

use super::server::{Behaviour, Seen, Server};
use super::single::{Notes, with_one_connection};
use super::{Driver, Sizes, on_both_drivers, pattern, pieces};
use crate::mesh::doorbell::Sleeper;
use ringio_core::base::id::ShardIndex;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

on_both_drivers!(
    a_stream_survives_many_moves,
    many_streams_move_at_once,
    a_full_target_refuses_and_the_source_keeps_it,
    moving_to_oneself_or_to_an_ended_shard_is_refused,
    closing_on_the_way_closes_everywhere,
);

/// Sends a stream and reads it back, never more than two pieces behind: bytes are always on their way while it is moved, and the server
/// receives often enough to move it often.
fn stream(address: SocketAddr, seed: u32, size: usize) {
    const PIECE_BYTES_MAX: usize = 3_000;
    let mut client = TcpStream::connect(address).unwrap();
    client.set_nodelay(true).unwrap();
    let bytes = pattern(seed, size);
    let mut back = Vec::with_capacity(size);
    let mut sent = 0;
    for piece in pieces(&bytes, PIECE_BYTES_MAX) {
        client.write_all(piece).unwrap();
        sent += piece.len();
        let behind = sent - back.len();
        if behind > 2 * PIECE_BYTES_MAX {
            let mut some = vec![0; behind - PIECE_BYTES_MAX];
            client.read_exact(&mut some).unwrap();
            back.extend(some);
        }
    }
    let mut rest = vec![0; size - back.len()];
    client.read_exact(&mut rest).unwrap();
    back.extend(rest);
    assert!(back == bytes, "content or order was lost on the way");
}

fn transfers(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| **seen == Seen::Transferred(Ok(()))).count()
}

fn a_stream_survives_many_moves<D: Driver>() {
    let server = Server::<D>::start(2, Behaviour::EchoMoving(100));
    for seed in 0..5 {
        stream(server.address, seed, 1 << 20);
    }
    let reports = server.wait_for_silence();
    let moves: Vec<usize> = reports.iter().map(|report| transfers(&report.seen)).collect();
    assert!(moves[0] > 50 && moves[1] > 50, "moves per shard: {moves:?}");
    server.stop();
}

fn many_streams_move_at_once<D: Driver>() {
    let server = Server::<D>::start(3, Behaviour::EchoMoving(10));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let address = server.address;
            scope.spawn(move || (0..10).for_each(|round| stream(address, worker * 100 + round, 40_000)));
        }
    });
    let reports = server.wait_for_silence();
    let moves: usize = reports.iter().map(|report| transfers(&report.seen)).sum();
    assert!(moves >= 80, "{moves} moves");
    server.stop();
}

fn a_full_target_refuses_and_the_source_keeps_it<D: Driver>() {
    if D::SYSTEM_CALLS_PER_ECHO != 1 {
        return; // With epoll the descriptor is the whole process', and nothing can be full.
    }
    // 16 slots: accepting pauses at 12 connections, and those that leave the first shard, which so never pauses, fill the rest of the second.
    let sizes = Sizes { files_max: 16, ..Sizes::default() };
    let server = Server::<D>::start_with(2, Behaviour::EchoLeavingFirst, sizes, "127.0.0.1:0".parse().unwrap());
    let mut clients = Vec::new();
    while !server.reports().iter().any(|report| report.seen.contains(&Seen::Transferred(Err(libc::ENFILE)))) {
        assert!(clients.len() < 200, "no table was ever full");
        let client = TcpStream::connect(server.address).unwrap();
        (&client).write_all(b"move me").unwrap();
        clients.push(client);
        // Nothing more is seen of one that waits before a shard that accepts no more.
        server.wait_a_moment(Duration::from_millis(100));
    }
    drop(clients);
    server.wait_for_silence();
    server.stop();
}

fn moving_to_oneself_or_to_an_ended_shard_is_refused<D: Driver>() {
    let ended = std::thread::spawn(|| D::make(Sizes::default(), &Sleeper::new().unwrap()).address()).join().unwrap();
    let (mut driver, _sleeper, mut notes, _client) = with_one_connection::<D>(Some(ended));
    let file = notes.accepted[0];
    for (target, errno) in [(0, libc::EINVAL), (1, libc::EOWNERDEAD), (7, libc::EOWNERDEAD)] {
        driver.transfer(file, ShardIndex(target));
        while notes.transferred.is_empty() {
            driver.turn(None, &mut notes);
        }
        assert_eq!(notes.transferred, [Err(errno)], "to shard {target}");
        notes.transferred.clear(); // It is still here, silent, and may be moved again.
    }
    driver.start(file, 1);
    driver.close(file);
    while driver.file_count() > 0 {
        driver.turn(None, &mut notes);
    }
}

fn closing_on_the_way_closes_everywhere<D: Driver>() {
    let (tell_address, address) = channel();
    let is_over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let sleeper = Sleeper::new().unwrap();
            let mut driver = D::make(Sizes::default(), &sleeper);
            tell_address.send(driver.address()).unwrap();
            while !is_over.load(Ordering::Acquire) {
                driver.turn(Some(Duration::from_millis(5)), &mut Notes::default());
            }
            assert_eq!((driver.file_count(), driver.unexpected()), (0, 0));
        });
        let (mut driver, _sleeper, mut notes, mut client) = with_one_connection::<D>(Some(address.recv().unwrap()));
        driver.transfer(notes.accepted[0], ShardIndex(1));
        driver.close(notes.accepted[0]);
        let reader = scope.spawn(move || client.read_to_end(&mut Vec::new()).unwrap());
        while !reader.is_finished() {
            driver.turn(Some(Duration::from_millis(5)), &mut notes);
        }
        assert_eq!(reader.join().unwrap(), 0);
        assert_eq!((driver.file_count(), driver.unexpected(), notes.transferred.len()), (0, 0, 0));
        is_over.store(true, Ordering::Release);
    });
}
