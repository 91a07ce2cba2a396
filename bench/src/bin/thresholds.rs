//! Where one way of doing something becomes cheaper than another: the constants of the engine that choose between two ways.
//!
//! Every size is measured in both ways, by CPU time (median of five interleaved rounds) and by instructions (callgrind).
//!
//! | constant | ways |
//! |---|---|
//! | `MANY_FROM`, core `room/members.rs` | a room as a sorted array, or as a bitset |
//! | `SIMD_JSON_BYTES_MIN`, ringio `decode.rs` | serde_json, or a copy and simd-json |
//! | `JOIN_BYTES_MAX`, core `limits.rs` | two frames as two sends, or joined into one buffer (time only: the sends are the kernel's) |
#![forbid(unsafe_code)]

use clap::Parser;
use ringio_bench::callgrind;
use ringio_bench::in_process::cpu_ns;
use ringio_bench::measure::table::{median, spread};
use ringio_bench::record::Record;
use ringio_core::base::bit_set::BitSet;
use ringio_core::room::members::Members;
use serde_json::Value;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures both sides of the engine's thresholds.
#[derive(Parser)]
#[command(name = "thresholds", version)]
struct Options {
    /// Name of the run: results go to OUT/DATE-NAME.
    #[arg(long, required_unless_present = "run")]
    name: Option<String>,
    /// Folder of the results.
    #[arg(long, default_value = "bench/runs")]
    out: PathBuf,
    /// Leaves the instructions out.
    #[arg(long)]
    no_instructions: bool,
    /// Runs one case, under callgrind: its name, way and size.
    #[arg(long, hide = true, num_args = 3)]
    run: Option<Vec<String>>,
}

type Unit = Box<dyn FnMut() -> u64>;

/// Two ways, at the same sizes.
struct Case {
    name: &'static str,
    ways: [&'static str; 2],
    sizes: &'static [usize],
    make: fn(way: usize, size: usize) -> Option<Unit>,
    has_instructions: bool,
}

const MEMBERS: &[usize] = &[16, 34, 48, 62, 96, 128, 256];
const ROOM_WAYS: [&str; 2] = ["array", "bitset"];
const CASES: &[Case] = &[
    Case { name: "room: list the members", ways: ROOM_WAYS, sizes: MEMBERS, make: listed, has_instructions: true },
    Case { name: "room: unite with another", ways: ROOM_WAYS, sizes: MEMBERS, make: united, has_instructions: true },
    Case { name: "room: one leaves and joins", ways: ROOM_WAYS, sizes: MEMBERS, make: moved, has_instructions: true },
    Case {
        name: "json: typed arguments of so many bytes",
        ways: ["serde_json", "simd-json"],
        sizes: &[128, 256, 512, 768, 1_024, 1_536, 2_048, 4_096, 16_384],
        make: typed,
        has_instructions: true,
    },
    Case {
        name: "json: one string of so many bytes",
        ways: ["serde_json", "simd-json"],
        sizes: &[128, 512, 1_024, 2_048, 4_096, 16_384],
        make: text,
        has_instructions: true,
    },
    Case {
        name: "send: two frames of so many bytes each, read by the same thread",
        ways: ["two sends", "joined"],
        sizes: &[256, 1_024, 4_096, 16_384, 32_768, 65_536, 131_072],
        make: sent,
        has_instructions: false,
    },
];

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(run) = &options.run {
        let case = CASES.iter().find(|case| case.name == run[0]);
        let unit = case.and_then(|case| (case.make)(run[1].parse().ok()?, run[2].parse().ok()?));
        let Some(mut unit) = unit else { return ExitCode::from(2) };
        callgrind::run(&mut *unit);
        return ExitCode::SUCCESS;
    }
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thresholds: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure(options: &Options) -> io::Result<()> {
    let record = Record::create(&options.out, options.name.as_deref().unwrap_or("thresholds"), serde_json::json!({}))?;
    let mut out = String::new();
    for case in CASES {
        let [one, other] = case.ways;
        out += &format!(
            "## {}\n\n| size | {one}, ns | {other}, ns | ratio | {one}, instructions | {other} |\n|--:|--:|--:|--:|--:|--:|\n",
            case.name
        );
        for size in case.sizes {
            let mut figures = [Vec::new(), Vec::new()];
            let mut units = [0, 1].map(|way| (case.make)(way, *size));
            let calls = (4_000_000 / size.max(&256)).clamp(20, 20_000) as u32;
            for _ in 0..5 {
                for (figures, unit) in figures.iter_mut().zip(&mut units) {
                    if let Some(unit) = unit {
                        figures.extend(cpu_ns(1, calls, unit)?);
                    }
                }
            }
            let mut instructions = [f64::NAN; 2];
            for way in 0..2 {
                if case.has_instructions && !options.no_instructions && units[way].is_some() {
                    let (way_text, size_text) = (way.to_string(), size.to_string());
                    instructions[way] = callgrind::count(&["--run", case.name, &way_text, &size_text])?;
                }
            }
            let ratio = median(&figures[1]).zip(median(&figures[0])).map(|(second, first)| second / first);
            let counted = |count: f64| if count.is_nan() { "-".to_owned() } else { format!("{count:.0}") };
            let row = format!(
                "| {size} | {} | {} | {} | {} | {} |\n",
                spread(&figures[0]),
                spread(&figures[1]),
                ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
                counted(instructions[0]),
                counted(instructions[1]),
            );
            print!("{}: {row}", case.name);
            record.append("cases.jsonl", &serde_json::json!({ "case": case.name, "size": size, "ns": figures }))?;
            out += &row;
        }
        out += "\n";
    }
    record.finish(&out)
}

/// A room of so many, one in eight of the slots.
fn room(way: usize, size: usize) -> Members {
    let slots = (0..size as u32).map(|index| index * 8);
    if way == 0 {
        return Members::Few(slots.collect());
    }
    let mut bits = BitSet::new();
    slots.for_each(|slot| {
        bits.insert(slot);
    });
    Members::Many(Box::new(bits))
}

fn listed(way: usize, size: usize) -> Option<Unit> {
    let (room, mut list) = (room(way, size), Vec::new());
    Some(Box::new(move || {
        list.clear();
        black_box(&room).append_to(&mut list);
        list.iter().copied().map(u64::from).sum()
    }))
}

fn united(way: usize, size: usize) -> Option<Unit> {
    let (room, mut set) = (room(way, size), BitSet::new());
    set.insert(10_000);
    Some(Box::new(move || {
        black_box(&room).union_into(&mut set);
        set.len() as u64
    }))
}

/// Only where the room stays what it is.
fn moved(way: usize, size: usize) -> Option<Unit> {
    if (way == 0 && size >= 64) || (way == 1 && size <= 33) {
        return None;
    }
    let (mut room, mut next) = (room(way, size), 0);
    Some(Box::new(move || {
        next = (next + 7) % size as u32;
        let left = room.remove(black_box(next * 8));
        u64::from(left) + u64::from(room.insert(black_box(next * 8)))
    }))
}

/// Objects of a chat, about 64 bytes each.
fn typed(way: usize, size: usize) -> Option<Unit> {
    let mut json = String::from("[");
    for index in 0.. {
        let item =
            format!("{{\"id\":{index},\"name\":\"user {index}\",\"text\":\"hello there\",\"at\":{}.5}}", index * 17);
        if json.len() + item.len() + 1 > size && json.len() > 1 {
            break;
        }
        json += if json.len() > 1 { "," } else { "" };
        json += &item;
    }
    Some(parsed::<Vec<Message>>(way, json + "]", |messages| messages.iter().map(Message::checksum).sum()))
}

#[derive(serde::Deserialize)]
struct Message {
    id: u64,
    name: String,
    text: String,
    at: f64,
}

impl Message {
    fn checksum(&self) -> u64 {
        self.id + (self.name.len() + self.text.len()) as u64 + self.at as u64
    }
}

fn text(way: usize, size: usize) -> Option<Unit> {
    let json = format!("\"{}\"", "x".repeat(size.saturating_sub(2)));
    Some(parsed::<Value>(way, json, |value| value.as_str().map_or(0, str::len) as u64))
}

/// As `decode.rs` does it: simd-json changes its input, so it gets a copy.
fn parsed<T: serde::de::DeserializeOwned + 'static>(way: usize, json: String, checksum: fn(&T) -> u64) -> Unit {
    if way == 0 {
        return Box::new(move || checksum(&serde_json::from_slice(black_box(json.as_bytes())).expect("valid")));
    }
    let (mut copy, mut buffers) = (Vec::new(), simd_json::Buffers::default());
    Box::new(move || {
        copy.clear();
        copy.extend_from_slice(black_box(json.as_bytes()));
        checksum(&simd_json::serde::from_slice_with_buffers(&mut copy, &mut buffers).expect("valid"))
    })
}

/// Over loopback; the thread reads what it has sent, so that both halves of the connection are in the figure.
fn sent(way: usize, size: usize) -> Option<Unit> {
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let mut writer = TcpStream::connect(listener.local_addr().ok()?).ok()?;
    let (mut reader, _) = listener.accept().ok()?;
    for socket in [&writer, &reader] {
        socket2::SockRef::from(socket).set_send_buffer_size(1 << 21).ok()?;
        socket2::SockRef::from(socket).set_recv_buffer_size(1 << 21).ok()?;
    }
    writer.set_nodelay(true).ok()?;
    writer.set_nonblocking(true).ok()?;
    let (frame, mut joined, mut back) = (vec![b'x'; size], Vec::with_capacity(2 * size), vec![0; 2 * size]);
    Some(Box::new(move || {
        let write = |writer: &mut TcpStream, bytes: &[u8]| {
            assert_eq!(writer.write(bytes).ok(), Some(bytes.len()), "the buffers hold both frames");
        };
        if way == 0 {
            write(&mut writer, &frame);
            write(&mut writer, &frame);
        } else {
            joined.clear();
            joined.extend_from_slice(black_box(&frame));
            joined.extend_from_slice(black_box(&frame));
            write(&mut writer, &joined);
        }
        reader.read_exact(&mut back).map_or(0, |()| u64::from(back[size]))
    }))
}
