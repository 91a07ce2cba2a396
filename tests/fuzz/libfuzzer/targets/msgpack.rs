//! `msgpack` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringio_fuzz::packets::msgpack(bytes));
