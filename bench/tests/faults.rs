//! The load client against servers that lie: each kind of fault is seen, counted and named.
//!
//! The servers speak the raw protocol on a thread of this process; one deviates every few messages. An
//! honest one shows that the faults are not the client's own.
#![allow(clippy::unwrap_used)]
use clap::Parser;
use ringio_bench::drive::{self, options::Options};
use ringio_bench::report::Report;
use ringio_bench::wire::{RAW_GREETING, take_raw};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Turns the messages that one read brought into what is sent back; the number counts messages from 0.
type Behaviour = fn(number: &mut usize, messages: &[Vec<u8>]) -> Option<Vec<u8>>;

fn serve(mut stream: TcpStream, behaviour: Behaviour) {
    stream.write_all(&[RAW_GREETING]).unwrap();
    let (mut bytes, mut buffer, mut number) = (Vec::new(), [0; 4096], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
        let mut messages = Vec::new();
        while let Some((_, size)) = take_raw(&bytes).unwrap() {
            messages.push(bytes.drain(..size).collect());
        }
        match behaviour(&mut number, &messages) {
            Some(answer) => drop(stream.write_all(&answer)),
            None => return,
        }
    }
}

fn run(behaviour: Behaviour) -> Report {
    run_with("30", behaviour)
}

/// `stall`: the seconds without a delivery after which what is owed is lost.
fn run_with(stall: &str, behaviour: Behaviour) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the process: it waits for connections that do not come.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(stream, behaviour));
        }
    });
    let pid = std::process::id();
    let line = format!(
        "drive echo --protocol raw --port {port} --pid {pid} --clients 3 --in-flight 4 --warmup 0 --seconds 60 --messages 300 --stall {stall}"
    );
    drive::run(&Options::parse_from(line.split_whitespace())).unwrap()
}

/// Applies `deviate` to every 50th message.
fn each(number: &mut usize, messages: &[Vec<u8>], deviate: fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    for message in messages {
        *number += 1;
        answer.extend(if number.is_multiple_of(50) { deviate(message) } else { message.clone() });
    }
    Some(answer)
}

#[test]
fn an_honest_server_has_no_faults() {
    let report = run(|number, messages| each(number, messages, <[u8]>::to_vec));
    assert!(report.faults.is_clean(), "{:?}", report.faults);
    assert!(report.window.unwrap().messages >= 300);
}

#[test]
fn a_swallowed_message_is_lost() {
    // They are waited for.
    let faults = run_with("0.3", |number, messages| each(number, messages, |_| Vec::new())).faults;
    assert!(faults.lost > 0, "{faults:?}");
    assert_eq!((faults.duplicate, faults.corrupt, faults.disconnected), (0, 0, 0));
}

#[test]
fn a_repeated_message_is_a_duplicate() {
    let faults = run(|number, messages| each(number, messages, |message| [message, message].concat())).faults;
    assert!(faults.duplicate > 0, "{faults:?}");
    assert_eq!((faults.lost, faults.reordered, faults.corrupt), (0, 0, 0));
}

#[test]
fn exchanged_messages_are_reordered() {
    let faults = run(|_, messages| Some(messages.iter().rev().flatten().copied().collect())).faults;
    assert!(faults.reordered > 0, "{faults:?}");
    assert_eq!((faults.lost, faults.duplicate, faults.corrupt), (0, 0, 0));
}

#[test]
fn a_changed_byte_is_corrupt() {
    let faults = run(|number, messages| {
        each(number, messages, |message| {
            let mut message = message.to_vec();
            message[40] ^= 1;
            message
        })
    })
    .faults;
    assert!(faults.corrupt > 0, "{faults:?}");
}

#[test]
fn a_closed_connection_is_counted() {
    let faults = run(|number, messages| {
        *number += messages.len();
        (*number < 50).then(|| messages.concat())
    })
    .faults;
    assert!(faults.disconnected > 0, "{faults:?}");
}
