//! What the steady path allocates, counted by an allocator that counts: each hot path of `hot` exactly as often
//! as its list says, so that less is written down too.

#![allow(clippy::unwrap_used)]

use allocation_counter::measure;
use ringio_bench::hot;

/// Allocations of one call, after as many to warm up; the mean of many, rounded up.
fn allocations(mut unit: impl FnMut() -> u64) -> u64 {
    const CALLS: u64 = 100;
    for _ in 0..CALLS {
        std::hint::black_box(unit());
    }
    let counted = measure(|| {
        for _ in 0..CALLS {
            std::hint::black_box(unit());
        }
    });
    counted.count_total.div_ceil(CALLS)
}

#[test]
fn every_path_allocates_as_often_as_the_list_says() {
    let mut wrong = Vec::new();
    for path in hot::paths() {
        let count = allocations((path.make)());
        println!("{:<58} {count:>5} allocations", path.name);
        if count != path.allocations {
            wrong.push(format!("{}: {count} allocations, the list says {}", path.name, path.allocations));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| *std::hint::black_box(Box::new(7_u64))), 1);
    assert_eq!(allocations(|| 7), 0);
}
