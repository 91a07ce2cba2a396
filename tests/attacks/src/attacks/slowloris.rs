//! Slowness by slowhttptest, the tool that everybody has: slow heads, slow bodies, slow reading.

use super::Attack;
use crate::line::POLLING;
use crate::scene::{Bound, Scene};
use std::io;
use std::process::{Command, Stdio};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("slowhttptest: slow heads", "slowloris", |scene| run(scene, &["-H", "-i", "2", "-x", "24"]))
        .slow()
        .on_the_whole_board(),
    Attack::new("slowhttptest: slow bodies", "R-U-Dead-Yet", |scene| {
        run(scene, &["-B", "-i", "2", "-s", "8192", "-x", "10"])
    })
    .slow()
    .on_the_whole_board(),
    Attack::new("slowhttptest: slow reading", "slow read", |scene| {
        run(scene, &["-X", "-w", "1", "-y", "1", "-n", "2", "-z", "1", "-k", "3"])
    })
    .slow()
    .on_the_whole_board(),
];

/// Connections that the tool opens, a second's worth of them, and seconds that it goes on.
const CONNECTIONS: &str = "500";
const PER_SECOND: &str = "250";
const SECONDS: &str = "40";

fn run(scene: &mut Scene<'_>, mode: &[&str]) -> io::Result<()> {
    let url = format!("http://{}{POLLING}", scene.address);
    let tool = Command::new("slowhttptest")
        .args(mode)
        .args(["-c", CONNECTIONS, "-r", PER_SECOND, "-l", SECONDS, "-p", "3", "-u", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut tool = tool.map_err(|error| io::Error::new(error.kind(), format!("slowhttptest: {error}")))?;
    while tool.try_wait()?.is_none() {
        scene.hold(Bound { bytes: 16 << 20, per_byte: 0 });
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    let out = io::read_to_string(tool.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?)?;
    // Its last table: "closed: 500", and whether the service was reachable for its own probes.
    let fields = ["pending", "connected", "error", "closed", "service available"];
    for field in fields {
        let last = out.lines().rev().find_map(|line| {
            strip(line).strip_prefix(field).map(|rest| rest.trim_start_matches([':', ' ']).trim().to_owned())
        });
        if let Some(value) = last {
            scene.note(format!("{field}: {value}"));
            scene.must(field != "service available" || value == "YES", "the tool's own probes are not answered");
        }
    }
    Ok(())
}

/// A line without the tool's colours.
fn strip(line: &str) -> String {
    let mut plain = String::new();
    let mut parts = line.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    parts.for_each(|part| plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest)));
    plain.trim().to_owned()
}
