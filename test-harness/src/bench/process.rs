//! What a process has used so far, from `/proc`.

use std::io::{self, Error, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

/// Clock ticks of `/proc/<pid>/stat` in a second, as Linux shows them on every machine Envoy runs on.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of all threads of a process, in user and kernel mode.
///
/// The scheduler's own account is exact to the nanosecond for a thread that sleeps; where the kernel
/// keeps none, the clock ticks of `stat` are all there is.
pub(super) fn cpu_time(pid: u32) -> io::Result<Duration> {
    match scheduled(pid) {
        Some(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        None => ticked(pid),
    }
}

fn scheduled(pid: u32) -> Option<u64> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread may end between the listing and the reading.
        let Ok(account) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
        total += account.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    (total > 0).then_some(total)
}

fn ticked(pid: u32) -> io::Result<Duration> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let stat = std::fs::read_to_string(&path)?;
    let ticks = ticks(&stat).ok_or_else(|| Error::new(ErrorKind::InvalidData, path.display().to_string()))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// User and system time. The program's name, in parentheses, may itself hold blanks and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Resident memory of a process in bytes.
pub(super) fn resident(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path)?;
    resident_kib(&status).map(|kib| kib * 1024).ok_or_else(|| Error::new(ErrorKind::InvalidData, path))
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_program_name() {
        let check = |stat: &str, expected: Option<u64>| assert_eq!(ticks(stat), expected, "{stat}");
        check("7 (envoy) S 1 7 7 0 -1 4194560 900 0 3 0 120 34 0 0 20 0 9 0 55 1", Some(154));
        check("7 (a) (b c) S 1 7 7 0 -1 4194560 900 0 3 0 1 2 0 0 20 0 9 0 55 1", Some(3));
        check("7 (envoy) S 1", None);
    }

    #[test]
    fn resident_memory_is_read_in_kib() {
        assert_eq!(resident_kib("Name:\tenvoy\nVmHWM:\t  90000 kB\nVmRSS:\t   63120 kB\n"), Some(63_120));
        assert_eq!(resident_kib("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn work_of_this_very_process_shows() {
        let pid = std::process::id();
        let before = cpu_time(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_time(pid).unwrap() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(resident(pid).unwrap() > 0);
    }
}
