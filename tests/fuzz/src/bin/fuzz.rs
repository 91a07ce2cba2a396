//! `fuzz MINUTES [TARGET]`: the seeded mutator over all targets, or one, for so long.
//! `fuzz seeds FOLDER`: writes each target's beginnings into a folder of its name, for another fuzzer.
//! `fuzz keep CONTROL FOLDER`: puts the best inputs that a control file of libFuzzer names into a folder, and removes what else is there.

use ringio_fuzz::{TARGETS, driver, keep};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some("seeds") {
        return write_seeds(Path::new(&arguments.nth(1).unwrap_or_else(|| ".".to_owned())));
    }
    if std::env::args().nth(1).as_deref() == Some("keep") {
        let (Some(control), Some(folder)) = (arguments.nth(1), arguments.next()) else {
            println!("fuzz keep CONTROL FOLDER");
            return ExitCode::FAILURE;
        };
        return keep_best(&control, Path::new(&folder)).unwrap_or_else(|error| {
            println!("{control}, {folder}: {error}");
            ExitCode::FAILURE
        });
    }
    let minutes: f64 = arguments.next().and_then(|minutes| minutes.parse().ok()).unwrap_or(1.0);
    let only = arguments.next();
    let (start, limit) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let (mut seed, mut count) = (0, 0);
    while start.elapsed() < limit {
        for target in TARGETS.iter().filter(|target| only.as_ref().is_none_or(|only| only == target.name)) {
            let inputs = driver::corpus(target, &corpus);
            if let Err((input, wrong)) = driver::run(target, &inputs, seed, 2_000) {
                println!("{}: {wrong}\n{input:?}", target.name);
                return ExitCode::FAILURE;
            }
            count += 2_000;
        }
        seed += 1;
    }
    println!("{count} inputs, {seed} rounds: nothing found");
    ExitCode::SUCCESS
}

fn write_seeds(folder: &Path) -> ExitCode {
    for target in TARGETS {
        let folder = folder.join(target.name);
        let written = std::fs::create_dir_all(&folder).and_then(|()| {
            let seeds = target.seeds.iter().enumerate();
            seeds.into_iter().try_for_each(|(at, seed)| std::fs::write(folder.join(format!("seed-{at}")), seed))
        });
        if let Err(error) = written {
            println!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn keep_best(control: &str, folder: &Path) -> std::io::Result<ExitCode> {
    let Some(inputs) = keep::read(&std::fs::read_to_string(control)?) else {
        println!("{control}: not the control file of a merge");
        return Ok(ExitCode::FAILURE);
    };
    let (kept, reached, all) = keep::choose(&inputs);
    // All are read before any is removed: the folder may be one of those that were merged.
    let contents = kept.iter().map(|input| std::fs::read(&input.path)).collect::<Result<Vec<_>, _>>()?;
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    for (input, content) in kept.iter().zip(&contents) {
        std::fs::write(folder.join(Path::new(&input.path).file_name().unwrap_or_default()), content)?;
    }
    let bytes: usize = contents.iter().map(Vec::len).sum();
    println!(
        "{}: {} of {} inputs, {bytes} bytes, {reached} of {all} features",
        folder.display(),
        kept.len(),
        inputs.len()
    );
    Ok(ExitCode::SUCCESS)
}
