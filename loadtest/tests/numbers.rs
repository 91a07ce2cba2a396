//! Numbers on the command line that no run can have.
#![allow(clippy::unwrap_used)]

mod servers;

use servers::{program, scratch, start_faulty};
use std::process::Command;

/// Numbers that no run can have are refused with what they may be, and without a panic.
#[test]
fn numbers_out_of_bounds_are_refused_in_a_sentence() {
    let file = scratch("numbers.toml");
    std::fs::write(&file, "[[phase]]\nduration = \"1s\"\n").unwrap();
    let url = "http://127.0.0.1:1";
    let rate = "a rate is 0 to 10,000,000 per second";
    for (arguments, argument, words) in [
        (["run", "echo", url, "--clients", "0"], "--clients", "1..="),
        (["run", &file, url, "--clients", "0"], "--clients", "1..="),
        (["run", "echo", url, "--workers", "0"], "--workers", "1..="),
        (["run", "rooms", url, "--room-size", "0"], "--room-size", "1..="),
        (["run", "echo", url, "--rate", "-1"], "--rate", rate),
        (["run", "echo", url, "--rate", "NaN"], "--rate", rate),
        (["run", "echo", url, "--rate", "1e300"], "--rate", rate),
        (["run", "echo", url, "--duration", "-1"], "--duration", "a time is 0.001 to 200,000 seconds"),
        (["run", "echo", url, "--duration", "NaN"], "--duration", "a time is 0.001 to 200,000 seconds"),
        (["run", "echo", url, "--warmup", "-1"], "--warmup", "a time is 0 to 200,000 seconds"),
        (["run", "storm", url, "--share", "5"], "--share", "a share is 0 to 1"),
        (["run", "echo", url, "--size", "16777216"], "--size", "a size is 45"),
        (["run", "echo", url, "--size", "3"], "--size", "a size is 45"),
        (["run", "echo", url, "--connect-rate", "0"], "--connect-rate", "a rate of connections is"),
        (["run", "echo", url, "--connect-timeout", "inf"], "--connect-timeout", "a time is"),
        (["limit", url, "--quiet", "--max-clients", "0"], "--max-clients", "1..="),
        (["limit", url, "--quiet", "--start", "0"], "--start", "1..="),
        (["limit", url, "--quiet", "--p99", "-5"], "--p99", "a latency is"),
        (["limit", url, "--quiet", "--p99", "NaN"], "--p99", "a latency is"),
        (["limit", url, "--quiet", "--step", "0"], "--step", "a step takes 1 to"),
        (["limit", url, "--quiet", "--rate-per-client", "-1"], "--rate-per-client", rate),
    ] {
        let output = Command::new(program()).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(argument) && text.contains(words), "{arguments:?}: {text}");
    }
    // It is looked up once the address is known to work.
    let server = start_faulty("none");
    let output = Command::new(program()).args(["run", "churn", &server.url, "--rate", "0"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("--rate must be above 0"), "{text}");
}
