//! The OPEN packet: what a new session is told.

use crate::base::frame::Frame;
use crate::broadcast::encode;
use crate::door::Transport;
use crate::options::Options;
use alloc::vec::Vec;
use ringio_codec::engineio::Open;

/// The frame of `0{"sid":..,"upgrades":[..],"pingInterval":..,"pingTimeout":..,"maxPayload":..}`.
#[must_use]
pub fn open_frame(sid: &str, transport: Transport, options: &Options) -> Frame {
    let can_upgrade = transport == Transport::Polling && options.allow_upgrades && options.allow_websocket;
    let upgrades: &[&str] = if can_upgrade { &["websocket"] } else { &[] };
    let mut text = Vec::with_capacity(128);
    Open {
        sid,
        upgrades,
        ping_interval_ms: options.ping_interval_ms,
        ping_timeout_ms: options.ping_timeout_ms,
        payload_bytes_max: options.max_http_buffer_size,
    }
    .encode(&mut text);
    encode::text_frame(&text)
}
