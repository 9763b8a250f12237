//! Every version that the eBPF build depends on, in one place.

/// The target: a little-endian kernel, which every supported one is.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The instruction set level. Kernel 5.12 and later know v3, and the atomic instructions need it.
pub(crate) const CPU: &str = "v3";

/// The linker, as published; it loads the LLVM of the Rust toolchain rather than one of its own.
pub(crate) const LINKER_VERSION: &str = "0.10.4";

/// The major version of LLVM which that linker is made for. It must equal the one rustc has.
pub(crate) const LLVM: u32 = 22;

/// The nightly to install when Debian's packages cannot be had: one with that LLVM.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-19";

/// The first release in which aya's kernel-side crates compile.
pub(crate) const OLDEST_RUSTC: (u32, u32) = (1, 87);

/// Debian's compiler, named by its path because rustup's comes first on the PATH.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Debian's packages of the compiler and of `core` for the BPF target.
pub(crate) const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// Debian's package of clippy for that compiler, which only `lint` needs.
pub(crate) const DEBIAN_CLIPPY_PACKAGE: &str = "rust-web-clippy";

/// The clippy of that package.
pub(crate) const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";
