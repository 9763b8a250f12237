//! Installing Debian packages without side effects on the machine.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::process::{self, say};

/// What invoke-rc.d and deb-systemd-invoke ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether this machine installs packages by apt.
pub(crate) fn is_available() -> bool {
    process::find("apt-get").is_some()
}

/// The command that a user without our rights can type.
pub(crate) fn typed(packages: &[&str]) -> String {
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Installs packages. No service of theirs is started, and no package is removed to make room.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !is_available() {
        bail!("this machine has no apt-get; install by hand what Debian calls {}", packages.join(" "));
    }
    if !process::is_root() {
        bail!("installing packages needs root; run `sudo {}` and try again", typed(packages));
    }
    say(format!("installing {}", packages.join(" ")));
    let _services_stay_off = NoServices::enter()?;
    if let Err(first) = apt_get(&install_arguments(packages)) {
        say(format!("{first:#}; trying again with fresh package lists"));
        apt_get(&["update"]).context("renew the package lists")?;
        apt_get(&install_arguments(packages)).with_context(|| format!("install {}", packages.join(" ")))?;
    }
    Ok(())
}

/// Keeps a service that a package brought from starting with the machine, too.
pub(crate) fn keep_off(service: &str) -> Result<()> {
    let Some(tool) = process::find("update-rc.d") else { return Ok(()) };
    say(format!("{service} was installed for its program; the service stays off"));
    process::run(Command::new(tool).args([service, "disable"]).stdout(std::io::stderr()))
}

fn install_arguments<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    arguments.extend(packages);
    arguments
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    // Its report goes to stderr: our stdout is for results.
    apt.arg("--quiet").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
    process::run(&mut apt)
}

/// While this lives, the installation of a package starts no service.
///
/// A web server that runs because its package was wanted for a test would take a port, and be seen in
/// every measurement.
struct NoServices {
    policy: Option<PathBuf>,
}

impl NoServices {
    fn enter() -> Result<Self> {
        let policy = Path::new(POLICY);
        if policy.exists() {
            // Somebody has decided already: a container image, usually, and with the same answer.
            return Ok(Self { policy: None });
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(policy, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("write {POLICY}, which keeps services from starting"))?;
        Ok(Self { policy: Some(policy.to_path_buf()) })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let Self { policy } = self;
        if let Some(policy) = policy
            && let Err(error) = fs::remove_file(&*policy)
        {
            say(format!("remove {}: {error}; remove it, or no service starts any more", policy.display()));
        }
    }
}
