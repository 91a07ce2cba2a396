//! What people want to know, as plans: built in, from a file, or as a search.

pub mod builtin;
pub mod file;
pub mod limit;
