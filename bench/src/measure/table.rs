//! Medians, spreads and ratios of many runs, as Markdown.
//!
//! A cell is `median [min..max]` over the rounds. A ratio is the median of the ratios *within* each round:
//! the machine's mood divides out.
use super::options::{ROWS, Row, Unit};
use crate::plot::Dots;
use crate::report::{Connect, Report, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One run, as a line of `reports.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Name of the row.
    pub row: String,
    /// Name of the target.
    pub target: String,
    /// Round, from 0.
    pub round: usize,
    /// System calls of the server per second, in a run that counted them (its times do not count).
    pub syscalls_per_second: Option<f64>,
    /// What `drive` found.
    pub report: Report,
}

impl Run {
    fn figure(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Connection => Some(self.report.connect.cpu_us),
            Unit::Churn => Some(self.report.connect.cpu_us + self.report.connect.leave_cpu_us?),
            Unit::Latency => self.report.window.as_ref().map(|window| window.latency_p50_us),
            Unit::Memory => self.report.idle.as_ref().map(|idle| idle.rss_per_connection / 1024.0),
            Unit::Delivery => self.report.window.as_ref().map(|window| window.cpu_us_per_delivery),
        }
    }

    fn syscalls_per_sleep(&self) -> Option<f64> {
        let sleeps = self.report.window.as_ref()?.sleeps_per_delivery;
        Some(self.syscalls_per_delivery()? / sleeps).filter(|ratio| ratio.is_finite())
    }

    fn syscalls_per_delivery(&self) -> Option<f64> {
        let window = self.report.window.as_ref()?;
        Some(self.syscalls_per_second? / window.deliveries_per_second)
    }
}

/// The middle value, or the mean of the two; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The tables of a measurement: costs, ratios, and how the runs went.
#[must_use]
pub fn render(rows: &[Row], targets: &[String], bases: &[String], runs: &[Run]) -> String {
    let timed = |row: &Row, target: &str| -> BTreeMap<usize, f64> {
        runs.iter()
            .filter(|run| run.row == row.name && run.target == target && run.syscalls_per_second.is_none())
            .filter_map(|run| Some((run.round, run.figure(row.unit)?)))
            .collect()
    };
    let mut out = String::from("Server CPU (or memory) per unit, median [min..max] over the rounds.\n\n");
    header(&mut out, &["scenario", "unit"], targets);
    for row in rows {
        out += &format!("| {} | {} |", row.name, row.unit.text());
        for target in targets {
            let values: Vec<f64> = timed(row, target).into_values().collect();
            out += &format!(" {} |", spread(&values));
        }
        out += "\n";
    }
    tails(&mut out, rows, targets, runs);
    for base in bases {
        out += &format!("\nDivided by {base} of the same round.\n\n");
        header(&mut out, &["scenario"], targets);
        for row in rows {
            let mut divisors = timed(row, base);
            // The floor's idle connection costs no memory: nothing can be divided by that.
            divisors.retain(|_, divisor| *divisor >= 0.01);
            if divisors.is_empty() {
                continue;
            }
            out += &format!("| {} |", row.name);
            for target in targets {
                let ratios: Vec<f64> = timed(row, target)
                    .into_iter()
                    .filter_map(|(round, value)| Some(value / divisors.get(&round)?))
                    .collect();
                out += &format!(" {} |", spread(&ratios));
            }
            out += "\n";
        }
    }
    out += "\nHow the runs went, medians. Saturated: server + waiting near 100 % (per thread). Waiting: ready to run, but a neighbour had the core.\n\n";
    let columns = [
        "scenario",
        "target",
        "deliveries (connections)/s",
        "server %",
        "waiting %",
        "client %",
        "per read",
        "p50 us",
        "p99 us",
        "syscalls/delivery",
        "sleeps/delivery",
        "syscalls/sleep",
        "faults",
    ];
    header(&mut out, &columns, &[]);
    for row in rows {
        for target in targets {
            out += &details(row, target, runs);
        }
    }
    out
}

/// What each target costs, in every row divided by the first that is no floor in the same round; `None` if there is none.
#[must_use]
pub fn picture<'a>(rows: &[&'a str], targets: &'a [String], runs: &[Run]) -> Option<Dots<'a>> {
    let base = targets.iter().find(|target| !target.starts_with("floor"))?;
    let figures = |row: &Row, target: &str| -> BTreeMap<usize, f64> {
        let of =
            runs.iter().filter(|run| run.row == row.name && run.target == target && run.syscalls_per_second.is_none());
        // Nothing can be divided by nothing: the floor's idle connection costs no memory.
        of.filter_map(|run| Some((run.round, run.figure(row.unit).filter(|figure| *figure >= 0.01)?))).collect()
    };
    let ratio = |name: &str, target: &str| {
        let row = ROWS.iter().find(|row| row.name == name)?;
        let divisors = figures(row, base);
        let ratios: Vec<f64> = figures(row, target)
            .into_iter()
            .filter_map(|(round, figure)| Some(figure / divisors.get(&round)?))
            .collect();
        median(&ratios)
    };
    let series = targets.iter().map(|target| (target.clone(), rows.iter().map(|row| ratio(row, target)).collect()));
    Some(Dots {
        title: "What the server spends",
        x_name: format!("times {base}"),
        rows: rows.to_vec(),
        series: series.collect(),
    })
}

/// The 99th percentiles of the rows that measure latency.
fn tails(out: &mut String, rows: &[Row], targets: &[String], runs: &[Run]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.unit == Unit::Latency).collect();
    if rows.is_empty() {
        return;
    }
    *out += "\nThe above is the median latency; the 99th percentile, us, median [min..max] over the rounds:\n\n";
    header(out, &["scenario"], targets);
    for row in rows {
        *out += &format!("| {} |", row.name);
        for target in targets {
            let of = runs.iter().filter(|run| run.row == row.name && run.target == *target);
            let windows =
                of.filter(|run| run.syscalls_per_second.is_none()).filter_map(|run| run.report.window.as_ref());
            let values: Vec<f64> = windows.map(|window| window.latency_p99_us).collect();
            *out += &format!(" {} |", spread(&values));
        }
        *out += "\n";
    }
}

fn header(out: &mut String, fixed: &[&str], targets: &[String]) {
    let names: Vec<&str> = fixed.iter().copied().chain(targets.iter().map(String::as_str)).collect();
    *out += &format!("| {} |\n|{}\n", names.join(" | "), "---|".repeat(names.len()));
}

fn details(row: &Row, target: &str, runs: &[Run]) -> String {
    let runs: Vec<&Run> = runs.iter().filter(|run| run.row == row.name && run.target == target).collect();
    if runs.is_empty() {
        return String::new();
    }
    let of = |value: &dyn Fn(&Run) -> Option<f64>, scale: f64, digits: usize| {
        let values: Vec<f64> = runs.iter().filter_map(|run| value(run)).map(|value| value * scale).collect();
        median(&values).map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let window = |field: fn(&Window) -> f64| {
        move |run: &Run| run.report.window.as_ref().filter(|_| run.syscalls_per_second.is_none()).map(field)
    };
    // A run without messages says how its connecting went.
    let either = |of_window: fn(&Window) -> f64, of_connect: fn(&Connect) -> f64| {
        move |run: &Run| match &run.report.window {
            Some(_) if run.syscalls_per_second.is_some() => None,
            Some(window) => Some(of_window(window)),
            None => Some(of_connect(&run.report.connect)),
        }
    };
    let faulty = runs.iter().filter(|run| !run.report.faults.is_clean()).count();
    format!(
        "| {} | {target} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        row.name,
        of(&either(|window| window.deliveries_per_second, |connect| connect.rate), 1.0, 0),
        of(&either(|window| window.server_utilisation, |connect| connect.server_utilisation), 100.0, 0),
        of(&window(|window| window.server_waiting), 100.0, 0),
        of(&either(|window| window.client_utilisation, |connect| connect.client_utilisation), 100.0, 0),
        of(&window(|window| window.deliveries_per_read), 1.0, 1),
        of(&either(|window| window.latency_p50_us, |connect| connect.latency_p50_us), 1.0, 0),
        of(&either(|window| window.latency_p99_us, |connect| connect.latency_p99_us), 1.0, 0),
        of(&Run::syscalls_per_delivery, 1.0, 4),
        of(&window(|window| window.sleeps_per_delivery), 1.0, 4),
        of(&Run::syscalls_per_sleep, 1.0, 2),
        if faulty == 0 { "none".to_owned() } else { format!("**{faulty} of {} runs**", runs.len()) },
    )
}

/// `median [min..max]`.
#[must_use]
pub fn spread(values: &[f64]) -> String {
    let Some(median) = median(values) else {
        return "-".to_owned();
    };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let digits = match median {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{median:.digits$} [{least:.digits$}..{most:.digits$}]")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(target: &str, round: usize, cost: f64) -> Run {
        let window = Window { cpu_us_per_delivery: cost, deliveries_per_second: 1000.0, ..Window::default() };
        let report = Report { window: Some(window), ..Report::default() };
        Run { row: "echo-500".to_owned(), target: target.to_owned(), round, syscalls_per_second: None, report }
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine is three times slower in round 1; the ratio is 2 in both.
        let mut runs = vec![run("floor", 0, 1.0), run("ours", 0, 2.0), run("floor", 1, 3.0), run("ours", 1, 6.0)];
        // A run that counted system calls must not enter the times.
        runs.push(Run { syscalls_per_second: Some(500.0), ..run("ours", 0, 99.0) });
        let targets = ["floor".to_owned(), "ours".to_owned()];
        let rows: Vec<Row> = ROWS.iter().copied().filter(|row| row.name == "echo-500").collect();
        let table = render(&rows, &targets, &targets[..1], &runs);
        assert!(table.contains("| echo-500 | us/delivery | 2.00 [1.00..3.00] | 4.00 [2.00..6.00] |"), "{table}");
        assert!(table.contains("| echo-500 | 1.00 [1.00..1.00] | 2.00 [2.00..2.00] |"), "{table}");
        assert!(table.contains("| 0.5000 | 0.0000 | - | none |"), "{table}");
        let dots = picture(&["echo-500", "rooms"], &targets, &runs).unwrap();
        let expected = [("floor".to_owned(), vec![Some(0.5), None]), ("ours".to_owned(), vec![Some(1.0), None])];
        assert_eq!(dots.series, expected, "in times of the first that is no floor");
    }
}
