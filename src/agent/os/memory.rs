//! Whether the kernel has ended a process for want of memory: it counts that for the control group that the agent and its
//! modules' processes are in.

use std::path::Path;

/// The count so far; none if there is no such control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct KillsForMemory(Option<u64>);

impl KillsForMemory {
    /// The count of this process's control group.
    pub fn now() -> KillsForMemory {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let counters = counters_of(&groups);
        let text = counters.iter().find_map(|path| std::fs::read_to_string(path).ok());
        KillsForMemory(text.and_then(|text| count(&text)))
    }

    /// Whether there was none since, as far as is known.
    pub fn has_risen_since(self, before: KillsForMemory) -> bool {
        matches!((before.0, self.0), (Some(before), Some(now)) if now > before)
    }
}

/// The files with the count, of the first and the second version of control groups; `groups` is /proc/self/cgroup.
fn counters_of(groups: &str) -> Vec<std::path::PathBuf> {
    let counter = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let root = Path::new("/sys/fs/cgroup");
        match controllers {
            "" => Some(root.join(group).join("memory.events")),
            _ if controllers.split(',').any(|one| one == "memory") => {
                Some(root.join("memory").join(group).join("memory.oom_control"))
            }
            _ => None,
        }
    };
    groups.lines().filter_map(counter).collect()
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_found_in_both_versions_of_control_groups() {
        let second = "0::/mig.slice/mig-agent.service\n";
        assert_eq!(counters_of(second), [Path::new("/sys/fs/cgroup/mig.slice/mig-agent.service/memory.events")]);
        let first = "12:cpu,memory:/a\n3:cpuset:/\n1:name=systemd:/x\n0::/\n";
        let expected = ["/sys/fs/cgroup/memory/a/memory.oom_control", "/sys/fs/cgroup/memory.events"];
        assert_eq!(counters_of(first), expected.map(Path::new));
        assert_eq!(counters_of("nonsense\n::\n"), [Path::new("/sys/fs/cgroup/memory.events")]);
        assert_eq!(count("low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(count(""), None);
        let [few, more, unknown] = [Some(1), Some(2), None].map(KillsForMemory);
        assert!(more.has_risen_since(few) && !few.has_risen_since(few));
        assert!(!more.has_risen_since(unknown) && !unknown.has_risen_since(few));
    }
}
