//! On tokio, one thread.

use crate::messages::{Hub, Partial};
use crate::{GREETING, Mode, READ_SIZE};
use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Everyone, to be written to at once.
type Streams = Rc<RefCell<Vec<Rc<TcpStream>>>>;

pub(crate) fn serve(address: SocketAddr, mode: Mode, is_direct: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        accept(socket.listen(4096)?, mode, is_direct).await
    })
}

async fn accept(listener: TcpListener, mode: Mode, is_direct: bool) -> io::Result<()> {
    let (hub, streams) = (Hub::default(), Streams::default());
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match (mode, is_direct) {
            (Mode::Echo, _) => drop(spawn_local(echo(stream))),
            (Mode::Broadcast, true) => drop(spawn_local(broadcast_directly(stream, streams.clone()))),
            (Mode::Broadcast, false) => drop(spawn_local(broadcast(stream, hub.clone()))),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(GREETING).await?;
    let mut buffer = [0; READ_SIZE];
    loop {
        let size = stream.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..size]).await?;
    }
}

async fn broadcast(stream: TcpStream, hub: Hub) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let (own, mut queue) = hub.queue(true);
    spawn_local(async move {
        while let Some(message) = queue.recv().await {
            writer.write_all(&message).await?;
        }
        io::Result::Ok(())
    });
    // In the hub before the greeting leaves: whoever has it, is a receiver.
    let _ = own.send(Bytes::from_static(GREETING));
    let (mut buffer, mut partial) = ([0; READ_SIZE], Partial::default());
    loop {
        let size = reader.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        partial.take(&buffer[..size], |message| hub.send_all(&message));
    }
}

async fn broadcast_directly(stream: TcpStream, streams: Streams) -> io::Result<()> {
    let stream = Rc::new(stream);
    stream.writable().await?;
    streams.borrow_mut().push(Rc::clone(&stream));
    write(&stream, GREETING);
    let mut partial = Partial::default();
    loop {
        stream.readable().await?;
        let mut buffer = [0; READ_SIZE];
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(size) => partial.take(&buffer[..size], |message| {
                streams.borrow().iter().for_each(|stream| write(stream, &message));
            }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    streams.borrow_mut().retain(|other| !Rc::ptr_eq(other, &stream));
    Ok(())
}

/// Like the floor, this shape has nowhere to put what does not fit.
fn write(stream: &TcpStream, bytes: &[u8]) {
    match stream.try_write(bytes) {
        Ok(size) => assert_eq!(size, bytes.len(), "a write was short: no figure"),
        Err(error) => assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "a write would block: no figure"),
    }
}
