//! What permessage-deflate gains and costs by message, with contexts kept and forgotten: the figures behind the defaults of
//! `PerMessageDeflate`. Messages are events with lists of small objects, from a fixed seed.
//!
//! ```text
//! cargo run --release -p ringio-bench --bin deflate
//! ```

use ringio_codec::websocket::{Deflater, WindowBits};
use std::time::Instant;

const MESSAGE_COUNT: usize = 500;
const ROUND_COUNT: usize = 5;

fn main() {
    println!("| bytes | level | context | ratio | us per message | us per KiB |\n|---|---|---|---|---|---|");
    for item_count in [2, 20, 70, 300] {
        let messages: Vec<Vec<u8>> = (0..MESSAGE_COUNT as u64).map(|number| message(number, item_count)).collect();
        let plain_bytes: usize = messages.iter().map(Vec::len).sum();
        for level in [1, 6] {
            for (context, forgets) in [("forgotten", true), ("kept", false)] {
                let (bytes, seconds) = (0..ROUND_COUNT)
                    .map(|_| compress(&messages, level, forgets))
                    .min_by(|one, other| one.1.total_cmp(&other.1))
                    .unwrap_or_default();
                let micros = seconds * 1e6;
                println!(
                    "| {} | {level} | {context} | {:.1} | {:.1} | {:.1} |",
                    plain_bytes / MESSAGE_COUNT,
                    plain_bytes as f64 / bytes as f64,
                    micros / MESSAGE_COUNT as f64,
                    micros / (plain_bytes as f64 / 1024.0),
                );
            }
        }
    }
}

/// Compressed bytes and seconds for all messages on one connection.
fn compress(messages: &[Vec<u8>], level: u8, forgets: bool) -> (usize, f64) {
    let mut deflater = Deflater::new(level, WindowBits::MAX, forgets);
    let (mut bytes, mut out) = (0, Vec::new());
    let start = Instant::now();
    for message in messages {
        out.clear();
        deflater.compress(message, &mut out);
        bytes += out.len();
    }
    (bytes, start.elapsed().as_secs_f64())
}

fn message(number: u64, item_count: usize) -> Vec<u8> {
    let mut random = number;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 20
    };
    let items: Vec<String> = (0..item_count)
        .map(|_| {
            let (id, user, score) = (next(), next() % 1_000, next() % 100_000);
            format!("{{\"id\":{id},\"user\":\"user-{user}\",\"score\":{score},\"online\":{}}}", score % 2 == 0)
        })
        .collect();
    format!("42[\"update\",{{\"room\":\"lobby\",\"items\":[{}]}}]", items.join(",")).into_bytes()
}
