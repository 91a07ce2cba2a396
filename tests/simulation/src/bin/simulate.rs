//! Plays simulated stories; `--help` says how.

fn main() -> std::process::ExitCode {
    ringio_simulation::command_line::run()
}
