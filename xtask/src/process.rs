//! Starting other programs, with errors that name them.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Directories of system programs that the PATH of an ordinary user may lack.
const SYSTEM_DIRS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"];

/// Tells the user what is being done. Data goes to stdout, this to stderr.
pub(crate) fn say(message: impl AsRef<str>) {
    eprintln!("xtask: {}", message.as_ref());
}

/// The cargo that started us, so that a nested call is of the same toolchain and needs no proxy.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a program to its end with our own input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("start `{shown}`"))?;
    check(&shown, status)
}

/// Runs a program and returns what it wrote to stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start `{shown}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` ended with {}: {}", code(output.status), said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` wrote something other than text"))
}

/// Turns an unsuccessful end into an error.
pub(crate) fn check(shown: &str, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{shown}` ended with {}", code(status))
}

/// A command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut shown = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        shown.push(' ');
        shown.push_str(&argument.to_string_lossy());
    }
    shown
}

fn code(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// Looks a program up on the PATH, and where system programs are.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether we may install packages, mount and trace.
pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_uid(&status) == Some(0))
}

/// The second number of the line `Uid:` of `/proc/PID/status`.
fn effective_uid(status: &str) -> Option<u32> {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_whitespace().nth(1)?.parse().ok()
}

/// Whether the tests run where a skipped one must count as failed.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true" || value == "1")
}

/// Takes away what cargo and rustup set for us and a program that we become or build with must not inherit.
pub(crate) fn without_cargo_env(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if is_cargo_run_variable(&name) {
            command.env_remove(name);
        }
    }
    if let Some(libraries) = env::var_os("LD_LIBRARY_PATH") {
        match user_libraries(&libraries) {
            Some(rest) => command.env("LD_LIBRARY_PATH", rest),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
}

/// What `cargo run` sets for the program that it starts.
fn is_cargo_run_variable(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let packages = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    packages.iter().any(|prefix| name.starts_with(prefix))
        || ["CARGO", "CARGO_PRIMARY_PACKAGE", "RUST_RECURSION_COUNT", "RUSTUP_TOOLCHAIN"].contains(&&*name)
}

/// The library path without the directories that `cargo run` puts in front of it.
fn user_libraries(libraries: &OsStr) -> Option<OsString> {
    let cargos = |dir: &Path| {
        let text = dir.to_string_lossy();
        text.is_empty()
            || text.contains("/rustlib/")
            || text.contains("/.rustup/toolchains/")
            || text.contains("/target/debug")
            || text.contains("/target/release")
    };
    let rest: Vec<PathBuf> = env::split_paths(libraries).filter(|dir| !cargos(dir)).collect();
    if rest.is_empty() { None } else { env::join_paths(rest).ok() }
}

/// Writes a file in one step, so that a reader sees the old contents or the new.
pub(crate) fn replace_file(path: &Path, contents: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        fs::write(&new, contents)?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_uid("Name:\tx\n"), None);
    }

    #[test]
    fn only_the_users_own_library_directories_are_kept() {
        let given = OsStr::new("/w/target/debug/deps:/r/lib/rustlib/x/lib:/opt/mine:");
        assert_eq!(user_libraries(given), Some("/opt/mine".into()));
        assert_eq!(user_libraries(OsStr::new("/w/target/debug")), None);
    }

    #[test]
    fn what_the_user_set_for_cargo_is_kept() {
        assert!(is_cargo_run_variable(OsStr::new("CARGO_PKG_NAME")));
        assert!(is_cargo_run_variable(OsStr::new("RUSTUP_TOOLCHAIN")));
        assert!(!is_cargo_run_variable(OsStr::new("CARGO_HOME")));
        assert!(!is_cargo_run_variable(OsStr::new("CARGO_NET_OFFLINE")));
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        assert_eq!(show(Command::new("/usr/bin/cargo").args(["build", "-p", "x"])), "cargo build -p x");
    }
}
