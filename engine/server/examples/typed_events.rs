//! Events declared once, with the types of their arguments and of their acknowledgement.
//!
//! ```text
//! cargo run --release -p ringio --example typed_events [port]
//! ```
//! The constants below are the protocol: a listener that expects other arguments, an emit that gives others, an
//! acknowledgement of another type do not compile. On the wire they are events like all others.
//!
//! | event | arguments | acknowledgement |
//! |---|---|---|
//! | `order` (from clients) | { item, quantity } | the order's number |
//! | `order placed` (to everybody) | number, { item, quantity } | |
//! | `confirm` (to the sender) | number | whether it is confirmed |
//! | `confirmed` (to everybody) | number | |

use ringio::{Event, Server, Socket};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Clone, Deserialize, Serialize)]
struct Order {
    item: String,
    quantity: u32,
}

const ORDER: Event<Order, u32> = Event::new("order");
const ORDER_PLACED: Event<(u32, Order)> = Event::new("order placed");
const CONFIRM: Event<u32, bool> = Event::new("confirm");
const CONFIRMED: Event<u32> = Event::new("confirmed");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().skip(1).last().map_or(Ok(3000), |port| port.parse())?;
    let io = Server::new();
    let numbers = Arc::new(AtomicU32::new(1));

    let everyone = io.clone();
    io.on_connection(move |socket: Socket| {
        let (everyone, numbers) = (everyone.clone(), Arc::clone(&numbers));
        ORDER.on(&socket, move |socket, order, ack| {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            ack.send(&number);
            ORDER_PLACED.emit(&everyone, &(number, order));
            // The answer is a `bool`, because the event says so.
            let everyone = everyone.clone();
            let question = CONFIRM.emit_with_ack(&socket.timeout(Duration::from_secs(30)), &number);
            question.on_reply(move |answer| {
                if matches!(answer, Ok(true)) {
                    CONFIRMED.emit(&everyone, &number);
                }
            });
        });
    });

    ringio::stop_on_signals(&io)?;
    let running = io.start(port)?;
    println!("ready on http://localhost:{port}");
    running.join();
    Ok(())
}
