//! The client path on other I/O: `loadtest-io mio|uring|epoll URL CLIENTS RATE SECONDS TICK_US`.
//!
//! `mio` is the load generator as it is. `uring` and `epoll` are monoio's drivers under the same protocol, schedule and
//! checks: one task per client that reads, one that sends what is due at every tick, no more than the measurement
//! needs. Prints one line: CPU per message of the thread that does the work, and latency from when messages were due.

use monoio::io::{AsyncReadRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;
use ringio_loadtest::block::{self, Found, Stamp};
use ringio_loadtest::clock::{now_ns, thread_cpu_ns};
use ringio_loadtest::engine::stats::{histogram, record_ns};
use ringio_loadtest::plan::{Phase, Plan};
use ringio_loadtest::protocol::websocket::Deflater;
use ringio_loadtest::protocol::{Config, Incoming, Role, Session};
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const WARM_UP_MS: u64 = 1_000;

struct Arguments {
    target: Target,
    clients: u32,
    rate: f64,
    seconds: f64,
    tick_us: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [io, url, clients, rate, seconds, tick] = arguments.as_slice() else {
        eprintln!("loadtest-io mio|uring|epoll URL CLIENTS RATE SECONDS TICK_US");
        std::process::exit(2);
    };
    let number = |text: &String| text.parse::<f64>().unwrap_or_else(|_| panic!("{text} is no number"));
    let arguments = Arguments {
        target: Target::resolve(url, PATH_DEFAULT).unwrap_or_else(|error| panic!("{error}")),
        clients: number(clients) as u32,
        rate: number(rate),
        seconds: number(seconds),
        tick_us: number(tick) as u64,
    };
    let (plan, phases) = plan_of(&arguments);
    match io.as_str() {
        "mio" => {
            let outcome = run(plan, &phases, RunOptions { workers: Some(1), ..RunOptions::default() }, &mut Unobserved)
                .unwrap_or_else(|error| panic!("{error}"));
            // Whole seconds within the measured phase.
            let seconds: Vec<_> = outcome.series.iter().filter(|second| second.measured).skip(1).collect();
            let seconds = &seconds[..seconds.len().saturating_sub(2)];
            let cpu_ns: f64 = seconds.iter().map(|second| second.generator_cpu * 1e7).sum();
            let received: u64 = seconds.iter().map(|second| second.received).sum();
            let latency = outcome.total.latency;
            print(io, cpu_ns, received, (latency.p50, latency.p99), outcome.total.received, outcome.total.sent);
        }
        "uring" => {
            let runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build();
            runtime.expect("io_uring is allowed here").block_on(measure(io, arguments, &plan));
        }
        "epoll" => {
            let runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build();
            runtime.expect("epoll is there").block_on(measure(io, arguments, &plan));
        }
        _ => panic!("{io} is not mio, uring or epoll"),
    }
}

fn plan_of(arguments: &Arguments) -> (Plan, Vec<Phase>) {
    let settings = Settings {
        clients: arguments.clients,
        rate: Some(arguments.rate),
        duration_ms: (arguments.seconds * 1e3) as u64,
        warmup_ms: WARM_UP_MS,
        ..Settings::default()
    };
    let (mut plan, phases) =
        plan(Scenario::Echo, &settings, arguments.target.clone()).unwrap_or_else(|error| panic!("{error}"));
    plan.tick_us = arguments.tick_us;
    (plan, phases)
}

fn print(io: &str, cpu_ns: f64, messages: u64, (p50, p99): (f64, f64), received: u64, sent: u64) {
    println!(
        "{io:<6} {:>6.2} us/message  p50 {p50:.3} ms  p99 {p99:.3} ms  {received} of {sent} came back",
        cpu_ns / 1e3 / messages.max(1) as f64
    );
}

struct Client {
    session: Session,
    /// Gone while a write is on its way.
    writer: Option<OwnedWriteHalf<TcpStream>>,
    sequence: u32,
}

struct Shared {
    config: Config,
    deflater: Deflater,
    clients: Vec<Client>,
    ready: u32,
    received: u64,
    epoch_ns: u64,
    measured_from_ns: u64,
    latency: hdrhistogram::Histogram<u64>,
}

async fn measure(io: &str, arguments: Arguments, plan: &Plan) {
    let shared = Rc::new(RefCell::new(Shared {
        config: Config::new(plan),
        deflater: Deflater::default(),
        clients: Vec::new(),
        ready: 0,
        received: 0,
        epoch_ns: now_ns(),
        measured_from_ns: u64::MAX,
        latency: histogram(),
    }));
    for index in 0..arguments.clients {
        let stream = TcpStream::connect(arguments.target.address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a TCP socket has it");
        let (reader, writer) = stream.into_split();
        let session = Session::new(&shared.borrow().config, None);
        shared.borrow_mut().clients.push(Client { session, writer: Some(writer), sequence: 0 });
        flush(&shared, index as usize);
        monoio::spawn(receive(Rc::clone(&shared), index as usize, reader));
    }
    while shared.borrow().ready < arguments.clients {
        monoio::time::sleep(Duration::from_millis(10)).await;
    }
    let interval_ns = 1e9 / arguments.rate;
    let start_ns = now_ns() - shared.borrow().epoch_ns;
    let measured_ns = start_ns + WARM_UP_MS * 1_000_000;
    let end_ns = measured_ns + (arguments.seconds * 1e9) as u64;
    shared.borrow_mut().measured_from_ns = measured_ns;
    let (mut due, mut next, mut sent) = (start_ns as f64, 0, 0);
    let mut window = None;
    let mut ticker = monoio::time::interval(Duration::from_micros(arguments.tick_us.max(1)));
    let mut messages = Vec::new();
    while (due as u64) < end_ns {
        ticker.tick().await;
        let now = now_ns() - shared.borrow().epoch_ns;
        if now >= measured_ns && window.is_none() {
            window = Some((thread_cpu_ns(), shared.borrow().received));
        }
        while due <= now as f64 && (due as u64) < end_ns {
            let client = next % arguments.clients as usize;
            next += 1;
            sent += u64::from(due as u64 >= measured_ns);
            send(&shared, client, (due as u64).next_multiple_of(arguments.tick_us.max(1) * 1_000).min(now), &mut messages);
            due += interval_ns;
        }
        for client in messages.drain(..) {
            flush(&shared, client);
        }
    }
    let (cpu_ns, received) = window.unwrap_or_default();
    let (cpu_ns, messages) = (thread_cpu_ns() - cpu_ns, shared.borrow().received - received);
    monoio::time::sleep(Duration::from_millis(500)).await;
    let shared = shared.borrow();
    let at = |quantile| shared.latency.value_at_quantile(quantile) as f64 / 1e3;
    print(io, cpu_ns as f64, messages, (at(0.5), at(0.99)), shared.latency.len(), sent);
    // Tasks that wait for sockets need not be asked to end.
    std::process::exit(0);
}

fn send(shared: &Rc<RefCell<Shared>>, index: usize, due_ns: u64, dirty: &mut Vec<usize>) {
    let Shared { clients, config, deflater, .. } = &mut *shared.borrow_mut();
    let client = &mut clients[index];
    let stamp = Stamp { sender: index as u32, action: 0, sequence: client.sequence, due_ns };
    client.sequence += 1;
    let mut packet = b"2[\"echo\",\"".to_vec();
    block::encode(&mut packet, stamp, 64);
    packet.extend_from_slice(b"\"]");
    client.session.send(&packet, None, config, deflater);
    dirty.push(index);
}

/// Starts to write what is in the outbox, unless that is under way already.
fn flush(shared: &Rc<RefCell<Shared>>, index: usize) {
    let client = &mut shared.borrow_mut().clients[index];
    if client.session.outbox(Role::WebSocket).is_empty() {
        return;
    }
    let Some(mut writer) = client.writer.take() else { return };
    let shared = Rc::clone(shared);
    monoio::spawn(async move {
        loop {
            let bytes = std::mem::take(shared.borrow_mut().clients[index].session.outbox(Role::WebSocket));
            if bytes.is_empty() {
                break;
            }
            let (result, _) = writer.write_all(bytes).await;
            result.expect("the server reads");
        }
        shared.borrow_mut().clients[index].writer = Some(writer);
    });
}

async fn receive(shared: Rc<RefCell<Shared>>, index: usize, mut reader: OwnedReadHalf<TcpStream>) {
    let mut buffer = vec![0u8; 4096];
    loop {
        let (result, returned) = reader.read(buffer).await;
        buffer = returned;
        let count = result.expect("the server writes");
        if count == 0 {
            return;
        }
        {
            let shared = &mut *shared.borrow_mut();
            let Shared { clients, config, deflater, ready, received, epoch_ns, measured_from_ns, latency } = shared;
            let now = now_ns() - *epoch_ns;
            let handled = clients[index].session.handle(
                Role::WebSocket,
                &buffer[..count],
                config,
                deflater,
                &mut |incoming| match incoming {
                    Incoming::Joined => *ready += 1,
                    Incoming::Packet { text, .. } => {
                        let Found::Block { stamp, .. } = block::find(text.as_bytes()) else { panic!("{text}") };
                        assert_eq!(stamp.sender as usize, index);
                        *received += 1;
                        if stamp.due_ns >= *measured_from_ns {
                            record_ns(latency, now.saturating_sub(stamp.due_ns));
                        }
                    }
                    Incoming::Heartbeat => {}
                },
            );
            handled.unwrap_or_else(|failure| panic!("{failure}"));
        }
        flush(&shared, index);
    }
}
