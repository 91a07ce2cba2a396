//! What happened, as one number and, if wanted, in words.
//!
//! Every step of a story is mixed into a hash: the same seed must give the same hash, or something in the engine or in
//! the simulator depends on more than the seed. The last lines are kept and printed when a story fails.

use std::cell::RefCell;
use std::collections::VecDeque;

/// Lines that are kept.
const LINES_MAX: usize = 60;

#[derive(Default)]
struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    is_printed: bool,
}

thread_local! {
    static TRACE: RefCell<Trace> = RefCell::default();
}

/// Begins a story; with `is_printed` every line goes to standard error.
pub fn begin(is_printed: bool) {
    TRACE.set(Trace { hash: 0xcbf2_9ce4_8422_2325, is_printed, ..Trace::default() });
}

/// Takes note of a step.
pub fn take(line: std::fmt::Arguments<'_>) {
    let line = line.to_string();
    TRACE.with_borrow_mut(|trace| {
        for byte in line.bytes() {
            trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if trace.is_printed {
            eprintln!("{line}");
        }
        if trace.lines.len() == LINES_MAX {
            trace.lines.pop_front();
        }
        trace.lines.push_back(line);
    });
}

/// The hash of all steps so far.
#[must_use]
pub fn hash() -> u64 {
    TRACE.with_borrow(|trace| trace.hash)
}

/// The last steps.
#[must_use]
pub fn last_lines() -> Vec<String> {
    TRACE.with_borrow(|trace| trace.lines.iter().cloned().collect())
}

/// Takes note of a step, as `format!` does.
macro_rules! note {
    ($($arguments:tt)*) => { $crate::trace::take(format_args!($($arguments)*)) };
}
pub(crate) use note;
