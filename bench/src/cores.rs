//! Several shards: what two bring on two cores, what shards cost each other, how evenly the system spreads connections, and what
//! that makes of 8, 32 and 128 cores.
//!
//! The client needs CPU too, and with two shards there is no core left for it: server and client share both cores in all of these runs,
//! and what is compared is CPU per message, the server's and both together, not messages per second.
//!
//! The model is arithmetic over the constants measured in the same run ([`Constants`]); it knows no memory bandwidth, no caches shared by
//! cores, no network card, and no client.
use crate::hot::{self, shard};
use crate::in_process::cpu_ns;
use crate::measure::load::Loader;
use crate::measure::server::Server;
use crate::measure::table::{median, spread};
use crate::process::{CpuClock, pin_to_core};
use crate::record::Record;
use clap::Parser;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use ringio_core::base::id::ShardIndex;
use ringio_runtime::mesh::{Port, mesh};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::thread;

/// Measures shards beside each other, and computes what more cores bring.
#[derive(Clone, Debug, Parser)]
#[command(name = "cores", version)]
pub struct Options {
    /// Name of the run: results go to OUT/DATE-NAME.
    #[arg(long)]
    pub name: String,
    /// Rounds.
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// Seconds of each window.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// The server, with {port} and {shards} in it.
    #[arg(long, default_value = "target/release/conformance bench --port {port} --shards {shards} --driver uring")]
    pub server: String,
    /// Folder of the results.
    #[arg(long, default_value = "bench/runs")]
    pub out: PathBuf,
}

const ROWS: [(&str, &str); 4] = [
    ("echo, 500 clients", "echo --clients 500"),
    ("broadcast to 1,000, 4 in flight", "broadcast --clients 1000 --in-flight 4"),
    ("broadcast to 1,000, 50/s", "broadcast --clients 1000 --rate 50"),
    ("rooms of 10, 2,000 clients", "rooms --clients 2000 --rooms 200"),
];
const ECHO: usize = 0;
const BROADCAST: usize = 1;
const ROOMS: usize = 3;

/// Members of a small room.
const ROOM_MEMBERS: f64 = 10.0;

/// What the model is made of, microseconds of CPU.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Constants {
    /// A message that comes and goes back, one shard.
    pub echo: f64,
    /// A delivery of a broadcast to 1,000, one shard, saturated.
    pub delivery: f64,
    /// A delivery in a room of ten, one shard: a tenth of receiving the message is in it.
    pub room_delivery: f64,
    /// Encoding a broadcast.
    pub encode: f64,
    /// Handing a broadcast to one more shard: the core's part and the mesh's.
    pub hand_over: f64,
    /// Receiving a broadcast for a room that has nobody here: the mesh's part and the core's.
    pub take: f64,
    /// What a message to a room of ten costs more where one more shard delivers it too, measured with two: another turn, a wake-up,
    /// sends in two batches.
    pub crossing: f64,
}

/// Measures and writes the tables; `true` when no run had a fault.
///
/// # Errors
/// When a program cannot be started or a file not written.
pub fn run(options: &Options) -> io::Result<bool> {
    let record = Record::create(&options.out, &options.name, serde_json::json!({ "server": options.server }))?;
    // First: these threads are pinned, and nothing else runs yet.
    let woken =
        thread::spawn(ping_pong).join().map_err(|_| io::Error::other("the thread of the mesh has panicked"))??;
    let mut constants = core_constants()?;
    let (served, mut out, is_clean) = served(options, &record)?;
    let of = |row: usize| served.get(&(row, 1)).and_then(|figures| median(figures)).unwrap_or(f64::NAN);
    (constants.echo, constants.delivery, constants.room_delivery) = (of(ECHO), of(BROADCAST), of(ROOMS));
    let of_two = served.get(&(ROOMS, 2)).and_then(|figures| median(figures)).unwrap_or(f64::NAN);
    constants.crossing = ((of_two - constants.room_delivery) * ROOM_MEMBERS).max(0.0);
    record.append("constants.jsonl", &constants)?;
    out += &between_shards(&constants, &woken);
    out += &spreading(&record)?;
    out += &model(&constants);
    record.finish(&out)?;
    Ok(is_clean)
}

/// Server CPU per delivery, by row and shards.
type Served = BTreeMap<(usize, u32), Vec<f64>>;

fn served(options: &Options, record: &Record) -> io::Result<(Served, String, bool)> {
    let loader = Loader::on("0,1", options.seconds, 0.5)?;
    let (mut served, mut totals, mut is_clean) = (Served::new(), Served::new(), true);
    for round in 0..options.rounds {
        for (row, (name, arguments)) in ROWS.iter().enumerate() {
            for shards in [1 + round as u32 % 2, 2 - round as u32 % 2] {
                let command = options.server.replace("{shards}", &shards.to_string());
                let server = Server::start(&command, "0,1", record.log(&format!("{name}, {shards} shards"))?)?;
                let label = format!("{shards} shards");
                let report = match loader.drive(arguments, &server, &label, false, record, || {}) {
                    Ok(report) => report,
                    Err(error) => {
                        eprintln!("cores: {name}, {shards} shards: {error}");
                        continue;
                    }
                };
                println!("{}", report.line());
                record.append("reports.jsonl", &report)?;
                is_clean &= report.faults.is_clean();
                if let Some(window) = report.window {
                    let client = 1e6 * window.client_utilisation / window.deliveries_per_second;
                    served.entry((row, shards)).or_default().push(window.cpu_us_per_delivery);
                    totals.entry((row, shards)).or_default().push(window.cpu_us_per_delivery + client);
                }
            }
        }
    }
    let mut out = String::from(
        "## One and two shards on two cores, which the client shares\n\nCPU per delivery, us, median [min..max].\n\n\
         | | server, 1 shard | 2 shards | ratio | server and client, 1 shard | 2 shards |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for (row, (name, _)) in ROWS.iter().enumerate() {
        let cell = |of: &Served, shards: u32| of.get(&(row, shards)).map_or("-".to_owned(), |figures| spread(figures));
        let middle = |shards| served.get(&(row, shards)).and_then(|figures| median(figures)).unwrap_or(f64::NAN);
        out += &format!(
            "| {name} | {} | {} | {:.2} | {} | {} |\n",
            cell(&served, 1),
            cell(&served, 2),
            middle(2) / middle(1),
            cell(&totals, 1),
            cell(&totals, 2),
        );
    }
    Ok((served, out, is_clean))
}

/// The costs between shards that need no kernel.
fn core_constants() -> io::Result<Constants> {
    const FEW: u16 = 2;
    const MANY: u16 = 34;
    let middle = |figures: Vec<f64>| median(&figures).unwrap_or(f64::NAN) / 1e3;
    let path =
        |name: &str| hot::find(name).map(|path| (path.make)()).ok_or_else(|| io::Error::other("no such hot path"));
    let pass = middle(cpu_ns(5, 100_000, path("mesh: a message to an awake shard and its receipt")?)?);
    let encode = middle(cpu_ns(5, 100_000, path("broadcast: encode an event of 64 B")?)?);
    let few = middle(cpu_ns(5, 20_000, shard::broadcast_among(FEW))?);
    let many = middle(cpu_ns(5, 20_000, shard::broadcast_among(MANY))?);
    let take = middle(cpu_ns(5, 100_000, shard::broadcast_received())?);
    // Half of what the mesh costs is the sender's.
    let hand_over = (many - few) / f64::from(MANY - FEW) + pass / 2.0;
    Ok(Constants { encode, hand_over, take: take + pass / 2.0, ..Constants::default() })
}

/// What a message to a shard that sleeps costs.
struct Woken {
    /// Until it is received, us.
    latency_us: f64,
    /// CPU of both shards, us.
    cpu_us: f64,
}

const HOPS: u64 = 20_000;

/// A number goes to and fro between two threads that sleep in between.
fn ping_pong() -> io::Result<Woken> {
    let mut ports = mesh::<u64>(2, 64)?;
    let (first, second) = (ports.pop(), ports.pop());
    let (Some(mut first), Some(second)) = (first, second) else { return Err(io::Error::other("a mesh of two")) };
    let other = thread::spawn(move || bounce(second, 0, ShardIndex(1)));
    pin_to_core(1)?;
    let (start, clock) = (crate::clock::now(), CpuClock::own());
    let before = clock.read()?;
    first.send(ShardIndex(0), HOPS);
    first.flush();
    bounce(first, 1, ShardIndex(0))?;
    other.join().map_err(|_| io::Error::other("a thread has panicked"))??;
    Ok(Woken {
        latency_us: (crate::clock::now() - start).as_secs_f64() * 1e6 / HOPS as f64,
        cpu_us: (clock.read()? - before).as_secs_f64() * 1e6 / HOPS as f64,
    })
}

/// Returns each number less one, until it is 0.
fn bounce(mut port: Port<u64>, core: usize, other: ShardIndex) -> io::Result<()> {
    if thread::available_parallelism()?.get() > core {
        pin_to_core(core)?;
    }
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4);
    let bell = port.as_fd().as_raw_fd();
    poll.registry().register(&mut SourceFd(&bell), Token(0), Interest::READABLE)?;
    loop {
        while let Some((_, number)) = port.receive() {
            if number > 0 {
                port.send(other, number - 1);
                port.flush();
            }
            if number <= 1 {
                return Ok(());
            }
        }
        if port.about_to_sleep() && port.is_empty() {
            poll.poll(&mut events, None)?;
        }
        port.woke();
    }
}

fn between_shards(constants: &Constants, woken: &Woken) -> String {
    let Constants { encode, hand_over, take, crossing, .. } = constants;
    format!(
        "\n## Between shards\n\nCPU, us; in this process, without a kernel but for the wake-up.\n\n| | |\n|---|--:|\n\
         | encoding a broadcast of 64 B | {encode:.3} |\n\
         | handing it to one more shard | {hand_over:.3} |\n\
         | receiving it, for a room that has nobody here | {take:.3} |\n\
         | a message to a room of ten, for one more shard that delivers it (from the table above) | {crossing:.2} |\n\
         | a message to a shard that sleeps: CPU of both | {:.2} |\n\
         | until it is there | {:.2} |\n",
        woken.cpu_us, woken.latency_us,
    )
}

// ---- how the system spreads connections

/// Connections on the fullest of `shards` shards, divided by the mean, when each goes to a shard by chance: median of 201 draws.
fn expected_imbalance(connections: u32, shards: u32) -> f64 {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut ratios = Vec::new();
    for _ in 0..if connections > 100_000 { 21 } else { 201 } {
        let mut counts = vec![0_u32; shards as usize];
        for _ in 0..connections {
            counts[random.below(shards) as usize] += 1;
        }
        ratios.push(fullest(&counts));
    }
    median(&ratios).unwrap_or(f64::NAN)
}

fn fullest(counts: &[u32]) -> f64 {
    let most = f64::from(counts.iter().copied().max().unwrap_or(0));
    most * counts.len() as f64 / f64::from(counts.iter().sum::<u32>())
}

/// xorshift64*: good enough to throw balls into bins, and the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// The real thing: so many connections over loopback to as many SO_REUSEPORT listeners; connections on each.
fn accepted(connections: u32, shards: u32) -> io::Result<Vec<u32>> {
    use socket2::{Domain, SockAddr, Socket, Type};
    let mut address = SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut listeners = Vec::new();
    for _ in 0..shards {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address)?;
        address = socket.local_addr()?;
        socket.listen(4096)?;
        socket.set_nonblocking(true)?;
        listeners.push(socket);
    }
    let mut counts = vec![0; shards as usize];
    let mut opened = Vec::new();
    for index in 0..connections {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Closing then sends a reset: no port waits for two minutes.
        socket.set_linger(Some(std::time::Duration::ZERO))?;
        socket.connect(&address)?;
        opened.push(socket);
        // Open connections count twice against the limit of descriptors until they are closed here.
        if opened.len() == 256 || index + 1 == connections {
            for (listener, count) in listeners.iter().zip(&mut counts) {
                while listener.accept().is_ok() {
                    *count += 1;
                }
            }
            opened.clear();
        }
    }
    Ok(counts)
}

fn spreading(record: &Record) -> io::Result<String> {
    let mut out = String::from(
        "\n## How SO_REUSEPORT spreads connections\n\nThe fullest shard, divided by the mean. Measured: one run over loopback; \
         by chance: what independent draws would give, median.\n\n| shards | connections | measured | by chance |\n|--:|--:|--:|--:|\n",
    );
    for (shards, connections) in [(2, 1_000), (2, 10_000), (8, 1_000), (8, 10_000), (32, 10_000), (128, 10_000)] {
        let counts = accepted(connections, shards)?;
        record.append("spread.jsonl", &serde_json::json!({ "shards": shards, "connections": counts }))?;
        let chance = expected_imbalance(connections, shards);
        out += &format!("| {shards} | {connections} | {:.3} | {chance:.3} |\n", fullest(&counts));
    }
    for (shards, connections) in [(32, 100_000), (128, 100_000), (128, 1_000_000)] {
        out += &format!("| {shards} | {connections} | - | {:.3} |\n", expected_imbalance(connections, shards));
    }
    Ok(out)
}

// ---- the model

/// Deliveries per second of all shards together, and what is saturated then.
#[derive(Clone, Debug, PartialEq)]
struct Capacity {
    deliveries: f64,
    limit: String,
}

/// Every client sends as often as every other: the fullest shard is the limit.
fn echo_capacity(constants: &Constants, shards: u32) -> Capacity {
    let imbalance = expected_imbalance(10_000, shards);
    let limit = format!("the shard with {:.0} % more clients than the mean", 100.0 * (imbalance - 1.0));
    Capacity { deliveries: 1e6 * f64::from(shards) / constants.echo / imbalance, limit }
}

/// One room of 10,000. `is_one_sender`: all messages come in at one shard; otherwise at all of them alike.
fn broadcast_capacity(constants: &Constants, shards: u32, is_one_sender: bool) -> Capacity {
    const MEMBERS: f64 = 10_000.0;
    let (count, imbalance) = (f64::from(shards), expected_imbalance(10_000, shards));
    let share = MEMBERS / count * constants.delivery;
    let sending = constants.encode + (count - 1.0) * constants.hand_over;
    let (per_sender, per_receiver) = (share + sending, share * imbalance + constants.take);
    let cost = if is_one_sender {
        per_sender.max(per_receiver)
    } else {
        share * imbalance + sending / count + constants.take * (count - 1.0) / count
    };
    let overhead = if is_one_sender { sending } else { sending / count + constants.take };
    let limit = if is_one_sender && per_sender > per_receiver {
        format!("the sender's shard: {:.0} % of its time hands messages over", 100.0 * overhead / cost)
    } else {
        format!("the fullest shard's sends; {:.0} % of a shard's time is the other shards'", 100.0 * overhead / cost)
    };
    Capacity { deliveries: 1e6 * MEMBERS / cost, limit }
}

/// Rooms of ten whose members are anywhere, all alike. A broadcast goes to every shard, whether it has members or not.
fn rooms_capacity(constants: &Constants, shards: u32) -> Capacity {
    let others = f64::from(shards - 1);
    // Shards on which at least one of the members is, but for the sender's.
    let crossed = f64::from(shards) * (1.0 - (1.0 - 1.0 / f64::from(shards)).powf(ROOM_MEMBERS)) - 1.0;
    let told = others * (constants.hand_over + constants.take);
    let crossing = crossed.max(0.0) * constants.crossing;
    let total = told + crossing + ROOM_MEMBERS * constants.room_delivery;
    let limit = format!(
        "all shards; {:.0} % of the work is delivering from several of them, {:.0} % telling them all",
        100.0 * crossing / total,
        100.0 * told / total
    );
    Capacity { deliveries: 1e6 * f64::from(shards) * ROOM_MEMBERS / total, limit }
}

fn model(constants: &Constants) -> String {
    let mut out = format!(
        "\n## What more cores bring: a model\n\nA shard per core, constants of this run, us: echo {:.2}, delivery {:.2}, in a room of ten {:.2}, encode {:.3}, \
         hand over {:.3}, take {:.3}, crossing {:.2}. In brackets: times one core. No memory bandwidth, shared caches, network card or clients in it.\n\n\
         | | cores | million deliveries/s | what is saturated |\n|---|--:|--:|---|\n",
        constants.echo,
        constants.delivery,
        constants.room_delivery,
        constants.encode,
        constants.hand_over,
        constants.take,
        constants.crossing
    );
    type Regime<'a> = (&'a str, &'a dyn Fn(u32) -> Capacity);
    let regimes: [Regime<'_>; 4] = [
        ("echo, 10,000 clients", &|shards| echo_capacity(constants, shards)),
        ("one room of 10,000, one sender", &|shards| broadcast_capacity(constants, shards, true)),
        ("one room of 10,000, senders everywhere", &|shards| broadcast_capacity(constants, shards, false)),
        ("rooms of 10", &|shards| rooms_capacity(constants, shards)),
    ];
    for (name, capacity) in regimes {
        let one = capacity(1).deliveries;
        for shards in [1, 2, 8, 32, 128] {
            let Capacity { deliveries, limit } = capacity(shards);
            let limit = if shards == 1 { "the one shard".to_owned() } else { limit };
            out += &format!("| {name} | {shards} | {:.2} ({:.1}) | {limit} |\n", deliveries / 1e6, deliveries / one);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CONSTANTS: Constants = Constants {
        echo: 4.0,
        delivery: 1.0,
        room_delivery: 2.0,
        encode: 0.1,
        hand_over: 0.1,
        take: 0.3,
        crossing: 0.0,
    };

    #[test]
    fn one_core_is_its_own_cost_and_more_never_bring_more_than_they_are() {
        assert!((echo_capacity(&CONSTANTS, 1).deliveries - 250_000.0).abs() < 1.0);
        assert!((rooms_capacity(&CONSTANTS, 1).deliveries - 500_000.0).abs() < 1.0);
        for shards in [2_u32, 8, 128] {
            let times = |capacity: fn(u32) -> Capacity| capacity(shards).deliveries / capacity(1).deliveries;
            assert!(times(|shards| echo_capacity(&CONSTANTS, shards)) < f64::from(shards));
            assert!(times(|shards| rooms_capacity(&CONSTANTS, shards)) < f64::from(shards));
            assert!(times(|shards| broadcast_capacity(&CONSTANTS, shards, true)) < f64::from(shards));
        }
    }

    #[test]
    fn small_rooms_end_at_what_shards_tell_each_other() {
        // However many cores: each message costs the others 0.4 us, so 2.5 million messages of ten are the end.
        let capacity = rooms_capacity(&CONSTANTS, 100_000).deliveries;
        assert!((24e6..25e6).contains(&capacity), "{capacity}");
    }

    #[test]
    fn a_message_crosses_to_no_more_shards_than_it_has_receivers() {
        let with = Constants { crossing: 5.0, take: 0.0, hand_over: 0.0, ..CONSTANTS };
        let per_message = |shards: u32| 1e7 * f64::from(shards) / rooms_capacity(&with, shards).deliveries - 20.0;
        assert!((per_message(1)).abs() < 1e-6);
        assert!((4.9..5.0).contains(&per_message(2)), "{}", per_message(2));
        assert!((44.0..45.0).contains(&per_message(10_000)), "nine others: {}", per_message(10_000));
    }

    #[test]
    fn chance_is_even_with_many_connections_and_uneven_with_few() {
        assert!((expected_imbalance(10_000, 1) - 1.0).abs() < 1e-9);
        assert!((1.0..1.03).contains(&expected_imbalance(10_000, 2)));
        assert!((1.2..1.5).contains(&expected_imbalance(10_000, 128)));
    }
}
