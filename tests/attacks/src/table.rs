//! The table in `README.md`: a row per attack, a column per server.

use crate::attacks::Attack;
use crate::board::Report;
use crate::scene::Finding;
use crate::server::Target;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

const BEGIN: &str = "<!-- the table: written by `make attacks` -->\n";
const END: &str = "<!-- the end of the table -->\n";

/// Writes the table between its marks in `page`, `note` below it. It may be written again when there are more reports.
pub fn write(page: &Path, attacks: &[&Attack], targets: &[Target], reports: &[Report], note: &str) -> io::Result<()> {
    let text = fs::read_to_string(page)?;
    let (Some((head, _)), Some((_, tail))) = (text.split_once(BEGIN), text.split_once(END)) else {
        return Err(io::Error::other(format!("{} has not the marks of a table", page.display())));
    };
    // Whole or not at all: whoever ends the board meanwhile finds a page.
    let whole = page.with_extension("unfinished");
    fs::write(&whole, format!("{head}{BEGIN}{}\n{note}\n{END}{tail}", table(attacks, targets, reports)))?;
    fs::rename(whole, page)
}

fn table(attacks: &[&Attack], targets: &[Target], reports: &[Report]) -> String {
    let mut table = String::from("| attack | class |");
    targets.iter().for_each(|target| _ = write!(table, " {} |", target.name()));
    table.push_str("\n|---|---|");
    table.push_str(&"---|".repeat(targets.len()));
    table.push('\n');
    for attack in attacks {
        let _ = write!(table, "| {} | {} |", attack.name, attack.class);
        for target in targets {
            let report = reports.iter().find(|report| report.attack == attack.name && report.target == *target);
            let _ = write!(table, " {} |", report.map_or("-".to_owned(), cell));
        }
        table.push('\n');
    }
    table
}

fn cell(report: &Report) -> String {
    let mut parts = vec![if report.outcome.is_empty() { "survived".to_owned() } else { report.outcome.clone() }];
    for finding in &report.findings {
        if let Finding::Harm(text) = finding {
            parts.push(format!("**{text}**"));
        }
    }
    // Amplification of a few bytes is noise divided by little.
    if report.sent >= 64 << 10 {
        let kilobytes = report.sent as f64 / 1024.0;
        let held = report.held as f64 / report.sent as f64;
        parts.push(format!("{:.1} us/KiB, {held:.2} B/B", report.cpu.as_micros() as f64 / kilobytes));
    } else {
        parts.push(format!("{} B sent, {} us", report.sent, report.cpu.as_micros()));
    }
    parts.join("; ").replace('|', "\\|").replace('\n', " ")
}
