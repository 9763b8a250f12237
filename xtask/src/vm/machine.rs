//! Running a kernel in QEMU, to its end or until its time is up.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    cpio::Archive,
    kernel::Kernel,
    network::{BOUNCED, Network},
};
use crate::{
    process::{self, say},
    workspace::Workspace,
};

const QEMU: &str = "qemu-system-x86_64";

/// A kernel that crashes or hangs says where, and ends the machine. A minute is longer than an emulated CPU is away.
const KERNEL_OPTIONS: &str = "console=ttyS0 panic=-1 oops=panic \
    watchdog_thresh=30 softlockup_panic=1 softlockup_all_cpu_backtrace=1 swiotlb=force \
    no_timer_check";

/// An error when there is nothing that runs a machine.
pub(super) fn require_qemu() -> Result<()> {
    process::find(QEMU).map(drop).with_context(|| format!("{QEMU} is not installed"))
}

/// How long a kernel may take to say something when the accelerator is tried: it takes half a second when that works.
const PROBE_SECONDS: u64 = 8;

/// What the probe waits for.
const PROBE_WORD: &str = "zc-vm: here";

const PROBE_INIT: &str = "#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\n\
    echo 'zc-vm: here' >/dev/ttyS1\n/bin/busybox poweroff -f\n";

/// How QEMU runs the machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor itself.
    Kvm,
    /// Software. Slow, and timing means nothing, but it works everywhere.
    Tcg,
}

impl Accelerator {
    /// Tries `/dev/kvm` with a kernel, as there are machines that have the file and run no guest. The answer is kept until
    /// the next boot.
    pub(super) fn probe(workspace: &Workspace, kernel: &Kernel) -> Result<Self> {
        if File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let answer = workspace.root().join("target/vm/accelerator");
        let kept = fs::read_to_string(&answer).unwrap_or_default();
        if let Some(kept) = kept.strip_prefix(boot.trim()) {
            return Ok(if kept.trim() == "kvm" { Self::Kvm } else { Self::Tcg });
        }
        let mut archive = Archive::default();
        archive.directory("/dev");
        archive.file("/init", PROBE_INIT.as_bytes());
        let busybox = process::find("busybox").context("busybox is not installed")?;
        archive.file("/bin/busybox", &fs::read(&busybox).context("read busybox")?);
        let machine = Machine {
            accelerator: Self::Kvm,
            limit: Duration::from_secs(PROBE_SECONDS),
            dir: workspace.root().join("target/vm/probe"),
            network: None,
        };
        let works = machine.run(kernel, &archive.finish(), &[], |_| {})?.results.contains(PROBE_WORD);
        let this = if works { Self::Kvm } else { Self::Tcg };
        if this == Self::Tcg {
            say("/dev/kvm is there, but no kernel runs by it; machines are emulated in software");
        }
        let word = if works { "kvm" } else { "tcg" };
        process::replace_file(&answer, format!("{} {word}\n", boot.trim()).as_bytes())?;
        Ok(this)
    }
}

/// How a machine is run.
pub(super) struct Machine {
    pub(super) accelerator: Accelerator,
    /// The machine is ended after that.
    pub(super) limit: Duration,
    /// Where its image and what it says are kept.
    pub(super) dir: PathBuf,
    /// Its network devices, if it has any.
    pub(super) network: Option<Network>,
}

/// What became of a machine.
pub(super) struct Outcome {
    /// What the job wrote.
    pub(super) results: String,
    /// Where what the kernel wrote is kept.
    pub(super) console: PathBuf,
    pub(super) took: Duration,
    /// It was ended because its time was up.
    pub(super) timed_out: bool,
}

impl Machine {
    /// Boots `kernel` with `image`; each line of the results is given to `line` when it comes.
    pub(super) fn run(
        &self,
        kernel: &Kernel,
        image: &[u8],
        disks: &[PathBuf],
        mut line: impl FnMut(&str),
    ) -> Result<Outcome> {
        let initrd = self.dir.join("initrd");
        process::replace_file(&initrd, image)?;
        let console = self.dir.join("console.log");
        let mut qemu = self.command(kernel, &initrd, &console, disks)?;
        let shown = process::show(&qemu);
        let started = Instant::now();
        let mut child = Running(qemu.spawn().with_context(|| format!("start `{shown}`"))?);
        let mut stdout = child.0.stdout.take().context("QEMU has no output")?;
        let (sender, pieces) = mpsc::channel();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (mut bytes, mut told, mut timed_out) = (Vec::new(), 0, false);
        loop {
            let left = self.limit.saturating_sub(started.elapsed());
            match pieces.recv_timeout(left) {
                Ok(piece) => bytes.extend(piece.into_iter().filter(|byte| *byte != b'\r')),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    timed_out = true;
                    break;
                }
            }
            while let Some(length) = bytes[told..].iter().position(|byte| *byte == b'\n') {
                line(&String::from_utf8_lossy(&bytes[told..told + length]));
                told += length + 1;
            }
        }
        drop(child);
        let results = String::from_utf8_lossy(&bytes).into_owned();
        process::replace_file(&self.dir.join("results.log"), results.as_bytes())?;
        Ok(Outcome { results, console, took: started.elapsed(), timed_out })
    }

    fn command(&self, kernel: &Kernel, initrd: &Path, console: &Path, disks: &[PathBuf]) -> Result<Command> {
        // Attaching a program changes instructions that other CPUs run meanwhile. QEMU 7.2 has been seen to run such a
        // breakpoint after the kernel had taken it away, which is a crash: an emulated machine has one CPU.
        let (accelerator, cpu, cpus) = match self.accelerator {
            Accelerator::Kvm => ("kvm", "host", "2"),
            Accelerator::Tcg => ("tcg", "max", "1"),
        };
        // Whatever else this machine does comes first.
        let mut command = match &self.network {
            Some(network) => network.command("nice"),
            None => Command::new("nice"),
        };
        command.args([QEMU, "-accel", accelerator, "-cpu", cpu, "-smp", cpus, "-m", "1024"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command.arg("-kernel").arg(kernel.image()?).arg("-initrd").arg(initrd);
        command.args(["-append", KERNEL_OPTIONS]);
        command.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
        for (number, disk) in disks.iter().enumerate() {
            let drive = format!("file={},id=disk{number},if=none,format=raw,cache=unsafe", disk.display());
            let more = if number == 0 { "" } else { BOUNCED };
            let device = format!("virtio-blk-pci,drive=disk{number}{more}");
            command.args(["-drive", &drive, "-device", &device]);
        }
        command.args(self.network.iter().flat_map(Network::arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command)
    }
}

/// A machine that goes when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // When it has ended by itself there is nothing to be killed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Two disks with empty ext4 file systems: one for what the tests do with files, and one whose driver uses bounce buffers.
pub(super) fn make_disks(dir: &Path) -> Result<[PathBuf; 2]> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let disks = ["disk", "disk-bounced"].map(|name| dir.join(name));
    for (disk, bytes) in disks.iter().zip([1 << 30, 64 << 20]) {
        let made = File::create(disk).and_then(|file| file.set_len(bytes));
        made.with_context(|| format!("make {}", disk.display()))?;
        process::output(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk))?;
    }
    Ok(disks)
}

/// The last lines of a console.
pub(super) fn last_lines(console: &Path, count: usize) -> String {
    let bytes = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
