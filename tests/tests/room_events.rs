//! Listeners of rooms: Node's adapter events, with real clients on both drivers, with one shard and with several.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use client::{PATIENCE, Place, Running};
use ringio::{Ack, Data, Server, Socket};
use serde_json::json;
use std::sync::mpsc::{Receiver, channel};

matrix! {
    rooms_are_created_joined_left_and_deleted_in_order
    each_room_exists_once_however_many_shards_have_it
    a_listener_goes_and_one_that_panics_costs_nothing
}

/// A server whose clients join and leave rooms, and what its listeners hear: `+room`, `>room`, `<room`, `-room`.
fn listened(place: Place) -> (Server, Receiver<(char, String, String)>) {
    let io = place.builder().build().unwrap();
    io.sockets_on("join", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.join(&room);
        ack.send(socket.id())
    });
    io.sockets_on("leave", |socket: Socket, Data(room): Data<String>| socket.leave(&room));
    let (tell, told) = channel();
    let [created, joined, left, deleted] = [tell.clone(), tell.clone(), tell.clone(), tell];
    io.on_create_room(move |room| drop(created.send(('+', room.to_owned(), String::new()))));
    io.on_join_room(move |room, id| drop(joined.send(('>', room.to_owned(), id.to_owned()))));
    io.on_leave_room(move |room, id| drop(left.send(('<', room.to_owned(), id.to_owned()))));
    io.on_delete_room(move |room| drop(deleted.send(('-', room.to_owned(), String::new()))));
    (io, told)
}

fn next(told: &Receiver<(char, String, String)>) -> (char, String, String) {
    told.recv_timeout(PATIENCE).expect("a room changes")
}

fn rooms_are_created_joined_left_and_deleted_in_order(place: Place) {
    let (io, told) = listened(place);
    let server = Running::start(&io);
    let mut client = server.bare();
    client.ask("join", &[json!("lobby")]);
    let own = client.id.clone();
    let (id, none) = (|| own.clone(), String::new);
    assert_eq!(next(&told), ('+', id(), none()));
    assert_eq!(next(&told), ('>', id(), id()), "the room of its own id");
    assert_eq!(next(&told), ('+', "lobby".into(), none()));
    assert_eq!(next(&told), ('>', "lobby".into(), id()));
    client.emit("leave", &[json!("lobby")]);
    assert_eq!(next(&told), ('<', "lobby".into(), id()));
    assert_eq!(next(&told), ('-', "lobby".into(), none()));
    client.ask("join", &[json!("hall")]);
    assert_eq!(next(&told), ('+', "hall".into(), none()));
    assert_eq!(next(&told), ('>', "hall".into(), id()));
    drop(client);
    for room in [id(), "hall".into()] {
        assert_eq!(next(&told), ('<', room.clone(), id()), "all rooms are left");
        assert_eq!(next(&told), ('-', room, none()));
    }
}

fn each_room_exists_once_however_many_shards_have_it(place: Place) {
    let (io, told) = listened(place);
    let server = Running::start(&io);
    let mut clients: Vec<_> = (0..9).map(|_| server.bare()).collect();
    for client in &mut clients {
        client.ask("join", &[json!("lobby")]);
        client.ask("join", &[json!("lobby")]);
    }
    io.sockets_leave("lobby");
    let (mut created, mut joined, mut left, mut members) = (0, 0, 0, 0);
    loop {
        let (change, room, _) = next(&told);
        if room != "lobby" {
            continue;
        }
        match change {
            '+' => {
                assert_eq!(members, 0);
                created += 1;
            }
            '>' => (joined, members) = (joined + 1, members + 1),
            '<' => (left, members) = (left + 1, members - 1),
            _ => {
                assert_eq!(members, 0, "deleted when the last one has left");
                break;
            }
        }
    }
    assert_eq!((created, joined, left), (1, 9, 9));
}

fn a_listener_goes_and_one_that_panics_costs_nothing(place: Place) {
    let (io, told) = listened(place);
    io.on_create_room(|_| panic!("on purpose"));
    let (tell, gone) = channel();
    let listener = io.on_join_room(move |room, _| drop(tell.send(room.to_owned())));
    let server = Running::start(&io);
    let mut client = server.bare();
    client.ask("join", &[json!("one")]);
    assert_eq!(gone.recv_timeout(PATIENCE).unwrap().len(), 20);
    assert_eq!(gone.recv_timeout(PATIENCE).unwrap(), "one");
    io.off_room(listener);
    client.ask("join", &[json!("two")]);
    while next(&told).1 != "two" {}
    assert!(gone.recv_timeout(PATIENCE).is_err(), "dropped with its listener");
}
