//! Kernel modules: their files, and what each of them needs. Packages bring no `modules.dep`; that is made when one is
//! installed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::process;

/// The files of modules of the kernel that has some in `dirs`, after what they need. A module without a file is built in.
pub(super) fn with_dependencies(dirs: &[PathBuf], wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    for dir in dirs.iter().filter(|dir| dir.is_dir()) {
        collect(dir, &mut files).with_context(|| format!("look for modules in {}", dir.display()))?;
    }
    let mut order = Vec::new();
    for name in wanted {
        add(&files, name, &mut order)?;
    }
    Ok(order)
}

fn add(files: &BTreeMap<String, PathBuf>, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
    let Some(file) = files.get(name) else { return Ok(()) };
    if order.contains(file) {
        return Ok(());
    }
    for needed in needed_by(&contents(file)?) {
        add(files, &needed, order)?;
    }
    order.push(file.clone());
    Ok(())
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `virtio_blk` for `…/virtio-blk.ko.xz`: the kernel makes no difference between the two signs.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let name = file.strip_suffix(".ko").or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(name.replace('-', "_"))
}

/// What is in a module's file, unpacked.
pub(super) fn contents(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(file).with_context(|| format!("read {}", file.display()));
    }
    let output = Command::new("busybox")
        .arg("xzcat")
        .arg(file)
        .output()
        .with_context(|| format!("unpack {}", file.display()))?;
    process::check(&format!("busybox xzcat {}", file.display()), output.status)?;
    Ok(output.stdout)
}

/// From the section `.modinfo`: strings of the form `depends=a,b`, each after a NUL.
fn needed_by(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|bytes| bytes == FIELD) else { return Vec::new() };
    let rest = &module[at + FIELD.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let list = String::from_utf8_lossy(&rest[..end]);
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_is_in_its_description() {
        assert_eq!(
            needed_by(b"x\0license=GPL\0depends=virtio,virtio-ring\0name=y\0"),
            ["virtio", "virtio_ring"]
        );
        assert_eq!(needed_by(b"x\0depends=\0name=y\0"), Vec::<String>::new());
        assert_eq!(needed_by(b"nothing"), Vec::<String>::new());
    }

    #[test]
    fn a_module_has_one_name_however_its_file_is_written() {
        assert_eq!(module_name(Path::new("/k/virtio-blk.ko.xz")).as_deref(), Some("virtio_blk"));
        assert_eq!(module_name(Path::new("/k/veth.ko")).as_deref(), Some("veth"));
        assert_eq!(module_name(Path::new("/k/modules.order")), None);
    }
}
