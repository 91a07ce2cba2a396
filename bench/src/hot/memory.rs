//! What waits: frames in outboxes, deadlines in the wheel.

use super::HotPath;
use ringio_core::base::frame::Frame;
use ringio_core::base::frame_pool::FramePool;
use ringio_core::base::time::Time;
use ringio_core::base::wheel::Wheel;
use ringio_core::broadcast::encode;
use ringio_core::door::EventParts;
use ringio_core::session::outbox::{Joiner, Outbox};
use std::hint::black_box;

pub(super) const PATHS: &[HotPath] = &[
    HotPath { name: "broadcast: encode an event of 64 B", make: || encoded(64), units: 1, allocations: 0 },
    HotPath { name: "broadcast: encode an event of 16 KiB", make: || encoded(16 << 10), units: 1, allocations: 0 },
    HotPath { name: "outbox: one frame to 1,000 sessions", make: || queued(1), units: 1_000, allocations: 0 },
    HotPath {
        name: "outbox: four frames to 1,000 sessions, joined once",
        make: || queued(4),
        units: 1_000,
        allocations: 0,
    },
    HotPath { name: "wheel: move a deadline among 10,000", make: rearmed, units: 1, allocations: 0 },
    HotPath { name: "wheel: a tick that ends 100 of 10,000", make: expired, units: 100, allocations: 0 },
];

fn encoded(size: usize) -> Box<dyn FnMut() -> u64> {
    let json = format!("[\"news\",\"{}\"]", "x".repeat(size));
    let mut pool = FramePool::default();
    Box::new(move || {
        let parts = EventParts { json: black_box(json.as_bytes()), attachments: &[] };
        let encoded = encode::event(pool.buffer(), "/", None, parts);
        pool.frame(encoded).len() as u64
    })
}

fn queued(count: usize) -> Box<dyn FnMut() -> u64> {
    let mut outboxes: Vec<Outbox> = (0..1_000).map(|_| Outbox::default()).collect();
    let frames: Vec<Frame> =
        (0..count).map(|index| encode::text_frame(format!("42[\"news\",{index}]").as_bytes())).collect();
    let (mut joiner, mut pool) = (Joiner::default(), FramePool::default());
    Box::new(move || {
        for frame in &frames {
            for outbox in &mut outboxes {
                // Far below the bound.
                let _ = outbox.push(frame.clone(), 1 << 20, &mut joiner.spares);
            }
        }
        let bytes = outboxes
            .iter_mut()
            .filter_map(|outbox| outbox.take_send(&mut joiner, &mut pool))
            .map(|frame| frame.len() as u64)
            .sum();
        joiner.clear();
        bytes
    })
}

fn rearmed() -> Box<dyn FnMut() -> u64> {
    let mut now = Time::ZERO;
    let mut wheel = Wheel::new(now);
    let mut keys: Vec<_> = (0..10_000).map(|index| wheel.arm(now.after(25_000 + index), index)).collect();
    let mut next = 0;
    Box::new(move || {
        // As a pong does: the deadline of one session moves to a full interval from now.
        next = (next + 7_919) % keys.len();
        now = now.after(0);
        let what = wheel.disarm(keys[next]).unwrap_or(0);
        keys[next] = wheel.arm(now.after(45_000), what);
        what
    })
}

fn expired() -> Box<dyn FnMut() -> u64> {
    let mut now = Time::ZERO;
    let mut wheel = Wheel::new(now);
    for index in 0..10_000_u64 {
        wheel.arm(now.after(1 + index % 100), index);
    }
    Box::new(move || {
        now = now.after(1);
        let mut count = 0;
        while let Some(index) = wheel.poll_expired(now) {
            wheel.arm(now.after(100), index);
            count += 1;
        }
        count
    })
}
