//! Measures how costs grow with numbers; see `ringio_bench::growth` and `growth --help`.
#![forbid(unsafe_code)]

use clap::Parser;
use ringio_bench::growth::{Options, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("growth: {error}");
            ExitCode::from(2)
        }
    }
}
