//! What waits until a test says so, where a time would be a race with the machine.

use parking_lot::Mutex;
use ringio::{Ack, Data, Namespace};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Gates by their names: each is closed until somebody opens it, and open from then on.
#[derive(Clone, Default)]
pub struct Gates(Arc<Mutex<HashMap<String, watch::Sender<bool>>>>);

impl Gates {
    /// Returns when the gate is open.
    pub async fn pass(&self, name: &str) {
        let mut gate = self.0.lock().entry(name.to_owned()).or_default().subscribe();
        // It never goes: the map keeps it.
        let _ = gate.wait_for(|is_open| *is_open).await;
    }

    /// `release`(name, ack) opens a gate.
    pub fn handlers(&self, namespace: &Namespace) {
        let gates = self.clone();
        namespace.sockets_on("release", move |Data(name): Data<String>, ack: Ack| {
            gates.0.lock().entry(name).or_default().send_replace(true);
            ack.send(&())
        });
    }
}
