//! What went wrong: all of it counted, the first of it told.
//!
//! A broken server breaks thousands of messages at once; only the first one says why.
use crate::verify::Faults;

/// Counts of faults and the story of the first.
#[derive(Debug, Default)]
pub(crate) struct FaultLog {
    pub(crate) counts: Faults,
    first: Option<String>,
}

impl FaultLog {
    /// Keeps and prints `text` if it is the first; the caller counts.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.first.is_none() {
            let text = text();
            eprintln!("drive: first fault: {text}");
            self.first = Some(text);
        }
    }

    /// Counts bytes that are not what they must be.
    pub(crate) fn note_corrupt(&mut self, client: usize, what: &str, bytes: &[u8]) {
        self.counts.corrupt += 1;
        self.note(|| {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
            format!("client {client}: {what}, {} bytes: {start:?}", bytes.len())
        });
    }

    /// The first fault, for people.
    pub(crate) fn first(&self) -> &str {
        self.first.as_deref().unwrap_or("none")
    }
}
