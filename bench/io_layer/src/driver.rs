//! On Ringio's own drivers: completions in, operations out, no tasks.

use crate::messages::Partial;
use crate::{GREETING, Mode};
use ringio_core::base::frame::Frame;
use ringio_core::base::id::FileId;
use ringio_runtime::epoll::{Epoll, EpollOptions};
use ringio_runtime::kernel::{Arrival, End, Kernel, SendOutcome, Sink, Token};
use ringio_runtime::mesh::doorbell::Sleeper;
use ringio_runtime::uring::{Uring, UringOptions};
use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;

pub(crate) fn ring(listener: TcpListener, mode: Mode) -> io::Result<()> {
    let sleeper = Sleeper::new()?;
    let ring =
        Uring::new(&UringOptions::default(), &sleeper).map_err(|refused| io::Error::other(refused.to_string()))?;
    serve(ring, listener, mode)
}

pub(crate) fn epoll(listener: TcpListener, mode: Mode) -> io::Result<()> {
    let sleeper = Sleeper::new()?;
    serve(Epoll::new(&EpollOptions::default(), &sleeper)?, listener, mode)
}

fn serve(mut kernel: impl Kernel, listener: TcpListener, mode: Mode) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    nodelay(&listener)?;
    kernel.listen(listener.into())?;
    let mut server = Server { mode, connections: Vec::new(), waiting: 0 };
    println!("ready");
    loop {
        if server.waiting == 0 {
            kernel.defer_sent();
        }
        kernel.turn(None, &mut server);
    }
}

/// Accepted sockets inherit it.
fn nodelay(listener: &TcpListener) -> io::Result<()> {
    std::net::TcpStream::from(std::os::fd::OwnedFd::from(listener.try_clone()?)).set_nodelay(true)
}

struct Connection {
    file: FileId,
    is_open: bool,
    is_sending: bool,
    queue: VecDeque<Frame>,
    partial: Partial,
}

struct Server {
    mode: Mode,
    /// By token.
    connections: Vec<Connection>,
    /// Frames in queues.
    waiting: usize,
}

impl Server {
    fn send<K: Kernel>(&mut self, kernel: &mut K, token: usize, frame: Frame) {
        let connection = &mut self.connections[token];
        if connection.is_sending {
            connection.queue.push_back(frame);
            self.waiting += 1;
        } else {
            connection.is_sending = true;
            kernel.send(connection.file, frame, 0);
        }
    }
}

impl<K: Kernel> Sink<K> for Server {
    fn accepted(&mut self, kernel: &mut K, file: FileId, _: Arrival) {
        let token = self.connections.len();
        let (queue, partial) = (VecDeque::new(), Partial::default());
        self.connections.push(Connection { file, is_open: true, is_sending: false, queue, partial });
        kernel.start(file, token as Token);
        self.send(kernel, token, Frame::raw(GREETING.to_vec()));
    }

    fn received(&mut self, kernel: &mut K, token: Token, bytes: &mut [u8]) {
        let token = token as usize;
        if self.mode == Mode::Echo {
            return self.send(kernel, token, Frame::raw(bytes.to_vec()));
        }
        let mut partial = std::mem::take(&mut self.connections[token].partial);
        partial.take(bytes, |message| {
            let frame = Frame::raw(message.to_vec());
            for index in 0..self.connections.len() {
                if self.connections[index].is_open {
                    self.send(kernel, index, frame.clone());
                }
            }
        });
        self.connections[token].partial = partial;
    }

    fn ended(&mut self, kernel: &mut K, token: Token, _: End) {
        let connection = &mut self.connections[token as usize];
        connection.is_open = false;
        self.waiting -= connection.queue.len();
        connection.queue.clear();
        kernel.close(connection.file);
    }

    fn sent(&mut self, kernel: &mut K, token: Token, _: SendOutcome) {
        let connection = &mut self.connections[token as usize];
        connection.is_sending = false;
        if let Some(frame) = connection.queue.pop_front() {
            self.waiting -= 1;
            self.send(kernel, token as usize, frame);
        }
    }

    fn send_waits(&mut self, _: &mut K, _: Token) {}

    fn transferred(&mut self, _: &mut K, _: Token, _: Result<FileId, i32>) {}
}
