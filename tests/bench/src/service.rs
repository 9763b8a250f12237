//! Real servers and programs at full load: what those who use them notice of the tracing.
//!
//! A service is started for each measurement, by itself or by `zc run`, and ended by its own means. Its value is the time for one
//! request at the rate that its client came to.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use zc_tests::machine::free_port;

use crate::{
    bench::Bench,
    process::{self, Running},
    setup::{self, Mode, Setup},
    work::SENDFILE_BYTES,
};

/// What is under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    /// nginx, which sends 64 KiB by sendfile.
    NginxSendfile,
    /// nginx, which reads them into four buffers and writes these.
    NginxCopies,
    /// redis, one request at a time on each of 50 connections.
    Redis,
    /// redis, 16 requests at a time.
    RedisPipelined,
    /// fio, 64 reads at a time of 4 KiB of a file in memory, by a ring.
    FioRing,
}

/// What a measurement came to.
struct Load {
    ns_per_request: f64,
    /// Bytes that the service's own process moved at least, by the path that it is about.
    bytes: u64,
}

impl Service {
    pub(crate) const ALL: [Self; 5] =
        [Self::NginxSendfile, Self::NginxCopies, Self::Redis, Self::RedisPipelined, Self::FioRing];

    /// Its name in file formats.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NginxSendfile => "nginx-sendfile",
            Self::NginxCopies => "nginx-copies",
            Self::Redis => "redis",
            Self::RedisPipelined => "redis-pipelined",
            Self::FioRing => "fio-io_uring",
        }
    }

    /// What one request is.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::NginxSendfile => "nginx, 64 KiB by sendfile, to wrk",
            Self::NginxCopies => "nginx, 64 KiB by 4 reads and writes, to wrk",
            Self::Redis => "redis GET of 64 bytes",
            Self::RedisPipelined => "redis GET of 64 bytes, 16 at a time",
            Self::FioRing => "fio, io_uring, 4 KiB in memory, 64 at a time",
        }
    }

    /// The programs that it takes beside zc.
    pub(crate) const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::NginxSendfile | Self::NginxCopies => &["nginx", "wrk"],
            Self::Redis | Self::RedisPipelined => &["redis-server", "redis-benchmark", "redis-cli"],
            Self::FioRing => &["fio"],
        }
    }

    /// The path and the ends of the rows that its bytes are in.
    const fn row(self) -> [&'static str; 3] {
        match self {
            Self::NginxSendfile => ["sendfile", "file", "tcp"],
            Self::NginxCopies => ["read+write", "file", "tcp"],
            Self::Redis | Self::RedisPipelined => ["write", "memory", "tcp"],
            Self::FioRing => ["read", "file", "memory"],
        }
    }

    /// What is attached when it is measured.
    pub(crate) const SETUPS: [Setup; 3] = [Setup::Nothing, Setup::FloorAll, Setup::Traced(Mode::AllCalls)];

    /// Nanoseconds for one request of it with one of these.
    pub(crate) fn measure(self, bench: &mut Bench, setup: Setup, time: Duration) -> Result<f64> {
        let traced = matches!(setup, Setup::Traced(_));
        let _attached = if setup == Setup::FloorAll { Some(bench.floor.on_all_calls()?) } else { None };
        let report = bench.dir().join("service.json");
        let (zc, file) = (bench.zc().to_string_lossy().into_owned(), report.to_string_lossy());
        let mut prefix = Mode::AllCalls.words(&zc, &file);
        if !traced {
            prefix.clear();
        }
        let load = match self {
            Self::NginxSendfile => nginx(bench, &prefix, true, time),
            Self::NginxCopies => nginx(bench, &prefix, false, time),
            Self::Redis => redis(&prefix, 1, time),
            Self::RedisPipelined => redis(&prefix, 16, time),
            Self::FioRing => fio(bench, &prefix, time),
        }?;
        if traced {
            self.check(bench, &report, load.bytes)?;
        }
        Ok(load.ns_per_request)
    }

    /// What zc reports must hold what the service moved.
    fn check(self, bench: &mut Bench, path: &Path, expected: u64) -> Result<()> {
        let report = setup::read(path, Mode::AllCalls)?;
        let bytes = setup::bytes_of(&report, self.row())?;
        ensure!(bytes >= expected, "zc reports {bytes} bytes of {} where {expected} were moved", self.name());
        setup::warn_of_losses(bench, &report, self.name());
        Ok(())
    }
}

/// Begins a command with what is before it: nothing, or a tracer.
fn command(prefix: &[&str], words: &[&str]) -> Command {
    let mut all = prefix.iter().chain(words);
    let mut command = Command::new(all.next().unwrap_or(&""));
    command.args(all);
    command
}

/// Runs a command of its own to its end, and gives its output.
fn run(words: &[&str]) -> Result<String> {
    process::output(command(&[], words))
}

/// Waits for a server to answer.
fn wait_for_port(port: u16, server: &mut Running) -> Result<()> {
    for _ in 0..1000 {
        if std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(());
        }
        if server.has_ended()? {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("the server does not answer on port {port}")
}

fn nginx(bench: &Bench, prefix: &[&str], by_sendfile: bool, time: Duration) -> Result<Load> {
    let (dir, port) = (bench.dir().to_string_lossy(), free_port());
    let sendfile = if by_sendfile { "on" } else { "off; output_buffers 4 16k" };
    let config = format!(
        "user root; worker_processes 1; daemon off; pid nginx.pid; error_log nginx.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; keepalive_requests 1000000; client_body_temp_path t1; proxy_temp_path t2; \
         fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5; sendfile {sendfile};\n\
         server {{ listen 127.0.0.1:{port}; root {dir}; }} }}\n"
    );
    let place = bench.dir().join("nginx.conf");
    fs::write(&place, config).context("write nginx.conf")?;
    let place = place.to_string_lossy();
    let words = ["nginx", "-p", &dir, "-c", &place, "-e", "nginx.log"];
    let mut server = Running::start(command(prefix, &words), false)?;
    wait_for_port(port, &mut server)?;
    let url = format!("http://127.0.0.1:{port}/source");
    let time = format!("{}s", time.as_secs().max(1));
    let said = run(&["wrk", "-t1", "-c8", "-d", &time, &url])?;
    run(&[&words[..], &["-s", "quit"]].concat())?;
    server.finish()?;
    let number = |before: &str, after: &str| -> Result<f64> {
        let part =
            said.split_once(before).map(|(_, rest)| rest.split_once(after).map_or(rest, |(part, _)| part));
        part.and_then(|part| part.trim().parse().ok()).with_context(|| format!("wrk says {said}"))
    };
    ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "wrk says {said}");
    let requests =
        said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<u64>().ok());
    let requests = requests.with_context(|| format!("wrk says {said}"))?;
    Ok(Load { ns_per_request: 1e9 / number("Requests/sec:", "\n")?, bytes: requests * SENDFILE_BYTES as u64 })
}

fn redis(prefix: &[&str], at_a_time: u32, time: Duration) -> Result<Load> {
    const BYTES: u64 = 64;
    let port = free_port().to_string();
    let words = ["redis-server", "--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let mut server = Running::start(command(prefix, &words), false)?;
    wait_for_port(port.parse()?, &mut server)?;
    // About what a processor does in that time.
    let requests = time.as_secs().max(1) * 50_000 * u64::from(at_a_time.min(10));
    let (count, at_a_time) = (requests.to_string(), at_a_time.to_string());
    let tool = ["redis-benchmark", "-p", &port, "-d", "64", "--csv"];
    run(&[&tool[..], &["-t", "set", "-n", "1000"]].concat())?;
    let said = run(&[&tool[..], &["-t", "get", "-n", &count, "-P", &at_a_time]].concat())?;
    run(&["redis-cli", "-p", &port, "shutdown", "nosave"])?;
    server.finish()?;
    let rate = said.lines().find_map(|line| {
        let rest = line.strip_prefix("\"GET\",\"")?;
        rest.split('"').next()?.parse::<f64>().ok()
    });
    let rate = rate.filter(|rate| *rate > 0.0).with_context(|| format!("redis-benchmark says {said}"))?;
    Ok(Load { ns_per_request: 1e9 / rate, bytes: requests * BYTES })
}

fn fio(bench: &Bench, prefix: &[&str], time: Duration) -> Result<Load> {
    const BLOCK: u64 = 4096;
    let file = bench.dir().join("fio").to_string_lossy().into_owned();
    let (file, time) = (format!("--filename={file}"), format!("--runtime={}", time.as_secs().max(1)));
    let words = ["fio", "--name=zc", "--ioengine=io_uring", "--rw=randread", "--bs=4k", "--iodepth=64"];
    let more = ["--size=16m", &file, "--time_based", &time, "--output-format=json"];
    let said = Running::start(command(prefix, &[&words[..], &more].concat()), false)?.finish()?;
    let answer: Value = serde_json::from_str(said.trim()).with_context(|| format!("fio says {said}"))?;
    let read = &answer["jobs"][0]["read"];
    let (rate, count) = (read["iops"].as_f64(), read["total_ios"].as_u64());
    let (Some(rate), Some(count)) = (rate.filter(|rate| *rate > 0.0), count) else {
        bail!("fio says {said}")
    };
    Ok(Load { ns_per_request: 1e9 / rate, bytes: count * BLOCK })
}
