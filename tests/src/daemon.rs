//! `zc daemon` under test, and a client of its API that is not zc's own.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    job::{Done, Running},
    machine,
    zc::Zc,
};

/// A daemon that is ready.
#[derive(Debug)]
pub struct Daemon {
    running: Running,
    dir: TempDir,
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// What is before the body, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body of an answer that was meant well.
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Daemon {
    /// Starts one with these settings, a table of TOML each, and waits until it is ready. Its socket is in a directory of its own.
    pub fn start(zc: &Zc, settings: &str) -> Self {
        Self::start_in(zc, settings, machine::temp_dir())
    }

    /// The same where another one was.
    pub fn start_in(zc: &Zc, settings: &str, dir: TempDir) -> Self {
        let mut daemon = Self { running: Self::begin(zc, settings, dir.path()), dir };
        daemon.running.wait_for_error(" ready ");
        daemon
    }

    /// One that was started otherwise and is ready, with its socket `zc.sock` in this directory.
    pub fn of(running: Running, dir: TempDir) -> Self {
        Self { running, dir }
    }

    fn begin(zc: &Zc, settings: &str, dir: &Path) -> Running {
        let config = dir.join("zc.toml");
        fs::write(&config, Self::config(settings, dir)).expect("its configuration");
        zc.job(&["daemon", "--config", config.to_str().expect("UTF-8")]).start()
    }

    fn config(settings: &str, dir: &Path) -> String {
        let socket = dir.join("zc.sock");
        let history = dir.join("history");
        // Ending takes seconds otherwise, as the kernel waits for each of twelve tracepoints.
        let count = "[account]\ncount_calls = true\n";
        let settings = if settings.contains("[account]\n") {
            settings.replace("[account]\n", count)
        } else {
            format!("{settings}\n{count}")
        };
        let [socket, history] = [&socket, &history].map(|path| path.to_str().expect("UTF-8"));
        format!("{settings}\n[api]\nsocket = {socket:?}\n[history]\ndir = {history:?}\n")
    }

    /// Writes its configuration anew and has it read.
    pub fn reload(&self, settings: &str) {
        fs::write(self.dir.path().join("zc.toml"), Self::config(settings, self.dir.path())).expect("it");
        self.running.signal(libc::SIGHUP);
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("zc.sock")
    }

    /// The process.
    pub fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Asks for a path.
    pub fn get(&self, path: &str) -> Answer {
        request(&self.socket(), "GET", path, "").expect("an answer")
    }

    /// The processes of a fresh report that have this id.
    pub fn process(&self, pid: i32) -> Option<Value> {
        let report = self.get(&format!("/v1/report?max_age=0ms&pid={pid}")).json();
        report["processes"].as_array().expect("processes").first().cloned()
    }

    /// Nothing must have been lost since it started.
    pub fn assert_nothing_lost(&self) {
        let report = self.get("/v1/report?max_age=0ms").json();
        let lost = report["lost"].as_object().expect("losses");
        assert!(lost.values().all(|count| count == 0), "{lost:?}");
    }

    /// Chooses processes.
    pub fn select(&self, selection: &str) -> Answer {
        request(&self.socket(), "PUT", "/v1/selection", selection).expect("an answer")
    }

    /// Chooses one process, and waits until it is traced.
    pub fn trace(&self, pid: i32) {
        self.select(&format!("{{\"pids\": [{pid}]}}")).json();
        machine::wait_for("the process to be traced", || self.process(pid));
    }

    /// Ends it as the service manager does; it must end well.
    pub fn stop(self) -> Done {
        self.running.signal(libc::SIGTERM);
        let Self { running, dir } = self;
        let done = running.finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert!(!dir.path().join("zc.sock").exists(), "it leaves no socket");
        done
    }

    /// Ends it so that it can do nothing about it; returns its directory.
    pub fn kill(self) -> TempDir {
        self.running.signal(libc::SIGKILL);
        let Self { running, dir } = self;
        running.finish();
        dir
    }
}

/// One request on a connection of its own.
pub fn request(socket: &Path, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: zc\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// Bytes of a process's rows of these paths.
pub fn bytes(process: &Value, paths: &[&str]) -> u64 {
    let rows = process["paths"].as_array().expect("rows").iter();
    let rows = rows.filter(|row| paths.iter().any(|path| row["path"] == *path));
    rows.map(|row| row["bytes"].as_u64().expect("bytes")).sum()
}

/// A sum over a process's rows.
pub fn sum(process: &Value, number: &str) -> u64 {
    let rows = process["paths"].as_array().expect("rows").iter();
    rows.map(|row| row[number].as_u64().unwrap_or(0)).sum()
}

/// What the kernel has counted as read and written by a process.
pub fn counted(pid: i32) -> Option<(u64, u64)> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let value = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((value("rchar:")?, value("wchar:")?))
}
