//! Whole servers of Ringio on a simulated kernel, network and clock: one seed is one story.
//!
//! ```text
//!   clients (polite, slow, flaky, rude, silent)
//!      | network: latency, small buffers, resets
//!   kernel: short sends and receives, EAGAIN, ENOBUFS, late and reordered completions, overflow, ...
//!      | trait Ring
//!   Uring --> turn --> core --> application      all of it production code but the application
//!      oracle: every event once and in order, answers once, indexes agree, nothing is left, same seed same hash
//! ```
//! | question | file |
//! |---|---|
//! | what may go wrong below the driver | [`kernel`] |
//! | what TCP does | [`network`] |
//! | what clients do | [`client`] |
//! | what the application does | [`application`] |
//! | what must be true | [`oracle`] |
//! | in which order things happen | [`world`] |
//!
//! A cluster is a seam that is left open: the broker would be one more entry of the scheduler in [`world`].

#![forbid(unsafe_code)]

pub mod application;
pub mod chance;
pub mod client;
pub mod clock;
pub mod command_line;
pub mod kernel;
pub mod network;
pub mod oracle;
pub mod trace;
pub mod world;
