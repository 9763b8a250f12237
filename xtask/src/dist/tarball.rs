//! The archive, to be unpacked in `/usr/local`.

use std::path::Path;

use anyhow::Result;

use super::{
    Release,
    contents::{Item, UNIT},
    stage::Stage,
    tool,
};
use crate::process;

/// Makes it; returns its name.
pub(super) fn make(release: &Release<'_>, items: &[Item], output: &Path) -> Result<String> {
    let name = format!("zc-{}-x86_64-linux", release.version);
    let stage = Stage::new(release.work.join("tarball").join(&name), release.epoch_seconds)?;
    for Item { path, mode, contents } in items {
        if path == UNIT {
            let unit = String::from_utf8_lossy(contents).replace("/usr/bin/zc", "/usr/local/bin/zc");
            let unit = unit.replace("/usr/share/doc/zc", "/usr/local/share/doc/zc");
            stage.add(path, *mode, unit.as_bytes())?;
        } else {
            stage.add(path, *mode, contents)?;
        }
    }
    stage.finish()?;
    let file = format!("{name}.tar.gz");
    let mut tar = tool(release, "tar");
    tar.arg("--create")
        .arg("--file")
        .arg(output.join(&file))
        .arg("--directory")
        .arg(release.work.join("tarball"));
    tar.args([
        "--sort=name",
        "--format=gnu",
        "--owner=root:0",
        "--group=root:0",
        "--use-compress-program=gzip -9n",
    ]);
    process::run(tar.arg(format!("--mtime=@{}", release.epoch_seconds)).arg(&name))?;
    Ok(file)
}
