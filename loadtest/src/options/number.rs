//! Numbers on the command line: what they may be, told in a sentence where they are not.
//!
//! Whatever passes here can be planned: no negative rate, no endless second, no time that the clock of a run does not hold.

use crate::block::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN};
use crate::plan::{DURATION_MS_MAX, RATE_MAX};

/// A rate of messages: 0 is none.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.0, RATE_MAX, "a rate is 0 to 10,000,000 per second")
}

/// A rate of connections: some have to come.
pub(super) fn connect_rate(text: &str) -> Result<f64, String> {
    within(text, 0.001, RATE_MAX, "a rate of connections is 0.001 to 10,000,000 per second")
}

/// Seconds that something is measured, or waited for.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.001, DURATION_MS_MAX as f64 / 1e3, "a time is 0.001 to 200,000 seconds")
}

/// Seconds that may be none.
pub(super) fn seconds_or_none(text: &str) -> Result<f64, String> {
    within(text, 0.0, DURATION_MS_MAX as f64 / 1e3, "a time is 0 to 200,000 seconds")
}

/// Seconds of a step of the search: who is connected is known once a second.
pub(super) fn step(text: &str) -> Result<f64, String> {
    within(text, 1.0, DURATION_MS_MAX as f64 / 1e3, "a step takes 1 to 200,000 seconds")
}

/// A bound of latency in milliseconds.
pub(super) fn latency_ms(text: &str) -> Result<f64, String> {
    within(text, 0.001, DURATION_MS_MAX as f64, "a latency is 0.001 to 200,000,000 milliseconds")
}

/// A share of the clients.
pub(super) fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0, "a share is 0 to 1: 0.1 is a tenth")
}

/// Bytes of a message.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(size));
    size.ok_or_else(|| {
        format!("a size is {BLOCK_BYTES_MIN} (the stamp by which messages are checked) to {BLOCK_BYTES_MAX} bytes")
    })
}

/// Neither NaN nor anything outside.
fn within(text: &str, least: f64, most: f64, sentence: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| sentence.to_owned())
}
