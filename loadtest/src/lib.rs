//! Load-tests any Socket.IO server, whatever it is written in.
//!
//! ```text
//! scenario --> plan --> run --> engine (workers) --> protocol --> the server
//!                        |         |
//!                     observer   verify, statistics --> outcome --> report (text, JSON, CSV, HTML), compare
//! ```
//!
//! `scenario` says what people want to know, `plan` what the workers do, `protocol` speaks, `engine` moves bytes and
//! checks each message, `run` conducts the workers and watches the server, `report` tells. Latency counts from the time
//! a message was due, not from when it was sent (no coordinated omission).

#![forbid(unsafe_code)]

pub mod block;
pub mod cli;
pub mod clock;
pub mod engine;
pub mod failure;
pub mod faulty;
pub mod options;
pub mod plan;
pub mod protocol;
pub mod report;
pub mod run;
pub mod saturation;
pub mod scenario;
pub mod screen;
pub mod server_process;
pub mod target;
pub mod template;
