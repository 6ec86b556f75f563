//! libFuzzer around `slim_fuzz_targets::http2_connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slim_fuzz_targets::http2_connection(data));
