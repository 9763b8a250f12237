//! Storage, on file systems of our own.

use zc_tests::{compare::assert_exact, disk::Disk, fixture, zc::Zc};

/// A loop device copies in a thread of the kernel, whatever the file system above it was asked for: nothing
/// witnesses that nobody copied.
#[test]
fn direct_reads_above_a_loop_device_stay_unknown() {
    let Some(zc) = Zc::with(&[]) else { return };
    for kind in ["ext4", "xfs", "btrfs"] {
        let Some(disk) = Disk::new(kind) else { continue };
        for name in ["direct", "direct-relays"] {
            let work = fixture!(name).within(disk.path());
            let traced = zc.run_json(&[], &work.command());
            assert!(traced.done.status.success(), "{name} on {kind} failed: {}", traced.done.stderr);
            assert_exact(&format!("{name}-{kind}"), &traced, &work.expectation());
            let process = traced.report.process(work.expectation().pid);
            assert!(process.paths.iter().all(|row| row.verdict != "zero-copy"), "{name} on {kind}");
        }
    }
}

/// A loop device reads its file by a thread of the kernel, and may queue the same I/O once more: none of that is
/// the process's.
fn counted_once(kind: &str) {
    let Some(zc) = Zc::with(&[]) else { return };
    let Some(disk) = Disk::new(kind) else { return };
    for name in ["cold-reads", "cold-relay", "cold-copies"] {
        let work = fixture!(name).within(disk.path());
        let traced = zc.run_json(&[], &work.command());
        assert!(traced.done.status.success(), "{name} on {kind} failed: {}", traced.done.stderr);
        let expected = work.expectation();
        assert!(expected.read_bytes > Some(0), "{name} on {kind} read nothing from storage");
        assert_exact(&format!("{name}-{kind}"), &traced, &expected);
    }
}

#[test]
fn what_a_loop_device_reads_for_ext4_is_counted_once() {
    counted_once("ext4");
}

#[test]
fn what_a_loop_device_reads_for_xfs_is_counted_once() {
    counted_once("xfs");
}

#[test]
fn what_a_loop_device_reads_for_btrfs_is_counted_once() {
    counted_once("btrfs");
}
