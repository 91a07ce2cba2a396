//! An attacker's connection: opens what it needs, and says in one word what came back.

use ringio_codec::websocket::{Opcode, close};
use ringio_tests::wire::{PATIENCE, Stream, upgrade_head};
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// Messages that are passed over while one is waited for.
const OTHERS_MAX: usize = 100_000;

/// A polling handshake.
pub const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
/// A handshake by WebSocket.
pub const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// What an attacker got back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reply {
    /// An HTTP answer.
    Status(u16),
    /// A close frame.
    Close(u16),
    /// What it asked for: an echo, a pong, its session.
    Served,
    /// A message, but another one than it asked for.
    Other(String),
    /// The connection ended without a word.
    End,
    /// Nothing: it would have waited on.
    Silence,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Close(code) => write!(f, "close {code}"),
            Self::Served => f.write_str("served"),
            Self::Other(text) => write!(f, "`{text}`"),
            Self::End => f.write_str("cut off"),
            Self::Silence => f.write_str("silence"),
        }
    }
}

impl From<io::Error> for Reply {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silence,
            ErrorKind::InvalidData => Self::Other(error.to_string().chars().take(40).collect()),
            _ => Self::End,
        }
    }
}

/// What comes back from an HTTP request.
pub fn http_reply(stream: &mut Stream) -> Reply {
    loop {
        match stream.answer() {
            Ok(answer) if answer.status == 100 => {}
            Ok(answer) => return Reply::Status(answer.status),
            Err(error) => return error.into(),
        }
    }
}

/// What comes back on a WebSocket, heartbeats answered and passed over; `wanted` is what it asked for. Heartbeats do not make it wait
/// longer than one read may.
pub fn websocket_reply(stream: &mut Stream, wanted: &str) -> Reply {
    let since = Instant::now();
    let patience = stream.socket().read_timeout().ok().flatten().unwrap_or(PATIENCE);
    while since.elapsed() <= patience {
        let frame = match stream.frame() {
            Ok(frame) => frame,
            Err(error) => return error.into(),
        };
        let text = String::from_utf8_lossy(&frame.payload).into_owned();
        match frame.opcode {
            Opcode::Close => return Reply::Close(close_code(&frame.payload)),
            // A ping, a broadcast, the initial packets: not the answer.
            Opcode::Text if text == "2" => _ = stream.send_frame(Opcode::Text, b"3"),
            Opcode::Text if text.starts_with("42[\"broadcast\"") => {}
            _ if text == wanted => return Reply::Served,
            _ if text.starts_with(wanted) && !wanted.is_empty() => return Reply::Served,
            _ => return Reply::Other(text.chars().take(40).collect()),
        }
    }
    Reply::Silence
}

/// The same, passing over everything that is something else.
pub fn websocket_reply_among_others(stream: &mut Stream, wanted: &str) -> Reply {
    for _ in 0..OTHERS_MAX {
        match websocket_reply(stream, wanted) {
            Reply::Other(_) => {}
            reply => return reply,
        }
    }
    Reply::Silence
}

/// The code of a close frame; 1005 if it has none.
#[must_use]
pub fn close_code(payload: &[u8]) -> u16 {
    match close::decode(payload) {
        Ok(close) => close.code.unwrap_or(1005),
        Err(_) => 1006,
    }
}

/// A GET, and nothing else in its head.
#[must_use]
pub fn get_head(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
}

/// A POST of text to a session.
#[must_use]
pub fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Opens a session by polling on this connection: where it polls from now on.
pub fn open_polling(stream: &mut Stream) -> io::Result<String> {
    stream.send(get_head(POLLING, "").as_bytes())?;
    let answer = patiently(stream, Stream::answer)?;
    let sid = sid_of(answer.body.trim_start_matches('0'))?;
    Ok(format!("{POLLING}&sid={sid}"))
}

/// Opens a session by WebSocket and joins the main namespace.
pub fn open_websocket(stream: &mut Stream) -> io::Result<()> {
    upgrade(stream, WEBSOCKET, "")?;
    patiently(stream, Stream::text)?;
    join(stream)
}

/// What comes before an attack may take its time: a busy machine is not what is attacked.
pub fn patiently<T>(stream: &mut Stream, work: impl FnOnce(&mut Stream) -> io::Result<T>) -> io::Result<T> {
    let usual = stream.socket().read_timeout()?;
    stream.socket().set_read_timeout(Some(PATIENCE))?;
    let given = work(stream);
    stream.socket().set_read_timeout(usual)?;
    given
}

/// Joins the main namespace on a WebSocket whose OPEN has been read.
pub fn join(stream: &mut Stream) -> io::Result<()> {
    stream.send_frame(Opcode::Text, b"40")?;
    match patiently(stream, answering_pings)? {
        text if text.starts_with("40") => Ok(()),
        text => Err(io::Error::new(ErrorKind::InvalidData, format!("`{text}` to a CONNECT"))),
    }
}

/// The next text that is no ping; pings are answered. One may come before anything else: socketioxide sends its first behind the OPEN.
pub fn answering_pings(stream: &mut Stream) -> io::Result<String> {
    loop {
        match stream.text()? {
            text if text == "2" => stream.send_frame(Opcode::Text, b"3")?,
            text => return Ok(text),
        }
    }
}

/// Opens a WebSocket.
pub fn upgrade(stream: &mut Stream, target: &str, headers: &str) -> io::Result<()> {
    stream.send(upgrade_head(target, headers).as_bytes())?;
    match patiently(stream, Stream::answer)?.status {
        101 => Ok(()),
        status => Err(io::Error::new(ErrorKind::InvalidData, format!("{status} to an upgrade"))),
    }
}

/// The sid in the JSON of an OPEN.
pub fn sid_of(json: &str) -> io::Result<String> {
    let open: serde_json::Value = serde_json::from_str(json)?;
    let sid = open["sid"].as_str().map(str::to_owned);
    sid.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "an OPEN without sid"))
}

/// The longest message that an OPEN allows. Bytes.
#[must_use]
pub fn payload_max_of(json: &str) -> Option<usize> {
    let open: serde_json::Value = serde_json::from_str(json).ok()?;
    usize::try_from(open["maxPayload"].as_u64()?).ok()
}

/// From here on reads give up after `patience`.
pub fn wait_at_most(stream: &Stream, patience: Duration) {
    // Fails only for a duration of zero, which nobody asks for.
    let _ = stream.socket().set_read_timeout(Some(patience));
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use ringio_codec::websocket::encode_header;
    use std::io::Read;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::thread::JoinHandle;

    /// Serves one WebSocket as socketioxide does: its first ping stands behind the OPEN, and without a pong it answers a CONNECT and
    /// nothing else. How many pongs came.
    pub(crate) fn pings_at_once() -> (SocketAddr, JoinHandle<usize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let mut stream = Stream::over(socket, Arc::default()).unwrap();
            let say = |stream: &mut Stream, text: &str| {
                let mut bytes = Vec::new();
                encode_header(&mut bytes, Opcode::Text, text.len() as u64);
                bytes.extend_from_slice(text.as_bytes());
                stream.send(&bytes).is_ok()
            };
            stream.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
            assert!(say(&mut stream, "0{\"sid\":\"a\"}") && say(&mut stream, "2"));
            let mut pongs = 0;
            while let Ok(text) = stream.text() {
                let goes_on = match text.as_str() {
                    "3" => {
                        pongs += 1;
                        true
                    }
                    "40" => say(&mut stream, "40{\"sid\":\"a\"}"),
                    event => pongs > 0 && say(&mut stream, event),
                };
                if !goes_on {
                    break;
                }
            }
            pongs
        });
        (address, server)
    }

    #[test]
    fn a_ping_before_the_namespace_is_answered() {
        let (address, server) = pings_at_once();
        let mut stream = Stream::connect(address, Arc::default()).unwrap();
        open_websocket(&mut stream).unwrap();
        stream.send_frame(Opcode::Text, b"42[\"echo\",1]").unwrap();
        assert_eq!(websocket_reply(&mut stream, "42[\"echo\",1]"), Reply::Served);
        drop(stream);
        assert_eq!(server.join().unwrap(), 1);
    }
}
