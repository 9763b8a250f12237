//! Debian's compiler and its prebuilt `core` for the BPF target: no nightly, and nothing to build but ours.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    pins,
    rustc::{self, Version},
};
use crate::{apt, process, workspace::Workspace};

/// Debian's compiler, looked at rather than inferred from the state of packages.
pub(crate) fn find() -> Result<Version> {
    let compiler = Path::new(pins::DEBIAN_RUSTC);
    ensure!(compiler.exists(), "there is no {}", pins::DEBIAN_RUSTC);
    let version = Version::of(&mut rustc())?;
    version.check()?;
    let core = rustc::sysroot(&mut rustc())?.join("lib/rustlib").join(pins::TARGET);
    ensure!(core.is_dir(), "there is no {}, the `core` for BPF", core.display());
    Ok(version)
}

/// Installs the packages and looks again.
pub(crate) fn install() -> Result<Version> {
    process::say("Debian's Rust compiler for BPF is needed to build the kernel programs");
    apt::install(&pins::DEBIAN_PACKAGES)?;
    find().context("the packages are installed, but of no use here")
}

/// Installs the clippy of that compiler; rustup's knows another version of `core`.
pub(crate) fn install_clippy() -> Result<()> {
    if Path::new(pins::DEBIAN_CLIPPY).exists() {
        return Ok(());
    }
    process::say("Debian's clippy is needed to lint the kernel programs");
    apt::install(&[pins::DEBIAN_CLIPPY_PACKAGE])
}

/// A directory with nothing but the compiler's LLVM.
///
/// The linker loads the first `libLLVM*` it finds along `LD_LIBRARY_PATH`, and where Debian keeps its
/// libraries there may be three of them.
pub(crate) fn llvm_dir(workspace: &Workspace) -> Result<PathBuf> {
    let printed = process::output(Command::new("ldd").arg(pins::DEBIAN_RUSTC))?;
    let library = llvm_of(&printed)
        .with_context(|| format!("{} is linked with no shared libLLVM", pins::DEBIAN_RUSTC))?;
    let dir = workspace.tools().join("llvm");
    let link = dir.join("libLLVM.so");
    if fs::read_link(&link).ok().as_deref() != Some(Path::new(library)) {
        let renew = || -> io::Result<()> {
            fs::create_dir_all(&dir)?;
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            symlink(library, &link)
        };
        renew().with_context(|| format!("point {} to {library}", link.display()))?;
    }
    Ok(dir)
}

/// Builds and links a program of one function: the only proof that compiler and linker fit together.
pub(crate) fn probe(workspace: &Workspace, linker: &Path, llvm_dir: &Path) -> Result<()> {
    let dir = workspace.tools().join("probe");
    let source = dir.join("probe.rs");
    process::replace_file(&source, PROBE.as_bytes())?;
    let mut rustc = rustc();
    rustc.args([
        "--edition=2024",
        "--crate-type=bin",
        "-Cpanic=abort",
        "-Copt-level=3",
        "-Clto=fat",
        "--target",
        pins::TARGET,
    ]);
    rustc.arg(format!("-Clinker={}", linker.display())).arg("-Clink-arg=--btf");
    rustc.arg("-o").arg(dir.join("probe.o")).arg(&source);
    rustc.env("LD_LIBRARY_PATH", llvm_dir);
    process::output(&mut rustc).context("Debian's compiler and bpf-linker cannot build a BPF program")?;
    Ok(())
}

const PROBE: &str = r#"#![no_std]
#![no_main]

#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tracepoint/sys_exit")]
pub extern "C" fn probe() -> i32 {
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
"#;

/// The path of libLLVM in the output of `ldd`.
fn llvm_of(printed: &str) -> Option<&str> {
    let line = printed.lines().find(|line| line.trim_start().starts_with("libLLVM"))?;
    line.split("=> ").nth(1)?.split_whitespace().next().filter(|path| path.starts_with('/'))
}

fn rustc() -> Command {
    let mut rustc = Command::new(pins::DEBIAN_RUSTC);
    rustc.env_remove("RUSTUP_TOOLCHAIN").env_remove("LD_LIBRARY_PATH");
    rustc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_llvm_is_read_from_ldd() {
        let printed = "\tlinux-vdso.so.1 (0x00007f19)\n\
            \tlibLLVM.so.22.1 => /lib/x86_64-linux-gnu/libLLVM.so.22.1 (0x00007f19)\n";
        assert_eq!(llvm_of(printed), Some("/lib/x86_64-linux-gnu/libLLVM.so.22.1"));
        assert_eq!(llvm_of("\tlibLLVM.so.22.1 => not found\n"), None);
        assert_eq!(llvm_of("\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"), None);
    }
}
