//! What a test needs of the machine, and small things taken from it: directories, ports, connections.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// Build machines set CI=true: there, what is missing is a failure and not a reason to skip.
fn must_not_skip() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Says that a test is skipped, or fails where none may be.
pub fn missing(what: &str) -> bool {
    assert!(!must_not_skip(), "{what} (and CI=true forbids skipping)");
    eprintln!("skipped: {what}");
    false
}

/// Whether this is root; says why the test is skipped when it is not.
pub fn require_root() -> bool {
    // SAFETY: always succeeds, touches no memory.
    let root = unsafe { libc::geteuid() } == 0;
    root || missing("tracing needs root")
}

/// Whether this is one of the virtual machines of `cargo xtask vm-test`; says why the test is skipped when not. Nothing is
/// missing then: it is run there.
pub fn require_guest() -> bool {
    let is_guest = std::env::var_os("ZC_GUEST").is_some();
    if !is_guest {
        eprintln!("skipped: this is for the virtual machines of `cargo xtask vm-test`");
    }
    is_guest
}

/// Whether a program is installed; says why the test is skipped when it is not.
pub fn require_cmd(name: &str) -> bool {
    find_program(name).is_some() || missing(&format!("{name} is not installed"))
}

/// Whether the kernel has a file system; says why the test is skipped when not.
pub fn require_file_system(kind: &str) -> bool {
    let list = || fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = || list().lines().any(|line| line.trim_start_matches("nodev").trim() == kind);
    // A module is loaded by the first mount; asking for it does the same.
    has()
        || find_program("modprobe").is_some_and(|modprobe| {
            let _ = std::process::Command::new(modprobe).args(["-q", kind]).status();
            has()
        })
        || missing(&format!("the kernel has no {kind}"))
}

/// The path of an installed program.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let beside = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(beside).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The distribution's own Python: wrappers that choose a version would be further processes.
pub fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

/// Whether Python can do this; says why the test is skipped when not.
pub fn require_python(script: &str) -> bool {
    let done = crate::job::Job::new(&[python(), "-c", script]).finish();
    done.status.success() || missing(&format!("this Python cannot `{script}`: {}", done.stderr.trim()))
}

/// The target's directory for temporary files: on the disk the project is on, not in memory.
pub fn target_tmp() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp");
    fs::create_dir_all(&path).expect("the target's tmp directory");
    fs::canonicalize(path).expect("the target's tmp directory")
}

/// A fresh directory on a real file system, removed when dropped.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("zc-").tempdir_in(target_tmp()).expect("a temporary directory")
}

/// A file with pseudo-random content.
pub fn random_file(dir: &Path, name: &str, len: usize) -> String {
    let path = dir.join(name);
    fs::write(&path, crate::fixtures::content(len)).expect("an input file");
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// Tests that trace, or that read the machine's state, run one at a time: within this process by a mutex,
/// against other test programs, of any checkout on this machine, by a lock on a file.
#[derive(Debug)]
pub struct Exclusive {
    _file: File,
    _guard: MutexGuard<'static, ()>,
}

impl Exclusive {
    /// Waits for its turn.
    pub fn take() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        // A test that failed while holding the lock leaves nothing half-done behind.
        let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let file = File::create(std::env::temp_dir().join("zc-tests.lock")).expect("the lock file");
        // SAFETY: the descriptor is open for the call.
        while unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "locking: {error}");
        }
        Self { _file: file, _guard: guard }
    }
}

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

/// Asks again until the answer comes; gives up, loudly, after a minute of asking.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6000 {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("gave up waiting for {what}");
}

/// Waits until something listens on the port.
pub fn wait_for_port(port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for(&format!("a listener on port {port}"), || TcpStream::connect(address).ok());
}
