//! What `cargo xtask dist` makes: packages that are the same each time, install, run, and leave nothing behind.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path};

use zc_tests::{
    dist::{self, Packages, Root, must, path, tree},
    job::Job,
    machine::{require_cmd, require_root, temp_dir},
    zc,
};

/// Packages, and the right to change root directories.
fn packages_and_root() -> Option<&'static Packages> {
    let tools = ["unshare", "mount", "chroot", "ldd", "busybox"];
    let able = require_root() && tools.iter().all(|tool| require_cmd(tool));
    if able { Packages::make() } else { None }
}

/// The commands of zc, as its help lists them.
fn commands() -> Vec<String> {
    let help = must(&[&path(&zc::binary()), "--help"]);
    let list =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name == "daemon"), "{help}");
    names
}

/// Documents by their place in the workspace.
fn documents() -> Vec<String> {
    let mut documents: Vec<String> =
        ["CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"].map(str::to_owned).to_vec();
    let docs = tree(&dist::workspace().join("docs"));
    documents.extend(docs.into_iter().filter(|name| !name.ends_with('/')).map(|name| format!("docs/{name}")));
    documents
}

/// Files that both packages have, below the prefix.
fn common() -> BTreeSet<String> {
    let mut files: BTreeSet<String> = [
        "bin/zc",
        "lib/systemd/system/zc.service",
        "lib/sysusers.d/zc.conf",
        "share/bash-completion/completions/zc",
        "share/fish/vendor_completions.d/zc.fish",
        "share/doc/zc/container/Containerfile",
        "share/doc/zc/container/daemonset.yaml",
    ]
    .map(str::to_owned)
    .into();
    files.extend(documents().iter().map(|name| format!("share/doc/zc/{name}")));
    files
}

fn manual_pages() -> impl Iterator<Item = String> {
    let pages = commands().into_iter().map(|name| format!("zc-{name}"));
    ["zc".to_owned()].into_iter().chain(pages).map(|page| format!("share/man/man1/{page}.1"))
}

fn of_archive() -> BTreeSet<String> {
    let mut files = common();
    files.extend(manual_pages());
    let others = [
        "share/zsh/site-functions/_zc",
        "share/doc/zc/daemon.toml",
        "share/doc/zc/THIRD-PARTY.txt",
        "share/doc/zc/LICENSE-APACHE",
        "share/doc/zc/LICENSE-GPL2",
        "share/doc/zc/LICENSE-MIT",
    ];
    files.extend(others.map(str::to_owned));
    files
}

fn of_debian() -> BTreeSet<String> {
    let mut files: BTreeSet<String> = common().iter().map(|name| format!("usr/{name}")).collect();
    files.extend(manual_pages().map(|page| format!("usr/{page}.gz")));
    let others = [
        "etc/zc/daemon.toml",
        "usr/share/zsh/vendor-completions/_zc",
        "usr/share/doc/zc/THIRD-PARTY.txt.gz",
        "usr/share/doc/zc/changelog.gz",
        "usr/share/doc/zc/copyright",
        "usr/share/lintian/overrides/zc",
    ];
    files.extend(others.map(str::to_owned));
    files
}

fn files_in(root: &Path) -> BTreeSet<String> {
    tree(root).into_iter().filter(|name| !name.ends_with('/')).collect()
}

/// The same package of a later version, as dpkg-deb packs it again.
fn later(packages: &Packages, dir: &Path, version: &str) -> String {
    let inside = path(&dir.join("inside"));
    must(&["dpkg-deb", "--raw-extract", &path(&packages.debian()), &inside]);
    let control = dir.join("inside/DEBIAN/control");
    let text = fs::read_to_string(&control).expect("control");
    let ours = format!("Version: {}\n", Packages::version());
    assert!(text.contains(&ours), "{text}");
    fs::write(&control, text.replace(&ours, &format!("Version: {version}\n"))).expect("control");
    let package = path(&dir.join("later.deb"));
    must(&["dpkg-deb", "--root-owner-group", "-Znone", "--build", &inside, &package]);
    package
}

#[test]
fn the_same_binary_makes_the_same_packages_whoever_packs_it() {
    let Some(packages) = Packages::make() else { return };
    let dir = temp_dir();
    let again = Packages::make_in(dir.path().join("deep/er"), "077");
    let names = files_in(packages.dir());
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names, files_in(again.dir()));
    for name in names {
        let read = |dir: &Path| fs::read(dir.join(&name)).expect("a file");
        assert!(read(packages.dir()) == read(again.dir()), "{name} differs");
    }
    let done = Job::new(&["sha256sum", "--check", "--strict", "SHA256SUMS"]).dir(packages.dir()).finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(done.stdout_text().matches(": OK").count(), 2);
}

#[test]
fn the_archive_has_what_it_should_and_its_zc_runs() {
    let Some(packages) = Packages::make() else { return };
    let dir = temp_dir();
    let prefix = packages.unpack(dir.path());
    assert_eq!(files_in(&prefix), of_archive());
    let listed = must(&["tar", "--list", "--verbose", "--file", &path(&packages.archive())]);
    assert!(listed.lines().all(|line| line.contains(" root/root ")), "{listed}");

    let own = path(&prefix.join("bin/zc"));
    let version = must(&[&own, "--version"]);
    assert_eq!(version, must(&[&path(&zc::binary()), "--version"]));
    let config = path(&prefix.join("share/doc/zc/daemon.toml"));
    must(&[&own, "daemon", "--config", &config, "--check-config"]);
    let unit = fs::read_to_string(prefix.join("lib/systemd/system/zc.service")).expect("the unit");
    assert!(unit.contains("ExecStart=/usr/local/bin/zc daemon\n"), "{unit}");
    // What is linked in has its licence along.
    let notices = fs::read_to_string(prefix.join("share/doc/zc/THIRD-PARTY.txt")).expect("notices");
    for part in ["\naya 0.", "\naya-ebpf 0.", "\ntokio 1.", "\nparquet ", "Permission is hereby granted"] {
        assert!(notices.contains(part), "{part:?}");
    }
    assert!(!notices.contains(&path(&dist::workspace())), "no path of this machine");
}

#[test]
fn the_debian_package_installs_without_systemd_and_leaves_nothing_behind() {
    let Some(packages) = packages_and_root() else { return };
    let root = Root::new();
    let before = tree(root.path());
    let done = root.dpkg(&["--install", &path(&packages.debian())]);
    assert!(done.stderr.contains("systemd-sysusers is not installed"), "{}", done.stderr);
    let is_dpkgs = |name: &String| name.starts_with("var/lib/dpkg/");
    let installed = tree(root.path());
    let new: BTreeSet<String> =
        installed.difference(&before).filter(|name| !is_dpkgs(name)).cloned().collect();
    assert_eq!(new.into_iter().filter(|name| !name.ends_with('/')).collect::<BTreeSet<_>>(), of_debian());
    for file in of_debian() {
        let mode = if file == "usr/bin/zc" { 0o755 } else { 0o644 };
        assert_eq!(root.owner_and_mode(&file), (0, 0, mode), "{file}");
    }
    must(&["dpkg", &format!("--root={}", path(root.path())), "--verify", "zc"]);

    let version = root.run(&["/usr/bin/zc", "--version"]);
    assert!(version.stdout_text().starts_with(&format!("zc {}", Packages::version())), "{}", version.stderr);
    assert_eq!(root.run(&["/usr/bin/zc", "daemon", "--check-config"]).code(), 0);

    // What the administrator has changed is kept.
    let config = root.at("etc/zc/daemon.toml");
    let theirs = "[select]\ncomms = [\"nginx\"]\n";
    fs::write(&config, theirs).expect("their configuration");
    let dir = temp_dir();
    root.dpkg(&["--install", &later(packages, dir.path(), "99.0")]);
    assert_eq!(fs::read_to_string(&config).expect("it"), theirs);
    assert_eq!(root.run(&["/usr/bin/zc", "daemon", "--check-config"]).code(), 0);

    fs::create_dir_all(root.at("var/lib/zc/parquet")).expect("a history");
    fs::create_dir_all(root.at("run/zc")).expect("where a socket was");
    fs::write(root.at("run/zc/zc.sock.lock"), "").expect("what a daemon leaves");
    root.dpkg(&["--remove", "zc"]);
    assert!(!root.at("usr/bin/zc").exists() && config.exists() && root.at("var/lib/zc").exists());
    root.dpkg(&["--purge", "zc"]);
    let left: Vec<String> =
        tree(root.path()).difference(&before).filter(|name| !is_dpkgs(name)).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
    let of_zc: Vec<String> = tree(root.path()).into_iter().filter(|name| name.contains("/zc")).collect();
    assert!(of_zc.is_empty(), "{of_zc:?}");
}

#[test]
fn the_debian_package_tells_systemd_and_starts_nothing_but_what_ran() {
    let Some(packages) = packages_and_root() else { return };
    let root = Root::new();
    for name in ["systemctl", "systemd-sysusers", "deb-systemd-helper", "deb-systemd-invoke"] {
        root.record_calls_of(name);
    }
    fs::create_dir_all(root.at("run/systemd/system")).expect("what says that systemd runs");
    let always = [
        "systemd-sysusers zc.conf",
        "deb-systemd-helper debian-installed zc.service",
        "deb-systemd-helper unmask zc.service",
        "deb-systemd-helper --quiet was-enabled zc.service",
        "deb-systemd-helper enable zc.service",
        "deb-systemd-helper update-state zc.service",
        "systemctl --system daemon-reload",
    ];
    root.dpkg(&["--install", &path(&packages.debian())]);
    assert_eq!(root.calls(), always);
    let dir = temp_dir();
    root.dpkg(&["--install", &later(packages, dir.path(), "99.0")]);
    assert_eq!(root.calls(), [&always[..], &["deb-systemd-invoke try-restart zc.service"]].concat());
    root.dpkg(&["--remove", "zc"]);
    assert_eq!(root.calls(), ["deb-systemd-invoke stop zc.service", "systemctl --system daemon-reload"]);
    root.dpkg(&["--purge", "zc"]);
    assert_eq!(root.calls(), ["deb-systemd-helper purge zc.service"]);
}

#[test]
fn the_debian_package_installs_into_a_directory_from_outside() {
    let Some(packages) = packages_and_root() else { return };
    if !require_cmd("systemd-sysusers") || !require_cmd("deb-systemd-helper") {
        return;
    }
    let root = Root::new();
    let users = |name: &str| fs::read_to_string(root.at("etc").join(name)).unwrap_or_default();
    root.dpkg(&["--force-script-chrootless", "--install", &path(&packages.debian())]);
    assert!(users("passwd").lines().any(|line| line.starts_with("zc:")), "{}", users("passwd"));
    assert!(users("group").lines().any(|line| line.starts_with("zc:")), "{}", users("group"));
    let is_enabled = |root: &Root| tree(root.path()).iter().any(|name| name.contains(".wants/zc.service"));
    assert!(!is_enabled(&root), "nothing is enabled");
    root.dpkg(&["--force-script-chrootless", "--purge", "zc"]);
    // The user stays.
    let of_zc: Vec<String> = tree(root.path()).into_iter().filter(|name| name.contains("/zc")).collect();
    assert!(of_zc.is_empty(), "{of_zc:?}");
}

#[test]
fn a_zc_without_kernel_programs_is_not_handed_out() {
    if !require_cmd("strip") {
        return;
    }
    let dir = temp_dir();
    let bin = dir.path().join("zc");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = check ] && echo 'this zc was built without its eBPF programs'\necho zc {}\n",
        Packages::version()
    );
    fs::write(&bin, script).expect("a script");
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).expect("its mode");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = path(&dir.path().join("out"));
    let words = [
        &cargo,
        "run",
        "--quiet",
        "--package",
        "xtask",
        "--",
        "dist",
        "--bin",
        &path(&bin),
        "--output",
        &output,
    ];
    let done = Job::new(&words).dir(&dist::workspace()).finish();
    assert!(done.code() == 1 && !dir.path().join("out/SHA256SUMS").exists(), "{}", done.stderr);
}
