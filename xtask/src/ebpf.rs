//! Building the kernel programs into one object, when they changed.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{
    fingerprint,
    process::{self, say},
    stack,
    toolchain::{self, Toolchain},
    workspace::Workspace,
};

/// Builds the object unless it is of these sources already.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let sources = fingerprint(workspace)?;
    let recipe = toolchain::recipe();
    if is_current(workspace, &sources, &recipe) {
        return Ok(());
    }
    let toolchain = toolchain::setup(workspace)?;
    say(format!("building the kernel programs with {toolchain}"));
    compile(workspace, &toolchain)?;
    let built = fingerprint(workspace)?;
    if built != sources {
        // Cargo brought Cargo.lock up to date, or somebody saved a file: once more, which costs nothing
        // in the first case.
        compile(workspace, &toolchain)?;
    }
    store(workspace, &built, &recipe)
}

fn compile(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    process::run(&mut toolchain.cargo(workspace, "build")).context("build the kernel programs")
}

fn store(workspace: &Workspace, sources: &str, recipe: &str) -> Result<()> {
    let built = toolchain::built_object(workspace);
    let object = fs::read(&built).with_context(|| format!("read the built object {}", built.display()))?;
    ensure!(is_bpf_elf(&object), "{} is no BPF object; is bpf-linker the linker?", built.display());
    say(stack::check(&object).with_context(|| format!("{} is kept from use", built.display()))?);
    // The fingerprint last: an object without one counts as absent.
    process::replace_file(&workspace.object(), &object)?;
    process::replace_file(&workspace.object_recipe(), recipe.as_bytes())?;
    process::replace_file(&workspace.object_sources(), format!("{sources}\n").as_bytes())
}

/// Whether the object is there and building it again would give the same.
fn is_current(workspace: &Workspace, sources: &str, recipe: &str) -> bool {
    workspace.object().is_file()
        && fingerprint::of_object(workspace.root()).as_deref() == Some(sources)
        && fs::read_to_string(workspace.object_recipe()).is_ok_and(|stored| stored == recipe)
}

fn fingerprint(workspace: &Workspace) -> Result<String> {
    fingerprint::of_sources(workspace.root()).context("take the fingerprint of the kernel programs' sources")
}

/// Whether this is a 64-bit ELF file for the BPF machine.
fn is_bpf_elf(bytes: &[u8]) -> bool {
    const EM_BPF: [u8; 2] = 247_u16.to_le_bytes();
    bytes.starts_with(b"\x7fELF\x02\x01") && bytes.get(18..20) == Some(&EM_BPF)
}

#[cfg(test)]
mod tests {
    use super::is_bpf_elf;

    #[test]
    fn an_object_of_this_machine_is_no_bpf_object() {
        let mut header = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\xf7\0";
        assert!(is_bpf_elf(&header));
        header[18] = 62;
        assert!(!is_bpf_elf(&header));
        assert!(!is_bpf_elf(b"\x7fELF\x02\x01"));
    }
}
