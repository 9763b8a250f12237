//! fio with `io_uring`, held to its own count.

use std::path::Path;

use serde_json::Value;
use zc_tests::{
    expect::Kind,
    machine::{random_file, temp_dir},
    report::Report,
    zc::Zc,
};

const LEN: usize = 4 << 20;
const BYTES: u64 = LEN as u64;

/// Runs fio on a file of its own; gives what zc saw, and the bytes that fio says it has read and written.
fn fio(zc: &Zc, options: &[&str]) -> (Report, u64, u64) {
    let dir = temp_dir();
    let input = random_file(dir.path(), "fio.bin", LEN);
    let said = zc.report_path("fio.json");
    let said = said.to_str().expect("UTF-8");
    let (file, output) = (format!("--filename={input}"), format!("--output={said}"));
    let size = format!("--size={BYTES}");
    let words =
        ["fio", "--name=zc", "--ioengine=io_uring", "--iodepth=16", "--bs=16k", "--invalidate=0", "--thread"];
    let rest = ["--output-format=json", file.as_str(), output.as_str(), size.as_str()];
    let report = zc.trace(&[&words[..], options, &rest].concat());
    report.assert_nothing_lost();
    let (read, written) = said_by_fio(Path::new(said));
    (report, read, written)
}

fn said_by_fio(path: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string(path).expect("what fio says");
    let said: Value = serde_json::from_str(&text).expect("fio's JSON");
    let bytes = |way: &str| said["jobs"][0][way]["io_bytes"].as_u64().expect("a number of bytes");
    (bytes("read"), bytes("write"))
}

/// Bytes of all rows of rings with one of these paths.
fn moved(report: &Report, paths: &[&str], source: Kind, destination: Kind) -> u64 {
    let rows = report.processes.iter().flat_map(|process| paths.iter().map(move |path| (process, path)));
    rows.filter_map(|(process, path)| process.row_via("io_uring", path, source, destination))
        .map(|row| row.bytes)
        .sum()
}

const READS: [&str; 2] = ["read", "direct-read"];
const WRITES: [&str; 2] = ["write", "direct-write"];

#[test]
fn fio_reads_through_a_ring_what_it_says() {
    let Some(zc) = Zc::with(&["fio"]) else { return };
    for options in [
        &["--rw=read"][..],
        &["--rw=read", "--direct=1"],
        &["--rw=read", "--fixedbufs=1", "--registerfiles=1"],
        &["--rw=randread", "--nonvectored=0"],
        &["--rw=read", "--force_async=1"],
        &["--rw=read", "--sqthread_poll=1"],
    ] {
        let (report, read, written) = fio(&zc, options);
        assert_eq!((read, written), (BYTES, 0), "{options:?}");
        assert_eq!(moved(&report, &READS, Kind::File, Kind::Memory), read, "{options:?}");
        let is_direct = options.contains(&"--direct=1");
        assert_eq!(moved(&report, &READS[1..], Kind::File, Kind::Memory), if is_direct { read } else { 0 });
    }
}

#[test]
fn fio_writes_through_a_ring_what_it_says() {
    let Some(zc) = Zc::with(&["fio"]) else { return };
    for options in [
        // What fio writes is what it made up, and not what it read before: it reads into other buffers.
        &["--rw=write"][..],
        &["--rw=randwrite", "--direct=1"],
        &["--rw=write", "--fixedbufs=1"],
    ] {
        let (report, read, written) = fio(&zc, options);
        assert_eq!((read, written), (0, BYTES), "{options:?}");
        assert_eq!(moved(&report, &WRITES, Kind::Memory, Kind::File), written, "{options:?}");
    }
}

#[test]
fn fio_mixes_reads_and_writes_through_a_ring() {
    let Some(zc) = Zc::with(&["fio"]) else { return };
    let (report, read, written) = fio(&zc, &["--rw=randrw"]);
    assert_eq!(read + written, BYTES);
    // A buffer that was read into may be written from later.
    let both = moved(&report, &["read+write"], Kind::File, Kind::File);
    assert_eq!(moved(&report, &READS, Kind::File, Kind::Memory) + both, read);
    assert_eq!(moved(&report, &WRITES, Kind::Memory, Kind::File) + both, written);
}
