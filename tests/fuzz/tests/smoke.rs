//! Every target over its seeds, its corpus and some thousand mutations.

#![allow(clippy::unwrap_used, missing_docs)]

use ringio_fuzz::{TARGETS, driver, keep, target};
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Bounds as they are, so that the corpus stays small, and no file of a target that is no more.
#[test]
fn the_corpus_is_small_and_every_folder_is_a_target() {
    for folder in std::fs::read_dir(corpus()).unwrap().map(|folder| folder.unwrap()) {
        let name = folder.file_name().into_string().unwrap();
        assert!(target(&name).is_some(), "{name} is no target");
        let sizes: Vec<u64> =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.len() <= keep::FILES_MAX, "{name}: {} files", sizes.len());
        assert!(sizes.iter().sum::<u64>() <= keep::BYTES_MAX as u64, "{name}: {sizes:?}");
    }
}

#[test]
fn no_target_fails_in_thousands_of_inputs() {
    let corpus = corpus();
    for target in TARGETS {
        let inputs = driver::corpus(target, &corpus);
        let kept = inputs.len() - target.seeds.len();
        assert!(kept > 0, "{}: no corpus in {} (`make fuzz-corpus`)", target.name, corpus.display());
        if let Err((input, wrong)) = driver::run(target, &inputs, 1, 10_000) {
            panic!("{}: {wrong}\n{input:?}", target.name);
        }
    }
}
