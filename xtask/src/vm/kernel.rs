//! Kernels of Debian: finding the package of a version, and unpacking it below `target`. None is installed.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::modules;
use crate::{
    process::{self, say},
    workspace::Workspace,
};

/// The flavour without drivers for real machines. There is a package of it for each version, and others that only name
/// the newest.
const PREFIX: &str = "linux-image-";
const SUFFIX: &str = "-cloud-amd64";

/// Packages that an image leaves the kernel and its modules to, from Linux 7.1 or so on.
const PARTS: [&str; 2] = ["linux-binary-", "linux-modules-"];

/// Suites to look in for what the machine's own sources do not have.
const NEWER: [&str; 4] = ["trixie", "trixie-backports", "forky", "sid"];

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What is asked of each list of packages that apt has: where it comes from, and the name of its suite.
const TARGET: &str = "$(REPO_URI) $(CODENAME)";

/// Where packages have modules, below a directory for each version.
const MODULES: [&str; 2] = ["lib/modules", "usr/lib/modules"];

/// An unpacked kernel.
pub(super) struct Kernel {
    /// What the user asked for, such as `6.12` or, for the newest of them, `7`.
    pub(super) asked: String,
    /// The package's version of it, such as `6.12.117+deb12`.
    pub(super) version: String,
    dir: PathBuf,
}

impl Kernel {
    /// Finds the kernel that was unpacked before, or downloads it.
    pub(super) fn get(workspace: &Workspace, asked: &str) -> Result<Self> {
        let kernels = workspace.root().join("target/vm/kernels");
        if let Some(version) = newest(asked, unpacked(&kernels)) {
            return Ok(Self::at(&kernels, asked, version));
        }
        let own = Packages { options: Vec::new() };
        let (packages, version) = if let Some(version) = own.find(asked)? {
            (own, version)
        } else {
            let newer = Packages::of_newer_suites(workspace)?;
            let version = newer.find(asked)?;
            let version = version.with_context(|| format!("Debian has no cloud kernel {asked}"))?;
            (newer, version)
        };
        say(format!("downloading Debian's kernel {version}, to run it in a virtual machine"));
        packages.unpack(&version, &kernels.join(&version))?;
        Ok(Self::at(&kernels, asked, version))
    }

    fn at(kernels: &Path, asked: &str, version: String) -> Self {
        Self { asked: asked.to_owned(), dir: kernels.join(&version), version }
    }

    /// The compressed kernel itself: in `/boot`, or beside its modules.
    pub(super) fn image(&self) -> Result<PathBuf> {
        let modules = MODULES.map(|place| self.dir.join(place));
        let mut dirs = vec![self.dir.join("boot")];
        dirs.extend(modules.iter().flat_map(|dir| entries(dir)));
        let is_image = |path: &PathBuf| {
            path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name == "vmlinuz" || name.starts_with("vmlinuz-")
            })
        };
        let image = dirs.iter().flat_map(|dir| entries(dir)).find(is_image);
        image.with_context(|| {
            format!("no kernel in {}; remove that directory to have it renewed", self.dir.display())
        })
    }

    /// The files of these modules and of what they need, in the order in which they are loaded. What is built into
    /// this kernel is left out.
    pub(super) fn modules(&self, wanted: &[&str]) -> Result<Vec<PathBuf>> {
        modules::with_dependencies(&MODULES.map(|place| self.dir.join(place)), wanted)
    }
}

/// Where packages come from.
struct Packages {
    options: Vec<String>,
}

impl Packages {
    /// Lists of the newer suites, kept apart from those of the machine.
    fn of_newer_suites(workspace: &Workspace) -> Result<Self> {
        let dir = workspace.root().join("target/vm/apt");
        let lists = dir.join("lists");
        fs::create_dir_all(lists.join("partial")).with_context(|| format!("make {}", lists.display()))?;
        // apt is asked before it is told to look elsewhere.
        let targets = process::output(Command::new("apt-get").args(["indextargets", "--format", TARGET]))?;
        let mirror = mirror_in(&targets).context(
            "apt knows no suite of Debian that it could have newer ones beside; run `apt-get update`",
        )?;
        let source = |suite: &str| format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
        let sources = NEWER.map(source).concat();
        let list = dir.join("sources.list");
        process::replace_file(&list, sources.as_bytes())?;
        let options = [
            ("Dir::Etc::SourceList", list.display().to_string()),
            ("Dir::Etc::SourceParts", "/dev/null".to_owned()),
            ("Dir::State::Lists", lists.display().to_string()),
            ("Dir::Cache::pkgcache", dir.join("pkgcache.bin").display().to_string()),
            ("Dir::Cache::srcpkgcache", dir.join("srcpkgcache.bin").display().to_string()),
        ];
        let options =
            options.into_iter().flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]);
        let this = Self { options: options.collect() };
        say("asking Debian's newer suites for their kernels");
        process::run(this.tool("apt-get").args(["--quiet", "update"]).stdout(std::io::stderr()))?;
        Ok(this)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.args(&self.options);
        command
    }

    /// The newest version that begins as asked.
    fn find(&self, asked: &str) -> Result<Option<String>> {
        let names = process::output(self.tool("apt-cache").args(["pkgnames", PREFIX]))
            .context("list the kernels that apt knows")?;
        let versions = names.lines().filter_map(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        Ok(newest(asked, versions.filter(|version| is_full(version)).map(str::to_owned)))
    }

    /// Downloads the packages of a version and unpacks them as `dir`, in one step.
    fn unpack(&self, version: &str, dir: &Path) -> Result<()> {
        let image = format!("{PREFIX}{version}{SUFFIX}");
        let needed = process::output(self.tool("apt-cache").args(["depends", &image]))
            .with_context(|| format!("ask what {image} needs"))?;
        let part = dir.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part).with_context(|| format!("remove {}", part.display()))?;
        }
        fs::create_dir_all(&part).with_context(|| format!("make {}", part.display()))?;
        let mut download = self.tool("apt-get");
        // Nobody else may write where it goes, and there is nobody to be protected from.
        download
            .args(["--quiet", "-o", "APT::Sandbox::User=root", "download", &image])
            .args(parts_in(&needed));
        process::run(download.current_dir(&part).stdout(std::io::stderr()))
            .with_context(|| format!("download {image}; after `apt-get update` there may be a newer one"))?;
        for file in entries(&part) {
            process::run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&part))?;
            fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        }
        fs::rename(&part, dir).with_context(|| format!("put {} into its place", dir.display()))
    }
}

/// What is in a directory; nothing when there is none.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// The packages that hold parts of a kernel, of what `apt-cache depends` says of its image.
fn parts_in(needed: &str) -> Vec<&str> {
    let names = needed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.filter(|name| PARTS.iter().any(|part| name.starts_with(part))).collect()
}

/// Whether this is the version of a kernel, and not `6.12`, which stands for the newest of them and is in no package.
fn is_full(version: &str) -> bool {
    version.starts_with(|first: char| first.is_ascii_digit()) && version.matches('.').count() == 2
}

/// Where the machine's own packages come from, but for security updates and backports: those suites have a dash in their
/// names, and may be elsewhere.
fn mirror_in(targets: &str) -> Option<&str> {
    let suites = targets.lines().filter_map(|line| line.trim().split_once(' '));
    suites.filter(|(_, suite)| !suite.contains('-')).map(|(mirror, _)| mirror).next()
}

fn unpacked(kernels: &Path) -> Vec<String> {
    let dirs = entries(kernels).into_iter();
    let dirs = dirs.filter(|dir| dir.extension().is_none_or(|extension| extension != "part"));
    dirs.filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned())).collect()
}

/// The newest of these versions that is what was asked for, or a later form of it: `6.1` is `6.1.0-56`, and not `6.12`.
fn newest(asked: &str, versions: impl IntoIterator<Item = String>) -> Option<String> {
    let fits = |version: &String| {
        version.strip_prefix(asked).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    };
    versions.into_iter().filter(fits).max_by(|a, b| compare(a, b))
}

/// Compares as people do: numbers by their value, the rest as text.
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let mut parts = vec![(0, String::new())];
        for letter in text.chars() {
            let last = parts.len() - 1;
            match letter.to_digit(10) {
                Some(digit) if parts[last].1.is_empty() => {
                    parts[last].0 = parts[last].0 * 10 + u64::from(digit);
                }
                Some(digit) => parts.push((digit.into(), String::new())),
                None => parts[last].1.push(letter),
            }
        }
        parts
    };
    parts(a).cmp(&parts(b))
}

/// Refuses what is no version before apt is asked for it.
pub(super) fn check_version(asked: &str) -> Result<()> {
    let good = asked.starts_with(|first: char| first.is_ascii_digit())
        && asked.chars().all(|letter| letter.is_ascii_alphanumeric() || ".+-~".contains(letter));
    if !good {
        bail!("`{asked}` is no version of a kernel; say 6.1, 6.12, or 6.1.0-56");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest_of(asked: &str, versions: &[&str]) -> Option<String> {
        newest(asked, versions.iter().map(|&version| version.to_owned()))
    }

    #[test]
    fn the_newest_of_a_version_is_found_by_its_numbers() {
        let versions = ["6.1.0-9", "6.1.0-56", "6.1.0-47", "6.12.99+deb12", "6.12.117+deb12"];
        assert_eq!(newest_of("6.1", &versions).as_deref(), Some("6.1.0-56"));
        assert_eq!(newest_of("6.12", &versions).as_deref(), Some("6.12.117+deb12"));
        assert_eq!(newest_of("6.12.99", &versions).as_deref(), Some("6.12.99+deb12"));
        assert_eq!(newest_of("6", &versions).as_deref(), Some("6.12.117+deb12"));
        assert_eq!(newest_of("6.18", &versions), None);
    }

    #[test]
    fn the_parts_of_a_kernel_are_read_from_what_apt_says_of_its_image() {
        let needed = "linux-image-7.3.4+deb13-cloud-amd64\n  PreDepends: linux-base\n |Depends: dracut\n\
            \u{20} Depends: linux-base-7.3.4+deb13-cloud-amd64\n  Depends: linux-binary-7.3.4+deb13-cloud-amd64\n\
            \u{20} Depends: linux-modules-7.3.4+deb13-cloud-amd64\n  Suggests: linux-doc-7.3\n";
        let parts = ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"];
        assert_eq!(parts_in(needed), parts);
        assert_eq!(parts_in("linux-image-6.1.0-56-cloud-amd64\n  Depends: kmod\n"), Vec::<&str>::new());
    }

    #[test]
    fn packages_that_stand_for_the_newest_are_no_kernels() {
        assert!(is_full("6.1.0-56") && is_full("7.3.4+deb13"));
        assert!(!is_full("6.12") && !is_full("rt"));
    }

    #[test]
    fn newer_suites_come_from_where_the_machines_own_does() {
        let targets = "http://security.example/debian/ bookworm-security\n\
            http://mirror.example/debian/ bookworm\nhttp://mirror.example/debian/ bookworm-updates\n";
        assert_eq!(mirror_in(targets), Some("http://mirror.example/debian/"));
        assert_eq!(mirror_in("http://security.example/debian/ bookworm-security\n"), None);
    }

    #[test]
    fn options_are_no_versions() {
        assert!(check_version("6.12").is_ok());
        assert!(check_version("-o").is_err());
        assert!(check_version("../6.1").is_err());
    }
}
