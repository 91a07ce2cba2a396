//! How many connections this process may have: open files and local ports.

use crate::plan::Plan;
use crate::target::Target;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::IpAddr;

/// Descriptors that are not connections.
const SPARE: u64 = 100;
/// Ports of one source address that Linux hands out by default (`ip_local_port_range`), rounded down.
const PORTS_PER_SOURCE: u64 = 28_000;

/// Raises the soft limit of open files to the hard one and returns it.
fn open_files_max() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// The most clients that can be tried: what open files allow, and ports where addresses cannot be added.
pub fn clients_max(sources: &[IpAddr], target: &Target) -> u32 {
    let files = open_files_max().saturating_sub(SPARE);
    let ports =
        if target.address.ip().is_loopback() { u64::MAX } else { PORTS_PER_SOURCE * sources.len().max(1) as u64 };
    files.min(ports).clamp(1, 1_000_000) as u32
}

/// Whether a plan's clients fit.
///
/// # Errors
/// A sentence with what to do.
pub fn check(plan: &Plan) -> Result<(), String> {
    let files = open_files_max();
    let per_client = if plan.transport == crate::plan::Transport::Websocket { 1 } else { 2 };
    if u64::from(plan.clients) * per_client + SPARE > files {
        return Err(format!(
            "{} clients need {} open files, and this process may have {files}. Raise the limit (ulimit -Hn) or use fewer \
             clients.",
            plan.clients,
            u64::from(plan.clients) * per_client + SPARE
        ));
    }
    Ok(())
}
