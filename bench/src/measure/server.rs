//! Starts a server for one run, waits until it accepts, and ends it.
//!
//! Each run has a server and a port of its own: heaps are fresh, and no connection of the run before is
//! still being torn down on the same port.
use crate::clock::now;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const START_TIMEOUT: Duration = Duration::from_secs(15);
/// From accepting to measured: lets start-up work end.
const SETTLE: Duration = Duration::from_millis(300);

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts `command` (a shell command, `{port}` replaced) on `cores` and waits until it accepts.
    ///
    /// # Errors
    /// When it does not start, ends early, or does not accept within 15 seconds; its output is in `log`.
    pub fn start(command: &str, cores: &str, log: File) -> io::Result<Self> {
        let port = free_port()?;
        let command = format!("exec {}", command.replace("{port}", &port.to_string()));
        // taskset and the shell both become the server, so that the child's id is the server's.
        let child = Command::new("taskset")
            .args(["-c", cores, "sh", "-c", &command])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self { child, port };
        let deadline = now() + START_TIMEOUT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("the server ended at once: {status}")));
            }
            if now() > deadline {
                return Err(io::Error::other("the server does not accept"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(SETTLE);
        Ok(server)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its port at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when the server has already ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port for a server that starts now.
///
/// Below the ports that the kernel gives to connections (`ip_local_port_range` starts at 32768 by default): one that it
/// chose may be the port of somebody's connection by the time the server listens.
///
/// # Errors
/// `EADDRINUSE` when a hundred ports were taken.
pub fn free_port() -> io::Result<u16> {
    (0..100)
        .map(|_| fastrand::u16(10_000..20_000))
        .find(|port| TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).is_ok())
        .ok_or_else(|| io::ErrorKind::AddrInUse.into())
}
