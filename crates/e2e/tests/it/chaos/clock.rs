//! A wall clock that one process alone has, and that goes wrong while it runs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::services::{Service, Services};

/// What the process reads its clock through.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/chaos/clock.c");

/// The clock of one process, which is right at first.
pub struct Clock {
    /// By how many seconds it is wrong. The process has it in its memory: it is never shortened.
    file: File,
}

impl Clock {
    /// Compiles what all clocks need.
    pub fn compile(dir: &Path) -> PathBuf {
        let library = dir.join("clock.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-o"]).arg(&library).arg(SOURCE);
        let compiled = compiler.status().expect("cc, which cargo links with");
        assert!(compiled.success(), "{SOURCE} cannot be compiled");
        library
    }

    /// Gives a process that is not started yet a clock, which keeps its state in this file.
    pub fn give(services: &mut Services, service: Service, library: &Path, path: &Path) -> Self {
        let file = File::options().create_new(true).write(true).open(path).expect("a file of this run");
        let clock = Self { file };
        clock.set(0);
        services.export_for(service, "CHAOS_CLOCK_FILE", path.display().to_string());
        services.export_for(service, "LD_PRELOAD", library.display().to_string());
        clock
    }

    /// It is wrong by so many seconds from now on.
    pub fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("a file of this run");
    }
}

#[test]
fn a_clock_is_wrong_by_what_it_is_set_to() {
    let dir = testkit::ScratchDir::new("clock");
    let library = Clock::compile(dir.path());
    let path = dir.path().join("seconds");
    let clock = Clock { file: File::create_new(&path).expect("a file of this test") };
    let seconds = || {
        let mut date = Command::new("date");
        date.arg("+%s").env("LD_PRELOAD", &library).env("CHAOS_CLOCK_FILE", &path);
        let said = date.output().expect("date").stdout;
        String::from_utf8_lossy(&said).trim().parse::<i64>().expect("seconds")
    };

    clock.set(0);
    let right = seconds();
    clock.set(100_000);
    let ahead = seconds();
    clock.set(-100_000);
    let behind = seconds();

    // however slow the machine is
    assert!((90_000..110_000).contains(&(ahead - right)), "{right} {ahead}");
    assert!((90_000..110_000).contains(&(right - behind)), "{right} {behind}");
}
