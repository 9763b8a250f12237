//! Storage, on file systems of our own.

use zc_tests::{compare::assert_exact, disk::Disk, expect::Kind, fixture, job::Job, machine, zc::Zc};

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

/// How many pages come with one, and whether a write is asked for, is up to the file system.
#[test]
fn mapped_files_are_accounted_for_on_every_file_system() {
    let Some(zc) = Zc::with(&[]) else { return };
    for kind in ["ext4", "xfs", "btrfs"] {
        let Some(disk) = Disk::new(kind) else { continue };
        for name in ["map-read", "map-cold", "map-copy", "map-write", "map-calls"] {
            let work = fixture!(name).within(disk.path());
            let traced = zc.run_json(&[], &work.command());
            assert!(traced.done.status.success(), "{name} on {kind} failed: {}", traced.done.stderr);
            let expected = work.expectation();
            if name == "map-cold" {
                assert!(expected.read_bytes > Some(0), "{name} on {kind} read nothing from storage");
            }
            assert_exact(&format!("{name}-{kind}"), &traced, &expected);
        }
    }
}

/// Extents that the file system says are shared (`FIEMAP_EXTENT_SHARED`).
fn is_shared(path: &std::path::Path) -> bool {
    let done = Job::new(&["filefrag", "-v", path.to_str().expect("a UTF-8 path")]).finish();
    assert!(done.status.success(), "filefrag: {}", done.stderr);
    String::from_utf8_lossy(&done.stdout).contains("shared")
}

#[test]
fn clones_are_by_reference_as_the_kernel_says() {
    let Some(zc) = Zc::with(&["filefrag"]) else { return };
    for kind in ["xfs", "btrfs"] {
        let Some(disk) = Disk::new(kind) else { continue };
        let work = fixture!("clones").within(disk.path());
        let traced = zc.run_json(&[], &work.command());
        assert!(traced.done.status.success(), "clones on {kind} failed: {}", traced.done.stderr);
        let expected = work.expectation();
        let row = expected.row("copy_file_range", Kind::File, Kind::File).expect("the row of clones");
        assert!(row.bytes > 7 << 20 && row.rchar == 0, "{kind}: {} bytes were cloned", row.bytes);
        assert_exact(&format!("clones-{kind}"), &traced, &expected);
        assert!(is_shared(&work.dir().join("whole.bin")), "{kind} shares nothing");
    }
}

#[test]
fn programs_that_clone_are_seen_to_with_and_without_counting_calls() {
    let Some(zc) = Zc::with(&["cp"]) else { return };
    for kind in ["xfs", "btrfs"] {
        let Some(disk) = Disk::new(kind) else { continue };
        let input = machine::random_file(disk.path(), "in.bin", 3_000_017);
        for options in [&[][..], &["--no-count-calls"]] {
            let output = disk.path().join("out.bin");
            let words = ["cp", "--reflink=always", &input, output.to_str().expect("a UTF-8 path")];
            let traced = zc.run_json(options, &words);
            assert!(traced.done.status.success(), "cp on {kind} failed: {}", traced.done.stderr);
            traced.report.assert_nothing_lost();
            let row =
                traced.report.named("cp").row("copy_file_range", Kind::File, Kind::File).expect("the clone");
            let found =
                (row.bytes, row.by_reference_bytes, row.cpu_copied_bytes, row.unknown_bytes, row.syscalls);
            assert_eq!(found, (3_000_017, Some(3_000_017), Some(0), Some(0), 1), "{kind} {options:?}");
            assert_eq!((row.rchar_bytes, row.evidence.as_str()), (0, "reported"));
        }
    }
}
