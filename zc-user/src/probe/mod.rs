//! What can be attached on this machine, and attaching it.

pub mod attach;
pub mod btf;
pub mod facts;
pub mod hook;
mod load;
mod object;
mod plan;
mod prime;
pub mod session;
pub mod size;

/// The kernel programs, or nothing in a build without an eBPF toolchain.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/zc-ebpf.o"));
