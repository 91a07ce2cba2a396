//! The program `ringio-loadtest`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringio_loadtest::cli::main()
}
