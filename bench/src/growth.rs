//! What grows with numbers: a delivery with the members of its room, a join with the rooms there are, memory with connections.
//!
//! Each is measured twice where that tells something: in this process, by the core alone (its bend is ours: caches, hashing), and
//! with a server, beside the floor (that bend is the kernel's).
use crate::crowd::{self, Held, Plan, shards_for};
use crate::hot::shard::broadcast_to;
use crate::in_process::cpu_ns;
use crate::measure::load::Loader;
use crate::measure::server::Server;
use crate::measure::table::{median, spread};
use crate::plot::Plot;
use crate::process::raise_open_files_limit;
use crate::record::{Record, sibling};
use clap::Parser;
use ringio_core::room::{Memberships, Rooms};
use serde::Serialize;
use std::io;
use std::path::PathBuf;

/// Measures how costs grow: rooms of 100 to 100,000 members, 10 to 1,000,000 rooms, 1,000 to 100,000 connections.
#[derive(Clone, Debug, Parser)]
#[command(name = "growth", version)]
pub struct Options {
    /// Name of the run: results go to OUT/DATE-NAME.
    #[arg(long)]
    pub name: String,
    /// The most connections.
    #[arg(long, default_value_t = 100_000)]
    pub clients: u32,
    /// The most rooms.
    #[arg(long, default_value_t = 1_000_000)]
    pub rooms: u32,
    /// Rounds.
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// Seconds of each window.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// The server, with {port} and {shards} in it.
    #[arg(long, default_value = "target/release/conformance bench --port {port} --shards {shards} --driver uring")]
    pub server: String,
    /// Folder of the results.
    #[arg(long, default_value = "bench/runs")]
    pub out: PathBuf,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
struct Point {
    curve: &'static str,
    /// Members, rooms or connections.
    number: u32,
    /// The unit is the curve's.
    figures: Vec<f64>,
}

const CORE: &str = "the core alone";
const OURS: &str = "Ringio, 4 in flight";
const FLOOR: &str = "floor, 4 in flight";
const OURS_PACED: &str = "Ringio, 50,000 deliveries/s";
const FLOOR_PACED: &str = "floor, 50,000 deliveries/s";
const OURS_CROWD: &str = "Ringio, all connections in one room, a message every 2 s";

/// Measures and writes table and plots; `true` when no run had a fault.
///
/// # Errors
/// When a program cannot be started or a file not written.
pub fn run(options: &Options) -> io::Result<bool> {
    let open_files = raise_open_files_limit()?;
    let record = Record::create(&options.out, &options.name, serde_json::json!({ "server": options.server }))?;
    let mut out = String::new();
    let joins = joins(options, &record)?;
    let mut deliveries = core_deliveries(options, &record)?;
    let mut is_clean = served_deliveries(options, &record, &mut deliveries)?;
    let crowds = crowds(options, open_files, &record)?;
    is_clean &= crowds.iter().all(|held| held.faults.is_clean() && held.stopped_by.is_empty());
    for held in crowds.iter().filter(|held| held.deliveries > 0) {
        let (number, figures) = (held.clients, vec![held.cpu_us_per_delivery]);
        deliveries.push(Point { curve: OURS_CROWD, number, figures });
    }
    section(&mut out, "CPU per delivery, us, by members of the room", "members", &deliveries);
    section(&mut out, "CPU per join and leave of a room that exists, ns, by rooms", "rooms", &joins);
    out += "## Connections that are silent\n\n| connections | bytes each | us per second each | MB base | MB full | MB after | stopped by |\n|--:|--:|--:|--:|--:|--:|---|\n";
    for held in &crowds {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        out += &format!(
            "| {} | {:.0} | {:.2} | {:.1} | {:.1} | {:.1} | {} |\n",
            held.connected,
            held.bytes_per_connection(),
            held.silent_us_per_second(),
            megabytes(held.rss_base),
            megabytes(held.rss_full),
            megabytes(held.rss_after),
            if held.stopped_by.is_empty() { "-".to_owned() } else { held.stopped_by.join("; ") },
        );
    }
    plot(&record, "deliveries.svg", "CPU per delivery", ("members of the room", "us"), &deliveries)?;
    plot(&record, "joins.svg", "CPU per join and leave", ("rooms", "ns"), &joins)?;
    let memory = crowds.iter().map(|held| (held.connected as f64, held.bytes_per_connection())).collect();
    let curves = vec![("bytes per connection".to_owned(), memory)];
    let names = ("Memory per silent connection", "connections", "bytes");
    record.plot("connections.svg", &Plot { title: names.0, x_name: names.1, y_name: names.2, curves })?;
    record.finish(&out)?;
    Ok(is_clean)
}

/// Joining and leaving a room that has a member already, at random among `rooms`; every room's member is a socket of its own.
fn joins(options: &Options, record: &Record) -> io::Result<Vec<Point>> {
    let sizes = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
    let mut points = Vec::new();
    for number in sizes.into_iter().filter(|size| *size <= options.rooms) {
        let mut rooms = Rooms::new(1);
        let name = |index: u32| format!("room {index}");
        let socket_count = number.max(10_000);
        let mut sockets: Vec<Memberships> = (0..socket_count).map(|_| Memberships::default()).collect();
        for index in 0..number {
            rooms.join(index, &mut sockets[index as usize], &name(index));
        }
        // More pairs than caches hold what they touch, where there are that many rooms. The steps are odd primes: every pair differs.
        let pairs: Vec<(u32, String)> = (0..65_536_u64)
            .map(|index| {
                let (slot, room) = (index * 7_919 % u64::from(socket_count), index * 104_729 % u64::from(number));
                (slot as u32, name(room as u32))
            })
            .filter(|(slot, room)| *room != name(*slot))
            .collect();
        let mut next = 0;
        let figures = cpu_ns(3, 65_536, || {
            let (slot, name) = &pairs[next];
            next = (next + 1) % pairs.len();
            let memberships = &mut sockets[*slot as usize];
            let joined = rooms.join(*slot, memberships, name).joined;
            u64::from(joined) + u64::from(rooms.leave(*slot, memberships, name).left)
        })?;
        let point = Point { curve: CORE, number, figures };
        println!("join and leave, {number} rooms: {} ns", spread(&point.figures));
        record.append("joins.jsonl", &point)?;
        points.push(point);
    }
    Ok(points)
}

/// A broadcast within the core, from the event's JSON to frames that are to be sent, per receiver.
fn core_deliveries(options: &Options, record: &Record) -> io::Result<Vec<Point>> {
    let mut points = Vec::new();
    for number in [100, 1_000, 10_000, 100_000].into_iter().filter(|size| *size <= options.clients) {
        let unit = broadcast_to(number, 1);
        let ns = cpu_ns(5, (400_000 / number).max(4), unit)?;
        let point = Point { curve: CORE, number, figures: ns.iter().map(|ns| ns / 1e3 / f64::from(number)).collect() };
        println!("broadcast within the core, {number} members: {} us/delivery", spread(&point.figures));
        record.append("deliveries.jsonl", &point)?;
        points.push(point);
    }
    Ok(points)
}

fn served_deliveries(options: &Options, record: &Record, points: &mut Vec<Point>) -> io::Result<bool> {
    let loader = Loader::on("1", options.seconds, 0.5)?;
    let ours = options.server.replace("{shards}", "1");
    let floor = format!("'{}' broadcast --port {{port}}", sibling("floor")?.display());
    let mut is_clean = true;
    for number in [100_u32, 1_000, 10_000].into_iter().filter(|size| *size <= options.clients) {
        let saturated = format!("broadcast --clients {number} --in-flight 4");
        let paced = format!("broadcast --clients {number} --rate {}", 50_000.0 / f64::from(number));
        let mut figures =
            [OURS, FLOOR, OURS_PACED, FLOOR_PACED].map(|curve| Point { curve, number, figures: Vec::new() });
        for _ in 0..options.rounds {
            for point in &mut figures {
                let is_raw = [FLOOR, FLOOR_PACED].contains(&point.curve);
                let arguments = if [OURS, FLOOR].contains(&point.curve) { &saturated } else { &paced };
                let log = record.log(&format!("{}, {number} members", point.curve))?;
                let server = Server::start(if is_raw { &floor } else { &ours }, "0", log)?;
                let report = match loader.drive(arguments, &server, point.curve, is_raw, record, || {}) {
                    Ok(report) => report,
                    Err(error) => {
                        eprintln!("growth: {}, {number} members: {error}", point.curve);
                        continue;
                    }
                };
                println!("{}", report.line());
                record.append("reports.jsonl", &report)?;
                is_clean &= report.faults.is_clean();
                point.figures.extend(report.window.map(|window| window.cpu_us_per_delivery));
            }
        }
        points.extend(figures.into_iter().filter(|point| !point.figures.is_empty()));
    }
    Ok(is_clean)
}

/// The same shards for all numbers, so that pools and rings are the same base.
fn crowds(options: &Options, open_files: u64, record: &Record) -> io::Result<Vec<Held>> {
    let loader = Loader::on("1", 1.0, 0.0)?;
    let shards = shards_for(options.clients, open_files);
    let mut sizes: Vec<u32> =
        [1_000, 3_000, 10_000, 30_000].into_iter().filter(|size| *size < options.clients).collect();
    sizes.push(options.clients);
    let mut crowds = Vec::new();
    for clients in sizes {
        let plan = Plan { clients, shards, connect_rate: 8_000, silent_seconds: 4, broadcasts: 2 };
        match crowd::hold(plan, &options.server, "0", &loader, record) {
            Ok(held) => {
                println!("{clients} connections: {:.0} bytes each", held.bytes_per_connection());
                crowds.push(held);
            }
            Err(error) => eprintln!("growth: {clients} connections: {error}"),
        }
    }
    Ok(crowds)
}

fn curves(points: &[Point]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for point in points {
        if !names.contains(&point.curve) {
            names.push(point.curve);
        }
    }
    names
}

fn section(out: &mut String, title: &str, number_name: &str, points: &[Point]) {
    let names = curves(points);
    *out += &format!("## {title}\n\n| {number_name} | {} |\n|--:|{}\n", names.join(" | "), "--:|".repeat(names.len()));
    let mut numbers: Vec<u32> = points.iter().map(|point| point.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let cell = |name: &&str| {
            let point = points.iter().find(|point| point.curve == *name && point.number == number);
            point.map_or("-".to_owned(), |point| spread(&point.figures))
        };
        *out += &format!("| {number} | {} |\n", names.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
    *out += "\n";
}

fn plot(record: &Record, file: &str, title: &str, (x_name, y_name): (&str, &str), points: &[Point]) -> io::Result<()> {
    let of = |name: &'static str| {
        let points = points.iter().filter(|point| point.curve == name);
        (name.to_owned(), points.filter_map(|point| Some((f64::from(point.number), median(&point.figures)?))).collect())
    };
    record.plot(file, &Plot { title, x_name, y_name, curves: curves(points).into_iter().map(of).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_column_per_curve_and_a_row_per_number() {
        let point = |curve, number, figure| Point { curve, number, figures: vec![figure] };
        let mut out = String::new();
        section(&mut out, "t", "rooms", &[point(CORE, 10, 1.0), point(FLOOR, 100, 2.0), point(CORE, 100, 3.0)]);
        assert!(out.contains("| rooms | the core alone | floor, 4 in flight |"), "{out}");
        assert!(out.contains("| 10 | 1.00 [1.00..1.00] | - |"), "{out}");
        assert!(out.contains("| 100 | 3.00 [3.00..3.00] | 2.00 [2.00..2.00] |"), "{out}");
    }
}
