//! Guides for those who come from another server; every snippet in them compiles.

#[doc = include_str!("../docs/from-node.md")]
pub mod from_node {}

#[doc = include_str!("../docs/from-socketioxide.md")]
pub mod from_socketioxide {}
