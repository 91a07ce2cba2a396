//! The attack board: what has knocked over servers of this kind, as programs that try it.
//!
//! ```text
//! board --starts--> server (ours, Node, socketioxide, or the weak one)     CPU clock and memory by pid
//!   |                 ^    ^
//!   |--neighbours-----+    |      echo and count, over WebSocket and polling: must not notice anything
//!   +--an attack-----------+      bounded in bytes and time; says what it expects to hear
//! ```
//!
//! An attack is a story told on a [`scene::Scene`]: it connects, sends, and states what it must hear. What is not as stated, a
//! disturbed neighbour, memory beyond the attack's bound and a server that died are findings; ours must have none. The weak
//! server, which has no limits, must have some under each attack: so each check has been seen to fail.

#![forbid(unsafe_code)]
#![allow(clippy::missing_errors_doc, reason = "errors here are those of sockets, and end a story")]

pub mod attacks;
pub mod board;
pub mod line;
pub mod neighbours;
pub mod scene;
pub mod server;
pub mod table;
pub mod weak;
