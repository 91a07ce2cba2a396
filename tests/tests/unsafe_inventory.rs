//! `engine/runtime/UNSAFE.md` lists every unsafe block of the engine, with the function it stands in and why it is sound.
//!
//! `make unsafe-inventory` writes the page anew; without that it is compared, so a block that is added, moved or explained
//! otherwise shows in the diff of the page, where a reviewer looks.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const PAGE: &str = "engine/runtime/UNSAFE.md";
/// What is shipped. Benchmarks have an island of their own, which the tidy test names.
const SHIPPED: [&str; 2] = ["engine", "codec"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// One use of `unsafe`.
struct Use {
    place: String,
    kind: &'static str,
    reason: String,
}

/// Walks a file and keeps the path of names it is at.
struct Walk<'a> {
    lines: Vec<&'a str>,
    names: Vec<String>,
    uses: Vec<Use>,
}

impl Walk<'_> {
    fn within(&mut self, name: String, walk: impl FnOnce(&mut Self)) {
        self.names.push(name);
        walk(self);
        self.names.pop();
    }

    fn found(&mut self, kind: &'static str, at: proc_macro2::Span) {
        let reason = self.reason(at.start().line - 1);
        self.uses.push(Use { place: self.names.join("::"), kind, reason });
    }

    /// The SAFETY comment above a line, of the same statement: nothing ends in between.
    fn reason(&self, line: usize) -> String {
        let above = self.lines[..line].iter().rev().take_while(|line| !["", "}"].contains(&line.trim()));
        let Some(distance) = above.into_iter().position(|line| line.contains("SAFETY:")) else {
            return String::new();
        };
        let first = line - 1 - distance;
        let comment = self.lines[first..].iter().map_while(|line| line.trim().strip_prefix("//")).map(str::trim);
        let text = comment.collect::<Vec<_>>().join(" ");
        text.trim_start_matches("SAFETY:").trim().to_owned()
    }
}

fn name_of(path: &syn::Type) -> String {
    match path {
        syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default(),
        _ => "_".to_owned(),
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(item.ident.to_string(), |walk| visit::visit_item_mod(walk, item));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(item.sig.ident.to_string(), |walk| {
            if let Some(word) = item.sig.unsafety {
                walk.found("function", word.span());
            }
            visit::visit_item_fn(walk, item);
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.within(name_of(&item.self_ty), |walk| {
            if let Some(word) = item.unsafety {
                walk.found("implementation", word.span());
            }
            visit::visit_item_impl(walk, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(item.sig.ident.to_string(), |walk| {
            if let Some(word) = item.sig.unsafety {
                walk.found("function", word.span());
            }
            visit::visit_impl_item_fn(walk, item);
        });
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        self.found("foreign functions", item.span());
        visit::visit_item_foreign_mod(self, item);
    }

    fn visit_expr_unsafe(&mut self, expression: &'ast syn::ExprUnsafe) {
        self.found("block", expression.unsafe_token.span());
        visit::visit_expr_unsafe(self, expression);
    }
}

/// The page, and what lacks a reason.
fn inventory() -> (String, Vec<String>) {
    let mut files = Vec::new();
    for folder in SHIPPED {
        sources(&root().join(folder), &mut files);
    }
    files.sort();
    let (mut body, mut silent, mut count) = (String::new(), Vec::new(), 0);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut walk = Walk { lines: text.lines().collect(), names: Vec::new(), uses: Vec::new() };
        walk.visit_file(&file);
        if walk.uses.is_empty() {
            continue;
        }
        write!(body, "\n## {name} ({})\n\n| where | what | why it is sound |\n|---|---|---|\n", walk.uses.len())
            .unwrap();
        for Use { place, kind, reason } in walk.uses {
            count += 1;
            writeln!(body, "| `{place}` | {kind} | {} |", reason.replace('|', "\\|")).unwrap();
            if reason.is_empty() {
                silent.push(format!("{name}: {place}"));
            }
        }
    }
    let head = format!(
        "# Unsafe code of the engine\n\n{count} uses, all in crate `ringio-runtime`: the io_uring driver, the system calls of the epoll \
         driver, and the rings between\nthe shards. `codec`, `ringio-core` and `ringio` forbid unsafe code. This page is written by \
         `make unsafe-inventory` and\ncompared by `make test`. Who looks at it at run time: `make loom`, `make test-asan`, `make miri` and \
         `make simulate`; `SECURITY.md`\nsays what each can see.\n"
    );
    (head + &body, silent)
}

#[test]
fn the_inventory_is_up_to_date_and_every_use_has_its_reason() {
    let (page, silent) = inventory();
    assert!(silent.is_empty(), "no SAFETY comment: {silent:?}");
    let path = root().join(PAGE);
    if std::env::var_os("RINGIO_WRITE_INVENTORY").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let changed = page.lines().zip(kept.lines().chain(std::iter::repeat(""))).find(|(now, kept)| now != kept);
    assert!(page == kept, "{PAGE} is out of date (`make unsafe-inventory` writes it): first {changed:?}");
}

#[test]
fn what_is_not_in_the_engine_is_found_too() {
    let text = "//! x\nunsafe impl Send for A {}\nimpl A {\n    fn f() {\n        // SAFETY: two\n        // lines.\n        \
                let a = unsafe { g() };\n    }\n}\nunsafe extern \"C\" {}\n";
    let mut walk = Walk { lines: text.lines().collect(), names: Vec::new(), uses: Vec::new() };
    walk.visit_file(&syn::parse_file(text).unwrap());
    let uses: Vec<_> =
        walk.uses.iter().map(|found| (found.place.as_str(), found.kind, found.reason.as_str())).collect();
    assert_eq!(uses, [("A", "implementation", ""), ("A::f", "block", "two lines."), ("", "foreign functions", "")]);
}
