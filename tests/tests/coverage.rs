//! `tests/conformance/COVERAGE.md`, `engine/server/docs/node-api.md`, `SECURITY.md` and the table in `engine/core/src/limits.rs` say the truth: every
//! test that they name exists, and every heading of the first counts its rows.
//!
//! ```text
//! | behaviour | `file` "test"; `file` "test" |     or    | behaviour | none: why |     or    | behaviour | **open**: what |
//! ```
//! In the latter there may be more columns between the two.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

const COVERAGE: &str = "tests/conformance/COVERAGE.md";
const NODE_API: &str = "engine/server/docs/node-api.md";
const SECURITY: &str = "SECURITY.md";
const LIMITS: &str = "engine/core/src/limits.rs";

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The rows of all tables, each with its line: behaviour and what shows it.
fn rows(page: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    page.lines().enumerate().filter_map(|(at, line)| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        // A bar inside of a name is escaped, and no test has one in its name.
        let (behaviour, shown) = inner.rsplit_once(" | ")?;
        (shown != "shown by").then_some((at + 1, behaviour, shown))
    })
}

/// The text of a file that the page names.
fn named(file: &str) -> Option<String> {
    let candidates = match Path::new(file).extension() {
        Some(_) => vec![root().join(file)],
        None => ["test.mjs", "mjs"].map(|ending| root().join(format!("tests/conformance/{file}.{ending}"))).to_vec(),
    };
    candidates.iter().find_map(|path| fs::read_to_string(path).ok())
}

fn has_test(file: &str, text: &str, title: &str) -> bool {
    match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("rs") if title.starts_with("///") => text.contains(title),
        Some("rs") => is_rust_test(text, title),
        Some("py") => text.contains(&format!("def {title}(")),
        _ => ['"', '`'].iter().any(|quote| text.contains(&format!("{quote}{title}{quote}"))),
    }
}

/// Whether somebody runs a function of this name: it is a test, an entry of a macro that makes tests, one of the attack board, or what the soak does.
fn is_rust_test(text: &str, title: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_its = |line: &str| ['(', '<'].iter().any(|next| line.contains(&format!("fn {title}{next}")));
    lines.iter().enumerate().filter(|(_, line)| is_its(line)).any(|(at, _)| {
        let mut above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        let is_entry = |line: &&str| line.trim_end_matches(',') == title;
        let is_listed = |line: &&str| {
            let names = line.strip_prefix("on_both_drivers!(").and_then(|names| names.strip_suffix(");"));
            names.is_some_and(|names| names.split(", ").any(|name| name == title))
        };
        let is_attack = |line: &&str| line.starts_with("Attack::new(") && line.contains(&format!(", {title})"));
        above.any(|line| *line == "#[test]")
            || lines.iter().any(|line| is_entry(line) || is_listed(line) || is_attack(line))
            || (title == "soak" && text.contains("match soak("))
    })
}

#[test]
fn every_test_that_is_named_exists() {
    let count = |path: &str| count_existing(&page(path), path);
    let (coverage, node_api) = (count(COVERAGE), count(NODE_API));
    // Its other tables name no tests.
    let security = page(SECURITY);
    let promises = security.split("\n## ").find(|section| section.starts_with("What is promised\n")).unwrap();
    let promises = count_existing(promises, SECURITY);
    // Its second table says where else bounds live.
    let limits = page(LIMITS).replace("//! ", "");
    let limits = limits.split("Bounds that live elsewhere").next().unwrap();
    let limits = count_existing(limits, LIMITS);
    assert!(
        coverage > 400 && node_api > 120 && promises > 20 && limits > 20,
        "the pages are read: {coverage}, {node_api}, {promises}, {limits}"
    );
}

/// How many tests a page names; all of them exist.
fn count_existing(page: &str, path: &str) -> usize {
    let mut files = HashMap::new();
    let (mut count, mut missing) = (0, Vec::new());
    for (line, behaviour, shown) in rows(page) {
        if shown.strip_prefix("none: ").or_else(|| shown.strip_prefix("**open**: ")).is_some_and(|why| !why.is_empty())
        {
            continue;
        }
        let mut rest = shown;
        loop {
            let (file, after) = rest
                .strip_prefix('`')
                .and_then(|rest| rest.split_once("` \""))
                .unwrap_or_else(|| panic!("line {line}: {behaviour}: a file and a title, not {rest}"));
            // A title may hold quotes; it ends where the next file begins or the row ends.
            let (title, next) = match after.find("\"; `") {
                Some(end) => (&after[..end], Some(&after[end + 3..])),
                None => (after.strip_suffix('"').unwrap_or_else(|| panic!("line {line}: no end of {after}")), None),
            };
            let text = files.entry(file.to_owned()).or_insert_with(|| named(file));
            let text = text.as_ref().unwrap_or_else(|| panic!("line {line}: there is no file {file}"));
            if !has_test(file, text, title) {
                missing.push(format!("line {line}: {file} has no test {title}"));
            }
            count += 1;
            let Some(next) = next else { break };
            rest = next;
        }
    }
    assert!(missing.is_empty(), "{path}:\n{}", missing.join("\n"));
    count
}

#[test]
fn every_heading_counts_its_rows() {
    let page = page(COVERAGE);
    let mut expected: Option<(&str, usize)> = None;
    let mut found = 0;
    for line in page.lines().chain(["# end"]) {
        if line.starts_with('#') {
            if let Some((heading, count)) = expected {
                assert_eq!(found, count, "{heading}");
            }
            let count = line.rsplit_once(" (").and_then(|(_, count)| count.strip_suffix(')')?.parse().ok());
            expected = count.map(|count| (line, count));
            found = 0;
        }
        found += rows(line).count();
    }
}
