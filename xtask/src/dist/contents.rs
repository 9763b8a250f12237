//! Which files there are, and where they belong below `/usr` or `/usr/local`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{Release, notices};
use crate::process;

/// A file to be handed out.
pub(super) struct Item {
    /// Below the prefix.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) contents: Vec<u8>,
}

/// Where documents go.
pub(super) const DOC: &str = "share/doc/zc";
/// Where manual pages go.
pub(super) const MAN: &str = "share/man/man1";
/// The service, for `/usr/bin/zc`.
pub(super) const UNIT: &str = "lib/systemd/system/zc.service";
/// The user that it runs as.
pub(super) const SYSUSERS: &str = "lib/sysusers.d/zc.conf";
/// The configuration with every default.
pub(super) const CONFIG: &str = "share/doc/zc/daemon.toml";
/// The completion script for zsh, which Debian keeps elsewhere.
pub(super) const ZSH: &str = "share/zsh/site-functions/_zc";
/// Licences of what is linked into zc.
pub(super) const NOTICES: &str = "share/doc/zc/THIRD-PARTY.txt";

/// Documents of the workspace, by their place in it, which links between them need.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-GPL2",
    "LICENSE-MIT",
];
const DOCUMENT_DIRECTORIES: [&str; 2] = ["docs", "docs/monitoring"];

/// Everything.
pub(super) fn all(release: &Release<'_>) -> Result<Vec<Item>> {
    let root = release.workspace.root();
    let mut items = vec![Item { path: "bin/zc".to_owned(), mode: 0o755, contents: read(&release.zc)? }];
    let mut add = |path: String, contents: Vec<u8>| items.push(Item { path, mode: 0o644, contents });
    for (name, page) in manual_pages(&release.zc)? {
        add(format!("{MAN}/{name}.1"), page.into_bytes());
    }
    for (shell, path) in [
        ("bash", "share/bash-completion/completions/zc"),
        ("zsh", ZSH),
        ("fish", "share/fish/vendor_completions.d/zc.fish"),
    ] {
        add(path.to_owned(), zc(&release.zc, &["completions", shell])?.into_bytes());
    }
    add(CONFIG.to_owned(), zc(&release.zc, &["daemon", "--print-config"])?.into_bytes());
    for (name, path) in [("zc.service", UNIT), ("zc.sysusers", SYSUSERS)] {
        add(path.to_owned(), read(&root.join("xtask/dist").join(name))?);
    }
    for name in DOCUMENTS {
        add(format!("{DOC}/{name}"), read(&root.join(name))?);
    }
    for directory in DOCUMENT_DIRECTORIES {
        for name in files_in(&root.join(directory))? {
            add(format!("{DOC}/{directory}/{name}"), read(&root.join(directory).join(&name))?);
        }
    }
    for name in ["Containerfile", "daemonset.yaml"] {
        add(format!("{DOC}/container/{name}"), read(&root.join("xtask/dist").join(name))?);
    }
    add(NOTICES.to_owned(), notices::text(release.workspace)?.into_bytes());
    items.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(items)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn zc(bin: &Path, arguments: &[&str]) -> Result<String> {
    process::output(Command::new(bin).args(arguments))
}

/// The page of zc and those of the commands that it names.
fn manual_pages(bin: &Path) -> Result<Vec<(String, String)>> {
    let main = zc(bin, &["man"])?;
    let commands = commands_in(&main);
    if commands.is_empty() {
        bail!("the manual page of zc names no command");
    }
    let mut pages = vec![("zc".to_owned(), main)];
    for command in commands {
        pages.push((format!("zc-{command}"), zc(bin, &["man", &command])?));
    }
    Ok(pages)
}

/// Commands are named by their pages, `zc\-run(1)`.
fn commands_in(page: &str) -> Vec<String> {
    let command = |line: &str| Some(line.strip_prefix("zc\\-")?.strip_suffix("(1)")?.replace("\\-", "-"));
    page.lines().filter_map(command).collect()
}

/// The names of the files in a directory, without those below, in order.
fn files_in(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry.with_context(|| format!("read {}", directory.display()))?;
        if entry.path().is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_the_page_of_zc() {
        assert_eq!(commands_in(".TP\nzc\\-run(1)\nRun it\n.TP\nzc\\-a\\-b(1)\nzc(1)\n"), ["run", "a-b"]);
    }
}
