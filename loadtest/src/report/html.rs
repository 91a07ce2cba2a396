//! The report as one HTML page that opens from disk: no script, no network, charts as SVG within it.

use super::charts::{self, Chart};
use super::outcome::{Outcome, Percentiles, PhaseOutcome};
use super::text::{bytes, counted, grouped, millis, rate};
use std::fmt::Write;

const STYLE: &str = "
:root { color-scheme: light; --ink: #1c2430; --soft: #667085; --line: #e3e7ee; --good: #16794c; --bad: #b4232f; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f5f7fa; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 60px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 17px; margin: 36px 0 12px; }
.sub { color: var(--soft); margin: 4px 0 20px; }
.verdict { font-size: 19px; background: #fff; border: 1px solid var(--line); border-left: 5px solid #2563eb;
  border-radius: 8px; padding: 16px 20px; margin: 20px 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(118px, 1fr)); gap: 12px; }
.card, figure { background: #fff; border: 1px solid var(--line); border-radius: 8px; }
.card { padding: 12px 16px; } .card b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; }
.card > span { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 16px; }
figure { margin: 0; padding: 14px 10px 4px; } figcaption { padding: 0 8px; font-weight: 600; }
figcaption small, .keys { font-weight: 400; color: var(--soft); font-size: 13px; }
.keys { float: right; } .keys i { display: inline-block; width: 14px; height: 3px; margin: 0 6px 4px 14px; } svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; background: #fff; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 8px; font-size: 14px; border: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; } th:first-child, td:first-child, .text { text-align: left; }
td.text { white-space: normal; min-width: 9em; }
.good { color: var(--good); } .bad { color: var(--bad); } li { margin: 4px 0; }
footer { color: var(--soft); font-size: 13px; margin-top: 40px; }
";

/// The page.
///
/// # Errors
/// When a chart cannot be drawn.
pub fn page(outcome: &Outcome) -> Result<String, String> {
    let mut out = String::new();
    let title = format!("{} against {}", escaped(&outcome.scenario), escaped(&outcome.url));
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body><main><h1>{title}</h1>\
         <p class=\"sub\">{} clients over {}, {} on a machine of {}, {}{:.0} s in all, {}</p>",
        grouped(u64::from(outcome.total.clients)),
        escaped(&outcome.transport),
        outcome.workers_in_words(),
        counted(outcome.cores as u64, "core", "cores"),
        match outcome.tick_us {
            0 => String::new(),
            tick_us => format!("messages due together every {} ms, ", tick_us as f64 / 1e3),
        },
        outcome.seconds,
        date(outcome.started_unix_ms),
    );
    if !outcome.verdict.is_empty() {
        let _ = write!(out, "<p class=\"verdict\">{}</p>", escaped(&outcome.verdict));
    }
    push_cards(&mut out, outcome);
    push_findings(&mut out, outcome);
    push_charts(&mut out, outcome)?;
    push_phases(&mut out, outcome);
    push_percentiles(&mut out, &outcome.total);
    let _ = writeln!(
        out,
        "<footer>Latency counts from the time at which a message was due to be sent, so a server that falls behind shows it. \
         Shaded seconds are measured. Made by {}.</footer></main></body></html>",
        escaped(&outcome.tool)
    );
    Ok(out)
}

fn push_cards(out: &mut String, outcome: &Outcome) {
    let total = &outcome.total;
    out.push_str("<div class=\"cards\">");
    let mut card = |value: String, name: &str| {
        let _ = write!(out, "<div class=\"card\"><b>{value}</b><span>{name}</span></div>");
    };
    if total.latency.count > 0 {
        card(millis(total.latency.p50), "median latency");
        card(millis(total.latency.p99), "99th percentile");
        card(millis(total.latency.max), "greatest latency");
        card(format!("{}/s", rate(total.rate_received)), "delivered");
    }
    if total.connect.count > 0 {
        card(millis(total.connect.p99), "connect, 99th percentile");
    }
    if let Some(cpu) = total.server_cpu {
        card(format!("{cpu:.0} %"), "server CPU, of one core");
    }
    if let Some(rss) = total.server_rss {
        card(bytes(rss), "server memory");
    }
    let wrong = outcome.faults.total() + outcome.failures.total();
    card(
        format!("<span class=\"{}\">{}</span>", if wrong == 0 { "good" } else { "bad" }, grouped(wrong)),
        "faults and failures",
    );
    out.push_str("</div>");
}

fn push_findings(out: &mut String, outcome: &Outcome) {
    out.push_str("<h2>Was everything right?</h2><ul>");
    let faults = &outcome.faults;
    if faults.total() > 0 {
        let _ = write!(
            out,
            "<li class=\"bad\">{} lost, {} duplicated, {} reordered, {} corrupt, {} unexpected. {}</li>",
            faults.lost,
            faults.duplicated,
            faults.reordered,
            faults.corrupt,
            faults.unexpected,
            escaped(outcome.first_fault.as_deref().unwrap_or(""))
        );
    } else if outcome.total.sent > 0 {
        let every = if outcome.has_ended_connections() { "Over connections that stood, every" } else { "Every" };
        let _ = write!(
            out,
            "<li class=\"good\">{every} message ({} deliveries) arrived once, in order, unchanged, where it should.</li>",
            grouped(outcome.phases.iter().map(|phase| phase.received).sum())
        );
    }
    for (count, what) in [
        (outcome.abandoned(), "unanswered when the connection ended"),
        (outcome.unsent(), "due while no client could send"),
    ] {
        if count > 0 {
            let _ = write!(out, "<li class=\"bad\">{} {what}.</li>", counted(count, "message", "messages"));
        }
    }
    for (class, counted) in &outcome.failures.0 {
        let (count, first) = (grouped(counted.count), escaped(&counted.first));
        let _ = write!(out, "<li class=\"bad\">{count} &times; {class}; the first: {first}</li>");
    }
    for note in &outcome.notes {
        let _ = write!(out, "<li>{}</li>", escaped(note));
    }
    if outcome.notes.is_empty() {
        out.push_str("<li class=\"good\">The load generator was on time: the figures are the server's.</li>");
    }
    out.push_str("</ul>");
}

fn push_charts(out: &mut String, outcome: &Outcome) -> Result<(), String> {
    out.push_str("<h2>Over time</h2><div class=\"charts\">");
    let mut figure = |title: &str, unit: &str, chart: Chart| {
        let _ = write!(out, "<figure><figcaption>{title} <small>{unit}</small><span class=\"keys\">");
        for (name, color) in &chart.legend {
            let _ = write!(out, "<i style=\"background: {color}\"></i>{name}");
        }
        let _ = write!(out, "</span></figcaption>{}</figure>", chart.svg);
    };
    let measured: Vec<&PhaseOutcome> = outcome.phases.iter().filter(|phase| phase.measured).collect();
    let sizes: std::collections::BTreeSet<u32> = measured.iter().map(|phase| phase.clients).collect();
    if sizes.len() > 1 && outcome.total.latency.count > 0 {
        figure("Latency by clients", "milliseconds, logarithmic", charts::latency_over_clients(outcome)?);
    }
    if outcome.total.latency.count > 0 {
        figure("Latency", "milliseconds, logarithmic", charts::latency_over_time(outcome)?);
        figure("Messages", "per second", charts::rate_over_time(outcome)?);
    }
    figure("Clients", "connected", charts::clients_over_time(outcome)?);
    figure("CPU", "percent of one core", charts::cpu_over_time(outcome)?);
    if outcome.series.iter().any(|second| second.server_rss.is_some()) {
        figure("Memory of the server", "megabytes", charts::memory_over_time(outcome)?);
    }
    if !outcome.total.distribution.is_empty() {
        figure("Latency by rarity", "milliseconds, logarithmic", charts::distribution(outcome)?);
    }
    out.push_str("</div>");
    Ok(())
}

fn push_phases(out: &mut String, outcome: &Outcome) {
    out.push_str("<h2>Phases</h2><div class=\"scroll\"><table><tr><th>phase</th>");
    let has_verdicts = outcome.phases.iter().any(|phase| phase.verdict.is_some());
    if has_verdicts {
        out.push_str("<th class=\"text\">result</th>");
    }
    out.push_str(
        "<th>clients</th><th>offered/s</th><th>sent/s</th><th>delivered/s</th><th>p50</th><th>p99</th><th>max</th><th>connect p99</th><th>arrived wrong</th>\
         <th>server CPU</th><th>memory</th></tr>",
    );
    for phase in outcome.phases.iter().filter(|phase| phase.measured) {
        let verdict = phase.verdict.as_deref().unwrap_or("");
        let class = if verdict == "held" { "good" } else { "bad" };
        let latency = |value| if phase.latency.count > 0 { millis(value) } else { "-".to_owned() };
        let _ = write!(out, "<tr><td>{}</td>", escaped(&phase.name));
        if has_verdicts {
            let _ = write!(out, "<td class=\"text {class}\">{}</td>", escaped(verdict));
        }
        let _ = writeln!(
            out,
            "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            grouped(u64::from(phase.clients)),
            rate(phase.rate_offered),
            rate(phase.rate_sent),
            rate(phase.rate_received),
            latency(phase.latency.p50),
            latency(phase.latency.p99),
            latency(phase.latency.max),
            if phase.connect.count > 0 { millis(phase.connect.p99) } else { "-".to_owned() },
            grouped(phase.faults),
            phase.server_cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.0} %")),
            phase.server_rss.map_or("-".to_owned(), bytes)
        );
    }
    out.push_str("</table></div>");
}

fn push_percentiles(out: &mut String, total: &PhaseOutcome) {
    out.push_str(
        "<h2>Percentiles</h2><div class=\"scroll\"><table><tr><th></th><th>count</th><th>min</th><th>mean</th><th>p50</th>\
         <th>p75</th><th>p90</th><th>p95</th><th>p99</th><th>p99.9</th><th>max</th></tr>",
    );
    let mut line = |name: &str, figures: &Percentiles| {
        if figures.count == 0 {
            return;
        }
        let _ = write!(out, "<tr><td>{}</td><td>{}</td>", escaped(name), grouped(figures.count));
        let values = [
            figures.min,
            figures.mean,
            figures.p50,
            figures.p75,
            figures.p90,
            figures.p95,
            figures.p99,
            figures.p999,
            figures.max,
        ];
        for value in values {
            let _ = write!(out, "<td>{}</td>", millis(value));
        }
        out.push_str("</tr>");
    };
    line("latency", &total.latency);
    if total.actions.len() > 1 {
        for (name, figures) in &total.actions {
            line(&format!("latency of {name}"), figures);
        }
    }
    line("connect", &total.connect);
    line("reconnect", &total.reconnect);
    line("sent late by", &total.lag);
    line("connected late by", &total.connect_lag);
    out.push_str("</table></div>");
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Milliseconds since 1970 as a date and time, UTC. The Gregorian calendar by Howard Hinnant's `civil_from_days`.
fn date(unix_ms: u64) -> String {
    let (days, seconds) = ((unix_ms / 86_400_000) as i64, unix_ms / 1000 % 86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::outcome::SecondOutcome;
    use crate::report::threshold::tests::outcome_with;

    #[test]
    fn a_page_is_whole_and_needs_nothing_else() {
        let mut outcome = outcome_with(12.0, 0);
        outcome.url = "http://a/<script>".to_owned();
        outcome.total.distribution = vec![(1.0, 0.5), (12.0, 0.99)];
        outcome.series =
            vec![SecondOutcome { measured: true, p50: Some(1.0), p99: Some(2.0), ..Default::default() }; 3];
        let page = page(&outcome).unwrap();
        assert!(page.ends_with("</html>\n") && page.matches("<svg").count() == 5, "{}", page.matches("<svg").count());
        assert!(page.contains("a/&lt;script&gt;") && !page.contains("<script"));
        for reference in ["src=", "@import", "url(", "<link"] {
            assert!(!page.contains(reference), "{reference}");
        }
    }

    /// What was under way when its connection ended is told, and a generator that was late is not called on time.
    #[test]
    fn findings_say_no_more_than_was_seen() {
        let mut outcome = outcome_with(12.0, 0);
        let whole = page(&outcome).unwrap();
        assert!(whole.contains(">Every message (1,000 deliveries)") && whole.contains("was on time"));
        assert!(!whole.contains("unanswered when") && !whole.contains("no client could send"));
        (outcome.phases[0].abandoned, outcome.phases[0].unsent) = (37, 1);
        outcome.notes.push("connect: the load generator was held up".to_owned());
        let page = page(&outcome).unwrap();
        assert!(page.contains("Over connections that stood, every message") && !page.contains("was on time"));
        assert!(page.contains("37 messages unanswered when") && page.contains("1 message due while"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_732_389_840_000), "2024-11-23 19:24 UTC");
    }
}
