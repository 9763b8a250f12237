//! Programs that tests and benchmarks start, and the Debian packages that bring them.

use std::{
    fmt,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{
    apt,
    process::{self, say},
};

/// A program, the package to install when it is missing, and what it is for.
pub(crate) struct Program {
    sought: Sought,
    package: &'static str,
    purpose: &'static str,
}

/// What is looked for.
enum Sought {
    Command(&'static str),
    /// A module of the distribution's own Python.
    Module(&'static str),
}

const fn program(command: &'static str, package: &'static str, purpose: &'static str) -> Program {
    Program { sought: Sought::Command(command), package, purpose }
}

const fn python_module(module: &'static str, package: &'static str, purpose: &'static str) -> Program {
    Program { sought: Sought::Module(module), package, purpose }
}

impl Sought {
    fn is_here(&self) -> bool {
        match self {
            Self::Command(name) => process::find(name).is_some(),
            Self::Module(name) => {
                let of_distribution = Path::new("/usr/bin/python3");
                let python = if of_distribution.exists() { of_distribution } else { Path::new("python3") };
                let mut import = Command::new(python);
                import.args(["-c", &format!("import {name}")]).stdin(Stdio::null()).stderr(Stdio::null());
                import.status().is_ok_and(|status| status.success())
            }
        }
    }
}

impl fmt::Display for Sought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(name) => f.write_str(name),
            Self::Module(name) => write!(f, "the Python module {name}"),
        }
    }
}

/// What the tests start. Commands are looked for rather than packages: who has a program from elsewhere
/// needs no package.
pub(crate) const TESTS: &[Program] = &[
    program("cc", "gcc", "links the fixtures"),
    program("nginx", "nginx", "the web server whose sendfile is measured"),
    program("wrk", "wrk", "many requests at once"),
    program("curl", "curl", "single requests, and the daemon's socket"),
    program("strace", "strace", "a second opinion on which calls were made"),
    program("bpftool", "bpftool", "looks at what was loaded, and that nothing stays behind"),
    program("perf", "linux-perf", "a second opinion on switches and faults"),
    program("bpftrace", "bpftrace", "a second opinion on bytes and calls"),
    program("python3", "python3", "a program of another kind that uses sendfile, and reads the reports"),
    python_module("jsonschema", "python3-jsonschema", "holds the daemon's answers to their description"),
    python_module(
        "ensurepip",
        "python3-venv",
        "environments with DuckDB, which reads the history, and others",
    ),
    python_module("yaml", "python3-yaml", "reads what is there for Kubernetes"),
    program("busybox", "busybox-static", "the user space of virtual machines"),
    program("fio", "fio", "direct and mapped input and output"),
    program("mkfs.ext4", "e2fsprogs", "a file system of our own"),
    program("mkfs.xfs", "xfsprogs", "one that shares extents"),
    program("mkfs.btrfs", "btrfs-progs", "another one"),
    program("mount", "mount", "puts them behind loop devices"),
    program("ps", "procps", "a second opinion on processes"),
    program("ip", "iproute2", "network namespaces and pairs of devices"),
    program("ethtool", "ethtool", "makes a device without scatter-gather"),
    program("javac", "openjdk-17-jdk-headless", "the Java programs, whose FileChannel takes many paths"),
    program("redis-server", "redis-server", "an event loop with a thousand connections"),
    program("redis-benchmark", "redis-tools", "its clients"),
    program("haproxy", "haproxy", "a proxy that splices"),
    program("buildah", "buildah", "builds the container"),
    program("prometheus", "prometheus", "scrapes the metrics; its promtool checks them and the alert rules"),
];

/// What makes packages, and holds them to rules.
pub(crate) const DIST: &[Program] = &[
    program("strip", "binutils", "takes the symbols out of what is handed out"),
    program("dpkg-deb", "dpkg", "makes the Debian package"),
    program("dpkg-shlibdeps", "dpkg-dev", "finds out which libraries it depends on"),
    program("lintian", "lintian", "holds it to Debian's rules"),
    program("systemd-analyze", "systemd", "checks the unit of the daemon"),
];

/// What runs other kernels.
pub(crate) const VM: &[Program] = &[
    program("qemu-system-x86_64", "qemu-system-x86", "the virtual machines"),
    program("busybox", "busybox-static", "the user space of virtual machines"),
    program("mkfs.ext4", "e2fsprogs", "their disk"),
    program("ip", "iproute2", "network devices in them"),
    program("ethtool", "ethtool", "makes a device without scatter-gather in them"),
    program("openssl", "openssl", "a server that leaves TLS to the kernel"),
];

/// What the benchmarks compare with.
pub(crate) const BENCH: &[Program] = &[
    program("bpftrace", "bpftrace", "the overhead of another eBPF tracer"),
    program("perf", "linux-perf", "the overhead of perf trace"),
    program("strace", "strace", "the overhead of ptrace"),
    program("nginx", "nginx", "a web server under load"),
    program("wrk", "wrk", "its clients"),
    program("redis-server", "redis-server", "an event loop under load"),
    program("redis-benchmark", "redis-tools", "its clients"),
    program("fio", "fio", "requests in rings"),
];

/// Packages that would also run a service of their name from the next start of the machine on.
const SERVICES: &[&str] = &["nginx", "redis-server", "haproxy", "prometheus"];

/// Installs the packages of the programs that are not here. Without root it says what is missing; in CI
/// that is an error.
pub(crate) fn install_missing(programs: &[Program]) -> Result<()> {
    let missing: Vec<&Program> = programs.iter().filter(|program| !program.sought.is_here()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for Program { sought, package: _, purpose } in &missing {
        say(format!("{sought} is missing: {purpose}"));
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    if process::is_root() && apt::is_available() {
        apt::install(&packages)?;
        let services = packages.iter().filter(|package| SERVICES.contains(package));
        return services.copied().try_for_each(apt::keep_off);
    }
    let advice = format!("`{}` as root installs what is missing", apt::typed(&packages));
    if process::is_ci() {
        bail!("{advice}");
    }
    say(advice);
    Ok(())
}
