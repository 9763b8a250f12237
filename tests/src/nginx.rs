//! An nginx of a test's own: prefix, configuration, port and logs.

use std::{fs, path::PathBuf};

use crate::{
    job::Job,
    machine::{free_port, random_file, temp_dir, wait_for, wait_for_port},
    report::{Flow, Report},
    zc::{Serving, Traced, Zc},
};

/// Bytes of `large.bin`, and of the text in `text.txt`.
pub const SIZE: usize = 3 * 1024 * 1024 + 12_347;
/// Bytes of `small.bin`.
pub const SMALL: usize = 77;

/// A server with two workers.
#[derive(Debug)]
pub struct Nginx {
    dir: tempfile::TempDir,
    port: u16,
    tls: bool,
}

/// Bytes by the server's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// Sent to clients.
    pub sent: u64,
    /// Of these, bodies.
    pub bodies: u64,
    /// Of a proxy: received from the server behind it.
    pub received_from_behind: u64,
    /// Received from clients.
    pub requests: u64,
}

/// What a worker had done when the kernel was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    pid: u32,
    rchar: u64,
    wchar: u64,
}

impl Nginx {
    /// A server of files with these directives for it.
    pub fn new(directives: &str) -> Self {
        Self::listening("", directives)
    }

    /// The same over TLS, with a certificate made for it.
    pub fn with_tls(directives: &str) -> Self {
        let mut nginx = Self::listening(
            " ssl",
            &format!("ssl_certificate cert.pem; ssl_certificate_key key.pem; {directives}"),
        );
        let (key, cert) = (nginx.text("key.pem"), nginx.text("cert.pem"));
        let words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        let more = ["-nodes", "-subj", "/CN=127.0.0.1", "-keyout", &key, "-out", &cert];
        let done = Job::new(&[&words[..], &more].concat()).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        nginx.tls = true;
        nginx
    }

    /// The same with parameters for its socket.
    pub fn listening(how: &str, directives: &str) -> Self {
        let dir = temp_dir();
        let port = free_port();
        let www = dir.path().join("www");
        fs::create_dir(&www).expect("a directory");
        random_file(&www, "large.bin", SIZE);
        random_file(&www, "small.bin", SMALL);
        let text: Vec<u8> = b"one line like the next\n".iter().copied().cycle().take(SIZE).collect();
        fs::write(www.join("text.txt"), text).expect("a text");
        let config = format!(
            "user root; worker_processes 2; daemon off; pid nginx.pid; error_log error.log;\n\
             events {{ worker_connections 128; }}\n\
             http {{\n\
               log_format sent '$bytes_sent $body_bytes_sent $upstream_bytes_received $request_length';\n\
               access_log access.log sent; keepalive_requests 100000;\n\
               client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n\
               scgi_temp_path t5;\n\
               server {{ listen 127.0.0.1:{port}{how}; root www; {directives} }}\n\
             }}\n"
        );
        fs::write(dir.path().join("nginx.conf"), config).expect("a configuration");
        Self { dir, port, tls: false }
    }

    /// The port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// The address of a page.
    pub fn url(&self, name: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/{name}", self.port)
    }

    fn command(&self) -> Vec<String> {
        let (prefix, log) = (format!("{}/", self.text("")), self.text("error.log"));
        ["nginx", "-p", &prefix, "-e", &log, "-c", "nginx.conf"].map(Into::into).to_vec()
    }

    /// Starts it under `zc`.
    pub fn start(&self, zc: &Zc) -> Serving {
        let serving = zc.start(&self.command());
        wait_for_port(self.port);
        serving
    }

    /// Starts it by itself; it ends with the returned object.
    pub fn start_plain(&self) -> crate::job::Running {
        let running = Job::new(&self.command()).start();
        wait_for_port(self.port);
        running
    }

    /// Gets a page with curl and these options; returns how many bytes of body curl says it got.
    pub fn get_with(&self, options: &[&str], name: &str) -> u64 {
        let (output, url) = (self.text("got"), self.url(name));
        let words = ["curl", "-sS", "-f", "-k", "-w", "%{size_download}", "-o", &output];
        let done = Job::new(&[&words[..], options, &[&url]].concat()).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        String::from_utf8_lossy(&done.stdout).parse().expect("curl's count")
    }

    /// Gets a page of this size.
    pub fn get(&self, name: &str, size: usize) {
        assert_eq!(self.get_with(&[], name), size as u64);
    }

    /// Ends the server as its operators do: answers are finished, logs are written. What its idle workers had read
    /// and written by then, as the kernel counts it, must be what their rows say.
    pub fn stop(&self, serving: Serving) -> Report {
        let pid =
            wait_for("nginx.pid", || fs::read_to_string(self.path("nginx.pid")).ok()?.trim().parse().ok());
        let workers = idle_workers(pid);
        // SAFETY: the process that this test started.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGQUIT) }, 0, "SIGQUIT to nginx");
        let Traced { report, done, .. } = serving.collect();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        // Buffers of requests and answers that were read, never sent on, given back and used for something else: more
        // than is remembered may wait in one place.
        assert!(report.losses().iter().all(|(name, _)| *name == "pairs_evicted"), "{:?}", report.losses());
        let master = u32::try_from(pid).expect("a process id");
        assert_eq!(report.children(master).len(), 2, "two workers are children of the traced master");
        for Counted { pid, rchar, wchar } in workers {
            let worker = report.process(pid);
            // Threads that are cancelled load this library on their way out.
            let of_unwinder = |flow: &&Flow| {
                flow.pid == pid
                    && flow.path == "read"
                    && flow.source.name.as_ref().is_some_and(|name| name.contains("libgcc_s"))
            };
            let late: u64 = report.flows.iter().filter(of_unwinder).map(|flow| flow.bytes).sum();
            let (read, written) = (worker.bytes_read() - late, worker.bytes_written());
            assert_eq!((read, written), (rchar, wchar), "worker {pid}");
        }
        report
    }

    /// Sums over the server's own log.
    pub fn logged(&self) -> Logged {
        let log = fs::read_to_string(self.path("access.log")).expect("the access log");
        let number = |line: &str, field: usize| -> u64 {
            line.split(' ').nth(field).and_then(|field| field.parse().ok()).unwrap_or(0)
        };
        log.lines().fold(Logged::default(), |sums, line| Logged {
            sent: sums.sent + number(line, 0),
            bodies: sums.bodies + number(line, 1),
            received_from_behind: sums.received_from_behind + number(line, 2),
            requests: sums.requests + number(line, 3),
        })
    }
}

/// Waits until the workers have nothing to do: their counters stand still.
fn idle_workers(master: i32) -> Vec<Counted> {
    let (mut last, mut looks) = (Vec::new(), 0);
    wait_for("idle workers", || {
        let now = workers(master);
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        (looks == 5).then_some(())
    });
    last
}

fn workers(master: i32) -> Vec<Counted> {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).expect("the workers");
    let count = |pid: &str| {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("a worker's counters");
        let value = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok()).expect("a counter")
        };
        Counted { pid: pid.parse().expect("a process id"), rchar: value("rchar:"), wchar: value("wchar:") }
    };
    children.split_whitespace().map(count).collect()
}
