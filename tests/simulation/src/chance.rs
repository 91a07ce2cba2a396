//! All chance of a story: streams that its seed determines.
//!
//! Kernel, network, clients and application draw from streams of their own, so that one draw more in one of them does
//! not change what the others do.

/// A stream of chance.
#[derive(Clone, Debug)]
pub struct Chance(fastrand::Rng);

impl Chance {
    /// The stream `name` of a story.
    #[must_use]
    pub fn new(seed: u64, name: u64) -> Self {
        Self(fastrand::Rng::with_seed(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ name.wrapping_mul(0xd134_2543_de82_ef95),
        ))
    }

    /// True once in `count` times; never for 0.
    pub fn one_in(&mut self, count: u32) -> bool {
        count > 0 && self.0.u32(..count) == 0
    }

    /// True in `percent` of 100 times.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.u32(..100) < percent
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    /// A number of this range, both ends included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.u64(least..=most)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
