//! Names in chroots and namespaces, as containers have them: those that the process itself sees.

use std::fs;

use zc_tests::{
    machine::{find_program, python, random_file, temp_dir},
    report::Report,
    zc::{Traced, Zc},
};

const SIZE: usize = 70_001;
const BYTES: u64 = SIZE as u64;

/// A directory to be the root of a process, with busybox, which needs no libraries, and a file.
fn new_root() -> tempfile::TempDir {
    let dir = temp_dir();
    for name in ["bin", "data", "old", "host"] {
        fs::create_dir(dir.path().join(name)).expect("a directory");
    }
    let busybox = find_program("busybox").expect("busybox");
    fs::copy(busybox, dir.path().join("bin/busybox")).expect("a copy of busybox");
    random_file(&dir.path().join("data"), "a.bin", SIZE);
    dir
}

fn text(dir: &tempfile::TempDir) -> &str {
    dir.path().to_str().expect("UTF-8")
}

/// Bytes from one file to another, by whichever path.
fn copied(report: &Report, source: &str, destination: &str) -> u64 {
    report.flow_bytes(None, "sendfile", Some(source), Some(destination))
        + report.flow_bytes(None, "read+write", Some(source), Some(destination))
        + report.flow_bytes(None, "copy_file_range", Some(source), Some(destination))
}

#[test]
fn a_process_in_a_chroot_has_paths_from_its_own_root() {
    let Some(zc) = Zc::with(&["busybox", "chroot"]) else { return };
    let root = new_root();
    let report = zc.trace(&["chroot", text(&root), "/bin/busybox", "cp", "/data/a.bin", "/data/b.bin"]);
    report.assert_nothing_lost();
    assert_eq!(copied(&report, "/data/a.bin", "/data/b.bin"), BYTES);
    assert_eq!(report.named("busybox").exe.as_deref(), Some("/bin/busybox"));
}

#[test]
fn a_file_has_another_name_to_a_process_with_another_root() {
    let Some(zc) = Zc::with(&["busybox", "chroot"]) else { return };
    let root = new_root();
    let script = "busybox cp $1/data/a.bin $1/data/b.bin; chroot $1 /bin/busybox cp /data/a.bin /data/c.bin";
    let report = zc.trace(&["sh", "-c", script, "sh", text(&root)]);
    report.assert_nothing_lost();
    let outside = |name: &str| format!("{}/data/{name}", text(&root));
    assert_eq!(copied(&report, &outside("a.bin"), &outside("b.bin")), BYTES);
    assert_eq!(copied(&report, "/data/a.bin", "/data/c.bin"), BYTES);
}

/// As a container is made: namespaces of its own, another root by `pivot_root`, the old one gone.
#[test]
fn a_process_in_its_own_namespaces_has_the_paths_of_its_mounts() {
    let Some(zc) = Zc::with(&["busybox", "unshare", "pivot_root", "mount"]) else { return };
    let root = new_root();
    // The old root is laid where the new one has `host`, and taken away there.
    let script = "mount --bind $1 $1; cd $1; mount --bind data old; pivot_root . host
        exec /bin/busybox sh -c '/bin/busybox umount -l /host
        /bin/busybox dd if=/old/a.bin of=/old/b.bin bs=1001
        echo $$'";
    let command = ["unshare", "-m", "-n", "-p", "-f", "--propagation", "private", "sh", "-ec", script, "sh"];
    let Traced { report, done, .. } = zc.run_json(&[], &[&command[..], &[text(&root)]].concat());
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "1\n", "the first process of its PID namespace");
    report.assert_nothing_lost();
    assert_eq!(report.flow("read+write", Some("/old/a.bin"), Some("/old/b.bin")).1, BYTES);
    assert!(report.processes.iter().all(|process| process.pid > 1), "ids are those of the host");
}

#[test]
fn sockets_in_a_network_namespace_have_its_addresses() {
    let Some(zc) = Zc::with(&["unshare", "ip", "python3"]) else { return };
    let dir = temp_dir();
    let file = random_file(dir.path(), "sent.bin", SIZE);
    let script = "
import socket, sys, threading
for family, address in (socket.AF_INET, '10.77.0.1'), (socket.AF_INET6, 'fd77::1'):
    listener = socket.create_server((address, 0), family=family)
    def receive():
        connection, _ = listener.accept()
        while connection.recv(1 << 16):
            pass
    thread = threading.Thread(target=receive)
    thread.start()
    near = socket.create_connection(listener.getsockname()[:2])
    with open(sys.argv[1], 'rb') as source:
        near.sendfile(source)
    name = '{}:{}' if family == socket.AF_INET else '[{}]:{}'
    print(name.format(*near.getpeername()), name.format(*near.getsockname()))
    near.close()
    thread.join()
";
    let setup = "ip link set lo up; ip address add 10.77.0.1/24 dev lo; \
                 ip address add fd77::1/64 dev lo nodad; exec \"$@\"";
    let command = ["unshare", "-n", "sh", "-ec", setup, "sh", python(), "-c", script, &file];
    let Traced { report, done, .. } = zc.run_json(&[], &command);
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let ends: Vec<(&str, &str)> = said.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(ends.len(), 2, "{said}");
    for (peer, own) in ends {
        let flow = report.flows.iter().find(|flow| {
            flow.path == "sendfile"
                && flow.source.name.as_ref() == Some(&file)
                && flow.destination.name.as_deref() == Some(peer)
        });
        let flow = flow.unwrap_or_else(|| panic!("no flow to {peer}"));
        assert_eq!((flow.bytes, flow.destination.local.as_deref()), (BYTES, Some(own)));
    }
}

#[test]
fn a_file_that_was_removed_says_so() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = temp_dir();
    let file = random_file(dir.path(), "gone.bin", SIZE);
    let report = zc.trace(&["sh", "-c", "exec 3< $1; rm $1; cat <&3 > $2", "sh", &file, "/dev/null"]);
    report.assert_nothing_lost();
    let gone = format!("{file} (deleted)");
    assert_eq!(copied(&report, &gone, "/dev/null"), BYTES);
}
