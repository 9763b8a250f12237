//! What a machine can say about the code without running it.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{self, say},
    toolchain,
    workspace::Workspace,
};

/// The version whose configuration `deny.toml` is written for; any other that is installed may do.
const CARGO_DENY: &str = "0.20.2";

const WARNINGS_ARE_ERRORS: [&str; 3] = ["--", "-D", "warnings"];

type Check = fn(&Workspace) -> Result<()>;

/// Runs every check, also after one has failed: a person mends them all at once.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let checks: [(&str, Check); 4] = [
        ("formatting", formatting),
        ("clippy", clippy),
        ("clippy for the kernel programs", clippy_for_bpf),
        ("dependencies", dependencies),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        say(format!("lint: {name}"));
        if let Err(error) = check(workspace) {
            say(format!("{error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    Ok(())
}

fn formatting(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    process::run(cargo.args(["fmt", "--all", "--check"])).context("`cargo fmt` mends it")
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["clippy", "--workspace", "--exclude", "zc-ebpf", "--all-targets"]).args(WARNINGS_ARE_ERRORS);
    process::run(&mut cargo)
}

/// The kernel programs are only there for the BPF target: on this machine's they are an empty crate.
fn clippy_for_bpf(workspace: &Workspace) -> Result<()> {
    let toolchain = toolchain::setup(workspace)?;
    process::run(toolchain.clippy(workspace)?.args(WARNINGS_ARE_ERRORS))
}

/// Licences, sources and banned crates. Advisories and yanked versions are left out: they come from
/// databases that change by themselves, so that yesterday's commit would fail today, and need the network.
fn dependencies(workspace: &Workspace) -> Result<()> {
    if process::find("cargo-deny").is_none() {
        say("building cargo-deny, which checks the licences of dependencies (some minutes, once)");
        let mut cargo = workspace.cargo();
        cargo
            .args(["install", "cargo-deny", "--version", CARGO_DENY, "--locked"])
            .env_remove("CARGO_TARGET_DIR");
        process::run(&mut cargo).context("install cargo-deny")?;
    }
    let mut deny = Command::new("cargo-deny");
    deny.current_dir(workspace.root());
    deny.args(["--all-features", "--log-level", "warn", "check", "bans", "licenses", "sources"]);
    process::run(&mut deny)
}
