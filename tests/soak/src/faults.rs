//! Clients that do what clients must not do, by chance, some of them held for a while.

use ringio_bench::wire::{Frame, UPGRADE_REQUEST, push_text, take_frame};
use socket2::SockRef;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
/// Between two faulty clients of a thread.
const PAUSE: Duration = Duration::from_millis(60);
/// Faulty clients that stay, at most; the oldest leaves for the next.
const HELD_MAX: usize = 150;
const WAVE_CLIENTS: usize = 300;
const WAVE_INTERVAL: Duration = Duration::from_secs(20);
const WAVE_STAYS: Duration = Duration::from_secs(3);

/// Says when to stop.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    pub(crate) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The threads.
pub(crate) struct Faults {
    held: Arc<AtomicUsize>,
    faulty: JoinHandle<Counts>,
    waves: JoinHandle<Counts>,
}

/// How many of each there were.
#[derive(Default)]
pub(crate) struct Counts {
    of_kind: [u64; KINDS.len()],
    waves: u64,
    /// Attempts that the server ended first, or that found no connection.
    cut_short: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in KINDS.iter().zip(self.of_kind) {
            write!(f, "{count} {}, ", kind.0)?;
        }
        write!(f, "{} waves of {WAVE_CLIENTS}, {} cut short", self.waves, self.cut_short)
    }
}

type Kind = (&'static str, fn(u16, &mut fastrand::Rng) -> io::Result<Option<TcpStream>>);

/// Each gives the connection to hold, if it stays.
const KINDS: [Kind; 9] = [
    ("killed in a frame", killed),
    ("silent in a session", silent),
    ("silent before a request", mute),
    ("polling sessions abandoned", abandoned),
    ("probes without an upgrade", half_upgraded),
    ("stuck readers", stuck),
    ("wrong bytes for HTTP", wrong_http),
    ("wrong bytes in frames", wrong_frames),
    ("wrong packets", wrong_packets),
];

impl Faults {
    pub(crate) fn start(port: u16, seed: u64, stop: &Arc<Stop>) -> Self {
        let held = Arc::new(AtomicUsize::new(0));
        let (stop_faulty, stop_waves, of_thread) = (Arc::clone(stop), Arc::clone(stop), Arc::clone(&held));
        Self {
            held,
            faulty: thread::spawn(move || be_faulty(port, seed, &stop_faulty, &of_thread)),
            waves: thread::spawn(move || make_waves(port, &stop_waves)),
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Waits until all have left.
    pub(crate) fn join(self) -> Counts {
        let mut counts = self.faulty.join().unwrap_or_default();
        let waves = self.waves.join().unwrap_or_default();
        counts.waves = waves.waves;
        counts.cut_short += waves.cut_short;
        counts
    }
}

fn be_faulty(port: u16, seed: u64, stop: &Stop, held: &AtomicUsize) -> Counts {
    let mut chance = fastrand::Rng::with_seed(seed);
    let (mut counts, mut staying) = (Counts::default(), VecDeque::new());
    while !stop.is_now() {
        let kind = chance.usize(..KINDS.len());
        match KINDS[kind].1(port, &mut chance) {
            Ok(Some(stream)) => {
                staying.push_back(stream);
                counts.of_kind[kind] += 1;
            }
            Ok(None) => counts.of_kind[kind] += 1,
            Err(_) => counts.cut_short += 1,
        }
        if staying.len() > HELD_MAX {
            staying.pop_front();
        }
        held.store(staying.len(), Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    counts
}

/// Many come, and all leave in one moment: half with a FIN, half with a reset.
fn make_waves(port: u16, stop: &Stop) -> Counts {
    let mut counts = Counts::default();
    while !stop.is_now() {
        let wave: Vec<_> = (0..WAVE_CLIENTS).filter_map(|_| session(port).ok()).collect();
        counts.cut_short += (WAVE_CLIENTS - wave.len()) as u64;
        counts.waves += 1;
        wait(WAVE_STAYS, stop);
        for (at, stream) in wave.into_iter().enumerate() {
            if at % 2 == 0 {
                reset(stream);
            }
        }
        wait(WAVE_INTERVAL, stop);
    }
    counts
}

fn wait(time: Duration, stop: &Stop) {
    let end = Instant::now() + time;
    while Instant::now() < end && !stop.is_now() {
        thread::sleep(Duration::from_millis(100));
    }
}

// ---- what they do

fn connected(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A WebSocket whose server has sent OPEN.
fn open(port: u16) -> io::Result<TcpStream> {
    let mut stream = connected(port)?;
    stream.write_all(UPGRADE_REQUEST)?;
    let mut got = Vec::new();
    while !got.windows(6).any(|bytes| bytes == b"\"sid\":") {
        read_more(&mut stream, &mut got)?;
    }
    Ok(stream)
}

/// In the namespace "/" of a session over WebSocket.
fn session(port: u16) -> io::Result<TcpStream> {
    let mut stream = open(port)?;
    say(&mut stream, b"40")?;
    let mut got = Vec::new();
    while !got.windows(3).any(|bytes| bytes == b"40{") {
        read_more(&mut stream, &mut got)?;
    }
    Ok(stream)
}

fn read_more(stream: &mut TcpStream, got: &mut Vec<u8>) -> io::Result<()> {
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        size => {
            got.extend_from_slice(&bytes[..size]);
            Ok(())
        }
    }
}

fn say(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    let mut frame = Vec::new();
    push_text(packet, &mut frame);
    stream.write_all(&frame)
}

fn reset(stream: TcpStream) {
    // What cannot be set is closed politely.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}

fn killed(port: u16, chance: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    let mut stream = session(port)?;
    let mut frame = Vec::new();
    push_text(br#"42["echo","so many bytes that the frame can be cut anywhere"]"#, &mut frame);
    stream.write_all(&frame)?;
    stream.write_all(&frame[..chance.usize(1..frame.len())])?;
    reset(stream);
    Ok(None)
}

fn silent(port: u16, _: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    session(port).map(Some)
}

fn mute(port: u16, chance: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    let mut stream = connected(port)?;
    stream.write_all(&UPGRADE_REQUEST[..chance.usize(..UPGRADE_REQUEST.len())])?;
    Ok(Some(stream))
}

fn abandoned(port: u16, chance: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    let (stream, sid) = polling(port)?;
    if chance.bool() {
        let _ = post(port, &sid, "40")?;
    }
    drop(stream);
    Ok(None)
}

fn half_upgraded(port: u16, _: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    let (_, sid) = polling(port)?;
    let mut stream = connected(port)?;
    let request = String::from_utf8_lossy(UPGRADE_REQUEST)
        .replace("transport=websocket", &format!("transport=websocket&sid={sid}"));
    stream.write_all(request.as_bytes())?;
    let mut got = Vec::new();
    while !got.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        read_more(&mut stream, &mut got)?;
    }
    say(&mut stream, b"2probe")?;
    Ok(Some(stream))
}

/// Asks for megabytes and reads none of them.
fn stuck(port: u16, _: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    let mut stream = session(port)?;
    SockRef::from(&stream).set_recv_buffer_size(4096)?;
    let packet = format!(r#"42["echo","{}"]"#, "x".repeat(20_000));
    for _ in 0..100 {
        say(&mut stream, packet.as_bytes())?;
    }
    Ok(Some(stream))
}

fn wrong_http(port: u16, chance: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    let mut stream = connected(port)?;
    let bytes: Vec<u8> = match chance.u8(..3) {
        0 => (0..chance.usize(1..2_000)).map(|_| chance.u8(..)).collect(),
        1 => b"POST /socket.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nx".to_vec(),
        _ => {
            let mut request = UPGRADE_REQUEST.to_vec();
            let at = chance.usize(..request.len());
            request[at] = chance.u8(..);
            request
        }
    };
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)?;
    Ok(Some(stream))
}

fn wrong_frames(port: u16, chance: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    let mut stream = session(port)?;
    let bytes: Vec<u8> = (0..chance.usize(1..300)).map(|_| chance.u8(..)).collect();
    stream.write_all(&bytes)?;
    Ok(Some(stream))
}

fn wrong_packets(port: u16, chance: &mut fastrand::Rng) -> io::Result<Option<TcpStream>> {
    let packets: [&[u8]; 8] = [
        b"9",
        b"42[",
        b"42{}",
        b"45",
        b"451000000-[\"x\"]",
        b"43999[]",
        b"40/nowhere,{\"a\":1}",
        b"451-[\"bin\",{\"_placeholder\":true,\"num\":7}]",
    ];
    let mut stream = session(port)?;
    say(&mut stream, packets[chance.usize(..packets.len())])?;
    Ok(Some(stream))
}

fn polling(port: u16) -> io::Result<(TcpStream, String)> {
    let mut stream = connected(port)?;
    stream.write_all(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut got = Vec::new();
    loop {
        read_more(&mut stream, &mut got)?;
        let text = String::from_utf8_lossy(&got);
        let sid = text.split_once("\"sid\":\"").and_then(|(_, rest)| rest.split_once('"'));
        if let Some((sid, _)) = sid {
            return Ok((stream, sid.to_owned()));
        }
    }
}

fn post(port: u16, sid: &str, packet: &str) -> io::Result<TcpStream> {
    let mut stream = connected(port)?;
    let head = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\n");
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{packet}", packet.len()).as_bytes())?;
    let mut got = Vec::new();
    read_more(&mut stream, &mut got)?;
    Ok(stream)
}

/// What the server holds, asked by a client of its own.
pub(crate) fn holdings(port: u16) -> io::Result<Holdings> {
    let mut stream = session(port)?;
    say(&mut stream, br#"421["holdings"]"#)?;
    let mut got = Vec::new();
    loop {
        read_more(&mut stream, &mut got)?;
        let mut rest = &got[..];
        while let Ok(Some((frame, size))) = take_frame(rest) {
            if let Frame::Text(text) = frame
                && let Some(numbers) = text.strip_prefix(b"431[[").and_then(|text| text.strip_suffix(b"]]"))
            {
                return Holdings::parse(&String::from_utf8_lossy(numbers));
            }
            rest = &rest[size..];
        }
    }
}

/// What the server holds while nobody but the asking client is there, or should be, and how many sessions it has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Connections, sessions, sockets, rooms, timers, questions, bytes of what came in.
    pub(crate) now: [u64; 7],
    pub(crate) opened: u64,
    pub(crate) closed: u64,
}

impl Holdings {
    fn parse(numbers: &str) -> io::Result<Self> {
        let numbers: Vec<u64> =
            numbers.split(',').map(str::parse).collect::<Result<_, _>>().map_err(io::Error::other)?;
        match numbers[..] {
            [ref now @ .., opened, closed] if now.len() == 7 => {
                let now = std::array::from_fn(|index| now[index]);
                Ok(Self { now, opened, closed })
            }
            _ => Err(io::Error::other(format!("{} numbers for what the server holds", numbers.len()))),
        }
    }

    /// Whether every session that was opened has been closed or is there.
    pub(crate) fn is_balanced(&self) -> bool {
        self.opened == self.closed + self.now[1]
    }
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [connections, sessions, sockets, rooms, timers, questions, bytes] = self.now;
        write!(
            f,
            "{connections} connections, {sessions} sessions, {sockets} sockets, {rooms} rooms, {timers} timers, {questions} questions, \
             {bytes} bytes of requests"
        )
    }
}
