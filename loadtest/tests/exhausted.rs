//! Out of descriptors in the middle of connecting: a sentence, and the clients that fitted are measured. Alone in its
//! program, because the limit is the process's.
#![allow(clippy::unwrap_used)]

mod servers;

use nix::sys::resource::{Resource, setrlimit};
use ringio_loadtest::failure::Class;
use ringio_loadtest::run::{RunOptions, Unobserved, run};
use ringio_loadtest::scenario::builtin::{Scenario, Settings, plan};
use ringio_loadtest::target::{PATH_DEFAULT, Target};
use servers::start_faulty;

#[test]
fn clients_that_fit_are_measured_and_the_others_explained() {
    let server = start_faulty("none");
    let target = Target::resolve(&server.url, PATH_DEFAULT).unwrap();
    let settings = Settings { clients: 100, rate: Some(200.0), duration_ms: 500, warmup_ms: 0, ..Settings::default() };
    let (plan, phases) = plan(Scenario::Echo, &settings, target).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 60, 60).unwrap();
    let outcome = run(plan, &phases, RunOptions::default(), &mut Unobserved).unwrap();
    let exhausted = &outcome.failures.0[&Class::Exhausted];
    assert!(exhausted.count > 40 && exhausted.first.contains("ulimit -n"), "{exhausted:?}");
    assert_eq!((outcome.total.sent, outcome.total.received), (100, 100));
    assert!(!outcome.is_complete && outcome.notes[0].contains("of 100 clients could connect"), "{:?}", outcome.notes);
}
