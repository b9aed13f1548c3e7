//! Metrics of the process itself, read from `/proc` when asked for.

use std::fs;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge, Registry};

/// Clock ticks a second in `/proc`: fixed for programs on every Linux that Rust supports (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

struct Process {
    resident_bytes: IntGauge,
    open_fds: IntGauge,
    cpu_seconds: Counter,
    start_seconds: Gauge,
    /// Held while CPU time is read and added: two who ask at once would add it twice.
    adding: Mutex<()>,
}

/// Adds `process_…`, under the names that every Prometheus dashboard knows.
pub(super) fn register(registry: &Registry) {
    let process = Process::new().expect("the names are valid");
    registry.register(Box::new(process)).expect("the registry is new");
}

impl Process {
    fn new() -> prometheus::Result<Self> {
        let process = Self {
            resident_bytes: IntGauge::new("process_resident_memory_bytes", "Memory held, in bytes.")?,
            open_fds: IntGauge::new("process_open_fds", "Open file descriptors.")?,
            cpu_seconds: Counter::new("process_cpu_seconds_total", "CPU time used, in seconds.")?,
            start_seconds: Gauge::new(
                "process_start_time_seconds",
                "When the process began, in seconds since 1970.",
            )?,
            adding: Mutex::new(()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        process.start_seconds.set(now);
        Ok(process)
    }

    fn refresh(&self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = resident_bytes(&status) {
            self.resident_bytes.set(bytes);
        }
        self.add_cpu_seconds();
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            self.open_fds.set(i64::try_from(fds.count()).unwrap_or(i64::MAX));
        }
    }

    fn add_cpu_seconds(&self) {
        let _adding = self.adding.lock().expect("nobody panics with this in hand");
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(seconds) = cpu_seconds(&stat) {
            // a counter only grows
            self.cpu_seconds.inc_by((seconds - self.cpu_seconds.get()).max(0.0));
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        [self.resident_bytes.desc(), self.open_fds.desc(), self.cpu_seconds.desc(), self.start_seconds.desc()]
            .concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        [
            self.resident_bytes.collect(),
            self.open_fds.collect(),
            self.cpu_seconds.collect(),
            self.start_seconds.collect(),
        ]
        .concat()
    }
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// User and system time: the 14th and 15th field, counted after the name, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_process_reads_its_own_figures() {
        let process = Process::new().expect("valid names");

        process.refresh();

        assert!(process.resident_bytes.get() > 100_000);
        assert!(process.open_fds.get() > 2);
        assert!(process.start_seconds.get() > 1.7e9);
    }

    #[test]
    fn cpu_time_is_counted_once_also_when_several_ask_at_once() {
        let process = Process::new().expect("valid names");

        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        process.refresh();
                    }
                });
            }
        });

        let stat = fs::read_to_string("/proc/self/stat").expect("it is there on Linux");
        let used = cpu_seconds(&stat).expect("it is read");
        let counted = process.cpu_seconds.get();
        // sums of fractions are not exact
        assert!(counted > 0.0 && counted < used + 1e-6, "{counted} of {used}");
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "1 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 1 1 1";

        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("garbage"), None);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12_288));
    }
}
