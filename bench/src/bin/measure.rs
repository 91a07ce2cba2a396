//! Measures servers in interleaved rounds; see `ringio_bench::measure` and `measure --help`.
use clap::Parser;
use ringio_bench::measure::{
    self,
    options::{Options, ROWS},
};
use std::process::ExitCode;

fn main() -> ExitCode {
    // `--list` needs no name: it is looked for before the rest is required.
    if std::env::args().any(|argument| argument == "--list") {
        for row in ROWS {
            let program = row.driver.program();
            println!("{:<22} {:<18} {:<10} {program} {}", row.name, row.unit.text(), row.needs, row.arguments);
        }
        return ExitCode::SUCCESS;
    }
    // So does `--redraw FOLDER`, which measures nothing.
    if let [_, option, folder] = &std::env::args().collect::<Vec<_>>()[..]
        && option == "--redraw"
    {
        return match measure::redraw(folder.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("measure: {folder}: {error}");
                ExitCode::from(2)
            }
        };
    }
    match measure::run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("measure: at least one run lost, repeated, reordered or changed messages");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::from(2)
        }
    }
}
