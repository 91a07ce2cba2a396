//! Whole servers of Ringio on a simulated kernel, network and clock: one seed is one story.
//!
//! ```text
//!   clients (polite, slow, flaky, rude, silent)
//!      | network: latency, small buffers, resets
//!   kernel: short sends and receives, EAGAIN, ENOBUFS, late and reordered completions, overflow, ...
//!      | trait Ring
//!   Uring --> turn --> core --> application      all of it production code but the application
//!                        |  link: delays, cuts, crashes (one of two or three servers)
//!      oracle: every event once and in order, answers once, indexes agree, nothing is left, same seed same hash
//! ```
//! | question | file |
//! |---|---|
//! | what may go wrong below the driver | [`kernel`] |
//! | what TCP does | [`network`] |
//! | what clients do | [`client`] |
//! | what the application does | [`application`] |
//! | what servers of a cluster tell each other, on its way | [`link`] |
//! | what must be true | [`oracle`] |
//! | how a server starts, crashes, starts again | `server` |
//! | what a seed's story is about | [`plot`] |
//! | in which order things happen | [`world`] |

#![forbid(unsafe_code)]

pub mod application;
pub mod chance;
pub mod client;
pub mod clock;
pub mod command_line;
pub mod kernel;
pub mod link;
pub mod network;
pub mod oracle;
pub mod plot;
mod server;
pub mod trace;
pub mod world;
