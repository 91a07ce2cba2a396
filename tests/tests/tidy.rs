//! The rules of the house that no compiler knows: who may import whom, where unsafe code may live, how a file begins.
//!
//! It reads the sources as text. A rule that fails names the file and line.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where Rust sources lie.
const ALL: [&str; 10] = [
    "codec/src",
    "engine",
    "bench",
    "loadtest/src",
    "tests/src",
    "tests/tests",
    "tests/simulation",
    "tests/fuzz",
    "tests/soak",
    "tests/attacks",
];

/// All Rust sources below a folder, sorted.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !["target", "node_modules", ".venv"].contains(&path.file_name().unwrap().to_str().unwrap()) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// The code of a file without its tests and comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("#[cfg(test)]\n").unwrap_or(text.len());
    text[..tests]
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

/// The folder of core that a source lies in: `session` of `engine/core/src/session/mod.rs`.
fn floor(name: &str) -> &str {
    let rest = name.strip_prefix("engine/core/src/").unwrap();
    rest.split_once('/').map_or_else(|| rest.trim_end_matches(".rs"), |(folder, _)| folder)
}

#[test]
fn floors_import_only_what_lies_below() {
    // What each folder may name of the crate. `shard` sees everything; `lib.rs` only declares.
    let allowed = |folder: &str| -> &[&str] {
        match folder {
            "base" => &["base"],
            "limits" => &["options", "base", "door"],
            "gate" => &[],
            "options" => &["base", "parser"],
            "door" => &["base", "room", "broadcast", "cluster"],
            "parser" => &["base", "door"],
            "room" => &["base", "room"],
            "broadcast" => &["base", "door", "options", "parser", "room", "broadcast"],
            "cluster" => &["base", "door", "room", "cluster"],
            "namespace" => &["base", "door", "limits", "parser", "room", "broadcast", "namespace"],
            "session" => &["base", "door", "limits", "options", "broadcast", "namespace", "session"],
            "connection" => &["base", "door", "limits", "options", "connection"],
            "shard" => &[
                "base",
                "gate",
                "door",
                "limits",
                "options",
                "parser",
                "room",
                "broadcast",
                "namespace",
                "session",
                "connection",
                "cluster",
                "shard",
            ],
            "lib" => &[],
            other => panic!("{other} is a new floor: say here what it may import"),
        }
    };
    for (name, text) in sources("engine/core/src") {
        let folder = floor(&name);
        for (line, content) in code(&text) {
            for (at, _) in content.match_indices("crate::") {
                let target: String =
                    content[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                assert!(allowed(folder).contains(&target.as_str()), "{name}:{line}: {folder} must not import {target}");
            }
        }
    }
}

#[test]
fn crates_depend_only_on_what_lies_below() {
    let allowed = [
        ("codec", vec![]),
        ("engine/core", vec!["ringio-codec"]),
        ("engine/runtime", vec!["ringio-core"]),
        ("engine/server", vec!["ringio-codec", "ringio-core", "ringio-runtime"]),
        ("loadtest", vec!["ringio-codec"]),
    ];
    for (folder, expected) in allowed {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let ours: Vec<&str> = manifest
            .lines()
            .filter(|line| line.starts_with("ringio") && line.contains(".workspace"))
            .map(|line| line.split(['.', ' ']).next().unwrap())
            .collect();
        assert_eq!(ours, expected, "{folder}/Cargo.toml");
    }
}

#[test]
fn codec_and_core_do_no_io_and_read_no_clock() {
    let banned =
        ["std::fs", "std::net::Tcp", "std::time::", "std::thread", "std::process", "std::env", "libc::", "getrandom"];
    for folder in ["codec/src", "engine/core/src"] {
        for (name, text) in sources(folder) {
            for (line, content) in code(&text) {
                for word in banned {
                    assert!(!content.contains(word), "{name}:{line}: {word} belongs to the runtime");
                }
            }
        }
    }
}

#[test]
fn unsafe_code_lives_on_its_islands() {
    let islands = [
        "engine/runtime/src/uring/",
        "engine/runtime/src/epoll/",
        "engine/runtime/src/mesh/",
        "bench/src/bin/floor.rs",
    ];
    for folder in ALL {
        for (name, text) in sources(folder) {
            if islands.iter().any(|island| name.starts_with(island))
                || ["tests/tests/tidy.rs", "tests/tests/unsafe_inventory.rs"].contains(&name.as_str())
            {
                continue;
            }
            for (line, content) in code(&text) {
                let is_unsafe =
                    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|word| content.contains(word));
                assert!(!is_unsafe, "{name}:{line}: unsafe code outside its islands");
            }
        }
    }
    for manifest in ["codec/src/lib.rs", "engine/core/src/lib.rs", "engine/server/src/lib.rs"] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{manifest} forbids unsafe code");
    }
}

#[test]
fn every_file_says_what_it_is_for_and_has_one_subject() {
    for folder in ALL {
        for (name, text) in sources(folder) {
            assert!(text.starts_with("//!"), "{name} opens with what it is for");
            let lines = text.lines().count();
            assert!(lines <= 700, "{name} has {lines} lines: which second noun hides in it?");
            let file = name.rsplit('/').next().unwrap();
            for vague in ["utils.rs", "helpers.rs", "types.rs", "common.rs", "misc.rs"] {
                assert_ne!(file, vague, "{name}: a name says the subject");
            }
            for (line, content) in code(&text) {
                for unfinished in ["todo!(", "unimplemented!(", "dbg!("] {
                    let is_this_file = name.ends_with("tests/tidy.rs");
                    assert!(is_this_file || !content.contains(unfinished), "{name}:{line}: {unfinished}");
                }
            }
        }
    }
}

#[test]
fn no_test_is_ignored_and_no_machine_is_named() {
    let home = ["/ro", "ot/"].concat();
    for folder in ["codec", "engine", "bench", "loadtest", "tests"] {
        for (name, text) in sources(folder) {
            assert!(!text.contains(&["#[ig", "nore"].concat()), "{name}: an ignored test");
            assert!(!text.contains(&home), "{name}: a path of one machine");
        }
    }
}
