//! Workers in processes of their own: more open files than one process may have, and none that waits for another's lock.
//!
//! ```text
//! conductor --Command--> a thread --line of JSON--> stdin  | ringio-loadtest worker
//! conductor <--Report--- a thread <--line of JSON-- stdout | one worker, as if in a thread
//! ```
//!
//! The conductor does not see a difference. Times need no translation: all processes of a machine share the clock. When
//! the conductor is gone, so is the pipe, and the worker ends.

use super::mailbox::Mailbox;
use super::{Command, Report, Share, work};
use crate::failure::{Class, Failure};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The command of the program that is such a process.
pub const SUBCOMMAND: &str = "worker";

/// The first line.
#[derive(Serialize, Deserialize)]
struct Start {
    plan: Plan,
    share: Share,
    epoch_ns: u64,
}

/// Starts `program` as a worker.
///
/// # Errors
/// A sentence for the operator.
pub fn spawn(program: &Path, plan: &Plan, share: Share, epoch_ns: u64) -> Result<Remote, String> {
    let mut child = std::process::Command::new(program)
        .arg(SUBCOMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("a worker process cannot be started ({}): {error}", program.display()))?;
    let start = Start { plan: plan.clone(), share, epoch_ns };
    let written = child.stdin.as_mut().map_or(Ok(()), |stdin| write_line(stdin, &start));
    written.map_err(|error| format!("a worker process cannot be reached: {error}"))?;
    Ok(Remote { child })
}

/// A started process.
#[derive(Debug)]
pub struct Remote {
    child: Child,
}

impl Remote {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Passes commands and reports on until the process ends or `commands` do.
    pub fn relay(mut self, commands: Receiver<Command>, reports: &Sender<Report>) {
        let (stdin, stdout) = (self.child.stdin.take(), self.child.stdout.take());
        let writer = std::thread::spawn(move || {
            let Some(mut stdin) = stdin else { return };
            for command in commands {
                // A process that is gone is noticed by whoever reads.
                if write_line(&mut stdin, &command).is_err() {
                    return;
                }
            }
        });
        let mut has_ended = false;
        for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
            let Some(report) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            has_ended = matches!(report, Report::Done(_) | Report::Broken(_));
            if reports.send(report).is_err() {
                break;
            }
        }
        if !has_ended {
            let _ = self.child.kill();
        }
        let status = self.child.wait();
        if !has_ended {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let text = format!("a worker process ended before its time ({status}); what it had counted is missing");
            let _ = reports.send(Report::Broken(Failure::new(Class::Exhausted, text)));
        }
        // It ends with the conductor's side of `commands`.
        let _ = writer.join();
    }
}

/// What the process does: one worker, between standard input and output.
///
/// # Errors
/// A sentence when it was not started by a conductor.
pub fn serve() -> Result<(), String> {
    let mut lines = BufReader::new(io::stdin()).lines();
    let first = lines.next().and_then(Result::ok).unwrap_or_default();
    let start: Start = serde_json::from_str(&first)
        .map_err(|_| format!("`{SUBCOMMAND}` is for other processes of this program (--processes)"))?;
    let (mailbox, inbox) = Mailbox::new().map_err(|failure| failure.to_string())?;
    let (reports, report_receiver) = channel::<Report>();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let command = serde_json::from_str(&line).ok();
            if command.is_none_or(|command| !mailbox.send(command)) {
                return;
            }
        }
    });
    let writer = std::thread::spawn(move || {
        let mut out = BufWriter::new(io::stdout());
        // Without a reader the receiver is dropped, and the worker ends.
        for report in report_receiver {
            if write_line(&mut out, &report).is_err() {
                return;
            }
        }
    });
    work(&start.plan, start.share, start.epoch_ns, inbox, &reports);
    drop(reports);
    // A panic of that thread has been printed.
    let _ = writer.join();
    Ok(())
}

fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}
