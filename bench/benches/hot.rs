//! The hot paths by the clock. `cargo bench -p ringio-bench`; instructions are counted by `bin/instructions.rs`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringio_bench::hot;

fn all(criterion: &mut Criterion) {
    for path in hot::paths() {
        let (group, name) = path.name.split_once(": ").unwrap_or(("other", path.name));
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(path.units.into()));
        group.bench_function(name, |bencher| {
            let mut unit = (path.make)();
            // Printed with the results: a path that does something else has another number.
            println!("{}: checksum {}", path.name, unit());
            bencher.iter(&mut unit);
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = all
}
criterion_main!(benches);
