//! What a compiler says about itself.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::pins;
use crate::process;

/// The facts about a compiler that decide whether it can build the object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// The whole release, as `1.97.0-nightly`.
    pub(crate) release: String,
    /// Major and minor release.
    pub(crate) number: (u32, u32),
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
}

impl Version {
    /// Asks the compiler that `command` starts.
    pub(crate) fn of(command: &mut Command) -> Result<Self> {
        let printed = process::output(command.arg("-vV"))?;
        Self::parse(&printed).with_context(|| format!("`rustc -vV` wrote something unknown: {printed}"))
    }

    /// Reads the output of `rustc -vV`.
    fn parse(printed: &str) -> Option<Self> {
        let field = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let release = field("release")?;
        let mut parts = release.split('.');
        let number = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let llvm = field("LLVM version")?.split('.').next()?.parse().ok()?;
        Some(Self { release: release.to_owned(), number, llvm })
    }

    /// Refuses a compiler that could not build the object, saying why.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { release, number, llvm } = self;
        let (major, minor) = pins::OLDEST_RUSTC;
        ensure!(*number >= pins::OLDEST_RUSTC, "rustc {release} is older than {major}.{minor}");
        ensure!(
            *llvm == pins::LLVM,
            "rustc {release} has LLVM {llvm}, and bpf-linker {} reads only that of LLVM {}",
            pins::LINKER_VERSION,
            pins::LLVM
        );
        Ok(())
    }
}

/// The directory that the compiler started by `command` keeps its libraries in.
pub(crate) fn sysroot(command: &mut Command) -> Result<PathBuf> {
    let printed = process::output(command.args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(printed.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHTLY: &str = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
        commit-hash: e50aa6fba4e63ab34c72bf9acfd2c307c1155d1a\ncommit-date: 2026-05-19\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";

    #[test]
    fn release_and_llvm_are_read() {
        let version = Version::parse(NIGHTLY);
        let expected = Version { release: "1.97.0-nightly".to_owned(), number: (1, 97), llvm: 22 };
        assert_eq!(version, Some(expected));
    }

    #[test]
    fn another_text_is_no_version() {
        assert_eq!(Version::parse("rustc 1.97.0\n"), None);
        assert_eq!(Version::parse("release: one\nLLVM version: 22\n"), None);
    }

    #[test]
    fn an_old_compiler_and_another_llvm_are_refused_with_the_reason() {
        let old = Version { release: "1.85.0".to_owned(), number: (1, 85), llvm: pins::LLVM };
        assert!(old.check().is_err_and(|error| error.to_string().contains("older than 1.87")));
        let other = Version { release: "1.91.0".to_owned(), number: (1, 91), llvm: 21 };
        assert!(other.check().is_err_and(|error| error.to_string().contains("LLVM 21")));
    }
}
