//! The first file system of a virtual machine: programs of this machine with their libraries, modules of the kernel, and
//! a script that does the work.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    cpio::Archive,
    kernel::Kernel,
    modules,
    network::{ADDRESS, Network},
};
use crate::{process, workspace::Workspace};

/// Modules that the machine's devices and the tests need, where they are not built in.
const MODULES: [&str; 12] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "overlay",
    "loop",
    "veth",
    "bridge",
    "sch_netem",
    "tls",
    "ctr",
    "ghash_generic",
    "gcm",
];

/// Programs that tests start, beside busybox.
const PROGRAMS: [&str; 3] = ["ip", "ethtool", "openssl"];

/// What is done first in the machine. Programs find themselves where they are on this machine, as paths are compiled into
/// the tests; the disk is where the tests keep their files.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin HOME=/tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for module in /modules/*; do insmod "$module"; done
ip link set lo up
. /settings
# Each network device in a namespace of its own: its name, the number of the device, and an address. The shell knows an ip
# of its own, which cannot do that.
own_space() {
    for device in /sys/class/net/*; do
        [ "$(cat "$device/address")" = "$ADDRESS:$2" ] || continue
        device=${device##*/}
        /usr/bin/ip netns add "$1"
        /usr/bin/ip link set "$device" netns "$1"
        /usr/bin/ip -n "$1" address add "$3/24" dev "$device"
        /usr/bin/ip -n "$1" link set "$device" up
    done
}
own_space pieces-near 01 192.0.2.1
own_space pieces-far 02 192.0.2.2
own_space plain-near 03 192.0.2.1
own_space plain-far 04 192.0.2.2
own_space bounced-near 05 192.0.2.1
own_space bounced-far 06 192.0.2.2
mount -t ext4 /dev/vda "$WORKSPACE/target/tmp"
mkdir -p /bounced
mount -t ext4 /dev/vdb /bounced
# Not over the workspace.
case "$WORKSPACE" in /tmp/*) ;; *) mount -t tmpfs tmp /tmp ;; esac
mkdir -p /tmp/home
cd "$WORKSPACE/tests"
sh /job >/dev/ttyS1 2>&1
echo "zc-vm: end" >/dev/ttyS1
sync
poweroff -f
"#;

/// Makes the image: `programs` beside those that all jobs need, and the `job`.
pub(super) fn build(
    workspace: &Workspace,
    kernel: &Kernel,
    programs: &[PathBuf],
    network: Option<&Network>,
    job: &str,
) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["/proc", "/sys", "/dev", "/tmp", "/etc", "/run", "/root"] {
        archive.directory(directory);
    }
    let own = |path: &str| workspace.root().join(path).display().to_string();
    archive.directory(&own("target/tmp"));
    archive.directory(&own("tests"));
    archive.file("/init", INIT.as_bytes());
    archive.file("/job", job.as_bytes());
    archive.file("/settings", settings(workspace, network).as_bytes());
    let mut files = BTreeSet::new();
    for program in programs {
        files.insert(program.clone());
        files.extend(libraries(program)?);
    }
    for program in &files {
        archive.file(&program.display().to_string(), &read(program)?);
    }
    let busybox = process::find("busybox").context("busybox is not installed")?;
    archive.file("/bin/busybox", &read(&busybox)?);
    let mut known = files;
    for name in PROGRAMS {
        let program = process::find(name).with_context(|| format!("{name} is not installed"))?;
        // Not where the machine looks first: busybox has some of the same name, which do less.
        archive.file(&format!("/usr/bin/{name}"), &read(&program)?);
        for library in libraries(&program)? {
            if known.insert(library.clone()) {
                archive.file(&library.display().to_string(), &read(&library)?);
            }
        }
    }
    for (index, module) in kernel.modules(&MODULES)?.iter().enumerate() {
        archive.file(&format!("/modules/{index:02}.ko"), &modules::contents(module)?);
    }
    Ok(archive.finish())
}

/// Variables that the job and the tests read.
fn settings(workspace: &Workspace, network: Option<&Network>) -> String {
    let settings = format!(
        "export WORKSPACE='{}' ZC_BIN='{}' ZC_FIXTURE='{}' ZC_ONE_SESSION=1 ZC_GUEST=1 NO_COLOR=1 CI=true\n\
         export PATH=/usr/bin:/bin ADDRESS={ADDRESS}\n",
        workspace.root().display(),
        workspace.release_bin("zc").display(),
        workspace.checks_bin("zc-fixture").display()
    );
    let reason = network.and_then(|network| network.no_pieces.as_ref());
    let missing = reason.map(|reason| format!("export ZC_NO_PIECES='{}'\n", reason.replace('\'', " ")));
    settings + &missing.unwrap_or_default()
}

/// The shared libraries of a program, and what loads them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let printed = process::output(Command::new("ldd").arg(program))?;
    Ok(libraries_in(&printed))
}

/// The paths in the output of `ldd`: after the arrow, or alone for the loader.
fn libraries_in(printed: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let line = line.trim();
        let place = line.split_once("=> ").map_or(line, |(_, place)| place);
        let path = place.split_whitespace().next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    printed.lines().filter_map(path).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_their_loader_are_read_from_ldd() {
        let printed = "\tlinux-vdso.so.1 (0x00007f19)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f19)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f19)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries_in(printed), expected);
        assert_eq!(libraries_in("\tstatically linked\n"), Vec::<PathBuf>::new());
    }
}
