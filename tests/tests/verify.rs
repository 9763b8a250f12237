//! `zc verify` by real programs: what is copied does not hold, what was seen to move by reference holds, and what
//! nobody saw is not decided.

use std::fs;

use serde_json::Value;
use zc_tests::{
    disk::Disk,
    fixture,
    job::{Done, Job},
    machine::{self, python},
    zc::Zc,
};

/// Not a multiple of any buffer, and of pages once cut.
const SIZE: usize = 3 * 1024 * 1024;

const HOLDS: i32 = 0;
const DOES_NOT_HOLD: i32 = 3;
const CANNOT_BE_DECIDED: i32 = 5;

fn verify<S: AsRef<str>>(zc: &Zc, options: &[&str], command: &[S]) -> Done {
    let mut words = vec!["verify"];
    words.extend(options);
    words.push("--");
    words.extend(command.iter().map(AsRef::as_ref));
    zc.job(&words).finish()
}

/// The JSON of an answer that ended with `code`.
fn json<S: AsRef<str>>(zc: &Zc, options: &[&str], command: &[S], code: i32) -> Value {
    let path = zc.report_path("answer.json");
    let options = [&["--format", "json", "-o", path.to_str().expect("UTF-8")], options].concat();
    let done = verify(zc, &options, command);
    let answer = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}: {}", done.stderr));
    assert_eq!(done.code(), code, "{answer}\n{}", done.stderr);
    serde_json::from_str(&answer).expect("JSON")
}

fn first_line(done: &Done) -> String {
    String::from_utf8_lossy(&done.stdout).lines().next().unwrap_or_default().to_owned()
}

/// A directory with a file, the file's name, and a name for its copy.
fn files() -> (tempfile::TempDir, String, String) {
    let dir = machine::temp_dir();
    let input = machine::random_file(dir.path(), "in.bin", SIZE);
    let output = dir.path().join("out.bin").to_str().expect("UTF-8").to_owned();
    (dir, input, output)
}

#[test]
fn copies_by_read_and_write_do_not_hold_and_say_why() {
    let Some(zc) = Zc::with(&["dd", "cat", "sh"]) else { return };
    let (_dir, input, output) = files();
    let (of, from) = (format!("of={output}"), format!("if={input}"));
    let cat = format!("cat {input} | cat > {output}");
    for command in [&["dd", &from, &of, "bs=64k", "status=none"][..], &["sh", "-c", &cat]] {
        let done = verify(&zc, &["--file", &input], command);
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.code(), DOES_NOT_HOLD, "{command:?}: {text}{}", done.stderr);
        let expected = format!(
            "does not hold: {} bytes copied, 0 by reference, 0 unknown, of {SIZE} in 1 flow",
            2 * SIZE
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(
            text.contains(&input) && text.contains("passed through user memory; sendfile, splice"),
            "{text}"
        );
        assert_eq!(done.stderr, "", "the answer is on stdout");
        fs::remove_file(&output).expect("the copy");
    }
}

#[test]
fn direct_copies_hold_where_the_disk_was_seen_to_do_them() {
    let Some(zc) = Zc::with(&["dd"]) else { return };
    let (_dir, input, output) = files();
    let words = [
        "dd",
        &format!("if={input}"),
        &format!("of={output}"),
        "bs=64k",
        "iflag=direct",
        "oflag=direct",
        "status=none",
    ];
    let done = verify(&zc, &["--file", &input], &words);
    let line = first_line(&done);
    assert_eq!(done.code(), HOLDS, "{line}{}", done.stderr);
    assert!(line.starts_with(&format!("holds: 0 bytes copied, {SIZE} by reference")), "{line}");
    let done = verify(&zc, &["--file", &input, "--expect", "copied"], &words);
    assert_eq!(done.code(), DOES_NOT_HOLD, "{}", first_line(&done));
}

#[test]
fn clones_hold_as_the_kernel_says_so() {
    let Some(zc) = Zc::with(&["cp"]) else { return };
    for kind in ["xfs", "btrfs"] {
        let Some(disk) = Disk::new(kind) else { continue };
        let input = machine::random_file(disk.path(), "in.bin", SIZE + 17);
        let output = disk.path().join("out.bin").to_str().expect("UTF-8").to_owned();
        let words = ["cp", "--reflink=always", &input, &output];
        let answer = json(&zc, &["--file", &output], &words, HOLDS);
        assert_eq!(answer["selected"]["by_reference_bytes"], SIZE + 17, "{kind}: {answer}");
        let done = verify(&zc, &["--path", "copy_file_range"], &words);
        assert_eq!(done.code(), HOLDS, "{kind}: {}", first_line(&done));
        // Without a selection, what the loader reads counts, too.
        let answer = json(&zc, &[], &words, DOES_NOT_HOLD);
        assert!(
            answer["rows"]
                .as_array()
                .is_some_and(|rows| rows.iter().all(|row| row["path"] != "copy_file_range"))
        );
    }
}

/// Sends a file by sendfile: to a TCP socket, or to a Unix one.
const SEND: &str = "
import os, socket, sys, threading
if sys.argv[2] == 'tcp':
    listener = socket.create_server(('127.0.0.1', 0))
    peer = socket.create_connection(listener.getsockname())
    other = listener.accept()[0]
else:
    peer, other = socket.socketpair()
def drain():
    while other.recv(65536): pass
reader = threading.Thread(target=drain)
reader.start()
file = os.open(sys.argv[1], os.O_RDONLY)
offset = 0
while sent := os.sendfile(peer.fileno(), file, offset, 1 << 20): offset += sent
peer.close()
reader.join()
";

#[test]
fn sendfile_to_a_connection_holds_as_it_was_seen_to_leave() {
    let Some(zc) = Zc::with(&[python()]) else { return };
    let (_dir, input, _) = files();
    let answer = json(&zc, &["--file", &input], &[python(), "-c", SEND, &input, "tcp"], HOLDS);
    let selected = &answer["selected"];
    assert_eq!((&selected["by_reference_bytes"], &selected["cpu_copied_bytes"]), (&SIZE.into(), &0.into()));
    let words = [python(), "-c", SEND, &input, "tcp"];
    json(&zc, &["--file", &input, "--expect", "copied"], &words, DOES_NOT_HOLD);
}

#[test]
fn sendfile_to_a_unix_socket_is_not_decided_as_nobody_saw_it_leave() {
    let Some(zc) = Zc::with(&[python()]) else { return };
    let (_dir, input, _) = files();
    let words = [python(), "-c", SEND, &input, "unix"];
    let answer = json(&zc, &["--file", &input], &words, CANNOT_BE_DECIDED);
    assert_eq!(answer["undecided"][0]["what"], "unknown_bytes");
    assert_eq!(
        (&answer["undecided"][0]["bytes"], &answer["selected"]["unknown_bytes"]),
        (&SIZE.into(), &SIZE.into())
    );
    let flow = &answer["flows"][0];
    assert_eq!((&flow["path"], &flow["broke"][0]), (&"sendfile".into(), &"unknown".into()));
    let reason = flow["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("not witnessed: sendfile") && flow["hint"].is_string(), "{flow}");
}

#[test]
fn a_check_that_checks_nothing_is_not_decided() {
    let Some(zc) = Zc::with(&["cp"]) else { return };
    let (_dir, input, output) = files();
    for options in [
        &["--file", "/no/such/file"][..],
        &["--path", "tee"],
        &["--port", "1"],
        &["--peer", "192.0.2.1"],
        &["--min-bytes", "1TiB"],
    ] {
        let done = verify(&zc, options, &["cp", &input, &output]);
        assert_eq!(done.code(), CANNOT_BE_DECIDED, "{options:?}");
        assert_eq!(first_line(&done), "cannot be decided: nothing was selected", "{options:?}");
    }
}

#[test]
fn lost_data_is_never_taken_for_zero_copy() {
    let Some(zc) = Zc::with(&["dd"]) else { return };
    let (_dir, input, output) = files();
    let (from, of) = (format!("if={input}"), format!("of={output}"));
    let words = ["dd", &from, &of, "bs=64k", "iflag=direct", "oflag=direct", "status=none"];
    for option in ["--rows-max", "--objects-max"] {
        let answer = json(&zc, &["--file", &input, option, "1"], &words, CANNOT_BE_DECIDED);
        let doubts = answer["undecided"].as_array().expect("doubts");
        assert!(doubts.iter().any(|doubt| doubt["what"] == "lost"), "{option}: {answer}");
    }
    let done = verify(&zc, &["--file", &input, "--rows-max", "1"], &words);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.contains("raise --rows-max"), "no word of what helps: {text}");
}

#[test]
fn a_little_may_be_copied_when_that_is_allowed() {
    let Some(zc) = Zc::with(&["sh", "dd"]) else { return };
    let (dir, input, output) = files();
    let small = machine::random_file(dir.path(), "small.bin", 100_003);
    let script = format!(
        "dd if={input} of={output} bs=64k iflag=direct oflag=direct status=none && dd if={small} of={output}.2 bs=64k status=none"
    );
    let below = dir.path().to_str().expect("UTF-8");
    // 200 006 bytes are copied of 3 245 731.
    for (bound, code) in [
        ("10%", HOLDS),
        ("6.162%", DOES_NOT_HOLD),
        ("6.163%", HOLDS),
        ("200006", HOLDS),
        ("200005", DOES_NOT_HOLD),
        ("0", DOES_NOT_HOLD),
    ] {
        let done = verify(&zc, &["--file", below, "--max-copied", bound], &["sh", "-c", &script]);
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.code(), code, "{bound}: {text}");
        assert!(
            text.contains(&format!("200006 bytes copied, {SIZE} by reference, 0 unknown, of 3245731")),
            "{text}"
        );
    }
}

/// The reports of the kernel, and what it copies whatever it was asked for.
#[test]
fn paths_are_selected_by_their_names() {
    let Some(zc) = Zc::with(&[]) else { return };
    for (name, path, code, reason) in [
        ("zerocopy-tcp", "send-zerocopy", DOES_NOT_HOLD, "the kernel reports MSG_ZEROCOPY data as copied"),
        ("recv-zerocopy", "recv-zerocopy", DOES_NOT_HOLD, "read into user memory"),
        ("zerocopy-closed", "send-zerocopy", CANNOT_BE_DECIDED, "no report on MSG_ZEROCOPY data was seen"),
    ] {
        let work = fixture!(name);
        let answer = json(&zc, &["--path", path], &work.command(), code);
        let reasons = answer["rows"].to_string();
        assert!(reasons.contains(reason), "{name}: {reasons}");
    }
    let work = fixture!("recv-zerocopy");
    json(&zc, &["--path", "recv-zerocopy", "--max-copied", "100%"], &work.command(), HOLDS);
}

/// What page faults did with a mapped file.
#[test]
fn mapped_files_hold_until_they_are_written_to_privately() {
    const MAP: &str = "
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
pages = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
for offset in range(0, len(pages), 4096):
    if sys.argv[2] == 'write': pages[offset] = 1
    else: pages[offset]
";
    let Some(zc) = Zc::with(&[python()]) else { return };
    let (_dir, input, _) = files();
    let answer = json(&zc, &["--file", &input], &[python(), "-c", MAP, &input, "read"], HOLDS);
    assert_eq!(answer["selected"]["by_reference_bytes"], SIZE, "{answer}");
    let write = [python(), "-c", MAP, &input, "write"];
    let answer = json(&zc, &["--file", &input], &write, DOES_NOT_HOLD);
    assert_eq!(answer["flows"][0]["cpu_copied_bytes"], SIZE, "{answer}");
    assert!(
        answer["flows"][0]["reason"].as_str().is_some_and(|reason| reason.contains("copied first")),
        "{answer}"
    );
    // Whoever does not count page faults does not see them.
    let answer = json(&zc, &["--file", &input, "--no-faults"], &write, CANNOT_BE_DECIDED);
    assert_eq!(answer["undecided"][1]["what"], "missing_hook", "{answer}");
}

#[test]
fn ports_and_peers_select_flows_of_sockets() {
    const ECHO: &str = "
import socket, sys
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
client = socket.create_connection(server.getsockname())
accepted = server.accept()[0]
client.sendall(b'x' * 4099)
got = 0
while got < 4099: got += len(accepted.recv(4099))
";
    let Some(zc) = Zc::with(&[python()]) else { return };
    let port = machine::free_port().to_string();
    let peer = format!("127.0.0.1:{port}");
    // Both sides have the port; one has it for its peer.
    for (option, value, bytes) in [("--port", &port, 2 * 4099), ("--peer", &peer, 4099)] {
        let command = [python(), "-c", ECHO, &port];
        let answer = json(&zc, &[option, value], &command, DOES_NOT_HOLD);
        // The memory may have been read into before: then they are copied twice.
        assert_eq!(answer["selected"]["bytes"], bytes, "{option}: {answer}");
        let answer = json(&zc, &[option, value, "--expect", "copied"], &command, HOLDS);
        assert_eq!(answer["selected"]["bytes"], bytes, "{option}: {answer}");
    }
}

#[test]
fn json_says_what_was_asked_and_what_was_found() {
    let Some(zc) = Zc::with(&["dd"]) else { return };
    let (_dir, input, output) = files();
    let command = ["dd", &format!("if={input}"), &format!("of={output}"), "bs=64k", "status=none"];
    let options = ["--file", &input, "--min-bytes", "1KiB", "--max-copied", "50%", "--path", "read+write"];
    let answer = json(&zc, &options, &command, DOES_NOT_HOLD);
    assert_eq!((&answer["schema"], &answer["answer"]), (&"zc.verify/1".into(), &"does-not-hold".into()));
    assert_eq!((&answer["expect"], &answer["max_copied"]["percent"]), (&"zero-copy".into(), &50.0.into()));
    let selection = &answer["selection"];
    assert_eq!((&selection["files"][0], &selection["min_bytes"]), (&input.as_str().into(), &1024.into()));
    assert_eq!(selection["paths"][0], "read+write");
    assert_eq!(
        (&answer["command"]["cmdline"][0], &answer["command"]["exit_code"]),
        (&"dd".into(), &0.into())
    );
    let flow = &answer["flows"][0];
    assert_eq!((&flow["bytes"], &flow["cpu_copied_bytes"]), (&SIZE.into(), &(2 * SIZE).into()));
    assert_eq!(
        (&flow["source"]["name"], &flow["destination"]["name"]),
        (&input.as_str().into(), &output.as_str().into())
    );
    assert_eq!(
        (&flow["verdict"], &flow["evidence"], &flow["comm"]),
        (&"copied".into(), &"inferred".into(), &"dd".into())
    );
    assert!(answer["lost"]["rows_full"] == 0 && answer["host"]["kernel"].is_string(), "{answer}");
}

/// What an XML parser that others wrote makes of a file.
const READ_XML: &str = "
import sys, xml.etree.ElementTree as tree
suites = tree.parse(sys.argv[1]).getroot()
suite, = suites
case = suite.find('testcase')
result, = case
print(suites.tag, suites.get('tests'), suites.get('failures'), suites.get('errors'))
print(suite.tag, suite.get('tests'), suite.get('failures'), suite.get('errors'), suite.get('skipped'))
print(case.get('classname'), '|', case.get('name'))
print(result.tag, '|', result.get('message'))
print(result.text)
";

#[test]
fn junit_is_what_ci_systems_read() {
    let Some(zc) = Zc::with(&["cp", "dd", python()]) else { return };
    let dir = machine::temp_dir();
    let input = machine::random_file(dir.path(), "in <&\"'\u{7} ä.bin", SIZE);
    let output = dir.path().join("out.bin").to_str().expect("UTF-8").to_owned();
    let (from, of) = (format!("if={input}"), format!("of={output}"));
    let dd = ["dd", &from, &of, "bs=64k", "status=none"];
    let direct = [&dd[..], &["iflag=direct", "oflag=direct"]].concat();
    let cases: [(&[&str], &str, i32, &str, &str); 3] = [
        (&direct, &input, HOLDS, "1 0 0", "system-out"),
        (&dd, &input, DOES_NOT_HOLD, "1 1 0", "failure"),
        (&dd, "/no/such", CANNOT_BE_DECIDED, "1 0 1", "error"),
    ];
    for (command, file, code, counts, tag) in cases {
        let path = dir.path().join("junit.xml").to_str().expect("UTF-8").to_owned();
        let done = verify(&zc, &["--format", "junit", "-o", &path, "--file", file], command);
        assert_eq!(done.code(), code, "{}", done.stderr);
        // CI systems show stderr; a line there says what the file says.
        let summary = done.stderr.trim().strip_prefix("zc: ").expect("a line on stderr").to_owned();
        let read = Job::new(&[python(), "-c", READ_XML, &path]).env("PYTHONUTF8", "1").finish();
        assert!(read.status.success(), "{}", read.stderr);
        let text = String::from_utf8(read.stdout).expect("UTF-8");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            (lines[0], lines[1]),
            (&*format!("testsuites {counts}"), &*format!("testsuite {counts} 0"))
        );
        assert_eq!(lines[2], format!("zc.verify | zero-copy: file {}", file.replace('\u{7}', "\\u{7}")));
        let message = if tag == "system-out" { "None" } else { &summary };
        assert_eq!(lines[3], format!("{tag} | {message}"));
        assert_eq!(lines[4], summary);
        assert_eq!(text.contains("passed through user memory"), tag == "failure", "{text}");
    }
}

#[test]
fn a_command_that_fails_decides_nothing_and_is_said() {
    let Some(zc) = Zc::with(&["sh", "dd"]) else { return };
    let (_dir, input, output) = files();
    let direct = format!("dd if={input} of={output} bs=64k iflag=direct oflag=direct status=none; exit 7");
    let done = verify(&zc, &["--file", &input], &["sh", "-c", &direct]);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.code(), HOLDS, "{text}");
    assert!(text.contains("the command itself ended with exit code 7"), "{text}");
    let answer = json(&zc, &["--file", &input], &["sh", "-c", "kill -TERM $$"], CANNOT_BE_DECIDED);
    assert_eq!(answer["command"]["exit_code"], 128 + libc::SIGTERM);
}

#[test]
fn what_cannot_be_run_or_written_has_its_own_exit_codes() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = machine::temp_dir();
    let file = machine::random_file(dir.path(), "no-program", 101);
    for (words, code) in [
        (&["verify", "--", "/no/such/program"][..], 127),
        (&["verify", "--", &file], 126),
        (&["verify", "-o", "/no/such/directory/answer", "--", "true"], 125),
        (&["verify", "--max-copied", "many", "--", "true"], 2),
        (&["verify"], 2),
        (&["verify", "-p", "1", "--", "true"], 2),
        (&["verify", "-d", "3s", "--", "true"], 2),
    ] {
        let done = zc.job(words).finish();
        assert_eq!(done.code(), code, "{words:?}: {}", done.stderr);
        assert!(done.stderr.contains(' ') && done.stdout.is_empty(), "{words:?}: {}", done.stderr);
    }
    let done = verify(&zc, &["-o", "/dev/full"], &["true"]);
    assert_eq!(done.code(), 1, "{}", done.stderr);
    let done = verify(&zc, &["-q", "-o", "/dev/null"], &["true"]);
    assert_eq!((done.code(), done.stderr.as_str()), (DOES_NOT_HOLD, ""), "what the loader reads is copied");
}
