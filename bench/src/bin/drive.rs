//! Loads one server with one scenario; see `ringio_bench::drive` and `drive --help`.
use clap::Parser;
use ringio_bench::drive::{self, options::Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    let report = match drive::run(&options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("drive: {error}");
            return ExitCode::from(2);
        }
    };
    println!("{}", report.line());
    if let Some(path) = &options.json {
        let written = serde_json::to_vec_pretty(&report)
            .map_err(std::io::Error::other)
            .and_then(|json| std::fs::write(path, json));
        if let Err(error) = written {
            eprintln!("drive: cannot write {}: {error}", path.display());
            return ExitCode::from(2);
        }
    }
    if report.faults.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
