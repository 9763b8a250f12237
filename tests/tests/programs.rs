//! Programs that people run: which rows must be there, and with how many bytes.
//!
//! Wherever a program makes the same calls each time, strace counts them in a run of its own.

use std::{fs, path::Path};

use zc_tests::{
    expect::Kind,
    job::Job,
    machine::{random_file, temp_dir},
    report::{Process, Report},
    witness::{BOTH, READS, Strace, WRITES},
    zc::Zc,
};

/// Not a multiple of any buffer.
const SIZE: usize = 5 * 1024 * 1024 + 12_347;
const BYTES: u64 = SIZE as u64;
const FILES: (Kind, Kind) = (Kind::File, Kind::File);

/// Traces a program of one process, and holds its calls and bytes to those that strace sees.
fn as_strace_saw(zc: &Zc, command: &[&str]) -> Report {
    let trace = Strace::data_calls(command);
    let report = zc.trace(command);
    report.assert_nothing_lost();
    let comm = Path::new(command[0]).file_name().and_then(|name| name.to_str()).expect("a program");
    let process = report.named(comm);
    let first = trace.first_tid();
    let [reads, writes, both] =
        [&READS[..], &WRITES, &BOTH].map(|names| trace.sum(names, |tid| tid == first));
    assert_eq!(process.data_calls(), reads.0 + writes.0 + both.0, "calls of {command:?}");
    assert_eq!(process.bytes_read(), reads.1 + both.1, "bytes read by {command:?}");
    assert_eq!(process.bytes_written(), writes.1 + both.1, "bytes written by {command:?}");
    report
}

struct Files {
    _dir: tempfile::TempDir,
    input: String,
    output: String,
}

fn files() -> Files {
    let dir = temp_dir();
    let input = random_file(dir.path(), "in.bin", SIZE);
    let output = dir.path().join("out.bin").to_str().expect("UTF-8").to_owned();
    Files { _dir: dir, input, output }
}

fn relayed(process: &Process, ends: (Kind, Kind)) -> u64 {
    process.bytes("read+write", ends.0, ends.1)
}

#[test]
fn dd_relays_every_block_through_one_buffer() {
    let Some(zc) = Zc::with(&["strace", "dd"]) else { return };
    let Files { input, output, .. } = &files();
    let (from, to) = (format!("if={input}"), format!("of={output}"));
    for (to, kind, name) in [("of=/dev/null", Kind::Device, "/dev/null"), (to.as_str(), Kind::File, output)] {
        let report = as_strace_saw(&zc, &["dd", &from, to, "bs=64k", "status=none"]);
        let dd = report.named("dd");
        let row = dd.row("read+write", Kind::File, kind).expect("a relay");
        let blocks = BYTES.div_ceil(65_536);
        assert_eq!((row.bytes, row.transfers, row.syscalls), (BYTES, blocks, 2 * blocks), "to {name}");
        assert_eq!(report.flow_bytes(Some(dd.pid), "read+write", Some(input), Some(name)), BYTES);
        assert_eq!(
            report.flow_bytes(Some(dd.pid), "read", Some(input), None),
            0,
            "no byte of the file is a leg"
        );
    }
    assert!(fs::read(output).expect("the copy") == fs::read(input).expect("the input"));
}

#[test]
fn dd_with_odd_blocks_relays_them_too() {
    let Some(zc) = Zc::with(&["strace", "dd"]) else { return };
    let Files { input, output, .. } = &files();
    let (from, to) = (format!("if={input}"), format!("of={output}"));
    let report = as_strace_saw(&zc, &["dd", &from, &to, "bs=4099", "count=211", "status=none"]);
    let row = report.named("dd").row("read+write", Kind::File, Kind::File).expect("a relay");
    assert_eq!((row.bytes, row.transfers, row.syscalls), (211 * 4099, 211, 2 * 211));
    assert_eq!((row.cpu_copied_bytes, row.verdict.as_str()), (Some(2 * 211 * 4099), "copied"));
}

#[test]
fn dd_that_gathers_small_blocks_into_large_ones_relays_nothing() {
    let Some(zc) = Zc::with(&["strace", "dd"]) else { return };
    let Files { input, output, .. } = &files();
    let (from, to) = (format!("if={input}"), format!("of={output}"));
    // With two block sizes dd copies from one buffer to another: what is written was never read there.
    let report = as_strace_saw(&zc, &["dd", &from, &to, "ibs=4k", "obs=64k", "status=none"]);
    let dd = report.named("dd");
    assert_eq!(relayed(dd, FILES), 0);
    assert_eq!(dd.bytes("write", Kind::Memory, Kind::File), BYTES);
    assert_eq!(report.flow_bytes(Some(dd.pid), "read", Some(input), None), BYTES);
}

#[test]
fn cat_relays_through_pipes() {
    let Some(zc) = Zc::with(&[]) else { return };
    let Files { input, .. } = &files();
    let report = zc.trace(&["sh", "-c", "cat \"$1\" | cat > /dev/null", "sh", input]);
    report.assert_nothing_lost();
    let cats: Vec<_> = report.processes.iter().filter(|process| process.comm == "cat").collect();
    let into: Vec<_> = cats.iter().map(|cat| relayed(cat, (Kind::File, Kind::Pipe))).collect();
    let out: Vec<_> = cats.iter().map(|cat| relayed(cat, (Kind::Pipe, Kind::Device))).collect();
    assert!(cats.len() == 2 && into.contains(&BYTES) && out.contains(&BYTES), "{into:?} into, {out:?} out");
    assert_eq!(report.flow_bytes(None, "read+write", Some(input), None), BYTES);
}

#[test]
fn cat_to_a_file_copies_within_the_kernel() {
    let Some(zc) = Zc::with(&["strace"]) else { return };
    let Files { input, output, .. } = &files();
    let command = ["sh", "-c", "exec cat \"$1\" > \"$2\"", "sh", input, output];
    let trace = Strace::data_calls(&command);
    let report = zc.trace(&command);
    let cat = report.named("cat");
    copied_like(cat, &trace);
    let moved = cat.bytes("copy_file_range", Kind::File, Kind::File) + relayed(cat, FILES);
    assert_eq!(moved, BYTES);
    assert!(fs::read(output).expect("the copy") == fs::read(input).expect("the input"));
}

/// Whether coreutils uses `copy_file_range` depends on its version and on the file system; strace says.
fn copied_like(process: &Process, trace: &Strace) {
    let (calls, bytes) = trace.sum(&["copy_file_range"], |_| true);
    let row = process.row("copy_file_range", Kind::File, Kind::File);
    assert_eq!(row.map_or((0, 0), |row| (row.syscalls, row.bytes)), (calls, bytes), "copy_file_range");
    if let Some(row) = row {
        assert_eq!((row.verdict.as_str(), row.unknown_bytes), ("unknown", Some(bytes)));
    }
}

#[test]
fn cp_copies_within_the_kernel_or_through_one_buffer() {
    let Some(zc) = Zc::with(&["strace", "cp"]) else { return };
    let Files { input, output, .. } = &files();
    for option in ["--reflink=auto", "--reflink=never"] {
        let command = ["cp", option, input, output];
        let trace = Strace::data_calls(&command);
        let report = as_strace_saw(&zc, &command);
        let cp = report.named("cp");
        copied_like(cp, &trace);
        let flow = |path| report.flow_bytes(Some(cp.pid), path, Some(input), Some(output));
        assert_eq!(flow("copy_file_range") + flow("read+write"), BYTES, "{option}");
        if option == "--reflink=never" {
            assert_eq!(
                flow("read+write"),
                trace.sum(&["write"], |_| true).1,
                "what was written had been read"
            );
        }
    }
}

#[test]
fn busybox_cp_sends_files() {
    let Some(zc) = Zc::with(&["strace", "busybox"]) else { return };
    let Files { input, output, .. } = &files();
    let report = as_strace_saw(&zc, &["busybox", "cp", input, output]);
    let flow = report.flow_bytes(None, "sendfile", Some(input), Some(output));
    assert_eq!(flow, BYTES);
    let row = report.named("busybox").row("sendfile", Kind::File, Kind::File).expect("a sendfile row");
    assert_eq!((row.bytes, row.unknown_bytes, row.verdict.as_str()), (BYTES, Some(BYTES), "unknown"));
}

#[test]
fn tar_relays_file_contents_and_writes_headers_from_memory() {
    let Some(zc) = Zc::with(&["strace", "tar"]) else { return };
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    let sizes = [300_001_usize, 100_003, 70_001];
    for (i, size) in sizes.iter().enumerate() {
        random_file(&tree, &format!("{i}.bin"), *size);
    }
    let archive = dir.path().join("tree.tar").to_str().expect("UTF-8").to_owned();
    let report = as_strace_saw(
        &zc,
        &["tar", "--sort=name", "-cf", &archive, "-C", dir.path().to_str().expect("UTF-8"), "tree"],
    );
    let tar = report.named("tar");
    let contents: u64 = sizes.iter().map(|size| *size as u64).sum();
    let size = fs::metadata(&archive).expect("the archive").len();
    assert_eq!(relayed(tar, FILES), contents, "tar reads into the record that it writes");
    assert_eq!(tar.bytes("write", Kind::Memory, Kind::File), size - contents, "headers and padding");
    let into = |path, source| report.flow_bytes(Some(tar.pid), path, source, Some(archive.as_str()));
    assert_eq!(into("read+write", None) + into("write", None), size);
}

#[test]
fn gzip_reads_all_and_writes_less_and_relays_nothing() {
    let Some(zc) = Zc::with(&["strace", "gzip"]) else { return };
    let dir = temp_dir();
    let path = dir.path().join("text");
    fs::write(&path, "one line like the next\n".repeat(100_003)).expect("an input file");
    let input = path.to_str().expect("UTF-8").to_owned();
    let report = as_strace_saw(&zc, &["gzip", "-k", "-f", &input]);
    let gzip = report.named("gzip");
    let packed = format!("{input}.gz");
    let sizes = [&input, &packed].map(|path| fs::metadata(path).expect("a file").len());
    assert_eq!(report.flow_bytes(Some(gzip.pid), "read", Some(&input), None), sizes[0]);
    assert_eq!(report.flow_bytes(Some(gzip.pid), "write", None, Some(&packed)), sizes[1]);
    assert_eq!(relayed(gzip, FILES), 0);
}

#[test]
fn a_program_is_traced_from_its_first_instruction() {
    let Some(zc) = Zc::with(&["strace"]) else { return };
    // The loader's reads of the libraries are all that these do.
    let report = as_strace_saw(&zc, &["true"]);
    let libraries = report.named("true").bytes("read", Kind::File, Kind::Memory);
    assert!(libraries >= 832, "{libraries} bytes of libraries");
    let done = Job::new(&["true"]).finish();
    assert_eq!(done.code(), 0);
}

#[test]
fn fio_reads_what_it_says() {
    let Some(zc) = Zc::with(&["fio"]) else { return };
    let dir = temp_dir();
    let input = random_file(dir.path(), "fio.bin", 4 * 1024 * 1024);
    let file = format!("--filename={input}");
    let words = [
        "fio",
        "--name=zc",
        &file,
        "--rw=read",
        "--ioengine=psync",
        "--bs=16k",
        "--thread",
        "--numjobs=3",
        "--loops=1",
    ];
    let report = zc.trace(&[&words[..], &["--invalidate=0", "--size=4m", "--output=/dev/null"]].concat());
    report.assert_nothing_lost();
    assert_eq!(report.flow_bytes(None, "read", Some(&input), None), 3 * 4 * 1024 * 1024);
}
