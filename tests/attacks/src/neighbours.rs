//! Polite clients beside an attack: they send numbers, hear them back in order, and count.
//!
//! Half of them speak WebSocket, one polls. What a neighbour notices: another number than the one it asked for, an end, an answer
//! that does not come. How long it waited is counted in CPU time that the *server* used meanwhile, so that a busy machine is not
//! taken for a stalled server.

use crate::line::{WEBSOCKET, answering_pings, join, open_polling, post, upgrade};
use parking_lot::Mutex;
use ringio_bench::process::CpuClock;
use ringio_codec::websocket::Opcode;
use ringio_tests::wire::{PATIENCE, Stream};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const WEBSOCKETS: usize = 3;
/// Broadcasts of attackers reach neighbours too; nobody reads more of them than this between two answers.
const HEARD_MAX: usize = 100_000;

#[derive(Debug, Default)]
struct Diary {
    answered: AtomicU64,
    /// Most CPU time that the server used while this one waited for an answer. Microseconds.
    waited_us: AtomicU64,
    complaint: Mutex<Option<String>>,
}

/// All neighbours of one attack.
#[derive(Debug)]
pub struct Neighbours {
    diaries: Vec<Arc<Diary>>,
    threads: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Neighbours {
    /// Lets them in, and waits until each has been answered. Each rests for `pause` between an answer and its next question.
    pub fn move_in(address: SocketAddr, server: CpuClock, pause: Duration) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut neighbours = Self { diaries: Vec::new(), threads: Vec::new(), is_over: Arc::clone(&is_over) };
        for index in 0..=WEBSOCKETS {
            let (diary, is_over) = (Arc::new(Diary::default()), Arc::clone(&is_over));
            neighbours.diaries.push(Arc::clone(&diary));
            neighbours.threads.push(std::thread::spawn(move || {
                let life = Life { address, server, pause, diary: &diary, is_over: &is_over };
                let end = if index < WEBSOCKETS { life.by_websocket() } else { life.by_polling() };
                if let Err(error) = end
                    && !is_over.load(Ordering::Relaxed)
                {
                    let kind = if index < WEBSOCKETS { "WebSocket" } else { "polling" };
                    let count = diary.answered.load(Ordering::Relaxed);
                    diary
                        .complaint
                        .lock()
                        .get_or_insert(format!("the {kind} neighbour, after {count} answers: {error}"));
                }
            }));
        }
        if !neighbours.advance(3) {
            return Err(io::Error::other(neighbours.complaints().join("; ")));
        }
        Ok(neighbours)
    }

    /// Waits until each has been answered `count` times more; false if one complains or loses patience, or nobody listens any more.
    #[must_use]
    pub fn advance(&self, count: u64) -> bool {
        let goals: Vec<u64> = self.diaries.iter().map(|diary| diary.answered.load(Ordering::Relaxed) + count).collect();
        let give_up = Instant::now() + PATIENCE;
        for (diary, goal) in self.diaries.iter().zip(goals) {
            while diary.answered.load(Ordering::Relaxed) < goal {
                if diary.complaint.lock().is_some() || self.is_over.load(Ordering::Relaxed) {
                    return false;
                }
                if Instant::now() > give_up {
                    diary.complaint.lock().get_or_insert("a neighbour gets no answers any more".to_owned());
                    return false;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        true
    }

    /// Answers so far, of all.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.diaries.iter().map(|diary| diary.answered.load(Ordering::Relaxed)).sum()
    }

    /// The longest wait in CPU time of the server; forgotten by this question.
    #[must_use]
    pub fn take_longest_wait(&self) -> Duration {
        let waits = self.diaries.iter().map(|diary| diary.waited_us.swap(0, Ordering::Relaxed));
        Duration::from_micros(waits.max().unwrap_or(0))
    }

    /// What they notice from now on is not told, and nobody waits for them.
    pub fn stop_listening(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// What they noticed.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.diaries.iter().filter_map(|diary| diary.complaint.lock().clone()).collect()
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Life<'a> {
    address: SocketAddr,
    server: CpuClock,
    pause: Duration,
    diary: &'a Diary,
    is_over: &'a AtomicBool,
}

impl Life<'_> {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Notes an answer to a question asked when the server's clock showed `asked`.
    fn note(&self, asked: Duration) {
        let waited = self.server.read().unwrap_or_default().saturating_sub(asked);
        self.diary.waited_us.fetch_max(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.diary.answered.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.pause);
    }

    fn by_websocket(&self) -> io::Result<()> {
        let mut stream = Stream::connect(self.address, Arc::default())?;
        upgrade(&mut stream, WEBSOCKET, "")?;
        stream.text()?;
        join(&mut stream)?;
        let mut number = 0_u64;
        while !self.is_over() {
            let asked = self.server.read().unwrap_or_default();
            stream.send_frame(Opcode::Text, format!("42[\"echo\",{number}]").as_bytes())?;
            let wanted = format!("42[\"echo\",{number}]");
            for _ in 0..HEARD_MAX {
                let text = answering_pings(&mut stream)?;
                if text == wanted {
                    break;
                }
                if text.starts_with("42[\"echo\"") {
                    return Err(wrong(&wanted, &text));
                }
            }
            self.note(asked);
            number += 1;
        }
        Ok(())
    }

    fn by_polling(&self) -> io::Result<()> {
        // One connection for polls and one for posts, as browsers have.
        let mut polls = Stream::connect(self.address, Arc::default())?;
        let mut posts = Stream::connect(self.address, Arc::default())?;
        let target = open_polling(&mut polls)?;
        self.post(&mut posts, &target, "40")?;
        let mut heard: Vec<String> = Vec::new();
        while !heard.iter().any(|packet| packet.starts_with("40")) {
            self.poll(&mut polls, &mut posts, &target, &mut heard)?;
        }
        let mut number = 0_u64;
        while !self.is_over() {
            let asked = self.server.read().unwrap_or_default();
            let wanted = format!("42[\"echo\",{number}]");
            self.post(&mut posts, &target, &wanted)?;
            heard.retain(|packet| packet.starts_with("42[\"echo\""));
            while heard.is_empty() && !self.is_over() {
                self.poll(&mut polls, &mut posts, &target, &mut heard)?;
                heard.retain(|packet| packet.starts_with("42[\"echo\""));
            }
            match heard.pop() {
                Some(text) if text == wanted => {}
                Some(text) => return Err(wrong(&wanted, &text)),
                None => return Ok(()),
            }
            self.note(asked);
            number += 1;
        }
        Ok(())
    }

    fn post(&self, posts: &mut Stream, target: &str, body: &str) -> io::Result<()> {
        posts.send(post(target, body).as_bytes())?;
        match posts.answer()? {
            answer if answer.status == 200 => Ok(()),
            answer => Err(io::Error::other(format!("{} to a POST: {}", answer.status, answer.body))),
        }
    }

    fn poll(&self, polls: &mut Stream, posts: &mut Stream, target: &str, heard: &mut Vec<String>) -> io::Result<()> {
        polls.send(crate::line::get_head(target, "").as_bytes())?;
        let answer = polls.answer()?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("{} to a GET: {}", answer.status, answer.body)));
        }
        for packet in answer.body.split('\u{1e}') {
            match packet {
                "2" => self.post(posts, target, "3")?,
                "1" => return Err(io::Error::new(ErrorKind::UnexpectedEof, "a close packet")),
                _ => heard.push(packet.to_owned()),
            }
        }
        Ok(())
    }
}

fn wrong(wanted: &str, heard: &str) -> io::Error {
    let heard: String = heard.chars().take(60).collect();
    io::Error::new(ErrorKind::InvalidData, format!("asked for {wanted} and heard {heard}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::line::tests::pings_at_once;

    #[test]
    fn a_neighbour_answers_the_first_ping() {
        let (address, served) = pings_at_once();
        let (server, pause) = (CpuClock::of(std::process::id()).unwrap(), Duration::ZERO);
        let (diary, is_over) = (Diary::default(), AtomicBool::new(false));
        let life = Life { address, server, pause, diary: &diary, is_over: &is_over };
        std::thread::scope(|scope| {
            let neighbour = scope.spawn(|| life.by_websocket());
            while diary.answered.load(Ordering::Relaxed) < 3 && !neighbour.is_finished() {
                std::thread::yield_now();
            }
            is_over.store(true, Ordering::Relaxed);
            neighbour.join().unwrap().unwrap();
        });
        assert_eq!(served.join().unwrap(), 1);
    }
}
