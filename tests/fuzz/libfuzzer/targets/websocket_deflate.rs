//! `websocket_deflate` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringio_fuzz::websocket::deflate(bytes));
