//! Which of the inputs that libFuzzer has found the repository keeps: few and small, and as much coverage as they can bring.
//!
//! libFuzzer writes down what each input reaches in the control file of a merge (`-set_cover_merge=1`; FuzzerMerge.cpp says how):
//!
//! ```text
//!   number of inputs, number of those in the first folder, then one path on each line
//!   STARTED 3 120        input 3 has 120 bytes
//!   FT 3 17 42 99        and reaches these features
//! ```
//! The beginnings of a target (`seed-0` ...) count as kept already. Of the others the one is taken that reaches most of what is missing,
//! again and again; of equals the smaller.

use std::collections::HashSet;
use std::path::Path;

/// Files kept for a target.
pub const FILES_MAX: usize = 40;
/// Bytes of all of them together.
pub const BYTES_MAX: usize = 64 * 1024;

/// An input and what it reaches.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Its file.
    pub path: String,
    size: usize,
    features: Vec<u64>,
}

/// Reads a control file; None if it is none. Inputs on which libFuzzer stumbled reach nothing.
#[must_use]
pub fn read(control: &str) -> Option<Vec<Input>> {
    let mut lines = control.lines();
    let count: usize = lines.next()?.parse().ok()?;
    lines.next()?;
    let mut inputs = Vec::new();
    for path in lines.by_ref().take(count) {
        inputs.push(Input { path: path.to_owned(), ..Input::default() });
    }
    for line in lines {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let mut numbers = words.map(str::parse::<u64>);
        let input = inputs.get_mut(usize::try_from(numbers.next()?.ok()?).ok()?)?;
        match kind {
            "STARTED" => input.size = usize::try_from(numbers.next()?.ok()?).ok()?,
            "FT" => input.features = numbers.collect::<Result<_, _>>().ok()?,
            _ => {}
        }
    }
    (inputs.len() == count).then_some(inputs)
}

/// Those worth keeping, the most valuable first, and how many features they and the beginnings reach of how many.
#[must_use]
pub fn choose(inputs: &[Input]) -> (Vec<&Input>, usize, usize) {
    let is_beginning = |input: &&Input| {
        Path::new(&input.path).file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-"))
    };
    let (beginnings, mut rest): (Vec<&Input>, Vec<&Input>) = inputs.iter().partition(is_beginning);
    let mut reached: HashSet<u64> = beginnings.iter().flat_map(|input| &input.features).copied().collect();
    let all: HashSet<u64> = inputs.iter().flat_map(|input| &input.features).copied().collect();
    let (mut kept, mut bytes) = (Vec::new(), 0);
    while kept.len() < FILES_MAX {
        rest.retain(|input| bytes + input.size <= BYTES_MAX);
        let gain = |input: &Input| input.features.iter().filter(|feature| !reached.contains(feature)).count();
        let best =
            rest.iter().map(|input| (gain(input), *input)).max_by_key(|(gain, input)| (*gain, usize::MAX - input.size));
        let Some((1.., best)) = best else { break };
        reached.extend(&best.features);
        bytes += best.size;
        kept.push(best);
    }
    (kept, reached.len(), all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[&Input]) -> Vec<String> {
        inputs.iter().map(|input| input.path.clone()).collect()
    }

    #[test]
    fn what_reaches_most_of_what_is_missing_is_kept_first() {
        let control = "5\n0\nc/seed-0\nc/a\nc/b\nc/c\nc/d\nSTARTED 0 4\nFT 0 1 2 3\nCOV 0 9\nSTARTED 1 9\nFT 1 1 2 3 4\nCOV 1\nSTARTED 2 9\n\
                       FT 2 4 5 6\nCOV 2\nSTARTED 3 8\nFT 3 5 4 6\nCOV 3\nSTARTED 4 1\nFT 4 7\nCOV 4\n";
        let inputs = read(control).unwrap();
        let (kept, reached, all) = choose(&inputs);
        assert_eq!(names(&kept), ["c/c", "c/d"], "the smaller of equals, and nothing that brings nothing");
        assert_eq!((reached, all), (7, 7));
    }

    #[test]
    fn files_and_bytes_are_bounded() {
        let input = |at: usize, size| Input { path: at.to_string(), size, features: vec![at as u64] };
        let many: Vec<Input> = (0..100).map(|at| input(at, 10)).collect();
        assert_eq!(choose(&many).0.len(), FILES_MAX);
        let large: Vec<Input> = [BYTES_MAX, 10, BYTES_MAX - 10, BYTES_MAX]
            .into_iter()
            .enumerate()
            .map(|(at, size)| input(at, size))
            .collect();
        let (kept, reached, all) = choose(&large);
        assert_eq!(names(&kept), ["1", "2"]);
        assert_eq!((reached, all), (2, 4));
    }

    #[test]
    fn what_is_no_control_file_is_refused() {
        for text in ["", "x", "2\n0\na\n", "1\n0\na\nFT 1 2\n", "1\n0\na\nFT 0 x\n", "1\n0\na\nSTARTED\n"] {
            assert!(read(text).is_none(), "{text:?}");
        }
        assert_eq!(read("1\n0\na\nSTARTED 0 3\n").unwrap()[0].features.len(), 0, "it stumbled there");
    }
}
