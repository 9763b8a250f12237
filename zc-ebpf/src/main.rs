//! The kernel side of zc: one eBPF object, a file for each family of hooks.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

/// The object only exists for the BPF target; on the host this crate is an empty program.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
