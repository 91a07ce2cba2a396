//! What a run has shown, for people and for programs.

pub mod charts;
pub mod compare;
pub mod csv;
pub mod html;
pub mod outcome;
pub mod text;
pub mod threshold;
