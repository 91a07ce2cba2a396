//! Slowness by slowhttptest, the tool that everybody has: slow heads, slow bodies, slow reading.

use super::Attack;
use crate::line::{POLLING, open_polling};
use crate::scene::{Bound, Scene};
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("slowhttptest: slow heads", "slowloris", heads).slow().on_the_whole_board(),
    Attack::new("slowhttptest: slow bodies", "R-U-Dead-Yet", bodies).slow().on_the_whole_board(),
    Attack::new("slowhttptest: slow reading", "slow read", reading).slow().on_the_whole_board(),
];

/// Connections that a tool opens, and a second's worth of them.
const CONNECTIONS: &str = "500";
const PER_SECOND: &str = "250";

/// Slow bodies at a time. A session takes one, so each has a session and a tool of its own.
const BODIES: usize = 20;

/// Seconds that a tool goes on, if the server does not end its connections before.
const SECONDS: &str = "40";

fn heads(scene: &mut Scene<'_>) -> io::Result<()> {
    let tool = start(scene, POLLING, CONNECTIONS, &["-H", "-i", "2", "-x", "24"])?;
    watch(scene, vec![tool], true)
}

fn bodies(scene: &mut Scene<'_>) -> io::Result<()> {
    let mut tools = Vec::new();
    for _ in 0..BODIES {
        let target = open_polling(&mut scene.connect()?)?;
        let mode = ["-B", "-i", "2", "-s", "8192", "-x", "10", "-f", "text/plain;charset=UTF-8"];
        tools.push(start(scene, &target, "1", &mode)?);
    }
    // The tool probes with a GET of the same target. That is a poll, which waits: here only neighbours tell who is served.
    watch(scene, tools, false)
}

fn reading(scene: &mut Scene<'_>) -> io::Result<()> {
    let tool = start(scene, POLLING, CONNECTIONS, &["-X", "-w", "1", "-y", "1", "-n", "2", "-z", "1", "-k", "3"])?;
    watch(scene, vec![tool], true)
}

fn start(scene: &Scene<'_>, target: &str, connections: &str, mode: &[&str]) -> io::Result<Child> {
    let url = format!("http://{}{target}", scene.address);
    let tool = Command::new("slowhttptest")
        .args(mode)
        .args(["-c", connections, "-r", PER_SECOND, "-l", SECONDS, "-p", "3", "-u", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    tool.map_err(|error| io::Error::new(error.kind(), format!("slowhttptest: {error}")))
}

/// Waits for the ends of all tools and adds up what they say.
fn watch(scene: &mut Scene<'_>, mut tools: Vec<Child>, has_probes: bool) -> io::Result<()> {
    while tools.iter_mut().any(|tool| !matches!(tool.try_wait(), Ok(Some(_)) | Err(_))) {
        scene.hold(Bound { bytes: 16 << 20, per_byte: 0 });
        std::thread::sleep(Duration::from_millis(250));
    }
    let mut told = Told::default();
    for tool in tools {
        told.add(&io::read_to_string(tool.stdout.ok_or(io::ErrorKind::BrokenPipe)?)?);
    }
    scene.note(format!("connected: {}, closed: {}, error: {}", told.connected, told.closed, told.errors));
    if told.connected == 0 {
        scene.stops("no connection was held");
    }
    if has_probes {
        let answered = told.probes.iter().filter(|probe| *probe == "YES").count();
        scene.note(format!("probes answered: {answered} of {}", told.probes.len()));
        match told.probes.last() {
            Some(probe) => scene.must(probe == "YES", "the tool's own probes are not answered"),
            None => scene.stops("the tool told nothing of its probes"),
        }
    }
    Ok(())
}

/// How a tool says that the server has ended all connections.
const ALL_CLOSED: &str = "No open connections left";

/// What tools said. They print a table every five seconds: `connected: 500`, and whether the service was reachable for their probes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Most connections at a time.
    connected: u64,
    /// Connections that the server had closed in the last table.
    closed: u64,
    /// Connections that failed.
    errors: u64,
    /// What the probes of each table found.
    probes: Vec<String>,
}

impl Told {
    /// Adds the tables of another tool.
    fn add(&mut self, out: &str) {
        let lines: Vec<String> = out.lines().map(strip).collect();
        let values = |field: &str| -> Vec<String> {
            let rests = lines.iter().filter_map(|line| line.strip_prefix(field)?.trim_start().strip_prefix(':'));
            rests.map(|rest| rest.trim().to_owned()).collect()
        };
        let counts =
            |field: &str| -> Vec<u64> { values(field).iter().filter_map(|value| value.parse().ok()).collect() };
        let errors = counts("error").last().copied().unwrap_or(0);
        let mut connected = counts("connected").into_iter().max().unwrap_or(0);
        let mut closed = counts("closed").last().copied().unwrap_or(0);
        // Its first table may come before its connections, and none comes behind the end of the last one.
        if errors == 0 && lines.iter().any(|line| line.ends_with(ALL_CLOSED)) {
            connected = connected.max(counts("pending").into_iter().max().unwrap_or(0));
            closed = closed.max(connected);
        }
        self.connected += connected;
        self.closed += closed;
        self.errors += errors;
        self.probes.extend(values("service available"));
    }
}

/// A line without the tool's colours.
fn strip(line: &str) -> String {
    let mut plain = String::new();
    let mut parts = line.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    parts.for_each(|part| plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest)));
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it prints them, colours included; when its last connection has gone there is no further table.
    const TABLES: &str = "\u{1b}[1;32mslow HTTP test status on \u{1b}[1;32m0\u{1b}[1;32mth second:\n\n\
         initializing:        0\npending:             1\nconnected:           3\nerror:               0\nclosed:              0\n\
         service available:   \u{1b}[1;32mYES\u{1b}[0m\n\nconnected:           1\nerror:               2\n\
         closed:              7\nservice available:   \u{1b}[1;31mNO\u{1b}[0m\n";

    #[test]
    fn tables_of_the_tools_are_added_up() {
        let mut told = Told::default();
        told.add("nothing of the kind");
        assert_eq!(told, Told::default());
        told.add(TABLES);
        told.add(TABLES);
        let probes = ["YES", "NO", "YES", "NO"].map(str::to_owned).to_vec();
        assert_eq!(told, Told { connected: 6, closed: 14, errors: 4, probes });
    }

    /// As on a machine with nothing else to do: the table of the start, and the end five seconds later at the latest.
    #[test]
    fn connections_that_no_table_has_seen_are_told_by_the_end() {
        let start = "initializing:        0\npending:             1\nconnected:           0\nerror:               0\nclosed:              0\n";
        let (mut told, mut silent) = (Told::default(), Told::default());
        told.add(&format!(
            "{start}Test ended on 3th second\nExit status: \u{1b}[1;33mNo open connections left\u{1b}[0m\n"
        ));
        assert_eq!(told, Told { connected: 1, closed: 1, ..Told::default() });
        silent.add(start);
        assert_eq!(silent, Told::default());
    }
}
