//! The Debian package, by `dpkg-deb`.
//!
//! Not by cargo-deb: it would be some hundred crates more to build for what a directory and a file of a dozen lines are, and the tools of
//! dpkg are needed anyway, to find out which libraries of which version the program needs.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{
    Release,
    contents::{CONFIG, DOC, Item, MAN, NOTICES, ZSH},
    is_here,
    stage::{self, Stage},
    tool,
};
use crate::process;

/// Where the daemon looks for its configuration, which the administrator may change.
const CONFFILE: &str = "etc/zc/daemon.toml";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Makes it; returns its name.
pub(super) fn make(release: &Release<'_>, items: &[Item], output: &Path) -> Result<String> {
    let stage = Stage::new(release.work.join("debian"), release.epoch_seconds)?;
    for item in items {
        add(release, &stage, item)?;
    }
    let assets = release.workspace.root().join("xtask/dist/debian");
    let asset = |name: &str| {
        let path = assets.join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    stage.add(&format!("usr/{DOC}/copyright"), 0o644, &asset("copyright")?)?;
    stage.add("usr/share/lintian/overrides/zc", 0o644, &asset("lintian-overrides")?)?;
    let log = changelog(release)?;
    stage.add(&format!("usr/{DOC}/changelog.gz"), 0o644, &gzipped(release, log.as_bytes())?)?;

    let installed_kib = kib_in(stage.root())?;
    let sums = checksums(stage.root())?;
    for name in SCRIPTS {
        stage.add(&format!("DEBIAN/{name}"), 0o755, &asset(name)?)?;
    }
    stage.add("DEBIAN/conffiles", 0o644, format!("/{CONFFILE}\n").as_bytes())?;
    stage.add("DEBIAN/md5sums", 0o644, sums.as_bytes())?;
    let control = String::from_utf8(asset("control")?).context("xtask/dist/debian/control is no text")?;
    let control = control
        .replace("@VERSION@", &debian_version(&release.version))
        .replace("@MAINTAINER@", &maintainer())
        .replace("@INSTALLED_KIB@", &installed_kib.to_string())
        .replace("@DEPENDS@", &depends(release)?);
    stage.add("DEBIAN/control", 0o644, control.as_bytes())?;
    stage.finish()?;

    let file = format!("zc_{}_amd64.deb", debian_version(&release.version));
    let mut dpkg_deb = tool(release, "dpkg-deb");
    // How many threads compress decides what comes out.
    dpkg_deb.env("DPKG_DEB_THREADS_MAX", "1").args(["--root-owner-group", "-Zxz", "--build"]);
    process::run(dpkg_deb.arg(stage.root()).arg(output.join(&file)).stdout(std::io::stderr()))?;
    Ok(file)
}

/// Where Debian wants a file, and in which form.
fn add(release: &Release<'_>, stage: &Stage, item: &Item) -> Result<()> {
    let Item { path, mode, contents } = item;
    if path == CONFIG {
        return stage.add(CONFFILE, *mode, contents);
    }
    // Texts of licences are on every Debian, and `copyright` names them.
    if path.starts_with(&format!("{DOC}/LICENSE-")) {
        return Ok(());
    }
    if path.starts_with(MAN) || path == NOTICES {
        return stage.add(&format!("usr/{path}.gz"), *mode, &gzipped(release, contents)?);
    }
    let place = match path.as_str() {
        ZSH => "share/zsh/vendor-completions/_zc",
        other => other,
    };
    stage.add(&format!("usr/{place}"), *mode, contents)
}

/// Debian sorts what follows a hyphen behind the release, and what follows a tilde before it.
fn debian_version(version: &str) -> String {
    version.replace('-', "~")
}

/// Libraries by package and version, from the symbols that the program uses.
fn depends(release: &Release<'_>) -> Result<String> {
    let directory = release.work.join("shlibdeps");
    stage::make_empty(&directory.join("debian"))?;
    let control = directory.join("debian/control");
    fs::write(&control, "Source: zc\n\nPackage: zc\nArchitecture: amd64\n")
        .with_context(|| format!("write {}", control.display()))?;
    let mut shlibdeps = tool(release, "dpkg-shlibdeps");
    let printed = process::output(shlibdeps.arg("-O").arg(&release.zc).current_dir(&directory))?;
    let found = printed.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    match found {
        Some(found) if found.contains("libc6") => Ok(found.to_owned()),
        _ => bail!("dpkg-shlibdeps did not say which C library zc needs, but {printed:?}"),
    }
}

/// What `Installed-Size` counts: each file by full KiB, each directory as one.
fn kib_in(directory: &Path) -> Result<u64> {
    let mut kib = 1;
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry.with_context(|| format!("read {}", directory.display()))?.path();
        kib += if path.is_dir() {
            kib_in(&path)?
        } else {
            fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?.len().div_ceil(1024)
        };
    }
    Ok(kib)
}

/// Of every file but those that dpkg keeps for itself.
fn checksums(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    list(root, root, &mut files)?;
    files.retain(|file| file != CONFFILE);
    files.sort();
    process::output(Command::new("md5sum").arg("--").args(&files).current_dir(root))
}

fn list(root: &Path, directory: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry.with_context(|| format!("read {}", directory.display()))?.path();
        if path.is_dir() {
            list(root, &path, files)?;
        } else if let Ok(below) = path.strip_prefix(root) {
            files.push(below.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// Who answers for the package: as Debian's tools are told it, or nobody in particular.
fn maintainer() -> String {
    let told = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let name = told("DEBFULLNAME").unwrap_or_else(|| "The zc authors".to_owned());
    let mail = told("DEBEMAIL").unwrap_or_else(|| "zc@localhost".to_owned());
    format!("{name} <{mail}>")
}

/// As Debian wants one; what has changed is in the changelog of zc.
fn changelog(release: &Release<'_>) -> Result<String> {
    let mut date = tool(release, "date");
    let date = process::output(
        date.args(["--utc", "--rfc-email", "--date"]).arg(format!("@{}", release.epoch_seconds)),
    )?;
    let version = debian_version(&release.version);
    let maintainer = maintainer();
    let what = "See CHANGELOG.md in this directory.";
    Ok(format!(
        "zc ({version}) unstable; urgency=medium\n\n  * {what}\n\n -- {maintainer}  {}\n",
        date.trim()
    ))
}

/// Without name and time.
fn gzipped(release: &Release<'_>, contents: &[u8]) -> Result<Vec<u8>> {
    let file = release.work.join("compress");
    fs::write(&file, contents).with_context(|| format!("write {}", file.display()))?;
    process::run(tool(release, "gzip").args(["-9", "--no-name", "--force"]).arg(&file))?;
    let packed = release.work.join("compress.gz");
    fs::read(&packed).with_context(|| format!("read {}", packed.display()))
}

/// Holds the package to Debian's rules. An error of lintian is one of ours; so is a warning.
pub(super) fn lint(package: &Path) -> Result<()> {
    if !is_here("lintian", "the package is not checked against Debian's rules") {
        return Ok(());
    }
    let mut lintian = Command::new("lintian");
    if process::is_root() {
        lintian.arg("--allow-root");
    }
    lintian.args(["--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(package);
    process::run(lintian.stdout(std::io::stderr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_a_release_sorts_before_it() {
        assert_eq!(debian_version("1.2.0-rc.1"), "1.2.0~rc.1");
        assert_eq!(debian_version("1.2.0"), "1.2.0");
    }

    #[test]
    fn the_template_of_the_package_has_what_is_filled_in() {
        let control = include_str!("../../dist/debian/control");
        for field in ["@VERSION@", "@INSTALLED_KIB@", "@DEPENDS@", "@MAINTAINER@"] {
            assert!(control.contains(field), "{field}");
        }
    }
}
