//! Where a measurement leaves what it found: one folder with raw data, table, plots, and what the figures mean nothing without.
//!
//! ```text
//! bench/runs/DATE-NAME/  machine.json   kernel, CPU, commit, command, load before and after
//!                        *.jsonl        every single run, one line each
//!                        table.md, *.svg
//! ```
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of one measurement.
#[derive(Debug)]
pub struct Record {
    folder: PathBuf,
    machine: Map<String, Value>,
}

impl Record {
    /// A fresh folder `OUT/DATE-NAME`, with the machine in it; `details` is what else belongs there.
    ///
    /// # Errors
    /// When the folder exists (raw results are kept: a second run of a name does not mix with the first) or cannot be made.
    pub fn create(out: &Path, name: &str, details: Value) -> io::Result<Self> {
        let folder = out.join(format!("{}-{name}", output_of("date", &["+%Y-%m-%d"])?));
        fs::create_dir_all(out)?;
        fs::create_dir(&folder).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}; choose another --name", folder.display()))
        })?;
        let mut record = Self { folder, machine: machine()? };
        if let Value::Object(details) = details {
            record.machine.extend(details);
        }
        record.write_machine()?;
        Ok(record)
    }

    /// A file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Appends one line of JSON to `file`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&self, file: &str, line: &impl Serialize) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(file))?;
        writeln!(file, "{}", serde_json::to_string(line).map_err(io::Error::other)?)
    }

    /// A file that servers print to, behind a line that says who does.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn log(&self, who: &str) -> io::Result<File> {
        let mut log = OpenOptions::new().create(true).append(true).open(self.path("servers.log"))?;
        writeln!(log, "== {who}")?;
        Ok(log)
    }

    /// Writes a plot.
    ///
    /// # Errors
    /// When it cannot be drawn or written.
    pub fn plot(&self, file: &str, plot: &crate::plot::Plot<'_>) -> io::Result<()> {
        fs::write(self.path(file), plot.svg().map_err(io::Error::other)?)
    }

    /// Writes the table, with the machine's line behind it, prints it, and notes how busy the machine is at the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, table: &str) -> io::Result<()> {
        self.machine.insert("load_average_after".to_owned(), read("/proc/loadavg").into());
        self.write_machine()?;
        let of = |key: &str| self.machine.get(key).map_or("-".to_owned(), |value| value.to_string().replace('"', ""));
        let table = format!(
            "{table}\n`{}`\n\nCommit {}, kernel {}, {} cores ({}), load average {} before, {} after.\n",
            of("command"),
            of("commit"),
            of("kernel"),
            of("cores"),
            of("cpu"),
            of("load_average"),
            of("load_average_after"),
        );
        fs::write(self.path("table.md"), &table)?;
        println!("\n{table}\n{}", self.folder.display());
        Ok(())
    }

    fn write_machine(&self) -> io::Result<()> {
        let file = File::create(self.path("machine.json"))?;
        serde_json::to_writer_pretty(file, &self.machine).map_err(io::Error::other)
    }
}

/// Where the figures come from: kernel, processor, cores, load, commit, command.
///
/// # Errors
/// When the number of cores is not to be had.
pub fn machine() -> io::Result<Map<String, Value>> {
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let machine = json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": cpu.map(|(_, model)| model.trim()),
        "cores": std::thread::available_parallelism()?.get(),
        "load_average": read("/proc/loadavg"),
        "tcp_congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "commit": output_of("git", &["describe", "--always", "--dirty"]).ok(),
        "command": std::env::args().map(|argument| quoted(&without_checkout(&argument))).collect::<Vec<_>>().join(" "),
    });
    let Value::Object(machine) = machine else { unreachable!("written as an object above") };
    Ok(machine)
}

/// Where this checkout lies says nothing.
#[must_use]
pub fn without_checkout(text: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    text.replace(&format!("{}/", here.display()), "")
}

fn quoted(argument: &str) -> String {
    if argument.contains([' ', '{', '\'']) { format!("'{argument}'") } else { argument.to_owned() }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// What a program prints.
///
/// # Errors
/// When it cannot be started or fails.
pub fn output_of(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{program}: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A program built beside this one.
///
/// # Errors
/// When it is not there.
pub fn sibling(name: &str) -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("{name} is not built beside this program; see bench/README.md"),
    ))
}
