//! Counts the instructions of every hot path under callgrind, and compares them with the table in the repository.
//!
//! Instructions do not depend on what else the machine does and hardly on which machine it is, so a table of them
//! can be checked by CI, which a table of times cannot.
#![forbid(unsafe_code)]

use clap::Parser;
use ringio_bench::{callgrind, hot};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
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

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(name) = &options.run {
        let Some(path) = hot::find(name) else { return ExitCode::from(2) };
        let mut unit = (path.make)();
        callgrind::run(&mut *unit);
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

fn compare(options: &Options) -> io::Result<bool> {
    let file = options.check.as_ref().map(fs::read_to_string).transpose()?.unwrap_or_default();
    let known = read(&file);
    let mut table = String::from(
        "# Instructions of one call of each hot path (bench/src/hot), release build, counted by callgrind.\n# make instructions-table writes it anew.\n",
    );
    let (mut passed, mut failed) = (0, 0);
    for path in hot::paths().filter(|path| path.name.contains(&options.only)) {
        let count = callgrind::count(&["--run", path.name])?;
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
    fn the_table_is_read_back() {
        assert_eq!(read("# words\na: b\t12\n").get("a: b"), Some(&12.0));
    }
}
