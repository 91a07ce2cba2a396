//! Every public item of the crate `ringio` is shown by an example: in its own docs, or elsewhere on the page where a reader meets it.
//!
//! ```text
//! a method          its own docs, those of its type or module, or those of another method of the type: all are on one page
//! a type, a trait   its own docs, those of its module or of the crate, one of its methods, or a guide
//! ```
//! The sources are read as text. That examples compile is the business of `cargo test --doc`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("engine/server")
}

/// A public item of a file.
struct Item {
    place: String,
    file: String,
    /// The type or trait that it belongs to.
    owner: Option<String>,
    name: String,
    is_type: bool,
    examples: String,
}

/// The code blocks of a text of documentation.
fn blocks(docs: &str) -> String {
    docs.split("```").skip(1).step_by(2).collect::<Vec<_>>().join("\n")
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The name behind one of these keywords at the start of a line, qualifiers aside.
fn named<'a>(line: &'a str, keywords: &[&str]) -> Option<(&'a str, String)> {
    let mut rest = line;
    for qualifier in ["pub ", "const ", "async "] {
        rest = rest.strip_prefix(qualifier).unwrap_or(rest);
    }
    keywords.iter().find_map(|keyword| Some((line, word(rest.strip_prefix(keyword)?))))
}

/// The type of `impl<..> Type<..> {`; none if a trait is implemented.
fn implemented(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?;
    if rest.contains(" for ") {
        return None;
    }
    let mut depth = 0;
    let start = rest.char_indices().find(|(_, c)| {
        depth += i32::from(*c == '<') - i32::from(*c == '>');
        depth == 0 && c.is_alphabetic()
    })?;
    Some(word(&rest[start.0..]))
}

fn items(file: &str, text: &str, found: &mut Vec<Item>) {
    let code = &text[..text.find("#[cfg(test)]\n").unwrap_or(text.len())];
    let (mut docs, mut is_hidden, mut owner, mut is_trait) = (String::new(), false, None, false);
    let mut is_in_attribute = false;
    for (at, line) in code.lines().enumerate() {
        let trimmed = line.trim_start();
        if let Some(doc) = trimmed.strip_prefix("///") {
            docs.push_str(doc.trim_start());
            docs.push('\n');
            continue;
        }
        if trimmed.starts_with("#[") || is_in_attribute {
            is_in_attribute = !trimmed.ends_with(']');
            is_hidden |= trimmed.starts_with("#[doc(hidden)]");
            continue;
        }
        let (own_docs, hidden) = (std::mem::take(&mut docs), std::mem::take(&mut is_hidden));
        let indent = line.len() - trimmed.len();
        if indent == 0 && line.starts_with("impl") {
            (owner, is_trait) = (implemented(line), false);
            continue;
        }
        if line == "}" {
            owner = None;
        }
        let is_public = trimmed.starts_with("pub ") || (is_trait && indent == 4);
        if !is_public || hidden {
            continue;
        }
        let place = format!("{file}:{}", at + 1);
        let examples = blocks(&own_docs);
        if indent == 0
            && let Some((_, name)) = named(line, &["struct ", "enum ", "trait ", "type "])
        {
            is_trait = line.starts_with("pub trait");
            owner = is_trait.then(|| name.clone());
            found.push(Item { place, file: file.to_owned(), owner: None, name, is_type: true, examples });
        } else if let Some((_, name)) = named(trimmed, &["fn "])
            && (indent == 0 || owner.is_some())
        {
            let owner = if indent == 0 { None } else { owner.clone() };
            found.push(Item { place, file: file.to_owned(), owner, name, is_type: false, examples });
        }
    }
}

/// Whether the code calls something of that name.
fn calls(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        before.is_none_or(|c| !(c.is_alphanumeric() || c == '_'))
            && (after.starts_with('(') || after.starts_with("::<") || after.starts_with(';') || after.starts_with(','))
    })
}

fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !is_part(code[..at].chars().next_back()) && !is_part(code[at + name.len()..].chars().next())
    })
}

#[test]
fn every_public_item_is_shown_by_an_example() {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    // What a reader may open instead of a page of its own: modules, the crate, guides.
    let (mut shared, mut of_file) = (String::new(), BTreeMap::new());
    let mut found = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        let module: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim_start).collect();
        let module = blocks(&module.join("\n"));
        shared.push_str(&module);
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        items(name, &text, &mut found);
        of_file.insert(name.to_owned(), module);
    }
    for guide in fs::read_dir(root().join("docs")).unwrap() {
        shared.push_str(&blocks(&fs::read_to_string(guide.unwrap().path()).unwrap()));
    }
    let mut pages: BTreeMap<&str, String> = BTreeMap::new();
    for item in &found {
        let page = item.owner.as_deref().unwrap_or(&item.name);
        pages.entry(page).or_default().push_str(&item.examples);
    }
    let is_shown = |item: &&Item| {
        let page = &pages[item.owner.as_deref().unwrap_or(&item.name)];
        match (&item.owner, item.is_type) {
            (Some(_), _) => {
                !item.examples.is_empty() || calls(page, &item.name) || calls(&of_file[&item.file], &item.name)
            }
            (None, true) => !page.is_empty() || names(&shared, &item.name),
            (None, false) => !page.is_empty() || calls(&shared, &item.name),
        }
    };
    let path = |item: &Item| match &item.owner {
        Some(owner) => format!("{owner}::{}", item.name),
        None => item.name.clone(),
    };
    let missing: Vec<String> =
        found.iter().filter(|item| !is_shown(item)).map(|item| format!("{}: {}", item.place, path(item))).collect();
    assert!(found.len() > 350, "the sources are read: {}", found.len());
    assert!(missing.is_empty(), "{} items without an example:\n{}", missing.len(), missing.join("\n"));
}
