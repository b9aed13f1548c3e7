//! What a process costs, read from `/proc`, and what machine this is.

use std::fs;
use std::time::Duration;

/// Clock ticks a second in `/proc/PID/stat`; Linux has used 100 on every architecture for decades.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a process with all its threads and all its descendants, those that ended among them.
pub fn cpu(pid: i32) -> Duration {
    let own = stat_fields(pid).map_or(0.0, |f| f[UTIME] + f[STIME] + f[CUTIME] + f[CSTIME]);
    let own = Duration::from_secs_f64(own / TICKS_PER_SECOND);
    children(pid).into_iter().map(cpu).fold(own, |sum, child| sum + child)
}

/// CPU time of a process with all its threads, as fine as the scheduler counts it.
pub fn own_cpu(pid: i32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

/// Resident memory of a process without its descendants, in MiB.
pub fn resident_mib(pid: i32) -> f64 {
    status_mib(pid, "VmRSS:")
}

/// The most resident memory that a process has had, in MiB.
pub fn peak_mib(pid: i32) -> f64 {
    status_mib(pid, "VmHWM:")
}

/// Keeps a running process and its threads on one core.
pub fn pin(pid: i32, core: usize) {
    let done = std::process::Command::new("taskset")
        .args(["-a", "-p", "-c", &core.to_string(), &pid.to_string()])
        .output()
        .is_ok_and(|output| output.status.success());
    if !done {
        eprintln!("  could not pin process {pid} to core {core}: figures of this part will be noisier");
    }
}

/// Keeps a running process and its descendants, present and future, on one core.
pub fn pin_with_children(pid: i32, core: usize) {
    pin(pid, core);
    children(pid).into_iter().for_each(|child| pin_with_children(child, core));
}

/// Prints processor, cores, memory and kernel: figures mean nothing without them.
pub fn describe_machine() {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |m| m.1);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim().to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("{cores} cores of {model}, {memory}, Linux {}", kernel.trim());
}

const UTIME: usize = 0;
const STIME: usize = 1;
const CUTIME: usize = 2;
const CSTIME: usize = 3;

/// Fields 14 to 17 of `/proc/PID/stat`; the name before them may contain spaces and brackets.
fn stat_fields(pid: i32) -> Option<[f64; 4]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut next = || fields.next()?.ok();
    Some([next()?, next()?, next()?, next()?])
}

fn status_mib(pid: i32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>())
        .collect()
}
