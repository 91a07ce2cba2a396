//! The table in `README.md`: a row per attack, a column per server.

use crate::attacks::{Attack, BOARD};
use crate::board::Report;
use crate::scene::Finding;
use crate::server::Target;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

const BEGIN: &str = "<!-- the table: written by `make attacks` -->\n";
const END: &str = "<!-- the end of the table -->\n";

/// Characters that are shown of the first reply that was not as stated.
const DIFFERENCE_SHOWN: usize = 80;

/// Of these attacks on these targets: the cells that are written anew, and what stands below the table about their run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Attacks that are played.
    pub attacks: &'a [&'a Attack],
    /// On whom.
    pub targets: &'a [Target],
    /// What is known by now.
    pub reports: &'a [Report],
    /// When, where and how.
    pub note: &'a str,
}

/// Writes the cells of this run into the table between its marks in `page`, and the note below it; cells of others stay as they are. It
/// may be written again when there are more reports.
pub fn write(page: &Path, run: Run<'_>) -> io::Result<()> {
    let text = fs::read_to_string(page)?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?)));
    let Some((head, (old, tail))) = parts else {
        return Err(io::Error::other(format!("{} has not the marks of a table", page.display())));
    };
    // Whole or not at all: whoever ends the board meanwhile finds a page.
    let whole = page.with_extension("unfinished");
    fs::write(&whole, format!("{head}{BEGIN}{}\n{}{END}{tail}", table(old, run), notes(old, run)))?;
    fs::rename(whole, page)
}

/// The cells of a row.
fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.trim_start_matches("| ").trim_end_matches(" |").split(" | ")
}

fn table(old: &str, run: Run<'_>) -> String {
    let mut table = String::from("| attack | class |");
    Target::ALL.iter().for_each(|target| _ = write!(table, " {} |", target.name()));
    table.push_str("\n|---|---|");
    table.push_str(&"---|".repeat(Target::ALL.len()));
    table.push('\n');
    let columns: Vec<&str> = old.lines().next().map_or(Vec::new(), |row| cells(row).collect());
    for attack in BOARD.iter().copied().flatten() {
        let row = old.lines().find(|row| cells(row).next() == Some(attack.name));
        let _ = write!(table, "| {} | {} |", attack.name, attack.class);
        for target in Target::ALL {
            let is_played = run.targets.contains(&target) && run.attacks.iter().any(|one| one.name == attack.name);
            let report = run.reports.iter().find(|report| report.attack == attack.name && report.target == target);
            let column = columns.iter().position(|column| *column == target.name()).filter(|_| !is_played);
            let kept = row.zip(column).and_then(|(row, column)| cells(row).nth(column));
            let _ = write!(table, " {} |", report.map_or_else(|| kept.unwrap_or("-").to_owned(), cell));
        }
        table.push('\n');
    }
    table
}

/// A line for each run of which cells are left: one whose attacks and targets this one has played all is forgotten.
fn notes(old: &str, run: Run<'_>) -> String {
    let names: Vec<&str> = run.targets.iter().map(|target| target.name()).collect();
    let is_whole = run.attacks.len() == BOARD.iter().copied().flatten().count();
    let what = match run.attacks {
        _ if is_whole => "all attacks".to_owned(),
        attacks => attacks.iter().map(|attack| format!("\"{}\"", attack.name)).collect::<Vec<_>>().join(", "),
    };
    let begin = format!("- {} on {}: ", what, names.join(", "));
    let is_left = |line: &&str| {
        let of_others = !(is_whole && Target::ALL.iter().all(|target| run.targets.contains(target)));
        line.starts_with("- ") && of_others && !line.starts_with(&begin)
    };
    let mut notes: String = old.lines().filter(is_left).map(|line| format!("{line}\n")).collect();
    let _ = writeln!(notes, "{begin}{}", run.note);
    notes
}

fn cell(report: &Report) -> String {
    let mut parts = Vec::from_iter(Some(report.outcome.clone()).filter(|outcome| !outcome.is_empty()));
    let how_far = if report.outcome.is_empty() { "not played" } else { "not played to its end" };
    let mut differences = Vec::new();
    for finding in &report.findings {
        match finding {
            Finding::Harm(text) => parts.push(format!("**{text}**")),
            Finding::Unplayed(why) => parts.push(format!("{how_far}: {why}")),
            Finding::Difference(text) => differences.push(text),
        }
    }
    if let [first, rest @ ..] = &differences[..] {
        let first: String = first.chars().take(DIFFERENCE_SHOWN).collect();
        let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
        parts.push(format!("differs: {first}{more}"));
    }
    // An attack that hears nothing by its nature, and nobody paid.
    if parts.is_empty() {
        parts.push("survived".to_owned());
    }
    // Amplification of a few bytes is noise divided by little.
    if report.sent >= 64 << 10 {
        let kilobytes = report.sent as f64 / 1024.0;
        let held = report.held as f64 / report.sent as f64;
        parts.push(format!("{:.1} us/KiB, {held:.2} B/B", report.cpu.as_micros() as f64 / kilobytes));
    } else {
        let (sent, cpu, held) = (report.sent, report.cpu.as_micros(), report.held >> 10);
        parts.push(format!("{sent} B sent, {cpu} us, {held} KiB held"));
    }
    parts.join("; ").replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::time::Duration;

    fn report(outcome: &str, findings: Vec<Finding>) -> Report {
        Report {
            attack: "any",
            target: Target::Node,
            sent: 184,
            cpu: Duration::from_micros(500),
            held: 2 << 20,
            kept: 0,
            waited: Duration::ZERO,
            outcome: outcome.to_owned(),
            findings,
        }
    }

    #[test]
    fn only_what_was_played_survived() {
        let (harm, stop) = (Finding::Harm("holds 1 KiB".into()), Finding::Unplayed("`2` to a CONNECT".into()));
        let costs = "184 B sent, 500 us, 2048 KiB held";
        for (outcome, findings, wanted) in [
            ("", vec![], "survived"),
            ("served", vec![], "served"),
            ("", vec![harm.clone()], "**holds 1 KiB**"),
            ("", vec![stop.clone()], "not played: `2` to a CONNECT"),
            ("served x3", vec![stop, harm], "served x3; not played to its end: `2` to a CONNECT; **holds 1 KiB**"),
        ] {
            assert_eq!(cell(&report(outcome, findings)), format!("{wanted}; {costs}"));
        }
    }

    fn run<'a>(attacks: &'a [&'a Attack], targets: &'a [Target], reports: &'a [Report]) -> Run<'a> {
        Run { attacks, targets, reports, note: "a run" }
    }

    #[test]
    fn cells_of_others_stay() {
        let all: Vec<&Attack> = BOARD.iter().copied().flatten().collect();
        let [first, second, ..] = all[..] else { panic!("no attacks") };
        let told =
            |attack: &Attack, target, outcome: &str| Report { attack: attack.name, target, ..report(outcome, vec![]) };
        let reports: Vec<Report> =
            Target::ALL.iter().flat_map(|target| all.iter().map(|attack| told(attack, *target, "old"))).collect();
        let everything = run(&all, &Target::ALL, &reports);
        let old = table("", everything) + "\n" + &notes("", everything);
        assert!(old.ends_with("\n- all attacks on uring, epoll, node, socketioxide: a run\n"));
        // One attack on one target, which has not come yet; then it has.
        let one = [first];
        for (reports, wanted) in
            [(vec![], "-"), (vec![told(first, Target::Node, "new")], "new; 184 B sent, 500 us, 2048 KiB held")]
        {
            let part = run(&one, &[Target::Node], &reports);
            let new = table(&old, part) + "\n" + &notes(&old, part);
            assert_eq!(new.lines().count(), old.lines().count() + 1);
            for (was, is) in old.lines().zip(new.lines()) {
                let is_first = cells(is).next() == Some(first.name);
                assert_eq!(was == is, !is_first, "{is}");
                if is_first {
                    let (was, is): (Vec<&str>, Vec<&str>) = (cells(was).collect(), cells(is).collect());
                    assert_eq!((is[4], &is[..4], is[5]), (wanted, &was[..4], was[5]));
                }
            }
            let again = table(&new, part) + "\n" + &notes(&new, part);
            assert_eq!(again, new, "once");
            assert!(new.contains(second.name) && table(&new, everything) + "\n" + &notes(&new, everything) == old);
        }
    }

    #[test]
    fn what_differs_is_told() {
        let differs = |count: usize| {
            let texts = (0..count).map(|at| Finding::Difference(format!("{at}: 400 instead of 413")));
            cell(&report("400", texts.collect()))
        };
        assert!(differs(1).starts_with("400; differs: 0: 400 instead of 413; 184 B"), "{}", differs(1));
        assert!(differs(3).starts_with("400; differs: 0: 400 instead of 413, and 2 more; "), "{}", differs(3));
    }
}
