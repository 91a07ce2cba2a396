//! The stage over a kernel that only writes down what it is asked for, with a client of rustls on the other side.

#![allow(clippy::unwrap_used)]

use super::channel::PIECE_BYTES;
use super::*;
use crate::clock::Hand;
use crate::executor::Executor;
use crate::first_shard::first_shard;
use crate::injector::Injector;
use crate::kernel::{Arrival, Counters, Sink};
use crate::mesh::mesh;
use crate::shard_thread::Application;
use crate::turn::Turn;
use ringio_core::door::Event;
use ringio_core::shard::Shard;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const FILE: FileId = FileId(7);
const KEY: ConnectionKey = ConnectionKey::from_bits(1 << 32 | 3);

/// What the driver is asked for, and what it has to tell.
#[derive(Default)]
struct Script {
    sends: Vec<Vec<u8>>,
    is_shut: bool,
    is_closed: bool,
    token: Token,
    accept: Option<u16>,
    bytes: VecDeque<Vec<u8>>,
}

impl Kernel for Script {
    type Address = ();

    fn listen(&mut self, _: OwnedFd) -> std::io::Result<()> {
        Ok(())
    }
    fn stop_listening(&mut self) {}
    fn address(&self) {}
    fn set_peers(&mut self, _: Vec<()>) {}
    fn start(&mut self, _: FileId, token: Token) {
        self.token = token;
    }
    fn send(&mut self, _: FileId, frame: Frame, offset: usize) {
        self.sends.push(frame.bytes()[offset..].to_vec());
    }
    fn shutdown_write(&mut self, _: FileId) {
        self.is_shut = true;
    }
    fn close(&mut self, _: FileId) {
        self.is_closed = true;
    }
    fn transfer(&mut self, _: FileId, _: ShardIndex) {}
    fn adopt(&mut self, _: FileId) {}
    fn turn(&mut self, _: Option<Duration>, sink: &mut impl Sink<Self>) {
        if let Some(listener) = self.accept.take() {
            sink.accepted(self, FILE, Arrival { listener, peer: None });
        }
        while let Some(mut bytes) = self.bytes.pop_front() {
            let token = self.token;
            sink.received(self, token, &mut bytes);
        }
    }
    fn submit(&mut self) {}
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// A server's configuration, and a client's that trusts it.
fn configurations() -> (TlsSettings, Arc<ClientConfig>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (TlsSettings::new(Arc::new(server)).unwrap(), Arc::new(client))
}

/// A stage with one connection, and who is at its other end.
struct Pair {
    stage: Stage,
    kernel: Script,
    client: ClientConnection,
    /// What the server has read, and the client.
    plaintext: Vec<u8>,
    answer: Vec<u8>,
}

impl Pair {
    fn new((server, client): &(TlsSettings, Arc<ClientConfig>)) -> Self {
        let mut stage = Stage::new(vec![None, Some(server.clone())]);
        assert!(!stage.is_for(0) && stage.is_for(1) && !stage.is_for(2));
        let token = stage.accept(FILE, KEY, 1);
        assert_eq!(file_of(token), Some(FILE));
        let client = ClientConnection::new(Arc::clone(client), ServerName::try_from("localhost").unwrap()).unwrap();
        Self { stage, kernel: Script::default(), client, plaintext: Vec::new(), answer: Vec::new() }
    }

    /// Sends what the client has to say, changed by `change` and in pieces of `size` bytes; then its client hears what there is. What became
    /// of the server's side.
    fn exchange(&mut self, size: usize, mut change: impl FnMut(&mut Vec<u8>)) -> Option<Ended> {
        let mut ended = None;
        while ended.is_none() {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).unwrap();
            }
            change(&mut bytes);
            for piece in bytes.chunks_mut(size) {
                let received = self.stage.receive(&mut self.kernel, FILE, piece).unwrap();
                assert_eq!(received.key, KEY);
                self.plaintext.append(&mut self.stage.plaintext);
                ended = ended.or(received.end);
            }
            if !self.hear() && !self.client.wants_write() {
                break;
            }
        }
        ended
    }

    /// The client takes what was sent, and the server learns that it was. Whether there was anything the client could read.
    fn hear(&mut self) -> bool {
        let mut has_heard = false;
        while !self.kernel.sends.is_empty() {
            for send in std::mem::take(&mut self.kernel.sends) {
                has_heard |= self.client_reads(&send);
            }
            let _ = self.stage.sent(&mut self.kernel, FILE, SendOutcome::Complete);
        }
        has_heard
    }

    /// Whether it could.
    fn client_reads(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.client.read_tls(&mut bytes).is_err() || self.client.process_new_packets().is_err() {
                return false;
            }
            let _ = self.client.reader().read_to_end(&mut self.answer); // What is not there yet is no end.
        }
        true
    }

    /// Sends a frame; the sends it took.
    fn send(&mut self, frame: Frame) -> Vec<usize> {
        self.stage.send(&mut self.kernel, FILE, frame, 0).unwrap();
        let mut sizes = Vec::new();
        loop {
            assert_eq!(self.kernel.sends.len(), 1, "one piece is in flight at a time");
            let bytes = self.kernel.sends.pop().unwrap();
            sizes.push(bytes.len());
            assert!(self.client_reads(&bytes));
            match self.stage.sent(&mut self.kernel, FILE, SendOutcome::Complete) {
                Some(told) => {
                    assert_eq!(told, (KEY, false));
                    assert!(self.kernel.sends.is_empty(), "the core is told when the last piece is out");
                    return sizes;
                }
                None => assert!(self.stage.take_awaits_sent(), "something stands behind the piece in flight"),
            }
        }
    }
}

#[test]
fn what_one_side_says_the_other_hears_in_pieces_of_any_size() {
    let configurations = configurations();
    for size in [1, 2, 5, 6, 100, 4096, 1 << 20] {
        let mut pair = Pair::new(&configurations);
        assert_eq!(pair.exchange(size, |_| {}), None);
        assert!(!pair.client.is_handshaking());
        let text: Vec<u8> = (0..100_000_u32).map(|index| ((index * 7) >> 3) as u8).collect();
        pair.client.set_buffer_limit(None);
        pair.client.writer().write_all(&text).unwrap();
        assert_eq!(pair.exchange(size, |_| {}), None);
        assert!(pair.plaintext == text);
        pair.send(Frame::raw(text.clone()));
        assert!(pair.answer == text);
        pair.client.send_close_notify();
        assert_eq!(pair.exchange(size, |_| {}), Some(Ended::Finished));
    }
}

#[test]
fn a_large_frame_leaves_piece_by_piece_and_small_ones_share_a_record() {
    let mut pair = Pair::new(&configurations());
    pair.exchange(4096, |_| {});
    let overhead = |size: usize, plaintext: usize| size - plaintext;
    let sizes = pair.send(Frame::raw(vec![b'x'; 200_000]));
    assert_eq!(sizes.len(), 200_000_usize.div_ceil(PIECE_BYTES));
    assert!(sizes.iter().all(|size| *size <= PIECE_BYTES + 4 * 30), "{sizes:?}");
    // What the core has joined is not taken apart.
    let sizes = pair.send(Frame::raw(b"one, two, three".to_vec()));
    assert_eq!(sizes.len(), 1);
    assert!(overhead(sizes[0], 15) <= 30, "one record: {sizes:?}");
    assert_eq!(pair.send(Frame::raw(Vec::new())).len(), 1, "also nothing is sent and told");
}

#[test]
fn good_bye_is_said_before_fin_and_before_a_close() {
    let configurations = configurations();
    for is_polite in [true, false] {
        let mut pair = Pair::new(&configurations);
        pair.exchange(4096, |_| {});
        if is_polite {
            pair.stage.send(&mut pair.kernel, FILE, Frame::raw(b"last".to_vec()), 0).unwrap();
            pair.stage.shutdown_write(&mut pair.kernel, FILE);
            assert!(!pair.kernel.is_shut, "a send is in flight");
            assert!(pair.stage.take_awaits_sent());
            pair.hear();
            assert!(pair.kernel.is_shut);
            assert_eq!(pair.answer, b"last");
        } else {
            pair.stage.close(&mut pair.kernel, FILE);
            assert!(!pair.stage.has(FILE));
            pair.hear();
        }
        // An end without `close_notify` would be an error here.
        assert_eq!(pair.client.reader().read(&mut [0]).unwrap(), 0);
    }
}

/// Whatever a client sends costs it its connection and nobody else anything: above all, no panic, which would end the process.
#[test]
fn a_byte_that_is_changed_anywhere_ends_the_connection_at_most() {
    let configurations = configurations();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let mut unreadable = 0;
    for round in 0..1_500 {
        let mut pair = Pair::new(&configurations);
        let size = [1, 7, 64, 4096][round % 4];
        let spoiled = round % 3;
        let mut flight = 0;
        pair.client.writer().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let ended = pair.exchange(size, |bytes| {
            if flight == spoiled && !bytes.is_empty() {
                for _ in 0..=chance(3) {
                    let at = chance(bytes.len());
                    match chance(4) {
                        0 => bytes[at] = chance(256) as u8,
                        1 => bytes.truncate(at),
                        2 => bytes.insert(at, chance(256) as u8),
                        _ => bytes[at..].reverse(),
                    }
                    if bytes.is_empty() {
                        break;
                    }
                }
            }
            flight += 1;
        });
        unreadable += usize::from(matches!(ended, Some(Ended::Unreadable(_))));
        // What the core does then.
        if ended.is_some() {
            let _ = pair.stage.send(&mut pair.kernel, FILE, Frame::raw(b"in vain".to_vec()), 0);
        }
        pair.stage.shutdown_write(&mut pair.kernel, FILE);
        pair.stage.close(&mut pair.kernel, FILE);
    }
    assert!(unreadable > 500, "most changes are noticed: {unreadable}");
}

#[test]
fn a_connection_takes_half_a_record_and_an_unsent_alert_along_to_another_shard() {
    let configurations = configurations();
    let mut pair = Pair::new(&configurations);
    pair.exchange(4096, |_| {});
    pair.client.writer().write_all(b"GET /socket.io/").unwrap();
    let mut bytes = Vec::new();
    pair.client.write_tls(&mut bytes).unwrap();
    let (first, second) = bytes.split_at_mut(9);
    pair.stage.receive(&mut pair.kernel, FILE, first).unwrap();
    assert!(pair.stage.plaintext.is_empty());

    pair.stage.leave(FILE, ShardIndex(2));
    let remote = FileId(4);
    assert_eq!(pair.stage.transferred(FILE, Some(remote)), Some(KEY));
    assert!(!pair.stage.has(FILE));
    let moved = |file| PeerMessage::Moved {
        file,
        address: None,
        is_secure: true,
        bytes: Vec::new(),
        is_cut: false,
        luggage: None,
    };
    let mut message = moved(remote);
    let mut other = moved(FileId(5));
    pair.stage.pack(ShardIndex(2), &mut other);
    pair.stage.pack(ShardIndex(2), &mut message);
    assert!(matches!(other, PeerMessage::Moved { luggage: None, .. }), "somebody else's");
    assert!(pair.stage.departed.is_empty());

    let mut target = Stage::default();
    target.unpack(&mut message);
    let key = ConnectionKey::from_bits(9);
    assert_eq!(file_of(target.adopt(remote, key)), Some(remote));
    let received = target.receive(&mut pair.kernel, remote, second).unwrap();
    assert_eq!((received.key, received.end), (key, None));
    assert_eq!(target.plaintext, b"GET /socket.io/");
    target.send(&mut pair.kernel, remote, Frame::raw(b"HTTP/1.1 200".to_vec()), 0).unwrap();
    let send = pair.kernel.sends.pop().unwrap();
    assert!(pair.client_reads(&send));
    assert_eq!(pair.answer, b"HTTP/1.1 200");
    // One that is plain keeps its own token.
    assert_eq!(target.adopt(FileId(1), key), key.to_bits());
}

struct Silent;

impl Application for Silent {
    fn handle_event(&self, _: Event, _: &mut [u8]) {}
    fn handle_stop(&self) {}
}

/// A shard that speaks TLS on its second listener, its clock, its core.
fn shard(server: &TlsSettings) -> (Turn<Script, Silent, Hand>, Hand, Rc<RefCell<Shard>>) {
    let port = mesh(1, 4).unwrap().pop().unwrap();
    let core = first_shard(1);
    let (injector, executor, hand) = (Injector::new(port.doorbell()), Executor::new(port.doorbell()), Hand::default());
    let turn = Turn::new(Script::default(), Rc::clone(&core), Silent, port, injector, executor, hand.clone());
    (turn.with_tls(vec![None, Some(server.clone())]), hand, core)
}

#[test]
fn a_handshake_that_dribbles_is_cut_off_at_the_deadline() {
    let (server, client) = configurations();
    let (mut turn, hand, core) = shard(&server);
    let mut client = ClientConnection::new(client, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    turn.kernel.accept = Some(1);
    turn.run(Some(Duration::ZERO));
    let mut seconds = 0;
    for byte in hello {
        turn.kernel.bytes.push_back(vec![byte]);
        hand.0.set(seconds * 1_000);
        turn.run(Some(Duration::ZERO));
        if turn.kernel.is_closed {
            break;
        }
        seconds += 1;
    }
    assert_eq!(seconds, ringio_core::limits::REQUEST_HEAD_DEADLINE_MS / 1_000, "single bytes extend nothing");
    assert!(core.borrow().is_vacant());
}

#[test]
fn plain_http_is_answered_in_plain_words_and_half_closed() {
    let (server, _) = configurations();
    let (mut turn, hand, core) = shard(&server);
    turn.kernel.accept = Some(1);
    turn.kernel.bytes.push_back(b"GET / HTTP/1.1\r\n".to_vec());
    turn.run(Some(Duration::ZERO));
    assert!(turn.kernel.sends[0].starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    assert!(turn.kernel.is_shut && !turn.kernel.is_closed);
    assert_eq!(core.borrow().counters().tls_failures, 1);
    // Whoever stays is closed.
    hand.0.set(ringio_core::limits::CLOSING_DEADLINE_MS + 1);
    turn.run(Some(Duration::ZERO));
    assert!(turn.kernel.is_closed);
}

#[test]
fn who_goes_on_without_tls_is_cut_off() {
    let (server, _) = configurations();
    let (mut turn, _, core) = shard(&server);
    turn.kernel.accept = Some(1);
    turn.kernel.bytes.push_back(b"POST / HTTP/1.1\r\n".to_vec());
    turn.run(Some(Duration::ZERO));
    let mut sent = 0;
    while !turn.kernel.is_closed {
        assert!(sent <= ringio_core::limits::DROPPED_BYTES, "read without end");
        turn.kernel.bytes.push_back(vec![b'x'; 64 << 10]);
        turn.run(Some(Duration::ZERO));
        sent += 64 << 10;
    }
    assert!(sent > ringio_core::limits::DROPPED_BYTES, "an honest sender hears why: {sent}");
    assert!(core.borrow().is_vacant());
}

#[test]
fn a_plain_listener_beside_it_stays_plain() {
    let (server, _) = configurations();
    let (mut turn, _, core) = shard(&server);
    turn.kernel.accept = Some(0);
    turn.kernel.bytes.push_back(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    turn.run(Some(Duration::ZERO));
    assert!(turn.kernel.sends[0].starts_with(b"HTTP/1.1 404"));
    assert_eq!(core.borrow().counters().tls_failures, 0);
}
