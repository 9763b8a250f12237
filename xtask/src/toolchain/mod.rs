//! The toolchain that builds the kernel programs: finding one that works, or installing it.

mod debian;
mod linker;
mod nightly;
pub(crate) mod pins;
mod rustc;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    apt,
    process::{self, say},
    workspace::Workspace,
};

/// The variable by which a user decides instead of us.
const CHOICE: &str = "ZC_BPF_TOOLCHAIN";

/// A compiler and a linker that were found to fit together.
pub(crate) struct Toolchain {
    compiler: Compiler,
    release: String,
    llvm_dir: PathBuf,
    linker: PathBuf,
}

enum Compiler {
    Debian,
    /// By its name to rustup.
    Nightly(String),
}

/// Finds the toolchain, or installs what is missing of it.
pub(crate) fn setup(workspace: &Workspace) -> Result<Toolchain> {
    let (compiler, release, llvm_dir) = match find_compiler()? {
        Found::Nightly(nightly::Nightly { name, version, llvm_dir }) => {
            (Compiler::Nightly(name), version.release, llvm_dir)
        }
        Found::Debian(version) => (Compiler::Debian, version.release, debian::llvm_dir(workspace)?),
    };
    let linker = linker::find_or_install(workspace)?;
    if matches!(compiler, Compiler::Debian) {
        debian::probe(workspace, &linker, &llvm_dir)?;
    }
    Ok(Toolchain { compiler, release, llvm_dir, linker })
}

enum Found {
    Nightly(nightly::Nightly),
    Debian(rustc::Version),
}

fn find_compiler() -> Result<Found> {
    let choice = env::var(CHOICE).unwrap_or_default();
    match choice.as_str() {
        "" => find_any(),
        "nightly" => nightly::find().or_else(|why| missing(&why, nightly::install)).map(Found::Nightly),
        "debian" => debian::find().or_else(|why| missing(&why, debian::install)).map(Found::Debian),
        other => bail!("{CHOICE}={other} is unknown; set it to `nightly` or `debian`, or not at all"),
    }
    .with_context(|| match choice.as_str() {
        "" => "no toolchain can build the kernel programs".to_owned(),
        choice => format!("{CHOICE}={choice} asks for a toolchain that cannot be had"),
    })
}

/// What is there comes first, then what can be installed; a nightly before Debian's, because who has one
/// with `core`'s source has it for this.
fn find_any() -> Result<Found> {
    let mut reasons = Vec::new();
    match nightly::find() {
        Ok(found) => return Ok(Found::Nightly(found)),
        Err(error) => reasons.push(format!("nightly: {error:#}")),
    }
    match debian::find() {
        Ok(found) => return Ok(Found::Debian(found)),
        Err(error) => reasons.push(format!("Debian's: {error:#}")),
    }
    say(format!("no toolchain for BPF yet ({})", reasons.join("; ")));

    let mut failures = Vec::new();
    if apt::is_available() {
        match debian::install() {
            Ok(installed) => return Ok(Found::Debian(installed)),
            Err(error) => failures.push(format!("Debian's packages: {error:#}")),
        }
    }
    if process::find("rustup").is_some() {
        match nightly::install() {
            Ok(installed) => return Ok(Found::Nightly(installed)),
            Err(error) => failures.push(format!("rustup: {error:#}")),
        }
    }
    if failures.is_empty() {
        failures.push("neither apt-get nor rustup is here to install one".to_owned());
    }
    bail!("{}{}", failures.join("; "), advice())
}

fn missing<T>(why: &anyhow::Error, install: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format!("the toolchain for BPF cannot be used yet: {why:#}"));
    install()
}

fn advice() -> String {
    format!(
        "\none of these, and then the same command again, mends it:\n  sudo {}\n  rustup {}",
        apt::typed(&pins::DEBIAN_PACKAGES),
        nightly::typed().join(" ")
    )
}

impl Toolchain {
    /// A cargo that builds for BPF, with `subcommand` and what belongs to the toolchain already given.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut cargo = match &self.compiler {
            Compiler::Debian => {
                let mut cargo = Command::new(process::cargo());
                cargo.arg(subcommand);
                cargo
            }
            Compiler::Nightly(name) => nightly::rustup(&["run", name, "cargo", subcommand]),
        };
        self.prepare(&mut cargo, workspace);
        cargo
    }

    /// The same for clippy, installed if need be.
    pub(crate) fn clippy(&self, workspace: &Workspace) -> Result<Command> {
        match &self.compiler {
            Compiler::Debian => {
                debian::install_clippy()?;
                let mut clippy = Command::new(pins::DEBIAN_CLIPPY);
                clippy.arg("clippy");
                self.prepare(&mut clippy, workspace);
                // Which cargo it calls back; its own would be another version of the one in use.
                clippy.env("CARGO", process::cargo());
                Ok(clippy)
            }
            Compiler::Nightly(name) => {
                nightly::install_clippy(name)?;
                Ok(self.cargo(workspace, "clippy"))
            }
        }
    }

    fn prepare(&self, cargo: &mut Command, workspace: &Workspace) {
        without_settings(cargo);
        cargo
            .current_dir(workspace.root())
            .env("CARGO_TARGET_DIR", workspace.root().join("target/bpf-build"))
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags())
            .env("LD_LIBRARY_PATH", &self.llvm_dir);
        match &self.compiler {
            // aya's kernel side uses features that only a nightly, or this variable, lets a crate use.
            Compiler::Debian => cargo.env("RUSTC", pins::DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1"),
            Compiler::Nightly(_) => cargo.args(["-Z", "build-std=core"]),
        };
        cargo.args(["--package", "zc-ebpf", "--release", "--target", pins::TARGET]);
    }

    fn rustflags(&self) -> String {
        let linker = format!("-Clinker={}", self.linker.display());
        [linker].into_iter().chain(flags()).collect::<Vec<_>>().join("\x1f")
    }
}

/// What decides about the object besides its sources, in one line: with other flags it is another object.
pub(crate) fn recipe() -> String {
    let choice = env::var(CHOICE).unwrap_or_default();
    format!("{} {} {choice} {}", pins::TARGET, pins::LINKER_VERSION, flags().join(" "))
}

fn flags() -> [String; 6] {
    let cpu = pins::CPU;
    // The registers saved at a system call differ by architecture; the object serves the one it is built on.
    let arch = env::consts::ARCH;
    [
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // The order of copies is no matter here, and the option for it makes a call of every small one.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        // The compiler passes this on to the linker as well.
        format!("-Ctarget-cpu={cpu}"),
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "--check-cfg=cfg(bpf_target_arch,values(\"aarch64\",\"x86_64\"))".to_owned(),
    ]
}

impl std::fmt::Display for Toolchain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { compiler, release, llvm_dir: _, linker } = self;
        match compiler {
            Compiler::Debian => write!(f, "Debian's rustc {release}")?,
            Compiler::Nightly(name) => write!(f, "rustc {release} ({name})")?,
        }
        write!(f, ", bpf-linker {} ({})", pins::LINKER_VERSION, linker.display())
    }
}

/// Takes away settings that are meant for programs of this machine: flags, wrappers, another toolchain.
fn without_settings(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if is_build_setting(&text) {
            command.env_remove(&name);
        }
    }
}

fn is_build_setting(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];
    let compiler =
        ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"];
    compiler.contains(&name)
        || name == "CLIPPY_ARGS"
        || (name.starts_with("CARGO") && !kept.iter().any(|prefix| name.starts_with(prefix)))
}

/// Where a build for BPF leaves its result.
pub(crate) fn built_object(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/bpf-build").join(pins::TARGET).join(Path::new("release/zc-ebpf"))
}

#[cfg(test)]
mod tests {
    use super::is_build_setting;

    #[test]
    fn settings_for_this_machine_do_not_reach_the_build_for_bpf() {
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_PROFILE_RELEASE_LTO"]
        {
            assert!(is_build_setting(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_X_INDEX", "PATH", "RUSTUP_HOME"] {
            assert!(!is_build_setting(name), "{name}");
        }
    }
}
