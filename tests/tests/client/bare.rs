//! A client of a few lines over WebSocket, on the thread of the test: costs next to nothing, acknowledges, and notices when
//! its server goes.

#![allow(dead_code, reason = "every test file uses its own part")]

use super::PATIENCE;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// What a client hears.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// An event: name, arguments (placeholders and all), attachments.
    Event(String, Vec<Value>, Vec<Vec<u8>>),
    /// The server has ended the connection or let the namespace go.
    Gone,
}

pub(crate) struct Bare {
    stream: TcpStream,
    received: Vec<u8>,
    namespace: &'static str,
    pub(crate) id: String,
    /// The ids of questions that were heard, with the event's name.
    pub(crate) questions: Vec<(u64, String)>,
    asked: u64,
}

impl Bare {
    /// A client that has joined the namespace.
    pub(crate) fn connect(url: &str, namespace: &'static str, auth: &Value) -> Self {
        let (mut client, answer) = Self::ask_to_join(url, namespace, auth);
        let joined = answer.strip_prefix(&format!("40{}", client.prefix())).unwrap_or_else(|| panic!("{answer}"));
        client.id = serde_json::from_str::<Value>(joined).unwrap()["sid"].as_str().unwrap().to_owned();
        client
    }

    /// What a client hears that is not let into the namespace.
    pub(crate) fn refused(url: &str, namespace: &'static str) -> Value {
        let (client, answer) = Self::ask_to_join(url, namespace, &json!({}));
        let why = answer.strip_prefix(&format!("44{}", client.prefix())).unwrap_or_else(|| panic!("{answer}"));
        serde_json::from_str(why).unwrap()
    }

    fn ask_to_join(url: &str, namespace: &'static str, auth: &Value) -> (Self, String) {
        let host = url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let (id, received) = (String::new(), Vec::new());
        let mut client = Self { stream, received, namespace, id, questions: Vec::new(), asked: 0 };
        while !client.received.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(client.receive(), "the handshake is answered");
        }
        let end = client.received.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert!(client.received.starts_with(b"HTTP/1.1 101 "));
        client.received.drain(..end);
        assert!(client.text().unwrap().starts_with('0'));
        client.send(&format!("40{}{auth}", client.prefix()));
        let answer = client.text().unwrap();
        (client, answer)
    }

    fn prefix(&self) -> String {
        if self.namespace == "/" { String::new() } else { format!("{},", self.namespace) }
    }

    /// Emits an event.
    pub(crate) fn emit(&mut self, event: &str, args: &[Value]) {
        let data = json!([&[json!(event)], args].concat());
        self.send(&format!("42{}{data}", self.prefix()));
    }

    /// Emits an event and waits for its acknowledgement; events that come before it are lost.
    pub(crate) fn ask(&mut self, event: &str, args: &[Value]) -> Vec<Value> {
        self.asked += 1;
        let data = json!([&[json!(event)], args].concat());
        self.send(&format!("42{}{}{data}", self.prefix(), self.asked));
        let answer = format!("43{}{}", self.prefix(), self.asked);
        loop {
            let text = self.text().expect("an acknowledgement comes");
            if let Some(arguments) = text.strip_prefix(&answer) {
                return serde_json::from_str(arguments).unwrap();
            }
        }
    }

    /// Acknowledges the oldest question that was heard.
    pub(crate) fn answer(&mut self, args: &Value) {
        let (id, _) = self.questions.remove(0);
        self.send(&format!("43{}{id}{args}", self.prefix()));
    }

    /// The arguments of the next event, which must be this one.
    pub(crate) fn expect(&mut self, event: &str) -> Vec<Value> {
        match self.next() {
            Heard::Event(name, arguments, _) if name == event => arguments,
            other => panic!("{event}, not {other:?}"),
        }
    }

    pub(crate) fn next(&mut self) -> Heard {
        let Some(text) = self.text() else { return Heard::Gone };
        if text.starts_with("41") {
            return Heard::Gone;
        }
        let (count, rest) = match text.strip_prefix("45") {
            Some(rest) => {
                let (count, rest) = rest.split_once('-').unwrap();
                (count.parse().unwrap(), rest)
            }
            None => (0, text.strip_prefix("42").unwrap_or_else(|| panic!("an event, not {text}"))),
        };
        let rest = rest.strip_prefix(&self.prefix()).unwrap();
        let start = rest.find('[').unwrap();
        let mut data: Vec<Value> = serde_json::from_str(&rest[start..]).unwrap();
        let name = data.remove(0).as_str().unwrap().to_owned();
        if let Ok(id) = rest[..start].parse() {
            self.questions.push((id, name.clone()));
        }
        let attachments = (0..count).map(|_| self.frame().unwrap().1).collect();
        Heard::Event(name, data, attachments)
    }

    /// The next text message; pings are answered.
    fn text(&mut self) -> Option<String> {
        loop {
            let (opcode, payload) = self.frame()?;
            match (opcode, &payload[..]) {
                (1, b"2") => self.send("3"),
                (1, b"1") | (8, _) => return None,
                (1, _) => return Some(String::from_utf8(payload).unwrap()),
                other => panic!("a text, not {other:?}"),
            }
        }
    }

    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let bytes = &self.received;
            let (size, head) = match bytes.get(1) {
                Some(126) if bytes.len() >= 4 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
                Some(127) if bytes.len() >= 10 => {
                    (usize::try_from(u64::from_be_bytes(bytes[2..10].try_into().unwrap())).unwrap(), 10)
                }
                Some(size @ ..126) => (usize::from(*size), 2),
                _ => (usize::MAX - 10, 10),
            };
            if bytes.len() >= head + size {
                let opcode = bytes[0] & 15;
                let payload = bytes[head..head + size].to_vec();
                self.received.drain(..head + size);
                return Some((opcode, payload));
            }
            if !self.receive() {
                return None;
            }
        }
    }

    /// More bytes; false if none come any more.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; 65_536];
        match self.stream.read(&mut bytes) {
            Ok(size) => {
                self.received.extend_from_slice(&bytes[..size]);
                size > 0
            }
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "something is heard");
                false
            }
        }
    }

    fn send(&mut self, text: &str) {
        let size = text.len();
        let mut frame = vec![0x81];
        match size {
            0..126 => frame.push(0x80 | size as u8),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(size).unwrap().to_be_bytes());
            }
        }
        // Masked with zeros, which is a mask too.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        // Who has gone notices when it reads.
        let _ = self.stream.write_all(&frame);
    }
}
