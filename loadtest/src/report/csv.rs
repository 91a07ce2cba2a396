//! The run second by second, one line each, for spreadsheets.

use super::outcome::SecondOutcome;
use std::fmt::Write;

/// The table, with a line of names at its top. What was not measured is empty.
pub fn table(series: &[SecondOutcome]) -> String {
    let mut out = String::from(
        "second,phase,measured,clients,sent,received,connected,failed,faults,p50_ms,p99_ms,max_ms,server_cpu_percent,\
         server_rss_bytes,generator_cpu_percent,bytes_in,bytes_out\n",
    );
    for second in series {
        // Names may hold commas; quotes are doubled (RFC 4180).
        let phase = format!("\"{}\"", second.phase.replace('"', "\"\""));
        // Writing to memory cannot fail.
        let _ = writeln!(
            out,
            "{},{phase},{},{},{},{},{},{},{},{},{},{},{},{},{:.1},{},{}",
            second.second,
            second.measured,
            second.ready,
            second.sent,
            second.received,
            second.connected,
            second.failed,
            second.faults,
            optional(second.p50),
            optional(second.p99),
            optional(second.max),
            optional(second.server_cpu),
            second.server_rss.map_or(String::new(), |bytes| bytes.to_string()),
            second.generator_cpu,
            second.bytes_in,
            second.bytes_out
        );
    }
    out
}

fn optional(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_as_many_fields_as_the_first() {
        let second = SecondOutcome { phase: "a\"b".to_owned(), p50: Some(1.5), ..SecondOutcome::default() };
        let table = table(&[second.clone(), second]);
        let counts: Vec<usize> = table.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(counts, [17, 17, 17]);
        assert!(table.contains("\"a\"\"b\"") && table.contains(",1.500,"));
    }
}
