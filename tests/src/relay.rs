//! A program that relays blocks of a file, so many in each of so many threads, each time that it is told to.

use std::fs;

use crate::{
    job::{Done, Job, Running},
    machine::{self, python, wait_for},
};

/// Reads with `pread` and writes with `pwrite`, and says when it has done so.
const RELAY: &str = r#"
import os, sys
directory, threads, blocks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
from threading import Thread
def relay(number):
    source = os.open(directory + "/in.bin", os.O_RDONLY)
    target = os.open(f"{directory}/out-{number}.bin", os.O_WRONLY | os.O_CREAT)
    for block in range(blocks):
        data = os.pread(source, 4096, block % 16 * 4096)
        os.pwrite(target, data, 0)
os.write(1, b"ready\n")
while True:
    if not os.read(0, 1): break
    workers = [Thread(target=relay, args=(number,)) for number in range(threads)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    os.write(1, b"done\n")
"#;

/// Bytes of each block.
pub const BLOCK: u64 = 4096;

/// The program, which waits until it is told to go.
#[derive(Debug)]
pub struct Relay {
    running: Running,
    _dir: tempfile::TempDir,
}

impl Relay {
    /// Starts it: so many threads, and blocks in each.
    pub fn start(threads: u32, blocks: u32) -> Self {
        let dir = machine::temp_dir();
        machine::random_file(dir.path(), "in.bin", 16 * 4096);
        let path = dir.path().to_str().expect("UTF-8").to_owned();
        let words = [python(), "-c", RELAY, &path, &threads.to_string(), &blocks.to_string()];
        let mut running = Job::new(&words).with_input().start();
        running.wait_for_output("ready\n");
        wait_until_it_reads(running.pid());
        Self { running, _dir: dir }
    }

    /// Its id.
    pub fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// Tells it to go.
    pub fn go(&mut self) {
        self.running.input(b"\n");
    }

    /// How often it has done what it was told.
    pub fn done(&mut self) -> usize {
        String::from_utf8_lossy(&self.running.stdout_so_far()).matches("done").count()
    }

    /// Tells it to go, and waits until it waits again.
    pub fn go_and_wait(&mut self) {
        let before = self.done();
        self.go();
        wait_for("the relay", || (self.done() > before).then_some(()));
        wait_until_it_reads(self.pid());
    }

    /// Ends it.
    pub fn finish(self) -> Done {
        self.running.finish()
    }
}

/// Waits until a process of one thread waits for its input.
pub fn wait_until_it_reads(pid: i32) {
    wait_for("a read of the input", || {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
        call.starts_with("0 0x0 ").then_some(())
    });
}
