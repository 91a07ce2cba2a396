//! The server of these tests: shards on threads of their own, each a driver and a sink that does as it is told.

use super::{Driver, Sizes};
use crate::kernel::{Arrival, Counters, End, SendOutcome, Sink, Token};
use crate::listener;
use crate::mesh::doorbell::Doorbell;
use crate::mesh::{Port, mesh};
use ringio_core::base::frame::Frame;
use ringio_core::base::id::{FileId, ShardIndex};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a connection gets.
#[derive(Clone, Debug)]
pub(super) enum Behaviour {
    /// Its own bytes.
    Echo,
    /// Its own bytes, while it is moved to the next shard whenever something arrives, so many times.
    EchoMoving(u32),
    /// Its own bytes, while whoever came to the first shard is moved to the next once.
    EchoLeavingFirst,
    /// These bytes at once, then FIN in the same breath if so; what it sends is noted.
    Greet { greeting: Vec<u8>, with_fin: bool },
    /// These bytes at once; closed in the same turn.
    GreetAndClose(Vec<u8>),
    /// When it sends anything, these bytes go to everyone, as one frame.
    Broadcast(Vec<u8>),
}

/// What the sink saw, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Accepted(Option<SocketAddr>),
    Ended(End),
    Sent(SendOutcome),
    Waits,
    Transferred(Result<(), i32>),
    Closed,
}

/// What a shard says when asked, and at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) counters: Counters,
    pub(super) file_count: u32,
    pub(super) unexpected: u64,
    pub(super) received: Vec<u8>,
    pub(super) seen: Vec<Seen>,
    /// At the end: frames given to the driver that it has not let go of.
    pub(super) frames_held: usize,
}

enum Command {
    Report(Sender<Report>),
    CloseAll,
    StopListening,
    Stop,
}

/// A connection on its way to another shard.
struct Moving {
    file: FileId,
    outbox: Vec<u8>,
    has_ended: bool,
    moves_left: u32,
}

#[derive(Debug)]
struct Connection {
    file: FileId,
    outbox: Vec<u8>,
    is_sending: bool,
    has_ended: bool,
    is_leaving: bool,
    moves_left: u32,
}

impl Connection {
    fn has_more_behind_a_send(&self) -> bool {
        self.is_sending && (self.has_ended || self.is_leaving || !self.outbox.is_empty())
    }
}

struct Shard {
    index: u16,
    shard_count: u16,
    behaviour: Behaviour,
    connections: BTreeMap<Token, Connection>,
    next_token: Token,
    outgoing: Vec<(ShardIndex, Moving)>,
    frames: Vec<Frame>,
    received: Vec<u8>,
    seen: Vec<Seen>,
    watcher: Sender<Seen>,
}

impl Shard {
    fn see(&mut self, seen: Seen) {
        self.seen.push(seen);
        let _ = self.watcher.send(seen); // The test may have stopped looking.
    }

    fn frame(&mut self, bytes: Vec<u8>) -> Frame {
        let frame = Frame::raw(bytes);
        self.frames.push(frame.clone());
        frame
    }

    fn insert<D: Driver>(&mut self, kernel: &mut D, file: FileId, moves_left: u32) -> Token {
        let token = self.next_token;
        self.next_token += 1;
        let connection =
            Connection { file, outbox: Vec::new(), is_sending: false, has_ended: false, is_leaving: false, moves_left };
        self.connections.insert(token, connection);
        kernel.start(file, token);
        token
    }

    fn close<D: Driver>(&mut self, kernel: &mut D, token: Token) {
        if let Some(connection) = self.connections.remove(&token) {
            kernel.close(connection.file);
            self.see(Seen::Closed);
        }
    }

    /// Sends what waits; when all has gone and the peer has ended, closes.
    fn flush<D: Driver>(&mut self, kernel: &mut D, token: Token) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if connection.is_sending || connection.is_leaving {
            return;
        }
        if connection.outbox.is_empty() {
            if connection.has_ended {
                self.close(kernel, token);
            }
            return;
        }
        connection.is_sending = true;
        let (file, bytes) = (connection.file, std::mem::take(&mut connection.outbox));
        // Two bytes that are not to be sent, so that the offset is proven.
        let mut padded = b"xx".to_vec();
        padded.extend(bytes);
        let frame = self.frame(padded);
        kernel.send(file, frame, 2);
    }

    fn arrive<D: Driver>(&mut self, kernel: &mut D, moving: Moving) {
        kernel.adopt(moving.file);
        let token = self.insert(kernel, moving.file, moving.moves_left);
        if let Some(connection) = self.connections.get_mut(&token) {
            connection.outbox = moving.outbox;
            connection.has_ended = moving.has_ended;
        }
        self.flush(kernel, token);
    }
}

impl<D: Driver> Sink<D> for Shard {
    fn accepted(&mut self, kernel: &mut D, file: FileId, from: Arrival) {
        self.see(Seen::Accepted(from.peer));
        let moves_left = match self.behaviour {
            Behaviour::EchoMoving(count) => count,
            Behaviour::EchoLeavingFirst => u32::from(self.index == 0),
            _ => 0,
        };
        let token = self.insert(kernel, file, moves_left);
        match self.behaviour.clone() {
            Behaviour::Greet { greeting, with_fin } => {
                let frame = self.frame(greeting);
                kernel.send(file, frame, 0);
                if with_fin {
                    kernel.shutdown_write(file);
                }
                if let Some(connection) = self.connections.get_mut(&token) {
                    connection.is_sending = true;
                }
            }
            Behaviour::GreetAndClose(greeting) => {
                let frame = self.frame(greeting);
                kernel.send(file, frame, 0);
                self.close(kernel, token);
            }
            Behaviour::Echo | Behaviour::EchoMoving(_) | Behaviour::EchoLeavingFirst | Behaviour::Broadcast(_) => {}
        }
    }

    fn received(&mut self, kernel: &mut D, token: Token, bytes: &mut [u8]) {
        // What is received may be changed in place.
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        let restored: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x55).collect();
        let Some(connection) = self.connections.get_mut(&token) else { panic!("received for a closed connection") };
        assert!(!connection.has_ended, "received after the end");
        match &self.behaviour {
            Behaviour::Echo => connection.outbox.extend(restored),
            Behaviour::EchoMoving(_) | Behaviour::EchoLeavingFirst => {
                connection.outbox.extend(restored);
                if connection.moves_left > 0 && !connection.is_leaving {
                    connection.is_leaving = true;
                    connection.moves_left -= 1;
                    let file = connection.file;
                    kernel.transfer(file, ShardIndex((self.index + 1) % self.shard_count));
                }
            }
            Behaviour::Greet { .. } | Behaviour::GreetAndClose(_) => self.received.extend(restored),
            Behaviour::Broadcast(bytes) => {
                let frame = self.frame(bytes.clone());
                for connection in self.connections.values_mut() {
                    assert!(!connection.is_sending);
                    connection.is_sending = true;
                    kernel.send(connection.file, frame.clone(), 0);
                }
            }
        }
        self.flush(kernel, token);
    }

    fn ended(&mut self, kernel: &mut D, token: Token, end: End) {
        self.see(Seen::Ended(end));
        let Some(connection) = self.connections.get_mut(&token) else { panic!("ended for a closed connection") };
        assert!(!connection.has_ended, "ended twice");
        connection.has_ended = true;
        match end {
            End::Finished if connection.is_sending => {}
            End::Finished => self.flush(kernel, token),
            End::Broken(_) => self.close(kernel, token),
        }
    }

    fn sent(&mut self, kernel: &mut D, token: Token, outcome: SendOutcome) {
        self.see(Seen::Sent(outcome));
        let Some(connection) = self.connections.get_mut(&token) else { panic!("sent for a closed connection") };
        assert!(connection.is_sending, "sent without a send");
        assert!(kernel.sending(connection.file).is_none(), "nothing is kept of what was sent");
        connection.is_sending = false;
        match outcome {
            SendOutcome::Complete => self.flush(kernel, token),
            SendOutcome::Broken(_) => self.close(kernel, token),
        }
    }

    fn send_waits(&mut self, kernel: &mut D, token: Token) {
        self.see(Seen::Waits);
        let Some(connection) = self.connections.get(&token) else { panic!("waits for a closed connection") };
        assert!(connection.is_sending, "waits without a send");
        assert!(kernel.sending(connection.file).is_some_and(|frame| !frame.is_empty()), "its frame is kept");
    }

    fn transferred(&mut self, kernel: &mut D, token: Token, remote: Result<FileId, i32>) {
        self.see(Seen::Transferred(remote.map(drop)));
        let Some(connection) = self.connections.get(&token) else { panic!("transferred for a closed connection") };
        assert!(connection.is_leaving && !connection.is_sending);
        match remote {
            Ok(file) => {
                let Some(connection) = self.connections.remove(&token) else { return };
                let target = ShardIndex((self.index + 1) % self.shard_count);
                let moving = Moving {
                    file,
                    outbox: connection.outbox,
                    has_ended: connection.has_ended,
                    moves_left: connection.moves_left,
                };
                self.outgoing.push((target, moving));
            }
            Err(_) => self.close(kernel, token),
        }
    }
}

/// Shards that serve an address of the loopback interface.
pub(super) struct Server<D: Driver> {
    pub(super) address: SocketAddr,
    shards: Vec<(Sender<Command>, Doorbell, JoinHandle<Report>)>,
    watched: Receiver<Seen>,
    driver: PhantomData<fn(D)>,
}

impl<D: Driver> Server<D> {
    pub(super) fn start(shard_count: usize, behaviour: Behaviour) -> Self {
        Self::start_with(shard_count, behaviour, Sizes::default(), "127.0.0.1:0".parse().unwrap())
    }

    #[allow(clippy::needless_pass_by_value)] // One word less in every test.
    pub(super) fn start_with(shard_count: usize, behaviour: Behaviour, sizes: Sizes, address: SocketAddr) -> Self {
        let listeners = listener::bind(address, shard_count, listener::BACKLOG).unwrap();
        let address = listener::local_addr(&listeners[0]).unwrap();
        let ports = mesh::<Moving>(shard_count, 4).unwrap();
        let (watcher, watched) = channel();
        let (tell_address, addresses) = channel();
        let mut shards = Vec::new();
        let mut peers_senders = Vec::new();
        for (port, listener) in ports.into_iter().zip(listeners) {
            let (commands, inbox) = channel();
            let (peers_sender, peers) = channel();
            peers_senders.push(peers_sender);
            let bell = port.doorbell();
            let tell_address = tell_address.clone();
            let (behaviour, watcher) = (behaviour.clone(), watcher.clone());
            let thread = std::thread::spawn(move || {
                let shard = Shard {
                    index: port.index().0,
                    shard_count: shard_count as u16,
                    behaviour,
                    connections: BTreeMap::new(),
                    next_token: 1000 * u64::from(port.index().0),
                    outgoing: Vec::new(),
                    frames: Vec::new(),
                    received: Vec::new(),
                    seen: Vec::new(),
                    watcher,
                };
                let mut kernel = D::make(sizes, &port);
                tell_address.send((port.index(), kernel.address())).unwrap();
                kernel.set_peers(peers.recv().unwrap());
                kernel.listen(listener).unwrap();
                run(kernel, port, shard, &inbox)
            });
            shards.push((commands, bell, thread));
        }
        let mut all: Vec<_> = (0..shard_count).map(|_| addresses.recv().unwrap()).collect();
        all.sort_by_key(|(index, _)| *index);
        for sender in peers_senders {
            sender.send(all.iter().map(|(_, address)| address.clone()).collect()).unwrap();
        }
        Self { address, shards, watched, driver: PhantomData }
    }

    fn tell(&self, make: impl Fn() -> Command) {
        for (commands, bell, _) in &self.shards {
            commands.send(make()).unwrap();
            bell.ring();
        }
    }

    pub(super) fn close_all(&self) {
        self.tell(|| Command::CloseAll);
    }

    pub(super) fn stop_listening(&self) {
        self.tell(|| Command::StopListening);
    }

    pub(super) fn reports(&self) -> Vec<Report> {
        let one = |(commands, bell, _): &(Sender<Command>, Doorbell, _)| {
            let (answer, answered) = channel();
            commands.send(Command::Report(answer)).unwrap();
            bell.ring();
            answered.recv().unwrap()
        };
        self.shards.iter().map(one).collect()
    }

    /// Waits until `condition` holds of the reports; between two looks something is seen, or a little time given.
    pub(super) fn wait_for(&self, condition: impl Fn(&[Report]) -> bool) -> Vec<Report> {
        loop {
            let reports = self.reports();
            if condition(&reports) {
                return reports;
            }
            self.wait_a_moment(Duration::from_millis(5));
        }
    }

    /// Until a sink sees something, or so long.
    pub(super) fn wait_a_moment(&self, at_most: Duration) {
        let _ = self.watched.recv_timeout(at_most);
    }

    /// Waits until every connection has been closed, and the drivers hold nothing.
    pub(super) fn wait_for_silence(&self) -> Vec<Report> {
        self.wait_for(|reports| reports.iter().all(|report| report.file_count == 0))
    }

    /// Waits until a sink sees this.
    pub(super) fn wait_for_seen(&self, wanted: impl Fn(Seen) -> bool) -> Seen {
        loop {
            let seen = self.watched.recv().unwrap();
            if wanted(seen) {
                return seen;
            }
        }
    }

    /// Ends the shards (which drops their drivers) and returns the last word of each.
    pub(super) fn stop(mut self) -> Vec<Report> {
        self.tell(|| Command::Stop);
        let reports: Vec<Report> = self.shards.drain(..).map(|(_, _, thread)| thread.join().unwrap()).collect();
        for report in &reports {
            assert_eq!(report.unexpected, 0, "completions that made no sense");
            assert_eq!(report.frames_held, 0, "the driver is gone and holds frames");
        }
        reports
    }
}

fn run<D: Driver>(mut kernel: D, mut port: Port<Moving>, mut shard: Shard, inbox: &Receiver<Command>) -> Report {
    loop {
        while let Some((_, moving)) = port.receive() {
            shard.arrive(&mut kernel, moving);
        }
        while let Ok(command) = inbox.try_recv() {
            match command {
                Command::Report(answer) => answer.send(report(&kernel, &shard)).unwrap(),
                Command::CloseAll => {
                    let tokens: Vec<Token> = shard.connections.keys().copied().collect();
                    for token in tokens {
                        shard.close(&mut kernel, token);
                    }
                }
                Command::StopListening => kernel.stop_listening(),
                Command::Stop => {
                    let mut last = report(&kernel, &shard);
                    drop(kernel);
                    last.frames_held = held(&mut shard);
                    return last;
                }
            }
        }
        for (target, moving) in shard.outgoing.drain(..) {
            port.send(target, moving);
        }
        port.flush();
        if !shard.connections.values().any(Connection::has_more_behind_a_send) {
            kernel.defer_sent();
        }
        let wait = if port.about_to_sleep() { None } else { Some(Duration::ZERO) };
        kernel.turn(wait, &mut shard);
        port.woke();
    }
}

fn report<D: Driver>(kernel: &D, shard: &Shard) -> Report {
    Report {
        counters: kernel.counters(),
        file_count: kernel.file_count(),
        unexpected: kernel.unexpected(),
        received: shard.received.clone(),
        seen: shard.seen.clone(),
        frames_held: 0,
    }
}

/// Frames that somebody besides the list of all frames holds: a frame gives its buffer back only to its last holder.
fn held(shard: &mut Shard) -> usize {
    std::mem::take(&mut shard.frames)
        .into_iter()
        .filter_map(|frame| frame.into_buffer().is_none().then_some(()))
        .count()
}
