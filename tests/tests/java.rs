//! The Java programs of `tests/java` on JDK 17: which kernel path each way of moving a file takes.
//!
//! The witnesses: strace in a run of its own, what the program says it moved, and the files.

use std::{fs, io::Read as _, net::TcpStream, path::Path, sync::OnceLock};

use zc_tests::{
    expect::Kind,
    job::Job,
    machine::{random_file, target_tmp, temp_dir, wait_for},
    report::{End, Flow, Report, Row},
    witness::{BOTH, READS, Strace, WRITES},
    zc::{Traced, Zc},
};

/// Not a multiple of any buffer or page.
const SIZE: usize = 5 * 1024 * 1024 + 12_347;
const BYTES: u64 = SIZE as u64;
const RECORD: u64 = 60;
const PAGE: u64 = 4096;
const FILES: (Kind, Kind) = (Kind::File, Kind::File);

/// The directory of the compiled programs.
fn classes() -> &'static str {
    static CLASSES: OnceLock<String> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("java");
        let classes = target_tmp().join("java").to_str().expect("UTF-8").to_owned();
        let mut words = vec!["javac".to_owned(), "-d".into(), classes.clone()];
        for entry in fs::read_dir(sources).expect("the Java programs") {
            words.push(entry.expect("a Java program").path().to_str().expect("UTF-8").to_owned());
        }
        let done = Job::new(&words).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        classes
    })
}

fn java<'a>(program: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&["java", "-cp", classes(), program], arguments].concat()
}

struct Files {
    dir: tempfile::TempDir,
    input: String,
}

impl Files {
    fn new() -> Self {
        let dir = temp_dir();
        let input = random_file(dir.path(), "in.bin", SIZE);
        Self { dir, input }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("UTF-8").to_owned()
    }
}

/// The virtual machine reads and writes bits of memory by the hundred, and may read into more of one granule than is
/// remembered. That changes what is a pair among its own few bytes, and nothing else.
fn nothing_else_lost(report: &Report) {
    let losses = report.losses();
    assert!(losses.iter().all(|(name, _)| *name == "pairs_evicted"), "{losses:?}");
}

/// Copies the input by a program, once under strace and once under `zc`, and checks both copies.
fn copied_by(zc: &Zc, program: &str, files: &Files) -> (Strace, Report, [String; 2]) {
    let outputs = [files.path("by-strace.bin"), files.path("by-zc.bin")];
    let trace = Strace::named_data_calls(&java(program, &[&files.input, &outputs[0]]));
    let report = zc.trace(&java(program, &[&files.input, &outputs[1]]));
    nothing_else_lost(&report);
    for output in &outputs {
        assert!(fs::read(output).expect("the copy") == fs::read(&files.input).expect("the input"));
    }
    (trace, report, outputs)
}

fn row<'a>(report: &'a Report, path: &str, ends: (Kind, Kind)) -> &'a Row {
    report.named("java").row(path, ends.0, ends.1).unwrap_or_else(|| panic!("no row {path} {ends:?}"))
}

#[test]
fn transfer_to_a_socket_is_sendfile() {
    let Some(zc) = Zc::with(&["java", "javac"]) else { return };
    let files = Files::new();
    let mut serving = zc.start(&java("TransferToSocket", &[&files.input]));
    let port = wait_for("the port of the Java program", || {
        let said = String::from_utf8(serving.running.stdout_so_far()).ok()?;
        said.strip_prefix("port ")?.split_once('.')?.0.parse::<u16>().ok()
    });
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the Java program");
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("the file");
    let own = client.local_addr().expect("an address").to_string();
    drop(client);
    let Traced { report, done, .. } = serving.collect();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(received == fs::read(&files.input).expect("the input"));
    assert!(String::from_utf8_lossy(&done.stdout).contains(&format!("sent {BYTES}\n")));
    nothing_else_lost(&report);
    assert_eq!(row(&report, "sendfile", (Kind::File, Kind::Tcp)).bytes, BYTES);
    assert_eq!(report.flow("sendfile", Some(&files.input), Some(&own)).1, BYTES);
    assert_eq!(report.flow("read", Some(&files.input), None), (0, 0), "the file is not read");
}

#[test]
fn transfer_to_a_file_and_files_copy_are_sendfile() {
    let Some(zc) = Zc::with(&["java", "javac", "strace"]) else { return };
    for program in ["TransferToFile", "CopyFile"] {
        let files = Files::new();
        let (trace, report, outputs) = copied_by(&zc, program, &files);
        let by_strace = trace.on(&files.input, &BOTH);
        assert_eq!(by_strace.1, BYTES, "{program} sends the file, says strace");
        assert_eq!(by_strace, trace.on(&outputs[0], &[&READS[..], &WRITES, &BOTH].concat()), "{program}");
        let by_zc = report.flow("sendfile", Some(&files.input), Some(&outputs[1]));
        assert_eq!(by_zc, by_strace, "{program}");
        let row = row(&report, "sendfile", FILES);
        assert_eq!((row.syscalls, row.bytes), by_strace, "{program} sends nothing else");
    }
}

#[test]
fn transfer_from_a_file_writes_from_a_mapping_of_it() {
    let Some(zc) = Zc::with(&["java", "javac", "strace"]) else { return };
    let files = Files::new();
    let (trace, report, outputs) = copied_by(&zc, "TransferFromFile", &files);
    let by_strace = trace.on(&outputs[0], &["pwrite64"]);
    assert_eq!(by_strace, (1, BYTES), "one write, says strace");
    assert_eq!(trace.on(&files.input, &[&READS[..], &BOTH].concat()), (0, 0), "no read, says strace");
    assert_eq!(report.flow("mmap+write", Some(&files.input), Some(&outputs[1])), by_strace);
    let row = row(&report, "mmap+write", FILES);
    assert_eq!((row.syscalls, row.bytes, row.transfers), (1, BYTES, 1));
    assert_eq!((row.cpu_copied_bytes, row.verdict.as_str()), (Some(BYTES), "copied"));
    assert_eq!(report.flow("write", None, Some(&outputs[1])), (0, 0), "no byte is from memory");
}

/// Java's streams copy between its heap and 8 KiB on the stack of the call. Read and write have that at the same
/// place as long as they are called alike, so what is a pair and what a leg is not the same in every run.
#[test]
fn transfer_by_streams_reads_and_writes_every_byte() {
    let Some(zc) = Zc::with(&["java", "javac", "strace"]) else { return };
    let files = Files::new();
    let (trace, report, outputs) = copied_by(&zc, "StreamTransfer", &files);
    let (reads, writes) = (trace.on(&files.input, &READS), trace.on(&outputs[0], &WRITES));
    assert_eq!(writes, (BYTES.div_ceil(8192), BYTES), "8 KiB each, says strace");
    let (input, output) = (Some(files.input.as_str()), Some(outputs[1].as_str()));
    let [pairs, read, written] =
        [("read+write", input, output), ("read", input, None), ("write", None, output)]
            .map(|(path, source, destination)| report.flow(path, source, destination));
    assert_eq!(pairs.1 + read.1, BYTES, "bytes read");
    assert_eq!(pairs.1 + written.1, BYTES, "bytes written");
    assert_eq!(pairs.0 + read.0 + written.0, reads.0 + writes.0, "calls");
    assert!(pairs.1 > 0, "most of it goes through one place");
}

#[test]
fn a_mapped_file_is_read_without_a_call() {
    let Some(zc) = Zc::with(&["java", "javac"]) else { return };
    let files = Files::new();
    let Traced { report, done, .. } = zc.run_json(&[], &java("MapAndRead", &[&files.input]));
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let sum: u64 = fs::read(&files.input).expect("the input").into_iter().map(u64::from).sum();
    assert_eq!(String::from_utf8_lossy(&done.stdout), format!("sum {sum}\n"));
    nothing_else_lost(&report);
    let flows: Vec<_> =
        report.flows.iter().filter(|flow| flow.source.name.as_ref() == Some(&files.input)).collect();
    let [flow] = flows[..] else { panic!("flows from the file: {flows:?}") };
    assert_eq!((flow.path.as_str(), flow.bytes), ("mmap", BYTES.next_multiple_of(PAGE)));
    assert_eq!((flow.cpu_copied_bytes, flow.by_reference_bytes), (Some(0), Some(flow.bytes)));
    assert_eq!((flow.verdict.as_str(), flow.syscalls), ("zero-copy", 1), "mapped once, and never unmapped");
}

#[test]
fn appends_through_a_stream_are_writes_and_those_through_a_mapping_are_none() {
    let Some(zc) = Zc::with(&["java", "javac", "strace"]) else { return };
    let files = Files::new();
    for count in [50, 1_000_000] {
        let number = count.to_string();
        let [stream, mapped] = ["stream", "mapped"].map(|name| files.path(&format!("{name}-{number}")));
        let report = zc.trace(&java("AppendStream", &[&stream, &number]));
        nothing_else_lost(&report);
        let expected = (count, count * RECORD);
        assert_eq!(report.flow("write", None, Some(&stream)), expected);
        assert!(row(&report, "write", (Kind::Memory, Kind::File)).syscalls >= count);

        let report = zc.trace(&java("AppendMapped", &[&mapped, &number]));
        nothing_else_lost(&report);
        let flows = |end: fn(&Flow) -> &End| -> Vec<_> {
            let flows = report.flows.iter().filter(|flow| end(flow).name.as_ref() == Some(&mapped));
            flows.map(|flow| (flow.path.as_str(), flow.bytes, flow.syscalls)).collect()
        };
        let pages = (count * RECORD).next_multiple_of(PAGE);
        assert_eq!(flows(|flow| &flow.source), [("mmap", pages, 1)], "{count} appends: the file is mapped");
        // A page that was sent to storage before it was full is made writable once more.
        let written = flows(|flow| &flow.destination);
        assert!(
            matches!(written[..], [("mmap", bytes, 0)] if (pages..pages + 64 * PAGE).contains(&bytes)),
            "{count} appends without a call: {written:?}"
        );
        let data = report.named("java").data_calls();
        assert!(data < 1000, "{data} calls of the virtual machine itself");

        let [by_stream, by_mapping] = [&stream, &mapped].map(|path| fs::read(path).expect("the records"));
        assert_eq!(by_stream.len() as u64, count * RECORD);
        assert!(by_stream == by_mapping, "the same records");
    }
    let again = files.path("again");
    let trace = Strace::named_data_calls(&java("AppendStream", &[&again, "50"]));
    assert_eq!(trace.on(&again, &WRITES), (50, 50 * RECORD), "strace counts the same");
}
