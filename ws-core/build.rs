//! Finds out whether the compiler knows the vectors of 64 bytes: those of AVX-512 are stable since Rust 1.89.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(knows_avx512)");
    if minor_version().is_some_and(|minor| minor >= 89) {
        println!("cargo:rustc-cfg=knows_avx512");
    }
}

/// The second number of `rustc 1.89.0 (...)`. A compiler that says something else builds the crate without.
fn minor_version() -> Option<u32> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1)?.strip_prefix("1.")?.split('.').next()?.parse().ok()
}
