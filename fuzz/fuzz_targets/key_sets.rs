//! libFuzzer around `slim_fuzz_targets::key_sets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slim_fuzz_targets::key_sets(data));
