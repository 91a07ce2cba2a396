//! The servers under attack: how each is started, what it costs at the moment, whether it still lives.

use parking_lot::Mutex;
use ringio_bench::measure::server::free_port;
use ringio_bench::process::{CpuClock, resident_bytes};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Ours, on io_uring.
    Uring,
    /// Ours, on epoll.
    Epoll,
    /// The official one.
    Node,
    /// The other one in Rust.
    Socketioxide,
    /// One without limits: [`crate::weak`].
    Weak,
}

/// With which options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Setting {
    /// Every deadline that can be set is 5 s; the events of the suite `bench`.
    #[default]
    Impatient,
    /// The same with permessage-deflate.
    Deflate,
    /// The client's bundle is served.
    Files,
    /// Handshakes with `x-refuse` are refused.
    Guarded,
    /// Clients of Engine.IO 3 too.
    Old,
    /// Events that ask the client for acknowledgements.
    Asking,
    /// As `Impatient`, but an address may have 40 connections and open 20 sessions a second.
    Budgeted,
    /// As `Impatient`, but no more than this many descriptors.
    Descriptors(u32),
}

impl Target {
    /// All that the whole board is played against.
    pub const ALL: [Self; 4] = [Self::Uring, Self::Epoll, Self::Node, Self::Socketioxide];

    /// Whether findings are failures.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Uring | Self::Epoll)
    }

    /// As on the command line and in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::Node => "node",
            Self::Socketioxide => "socketioxide",
            Self::Weak => "weak",
        }
    }

    /// The command, if it has such a setting.
    fn command(self, setting: Setting, port: u16, places: &Places) -> Option<Command> {
        let suite = match setting {
            Setting::Impatient | Setting::Descriptors(_) => "attacked",
            Setting::Budgeted => "budgeted",
            Setting::Deflate => "compression",
            Setting::Files => "files",
            Setting::Guarded => "requests",
            Setting::Old => "clients-v2",
            Setting::Asking => "clients",
        };
        let is_plain = suite == "attacked";
        let mut words: Vec<String> = match self {
            Self::Uring | Self::Epoll => {
                let program = places.ours.display().to_string();
                [&program, suite, "--shards", "2", "--driver", self.name()].map(str::to_owned).to_vec()
            }
            Self::Node if suite == "budgeted" => return None,
            Self::Node if is_plain => {
                let script = places.root.join("bench/peers/server.mjs").display().to_string();
                ["node", &script, "ws", "--impatient"].map(str::to_owned).to_vec()
            }
            Self::Node => {
                let script = places.root.join("tests/conformance/node-reference.mjs").display().to_string();
                ["node", &script, suite].map(str::to_owned).to_vec()
            }
            Self::Socketioxide if is_plain => {
                vec![places.socketioxide.display().to_string(), "--impatient".to_owned()]
            }
            Self::Socketioxide => return None,
            Self::Weak => vec![places.board.display().to_string(), "--be-weak".to_owned()],
        };
        words.extend(["--port".to_owned(), port.to_string()]);
        if let Setting::Descriptors(count) = setting {
            words.insert(0, format!("--nofile={count}"));
            words.insert(0, "prlimit".to_owned());
        }
        let mut command = Command::new(&words[0]);
        // For a trace of a panic the debug information is read, which costs more than any attack: who runs a server does not set it.
        command.args(&words[1..]).env_remove("RUST_BACKTRACE");
        Some(command)
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The repository.
    pub root: PathBuf,
    /// Our `conformance` program.
    pub ours: PathBuf,
    /// The peer `peer-socketioxide`.
    pub socketioxide: PathBuf,
    /// This program.
    pub board: PathBuf,
}

impl Places {
    /// The usual ones below the folder that cargo builds in.
    #[must_use]
    pub fn below(target: &Path, board: PathBuf) -> Self {
        Self {
            root: Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
            ours: target.join("release/conformance"),
            socketioxide: target.join("peers/release/peer-socketioxide"),
            board,
        }
    }
}

/// A server that runs, and is ended when dropped.
#[derive(Debug)]
pub struct Running {
    child: Mutex<Child>,
    pid: u32,
    cpu: CpuClock,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Running {
    /// Starts it and waits for its `ready`; `None` if the target has no such setting.
    pub fn start(target: Target, setting: Setting, places: &Places) -> io::Result<Option<Self>> {
        let port = free_port()?;
        let Some(mut command) = target.command(setting, port, places) else { return Ok(None) };
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| io::Error::new(error.kind(), format!("{command:?}: {error}")))?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        if !line.starts_with("ready") {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::other(format!("{command:?} is not ready: {line}")));
        }
        let pid = child.id();
        let (child, address) = (Mutex::new(child), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Ok(Some(Self { child, pid, cpu: CpuClock::of(pid)?, address }))
    }

    /// CPU time so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.cpu.read().unwrap_or_default()
    }

    /// Its clock, for threads of their own.
    #[must_use]
    pub fn cpu_clock(&self) -> CpuClock {
        self.cpu
    }

    /// Resident memory. Bytes; 0 when it has died.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pid).unwrap_or(0)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<String> {
        self.child.lock().try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Ends it at once: whoever talks to it hears so.
    pub fn kill(&self) {
        // Fails only when it has already ended.
        let _ = self.child.lock().kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.lock().wait();
    }
}
