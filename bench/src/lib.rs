//! What the measuring programs share.
//!
//! ```text
//!  measure --starts--> server (ringio, floor or a peer; core 0)
//!     |                   ^  |
//!     |                TCP|  |CPU clock, RSS by pid
//!     +----starts----> drive (core 1): stamp -> wire -> socket -> wire -> verify -> report (JSON)
//! ```
//!
//! [`drive`] loads one server and checks every message that comes back; [`process`] reads what the server
//! paid for it; [`report`] is the result of one run, which `measure` collects into medians and ratios.
//! The programs are in `src/bin`; `README.md` says how to run each.
#![forbid(unsafe_code)]

pub mod clock;
pub mod drive;
pub mod hot;
pub mod measure;
pub mod process;
pub mod report;
pub mod stamp;
pub mod verify;
pub mod wire;
