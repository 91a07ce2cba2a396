//! Measures several shards and models more; see `ringio_bench::cores` and `cores --help`.
#![forbid(unsafe_code)]

use clap::Parser;
use ringio_bench::cores::{Options, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cores: {error}");
            ExitCode::from(2)
        }
    }
}
