//! Every target over its seeds, its corpus and some thousand mutations.

#![allow(missing_docs)]

use ringio_fuzz::{TARGETS, driver};
use std::path::Path;

#[test]
fn no_target_fails_in_thousands_of_inputs() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let inputs = driver::corpus(target, &corpus);
        if let Err((input, wrong)) = driver::run(target, &inputs, 1, 10_000) {
            panic!("{}: {wrong}\n{input:?}", target.name);
        }
    }
}
