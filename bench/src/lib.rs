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

pub mod callgrind;
pub mod clock;
pub mod cores;
pub mod crowd;
pub mod drive;
pub mod growth;
pub mod hot;
pub mod in_process;
pub mod measure;
pub mod plot;
pub mod process;
pub mod record;
pub mod report;
pub mod stamp;
pub mod verify;
pub mod wire;
