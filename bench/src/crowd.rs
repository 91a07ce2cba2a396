//! As many live connections as asked for, in one process: what they cost while they are silent, one message to all, and leaving.
//!
//! ```text
//! base -> connect at a steady rate -> silent (heartbeats go on) -> broadcasts to everyone -> all leave -> rest
//! RSS     time to connect             RSS, CPU per connection      CPU per delivery, lost?    RSS
//! ```
//! The server has as many shards as its limit of open files asks for (connections are direct descriptors: every ring has a table of that
//! size), all on one core; the clients are processes of `ringio-loadtest` with several source addresses, on the other.
use crate::measure::load::{Loader, Outcome, cpu_share, take_json, wait_for};
use crate::measure::server::Server;
use crate::process::{resident_bytes, waiting_time};
use crate::record::Record;
use crate::verify::Faults;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;

/// What is to be held.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections.
    pub clients: u32,
    /// Shards of the server.
    pub shards: u32,
    /// New connections per second.
    pub connect_rate: u32,
    /// Seconds of silence. From 25 on every connection has a heartbeat in it.
    pub silent_seconds: u32,
    /// Broadcasts to everyone, one in [`Plan::seconds_of_broadcast`].
    pub broadcasts: u32,
}

impl Plan {
    /// Time for one broadcast to reach everyone: two seconds, and a second for every 50,000 clients. Seconds.
    #[must_use]
    pub fn seconds_of_broadcast(&self) -> u32 {
        (self.clients / 50_000).max(2)
    }
}

/// Shards that hold so many connections: a ring's table is as large as the limit of open files, the system's balancing is uneven, and
/// accepting pauses a little below.
#[must_use]
pub fn shards_for(clients: u32, open_files: u64) -> u32 {
    (f64::from(clients) * 1.35 / open_files as f64).ceil().max(1.0) as u32
}

/// What it was like.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Held {
    /// Connections asked for.
    pub clients: u32,
    /// Connections that stood.
    pub connected: u64,
    /// Shards.
    pub shards: u32,
    /// Time from being due to being ready, median, ms.
    pub connect_p50_ms: f64,
    /// 99th percentile of the same.
    pub connect_p99_ms: f64,
    /// Resident memory before the first connection, bytes.
    pub rss_base: u64,
    /// With all of them.
    pub rss_full: u64,
    /// After they left and three seconds had passed.
    pub rss_after: u64,
    /// Server CPU while everyone is silent, share of a core.
    pub silent_cpu: f64,
    /// Share of that time in which threads of the server were ready but had no core.
    pub silent_waiting: f64,
    /// Broadcasts.
    pub broadcasts: u64,
    /// Deliveries of them.
    pub deliveries: u64,
    /// Server CPU per delivery, microseconds; what the silent connections cost in that time is in it.
    pub cpu_us_per_delivery: f64,
    /// Until a delivery, ms.
    pub delivery_p50_ms: f64,
    /// The last one of a broadcast.
    pub delivery_max_ms: f64,
    /// Messages lost, repeated, reordered or changed.
    pub faults: Faults,
    /// What stopped it, where something did.
    pub stopped_by: Vec<String>,
}

impl Held {
    /// Resident bytes per connection.
    #[must_use]
    pub fn bytes_per_connection(&self) -> f64 {
        (self.rss_full as f64 - self.rss_base as f64) / self.connected.max(1) as f64
    }

    /// Server CPU of a silent connection, microseconds per second.
    #[must_use]
    pub fn silent_us_per_second(&self) -> f64 {
        1e6 * self.silent_cpu / self.connected.max(1) as f64
    }
}

/// From when all have left until memory is looked at: a shard waits `GIVE_BACK_PAUSE_MS` (5 s) before it gives back, and trimming takes more.
pub const AFTERMATH: Duration = Duration::from_secs(10);

/// Holds them. `server` is the shell command with `{port}` and `{shards}`.
///
/// # Errors
/// When a program cannot be started, or the server has died.
pub fn hold(plan: Plan, server: &str, cores: &str, loader: &Loader, record: &Record) -> io::Result<Held> {
    let command = server.replace("{shards}", &plan.shards.to_string());
    let server = Server::start(&command, cores, record.log(&format!("{} clients", plan.clients))?)?;
    let pid = server.pid();
    let rss_base = resident_bytes(pid)?;
    let (scenario, json) = (record.path("crowd.toml"), record.path("last.json"));
    std::fs::write(&scenario, scenario_file(plan))?;
    let mut loadtest = loader.start_loadtest(&scenario.display().to_string(), &server, &json)?;
    let mut said = Vec::new();
    let mut silence = Err(io::Error::other("the clients never became silent"));
    let lines = loadtest.stderr.take();
    let is_silent = |line: &str| {
        let is_second = line.trim_start().starts_with(|first: char| first.is_ascii_digit());
        if !is_second {
            said.push(line.to_owned());
        }
        line.starts_with("phase silent")
    };
    wait_for(lines, is_silent, || {
        // Walking the page tables of a large process takes a moment: not within the window of its CPU.
        silence = resident_bytes(pid).and_then(|_| silent(pid, plan.silent_seconds));
    })?;
    let status = loadtest.wait()?;
    std::thread::sleep(AFTERMATH);
    let rss_after = resident_bytes(pid).map_err(|error| io::Error::other(format!("the server has died: {error}")))?;
    let outcome: Outcome = take_json(&json).map_err(|error| {
        io::Error::other(format!("ringio-loadtest left no result ({status}, {error}): {}", said.join("; ")))
    })?;
    let (silent_cpu, silent_waiting, rss_full) = silence?;
    let phase = |name: &str| outcome.phases.iter().find(|phase| phase.name == name);
    let mut held = Held {
        clients: plan.clients,
        shards: plan.shards,
        rss_base,
        rss_full,
        rss_after,
        silent_cpu,
        silent_waiting,
        faults: outcome.faults(),
        ..Held::default()
    };
    if let Some(silent) = phase("silent") {
        (held.connect_p50_ms, held.connect_p99_ms) = (outcome.connect().p50, outcome.connect().p99);
        held.connected = u64::from(plan.clients).saturating_sub(outcome.failed());
        if !outcome.is_complete || held.connected < u64::from(plan.clients) || silent.failed > 0 {
            held.stopped_by = outcome.notes.clone();
            held.stopped_by.push(format!("failures by class: {}", outcome.failures));
        }
    }
    if let Some(broadcast) = phase("broadcast") {
        (held.broadcasts, held.deliveries) = (broadcast.sent, broadcast.received);
        let cpu = broadcast.server_cpu.unwrap_or(0.0) / 100.0 * broadcast.seconds;
        held.cpu_us_per_delivery = 1e6 * cpu / broadcast.received.max(1) as f64;
        (held.delivery_p50_ms, held.delivery_max_ms) = (broadcast.latency.p50, broadcast.latency.max);
    }
    record.append("crowds.jsonl", &held)?;
    Ok(held)
}

/// CPU and waiting share over most of the silence, and the memory at its end.
fn silent(pid: u32, seconds: u32) -> io::Result<(f64, f64, u64)> {
    let time = Duration::from_secs_f64((f64::from(seconds) - 1.5).max(0.5));
    let before = waiting_time(pid)?;
    let cpu = cpu_share(pid, time)?;
    let waiting = waiting_time(pid)?.saturating_sub(before).as_secs_f64() / time.as_secs_f64();
    Ok((cpu, waiting, resident_bytes(pid)?))
}

fn scenario_file(plan: Plan) -> String {
    let Plan { clients, connect_rate, silent_seconds, broadcasts, .. } = plan;
    let mut file = format!(
        "name = \"crowd\"\n\n[clients]\ncount = {clients}\ngroup_size = {clients}\nsenders_per_group = 1\nconnect_rate = {connect_rate}\npoisson = false\n\n\
         [[action]]\nemit = \"broadcast\"\nargs = [\"{{{{stamp}}}}\"]\nexpect = \"group\"\n\n\
         [[phase]]\nname = \"silent\"\nduration = \"{silent_seconds}s\"\nrate = 0\n"
    );
    if broadcasts > 0 {
        let seconds = plan.seconds_of_broadcast();
        file += &format!(
            "\n[[phase]]\nname = \"broadcast\"\nduration = \"{}s\"\nrate = {}\n",
            broadcasts * seconds,
            1.0 / f64::from(seconds)
        );
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_has_time_to_reach_everyone() {
        let plan = |clients| Plan { clients, shards: 1, connect_rate: 1, silent_seconds: 1, broadcasts: 3 };
        assert_eq!(plan(1_000).seconds_of_broadcast(), 2);
        assert!(scenario_file(plan(100_000)).contains("duration = \"6s\"\nrate = 0.5\n"));
        assert!(scenario_file(plan(1_000_000)).contains("duration = \"60s\"\nrate = 0.05\n"));
    }

    #[test]
    fn a_table_of_20_000_holds_a_seventh_of_100_000_with_room_to_spare() {
        assert_eq!(shards_for(100_000, 20_000), 7);
        assert_eq!(shards_for(1_000, 20_000), 1);
    }
}
