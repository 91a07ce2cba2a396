//! On tokio-uring: tokio's executor with a ring beside it.

use crate::messages::{Hub, Partial};
use crate::{GREETING, Mode, READ_SIZE};
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio_uring::net::{TcpListener, TcpStream};

pub(crate) fn serve(address: SocketAddr, mode: Mode) -> io::Result<()> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(32_768).setup_coop_taskrun();
    tokio_uring::builder().entries(4096).uring_builder(&ring).start(async {
        let listener = TcpListener::bind(address)?;
        let hub = Hub::default();
        println!("ready");
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            match mode {
                Mode::Echo => drop(tokio_uring::spawn(echo(stream))),
                Mode::Broadcast => drop(tokio_uring::spawn(broadcast(Rc::new(stream), hub.clone()))),
            }
        }
    })
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    stream.write_all(GREETING).await.0?;
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let (size, read) = stream.read(buffer).await;
        let size = size?;
        if size == 0 {
            return Ok(());
        }
        let (written, slice) = stream.write_all(tokio_uring::buf::BoundedBuf::slice(read, ..size)).await;
        written?;
        buffer = slice.into_inner();
    }
}

async fn broadcast(stream: Rc<TcpStream>, hub: Hub) -> io::Result<()> {
    let (own, mut queue) = hub.queue(true);
    let writer = Rc::clone(&stream);
    tokio_uring::spawn(async move {
        while let Some(message) = queue.recv().await {
            writer.write_all(message).await.0?;
        }
        io::Result::Ok(())
    });
    let _ = own.send(Bytes::from_static(GREETING));
    let (mut buffer, mut partial) = (vec![0; READ_SIZE], Partial::default());
    loop {
        let (size, read) = stream.read(buffer).await;
        let size = size?;
        if size == 0 {
            return Ok(());
        }
        partial.take(&read[..size], |message| hub.send_all(&message));
        buffer = read;
    }
}
