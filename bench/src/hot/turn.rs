//! A whole turn of the production loop on a kernel that does nothing: the runtime's share without the system's.

use super::{HotPath, client, shard};
use ringio_core::base::frame::Frame;
use ringio_core::base::id::{FileId, NamespaceId, ShardIndex};
use ringio_core::door::{EmitFlags, Event, EventParts, PeerMessage};
use ringio_core::shard::Shard;
use ringio_runtime::clock::Clock;
use ringio_runtime::executor::Executor;
use ringio_runtime::injector::Injector;
use ringio_runtime::kernel::{Arrival, Counters, Kernel, SendOutcome, Sink, Token};
use ringio_runtime::mesh::mesh;
use ringio_runtime::shard_thread::Application;
use ringio_runtime::turn::Turn;
use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATHS: &[HotPath] = &[
    HotPath { name: "turn: one echo of 64 B", make: || echo(1), units: 1, allocations: 0 },
    HotPath { name: "turn: 50 echoes of 64 B", make: || echo(50), units: 50, allocations: 0 },
    HotPath { name: "turn: nothing to do", make: || echo(0), units: 1, allocations: 0 },
];

/// A kernel with `arrivals` for the next turn; every send is complete in the turn after.
#[derive(Default)]
struct NullKernel {
    accepting: u32,
    /// By file.
    tokens: Vec<Token>,
    arrivals: Vec<(Token, Rc<[u8]>)>,
    buffer: Vec<u8>,
    sending: Vec<(Token, Frame)>,
    bytes: u64,
}

impl Kernel for NullKernel {
    type Address = ();

    fn listen(&mut self, _: OwnedFd) -> io::Result<()> {
        Ok(())
    }
    fn stop_listening(&mut self) {}
    fn address(&self) {}
    fn set_peers(&mut self, _: Vec<()>) {}
    fn start(&mut self, file: FileId, token: Token) {
        assert_eq!(file.0 as usize, self.tokens.len(), "files are numbered as they come");
        self.tokens.push(token);
    }
    fn send(&mut self, file: FileId, frame: Frame, offset: usize) {
        self.bytes += (frame.len() - offset) as u64;
        self.sending.push((self.tokens[file.0 as usize], frame));
    }
    fn shutdown_write(&mut self, _: FileId) {}
    fn close(&mut self, _: FileId) {}
    fn transfer(&mut self, _: FileId, _: ShardIndex) {}
    fn adopt(&mut self, _: FileId) {}
    fn turn(&mut self, _: Option<Duration>, sink: &mut impl Sink<Self>) {
        let mut sending = std::mem::take(&mut self.sending);
        for (token, frame) in sending.drain(..) {
            drop(frame);
            sink.sent(self, token, SendOutcome::Complete);
        }
        self.sending = sending;
        for _ in 0..std::mem::take(&mut self.accepting) {
            sink.accepted(self, FileId(self.tokens.len() as u32), Arrival { listener: 0, peer: None });
        }
        let (mut arrivals, mut buffer) = (std::mem::take(&mut self.arrivals), std::mem::take(&mut self.buffer));
        for (token, bytes) in arrivals.drain(..) {
            buffer.clear();
            buffer.extend_from_slice(&bytes);
            sink.received(self, token, &mut buffer);
        }
        (self.arrivals, self.buffer) = (arrivals, buffer);
    }
    fn submit(&mut self) {}
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// Accepts everybody and sends every event back as it came.
struct Echo(Rc<RefCell<Shard>>, Arc<str>);

impl Application for Echo {
    fn handle_event(&self, event: Event, received: &mut [u8]) {
        let (mut core, main) = (self.0.borrow_mut(), NamespaceId(0));
        match event {
            Event::ConnectRequested { socket } => {
                core.enter_socket(socket, main, &self.1);
                core.accept_socket(socket, main, &self.1);
            }
            Event::Message { socket, message } => {
                let parts = EventParts { json: message.data.bytes(received), attachments: &message.attachments };
                let _ = core.emit(socket, parts, EmitFlags::default());
            }
            _ => {}
        }
    }
    fn handle_stop(&self) {}
}

/// A turn in which each of `count` clients has sent one event, and what it takes to be told that the answers left.
fn echo(count: u32) -> Box<dyn FnMut() -> u64> {
    let core = Rc::new(RefCell::new(shard::shard()));
    let port = mesh::<PeerMessage>(1, 16).expect("an eventfd").remove(0);
    let (injector, executor) = (Injector::new(port.doorbell()), Executor::new(port.doorbell()));
    let application = Echo(Rc::clone(&core), Arc::from("/"));
    let kernel = NullKernel { accepting: count, ..NullKernel::default() };
    let mut turn = Turn::new(kernel, core, application, port, injector, executor, Clock::start());
    turn.run(Some(Duration::ZERO));
    for bytes in [client::HANDSHAKE.to_vec(), client::text("40")] {
        let bytes: Rc<[u8]> = Rc::from(bytes);
        turn.kernel.arrivals = turn.kernel.tokens.iter().map(|token| (*token, Rc::clone(&bytes))).collect();
        turn.run(Some(Duration::ZERO));
        turn.run(Some(Duration::ZERO));
    }
    let event: Rc<[u8]> = Rc::from(client::text(&client::event("echo", 64)));
    Box::new(move || {
        let before = turn.kernel.bytes;
        turn.kernel.arrivals.extend(turn.kernel.tokens.iter().map(|token| (*token, Rc::clone(&event))));
        turn.run(Some(Duration::ZERO));
        turn.run(Some(Duration::ZERO));
        turn.kernel.bytes - before
    })
}
