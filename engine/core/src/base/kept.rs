//! One value that somebody else keeps with something of the core's: made when it is first wanted, from any thread.
//!
//! Until then it costs a pointer. What it is only its owner knows.

use alloc::boxed::Box;
use core::any::Any;
use core::fmt;
use once_cell::race::OnceBox;

/// Room for one value.
#[derive(Default)]
pub struct Kept(OnceBox<Box<dyn Any + Send + Sync>>);

impl Kept {
    /// The value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.0.get().map(|value| &**value)
    }

    /// The value; made by `make` if there is none. Of two threads that make one at the same time, one value is dropped again.
    pub fn value_or(&self, make: impl FnOnce() -> Box<dyn Any + Send + Sync>) -> &(dyn Any + Send + Sync) {
        &**self.0.get_or_init(|| Box::new(make()))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.0.get().is_some()).finish()
    }
}
