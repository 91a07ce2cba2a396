//! What the server costs, when it runs on this machine: CPU time and resident memory, read by process id.
//!
//! CPU is the process's CPU clock (`clock_getcpuclockid(3)`), nanoseconds over all its threads; memory is `statm`'s
//! resident pages. Without an id the process that listens on the target's port is looked for in `/proc`.

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// The processes of a server.
#[derive(Debug)]
pub struct ServerProcess {
    processes: Vec<(u32, ClockId)>,
    page_bytes: u64,
}

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// CPU time since the processes started. Nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory. Bytes.
    pub rss_bytes: u64,
}

impl ServerProcess {
    /// These processes, or the one that listens at `address` if none is given. `None` if there is none on this machine.
    ///
    /// # Errors
    /// A sentence when a given process does not exist.
    pub fn find(pids: &[u32], address: SocketAddr) -> Result<Option<Self>, String> {
        let found = if pids.is_empty() { listening_at(address) } else { pids.to_vec() };
        let mut processes = Vec::new();
        for pid in found {
            match i32::try_from(pid)
                .map_err(|_| nix::Error::ESRCH)
                .and_then(|pid| clock_getcpuclockid(Pid::from_raw(pid)))
            {
                Ok(clock) => processes.push((pid, clock)),
                Err(error) if !pids.is_empty() => return Err(format!("--pid {pid}: {error}")),
                Err(_) => {}
            }
        }
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as u64;
        Ok((!processes.is_empty()).then_some(Self { processes, page_bytes }))
    }

    /// The ids of the processes.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.0).collect()
    }

    /// Reads both figures; `None` once a process has ended.
    pub fn read(&self) -> Option<Reading> {
        let mut reading = Reading::default();
        for (pid, clock) in &self.processes {
            reading.cpu_ns += Duration::from(clock.now().ok()?).as_nanos() as u64;
            let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
            reading.rss_bytes += pages * self.page_bytes;
        }
        Some(reading)
    }
}

/// The processes that hold a listening socket of this port, as far as this user may see.
fn listening_at(address: SocketAddr) -> Vec<u32> {
    if !is_local(address) {
        return Vec::new();
    }
    let inodes: HashSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|table| listening_inodes(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| holds_one_of(*pid, &inodes))
        .collect();
    pids.sort_unstable();
    pids
}

fn is_local(address: SocketAddr) -> bool {
    // An address can be bound here exactly if it is this machine's.
    address.ip().is_loopback() || std::net::UdpSocket::bind((address.ip(), 0)).is_ok()
}

/// Inodes of the sockets that listen on `port` in a table of `/proc/net/tcp`'s form.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| fields.len() > 9 && fields[1].ends_with(&suffix) && fields[3] == "0A")
        .map(|fields| fields[9].to_owned())
        .collect()
}

fn holds_one_of(pid: u32, inodes: &HashSet<String>) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|link| link.to_str().is_some_and(|link| inodes.contains(link)))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn listeners_are_read_from_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x 100\n\
            1: 0100007F:0BB8 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 x 100\n\
            2: 0100007F:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 x 100\n";
        assert_eq!(listening_inodes(table, 3000), ["4711"]);
    }

    #[test]
    fn the_process_behind_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = ServerProcess::find(&[], listener.local_addr().unwrap()).unwrap().unwrap();
        assert_eq!(server.pids(), [std::process::id()]);
        let reading = server.read().unwrap();
        assert!(reading.cpu_ns > 0 && reading.rss_bytes > 100_000);
        assert!(ServerProcess::find(&[u32::MAX], listener.local_addr().unwrap()).is_err());
    }
}
