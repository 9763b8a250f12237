//! The licences of what is linked into zc: they are permissive, and ask that their text goes along.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{process, workspace::Workspace};

/// What is linked: the program, and the kernel programs in it.
const LINKED: [(&str, &str); 2] =
    [("zc-user", "x86_64-unknown-linux-gnu"), ("zc-ebpf", "bpfel-unknown-none")];

/// Files of a crate that state its licence begin with one of these.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// A crate of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
}

/// The list of crates, and each text once.
pub(super) fn text(workspace: &Workspace) -> Result<String> {
    let mut crates = BTreeSet::new();
    for (package, target) in LINKED {
        let mut cargo = workspace.cargo();
        cargo.args(["tree", "--locked", "--package", package, "--target", target, "--edges", "normal"]);
        let printed =
            process::output(cargo.args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"]))?;
        crates.extend(printed.lines().filter_map(foreign));
    }
    let sources = sources();
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut text =
        "zc contains parts of these packages, and of Rust's standard library (MIT OR Apache-2.0):\n\n"
            .to_owned();
    for Crate { name, version, licence } in &crates {
        let texts = licence_texts(&sources, &format!("{name}-{version}"))?;
        let note = if texts.is_empty() { " (no text comes with it)" } else { "" };
        let _ = writeln!(text, "{name} {version}: {licence}{note}");
        for licence in texts {
            holders.entry(licence).or_default().push(format!("{name} {version}"));
        }
    }
    let mut texts: Vec<(Vec<String>, String)> = holders.into_iter().map(|(text, of)| (of, text)).collect();
    texts.sort();
    for (of, licence) in texts {
        let _ = write!(text, "\n{}\n{}\n\n{}\n", "=".repeat(72), of.join(", "), licence.trim_end());
    }
    Ok(text)
}

/// From a line of `cargo tree`; our own packages are told by their path.
fn foreign(line: &str) -> Option<Crate> {
    let (package, licence) = line.split_once('|')?;
    let mut words = package.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    if words.next().is_some_and(|word| word.starts_with("(/")) {
        return None;
    }
    Some(Crate { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned() })
}

/// Where cargo keeps the sources of packages, by registry.
fn sources() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    registries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn licence_texts(sources: &[PathBuf], package: &str) -> Result<Vec<String>> {
    let Some(directory) = sources.iter().map(|source| source.join(package)).find(|path| path.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut texts = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry.with_context(|| format!("read {}", directory.display()))?.path();
        if is_licence(&path) {
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            texts.push(String::from_utf8_lossy(&text).replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_packages_are_not_among_others() {
        assert_eq!(foreign("zc-common v0.1.0 (/srv/zc/zc-common)|MIT"), None);
        let expected =
            Crate { name: "syn".into(), version: "2.0.1".into(), licence: "MIT OR Apache-2.0".into() };
        assert_eq!(foreign("syn v2.0.1|MIT OR Apache-2.0"), Some(expected.clone()));
        assert_eq!(foreign("syn v2.0.1 (proc-macro)|MIT OR Apache-2.0"), Some(expected));
    }
}
