//! Storage, on file systems of our own.

use zc_tests::{compare::assert_exact, disk::Disk, fixture, zc::Zc};

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
