//! Counts the instructions of every hot path under callgrind, and compares them with the table in the repository.
//!
//! Instructions do not depend on what else the machine does and hardly on which machine it is, so a table of them
//! can be checked by CI, which a table of times cannot.
#![forbid(unsafe_code)]

use clap::Parser;
use ringio_bench::hot::{self, HotPath};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{fs, io};

/// Counts instructions of the hot paths.
#[derive(Parser)]
#[command(name = "instructions", version)]
struct Options {
    /// Compares with this table; exit code 1 if a path takes more, or so much less that the table is out of date.
    #[arg(long, conflicts_with = "write")]
    check: Option<PathBuf>,
    /// Writes the table.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Only paths whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Runs one path, under callgrind.
    #[arg(long, hide = true)]
    run: Option<String>,
}

/// More than this is a regression, less by this asks for a new table. Compilers move single instructions about.
const TOLERANCE: f64 = 0.05;
/// Very short paths are off by more than that for one instruction.
const TOLERANCE_INSTRUCTIONS: f64 = 8.0;
/// Calls measured; before them as many warm up caches and pools.
const CALLS: u32 = 20;

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(name) = &options.run {
        let Some(path) = hot::find(name) else { return ExitCode::from(2) };
        let mut unit = (path.make)();
        for _ in 0..CALLS {
            black_box(unit());
        }
        measured(&mut *unit);
        return ExitCode::SUCCESS;
    }
    match compare(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::from(2)
        }
    }
}

/// What callgrind collects, told by the name of this function.
#[inline(never)]
fn measured(unit: &mut dyn FnMut() -> u64) {
    for _ in 0..CALLS {
        black_box(unit());
    }
}

fn compare(options: &Options) -> io::Result<bool> {
    let file = options.check.as_ref().map(fs::read_to_string).transpose()?.unwrap_or_default();
    let known = read(&file);
    let mut table = String::from(
        "# Instructions of one call of each hot path (bench/src/hot), release build, counted by callgrind.\n# make instructions-table writes it anew.\n",
    );
    let (mut passed, mut failed) = (0, 0);
    for path in hot::paths().filter(|path| path.name.contains(&options.only)) {
        let count = count(path)?;
        table += &format!("{}\t{count:.0}\n", path.name);
        let each = count / f64::from(path.units);
        let verdict = if options.check.is_some() { judge(count, known.get(path.name).copied()) } else { None };
        match &verdict {
            None => passed += 1,
            Some(_) => failed += 1,
        }
        println!("{:<58} {count:>12.0} {each:>10.1} each  {}", path.name, verdict.unwrap_or_default());
    }
    if let Some(file) = &options.write {
        fs::write(file, table)?;
    }
    if options.check.is_some() {
        println!("instructions: {passed} passed, {failed} failed");
    }
    Ok(failed == 0)
}

/// What is wrong with a count, if anything is.
fn judge(count: f64, known: Option<f64>) -> Option<String> {
    let Some(known) = known else { return Some("NOT IN THE TABLE".to_owned()) };
    let (difference, allowed) = (count - known, (known * TOLERANCE).max(TOLERANCE_INSTRUCTIONS));
    if difference > allowed {
        return Some(format!("REGRESSION: {known:.0} before"));
    }
    (difference < -2.0 * allowed).then(|| format!("BETTER than the table: {known:.0} before; write it anew"))
}

fn read(table: &str) -> BTreeMap<&str, f64> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
        .collect()
}

/// Instructions of one call.
fn count(path: &HotPath) -> io::Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*instructions*measured*")
        .arg(std::env::current_exe()?)
        .args(["--run", path.name])
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("valgrind: {error}; apt-get install valgrind")))?;
    let text = String::from_utf8_lossy(&output.stderr);
    collected(&text)
        .filter(|count| *count > 0.0)
        .map(|count| count / f64::from(CALLS))
        .ok_or_else(|| io::Error::other(format!("{}: callgrind counted nothing:\n{text}", path.name)))
}

fn collected(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn more_instructions_fail_and_far_fewer_too() {
        assert_eq!(judge(1_000.0, Some(1_000.0)), None);
        assert_eq!(judge(1_049.0, Some(1_000.0)), None);
        assert!(judge(1_051.0, Some(1_000.0)).unwrap().starts_with("REGRESSION"));
        assert!(judge(890.0, Some(1_000.0)).unwrap().starts_with("BETTER"));
        assert!(judge(1.0, None).is_some());
        assert_eq!(judge(17.0, Some(10.0)), None, "short paths are counted to a few instructions");
    }

    #[test]
    fn callgrinds_sum_is_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 12345\n"), Some(12345.0));
        assert_eq!(collected("nothing"), None);
    }

    #[test]
    fn the_table_is_read_back() {
        assert_eq!(read("# words\na: b\t12\n").get("a: b"), Some(&12.0));
    }
}
