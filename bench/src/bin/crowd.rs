//! Holds as many connections as asked for in one server process; see `ringio_bench::crowd` and `crowd --help`.
#![forbid(unsafe_code)]

use clap::Parser;
use ringio_bench::crowd::{AFTERMATH, Held, Plan, hold, shards_for};
use ringio_bench::measure::load::Loader;
use ringio_bench::process::raise_open_files_limit;
use ringio_bench::record::Record;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Holds many live Socket.IO connections in one process: memory, CPU while silent, a broadcast to all, memory after they left.
#[derive(Parser)]
#[command(name = "crowd", version)]
struct Options {
    /// Name of the run: results go to OUT/DATE-NAME.
    #[arg(long)]
    name: String,
    /// Connections.
    #[arg(long, default_value_t = 100_000)]
    clients: u32,
    /// New connections per second.
    #[arg(long, default_value_t = 8_000)]
    connect_rate: u32,
    /// Seconds of silence; a heartbeat comes every 25.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Broadcasts to everyone: one every other second, or in a second for every 50,000 clients.
    #[arg(long, default_value_t = 3)]
    broadcasts: u32,
    /// The server, with {port} and {shards} in it.
    #[arg(long, default_value = "target/release/conformance bench --port {port} --shards {shards} --driver uring")]
    server: String,
    /// Cores of the server, as taskset(1) takes them.
    #[arg(long, default_value = "0")]
    server_cores: String,
    /// Cores of the clients.
    #[arg(long, default_value = "1")]
    client_cores: String,
    /// Folder of the results.
    #[arg(long, default_value = "bench/runs")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crowd: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> io::Result<bool> {
    let open_files = raise_open_files_limit()?;
    let plan = Plan {
        clients: options.clients,
        shards: shards_for(options.clients, open_files),
        connect_rate: options.connect_rate,
        silent_seconds: options.seconds,
        broadcasts: options.broadcasts,
    };
    let details = serde_json::json!({ "open_files": open_files, "server": options.server, "shards": plan.shards });
    let record = Record::create(&options.out, &options.name, details)?;
    let loader = Loader::on(&options.client_cores, f64::from(options.seconds), 0.0)?;
    let held = hold(plan, &options.server, &options.server_cores, &loader, &record)?;
    record.finish(&table(&held, open_files))?;
    Ok(held.stopped_by.is_empty() && held.faults.is_clean())
}

fn table(held: &Held, open_files: u64) -> String {
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut out =
        format!("{} connections in one process under `ulimit -n {open_files}`\n\n| | |\n|---|--:|\n", held.clients);
    let mut row = |name: &str, value: String| out += &format!("| {name} | {value} |\n");
    row("connected", held.connected.to_string());
    row("shards, on one core", held.shards.to_string());
    row("until a client is ready, p50 / p99", format!("{:.1} / {:.1} ms", held.connect_p50_ms, held.connect_p99_ms));
    row("resident memory before", format!("{:.1} MB", megabytes(held.rss_base)));
    row("with all of them", format!("{:.1} MB", megabytes(held.rss_full)));
    row("per connection", format!("{:.0} bytes", held.bytes_per_connection()));
    row(&format!("{} s after all had left", AFTERMATH.as_secs()), format!("{:.1} MB", megabytes(held.rss_after)));
    row("CPU while silent (heartbeats)", format!("{:.1} % of a core", 100.0 * held.silent_cpu));
    row("waiting for the core meanwhile", format!("{:.1} %", 100.0 * held.silent_waiting));
    row("CPU per silent connection", format!("{:.2} us/s", held.silent_us_per_second()));
    row("broadcasts / deliveries", format!("{} / {}", held.broadcasts, held.deliveries));
    row("CPU per delivery", format!("{:.2} us", held.cpu_us_per_delivery));
    row("until delivered, p50 / last", format!("{:.0} / {:.0} ms", held.delivery_p50_ms, held.delivery_max_ms));
    row("faults", if held.faults.is_clean() { "none".to_owned() } else { format!("**{:?}**", held.faults) });
    let stopped = if held.stopped_by.is_empty() { "nothing".to_owned() } else { held.stopped_by.join("; ") };
    row("stopped by", stopped);
    out
}
