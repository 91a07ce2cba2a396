//! The summary at the end of a run, as lines of text.

use super::outcome::{Outcome, Percentiles, PhaseOutcome};
use std::fmt::Write;

const LINE_COLUMNS: usize = 100;

/// The whole summary.
pub fn summary(outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to memory cannot fail.
    let _ = write_summary(&mut out, outcome);
    out
}

fn write_summary(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let total = &outcome.total;
    writeln!(out, "\n{} against {} ({})", outcome.scenario, outcome.url, outcome.transport)?;
    writeln!(out, "{}", "-".repeat(72))?;
    if !outcome.verdict.is_empty() {
        writeln!(out, "{}\n", wrapped(&outcome.verdict, 0))?;
    }
    if total.sent > 0 {
        writeln!(
            out,
            "messages     {} sent, {} delivered in {:.1} s: {}/s of {}/s offered, {}/s delivered",
            grouped(total.sent),
            grouped(total.received),
            total.seconds,
            rate(total.rate_sent),
            rate(total.rate_offered),
            rate(total.rate_received)
        )?;
        write_percentiles(out, "latency", &total.latency)?;
        if total.actions.len() > 1 {
            for (name, latency) in &total.actions {
                write_percentiles(out, &format!("  {name}"), latency)?;
            }
        }
    }
    write_percentiles(out, "connect", &total.connect)?;
    if total.reconnect.count > 0 {
        write_percentiles(out, "reconnect", &total.reconnect)?;
    }
    if let (Some(cpu), Some(rss)) = (total.server_cpu, total.server_rss) {
        let pids: Vec<String> = outcome.server_pids.iter().map(u32::to_string).collect();
        writeln!(out, "server       CPU {cpu:.0} % of a core, memory {} (process {})", bytes(rss), pids.join(", "))?;
    }
    write!(out, "generator    CPU {:.0} % at most, {}", total.generator_cpu, outcome.workers_in_words())?;
    if total.sent > 0 && outcome.tick_us > 0 {
        write!(out, ", sends every {} ms", outcome.tick_us as f64 / 1e3)?;
    }
    if total.sent > 0 {
        write!(out, ", late by {} at the 99th percentile", millis(total.lag.p99))?;
    }
    writeln!(out)?;
    if outcome.phases.iter().filter(|phase| phase.measured).count() > 1 {
        write_phases(out, &outcome.phases)?;
    }
    write_faults(out, outcome)
}

fn write_percentiles(out: &mut String, name: &str, figures: &Percentiles) -> std::fmt::Result {
    if figures.count == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "{name:<12} p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        millis(figures.p50),
        millis(figures.p90),
        millis(figures.p99),
        millis(figures.p999),
        millis(figures.max)
    )
}

fn write_phases(out: &mut String, phases: &[PhaseOutcome]) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:<16} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>8}",
        "phase", "clients", "sent/s", "recv/s", "p50", "p99", "max", "CPU", "memory"
    )?;
    for phase in phases.iter().filter(|phase| phase.measured) {
        writeln!(
            out,
            "{:<16} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>8}  {}",
            phase.name,
            phase.clients,
            rate(phase.rate_sent),
            rate(phase.rate_received),
            millis(phase.latency.p50),
            millis(phase.latency.p99),
            millis(phase.latency.max),
            phase.server_cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.0} %")),
            phase.server_rss.map_or("-".to_owned(), bytes),
            phase.verdict.as_deref().unwrap_or("")
        )?;
    }
    Ok(())
}

fn write_faults(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let faults = &outcome.faults;
    writeln!(out)?;
    if faults.total() == 0 && outcome.phases.iter().all(|phase| phase.sent == 0) {
        writeln!(out, "verified     nothing: this scenario sends no messages")?;
    } else if faults.total() == 0 && outcome.has_ended_connections() {
        let text = "over connections that stood, every message arrived once, in order, unchanged, where it should";
        writeln!(out, "verified     {}", wrapped(text, 13))?;
    } else if faults.total() == 0 {
        writeln!(out, "verified     every message arrived once, in order, unchanged, where it should")?;
    } else {
        writeln!(
            out,
            "FAULTS       {} lost, {} duplicated, {} reordered, {} corrupt, {} unexpected",
            faults.lost, faults.duplicated, faults.reordered, faults.corrupt, faults.unexpected
        )?;
        if let Some(first) = &outcome.first_fault {
            writeln!(out, "             first: {first}")?;
        }
    }
    if let count @ 1.. = outcome.abandoned() {
        writeln!(out, "ABANDONED    {} unanswered when the connection ended", counted(count, "message", "messages"))?;
    }
    if let count @ 1.. = outcome.unsent() {
        writeln!(out, "UNSENT       {} due while no client could send", counted(count, "message", "messages"))?;
    }
    for (class, counted) in &outcome.failures.0 {
        writeln!(out, "FAILURES     {} x {class}; first: {}", grouped(counted.count), counted.first)?;
    }
    for note in &outcome.notes {
        writeln!(out, "NOTE         {}", wrapped(note, 13))?;
    }
    Ok(())
}

/// Text in lines of a hundred columns, those after the first indented, as the first already is.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut out, mut column) = (String::new(), indent);
    for word in text.split(' ') {
        if column > indent && column + word.chars().count() > LINE_COLUMNS {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
        }
        out.push_str(word);
        column += word.chars().count() + 1;
    }
    out
}

/// Milliseconds with a unit and three digits that matter.
pub fn millis(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.1} s", value / 1e3),
        value if value >= 1_000.0 => format!("{:.2} s", value / 1e3),
        value if value >= 100.0 => format!("{value:.0} ms"),
        value if value >= 10.0 => format!("{value:.1} ms"),
        value => format!("{value:.2} ms"),
    }
}

/// A number and what it counts.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// A rate, without digits that nobody reads.
pub fn rate(value: f64) -> String {
    if value >= 100.0 || value == 0.0 { grouped(value.round() as u64) } else { format!("{value:.1}") }
}

/// Bytes with a unit.
pub fn bytes(value: u64) -> String {
    let value = value as f64;
    match value {
        value if value >= 1e9 => format!("{:.2} GB", value / 1e9),
        value if value >= 1e6 => format!("{:.0} MB", value / 1e6),
        value if value >= 1e3 => format!("{:.0} kB", value / 1e3),
        value => format!("{value:.0} B"),
    }
}

/// A number with commas between thousands.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::threshold::tests::outcome_with;

    /// What was under way when its connection ended is told, and not called verified.
    #[test]
    fn unanswered_messages_are_told() {
        let mut outcome = outcome_with(12.0, 0);
        let text = summary(&outcome);
        assert!(text.contains("verified     every message") && !text.contains("ABANDONED") && !text.contains("UNSENT"));
        (outcome.phases[0].abandoned, outcome.phases[0].unsent) = (1_500, 1);
        let text = summary(&outcome);
        assert!(text.contains("verified     over connections that stood, every message"), "{text}");
        assert!(text.contains("ABANDONED    1,500 messages") && text.contains("UNSENT       1 message due"), "{text}");
    }

    #[test]
    fn long_sentences_are_wrapped() {
        assert_eq!(wrapped("short", 13), "short");
        let text = wrapped(&"word ".repeat(40), 13);
        assert!(text.lines().skip(1).all(|line| line.starts_with(&" ".repeat(13)) && line.len() <= LINE_COLUMNS + 1));
        assert!(text.lines().count() > 1 && text.matches("word").count() == 40);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!(
            (millis(0.123), millis(45.67), millis(12_345.0)),
            ("0.12 ms".into(), "45.7 ms".into(), "12.3 s".into())
        );
        assert_eq!(
            (bytes(512), bytes(1_500_000), bytes(2_340_000_000)),
            ("512 B".into(), "2 MB".into(), "2.34 GB".into())
        );
        assert_eq!((rate(0.0), rate(12.34), rate(1234.5)), ("0".into(), "12.3".into(), "1,235".into()));
    }
}
