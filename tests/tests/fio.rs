//! fio with each of its engines, held to its own count.

use std::path::Path;

use serde_json::Value;
use zc_tests::{
    expect::Kind,
    machine::{random_file, temp_dir},
    report::{Flow, Report},
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
    let words = ["fio", "--name=zc", "--iodepth=16", "--bs=16k", "--invalidate=0", "--thread"];
    let rest = ["--output-format=json", file.as_str(), output.as_str(), size.as_str()];
    let report = zc.trace(&[&words[..], options, &rest].concat());
    report.assert_nothing_lost();
    let (read, written) = said_by_fio(Path::new(said));
    (report, read, written)
}

fn said_by_fio(path: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string(path).expect("what fio says");
    let said: Value = serde_json::from_str(&text).expect("fio's JSON");
    let jobs = said["jobs"].as_array().expect("jobs");
    let bytes = |way: &str| {
        jobs.iter().map(|job| job[way]["io_bytes"].as_u64().expect("a number of bytes")).sum::<u64>()
    };
    (bytes("read"), bytes("write"))
}

/// Bytes of all flows with one of these paths that begin or end at fio's file.
fn moved(report: &Report, via: &str, paths: &[&str], source: Kind, destination: Kind) -> u64 {
    let rows = report.processes.iter().flat_map(|process| paths.iter().map(move |path| (process, path)));
    rows.filter_map(|(process, path)| process.row_via(via, path, source, destination))
        .map(|row| row.bytes)
        .sum()
}

const READS: [&str; 2] = ["read", "direct-read"];
const WRITES: [&str; 2] = ["write", "direct-write"];

const RING: &str = "io_uring";
const ENGINE: &str = "--ioengine=io_uring";

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
        let (report, read, written) = fio(&zc, &[&[ENGINE], options].concat());
        assert_eq!((read, written), (BYTES, 0), "{options:?}");
        assert_eq!(moved(&report, RING, &READS, Kind::File, Kind::Memory), read, "{options:?}");
        let is_direct = options.contains(&"--direct=1");
        assert_eq!(
            moved(&report, RING, &READS[1..], Kind::File, Kind::Memory),
            if is_direct { read } else { 0 }
        );
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
        let (report, read, written) = fio(&zc, &[&[ENGINE], options].concat());
        assert_eq!((read, written), (0, BYTES), "{options:?}");
        assert_eq!(moved(&report, RING, &WRITES, Kind::Memory, Kind::File), written, "{options:?}");
    }
}

#[test]
fn fio_mixes_reads_and_writes_through_a_ring() {
    let Some(zc) = Zc::with(&["fio"]) else { return };
    let (report, read, written) = fio(&zc, &[ENGINE, "--rw=randrw"]);
    assert_eq!(read + written, BYTES);
    // A buffer that was read into may be written from later.
    let both = moved(&report, RING, &["read+write"], Kind::File, Kind::File);
    assert_eq!(moved(&report, RING, &READS, Kind::File, Kind::Memory) + both, read);
    assert_eq!(moved(&report, RING, &WRITES, Kind::Memory, Kind::File) + both, written);
}

/// By the calls of each job, by requests of Linux AIO, past the page cache and through it.
#[test]
fn fio_reads_and_writes_by_calls_and_by_aio_what_it_says() {
    let Some(zc) = Zc::with(&["fio"]) else { return };
    for (via, engine) in [("syscall", "psync"), ("syscall", "pvsync"), ("aio", "libaio")] {
        for mode in ["read", "randwrite"] {
            for direct in [false, true] {
                let case = format!("{engine} {mode} {direct}");
                let words = [format!("--ioengine={engine}"), format!("--rw={mode}")];
                let mut options: Vec<&str> = words.iter().map(String::as_str).collect();
                options.extend(direct.then_some("--direct=1"));
                // It warns of more than that, in the middle of its JSON.
                options.extend((via == "syscall").then_some("--iodepth=1"));
                let (report, read, written) = fio(&zc, &options);
                let reads = mode == "read";
                assert_eq!((read, written), if reads { (BYTES, 0) } else { (0, BYTES) }, "{case}");
                // What fio reads to set itself up, and what it writes to tell, are calls without O_DIRECT.
                let (path, source, destination) = if reads {
                    (READS[usize::from(direct)], Kind::File, Kind::Memory)
                } else {
                    (WRITES[usize::from(direct)], Kind::Memory, Kind::File)
                };
                let file = report.flows.iter().find(|flow| {
                    let end = if reads { &flow.source.name } else { &flow.destination.name };
                    flow.via == via
                        && flow.path == path
                        && end.as_deref().is_some_and(|name| name.ends_with("fio.bin"))
                });
                let file = file.unwrap_or_else(|| panic!("{case}: no flow of fio's file"));
                assert_eq!(file.bytes, BYTES, "{case}");
                assert!(moved(&report, via, &[path], source, destination) >= BYTES, "{case}");
                let calls = if via == "aio" { 0 } else { BYTES / (16 << 10) };
                assert_eq!((file.transfers, file.syscalls), (BYTES / (16 << 10), calls), "{case}");
            }
        }
    }
}

/// Its engine splices a file into a pipe, and has vmsplice copy it out into memory: two legs.
#[test]
fn fio_splices_as_many_bytes_as_it_says() {
    let Some(zc) = Zc::with(&["fio"]) else { return };
    let (report, read, written) = fio(&zc, &["--ioengine=splice", "--rw=read", "--iodepth=1"]);
    assert_eq!((read, written), (BYTES, 0), "what fio says that it read");
    assert_eq!(report.bytes("splice", Kind::File, Kind::Pipe), read);
    assert_eq!(report.bytes("vmsplice", Kind::Pipe, Kind::Memory), read);
}

/// Its engine maps the file, and copies by itself: in the kernel nothing is copied. fio moves whole blocks, and all of them
/// once, so that pages are as many bytes as fio says.
#[test]
fn fio_maps_as_many_bytes_as_it_says() {
    let Some(zc) = Zc::with(&["fio"]) else { return };
    for (way, source, destination) in [
        ("read", Kind::File, Kind::Memory),
        ("randread", Kind::File, Kind::Memory),
        ("write", Kind::Memory, Kind::File),
    ] {
        let way_option = format!("--rw={way}");
        let more = ["--ioengine=mmap", &way_option, "--iodepth=1", "--fallocate=none", "--overwrite=1"];
        let (report, read, written) = fio(&zc, &more);
        assert_eq!((read, written), if way == "write" { (0, BYTES) } else { (BYTES, 0) }, "{way}");
        let ends = |flow: &&Flow| (flow.source.kind, flow.destination.kind) == (source, destination);
        let named = |flow: &&Flow| {
            [&flow.source, &flow.destination]
                .iter()
                .any(|end| end.name.as_deref().is_some_and(|name| name.ends_with("fio.bin")))
        };
        let flows: Vec<_> =
            report.flows.iter().filter(ends).filter(named).filter(|flow| flow.path == "mmap").collect();
        assert_eq!(flows.iter().map(|flow| flow.bytes).sum::<u64>(), BYTES, "{way}: {flows:?}");
        assert!(flows.iter().all(|flow| flow.cpu_copied_bytes == Some(0)), "{way}: {flows:?}");
    }
}
