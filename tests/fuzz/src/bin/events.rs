//! The fuzz target of mig_fuzz::PARSERS that has this file's name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mig_fuzz::check("events", data));
