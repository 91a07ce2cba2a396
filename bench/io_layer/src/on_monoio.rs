//! On monoio, with its ring and with its epoll driver.

use crate::messages::{Hub, Partial};
use crate::{GREETING, Mode, READ_SIZE};
use bytes::Bytes;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, Splitable};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::io;
use std::net::SocketAddr;

pub(crate) fn ring(address: SocketAddr, mode: Mode) -> io::Result<()> {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun().setup_cqsize(32_768);
    RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(4096)
        .uring_builder(ring)
        .build()?
        .block_on(serve(address, mode))
}

pub(crate) fn epoll(address: SocketAddr, mode: Mode) -> io::Result<()> {
    RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(serve(address, mode))
}

async fn serve(address: SocketAddr, mode: Mode) -> io::Result<()> {
    let listener = TcpListener::bind_with_config(address, &ListenerOpts::new().backlog(4096).reuse_port(false))?;
    let hub = Hub::default();
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match mode {
            Mode::Echo => drop(monoio::spawn(echo(stream))),
            Mode::Broadcast => drop(monoio::spawn(broadcast(stream, hub.clone()))),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(GREETING).await.0?;
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let (size, read) = stream.read(buffer).await;
        let size = size?;
        if size == 0 {
            return Ok(());
        }
        let (written, slice) = stream.write_all(read.slice_mut(..size)).await;
        written?;
        buffer = slice.into_inner();
    }
}

async fn broadcast(stream: TcpStream, hub: Hub) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let (own, mut queue) = hub.queue(true);
    monoio::spawn(async move {
        while let Some(message) = queue.recv().await {
            writer.write_all(message).await.0?;
        }
        io::Result::Ok(())
    });
    let _ = own.send(Bytes::from_static(GREETING));
    let (mut buffer, mut partial) = (vec![0; READ_SIZE], Partial::default());
    loop {
        let (size, read) = reader.read(buffer).await;
        let size = size?;
        if size == 0 {
            return Ok(());
        }
        partial.take(&read[..size], |message| hub.send_all(&message));
        buffer = read;
    }
}
