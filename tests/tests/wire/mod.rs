//! HTTP and WebSocket by hand, for tests of what is on the wire: one request per connection, whole answers, whole frames.

#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::client::PATIENCE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// All values of a header, in their order.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The OPEN packet in the body.
    pub(crate) fn open(&self) -> serde_json::Value {
        assert!(self.status == 200 && self.body.starts_with('0'), "{self:?}");
        serde_json::from_str(&self.body[1..]).unwrap()
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends these bytes and returns all that is heard until the other side ends the connection.
pub(crate) fn until_the_end(address: SocketAddr, bytes: &str) -> String {
    let mut stream = connected(address);
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    String::from_utf8(heard).unwrap()
}

/// One request, one answer. `headers` end in CR LF each.
pub(crate) fn request(address: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> Answer {
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

pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, "", "")
}

/// A session over polling.
pub(crate) struct Polling {
    address: SocketAddr,
    target: String,
}

impl Polling {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let open = get(address, "/socket.io/?EIO=4&transport=polling").open();
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
        Self { address, target }
    }

    pub(crate) fn sid(&self) -> &str {
        self.target.rsplit('=').next().unwrap()
    }

    pub(crate) fn get(&self) -> Answer {
        get(self.address, &self.target)
    }

    pub(crate) fn post(&self, body: &str) -> Answer {
        request(self.address, "POST", &self.target, "Content-Type: text/plain;charset=UTF-8\r\n", body)
    }

    /// Breaks the session as a network does: a request that waits is given up.
    pub(crate) fn cut(self) {
        let mut stream = connected(self.address);
        stream.write_all(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", self.target).as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        while self.post("6").status == 200 {
            std::thread::yield_now();
        }
    }
}

/// An open WebSocket.
pub(crate) struct WebSocket(TcpStream);

impl WebSocket {
    /// The answer to the handshake, and the WebSocket if it is open.
    pub(crate) fn open(address: SocketAddr, target: &str) -> (Answer, Option<Self>) {
        let mut stream = connected(address);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        if status == 101 {
            return (answer, Some(Self(stream)));
        }
        let length = answer.headers("content-length").first().map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        (answer, None)
    }

    /// Sends a short text.
    pub(crate) fn send(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    /// Sends some bytes.
    pub(crate) fn send_binary(&mut self, bytes: &[u8]) {
        self.send_frame(0x82, bytes);
    }

    fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126, "short messages only");
        let mut frame = vec![first, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        // Who has been cut off notices when it reads.
        let _ = self.0.write_all(&frame);
    }

    /// The next text; `None` for a close frame or the end.
    pub(crate) fn next(&mut self) -> Option<String> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).ok()?;
                usize::from(u16::from_be_bytes(length))
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        (head[0] == 0x81).then(|| String::from_utf8(payload).unwrap())
    }
}
