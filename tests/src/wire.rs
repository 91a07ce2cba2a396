//! HTTP and WebSocket by hand, for tests of what is on the wire: one request per connection, whole answers, whole frames.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on fails")]

use ringio_codec::websocket::{HEADER_BYTES_MAX, Opcode, decode_header, encode_header_masked};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long anything may take on a busy machine. Nothing is asserted about time itself.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    head: String,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// All values of a header, in their order.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The OPEN packet in the body.
    pub fn open(&self) -> serde_json::Value {
        assert!(self.status == 200 && self.body.starts_with('0'), "{self:?}");
        serde_json::from_str(&self.body[1..]).unwrap()
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether a connection is taken there. One that meets itself, because the system has just given it this port, is none.
#[must_use]
pub fn lets_in(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok_and(|stream| stream.local_addr().ok() != stream.peer_addr().ok())
}

/// Waits until no connection is taken there any more. Looks are counted, so that a machine that stands still for a while costs none.
///
/// # Panics
/// If one is taken still, after [`PATIENCE`] at the least.
pub fn until_nobody_is_let_in(address: SocketAddr) {
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if !lets_in(address) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{address} has not closed its door: connections are still taken");
}

/// Sends these bytes and returns all that is heard until the other side ends the connection.
pub fn until_the_end(address: SocketAddr, bytes: &str) -> String {
    let mut stream = connected(address);
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    String::from_utf8(heard).unwrap()
}

/// One request, one answer. `headers` end in CR LF each.
pub fn request(address: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let mut stream = connected(address);
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    // A body may be compressed.
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A GET, and its answer.
pub fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, "", "")
}

/// A session over polling.
#[derive(Debug)]
pub struct Polling {
    address: SocketAddr,
    target: String,
}

impl Polling {
    /// A session that has opened and not polled yet.
    pub fn open(address: SocketAddr) -> Self {
        let open = get(address, "/socket.io/?EIO=4&transport=polling").open();
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
        Self { address, target }
    }

    /// The session's id.
    #[must_use]
    pub fn sid(&self) -> &str {
        self.target.rsplit('=').next().unwrap()
    }

    /// One poll.
    pub fn get(&self) -> Answer {
        get(self.address, &self.target)
    }

    /// Sends a payload.
    pub fn post(&self, body: &str) -> Answer {
        request(self.address, "POST", &self.target, "Content-Type: text/plain;charset=UTF-8\r\n", body)
    }

    /// Breaks the session as a network does: a request that waits is given up.
    pub fn cut(self) {
        let mut stream = connected(self.address);
        stream.write_all(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", self.target).as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        while self.post("6").status == 200 {
            std::thread::yield_now();
        }
    }
}

/// A connection that counts what it sends and reads whatever comes: answers, frames, the end. Nothing here panics about
/// what the other side does: that is what is asked.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// What has been received and not been read.
    heard: Vec<u8>,
    sent_bytes: Arc<AtomicU64>,
}

/// A frame that a server sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub opcode: Opcode,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Stream {
    /// Connects; what is sent is added to `sent_bytes`.
    ///
    /// # Errors
    /// Those of `connect(2)`.
    pub fn connect(address: SocketAddr, sent_bytes: Arc<AtomicU64>) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?, sent_bytes)
    }

    /// The same on a socket that has connected.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn over(socket: TcpStream, sent_bytes: Arc<AtomicU64>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, heard: Vec::new(), sent_bytes })
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The other side has ended, or takes nothing for as long as the write timeout says.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = self.send_some(bytes)?;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Sends as much as the socket takes at once, and says how much.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.socket.write(bytes)?;
        self.sent_bytes.fetch_add(len as u64, Ordering::Relaxed);
        if len == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(len) }
    }

    /// Sends a frame of these bytes, masked.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
        write_frame(&mut bytes, true, opcode, payload);
        self.send(&bytes)
    }

    /// The next bytes, at least one.
    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        match self.socket.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            len => {
                self.heard.extend_from_slice(&buffer[..len]);
                Ok(())
            }
        }
    }

    /// The next HTTP answer, its body by `Content-Length`, or up to the end without one; a 101 or a 204 has none.
    ///
    /// # Errors
    /// The end or the read timeout came before it, or it is no answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            match self.heard.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.hear()?,
            }
        };
        let head = String::from_utf8_lossy(&self.heard[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, head.clone()))?;
        self.heard.drain(..end);
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.headers("content-length").first().and_then(|length| length.parse::<usize>().ok());
        let length = if matches!(status, 100 | 101 | 204 | 304) { Some(0) } else { length };
        while length.is_none_or(|length| self.heard.len() < length) {
            match self.hear() {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && length.is_none() => break,
                heard => heard?,
            }
        }
        let body = self.heard.drain(..length.unwrap_or(self.heard.len()));
        answer.body = String::from_utf8_lossy(&body.collect::<Vec<u8>>()).into_owned();
        Ok(answer)
    }

    /// The next frame.
    ///
    /// # Errors
    /// The end or the read timeout came before it, or it is no frame.
    pub fn frame(&mut self) -> io::Result<Frame> {
        loop {
            let header = decode_header(&self.heard);
            let header = header.map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
            if let Some(header) = header {
                let end = header.header_len + usize::try_from(header.payload_len).unwrap_or(usize::MAX);
                if self.heard.len() >= end {
                    let frame = self.heard.drain(..end).skip(header.header_len);
                    return Ok(Frame { opcode: header.opcode, payload: frame.collect() });
                }
            }
            self.hear()?;
        }
    }

    /// The next frame that is a message of text.
    ///
    /// # Errors
    /// As [`Self::frame`]; a close frame is the end.
    pub fn text(&mut self) -> io::Result<String> {
        loop {
            let frame = self.frame()?;
            match frame.opcode {
                Opcode::Text => return Ok(String::from_utf8_lossy(&frame.payload).into_owned()),
                Opcode::Close => return Err(ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }
}

/// Appends a frame as a client sends it. The key is zero, so the payload stays as it is.
pub fn write_frame(bytes: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8]) {
    let start = bytes.len();
    encode_header_masked(bytes, opcode, payload.len() as u64, [0; 4]);
    if !fin {
        bytes[start] &= 0x7f;
    }
    bytes.extend_from_slice(payload);
}

/// The head of a request for a WebSocket. `headers` end in CR LF each.
#[must_use]
pub fn upgrade_head(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n"
    )
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket(Stream);

impl WebSocket {
    /// The answer to the handshake, and the WebSocket if it is open.
    pub fn open(address: SocketAddr, target: &str) -> (Answer, Option<Self>) {
        let mut stream = Stream::connect(address, Arc::default()).unwrap();
        stream.send(upgrade_head(target, "").as_bytes()).unwrap();
        let answer = stream.answer().unwrap();
        let is_open = answer.status == 101;
        (answer, is_open.then_some(Self(stream)))
    }

    /// Sends a text.
    pub fn send(&mut self, text: &str) {
        // Who has been cut off notices when it reads.
        let _ = self.0.send_frame(Opcode::Text, text.as_bytes());
    }

    /// Sends some bytes.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        let _ = self.0.send_frame(Opcode::Binary, bytes);
    }

    /// The next text; `None` for a close frame or the end.
    #[allow(clippy::should_implement_trait, reason = "there may be another text after something that was none")]
    pub fn next(&mut self) -> Option<String> {
        let frame = self.0.frame().ok()?;
        (frame.opcode == Opcode::Text).then(|| String::from_utf8(frame.payload).unwrap())
    }
}
