//! Who: joining, leaving, selecting; few members and many.

use super::HotPath;
use ringio_core::room::members::Members;
use ringio_core::room::select::{Selection, Target, select};
use ringio_core::room::{Memberships, Rooms};
use std::hint::black_box;
use std::sync::Arc;

pub(super) const PATHS: &[HotPath] = &[
    HotPath { name: "room: join and leave one of ten", make: join_and_leave, units: 1, allocations: 0 },
    HotPath { name: "room: select 10 of 10,000", make: || selected(1, 10, 0), units: 1, allocations: 0 },
    HotPath { name: "room: select 5,000 of 10,000", make: || selected(1, 5_000, 0), units: 5_000, allocations: 0 },
    HotPath {
        name: "room: select three rooms of 3,000 but one of 1,000",
        make: || selected(3, 3_000, 1_000),
        units: 3_000,
        allocations: 0,
    },
];

const SOCKETS: u32 = 10_000;

fn members(count: u32, first: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |index| (first + index * (SOCKETS / count)) % SOCKETS)
}

fn join_and_leave() -> Box<dyn FnMut() -> u64> {
    let mut rooms = Rooms::new(1);
    let mut sockets: Vec<Memberships> = (0..SOCKETS).map(|_| Memberships::default()).collect();
    let names: Vec<String> = (0..10).map(|index| format!("room {index}")).collect();
    for (slot, memberships) in sockets.iter_mut().enumerate() {
        rooms.join(slot as u32, memberships, &names[slot % 10]);
    }
    Box::new(move || {
        let joined = rooms.join(11, &mut sockets[11], black_box(&names[5]));
        let left = rooms.leave(11, &mut sockets[11], black_box(&names[5]));
        u64::from(joined.joined) + u64::from(left.left)
    })
}

/// `count` rooms of `size` members, less one room of `except` members.
fn selected(count: u32, size: u32, except: u32) -> Box<dyn FnMut() -> u64> {
    let mut rooms = Rooms::new(1);
    let mut sockets: Vec<Memberships> = (0..SOCKETS).map(|_| Memberships::default()).collect();
    let mut everyone = Members::default();
    for slot in 0..SOCKETS {
        everyone.insert(slot);
    }
    let mut target = Target::default();
    for index in 0..count {
        let name: Arc<str> = Arc::from(format!("room {index}"));
        for slot in members(size, index) {
            rooms.join(slot, &mut sockets[slot as usize], &name);
        }
        target.rooms.push(name);
    }
    if except > 0 {
        for slot in members(except, 0) {
            rooms.join(slot, &mut sockets[slot as usize], "except");
        }
        target.except.push(Arc::from("except"));
    }
    let mut selection = Selection::default();
    Box::new(move || {
        select(&rooms, &everyone, black_box(&target), |_| None, &mut selection);
        selection.iter().map(u64::from).sum()
    })
}
