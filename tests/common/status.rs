//! What the kernel says of a process in /proc/PID/status.

/// A line of it, without its name.
pub fn line(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} of process {pid}")).trim().to_owned()
}

/// Memory that it has (VmRSS), or had at most (VmHWM).
pub fn mebibytes(pid: u32, name: &str) -> f64 {
    line(pid, name).trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
