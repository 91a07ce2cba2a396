//! Instructions of a piece of work, counted by callgrind in a second run of the calling program.
//!
//! The program starts itself under valgrind with arguments that make it call `measured` once; only what happens within that counts.
use std::hint::black_box;
use std::io;
use std::process::Command;

/// Calls that are counted; before them as many warm up caches and pools.
pub const CALLS: u32 = 20;

/// Runs `unit` as callgrind is to see it.
pub fn run(unit: &mut dyn FnMut() -> u64) {
    for _ in 0..CALLS {
        black_box(unit());
    }
    measured(unit);
}

/// What callgrind collects, told by the name of this function.
#[inline(never)]
fn measured(unit: &mut dyn FnMut() -> u64) {
    for _ in 0..CALLS {
        black_box(unit());
    }
}

/// Instructions of one call, when this program is run with `arguments`.
///
/// # Errors
/// When valgrind is missing, or nothing was counted.
pub fn count(arguments: &[&str]) -> io::Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*callgrind*measured*")
        .arg(std::env::current_exe()?)
        .args(arguments)
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("valgrind: {error}; apt-get install valgrind")))?;
    let text = String::from_utf8_lossy(&output.stderr);
    collected(&text)
        .filter(|count| *count > 0.0)
        .map(|count| count / f64::from(CALLS))
        .ok_or_else(|| io::Error::other(format!("{}: callgrind counted nothing:\n{text}", arguments.join(" "))))
}

fn collected(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_sum_is_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 12345\n"), Some(12345.0));
        assert_eq!(collected("nothing"), None);
    }
}
