//! One file copied to another by the programs that people use for that: by which calls, and each with its bytes.
//!
//! Each copies twice, once under strace, which names the calls on the two files, and once under `zc`.

use std::fs;

use zc_tests::{
    machine::{python, random_file, temp_dir},
    report::Report,
    witness::{BOTH, READS, Strace, WRITES},
    zc::Zc,
};

/// Not a multiple of any buffer or page.
const SIZE: usize = 5 * 1024 * 1024 + 12_347;
const BYTES: u64 = SIZE as u64;

/// What strace and `zc` saw of the same copy.
struct Copied {
    trace: Strace,
    /// The names of the two files, under strace.
    traced: [String; 2],
    report: Report,
    /// The names of the two files, under `zc`.
    reported: [String; 2],
}

impl Copied {
    /// Copies by `command`, in which `IN` and `OUT` stand for the files. `out_dir` is where the copy goes.
    fn by(zc: &Zc, command: &[&str], in_dir: &str, out_dir: &str) -> Self {
        let names = |run: &str| {
            let input = random_file(in_dir.as_ref(), &format!("in-{run}.bin"), SIZE);
            [input, format!("{out_dir}/out-{run}.bin")]
        };
        let filled = |[input, output]: &[String; 2]| -> Vec<String> {
            command.iter().map(|word| word.replace("IN", input).replace("OUT", output)).collect()
        };
        let content = fs::read(&names("strace")[0]).expect("the input");
        let (traced, reported) = (names("strace"), names("zc"));
        let trace = Strace::named_data_calls(&filled(&traced));
        let report = zc.trace(&filled(&reported));
        report.assert_nothing_lost();
        for [_, output] in [&traced, &reported] {
            assert!(fs::read(output).expect("the copy") == content, "a copy by {command:?}");
            fs::remove_file(output).expect("removing the copy");
        }
        Self { trace, traced, report, reported }
    }

    fn flow(&self, path: &str) -> (u64, u64) {
        let [input, output] = self.reported.each_ref().map(|name| Some(name.as_str()));
        match path {
            "read" => self.report.flow(path, input, None),
            "write" => self.report.flow(path, None, output),
            _ => self.report.flow(path, input, output),
        }
    }

    /// All of the file went by one call that knows both files.
    fn in_the_kernel(&self, path: &str) {
        let [input, output] = &self.traced;
        let by_strace = self.trace.on(input, &[path]);
        assert_eq!(by_strace.1, BYTES, "bytes by {path}, says strace");
        for other in ["sendfile", "copy_file_range", "read+write", "read", "write"] {
            let expected = if other == path { by_strace } else { (0, 0) };
            assert_eq!(self.flow(other), expected, "{other} in a copy by {path}");
        }
        assert_eq!(self.trace.on(output, &WRITES), (0, 0), "no write, says strace");
    }

    /// All of the file was read and written from the same memory.
    fn through_memory(&self) {
        let [input, output] = &self.traced;
        let (reads, writes) = (self.trace.on(input, &READS), self.trace.on(output, &WRITES));
        assert_eq!((reads.1, writes.1), (BYTES, BYTES), "bytes read and written, says strace");
        let [pairs, read, written] = ["read+write", "read", "write"].map(|path| self.flow(path));
        assert_eq!((pairs.1, read.1, written.1), (BYTES, 0, 0));
        assert_eq!(pairs.0 + read.0 + written.0, reads.0 + writes.0, "calls");
        for other in BOTH {
            // Some try it first, and are told that these are two file systems.
            assert_eq!(self.flow(other), self.trace.on(input, &[other]), "{other}");
            assert_eq!(self.flow(other).1, 0, "{other}");
        }
    }
}

fn text(dir: &tempfile::TempDir) -> &str {
    dir.path().to_str().expect("UTF-8")
}

/// Until version 3.14 by sendfile.
#[test]
fn pythons_copyfile_copies_within_the_kernel() {
    let Some(zc) = Zc::with(&["python3", "strace"]) else { return };
    let dir = temp_dir();
    let script = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])";
    let copied = Copied::by(&zc, &[python(), "-c", script, "IN", "OUT"], text(&dir), text(&dir));
    let by_range = copied.trace.on(&copied.traced[0], &["copy_file_range"]).1;
    copied.in_the_kernel(if by_range == 0 { "sendfile" } else { "copy_file_range" });
}

#[test]
fn rusts_copies_of_files_are_copy_file_range() {
    let Some(zc) = Zc::with(&["strace"]) else { return };
    let dir = temp_dir();
    for how in ["io-copy", "fs-copy"] {
        let command = [env!("CARGO_BIN_EXE_zc-copier"), how, "IN", "OUT"];
        Copied::by(&zc, &command, text(&dir), text(&dir)).in_the_kernel("copy_file_range");
    }
}

#[test]
fn install_copies_within_the_kernel() {
    let Some(zc) = Zc::with(&["strace", "install"]) else { return };
    let dir = temp_dir();
    let copied = Copied::by(&zc, &["install", "IN", "OUT"], text(&dir), text(&dir));
    // Before version 9 of coreutils it read and wrote.
    if copied.trace.on(&copied.traced[0], &["copy_file_range"]).1 == 0 {
        copied.through_memory();
    } else {
        copied.in_the_kernel("copy_file_range");
    }
}

#[test]
fn moving_to_another_file_system_goes_through_memory() {
    let Some(zc) = Zc::with(&["strace", "mv"]) else { return };
    let dir = temp_dir();
    let shm = tempfile::Builder::new().prefix("zc-").tempdir_in("/dev/shm").expect("a directory in memory");
    let there = Copied::by(&zc, &["mv", "IN", "OUT"], text(&dir), text(&shm));
    there.through_memory();
    let back = Copied::by(&zc, &["mv", "IN", "OUT"], text(&shm), text(&dir));
    back.through_memory();
}

#[test]
fn busyboxs_dd_goes_through_one_buffer() {
    let Some(zc) = Zc::with(&["strace", "busybox"]) else { return };
    let dir = temp_dir();
    let command = ["busybox", "dd", "if=IN", "of=OUT", "bs=9999"];
    Copied::by(&zc, &command, text(&dir), text(&dir)).through_memory();
}

/// curl hands what it read to stdio 16 KiB at a time. stdio passes large parts on from where they are, and moves the
/// rest into a buffer of one page. That may be memory which curl has read a file of its settings into before: such
/// bytes count as that file's, as docs/limitations.md says.
#[test]
fn curl_writes_part_of_a_file_from_another_buffer() {
    let Some(zc) = Zc::with(&["strace", "curl"]) else { return };
    let dir = temp_dir();
    let copied = Copied::by(&zc, &["curl", "-sS", "-o", "OUT", "file://IN"], text(&dir), text(&dir));
    let output = format!("<{}>", copied.traced[1]);
    let writes = copied.trace.calls.iter().filter(|call| call.name == "write");
    let sizes = writes.filter(|call| call.arguments.contains(&output)).filter_map(|call| call.bytes);
    let direct: u64 = sizes.filter(|bytes| *bytes > 4096).sum();
    assert!(direct > BYTES / 2 && direct < BYTES, "{direct} bytes past stdio's buffer, says strace");
    let [pairs, read, written] = ["read+write", "read", "write"].map(|path| copied.flow(path).1);
    assert_eq!((pairs, read), (direct, BYTES - direct));
    let output = Some(copied.reported[1].as_str());
    let into = copied.report.flow_bytes(None, "read+write", None, output);
    assert_eq!(into + written, BYTES, "every byte of the copy was written once");
    assert!(into - pairs < 4096, "{} bytes of other files", into - pairs);
}
