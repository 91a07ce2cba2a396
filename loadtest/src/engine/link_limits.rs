//! How many connections a process may have: open files and local ports.

use super::ports::system_range;
use crate::plan::{Plan, PortRange, Transport};
use crate::target::Target;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::IpAddr;

/// Descriptors that are not connections.
const SPARE: u64 = 100;
/// Processes started without being asked for.
const PROCESSES_MAX: u32 = 64;

/// Raises the soft limit of open files to the hard one and returns it.
fn open_files_max() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// The most clients that so many processes can try: what open files allow, and ports where addresses cannot be added.
pub fn clients_max(sources: &[IpAddr], ports: Option<PortRange>, target: &Target, processes: u32) -> u32 {
    let files = open_files_max().saturating_sub(SPARE) * u64::from(processes.max(1));
    let per_source = u64::from(ports.unwrap_or_else(system_range).count());
    let ports = match sources.len() {
        0 if target.address.ip().is_loopback() => u64::MAX,
        count => per_source * count.max(1) as u64,
    };
    files.min(ports).clamp(1, 1_000_000) as u32
}

/// Connections, and so open files and ports, that a client needs: with long-polling one waits and another one sends.
pub(crate) fn links_per_client(plan: &Plan) -> u64 {
    if plan.transport == Transport::Websocket { 1 } else { 2 }
}

/// How many processes a plan needs for its open files; 1 if this one will do.
pub fn processes_needed(plan: &Plan) -> u32 {
    let clients_each = (open_files_max().saturating_sub(SPARE) / links_per_client(plan)).max(1);
    u64::from(plan.clients).div_ceil(clients_each).min(u64::from(PROCESSES_MAX)) as u32
}

/// Whether a plan's clients fit into so many processes.
///
/// # Errors
/// A sentence with what to do.
pub fn check(plan: &Plan, processes: u32) -> Result<(), String> {
    let files = open_files_max();
    let needed = u64::from(plan.clients.div_ceil(processes.max(1))) * links_per_client(plan) + SPARE;
    if needed > files {
        return Err(format!(
            "{} clients need {needed} open files in each process, and a process may have {files}. Raise the limit \
             (ulimit -Hn), use more --processes, or fewer clients.",
            plan.clients,
        ));
    }
    Ok(())
}
