//! A server without limits, that has every flaw which the attacks look for: it shows that each attack finds something.
//!
//! A thread per connection and one behind it that writes from a queue without bound; ids that count; headers read with the square of
//! their length; lengths believed; timers and sessions never forgotten; a panic anywhere ends the process. Neighbours can live on it
//! as long as nobody attacks.

use parking_lot::Mutex;
use ringio_codec::http::query;
use ringio_codec::websocket::{Opcode, accept_key, decode_header, encode_header};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a connection costs here at once, as a read buffer that is made before anything is read.
const EAGER_BYTES: usize = 128 << 10;

/// One client at a time.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct World {
    /// What waits for each session; sessions stay for ever.
    sessions: HashMap<u64, (Vec<String>, Vec<u8>)>,
    websockets: Vec<Sender<Vec<u8>>>,
    /// Everything that should have been forgotten.
    leaks: Vec<Vec<u8>>,
}

impl World {
    fn leak(&mut self, bytes: usize) {
        self.leaks.push(vec![1; bytes]);
    }
}

type Shared = Arc<Mutex<World>>;

/// Serves until it is killed, or falls.
pub fn serve(port: u16) -> io::Result<()> {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        std::process::exit(101);
    }));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("ready on {port}");
    let world = Shared::default();
    loop {
        // Nothing waits here when there are no descriptors: it spins.
        if let Ok((stream, _)) = listener.accept() {
            let world = Arc::clone(&world);
            std::thread::spawn(move || {
                // Whatever ends a connection, it ends.
                let _ = connection(stream, &world);
            });
        }
    }
}

struct Peer<'a> {
    stream: TcpStream,
    heard: Vec<u8>,
    queue: Sender<Vec<u8>>,
    world: &'a Shared,
}

fn connection(stream: TcpStream, world: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (queue, waiting) = channel();
    let writer = stream.try_clone()?;
    std::thread::spawn(move || write_all(writer, &waiting));
    let mut peer = Peer { stream, heard: Vec::new(), queue, world };
    while peer.request()? {}
    peer.websocket()
}

fn write_all(mut stream: TcpStream, waiting: &Receiver<Vec<u8>>) {
    while let Ok(bytes) = waiting.recv() {
        if bytes.is_empty() || stream.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

impl Peer<'_> {
    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        match self.stream.read(&mut buffer)? {
            0 => {
                assert!(self.heard.is_empty(), "an error that nobody handles");
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            len => {
                self.heard.extend_from_slice(&buffer[..len]);
                Ok(())
            }
        }
    }

    fn say(&self, bytes: Vec<u8>) {
        let _ = self.queue.send(bytes);
    }

    /// Answers one request; false when the connection has become a WebSocket.
    fn request(&mut self) -> io::Result<bool> {
        let mut searched = 0_usize;
        let end = loop {
            let from = searched.saturating_sub(3);
            if let Some(at) = self.heard[from..].windows(4).position(|four| four == b"\r\n\r\n") {
                break from + at + 4;
            }
            searched = self.heard.len();
            self.hear()?;
        };
        let head = String::from_utf8_lossy(&self.heard[..end]).into_owned();
        self.heard.drain(..end);
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            let mut values = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
            values.next().map(str::to_owned)
        };
        // Several times: the square must stand out from what a thread and a connection cost.
        for _ in 0..6 {
            head.lines().for_each(|line| _ = square_of(line.as_bytes(), 1));
        }
        if field("upgrade").is_some() {
            assert!(
                field("sec-websocket-extensions").is_none_or(|value| !value.contains("constructor")),
                "no such extension"
            );
            if field("sec-websocket-extensions").is_some() {
                self.world.lock().leak(EAGER_BYTES);
            }
            let key = field("sec-websocket-key").unwrap_or_default();
            let accept = accept_key(key.as_bytes());
            let accept = String::from_utf8_lossy(&accept);
            self.say(
                format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
                    .into_bytes(),
            );
            return Ok(false);
        }
        let is_chunked = field("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let body = if is_chunked && field("content-length").is_none() {
            self.chunks()?
        } else {
            let length = field("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
            while self.heard.len() < length {
                self.hear()?;
            }
            self.heard.drain(..length).collect()
        };
        self.answer(head.split(' ').next().unwrap_or_default(), &target, &String::from_utf8_lossy(&body));
        Ok(true)
    }

    /// Chunks to their end, however long that takes.
    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match self.heard.windows(2).position(|two| two == b"\r\n") {
                    Some(at) => break self.heard.drain(..at + 2).collect::<Vec<u8>>(),
                    None => self.hear()?,
                }
            };
            let text = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(text.split([';', '\r']).next().unwrap_or_default(), 16).unwrap_or(0);
            while self.heard.len() < size + 2 {
                self.hear()?;
            }
            body.extend(self.heard.drain(..size + 2));
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn answer(&self, method: &str, target: &str, body: &str) {
        let sid = query::value(target.split_once('?').map_or("", |(_, query)| query), "sid");
        let sid = sid.and_then(|sid| sid.parse::<u64>().ok());
        if let ("POST", Some(sid)) = (method, sid) {
            let _turn = TURN.lock();
            for packet in body.split('\u{1e}') {
                let answer = self.packet(packet.as_bytes(), false);
                self.world.lock().sessions.entry(sid).or_default().0.extend(answer);
            }
        }
        let mut world = self.world.lock();
        let (status, body) = match (method, sid) {
            _ if target.contains("etc") || target.contains("..") => (200, "root:x:0:0".to_owned()),
            _ if !target.starts_with("/socket.io/?") => (404, "not here".repeat(500)),
            ("PUT", _) => (200, String::new()),
            ("POST", Some(_)) => (200, "ok".to_owned()),
            (_, Some(sid)) => loop {
                let packets = std::mem::take(&mut world.sessions.entry(sid).or_default().0);
                if !packets.is_empty() {
                    break (200, packets.join("\u{1e}"));
                }
                drop(world);
                std::thread::sleep(std::time::Duration::from_millis(2));
                world = self.world.lock();
            },
            (_, None) => {
                let sid = world.sessions.len() as u64 + 100_000_000;
                world.sessions.insert(sid, (Vec::new(), vec![1; EAGER_BYTES / 2]));
                let index =
                    query::value(target.split_once('?').map_or("", |(_, query)| query), "j").unwrap_or_default();
                (200, format!("0{{\"sid\":\"{sid}\",\"index\":\"{index}\"}}"))
            }
        };
        drop(world);
        let length = body.len();
        self.say(
            format!("HTTP/1.1 {status} -\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {length}\r\n\r\n{body}")
                .into_bytes(),
        );
    }

    fn frame(&self, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode_header(&mut bytes, opcode, payload.len() as u64);
        bytes.extend_from_slice(payload);
        self.say(bytes);
    }

    fn websocket(&mut self) -> io::Result<()> {
        let sid = {
            let mut world = self.world.lock();
            world.leak(EAGER_BYTES);
            world.websockets.push(self.queue.clone());
            world.websockets.len()
        };
        self.frame(Opcode::Text, format!("0{{\"sid\":\"{sid}\"}}").as_bytes());
        let mut fragments: Vec<Vec<u8>> = Vec::new();
        let mut turn = Some(TURN.lock());
        loop {
            while self.heard.is_empty() {
                turn = None;
                self.hear()?;
            }
            // Whoever has sent more keeps the others waiting longer.
            turn.get_or_insert_with(|| TURN.lock());
            assert!(self.heard.len() >= 2, "a header comes whole");
            // What it cannot read it passes over, mask or not.
            let Ok(Some(header)) = decode_header(&self.heard) else {
                self.heard.clear();
                continue;
            };
            let end = header.header_len.saturating_add(usize::try_from(header.payload_len).unwrap_or(usize::MAX));
            while self.heard.len() < end {
                turn = None;
                self.hear()?;
            }
            let payload: Vec<u8> = self.heard.drain(..end).skip(header.header_len).collect();
            match header.opcode {
                Opcode::Ping => {
                    let stale: Vec<u8> = payload.iter().map(|byte| byte ^ 1).collect();
                    self.frame(Opcode::Pong, &stale);
                    fragments.clear();
                }
                Opcode::Pong => {
                    self.world.lock().leak(4 << 10);
                    fragments.clear();
                }
                Opcode::Close => self.frame(Opcode::Close, b"\x03\xe8whatever lay there"),
                _ if !header.fin => {
                    let mut fragment = Vec::with_capacity(payload.len() + 32);
                    fragment.extend(payload);
                    fragments.push(fragment);
                }
                _ => {
                    let message = [fragments.concat(), payload].concat();
                    fragments.clear();
                    if let Some(answer) = self.packet(&message, true) {
                        self.frame(Opcode::Text, answer.as_bytes());
                    }
                }
            }
        }
    }

    /// What a packet is answered with.
    fn packet(&self, packet: &[u8], is_websocket: bool) -> Option<String> {
        let mut world = self.world.lock();
        let mut sum = 0_u64;
        (0..200_000_u64).for_each(|at| sum = std::hint::black_box(sum ^ at));
        let text = String::from_utf8_lossy(packet).into_owned();
        let throws = ["[\"error\"", "[\"panic\"", "\\ud800"];
        assert!(!throws.iter().any(|what| text.contains(what)), "an uncaught exception");
        // An attachment is not read.
        if text.len() > 20_000 && !text.starts_with('\0') {
            square_of(packet, 1_024);
        }
        let _ = depth(packet);
        match packet.first() {
            Some(b'3') => None,
            Some(b'4') if packet[1] == b'0' => {
                world.leak(EAGER_BYTES);
                Some("40{\"sid\":\"a\"}".to_owned())
            }
            Some(b'4') if text.starts_with("42[\"broadcast\"") && is_websocket => {
                let mut bytes = Vec::new();
                encode_header(&mut bytes, Opcode::Text, packet.len() as u64);
                bytes.extend_from_slice(packet);
                world.websockets.iter().for_each(|queue| _ = queue.send(bytes.clone()));
                None
            }
            Some(b'4') if text.starts_with("42[\"join\"") => {
                world.leak(4 << 10);
                None
            }
            _ => Some(text),
        }
    }
}

/// Spends the square of the length, in steps of `step`: for each byte that could be the beginning, all that follow.
fn square_of(bytes: &[u8], step: usize) -> usize {
    (0..bytes.len())
        .step_by(step)
        .map(|from| bytes[from..].iter().filter(|byte| std::hint::black_box(**byte) == b' ').count())
        .fold(0, usize::wrapping_add)
}

/// How deep brackets nest, by a call for each.
fn depth(bytes: &[u8]) -> usize {
    let frame = std::hint::black_box([0_u8; 128]);
    match bytes.iter().position(|byte| matches!(byte, b'[' | b'{')) {
        Some(at) => 1 + depth(&bytes[at + 1..]) + usize::from(frame[0]),
        None => 0,
    }
}
