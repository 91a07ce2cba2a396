//! A mutator for where libFuzzer is not: seeded, without coverage, over the seeds and the corpus.
//!
//! It knows what decoders trip over: cut, repeat, splice, flip, numbers at their edges. Not as good as coverage, but it
//! runs anywhere in seconds and finds what breaks at once.

use crate::Target;
use fastrand::Rng;
use std::fs;
use std::path::Path;

/// Longest input. Bytes.
const BYTES_MAX: usize = 600;
const EDGES: [u8; 12] = [0, 1, 0x7e, 0x7f, 0x80, 0xff, b'"', b'\\', b'\r', b'\n', b'0', b'9'];

/// The seeds of a target and the files of its corpus below `folder`.
#[must_use]
pub fn corpus(target: &Target, folder: &Path) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.to_vec()).collect();
    let mut paths: Vec<_> = fs::read_dir(folder.join(target.name))
        .map(|files| files.flatten().map(|file| file.path()).collect())
        .unwrap_or_default();
    paths.sort();
    inputs.extend(paths.iter().filter_map(|path| fs::read(path).ok()));
    inputs
}

/// The next input.
#[must_use]
pub fn mutate(random: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[random.usize(..inputs.len())].clone();
    for _ in 0..random.usize(..8) {
        let at = random.usize(..=bytes.len());
        match random.u32(..8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 => bytes.insert(at, EDGES[random.usize(..EDGES.len())]),
            3 if at < bytes.len() => bytes[at] ^= 1 << random.u32(..8),
            4 if at < bytes.len() => bytes[at] = random.u8(..),
            5 if at < bytes.len() => drop(bytes.drain(at..(at + 1 + random.usize(..8)).min(bytes.len()))),
            6 => {
                let other = &inputs[random.usize(..inputs.len())];
                let from = random.usize(..=other.len());
                let tail = other[from..].to_vec();
                bytes.splice(at..at, tail);
            }
            _ => {
                let piece = bytes[at..(at + 1 + random.usize(..16)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

/// Runs a target over its corpus and `count` mutations; the input that failed, if one did.
///
/// # Errors
/// The input, and what was wrong with it.
pub fn run(target: &Target, inputs: &[Vec<u8>], seed: u64, count: u64) -> Result<(), (Vec<u8>, String)> {
    let mut random = Rng::with_seed(seed);
    let mutated = (0..count).map(|_| mutate(&mut random, inputs));
    for input in inputs.iter().cloned().chain(mutated) {
        let outcome = std::panic::catch_unwind(|| (target.run)(&input));
        if let Err(panic) = outcome {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            return Err((input, words.unwrap_or_default()));
        }
    }
    Ok(())
}
